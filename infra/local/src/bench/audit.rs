//! What the audit trail adds to a change of one row, made as a client makes it: with row level security, claims and
//! headers. The same statement with and without the trigger that records it, in turns.

use std::time::Instant;

use anyhow::{Result, anyhow};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::database::Personas;
use super::place::{Place, claims};
use super::report::{Bar, Report, Row};
use super::sample::Rounds;
use super::{Effort, say};
use crate::postgres::explain;

const UPDATE: &str = "update lms.org_units set name = $1::text where id = $2";

pub(super) async fn measure(
    place: &Place,
    personas: &Personas,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    say("audit of one update");
    let admin = place.admin().await?;
    let client = place.authenticator().await?;
    client.batch_execute("set synchronous_commit = off").await?;
    let (user, unit) = (personas.id("hr_admin")?, personas.id("unit")?);
    let mut rounds = Rounds::default();
    for round in 0..=effort.rounds {
        let without = pass(&admin, &client, "disable", user, unit, effort.repeats).await?;
        let with = pass(&admin, &client, "enable", user, unit, effort.repeats).await?;
        // The first round plans and fills caches.
        if round > 0 {
            rounds.add(&with, &without);
        }
    }
    report.add(Row::difference(
        "Audit",
        "recording one update",
        "ms",
        &rounds,
        Bar::AtMost(0.015),
    ));
    Ok(())
}

/// Milliseconds of each update, commit not included.
async fn pass(
    admin: &Client,
    client: &Client,
    switch: &str,
    user: Uuid,
    unit: Uuid,
    repeats: usize,
) -> Result<Vec<f64>> {
    // Dead versions of the row would make the later updates dearer.
    admin
        .batch_execute(&format!(
            "alter table lms.org_units {switch} trigger _900_audit_update"
        ))
        .await?;
    admin.batch_execute("vacuum lms.org_units").await?;
    let headers = json!({
        "x-forwarded-for": "192.0.2.7", "user-agent": "Mozilla/5.0 (X11; Linux x86_64)", "x-client-info": "supabase-js/2",
        "x-request-id": Uuid::new_v4(), "accept": "*/*", "content-type": "application/json", "prefer": "return=minimal",
    })
    .to_string();
    let claims = claims(user, "authenticated").to_string();
    let mut spent = Vec::with_capacity(repeats);
    client
        .batch_execute("begin; set local role authenticated")
        .await?;
    let statement = client
        .prepare(UPDATE)
        .await
        .map_err(|error| anyhow!(explain(&error)))?;
    client.batch_execute("commit").await?;
    for number in 0..repeats {
        client.batch_execute("begin").await?;
        client
            .execute(
                "select set_config('role', 'authenticated', true), set_config('plan_cache_mode', 'force_generic_plan', true),
                   set_config('request.jwt.claims', $1, true), set_config('request.headers', $2, true),
                   set_config('request.method', 'PATCH', true), set_config('request.path', '/org_units', true)",
                &[&claims, &headers],
            )
            .await?;
        let start = Instant::now();
        client
            .execute(&statement, &[&format!("Unit {switch} {number}"), &unit])
            .await
            .map_err(|error| anyhow!(explain(&error)))?;
        spent.push(start.elapsed().as_secs_f64() * 1000.0);
        client.batch_execute("commit").await?;
    }
    Ok(spent)
}
