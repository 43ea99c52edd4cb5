//! Requests to a project's API, here (http) or hosted (https): as its service role, or as a person.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// Connections that are kept open: how many requests are under way at a time.
pub(super) const IN_FLIGHT: usize = 8;
/// How long a connection may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A project's API with a key of it, and the token of whoever asks.
pub(super) struct Api {
    client: Client,
    url: String,
    key: String,
    token: String,
}

impl Api {
    /// `url` is the address that paths are appended to. It follows no redirects, so that the key is carried nowhere else.
    pub fn new(url: &str, service_role_key: &str) -> Result<Self> {
        Self::as_person(url, service_role_key, service_role_key)
    }

    /// Asks with somebody's access token; the key is the project's anon key.
    pub fn as_person(url: &str, key: &str, token: &str) -> Result<Self> {
        // Fails when it is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder();
        if url.starts_with("http://") {
            // A machine without root certificates can do without them.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .connect_timeout(CONNECT_PATIENCE)
            .pool_max_idle_per_host(IN_FLIGHT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("lyceum/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the HTTP client cannot be set up")?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Where `path` is.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A request to `path` with the key, given up after `patience`.
    pub fn request(&self, method: Method, path: &str, patience: Duration) -> RequestBuilder {
        self.client
            .request(method, self.address(path))
            .timeout(patience)
            .header("apikey", &self.key)
            .bearer_auth(&self.token)
    }
}

/// Sends a request: the status and the body, a JSON string where it is not JSON.
///
/// # Errors
/// When no whole answer comes in time.
pub(super) async fn send(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await.context("no answer")?;
    let status = response.status();
    let text = response.text().await.context("the answer broke off")?;
    Ok((
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    ))
}
