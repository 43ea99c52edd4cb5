//! The loader: SQL files in order, each in a transaction of its own, then a check of everything that was promised.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::place::{Place, execute};
use super::say;

/// What is done, and by which SQL.
const STEPS: [(&str, &str); 8] = [
    (
        "shares of the tenants",
        include_str!("../../../../sql/bench/load/10-sizes.sql"),
    ),
    (
        "people, tenants, units, roles",
        include_str!("../../../../sql/bench/load/20-people.sql"),
    ),
    (
        "courses and lessons",
        include_str!("../../../../sql/bench/load/30-catalogue.sql"),
    ),
    (
        "enrolments",
        include_str!("../../../../sql/bench/load/40-enrollments.sql"),
    ),
    (
        "progress",
        include_str!("../../../../sql/bench/load/50-progress.sql"),
    ),
    (
        "indexes",
        include_str!("../../../../sql/bench/load/60-indexes.sql"),
    ),
    (
        "personas",
        include_str!("../../../../sql/bench/load/70-personas.sql"),
    ),
    (
        "the bare copy",
        include_str!("../../../../sql/bench/load/80-copy.sql"),
    ),
];
const VERIFY: &str = include_str!("../../../../sql/bench/verify.sql");

/// Loads the scale unless it is there, complete, and made by these migrations and this loader.
pub(super) async fn run(place: &Place, again: bool) -> Result<()> {
    let digest = place.digest(&STEPS)?;
    if !again && loaded_digest(place).await.as_deref() == Some(digest.as_str()) {
        say(&format!(
            "scale {} is loaded and current",
            place.scale.word()
        ));
        return Ok(());
    }
    let start = Instant::now();
    say(&format!(
        "loading scale {} into a new database",
        place.scale.word()
    ));
    place.fresh_database().await?;
    for (number, (title, sql)) in STEPS.iter().enumerate() {
        let begin = Instant::now();
        // A connection for each step: settings such as session_replication_role end with it.
        let client = place.admin().await?;
        let scale = place.scale.word();
        execute(
            &client,
            &format!("begin; set bench.scale = '{scale}';\n{sql}\ncommit"),
        )
        .await
        .with_context(|| format!("loading failed at {title}"))?;
        say(&format!(
            "[{}/{}] {title}: {:.1} s",
            number + 1,
            STEPS.len() + 2,
            begin.elapsed().as_secs_f64()
        ));
    }
    let client = place.admin().await?;
    let begin = Instant::now();
    execute(&client, "vacuum analyze").await?;
    say(&format!(
        "[{}/{}] vacuum: {:.1} s",
        STEPS.len() + 1,
        STEPS.len() + 2,
        begin.elapsed().as_secs_f64()
    ));
    verify(&client).await?;
    execute(
        &client,
        &format!("create table bench.loaded as select '{digest}'::text as digest, now() as at"),
    )
    .await?;
    say(&format!("loaded in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

async fn loaded_digest(place: &Place) -> Option<String> {
    let client = place.admin().await.ok()?;
    let row = client
        .query_opt("select digest from bench.loaded", &[])
        .await
        .ok()??;
    Some(row.get(0))
}

/// Compares every enrolment with its facts, and every foreign key with its rows.
async fn verify(client: &tokio_postgres::Client) -> Result<()> {
    let begin = Instant::now();
    let rows = client.query(VERIFY, &[]).await?;
    let broken: Vec<String> = rows
        .iter()
        .filter(|row| row.get::<_, i64>("broken") != 0)
        .map(|row| {
            format!(
                "{}: {} rows do not",
                row.get::<_, &str>("promise"),
                row.get::<_, i64>("broken")
            )
        })
        .collect();
    if !broken.is_empty() {
        bail!(
            "the loaded data breaks promises of the schema:\n{}",
            broken.join("\n")
        );
    }
    say(&format!(
        "[{0}/{0}] {1} promises verified: {2:.1} s",
        STEPS.len() + 2,
        rows.len(),
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}
