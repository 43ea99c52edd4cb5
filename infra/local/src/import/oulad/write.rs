//! From the temporary tables into the real ones. Each statement leaves out what is there already, so that an import
//! that was interrupted, or that ran before, is simply run again.

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio_postgres::{Client, Transaction};

use crate::import::findings::Findings;
use crate::import::people::{AuthAdmin, IN_FLIGHT, Login, Person};
use crate::import::progress;

use super::check::record;
use super::reasons;
use super::records::Presentation;
use super::report::Written;
use super::stage::{REGISTRATIONS, RESULTS, instructor_id};

/// Makes the logins that are missing.
pub(super) async fn write_people(
    client: &Client,
    auth: &AuthAdmin,
    courses: &[Presentation],
    quiet: bool,
) -> Result<u64> {
    let modules: std::collections::BTreeSet<&str> = courses
        .iter()
        .map(|course| course.module.as_str())
        .collect();
    let instructors = modules.into_iter().map(|module| Person {
        id: Some(instructor_id(module)),
        email: format!("instructor-{}@oulad.example", module.to_ascii_lowercase()),
        first_name: "Instructor".to_owned(),
        last_name: module.to_owned(),
    });
    let mut missing = Vec::new();
    for person in instructors {
        if client
            .query_opt("select from public.profiles where id = $1", &[&person.id])
            .await?
            .is_none()
        {
            missing.push(person);
        }
    }
    const MISSING_STUDENTS: &str = "from import_enrollment e where not exists (select from public.profiles p where p.id = e.user_id)";
    let students: i64 = client
        .query_one(
            &format!("select count(distinct e.user_id) {MISSING_STUDENTS}"),
            &[],
        )
        .await?
        .get(0);
    let total = students.unsigned_abs() + missing.len() as u64;
    if total == 0 {
        return Ok(0);
    }

    let bar = progress::bar(quiet, "people", total, progress::COUNT);
    let rows = client
        .query_raw(
            &format!("select distinct e.user_id, e.id_student {MISSING_STUDENTS}"),
            std::iter::empty::<i32>(),
        )
        .await?;
    let students = rows.map_err(anyhow::Error::from).map_ok(|row| {
        let student: i64 = row.get(1);
        Person {
            id: Some(row.get(0)),
            email: format!("student-{student}@oulad.example"),
            first_name: "Learner".to_owned(),
            last_name: student.to_string(),
        }
    });
    futures_util::stream::iter(missing.into_iter().map(Ok))
        .chain(students)
        .try_for_each_concurrent(IN_FLIGHT, |person| {
            let bar = &bar;
            async move {
                if let Login::Refused(reason) = auth.create(&person).await? {
                    bail!("the auth service refuses {}: {reason}", person.email);
                }
                bar.inc(1);
                anyhow::Ok(())
            }
        })
        .await?;
    bar.finish_and_clear();

    if let Some(row) = client
        .query_opt(
            &format!(
                "select 'student-' || e.id_student || '@oulad.example' {MISSING_STUDENTS} limit 1"
            ),
            &[],
        )
        .await?
    {
        bail!(
            "the login {} has another id than an import gives it, or the auth service works on another database. \
             Remove that login, or import into another stack.",
            row.get::<_, &str>(0)
        );
    }
    Ok(total)
}

/// Tenants, their instructors, courses, modules and lessons, in one transaction.
pub(super) async fn write_catalog(client: &mut Client, written: &mut Written) -> Result<()> {
    let transaction = client.transaction().await?;
    written.tenants = add(
        &transaction,
        "tenants",
        "insert into lms.tenants (slug, name)
         select distinct i.tenant_slug, 'Open University module ' || i.module
         from import_course i
         where not exists (select from lms.tenants t where t.slug = i.tenant_slug)",
    )
    .await?;
    add(
        &transaction,
        "tenants",
        "update import_course i set tenant_id = t.id from lms.tenants t where t.slug = i.tenant_slug",
    )
    .await?;
    written.memberships = add(
        &transaction,
        "memberships of instructors",
        "with joined as (
           insert into lms.memberships (tenant_id, user_id, job_title, joined_at)
           select i.tenant_id, i.instructor_id, 'Instructor', min(i.starts_on)::timestamp at time zone 'UTC'
           from import_course i
           where not exists (
             select from lms.memberships m where m.tenant_id = i.tenant_id and m.user_id = i.instructor_id
           )
           group by i.tenant_id, i.instructor_id
           returning id, tenant_id
         )
         insert into lms.role_grants (tenant_id, membership_id, role_id)
         select j.tenant_id, j.id, r.id
         from joined j
         join lms.roles r on r.tenant_id = j.tenant_id and r.key = 'instructor'",
    )
    .await?;
    written.courses = add(
        &transaction,
        "courses",
        "insert into lms.courses (
           id, tenant_id, slug, title, description, status, visibility, self_enrollment, instructor_id, metadata,
           published_at
         )
         select i.id, i.tenant_id, i.slug, i.title,
           'From the Open University Learning Analytics dataset (Kuzilek, Hlosta, Zdrahal 2017, '
             || 'doi 10.1038/sdata.2017.171, CC BY 4.0).',
           'published', 'restricted', 'closed', i.instructor_id,
           jsonb_build_object(
             'source', 'oulad', 'module', i.module, 'presentation', i.presentation, 'starts_on', i.starts_on,
             'length_days', i.length_days
           ),
           i.starts_on::timestamp at time zone 'UTC'
         from import_course i
         where not exists (select from lms.courses c where c.id = i.id)
         order by i.tenant_slug, i.starts_on",
    )
    .await?;
    written.modules = add(
        &transaction,
        "modules",
        "insert into lms.modules (id, course_id, title)
         select distinct s.module_id, s.course_id, s.activity_type
         from import_site s
         where not exists (select from lms.modules m where m.id = s.module_id)
         order by s.course_id, s.activity_type",
    )
    .await?;
    written.lessons = add(
        &transaction,
        "lessons",
        "insert into lms.lessons (id, module_id, title, description, type, requires_completion, is_published)
         select s.id, s.module_id, s.activity_type || ' ' || s.id_site,
           case
             when coalesce(s.week_from, s.week_to) is null then ''
             when coalesce(s.week_from, s.week_to) = coalesce(s.week_to, s.week_from)
               then format('Planned for week %s.', coalesce(s.week_from, s.week_to))
             else format('Planned for weeks %s to %s.', s.week_from, s.week_to)
           end,
           case
             when s.activity_type = 'resource' then 'document'
             when s.activity_type in ('quiz', 'externalquiz', 'questionnaire') then 'quiz'
             when s.activity_type in ('oucontent', 'page', 'htmlactivity', 'glossary', 'subpage', 'homepage', 'url')
               then 'text'
             else 'interactive'
           end,
           true, true
         from import_site s
         where not exists (select from lms.lessons l where l.id = s.id)
         order by s.module_id, s.week_from nulls first, s.id_site",
    )
    .await?;
    // Of courses that are not published yet: what was published stays as it is.
    const NEW_COURSE: &str =
        "not exists (select from lms.course_versions v where v.course_id = i.course_id)";
    written.assessments = add(
        &transaction,
        "assessments",
        &format!(
            "insert into lms.assessments (
               id, course_id, key, kind, title, is_mandatory, weight, passing_percentage, max_attempts, closes_at, answers_shown
             )
             select i.id, i.course_id, i.key, i.kind, i.title, false, i.weight, 40, 1,
               (i.due_on + 1)::timestamp at time zone 'UTC', 'after_submit'
             from import_assessment i
             where {NEW_COURSE} and not exists (select from lms.assessments a where a.id = i.id)
             order by i.course_id, i.due_on nulls last, i.number"
        ),
    )
    .await?;
    add(
        &transaction,
        "questions",
        &format!(
            "insert into lms.questions (id, assessment_id, question_key, type, prompt, points)
             select i.question_id, i.id, i.key, 'essay',
               i.title || E'\n\nWhat was asked and handed in is not part of the dataset; the mark is.', 100
             from import_assessment i
             where {NEW_COURSE} and not exists (select from lms.questions q where q.id = i.question_id)"
        ),
    )
    .await?;
    // Frozen before anybody is enrolled, so that all of a presentation take the same version.
    add(
        &transaction,
        "versions",
        "select private.freeze_course(i.id)
         from import_course i
         where not exists (select from lms.course_versions v where v.course_id = i.id)",
    )
    .await?;
    transaction
        .commit()
        .await
        .context("the courses could not be written")
}

/// Memberships and open enrolments, in one transaction.
pub(super) async fn write_registrations(
    client: &mut Client,
    findings: &mut Findings,
    written: &mut Written,
) -> Result<()> {
    let transaction = client.transaction().await?;
    written.memberships += add(
        &transaction,
        "memberships",
        "with joined as (
           insert into lms.memberships (tenant_id, user_id, joined_at)
           select c.tenant_id, e.user_id, min(e.enrolled_on)::timestamp at time zone 'UTC'
           from import_enrollment e
           join import_course c on c.id = e.course_id
           where not exists (
             select from lms.memberships m where m.tenant_id = c.tenant_id and m.user_id = e.user_id
           )
           group by c.tenant_id, e.user_id
           returning id, tenant_id
         )
         insert into lms.role_grants (tenant_id, membership_id, role_id)
         select j.tenant_id, j.id, r.id
         from joined j
         join lms.roles r on r.tenant_id = j.tenant_id and r.key = 'learner'",
    )
    .await?;
    // INV-E5: nobody completes before enrolling. The registration's own date gives way only where it has to.
    record(
        &transaction,
        findings,
        REGISTRATIONS,
        &reasons::COMPLETED_BEFORE_REGISTRATION,
        "update import_enrollment e set enrolled_on = e.first_visit_on
         where e.early_visits > 0 and e.early_visits >= private.count_course_items(e.course_id)
         returning e.line, 'registered on ' || e.registered_on || ', first visit on ' || e.first_visit_on, e.label",
    )
    .await?;
    written.enrollments = add(
        &transaction,
        "enrolments",
        "insert into lms.enrollments (id, course_id, user_id, source, enrolled_at)
         select e.id, e.course_id, e.user_id, 'import', e.enrolled_on::timestamp at time zone 'UTC'
         from import_enrollment e
         where not exists (select from lms.enrollments there where there.id = e.id)
         order by e.line",
    )
    .await?;
    transaction
        .commit()
        .await
        .context("the registrations could not be written")
}

/// Visits and unregistrations, in transactions of whole enrolments: each enrolment's visits in the order of their
/// days while it is open, and then its end.
pub(super) async fn write_visits(
    client: &mut Client,
    findings: &mut Findings,
    written: &mut Written,
    quiet: bool,
) -> Result<()> {
    let totals = client
        .query_one("select (select count(*) from import_visit), (select coalesce(max(batch), -1) from import_enrollment)", &[])
        .await?;
    let bar = progress::bar(
        quiet,
        "visits",
        totals.get::<_, i64>(0).unsigned_abs(),
        progress::COUNT,
    );
    for batch in 0..=totals.get::<_, i32>(1) {
        let transaction = client.transaction().await?;
        written.visits += transaction
            .execute(
                "insert into lms.lesson_progress (
                   enrollment_id, lesson_id, user_id, progress_percentage, first_accessed_at, last_accessed_at,
                   completed_at
                 )
                 select v.enrollment_id, v.lesson_id, e.user_id, 100, v.first_on::timestamp at time zone 'UTC',
                   v.last_on::timestamp at time zone 'UTC', v.first_on::timestamp at time zone 'UTC'
                 from import_enrollment e
                 join import_visit v on v.enrollment_id = e.id
                 where e.batch = $1 and not exists (
                   select from lms.lesson_progress p
                   where p.enrollment_id = v.enrollment_id and p.lesson_id = v.lesson_id
                 )
                 order by v.enrollment_id, v.first_on, v.last_on, v.id_site",
                &[&batch],
            )
            .await
            .context("the visits could not be written")?;
        written.results += write_results(&transaction, batch).await?;
        written.dropped += transaction
            .execute(
                "update lms.enrollments e
                 set status = 'dropped', dropped_at = i.unregistered_on::timestamp at time zone 'UTC'
                 from import_enrollment i
                 where i.batch = $1 and i.id = e.id and i.unregistered_on is not null
                   and e.status in ('enrolled', 'in_progress', 'paused')",
                &[&batch],
            )
            .await
            .context("the unregistrations could not be written")?;
        let through: i64 = transaction
            .query_one(
                "select count(*) from import_enrollment e join import_visit v on v.enrollment_id = e.id where e.batch = $1",
                &[&batch],
            )
            .await?
            .get(0);
        transaction
            .commit()
            .await
            .context("the visits could not be written")?;
        bar.inc(through.unsigned_abs());
    }
    bar.finish_and_clear();
    record(
        client,
        findings,
        RESULTS,
        &reasons::ASSESSMENT_NOT_IN_VERSION,
        "select i.line, 'assessment ' || i.number, i.label
         from import_result i
         where not exists (
           select from lms.assessment_attempts t
           where t.enrollment_id = i.enrollment_id and t.assessment_id = i.assessment_id
         )
         order by i.label, i.line",
    )
    .await?;
    record(
        client,
        findings,
        REGISTRATIONS,
        &reasons::COMPLETED_AND_UNREGISTERED,
        "select i.line, 'completed on ' || e.completed_at::date || ', unregistered on ' || i.unregistered_on, i.label
         from import_enrollment i
         join lms.enrollments e on e.id = i.id and e.status = 'completed'
         where i.unregistered_on is not null
         order by i.line",
    )
    .await
}

/// The marks of a batch of enrolments, as attempts that were handed in and graded: the learner's standing follows from them
/// as from any other attempt.
async fn write_results(transaction: &Transaction<'_>, batch: i32) -> Result<u64> {
    transaction
        .execute("create temporary table if not exists import_new_result (id uuid, enrollment_id uuid, assessment_id uuid)", &[])
        .await?;
    transaction
        .execute("truncate import_new_result", &[])
        .await?;
    let added = transaction
        .execute(
            "with added as (
               insert into lms.assessment_attempts (
                 id, tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number, status, started_at,
                 submitted_at, closed_by
               )
               select i.id, e.tenant_id, e.course_id, e.user_id, e.id, e.version_id, i.assessment_id, 1,
                 case when i.score is null then 'submitted' else 'graded' end,
                 i.submitted_on::timestamp at time zone 'UTC', i.submitted_on::timestamp at time zone 'UTC', 'learner'
               from import_enrollment b
               join import_result i on i.enrollment_id = b.id
               join lms.enrollments e on e.id = b.id
               join lms.version_assessments a on a.version_id = e.version_id and a.assessment_id = i.assessment_id
               where b.batch = $1 and not exists (
                 select from lms.assessment_attempts t
                 where t.enrollment_id = e.id and t.assessment_id = i.assessment_id
               )
               returning id, enrollment_id, assessment_id
             )
             insert into import_new_result select * from added",
            &[&batch],
        )
        .await
        .context("the results could not be written")?;
    if added == 0 {
        return Ok(0);
    }
    for sql in [
        "insert into lms.attempt_questions (
           attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, points
         )
         select t.id, q.question_id, t.tenant_id, t.course_id, t.user_id, q.revision_id, 0, r.points
         from import_new_result n
         join lms.assessment_attempts t on t.id = n.id
         join lms.version_questions q on q.version_id = t.version_id and q.assessment_id = t.assessment_id
         join lms.question_revisions r on r.id = q.revision_id",
        "insert into lms.answer_scores (
           attempt_id, question_id, tenant_id, course_id, user_id, points, source, explanation, graded_at
         )
         select t.id, q.question_id, t.tenant_id, t.course_id, t.user_id, i.score, 'grader',
           jsonb_build_object('source', 'oulad', 'is_banked', i.is_banked, 'is_late', coalesce(i.submitted_on > a.due_on, false)),
           case when i.score is not null then t.submitted_at end
         from import_new_result n
         join lms.assessment_attempts t on t.id = n.id
         join lms.attempt_questions q on q.attempt_id = t.id
         join import_result i on i.id = t.id
         join import_assessment a on a.id = t.assessment_id",
        "insert into lms.attempt_scores (
           attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed,
           released_at, source, graded_at
         )
         select t.id, t.tenant_id, t.course_id, t.user_id, t.enrollment_id, t.assessment_id, i.score, 100, i.score,
           i.score >= a.passing_percentage, t.submitted_at, 'grader', t.submitted_at
         from import_new_result n
         join lms.assessment_attempts t on t.id = n.id
         join import_result i on i.id = t.id and i.score is not null
         join lms.version_assessments a on a.version_id = t.version_id and a.assessment_id = t.assessment_id",
        "select private.settle_assessment(n.enrollment_id, n.assessment_id)
         from (select * from import_new_result order by enrollment_id, assessment_id) n",
    ] {
        transaction
            .execute(sql, &[])
            .await
            .context("the results could not be written")?;
    }
    Ok(added)
}

async fn add(transaction: &Transaction<'_>, what: &str, sql: &str) -> Result<u64> {
    transaction
        .execute(sql, &[])
        .await
        .with_context(|| format!("the {what} could not be written"))
}
