//! Access tokens: signing and verification, and the JWKS by which others verify.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::pkcs8::DecodePrivateKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::{AuthError, Code, Result};

pub(crate) const AUDIENCE: &str = "authenticated";

/// How a session was opened, one entry of the `amr` claim.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AuthenticationMethod {
    pub(crate) method: String,
    /// Unix time in seconds.
    pub(crate) timestamp: i64,
}

/// The claims of an access token: exactly these, as Supabase Auth issues them.
#[derive(Debug, Serialize)]
pub(crate) struct AccessClaims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: Uuid,
    pub(crate) role: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    pub(crate) session_id: Uuid,
    pub(crate) aal: &'static str,
    pub(crate) amr: Vec<AuthenticationMethod>,
    pub(crate) app_metadata: Value,
    pub(crate) user_metadata: Value,
    pub(crate) is_anonymous: bool,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
}

/// What this server reads from a token that it is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct PresentedClaims {
    #[serde(default)]
    pub(crate) sub: Option<String>,
    #[serde(default)]
    pub(crate) role: Option<String>,
    #[serde(default)]
    pub(crate) session_id: Option<String>,
}

/// The signing key, and the keys that presented tokens are checked against.
pub(crate) struct Keys {
    issuer: String,
    key_id: String,
    lifetime: Duration,
    signing: EncodingKey,
    verifying: DecodingKey,
    legacy: DecodingKey,
    jwks: Value,
}

impl Keys {
    pub(crate) fn new(
        issuer: String,
        key_id: String,
        signing_key_pem: &str,
        jwt_secret: &str,
        lifetime: Duration,
    ) -> anyhow::Result<Self> {
        let secret = p256::SecretKey::from_pkcs8_pem(signing_key_pem)
            .context("the signing key must be a P-256 private key as PKCS#8 PEM")?;
        let point = secret.public_key().to_encoded_point(false);
        let coordinate =
            |bytes: Option<&_>| bytes.map(|bytes: &p256::FieldBytes| URL_SAFE_NO_PAD.encode(bytes));
        let (x, y) = coordinate(point.x())
            .zip(coordinate(point.y()))
            .context("the signing key has no public point")?;
        Ok(Self {
            signing: EncodingKey::from_ec_pem(signing_key_pem.as_bytes())?,
            verifying: DecodingKey::from_ec_components(&x, &y)?,
            legacy: DecodingKey::from_secret(jwt_secret.as_bytes()),
            jwks: json!({ "keys": [{
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": true,
                "kid": key_id, "x": x, "y": y,
            }]}),
            issuer,
            key_id,
            lifetime,
        })
    }

    /// The public key as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> &Value {
        &self.jwks
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Seconds for which an access token is valid.
    pub(crate) fn lifetime_seconds(&self) -> i64 {
        i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX / 4)
    }

    pub(crate) fn sign(&self, claims: &AccessClaims) -> Result<String> {
        let header = Header {
            kid: Some(self.key_id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        encode(&header, claims, &self.signing)
            .map_err(|error| AuthError::internal("Error signing the access token", error))
    }

    /// Checks signature and expiry of a bearer token: ES256 by our key, or HS256 by the legacy secret (anon and
    /// service_role keys).
    pub(crate) fn verify(&self, token: &str) -> Result<PresentedClaims> {
        let header = decode_header(token).map_err(bad_token)?;
        let key = match header.alg {
            Algorithm::ES256 => {
                if header.kid.as_ref().is_some_and(|kid| *kid != self.key_id) {
                    return Err(bad_token("unknown signing key (kid)"));
                }
                &self.verifying
            }
            Algorithm::HS256 => &self.legacy,
            _ => return Err(bad_token("signing method is invalid")),
        };
        let mut validation = Validation::new(header.alg);
        validation.leeway = 0;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        decode::<PresentedClaims>(token, key, &validation)
            .map(|data| data.claims)
            .map_err(bad_token)
    }
}

fn bad_token(reason: impl std::fmt::Display) -> AuthError {
    AuthError::forbidden(
        Code::BadJwt,
        format!("invalid JWT: unable to parse or verify signature, {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::pkcs8::{EncodePrivateKey, LineEnding};

    const SECRET: &str = "super-secret-jwt-token-with-at-least-32-characters";

    fn pem(byte: u8) -> String {
        p256::SecretKey::from_slice(&[byte; 32])
            .unwrap()
            .to_pkcs8_pem(LineEnding::LF)
            .unwrap()
            .to_string()
    }

    fn keys(byte: u8, lifetime: Duration) -> Keys {
        Keys::new(
            "http://localhost/auth/v1".into(),
            "k1".into(),
            &pem(byte),
            SECRET,
            lifetime,
        )
        .unwrap()
    }

    fn claims(exp: i64) -> AccessClaims {
        AccessClaims {
            iss: "http://localhost/auth/v1".into(),
            aud: AUDIENCE.into(),
            sub: Uuid::nil(),
            role: "authenticated".into(),
            email: "a@example.com".into(),
            phone: String::new(),
            session_id: Uuid::nil(),
            aal: "aal1",
            amr: vec![],
            app_metadata: json!({}),
            user_metadata: json!({}),
            is_anonymous: false,
            iat: 0,
            exp,
        }
    }

    fn in_an_hour() -> i64 {
        chrono::Utc::now().timestamp() + 3600
    }

    #[test]
    fn own_tokens_are_accepted_and_others_are_not() {
        let ours = keys(1, Duration::from_secs(3600));
        let token = ours.sign(&claims(in_an_hour())).unwrap();
        assert_eq!(
            ours.verify(&token).unwrap().role.as_deref(),
            Some("authenticated")
        );

        let foreign = keys(2, Duration::from_secs(3600))
            .sign(&claims(in_an_hour()))
            .unwrap();
        assert_eq!(ours.verify(&foreign).unwrap_err().code(), Code::BadJwt);

        let expired = ours
            .sign(&claims(chrono::Utc::now().timestamp() - 1))
            .unwrap();
        assert_eq!(ours.verify(&expired).unwrap_err().code(), Code::BadJwt);

        for garbage in ["", "a.b.c", "....", "é"] {
            assert_eq!(ours.verify(garbage).unwrap_err().code(), Code::BadJwt);
        }
    }

    /// An attacker who knows the public key must not pass it off as an HMAC secret, nor drop the signature.
    #[test]
    fn the_algorithm_cannot_be_confused() {
        let ours = keys(1, Duration::from_secs(3600));
        let body = json!({ "role": "service_role", "exp": in_an_hour() });
        let public = ours.jwks()["keys"][0]["x"].as_str().unwrap().to_owned();
        let forged = encode(
            &Header::new(Algorithm::HS256),
            &body,
            &EncodingKey::from_secret(public.as_bytes()),
        )
        .unwrap();
        assert!(ours.verify(&forged).is_err());

        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&body));
        assert!(ours.verify(&unsigned).is_err());
    }

    #[test]
    fn legacy_keys_are_accepted() {
        let ours = keys(1, Duration::from_secs(3600));
        let legacy = encode(
            &Header::new(Algorithm::HS256),
            &json!({ "role": "service_role", "exp": in_an_hour() }),
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap();
        assert_eq!(
            ours.verify(&legacy).unwrap().role.as_deref(),
            Some("service_role")
        );
    }

    #[test]
    fn the_key_set_holds_no_private_part() {
        let jwks = keys(1, Duration::from_secs(3600)).jwks().to_string();
        assert!(jwks.contains("\"kid\":\"k1\"") && !jwks.contains("\"d\""));
    }
}
