//! `lyceum import`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::import::feed::{self, PeopleArgs};
use crate::import::oulad::{self, OuladArgs};
use crate::output;
use crate::postgres::cluster::MAIN_DATABASE;
use crate::stack::Stack;

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum Source {
    /// The Open University Learning Analytics dataset. Running it again changes nothing.
    Oulad(OuladArgs),
    /// People of a tenant from a CSV file of its personnel system: added, changed, moved, ended. Exit code 1 when some
    /// rows were not applied, 2 when nothing was done. Running it again changes nothing.
    People(PeopleArgs),
}

/// Imports, and prints what was done.
pub async fn run(stack: &Stack, source: Source) -> Result<ExitCode> {
    match source {
        Source::Oulad(args) => import_oulad(stack, args).await,
        Source::People(args) => Ok(import_people(stack, args).await.unwrap_or_else(|error| {
            eprintln!("lyceum: {error:#}");
            ExitCode::from(2)
        })),
    }
}

async fn import_oulad(stack: &Stack, args: OuladArgs) -> Result<ExitCode> {
    let (database_url, api_url, service_role_key) =
        match (args.db_url, args.api_url, args.service_role_key) {
            (Some(database), Some(api), Some(key)) => (database, api, key),
            _ => {
                let addresses = stack.addresses(&stack.ports()?, MAIN_DATABASE)?;
                (
                    addresses.db_url,
                    addresses.api_url,
                    addresses.keys.service_role_key,
                )
            }
        };
    let report = oulad::run(oulad::Options {
        dir: args.dir,
        database_url,
        auth_url: format!("{}/auth/v1", api_url.trim_end_matches('/')),
        service_role_key,
        report_dir: report_dir(stack),
        quiet: args.quiet,
    })
    .await?;
    output::line(report);
    Ok(ExitCode::SUCCESS)
}

async fn import_people(stack: &Stack, args: PeopleArgs) -> Result<ExitCode> {
    let (api_url, service_role_key) = match (args.api_url, args.service_role_key) {
        (Some(api), Some(key)) => (api, key),
        _ => {
            let addresses = stack.addresses(&stack.ports()?, MAIN_DATABASE)?;
            (addresses.api_url, addresses.keys.service_role_key)
        }
    };
    let report = args.report.unwrap_or_else(|| {
        report_dir(stack).join(format!(
            "people-{}-{}.csv",
            args.tenant,
            chrono::Utc::now().format("%Y%m%dT%H%M%S%.3fZ")
        ))
    });
    let report = feed::run(feed::Options {
        file: args.file,
        tenant: args.tenant,
        dry_run: args.dry_run,
        invite: args.invite,
        end_limit: args.end_limit,
        report,
        quiet: args.quiet,
        api_url,
        service_role_key,
    })
    .await?;
    output::line(&report);
    if report.failed() == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "lyceum: {} rows were not applied; {} says why",
        report.failed(),
        report.path.display()
    );
    Ok(ExitCode::FAILURE)
}

fn report_dir(stack: &Stack) -> PathBuf {
    stack.root.join(".lyceum/imports")
}
