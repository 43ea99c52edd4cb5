//! A throw-away copy of the stack on a database of its own, for one test file.
//!
//! The test cluster is shared and starts when the first sandbox needs it; PostgREST, auth, storage, gateway and functions are
//! each sandbox's own.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::auth::{self, AuthConfig};
use crate::files::{self, Lock};
use crate::functions;
use crate::gateway::{self, GatewayConfig};
use crate::output;
use crate::ports::{self, Ports};
use crate::postgres::cluster::{Cluster, Durability};
use crate::postgres::programs;
use crate::postgres::template::{self, Content};
use crate::postgrest;
use crate::process;
use crate::stack::{Addresses, Stack, TEST};
use crate::storage::{self, StorageConfig};

/// How long a part may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Attempts to start a part that listens: another process may take its port between our choice and its start.
const ATTEMPTS: usize = 5;
/// How long a statement may take in tests. Hosted projects end those of clients after 3 and 8 seconds; on a machine that
/// is busy with other tests, that says nothing about ours.
const STATEMENT_TIMEOUT: &str = "60s";

/// What a sandbox consists of.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether functions run in it.
    pub functions: bool,
    /// Whether it holds the demo of `supabase/seed.sql`.
    pub seed: bool,
    /// Whether a request with `Prefer: tx=rollback` leaves nothing behind.
    pub rollback: bool,
}

/// The cluster of the tests, running.
///
/// # Errors
/// When it cannot be made or started.
pub async fn test_cluster(root: &Path) -> Result<(Stack, Cluster)> {
    let stack = Stack::open(root, TEST)?;
    let programs = programs::find()?;
    let lock = Lock::take(
        &stack.dir.join("cluster.lock"),
        "another process that starts the test cluster",
        PATIENCE * 3,
    )?;
    let remembered = stack.remembered_ports()?;
    if let Some(ports) = &remembered {
        let cluster = Cluster::of(&stack, programs.clone(), ports.database, Durability::None);
        if cluster.server_pid().is_some() {
            cluster.wait_ready(PATIENCE).await?;
            return Ok((stack, cluster));
        }
    }
    let mut ports = match remembered {
        Some(ports) if ports::is_free(ports.database) => ports,
        _ => Ports::all_free(ports::free()?)?,
    };
    let mut last = anyhow!("the test cluster was not started");
    for _ in 0..ATTEMPTS {
        stack.remember_ports(&ports)?;
        let cluster = Cluster::of(&stack, programs.clone(), ports.database, Durability::None);
        cluster.ensure_initialized().await?;
        let mut server = cluster.launch().start_detached()?;
        tokio::select! {
            ready = cluster.wait_ready(PATIENCE) => {
                ready?;
                // Roles belong to the cluster: made here, under the lock, so that no two processes alter them at once.
                cluster.ensure_roles().await?;
                cluster.allow_statements(STATEMENT_TIMEOUT).await?;
                drop(lock);
                return Ok((stack, cluster));
            }
            status = server.wait() => {
                last = anyhow!(
                    "the test cluster's postgres ended at once ({}):\n{}",
                    status?,
                    files::tail(&stack.log("postgres"), 15)
                );
                ports = Ports::all_free(ports::free()?)?;
            }
        }
    }
    Err(last)
}

/// Stops the cluster of the tests, if it runs.
///
/// # Errors
/// When the checkout's folder cannot be written.
pub fn stop_test_cluster(root: &Path) -> Result<()> {
    let stack = Stack::open(root, TEST)?;
    process::end_all(&stack.dir, Duration::from_secs(10));
    Ok(())
}

/// A database cloned for the caller, which must drop it with [`template::drop_clone`].
///
/// # Errors
/// When the template cannot be made or cloned.
pub async fn own_database(stack: &Stack, cluster: &Cluster, content: Content) -> Result<String> {
    let lock = stack.dir.join("template.lock");
    template::drop_abandoned(cluster).await?;
    let template = template::ensure(cluster, &stack.root, content, &lock).await?;
    template::clone(cluster, &template).await
}

/// Starts a sandbox, prints one line of JSON with its addresses and keys, and lives until standard input closes or
/// it is told to end; then everything of it is gone.
///
/// # Errors
/// When a part does not start, with its last log lines.
pub async fn run(root: &Path, options: Options) -> Result<()> {
    let (stack, cluster) = test_cluster(root).await?;
    let content = if options.seed {
        Content::Seed
    } else {
        Content::Empty
    };
    let database = own_database(&stack, &cluster, content).await?;
    let folder = stack.dir.join("sandboxes").join(&database);
    keep_log(&folder)?;
    let outcome = live(&stack, &cluster, &database, &folder, options).await;
    let dropped = template::drop_clone(&cluster, &database).await;
    if outcome.is_ok() {
        // Logs of a sandbox that failed stay for reading.
        let _ = std::fs::remove_dir_all(&folder);
    }
    outcome.and(dropped)
}

/// The stand-ins and the gateway run in this process: what they have to say goes into a log beside those of the other parts,
/// and what the gateway warns of also to whoever started the sandbox, because logs of a sandbox that ended well are deleted.
fn keep_log(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let file = std::fs::File::create(folder.join("lyceum.log"))?;
    let all = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .with_filter(
            EnvFilter::try_from_env("LYCEUM_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        );
    let warnings = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_filter(EnvFilter::new("off,lyceum_local::gateway=warn"));
    tracing_subscriber::registry()
        .with(all)
        .with(warnings)
        .try_init()
        .context("another log is kept already")
}

async fn live(
    stack: &Stack,
    cluster: &Cluster,
    database: &str,
    folder: &Path,
    options: Options,
) -> Result<()> {
    let running = Running::start(stack, cluster, database, folder, options).await?;
    let mut answer = running.addresses.to_json();
    answer.insert(
        "ADMIN_DB_URL".to_owned(),
        Value::from(running.addresses.admin_db_url.clone()),
    );
    answer.insert(
        "LOG_DIR".to_owned(),
        Value::from(folder.display().to_string()),
    );
    output::line(Value::Object(answer));
    wait_for_end().await
}

/// Waits until standard input closes, or a signal asks to end.
async fn wait_for_end() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 256];
    loop {
        tokio::select! {
            read = stdin.read(&mut buffer) => if matches!(read, Ok(0) | Err(_)) { return Ok(()) },
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
        }
    }
}

/// The parts of a sandbox; dropping it ends them.
struct Running {
    addresses: Addresses,
    /// Killed on drop.
    _children: Vec<Child>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl Running {
    async fn start(
        stack: &Stack,
        cluster: &Cluster,
        database: &str,
        folder: &Path,
        options: Options,
    ) -> Result<Self> {
        let log = |part: &str| folder.join(format!("{part}.log"));
        let mut ports = Ports::all_free(cluster.port)?;
        let gateway_listener = gateway::bind_loopback(([127, 0, 0, 1], 0).into()).await?;
        let auth_listener = gateway::bind_loopback(([127, 0, 0, 1], 0).into()).await?;
        let storage_listener = gateway::bind_loopback(([127, 0, 0, 1], 0).into()).await?;
        ports.gateway = gateway_listener.local_addr()?.port();
        ports.auth = auth_listener.local_addr()?.port();
        ports.storage = storage_listener.local_addr()?.port();
        let mut addresses = stack.addresses(&ports, database)?;
        addresses.mail_dir = folder.join("mail");
        addresses.storage_dir = folder.join("storage");
        // Nobody takes mails here, and nobody calls the outbox function but the tests.
        addresses.smtp_url = None;

        let mut children = vec![
            start_postgrest(
                stack,
                &addresses,
                &mut ports,
                log("postgrest"),
                options.rollback,
            )
            .await?,
        ];
        let known = if options.functions {
            functions::list(&stack.root)?
        } else {
            Vec::new()
        };
        if options.functions {
            children.push(start_emulator(stack, &mut ports, log("functions")).await?);
            for function in &known {
                let launch = functions::launch(
                    stack,
                    function,
                    &addresses,
                    ports.functions,
                    log(&function.part()),
                )?;
                children.push(launch.start()?);
            }
        }

        let auth_router = auth::router(auth_config(&addresses)).await?;
        let auth_server = tokio::spawn(async move {
            if let Err(error) = axum::serve(auth_listener, auth_router).await {
                eprintln!("lyceum sandbox: the auth stand-in ended: {error:#}");
            }
        });
        let storage_router = storage::router(storage_config(&addresses)).await?;
        let storage_server = tokio::spawn(async move {
            if let Err(error) = axum::serve(storage_listener, storage_router).await {
                eprintln!("lyceum sandbox: the storage stand-in ended: {error:#}");
            }
        });
        let config = GatewayConfig {
            upstream_timeout: PATIENCE * 2,
            ..gateway_config(
                &ports,
                known.iter().map(|function| function.name.clone()),
                &addresses,
            )
        };
        let gateway_server = tokio::spawn(async move {
            if let Err(error) = gateway::serve(gateway_listener, config).await {
                eprintln!("lyceum sandbox: the gateway ended: {error:#}");
            }
        });
        Ok(Self {
            addresses,
            _children: children,
            servers: vec![auth_server, storage_server, gateway_server],
        })
    }
}

async fn start_postgrest(
    stack: &Stack,
    addresses: &Addresses,
    ports: &mut Ports,
    log: PathBuf,
    rollback: bool,
) -> Result<Child> {
    let mut last = anyhow!("PostgREST was not started");
    for _ in 0..ATTEMPTS {
        let mut launch = postgrest::launch(stack, addresses, ports, log.clone())?;
        postgrest::be_patient(&mut launch, PATIENCE);
        if rollback {
            postgrest::let_clients_roll_back(&mut launch);
        }
        let mut child = launch.start()?;
        tokio::select! {
            ready = postgrest::wait_ready(ports.rest_admin, &log, PATIENCE) => {
                ready?;
                if listens(&child, ports.rest) && listens(&child, ports.rest_admin) {
                    return Ok(child);
                }
                last = anyhow!("another process took a port of PostgREST's:\n{}", files::tail(&log, 15));
            }
            status = child.wait() => {
                last = anyhow!("PostgREST ended at once ({}):\n{}", status?, files::tail(&log, 15));
            }
        }
        (ports.rest, ports.rest_admin) = (ports::free()?, ports::free()?);
    }
    Err(last)
}

async fn start_emulator(stack: &Stack, ports: &mut Ports, log: PathBuf) -> Result<Child> {
    let mut last = anyhow!("the functions' emulator was not started");
    for _ in 0..ATTEMPTS {
        let launch = functions::emulator_launch(stack, ports.functions, log.clone())?;
        let mut child = launch.start()?;
        tokio::select! {
            ready = functions::wait_emulator(ports.functions, &log, PATIENCE) => {
                ready?;
                if listens(&child, ports.functions) {
                    return Ok(child);
                }
                last = anyhow!("another process took the emulator's port:\n{}", files::tail(&log, 15));
            }
            status = child.wait() => {
                last = anyhow!("cargo lambda watch ended at once ({}):\n{}", status?, files::tail(&log, 15));
            }
        }
        ports.functions = ports::free()?;
    }
    Err(last)
}

/// Whether it is this child that answers on the port, as far as the system tells: a part of another sandbox may have come
/// first, and would answer as well.
fn listens(child: &Child, port: u16) -> bool {
    child.id().is_some() && ports::holder(port).is_none_or(|holder| Some(holder.pid) == child.id())
}

/// How the auth stand-in runs for a stack with these addresses.
#[must_use]
pub fn auth_config(addresses: &Addresses) -> AuthConfig {
    AuthConfig {
        database_url: addresses.auth_db_url.clone(),
        issuer: addresses.issuer(),
        signing_key_pem: addresses.keys.signing_key_pem.clone(),
        key_id: addresses.keys.key_id.clone(),
        jwt_secret: addresses.keys.jwt_secret.clone(),
        site_url: "http://127.0.0.1:3000".to_owned(),
        api_url: addresses.api_url.clone(),
        mail_dir: addresses.mail_dir.clone(),
        access_token_lifetime: Duration::from_secs(3600),
        refresh_token_reuse_interval: Duration::from_secs(10),
    }
}

/// How the storage stand-in runs for a stack with these addresses.
#[must_use]
pub fn storage_config(addresses: &Addresses) -> StorageConfig {
    StorageConfig {
        database_url: addresses.storage_db_url.clone(),
        keys: addresses.keys.clone(),
        api_url: addresses.api_url.clone(),
        folder: addresses.storage_dir.clone(),
    }
}

/// How the gateway runs for a stack with these ports and functions.
pub fn gateway_config(
    ports: &Ports,
    functions: impl Iterator<Item = String>,
    addresses: &Addresses,
) -> GatewayConfig {
    GatewayConfig {
        rest_port: ports.rest,
        auth_port: ports.auth,
        storage_port: ports.storage,
        functions_port: ports.functions,
        functions: functions.collect(),
        keys: addresses.keys.clone(),
        upstream_timeout: GatewayConfig::UPSTREAM_TIMEOUT,
    }
}

/// Runs `psql` with `arguments` on a clone with pgTAP, drops the clone, and returns psql's exit code: what
/// `pg_prove --psql-bin` needs so that each test file has a database of its own.
///
/// # Errors
/// When the clone cannot be made or psql not started.
pub async fn psql_on_own_database(root: &Path, arguments: &[String]) -> Result<i32> {
    let (stack, cluster) = test_cluster(root).await?;
    let database = own_database(&stack, &cluster, Content::Pgtap).await?;
    let status = tokio::process::Command::new(cluster.programs.path("psql"))
        .args(arguments)
        .envs(cluster.environment("postgres", &database)?)
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot start psql");
    template::drop_clone(&cluster, &database).await?;
    Ok(status?.code().unwrap_or(1))
}
