//! Signed URLs: a short-lived token for one object and one purpose.
//!
//! They are signed with a key of their own, so that such a token is worth nothing anywhere else.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::LONGEST_SIGNATURE;
use super::error::{Result, StorageError};
use super::name::Place;

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "lowercase")]
pub(super) enum Purpose {
    /// To read the object.
    Download,
    /// To write it with the rights of whoever asked for the token.
    Upload {
        upsert: bool,
        role: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// Bucket and name.
    url: String,
    #[serde(flatten)]
    purpose: Purpose,
    iat: i64,
    exp: i64,
}

pub(super) struct Signer {
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Signer {
    pub(super) fn new(secret: &str) -> Self {
        let key = Sha256::new()
            .chain_update("signed URLs of the storage stand-in: ")
            .chain_update(secret)
            .finalize();
        Self {
            signing: EncodingKey::from_secret(&key),
            verifying: DecodingKey::from_secret(&key),
        }
    }

    /// A token for an object; it lives for `seconds`, but never longer than [`LONGEST_SIGNATURE`].
    pub(super) fn sign(&self, place: &Place, purpose: Purpose, seconds: u64) -> Result<String> {
        self.sign_from(place, purpose, seconds, chrono::Utc::now().timestamp())
    }

    fn sign_from(&self, place: &Place, purpose: Purpose, seconds: u64, now: i64) -> Result<String> {
        let seconds = seconds.min(LONGEST_SIGNATURE.as_secs());
        let claims = Claims {
            url: place.full(),
            purpose,
            iat: now,
            exp: now.saturating_add_unsigned(seconds),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(StorageError::internal)
    }

    /// What a token for this object allows.
    pub(super) fn verify(&self, place: &Place, token: &str) -> Result<Purpose> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        let data = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation).map_err(
            |error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => {
                    StorageError::expired_signature()
                }
                _ => StorageError::invalid_signature(),
            },
        )?;
        if data.claims.url != place.full() {
            return Err(StorageError::invalid_signature());
        }
        Ok(data.claims.purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::new("bucket", name).unwrap()
    }

    #[test]
    fn a_token_is_for_one_object_and_one_purpose() {
        let signer = Signer::new("secret");
        let token = signer.sign(&place("a/b"), Purpose::Download, 60).unwrap();
        assert_eq!(
            signer.verify(&place("a/b"), &token).unwrap(),
            Purpose::Download
        );
        assert!(signer.verify(&place("a/c"), &token).is_err());
        assert!(Signer::new("other").verify(&place("a/b"), &token).is_err());
        assert!(signer.verify(&place("a/b"), "").is_err());
    }

    #[test]
    fn no_token_lives_longer_than_five_minutes() {
        let signer = Signer::new("secret");
        let now = chrono::Utc::now().timestamp();
        let sign = |age: i64| {
            signer
                .sign_from(&place("a"), Purpose::Download, u64::MAX, now - age)
                .unwrap()
        };
        assert!(signer.verify(&place("a"), &sign(290)).is_ok());
        assert!(signer.verify(&place("a"), &sign(301)).is_err());
    }

    /// Neither an API key nor a user's token, signed with the secret itself, is a signature.
    #[test]
    fn the_secret_itself_signs_no_url() {
        let claims = Claims {
            url: "bucket/a".to_owned(),
            purpose: Purpose::Download,
            iat: 0,
            exp: i64::MAX / 1000,
        };
        let token = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &EncodingKey::from_secret(b"secret"),
        )
        .unwrap();
        assert!(Signer::new("secret").verify(&place("a"), &token).is_err());
    }
}
