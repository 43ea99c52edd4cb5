//! PostgreSQL: the programs on this machine, a stack's cluster, and the databases in it.

pub mod cluster;
pub mod database;
pub mod programs;
pub mod template;

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

/// Connects, and drives the connection in the background until the client is dropped.
///
/// # Errors
/// When the server refuses.
pub async fn connect(url: &str) -> Result<Client> {
    let limit = std::time::Duration::from_secs(10);
    let (client, connection) = tokio::time::timeout(limit, tokio_postgres::connect(url, NoTls))
        .await
        .context("PostgreSQL did not answer within 10 s")??;
    tokio::spawn(async move {
        // Its errors reach the caller through the client's own calls.
        let _ = connection.await;
    });
    Ok(client)
}

/// What the server said, in one line; the driver's own text is only "db error".
#[must_use]
pub fn explain(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} ({})", db.message(), db.code().code()),
    )
}

/// An SQL identifier in double quotes.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string literal.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
