//! Requests and answers of the credentials function, against a mocked project.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../core/tests/support/mod.rs"]
mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lambda_http::Body;
use lyceum_core::{Response, Services, respond};
use lyceum_credentials::Credentials;
use p256::{
    SecretKey,
    elliptic_curve::sec1::ToEncodedPoint as _,
    pkcs8::{EncodePrivateKey as _, LineEnding},
};
use serde_json::{Value, json};
use support::*;
use wiremock::{Mock, ResponseTemplate, matchers::path};

const VERIFY: &str = "/rest/v1/rpc/verify_certificate";
const CODE: &str = "0123456789ABCDEFGHJKMNPQRS";
const URL: &str = "https://lms.example/credentials";

fn certificate() -> Value {
    json!({
        "status": "valid", "code": CODE, "serial": "WORKS-2026-12345678", "holder_name": "Dora", "course_title": "Safety",
        "issuer_name": "Works", "issuer_id": "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11",
        "issued_at": "2026-03-01T10:00:00+00:00", "valid_from": "2026-03-01T09:59:59+00:00", "expires_at": null,
        "revoked_at": null, "valid_from_day": "2026-03-01", "expires_on_day": null, "revoked_on_day": null,
        "achievement_id": "0d9f5a52-1111-4222-8333-944455556666", "language": "en",
    })
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn pem(byte: u8) -> String {
    secret(byte)
        .to_pkcs8_pem(LineEnding::LF)
        .unwrap()
        .to_string()
}

/// As an operator keeps it: with the private half still in it.
fn former(byte: u8) -> String {
    let point = secret(byte).public_key().to_encoded_point(false);
    json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(point.x().unwrap()),
        "y": URL_SAFE_NO_PAD.encode(point.y().unwrap()), "d": URL_SAFE_NO_PAD.encode(secret(byte).to_bytes()),
    }] })
    .to_string()
}

struct Installation {
    project: Project,
    services: Services,
}

impl Installation {
    async fn with(settings: &[(&'static str, String)]) -> Self {
        let project = Project::start().await;
        let mut config = config(&project.server.uri());
        config.settings = settings.iter().cloned().collect();
        let services = Services::new(&config).unwrap();
        Self { project, services }
    }

    async fn says(self, answer: ResponseTemplate) -> Self {
        Mock::given(path(VERIFY))
            .respond_with(answer)
            .mount(&self.project.server)
            .await;
        self
    }

    async fn get(&self, path: &str) -> Response {
        let request = http::Request::builder()
            .uri(path)
            .body(Body::Empty)
            .unwrap();
        respond::<Credentials>(&self.services, request).await
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(self.get(path).await.body()).unwrap()
    }
}

async fn signing_with(byte: u8, before: Option<u8>) -> Installation {
    let mut settings = vec![
        ("CREDENTIALS_URL", format!("{URL}/")),
        ("CREDENTIALS_SIGNING_KEY", pem(byte).replace('\n', "\\n")),
    ];
    settings.extend(before.map(|byte| ("CREDENTIALS_FORMER_KEYS", former(byte))));
    Installation::with(&settings)
        .await
        .says(ResponseTemplate::new(200).set_body_json(certificate()))
        .await
}

#[tokio::test]
async fn the_database_is_asked_as_nobody_in_particular() {
    let lms = signing_with(7, None).await;
    let request = http::Request::builder()
        .uri(format!("/credentials/{CODE}"))
        .header("authorization", "Bearer whatever.was.sent")
        .body(Body::Empty)
        .unwrap();
    assert_eq!(
        respond::<Credentials>(&lms.services, request)
            .await
            .status(),
        200
    );
    let calls = lms.project.server.received_requests().await.unwrap();
    let call = calls.iter().find(|call| call.url.path() == VERIFY).unwrap();
    assert_eq!(call.headers["authorization"], format!("Bearer {ANON_KEY}"));
    assert_eq!(
        serde_json::from_slice::<Value>(&call.body).unwrap(),
        json!({ "p_code": CODE })
    );
    // The code opens the certificate: it is in no address that a log may hold.
    assert!(calls.iter().all(|call| !call.url.as_str().contains(CODE)));
}

#[tokio::test]
async fn what_was_signed_before_the_key_changed_stays_good() {
    let old = signing_with(7, None).await;
    let token = old.get(&format!("/credentials/{CODE}?format=jwt")).await;
    let token = String::from_utf8(token.body().to_vec()).unwrap();
    let kid = decode_header(&token).unwrap().kid.unwrap();

    let new = signing_with(9, Some(7)).await;
    let jwks = new.json("/credentials/jwks.json").await;
    let keys = jwks["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert!(!jwks.to_string().contains("\"d\""), "{jwks}");
    let key = keys.iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    let found = new
        .json(kid.strip_prefix("https://lms.example").unwrap())
        .await;
    assert_eq!(&found, key);

    let verified = |token: &str, key: &Value| {
        let key =
            DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap())
                .unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        decode::<Value>(token, &key, &validation).is_ok()
    };
    assert!(verified(&token, key));
    let renewed = new.get(&format!("/credentials/{CODE}?format=jwt")).await;
    let renewed = String::from_utf8(renewed.body().to_vec()).unwrap();
    assert_eq!(
        decode_header(&renewed).unwrap().kid.unwrap(),
        keys[0]["kid"].as_str().unwrap()
    );
    assert!(verified(&renewed, &keys[0]) && !verified(&renewed, key));
}

#[tokio::test]
async fn without_a_key_pages_are_shown_and_nothing_is_signed() {
    let lms = Installation::with(&[("CREDENTIALS_URL", URL.to_owned())])
        .await
        .says(ResponseTemplate::new(200).set_body_json(certificate()))
        .await;
    let page = lms.get(&format!("/credentials/{CODE}")).await;
    assert_eq!(page.status(), 200);
    assert!(!String::from_utf8_lossy(page.body()).contains("format=jwt"));
    let refused = lms.get(&format!("/credentials/{CODE}?format=jwt")).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(
        lms.json("/credentials/jwks.json").await,
        json!({ "keys": [] })
    );
    assert_eq!(lms.get("/credentials/keys/abc").await.status(), 404);
}

#[tokio::test]
async fn a_wrong_setting_is_a_fault_of_ours_and_told_to_nobody() {
    for settings in [
        vec![],
        vec![
            ("CREDENTIALS_URL", URL.to_owned()),
            ("CREDENTIALS_SIGNING_KEY", "secret".to_owned()),
        ],
        vec![
            ("CREDENTIALS_URL", URL.to_owned()),
            ("CREDENTIALS_SIGNING_KEY", pem(7)),
            ("CREDENTIALS_FORMER_KEYS", "secret".to_owned()),
        ],
    ] {
        let lms = Installation::with(&settings)
            .await
            .says(ResponseTemplate::new(200).set_body_json(certificate()))
            .await;
        let answer = lms.get(&format!("/credentials/{CODE}?format=jwt")).await;
        assert_eq!(answer.status(), 500);
        assert!(!String::from_utf8_lossy(answer.body()).contains("secret"));
    }
}

#[tokio::test]
async fn faults_of_the_database_are_told_as_such() {
    let lms = Installation::with(&[("CREDENTIALS_URL", URL.to_owned())]).await;
    let lms = lms.says(ResponseTemplate::new(503)).await;
    let answer = lms.get(&format!("/credentials/{CODE}")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_code_and_no_name_is_logged() {
    let lms = signing_with(7, None).await;
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = lyceum_core::telemetry::subscriber(Some("trace"), move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    for query in ["", "?format=jwt", "?format=nonsense"] {
        lms.get(&format!("/credentials/{CODE}{query}")).await;
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/credentials/{token}"), "{text}");
    assert!(!text.contains(CODE) && !text.contains("Dora"), "{text}");
}
