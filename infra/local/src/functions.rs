//! The functions: the real binaries on the real runtime API, which `cargo lambda watch` emulates.
//!
//! The emulator runs without its own builder and file watcher (`--only-lambda-apis`): the binaries are built once by
//! `make up`, start in milliseconds, and are parts of the stack like any other, restarted when they die.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::files;
use crate::ports;
use crate::process::{self, Launch};
use crate::stack::{Addresses, Stack};

/// One function: its name in URLs and its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name of its folder in `functions`.
    pub name: String,
    /// The built program.
    pub program: PathBuf,
}

impl Function {
    /// Its name among the parts of a stack.
    #[must_use]
    pub fn part(&self) -> String {
        format!("function-{}", self.name)
    }
}

/// The functions of the checkout, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(root: &Path) -> Result<Vec<Function>> {
    let built = std::env::current_exe()?
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let folder = root.join("functions");
    let mut functions: Vec<Function> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .filter(|entry| entry.path().join("src/main.rs").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| Function {
            program: built.join(&name),
            name,
        })
        .collect();
    functions.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(functions)
}

/// The emulator, where `infra/local/setup` installs it, else on PATH.
///
/// # Errors
/// When it is in neither place.
pub fn emulator(root: &Path) -> Result<PathBuf> {
    let installed = root.join(".lyceum/tools/python/bin/cargo-lambda");
    if installed.is_file() {
        return Ok(installed);
    }
    std::env::var_os("PATH")
        .and_then(|path| {
            std::env::split_paths(&path)
                .map(|folder| folder.join("cargo-lambda"))
                .find(|path| path.is_file())
        })
        .context("cargo-lambda is not installed: run infra/local/setup (`make up` does)")
}

/// How to start the emulator of the Lambda service.
///
/// # Errors
/// When it is not installed.
pub fn emulator_launch(stack: &Stack, port: u16, log: PathBuf) -> Result<Launch> {
    let program = emulator(&stack.root)?;
    let words = [
        "lambda",
        "watch",
        "--only-lambda-apis",
        "--disable-cors",
        "--invoke-address",
        "127.0.0.1",
        "--invoke-port",
    ];
    let mut command = vec![program.display().to_string()];
    command.extend(words.map(str::to_owned));
    command.push(port.to_string());
    command.extend([
        "--manifest-path".to_owned(),
        stack.root.join("Cargo.toml").display().to_string(),
    ]);
    Ok(Launch {
        command,
        env: vec![
            ("RUST_LOG".to_owned(), "warn".to_owned()),
            ("CARGO_NET_OFFLINE".to_owned(), "true".to_owned()),
        ],
        // It asks cargo for the names of the workspace's programs, and an unprivileged account has no cargo.
        unprivileged: false,
        when_parent_dies: "KILL",
        log,
        stack_dir: stack.dir.clone(),
    })
}

/// How to start one function.
///
/// # Errors
/// When it is not built.
pub fn launch(
    stack: &Stack,
    function: &Function,
    addresses: &Addresses,
    port: u16,
    log: PathBuf,
) -> Result<Launch> {
    if !function.program.is_file() {
        bail!(
            "function {} is not built: run `cargo build --bins` (`make up` does)",
            function.name
        );
    }
    let account = process::service_account()?;
    let program = process::executable_for(&function.program, account.as_ref(), &stack.bin_dir())?;
    let mut env: Vec<(String, String)> = addresses
        .variables()
        .into_iter()
        // Functions reach data through PostgREST only.
        .filter(|(name, _)| !["DB_URL", "MAIL_DIR"].contains(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if function.name == "credentials" {
        env.extend([
            (
                "CREDENTIALS_URL".to_owned(),
                format!("{}/functions/v1/credentials", addresses.api_url),
            ),
            (
                "CREDENTIALS_SIGNING_KEY".to_owned(),
                addresses.keys.credentials_key_pem.clone(),
            ),
        ]);
    }
    if function.name == "outbox" {
        // The receivers of development and of tests are on this machine.
        env.push((
            "OUTBOX_ALLOW_PRIVATE_ADDRESSES".to_owned(),
            "true".to_owned(),
        ));
        if let Some(url) = addresses.smtp_url.clone() {
            env.extend([
                ("OUTBOX_SMTP_URL".to_owned(), url),
                (
                    "OUTBOX_MAIL_FROM".to_owned(),
                    "learning@lyceum.example".to_owned(),
                ),
            ]);
        }
        // Tests bring receivers of their own.
        env.extend(std::env::vars().filter(|(name, _)| name.starts_with("OUTBOX_")));
    }
    env.extend(
        [
            (
                "AWS_LAMBDA_RUNTIME_API",
                format!("http://127.0.0.1:{port}/.rt/{}", function.name),
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512".to_owned()),
            ("AWS_LAMBDA_MAX_CONCURRENCY", CONCURRENCY.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Ok(Launch {
        command: vec![program.display().to_string()],
        env,
        unprivileged: true,
        when_parent_dies: "KILL",
        log,
        stack_dir: stack.dir.clone(),
    })
}

/// Requests that one function answers at the same time.
const CONCURRENCY: u16 = 32;

/// Waits until the emulator accepts connections.
///
/// # Errors
/// When it does not within `limit`; the message ends with its last log lines.
pub async fn wait_emulator(port: u16, log: &Path, limit: Duration) -> Result<()> {
    let start = Instant::now();
    while !ports::is_open(port) {
        if start.elapsed() > limit {
            bail!(
                "cargo lambda watch does not listen after {} s. Its last log lines:\n{}",
                limit.as_secs(),
                files::tail(log, 15)
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
