//! `GET /<name>/health`: whether the function can do its work.

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Error, Response, Services,
    http::{Trace, json},
};

/// The state of a function.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `unavailable`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// The function's name.
    pub function: &'static str,
    /// The function's version.
    pub version: &'static str,
    /// The parts that the function needs.
    pub checks: Checks,
}

/// The state of each part.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    /// PostgREST and the database behind it: `ok` or `unavailable`.
    #[schema(example = "ok")]
    pub database: &'static str,
}

pub(crate) async fn check(
    function: &'static str,
    version: &'static str,
    services: &Services,
    trace: &Trace,
) -> Response {
    let reached = services.database.reachable(trace).await;
    if let Err(error) = &reached {
        tracing::warn!(function, %error, "the health check failed");
    }
    answer(function, version, reached)
}

fn answer(function: &'static str, version: &'static str, reached: Result<(), Error>) -> Response {
    let (http_status, status) = match reached {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let health = Health {
        status,
        function,
        version,
        checks: Checks { database: status },
    };
    // Four strings always serialise.
    let mut response = json(
        http_status,
        serde_json::to_string(&health).unwrap_or_default(),
    );
    if http_status != StatusCode::OK {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}
