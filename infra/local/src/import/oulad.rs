//! The Open University Learning Analytics dataset (Kuzilek J., Hlosta M., Zdrahal Z. (2017), Open University Learning
//! Analytics dataset, Sci. Data 4:170171, doi 10.1038/sdata.2017.171).
//!
//! A module becomes a tenant, a presentation a course, an activity type a module, a site a required lesson, a
//! registration an enrolment, the first visit of a site the completion of its lesson, and a result a graded attempt.

mod check;
mod reasons;
mod records;
mod report;
mod stage;
mod write;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio_postgres::{Client, NoTls};

use super::findings::Findings;
use super::people::AuthAdmin;

pub use report::{Course, Report, Written};

/// How long to wait for an import that was just interrupted.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `lyceum import oulad` takes on its command line.
#[derive(Debug, Clone, Args)]
pub struct OuladArgs {
    /// Folder with courses, vle, studentInfo, studentRegistration and lesson_progress_all (.csv.gz).
    pub dir: PathBuf,
    /// Show no progress bars.
    #[arg(long)]
    pub quiet: bool,
    /// Database of another stack than this checkout's, as role postgres.
    #[arg(long, requires = "api_url", value_name = "URL")]
    pub db_url: Option<String>,
    /// API of another stack.
    #[arg(long, requires_all = ["db_url", "service_role_key"], value_name = "URL")]
    pub api_url: Option<String>,
    /// Service role key of another stack.
    #[arg(
        long,
        env = "SERVICE_ROLE_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub service_role_key: Option<String>,
}

/// What an import needs.
#[derive(Clone)]
pub struct Options {
    /// Folder with the files.
    pub dir: PathBuf,
    /// Database, as role postgres.
    pub database_url: String,
    /// Auth API, ending in `/auth/v1`.
    pub auth_url: String,
    /// Key that the auth admin API asks for.
    pub service_role_key: String,
    /// Folder for the list of skipped, repaired and flagged rows; made if missing. Usually `.lyceum/imports`.
    pub report_dir: PathBuf,
    /// No progress bars. There are none without a terminal either.
    pub quiet: bool,
}

/// Reads and checks all files, then writes what is not there yet. Running it again changes nothing, and continues
/// what was interrupted.
///
/// # Errors
/// A missing, damaged or cut-off file, a wrong first row, no reachable database or auth service, another import under
/// way, a course or a login of the same name that no import has made. The first three, and the last where it is about
/// a course, before anything is written.
pub async fn run(options: Options) -> Result<Report> {
    let files = stage::Files::open(&options.dir, options.quiet)?;
    let mut client = connect(&options.database_url).await?;
    let mut findings = Findings::begin(&options.report_dir, "oulad")?;
    let mut written = Written::default();

    let courses = files
        .stage(&client, &mut findings)
        .await
        .context("nothing was written")?;
    check::check(&client, &mut findings)
        .await
        .context("nothing was written")?;

    let auth = AuthAdmin::new(&options.auth_url, &options.service_role_key)?;
    written.people = write::write_people(&client, &auth, &courses, options.quiet).await?;
    write::write_catalog(&mut client, &mut written).await?;
    write::write_registrations(&mut client, &mut findings, &mut written).await?;
    write::write_visits(&mut client, &mut findings, &mut written, options.quiet).await?;

    let courses = report::summarize(&client).await?;
    let (report_file, findings) = findings.finish()?;
    Ok(Report {
        written,
        courses,
        findings,
        report_file,
    })
}

/// Connects, and takes the lock that keeps a second import out until this one ends.
async fn connect(database_url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls)
        .await
        .context("the database cannot be reached; is the stack up? (make up)")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the import's connection ended");
        }
    });
    // The interval makes the server notice within a second when the import was killed, and give its lock back.
    client
        .batch_execute(
            "set application_name = 'lyceum import'; set timezone = 'UTC'; set statement_timeout = 0;
             set client_connection_check_interval = '1s'",
        )
        .await
        .context("the database cannot be prepared")?;
    let migrated: bool = client
        .query_one("select to_regclass('lms.lesson_progress') is not null", &[])
        .await
        .context("the database cannot be prepared")?
        .get(0);
    if !migrated {
        bail!("the database lacks Lyceum's tables: apply the migrations first (make up)");
    }
    let begun = Instant::now();
    while !lock(&client).await? {
        if begun.elapsed() > PATIENCE {
            bail!("another import is under way in this database; wait until it ends");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(client)
}

/// Tries to take the lock that the connection holds until it ends.
async fn lock(client: &Client) -> Result<bool> {
    let row = client
        .query_one(
            "select pg_try_advisory_lock(hashtext('lyceum import'))",
            &[],
        )
        .await
        .context("the lock of imports cannot be taken")?;
    Ok(row.get(0))
}
