//! `lyceum doctor`: is this machine fit, does the stack answer, is the database what the migrations say?

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::functions;
use crate::output;
use crate::ports;
use crate::postgres::cluster::{Cluster, Durability, MAIN_DATABASE};
use crate::postgres::{database, programs};
use crate::postgrest;
use crate::probe;
use crate::snapshot;
use crate::stack::Stack;
use crate::supervisor::state::{Condition, State};

/// Collects and prints findings.
#[derive(Default)]
struct Report {
    faults: usize,
}

impl Report {
    fn good(&self, text: &str) {
        output::line(format!("  ok     {text}"));
    }

    fn note(&self, text: &str) {
        output::line(format!("  note   {text}"));
    }

    fn fault(&mut self, text: &str) {
        self.faults += 1;
        output::line(format!("  FAULT  {text}"));
    }

    fn settle<T>(&mut self, outcome: Result<T>, good: impl FnOnce(&T) -> String) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.good(&good(&value));
                Some(value)
            }
            Err(error) => {
                self.fault(&format!("{error:#}"));
                None
            }
        }
    }
}

/// Prints all findings; exit code 1 when one is a fault.
///
/// # Errors
/// When the checks themselves cannot be made.
pub async fn run(stack: &Stack) -> Result<ExitCode> {
    let mut report = Report::default();
    output::line("Tools");
    tools(&stack.root, &mut report);
    output::line("Ports and parts");
    let running = parts(stack, &mut report).await?;
    output::line("Database");
    if running {
        catalogue(stack, &mut report).await?;
    } else {
        report.note("not checked: the stack does not run");
    }
    Ok(if report.faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tools(root: &Path, report: &mut Report) {
    report.settle(programs::find(), |found| {
        format!("PostgreSQL {} in {}", found.version, found.bin.display())
    });
    report.settle(postgrest::find(root), |path| {
        format!("PostgREST: {}", path.display())
    });
    report.settle(functions::emulator(root), |path| {
        format!("cargo-lambda: {}", path.display())
    });
    if root.join("node_modules/.bin/supabase").exists() {
        report.good("Supabase CLI");
    } else {
        report.fault("the Supabase CLI is not installed: run infra/local/setup");
    }
    for (program, purpose) in [
        ("node", "the Supabase CLI and the client tests"),
        ("cargo", "the functions"),
        (
            "setpriv",
            "children that end with their parent (package util-linux)",
        ),
        ("setsid", "the supervisor (package util-linux)"),
        (
            "pg_prove",
            "database tests (package libtap-parser-sourcehandler-pgtap-perl)",
        ),
    ] {
        let argument = "--version";
        match Command::new(program).arg(argument).output() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                report.good(&format!(
                    "{program}: {}",
                    text.lines().next().unwrap_or("found")
                ));
            }
            Err(_) => report.fault(&format!("{program} is missing; it is needed for {purpose}")),
        }
    }
}

async fn parts(stack: &Stack, report: &mut Report) -> Result<bool> {
    let Some(state) = State::load(stack).filter(|_| stack.is_supervised()) else {
        let wanted = match stack.remembered_ports()? {
            Some(ports) => ports.public().map(|(_, port)| port),
            None => [ports::DEFAULT_GATEWAY, ports::DEFAULT_GATEWAY + 1],
        };
        report.note("the stack does not run; `make up` starts it");
        for port in wanted {
            match (ports::is_free(port), ports::holder(port)) {
                (true, _) => report.good(&format!("port {port} is free")),
                (false, Some(holder)) => {
                    report.note(&format!(
                        "port {port} is in use by process {}: {}",
                        holder.pid, holder.command
                    ));
                }
                (false, None) => report.note(&format!(
                    "port {port} is in use by a process of another user"
                )),
            }
        }
        return Ok(false);
    };
    let addresses = stack.addresses(&stack.ports()?, MAIN_DATABASE)?;
    for part in &state.parts {
        let detail = format!("{}, started {} times", part.name, part.starts);
        match part.condition {
            Condition::Running => report.good(&detail),
            _ => report.fault(&format!(
                "{detail}, {}; see `lyceum logs {}`",
                part.last_end.as_deref().unwrap_or("does not run"),
                part.name
            )),
        }
    }
    let key = [(
        http::HeaderName::from_static("apikey"),
        addresses.keys.anon_key.as_str(),
    )];
    for path in [
        "/",
        "/rest/v1/",
        "/auth/v1/health",
        "/auth/v1/.well-known/jwks.json",
        "/storage/v1/health",
    ] {
        let answer = probe::get(&format!("{}{path}", addresses.api_url), &key).await;
        match answer {
            Ok(answer) if answer.status.is_success() => report.good(&format!("{path} answers")),
            Ok(answer) => report.fault(&format!("{path} answers {}", answer.status)),
            Err(error) => report.fault(&format!("{error:#}")),
        }
    }
    Ok(true)
}

/// The ledger of migrations only says what was run; the catalogue says what is there.
async fn catalogue(stack: &Stack, report: &mut Report) -> Result<()> {
    let cluster = Cluster::of(
        stack,
        programs::find()?,
        stack.ports()?.database,
        Durability::Full,
    );
    let pending = database::pending_migrations(&cluster, &stack.root, MAIN_DATABASE).await?;
    if pending.is_empty() {
        report.good("every migration is applied");
    } else {
        report.fault(&format!(
            "not applied: {}; `make up` applies them",
            pending.join(", ")
        ));
    }
    let live = snapshot::schema(&cluster, MAIN_DATABASE).await?;
    let file = stack.root.join("supabase/schema.sql");
    if !file.is_file() {
        report.note("supabase/schema.sql does not exist; `make schema` writes it");
        return Ok(());
    }
    match snapshot::difference(&file, &live).await? {
        None => report.good("the database is what supabase/schema.sql says"),
        Some(difference) => {
            report.fault(
                "the database differs from supabase/schema.sql (- the file, + the database):",
            );
            for line in difference.lines().skip(2) {
                output::line(format!("         {line}"));
            }
        }
    }
    Ok(())
}
