//! Which tokens are accepted, and how often the key server is asked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, header::AUTHORIZATION};
use lyceum_core::{
    Error, Exchange, Function, Identity, Response, Route,
    auth::{RefreshPolicy, Verifier},
    respond,
};
use serde_json::{Value, json};
use support::*;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

/// A function that answers the caller's id.
#[derive(Clone, Copy)]
struct WhoAmI;

impl Function for WhoAmI {
    const NAME: &'static str = "who";
    const VERSION: &'static str = "1";

    fn routes() -> &'static [Route<Self>] {
        const ROUTES: &[Route<WhoAmI>] = &[Route {
            method: http::Method::GET,
            path: "",
            endpoint: WhoAmI,
        }];
        ROUTES
    }

    fn document() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn serve(self, exchange: &Exchange<'_>) -> Result<Response, Error> {
        let caller = exchange.caller().await?;
        Ok(Response::new(caller.user_id().to_string().into()))
    }
}

/// Status, code and the whole answer for a request with these headers.
async fn ask(project: &Project, headers: &[&str]) -> (u16, String, Response) {
    let mut request = http::Request::builder().uri("/who");
    for value in headers {
        request = request.header(
            AUTHORIZATION,
            http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    let response = respond::<WhoAmI>(
        &project.services,
        request.body(lambda_http::Body::Empty).unwrap(),
    )
    .await;
    let code = serde_json::from_slice::<Value>(response.body())
        .ok()
        .and_then(|body| body["code"].as_str().map(str::to_owned))
        .unwrap_or_default();
    (response.status().as_u16(), code, response)
}

async fn outcome(project: &Project, token: &str) -> (u16, String) {
    let (status, code, _) = ask(project, &[&format!("Bearer {token}")]).await;
    (status, code)
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

const ACCEPTED: (u16, String) = (200, String::new());

#[tokio::test]
async fn good_tokens_are_accepted() {
    let project = Project::start().await;
    let (status, _, response) = ask(&project, &[&format!("bearer  {}", project.token())]).await;
    assert_eq!(status, 200);
    assert_eq!(response.body().as_ref(), USER.as_bytes());

    for changes in [
        json!({"exp": now() - 20}),
        json!({"nbf": now() + 20}),
        json!({"aud": ["other", "authenticated"]}),
        json!({"session_id": null}),
    ] {
        let token = project.signer.sign(&claims_with(changes.clone()));
        assert_eq!(outcome(&project, &token).await, ACCEPTED, "{changes}");
    }
    let legacy = symmetric(&claims(), SECRET.as_bytes(), Some("legacy-kid"));
    assert_eq!(outcome(&project, &legacy).await, ACCEPTED);
}

#[tokio::test]
async fn rsa_tokens_are_accepted() {
    let fixture: Value = serde_json::from_str(include_str!("support/rs256.json")).unwrap();
    let project = Project::start().await;
    project.server.reset().await;
    serve_keys(
        &project.server,
        &[project.signer.jwk(), fixture["key"].clone()],
    )
    .await;
    let token = fixture["token"].as_str().unwrap();
    assert_eq!(outcome(&project, token).await, ACCEPTED);
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(
        outcome(&project, &format!("{signed}.{}", "A".repeat(342))).await,
        refused("token_signature_invalid")
    );
}

#[tokio::test]
async fn headers_without_a_token_ask_to_sign_in() {
    let project = Project::start().await;
    for headers in [&[][..], &[""], &["Bearer sb_publishable_abc"]] {
        let (status, code, response) = ask(&project, headers).await;
        assert_eq!(
            (status, code.as_str()),
            (401, "sign_in_required"),
            "{headers:?}"
        );
        assert_eq!(
            response.headers()["www-authenticate"],
            r#"Bearer realm="lyceum""#
        );
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
    let token = project.token();
    let (good, other) = (format!("Bearer {token}"), "Bearer other".to_owned());
    for headers in [
        &["Basic dXNlcjpwYXNz"][..],
        &[&token],
        &["Bearer"],
        &["Bearer \u{e9}"],
        &["Bearer a b.c.d"],
        &[&good, &other],
    ] {
        let (status, code, _) = ask(&project, headers).await;
        assert_eq!(
            (status, code.as_str()),
            (401, "token_malformed"),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn api_keys_are_not_people() {
    let project = Project::start().await;
    let key = |role: &str| {
        symmetric(
            &json!({"iss": "supabase", "role": role, "exp": now() + 60}),
            SECRET.as_bytes(),
            None,
        )
    };
    assert_eq!(
        outcome(&project, &key("anon")).await,
        refused("sign_in_required")
    );
    assert_eq!(
        outcome(&project, &key("service_role")).await,
        (403, "user_required".to_owned())
    );
    assert_eq!(
        outcome(&project, &key("postgres")).await,
        refused("token_issuer_mismatch")
    );

    let verifier = |secret: Option<&str>| {
        let mut config = config(&project.server.uri());
        config.jwt_secret = secret.map(str::to_owned);
        Verifier::new(&config, reqwest::Client::new(), RefreshPolicy::default())
    };
    let headers = |token: &str| {
        HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    };
    assert!(matches!(
        verifier(Some(SECRET))
            .identify(&headers(&key("anon")))
            .await,
        Ok(Identity::Anonymous)
    ));
    assert!(matches!(
        verifier(Some(SECRET))
            .identify(&headers(&key("service_role")))
            .await,
        Ok(Identity::Service(_))
    ));
    for (role, code) in [
        ("anon", "sign_in_required"),
        ("service_role", "token_algorithm_refused"),
        ("authenticated", "token_algorithm_refused"),
    ] {
        let error = verifier(None)
            .identify(&headers(&key(role)))
            .await
            .unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (401, code));
    }
}

#[tokio::test]
async fn wrong_claims_are_refused() {
    let project = Project::start().await;
    for (changes, code) in [
        (json!({"exp": now() - 40}), "token_expired"),
        (json!({"exp": null}), "token_malformed"),
        (json!({"exp": "soon"}), "token_malformed"),
        (json!({"exp": -1}), "token_malformed"),
        (json!({"exp": 1e300}), "token_malformed"),
        (json!({"nbf": now() + 40}), "token_not_yet_valid"),
        (json!({"nbf": "later"}), "token_malformed"),
        (
            json!({"iss": "https://issuer.test"}),
            "token_issuer_mismatch",
        ),
        (json!({"iss": null}), "token_issuer_mismatch"),
        (json!({"iss": [ISSUER]}), "token_malformed"),
        (json!({"aud": "other"}), "token_audience_mismatch"),
        (json!({"aud": []}), "token_audience_mismatch"),
        (json!({"aud": null}), "token_audience_mismatch"),
        (json!({"sub": null}), "token_malformed"),
        (json!({"sub": "somebody"}), "token_malformed"),
        (json!({"role": null}), "token_malformed"),
        (json!({"role": "postgres"}), "token_malformed"),
        (json!({"role": ["authenticated"]}), "token_malformed"),
    ] {
        let token = project.signer.sign(&claims_with(changes.clone()));
        assert_eq!(outcome(&project, &token).await, refused(code), "{changes}");
    }
    for claims in [json!([]), json!("x"), json!(null)] {
        let token = project.signer.sign(&claims);
        assert_eq!(outcome(&project, &token).await, refused("token_malformed"));
    }
}

#[tokio::test]
async fn forged_signatures_and_algorithms_are_refused() {
    let project = Project::start().await;
    let impostor = Signer::new("key-1", 9);
    assert_eq!(
        outcome(&project, &impostor.sign(&claims())).await,
        refused("token_signature_invalid")
    );
    let good = project.token();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = forged(
        &json!({}),
        &claims_with(json!({"sub": uuid::Uuid::nil()})),
        "",
    );
    let swapped = other.split('.').nth(1).unwrap();
    assert_eq!(
        outcome(&project, &format!("{header}.{swapped}.{signature}")).await,
        refused("token_signature_invalid")
    );
    for alg in ["none", "None", "NONE", "HS384", "ES384", "EdDSA", ""] {
        let token = forged(&json!({"alg": alg, "kid": "key-1"}), &claims(), "");
        assert_eq!(
            outcome(&project, &token).await,
            refused("token_algorithm_refused"),
            "{alg}"
        );
    }
    // The public key as an HMAC secret: the classic confusion of algorithms.
    let jwk = project.signer.jwk();
    for secret in [
        jwk.to_string(),
        jwk["x"].as_str().unwrap().to_owned(),
        String::new(),
    ] {
        let token = symmetric(&claims(), secret.as_bytes(), Some("key-1"));
        assert_eq!(
            outcome(&project, &token).await,
            refused("token_signature_invalid")
        );
    }
    // A key of one kind under the other's name.
    let token = forged(
        &json!({"alg": "RS256", "kid": "key-1"}),
        &claims(),
        signature,
    );
    assert_eq!(
        outcome(&project, &token).await,
        refused("token_algorithm_refused")
    );
    let token = forged(&json!({"alg": "ES256"}), &claims(), signature);
    assert_eq!(
        outcome(&project, &token).await,
        refused("token_key_unknown")
    );
    for token in [
        format!("{signed}."),
        signed.to_owned(),
        format!("{good}.x"),
        format!("{signed}.!"),
        "a".repeat(20_000),
        "..".to_owned(),
    ] {
        let (status, _) = outcome(&project, &token).await;
        assert_eq!(status, 401, "{token:.40}");
    }
}

#[tokio::test]
async fn a_symmetric_key_in_the_set_is_no_key() {
    let project = Project::start().await;
    project.server.reset().await;
    let secret = "c2VjcmV0LXRoYXQtZXZlcnlib2R5LWNhbi1yZWFkLW5vdw";
    serve_keys(
        &project.server,
        &[json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": secret})],
    )
    .await;
    let token = symmetric(
        &claims(),
        b"secret-that-everybody-can-read-now",
        Some("shared"),
    );
    assert_eq!(
        outcome(&project, &token).await,
        refused("token_signature_invalid")
    );
}

#[tokio::test]
async fn keys_are_fetched_once_for_many() {
    let project = Project::start().await;
    assert_eq!(
        project.hits(JWKS_PATH).await,
        0,
        "nothing before the first token"
    );
    let token = project.token();
    let asks: Vec<_> = (0..50).map(|_| outcome(&project, &token)).collect();
    for answer in join_all(asks).await {
        assert_eq!(answer, ACCEPTED);
    }
    assert_eq!(project.hits(JWKS_PATH).await, 1);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_spares_the_key_server() {
    let project = Project::start().await;
    assert_eq!(outcome(&project, &project.token()).await, ACCEPTED);
    let strangers: Vec<String> = (0..200)
        .map(|n| Signer::new(&format!("stranger-{n}"), 9).sign(&claims()))
        .collect();
    let asks: Vec<_> = strangers
        .iter()
        .map(|token| outcome(&project, token))
        .collect();
    for answer in join_all(asks).await {
        assert_eq!(answer, refused("token_key_unknown"));
    }
    assert_eq!(project.hits(JWKS_PATH).await, 1);
    assert_eq!(outcome(&project, &project.token()).await, ACCEPTED);
}

#[tokio::test]
async fn a_new_key_is_found_and_an_old_one_forgotten() {
    let policy = RefreshPolicy {
        unknown_key_interval: Duration::from_millis(50),
        ..RefreshPolicy::default()
    };
    let project = Project::with(|_| {}, policy).await;
    let old = project.token();
    assert_eq!(outcome(&project, &old).await, ACCEPTED);

    let next = Signer::new("key-2", 8);
    project.server.reset().await;
    serve_keys(&project.server, &[next.jwk()]).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(outcome(&project, &next.sign(&claims())).await, ACCEPTED);
    assert_eq!(outcome(&project, &old).await, refused("token_key_unknown"));
}

#[tokio::test]
async fn known_keys_outlive_an_outage_of_the_key_server() {
    let policy = RefreshPolicy {
        fresh_for: Duration::ZERO,
        stale_for: Duration::from_millis(400),
        failure_interval: Duration::from_secs(60),
        ..RefreshPolicy::default()
    };
    let project = Project::with(|_| {}, policy).await;
    let token = project.token();
    assert_eq!(outcome(&project, &token).await, ACCEPTED);
    project.server.reset().await;
    for _ in 0..5 {
        assert_eq!(outcome(&project, &token).await, ACCEPTED);
    }
    assert_eq!(
        project.hits(JWKS_PATH).await,
        1,
        "failures are not repeated at once"
    );
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(
        outcome(&project, &token).await,
        (503, "unavailable".to_owned())
    );
}

#[tokio::test]
async fn without_a_key_server_nobody_passes() {
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(200).set_body_json(json!({"keys": 1})),
        ResponseTemplate::new(200).set_body_string("x".repeat(300 * 1024)),
        ResponseTemplate::new(302).insert_header("location", "/elsewhere"),
    ] {
        let project = Project::start().await;
        project.server.reset().await;
        Mock::given(method("GET"))
            .and(path(JWKS_PATH))
            .respond_with(answer)
            .mount(&project.server)
            .await;
        let (status, code, response) =
            ask(&project, &[&format!("Bearer {}", project.token())]).await;
        assert_eq!((status, code.as_str()), (503, "unavailable"));
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(project.hits("/elsewhere").await, 0);
    }
    let gone = MockServer::start().await.uri();
    let project = Project::with(|config| config.jwks_url = gone, RefreshPolicy::default()).await;
    assert_eq!(outcome(&project, &project.token()).await.0, 503);
}
