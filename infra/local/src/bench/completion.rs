//! One lesson completion with all its effects, commit included, against a bare upsert into a copy of the table that has
//! no triggers, foreign keys or row level security; and whether its cost depends on what lies around it.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::database::Personas;
use super::place::{Place, claims};
use super::report::{Bar, Report, Row};
use super::sample::Rounds;
use super::{Effort, say};
use crate::postgres::explain;

/// What supabase-js sends for `upsert({user_id, lesson_id, progress_percentage: 100})`.
const UPSERT: &str = "insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values ($1, $2, 100)
    on conflict (enrollment_id, lesson_id) do update
    set user_id = excluded.user_id, lesson_id = excluded.lesson_id, progress_percentage = excluded.progress_percentage";
const BARE: &str = "insert into bench.bare_progress
      (enrollment_id, tenant_id, course_id, user_id, lesson_id, progress_percentage, completed_at)
    values ($1, $2, $3, $4, $5, 100, now())
    on conflict (enrollment_id, lesson_id) do update set progress_percentage = excluded.progress_percentage";

/// A learner in one of the benchmark's courses.
#[derive(Clone, Copy)]
struct Learner {
    user: Uuid,
    enrollment: Uuid,
}

/// A connection as PostgREST has it, with its statements prepared.
struct Session {
    client: Client,
    envelope: Statement,
    upsert: Statement,
    bare: Statement,
}

impl Session {
    async fn open(place: &Place) -> Result<Self> {
        let client = place.authenticator().await?;
        // Prepared as the role that runs them: the login role itself has no rights.
        client
            .batch_execute("begin; set local role authenticated")
            .await?;
        let prepare = async |sql: &str| -> Result<Statement> {
            client
                .prepare(sql)
                .await
                .map_err(|error| anyhow!(explain(&error)))
        };
        let envelope =
            prepare(
                "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
                   set_config('plan_cache_mode', 'force_generic_plan', true)",
            )
            .await?;
        let upsert = prepare(UPSERT).await?;
        let bare = prepare(BARE).await?;
        client.batch_execute("commit").await?;
        Ok(Self {
            client,
            envelope,
            upsert,
            bare,
        })
    }

    /// Milliseconds of a whole transaction.
    async fn transact(
        &self,
        user: Uuid,
        statement: &Statement,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<f64> {
        let claims = claims(user, "authenticated").to_string();
        let start = Instant::now();
        let transaction = async {
            self.client.batch_execute("begin").await?;
            self.client.execute(&self.envelope, &[&claims]).await?;
            self.client.execute(statement, parameters).await?;
            self.client.batch_execute("commit").await
        };
        transaction
            .await
            .map_err(|error| anyhow!(explain(&error)))?;
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    }

    async fn complete(&self, learner: Learner, lesson: Uuid) -> Result<f64> {
        self.transact(learner.user, &self.upsert, &[&learner.user, &lesson])
            .await
    }

    async fn write_bare(
        &self,
        tenant: Uuid,
        course: Uuid,
        learner: Learner,
        lesson: Uuid,
    ) -> Result<f64> {
        self.transact(
            learner.user,
            &self.bare,
            &[
                &learner.enrollment,
                &tenant,
                &course,
                &learner.user,
                &lesson,
            ],
        )
        .await
    }
}

/// A course of the benchmark.
struct Course {
    id: Uuid,
    lessons: Vec<Uuid>,
}

pub(super) async fn measure(
    place: &Place,
    personas: &Personas,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let admin = place.admin().await?;
    let tenant = personas.id("tenant")?;
    let long = course(&admin, personas.id("course_5000")?).await?;
    let short = course(&admin, personas.id("course_5")?).await?;
    let light = learner(&admin, personas.id("learner_10")?, long.id).await?;
    let heavy = learner(&admin, personas.id("learner_10000")?, long.id).await?;
    let session = Session::open(place).await?;
    // Six rows for each pair of rounds must fit into the long course.
    let repeats = effort
        .repeats
        .min(long.lessons.len() / (2 * effort.rounds + 1));
    let mut fresh = long.lessons.iter().copied();
    let mut next = || fresh.next().context("the long course has no lesson left");

    for _ in 0..20.min(repeats) {
        let lesson = next()?;
        session.complete(light, lesson).await?;
        session.complete(heavy, lesson).await?;
        session.write_bare(tenant, long.id, light, lesson).await?;
    }
    let mut records = Rounds::default();
    for (durable, name, bar) in [
        (true, "commit flushed to disk", Bar::AtMost(2.0)),
        (
            false,
            "commit not waited for: all that is left is work",
            Bar::Unset,
        ),
    ] {
        say(&format!("completion, {name}"));
        let mode = if durable { "on" } else { "off" };
        session
            .client
            .batch_execute(&format!("set synchronous_commit = {mode}"))
            .await?;
        let mut against_bare = Rounds::default();
        for _ in 0..effort.rounds {
            let (mut ours, mut bare, mut of_heavy) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..repeats.saturating_sub(10).max(1) {
                let lesson = next()?;
                // They take turns in who comes first: whoever follows finds the lesson's pages warm.
                if turn % 2 == 0 {
                    ours.push(session.complete(light, lesson).await?);
                    of_heavy.push(session.complete(heavy, lesson).await?);
                } else {
                    of_heavy.push(session.complete(heavy, lesson).await?);
                    ours.push(session.complete(light, lesson).await?);
                }
                bare.push(session.write_bare(tenant, long.id, light, lesson).await?);
            }
            against_bare.add(&ours, &bare);
            if !durable {
                records.add(&of_heavy, &ours);
            }
        }
        report.add(Row::ratio(
            "One completion against a bare upsert",
            name,
            "ms",
            &against_bare,
            bar,
        ));
    }
    report.add(Row::ratio(
        "One completion stays flat",
        "10,000 past records against 10",
        "ms",
        &records,
        Bar::AtMost(1.1),
    ));

    say("completion, short and long course");
    let lengths = short_and_long(&admin, &session, &short, &long, effort).await?;
    report.add(Row::ratio(
        "One completion stays flat",
        "course of 5,000 lessons against 5",
        "ms",
        &lengths,
        Bar::AtMost(1.1),
    ));
    Ok(())
}

/// The same learners in both courses; the first lesson, which starts the course, and the last, which completes it, are
/// not counted.
async fn short_and_long(
    admin: &Client,
    session: &Session,
    short: &Course,
    long: &Course,
    effort: Effort,
) -> Result<Rounds> {
    let cohort = admin
        .query(
            "select a.user_id, a.id, b.id
             from bench.person p
             join lms.enrollments a on a.user_id = p.id and a.course_id = $1
             join lms.enrollments b on b.user_id = p.id and b.course_id = $2
             where p.part = 'cohort'
             order by p.n",
            &[&short.id, &long.id],
        )
        .await?;
    let in_each_round = (cohort.len() / effort.rounds).clamp(1, effort.repeats);
    let middle = long.lessons.len() / 2;
    let mut rounds = Rounds::default();
    for group in cohort.chunks(in_each_round).take(effort.rounds) {
        let (mut of_long, mut of_short) = (Vec::new(), Vec::new());
        for row in group {
            let user = row.get(0);
            let (in_short, in_long) = (
                Learner {
                    user,
                    enrollment: row.get(1),
                },
                Learner {
                    user,
                    enrollment: row.get(2),
                },
            );
            session.complete(in_short, short.lessons[0]).await?;
            session.complete(in_long, long.lessons[middle]).await?;
            for step in 1..=3 {
                of_short.push(session.complete(in_short, short.lessons[step]).await?);
                of_long.push(
                    session
                        .complete(in_long, long.lessons[middle + step])
                        .await?,
                );
            }
        }
        rounds.add(&of_long, &of_short);
    }
    Ok(rounds)
}

async fn course(admin: &Client, id: Uuid) -> Result<Course> {
    let lessons = admin
        .query(
            "select l.id from bench.lesson l join bench.course c on c.n = l.course_n where c.id = $1 order by l.ordinal",
            &[&id],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    Ok(Course { id, lessons })
}

async fn learner(admin: &Client, user: Uuid, course: Uuid) -> Result<Learner> {
    let row = admin
        .query_one(
            "select id from lms.enrollments where user_id = $1 and course_id = $2",
            &[&user, &course],
        )
        .await?;
    Ok(Learner {
        user,
        enrollment: row.get(0),
    })
}
