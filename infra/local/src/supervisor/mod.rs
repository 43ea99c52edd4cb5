//! The supervisor: a detached process that owns the parts of a stack, restarts those that die, and takes all of them
//! with it when it ends.
//!
//! It is told what to do by signals: HUP means "the database is ready: start what waits for it, restart what
//! was rebuilt"; TERM means "stop everything". What it knows stands in `state.json`.

mod part;
pub mod state;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::files::{self, Lock};
use crate::functions;
use crate::ports::Ports;
use crate::postgres::cluster::{Cluster, Durability};
use crate::postgres::programs;
use crate::postgrest;
use crate::process::{self, Launch};
use crate::stack::Stack;
use part::Part;
use state::State;

/// How often children are looked after.
const TICK: Duration = Duration::from_millis(100);

/// Runs the supervisor of a stack until it is told to end. Call it from the main thread of a single-threaded runtime:
/// the kernel ties the children's lives to the thread that starts them.
///
/// # Errors
/// When another one runs already, or the stack's files cannot be used.
pub async fn run(stack: Stack) -> Result<()> {
    let Some(_lock) = Lock::try_take(&stack.supervisor_lock())? else {
        bail!("stack {} has a supervisor already", stack.name);
    };
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let program = std::env::current_exe()?;
    let mut state = State::new(&program);
    let mut parts = parts(&stack, &program)?;
    let mut database_ready = false;
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = hang_up.recv() => {
                database_ready = true;
                for part in &mut parts {
                    part.renew().await;
                }
                state.generation += 1;
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        for part in &mut parts {
            if database_ready || !part.needs_database {
                part.look_after();
            }
        }
        state.save(&stack, &parts)?;
    }
    // In reverse, so that nothing runs without what it needs; PostgreSQL is the first and therefore ends last.
    for part in parts.iter_mut().rev() {
        part.stop().await;
    }
    State::remove(&stack);
    Ok(())
}

/// The parts in the order in which they start.
fn parts(stack: &Stack, program: &Path) -> Result<Vec<Part>> {
    let ports = stack.ports()?;
    let mut parts = vec![postgres_part(stack, &ports)?];
    parts.push(postgrest_part(stack, &ports)?);
    for name in ["auth", "storage", "gateway", "mail"] {
        let launch = serve_launch(stack, program, name);
        parts.push(Part::new(
            name,
            stack.log(name),
            program.to_owned(),
            move || Ok(launch.clone()),
        ));
    }
    let log = stack.log("functions");
    let (owner, port) = (stack.clone(), ports.functions);
    let emulator = functions::emulator(&stack.root)?;
    parts.push(Part::new("functions", log.clone(), emulator, move || {
        functions::emulator_launch(&owner, port, log.clone())
    }));
    for function in functions::list(&stack.root)? {
        parts.push(function_part(stack, &ports, function)?);
    }
    Ok(parts)
}

fn postgres_part(stack: &Stack, ports: &Ports) -> Result<Part> {
    let cluster = Cluster::of(stack, programs::find()?, ports.database, Durability::Full);
    let launch = cluster.launch();
    let mut part = Part::new(
        "postgres",
        stack.log("postgres"),
        cluster.programs.bin.join("postgres"),
        move || Ok(launch.clone()),
    );
    part.needs_database = false;
    part.stop_signal = nix::sys::signal::Signal::SIGINT;
    part.stop_patience = Duration::from_secs(20);
    Ok(part)
}

fn postgrest_part(stack: &Stack, ports: &Ports) -> Result<Part> {
    let log = stack.log("postgrest");
    let addresses = stack.addresses(ports, crate::postgres::cluster::MAIN_DATABASE)?;
    let (owner, ports, program) = (stack.clone(), ports.clone(), postgrest::find(&stack.root)?);
    Ok(Part::new("postgrest", log.clone(), program, move || {
        postgrest::launch(&owner, &addresses, &ports, log.clone())
    }))
}

fn function_part(stack: &Stack, ports: &Ports, function: functions::Function) -> Result<Part> {
    let log = stack.log(&function.part());
    let addresses = stack.addresses(ports, crate::postgres::cluster::MAIN_DATABASE)?;
    let (owner, port) = (stack.clone(), ports.functions);
    Ok(Part::new(
        &function.part(),
        log.clone(),
        function.program.clone(),
        move || functions::launch(&owner, &function, &addresses, port, log.clone()),
    ))
}

fn serve_launch(stack: &Stack, program: &Path, part: &str) -> Launch {
    let program = program.display().to_string();
    let root = stack.root.display().to_string();
    Launch {
        command: [
            &program,
            "--root",
            &root,
            "--stack",
            &stack.name,
            "serve",
            part,
        ]
        .map(str::to_owned)
        .to_vec(),
        env: Vec::new(),
        unprivileged: false,
        when_parent_dies: "KILL",
        log: stack.log(part),
        stack_dir: stack.dir.clone(),
    }
}

/// Starts the supervisor of a stack, detached from this terminal. Its ports must be remembered by then.
///
/// # Errors
/// When it does not come up within ten seconds.
pub async fn start(stack: &Stack) -> Result<()> {
    State::remove(stack);
    let program = std::env::current_exe()?.display().to_string();
    let root = stack.root.display().to_string();
    let log = stack.log("supervisor");
    let launch = Launch {
        command: [
            &program,
            "--root",
            &root,
            "--stack",
            &stack.name,
            "supervise",
        ]
        .map(str::to_owned)
        .to_vec(),
        env: Vec::new(),
        unprivileged: false,
        when_parent_dies: "",
        log: log.clone(),
        stack_dir: stack.dir.clone(),
    };
    let mut child = launch.start_detached()?;
    let wait = async {
        while State::load(stack).is_none() {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the supervisor ended at once ({status}):\n{}",
                    files::tail(&log, 15)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .with_context(|| format!("the supervisor did not start:\n{}", files::tail(&log, 15)))?
}

/// Stops a stack: its supervisor, and whatever else of it is found running.
pub fn stop(stack: &Stack) {
    let patience = Duration::from_secs(30);
    if let Some(state) = State::load(stack)
        && process::alive(state.pid)
        && process::stack_of(state.pid).as_deref() == Some(stack.dir.as_path())
    {
        process::signal(state.pid, nix::sys::signal::Signal::SIGTERM);
        let start = std::time::Instant::now();
        while process::alive(state.pid) && start.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    process::end_all(&stack.dir, patience / 3);
    State::remove(stack);
}
