//! Doing it for real: each deed as the person who does it, in the database, and then the comparison.

use anyhow::{Context as _, Result, bail};
use lyceum_e2e::Sandbox;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::model::{Deed, LEARNERS, LESSONS, Model};

/// A connection in a transaction that is never committed, with a tenant and its people in it.
pub struct Walk {
    database: Client,
    tenant: Uuid,
    author: Uuid,
    clerk: Uuid,
    learners: Vec<Uuid>,
}

/// The course of one sequence.
struct Course {
    id: Uuid,
    lessons: Vec<Uuid>,
    /// What each version consisted of when it was made.
    fingerprints: Vec<String>,
}

impl Walk {
    pub async fn new(sandbox: &Sandbox, broken: &[&str]) -> Result<Self> {
        let database = sandbox.database().await?;
        database
            .batch_execute("begin; set local client_min_messages = warning")
            .await?;
        for statement in broken {
            database
                .batch_execute(statement)
                .await
                .context("a rule cannot be taken out")?;
        }
        let mut walk = Self {
            tenant: Uuid::new_v4(),
            database,
            author: Uuid::nil(),
            clerk: Uuid::nil(),
            learners: Vec::new(),
        };
        walk.database
            .execute(
                "insert into lms.tenants (id, slug, name) values ($1, $2::text, 'Walks')",
                &[&walk.tenant, &format!("walk-{}", walk.tenant.simple())],
            )
            .await?;
        walk.author = walk.person("instructor").await?;
        walk.clerk = walk.person("hr_admin").await?;
        for _ in 0..LEARNERS {
            let learner = walk.person("learner").await?;
            walk.learners.push(learner);
        }
        Ok(walk)
    }

    async fn person(&self, role: &str) -> Result<Uuid> {
        let id = Uuid::new_v4();
        self.database
            .batch_execute(&format!(
                "insert into auth.users (instance_id, id, aud, role, email, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
                 values ('00000000-0000-0000-0000-000000000000', '{id}', 'authenticated', 'authenticated', '{id}@walks.example', '{{}}', '{{}}', now(), now());
                 insert into lms.memberships (tenant_id, user_id) values ('{tenant}', '{id}');
                 insert into lms.role_grants (tenant_id, membership_id, role_id)
                 select m.tenant_id, m.id, r.id from lms.memberships m join lms.roles r using (tenant_id)
                 where m.user_id = '{id}' and r.key = '{role}'",
                tenant = self.tenant,
            ))
            .await?;
        Ok(id)
    }

    /// Does all of it on a new course; an error says after which deed something differs, and in what.
    pub async fn run(&mut self, deeds: &[Deed]) -> Result<()> {
        self.database.batch_execute("savepoint course").await?;
        let outcome = self.walk(deeds).await;
        self.database
            .batch_execute("rollback to savepoint course; release savepoint course")
            .await?;
        outcome
    }

    async fn walk(&self, deeds: &[Deed]) -> Result<()> {
        let mut course = self.course().await?;
        let mut model = Model::new();
        self.compare(&model, &mut course).await?;
        for (number, deed) in deeds.iter().enumerate() {
            let expected = model.apply(deed);
            let happened = self.attempt(&course, deed).await?;
            if happened.as_deref() != expected.err() {
                bail!("deed {number} {deed:?} differs: expected {expected:?}, got {happened:?}");
            }
            self.compare(&model, &mut course)
                .await
                .with_context(|| format!("after deed {number} {deed:?}"))
                .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        }
        Ok(())
    }

    async fn course(&self) -> Result<Course> {
        let id = Uuid::new_v4();
        let lessons: Vec<Uuid> = (0..LESSONS).map(|_| Uuid::new_v4()).collect();
        self.database
            .execute(
                "insert into lms.courses (id, tenant_id, slug, title, instructor_id) values ($1, $2, $3::text, 'Walk', $4)",
                &[&id, &self.tenant, &format!("course-{}", id.simple()), &self.author],
            )
            .await?;
        self.database
            .execute(
                "insert into lms.modules (course_id, title) values ($1, 'Only')",
                &[&id],
            )
            .await?;
        self.database
            .execute(
                "insert into lms.lessons (id, module_id, title, order_index)
                 select l.id, m.id, 'Lesson ' || l.n, l.n - 1
                 from lms.modules m, unnest($2::uuid[]) with ordinality as l (id, n) where m.course_id = $1",
                &[&id, &lessons],
            )
            .await?;
        self.database
            .execute("select lms.publish_course($1)", &[&id])
            .await?;
        Ok(Course {
            id,
            lessons,
            fingerprints: Vec::new(),
        })
    }

    /// The code of the refusal, or none.
    async fn attempt(&self, course: &Course, deed: &Deed) -> Result<Option<String>> {
        let (who, statement) = self.statement(course, deed).await?;
        self.database
            .batch_execute(&format!(
                "savepoint deed; set local role authenticated;
                 select set_config('request.jwt.claims', '{{\"sub\": \"{who}\", \"role\": \"authenticated\"}}', true)"
            ))
            .await?;
        let happened = self.database.batch_execute(&statement).await;
        self.database
            .batch_execute(match happened {
                Ok(()) => "reset role; release savepoint deed",
                Err(_) => "rollback to savepoint deed; release savepoint deed; reset role",
            })
            .await?;
        let Err(error) = happened else {
            return Ok(None);
        };
        let error = error.as_db_error().context("the connection is broken")?;
        let body: Value = serde_json::from_str(error.message()).unwrap_or_default();
        Ok(Some(
            body["code"]
                .as_str()
                .unwrap_or_else(|| error.code().code())
                .to_owned(),
        ))
    }

    async fn statement(&self, course: &Course, deed: &Deed) -> Result<(Uuid, String)> {
        let id = course.id;
        let lesson = |number: usize| course.lessons[number];
        let learner = |number: usize| self.learners[number];
        Ok(match *deed {
            Deed::Require(number, on) => (
                self.author,
                format!(
                    "update lms.lessons set requires_completion = {on} where id = '{}'",
                    lesson(number)
                ),
            ),
            Deed::Include(number, on) => (
                self.author,
                format!(
                    "update lms.lessons set is_published = {on} where id = '{}'",
                    lesson(number)
                ),
            ),
            Deed::Publish => (self.author, format!("select lms.publish_course('{id}')")),
            Deed::Migrate(everybody) => {
                let policy = if everybody {
                    "move"
                } else {
                    "move_if_not_started"
                };
                (
                    self.author,
                    format!("select lms.migrate_enrollments('{id}', '{policy}')"),
                )
            }
            Deed::Enroll(person) => (learner(person), format!("select lms.enroll('{id}')")),
            Deed::Record(person, number, percentage) => (
                learner(person),
                format!(
                    "select lms.record_progress('{}', {percentage})",
                    lesson(number)
                ),
            ),
            Deed::SetStatus(person, status) => (
                learner(person),
                match self.latest(course, learner(person)).await? {
                    Some(enrollment) => {
                        format!("select lms.set_enrollment_status('{enrollment}', '{status}')")
                    }
                    None => "select 1".to_owned(),
                },
            ),
            Deed::Correct(person, number, percentage) => (
                self.clerk,
                match self.latest(course, learner(person)).await? {
                    Some(enrollment) => format!(
                        "select lms.correct_progress('{enrollment}', '{}', {percentage}, 'Walk')",
                        lesson(number)
                    ),
                    None => "select 1".to_owned(),
                },
            ),
            Deed::Review(person, rating) => {
                let mine = format!("course_id = '{id}' and user_id = '{}'", learner(person));
                let exists = self
                    .database
                    .query_one(
                        &format!("select exists (select from lms.course_reviews where {mine})"),
                        &[],
                    )
                    .await?
                    .get(0);
                let statement = match rating {
                    None => format!("delete from lms.course_reviews where {mine}"),
                    Some(rating) if exists => {
                        format!("update lms.course_reviews set rating = {rating} where {mine}")
                    }
                    Some(rating) => format!(
                        "insert into lms.course_reviews (course_id, user_id, rating) values ('{id}', '{}', {rating})",
                        learner(person)
                    ),
                };
                (learner(person), statement)
            }
        })
    }

    async fn latest(&self, course: &Course, learner: Uuid) -> Result<Option<Uuid>> {
        Ok(self
            .database
            .query_opt(
                "select id from lms.enrollments where course_id = $1 and user_id = $2 order by cycle desc limit 1",
                &[&course.id, &learner],
            )
            .await?
            .map(|row| row.get(0)))
    }

    async fn compare(&self, model: &Model, course: &mut Course) -> Result<()> {
        for (number, learner) in self.learners.iter().enumerate() {
            let there: Vec<String> = self
                .database
                .query(
                    "select format('%s v%s %s/%s %s', e.status, v.number, e.items_done, e.items_total, e.progress_percentage)
                     from lms.enrollments e join lms.course_versions v on v.id = e.version_id
                     where e.course_id = $1 and e.user_id = $2 order by e.cycle",
                    &[&course.id, learner],
                )
                .await?
                .iter()
                .map(|row| row.get(0))
                .collect();
            let expected: Vec<String> = model.cycles[number]
                .iter()
                .map(|cycle| {
                    let (done, total) = model.count(cycle);
                    let hundredths = (10_000 * done).checked_div(total).unwrap_or_default();
                    format!(
                        "{} v{} {done}/{total} {}.{:02}",
                        cycle.status,
                        cycle.version + 1,
                        hundredths / 100,
                        hundredths % 100
                    )
                })
                .collect();
            if there != expected {
                bail!("learner {number} differs: expected {expected:?}, got {there:?}");
            }
            // Lesson by lesson, of the cycle that is under way.
            let Some(cycle) = model.cycles[number].iter().find(|cycle| cycle.is_open()) else {
                continue;
            };
            let rows = self
                .database
                .query(
                    "select p.lesson_id, p.progress_percentage::text
                     from lms.lesson_progress p join lms.enrollments e on e.id = p.enrollment_id
                     where e.course_id = $1 and e.user_id = $2 and e.status in ('enrolled', 'in_progress', 'paused')",
                    &[&course.id, learner],
                )
                .await?;
            let mut there: Vec<(usize, String)> = rows
                .iter()
                .map(|row| {
                    let lesson: Uuid = row.get(0);
                    let number = course.lessons.iter().position(|id| *id == lesson);
                    (number.unwrap_or(usize::MAX), row.get(1))
                })
                .collect();
            there.sort();
            let expected: Vec<(usize, String)> = cycle
                .reached
                .iter()
                .map(|(lesson, now)| (*lesson, now.to_string()))
                .collect();
            if there != expected {
                bail!("progress of learner {number} differs: expected {expected:?}, got {there:?}");
            }
        }
        self.compare_versions(model, course).await?;
        self.compare_rating(model, course).await
    }

    async fn compare_versions(&self, model: &Model, course: &mut Course) -> Result<()> {
        let now: Vec<String> = self
            .database
            .query(
                "select v.number || ' ' || (
                   select string_agg(format('%s %s', l.lesson_id, l.requires_completion), ',' order by l.lesson_index)
                   from lms.version_lessons l where l.version_id = v.id
                 )
                 from lms.course_versions v where v.course_id = $1 order by v.number",
                &[&course.id],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        if now.len() != model.versions.len() || !now.starts_with(&course.fingerprints) {
            bail!(
                "versions differs: expected {} that begin with {:?}, got {now:?}",
                model.versions.len(),
                course.fingerprints
            );
        }
        course.fingerprints = now;
        Ok(())
    }

    async fn compare_rating(&self, model: &Model, course: &Course) -> Result<()> {
        let there: String = self
            .database
            .query_one(
                "select format('%s of %s', rating_average, rating_count) from lms.courses where id = $1",
                &[&course.id],
            )
            .await?
            .get(0);
        let (sum, count) = model
            .ratings
            .values()
            .fold((0_u32, 0_u32), |(sum, count), rating| {
                (sum + u32::from(*rating), count + 1)
            });
        let expected = if count == 0 {
            " of 0".to_owned()
        } else {
            let hundredths = (200 * sum + count) / (2 * count);
            format!("{}.{:02} of {count}", hundredths / 100, hundredths % 100)
        };
        if there != expected {
            bail!("the rating differs: expected {expected}, got {there}");
        }
        Ok(())
    }
}
