//! One PostgreSQL cluster: made once, started with our settings, never reachable without a password.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::files;
use crate::keys::LOGIN_ROLES;
use crate::postgres::programs::Programs;
use crate::process::{self, Launch};
use crate::stack::Stack;

/// The database that clients of a running stack use, and the only one with pg_cron.
pub const MAIN_DATABASE: &str = "postgres";

/// What a cluster promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// An acknowledged write survives any crash.
    Full,
    /// For tests: data may vanish with the machine.
    None,
}

/// A cluster, running or not.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The PostgreSQL that serves it.
    pub programs: Programs,
    /// Its data folder.
    pub data: PathBuf,
    /// The folder of its Unix socket.
    pub socket_dir: PathBuf,
    /// Its port on loopback.
    pub port: u16,
    /// What it promises.
    pub durability: Durability,
    stack: Stack,
}

impl Cluster {
    /// The cluster of a stack.
    #[must_use]
    pub fn of(stack: &Stack, programs: Programs, port: u16, durability: Durability) -> Self {
        Self {
            data: stack.data.join("postgres"),
            socket_dir: stack.socket_dir(),
            stack: stack.clone(),
            programs,
            port,
            durability,
        }
    }

    /// The address of one of its databases for one of its roles.
    ///
    /// # Errors
    /// When the role has no password.
    pub fn url(&self, role: &str, database: &str) -> Result<String> {
        let password = self.stack.keys.password(role)?;
        Ok(format!(
            "postgresql://{role}:{password}@127.0.0.1:{}/{database}",
            self.port
        ))
    }

    /// Variables with which psql and pg_dump find a database of this cluster.
    ///
    /// # Errors
    /// When the role has no password.
    pub fn environment(&self, role: &str, database: &str) -> Result<Vec<(String, String)>> {
        let password = self.stack.keys.password(role)?;
        Ok([
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &self.port.to_string()),
            ("PGUSER", role),
            ("PGPASSWORD", password),
            ("PGDATABASE", database),
            ("PGCONNECT_TIMEOUT", "10"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec())
    }

    /// Makes the data folder with `initdb` unless it is there.
    ///
    /// # Errors
    /// When initdb fails, or when the folder belongs to another major version.
    pub async fn ensure_initialized(&self) -> Result<()> {
        let version_file = self.data.join("PG_VERSION");
        if let Ok(found) = std::fs::read_to_string(&version_file) {
            if found.trim() == self.programs.version.to_string() {
                return self.make_socket_dir();
            }
            bail!(
                "the cluster in {} was made by PostgreSQL {}, but {} is version {}.\nSet LYCEUM_PG_BIN to the old version's bin folder, or start afresh with `lyceum reset` (its data is lost).",
                self.data.display(),
                found.trim(),
                self.programs.bin.display(),
                self.programs.version
            );
        }
        let account = process::service_account()?;
        std::fs::create_dir_all(&self.stack.data)
            .with_context(|| format!("cannot create {}", self.stack.data.display()))?;
        // A half-made folder of an interrupted initdb.
        let _ = std::fs::remove_dir_all(&self.data);
        let draft = self.stack.data.join("postgres.new");
        let _ = std::fs::remove_dir_all(&draft);
        std::fs::create_dir(&draft)?;
        let password_file = self.stack.data.join("postgres.password");
        files::write_private(&password_file, self.stack.keys.password("supabase_admin")?)?;
        if let Some(account) = &account {
            for path in [&draft, &password_file] {
                std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))?;
            }
        }
        let launch = Launch {
            command: [
                self.programs.path("initdb").as_str(),
                "--username=supabase_admin",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--pgdata",
                &draft.display().to_string(),
                "--pwfile",
                &password_file.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
            env: Vec::new(),
            unprivileged: true,
            when_parent_dies: "KILL",
            log: self.stack.log("initdb"),
            stack_dir: self.stack.dir.clone(),
        };
        let status = tokio::time::timeout(Duration::from_secs(120), launch.start()?.wait())
            .await
            .context("initdb did not end within 120 s")??;
        std::fs::remove_file(&password_file)?;
        if !status.success() {
            bail!(
                "initdb failed ({status}):\n{}",
                files::tail(&launch.log, 10)
            );
        }
        std::fs::remove_file(&launch.log)?;
        std::fs::rename(&draft, &self.data)?;
        self.make_socket_dir()
    }

    /// The socket's folder opens to nobody but the server's account (and root).
    fn make_socket_dir(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir_all(&self.socket_dir)?;
        std::fs::set_permissions(&self.socket_dir, std::fs::Permissions::from_mode(0o700))?;
        if let Some(account) = process::service_account()? {
            std::os::unix::fs::chown(&self.socket_dir, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    }

    /// How to start the server.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            (
                "unix_socket_directories",
                self.socket_dir.display().to_string(),
            ),
            ("password_encryption", "scram-sha-256".to_owned()),
            ("max_connections", "200".to_owned()),
            ("shared_buffers", "256MB".to_owned()),
            ("effective_cache_size", "1GB".to_owned()),
            ("maintenance_work_mem", "128MB".to_owned()),
            ("work_mem", "8MB".to_owned()),
            ("random_page_cost", "1.1".to_owned()),
            ("max_wal_size", "2GB".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("log_timezone", "UTC".to_owned()),
            ("log_line_prefix", "%m [%p] %u@%d ".to_owned()),
            (
                "shared_preload_libraries",
                "pg_cron,pg_stat_statements".to_owned(),
            ),
            ("cron.database_name", MAIN_DATABASE.to_owned()),
            ("cron.use_background_workers", "on".to_owned()),
            ("max_worker_processes", "20".to_owned()),
        ];
        if self.durability == Durability::None {
            settings.extend([
                ("fsync", "off".to_owned()),
                ("synchronous_commit", "off".to_owned()),
                ("full_page_writes", "off".to_owned()),
                ("autovacuum_naptime", "10min".to_owned()),
                ("max_connections", "400".to_owned()),
            ]);
        }
        let mut command = vec![
            self.programs.path("postgres"),
            "-D".to_owned(),
            self.data.display().to_string(),
        ];
        for (name, value) in settings {
            command.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        Launch {
            command,
            env: Vec::new(),
            unprivileged: true,
            when_parent_dies: "INT",
            log: self.stack.log("postgres"),
            stack_dir: self.stack.dir.clone(),
        }
    }

    /// Waits until the server answers queries.
    ///
    /// # Errors
    /// When it does not within `limit`; the message ends with its last log lines.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        let url = self.url("supabase_admin", MAIN_DATABASE)?;
        loop {
            let attempt = super::connect(&url).await;
            let Err(error) = attempt else { return Ok(()) };
            if start.elapsed() > limit {
                return Err(error).with_context(|| {
                    format!(
                        "postgres does not answer on port {} after {} s. Its last log lines:\n{}",
                        self.port,
                        limit.as_secs(),
                        files::tail(&self.stack.log("postgres"), 15)
                    )
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the cluster's roles and sets their passwords; harmless when repeated.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn ensure_roles(&self) -> Result<()> {
        self.run_script(
            "supabase_admin",
            MAIN_DATABASE,
            &[self.stack.root.join("infra/local/bootstrap/10-roles.sql")],
            None,
        )
        .await?;
        let client = super::connect(&self.url("supabase_admin", MAIN_DATABASE)?).await?;
        for role in LOGIN_ROLES {
            let password = super::literal(self.stack.keys.password(role)?);
            let role = super::literal(role);
            let statement = format!(
                "do $$ begin if exists (select from pg_catalog.pg_roles where rolname = {role}) then \
                 execute format('alter role %I password %L', {role}, {password}); end if; end $$"
            );
            client
                .batch_execute(&statement)
                .await
                .map_err(|error| anyhow::anyhow!(super::explain(&error)))?;
        }
        Ok(())
    }

    /// Lets the statements of clients take as long as `limit`. PostgREST looks up the settings of a request's role.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn allow_statements(&self, limit: &str) -> Result<()> {
        let client = super::connect(&self.url("supabase_admin", MAIN_DATABASE)?).await?;
        let limit = super::literal(limit);
        for role in ["anon", "authenticated", "authenticator"] {
            client
                .batch_execute(&format!(
                    "alter role {role} set statement_timeout = {limit}"
                ))
                .await
                .map_err(|error| anyhow::anyhow!(super::explain(&error)))?;
        }
        Ok(())
    }

    /// Runs SQL files with psql in one transaction, `last` as its last statement.
    ///
    /// # Errors
    /// When a statement fails: the message is psql's, with file and line.
    pub async fn run_script(
        &self,
        role: &str,
        database: &str,
        scripts: &[PathBuf],
        last: Option<&str>,
    ) -> Result<()> {
        let mut command = tokio::process::Command::new(self.programs.path("psql"));
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--single-transaction",
                "--set=ON_ERROR_STOP=1",
                "--output=/dev/null",
            ])
            .envs(self.environment(role, database)?)
            .env("PGOPTIONS", "-c client_min_messages=warning")
            .stdin(Stdio::null());
        for script in scripts {
            command.arg("--file").arg(script);
        }
        if let Some(statement) = last {
            command.arg("--command").arg(statement);
        }
        let output = run(command, Duration::from_secs(300), "psql").await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// The process id of the server, if it runs.
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        (process::alive(pid)
            && process::command_line(pid).contains(&self.data.display().to_string()))
        .then_some(pid)
    }

    /// Deletes the cluster with all its data. It must be stopped.
    ///
    /// # Errors
    /// When it runs, or the folder cannot be deleted.
    pub fn delete(&self) -> Result<()> {
        if let Some(pid) = self.server_pid() {
            bail!(
                "PostgreSQL (process {pid}) still runs in {}",
                self.data.display()
            );
        }
        remove_folder(&self.data)
    }
}

/// Deletes a folder if it exists.
fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Runs a program to its end and collects what it prints; ends it after `limit`.
///
/// # Errors
/// When it cannot be started or does not end in time.
pub async fn run(
    mut command: tokio::process::Command,
    limit: Duration,
    name: &str,
) -> Result<std::process::Output> {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let child = child.with_context(|| format!("cannot start {name}"))?;
    tokio::time::timeout(limit, child.wait_with_output())
        .await
        .with_context(|| format!("{name} did not end within {} s", limit.as_secs()))?
        .with_context(|| format!("cannot run {name}"))
}
