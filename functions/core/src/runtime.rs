//! Starting a function on the Lambda runtime.

use std::{convert::Infallible, sync::Arc};

use lambda_http::{Request, service_fn};

use crate::{Config, Function, Services, respond, telemetry};

/// Reads the configuration, sets up the logs and serves until the runtime ends.
///
/// # Errors
/// When the configuration is incomplete, the HTTP client cannot be set up, or the
/// runtime API is lost.
pub async fn run<F: Function>() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let config = Config::from_env()
        .inspect_err(|error| tracing::error!(function = F::NAME, faults = ?error.0, "{error}"))?
        .with_settings(F::SETTINGS);
    let services = Arc::new(Services::new(&config)?);
    tracing::info!(function = F::NAME, version = F::VERSION, "function started");
    lambda_http::run_concurrent(service_fn(move |request: Request| {
        let services = Arc::clone(&services);
        async move { Ok::<_, Infallible>(respond::<F>(&services, request).await) }
    }))
    .await
}
