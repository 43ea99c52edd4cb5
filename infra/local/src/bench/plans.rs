//! The plans of the hot queries, as `authenticated` with row level security on, kept beside the results.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};

use super::database::Personas;
use super::place::{Place, claims};
use super::say;
use crate::files;
use crate::postgres::explain;

/// Title, persona, query; `{name}` stands for the id of a persona.
const QUERIES: [(&str, &str, &str); 11] = [
    (
        "own enrolments",
        "learner",
        "select id, course_id, status, progress_percentage from lms.enrollments
         where user_id = '{learner}' order by enrolled_at desc, id desc",
    ),
    (
        "own progress in a course",
        "learner",
        "select lesson_id, status, progress_percentage from lms.lesson_progress
         where user_id = '{learner}' and enrollment_id = '{learner_enrollment}'",
    ),
    (
        "catalogue",
        "learner",
        "select id, slug, title from lms.courses where tenant_id = '{tenant}' and status = 'published'
         order by created_at desc, id desc limit 24",
    ),
    (
        "outline",
        "learner",
        "select l.id, l.title, p.status from lms.modules m join lms.lessons l on l.module_id = m.id
         left join lms.lesson_progress p on p.enrollment_id = '{learner_enrollment}' and p.lesson_id = l.id
         where m.course_id = '{learner_course}' order by m.order_index, l.order_index",
    ),
    (
        "HR: 50 enrolments of the tenant",
        "hr_admin",
        "select id, user_id, status, progress_percentage from lms.enrollments
         where tenant_id = '{tenant}' order by enrolled_at desc, id desc limit 50",
    ),
    (
        "manager: 50 enrolments of a unit",
        "unit_manager",
        "select id, user_id, status, progress_percentage from lms.enrollments
         where unit_id = '{unit}' order by enrolled_at desc, id desc limit 50",
    ),
    (
        "gradebook, 50 learners with their lessons",
        "instructor",
        "select e.id, p.lesson_id, p.status
         from (select id from lms.enrollments where course_id = '{instructor_course}' order by enrolled_at desc, id desc limit 50) e
         left join lms.lesson_progress p on p.enrollment_id = e.id",
    ),
    (
        "HR: 50 people with names",
        "hr_admin",
        "select m.id, m.employee_number, p.display_name from lms.memberships m left join lms.people p on p.id = m.user_id
         where m.tenant_id = '{tenant}' order by m.employee_number limit 50",
    ),
    (
        "manager: 50 people of a unit with names",
        "unit_manager",
        "select m.id, m.employee_number, p.display_name from lms.memberships m left join lms.people p on p.id = m.user_id
         where m.unit_id = '{unit}' order by m.employee_number limit 50",
    ),
    (
        "instructor: 50 learners of a course with names",
        "instructor",
        "select e.id, e.status, p.display_name from lms.enrollments e left join lms.people p on p.id = e.user_id
         where e.course_id = '{instructor_course}' order by e.enrolled_at desc, e.id desc limit 50",
    ),
    (
        "instructor: a course with all its lessons",
        "instructor",
        "select m.title, l.title from lms.modules m join lms.lessons l on l.module_id = m.id
         where m.course_id = '{instructor_course}' order by m.order_index, l.order_index",
    ),
];

/// Writes `plans.txt` into `folder`.
pub(super) async fn record(place: &Place, personas: &Personas, folder: &Path) -> Result<()> {
    say("plans of the hot queries");
    let client = place.authenticator().await?;
    let mut text = String::new();
    for (title, who, query) in QUERIES {
        let mut query = query.to_owned();
        for name in [
            "learner",
            "learner_enrollment",
            "learner_course",
            "tenant",
            "unit",
            "instructor_course",
        ] {
            query = query.replace(&format!("{{{name}}}"), &personas.id(name)?.to_string());
        }
        let claims = claims(personas.id(who)?, "authenticated").to_string();
        client.batch_execute("begin").await?;
        client
            .execute(
                "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
                   set_config('plan_cache_mode', 'force_generic_plan', true)",
                &[&claims],
            )
            .await?;
        let explained = format!("explain (analyze, buffers) {query}");
        // Twice: the first time also compiles the helpers.
        client
            .query(&explained, &[])
            .await
            .map_err(|error| anyhow!(explain(&error)))?;
        let lines = client
            .query(&explained, &[])
            .await
            .map_err(|error| anyhow!(explain(&error)))?;
        client.batch_execute("commit").await?;
        let _ = writeln!(text, "== {title} (as {who})\n{query}\n");
        for line in lines {
            let _ = writeln!(text, "{}", line.get::<_, &str>(0));
        }
        text.push('\n');
    }
    files::write_public(&folder.join("plans.txt"), &text)
}
