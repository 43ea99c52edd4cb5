//! `lyceum import`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::import::course::{self, CourseArgs, Place, QtiArgs, Target};
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
    /// A course: a folder of Markdown, or a JSON document. The same again changes nothing.
    Course(CourseArgs),
    /// An Exercism track, from its config.json.
    Exercism(CourseArgs),
    /// The courses of OATutor and the questions to them, from a folder with coursePlans.json, skillModel.json and
    /// problems.json.gz.
    Oatutor(CourseArgs),
    /// Questions and tests of QTI 3 into a course that is there. The same again changes nothing.
    Qti(QtiArgs),
}

/// Imports, and prints what was done.
pub async fn run(stack: &Stack, source: Source) -> Result<ExitCode> {
    match source {
        Source::Course(args) => import_courses(stack, course::Source::Course, args).await,
        Source::Exercism(args) => import_courses(stack, course::Source::Exercism, args).await,
        Source::Oatutor(args) => import_courses(stack, course::Source::Oatutor, args).await,
        Source::Qti(args) => {
            let imported = async {
                let place = place(stack, args.target.clone()).await?;
                course::run_qti(&args, place, &report_dir(stack)).await
            };
            Ok(told(imported.await))
        }
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

async fn import_courses(
    stack: &Stack,
    source: course::Source,
    args: CourseArgs,
) -> Result<ExitCode> {
    let imported = async {
        let place = place(stack, args.target).await?;
        course::run(
            source,
            &args.path,
            args.course,
            args.dry_run,
            place,
            &report_dir(stack),
        )
        .await
    };
    Ok(told(imported.await))
}

/// Prints what was done.
fn told(imported: Result<course::Report>) -> ExitCode {
    match imported {
        Ok(report) => {
            output::line(&report);
            if report.failed() == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("lyceum: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Where courses are, and who asks: somebody of the local stack, or the owner of a token elsewhere.
pub(super) async fn place(stack: &Stack, target: Target) -> Result<Place> {
    let (api_url, key, token) = match (target.api_url, target.anon_key, target.access_token) {
        (Some(url), Some(key), Some(token)) => (url, key, token),
        _ => {
            let email = target
                .email
                .context("say who imports: --as EMAIL, or --api-url with key and token")?;
            let addresses = stack.addresses(&stack.ports()?, MAIN_DATABASE)?;
            let token = super::token::for_user(stack, &email).await?;
            (addresses.api_url, addresses.keys.anon_key, token)
        }
    };
    Place::find(&api_url, &key, &token, &target.tenant).await
}

fn report_dir(stack: &Stack) -> PathBuf {
    stack.root.join(".lyceum/imports")
}
