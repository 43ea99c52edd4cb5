//! `lyceum status`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::up::{answers, probes};
use crate::files;
use crate::output;
use crate::ports::Ports;
use crate::postgres::cluster::MAIN_DATABASE;
use crate::stack::{DEFAULT, DEMO_LOGINS, DEMO_PASSWORD, Stack};
use crate::supervisor::state::{Condition, State};

/// Forms of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Pretty,
    /// NAME="value" lines.
    Env,
    /// One JSON object.
    Json,
}

/// Prints the stack's state; exit code 1 when it does not run or something does not answer.
pub async fn run(stack: &Stack, output: Output) -> Result<ExitCode> {
    let Some(state) = State::load(stack).filter(|_| stack.is_supervised()) else {
        let option = if stack.name == DEFAULT {
            String::new()
        } else {
            format!(" --stack {}", stack.name)
        };
        eprintln!("The stack does not run. Start it: make up (lyceum{option} up)");
        return Ok(ExitCode::FAILURE);
    };
    let ports = stack.ports()?;
    let addresses = stack.addresses(&ports, MAIN_DATABASE)?;
    match output {
        Output::Env => {
            for (name, value) in addresses.variables() {
                output::line(format!("{name}=\"{value}\""));
            }
            return Ok(ExitCode::SUCCESS);
        }
        Output::Json => {
            output::line(serde_json::to_string_pretty(&Value::Object(
                addresses.to_json(),
            ))?);
            return Ok(ExitCode::SUCCESS);
        }
        Output::Pretty => print_pretty(stack, &ports)?,
    }
    let mut silent = Vec::new();
    for (part, url) in probes(stack, &addresses)? {
        if !answers(&url, &addresses).await {
            silent.push(part);
        }
    }
    output::line("");
    for part in &state.parts {
        let answer = if silent.contains(&part.name) {
            ", does not answer"
        } else {
            ""
        };
        let pid = part
            .pid
            .map(|pid| format!(", process {pid}"))
            .unwrap_or_default();
        let restarts = match part.starts {
            0 | 1 => String::new(),
            starts => format!(", restarted {} times", starts - 1),
        };
        let condition = match part.condition {
            Condition::Waiting => "waits for the database",
            Condition::Running => "running",
            Condition::Restarting => "restarting",
            Condition::Failed => "FAILED",
        };
        output::line(format!(
            "  {:<24} {condition}{answer}{pid}{restarts}",
            part.name
        ));
        if part.condition == Condition::Failed || silent.contains(&part.name) {
            if let Some(end) = &part.last_end {
                output::line(format!("    it {end}"));
            }
            for line in files::tail(&stack.log(&part.name), 10).lines() {
                output::line(format!("    | {line}"));
            }
        }
    }
    let healthy = silent.is_empty()
        && state
            .parts
            .iter()
            .all(|part| part.condition == Condition::Running);
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints addresses, keys and demo logins.
pub fn print_pretty(stack: &Stack, ports: &Ports) -> Result<()> {
    let addresses = stack.addresses(ports, MAIN_DATABASE)?;
    for (label, value) in [
        ("API URL", &addresses.api_url),
        (
            "Functions URL",
            &format!("{}/functions/v1", addresses.api_url),
        ),
        ("Database URL", &addresses.db_url),
        ("Mail folder", &addresses.mail_dir.display().to_string()),
        ("Publishable key", &addresses.keys.publishable_key),
        ("Secret key", &addresses.keys.secret_key),
        ("anon key", &addresses.keys.anon_key),
        ("service_role key", &addresses.keys.service_role_key),
    ] {
        output::line(format!("  {label:>16}: {value}"));
    }
    output::line(format!("\n  Demo logins, password {DEMO_PASSWORD}:"));
    for (role, email) in DEMO_LOGINS {
        output::line(format!("  {role:>16}: {email}"));
    }
    Ok(())
}
