//! `lyceum up`: from whatever state to a stack that answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use super::info;
use crate::files::{self, Lock};
use crate::functions;
use crate::output;
use crate::ports::{self, Ports};
use crate::postgres::cluster::{Cluster, Durability, MAIN_DATABASE};
use crate::postgres::{database, programs};
use crate::probe;
use crate::process;
use crate::stack::{Addresses, Stack, TEST};
use crate::supervisor;
use crate::supervisor::state::{Condition, State};

/// How long the server may take to start; longer after a crash, when it replays its log.
const DATABASE_PATIENCE: Duration = Duration::from_secs(120);
/// How long the other parts may take.
const PARTS_PATIENCE: Duration = Duration::from_secs(90);

/// Brings the stack up and prints where it is.
pub async fn run(stack: &Stack, port: Option<u16>) -> Result<()> {
    if stack.name == TEST {
        bail!("the stack named {TEST} belongs to the tests; choose another name");
    }
    let start = Instant::now();
    let lock = stack.dir.join("up.lock");
    let _lock = Lock::take(
        &lock,
        "another `lyceum up`, `down` or `reset`",
        Duration::from_secs(600),
    )?;
    let ports = ensure_supervised(stack, port).await?;
    let cluster = Cluster::of(stack, programs::find()?, ports.database, Durability::Full);
    wait_for_database(stack, &cluster).await?;
    prepare(stack, &cluster).await?;
    let told = tell_supervisor(stack)?;
    wait_for_parts(stack, &ports, told).await?;
    output::line(format!(
        "Ready after {:.1} s.\n",
        start.elapsed().as_secs_f64()
    ));
    info::print_pretty(stack, &ports)
}

/// Makes sure that a supervisor of this very program runs, and returns the stack's ports.
async fn ensure_supervised(stack: &Stack, port: Option<u16>) -> Result<Ports> {
    let program = files::fingerprint(&std::env::current_exe()?);
    if stack.is_supervised() {
        let ports = stack.ports()?;
        if let Some(wanted) = port.filter(|wanted| *wanted != ports.gateway) {
            say(&format!(
                "moving the stack from port {} to {wanted}",
                ports.gateway
            ));
            supervisor::stop(stack);
        } else if let Some(state) = State::load(stack)
            && state.program == program
            && !state
                .parts
                .iter()
                .any(|part| part.condition == Condition::Failed)
        {
            return Ok(ports);
        } else {
            say("restarting the stack: its program was rebuilt, or a part of it had been given up");
            supervisor::stop(stack);
        }
    }
    // What a killed supervisor may have left behind.
    supervisor::stop(stack);
    if !stack.data.starts_with(&stack.root) {
        let name = process::service_account()?
            .map(|account| account.name)
            .unwrap_or_default();
        say(&format!(
            "user {name} cannot reach {}, so the database lives in {}",
            stack.dir.display(),
            stack.data.display()
        ));
    }
    let ports = ports::choose(port, stack.remembered_ports()?)?;
    stack.remember_ports(&ports)?;
    let cluster = Cluster::of(stack, programs::find()?, ports.database, Durability::Full);
    if !cluster.data.exists() {
        say(&format!(
            "making a PostgreSQL {} cluster",
            cluster.programs.version
        ));
    }
    cluster.ensure_initialized().await?;
    say("starting PostgreSQL");
    supervisor::start(stack).await?;
    Ok(ports)
}

async fn wait_for_database(stack: &Stack, cluster: &Cluster) -> Result<()> {
    tokio::select! {
        ready = cluster.wait_ready(DATABASE_PATIENCE) => ready,
        failure = first_failure(stack) => Err(failure),
    }
}

/// Bootstrap, migrations and seed, as far as they are missing.
async fn prepare(stack: &Stack, cluster: &Cluster) -> Result<()> {
    let new = {
        let roles_exist = database::is_bootstrapped(cluster, MAIN_DATABASE).await?;
        if !roles_exist {
            say("making roles and schemas as a Supabase project has them");
            cluster.ensure_roles().await?;
        }
        if roles_exist && !database::has_storage(cluster, MAIN_DATABASE).await? {
            say("adding the schema of storage, which this database was made without");
            cluster.ensure_roles().await?;
            database::add_storage(cluster, &stack.root, MAIN_DATABASE).await?;
        }
        database::bootstrap(cluster, &stack.root, MAIN_DATABASE).await?
    };
    let pending = database::pending_migrations(cluster, &stack.root, MAIN_DATABASE).await?;
    if !pending.is_empty() {
        say(&format!(
            "applying {} migration{}",
            pending.len(),
            if pending.len() == 1 { "" } else { "s" }
        ));
        database::migrate(cluster, &stack.root, MAIN_DATABASE).await?;
    }
    let memory = stack.migrations_memory();
    if new {
        // Of the database before this one.
        let _ = std::fs::remove_file(&memory);
    }
    let changed = database::changed_migrations(&stack.root, &memory)?;
    if !changed.is_empty() {
        say(&format!(
            "note: changed since they were applied here: {}. `make reset` makes the database anew with them",
            changed.join(", ")
        ));
    }
    if database::seed(cluster, &stack.root, MAIN_DATABASE).await? {
        say("loaded the demo of supabase/seed.sql");
    } else if new {
        say("there is no supabase/seed.sql to load");
    }
    Ok(())
}

/// Tells the supervisor that the database is ready; returns the number of times it had been told before.
fn tell_supervisor(stack: &Stack) -> Result<u32> {
    match State::load(stack) {
        Some(state) => {
            process::signal(state.pid, Signal::SIGHUP);
            Ok(state.generation)
        }
        None => bail!(
            "the supervisor is gone:\n{}",
            files::tail(&stack.log("supervisor"), 15)
        ),
    }
}

/// Waits until everything answers through the gateway.
async fn wait_for_parts(stack: &Stack, ports: &Ports, told: u32) -> Result<()> {
    let addresses = stack.addresses(ports, MAIN_DATABASE)?;
    let ready = async {
        while State::load(stack).is_none_or(|state| state.generation <= told) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut silent = BTreeMap::new();
        let mut announced = false;
        for (name, url) in probes(stack, &addresses)? {
            silent.insert(name, url);
        }
        while !silent.is_empty() {
            let mut answered = Vec::new();
            for (name, url) in &silent {
                if answers(url, &addresses).await {
                    answered.push(name.clone());
                }
            }
            silent.retain(|name, _| !answered.contains(name));
            if !silent.is_empty() {
                if !announced {
                    say("starting gateway, PostgREST, auth, storage and functions");
                    announced = true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        ready = tokio::time::timeout(PARTS_PATIENCE, ready) => match ready {
            Ok(done) => done,
            Err(_) => bail!("the stack is not ready after {} s.\n{}", PARTS_PATIENCE.as_secs(), report(stack, &addresses).await),
        },
        failure = first_failure(stack) => Err(failure),
    }
}

/// What must answer, by the part that answers it.
pub fn probes(stack: &Stack, addresses: &Addresses) -> Result<Vec<(String, String)>> {
    let api = &addresses.api_url;
    let mut probes = vec![
        ("gateway".to_owned(), format!("{api}/")),
        ("postgrest".to_owned(), format!("{api}/rest/v1/")),
        ("auth".to_owned(), format!("{api}/auth/v1/health")),
        ("storage".to_owned(), format!("{api}/storage/v1/health")),
    ];
    for function in functions::list(&stack.root)? {
        probes.push((
            function.part(),
            format!("{api}/functions/v1/{}/health", function.name),
        ));
    }
    Ok(probes)
}

/// Whether a probe succeeds.
pub async fn answers(url: &str, addresses: &Addresses) -> bool {
    let key = [(
        http::HeaderName::from_static("apikey"),
        addresses.keys.anon_key.as_str(),
    )];
    probe::get(url, &key)
        .await
        .is_ok_and(|answer| answer.status.is_success())
}

/// Resolves when a part was given up, with its last log lines.
async fn first_failure(stack: &Stack) -> anyhow::Error {
    loop {
        let state = State::load(stack);
        let failed = state
            .iter()
            .flat_map(|state| &state.parts)
            .find(|part| part.condition == Condition::Failed);
        if let Some(part) = failed {
            return anyhow::anyhow!(
                "{} {} and was given up after {} starts. Its last log lines:\n{}",
                part.name,
                part.last_end.as_deref().unwrap_or("does not run"),
                part.starts,
                files::tail(&stack.log(&part.name), 15)
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Which parts do not answer, with their last log lines.
async fn report(stack: &Stack, addresses: &Addresses) -> String {
    let mut lines = Vec::new();
    for (part, url) in probes(stack, addresses).unwrap_or_default() {
        if !answers(&url, addresses).await {
            lines.push(format!(
                "{part} does not answer at {url}. Its last log lines:\n{}",
                files::tail(&stack.log(&part), 10)
            ));
        }
    }
    lines.join("\n")
}

fn say(line: &str) {
    output::line(format!("  {line}"));
}
