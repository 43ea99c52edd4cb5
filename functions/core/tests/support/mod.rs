//! A project made of mock servers, and tokens as Supabase Auth issues them.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use lyceum_core::{Config, Services, auth::RefreshPolicy};
use p256::{
    SecretKey,
    elliptic_curve::sec1::ToEncodedPoint,
    pkcs8::{EncodePrivateKey, LineEnding},
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

pub const ISSUER: &str = "https://issuer.test/auth/v1";
pub const SECRET: &str = "a-legacy-secret-of-at-least-32-bytes";
pub const ANON_KEY: &str = "anon-key";
pub const USER: &str = "5b3c9a52-5d6c-4b8e-9d3f-0c6a1c0f7e21";
pub const JWKS_PATH: &str = "/auth/v1/.well-known/jwks.json";

/// A P-256 key pair with its id.
pub struct Signer {
    kid: String,
    key: SecretKey,
}

impl Signer {
    /// The same `seed` makes the same key.
    pub fn new(kid: &str, seed: u8) -> Self {
        Self {
            kid: kid.to_owned(),
            key: SecretKey::from_slice(&[seed; 32]).unwrap(),
        }
    }

    pub fn jwk(&self) -> Value {
        let point = self.key.public_key().to_encoded_point(false);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": BASE64_URL_SAFE_NO_PAD.encode(point.x().unwrap()),
            "y": BASE64_URL_SAFE_NO_PAD.encode(point.y().unwrap()),
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).unwrap();
        encode(
            &header,
            claims,
            &EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
        )
        .unwrap()
    }
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The claims of a person's good token.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "authenticated", "sub": USER, "role": "authenticated",
        "session_id": "0b4a3c1e-4f55-4f4f-8a2e-77b1c0ffee00", "exp": now() + 3600, "iat": now(),
    })
}

/// The good claims with some replaced, or left out where null.
pub fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// A token signed with a shared secret.
pub fn symmetric(claims: &Value, secret: &[u8], kid: Option<&str>) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// A token with any header and any signature.
pub fn forged(header: &Value, claims: &Value, signature: &str) -> String {
    format!(
        "{}.{}.{signature}",
        BASE64_URL_SAFE_NO_PAD.encode(header.to_string()),
        BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

/// A mock of the project's gateway, and a function's services that talk to it.
pub struct Project {
    pub server: MockServer,
    pub signer: Signer,
    pub services: Services,
}

impl Project {
    pub async fn start() -> Self {
        Self::with(|_| {}, RefreshPolicy::default()).await
    }

    pub async fn with(adjust: impl FnOnce(&mut Config), policy: RefreshPolicy) -> Self {
        let server = MockServer::start().await;
        let signer = Signer::new("key-1", 7);
        serve_keys(&server, &[signer.jwk()]).await;
        let mut config = config(&server.uri());
        adjust(&mut config);
        Self {
            services: Services::with_policy(&config, policy).unwrap(),
            server,
            signer,
        }
    }

    pub fn token(&self) -> String {
        self.signer.sign(&claims())
    }

    /// How often a path was asked for.
    pub async fn hits(&self, wanted: &str) -> usize {
        self.server
            .received_requests()
            .await
            .unwrap()
            .iter()
            .filter(|request| request.url.path() == wanted)
            .count()
    }
}

pub fn config(url: &str) -> Config {
    let mut config = Config::from_lookup(|name| match name {
        "SUPABASE_URL" => Some(url.to_owned()),
        "ANON_KEY" => Some(ANON_KEY.to_owned()),
        "JWT_SECRET" => Some(SECRET.to_owned()),
        "JWT_ISSUER" => Some(ISSUER.to_owned()),
        _ => None,
    })
    .unwrap();
    config.upstream_timeout = Duration::from_secs(3);
    config
}

pub async fn serve_keys(server: &MockServer, keys: &[Value]) {
    Mock::given(method("GET"))
        .and(path(JWKS_PATH))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "keys": keys })))
        .mount(server)
        .await;
}
