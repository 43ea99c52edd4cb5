//! Logs: one JSON line per request, without tokens, bodies, queries or personal data.

use std::{env, io, time::Duration};

use http::{Method, StatusCode};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{Error, http::Trace};

/// Libraries that would log events, headers or bodies at the finer levels.
const QUIET: [&str; 7] = [
    "lambda_runtime",
    "lambda_runtime_api_client",
    "lambda_http",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
];

/// Starts logging to standard output at the level of `RUST_LOG`, else `LOG_LEVEL`,
/// else `info`. A second call changes nothing.
pub fn init() {
    let wanted = env::var("RUST_LOG").or_else(|_| env::var("LOG_LEVEL")).ok();
    let _ = tracing::subscriber::set_global_default(subscriber(wanted.as_deref(), io::stdout));
}

/// The subscriber that [`init`] installs, writing to `writer`.
pub fn subscriber<W>(wanted: Option<&str>, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter(wanted))
        .with_writer(writer)
        .finish()
}

fn filter(wanted: Option<&str>) -> EnvFilter {
    let mut filter = wanted
        .and_then(|directives| directives.parse::<EnvFilter>().ok())
        .unwrap_or_else(|| EnvFilter::new("info"));
    for library in QUIET {
        if let Ok(directive) = format!("{library}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    filter
}

/// What one request leaves in the log.
pub(crate) struct Line<'a> {
    pub function: &'static str,
    pub request_id: &'a str,
    pub method: &'a Method,
    pub route: &'a str,
    pub status: StatusCode,
    pub elapsed: Duration,
    pub trace: &'a Trace,
    pub fault: Option<Fault>,
}

/// Why a request failed, as far as the log may know.
pub(crate) struct Fault {
    code: String,
    cause: String,
}

impl Fault {
    pub fn of(error: &Error) -> Self {
        Self {
            code: error.code().to_owned(),
            cause: error.to_string(),
        }
    }
}

pub(crate) fn record(line: &Line<'_>) {
    let duration_ms = milliseconds(line.elapsed);
    let upstream_ms = milliseconds(line.trace.upstream());
    let user_id = line.trace.user_id().map(tracing::field::display);
    let code = line.fault.as_ref().map(|fault| fault.code.as_str());
    let cause = line.fault.as_ref().map(|fault| fault.cause.as_str());
    macro_rules! emit {
        ($level:ident) => {
            tracing::$level!(
                function = line.function,
                request_id = line.request_id,
                method = line.method.as_str(),
                route = line.route,
                status = line.status.as_u16(),
                duration_ms,
                upstream_ms,
                user_id,
                code,
                cause,
                "request"
            )
        };
    }
    if line.status.is_server_error() {
        emit!(error);
    } else {
        emit!(info);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_falls_back_and_libraries_stay_quiet() {
        for wanted in [None, Some("info"), Some("not=a=level")] {
            assert!(filter(wanted).to_string().contains("info"), "{wanted:?}");
        }
        assert!(
            filter(Some("trace"))
                .to_string()
                .contains("lambda_runtime=warn")
        );
    }

    #[test]
    fn durations_are_in_milliseconds_with_two_decimals() {
        assert!((milliseconds(Duration::from_micros(1_234_567)) - 1234.57).abs() < 1e-9);
    }
}
