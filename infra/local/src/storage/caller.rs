//! Who asks: the role and the claims of a verified token.

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::Storage;
use super::error::{Result, StorageError};
use crate::keys::Keys;

/// The roles that a token may name; any other is the database's own.
const ROLES: [&str; 3] = ["anon", "authenticated", "service_role"];

/// A verified caller.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    role: String,
    claims: Map<String, Value>,
}

impl Caller {
    /// A caller with these claims, if their role is one that clients have.
    pub(super) fn from_claims(claims: Map<String, Value>) -> Result<Self> {
        let role = claims.get("role").and_then(Value::as_str).unwrap_or("anon");
        if !ROLES.contains(&role) {
            return Err(StorageError::access_denied("Invalid role"));
        }
        Ok(Self {
            role: role.to_owned(),
            claims,
        })
    }

    pub(super) fn role(&self) -> &str {
        &self.role
    }

    /// Who it is; none for the keys of the project.
    pub(super) fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// All claims as JSON.
    pub(super) fn claims(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }
}

/// Verifies tokens: ES256 by the stack's key, HS256 by the legacy secret.
pub(super) struct Verifier {
    secret: DecodingKey,
    public_key: DecodingKey,
}

impl Verifier {
    pub(super) fn new(keys: &Keys) -> anyhow::Result<Self> {
        let coordinate = |name: &str| {
            keys.public_jwk[name]
                .as_str()
                .with_context(|| format!("the public key lacks {name}"))
        };
        Ok(Self {
            secret: DecodingKey::from_secret(keys.jwt_secret.as_bytes()),
            public_key: DecodingKey::from_ec_components(coordinate("x")?, coordinate("y")?)?,
        })
    }

    fn verify(&self, token: &str) -> Result<Caller> {
        let bad = |error: jsonwebtoken::errors::Error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::ExpiredSignature => {
                StorageError::invalid_token("\"exp\" claim timestamp check failed")
            }
            _ => StorageError::invalid_token("Invalid JWT"),
        };
        let header = jsonwebtoken::decode_header(token).map_err(bad)?;
        let key = match header.alg {
            Algorithm::ES256 => &self.public_key,
            Algorithm::HS256 => &self.secret,
            _ => return Err(StorageError::invalid_token("Invalid JWT")),
        };
        let mut validation = Validation::new(header.alg);
        validation.leeway = 0;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        let data =
            jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation).map_err(bad)?;
        Caller::from_claims(data.claims)
    }
}

impl FromRequestParts<Arc<Storage>> for Caller {
    type Rejection = StorageError;

    async fn from_request_parts(parts: &mut Parts, storage: &Arc<Storage>) -> Result<Self> {
        let token = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match token {
            Some(token) => storage.verifier.verify(token),
            None => Err(StorageError::invalid_request(
                "headers must have required property 'authorization'",
            )),
        }
    }
}
