//! The keys and passwords of one stack: made once, kept in a file that only its owner can read.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files;

/// Ten years, as the keys of a Supabase project live.
const API_KEY_LIFETIME_SECONDS: i64 = 10 * 365 * 24 * 3600;

/// The database roles that sign in with a password.
pub const LOGIN_ROLES: [&str; 5] = [
    "supabase_admin",
    "postgres",
    "authenticator",
    "supabase_auth_admin",
    "supabase_storage_admin",
];

/// Everything secret about a stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    /// The legacy shared secret (HS256); it signs [`Keys::anon_key`] and [`Keys::service_role_key`].
    pub jwt_secret: String,
    /// JWT of role `anon`, HS256.
    pub anon_key: String,
    /// JWT of role `service_role`, HS256.
    pub service_role_key: String,
    /// Opaque key for clients (`sb_publishable_...`): the gateway turns it into role `anon`.
    pub publishable_key: String,
    /// Opaque key for servers (`sb_secret_...`): the gateway turns it into role `service_role`.
    pub secret_key: String,
    /// The private key of users' access tokens: P-256, PKCS#8 PEM.
    pub signing_key_pem: String,
    /// The `kid` of the signing key.
    pub key_id: String,
    /// The public half of the signing key as a JSON Web Key.
    pub public_jwk: Value,
    /// The private key of certificates: P-256, PKCS#8 PEM. Empty in files of before there was one.
    #[serde(default)]
    pub credentials_key_pem: String,
    /// Password of each role of [`LOGIN_ROLES`].
    pub passwords: BTreeMap<String, String>,
}

impl Keys {
    /// Reads the keys from `path`, or makes new ones and writes them there (mode 0600).
    ///
    /// # Errors
    /// When the file can be neither read nor written, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        if path.exists() {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the keys in {}", path.display()))?;
            let mut keys: Self = serde_json::from_str(&text).with_context(|| {
                format!(
                    "{} does not hold a stack's keys; delete it to get new ones",
                    path.display()
                )
            })?;
            if keys.credentials_key_pem.is_empty() {
                keys.credentials_key_pem = signing_key("")?.0;
                files::write_private(path, &serde_json::to_string_pretty(&keys)?)?;
            }
            return Ok(keys);
        }
        let keys = Self::generate()?;
        files::write_private(path, &serde_json::to_string_pretty(&keys)?)?;
        Ok(keys)
    }

    /// Makes new keys from the operating system's randomness.
    ///
    /// # Errors
    /// When a key cannot be encoded or a token not signed.
    pub fn generate() -> Result<Self> {
        let jwt_secret = random_text(48);
        let key_id = uuid::Uuid::new_v4().to_string();
        let (signing_key_pem, public_jwk) = signing_key(&key_id)?;
        Ok(Self {
            anon_key: api_key("anon", &jwt_secret)?,
            service_role_key: api_key("service_role", &jwt_secret)?,
            publishable_key: format!("sb_publishable_{}_{}", random_text(22), random_text(8)),
            secret_key: format!("sb_secret_{}_{}", random_text(22), random_text(8)),
            passwords: LOGIN_ROLES
                .iter()
                .map(|role| ((*role).to_owned(), random_text(32)))
                .collect(),
            credentials_key_pem: signing_key("")?.0,
            jwt_secret,
            signing_key_pem,
            key_id,
            public_jwk,
        })
    }

    /// The password of a role of [`LOGIN_ROLES`].
    ///
    /// # Errors
    /// When the role has none.
    pub fn password(&self, role: &str) -> Result<&str> {
        self.passwords
            .get(role)
            .map(String::as_str)
            .ok_or_else(|| anyhow!("role {role} has no password in this stack's keys"))
    }

    /// The JSON Web Key Set with which PostgREST verifies tokens: the public signing key and the legacy secret.
    #[must_use]
    pub fn verification_jwks(&self) -> Value {
        let secret = URL_SAFE_NO_PAD.encode(self.jwt_secret.as_bytes());
        json!({ "keys": [self.public_jwk, { "kty": "oct", "k": secret, "alg": "HS256", "use": "sig" }] })
    }
}

fn random_text(length: usize) -> String {
    rand::rng()
        .sample_iter(rand::distr::Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}

fn signing_key(key_id: &str) -> Result<(String, Value)> {
    let secret = loop {
        let bytes: [u8; 32] = rand::rng().random();
        // Fails only for zero and for numbers beyond the curve's order: practically never.
        if let Ok(secret) = p256::SecretKey::from_slice(&bytes) {
            break secret;
        }
    };
    let pem = secret
        .to_pkcs8_pem(LineEnding::LF)
        .context("cannot encode the signing key")?;
    let point = secret.public_key().to_encoded_point(false);
    let (Some(x), Some(y)) = (point.x(), point.y()) else {
        return Err(anyhow!("the signing key has no affine coordinates"));
    };
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": true,
        "kid": key_id, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    Ok((pem.to_string(), jwk))
}

fn api_key(role: &str, jwt_secret: &str) -> Result<String> {
    let now = chrono::Utc::now().timestamp();
    let claims = json!({ "iss": "supabase-demo", "role": role, "iat": now, "exp": now + API_KEY_LIFETIME_SECONDS });
    let key = EncodingKey::from_secret(jwt_secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .with_context(|| format!("cannot sign the {role} key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_and_private() {
        let folder = std::env::temp_dir().join(format!("lyceum-keys-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("keys.json");
        let first = Keys::load_or_create(&path).unwrap();
        let second = Keys::load_or_create(&path).unwrap();
        assert_eq!(first.anon_key, second.anon_key);
        assert_eq!(first.credentials_key_pem, second.credentials_key_pem);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_api_keys_carry_their_roles() {
        let keys = Keys::generate().unwrap();
        let secret = DecodingKey::from_secret(keys.jwt_secret.as_bytes());
        for (token, role) in [
            (&keys.anon_key, "anon"),
            (&keys.service_role_key, "service_role"),
        ] {
            let claims =
                jsonwebtoken::decode::<Value>(token, &secret, &Validation::new(Algorithm::HS256))
                    .unwrap()
                    .claims;
            assert_eq!(claims["role"], role);
        }
    }

    #[test]
    fn the_public_key_verifies_what_the_private_key_signs() {
        let keys = Keys::generate().unwrap();
        let signer = EncodingKey::from_ec_pem(keys.signing_key_pem.as_bytes()).unwrap();
        let exp = chrono::Utc::now().timestamp() + 60;
        let token = jsonwebtoken::encode(
            &Header::new(Algorithm::ES256),
            &json!({ "exp": exp }),
            &signer,
        )
        .unwrap();
        let (x, y) = (
            keys.public_jwk["x"].as_str().unwrap(),
            keys.public_jwk["y"].as_str().unwrap(),
        );
        let verifier = DecodingKey::from_ec_components(x, y).unwrap();
        assert!(
            jsonwebtoken::decode::<Value>(&token, &verifier, &Validation::new(Algorithm::ES256))
                .is_ok()
        );
    }
}
