//! What a function is, and how any function serves a request.

use std::{future::Future, time::Instant};

use http::{HeaderValue, Method, StatusCode, header::ALLOW};
use lambda_http::{Body, Request};
use utoipa::openapi::OpenApi;

use crate::{
    Error, Exchange, Response, Services, health,
    http::{Found, Outgoing, Trace, find, finish, normalized, request_id, shown},
    openapi, telemetry,
};

/// One method of one path, and the endpoint that serves it.
#[derive(Debug, Clone)]
pub struct Route<E> {
    /// The method; GET serves HEAD too.
    pub method: Method,
    /// The path after the function's name: empty, or with a leading slash.
    pub path: &'static str,
    /// The endpoint.
    pub endpoint: E,
}

/// A function, as an enum of its endpoints. Every function also answers
/// `GET /<name>/health` and `GET /<name>/openapi.json`.
pub trait Function: Copy + Send + Sync + 'static {
    /// The function's name, the first part of its paths.
    const NAME: &'static str;
    /// The function's version.
    const VERSION: &'static str;
    /// Environment variables that the function reads besides those of [`crate::Config`].
    const SETTINGS: &'static [&'static str] = &[];

    /// All endpoints.
    fn routes() -> &'static [Route<Self>];

    /// The description of the function's own endpoints.
    fn document() -> OpenApi;

    /// Serves one request to this endpoint.
    fn serve(self, exchange: &Exchange<'_>)
    -> impl Future<Output = Result<Response, Error>> + Send;
}

/// Serves one request from routing to the log line. Every failure becomes an answer.
pub async fn respond<F: Function>(services: &Services, request: Request) -> Response {
    let started = Instant::now();
    let request_id = request_id(&request);
    let trace = Trace::new(F::NAME, F::VERSION, &request_id);
    let path = normalized(request.uri().path());
    let logged = shown(F::NAME, F::routes(), path);
    let found = find(F::NAME, F::routes(), request.method(), path);
    let routed = found.is_ok();
    let outcome = match found {
        Ok((found, allow)) => serve::<F>(found, allow, services, &request, &trace).await,
        Err(error) => Err(error),
    };
    let fault = outcome.as_ref().err().map(telemetry::Fault::of);
    let mut response = outcome.unwrap_or_else(|error| error.into_response(&request_id));
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::Empty;
        Outgoing::forget(&mut response);
    }
    telemetry::record(&telemetry::Line {
        function: F::NAME,
        request_id: &request_id,
        method: request.method(),
        // A path that leads nowhere may hold anything, and a token opens what it names.
        route: if routed { &logged } else { "unknown" },
        status: response.status(),
        elapsed: started.elapsed(),
        trace: &trace,
        fault,
    });
    finish(response, &request_id)
}

async fn serve<F: Function>(
    found: Found<F>,
    allow: String,
    services: &Services,
    request: &Request,
    trace: &Trace,
) -> Result<Response, Error> {
    match found {
        Found::Endpoint(endpoint) => {
            endpoint
                .serve(&Exchange::new(services, request, trace))
                .await
        }
        Found::Health => Ok(health::check(F::NAME, F::VERSION, services, trace).await),
        Found::Document => openapi::serve::<F>(),
        Found::Options => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NO_CONTENT;
            let allow = HeaderValue::from_str(&allow).map_err(Error::internal)?;
            response.headers_mut().insert(ALLOW, allow);
            Ok(response)
        }
    }
}
