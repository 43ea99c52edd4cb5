//! `lyceum serve`: one of our own parts as a process.

use std::net::SocketAddr;

use anyhow::Result;

use crate::auth;
use crate::functions;
use crate::gateway;
use crate::mailbox;
use crate::postgres::cluster::MAIN_DATABASE;
use crate::sandbox::{auth_config, gateway_config, storage_config};
use crate::stack::Stack;
use crate::storage;

/// The parts that are ours.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Part {
    /// The stand-in for Supabase Auth.
    Auth,
    /// The stand-in for Supabase Storage.
    Storage,
    /// The one public port.
    Gateway,
    /// The mailbox, and the schedule of the outbox function.
    Mail,
}

/// Serves until it is ended.
pub async fn run(stack: &Stack, part: Part) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("LYCEUM_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_ansi(false)
        .init();
    let ports = stack.ports()?;
    let addresses = stack.addresses(&ports, MAIN_DATABASE)?;
    match part {
        Part::Auth => {
            let listener =
                gateway::bind_loopback(SocketAddr::from(([127, 0, 0, 1], ports.auth))).await?;
            let router = auth::router(auth_config(&addresses)).await?;
            axum::serve(listener, router).await?;
        }
        Part::Storage => {
            let listener =
                gateway::bind_loopback(SocketAddr::from(([127, 0, 0, 1], ports.storage))).await?;
            let router = storage::router(storage_config(&addresses)).await?;
            axum::serve(listener, router).await?;
        }
        Part::Mail => mailbox::serve(ports.mail, &addresses).await?,
        Part::Gateway => {
            let listener =
                gateway::bind_loopback(SocketAddr::from(([127, 0, 0, 1], ports.gateway))).await?;
            let names = functions::list(&stack.root)?
                .into_iter()
                .map(|function| function.name);
            gateway::serve(listener, gateway_config(&ports, names, &addresses)).await?;
        }
    }
    Ok(())
}
