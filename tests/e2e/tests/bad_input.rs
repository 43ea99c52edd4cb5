//! Bad input at every edge gets a clear refusal: never a 5xx, never a hang, never somebody else's data.

use std::sync::OnceLock;

use anyhow::Result;
use lyceum_e2e::{Answer, DEMO_PASSWORD, Options, Sandbox, answer, shared};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

const HAZMAT: &str = "c0000000-0000-4000-8000-000000000001";

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: true,
            seed: true,
        },
    )
}

fn assert_refused(what: &str, answer: &Answer) {
    assert!(answer.status.is_client_error(), "{what}: {answer:?}");
    let said = ["message", "msg", "detail", "title"].iter().any(|field| {
        answer.body[field]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    });
    assert!(said, "{what} is refused without a sentence: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused_at_every_edge() -> Result<()> {
    let lena = sandbox()
        .sign_in("lena@ironworks.example", DEMO_PASSWORD)
        .await?;
    let (header, rest) = lena.token.split_once('.').unwrap_or_default();
    let (payload, signature) = rest.split_once('.').unwrap_or_default();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    let swapped = format!(
        "{header}.{payload}.{}",
        signature.chars().rev().collect::<String>()
    );
    let other_key = jsonwebtoken::Header {
        kid: Some("no-such-key".to_owned()),
        ..jsonwebtoken::Header::default()
    };
    let forged = jsonwebtoken::encode(
        &other_key,
        &json!({ "sub": lena.id, "role": "service_role", "aud": "authenticated", "exp": 4_000_000_000_u64 }),
        &jsonwebtoken::EncodingKey::from_secret(b"not the secret of this project, but long enough"),
    )?;
    let past = sandbox()
        .token(&json!({ "sub": lena.id, "role": "authenticated", "exp": 1_000_000_000 }))?;
    let tokens = [
        ("garbage", "garbage"),
        ("three dots", "a.b.c.d"),
        ("unsigned", unsigned.as_str()),
        ("signature", swapped.as_str()),
        ("forged", forged.as_str()),
        ("expired", past.as_str()),
        ("cut", &lena.token[..lena.token.len() - 20]),
    ];
    for (what, token) in tokens {
        let caller = sandbox().bearer(lena.id, token);
        for (method, path) in [
            (Method::GET, "/rest/v1/courses"),
            (Method::POST, "/rest/v1/rpc/get_dashboard"),
            (Method::GET, "/auth/v1/user"),
            (Method::POST, "/functions/v1/enrollment"),
        ] {
            let body = (method == Method::POST).then(|| json!({}));
            let answer = caller.call(method, path, &[], body.as_ref()).await?;
            assert!(
                answer.status == 401 || answer.status == 403,
                "{what} at {path}: {answer:?}"
            );
            assert_refused(&format!("{what} at {path}"), &answer);
        }
    }
    // A role that a token may name, but this API does not serve.
    for role in ["postgres", "supabase_admin", "authenticator", "nobody"] {
        let token = sandbox().token(&json!({ "sub": lena.id, "role": role }))?;
        let answer = sandbox()
            .bearer(lena.id, &token)
            .get("/rest/v1/courses")
            .await?;
        assert_refused(role, &answer);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_gateway_answers_nothing() -> Result<()> {
    let client = reqwest::Client::new();
    for path in [
        "/rest/v1/courses",
        "/auth/v1/user",
        "/functions/v1/enrollment",
        "/storage/v1/object/notes/x",
        "/rest/v1/rpc/get_dashboard",
    ] {
        for key in [None, Some("wrong"), Some("sb_secret_wrong")] {
            let mut request = client.get(format!("{}{path}", sandbox().address("API_URL")));
            if let Some(key) = key {
                request = request.header("apikey", key);
            }
            let answer = answer(request).await?;
            assert_eq!(answer.status, 401, "{path} {key:?}: {answer:?}");
            assert_refused(path, &answer);
        }
    }
    let answer = answer(
        client
            .get(format!(
                "{}/realtime/v1/websocket",
                sandbox().address("API_URL")
            ))
            .header("apikey", sandbox().address("ANON_KEY")),
    )
    .await?;
    assert_eq!(answer.status, 501, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_unknown_fields_and_missing_rows_are_client_errors() -> Result<()> {
    let lena = sandbox()
        .sign_in("lena@ironworks.example", DEMO_PASSWORD)
        .await?;
    let random = Uuid::new_v4();
    let calls: Vec<(Method, String, Value)> = vec![
        (
            Method::GET,
            "/rest/v1/courses?id=eq.not-a-uuid".into(),
            Value::Null,
        ),
        (
            Method::GET,
            "/rest/v1/courses?nonsense=eq.1".into(),
            Value::Null,
        ),
        (
            Method::GET,
            "/rest/v1/courses?select=nonsense".into(),
            Value::Null,
        ),
        (
            Method::GET,
            "/rest/v1/courses?order=nonsense".into(),
            Value::Null,
        ),
        (Method::GET, "/rest/v1/answer_keys".into(), Value::Null),
        (Method::GET, "/rest/v1/courses?limit=-1".into(), Value::Null),
        (
            Method::POST,
            "/rest/v1/rpc/enroll".into(),
            json!({ "p_course_id": "not-a-uuid" }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/enroll".into(),
            json!({ "p_course_id": random }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/enroll".into(),
            json!({ "p_nonsense": random }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/enroll".into(),
            json!({ "p_course_id": HAZMAT, "p_idempotency_key": "x".repeat(300) }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/record_progress".into(),
            json!({ "p_lesson_id": random, "p_progress_percentage": 10 }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/record_progress".into(),
            json!({ "p_lesson_id": random, "p_progress_percentage": "NaN" }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/record_progress".into(),
            json!({ "p_lesson_id": random, "p_progress_percentage": -7 }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/set_enrollment_status".into(),
            json!({ "p_enrollment_id": random, "p_status": "completed" }),
        ),
        (
            Method::POST,
            "/rest/v1/rpc/get_user_courses".into(),
            json!({ "p_limit": 100_000 }),
        ),
        (
            Method::POST,
            "/rest/v1/enrollments".into(),
            json!({ "user_id": lena.id, "course_id": random }),
        ),
        (
            Method::POST,
            "/rest/v1/enrollments".into(),
            json!({ "user_id": lena.id }),
        ),
        (
            Method::POST,
            "/rest/v1/enrollments".into(),
            json!({ "user_id": lena.id, "course_id": HAZMAT, "nonsense": 1 }),
        ),
        (
            Method::POST,
            "/rest/v1/lesson_progress".into(),
            json!({ "user_id": lena.id, "lesson_id": random, "progress_percentage": 10 }),
        ),
        (Method::POST, "/rest/v1/lesson_progress".into(), json!([])),
        (Method::POST, "/functions/v1/enrollment".into(), json!({})),
        (
            Method::POST,
            "/functions/v1/enrollment".into(),
            json!({ "course_id": 7, "nonsense": true }),
        ),
        (
            Method::POST,
            "/functions/v1/enrollment".into(),
            json!([1, 2, 3]),
        ),
        (
            Method::GET,
            "/functions/v1/enrollment/eligibility".into(),
            Value::Null,
        ),
        (
            Method::GET,
            "/functions/v1/enrollment/eligibility?course_id=x&course_id=y&z=1".into(),
            Value::Null,
        ),
        (
            Method::GET,
            "/functions/v1/enrollment/nonsense".into(),
            Value::Null,
        ),
        (
            Method::DELETE,
            "/functions/v1/enrollment".into(),
            Value::Null,
        ),
        (Method::GET, "/functions/v1/nonsense".into(), Value::Null),
        (Method::GET, "/nonsense".into(), Value::Null),
        (
            Method::POST,
            "/auth/v1/token?grant_type=nonsense".into(),
            json!({}),
        ),
        (
            Method::POST,
            "/auth/v1/token?grant_type=password".into(),
            json!({ "email": "lena@ironworks.example", "password": "wrong" }),
        ),
        (
            Method::POST,
            "/auth/v1/signup".into(),
            json!({ "email": "nonsense", "password": "long enough" }),
        ),
    ];
    for (method, path, body) in calls {
        let headers: &[(&str, &str)] = if method == Method::GET {
            &[("accept-profile", "lms")]
        } else {
            &[("content-profile", "lms")]
        };
        let answer = lena
            .call(
                method.clone(),
                &path,
                headers,
                (!body.is_null()).then_some(&body),
            )
            .await?;
        if path == "/rest/v1/lesson_progress" && body == json!([]) {
            assert!(
                answer.status.is_success(),
                "an empty batch is nothing to do: {answer:?}"
            );
            continue;
        }
        assert_refused(&format!("{method} {path} {body}"), &answer);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_client_errors() -> Result<()> {
    let lena = sandbox()
        .sign_in("lena@ironworks.example", DEMO_PASSWORD)
        .await?;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: [(&str, Vec<u8>); 7] = [
        ("not JSON", b"{\"p_course_id\": ".to_vec()),
        ("deep JSON", deep.into_bytes()),
        ("NUL", b"{\"p_course_id\": \"\\u0000\"}".to_vec()),
        ("raw NUL", b"{\"p_course_id\": \"\0\"}".to_vec()),
        ("not UTF-8", b"{\"p_course_id\": \"\xff\xfe\"}".to_vec()),
        ("empty", Vec::new()),
        ("two values", b"{} {}".to_vec()),
    ];
    let client = reqwest::Client::new();
    for path in [
        "/rest/v1/rpc/enroll",
        "/functions/v1/enrollment",
        "/auth/v1/signup",
    ] {
        for (what, body) in &bodies {
            let request = client
                .post(format!("{}{path}", sandbox().address("API_URL")))
                .header("apikey", sandbox().address("ANON_KEY"))
                .header("content-type", "application/json")
                .header("content-profile", "lms")
                .bearer_auth(&lena.token)
                .body(body.clone());
            let answer = answer(request).await?;
            assert_refused(&format!("{what} at {path}"), &answer);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_bodies_are_refused_early() -> Result<()> {
    let client = reqwest::Client::new();
    for (path, megabytes) in [
        ("/rest/v1/rpc/enroll", 12),
        ("/functions/v1/enrollment", 8),
        ("/auth/v1/signup", 2),
    ] {
        let request = client
            .post(format!("{}{path}", sandbox().address("API_URL")))
            .header("apikey", sandbox().address("ANON_KEY"))
            .header("content-type", "application/json")
            .body(vec![b' '; megabytes << 20]);
        match answer(request).await {
            Ok(answer) => {
                assert_eq!(answer.status, 413, "{path}: {answer:?}");
                assert_refused(path, &answer);
            }
            // The gateway may close the connection while the body is still being sent.
            Err(error) => assert!(
                error.to_string().contains("error sending request"),
                "{path}: {error:#}"
            ),
        }
    }
    Ok(())
}
