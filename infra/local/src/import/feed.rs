//! The people of a tenant, from the file of its personnel system, night after night.
//!
//! A dry run tells who is unknown; they get logins; then all rows are applied in one transaction, each on its own
//! merits. Whoever interrupts it runs it again.

mod file;
mod report;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, send};
use super::people::{AuthAdmin, IN_FLIGHT, Login, Person};
use super::progress;

use file::{PeopleFile, Row};
pub use report::{Action, Outcome, Report};

/// Most rows that the database takes at a time.
const MOST_ROWS: usize = 20_000;
/// How long the database may take, which has a limit of its own of five minutes.
const PATIENCE: Duration = Duration::from_secs(330);
/// How long to wait for another import, such as one whose sender was just interrupted.
const TURN: Duration = Duration::from_secs(60);

/// What `lyceum import people` takes on its command line.
#[derive(Debug, Clone, Args)]
pub struct PeopleArgs {
    /// CSV in UTF-8 with a header: employee_number, email, first_name, last_name, unit, job_title, role, role_scope,
    /// status.
    pub file: PathBuf,
    /// Slug of the tenant.
    #[arg(long, value_name = "SLUG")]
    pub tenant: String,
    /// Only tell what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Invite whoever is unknown instead of making logins.
    #[arg(long)]
    pub invite: bool,
    /// End those with an employee number whom the file does not name, unless there are more than this.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub end_limit: u32,
    /// Where the list of rows goes. [default: a new file in .lyceum/imports]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
    /// API of another stack or of a hosted project.
    #[arg(long, requires = "service_role_key", value_name = "URL")]
    pub api_url: Option<String>,
    /// Its service role key.
    #[arg(
        long,
        env = "SERVICE_ROLE_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub service_role_key: Option<String>,
}

/// What an import needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// CSV in UTF-8.
    pub file: PathBuf,
    /// Slug of the tenant.
    pub tenant: String,
    /// Write nothing.
    pub dry_run: bool,
    /// Invite whoever is unknown instead of making logins.
    pub invite: bool,
    /// How many missing people may be ended; none when 0.
    pub end_limit: u32,
    /// Where the list of rows goes; its folder is made if missing.
    pub report: PathBuf,
    /// No progress. There is none without a terminal either.
    pub quiet: bool,
    /// The API, without a path.
    pub api_url: String,
    /// Its service role key.
    pub service_role_key: String,
}

/// Brings the tenant in step with the file. Running it again changes nothing, and continues what was interrupted.
///
/// # Errors
/// A file of another kind, empty, cut short or with an unknown column; an unknown tenant; more people missing than may be
/// ended; all of these before anything is written. An API that does not answer or refuses the key.
pub async fn run(options: Options) -> Result<Report> {
    let file = file::read(&options.file)?;
    if file.rows.len() > MOST_ROWS {
        bail!(
            "the file has {} rows; at most {MOST_ROWS} can be applied at a time",
            file.rows.len()
        );
    }
    report::prepare(&options.report)?;
    let imported = import(&options, file).await;
    if imported.is_err() {
        // There is nothing to list.
        let _ = std::fs::remove_file(&options.report);
    }
    imported
}

async fn import(options: &Options, file: PeopleFile) -> Result<Report> {
    let mut feed = Feed::open(options, file.rows).await?;
    if !file.unreadable.is_empty() {
        feed.end_nobody("rows that cannot be read may be theirs");
    }

    let mut outcomes = feed.call(true, "checking").await?;
    if options.dry_run {
        if !options.invite {
            // Who is unknown would have a login by now.
            for outcome in &mut outcomes {
                if outcome.action == Action::Invited {
                    outcome.action = Action::Created;
                }
            }
        }
    } else if outcomes.iter().any(|outcome| !leaves_all(outcome.action)) {
        let refused = feed.create_logins(&outcomes).await?;
        outcomes = feed.call(false, "applying").await?;
        outcomes.extend(refused);
    }

    outcomes.extend(file.unreadable.into_iter().map(|row| Outcome {
        line: Some(row.line),
        ..failure(row.code, row.message)
    }));
    outcomes.sort_by_key(|outcome| outcome.line.unwrap_or(u64::MAX));
    let mut report = Report {
        dry_run: options.dry_run,
        outcomes,
        nobody_ended: feed.nobody_ended,
        path: options.report.clone(),
        invitations: None,
    };
    report.write()?;
    Ok(report)
}

fn leaves_all(action: Action) -> bool {
    matches!(action, Action::Unchanged | Action::Failed)
}

fn failure(code: &str, message: String) -> Outcome {
    Outcome {
        line: None,
        action: Action::Failed,
        employee_number: None,
        email: None,
        invitation_id: None,
        token: None,
        code: Some(code.to_owned()),
        message: Some(message),
        details: None,
    }
}

/// Rows on their way to a tenant.
struct Feed<'a> {
    options: &'a Options,
    api: Api,
    tenant_id: String,
    rows: Vec<Row>,
    nobody_ended: Option<&'static str>,
}

impl<'a> Feed<'a> {
    /// Finds the tenant.
    async fn open(options: &'a Options, rows: Vec<Row>) -> Result<Self> {
        let api = Api::new(&options.api_url, &options.service_role_key)?;
        let request = api
            .request(Method::GET, "/rest/v1/tenants", PATIENCE)
            .query(&[
                ("select", "id"),
                ("slug", &format!("eq.{}", options.tenant)),
            ])
            .header("accept-profile", "lms");
        let (status, answer) = send(request)
            .await
            .with_context(|| format!("{} cannot be reached", options.api_url))?;
        if !status.is_success() {
            return Err(refusal(&options.api_url, status, &answer));
        }
        let tenant_id = answer[0]["id"].as_str().with_context(|| {
            format!(
                "there is no tenant {} at {}",
                options.tenant, options.api_url
            )
        })?;
        Ok(Self {
            tenant_id: tenant_id.to_owned(),
            options,
            api,
            rows,
            nobody_ended: None,
        })
    }

    /// Whoever is missing stays, since some rows are not sent.
    fn end_nobody(&mut self, why: &'static str) {
        if self.options.end_limit > 0 {
            self.nobody_ended = Some(why);
        }
    }

    /// Has the database apply the rows; outcomes carry lines of the file.
    async fn call(&self, dry_run: bool, label: &str) -> Result<Vec<Outcome>> {
        let rows: Vec<_> = self.rows.iter().map(|row| &row.values).collect();
        let end_limit = if self.nobody_ended.is_some() {
            0
        } else {
            self.options.end_limit
        };
        let arguments = json!({
            "p_tenant_id": self.tenant_id, "p_rows": rows, "p_dry_run": dry_run, "p_end_limit": end_limit,
            "p_invite": self.options.invite,
        });
        let spinner = progress::spinner(self.options.quiet, label);
        let begun = Instant::now();
        let answer = loop {
            let request = self
                .api
                .request(Method::POST, "/rest/v1/rpc/import_people", PATIENCE)
                .header("content-profile", "lms")
                .json(&arguments);
            let (status, answer) = send(request).await.with_context(|| {
                format!(
                    "{} broke off; run the import again: it continues",
                    self.options.api_url
                )
            })?;
            if status.is_success() {
                break answer;
            }
            if answer["code"] != "import_under_way" || begun.elapsed() > TURN {
                return Err(refusal(&self.options.api_url, status, &answer));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        spinner.finish_and_clear();

        let mut outcomes: Vec<Outcome> = serde_json::from_value(answer)
            .context("the answer of import_people is not understood")?;
        for outcome in &mut outcomes {
            if let Some(number) = outcome.line {
                outcome.line = Some(self.row(number)?.line);
            }
        }
        Ok(outcomes)
    }

    /// The row that the database counts as `number`, from 1.
    fn row(&self, number: u64) -> Result<&Row> {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.rows.get(number.checked_sub(1)?))
            .with_context(|| format!("import_people answers for row {number}, which was not sent"))
    }

    /// Makes logins for those whom a dry run would have invited. Whoever the auth service refuses is taken out of the
    /// rows, and returned.
    async fn create_logins(&mut self, dry: &[Outcome]) -> Result<Vec<Outcome>> {
        if self.options.invite {
            return Ok(Vec::new());
        }
        let by_line: HashMap<u64, &Row> = self.rows.iter().map(|row| (row.line, row)).collect();
        let people: Vec<_> = dry
            .iter()
            .filter(|outcome| outcome.action == Action::Invited)
            .filter_map(|outcome| Some((outcome, person(by_line.get(&outcome.line?)?, outcome)?)))
            .collect();
        let auth = AuthAdmin::new(
            &format!("{}/auth/v1", self.options.api_url.trim_end_matches('/')),
            &self.options.service_role_key,
        )?;
        let bar = progress::bar(
            self.options.quiet,
            "logins",
            people.len() as u64,
            progress::COUNT,
        );
        let refused: Vec<Outcome> = futures_util::stream::iter(people)
            .map(|(outcome, person)| {
                let (auth, bar) = (&auth, &bar);
                async move {
                    let login = auth.create(&person).await?;
                    bar.inc(1);
                    anyhow::Ok(match login {
                        Login::There => None,
                        Login::Refused(reason) => Some(Outcome {
                            line: outcome.line,
                            employee_number: outcome.employee_number.clone(),
                            email: outcome.email.clone(),
                            ..failure("login_refused", format!("The auth service says: {reason}"))
                        }),
                    })
                }
            })
            .buffer_unordered(IN_FLIGHT)
            .try_filter_map(|refused| async move { Ok(refused) })
            .try_collect()
            .await?;
        bar.finish_and_clear();
        if !refused.is_empty() {
            self.rows
                .retain(|row| refused.iter().all(|outcome| outcome.line != Some(row.line)));
            self.end_nobody("the auth service refuses logins of people whom it names");
        }
        Ok(refused)
    }
}

/// Whom a row is about, by the address as the database reads it.
fn person(row: &Row, outcome: &Outcome) -> Option<Person> {
    let name = |column: &str| {
        row.values
            .get(column)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    Some(Person {
        id: None,
        email: outcome.email.clone()?,
        first_name: name("first_name").to_owned(),
        last_name: name("last_name").to_owned(),
    })
}

/// What the API says when it does nothing.
fn refusal(api_url: &str, status: StatusCode, answer: &Value) -> anyhow::Error {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return anyhow!(
            "{api_url} refuses the service role key: {answer}. Is it the key of this stack?"
        );
    }
    let Some(message) = answer["message"].as_str() else {
        return anyhow!("{api_url} answers {status}: {answer}");
    };
    let more: String = ["details", "hint"]
        .iter()
        .filter_map(|key| answer[key].as_str())
        .map(|text| format!(" {text}"))
        .collect();
    let code = answer["code"].as_str().unwrap_or_default();
    anyhow!("{message} ({code}){more}")
}
