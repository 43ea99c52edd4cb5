//! The one pooled HTTP client, and reading answers without trusting their length.

use std::{sync::OnceLock, time::Duration};

use crate::{Config, Error};

/// Lambda freezes a function between requests; connections idle for longer than
/// this have likely been closed by the other side meanwhile.
const IDLE_CONNECTION: Duration = Duration::from_secs(15);

/// Builds the client. It follows no redirects, so that no token is carried elsewhere.
///
/// # Errors
/// [`Error::Internal`] when the TLS set-up fails, such as for want of root certificates.
pub(crate) fn client(config: &Config) -> Result<reqwest::Client, Error> {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // ring rather than aws-lc-rs: the latter may spend up to a second on
        // entropy at a cold start. An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .connect_timeout(config.connect_timeout)
        .timeout(config.upstream_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lyceum/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::internal(format!("cannot set up the HTTP client: {error}")))
}

/// Reads a whole answer of at most `limit` bytes.
///
/// # Errors
/// [`Error::Internal`] beyond the limit, otherwise as [`failure`].
pub(crate) async fn read(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > limit {
            return Err(Error::internal(format!(
                "an upstream answer exceeds {limit} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Tells a slow upstream from an absent one. The address is left out of the cause,
/// because query strings may hold personal data.
pub(crate) fn failure(error: reqwest::Error) -> Error {
    let timed_out = error.is_timeout() && !error.is_connect();
    let error = error.without_url();
    let mut cause = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        cause = format!("{cause}: {inner}");
        source = inner.source();
    }
    if timed_out {
        Error::UpstreamTimeout { cause }
    } else {
        Error::Unavailable { cause }
    }
}
