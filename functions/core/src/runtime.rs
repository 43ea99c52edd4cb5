//! Starting a function on the Lambda runtime.

use std::{convert::Infallible, sync::Arc};

use lambda_http::{Request, service_fn};

use crate::{Config, Function, Services, http::Outgoing, respond, telemetry};

/// Reads the configuration, sets up the logs and serves until the runtime ends.
///
/// # Errors
/// When the configuration is incomplete, the HTTP client cannot be set up, or the
/// runtime API is lost.
pub async fn run<F: Function>() -> Result<(), lambda_http::Error> {
    let services = start::<F>()?;
    lambda_http::run_concurrent(service_fn(move |request: Request| {
        let services = Arc::clone(&services);
        async move { Ok::<_, Infallible>(respond::<F>(&services, request).await) }
    }))
    .await
}

/// As [`run`], for functions whose answers may be larger than the 6 MB that a buffered one may have: they are sent piece by
/// piece. The function's URL is invoked with `RESPONSE_STREAM`.
///
/// # Errors
/// As [`run`].
pub async fn run_streaming<F: Function>() -> Result<(), lambda_http::Error> {
    let services = start::<F>()?;
    lambda_http::run_with_streaming_response_concurrent(service_fn(move |request: Request| {
        let services = Arc::clone(&services);
        async move { Ok::<_, Infallible>(Outgoing::of(respond::<F>(&services, request).await)) }
    }))
    .await
}

fn start<F: Function>() -> Result<Arc<Services>, lambda_http::Error> {
    telemetry::init();
    let config = Config::from_env()
        .inspect_err(|error| tracing::error!(function = F::NAME, faults = ?error.0, "{error}"))?
        .with_settings(F::SETTINGS);
    let services = Arc::new(Services::new(&config)?);
    tracing::info!(function = F::NAME, version = F::VERSION, "function started");
    Ok(services)
}
