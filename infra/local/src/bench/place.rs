//! Where the bench runs: a cluster of its own with one database for each scale, PostgREST and the gateway before it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Scale, say};
use crate::files::{self, Lock};
use crate::gateway;
use crate::ports::{self, Ports};
use crate::postgres::cluster::{Cluster, Durability, MAIN_DATABASE};
use crate::postgres::{connect, database, explain, identifier, programs};
use crate::postgrest;
use crate::process;
use crate::sandbox;
use crate::stack::{Addresses, Stack};

/// The stack whose cluster the bench uses.
const STACK: &str = "bench";
/// The role that stands for "the same without row level security": it bypasses it, and in everything else (claims,
/// statement timeout, rights at least) is what `authenticated` is, so that only the policies differ.
pub(super) const BYPASSING_ROLE: &str = "bench_bypass";
const PATIENCE: Duration = Duration::from_secs(60);

/// The bench's servers. PostgreSQL, PostgREST and the gateway end with it.
pub(super) struct Place {
    pub(super) scale: Scale,
    pub(super) cluster: Cluster,
    pub(super) ports: Ports,
    stack: Stack,
    addresses: Addresses,
    server: Child,
    rest: Option<Child>,
    gateway: Option<JoinHandle<()>>,
    _lock: Lock,
}

impl Place {
    /// Starts the cluster.
    pub(super) async fn open(root: &Path, scale: Scale) -> Result<Self> {
        let stack = Stack::open(root, STACK)?;
        let lock = Lock::take(
            &stack.dir.join("bench.lock"),
            "another `lyceum bench`",
            Duration::from_secs(1),
        )?;
        // What a killed run may have left behind.
        process::end_all(&stack.dir, Duration::from_secs(20));
        let ports = Ports::all_free(ports::free()?)?;
        let cluster = Cluster::of(&stack, programs::find()?, ports.database, Durability::Full);
        cluster.ensure_initialized().await?;
        let mut launch = cluster.launch();
        for setting in server_settings() {
            launch.command.extend(["-c".to_owned(), setting]);
        }
        let server = launch.start()?;
        cluster.wait_ready(PATIENCE * 2).await?;
        cluster.ensure_roles().await?;
        let addresses = stack.addresses(&ports, &database_name(scale))?;
        Ok(Self {
            scale,
            cluster,
            ports,
            stack,
            addresses,
            server,
            rest: None,
            gateway: None,
            _lock: lock,
        })
    }

    /// Stops everything.
    pub(super) async fn close(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.abort();
        }
        if let Some(mut rest) = self.rest.take() {
            let _ = rest.kill().await;
        }
        if let Some(pid) = self.server.id() {
            process::signal(pid, nix::sys::signal::Signal::SIGINT);
        }
        let _ = tokio::time::timeout(PATIENCE * 2, self.server.wait()).await;
    }

    /// The name of the scale's database.
    pub(super) fn database(&self) -> String {
        database_name(self.scale)
    }

    /// A superuser's connection.
    pub(super) async fn admin(&self) -> Result<Client> {
        connect(&self.addresses.admin_db_url).await
    }

    /// A connection as PostgREST has it.
    pub(super) async fn authenticator(&self) -> Result<Client> {
        connect(&self.addresses.authenticator_db_url).await
    }

    /// Changes whenever the schema or the loader changes: what is loaded under another digest is out of date.
    pub(super) fn digest(&self, steps: &[(&str, &str)]) -> Result<String> {
        let mut hash = Sha256::new();
        let mut paths = database::bootstrap_files(&self.stack.root)?;
        paths.extend(database::migration_files(&self.stack.root)?);
        for path in paths {
            hash.update(std::fs::read(&path)?);
        }
        for (_, sql) in steps {
            hash.update(sql);
        }
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// Drops the scale's database and makes it anew: bootstrap and migrations, no rows.
    pub(super) async fn fresh_database(&self) -> Result<()> {
        let name = self.database();
        let client = connect(&self.cluster.url("supabase_admin", MAIN_DATABASE)?).await?;
        for statement in [
            format!("drop database if exists {} with (force)", identifier(&name)),
            format!(
                "create database {} template template0 owner postgres",
                identifier(&name)
            ),
        ] {
            execute(&client, &statement).await?;
        }
        database::bootstrap(&self.cluster, &self.stack.root, &name).await?;
        database::migrate(&self.cluster, &self.stack.root, &name).await?;
        self.cluster.ensure_roles().await
    }

    /// Puts the data back to where it was loaded, and makes the role that bypasses row level security.
    pub(super) async fn prepare(&self) -> Result<()> {
        say("preparing: the completion benchmark's learners start afresh");
        let admin = self.admin().await?;
        execute(&admin, include_str!("../../../../sql/bench/reset.sql")).await?;
        for table in [
            "lms.lesson_progress",
            "lms.enrollments",
            "bench.bare_progress",
        ] {
            execute(&admin, &format!("vacuum analyze {table}")).await?;
        }
        execute(&admin, "checkpoint").await?;
        let settings: Option<Vec<String>> = admin
            .query_one(
                "select rolconfig from pg_roles where rolname = 'authenticated'",
                &[],
            )
            .await?
            .get(0);
        let mut statements = format!(
            "do $$ begin if not exists (select from pg_roles where rolname = '{BYPASSING_ROLE}') then \
             create role {BYPASSING_ROLE} nologin inherit bypassrls in role service_role; end if; end $$;
             alter role {BYPASSING_ROLE} reset all; grant {BYPASSING_ROLE} to authenticator;"
        );
        for setting in settings.unwrap_or_default() {
            if let Some((name, value)) = setting.split_once('=') {
                let value = crate::postgres::literal(value);
                statements.push_str(&format!(
                    "alter role {BYPASSING_ROLE} set {name} = {value};"
                ));
            }
        }
        execute(&admin, &statements).await
    }

    /// Starts PostgREST and the gateway on the scale's database.
    pub(super) async fn serve(&mut self) -> Result<()> {
        let log = self.stack.log("postgrest");
        let mut rest =
            postgrest::launch(&self.stack, &self.addresses, &self.ports, log.clone())?.start()?;
        tokio::select! {
            ready = postgrest::wait_ready(self.ports.rest_admin, &log, PATIENCE) => ready?,
            status = rest.wait() => bail!("PostgREST ended at once ({}):\n{}", status?, files::tail(&log, 15)),
        }
        self.rest = Some(rest);
        let listener = gateway::bind_loopback(([127, 0, 0, 1], self.ports.gateway).into()).await?;
        let config = sandbox::gateway_config(&self.ports, std::iter::empty(), &self.addresses);
        self.gateway = Some(tokio::spawn(async move {
            if let Err(error) = gateway::serve(listener, config).await {
                say(&format!("the gateway ended: {error:#}"));
            }
        }));
        Ok(())
    }

    /// The key that clients send beside their token.
    pub(super) fn anon_key(&self) -> &str {
        &self.addresses.keys.anon_key
    }

    /// A token with the claims that a signed-in user's has, of `role`.
    pub(super) fn token(&self, user: Uuid, role: &str) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.addresses.keys.key_id.clone());
        let key = EncodingKey::from_ec_pem(self.addresses.keys.signing_key_pem.as_bytes())?;
        let mut claims = claims(user, role);
        let now = chrono::Utc::now().timestamp();
        claims["iss"] = json!(self.addresses.issuer());
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + 24 * 3600);
        jsonwebtoken::encode(&header, &claims, &key).context("cannot sign a token")
    }

    /// Where this scale's results go.
    pub(super) fn results_folder(&self) -> PathBuf {
        self.stack
            .root
            .join(".lyceum/bench/results")
            .join(self.scale.word())
    }

    /// Where the scripts of pgbench go.
    pub(super) fn scripts_folder(&self) -> PathBuf {
        self.stack.dir.join("pgbench")
    }
}

/// The claims of a user's token.
pub(super) fn claims(user: Uuid, role: &str) -> Value {
    json!({
        "iss": "http://127.0.0.1:54321/auth/v1", "aud": "authenticated", "sub": user, "role": role,
        "email": "person@bench.test", "phone": "", "session_id": user, "aal": "aal1",
        "amr": [{ "method": "password", "timestamp": 1_700_000_000 }],
        "app_metadata": { "provider": "email", "providers": ["email"] }, "user_metadata": {}, "is_anonymous": false,
    })
}

/// Runs statements; the error says what the server said.
pub(super) async fn execute(client: &Client, statements: &str) -> Result<()> {
    client
        .batch_execute(statements)
        .await
        .map_err(|error| anyhow!(explain(&error)))
}

fn database_name(scale: Scale) -> String {
    format!("bench_{}", scale.word())
}

/// Memory enough that scale m is measured in RAM, planning counted, and no autovacuum in between: the bench vacuums by
/// itself.
fn server_settings() -> Vec<String> {
    let megabytes = (memory_megabytes() / 4).clamp(256, 4096);
    vec![
        format!("shared_buffers={megabytes}MB"),
        format!("effective_cache_size={}MB", megabytes * 2),
        "max_wal_size=8GB".to_owned(),
        "autovacuum=off".to_owned(),
        "pg_stat_statements.track_planning=on".to_owned(),
    ]
}

/// Memory of the machine.
pub(super) fn memory_megabytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("MemTotal:"))?
                .to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(2048, |kilobytes| kilobytes / 1024)
}
