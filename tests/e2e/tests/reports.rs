//! Reports under way: while many write, correct, move, drop, delete, restore and erase, and a job adds up, every report says in
//! one snapshot what the plain aggregate over the facts says, to the last digit.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::future::try_join_all;
use lyceum_e2e::{Options, Sandbox, program, root};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_postgres::{Client, IsolationLevel};

/// How many turns each writer takes; `make proof` asks for more.
const TURNS: usize = match option_env!("LYCEUM_RACES") {
    Some(number) => match usize::from_str_radix(number, 10) {
        Ok(number) => number,
        Err(_) => panic!("LYCEUM_RACES is a number"),
    },
    None => 100,
};

const PEOPLE: u32 = 40;

/// Two organisations with a tree of units, people and courses of three lessons; `md5('kind:n')` is the id of everything.
const COMPANY: &str = "
  insert into lms.tenants (id, slug, name, time_zone)
  values (md5('tenant:0')::uuid, 'one', 'One', 'America/New_York'), (md5('tenant:1')::uuid, 'two', 'Two', 'Asia/Kolkata');
  insert into lms.org_units (id, tenant_id, name) select md5('unit:' || u)::uuid, md5('tenant:0')::uuid, 'Unit ' || u from generate_series(0, 1) u;
  insert into lms.org_units (id, tenant_id, parent_id, name) select md5('unit:' || u)::uuid, md5('tenant:0')::uuid, md5('unit:0')::uuid, 'Unit ' || u from generate_series(2, 3) u;
  insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
  select '00000000-0000-0000-0000-000000000000', md5('person:' || p)::uuid, 'authenticated', 'authenticated', 'p' || p || '@reports.example', now(), now()
  from generate_series(0, 40) p;
  insert into lms.memberships (tenant_id, user_id, unit_id)
  select md5('tenant:' || (p % 8 = 7)::integer)::uuid, md5('person:' || p)::uuid, case when p % 8 <> 7 and p % 5 < 4 then md5('unit:' || p % 5)::uuid end
  from generate_series(0, 40) p;
  insert into lms.courses (id, tenant_id, slug, title, status, published_at, instructor_id)
  select md5('course:' || c)::uuid, md5('tenant:' || (c = 4)::integer)::uuid, 'course-' || c, 'Course ' || c, 'published', now(), md5('person:' || case c when 4 then 7 else 40 end)::uuid
  from generate_series(0, 4) c;
  insert into lms.modules (id, course_id, title, order_index) select md5('module:' || c)::uuid, md5('course:' || c)::uuid, 'Module', 0 from generate_series(0, 4) c;
  insert into lms.lessons (id, module_id, title, order_index)
  select md5('lesson:' || c || ':' || l)::uuid, md5('module:' || c)::uuid, 'Lesson ' || l, l from generate_series(0, 4) c, generate_series(0, 2) l;
  update lms.lessons set is_published = true, published_at = now();
  update lms.modules set published_at = now();
";

/// What a writer does: a statement about a person, a course and a lesson, each given as a number.
const DEEDS: [(&str, &str); 11] = [
    ("enrol", "insert into lms.enrollments (course_id, user_id, enrolled_at) select md5('course:COURSE')::uuid, m.user_id, now() - LOT * interval '7 hours'
        from lms.memberships m join lms.courses c on c.id = md5('course:COURSE')::uuid and c.tenant_id = m.tenant_id
        where m.user_id = md5('person:PERSON')::uuid and m.status <> 'ended'
          and not exists (select from lms.enrollments e where e.user_id = m.user_id and e.course_id = c.id and e.status in ('enrolled', 'in_progress', 'paused'))"),
    ("progress", "insert into lms.lesson_progress (user_id, lesson_id, progress_percentage)
        select e.user_id, md5('lesson:COURSE:LESSON')::uuid, case when LOT % 3 = 0 then 40 else 100 end from lms.enrollments e
        where e.user_id = md5('person:PERSON')::uuid and e.course_id = md5('course:COURSE')::uuid and e.status in ('enrolled', 'in_progress')
        on conflict (enrollment_id, lesson_id) do update set progress_percentage = 100, completed_at = coalesce(lesson_progress.completed_at, now())"),
    ("answer", "insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct, received_at)
        select e.user_id, e.course_id, 's', 'q' || k, (LOT + k) % 3 > 0, now() - (LOT * k % 900) * interval '2 hours'
        from generate_series(1, 5) k, lms.enrollments e where e.user_id = md5('person:PERSON')::uuid and e.course_id = md5('course:COURSE')::uuid and e.cycle = 1"),
    ("act", "insert into analytics.activity_events (user_id, course_id, event_type, received_at)
        select e.user_id, e.course_id, 'view_section', now() - (LOT % 300) * interval '5 hours'
        from lms.enrollments e where e.user_id = md5('person:PERSON')::uuid and e.course_id = md5('course:COURSE')::uuid and e.cycle = 1"),
    ("answer and linger", "insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct)
        select e.user_id, e.course_id, 's', 'q' || LOT % 4, true from lms.enrollments e where e.user_id = md5('person:PERSON')::uuid and e.course_id = md5('course:COURSE')::uuid and e.cycle = 1;
        select pg_sleep(0.05)"),
    ("correct", "update lms.lesson_progress p set progress_percentage = 30, completed_at = null
        where p.user_id = md5('person:PERSON')::uuid and p.lesson_id = md5('lesson:COURSE:LESSON')::uuid
          and exists (select from lms.enrollments e where e.id = p.enrollment_id and e.status = 'in_progress')"),
    ("transfer", "update lms.memberships set unit_id = case LOT % 5 when 4 then null else md5('unit:' || LOT % 5)::uuid end
        where user_id = md5('person:PERSON')::uuid and tenant_id = md5('tenant:0')::uuid"),
    ("drop", "update lms.enrollments set status = 'dropped' where user_id = md5('person:PERSON')::uuid and course_id = md5('course:COURSE')::uuid and status in ('enrolled', 'in_progress')"),
    ("delete or restore", "update lms.courses set deleted_at = case when deleted_at is null then now() end where id = md5('course:3')::uuid"),
    ("session", "insert into analytics.learning_sessions (tenant_id, course_id, user_id, unit_id, enrollment_id, started_at, last_activity_at, ended_at)
        select e.tenant_id, e.course_id, e.user_id, e.unit_id, e.id, t.at, t.at + interval '71 seconds', t.at + interval '71 seconds'
        from lms.enrollments e, (select now() - (LOT % 300) * interval '9 hours' as at) t
        where e.user_id = md5('person:PERSON')::uuid and e.course_id = md5('course:COURSE')::uuid and e.cycle = 1"),
    ("erase", "set local session_replication_role = replica;
        delete from analytics.question_events where user_id = md5('person:PERSON')::uuid and LOT % 4 = 0;
        delete from analytics.activity_events where user_id = md5('person:PERSON')::uuid and LOT % 4 = 1"),
];

/// The report, and the plain aggregate over the facts: each one text. UNIT stands for null or a unit.
const REPORTS: [(&str, &str, &str); 9] = [
    ("completion rate",
     "select r::text from analytics.get_completion_rate(TENANT, UNIT) r",
     "select (t, d, b, n, coalesce(round(100.0 * d / nullif(t, 0), 2), 0))::text from (
        select count(*) as t, count(*) filter (where status = 'completed') as d,
          count(*) filter (where status <> 'completed' and started_at is not null) as b, count(*) filter (where status <> 'completed' and started_at is null) as n
        from FACTS where status <> 'dropped') x"),
    ("completion rate of a period",
     "select r::text from analytics.get_completion_rate(TENANT, UNIT, p_from => FROM, p_until => UNTIL) r",
     "select (t, d, b, n, coalesce(round(100.0 * d / nullif(t, 0), 2), 0))::text from (
        select count(*) as t, count(*) filter (where status = 'completed') as d,
          count(*) filter (where status <> 'completed' and started_at is not null) as b, count(*) filter (where status <> 'completed' and started_at is null) as n
        from FACTS where status <> 'dropped' and (enrolled_at at time zone ZONE)::date between FROM and UNTIL) x"),
    ("progress summary",
     "select string_agg((r.course_id, r.total_enrolled, r.average_progress, r.completed, r.completion_rate)::text, ' ' order by r.course_id) from analytics.get_progress_summary(TENANT, UNIT) r",
     "select string_agg(x::text, ' ' order by x.course_id) from (
        select course_id, count(*), round(avg(progress_percentage), 2), count(*) filter (where status = 'completed'), round(100.0 * count(*) filter (where status = 'completed') / count(*), 2)
        from FACTS where status <> 'dropped' group by course_id) x"),
    ("funnel",
     "select (r.enrolled, r.started, r.half, r.completed)::text from analytics.get_enrollment_funnel(TENANT, UNIT) r",
     "select (count(*), count(*) filter (where started_at is not null or items_done > 0), count(*) filter (where 2 * items_done >= items_total and items_total > 0), count(*) filter (where status = 'completed'))::text from FACTS"),
    ("overview",
     "select string_agg((r.unit_id, r.total_users, r.total_enrollments, r.completed_enrollments, r.average_progress)::text, ' ' order by r.unit_id) from analytics.get_organization_overview(TENANT, UNIT) r",
     "select string_agg((u.id, coalesce(m.n, 0), coalesce(e.n, 0), coalesce(e.d, 0), e.a)::text, ' ' order by u.id) from (
        select id from lms.org_units where tenant_id = TENANT and (UNIT is null or id in (select descendant_id from private.org_unit_closure where ancestor_id = UNIT))
        union select unit_id from FACTS union select unit_id from lms.memberships where UNIT is null and tenant_id = TENANT) u
      left join (select unit_id, count(*) as n from lms.memberships where tenant_id = TENANT and status <> 'ended' and not is_guest group by 1) m on m.unit_id is not distinct from u.id
      left join (select unit_id, count(*) filter (where status <> 'dropped') as n, count(*) filter (where status = 'completed') as d, round(avg(progress_percentage) filter (where status <> 'dropped'), 2) as a
        from FACTS group by 1) e on e.unit_id is not distinct from u.id"),
    ("most missed questions",
     "select string_agg((r.course_id, r.question_key, r.total_attempts, r.incorrect_attempts, r.miss_rate)::text, ' ' order by r.course_id, r.question_key) from analytics.get_most_missed_questions(TENANT, UNIT, p_min_attempts => 1, p_limit => 1000) r",
     "select string_agg(x::text, ' ' order by x.course_id, x.question_key) from (
        select course_id, question_key, count(*), count(*) filter (where not is_correct), round(100.0 * count(*) filter (where not is_correct) / count(*), 2)
        from ANSWERS group by course_id, question_key) x"),
    ("most missed questions of a period",
     "select string_agg((r.course_id, r.question_key, r.total_attempts, r.incorrect_attempts, r.miss_rate)::text, ' ' order by r.course_id, r.question_key) from analytics.get_most_missed_questions(TENANT, UNIT, p_from => FROM, p_until => UNTIL, p_min_attempts => 1, p_limit => 1000) r",
     "select string_agg(x::text, ' ' order by x.course_id, x.question_key) from (
        select course_id, question_key, count(*), count(*) filter (where not is_correct), round(100.0 * count(*) filter (where not is_correct) / count(*), 2)
        from ANSWERS where (received_at at time zone ZONE)::date between FROM and UNTIL group by course_id, question_key) x"),
    ("engagement",
     "select string_agg(r::text, ' ' order by r.period_start) from analytics.get_engagement(TENANT, UNIT, p_from => FROM, p_until => UNTIL, p_step => 'week') r",
     "select string_agg((w.day::date, coalesce(a.people, 0), coalesce(a.events, 0), coalesce(s.seconds, 0), coalesce(c.n, 0))::text, ' ' order by w.day)
      from generate_series(date_trunc('week', FROM::timestamp), UNTIL::timestamp, '1 week') w (day)
      left join (select date_trunc('week', received_at at time zone ZONE) as day, count(distinct user_id) as people, count(*) as events
        from (select tenant_id, unit_id, course_id, user_id, received_at from analytics.question_events union all select tenant_id, unit_id, course_id, user_id, received_at from analytics.activity_events) e
        where MINE group by 1) a on a.day = w.day
      left join (select date_trunc('week', started_at at time zone ZONE) as day, sum(duration_seconds) as seconds from analytics.learning_sessions e where ended_at is not null and MINE group by 1) s on s.day = w.day
      left join (select date_trunc('week', completed_at at time zone ZONE) as day, count(*) as n from FACTS where completed_at is not null group by 1) c on c.day = w.day"),
    ("lesson drop-off",
     "select string_agg((r.lesson_id, r.reached, r.completed)::text, ' ' order by r.lesson_id) from analytics.get_lesson_drop_off(TENANT, UNIT, md5('course:1')::uuid) r",
     "select string_agg(x::text, ' ' order by x.lesson_id) from (
        select p.lesson_id, count(*), count(p.completed_at) from lms.lesson_progress p join FACTS on e.id = p.enrollment_id and e.course_id = md5('course:1')::uuid group by 1) x"),
];

fn filled(sql: &str, tenant: u32, unit: Option<u32>) -> String {
    let mine = "e.tenant_id = TENANT and (select c.deleted_at is null from lms.courses c where c.id = e.course_id)
        and (UNIT is null or e.unit_id in (select descendant_id from private.org_unit_closure where ancestor_id = UNIT))";
    sql.replace("FACTS", "(select * from lms.enrollments e where MINE) e")
        .replace("ANSWERS", "(select * from analytics.question_events e where is_counted and is_correct is not null and MINE) e")
        .replace("MINE", mine)
        .replace("TENANT", &format!("md5('tenant:{tenant}')::uuid"))
        .replace("UNIT", &unit.map_or_else(|| "null::uuid".to_owned(), |unit| format!("md5('unit:{unit}')::uuid")))
        .replace("FROM, ", "(now() - interval '50 days')::date, ")
        .replace("FROM and", "(now() - interval '50 days')::date and")
        .replace("FROM::", "(now() - interval '50 days')::date::")
        .replace("UNTIL", "(now() - interval '4 days')::date")
        .replace("ZONE", if tenant == 0 { "'America/New_York'" } else { "'Asia/Kolkata'" })
}

async fn connect(address: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(address, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Every report against its facts, in one snapshot; returns how many were compared.
async fn compare(client: &mut Client, when: &str) -> Result<usize> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let mut compared = 0;
    for (tenant, unit) in [(0, None), (0, Some(0)), (0, Some(2)), (1, None)] {
        for (name, report, plain) in REPORTS {
            let mut answers = Vec::new();
            for sql in [report, plain] {
                let sql = filled(sql, tenant, unit);
                let row = transaction
                    .query_one(&sql, &[])
                    .await
                    .map_err(|error| anyhow!("{name}: {error:?}\n{sql}"))?;
                answers.push(row.get::<_, Option<String>>(0));
            }
            ensure!(
                answers[0] == answers[1],
                "{name} of tenant {tenant}, unit {unit:?}, {when}:\nreport {:?}\nfacts  {:?}",
                answers[0],
                answers[1]
            );
            compared += 1;
        }
    }
    transaction.commit().await?;
    Ok(compared)
}

/// One writer's turns. Two who meet may be told so; everything else is a fault.
async fn write(address: &str, seed: u64) -> Result<usize> {
    let client = connect(address).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut done = 0;
    for _ in 0..TURNS {
        // Erasures and deletions are rare, as they are.
        let lot: u32 = random.random_range(0..1000);
        let (name, sql) = match random.random_range(0..100) {
            0 => DEEDS[10],
            1..=3 => DEEDS[8],
            4..=24 => DEEDS[0],
            25..=49 => DEEDS[1],
            other => DEEDS[2 + other % 8],
        };
        let sql = sql
            .replace("PERSON", &random.random_range(0..PEOPLE).to_string())
            .replace("COURSE", &random.random_range(0..5_u32).to_string())
            .replace("LESSON", &random.random_range(0..3_u32).to_string())
            .replace("LOT", &lot.to_string());
        match client.batch_execute(&format!("begin; {sql}; commit")).await {
            Ok(()) => done += 1,
            Err(error) => {
                let state = error.code().map(|code| code.code().to_owned());
                ensure!(
                    // Deadlock; one enrolled twice at once.
                    matches!(state.as_deref(), Some("40P01" | "23505")),
                    "{name}: {error:?}\n{sql}"
                );
                client.batch_execute("rollback").await?;
            }
        }
    }
    Ok(done)
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_n1_reports_are_exact_while_everything_changes() -> Result<()> {
    let sandbox = Sandbox::start(Options {
        functions: false,
        seed: false,
    })?;
    let address = sandbox.address("ADMIN_DB_URL").to_owned();
    let mut database = connect(&address).await?;
    database.batch_execute(COMPANY).await?;

    let over = Arc::new(AtomicBool::new(false));
    let folds = Arc::new(AtomicUsize::new(0));
    let folder = {
        let (address, over, folds) = (address.clone(), Arc::clone(&over), Arc::clone(&folds));
        tokio::spawn(async move {
            let client = connect(&address).await?;
            while !over.load(Ordering::Relaxed) {
                client.query_one("select ops.fold_reports()", &[]).await?;
                folds.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            anyhow::Ok(())
        })
    };
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (address, over) = (address.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut client = connect(&address).await?;
                let mut compared = 0;
                while !over.load(Ordering::Relaxed) {
                    compared += compare(&mut client, "while others write").await?;
                }
                anyhow::Ok(compared)
            })
        })
        .collect();
    let written: usize = try_join_all((0..8).map(|seed| write(&address, seed)))
        .await?
        .into_iter()
        .sum();
    over.store(true, Ordering::Relaxed);
    folder.await??;
    let mut compared = 0;
    for reader in readers {
        compared += reader.await??;
    }
    println!(
        "{written} deeds, {} folds, {compared} reports compared",
        folds.load(Ordering::Relaxed)
    );
    assert!(written > TURNS * 6 && compared > 50 && folds.load(Ordering::Relaxed) > 5);

    compare(&mut database, "at rest").await?;
    // Whatever runs in another database of the cluster holds the horizon, too.
    let begun = Instant::now();
    loop {
        database.query_one("select ops.fold_reports()", &[]).await?;
        let is_done: bool = database
            .query_one(
                "select not exists (select from private.stale_reports) and not exists (select from private.report_changes)
                   and exists (select from private.report_cells where enrolled > 0) and exists (select from private.question_cells)",
                &[],
            )
            .await?
            .get(0);
        if is_done {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "nothing is added up for five minutes: some transaction does not end"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    compare(&mut database, "when all is added up").await?;
    database
        .query_one("select ops.check_rollups(10)", &[])
        .await?;

    // A wrong sum is an alarm, and made anew.
    database
        .batch_execute(
            "update private.report_cells set completed = completed + 1
             where tenant_id = md5('tenant:0')::uuid and unit_key = md5('unit:2')::uuid and day = '-infinity'",
        )
        .await?;
    assert!(
        compare(&mut database, "when a sum is wrong").await.is_err(),
        "the comparison would notice a wrong sum"
    );
    let error = database
        .query_one("select ops.check_rollups(10)", &[])
        .await
        .expect_err("the check finds it");
    assert!(
        error
            .as_db_error()
            .context("an error of the database")?
            .message()
            .contains("differ from the facts")
    );
    database
        .query_one("select ops.rebuild_rollups()", &[])
        .await?;
    compare(&mut database, "made anew").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_the_open_university_are_its_facts() -> Result<()> {
    let data = std::env::var_os("LYCEUM_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from)
        .join("oulad");
    if !data.is_dir() {
        println!(
            "skipped: there is no ../shared/data/oulad beside the checkout, and no folder oulad in $LYCEUM_DATA"
        );
        return Ok(());
    }
    let sandbox = Sandbox::start(Options {
        functions: false,
        seed: false,
    })?;
    let status = Command::new(program())
        .args(["import", "oulad", "--quiet", "--db-url"])
        .arg(sandbox.address("DB_URL"))
        .args(["--api-url", sandbox.address("API_URL")])
        .arg(data)
        .env("SERVICE_ROLE_KEY", sandbox.address("SERVICE_ROLE_KEY"))
        .current_dir(root())
        .stdout(Stdio::null())
        .status()?;
    assert!(status.success());
    let database = connect(sandbox.address("ADMIN_DB_URL")).await?;
    for when in ["beyond the horizon", "added up", "made anew"] {
        match when {
            "added up" => {
                while database
                    .query_one("select ops.fold_reports()", &[])
                    .await?
                    .get::<_, i64>(0)
                    > 0
                {}
            }
            "made anew" => {
                database
                    .query_one("select ops.rebuild_rollups()", &[])
                    .await?;
            }
            _ => {}
        }
        for (what, report, facts) in [
            (
                "progress summary",
                "select string_agg((r.course_id, r.total_enrolled, r.average_progress, r.completed)::text, ' ' order by r.course_id) from lms.tenants t, analytics.get_progress_summary(t.id, p_limit => 1000) r",
                "select string_agg(x::text, ' ' order by x.course_id) from (select course_id, count(*), round(avg(progress_percentage), 2), count(*) filter (where status = 'completed') from lms.enrollments where status <> 'dropped' group by 1) x",
            ),
            (
                "lessons",
                "select string_agg((r.lesson_id, r.reached, r.completed)::text, ' ' order by r.lesson_id) from lms.courses c, analytics.get_lesson_drop_off(c.tenant_id, null, c.id) r",
                "select string_agg(x::text, ' ' order by x.lesson_id) from (select lesson_id, count(*), count(completed_at) from lms.lesson_progress group by 1) x",
            ),
        ] {
            let report: Option<String> = database.query_one(report, &[]).await?.get(0);
            let facts: Option<String> = database.query_one(facts, &[]).await?.get(0);
            assert!(facts.is_some());
            assert_eq!(report, facts, "{what}, {when}");
        }
    }
    Ok(())
}
