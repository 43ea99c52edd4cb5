//! Who may pass: API keys, and what they turn into.

use std::collections::HashMap;

use anyhow::{Context, Result};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::reply::Reply;
use super::routes::{Guard, Route};
use crate::keys::Keys;

const API_KEY: HeaderName = HeaderName::from_static("apikey");
/// Prefix of the opaque keys.
const OPAQUE: &str = "sb_";

/// The keys of the stack, ready to compare and to verify with.
pub struct Access {
    /// API key -> the `Authorization` value of its role.
    bearer_of: HashMap<String, HeaderValue>,
    secret: DecodingKey,
    public_key: DecodingKey,
}

impl Access {
    /// Prepares the keys.
    pub fn new(keys: &Keys) -> Result<Self> {
        let anon = bearer(&keys.anon_key)?;
        let service = bearer(&keys.service_role_key)?;
        let coordinate = |name: &str| {
            keys.public_jwk[name]
                .as_str()
                .with_context(|| format!("the public key lacks {name}"))
        };
        Ok(Self {
            bearer_of: HashMap::from([
                (keys.anon_key.clone(), anon.clone()),
                (keys.publishable_key.clone(), anon),
                (keys.service_role_key.clone(), service.clone()),
                (keys.secret_key.clone(), service),
            ]),
            secret: DecodingKey::from_secret(keys.jwt_secret.as_bytes()),
            public_key: DecodingKey::from_ec_components(coordinate("x")?, coordinate("y")?)?,
        })
    }

    /// Lets the request pass with the `Authorization` that its keys stand for, or says why not. The key in the query
    /// string is taken out: PostgREST would read it as a filter.
    pub fn admit<B>(&self, route: &Route, request: &mut Request<B>) -> Result<(), Reply> {
        let from_query = take_api_key(request.uri_mut());
        if route.guard == Guard::Open {
            return Ok(());
        }
        let key = match request.headers().get(API_KEY) {
            Some(value) => Some(value.to_str().unwrap_or_default().to_owned()),
            None => from_query,
        };
        let bearer_of_key = match key.as_deref() {
            Some(key) => Some(self.bearer_of.get(key).ok_or_else(|| {
                unauthorized(
                    "Invalid API key",
                    "Double check your API key: `lyceum status` prints this stack's.",
                )
            })?),
            None => None,
        };
        let token = bearer_token(request.headers());
        if bearer_of_key.is_none() {
            let admitted = route.guard == Guard::KeyOrToken
                && token.as_deref().is_some_and(|token| {
                    self.bearer_of.contains_key(token) || self.is_valid(token)
                });
            if !admitted {
                return Err(unauthorized(
                    "No API key found in request",
                    "No `apikey` request header or url param was found.",
                ));
            }
        }
        // The value to be set: the caller's own token, or the one that an opaque or missing one stands for.
        let replacement = match token.as_deref() {
            Some(token) if token.starts_with(OPAQUE) => {
                Some(self.bearer_of.get(token).ok_or_else(|| {
                    unauthorized(
                        "Invalid API key",
                        "The bearer token looks like an API key of another project.",
                    )
                })?)
            }
            Some(_) => None,
            None if request.headers().contains_key(AUTHORIZATION) => None,
            None => bearer_of_key,
        };
        if let Some(value) = replacement {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        Ok(())
    }

    /// Whether a token is signed by this stack and has not expired. What it may do is for the part to decide.
    fn is_valid(&self, token: &str) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return false;
        };
        let (algorithm, key) = match header.alg {
            Algorithm::ES256 => (Algorithm::ES256, &self.public_key),
            Algorithm::HS256 => (Algorithm::HS256, &self.secret),
            _ => return false,
        };
        let mut validation = Validation::new(algorithm);
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, key, &validation).is_ok()
    }
}

fn unauthorized(message: &str, hint: &str) -> Reply {
    Reply::new(StatusCode::UNAUTHORIZED, message).hint(hint)
}

fn bearer(token: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(&format!("Bearer {token}")).context("a key does not fit into a header")
}

fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// Removes `apikey=...` from the query and returns its value.
fn take_api_key(uri: &mut Uri) -> Option<String> {
    let query = uri.query()?;
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("apikey="))?
        .to_owned();
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.starts_with("apikey="))
        .collect();
    let path = if rest.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), rest.join("&"))
    };
    if let Ok(changed) = path.parse() {
        *uri = changed;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_taken_out_of_the_query() {
        let mut uri: Uri = "/rest/v1/courses?select=id&apikey=abc&limit=1"
            .parse()
            .unwrap();
        assert_eq!(take_api_key(&mut uri).as_deref(), Some("abc"));
        assert_eq!(uri.to_string(), "/rest/v1/courses?select=id&limit=1");
        let mut uri: Uri = "/rest/v1/?apikey=abc".parse().unwrap();
        assert_eq!(take_api_key(&mut uri).as_deref(), Some("abc"));
        assert_eq!(uri.to_string(), "/rest/v1/");
    }
}
