//! One kept connection to an HTTP server on loopback, without anything that would cost time of its own.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request that is sent again and again.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Call {
    /// Reads `path` ("enrollments?select=...") of schema lms with a user's token.
    pub(super) fn get(path: impl Into<String>, token: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: vec![
                ("authorization", format!("Bearer {token}")),
                ("accept-profile", "lms".to_owned()),
            ],
            body: Bytes::new(),
        }
    }

    /// Calls a function of schema lms with JSON.
    pub(super) fn rpc(function: &str, arguments: &serde_json::Value, token: &str) -> Self {
        Self {
            method: Method::POST,
            path: format!("rpc/{function}"),
            headers: vec![
                ("authorization", format!("Bearer {token}")),
                ("content-profile", "lms".to_owned()),
                ("content-type", "application/json".to_owned()),
            ],
            body: Bytes::from(arguments.to_string()),
        }
    }

    /// With one more header, and its path below `prefix`.
    pub(super) fn through(&self, prefix: &str, header: &'static str, value: &str) -> Self {
        let mut call = self.clone();
        call.path = format!("{prefix}{}", call.path);
        call.headers.push((header, value.to_owned()));
        call
    }
}

/// A connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    /// Connects to a port on loopback.
    pub(super) async fn open(port: u16) -> Result<Self> {
        let authority = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&authority)
            .await
            .with_context(|| format!("nothing answers on {authority}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its errors reach the caller through the sender.
            let _ = connection.await;
        });
        Ok(Self { sender, authority })
    }

    /// Sends a call, reads the whole answer, and returns the milliseconds and the body.
    pub(super) async fn send(&mut self, call: &Call) -> Result<(f64, Bytes)> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("/{}", call.path))
            .header("host", &self.authority);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(call.body.clone()))?;
        let start = Instant::now();
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let elapsed = start.elapsed().as_secs_f64() * 1000.0;
        if !status.is_success() {
            bail!(
                "{} answered {status}: {}",
                call.path,
                String::from_utf8_lossy(&body)
            );
        }
        Ok((elapsed, body))
    }

    /// Sends calls one after the other and returns the milliseconds of all together.
    pub(super) async fn send_all(&mut self, calls: &[Call]) -> Result<f64> {
        let mut sum = 0.0;
        for call in calls {
            sum += self.send(call).await?.0;
        }
        Ok(sum)
    }
}
