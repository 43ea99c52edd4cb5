//! The gateway in front of a dummy part: what callers may and may not do, and what the part gets to see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lyceum_local::gateway::{self, GatewayConfig};
use lyceum_local::keys::Keys;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Body = BoxBody<Bytes, Infallible>;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

struct Stack {
    address: SocketAddr,
    keys: Keys,
}

/// A gateway whose four parts are one dummy that tells what it received.
async fn start() -> Stack {
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = upstream.local_addr().unwrap().port();
    let router = axum::Router::new()
        .fallback(echo)
        .layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(upstream, router).await });
    start_with(port, Duration::from_secs(2)).await
}

async fn start_with(port: u16, upstream_timeout: Duration) -> Stack {
    let listener = gateway::bind_loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let keys = Keys::generate().unwrap();
    let config = GatewayConfig {
        rest_port: port,
        auth_port: port,
        storage_port: port,
        functions_port: port,
        functions: BTreeSet::from(["credentials".to_owned(), "enrollment".to_owned()]),
        keys: keys.clone(),
        upstream_timeout,
    };
    tokio::spawn(async move { gateway::serve(listener, config).await });
    Stack { address, keys }
}

async fn echo(request: axum::extract::Request) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let (head, body) = request.into_parts();
    if head.uri.path() == "/slow" {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                Value::from(value.to_str().unwrap_or_default()),
            )
        })
        .collect();
    let answer = json!({
        "method": head.method.as_str(), "path": head.uri.to_string(), "headers": headers, "length": body.len(),
    });
    let extra = [
        ("content-range", "0-1/2"),
        ("access-control-allow-origin", "https://only.example"),
        ("keep-alive", "5"),
    ];
    (StatusCode::OK, extra, axum::Json(answer)).into_response()
}

impl Stack {
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let exchange = client.request(request.body(body).unwrap());
        let response = tokio::time::timeout(Duration::from_secs(20), exchange)
            .await
            .unwrap()
            .unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Empty::new().boxed())
            .await
    }
}

fn bytes(length: usize) -> Body {
    Full::new(Bytes::from(vec![b'x'; length])).boxed()
}

/// A body without a Content-Length.
fn chunked(chunks: usize, size: usize) -> Body {
    let chunk = Bytes::from(vec![b'x'; size]);
    StreamBody::new(stream::iter(
        (0..chunks).map(move |_| Ok(Frame::data(chunk.clone()))),
    ))
    .boxed()
}

fn seen<'a>(answer: &'a Answer, header: &str) -> Option<&'a str> {
    answer.body["headers"][header].as_str()
}

#[tokio::test]
async fn without_a_key_there_is_401_with_a_hint() {
    let stack = start().await;
    for path in [
        "/rest/v1/courses",
        "/auth/v1/user",
        "/functions/v1/enrollment",
    ] {
        let answer = stack.get(path, &[]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            answer.body["message"].is_string() && answer.body["hint"].is_string(),
            "{path}: {}",
            answer.body
        );
    }
    let answer = stack.get("/rest/v1/courses", &[("apikey", "wrong")]).await;
    assert_eq!(
        (answer.status, answer.body["message"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("Invalid API key"))
    );
}

#[tokio::test]
async fn opaque_keys_become_the_tokens_of_their_roles() {
    let stack = start().await;
    let keys = &stack.keys;
    for (key, token) in [
        (&keys.publishable_key, &keys.anon_key),
        (&keys.secret_key, &keys.service_role_key),
        (&keys.anon_key, &keys.anon_key),
    ] {
        let expected = format!("Bearer {token}");
        let alone = stack.get("/rest/v1/courses", &[("apikey", key)]).await;
        assert_eq!(seen(&alone, "authorization"), Some(expected.as_str()));
        let bearer = format!("Bearer {key}");
        let twice = stack
            .get(
                "/rest/v1/courses",
                &[("apikey", key), ("authorization", &bearer)],
            )
            .await;
        assert_eq!(seen(&twice, "authorization"), Some(expected.as_str()));
    }
    let own = stack
        .get(
            "/rest/v1/courses",
            &[
                ("apikey", &keys.publishable_key),
                ("authorization", "Bearer a.b.c"),
            ],
        )
        .await;
    assert_eq!(seen(&own, "authorization"), Some("Bearer a.b.c"));
    let foreign = [
        ("apikey", keys.publishable_key.as_str()),
        ("authorization", "Bearer sb_secret_of_another_project"),
    ];
    assert_eq!(
        stack.get("/rest/v1/courses", &foreign).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_key_in_the_query_is_accepted_and_not_passed_on() {
    let stack = start().await;
    let path = format!("/rest/v1/courses?select=id&apikey={}", stack.keys.anon_key);
    let answer = stack.get(&path, &[]).await;
    assert_eq!(
        (answer.status, answer.body["path"].as_str()),
        (StatusCode::OK, Some("/courses?select=id"))
    );
}

#[tokio::test]
async fn paths_are_those_that_the_parts_expect() {
    let stack = start().await;
    let key = [("apikey", stack.keys.anon_key.as_str())];
    for (public, inner) in [
        ("/rest/v1/", "/"),
        ("/rest/v1/rpc/enroll?a=%20b", "/rpc/enroll?a=%20b"),
        (
            "/auth/v1/token?grant_type=password",
            "/token?grant_type=password",
        ),
        (
            "/functions/v1/enrollment",
            "/lambda-url/enrollment/functions/v1/enrollment",
        ),
        (
            "/functions/v1/enrollment/eligibility?x=1",
            "/lambda-url/enrollment/functions/v1/enrollment/eligibility?x=1",
        ),
    ] {
        assert_eq!(
            stack.get(public, &key).await.body["path"].as_str(),
            Some(inner)
        );
    }
    for (path, status) in [
        ("/functions/v1/unknown", StatusCode::NOT_FOUND),
        ("/rest/v10/", StatusCode::NOT_FOUND),
        ("/realtime/v1/websocket", StatusCode::NOT_IMPLEMENTED),
        ("/", StatusCode::OK),
    ] {
        assert_eq!(stack.get(path, &key).await.status, status, "{path}");
    }
}

/// What carries its own right, or needs none, is open; everything else of storage needs a key or a token.
#[tokio::test]
async fn links_to_stored_files_are_open() {
    let stack = start().await;
    let ask = async |method: Method, path: &str| {
        stack
            .send(method, path, &[], Empty::new().boxed())
            .await
            .status
    };
    for (method, path) in [
        (Method::GET, "/storage/v1/object/public/b/a"),
        (Method::HEAD, "/storage/v1/object/public/b/a"),
        (Method::GET, "/storage/v1/object/info/public/b/a"),
        (Method::GET, "/storage/v1/object/sign/b/a?token=x"),
        (Method::PUT, "/storage/v1/object/upload/sign/b/a?token=x"),
    ] {
        let status = ask(method.clone(), path).await;
        assert_eq!(status, StatusCode::OK, "{method} {path}");
    }
    for (method, path) in [
        (Method::POST, "/storage/v1/object/public/b/a"),
        (Method::POST, "/storage/v1/object/sign/b/a"),
        (Method::POST, "/storage/v1/object/upload/sign/b/a"),
        (Method::GET, "/storage/v1/object/b/a"),
        (Method::GET, "/storage/v1/object/publicity/a"),
        (Method::PUT, "/storage/v1/object/b/a"),
        (Method::DELETE, "/storage/v1/object/public/b/a"),
        (Method::GET, "/storage/v1/bucket"),
        (Method::POST, "/storage/v1/object/list/b"),
    ] {
        let status = ask(method.clone(), path).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    let key = stack.keys.secret_key.clone();
    let answer = stack
        .get("/storage/v1/object/b/a%2F..%2Fc", &[("apikey", &key)])
        .await;
    assert_eq!(answer.body["path"], "/object/b/a%2F..%2Fc", "as it came");
    assert_eq!(
        answer.body["headers"]["authorization"],
        format!("Bearer {}", stack.keys.service_role_key)
    );
}

#[tokio::test]
async fn links_in_mails_and_public_keys_are_open() {
    let stack = start().await;
    for path in [
        "/auth/v1/verify?token=x",
        "/auth/v1/.well-known/jwks.json",
        "/auth/v1/authorize",
        "/auth/v1/callback",
    ] {
        assert_eq!(stack.get(path, &[]).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_function_takes_a_valid_token_for_a_key() {
    let stack = start().await;
    let now = chrono::Utc::now().timestamp();
    let sign = |algorithm, key: &EncodingKey, exp: i64| {
        let claims = json!({ "sub": "someone", "aud": "authenticated", "exp": exp });
        format!(
            "Bearer {}",
            jsonwebtoken::encode(&Header::new(algorithm), &claims, key).unwrap()
        )
    };
    let ours = EncodingKey::from_ec_pem(stack.keys.signing_key_pem.as_bytes()).unwrap();
    let theirs =
        EncodingKey::from_ec_pem(Keys::generate().unwrap().signing_key_pem.as_bytes()).unwrap();
    let legacy = EncodingKey::from_secret(stack.keys.jwt_secret.as_bytes());
    for (token, status) in [
        (sign(Algorithm::ES256, &ours, now + 60), StatusCode::OK),
        (sign(Algorithm::HS256, &legacy, now + 60), StatusCode::OK),
        (
            sign(Algorithm::ES256, &ours, now - 600),
            StatusCode::UNAUTHORIZED,
        ),
        (
            sign(Algorithm::ES256, &theirs, now + 60),
            StatusCode::UNAUTHORIZED,
        ),
        ("Bearer nonsense".to_owned(), StatusCode::UNAUTHORIZED),
    ] {
        let headers = [("authorization", token.as_str())];
        assert_eq!(
            stack.get("/functions/v1/enrollment", &headers).await.status,
            status
        );
        // A token alone opens nothing else.
        assert_eq!(
            stack.get("/rest/v1/courses", &headers).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
}

/// Whoever scans the code on a certificate has no key.
#[tokio::test]
async fn certificates_are_read_without_a_key_and_nothing_else_is() {
    let stack = start().await;
    let open = "/functions/v1/credentials/0ABC?format=pdf";
    let answer = stack.get(open, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let posted = stack
        .send(Method::POST, open, &[], Empty::new().boxed())
        .await;
    assert_eq!(posted.status, StatusCode::UNAUTHORIZED);
    for path in ["/functions/v1/enrollment", "/functions/v1/credentialsx"] {
        assert_ne!(stack.get(path, &[]).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn preflights_are_answered_for_any_origin_and_header() {
    let stack = start().await;
    let asked = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "x-anything, apikey"),
    ];
    for path in [
        "/rest/v1/courses",
        "/auth/v1/token",
        "/functions/v1/enrollment",
    ] {
        let answer = stack
            .send(Method::OPTIONS, path, &asked, Empty::new().boxed())
            .await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(
            answer.headers["access-control-allow-headers"],
            "x-anything, apikey"
        );
        assert!(
            answer.headers["access-control-allow-methods"]
                .to_str()
                .unwrap()
                .contains("PATCH")
        );
    }
    let refused = stack
        .get("/rest/v1/courses", &[("origin", "https://app.example")])
        .await;
    assert_eq!(
        refused.headers["access-control-allow-origin"], "*",
        "scripts must be able to read refusals"
    );
    let key = [("apikey", stack.keys.anon_key.as_str())];
    let answer = stack.get("/rest/v1/courses", &key).await;
    assert_eq!(
        answer
            .headers
            .get_all("access-control-allow-origin")
            .iter()
            .collect::<Vec<_>>(),
        ["*"]
    );
    assert!(
        answer.headers["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("Content-Range")
    );
    assert_eq!(answer.headers["content-range"], "0-1/2");
}

#[tokio::test]
async fn headers_of_the_connection_stay_on_it_and_origins_are_told() {
    let stack = start().await;
    let headers = [
        ("apikey", stack.keys.anon_key.as_str()),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("x-forwarded-for", "8.8.8.8"),
        ("x-request-id", "abc-123"),
    ];
    let answer = stack.get("/rest/v1/courses", &headers).await;
    assert_eq!(seen(&answer, "x-private"), None);
    assert_eq!(seen(&answer, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen(&answer, "x-forwarded-prefix"), Some("/rest/v1"));
    assert_eq!(
        seen(&answer, "x-forwarded-host"),
        Some(stack.address.to_string().as_str())
    );
    assert_eq!(seen(&answer, "x-request-id"), Some("abc-123"));
    assert_eq!(answer.headers["x-request-id"], "abc-123");
    assert!(!answer.headers.contains_key("keep-alive"));
    let other = stack
        .get("/rest/v1/courses", &[("x-request-id", "has blanks")])
        .await;
    assert_ne!(other.headers["x-request-id"], "has blanks");
}

#[tokio::test]
async fn large_bodies_are_refused_announced_or_not() {
    const MIB: usize = 1024 * 1024;
    let stack = start().await;
    let key = [("apikey", stack.keys.anon_key.as_str())];
    for (path, limit) in [
        ("/rest/v1/x", 10 * MIB),
        ("/auth/v1/x", MIB),
        ("/functions/v1/enrollment", 6 * MIB),
    ] {
        let fits = stack.send(Method::POST, path, &key, bytes(limit)).await;
        assert_eq!(
            (fits.status, fits.body["length"].as_u64()),
            (StatusCode::OK, Some(limit as u64)),
            "{path}"
        );
        let announced = stack.send(Method::POST, path, &key, bytes(limit + 1)).await;
        assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let streamed = stack
            .send(Method::POST, path, &key, chunked(limit / 65536 + 2, 65536))
            .await;
        assert_eq!(
            streamed.status,
            StatusCode::PAYLOAD_TOO_LARGE,
            "{path}, chunked"
        );
        assert!(streamed.body["message"].is_string());
    }
}

#[tokio::test]
async fn an_announced_giant_is_refused_before_it_is_sent() {
    let stack = start().await;
    let mut client = TcpStream::connect(stack.address).await.unwrap();
    let head = format!(
        "POST /auth/v1/token HTTP/1.1\r\nhost: x\r\napikey: {}\r\ncontent-length: 9000000000\r\n\r\n",
        stack.keys.anon_key
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let read = tokio::time::timeout(Duration::from_secs(5), client.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_part_that_is_down_is_named() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let stack = start_with(port, Duration::from_secs(2)).await;
    let key = [("apikey", stack.keys.anon_key.as_str())];
    let answer = stack.get("/rest/v1/courses", &key).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .contains("PostgREST")
    );
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_part_that_does_not_answer_in_time_is_named() {
    let stack = start().await;
    let key = [("apikey", stack.keys.anon_key.as_str())];
    let answer = stack.get("/rest/v1/slow", &key).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .contains("PostgREST")
    );
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let stack = start().await;
    let mut client = TcpStream::connect(stack.address).await.unwrap();
    let endless = format!("GET / HTTP/1.1\r\nhost: x\r\nx-a: {}", "a".repeat(200_000));
    // The gateway may close before everything is sent.
    let _ = client.write_all(endless.as_bytes()).await;
    let mut answer = vec![0; 1024];
    let read = tokio::time::timeout(Duration::from_secs(5), client.read(&mut answer))
        .await
        .unwrap()
        .unwrap_or(0);
    let text = String::from_utf8_lossy(&answer[..read]);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431"),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_but_loopback_is_bound() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = gateway::bind_loopback(address.parse().unwrap())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("refusing"), "{error}");
    }
}

/// A part that answers one request per connection, says nothing of closing it, and closes it on the next one; returns its
/// port.
async fn start_part_that_closes() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let _ = connection.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                let _ = connection.write_all(answer).await;
                let _ = connection.read(&mut request).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_part_that_closes_its_connections_loses_no_request() {
    let stack = start_with(start_part_that_closes().await, Duration::from_secs(2)).await;
    let key = [("apikey", stack.keys.anon_key.as_str())];
    for round in 0..20 {
        for method in [Method::GET, Method::POST, Method::HEAD, Method::DELETE] {
            let body = if method == Method::POST {
                bytes(10)
            } else {
                Empty::new().boxed()
            };
            let answer = stack
                .send(method.clone(), "/rest/v1/courses", &key, body)
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{method}, round {round}");
        }
    }
}
