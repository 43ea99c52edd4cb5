//! Requests and answers of the enrollment function, against a mocked project.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../core/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use lambda_http::{Body, Request};
use lyceum_core::{Response, auth::RefreshPolicy, respond};
use lyceum_enrollment::Enrollment;
use serde_json::{Value, json};
use support::*;
use wiremock::{Mock, ResponseTemplate, matchers::path};

const ENROLL: &str = "/rest/v1/rpc/enroll";
const CHECK: &str = "/rest/v1/rpc/check_enrollment_eligibility";
const COURSE: &str = "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";
const ROW: &str = r#"{"id":"0d9f5a52-1111-4222-8333-944455556666", "progress_percentage":100.00,"later_column":[1.10]}"#;

struct Answer {
    status: u16,
    body: Value,
    response: Response,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The faults as `field:code`.
    fn faults(&self) -> Vec<String> {
        self.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| {
                format!(
                    "{}:{}",
                    fault["field"].as_str().unwrap(),
                    fault["code"].as_str().unwrap()
                )
            })
            .collect()
    }
}

async fn send(project: &Project, request: Request) -> Answer {
    let response = respond::<Enrollment>(&project.services, request).await;
    Answer {
        status: response.status().as_u16(),
        body: serde_json::from_slice(response.body()).unwrap_or_default(),
        response,
    }
}

fn request(project: &Project, method: &str, path: &str) -> http::request::Builder {
    http::Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", project.token()))
}

fn post(project: &Project, body: impl Into<Body>) -> Request {
    request(project, "POST", "/enrollment")
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

fn keyed(project: &Project) -> Request {
    request(project, "POST", "/enrollment")
        .header("content-type", "application/json")
        .header("idempotency-key", "order 66/a")
        .body(json!({"course_id": COURSE}).to_string().into())
        .unwrap()
}

fn get(project: &Project, path: &str) -> Request {
    request(project, "GET", path).body(Body::Empty).unwrap()
}

async fn answers(project: &Project, at: &str, answer: ResponseTemplate) {
    Mock::given(path(at))
        .respond_with(answer)
        .mount(&project.server)
        .await;
}

fn row() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(ROW, "application/json")
}

#[tokio::test]
async fn enrolling_calls_the_database_as_the_caller() {
    let project = Project::start().await;
    answers(&project, ENROLL, row()).await;
    let mut request = keyed(&project);
    *request.uri_mut() = "/functions/v1/enrollment".parse().unwrap();
    *request.body_mut() = json!({
        "course_id": COURSE, "user_id": USER, "due_at": "2031-05-01T08:00:00+02:00",
    })
    .to_string()
    .into();
    let answer = send(&project, request).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.response.body().as_ref(), ROW.as_bytes());
    assert_eq!(
        answer.header("location"),
        "/enrollment/0d9f5a52-1111-4222-8333-944455556666"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(!answer.header("x-request-id").is_empty());

    let calls = project.server.received_requests().await.unwrap();
    let call = calls.iter().find(|call| call.url.path() == ENROLL).unwrap();
    assert_eq!(call.method.as_str(), "POST");
    assert_eq!(call.headers["content-profile"], "lms");
    assert_eq!(call.headers["apikey"], ANON_KEY);
    // What the audit trail keeps: which function wrote, and for which request.
    let sender = call.headers["x-client-info"].to_str().unwrap();
    assert!(sender.starts_with("lyceum-enrollment/"), "{sender}");
    assert_eq!(call.headers["x-request-id"], *answer.header("x-request-id"));
    let token = call.headers["authorization"].to_str().unwrap();
    assert!(token.starts_with("Bearer ey"));
    assert_eq!(
        serde_json::from_slice::<Value>(&call.body).unwrap(),
        json!({
            "p_course_id": COURSE, "p_user_id": USER, "p_due_at": "2031-05-01T08:00:00+02:00",
            "p_idempotency_key": "order 66/a",
        })
    );
}

#[tokio::test]
async fn eligibility_passes_the_verdict_through() {
    let project = Project::start().await;
    let verdict = r#"{"eligible": false, "reasons":[{"code":"payment_required","message":"Buy it.","details":{"price":10.50}}]}"#;
    answers(
        &project,
        CHECK,
        ResponseTemplate::new(200).set_body_raw(verdict, "application/json"),
    )
    .await;
    let path = format!("/enrollment/eligibility?course_id={COURSE}&user_id={USER}");
    let answer = send(&project, get(&project, &path)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.response.body().as_ref(), verdict.as_bytes());

    let mut head = get(&project, &path);
    *head.method_mut() = http::Method::HEAD;
    let answer = send(&project, head).await;
    assert_eq!(answer.status, 200);
    assert!(answer.response.body().is_empty());
}

#[tokio::test]
async fn a_refused_enrollment_names_every_reason() {
    let project = Project::start().await;
    let reasons = json!([
        {"code": "capacity_full", "message": "All places are taken.", "details": {"capacity": 10}},
        {"code": "not_a_member", "message": "Not a member.", "details": null},
    ]);
    answers(
        &project,
        ENROLL,
        ResponseTemplate::new(409).set_body_json(json!({
            "code": "not_eligible", "message": "All places are taken.",
            "details": reasons.to_string(), "hint": "See details for every reason.",
        })),
    )
    .await;
    let answer = send(&project, keyed(&project)).await;
    assert_eq!((answer.status, answer.code()), (409, "not_eligible"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["reasons"], reasons);
    assert_eq!(answer.body["detail"], "All places are taken.");
    assert_eq!(answer.body["type"], "urn:lyceum:problem:not_eligible");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    assert!(answer.body.get("details").is_none());
}

#[tokio::test]
async fn the_databases_refusals_are_mapped() {
    for (upstream, body, status, code) in [
        (
            404,
            json!({"code": "course_not_found", "message": "No such course."}),
            404,
            "course_not_found",
        ),
        (
            422,
            json!({"code": "idempotency_key_reused", "message": "Used."}),
            422,
            "idempotency_key_reused",
        ),
        (
            403,
            json!({"code": "42501", "message": "permission denied for table secret"}),
            403,
            "forbidden",
        ),
        (
            401,
            json!({"code": "PGRST301", "message": "JWT expired"}),
            401,
            "token_refused",
        ),
        (
            409,
            json!({"code": "23505", "message": "secret"}),
            409,
            "conflict",
        ),
        (
            500,
            json!({"code": "57014", "message": "secret"}),
            504,
            "upstream_timeout",
        ),
        (
            404,
            json!({"code": "PGRST202", "message": "secret"}),
            500,
            "internal_error",
        ),
        (
            500,
            json!({"code": "XX000", "message": "secret"}),
            500,
            "internal_error",
        ),
        (
            503,
            json!({"code": "PGRST001", "message": "secret"}),
            503,
            "unavailable",
        ),
    ] {
        let project = Project::start().await;
        answers(
            &project,
            ENROLL,
            ResponseTemplate::new(upstream).set_body_json(body),
        )
        .await;
        let answer = send(
            &project,
            post(&project, json!({"course_id": COURSE}).to_string()),
        )
        .await;
        assert_eq!((answer.status, answer.code()), (status, code));
        assert!(
            !answer.body.to_string().contains("secret"),
            "{}",
            answer.body
        );
        assert_eq!(
            answer.header("retry-after").is_empty(),
            !matches!(status, 503 | 504)
        );
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401);
    }
}

#[tokio::test]
async fn a_person_must_be_signed_in() {
    let project = Project::start().await;
    let anon = symmetric(
        &json!({"iss": "supabase", "role": "anon", "exp": now() + 60}),
        SECRET.as_bytes(),
        None,
    );
    for token in [None, Some(anon)] {
        for (method, path) in [("POST", "/enrollment"), ("GET", "/enrollment/eligibility")] {
            let mut request = http::Request::builder().method(method).uri(path);
            if let Some(token) = &token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = send(&project, request.body(Body::Empty).unwrap()).await;
            assert_eq!((answer.status, answer.code()), (401, "sign_in_required"));
        }
    }
    assert_eq!(project.hits(ENROLL).await + project.hits(CHECK).await, 0);
}

#[tokio::test]
async fn bodies_at_fault_never_reach_the_database() {
    let project = Project::start().await;
    let deep = format!(
        r#"{{"course_id":{}{}}}"#,
        "[".repeat(9_000),
        "]".repeat(9_000)
    );
    for (body, status, code) in [
        (Body::Empty, 400, "malformed_body"),
        ("{".into(), 400, "malformed_body"),
        ("[]".into(), 400, "malformed_body"),
        ("null".into(), 400, "malformed_body"),
        (
            Body::Binary(b"{\"course_id\":\"\xff\"}".to_vec()),
            400,
            "malformed_body",
        ),
        (Body::Binary(vec![0; 100]), 400, "malformed_body"),
        (deep.into(), 400, "malformed_body"),
        ("x".repeat(64 * 1024 + 1).into(), 413, "body_too_large"),
        ("{}".into(), 422, "validation_failed"),
        (
            "{\"course_id\":\"\\u0000\"}".into(),
            422,
            "validation_failed",
        ),
    ] {
        let answer = send(&project, post(&project, body)).await;
        assert_eq!((answer.status, answer.code()), (status, code));
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
    ] {
        let mut request = post(&project, "{}");
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        let answer = send(&project, request).await;
        assert_eq!(
            (answer.status, answer.code()),
            (415, "unsupported_media_type")
        );
    }
    let mut request = post(&project, "{}");
    request
        .headers_mut()
        .insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(send(&project, request).await.status, 415);
    assert_eq!(project.hits(ENROLL).await, 0);
}

#[tokio::test]
async fn all_faults_of_a_body_are_told_at_once() {
    let project = Project::start().await;
    let mut request = post(
        &project,
        r#"{"course_id":"x","user_id":7,"due_at":"2031-05-01","status":"completed","status":"done"}"#,
    );
    request
        .headers_mut()
        .insert("idempotency-key", "x".repeat(256).parse().unwrap());
    let answer = send(&project, request).await;
    assert_eq!(answer.status, 422);
    let mut faults = answer.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            "course_id:invalid",
            "due_at:invalid",
            "idempotency-key:invalid",
            "status:repeated",
            "status:unknown",
            "user_id:invalid",
        ]
    );
    for key in [&b""[..], b"caf\xc3\xa9", b"a\tb"] {
        let mut request = post(&project, json!({"course_id": COURSE}).to_string());
        request.headers_mut().insert(
            "idempotency-key",
            http::HeaderValue::from_bytes(key).unwrap(),
        );
        assert_eq!(
            send(&project, request).await.faults(),
            ["idempotency-key:invalid"]
        );
    }
}

#[tokio::test]
async fn all_faults_of_a_query_are_told_at_once() {
    let project = Project::start().await;
    for (query, expected) in [
        ("", vec!["course_id:missing"]),
        ("course_id=", vec!["course_id:invalid"]),
        ("course_id=%00", vec!["course_id:invalid"]),
        ("course_id=%FF", vec!["course_id:invalid"]),
        (
            "course_id=1&course_id=2&user_id=x&colour=red",
            vec![
                "course_id:repeated",
                "course_id:invalid",
                "user_id:invalid",
                "colour:unknown",
            ],
        ),
    ] {
        let path = format!("/enrollment/eligibility?{query}");
        let answer = send(&project, get(&project, &path)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "validation_failed"),
            "{query}"
        );
        assert_eq!(answer.faults(), expected);
    }
    assert_eq!(project.hits(CHECK).await, 0);
}

#[tokio::test]
async fn only_what_is_safe_to_repeat_is_repeated() {
    let failing_once = async |at: &str| {
        let project = Project::start().await;
        Mock::given(path(at))
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(1)
            .mount(&project.server)
            .await;
        project
    };
    let project = failing_once(ENROLL).await;
    answers(&project, ENROLL, row()).await;
    assert_eq!(send(&project, keyed(&project)).await.status, 201);
    assert_eq!(project.hits(ENROLL).await, 2);

    let project = failing_once(ENROLL).await;
    answers(&project, ENROLL, row()).await;
    let answer = send(
        &project,
        post(&project, json!({"course_id": COURSE}).to_string()),
    )
    .await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert_eq!(project.hits(ENROLL).await, 1);

    let project = failing_once(CHECK).await;
    let verdict = json!({"eligible": true, "reasons": []});
    answers(
        &project,
        CHECK,
        ResponseTemplate::new(200).set_body_json(verdict),
    )
    .await;
    let path = format!("/enrollment/eligibility?course_id={COURSE}");
    assert_eq!(send(&project, get(&project, &path)).await.status, 200);
    assert_eq!(project.hits(CHECK).await, 2);
}

#[tokio::test]
async fn an_outage_is_not_answered_with_more_load() {
    let project = Project::start().await;
    answers(&project, ENROLL, ResponseTemplate::new(503)).await;
    for _ in 0..20 {
        let answer = send(&project, keyed(&project)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "2"));
    }
    assert_eq!(project.hits(ENROLL).await, 20 + 10);
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let project = Project::start().await;
    let body = json!({"code": "course_not_found", "message": "No such course."});
    answers(
        &project,
        ENROLL,
        ResponseTemplate::new(404).set_body_json(body),
    )
    .await;
    assert_eq!(send(&project, keyed(&project)).await.status, 404);
    assert_eq!(project.hits(ENROLL).await, 1);
}

#[tokio::test]
async fn a_slow_database_is_given_up_on() {
    let project = Project::with(
        |config| config.upstream_timeout = Duration::from_millis(200),
        RefreshPolicy::default(),
    )
    .await;
    answers(&project, ENROLL, row().set_delay(Duration::from_secs(5))).await;
    let started = std::time::Instant::now();
    let answer = send(&project, keyed(&project)).await;
    assert_eq!((answer.status, answer.code()), (504, "upstream_timeout"));
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(project.hits(ENROLL).await, 1);
}

#[tokio::test]
async fn an_absent_database_is_told_apart() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let keys = Project::start().await;
    let url = format!("{}{JWKS_PATH}", keys.server.uri());
    let project = Project::with(
        |config| {
            config.supabase_url = gone;
            config.jwks_url = url;
        },
        RefreshPolicy::default(),
    )
    .await;
    let answer = send(&project, keyed(&project)).await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert!(!answer.body.to_string().contains("127.0.0.1"));

    let health = send(&project, get(&project, "/enrollment/health")).await;
    assert_eq!(health.status, 503);
    assert_eq!(health.body["checks"]["database"], "unavailable");
}

#[tokio::test]
async fn strange_answers_of_the_database_are_our_fault() {
    for answer in [
        ResponseTemplate::new(200).set_body_string("null"),
        ResponseTemplate::new(200).set_body_string("[]"),
        ResponseTemplate::new(204),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(200).set_body_string("x".repeat(7 * 1024 * 1024)),
        ResponseTemplate::new(302).insert_header("location", "/elsewhere"),
    ] {
        let project = Project::start().await;
        answers(&project, ENROLL, answer.clone()).await;
        answers(&project, CHECK, answer).await;
        let path = format!("/enrollment/eligibility?course_id={COURSE}");
        for request in [keyed(&project), get(&project, &path)] {
            let answer = send(&project, request).await;
            assert_eq!((answer.status, answer.code()), (500, "internal_error"));
        }
        assert_eq!(project.hits("/elsewhere").await, 0);
    }
}

#[tokio::test]
async fn paths_and_methods() {
    let project = Project::start().await;
    for (method, path, status, allow) in [
        ("GET", "/enrollment", 405, "OPTIONS, POST"),
        (
            "DELETE",
            "/enrollment/eligibility",
            405,
            "GET, HEAD, OPTIONS",
        ),
        ("PROPFIND", "/functions/v1/enrollment", 405, "OPTIONS, POST"),
        ("OPTIONS", "/functions/v1/enrollment", 204, "OPTIONS, POST"),
        ("OPTIONS", "/enrollment/nothing", 404, ""),
        ("GET", "/enrollment/nothing", 404, ""),
        ("GET", "/", 404, ""),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Body::Empty)
            .unwrap();
        let answer = send(&project, request).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (status, allow),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn health_and_description_need_no_token() {
    let project = Project::start().await;
    answers(
        &project,
        "/rest/v1/courses",
        ResponseTemplate::new(200).set_body_json(json!([])),
    )
    .await;
    let open = |path: &str| {
        http::Request::builder()
            .uri(path)
            .body(Body::Empty)
            .unwrap()
    };
    let health = send(&project, open("/functions/v1/enrollment/health")).await;
    assert_eq!(health.status, 200);
    assert_eq!(
        health.body,
        json!({
            "status": "ok", "function": "enrollment", "version": env!("CARGO_PKG_VERSION"),
            "checks": {"database": "ok"},
        })
    );

    let document = send(&project, open("/enrollment/openapi.json")).await;
    assert_eq!(document.status, 200);
    let paths = document.body["paths"].as_object().unwrap();
    assert!(paths["/enrollment"]["post"]["responses"]["409"].is_object());
    assert!(paths["/enrollment/eligibility"]["get"].is_object());
    assert_eq!(document.body["servers"][0]["url"], "/functions/v1");
    let schemas = &document.body["components"]["schemas"];
    assert_eq!(schemas["EnrollRequest"]["additionalProperties"], false);
    for referred in references(&document.body) {
        let name = referred.rsplit('/').next().unwrap();
        assert!(schemas[name].is_object(), "{referred} is not described");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(target) if name == "$ref" => vec![target.to_owned()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

const CHANGE: &str = "/rest/v1/rpc/change_enrollment";
const ENROLLMENT: &str = "/enrollment/0d9f5a52-1111-4222-8333-944455556666";

fn patch(project: &Project, path: &str, body: &str) -> Request {
    request(project, "PATCH", path)
        .header("content-type", "application/json")
        .body(body.to_owned().into())
        .unwrap()
}

#[tokio::test]
async fn changing_calls_the_database_once_as_the_caller() {
    let project = Project::start().await;
    answers(&project, CHANGE, row()).await;
    let body = r#"{"status":"paused","due_at":null}"#;
    let path = format!("/functions/v1{ENROLLMENT}");
    let answer = send(&project, patch(&project, &path, body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.response.body().as_ref(), ROW.as_bytes());
    let calls = project.server.received_requests().await.unwrap();
    let calls: Vec<_> = calls
        .iter()
        .filter(|call| call.url.path() == CHANGE)
        .collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].body_json::<Value>().unwrap(),
        json!({
            "p_enrollment_id": "0d9f5a52-1111-4222-8333-944455556666", "p_status": "paused",
            "p_due_at": null, "p_change_due_at": true,
        })
    );
    assert_eq!(
        calls[0].headers["authorization"].to_str().unwrap(),
        format!("Bearer {}", project.token())
    );
}

#[tokio::test]
async fn a_change_that_makes_no_sense_reaches_no_database() {
    let project = Project::start().await;
    for (path, body, status, code) in [
        (ENROLLMENT, "{}", 422, "validation_failed"),
        (
            ENROLLMENT,
            r#"{"status":"completed"}"#,
            422,
            "validation_failed",
        ),
        (ENROLLMENT, r#"{"due_at":"soon"}"#, 422, "validation_failed"),
        (ENROLLMENT, "[]", 400, "malformed_body"),
        (
            "/enrollment/7",
            r#"{"status":"paused"}"#,
            404,
            "route_not_found",
        ),
    ] {
        let answer = send(&project, patch(&project, path, body)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{path} {body}"
        );
    }
    let put = request(&project, "PUT", ENROLLMENT)
        .body(Body::Empty)
        .unwrap();
    let answer = send(&project, put).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, "OPTIONS, PATCH")
    );
    assert!(
        project
            .server
            .received_requests()
            .await
            .unwrap()
            .iter()
            .all(|call| call.url.path() != CHANGE)
    );
}

const BULK: &str = "/rest/v1/rpc/enroll_in_bulk";

fn bulk(project: &Project, kind: &str, query: &str, body: impl Into<Body>) -> Request {
    request(project, "POST", &format!("/enrollment/bulk{query}"))
        .header("content-type", kind)
        .header("idempotency-key", "list 7")
        .body(body.into())
        .unwrap()
}

/// Enrols everybody, as the database would answer.
async fn enrols_all(project: &Project) {
    Mock::given(path(BULK))
        .respond_with(|call: &wiremock::Request| {
            let body = call.body_json::<Value>().unwrap();
            let rows: Vec<_> = body["p_rows"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| {
                    json!({
                        "row": row["row"], "outcome": "enrolled", "code": null, "message": null, "details": null,
                        "user_id": uuid::Uuid::new_v4(), "course_id": COURSE, "enrollment_id": uuid::Uuid::new_v4(),
                    })
                })
                .collect();
            ResponseTemplate::new(200).set_body_json(rows)
        })
        .mount(&project.server)
        .await;
}

async fn bulk_calls(project: &Project) -> Vec<Value> {
    let calls = project.server.received_requests().await.unwrap();
    calls
        .iter()
        .filter(|call| call.url.path() == BULK)
        .map(|call| call.body_json().unwrap())
        .collect()
}

#[tokio::test]
async fn a_long_list_goes_in_parts_with_keys_of_their_own() {
    let project = Project::start().await;
    enrols_all(&project).await;
    let mut rows: Vec<_> = (0..2500)
        .map(|n| json!({ "email": format!("p{n}@example.com"), "course_slug": "x" }))
        .collect();
    rows[1200] = json!(7);
    let body = json!({ "tenant_id": COURSE, "rows": rows, "invite": true }).to_string();
    let answer = send(&project, bulk(&project, "application/json", "", body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["summary"]["enrolled"], 2499);
    assert_eq!(
        answer.body["summary"]["refused_by_code"],
        json!({ "not_an_object": 1 })
    );
    let numbers: Vec<_> = answer.body["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["row"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=2500).collect::<Vec<_>>());
    assert_eq!(answer.body["rows"][1200]["code"], "not_an_object");
    let calls = bulk_calls(&project).await;
    let parts: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call["p_batch_key"].as_str().unwrap(),
                call["p_rows"].as_array().unwrap().len(),
            )
        })
        .collect();
    assert_eq!(
        parts,
        [("list 7/0", 1000), ("list 7/1", 999), ("list 7/2", 500)]
    );
    assert!(calls.iter().all(|call| call["p_invite"] == true));
}

#[tokio::test]
async fn a_dry_run_asks_once_and_under_no_key() {
    let project = Project::start().await;
    enrols_all(&project).await;
    let body = format!("email;course\n{}", "a@b.c;x\n".repeat(2500));
    let query = format!("?tenant_id={COURSE}&dry_run=true");
    let answer = send(&project, bulk(&project, "text/csv", &query, body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["rows"][0]["row"], 2);
    let calls = bulk_calls(&project).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["p_rows"].as_array().unwrap().len(), 2500);
    assert_eq!(
        calls[0]["p_rows"][0],
        json!({ "row": 2, "email": "a@b.c", "course_slug": "x" })
    );
    assert!(calls[0].get("p_batch_key").is_none());
}

#[tokio::test]
async fn a_part_that_fails_fails_the_list_and_says_that_it_may_be_sent_again() {
    let project = Project::start().await;
    answers(
        &project,
        BULK,
        ResponseTemplate::new(503)
            .set_body_json(json!({ "code": "PGRST001", "message": "secret" })),
    )
    .await;
    let body = json!({ "tenant_id": COURSE, "rows": [] }).to_string();
    let answer = send(&project, bulk(&project, "application/json", "", body)).await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert!(!answer.header("retry-after").is_empty());
    assert!(
        project.hits(BULK).await > 1,
        "under its key a part is sent again"
    );
}

#[tokio::test]
async fn lists_at_fault_never_reach_the_database() {
    let project = Project::start().await;
    let query = format!("?tenant_id={COURSE}");
    let rows = |count: usize| json!({ "tenant_id": COURSE, "rows": vec![0; count] }).to_string();
    for (kind, query, body, status, code) in [
        (
            "application/json",
            "",
            "[]".to_owned(),
            400,
            "malformed_body",
        ),
        (
            "application/json",
            "",
            "{}".to_owned(),
            422,
            "validation_failed",
        ),
        ("application/json", "", rows(10_001), 413, "too_many_rows"),
        (
            "application/json; charset=utf-16",
            "",
            rows(1),
            415,
            "unsupported_media_type",
        ),
        (
            "text/plain",
            &query,
            "email,course\n".to_owned(),
            415,
            "unsupported_media_type",
        ),
        (
            "text/csv",
            "",
            "email,course\n".to_owned(),
            422,
            "validation_failed",
        ),
        ("text/csv", &query, String::new(), 400, "malformed_file"),
        (
            "text/csv",
            &query,
            "email,colour\n".to_owned(),
            422,
            "validation_failed",
        ),
        (
            "text/csv",
            &query,
            format!("email,course\n\"{}", "x\n".repeat(50_000)),
            400,
            "malformed_file",
        ),
        (
            "text/csv",
            &query,
            "x".repeat(5 * 1024 * 1024 + 1),
            413,
            "body_too_large",
        ),
    ] {
        let start: String = body.chars().take(40).collect();
        let answer = send(&project, bulk(&project, kind, query, body)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{kind} {start}"
        );
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let mut keyed = bulk(&project, "application/json", "", rows(0));
    keyed
        .headers_mut()
        .insert("idempotency-key", "x".repeat(241).parse().unwrap());
    let answer = send(&project, keyed).await;
    assert_eq!(answer.faults(), ["idempotency-key:invalid"]);
    let open = format!("email,course\na@b.c,x\n\"{}", "x\n".repeat(50_000));
    let answer = send(&project, bulk(&project, "text/csv", &query, open)).await;
    assert_eq!(answer.body["details"], json!({ "line": 3 }));
    assert_eq!(project.hits(BULK).await, 0);
}
