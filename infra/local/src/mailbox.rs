//! What stands in for a mail server and for the schedule of the cloud: mails that the outbox function hands in land as
//! files in the stack's mail folder, and the function is called every few seconds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::stack::Addresses;

/// How often the outbox function is called.
const PERIOD: Duration = Duration::from_secs(3);
/// How many runs may be under way: one that waits for a slow receiver holds up no other.
const RUNS: usize = 3;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest mail, in bytes.
const LARGEST: usize = 1024 * 1024;

/// Serves mails and calls the outbox function until it is ended.
///
/// # Errors
/// When the port is taken, or the mail folder cannot be made.
pub async fn serve(port: u16, addresses: &Addresses) -> Result<()> {
    let folder = addresses.mail_dir.clone();
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the mail folder {}", folder.display()))?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    tokio::select! {
        received = receive(listener, folder) => received,
        called = call(addresses) => called,
    }
}

async fn receive(listener: TcpListener, folder: PathBuf) -> Result<()> {
    let folder: Arc<Path> = folder.into();
    loop {
        let (stream, _) = listener.accept().await?;
        let folder = Arc::clone(&folder);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &folder).await {
                tracing::warn!("a mail was not received: {error:#}");
            }
        });
    }
}

/// As much of SMTP as it takes to hand in mails (RFC 5321).
async fn converse(stream: TcpStream, folder: &Path) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 lyceum mailbox\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let verb = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-lyceum\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => b"250 OK\r\n",
            "DATA" => {
                writer
                    .write_all(b"354 End with a line that holds a dot\r\n")
                    .await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    if mail.len() < LARGEST {
                        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                        mail.push_str("\r\n");
                    }
                }
                keep(folder, &mail).await?;
                b"250 Kept\r\n"
            }
            "QUIT" => {
                writer.write_all(b"221 Bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 Not implemented\r\n",
        };
        writer.write_all(answer).await?;
    }
    Ok(())
}

/// Appears whole, under a name that sorts by time.
async fn keep(folder: &Path, mail: &str) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!(
        "{}-{:06}-outbox.eml",
        chrono::Utc::now().format("%Y%m%dT%H%M%S%.6fZ"),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let draft = folder.join(format!(".{name}"));
    tokio::fs::write(&draft, mail).await?;
    tokio::fs::rename(&draft, folder.join(&name)).await?;
    tracing::info!("mail written to {}", folder.join(name).display());
    Ok(())
}

/// The schedule.
async fn call(addresses: &Addresses) -> Result<()> {
    // Fails when it has been installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let url = format!("{}/functions/v1/outbox/run", addresses.api_url);
    let slots = Arc::new(Semaphore::new(RUNS));
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            continue;
        };
        let request = client
            .post(&url)
            .header("apikey", &addresses.keys.service_role_key)
            .bearer_auth(&addresses.keys.service_role_key);
        tokio::spawn(async move {
            let _slot = slot;
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => tracing::warn!("the outbox function answered {}", answer.status()),
                // While the stack starts and stops.
                Err(error) => tracing::debug!("the outbox function cannot be called: {error}"),
            }
        });
    }
}
