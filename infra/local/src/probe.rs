//! Small HTTP requests to our own parts, to learn whether they answer.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderName, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Longest answer that is read.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a part answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// GETs `url` (plain http) with the headers given, on a connection of its own, within five seconds.
///
/// # Errors
/// When there is no answer.
pub async fn get(url: &str, headers: &[(HeaderName, &str)]) -> Result<Answer> {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .with_context(|| format!("{url} is no address"))?;
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http();
    let exchange = async {
        let response = client
            .request(request)
            .await
            .with_context(|| format!("{url} does not answer"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("{url} broke off its answer: {error}"))?;
        Ok(Answer {
            status,
            body: body.to_bytes(),
        })
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .with_context(|| format!("{url} did not answer within {} s", PATIENCE.as_secs()))?
}
