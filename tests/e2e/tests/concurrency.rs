//! Many at once: what holds one at a time must hold then as well.

use std::sync::OnceLock;

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use lyceum_e2e::{CHECK_PROGRESS, Options, Person, Sandbox, shared};
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

/// How often each race is run.
const RACES: usize = 100;

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: true,
            seed: false,
        },
    )
}

/// A course of a new tenant, open to its members, with `lessons` required lessons.
struct Course {
    tenant: Uuid,
    id: Uuid,
    instructor: Person,
    lessons: Vec<String>,
}

impl Course {
    async fn new(lessons: usize) -> Result<Self> {
        let database = sandbox().database().await?;
        let tag = Uuid::new_v4().simple().to_string();
        let tenant: Uuid = database
            .query_one(
                "insert into lms.tenants (slug, name) values ($1::text, 'Races') returning id",
                &[&tag],
            )
            .await?
            .get(0);
        let instructor = sandbox()
            .new_person(&format!("instructor-{tag}@races.example"))
            .await?;
        join_tenant(tenant, &instructor, Some("instructor")).await?;
        let course: Uuid = database
            .query_one(
                "insert into lms.courses (tenant_id, slug, title, instructor_id) values ($1, 'race', 'Race', $2) returning id",
                &[&tenant, &instructor.id],
            )
            .await?
            .get(0);
        database
            .execute(
                "insert into lms.modules (course_id, title) values ($1, 'Only')",
                &[&course],
            )
            .await?;
        database
            .execute(
                "insert into lms.lessons (module_id, title, order_index)
                 select m.id, 'Lesson ' || n, n from lms.modules m, generate_series(1, $2::bigint) n where m.course_id = $1",
                &[&course, &i64::try_from(lessons)?],
            )
            .await?;
        database
            .execute("select lms.publish_course($1)", &[&course])
            .await?;
        let lessons = database
            .query(
                "select id from lms.lessons where course_id = $1 order by order_index",
                &[&course],
            )
            .await?
            .iter()
            .map(|row| row.get::<_, Uuid>(0).to_string())
            .collect();
        Ok(Self {
            tenant,
            id: course,
            instructor,
            lessons,
        })
    }

    async fn learner(&self) -> Result<Person> {
        let person = sandbox()
            .new_person(&format!("{}@races.example", Uuid::new_v4().simple()))
            .await?;
        join_tenant(self.tenant, &person, None).await?;
        Ok(person)
    }

    async fn enroll(&self, learner: &Person) -> Result<Value> {
        let answer = learner
            .rpc("enroll", &json!({ "p_course_id": self.id }))
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(answer.body)
    }

    async fn enrollments(&self) -> Result<Vec<Value>> {
        let path = format!("/rest/v1/enrollments?course_id=eq.{}", self.id);
        Ok(sandbox().service().get(&path).await?.rows().to_vec())
    }
}

async fn join_tenant(tenant: Uuid, person: &Person, role: Option<&str>) -> Result<()> {
    let database = sandbox().database().await?;
    database
        .execute(
            "insert into lms.memberships (tenant_id, user_id) values ($1, $2)",
            &[&tenant, &person.id],
        )
        .await?;
    match role {
        Some(role) => grant(tenant, person, role).await,
        None => Ok(()),
    }
}

async fn grant(tenant: Uuid, person: &Person, role: &str) -> Result<()> {
    sandbox()
        .database()
        .await?
        .execute(
            "insert into lms.role_grants (tenant_id, membership_id, role_id)
             select m.tenant_id, m.id, r.id from lms.memberships m join lms.roles r using (tenant_id)
             where m.tenant_id = $1 and m.user_id = $2 and r.key = $3",
            &[&tenant, &person.id, &role],
        )
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_p2_200_parallel_completions_of_200_lessons_end_at_exactly_100() -> Result<()> {
    let course = Course::new(200).await?;
    let learner = course.learner().await?;
    course.enroll(&learner).await?;

    // Each lesson once by the upsert of a web client and once by the call, all at the same time.
    let upserts = course
        .lessons
        .iter()
        .map(|lesson| learner.upsert_progress(lesson, 100));
    let arguments: Vec<Value> = course
        .lessons
        .iter()
        .map(|lesson| json!({ "p_lesson_id": lesson }))
        .collect();
    let calls = arguments
        .iter()
        .map(|arguments| learner.rpc("complete_lesson", arguments));
    let (upserts, calls) = tokio::join!(try_join_all(upserts), try_join_all(calls));
    for answer in upserts?.iter().chain(&calls?) {
        assert!(answer.status.is_success(), "{answer:?}");
    }

    let enrollments = course.enrollments().await?;
    assert_eq!(enrollments.len(), 1);
    assert_eq!(enrollments[0]["progress_percentage"], 100.00);
    assert_eq!(enrollments[0]["items_done"], 200);
    assert_eq!(enrollments[0]["status"], "completed");

    // Completed once: the moment of completion is that of the last lesson, and replays do not move it.
    let completed_at = enrollments[0]["completed_at"].clone();
    let replays = try_join_all(
        course
            .lessons
            .iter()
            .map(|lesson| learner.upsert_progress(lesson, 40)),
    )
    .await?;
    assert!(
        replays.iter().all(
            |answer| answer.status.is_success() && answer.body[0]["progress_percentage"] == 100
        )
    );
    let again = course.enrollments().await?;
    assert_eq!((again.len(), &again[0]["completed_at"]), (1, &completed_at));
    assert_eq!(again[0], enrollments[0], "a replay changes nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_e1_100_parallel_enrollments_of_one_learner_give_one_row() -> Result<()> {
    let course = Course::new(1).await?;
    let learner = course.learner().await?;
    enroll_at_once(&course, &learner, 100).await?;
    assert_eq!(course.enrollments().await?.len(), 1);

    // Fewer at a time meet each other more closely; a dropped cycle makes room for the next one.
    let database = sandbox().database().await?;
    for race in 1..=RACES {
        database
            .execute("update lms.enrollments set status = 'dropped' where course_id = $1 and status = 'enrolled'", &[&course.id])
            .await?;
        enroll_at_once(&course, &learner, 8).await?;
        assert_eq!(course.enrollments().await?.len(), race + 1);
    }
    Ok(())
}

/// Exactly one of `requests` simultaneous ones succeeds, the others are told why not.
async fn enroll_at_once(course: &Course, learner: &Person, requests: usize) -> Result<()> {
    let row = json!({ "user_id": learner.id, "course_id": course.id });
    let call = json!({ "p_course_id": course.id });
    let rows = join_all((0..requests / 2).map(|_| learner.post("/rest/v1/enrollments", &row)));
    let calls = join_all((0..requests / 2).map(|_| learner.rpc("enroll", &call)));
    let (rows, calls) = tokio::join!(rows, calls);
    let answers: Vec<_> = rows.into_iter().chain(calls).collect::<Result<_>>()?;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.status.is_success())
            .count(),
        1
    );
    for refused in answers.iter().filter(|answer| !answer.status.is_success()) {
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (409, "not_eligible"),
            "{refused:?}"
        );
        assert!(
            refused.body["details"]
                .as_str()
                .is_some_and(|details| details.contains("already_enrolled"))
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_e4_the_same_idempotency_key_is_one_enrollment_and_one_answer() -> Result<()> {
    let course = Course::new(1).await?;
    let learner = course.learner().await?;
    let body = json!({ "course_id": course.id });
    let headers = [("idempotency-key", "one-click-too-many")];
    let answers = try_join_all((0..20).map(|_| {
        learner.call(
            reqwest::Method::POST,
            "/functions/v1/enrollment",
            &headers,
            Some(&body),
        )
    }))
    .await?;
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(course.enrollments().await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_e4_the_last_seat_goes_to_exactly_one() -> Result<()> {
    let course = Course::new(1).await?;
    let learners = try_join_all((0..10).map(|_| course.learner())).await?;
    let database = sandbox().database().await?;
    database
        .execute(
            "update lms.courses set capacity = 1 where id = $1",
            &[&course.id],
        )
        .await?;
    let arguments = json!({ "p_course_id": course.id });
    for race in 0..RACES {
        let answers = try_join_all(
            learners
                .iter()
                .map(|learner| learner.rpc("enroll", &arguments)),
        )
        .await?;
        let admitted = answers
            .iter()
            .filter(|answer| answer.status.is_success())
            .count();
        assert_eq!(admitted, 1, "race {race}");
        for refused in answers.iter().filter(|answer| !answer.status.is_success()) {
            assert_eq!(refused.code(), "not_eligible", "{refused:?}");
        }
        database.execute("update lms.enrollments set status = 'dropped' where course_id = $1 and status = 'enrolled'", &[&course.id]).await?;
    }
    assert_eq!(course.enrollments().await?.len(), RACES);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_p2_counters_equal_the_facts_while_authors_change_what_counts() -> Result<()> {
    let course = Course::new(RACES).await?;
    let learners = try_join_all((0..5).map(|_| course.learner())).await?;
    try_join_all(learners.iter().map(|learner| course.enroll(learner))).await?;
    let database = sandbox().database().await?;
    database
        .execute(
            "update lms.lessons set requires_completion = order_index % 2 = 0 where course_id = $1",
            &[&course.id],
        )
        .await?;

    // Everybody completes the very lesson that stops or starts to count at that moment. Looked at after each race,
    // because the next change would count anew and hide a slip.
    for (race, lesson) in course.lessons.iter().enumerate() {
        let completing = try_join_all(
            learners
                .iter()
                .map(|learner| learner.upsert_progress(lesson, 100)),
        );
        let change = json!({ "requires_completion": race % 2 == 0 });
        let path = format!("/rest/v1/lessons?id=eq.{lesson}");
        let (completed, changed) =
            tokio::join!(completing, course.instructor.patch(&path, &change));
        assert!(completed?.iter().all(|answer| answer.status.is_success()));
        assert_eq!(changed?.rows().len(), 1);
        let wrong = database.query(CHECK_PROGRESS, &[]).await?;
        assert!(
            wrong.is_empty(),
            "race {race}: counters differ from their facts: {wrong:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_t3_two_administrators_cannot_remove_each_other() -> Result<()> {
    let course = Course::new(1).await?;
    let (ada, bea) = (course.learner().await?, course.learner().await?);
    let database = sandbox().database().await?;
    for person in [&ada, &bea] {
        grant(course.tenant, person, "tenant_admin").await?;
    }
    let suspended = json!({ "status": "suspended" });
    let path = |person: &Person| {
        format!(
            "/rest/v1/memberships?tenant_id=eq.{}&user_id=eq.{}",
            course.tenant, person.id
        )
    };
    let (of_ada, of_bea) = (path(&ada), path(&bea));
    for race in 0..RACES {
        let (first, second) = tokio::join!(
            ada.patch(&of_bea, &suspended),
            bea.patch(&of_ada, &suspended)
        );
        let (first, second) = (first?, second?);
        let active: i64 = database
            .query_one(
                "select count(*) from lms.memberships where tenant_id = $1 and user_id in ($2, $3) and status = 'active'",
                &[&course.tenant, &ada.id, &bea.id],
            )
            .await?
            .get(0);
        assert_eq!(active, 1, "race {race}: {first:?} {second:?}");
        database
            .execute("update lms.memberships set status = 'active' where tenant_id = $1 and status <> 'active'", &[&course.tenant])
            .await?;
    }
    Ok(())
}
