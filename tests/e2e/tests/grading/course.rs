//! A course with assessments, made by the owner of the database, and learners who take it by the calls that clients make.

use anyhow::Result;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

use crate::making::written;
use crate::rules::{Question, Scoring};

/// How several attempts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Best,
    Latest,
    Average,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Latest => "latest",
            Self::Average => "average",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: Uuid,
    pub(crate) question: Question,
    pub(crate) scoring: Scoring,
    pub(crate) cents: i64,
}

#[derive(Debug)]
pub(crate) struct Assessment {
    pub(crate) id: Uuid,
    pub(crate) method: Method,
    /// Millionths.
    pub(crate) weight: i64,
    /// Hundredths of a percent; none: handing in is enough.
    pub(crate) passing: Option<i64>,
    pub(crate) is_mandatory: bool,
    pub(crate) questions: Vec<Asked>,
}

#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) id: Uuid,
    pub(crate) author: Learner,
    tenant_id: Uuid,
}

impl Course {
    /// One lesson that nobody completes, so that the course stays open.
    pub(crate) async fn found(database: &Client, slug: &str) -> Result<Self> {
        let tenant_id = database
            .query_one(
                "insert into lms.tenants (slug, name) values ($1::text, $1::text) returning id",
                &[&slug],
            )
            .await?
            .get(0);
        let author = member(database, tenant_id, "tenant_admin").await?;
        let id = database
            .query_one(
                "insert into lms.courses (tenant_id, slug, title, visibility, status, published_at, instructor_id)
                 values ($1, $2::text, $2::text, 'restricted', 'published', now(), $3)
                 returning id",
                &[&tenant_id, &slug, &author.id],
            )
            .await?
            .get(0);
        database
            .execute(
                "with m as (insert into lms.modules (course_id, title) values ($1, 'Module') returning id)
                 insert into lms.lessons (module_id, title) select m.id, 'Lesson' from m",
                &[&id],
            )
            .await?;
        Ok(Self {
            id,
            tenant_id,
            author,
        })
    }

    pub(crate) async fn add(&self, database: &Client, assessment: &Assessment) -> Result<()> {
        database
            .execute(
                "insert into lms.assessments (id, course_id, title, grading_method, weight, passing_percentage, is_mandatory)
                 values ($1, $2, 'Assessment', $3, round($4::bigint / 1000000.0, 6), round($5::bigint / 100.0, 2), $6)",
                &[
                    &assessment.id,
                    &self.id,
                    &assessment.method.name(),
                    &assessment.weight,
                    &assessment.passing,
                    &assessment.is_mandatory,
                ],
            )
            .await?;
        for asked in &assessment.questions {
            let (kind, content, key) = written(&asked.question);
            database
                .execute(
                    "with q as (
                       insert into lms.questions (id, assessment_id, type, prompt, content, points, scoring)
                       values ($1, $2, $3, 'What?', $4, $5::bigint / 100.0, $6)
                       returning id, tenant_id, course_id
                     )
                     insert into private.answer_keys (question_id, tenant_id, course_id, key)
                     select q.id, q.tenant_id, q.course_id, $7 from q",
                    &[
                        &asked.id,
                        &assessment.id,
                        &kind,
                        &content,
                        &asked.cents,
                        &asked.scoring.name(),
                        &key,
                    ],
                )
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn publish(&self, database: &Client) -> Result<()> {
        database
            .execute("select private.freeze_course($1)", &[&self.id])
            .await?;
        Ok(())
    }

    pub(crate) async fn learner(&self, database: &Client) -> Result<Learner> {
        let mut learner = member(database, self.tenant_id, "learner").await?;
        learner.enrollment_id = database
            .query_one(
                "insert into lms.enrollments (course_id, user_id) values ($1, $2) returning id",
                &[&self.id, &learner.id],
            )
            .await?
            .get(0);
        Ok(learner)
    }
}

/// A member of the tenant with a role.
async fn member(database: &Client, tenant_id: Uuid, role: &str) -> Result<Learner> {
    let id = Uuid::new_v4();
    database
        .execute(
            "insert into auth.users (instance_id, id, aud, role, email, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
             values (
               '00000000-0000-0000-0000-000000000000', $1::uuid, 'authenticated', 'authenticated', $1::uuid || '@example.com',
               '{}', '{}', now(), now()
             )",
            &[&id],
        )
        .await?;
    database
        .execute(
            "with m as (insert into lms.memberships (tenant_id, user_id) values ($1, $2) returning id)
             insert into lms.role_grants (tenant_id, membership_id, role_id)
             select r.tenant_id, m.id, r.id from m join lms.roles r on r.tenant_id = $1 and r.key::text = $3",
            &[&tenant_id, &id, &role],
        )
        .await?;
    Ok(Learner {
        id,
        enrollment_id: Uuid::nil(),
    })
}

#[derive(Debug, Clone)]
pub(crate) struct Learner {
    pub(crate) id: Uuid,
    pub(crate) enrollment_id: Uuid,
}

impl Learner {
    /// Takes the place of the caller for the rest of the transaction, as PostgREST does it.
    pub(crate) async fn call(&self, transaction: &impl GenericClient) -> Result<()> {
        let claims =
            json!({"sub": self.id, "role": "authenticated", "aud": "authenticated"}).to_string();
        transaction
            .execute(
                "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
                &[&claims],
            )
            .await?;
        Ok(())
    }

    /// Runs a call that answers with one row.
    pub(crate) async fn run(
        &self,
        database: &mut Client,
        statement: &str,
        arguments: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let transaction = database.transaction().await?;
        self.call(&transaction).await?;
        transaction.query_one(statement, arguments).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(crate) async fn start(&self, database: &mut Client, assessment: Uuid) -> Result<Uuid> {
        let transaction = database.transaction().await?;
        self.call(&transaction).await?;
        let attempt = transaction
            .query_one(
                "select t.id from lms.start_attempt($1) as t",
                &[&assessment],
            )
            .await?
            .get(0);
        transaction.commit().await?;
        Ok(attempt)
    }

    /// `answers` is an object, as text.
    pub(crate) async fn submit(
        &self,
        database: &mut Client,
        attempt: Uuid,
        answers: &str,
    ) -> Result<Value> {
        let transaction = database.transaction().await?;
        self.call(&transaction).await?;
        let receipt = transaction
            .query_one(
                "select to_jsonb(r) from lms.submit_attempt($1, $2::text::jsonb) as r",
                &[&attempt, &answers],
            )
            .await?
            .get(0);
        transaction.commit().await?;
        Ok(receipt)
    }
}
