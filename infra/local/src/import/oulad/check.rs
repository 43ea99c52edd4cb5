//! The rows against each other and against what the database holds already: what does not fit leaves the temporary
//! tables, with a remark.

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, GenericClient};

use crate::import::findings::{Findings, Reason, Remark};

use super::reasons;
use super::stage::{REGISTRATIONS, RESULTS, SITES, STUDENTS, VISITS};

/// A statement that returns (line, detail, enrolment or null) of the rows that it is about.
struct Check {
    file: &'static str,
    reason: &'static Reason,
    sql: &'static str,
}

/// In this order: each counts on those before.
static CHECKS: &[Check] = &[
    Check {
        file: SITES,
        reason: &reasons::DUPLICATE,
        sql: "
            with ranked as (
              select line, first_value(line) over (partition by id order by line) as kept from import_site
            )
            delete from import_site s using ranked r
            where s.line = r.line and r.kept < r.line
            returning s.line, 'the site is in line ' || r.kept, null::text",
    },
    Check {
        file: STUDENTS,
        reason: &reasons::DUPLICATE,
        sql: "
            with ranked as (
              select line, first_value(line) over (partition by id order by line) as kept from import_student
            )
            delete from import_student s using ranked r
            where s.line = r.line and r.kept < r.line
            returning s.line, 'the student is in line ' || r.kept, s.label",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::DUPLICATE,
        sql: "
            with ranked as (
              select line, first_value(line) over (partition by id order by line) as kept from import_registration
            )
            delete from import_registration s using ranked r
            where s.line = r.line and r.kept < r.line
            returning s.line, 'the registration is in line ' || r.kept, s.label",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::ENROLLED_OTHERWISE,
        sql: "
            delete from import_registration r using lms.enrollments e
            where e.user_id = r.user_id and e.course_id = r.course_id
              and e.status in ('enrolled', 'in_progress', 'paused') and e.id <> r.id
              and not exists (select from lms.enrollments own where own.id = r.id)
            returning r.line, 'enrolment ' || e.id, r.label",
    },
    Check {
        file: STUDENTS,
        reason: &reasons::NO_REGISTRATION,
        sql: "
            select s.line, 'studentRegistration.csv.gz does not have the student', s.label
            from import_student s
            where not exists (select from import_registration r where r.id = s.id)
            order by s.line",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::NO_DETAILS,
        sql: "
            select r.line, 'not in studentInfo.csv.gz', r.label
            from import_registration r
            where not exists (select from import_student s where s.id = r.id)
            order by r.line",
    },
    Check {
        file: VISITS,
        reason: &reasons::NOT_REGISTERED,
        sql: "
            with gone as (
              delete from import_visit v
              where not exists (select from import_registration r where r.id = v.enrollment_id)
              returning v.line, 'site ' || v.id_site as detail, v.label
            )
            select * from gone order by label, line",
    },
    Check {
        file: VISITS,
        reason: &reasons::SITE_OF_ANOTHER_COURSE,
        sql: "
            with gone as (
              delete from import_visit v
              where not exists (select from import_site s where s.id = v.lesson_id)
                and exists (select from import_site s where s.id_site = v.id_site)
              returning v.line, 'site ' || v.id_site as detail, v.label
            )
            select * from gone order by label, line",
    },
    Check {
        file: VISITS,
        reason: &reasons::UNKNOWN_SITE,
        sql: "
            with gone as (
              delete from import_visit v
              where not exists (select from import_site s where s.id = v.lesson_id)
              returning v.line, 'site ' || v.id_site as detail, v.label
            )
            select * from gone order by label, line",
    },
    Check {
        file: VISITS,
        reason: &reasons::REPEATED_VISIT,
        sql: "
            with repeated as (
              select enrollment_id, lesson_id, min(line) as kept, min(first_on) as first_on, max(last_on) as last_on
              from import_visit
              group by enrollment_id, lesson_id
              having count(*) > 1
            ), merged as (
              update import_visit v set first_on = r.first_on, last_on = r.last_on
              from repeated r
              where v.line = r.kept
            ), gone as (
              delete from import_visit v using repeated r
              where v.enrollment_id = r.enrollment_id and v.lesson_id = r.lesson_id and v.line <> r.kept
              returning v.line, 'merged into line ' || r.kept as detail, v.label
            )
            select * from gone order by label, line",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::NO_ACTIVITY,
        sql: "
            select r.line, 'no visit', r.label
            from import_registration r
            where not exists (select from import_visit v where v.enrollment_id = r.id)
            order by r.line",
    },
    Check {
        file: VISITS,
        reason: &reasons::VISIT_BEFORE_REGISTRATION,
        sql: "
            select v.line, 'first visit on ' || v.first_on || ', registered on ' || r.registered_on, v.label
            from import_visit v
            join import_registration r on r.id = v.enrollment_id
            where v.first_on < r.registered_on
            order by v.label, v.line",
    },
    Check {
        file: VISITS,
        reason: &reasons::VISIT_AFTER_UNREGISTRATION,
        sql: "
            select v.line, 'first visit on ' || v.first_on || ', unregistered on ' || r.unregistered_on, v.label
            from import_visit v
            join import_registration r on r.id = v.enrollment_id
            where v.first_on > r.unregistered_on
            order by v.label, v.line",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::UNREGISTERED_BEFORE_REGISTRATION,
        sql: "
            select r.line, 'registered on ' || r.registered_on || ', unregistered on ' || r.unregistered_on, r.label
            from import_registration r
            where r.unregistered_on < r.registered_on
            order by r.line",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::WITHDRAWN_WITHOUT_DATE,
        sql: "
            select r.line, 'date_unregistration is unknown', r.label
            from import_registration r
            join import_student s on s.id = r.id and s.withdrawn
            where r.unregistered_on is null
            order by r.line",
    },
    Check {
        file: REGISTRATIONS,
        reason: &reasons::UNREGISTERED_WITH_RESULT,
        sql: "
            select r.line, 'unregistered on ' || r.unregistered_on, r.label
            from import_registration r
            join import_student s on s.id = r.id and not s.withdrawn
            where r.unregistered_on is not null
            order by r.line",
    },
    Check {
        file: RESULTS,
        reason: &reasons::DUPLICATE,
        sql: "
            with ranked as (
              select line, first_value(line) over (partition by id order by line) as kept from import_result
            ), gone as (
              delete from import_result s using ranked r
              where s.line = r.line and r.kept < r.line
              returning s.line, 'the result is in line ' || r.kept as detail, s.label
            )
            select * from gone order by label, line",
    },
    Check {
        file: RESULTS,
        reason: &reasons::RESULT_NOT_REGISTERED,
        sql: "
            with gone as (
              delete from import_result s
              where not exists (select from import_registration r where r.id = s.enrollment_id)
              returning s.line, 'assessment ' || s.number as detail, s.label
            )
            select * from gone order by label, line",
    },
    Check {
        file: RESULTS,
        reason: &reasons::LATE,
        sql: "
            select s.line, 'handed in on ' || s.submitted_on || ', due on ' || a.due_on, s.label
            from import_result s
            join import_assessment a on a.id = s.assessment_id
            where s.submitted_on > a.due_on
            order by s.label, s.line",
    },
    Check {
        file: RESULTS,
        reason: &reasons::RESULT_AFTER_UNREGISTRATION,
        sql: "
            select s.line, 'handed in on ' || s.submitted_on || ', unregistered on ' || r.unregistered_on, s.label
            from import_result s
            join import_registration r on r.id = s.enrollment_id
            where s.submitted_on > r.unregistered_on
            order by s.label, s.line",
    },
];

/// About how many visits are written in one transaction.
const VISITS_PER_BATCH: i64 = 2_000;

/// Checks the temporary tables, and makes of them `import_enrollment`: what is to be enrolled, from when, and in
/// which batch. A batch holds whole enrolments.
pub(super) async fn check(client: &Client, findings: &mut Findings) -> Result<()> {
    refuse_foreign_courses(client).await?;
    for check in CHECKS {
        record(client, findings, check.file, check.reason, check.sql).await?;
    }
    client
        .batch_execute(&format!(
            "create temporary table import_enrollment as
             select r.*, v.first_visit_on, coalesce(v.early_visits, 0) as early_visits,
               coalesce(r.registered_on, least(c.starts_on, v.first_visit_on, r.unregistered_on)) as enrolled_on,
               (sum(coalesce(v.visits, 0) + coalesce(m.results, 0) + 1) over (order by r.line) / {VISITS_PER_BATCH})::integer as batch
             from import_registration r
             join import_course c on c.id = r.course_id
             left join (
               select v.enrollment_id, count(*) as visits, min(v.first_on) as first_visit_on,
                 count(*) filter (where v.first_on < r.registered_on) as early_visits
               from import_visit v
               join import_registration r on r.id = v.enrollment_id
               group by v.enrollment_id
             ) v on v.enrollment_id = r.id
             left join (select enrollment_id, count(*) as results from import_result group by 1) m on m.enrollment_id = r.id;
             create index on import_enrollment (batch);
             create index on import_visit (enrollment_id);
             create index on import_result (enrollment_id);
             analyze import_enrollment;
             analyze import_visit"
        ))
        .await
        .context("the registrations cannot be put together")?;
    Ok(())
}

/// Records every row that `sql` returns.
pub(super) async fn record(
    client: &impl GenericClient,
    findings: &mut Findings,
    file: &str,
    reason: &'static Reason,
    sql: &str,
) -> Result<()> {
    let failed = || format!("the check «{}» of {file} failed", reason.code);
    let rows = client
        .query_raw(sql, std::iter::empty::<i32>())
        .await
        .with_context(failed)?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.with_context(failed)? {
        let line: i64 = row.get(0);
        let enrollment: Option<&str> = row.get(2);
        findings.add(
            file,
            line.unsigned_abs(),
            &Remark::new(reason, row.get::<_, &str>(1)),
            enrollment,
        )?;
    }
    Ok(())
}

/// A course that somebody made under the same name stays theirs.
async fn refuse_foreign_courses(client: &Client) -> Result<()> {
    let taken = client
        .query(
            "select i.tenant_slug || '/' || i.slug
             from import_course i
             join lms.tenants t on t.slug = i.tenant_slug
             join lms.courses c on c.tenant_id = t.id and c.slug = i.slug
             where c.id <> i.id",
            &[],
        )
        .await
        .context("the courses there are cannot be read")?;
    if !taken.is_empty() {
        let names: Vec<&str> = taken.iter().map(|row| row.get(0)).collect();
        bail!(
            "there are courses of the same name that no import has made: {}. Rename them first.",
            names.join(", ")
        );
    }
    Ok(())
}
