//! What somebody tries who knows PostgREST and PostgreSQL well: estimates, odd payloads, repeated headers, old rows,
//! and two requests at once.

use std::sync::OnceLock;

use anyhow::Result;
use lyceum_e2e::{Answer, DEMO_PASSWORD, Options, Person, Sandbox, shared};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

const IRONWORKS: &str = "a0000000-0000-4000-8000-000000000001";
const HAZMAT: &str = "c0000000-0000-4000-8000-000000000001";

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: false,
            seed: true,
        },
    )
}

async fn demo(name: &str) -> Result<Person> {
    sandbox()
        .sign_in(&format!("{name}.example"), DEMO_PASSWORD)
        .await
}

/// Someone new in the Ironworks: a learner without a unit.
async fn member() -> Result<Person> {
    let person = sandbox()
        .new_person(&format!("{}@attacks.example", Uuid::new_v4().simple()))
        .await?;
    sandbox()
        .database()
        .await?
        .execute(
            "insert into lms.memberships (tenant_id, user_id) values ($1, $2)",
            &[&IRONWORKS.parse::<Uuid>()?, &person.id],
        )
        .await?;
    Ok(person)
}

struct Course {
    id: String,
    admin: Person,
    lessons: Vec<String>,
}

impl Course {
    /// A published course of the Ironworks that nobody has taken.
    async fn new(lessons: usize, settings: &Value) -> Result<Self> {
        let admin = demo("ada@ironworks").await?;
        let mut body = json!({
            "tenant_id": IRONWORKS, "slug": format!("c-{}", Uuid::new_v4()), "title": "Attacked",
        });
        for (name, value) in settings.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let id = created(&admin, "courses", &body).await?;
        let module = json!({ "course_id": id, "title": "Only" });
        let module = created(&admin, "modules", &module).await?;
        let mut all = Vec::new();
        for number in 0..lessons {
            let lesson = json!({ "module_id": module, "title": format!("Lesson {number}") });
            all.push(created(&admin, "lessons", &lesson).await?);
        }
        let published = admin
            .rpc("publish_course", &json!({ "p_course_id": id }))
            .await?;
        assert_eq!(published.status, 200, "{published:?}");
        Ok(Self {
            id,
            admin,
            lessons: all,
        })
    }

    async fn enroll(&self, learner: &Person) -> Result<Answer> {
        learner
            .rpc("enroll", &json!({ "p_course_id": self.id }))
            .await
    }

    async fn publish(&self) -> Result<()> {
        let arguments = json!({ "p_course_id": self.id });
        let published = self.admin.rpc("publish_course", &arguments).await?;
        assert_eq!(published.status, 200, "{published:?}");
        Ok(())
    }

    async fn change_lesson(&self, number: usize, change: &Value) -> Result<()> {
        let path = format!("/rest/v1/lessons?id=eq.{}", self.lessons[number]);
        let changed = self.admin.patch(&path, change).await?;
        assert_eq!(changed.rows().len(), 1, "{changed:?}");
        Ok(())
    }
}

async fn created(person: &Person, table: &str, body: &Value) -> Result<String> {
    let answer = person.post(&format!("/rest/v1/{table}"), body).await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    Ok(answer.rows()[0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn complete(learner: &Person, lesson: &str) -> Result<Answer> {
    learner
        .rpc("complete_lesson", &json!({ "p_lesson_id": lesson }))
        .await
}

async fn set_status(person: &Person, enrollment: &Value, status: &str) -> Result<Answer> {
    let arguments = json!({ "p_enrollment_id": enrollment, "p_status": status });
    person.rpc("set_enrollment_status", &arguments).await
}

fn id_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["id"].clone()
}

// =====================================================================================================
// Reading
// =====================================================================================================

/// The planner's estimates come from statistics over all rows, whoever owns them: 13 for the members of a tenant that
/// has 13, to somebody who may see none of them.
#[tokio::test(flavor = "multi_thread")]
async fn estimated_counts_tell_nothing_of_rows_that_are_not_seen() -> Result<()> {
    sandbox()
        .database()
        .await?
        .batch_execute("analyze lms.memberships; analyze lms.enrollments; analyze lms.courses; analyze public.profiles")
        .await?;
    let zoe = demo("zoe@fieldnotes").await?;
    let nobody = Uuid::new_v4();
    let pairs = [
        ("lms", "memberships?tenant_id=eq.", IRONWORKS.to_owned()),
        ("lms", "enrollments?course_id=eq.", HAZMAT.to_owned()),
    ];
    // PostgREST reads every Prefer header, a pre-request function perhaps only the last.
    let headers: [&[(&str, &str)]; 3] = [
        &[("prefer", "count=planned")],
        &[("prefer", "count=estimated")],
        &[("prefer", "count=planned"), ("prefer", "handling=lenient")],
    ];
    for prefer in headers {
        for (schema, path, foreign) in &pairs {
            let mut seen = Vec::new();
            for id in [foreign.clone(), nobody.to_string()] {
                let mut all = vec![("accept-profile", *schema)];
                all.extend_from_slice(prefer);
                let answer = zoe
                    .call(Method::GET, &format!("/rest/v1/{path}{id}"), &all, None)
                    .await?;
                seen.push((answer.status, answer.headers.get("content-range").cloned()));
            }
            assert_eq!(
                seen[0], seen[1],
                "{path} with {prefer:?}: rows of others, and rows that nobody has, are told apart"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_aggregates_are_not_served() -> Result<()> {
    let zoe = demo("zoe@fieldnotes").await?;
    let plan = [
        ("accept-profile", "lms"),
        ("accept", "application/vnd.pgrst.plan+json"),
    ];
    let path = format!("/rest/v1/enrollments?course_id=eq.{HAZMAT}");
    let answer = zoe.call(Method::GET, &path, &plan, None).await?;
    assert_eq!(answer.status, 415, "{answer:?}");
    let answer = zoe.get("/rest/v1/courses?select=title.max()").await?;
    assert_eq!(answer.status, 400, "{answer:?}");
    Ok(())
}

/// No statement timeout watches a parser: the address is bounded instead.
#[tokio::test(flavor = "multi_thread")]
async fn one_long_address_does_not_occupy_the_api() -> Result<()> {
    let nested = format!(
        "/rest/v1/courses?select=id&or={}(id.is.null){}",
        "(and".repeat(6000),
        ")".repeat(6000)
    );
    let answer = sandbox().anonymous().get(&nested).await?;
    assert_eq!(answer.status, 414, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_key_or_token_in_the_same_request_counts_for_nothing() -> Result<()> {
    let zoe = demo("zoe@fieldnotes").await?;
    let secret = sandbox().address("SECRET_KEY");
    let service = format!("Bearer {}", sandbox().address("SERVICE_ROLE_KEY"));
    let ada = format!("Bearer {}", demo("ada@ironworks").await?.token);
    for (name, value) in [
        ("apikey", secret),
        ("authorization", service.as_str()),
        ("authorization", ada.as_str()),
    ] {
        let headers = [("accept-profile", "lms"), (name, value)];
        let answer = zoe
            .call(Method::GET, "/rest/v1/tenants?select=slug", &headers, None)
            .await?;
        let harmless = answer.status.is_client_error()
            || answer
                .rows()
                .iter()
                .all(|tenant| tenant["slug"] == "fieldnotes");
        assert!(harmless, "a second {name}: {answer:?}");
    }
    Ok(())
}

// =====================================================================================================
// Rights
// =====================================================================================================

/// Who manages a part of a unit must not end the membership, and with it the rights, of whoever manages the whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_manager_does_not_end_the_membership_of_a_higher_manager() -> Result<()> {
    let database = sandbox().database().await?;
    let (higher, lower) = (member().await?, member().await?);
    for (person, scope) in [(&higher, "HC"), (&lower, "HC-WH")] {
        database
            .execute(
                "insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
                 select m.tenant_id, m.id, r.id, u.id
                 from lms.memberships m join lms.roles r using (tenant_id) join lms.org_units u using (tenant_id)
                 where m.user_id = $1 and r.key = 'unit_manager' and u.code = $2",
                &[&person.id, &scope],
            )
            .await?;
    }
    database
        .execute(
            "update lms.memberships m set unit_id = u.id from lms.org_units u
             where u.tenant_id = m.tenant_id and u.code = 'HC-WH' and m.user_id = $1",
            &[&higher.id],
        )
        .await?;
    let path = format!("/rest/v1/memberships?user_id=eq.{}", higher.id);
    for status in ["suspended", "ended"] {
        let answer = lower.patch(&path, &json!({ "status": status })).await?;
        let refused = answer.status == 403 || answer.body.as_array().is_some_and(Vec::is_empty);
        assert!(refused, "{status}: {answer:?}");
    }
    Ok(())
}

/// An answer kept for replays is still an answer about a tenant that the caller may no longer see (INV-T4).
#[tokio::test(flavor = "multi_thread")]
async fn inv_t4_a_suspended_member_gets_no_kept_answer() -> Result<()> {
    let course = Course::new(1, &json!({})).await?;
    let learner = member().await?;
    let arguments = json!({ "p_course_id": course.id, "p_idempotency_key": "kept" });
    id_of(&learner.rpc("enroll", &arguments).await?);
    sandbox()
        .database()
        .await?
        .execute(
            "update lms.memberships set status = 'suspended' where user_id = $1",
            &[&learner.id],
        )
        .await?;
    let replay = learner.rpc("enroll", &arguments).await?;
    assert!(replay.status.is_client_error(), "{replay:?}");
    Ok(())
}

/// Several ways to say several rows at once, each with one that is not the caller's to write.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_row_among_own_ones_stops_them_all() -> Result<()> {
    let course = Course::new(2, &json!({ "capacity": 1 })).await?;
    let (learner, other) = (member().await?, member().await?);
    id_of(&course.enroll(&learner).await?);
    let progress = |person: &Person| json!({ "user_id": person.id, "lesson_id": course.lessons[0], "progress_percentage": 100 });
    let path = "/rest/v1/lesson_progress";
    let mixed = learner
        .post(path, &json!([progress(&learner), progress(&other)]))
        .await?;
    assert_eq!(mixed.status, 403, "{mixed:?}");
    let row = json!({
        "user_id": learner.id, "lesson_id": course.lessons[0], "progress_percentage": 100, "enrollment_id": Uuid::new_v4(),
    });
    let keyed = learner.post(path, &row).await?;
    assert_eq!(keyed.status, 403, "{keyed:?}");
    let rows = learner
        .get(&format!("{path}?user_id=eq.{}", learner.id))
        .await?;
    assert_eq!(rows.rows().len(), 0, "{rows:?}");

    // Two people and one seat in one statement: the second row meets the first.
    let seats = Course::new(1, &json!({ "capacity": 1 })).await?;
    let both = json!([
        { "user_id": learner.id, "course_id": seats.id }, { "user_id": other.id, "course_id": seats.id },
    ]);
    let full = seats.admin.post("/rest/v1/enrollments", &both).await?;
    assert_eq!((full.status.as_u16(), full.code()), (409, "not_eligible"));

    // An upsert on another unique key would have to write what is granted to nobody.
    let headers = [
        ("content-profile", "lms"),
        ("prefer", "resolution=merge-duplicates"),
    ];
    let body = json!({ "user_id": learner.id, "course_id": course.id });
    let upsert = learner
        .call(
            Method::POST,
            "/rest/v1/enrollments?on_conflict=user_id,course_id,cycle",
            &headers,
            Some(&body),
        )
        .await?;
    assert_eq!(upsert.status, 403, "{upsert:?}");
    Ok(())
}

// =====================================================================================================
// Progress
// =====================================================================================================

/// An upsert into a lesson that waits for another is refused; a plain update reaches no insert trigger.
#[tokio::test(flavor = "multi_thread")]
async fn a_lesson_closed_meanwhile_cannot_be_completed_by_an_update() -> Result<()> {
    let course = Course::new(2, &json!({})).await?;
    let learner = member().await?;
    id_of(&course.enroll(&learner).await?);
    let begun = learner.upsert_progress(&course.lessons[0], 50).await?;
    assert_eq!(begun.status, 201, "{begun:?}");
    let needed =
        json!({ "lesson_id": course.lessons[0], "prerequisite_lesson_id": course.lessons[1] });
    let set = course
        .admin
        .post("/rest/v1/lesson_prerequisites", &needed)
        .await?;
    assert_eq!(set.status, 201, "{set:?}");
    course.publish().await?;
    let arguments = json!({ "p_course_id": course.id, "p_policy": "move" });
    let moved = course.admin.rpc("migrate_enrollments", &arguments).await?;
    assert_eq!(moved.body["moved"], 1, "{moved:?}");
    let closed = complete(&learner, &course.lessons[0]).await?;
    assert_eq!(closed.code(), "lesson_locked");

    let path = format!(
        "/rest/v1/lesson_progress?lesson_id=eq.{}&user_id=eq.{}",
        course.lessons[0], learner.id
    );
    learner
        .patch(&path, &json!({ "progress_percentage": 100 }))
        .await?;
    let arguments = json!({ "p_course_id": course.id });
    let now = learner.rpc("get_course_progress", &arguments).await?;
    assert_eq!(now.body["completed_lessons"], 0, "{now:?}");
    Ok(())
}

/// Which of two requests at once comes first is open; that nothing is recorded after the learner has left is not.
#[tokio::test(flavor = "multi_thread")]
async fn no_progress_is_recorded_in_an_enrollment_that_was_left_meanwhile() -> Result<()> {
    let course = Course::new(7, &json!({})).await?;
    for status in ["dropped", "paused", "dropped", "paused", "dropped"] {
        let learner = member().await?;
        let enrollment = id_of(&course.enroll(&learner).await?);
        let completions = futures_util::future::join_all(
            course.lessons[..6]
                .iter()
                .map(|lesson| complete(&learner, lesson)),
        );
        let (receipts, left) = tokio::join!(completions, set_status(&learner, &enrollment, status));
        assert_eq!(left?.status, 200);
        for receipt in receipts {
            let receipt = receipt?;
            assert!(
                receipt.status == 409 || receipt.body["course_status"] == "in_progress",
                "{status}: {receipt:?}"
            );
        }
    }
    Ok(())
}

/// The record of a finished cycle is what it was finished with, also once the next one is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_finished_cycle_keeps_its_record() -> Result<()> {
    let course = Course::new(2, &json!({})).await?;
    course
        .change_lesson(1, &json!({ "requires_completion": false }))
        .await?;
    course.publish().await?;
    let learner = member().await?;
    let first = id_of(&course.enroll(&learner).await?);
    learner.upsert_progress(&course.lessons[1], 10).await?;
    let receipt = complete(&learner, &course.lessons[0]).await?;
    assert_eq!(receipt.body["course_status"], "completed", "{receipt:?}");
    id_of(&course.enroll(&learner).await?);

    let path = format!(
        "/rest/v1/lesson_progress?enrollment_id=eq.{}&order=lesson_id",
        first.as_str().unwrap_or_default()
    );
    let before = learner.get(&path).await?;
    learner
        .patch(
            &path,
            &json!({ "progress_percentage": 100, "time_spent_seconds": 99_999 }),
        )
        .await?;
    assert_eq!(before.body, learner.get(&path).await?.body);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_coming_back_uses_up_attempts() -> Result<()> {
    let course = Course::new(1, &json!({ "max_attempts": 2 })).await?;
    let learner = member().await?;
    for _ in 0..2 {
        let enrollment = id_of(&course.enroll(&learner).await?);
        assert_eq!(
            set_status(&learner, &enrollment, "dropped").await?.status,
            200
        );
    }
    let again = course.enroll(&learner).await?;
    assert_eq!(again.code(), "not_eligible", "{again:?}");
    assert!(again.body.to_string().contains("max_attempts_reached"));
    Ok(())
}

/// What staff assigned with a date is still due after the learner has left and come back.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_coming_back_does_not_lose_the_due_date() -> Result<()> {
    let course = Course::new(1, &json!({})).await?;
    let learner = member().await?;
    let assignment = json!({
        "p_course_id": course.id, "p_user_id": learner.id, "p_due_at": "2025-01-31T00:00:00Z",
    });
    let enrollment = id_of(&course.admin.rpc("enroll", &assignment).await?);
    let left = set_status(&learner, &enrollment, "dropped").await?;
    if left.status.is_client_error() {
        return Ok(());
    }
    let back = course.enroll(&learner).await?;
    assert!(
        back.status.is_client_error() || !back.body["due_at"].is_null(),
        "{back:?}"
    );
    Ok(())
}

/// The date is the fact; the status `expired` only follows it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_after_access_has_ended() -> Result<()> {
    let course = Course::new(2, &json!({})).await?;
    let learner = member().await?;
    let enrollment = id_of(&course.enroll(&learner).await?);
    let path = format!(
        "/rest/v1/enrollments?id=eq.{}",
        enrollment.as_str().unwrap_or_default()
    );
    let ended = course
        .admin
        .patch(&path, &json!({ "expires_at": "2025-01-31T00:00:00Z" }))
        .await?;
    assert!(
        ended.status.is_client_error() || ended.rows().len() == 1,
        "{ended:?}"
    );
    if ended.status.is_success() {
        let late = complete(&learner, &course.lessons[0]).await?;
        assert!(late.status.is_client_error(), "{late:?}");
    }
    Ok(())
}

/// What is gone from the catalogue takes no progress either.
#[tokio::test(flavor = "multi_thread")]
async fn inv_c3_a_removed_course_takes_no_progress() -> Result<()> {
    let course = Course::new(2, &json!({})).await?;
    let learner = member().await?;
    id_of(&course.enroll(&learner).await?);
    sandbox()
        .database()
        .await?
        .execute(
            "update lms.courses set deleted_at = now() where id = $1",
            &[&course.id.parse::<Uuid>()?],
        )
        .await?;
    let late = complete(&learner, &course.lessons[0]).await?;
    assert_eq!(
        (late.status.as_u16(), late.code()),
        (404, "lesson_not_found"),
        "{late:?}"
    );
    Ok(())
}
