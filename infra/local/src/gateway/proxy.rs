//! Passing a request on to a part of the stack, and its answer back.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::json;

use super::body::{self, Body, Bounded, Refusal};
use super::reply::{self, Reply};
use super::routes::Route;

/// Headers that concern one connection only.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Longest path with query. PostgREST parses nested filters slowly, outside any statement's time limit; this is also what
/// nginx, and so a hosted project's edge, takes.
const LONGEST_TARGET: usize = 8 * 1024;

/// Connections to the parts. A part may close one that is kept at the moment when the next request goes out on it, and
/// nobody can tell then whether it was read. So only what can be asked twice travels on kept connections.
#[derive(Clone)]
pub struct Proxy {
    kept: Client<HttpConnector, Bounded>,
    fresh: Client<HttpConnector, Bounded>,
    timeout: Duration,
}

impl Proxy {
    /// Connections whose requests wait at most `timeout` for the head of an answer.
    pub fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20));
        let kept = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        Self {
            kept,
            fresh,
            timeout,
        }
    }

    async fn ask(&self, request: Request<Bounded>) -> Result<Response<Incoming>, Error> {
        if !(request.method().is_safe() && request.body().is_end_stream()) {
            return self.fresh.request(request).await;
        }
        let (head, body) = request.into_parts();
        let again = Request::from_parts(head.clone(), Bounded::empty());
        match self.kept.request(Request::from_parts(head, body)).await {
            Err(error) if !error.is_connect() => self.fresh.request(again).await,
            answer => answer,
        }
    }

    /// Answers without asking a part.
    pub fn refuse(&self, answer: Reply, request: Request<Incoming>) -> Response<Body> {
        // Whoever waits for "100 Continue" has sent nothing yet, and reading would invite it.
        if !request.headers().contains_key(EXPECT) {
            body::drain(request.into_body());
        }
        answer.into_response()
    }

    /// Sends the request to its part and streams the answer back.
    pub async fn forward(
        &self,
        route: &Route,
        peer: SocketAddr,
        id: &HeaderValue,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if request
            .uri()
            .path_and_query()
            .is_some_and(|target| target.as_str().len() > LONGEST_TARGET)
        {
            return self.refuse(too_long(), request);
        }
        if announced_length(request.headers()).is_some_and(|length| length > route.body_limit) {
            return self.refuse(refused(route, Refusal::TooLarge(route.body_limit)), request);
        }
        let Some(target) = target(route, request.uri()) else {
            return self.refuse(
                Reply::new(StatusCode::BAD_REQUEST, "The path is malformed."),
                request,
            );
        };
        let refusal = Arc::new(OnceLock::new());
        let (mut head, incoming) = request.into_parts();
        let is_text = route.text_only && says_text(&head.headers);
        head.uri = target;
        head.version = http::Version::HTTP_11;
        strip_hop_by_hop(&mut head.headers);
        join_preferences(&mut head.headers);
        set_forwarded(&mut head.headers, route, peer);
        reply::set_request_id(&mut head.headers, id);
        let request = Request::from_parts(
            head,
            Bounded::new(incoming, route.body_limit, is_text, Arc::clone(&refusal)),
        );
        let answer = tokio::time::timeout(self.timeout, self.ask(request)).await;
        if let Some(refusal) = refusal.get() {
            return refused(route, *refusal).into_response();
        }
        match answer {
            Ok(Ok(response)) => {
                let (mut head, incoming) = response.into_parts();
                strip_hop_by_hop(&mut head.headers);
                Response::from_parts(head, body::stream(incoming))
            }
            Ok(Err(error)) => {
                tracing::warn!(part = route.part, error = causes(&error), "no answer");
                unavailable(route).into_response()
            }
            Err(_) => Reply::new(
                StatusCode::GATEWAY_TIMEOUT,
                &format!(
                    "There was no answer from {} within {} seconds.",
                    route.part,
                    self.timeout.as_secs()
                ),
            )
            .hint("`lyceum logs` shows what it is doing.")
            .into_response(),
        }
    }
}

/// An error with all that caused it: the outermost says little more than that something went wrong.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn too_long() -> Reply {
    Reply::new(
        StatusCode::URI_TOO_LONG,
        &format!("The address is longer than {LONGEST_TARGET} bytes."),
    )
    .hint("Ask for less at once, or call a function: its arguments travel in the body.")
}

/// Makes one Prefer header of several. PostgREST obeys each of them, but shows its pre-request function only the last.
fn join_preferences(headers: &mut HeaderMap) {
    let prefer = HeaderName::from_static("prefer");
    let all: Vec<_> = headers
        .get_all(&prefer)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if all.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&all.join(&b", "[..]))
    {
        headers.insert(prefer, joined);
    }
}

fn refused(route: &Route, refusal: Refusal) -> Reply {
    match refusal {
        // In the words of the part, whose clients read these fields.
        Refusal::TooLarge(_) if route.prefix == "/storage/v1" => Reply::json(
            StatusCode::PAYLOAD_TOO_LARGE,
            json!({
                "statusCode": "413", "code": "EntityTooLarge", "error": "Payload too large",
                "message": "The object exceeded the maximum allowed size",
            }),
        ),
        Refusal::TooLarge(limit) => Reply::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("The request body is larger than {limit} bytes."),
        )
        .hint("Send less at once."),
        Refusal::NotText => Reply::new(
            StatusCode::BAD_REQUEST,
            "The request body says that it is text, but it is not UTF-8.",
        ),
    }
}

/// Whether the body is said to be JSON or other text.
fn says_text(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    kind.starts_with("text/") || kind.contains("json") || kind.contains("xml")
}

fn unavailable(route: &Route) -> Reply {
    Reply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        &format!("There is no answer from {}.", route.part),
    )
    .hint(
        "It may be restarting: try again in a moment. `lyceum status` and `lyceum logs` tell more.",
    )
    .retry_after(Duration::from_secs(1))
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn target(route: &Route, uri: &Uri) -> Option<Uri> {
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    format!("http://127.0.0.1:{}{}{query}", route.port, route.path)
        .parse()
        .ok()
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn set_forwarded(headers: &mut HeaderMap, route: &Route, peer: SocketAddr) {
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    // The callers are on this machine, so what they claim about earlier hops is not passed on.
    set("x-forwarded-for", peer.ip().to_string());
    set("x-forwarded-proto", "http".to_owned());
    if !route.prefix.is_empty() {
        set("x-forwarded-prefix", route.prefix.to_owned());
    }
    if let Some(host) = headers.remove(HOST) {
        if let Some((_, port)) = host.to_str().unwrap_or_default().rsplit_once(':')
            && let Ok(port) = HeaderValue::from_str(port)
        {
            headers.insert(HeaderName::from_static("x-forwarded-port"), port);
        }
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
}
