//! `lyceum import`.

use anyhow::Result;
use clap::Subcommand;

use crate::import::oulad::{self, Options, OuladArgs};
use crate::output;
use crate::postgres::cluster::MAIN_DATABASE;
use crate::stack::Stack;

/// Data sets that can be imported.
#[derive(Debug, Subcommand)]
pub enum Source {
    /// The Open University Learning Analytics dataset. Running it again changes nothing.
    Oulad(OuladArgs),
}

/// Imports, and prints what was done.
pub async fn run(stack: &Stack, source: Source) -> Result<()> {
    let Source::Oulad(args) = source;
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
    let report = oulad::run(Options {
        dir: args.dir,
        database_url,
        auth_url: format!("{}/auth/v1", api_url.trim_end_matches('/')),
        service_role_key,
        report_dir: stack.root.join(".lyceum/imports"),
        quiet: args.quiet,
    })
    .await?;
    output::line(report);
    Ok(())
}
