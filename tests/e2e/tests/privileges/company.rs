//! A tenant with somebody in every role, and what it holds.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use lyceum_e2e::Person;
use uuid::Uuid;

use crate::sandbox;

/// Who belongs to a company, with home unit, role and the unit that the role is limited to.
const STAFF: [(&str, &str, &str, &str); 8] = [
    ("boss", "", "tenant_admin", ""),
    ("second", "", "tenant_admin", ""),
    ("hr", "", "hr_admin", ""),
    ("manager", "north", "unit_manager", "north"),
    ("teacher", "", "instructor", ""),
    ("auditor", "", "auditor", ""),
    ("learner", "dock", "learner", ""),
    ("southerner", "south", "learner", ""),
];

/// The tables that say who may do what.
pub const RIGHTS: [&str; 5] = [
    "roles",
    "role_permissions",
    "assignable_roles",
    "role_grants",
    "memberships",
];

/// A tenant with units (north, dock below it, south), people, custom roles, a course, a cohort and an open invitation.
pub struct Company {
    pub tenant: Uuid,
    pub tag: String,
    pub people: Vec<(String, Person)>,
    pub database: tokio_postgres::Client,
}

impl Company {
    pub async fn new() -> Result<Self> {
        let database = sandbox().database().await?;
        let tag = Uuid::new_v4().simple().to_string();
        let tenant: Uuid = database
            .query_one(
                "insert into lms.tenants (slug, name) values ($1::text, 'Company ' || $1::text) returning id",
                &[&tag],
            )
            .await?
            .get(0);
        database
            .batch_execute(&format!(
                "insert into lms.org_units (tenant_id, name, code) values
                   ('{tenant}', 'north', 'north'), ('{tenant}', 'south', 'south');
                 insert into lms.org_units (tenant_id, parent_id, name, code)
                 select tenant_id, id, 'dock', 'dock' from lms.org_units
                 where tenant_id = '{tenant}' and code = 'north';
                 insert into lms.roles (tenant_id, key, name) values
                   ('{tenant}', 'editor', 'Editor'), ('{tenant}', 'chief', 'Chief'), ('{tenant}', 'empty', 'Empty');
                 insert into lms.role_permissions (tenant_id, role_id, permission)
                 select r.tenant_id, r.id, p.permission
                 from lms.roles r join (values
                   ('editor', 'catalog.write'), ('chief', 'members.read'), ('chief', 'members.write'), 
                   ('chief', 'roles.write'), ('chief', 'reports.read')
                 ) as p (key, permission) using (key) where r.tenant_id = '{tenant}';
                 insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id)
                 select a.tenant_id, a.id, b.id from lms.roles a join lms.roles b using (tenant_id)
                 where tenant_id = '{tenant}' and a.key = 'chief' and b.key = 'instructor';"
            ))
            .await?;
        let mut company = Self {
            tenant,
            tag,
            people: Vec::new(),
            database,
        };
        for (name, unit, role, scope) in STAFF {
            let person = company.hire(name, unit, role, scope).await?;
            company.people.push((name.to_owned(), person));
        }
        company
            .database
            .batch_execute(&format!(
                "insert into lms.courses (tenant_id, slug, title, visibility, instructor_id)
                 values ('{tenant}', 'course', 'Course of {tenant}', 'restricted', '{teacher}');
                 insert into lms.modules (course_id, title) 
                 select id, 'Module' from lms.courses where tenant_id = '{tenant}';
                 insert into lms.lessons (module_id, title) 
                 select id, 'Lesson' from lms.modules where tenant_id = '{tenant}';
                 insert into lms.lessons (module_id, title, requires_completion)
                 select id, 'Before', false from lms.modules where tenant_id = '{tenant}';
                 insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id)
                 select l.id, b.id from lms.lessons l join lms.lessons b using (tenant_id)
                 where tenant_id = '{tenant}' and l.title = 'Lesson' and b.title = 'Before';
                 insert into lms.lesson_blocks (lesson_id, type, content)
                 select id, 'markdown', '{{\"markdown\": \"secret\"}}' from lms.lessons where tenant_id = '{tenant}';
                 insert into lms.assessments (course_id, title, is_mandatory, weight)
                 select id, 'Essay', false, 0 from lms.courses where tenant_id = '{tenant}';
                 insert into lms.assessment_sections (assessment_id, title)
                 select id, 'Part' from lms.assessments where tenant_id = '{tenant}';
                 insert into lms.questions (assessment_id, section_id, type, prompt)
                 select assessment_id, id, 'essay', 'Write' from lms.assessment_sections where tenant_id = '{tenant}';
                 do $$ begin perform lms.publish_course(id) from lms.courses where tenant_id = '{tenant}'; end $$;
                 insert into lms.enrollments (course_id, user_id) 
                 select id, '{learner}' from lms.courses where tenant_id = '{tenant}';
                 insert into lms.lesson_progress (lesson_id, user_id, progress_percentage)
                 select id, '{learner}', 50 from lms.lessons where tenant_id = '{tenant}';
                 insert into lms.block_progress (block_id, user_id, progress_percentage)
                 select id, '{learner}', 50 from lms.lesson_blocks where tenant_id = '{tenant}';
                 insert into lms.lesson_notes (lesson_id, user_id, body)
                 select id, '{learner}', 'Note' from lms.lessons where tenant_id = '{tenant}';
                 insert into lms.skills (tenant_id, key, name) values ('{tenant}', 'skill', 'Skill');
                 insert into lms.lesson_skills (lesson_id, skill_id)
                 select l.id, s.id from lms.lessons l join lms.skills s using (tenant_id) where tenant_id = '{tenant}';
                 insert into lms.categories (tenant_id, slug, name) values ('{tenant}', 'category', 'Category');
                 insert into lms.tags (tenant_id, slug, name) values ('{tenant}', 'tag', 'Tag');
                 insert into lms.course_categories (course_id, category_id)
                 select k.id, c.id from lms.courses k join lms.categories c using (tenant_id) where tenant_id = '{tenant}';
                 insert into lms.course_tags (course_id, tag_id)
                 select k.id, t.id from lms.courses k join lms.tags t using (tenant_id) where tenant_id = '{tenant}';
                 insert into lms.course_reviews (course_id, user_id, rating)
                 select id, '{learner}', 4 from lms.courses where tenant_id = '{tenant}';
                 insert into lms.review_reports (tenant_id, review_id, user_id, reason)
                 select tenant_id, id, '{teacher}', 'Rude' from lms.course_reviews where tenant_id = '{tenant}';
                 insert into lms.cohorts (tenant_id, name) values ('{tenant}', 'Everybody');
                 insert into lms.cohorts (tenant_id, unit_id, name)
                 select tenant_id, id, 'Cohort of ' || name from lms.org_units where tenant_id = '{tenant}';
                 insert into lms.cohort_members (cohort_id, user_id)
                 select id, '{southerner}' from lms.cohorts where tenant_id = '{tenant}';
                 insert into lms.cohort_members (cohort_id, user_id)
                 select id, '{learner}' from lms.cohorts where tenant_id = '{tenant}' and name = 'Cohort of dock';
                 insert into lms.learning_paths (tenant_id, slug, title)
                 values ('{tenant}', 'path', 'Path of {tenant}');
                 insert into lms.learning_path_courses (path_id, course_id)
                 select p.id, c.id from lms.learning_paths p join lms.courses c using (tenant_id) where tenant_id = '{tenant}';
                 do $$ begin perform lms.publish_learning_path(id) from lms.learning_paths where tenant_id = '{tenant}'; end $$;
                 insert into lms.path_enrollments (tenant_id, path_id, user_id)
                 select tenant_id, id, '{learner}' from lms.learning_paths where tenant_id = '{tenant}';
                 insert into lms.enrollment_requests (tenant_id, course_id, user_id, status)
                 select tenant_id, id, '{southerner}', 'pending' from lms.courses where tenant_id = '{tenant}';
                 insert into lms.courses (tenant_id, slug, title, instructor_id)
                 values ('{tenant}', 'later', 'Later course of {tenant}', '{teacher}');
                 insert into lms.course_prerequisites (course_id, prerequisite_course_id)
                 select l.id, c.id from lms.courses l join lms.courses c using (tenant_id)
                 where tenant_id = '{tenant}' and l.slug = 'later' and c.slug = 'course';
                 select from lms.enrollments e, lms.correct_progress(e.id, (
                   select id from lms.lessons where tenant_id = '{tenant}' and title = 'Lesson'
                 ), 40, 'Corrected') where e.tenant_id = '{tenant}';
                 select from lms.invite('{tenant}', 'invited-{tenant}@privileges.example');",
                teacher = company.person("teacher").id,
                learner = company.person("learner").id,
                southerner = company.person("southerner").id,
            ))
            .await?;
        company.examine_and_train().await?;
        Ok(company)
    }

    /// What assessments, certificates and training rules hold of the learner.
    async fn examine_and_train(&self) -> Result<()> {
        let tenant = self.tenant;
        self.database
            .batch_execute(&format!(
                "insert into lms.question_skills (question_id, skill_id)
                 select q.id, s.id from lms.questions q join lms.skills s using (tenant_id) where tenant_id = '{tenant}';
                 insert into lms.accommodations (tenant_id, course_id, user_id, extra_time_percentage)
                 select tenant_id, course_id, user_id, 50 from lms.enrollments where tenant_id = '{tenant}';
                 insert into lms.assessment_attempts
                   (tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number, status, started_at, submitted_at, closed_by)
                 select e.tenant_id, e.course_id, e.user_id, e.id, e.version_id, a.id, 1, 'graded', now(), now(), 'learner'
                 from lms.enrollments e join lms.assessments a on a.course_id = e.course_id where e.tenant_id = '{tenant}';
                 insert into lms.attempt_questions (attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, points)
                 select t.id, v.question_id, t.tenant_id, t.course_id, t.user_id, v.revision_id, 0, 1
                 from lms.assessment_attempts t join lms.version_questions v using (version_id, assessment_id) where t.tenant_id = '{tenant}';
                 insert into lms.attempt_answers (attempt_id, question_id, tenant_id, course_id, user_id, response)
                 select attempt_id, question_id, tenant_id, course_id, user_id, '{{\"text\": \"x\"}}'
                 from lms.attempt_questions where tenant_id = '{tenant}';
                 insert into lms.answer_scores (attempt_id, question_id, tenant_id, course_id, user_id, points, is_correct, graded_at)
                 select attempt_id, question_id, tenant_id, course_id, user_id, 1, true, now()
                 from lms.attempt_questions where tenant_id = '{tenant}';
                 insert into lms.attempt_scores
                   (attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed, released_at)
                 select id, tenant_id, course_id, user_id, enrollment_id, assessment_id, 1, 1, 100, true, now()
                 from lms.assessment_attempts where tenant_id = '{tenant}';
                 insert into lms.grade_overrides (tenant_id, course_id, user_id, attempt_id, old_percentage, new_percentage, reason)
                 select tenant_id, course_id, user_id, id, 50, 100, 'Looked at again' from lms.assessment_attempts where tenant_id = '{tenant}';
                 insert into lms.grading_assignments (attempt_id, question_id, tenant_id, course_id, grader_id)
                 select attempt_id, question_id, tenant_id, course_id, '{teacher}' from lms.attempt_questions where tenant_id = '{tenant}';
                 insert into lms.assessment_progress (enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage, attempts_count)
                 select enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage, 1
                 from lms.attempt_scores where tenant_id = '{tenant}';
                 insert into lms.certificates
                   (tenant_id, course_id, user_id, enrollment_id, unit_id, cycle, serial, code, holder_name, course_title, version_number, issue_reason, valid_from)
                 select e.tenant_id, e.course_id, e.user_id, e.id, e.unit_id, e.cycle, 'serial-' || e.id,
                   '0' || upper(left(md5(e.id::text), 25)), 'Lena', 'Course', 1, 'Issued', now()
                 from lms.enrollments e where e.tenant_id = '{tenant}';
                 insert into lms.attestation_statements (tenant_id, key, version, meaning, signer, language, body)
                 values ('{tenant}', 'oath', 1, 'completed', 'learner', 'en', 'I have done it.');
                 insert into lms.attestations
                   (tenant_id, statement_id, enrollment_id, course_id, user_id, unit_id, signed_by, signed_at, reauthenticated_at, document)
                 select e.tenant_id, s.id, e.id, e.course_id, e.user_id, e.unit_id, e.user_id, now(), now(), '{{}}'
                 from lms.enrollments e join lms.attestation_statements s using (tenant_id) where e.tenant_id = '{tenant}';
                 insert into lms.pending_enrollments (tenant_id, invitation_id, course_id)
                 select i.tenant_id, i.id, c.id from lms.invitations i join lms.courses c using (tenant_id) where i.tenant_id = '{tenant}' and c.slug = 'course';
                 insert into lms.assignment_rules (tenant_id, name) values ('{tenant}', 'Everybody');
                 insert into lms.assignment_rule_courses (rule_id, course_id)
                 select r.id, c.id from lms.assignment_rules r join lms.courses c using (tenant_id) where r.tenant_id = '{tenant}';
                 insert into lms.training_requirements (tenant_id, rule_id, course_id, user_id, since)
                 select tenant_id, rule_id, course_id, '{learner}', now() from lms.assignment_rule_courses where tenant_id = '{tenant}';
                 insert into lms.training_waivers (tenant_id, user_id, course_id, reason)
                 select tenant_id, '{learner}', course_id, 'On leave' from lms.assignment_rule_courses where tenant_id = '{tenant}';
                 insert into analytics.saved_reports (tenant_id, owner_id, name, report, parameters)
                 select '{tenant}', '{learner}', 'Mine', 'due-training', jsonb_build_object('unit_id', u.id)
                 from lms.org_units u where u.tenant_id = '{tenant}' order by u.id limit 1;
                 insert into lms.notifications (tenant_id, user_id, kind, course_id, enrollment_id, dedupe_key)
                 select tenant_id, user_id, 'training_due', course_id, id, 'due ' || id from lms.enrollments where tenant_id = '{tenant}';
                 insert into lms.message_templates (tenant_id, kind, language, subject, body) values ('{tenant}', 'training_due', 'en', 'Due', 'Soon');
                 insert into lms.webhooks (tenant_id, url) values ('{tenant}', 'https://example.com/hook');
                 insert into lms.led_sessions (course_id, title, starts_at, ends_at)
                 select id, 'Day', now() + interval '1 day', now() + interval '2 days' from lms.courses where tenant_id = '{tenant}';
                 insert into lms.session_bookings (tenant_id, session_id, course_id, enrollment_id, user_id, status)
                 select e.tenant_id, s.id, e.course_id, e.id, e.user_id, 'booked'
                 from lms.enrollments e join lms.led_sessions s using (tenant_id, course_id) where e.tenant_id = '{tenant}';
                 insert into lms.outside_training (tenant_id, course_id, user_id, provider_name, taken_on)
                 select tenant_id, id, '{learner}', 'School', '2020-02-02' from lms.courses where tenant_id = '{tenant}';
                 insert into lms.training_record_settings (course_id, materials)
                 select id, 'Shelf 4' from lms.courses where tenant_id = '{tenant}';
                 insert into lms.training_records
                   (tenant_id, course_id, user_id, enrollment_id, unit_id, cycle, edition, employer_name, employee_name, course_title,
                    version_number, content_hash, completed_at, completed_on)
                 select e.tenant_id, e.course_id, e.user_id, e.id, e.unit_id, e.cycle, 1, 'Works', 'Lena', 'Course', 1, 'x', now(), current_date
                 from lms.enrollments e where e.tenant_id = '{tenant}';",
                teacher = self.person("teacher").id,
                learner = self.person("learner").id,
            ))
            .await?;
        Ok(())
    }

    /// Empty texts: no unit, the whole tenant.
    pub async fn hire(&self, name: &str, unit: &str, role: &str, scope: &str) -> Result<Person> {
        let email = format!("{name}-{}@privileges.example", self.tag);
        let person = sandbox().new_person(&email).await?;
        self.database
            .execute(
                "insert into lms.memberships (tenant_id, user_id, unit_id, employee_number)
                 values ($1, $2, (select id from lms.org_units where tenant_id = $1 and code = $3::text), $4)",
                &[&self.tenant, &person.id, &unit, &name],
            )
            .await?;
        self.database
            .execute(
                "insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
                 select m.tenant_id, m.id, r.id, (select id from lms.org_units where tenant_id = $1 and code = $4::text)
                 from lms.memberships m join lms.roles r using (tenant_id)
                 where tenant_id = $1 and m.user_id = $2 and r.key = $3::text",
                &[&self.tenant, &person.id, &role, &scope],
            )
            .await?;
        Ok(person)
    }

    pub fn person(&self, name: &str) -> &Person {
        self.people
            .iter()
            .find_map(|(known, person)| (known == name).then_some(person))
            .unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    pub async fn one(&self, query: &str) -> Result<Uuid> {
        let row = self.database.query_one(query, &[&self.tenant]).await;
        Ok(row.with_context(|| query.to_owned())?.get(0))
    }

    pub async fn role(&self, key: &str) -> Result<Uuid> {
        self.one(&format!(
            "select id from lms.roles where tenant_id = $1 and key = '{key}'"
        ))
        .await
    }

    pub async fn unit(&self, code: &str) -> Result<Uuid> {
        self.one(&format!(
            "select id from lms.org_units where tenant_id = $1 and code = '{code}'"
        ))
        .await
    }

    pub async fn membership(&self, name: &str) -> Result<Uuid> {
        self.one(&format!(
            "select id from lms.memberships where tenant_id = $1 and user_id = '{}'",
            self.person(name).id
        ))
        .await
    }

    pub async fn any(&self, table: &str) -> Result<Uuid> {
        self.one(&format!(
            "select id from lms.{table} where tenant_id = $1 order by id limit 1"
        ))
        .await
    }

    /// The rows of these tables, as text to compare.
    pub async fn dump(&self, tables: &[&str]) -> Result<String> {
        let mut all = String::new();
        for table in tables {
            let key = if *table == "tenants" {
                "id"
            } else {
                "tenant_id"
            };
            let sql = format!("select t::text from lms.{table} t where {key} = $1 order by 1");
            for row in self.database.query(&sql, &[&self.tenant]).await? {
                all = format!("{all}{table} {}\n", row.get::<_, String>(0));
            }
        }
        Ok(all)
    }

    /// All rows of the tenant in every table.
    pub async fn everything(&self) -> Result<String> {
        let rows = self
            .database
            .query(
                "select c.table_name::text from information_schema.columns c join information_schema.tables t
                 using (table_schema, table_name)
                 where c.table_schema = 'lms' and c.column_name = 'tenant_id'
                   and t.table_type = 'BASE TABLE' order by 1",
                &[],
            )
            .await?;
        let mut tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(tables.len() >= 15, "{tables:?}");
        tables.push("tenants".to_owned());
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        self.dump(&tables).await
    }

    /// Every id that appears in a row of the tenant.
    pub async fn ids(&self) -> Result<BTreeSet<String>> {
        Ok(self
            .everything()
            .await?
            .split(|sign: char| !(sign.is_ascii_hexdigit() || sign == '-'))
            .filter(|word| word.len() == 36 && *word != Uuid::nil().to_string())
            .map(str::to_owned)
            .collect())
    }
}
