//! One learner's progress under row level security against a primary-key select, by pgbench with two clients, in the
//! envelope that PostgREST puts around each request. And the people of the benchmark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::Client;
use uuid::Uuid;

use super::place::{Place, claims};
use super::report::{Bar, Report, Row};
use super::sample::Rounds;
use super::{Effort, say};
use crate::postgres::cluster;

/// Learners among whom pgbench chooses.
const LEARNERS: i64 = 32;
/// Seconds of one run of pgbench.
const SECONDS: u32 = 2;

/// The people and things that the loader named.
pub(super) struct Personas(BTreeMap<String, Uuid>);

impl Personas {
    /// The id of one.
    pub(super) fn id(&self, name: &str) -> Result<Uuid> {
        self.0.get(name).copied().with_context(|| {
            format!("the loaded data has no {name}; load it again: lyceum bench load --again")
        })
    }
}

/// Reads them.
pub(super) async fn personas(client: &Client) -> Result<Personas> {
    let rows = client
        .query("select name, id from bench.persona", &[])
        .await?;
    Ok(Personas(
        rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
    ))
}

pub(super) async fn measure(place: &Place, effort: Effort, report: &mut Report) -> Result<()> {
    say("one learner's progress (pgbench)");
    let folder = place.scripts_folder();
    std::fs::create_dir_all(&folder)?;
    let learners = place
        .admin()
        .await?
        .query(
            "select e.user_id, e.course_id, e.id, p.lesson_id
             from lms.enrollments e
             cross join lateral (
               select p.lesson_id from lms.lesson_progress p where p.enrollment_id = e.id order by p.lesson_id limit 1
             ) p
             where e.status = 'in_progress'
             order by hashtext(e.id::text)
             limit $1",
            &[&LEARNERS],
        )
        .await?;
    let (mut of_progress, mut of_lessons, mut of_key) = (Vec::new(), Vec::new(), Vec::new());
    for (number, row) in learners.iter().enumerate() {
        let (user, course, enrollment, lesson): (Uuid, Uuid, Uuid, Uuid) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let file = |kind: &str, select: String| -> Result<PathBuf> {
            let path = folder.join(format!("{kind}-{number}.sql"));
            std::fs::write(&path, script(user, &select))?;
            Ok(path)
        };
        of_progress.push(file(
            "progress",
            format!(
                "select status, progress_percentage, items_done, items_total from lms.enrollments \
                 where user_id = '{user}' and course_id = '{course}'"
            ),
        )?);
        of_lessons.push(file(
            "lessons",
            format!(
                "select lesson_id, status, progress_percentage from lms.lesson_progress \
                 where enrollment_id = '{enrollment}' and user_id = '{user}'"
            ),
        )?);
        of_key.push(file(
            "key",
            format!(
                "select status, progress_percentage, time_spent_seconds, completed_at from bench.bare_progress \
                 where enrollment_id = '{enrollment}' and lesson_id = '{lesson}'"
            ),
        )?);
    }
    let (mut progress, mut lessons) = (Rounds::default(), Rounds::default());
    for _ in 0..effort.rounds {
        let reference = rate(place, &of_key).await?;
        progress.add(&[rate(place, &of_progress).await?], &[reference]);
        lessons.add(&[rate(place, &of_lessons).await?], &[reference]);
    }
    let group = "One learner's progress";
    report.add(Row::ratio(
        group,
        "in a course, against a primary-key select",
        "/s",
        &progress,
        Bar::AtLeast(0.85),
    ));
    report.add(Row::ratio(
        group,
        "in every lesson of a course, against the same",
        "/s",
        &lessons,
        Bar::Unset,
    ));
    Ok(())
}

/// A request as PostgREST makes it: role, claims and the role's settings live for one transaction.
fn script(user: Uuid, select: &str) -> String {
    // pgbench takes a colon before a word for a variable.
    let claims = claims(user, "authenticated")
        .to_string()
        .replace("\":", "\": ");
    format!(
        "begin read only;\n\
         select set_config('role', 'authenticated', true), set_config('request.jwt.claims', '{claims}', true), \
         set_config('plan_cache_mode', 'force_generic_plan', true);\n\
         {select};\ncommit;\n"
    )
}

/// Transactions per second of two clients that choose among the scripts.
async fn rate(place: &Place, scripts: &[PathBuf]) -> Result<f64> {
    let mut command = tokio::process::Command::new(pgbench(place));
    command
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            "--client=2",
            "--jobs=2",
        ])
        .arg(format!("--time={SECONDS}"))
        .envs(
            place
                .cluster
                .environment("authenticator", &place.database())?,
        );
    for script in scripts {
        command.arg("--file").arg(script);
    }
    let output = cluster::run(command, Duration::from_secs(60), "pgbench").await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok());
    match found {
        Some(rate) if output.status.success() => Ok(rate),
        _ => bail!(
            "pgbench failed: {}{text}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

fn pgbench(place: &Place) -> String {
    let bundled = place.cluster.programs.path("pgbench");
    if Path::new(&bundled).exists() {
        bundled
    } else {
        "pgbench".to_owned()
    }
}
