//! What an import did.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio_postgres::Client;

use crate::import::findings::{Action, Reason, Tally};

/// What an import did; its `Display` is the summary for the terminal.
#[derive(Debug)]
pub struct Report {
    /// Rows that were added or ended. All zero when everything was there already.
    pub written: Written,
    /// What stands in the database now, by course.
    pub courses: Vec<Course>,
    /// Rows that were not taken as they stand, by reason; skipped ones first.
    pub findings: Vec<(&'static Reason, Tally)>,
    /// The list of those rows, one JSON object a line: `{file, line, reason, action, detail, enrollment}`.
    pub report_file: PathBuf,
}

/// Rows that an import added, and enrolments that it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Logins created through the auth admin API.
    pub people: u64,
    /// Tenants added.
    pub tenants: u64,
    /// Memberships added, those of instructors included.
    pub memberships: u64,
    /// Courses added.
    pub courses: u64,
    /// Modules added.
    pub modules: u64,
    /// Lessons added.
    pub lessons: u64,
    /// Enrolments added.
    pub enrollments: u64,
    /// Visits added: completed lessons.
    pub visits: u64,
    /// Assessments added.
    pub assessments: u64,
    /// Results added: attempts that were handed in.
    pub results: u64,
    /// Enrolments set to dropped.
    pub dropped: u64,
}

/// One course after the import.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Slug of its tenant.
    pub tenant: String,
    /// Its slug.
    pub course: String,
    /// Required lessons.
    pub lessons: i64,
    /// Enrolments of this import.
    pub enrollments: i64,
    /// Those of them that are completed.
    pub completed: i64,
    /// Those of them that are dropped.
    pub dropped: i64,
    /// Visits of these enrolments.
    pub visits: i64,
    /// Assessments handed in by these enrolments.
    pub results: i64,
    /// Mean of their progress, 0 to 100; 0 without enrolments.
    pub average_percentage: f64,
}

/// Reads what stands in the database for the courses of the import.
pub(super) async fn summarize(client: &Client) -> Result<Vec<Course>> {
    let rows = client
        .query(
            "select c.tenant_slug, c.slug, private.count_course_items(c.id)::bigint, count(e.id),
               count(*) filter (where e.status = 'completed'), count(*) filter (where e.status = 'dropped'),
               coalesce(sum(p.visits), 0)::bigint, coalesce(sum(r.results), 0)::bigint, coalesce(avg(e.progress_percentage), 0)::double precision
             from import_course c
             left join import_enrollment i on i.course_id = c.id
             left join lms.enrollments e on e.id = i.id
             left join lateral (
               select count(*) as visits from lms.lesson_progress p where p.enrollment_id = e.id
             ) p on true
             left join lateral (
               select count(*) as results from lms.assessment_attempts t where t.enrollment_id = e.id
             ) r on true
             group by c.tenant_slug, c.slug, c.id, c.starts_on
             order by c.tenant_slug, c.starts_on",
            &[],
        )
        .await
        .context("the summary cannot be read")?;
    Ok(rows
        .iter()
        .map(|row| Course {
            tenant: row.get(0),
            course: row.get(1),
            lessons: row.get(2),
            enrollments: row.get(3),
            completed: row.get(4),
            dropped: row.get(5),
            visits: row.get(6),
            results: row.get(7),
            average_percentage: row.get(8),
        })
        .collect())
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<12} {:<12} {:>8} {:>11} {:>10} {:>8} {:>9} {:>9} {:>10}",
            "tenant",
            "course",
            "lessons",
            "enrolments",
            "completed",
            "dropped",
            "visits",
            "results",
            "average %"
        )?;
        for course in &self.courses {
            writeln!(
                out,
                "{:<12} {:<12} {:>8} {:>11} {:>10} {:>8} {:>9} {:>9} {:>10.2}",
                course.tenant,
                course.course,
                course.lessons,
                thousands(course.enrollments.unsigned_abs()),
                thousands(course.completed.unsigned_abs()),
                thousands(course.dropped.unsigned_abs()),
                thousands(course.visits.unsigned_abs()),
                thousands(course.results.unsigned_abs()),
                course.average_percentage
            )?;
        }
        writeln!(out)?;
        self.written.fmt(out)?;
        if self.findings.is_empty() {
            return writeln!(out, "every row was taken as it stands");
        }
        writeln!(
            out,
            "\n{:<9} {:>8} {:>11}  why",
            "action", "rows", "enrolments"
        )?;
        for (reason, tally) in &self.findings {
            let action = match reason.action {
                Action::Skipped => "skipped",
                Action::Repaired => "repaired",
                Action::Flagged => "flagged",
            };
            let enrollments = if tally.enrollments == 0 {
                String::new()
            } else {
                thousands(tally.enrollments)
            };
            writeln!(
                out,
                "{action:<9} {:>8} {enrollments:>11}  {} ({})",
                thousands(tally.rows),
                reason.meaning,
                reason.code
            )?;
        }
        writeln!(out, "each of these rows: {}", self.report_file.display())
    }
}

impl fmt::Display for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = [
            (self.people, "people"),
            (self.tenants, "tenants"),
            (self.memberships, "memberships"),
            (self.courses, "courses"),
            (self.modules, "modules"),
            (self.lessons, "lessons"),
            (self.enrollments, "enrolments"),
            (self.visits, "visits"),
            (self.assessments, "assessments"),
            (self.results, "results"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", thousands(count)))
        .collect();
        match (parts.is_empty(), self.dropped) {
            (true, 0) => writeln!(out, "nothing changed: everything was there already"),
            (true, dropped) => writeln!(out, "dropped: {} enrolments", thousands(dropped)),
            (false, 0) => writeln!(out, "added: {}", parts.join(", ")),
            (false, dropped) => writeln!(
                out,
                "added: {}; dropped: {} enrolments",
                parts.join(", "),
                thousands(dropped)
            ),
        }
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (121_293, "121,293"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn says_what_was_added() {
        assert_eq!(
            Written::default().to_string(),
            "nothing changed: everything was there already\n"
        );
        let written = Written {
            enrollments: 3282,
            dropped: 415,
            ..Written::default()
        };
        assert_eq!(
            written.to_string(),
            "added: 3,282 enrolments; dropped: 415 enrolments\n"
        );
    }
}
