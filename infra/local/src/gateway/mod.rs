//! The gateway: every part of the stack on one port, as a Supabase project has it.
//!
//! It checks the `apikey`, translates the opaque keys into tokens, answers CORS, limits bodies, and passes requests on
//! as streams. It is development tooling: it binds to loopback only.

mod access;
mod body;
mod cors;
mod proxy;
mod reply;
mod routes;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::keys::Keys;

/// How long a client may take to send the head of a request; a kept connection counts from its last answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Most header lines of a request.
const MOST_HEADERS: usize = 100;
/// Largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// Where the gateway sends requests.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Port of PostgREST.
    pub rest_port: u16,
    /// Port of the auth stand-in.
    pub auth_port: u16,
    /// Port of the storage stand-in.
    pub storage_port: u16,
    /// Port of the Lambda emulator.
    pub functions_port: u16,
    /// The functions that exist.
    pub functions: BTreeSet<String>,
    /// The stack's keys.
    pub keys: Keys,
    /// How long a part may take until it starts its answer.
    pub upstream_timeout: Duration,
}

impl GatewayConfig {
    /// The usual patience with a part.
    pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(60);
}

/// A gateway ready to answer.
#[derive(Clone)]
struct Gateway {
    access: Arc<access::Access>,
    config: Arc<GatewayConfig>,
    proxy: proxy::Proxy,
}

impl Gateway {
    fn new(config: GatewayConfig) -> Result<Self> {
        Ok(Self {
            access: Arc::new(access::Access::new(&config.keys)?),
            proxy: proxy::Proxy::new(config.upstream_timeout),
            config: Arc::new(config),
        })
    }

    async fn answer(
        &self,
        peer: SocketAddr,
        mut request: http::Request<Incoming>,
    ) -> http::Response<body::Body> {
        let id = reply::request_id(request.headers());
        let mut response = if cors::is_preflight(&request) {
            cors::preflight(request.headers())
        } else {
            match routes::find(request.method(), request.uri().path(), &self.config) {
                Ok(route) => match self.access.admit(&route, &mut request) {
                    Ok(()) => self.proxy.forward(&route, peer, &id, request).await,
                    Err(denial) => self.proxy.refuse(denial, request),
                },
                Err(answer) => self.proxy.refuse(answer, request),
            }
        };
        cors::expose(response.headers_mut());
        reply::set_request_id(response.headers_mut(), &id);
        response
    }
}

/// Binds to `address`, which must be on loopback.
///
/// # Errors
/// When it is not, or the port is taken.
pub async fn bind_loopback(address: SocketAddr) -> Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!(
            "refusing to listen on {address}: this is development tooling and stays on 127.0.0.1"
        );
    }
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Serves the gateway on `listener` until the task is dropped.
///
/// # Errors
/// When the keys cannot be used.
pub async fn serve(listener: TcpListener, config: GatewayConfig) -> Result<()> {
    let gateway = Gateway::new(config)?;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: it passes when connections end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Small answers must not wait for the client's acknowledgement; without it they only come later.
        let _ = stream.set_nodelay(true);
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, std::convert::Infallible>(gateway.answer(peer, request).await) }
            });
            // An error here is a client that went away or spoke no HTTP; hyper has answered what can be answered.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(MOST_HEADERS)
                .max_buf_size(LARGEST_HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
