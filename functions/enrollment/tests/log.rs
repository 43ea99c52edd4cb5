//! What a request leaves in the log. Alone in its file: a subscriber holds for the
//! whole process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../core/tests/support/mod.rs"]
mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use lyceum_core::{respond, telemetry};
use lyceum_enrollment::Enrollment;
use serde_json::{Value, json};
use support::*;
use wiremock::{Mock, ResponseTemplate, matchers::path};

const COURSE: &str = "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_one_line_per_request_and_no_secrets() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing::subscriber::set_global_default(telemetry::subscriber(Some("trace"), move || {
        writer.clone()
    }))
    .unwrap();
    let project = Project::start().await;
    Mock::given(path("/rest/v1/rpc/enroll"))
        .respond_with(ResponseTemplate::new(500).set_body_json(json!({
            "code": "XX000", "message": "about someone@example.org", "details": "private",
        })))
        .mount(&project.server)
        .await;
    let request = http::Request::post("/enrollment?secret=query")
        .header("authorization", format!("Bearer {}", project.token()))
        .header("content-type", "application/json")
        .header("idempotency-key", "order 66/a")
        .header("x-request-id", "trace-0123456789")
        .body(json!({ "course_id": COURSE }).to_string().into())
        .unwrap();
    let response = respond::<Enrollment>(&project.services, request).await;
    assert_eq!(response.headers()["x-request-id"], "trace-0123456789");

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["message"] == "request")
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line = &lines[0];
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["request_id"], "trace-0123456789");
    assert_eq!(line["function"], "enrollment");
    assert_eq!(line["method"], "POST");
    assert_eq!(line["route"], "/enrollment");
    assert_eq!(line["status"], 500);
    assert_eq!(line["user_id"], USER);
    assert_eq!(line["code"], "internal_error");
    assert!(line["duration_ms"].as_f64().unwrap() >= line["upstream_ms"].as_f64().unwrap());
    for secret in [
        &project.token()[..40],
        "order 66",
        COURSE,
        "someone@",
        "private",
        "secret",
        ANON_KEY,
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
