//! Every open enrolment's progress, counted again from the facts and written where it differs, against the one set-based
//! aggregate that such a count needs at least. In turns, each in a transaction that is rolled back.

use std::time::Instant;

use anyhow::{Result, anyhow};
use tokio_postgres::Client;

use super::place::Place;
use super::report::{Bar, Report, Row};
use super::sample::Rounds;
use super::{Effort, say};
use crate::postgres::explain;

/// Each takes seconds where there is much data: no more rounds than these.
const ROUNDS: usize = 5;

/// One counter in a thousand is wrong.
const SPOIL: &str = "set local session_replication_role = replica;
    update lms.enrollments set items_done = greatest(items_done - 1, 0)
    where status in ('enrolled', 'in_progress', 'paused') and hashtext(id::text) % 1000 = 0;
    set local session_replication_role = origin";

const AGGREGATE: &str = "select count(*), sum(f.items_done)
    from (
      select e.id, count(l.lesson_id) as items_done
      from lms.enrollments e
      left join lms.lesson_progress p on p.enrollment_id = e.id and p.completed_at is not null
      left join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p.lesson_id and l.requires_completion
      where e.status in ('enrolled', 'in_progress', 'paused')
      group by e.id
    ) f";

pub(super) async fn measure(place: &Place, effort: Effort, report: &mut Report) -> Result<()> {
    say("recounting every enrolment's progress");
    let admin = place.admin().await?;
    let mut rounds = Rounds::default();
    for round in 0..=effort.rounds.min(ROUNDS) {
        let aggregate = timed(&admin, AGGREGATE).await?;
        let recount = timed(&admin, "select ops.recount_progress()").await?;
        // The first round plans and fills caches.
        if round > 0 {
            rounds.add(&[recount], &[aggregate]);
        }
    }
    report.add(Row::ratio(
        "Recounting",
        "all open enrolments, one in a thousand wrong, against one aggregate",
        "ms",
        &rounds,
        Bar::AtMost(2.0),
    ));
    Ok(())
}

/// Milliseconds of one statement on spoilt counters.
async fn timed(admin: &Client, statement: &str) -> Result<f64> {
    admin.batch_execute("begin").await?;
    admin
        .batch_execute(SPOIL)
        .await
        .map_err(|error| anyhow!(explain(&error)))?;
    let start = Instant::now();
    admin
        .query(statement, &[])
        .await
        .map_err(|error| anyhow!(explain(&error)))?;
    let spent = start.elapsed().as_secs_f64() * 1000.0;
    admin.batch_execute("rollback").await?;
    Ok(spent)
}
