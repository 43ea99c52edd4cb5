//! Many at once: what holds one at a time must hold then as well.

use std::sync::OnceLock;

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use lyceum_e2e::{
    Answer, CHECK_PATHS, CHECK_PROGRESS, CHECK_RATINGS, Options, Person, Sandbox, shared,
};
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

/// How often each race is run; `make proof` asks for more.
const RACES: usize = match option_env!("LYCEUM_RACES") {
    Some(number) => match usize::from_str_radix(number, 10) {
        Ok(number) => number,
        Err(_) => panic!("LYCEUM_RACES is a number"),
    },
    None => 100,
};

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

    /// One more course of the same tenant.
    async fn sibling(&self, slug: &str) -> Result<Uuid> {
        let course = sandbox()
            .database()
            .await?
            .query_one(
                "insert into lms.courses (tenant_id, slug, title, status, published_at, instructor_id)
                 values ($1, $2::text, 'Race', 'published', now(), $3) returning id",
                &[&self.tenant, &slug, &self.instructor.id],
            )
            .await?
            .get(0);
        Ok(course)
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
async fn inv_e4_the_last_seat_of_a_session_goes_to_exactly_one() -> Result<()> {
    let course = Course::new(1).await?;
    let database = sandbox().database().await?;
    let mut learners = Vec::new();
    for _ in 0..6 {
        let learner = course.learner().await?;
        course.enroll(&learner).await?;
        learners.push(learner);
    }
    for race in 0..RACES {
        let seats: i64 = if race % 2 == 0 { 1 } else { 3 };
        let session: Uuid = database
            .query_one(
                "insert into lms.led_sessions (course_id, title, starts_at, ends_at, seats)
                 values ($1, 'Race', now() + interval '1 day', now() + interval '2 days', $2::bigint) returning id",
                &[&course.id, &seats],
            )
            .await?
            .get(0);
        // Everybody asks twice, at the same time.
        let call = json!({ "p_session_id": session });
        let answers = try_join_all(
            learners
                .iter()
                .chain(&learners)
                .map(|learner| learner.rpc("book_session", &call)),
        )
        .await?;
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
        assert_eq!(seated(session).await?, (seats, 6 - seats), "race {race}");

        // Those who have a seat give it back while staff takes one away and the others ask again: never one too many, and
        // nobody waits for a seat that is free.
        let bookings: Vec<Uuid> = database
            .query(
                "select id from lms.session_bookings where session_id = $1 and status = 'booked' order by id limit 2",
                &[&session],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        let cancelled: Vec<Value> = bookings
            .iter()
            .map(|booking| json!({ "p_booking_id": booking }))
            .collect();
        let cancels = cancelled
            .iter()
            .map(|booking| course.instructor.rpc("cancel_booking", booking));
        let again = learners
            .iter()
            .map(|learner| learner.rpc("book_session", &call));
        let (cancels, again) = tokio::join!(try_join_all(cancels), try_join_all(again));
        for answer in cancels?.iter().chain(&again?) {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert_eq!(seated(session).await?.0, seats, "race {race}");
    }
    Ok(())
}

/// How many have a seat in a session, and how many wait for one.
async fn seated(session: Uuid) -> Result<(i64, i64)> {
    let row = sandbox()
        .database()
        .await?
        .query_one(
            "select count(*) filter (where status = 'booked'), count(*) filter (where status = 'waitlisted')
             from lms.session_bookings where session_id = $1",
            &[&session],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_e1_evidence_is_accepted_once_whoever_decides_at_the_same_time() -> Result<()> {
    let course = Course::new(1).await?;
    let database = sandbox().database().await?;
    let call_of = |evidence: Uuid, accept: bool| json!({ "p_evidence_id": evidence, "p_accept": accept, "p_reason": "Looked at", "p_end_open_cycle": true });
    for race in 0..RACES {
        let learner = course.learner().await?;
        let mut evidence = Vec::new();
        for day in ["2021-02-03", "2022-02-03"] {
            let answer = learner
                .rpc(
                    "submit_outside_training",
                    &json!({ "p_course_id": course.id, "p_provider_name": "School", "p_taken_on": day }),
                )
                .await?;
            assert_eq!(answer.status, 200, "{answer:?}");
            let id: Uuid = answer.body["id"].as_str().unwrap_or_default().parse()?;
            evidence.push(id);
        }
        // The learner enrols meanwhile; each piece is accepted twice and the first one rejected as well.
        let decisions = [
            call_of(evidence[0], true),
            call_of(evidence[1], true),
            call_of(evidence[0], true),
            call_of(evidence[1], true),
            call_of(evidence[0], false),
        ];
        let enrolling = json!({ "p_course_id": course.id });
        let (decided, enrolled) = tokio::join!(
            try_join_all(
                decisions
                    .iter()
                    .map(|decision| course.instructor.rpc("review_outside_training", decision))
            ),
            learner.rpc("enroll", &enrolling)
        );
        for answer in decided?.iter().chain([&enrolled?]) {
            assert!(matches!(answer.status.as_u16(), 200 | 409), "{answer:?}");
        }
        let row = database
            .query_one(
                "select
                   (select count(*) from lms.outside_training o where o.user_id = $1 and o.status = 'accepted'),
                   (select count(*) from lms.enrollments e where e.user_id = $1 and e.status = 'completed' and e.source = 'evidence'),
                   (select count(*) from lms.certificates c where c.user_id = $1),
                   (select count(*) from lms.enrollments e where e.user_id = $1 and e.status in ('enrolled', 'in_progress', 'paused')),
                   (select bool_and(later.completed_at > e.completed_at) from lms.enrollments e join lms.enrollments later
                    on later.user_id = e.user_id and later.cycle > e.cycle and later.completed_at is not null
                    where e.user_id = $1 and e.completed_at is not null)",
                &[&learner.id],
            )
            .await?;
        let (accepted, cycles, certificates, open): (i64, i64, i64, i64) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let in_order: Option<bool> = row.get(4);
        assert!((1..=2).contains(&accepted), "race {race}: {accepted}");
        assert_eq!((cycles, certificates), (accepted, accepted), "race {race}");
        assert!(open <= 1 && in_order != Some(false), "race {race}");
    }
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
async fn inv_p2_counters_equal_the_facts_while_people_are_moved_between_versions() -> Result<()> {
    // One more, so that nobody finishes.
    let course = Course::new(RACES + 2).await?;
    let learners = try_join_all((0..5).map(|_| course.learner())).await?;
    try_join_all(learners.iter().map(|learner| course.enroll(learner))).await?;
    let database = sandbox().database().await?;

    // Everybody completes the very lesson that stops or starts to count in the version that they are moved to at that
    // moment. Looked at after each race, because the next move would count anew and hide a slip.
    for (race, lesson) in course.lessons[..RACES].iter().enumerate() {
        database
            .execute(
                "update lms.lessons set requires_completion = not requires_completion
                 where course_id = $1 and order_index between $2::int4 and $2::int4 + 1",
                &[&course.id, &i32::try_from(race)?],
            )
            .await?;
        database
            .execute("select private.freeze_course($1)", &[&course.id])
            .await?;
        let completing = try_join_all(
            learners
                .iter()
                .map(|learner| learner.upsert_progress(lesson, 100)),
        );
        let arguments = json!({ "p_course_id": course.id, "p_policy": "move" });
        let (completed, moved) = tokio::join!(
            completing,
            course.instructor.rpc("migrate_enrollments", &arguments)
        );
        assert!(completed?.iter().all(|answer| answer.status.is_success()));
        let moved = moved?;
        assert_eq!(moved.body["moved"], 5, "{moved:?}");
        let wrong = database.query(CHECK_PROGRESS, &[]).await?;
        assert!(
            wrong.is_empty(),
            "race {race}: counters differ from their facts: {wrong:?}"
        );
    }
    Ok(())
}

/// Whoever begins while a course is published takes one version whole, and two publications at once are one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn inv_c1_publishing_and_enrolling_at_once_pin_whole_versions() -> Result<()> {
    let course = Course::new(3).await?;
    let database = sandbox().database().await?;
    let arguments = json!({ "p_course_id": course.id });
    for race in 0..RACES {
        let learner = course.learner().await?;
        database
            .execute(
                "insert into lms.lessons (module_id, title) select id, $2::text from lms.modules where course_id = $1",
                &[&course.id, &format!("Lesson of race {race}")],
            )
            .await?;
        let (first, second, enrolled) = tokio::join!(
            course.instructor.rpc("publish_course", &arguments),
            course.instructor.rpc("publish_course", &arguments),
            learner.rpc("enroll", &arguments)
        );
        for answer in [first?, second?, enrolled?] {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let versions: i64 = database
        .query_one(
            "select count(*) from lms.course_versions where course_id = $1",
            &[&course.id],
        )
        .await?
        .get(0);
    assert_eq!(
        versions,
        i64::try_from(RACES)? + 1,
        "one version for each change"
    );
    let wrong = database.query(CHECK_PROGRESS, &[]).await?;
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

/// Two devices complete the two halves of a lesson at the same moment: one of the two reports has to see both.
#[tokio::test(flavor = "multi_thread")]
async fn inv_p3_evidence_from_two_devices_at_once_adds_up() -> Result<()> {
    let course = Course::new(1).await?;
    let database = sandbox().database().await?;
    database
        .execute(
            "insert into lms.lesson_blocks (lesson_id, type, content)
             select id, 'markdown', '{\"markdown\": \"Half\"}' from lms.lessons, generate_series(1, 2) where course_id = $1",
            &[&course.id],
        )
        .await?;
    database
        .execute(
            "update lms.lessons set completion_rule = 'all_blocks' where course_id = $1",
            &[&course.id],
        )
        .await?;
    database
        .execute("select private.freeze_course($1)", &[&course.id])
        .await?;
    let blocks: Vec<String> = database
        .query(
            "select id from lms.lesson_blocks where course_id = $1",
            &[&course.id],
        )
        .await?
        .iter()
        .map(|row| row.get::<_, Uuid>(0).to_string())
        .collect();
    for race in 0..RACES {
        let learner = course.learner().await?;
        course.enroll(&learner).await?;
        let learner = &learner;
        let reports = try_join_all(blocks.iter().map(|block| async move {
            let arguments = json!({ "p_block_id": block, "p_progress_percentage": 100 });
            learner.rpc("record_block_progress", &arguments).await
        }))
        .await?;
        assert!(
            reports.iter().all(|answer| answer.status == 200),
            "{reports:?}"
        );
        let arguments = json!({ "p_course_id": course.id });
        let now = learner.rpc("get_course_progress", &arguments).await?;
        assert_eq!(now.body["status"], "completed", "race {race}: {now:?}");
    }
    Ok(())
}

/// Each prerequisite alone is harmless; two at once must not make a circle.
#[tokio::test(flavor = "multi_thread")]
async fn lessons_that_are_made_to_wait_for_each_other_at_once_make_no_circle() -> Result<()> {
    let course = Course::new(RACES * 2).await?;
    for pair in course.lessons.chunks(2) {
        let there = json!({ "lesson_id": pair[0], "prerequisite_lesson_id": pair[1] });
        let back = json!({ "lesson_id": pair[1], "prerequisite_lesson_id": pair[0] });
        let path = "/rest/v1/lesson_prerequisites";
        let (one, other) = tokio::join!(
            course.instructor.post(path, &there),
            course.instructor.post(path, &back)
        );
        let mut statuses = [one?.status.as_u16(), other?.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409]);
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

// Catalogue ===========================================================================================================

/// Learners write, change and remove reviews of one course while the service moves others between it and a second one, in
/// both directions at once, and a moderator hides and shows them.
#[tokio::test(flavor = "multi_thread")]
async fn inv_c2_averages_are_exact_under_parallel_inserts_updates_moves_and_deletes() -> Result<()>
{
    let course = Course::new(1).await?;
    let second = course.sibling("second").await?;
    let boss = course.learner().await?;
    grant(course.tenant, &boss, "tenant_admin").await?;
    let learners = try_join_all((0..8).map(|_| course.learner())).await?;
    let database = sandbox().database().await?;
    for learner in &learners {
        database
            .execute(
                "insert into lms.enrollments (course_id, user_id) select unnest($1::uuid[]), $2",
                &[&vec![course.id, second], &learner.id],
            )
            .await?;
    }
    database
        .execute(
            "update lms.enrollments set status = 'in_progress' where tenant_id = $1",
            &[&course.tenant],
        )
        .await?;
    let (writers, moved) = learners.split_at(4);
    for (number, author) in moved.iter().enumerate() {
        let of = if number % 2 == 0 { course.id } else { second };
        let answer = author
            .post(
                "/rest/v1/course_reviews",
                &json!({ "course_id": of, "rating": 3 }),
            )
            .await?;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let service = sandbox().service();
    let reviewed: Uuid = database
        .query_one(
            "select id from lms.course_reviews where user_id = $1",
            &[&moved[0].id],
        )
        .await?
        .get(0);

    for race in 0..RACES {
        let stars = json!({ "rating": race % 5 + 1 });
        let written = join_all(writers.iter().enumerate().map(|(number, writer)| {
            let own = format!("/rest/v1/course_reviews?user_id=eq.{}", writer.id);
            let new = json!({ "course_id": course.id, "rating": (race + number) % 5 + 1 });
            let stars = &stars;
            async move {
                match (race + number) % 3 {
                    0 => writer.post("/rest/v1/course_reviews", &new).await,
                    1 => writer.patch(&own, stars).await,
                    _ => writer.delete(&own).await,
                }
            }
        }));
        let changed = join_all(moved.iter().map(|author| {
            let own = format!("/rest/v1/course_reviews?user_id=eq.{}", author.id);
            let stars = &stars;
            async move { author.patch(&own, stars).await }
        }));
        let ids: Vec<String> = moved.iter().map(|author| author.id.to_string()).collect();
        let of = |course: Uuid| {
            format!(
                "/rest/v1/course_reviews?course_id=eq.{course}&user_id=in.({})",
                ids.join(",")
            )
        };
        let (there, back) = (of(course.id), of(second));
        let (to_second, to_first) = (
            json!({ "course_id": second }),
            json!({ "course_id": course.id }),
        );
        let moderation = json!({
            "p_review_id": reviewed, "p_status": if race % 2 == 0 { "hidden" } else { "visible" }, "p_reason": "Race"
        });
        let (written, changed, there, back, moderated) = tokio::join!(
            written,
            changed,
            service.patch(&there, &to_second),
            service.patch(&back, &to_first),
            boss.rpc("moderate_review", &moderation),
        );
        let answers = written
            .into_iter()
            .chain(changed)
            .chain([there, back, moderated]);
        for answer in answers.collect::<Result<Vec<_>>>()? {
            // A second review of the same course is refused; nothing else is, and nobody waits for each other for ever.
            assert!(
                answer.status.is_success() || answer.code() == "23505",
                "race {race}: {answer:?}"
            );
        }
        let wrong = database.query(CHECK_RATINGS, &[]).await?;
        assert!(
            wrong.is_empty(),
            "race {race}: ratings differ from reviews: {wrong:?}"
        );
    }
    Ok(())
}

/// One learner on a path completes two of its courses at once, another joins while completing one, and the path's author
/// makes a course required at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn path_counters_equal_the_facts_under_parallel_completions_joins_and_changes() -> Result<()>
{
    let course = Course::new(1).await?;
    let on_it = course.learner().await?;
    let joining = course.learner().await?;
    let database = sandbox().database().await?;
    let service = sandbox().service();
    for race in 0..RACES {
        // A free path of three courses of one lesson, of which the second is not required yet.
        let mut courses = Vec::new();
        for number in 0..3 {
            courses.push(course.sibling(&format!("race-{race}-{number}")).await?);
        }
        let lessons: Vec<String> = database
            .query(
                "with m as (
                   insert into lms.modules (course_id, title)
                   select c, 'Only' from unnest($1::uuid[]) c returning id, course_id
                 ), l as (
                   insert into lms.lessons (module_id, title) select id, 'Only' from m returning id, module_id
                 )
                 select l.id from l join m on m.id = l.module_id order by array_position($1::uuid[], m.course_id)",
                &[&courses],
            )
            .await?
            .iter()
            .map(|row| row.get::<_, Uuid>(0).to_string())
            .collect();
        let path: Uuid = database
            .query_one(
                "insert into lms.learning_paths (tenant_id, slug, title, is_ordered, status, published_at)
                 values ($1, $2::text, 'Race', false, 'published', now()) returning id",
                &[&course.tenant, &format!("race-{race}")],
            )
            .await?
            .get(0);
        database
            .execute(
                "insert into lms.learning_path_courses (path_id, course_id, is_required)
                 select $1, c, c <> $2 from unnest($3::uuid[]) c",
                &[&path, &courses[1], &courses],
            )
            .await?;
        let join = json!({ "p_path_id": path });
        let answer = on_it.rpc("enroll_in_path", &join).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        database
            .execute(
                "insert into lms.enrollments (course_id, user_id)
                 select c, u from unnest($1::uuid[]) c, unnest($2::uuid[]) u
                 where not exists (select from lms.enrollments e where e.course_id = c and e.user_id = u)",
                &[&courses, &vec![on_it.id, joining.id]],
            )
            .await?;

        let required = json!({ "is_required": true });
        let change = format!(
            "/rest/v1/learning_path_courses?path_id=eq.{path}&course_id=eq.{}",
            courses[1]
        );
        let (first, second, third, joined, changed) = tokio::join!(
            on_it.upsert_progress(&lessons[0], 100),
            on_it.upsert_progress(&lessons[1], 100),
            joining.upsert_progress(&lessons[race % 2], 100),
            joining.rpc("enroll_in_path", &join),
            service.patch(&change, &required),
        );
        for answer in [first?, second?, third?, joined?, changed?] {
            assert!(answer.status.is_success(), "race {race}: {answer:?}");
        }
        let wrong = database.query(CHECK_PATHS, &[]).await?;
        assert!(
            wrong.is_empty(),
            "race {race}: counters differ from their facts: {wrong:?}"
        );
        // The last one, and the path is completed, once.
        let answer = on_it.upsert_progress(&lessons[2], 100).await?;
        assert!(answer.status.is_success(), "race {race}: {answer:?}");
        let status: String = database
            .query_one(
                "select string_agg(e.status, ',') from lms.path_enrollments e where e.path_id = $1 and e.user_id = $2",
                &[&path, &on_it.id],
            )
            .await?
            .get(0);
        assert_eq!(status, "completed", "race {race}");
    }
    Ok(())
}

/// Begun many times at once, a path is begun once, also by a stranger who becomes a guest by it.
#[tokio::test(flavor = "multi_thread")]
async fn one_path_enrollment_comes_of_many_requests() -> Result<()> {
    let course = Course::new(1).await?;
    let database = sandbox().database().await?;
    let path: Uuid = database
        .query_one(
            "with p as (
               insert into lms.learning_paths (tenant_id, slug, title, visibility, status, published_at)
               values ($1, 'open', 'Open', 'public', 'published', now()) returning id
             )
             insert into lms.learning_path_courses (path_id, course_id) select p.id, $2 from p returning path_id",
            &[&course.tenant, &course.id],
        )
        .await?
        .get(0);
    database
        .execute(
            "update lms.courses set visibility = 'public' where id = $1",
            &[&course.id],
        )
        .await?;
    let join = json!({ "p_path_id": path });
    for race in 0..10 {
        let stranger = sandbox()
            .new_person(&format!("{}@races.example", Uuid::new_v4().simple()))
            .await?;
        let answers = try_join_all((0..8).map(|_| stranger.rpc("enroll_in_path", &join))).await?;
        for answer in &answers {
            assert_eq!(answer.status, 200, "race {race}: {answer:?}");
        }
        let counts = database
            .query_one(
                "select
                   (select count(*) from lms.path_enrollments e where e.user_id = $1),
                   (select count(*) from lms.enrollments e where e.user_id = $1)",
                &[&stranger.id],
            )
            .await?;
        assert_eq!(
            (counts.get::<_, i64>(0), counts.get::<_, i64>(1)),
            (1, 1),
            "race {race}"
        );
    }
    Ok(())
}

/// Each move alone is harmless; two at once must not make a circle.
#[tokio::test(flavor = "multi_thread")]
async fn categories_moved_below_each_other_at_once_make_no_cycle() -> Result<()> {
    let course = Course::new(1).await?;
    let boss = course.learner().await?;
    grant(course.tenant, &boss, "tenant_admin").await?;
    let mut ids = Vec::new();
    for slug in ["first", "second"] {
        let category = json!({ "tenant_id": course.tenant, "slug": slug, "name": slug });
        let answer = boss.post("/rest/v1/categories", &category).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        ids.push(answer.body[0]["id"].as_str().unwrap_or_default().to_owned());
    }
    let path = |id: &str| format!("/rest/v1/categories?id=eq.{id}");
    let (first, second) = (path(&ids[0]), path(&ids[1]));
    let (below_first, below_second) = (
        json!({ "parent_id": ids[0] }),
        json!({ "parent_id": ids[1] }),
    );
    for race in 0..RACES {
        let (there, back) = tokio::join!(
            boss.patch(&first, &below_second),
            boss.patch(&second, &below_first)
        );
        let answers = [there?, back?];
        let moved = answers
            .iter()
            .filter(|answer| answer.status.is_success())
            .count();
        assert_eq!(moved, 1, "race {race}: {answers:?}");
        assert!(
            answers
                .iter()
                .any(|answer| answer.code() == "category_below_itself"),
            "race {race}: {answers:?}"
        );
        for path in [&first, &second] {
            let top = boss.patch(path, &json!({ "parent_id": null })).await?;
            assert_eq!(top.rows().len(), 1, "race {race}: {top:?}");
        }
    }
    Ok(())
}

/// A course is tagged, untagged, renamed, hidden and published at once, its lesson is taken off and put back, its tag renamed:
/// what is searched is what the data says, and nobody waits for each other for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_searched_equals_the_data_whatever_happens_at_once() -> Result<()> {
    let course = Course::new(2).await?;
    let boss = course.learner().await?;
    grant(course.tenant, &boss, "tenant_admin").await?;
    let database = sandbox().database().await?;
    let mut tags = Vec::new();
    for slug in ["first", "second", "third"] {
        let tag = json!({ "tenant_id": course.tenant, "slug": slug, "name": slug });
        let answer = boss.post("/rest/v1/tags", &tag).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        tags.push(answer.body[0]["id"].as_str().unwrap_or_default().to_owned());
    }
    let own = format!("/rest/v1/courses?id=eq.{}", course.id);
    let lesson = format!("/rest/v1/lessons?id=eq.{}", course.lessons[1]);
    let renamed = format!("/rest/v1/tags?id=eq.{}", tags[0]);
    for race in 0..RACES {
        let tagged = join_all(tags.iter().enumerate().map(|(number, tag)| {
            let boss = &boss;
            let mark = json!({ "course_id": course.id, "tag_id": tag });
            let marked = format!(
                "/rest/v1/course_tags?course_id=eq.{}&tag_id=eq.{tag}",
                course.id
            );
            async move {
                if (race + number) % 2 == 0 {
                    boss.post("/rest/v1/course_tags", &mark).await
                } else {
                    boss.delete(&marked).await
                }
            }
        }));
        let (name, title) = (
            json!({ "name": format!("tag {race}") }),
            json!({ "title": format!("Race {race}"), "visibility": (["public", "private"])[race % 2] }),
        );
        let listed = json!({ "is_published": race % 2 == 0, "title": format!("Lesson {race}") });
        let published = json!({ "p_course_id": course.id });
        let (tagged, named, titled, listed, published) = tokio::join!(
            tagged,
            boss.patch(&renamed, &name),
            boss.patch(&own, &title),
            boss.patch(&lesson, &listed),
            boss.rpc("publish_course", &published),
        );
        let answers = tagged.into_iter().chain([named, titled, listed, published]);
        for answer in answers.collect::<Result<Vec<_>>>()? {
            assert!(
                answer.status.is_success() || answer.code() == "23505",
                "race {race}: {answer:?}"
            );
        }
        let wrong: i32 = database
            .query_one("select private.index_course($1)", &[&course.id])
            .await?
            .get(0);
        assert_eq!(wrong, 0, "race {race}: documents differ from the data");
    }
    Ok(())
}

// Rights ==============================================================================================================

/// Administrators of a new tenant, and what they do to each other.
struct Board {
    course: Course,
    members: Vec<(Person, Uuid)>,
    database: tokio_postgres::Client,
}

impl Board {
    /// `roles`: one person per role, all for the whole tenant.
    async fn new(roles: &[&str]) -> Result<Self> {
        let course = Course::new(1).await?;
        let database = sandbox().database().await?;
        // A second way to be powerful: a role of the tenant's own.
        database
            .batch_execute(&format!(
                "with r as (
                   insert into lms.roles (tenant_id, key, name) values ('{0}', 'chief', 'Chief') returning tenant_id, id
                 )
                 insert into lms.role_permissions (tenant_id, role_id, permission)
                 select r.tenant_id, r.id, p from r, unnest(array['members.read', 'members.write', 'roles.write']) p;",
                course.tenant
            ))
            .await?;
        let mut members = Vec::new();
        for role in roles {
            let person = sandbox()
                .new_person(&format!("{}@races.example", Uuid::new_v4().simple()))
                .await?;
            join_tenant(course.tenant, &person, Some(role)).await?;
            let membership = membership_of(course.tenant, &person).await?;
            members.push((person, membership));
        }
        Ok(Self {
            course,
            members,
            database,
        })
    }

    fn person(&self, number: usize) -> &Person {
        &self.members[number].0
    }

    fn membership(&self, number: usize) -> Uuid {
        self.members[number].1
    }

    async fn role(&self, key: &str) -> Result<Uuid> {
        Ok(self
            .database
            .query_one(
                "select id from lms.roles where tenant_id = $1 and key = $2",
                &[&self.course.tenant, &key],
            )
            .await?
            .get(0))
    }

    /// Everybody as at the beginning.
    async fn restore(&self, roles: &[&str]) -> Result<()> {
        let database = &self.database;
        for ((person, membership), role) in self.members.iter().zip(roles) {
            database
                .execute(
                    "insert into lms.memberships (id, tenant_id, user_id) values ($1, $2, $3)
                     on conflict (id) do update set status = 'active'",
                    &[membership, &self.course.tenant, &person.id],
                )
                .await?;
            database
                .execute(
                    "insert into lms.role_grants (tenant_id, membership_id, role_id)
                     select tenant_id, $2, id from lms.roles where tenant_id = $1 and key = $3 on conflict do nothing",
                    &[&self.course.tenant, membership, role],
                )
                .await?;
        }
        Ok(())
    }

    /// Which of the members are active and hold the role in the whole tenant.
    async fn in_office(&self, role: &str) -> Result<Vec<usize>> {
        let rows = self.database.query("select m.id from lms.memberships m
                 join lms.role_grants g on g.membership_id = m.id
                 join lms.roles r on r.id = g.role_id
                 where m.tenant_id = $1 and m.status = 'active' and r.key = $2 and g.unit_id is null",
                &[&self.course.tenant, &role],
            )
            .await?;
        Ok(rows
            .iter()
            .filter_map(|row| {
                let id: Uuid = row.get(0);
                self.members.iter().position(|(_, member)| *member == id)
            })
            .collect())
    }

    /// Takes the office from `whom`, by the route of that number.
    async fn remove(&self, route: usize, by: &Person, whom: usize) -> Result<Answer> {
        let membership = self.membership(whom);
        let path = format!("/rest/v1/memberships?id=eq.{membership}");
        let grants = format!("/rest/v1/role_grants?membership_id=eq.{membership}");
        match route % 6 {
            0 => by.patch(&path, &json!({ "status": "suspended" })).await,
            1 => by.patch(&path, &json!({ "status": "ended" })).await,
            2 => by.delete(&grants).await,
            3 => {
                let learner = self.role("learner").await?;
                by.patch(&grants, &json!({ "role_id": learner })).await
            }
            4 => by.delete(&path).await,
            _ => {
                let whom = self.person(whom);
                whom.rpc(
                    "leave_tenant",
                    &json!({ "p_tenant_id": self.course.tenant }),
                )
                .await
            }
        }
    }
}

async fn membership_of(tenant: Uuid, person: &Person) -> Result<Uuid> {
    Ok(sandbox()
        .database()
        .await?
        .query_one(
            "select id from lms.memberships where tenant_id = $1 and user_id = $2",
            &[&tenant, &person.id],
        )
        .await?
        .get(0))
}

/// Did it do something? An empty list is a refusal as well.
fn happened(answer: &Answer) -> bool {
    answer.status.is_success() && answer.body.as_array().is_none_or(|rows| !rows.is_empty())
}

/// Being second is a reason to be refused, never one for the server to fail or to give up on a lock.
fn refused_properly(answer: &Answer) {
    assert!(
        !answer.status.is_server_error() && answer.code() != "40P01" && answer.code() != "55P03",
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_t3_the_last_administrator_stays_by_whichever_two_routes_at_once() -> Result<()> {
    const ROLES: [&str; 2] = ["tenant_admin", "tenant_admin"];
    let board = Board::new(&ROLES).await?;
    let service = sandbox().service();
    for race in 0..RACES {
        // Every pair of routes, by each other, by themselves, and by the service, which waits in no queue.
        let (first, second) = (race % 6, race / 6 % 6);
        let (one, two) = if race % 3 == 0 {
            tokio::join!(
                board.remove(first % 5, &service, 0),
                board.remove(second, board.person(1), 1)
            )
        } else {
            tokio::join!(
                board.remove(first, board.person(1), 0),
                board.remove(second, board.person(0), 1)
            )
        };
        let (one, two) = (one?, two?);
        refused_properly(&one);
        refused_properly(&two);
        assert_eq!(
            board.in_office("tenant_admin").await?.len(),
            1,
            "race {race}: {one:?} {two:?}"
        );
        assert!(
            happened(&one) != happened(&two),
            "race {race}: {one:?} {two:?}"
        );
        board.restore(&ROLES).await?;
    }
    Ok(())
}

/// Logins are deleted by operators, who ask nobody of the tenant: the last one in office that somebody can sign in as stays.
#[tokio::test(flavor = "multi_thread")]
async fn inv_t3_the_last_administrators_login_stays() -> Result<()> {
    let service = sandbox().service();
    for race in 0..6 {
        let board = Board::new(&["tenant_admin", "tenant_admin"]).await?;
        let (first, second) = (board.person(0).id, board.person(1).id);
        let delete = |id: Uuid| {
            let (service, soft) = (&service, json!({ "should_soft_delete": race % 2 == 1 }));
            async move {
                let path = format!("/auth/v1/admin/users/{id}");
                service
                    .call(reqwest::Method::DELETE, &path, &[], Some(&soft))
                    .await
            }
        };
        let (one, two) = if race < 3 {
            tokio::join!(delete(first), delete(second))
        } else {
            tokio::join!(delete(first), board.remove(race, &service, 1))
        };
        let (one, two) = (one?, two?);
        let left: i64 = board
            .database
            .query_one(
                "select count(*) from lms.memberships m
                 join lms.role_grants g on g.membership_id = m.id and g.unit_id is null
                 join lms.roles r on r.id = g.role_id and r.key = 'tenant_admin'
                 join auth.users u on u.id = m.user_id and u.deleted_at is null
                 where m.tenant_id = $1 and m.status = 'active'",
                &[&board.course.tenant],
            )
            .await?
            .get(0);
        assert_eq!(left, 1, "race {race}: {one:?} {two:?}");
        assert!(
            happened(&one) != happened(&two),
            "race {race}: {one:?} {two:?}"
        );
    }
    Ok(())
}

/// A third administrator is there, so that it is not the last one's protection which decides.
#[tokio::test(flavor = "multi_thread")]
async fn inv_t3_of_two_who_take_each_others_rights_exactly_one_succeeds() -> Result<()> {
    for role in ["tenant_admin", "chief"] {
        let roles = [role, role, "tenant_admin"];
        let board = Board::new(&roles).await?;
        for race in 0..RACES {
            let (first, second) = (race % 5, race / 5 % 5);
            let (one, two) = tokio::join!(
                board.remove(first, board.person(1), 0),
                board.remove(second, board.person(0), 1)
            );
            let (one, two) = (one?, two?);
            refused_properly(&one);
            refused_properly(&two);
            let mut left = board.in_office(role).await?;
            left.retain(|member| *member != 2);
            assert_eq!(left.len(), 1, "race {race} of {role}: {one:?} {two:?}");
            assert!(
                happened(&one) != happened(&two),
                "race {race}: {one:?} {two:?}"
            );
            board.restore(&roles).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_is_left_on_a_membership_that_ends_while_it_is_given() -> Result<()> {
    let roles = ["tenant_admin", "hr_admin", "learner"];
    let board = Board::new(&roles).await?;
    let database = &board.database;
    let (boss, hr, leaving) = (board.person(0), board.person(1), board.person(2));
    let path = format!("/rest/v1/memberships?id=eq.{}", board.membership(2));
    let instructor = board.role("instructor").await?;
    let grant = json!({
        "tenant_id": board.course.tenant, "membership_id": board.membership(2), "role_id": instructor,
    });
    let (ended, tenant) = (
        json!({ "status": "ended" }),
        json!({ "p_tenant_id": board.course.tenant }),
    );
    for race in 0..RACES {
        let ending = async {
            if race % 2 == 0 {
                hr.patch(&path, &ended).await
            } else {
                // Nobody who leaves waits in the queue of those who change rights.
                leaving.rpc("leave_tenant", &tenant).await
            }
        };
        let (given, end) = tokio::join!(boss.post("/rest/v1/role_grants", &grant), ending);
        let (given, end) = (given?, end?);
        refused_properly(&given);
        assert!(happened(&end), "race {race}: {end:?}");
        assert!(
            given.status == 201 || given.code() == "membership_ended",
            "race {race}: {given:?}"
        );
        let left: i64 = database
            .query_one(
                "select count(*) from lms.role_grants where membership_id = $1",
                &[&board.membership(2)],
            )
            .await?
            .get(0);
        assert_eq!(left, 0, "race {race}: {given:?} {end:?}");
        board.restore(&roles).await?;
    }
    Ok(())
}

/// A transaction of somebody, as PostgREST begins one, that ends when the test says so.
struct Slow {
    database: tokio_postgres::Client,
}

impl Slow {
    async fn begin(person: &Person) -> Result<Self> {
        let database = sandbox().database().await?;
        database
            .batch_execute(&format!(
                "begin; set local role authenticated;
                 select set_config('request.jwt.claims', '{}', true);",
                json!({ "sub": person.id, "role": "authenticated" })
            ))
            .await?;
        Ok(Self { database })
    }

    async fn run(&self, statement: &str) -> Result<()> {
        Ok(self.database.batch_execute(statement).await?)
    }

    async fn commit(self) -> Result<()> {
        self.run("commit").await
    }
}

/// Begins a request while the transaction is open, lets it wait, commits, and says what became of the request.
async fn while_open<F>(slow: Slow, request: F) -> Result<Answer>
where
    F: Future<Output = Result<Answer>> + Send + 'static,
{
    let observer = sandbox().database().await?;
    let slow_one: i32 = slow
        .database
        .query_one("select pg_backend_pid()", &[])
        .await?
        .get(0);
    let waiting = tokio::spawn(request);
    let begun = std::time::Instant::now();
    loop {
        let waits: bool = observer
            .query_one(
                "select exists (select from pg_locks l where not l.granted and $1 = any (pg_blocking_pids(l.pid)))",
                &[&slow_one],
            )
            .await?
            .get(0);
        if waits {
            break;
        }
        assert!(
            !waiting.is_finished(),
            "the request was to wait: {:?}",
            waiting.await?
        );
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(60),
            "the request neither waits nor ends"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    slow.commit().await?;
    waiting.await?
}

/// The one who uses a right waits for the one who takes it away, and then does not have it any more.
#[tokio::test(flavor = "multi_thread")]
async fn inv_t3_a_right_that_is_taken_away_meanwhile_is_not_used() -> Result<()> {
    let roles = ["tenant_admin", "chief", "learner", "learner"];
    let board = Board::new(&roles).await?;
    let tenant = board.course.tenant;
    let (chief, learner) = (board.role("chief").await?, board.role("learner").await?);
    let database = sandbox().database().await?;
    let spare: Uuid = database
        .query_one(
            "insert into lms.roles (tenant_id, key, name) values ($1, 'spare', 'Spare') returning id",
            &[&tenant],
        )
        .await?
        .get(0);
    database
        .batch_execute(&format!(
            "insert into lms.role_permissions (tenant_id, role_id, permission)
             values ('{tenant}', '{spare}', 'members.read');
             insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id)
             values ('{tenant}', '{spare}', '{learner}')"
        ))
        .await?;
    let grant =
        json!({ "tenant_id": tenant, "membership_id": board.membership(2), "role_id": chief });
    let fill = json!({ "tenant_id": tenant, "role_id": spare, "permission": "members.write" });
    let list = json!({ "tenant_id": tenant, "role_id": spare, "assignable_role_id": spare });
    let define = json!({ "tenant_id": tenant, "key": "late", "name": "Late" });
    let member = format!("/rest/v1/memberships?id=eq.{}", board.membership(2));
    let uses: [(&str, String, Option<Value>); 10] = [
        ("POST", "/rest/v1/role_grants".to_owned(), Some(grant)),
        (
            "PATCH",
            format!(
                "/rest/v1/role_grants?membership_id=eq.{}",
                board.membership(3)
            ),
            Some(json!({ "role_id": spare })),
        ),
        (
            "DELETE",
            format!(
                "/rest/v1/role_grants?membership_id=eq.{}",
                board.membership(3)
            ),
            None,
        ),
        ("POST", "/rest/v1/role_permissions".to_owned(), Some(fill)),
        (
            "DELETE",
            format!("/rest/v1/role_permissions?role_id=eq.{spare}"),
            None,
        ),
        ("POST", "/rest/v1/assignable_roles".to_owned(), Some(list)),
        (
            "DELETE",
            format!("/rest/v1/assignable_roles?role_id=eq.{spare}"),
            None,
        ),
        ("POST", "/rest/v1/roles".to_owned(), Some(define)),
        (
            "PATCH",
            member.clone(),
            Some(json!({ "status": "suspended" })),
        ),
        ("DELETE", member, None),
    ];
    let takings = [
        format!(
            "delete from lms.role_grants where membership_id = '{}'",
            board.membership(1)
        ),
        format!(
            "update lms.memberships set status = 'suspended' where id = '{}'",
            board.membership(1)
        ),
    ];
    for taking in &takings {
        for (method, path, body) in &uses {
            let slow = Slow::begin(board.person(0)).await?;
            slow.run(taking).await?;
            let user = board.person(1).clone();
            let (method, path, body) = (
                method.parse::<reqwest::Method>()?,
                path.clone(),
                body.clone(),
            );
            let what = format!("{method} {path} during: {taking}");
            let answer = while_open(slow, async move {
                let headers = [
                    ("content-profile", "lms"),
                    ("prefer", "return=representation"),
                ];
                user.call(method, &path, &headers, body.as_ref()).await
            })
            .await?;
            assert_eq!(answer.status, 403, "{what}: {answer:?}");
            board.restore(&roles).await?;
        }
    }

    // What the role itself loses while it is used is lost as well.
    let slow = Slow::begin(board.person(0)).await?;
    slow.run(&format!(
        "delete from lms.role_permissions where role_id = '{chief}' and permission = 'roles.write'"
    ))
    .await?;
    let user = board.person(1).clone();
    let answer = while_open(slow, async move {
        let path = format!("/rest/v1/role_permissions?role_id=eq.{spare}");
        user.delete(&path).await
    })
    .await?;
    assert_eq!(answer.status, 403, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_given_while_the_giver_loses_theirs_without_locking_up() -> Result<()> {
    let roles = ["tenant_admin", "chief", "learner"];
    let board = Board::new(&roles).await?;
    let learner = board.role("learner").await?;
    let grants = format!(
        "/rest/v1/role_grants?membership_id=eq.{}",
        board.membership(1)
    );
    let database = sandbox().database().await?;
    database
        .execute(
            "delete from lms.role_grants where membership_id = $1",
            &[&board.membership(2)],
        )
        .await?;
    let grant = json!({ "tenant_id": board.course.tenant, "membership_id": board.membership(2), "role_id": learner });
    let roles = ["tenant_admin", "chief"];
    let mut given = 0;
    for _ in 0..RACES {
        let (gift, loss) = tokio::join!(
            board.person(1).post("/rest/v1/role_grants", &grant),
            board.person(0).delete(&grants)
        );
        let (gift, loss) = (gift?, loss?);
        refused_properly(&gift);
        assert!(happened(&loss), "{loss:?}");
        assert!(gift.status == 201 || gift.status == 403, "{gift:?}");
        given += i32::from(gift.status == 201);
        database
            .execute(
                "delete from lms.role_grants where membership_id = $1",
                &[&board.membership(2)],
            )
            .await?;
        board.restore(&roles).await?;
    }
    assert!(given > 0, "the giver was never first: nothing was raced");
    Ok(())
}

// Invitations =========================================================================================================

struct Invited {
    board: Board,
    person: Person,
    address: String,
}

impl Invited {
    async fn new() -> Result<Self> {
        let board = Board::new(&["tenant_admin"]).await?;
        let address = format!("{}@races.example", Uuid::new_v4().simple());
        let person = sandbox().new_person(&address).await?;
        Ok(Self {
            board,
            person,
            address,
        })
    }

    async fn invite(&self, role: &str) -> Result<Answer> {
        let arguments = json!({ "p_tenant_id": self.board.course.tenant, "p_email": self.address, "p_role": role });
        self.board.person(0).rpc("invite", &arguments).await
    }

    async fn accept(&self, token: &Value) -> Result<Answer> {
        self.person
            .rpc("accept_invitation", &json!({ "p_token": token }))
            .await
    }

    /// Roles that the person holds by now.
    async fn roles(&self) -> Result<Vec<String>> {
        let rows = self.board.database.query("select r.key from lms.memberships m
                 join lms.role_grants g on g.membership_id = m.id
                 join lms.roles r on r.id = g.role_id where m.tenant_id = $1 and m.user_id = $2 order by 1",
                &[&self.board.course.tenant, &self.person.id],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn forget(&self) -> Result<()> {
        self.board
            .database
            .batch_execute(&format!(
                "delete from lms.memberships where tenant_id = '{0}' and user_id = '{1}';
                 delete from lms.invitations where tenant_id = '{0}'",
                self.board.course.tenant, self.person.id
            ))
            .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_accepted_many_times_at_once_is_one_membership() -> Result<()> {
    let invited = Invited::new().await?;
    for race in 0..RACES {
        let token = invited.invite("learner").await?.body["token"].clone();
        let answers = try_join_all((0..4).map(|_| invited.accept(&token))).await?;
        for answer in &answers {
            assert_eq!(answer.status, 200, "race {race}: {answer:?}");
            assert_eq!(answer.body["id"], answers[0].body["id"]);
        }
        assert_eq!(invited.roles().await?, ["learner"], "race {race}");
        invited.forget().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_accepted_or_revoked_and_never_both() -> Result<()> {
    let invited = Invited::new().await?;
    let mut accepted = 0;
    for race in 0..RACES {
        let invitation = invited.invite("learner").await?.body;
        let revocation = json!({ "p_invitation_id": invitation["invitation_id"] });
        let (accept, revoke) = tokio::join!(
            invited.accept(&invitation["token"]),
            invited
                .board
                .person(0)
                .rpc("revoke_invitation", &revocation)
        );
        let (accept, revoke) = (accept?, revoke?);
        let outcome = (accept.status.as_u16(), revoke.status.as_u16());
        assert!(
            outcome == (200, 409) || outcome == (404, 200),
            "race {race}: {accept:?} {revoke:?}"
        );
        assert_eq!(
            invited.roles().await?.len(),
            usize::from(accept.status == 200)
        );
        accepted += i32::from(accept.status == 200);
        invited.forget().await?;
    }
    assert!(accepted > 0, "accepting was never first: nothing was raced");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_renewed_while_it_is_accepted_says_one_thing() -> Result<()> {
    let invited = Invited::new().await?;
    for race in 0..RACES {
        let token = invited.invite("learner").await?.body["token"].clone();
        let (accept, renewal) = tokio::join!(invited.accept(&token), invited.invite("auditor"));
        let (accept, renewal) = (accept?, renewal?);
        refused_properly(&renewal);
        // The old link gives what it was sent for, or nothing.
        let expected: &[&str] = match accept.status.as_u16() {
            200 => &["learner"],
            404 => &[],
            _ => panic!("race {race}: {accept:?} {renewal:?}"),
        };
        assert_eq!(
            invited.roles().await?,
            expected,
            "race {race}: {accept:?} {renewal:?}"
        );
        invited.forget().await?;
    }

    // And with the renewal certainly first.
    let token = invited.invite("learner").await?.body["token"].clone();
    let slow = Slow::begin(invited.board.person(0)).await?;
    slow.run(&format!(
        "select lms.invite('{}', '{}', 'auditor')",
        invited.board.course.tenant, invited.address
    ))
    .await?;
    let person = invited.person.clone();
    let accept = while_open(slow, async move {
        person
            .rpc("accept_invitation", &json!({ "p_token": token }))
            .await
    })
    .await?;
    assert_eq!(accept.code(), "invitation_not_found", "{accept:?}");
    assert!(invited.roles().await?.is_empty());
    Ok(())
}

// Suspension ==========================================================================================================

/// What begins after a suspension was answered comes to nothing, whatever was under way (INV-T4).
#[tokio::test(flavor = "multi_thread")]
async fn inv_t4_nothing_is_written_after_a_suspension() -> Result<()> {
    let roles = ["tenant_admin", "hr_admin", "learner"];
    let board = Board::new(&roles).await?;
    let learner = board.person(2);
    board.course.enroll(learner).await?;
    let lesson = &board.course.lessons[0];
    let path = |number| format!("/rest/v1/memberships?id=eq.{}", board.membership(number));
    let (of_hr, of_learner) = (path(1), path(2));
    let suspended = json!({ "status": "suspended" });
    for race in 0..RACES {
        let title = json!({ "job_title": format!("During race {race}") });
        let percentage = u32::try_from(race % 100)?;
        let (one, two, three, four) = tokio::join!(
            board.person(0).patch(&of_hr, &suspended),
            board.person(1).patch(&of_learner, &title),
            board.person(0).patch(&of_learner, &suspended),
            learner.upsert_progress(lesson, percentage)
        );
        for answer in [&one?, &three?] {
            assert!(happened(answer), "race {race}: {answer:?}");
        }
        refused_properly(&two?);
        refused_properly(&four?);

        let late = json!({ "job_title": "Too late" });
        let (by_hr, by_learner) = tokio::join!(
            board.person(1).patch(&of_learner, &late),
            learner.upsert_progress(lesson, 100)
        );
        let (by_hr, by_learner) = (by_hr?, by_learner?);
        assert!(!happened(&by_hr), "race {race}: {by_hr:?}");
        assert!(
            by_learner.status.is_client_error(),
            "race {race}: {by_learner:?}"
        );
        board.restore(&roles).await?;
    }
    Ok(())
}

/// Somebody who is suspended while they accept an invitation stays suspended.
#[tokio::test(flavor = "multi_thread")]
async fn inv_t4_an_invitation_does_not_undo_a_suspension_under_way() -> Result<()> {
    let invited = Invited::new().await?;
    // Invited before they became a member by another way.
    let token = invited.invite("auditor").await?.body["token"].clone();
    let tenant = invited.board.course.tenant;
    join_tenant(tenant, &invited.person, Some("learner")).await?;
    let membership = membership_of(tenant, &invited.person).await?;

    let slow = Slow::begin(invited.board.person(0)).await?;
    slow.run(&format!(
        "update lms.memberships set status = 'suspended' where id = '{membership}'"
    ))
    .await?;
    let person = invited.person.clone();
    let accept = while_open(slow, async move {
        person
            .rpc("accept_invitation", &json!({ "p_token": token }))
            .await
    })
    .await?;
    assert_eq!(accept.code(), "membership_suspended", "{accept:?}");
    assert_eq!(invited.roles().await?, ["learner"]);
    Ok(())
}

/// A unit that somebody is joining at this moment is in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_not_deleted_while_somebody_joins_it() -> Result<()> {
    let board = Board::new(&["tenant_admin", "hr_admin", "learner"]).await?;
    let unit: Uuid = board
        .database
        .query_one(
            "insert into lms.org_units (tenant_id, name) values ($1, 'Short lived') returning id",
            &[&board.course.tenant],
        )
        .await?
        .get(0);
    let slow = Slow::begin(board.person(1)).await?;
    slow.run(&format!(
        "update lms.memberships set unit_id = '{unit}' where id = '{}'",
        board.membership(2)
    ))
    .await?;
    let boss = board.person(0).clone();
    let answer = while_open(slow, async move {
        boss.delete(&format!("/rest/v1/org_units?id=eq.{unit}"))
            .await
    })
    .await?;
    assert_eq!(answer.code(), "unit_in_use", "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_harmless_prerequisites_do_not_close_a_circle() -> Result<()> {
    let course = Course::new(1).await?;
    let (first, second) = (
        course.sibling("first").await?,
        course.sibling("second").await?,
    );
    let database = sandbox().database().await?;
    // From `first` to `second` by way of the third, so that neither row names both ends.
    database
        .execute(
            "insert into lms.course_prerequisites (course_id, prerequisite_course_id) values ($1, $2)",
            &[&second, &course.id],
        )
        .await?;
    let path = "/rest/v1/course_prerequisites";
    for race in 0..RACES {
        let closing = [(first, second), (course.id, first)].map(|(course, prerequisite)| {
            json!({ "course_id": course, "prerequisite_course_id": prerequisite })
        });
        let answers =
            try_join_all(closing.iter().map(|row| course.instructor.post(path, row))).await?;
        let mut outcomes: Vec<_> = answers
            .iter()
            .map(|answer| (answer.status.as_u16(), answer.code().to_owned()))
            .collect();
        outcomes.sort();
        assert_eq!(
            outcomes,
            [
                (201, String::new()),
                (409, "prerequisite_circle".to_owned())
            ],
            "race {race}"
        );
        database
            .execute(
                "delete from lms.course_prerequisites where course_id <> $1",
                &[&second],
            )
            .await?;
    }
    Ok(())
}

/// A course with one seat, somebody in it, and two who wait.
struct Queue {
    course: Course,
    holder: Person,
    first: Person,
    second: Person,
    newcomers: Vec<Person>,
}

impl Queue {
    async fn new() -> Result<Self> {
        let course = Course::new(1).await?;
        let (holder, first, second) = (
            course.learner().await?,
            course.learner().await?,
            course.learner().await?,
        );
        let newcomers = try_join_all((0..5).map(|_| course.learner())).await?;
        Ok(Self {
            course,
            holder,
            first,
            second,
            newcomers,
        })
    }

    /// Back to the beginning. The holder's enrolment.
    async fn form(&self) -> Result<Value> {
        let database = sandbox().database().await?;
        for statement in [
            "delete from lms.enrollment_requests where course_id = $1",
            "delete from lms.enrollments where course_id = $1",
            "update lms.courses set capacity = 1 where id = $1",
        ] {
            database.execute(statement, &[&self.course.id]).await?;
        }
        let held = self.course.enroll(&self.holder).await?;
        for person in [&self.first, &self.second] {
            let answer = self.ask(person).await?;
            assert_eq!(answer.body["status"], "waiting", "{answer:?}");
        }
        Ok(held["id"].clone())
    }

    async fn ask(&self, person: &Person) -> Result<Answer> {
        let arguments = json!({ "p_course_id": self.course.id });
        person.rpc("request_enrollment", &arguments).await
    }

    async fn enroll_newcomers(&self) -> Result<Vec<Answer>> {
        let arguments = json!({ "p_course_id": self.course.id });
        try_join_all(
            self.newcomers
                .iter()
                .map(|person| person.rpc("enroll", &arguments)),
        )
        .await
    }

    /// Who is in, and what became of the two who waited.
    async fn outcome(&self) -> Result<(Vec<Uuid>, String, String)> {
        let database = sandbox().database().await?;
        let inside = database
            .query(
                "select user_id from lms.enrollments where course_id = $1 and status <> 'dropped' order by enrolled_at",
                &[&self.course.id],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        let mut statuses = Vec::new();
        for person in [&self.first, &self.second] {
            statuses.push(
                database
                    .query_one(
                        "select status from lms.enrollment_requests where course_id = $1 and user_id = $2
                         order by requested_at desc limit 1",
                        &[&self.course.id, &person.id],
                    )
                    .await?
                    .get::<_, String>(0),
            );
        }
        let second = statuses.pop().unwrap_or_default();
        Ok((inside, statuses.pop().unwrap_or_default(), second))
    }
}

/// Lets those in whose turn it is. Two runs at once are one.
/// Runs the job; again where it was skipped because another test was running it.
async fn fill_free_seats() -> Result<()> {
    let database = sandbox().database().await?;
    loop {
        let row = database
            .query_one(
                "select run.status, run.error from ops.run_job('fill-free-seats') as run",
                &[],
            )
            .await?;
        match row.get(0) {
            "skipped" => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            status => {
                assert_eq!(status, "succeeded", "{:?}", row.get::<_, Option<&str>>(1));
                return Ok(());
            }
        }
    }
}

fn admitted_or_not_eligible(answers: &[Answer]) -> usize {
    for answer in answers {
        assert!(
            answer.status.is_success() || answer.code() == "not_eligible",
            "{answer:?}"
        );
    }
    answers
        .iter()
        .filter(|answer| answer.status.is_success())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_e4_a_seat_that_is_waited_for_goes_to_the_first_in_line() -> Result<()> {
    let queue = Queue::new().await?;
    for race in 0..RACES {
        let held = queue.form().await?;
        let leave = json!({ "p_enrollment_id": held, "p_status": "dropped" });
        let (left, newcomers, first, second, one, two) = tokio::join!(
            queue.holder.rpc("set_enrollment_status", &leave),
            queue.enroll_newcomers(),
            queue.ask(&queue.first),
            queue.ask(&queue.second),
            fill_free_seats(),
            fill_free_seats(),
        );
        one?;
        two?;
        assert_eq!(left?.status, 200, "race {race}");
        assert_eq!(admitted_or_not_eligible(&newcomers?), 0, "race {race}");
        admitted_or_not_eligible(&[first?, second?]);
        fill_free_seats().await?;
        assert_eq!(
            queue.outcome().await?,
            (
                vec![queue.first.id],
                "enrolled".to_owned(),
                "waiting".to_owned()
            ),
            "race {race}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_e4_more_seats_go_to_those_who_wait_while_others_come_and_go() -> Result<()> {
    let queue = Queue::new().await?;
    let database = sandbox().database().await?;
    let path = format!("/rest/v1/courses?id=eq.{}", queue.course.id);
    let mut withdrawals = 0;
    for race in 0..RACES {
        queue.form().await?;
        let request: Uuid = database
            .query_one(
                "select id from lms.enrollment_requests where course_id = $1 and user_id = $2",
                &[&queue.course.id, &queue.second.id],
            )
            .await?
            .get(0);
        let raise = json!({ "capacity": 3 });
        let withdraw = json!({ "p_request_id": request });
        // Now the withdrawal comes first, now the seat.
        let withdraw = async {
            tokio::time::sleep(std::time::Duration::from_millis(race as u64 % 20 * 3)).await;
            let call = queue.second.rpc("withdraw_enrollment_request", &withdraw);
            call.await
        };
        let (raised, newcomers, withdrawn, filled) = tokio::join!(
            queue.course.instructor.patch(&path, &raise),
            queue.enroll_newcomers(),
            withdraw,
            async {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                fill_free_seats().await
            },
        );
        filled?;
        assert_eq!(raised?.rows().len(), 1);
        let withdrawn = withdrawn?;
        fill_free_seats().await?;
        let (inside, first, second) = queue.outcome().await?;
        assert!(inside.len() <= 3, "race {race}: {inside:?}");
        assert_eq!(first, "enrolled", "race {race}");
        assert!(inside.contains(&queue.first.id), "race {race}");
        let newcomers = admitted_or_not_eligible(&newcomers?);
        if withdrawn.status.is_success() {
            withdrawals += 1;
            assert_eq!(second, "withdrawn", "race {race}");
            assert!(!inside.contains(&queue.second.id), "race {race}");
            assert!(newcomers <= 1, "race {race}");
        } else {
            assert_eq!(withdrawn.code(), "request_is_closed", "{withdrawn:?}");
            assert_eq!(second, "enrolled", "race {race}");
            assert_eq!((inside.len(), newcomers), (3, 0), "race {race}");
        }
    }
    println!("{withdrawals} of {RACES} withdrew in time");
    Ok(())
}

/// The job waits for the one who withdraws, and then lets the next one in.
#[tokio::test(flavor = "multi_thread")]
async fn who_withdraws_while_a_seat_is_filled_is_not_enrolled() -> Result<()> {
    let queue = Queue::new().await?;
    let held = queue.form().await?;
    let leave = json!({ "p_enrollment_id": held, "p_status": "dropped" });
    queue.holder.rpc("set_enrollment_status", &leave).await?;

    let slow = Slow::begin(&queue.first).await?;
    slow.run(
        "select lms.withdraw_enrollment_request(r.id) from lms.enrollment_requests r where r.user_id = auth.uid()",
    )
    .await?;
    let filling = tokio::spawn(fill_free_seats());
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert!(!filling.is_finished(), "the job was to wait");
    slow.commit().await?;
    filling.await??;
    fill_free_seats().await?;
    assert_eq!(
        queue.outcome().await?,
        (
            vec![queue.second.id],
            "withdrawn".to_owned(),
            "enrolled".to_owned()
        )
    );
    Ok(())
}

/// INV-P6: a learner's devices and their teacher report on rows of one enrolment in every order; none of them is told
/// that it stood in another's way.
#[tokio::test(flavor = "multi_thread")]
async fn inv_p6_simultaneous_reports_of_one_learner_never_lock_each_other_out() -> Result<()> {
    let course = Course::new(4).await?;
    let database = sandbox().database().await?;
    database
        .batch_execute(&format!(
            "insert into lms.lesson_blocks (lesson_id, type, content)
             select id, 'video', '{{\"url\": \"https://example.com/v\", \"duration\": 100000}}' from lms.lessons
             where id = '{0}';
             update lms.lessons set completion_rule = 'watched' where id = '{0}';
             select private.freeze_course('{1}')",
            course.lessons[0], course.id
        ))
        .await?;
    let video: Uuid = database
        .query_one(
            "select id from lms.lesson_blocks where course_id = $1",
            &[&course.id],
        )
        .await?
        .get(0);
    let teacher = sandbox()
        .new_person(&format!("{}@races.example", Uuid::new_v4().simple()))
        .await?;
    join_tenant(course.tenant, &teacher, Some("tenant_admin")).await?;
    let learner = course.learner().await?;
    let enrollment = course.enroll(&learner).await?["id"].clone();

    let batch = |first: usize, second: usize, seconds: usize| {
        json!([
            { "user_id": learner.id, "lesson_id": course.lessons[first], "progress_percentage": 10, "time_spent_seconds": seconds },
            { "user_id": learner.id, "lesson_id": course.lessons[second], "progress_percentage": 10, "time_spent_seconds": seconds }
        ])
    };
    let upsert = [
        ("prefer", "resolution=merge-duplicates"),
        ("content-profile", "lms"),
    ];
    let path = "/rest/v1/lesson_progress?on_conflict=enrollment_id,lesson_id";
    for race in 1..=RACES {
        let seconds = json!({ "p_lesson_id": course.lessons[0], "p_progress_percentage": 0, "p_time_spent_seconds": race });
        let watched = json!({ "p_block_id": video, "p_watched": [[race * 20, race * 20 + 10]] });
        let advanced = json!({ "p_lesson_id": course.lessons[1], "p_progress_percentage": 0, "p_time_spent_seconds": race });
        let corrected = json!({
            "p_enrollment_id": enrollment, "p_lesson_id": course.lessons[1], "p_progress_percentage": race % 99,
            "p_reason": "Looked at together"
        });
        let (forth, back) = (batch(2, 3, 2 * race), batch(3, 2, 2 * race + 1));
        let answers = tokio::try_join!(
            learner.rpc("record_progress", &seconds),
            learner.rpc("record_block_progress", &watched),
            learner.rpc("record_progress", &advanced),
            teacher.rpc("correct_progress", &corrected),
            learner.call(reqwest::Method::POST, path, &upsert, Some(&forth)),
            learner.call(reqwest::Method::POST, path, &upsert, Some(&back)),
        )?;
        let answers = [
            answers.0, answers.1, answers.2, answers.3, answers.4, answers.5,
        ];
        for answer in &answers {
            assert!(answer.status.is_success(), "race {race}: {answer:?}");
        }
    }
    Ok(())
}

/// A list of people enrolled by staff, and some of them at that moment by themselves: each is enrolled once, and whoever comes
/// second is told so.
#[tokio::test(flavor = "multi_thread")]
async fn people_enrolled_as_a_list_and_by_themselves_do_not_lock_up() -> Result<()> {
    let course = Course::new(1).await?;
    let database = sandbox().database().await?;
    let learners = try_join_all((0..8).map(|_| course.learner())).await?;
    let list: Vec<Value> = learners
        .iter()
        .map(|learner| json!({ "user_id": learner.id, "course_id": course.id }))
        .collect();
    let list = Value::from(list);
    let arguments = json!({ "p_course_id": course.id });
    for race in 0..RACES {
        // Half of the races with seats to count.
        let capacity = (race % 2 == 0).then_some(1000);
        database
            .execute(
                "update lms.courses set capacity = $2 where id = $1",
                &[&course.id, &capacity],
            )
            .await?;
        let (listed, alone) = tokio::join!(
            course.instructor.post("/rest/v1/enrollments", &list),
            join_all(
                learners
                    .iter()
                    .rev()
                    .take(4)
                    .map(|learner| learner.rpc("enroll", &arguments))
            ),
        );
        let alone: Vec<_> = alone.into_iter().collect::<Result<_>>()?;
        for answer in alone.iter().chain([&listed?]) {
            assert!(
                answer.status.is_success() || answer.code() == "not_eligible",
                "race {race}: {answer:?}"
            );
        }
        let open: i64 = database
            .query_one(
                "select count(*) from lms.enrollments where course_id = $1 and status = 'enrolled'",
                &[&course.id],
            )
            .await?
            .get(0);
        assert!((1..=8).contains(&open), "race {race}: {open}");
        database
            .execute("update lms.enrollments set status = 'dropped' where course_id = $1 and status = 'enrolled'", &[&course.id])
            .await?;
    }
    Ok(())
}

/// INV-E4: a limit that is introduced while people are on their way in holds for them.
#[tokio::test(flavor = "multi_thread")]
async fn inv_e4_seats_that_are_limited_meanwhile_are_counted() -> Result<()> {
    let course = Course::new(1).await?;
    let learners = try_join_all((0..3).map(|_| course.learner())).await?;
    let slow = Slow::begin(&course.instructor).await?;
    slow.run(&format!(
        "update lms.courses set capacity = 1 where id = '{}'",
        course.id
    ))
    .await?;
    let id = course.id;
    let answers = std::sync::Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let kept = answers.clone();
    while_open(slow, async move {
        let arguments = json!({ "p_course_id": id });
        let all = join_all(
            learners
                .iter()
                .map(|learner| learner.rpc("enroll", &arguments)),
        )
        .await;
        let mut all: Vec<Answer> = all.into_iter().collect::<Result<_>>()?;
        let last = all.pop().expect("there are three");
        kept.lock().await.extend(all);
        kept.lock().await.push(last.clone());
        Ok(last)
    })
    .await?;
    let answers = answers.lock().await;
    let admitted = answers
        .iter()
        .filter(|answer| answer.status.is_success())
        .count();
    assert_eq!(admitted, 1, "{answers:?}");
    Ok(())
}

/// INV-P2: who has done everything and reaches the score is completed, also when the score was lowered at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn inv_p2_a_score_lowered_during_a_completion_completes() -> Result<()> {
    let course = Course::new(1).await?;
    let database = sandbox().database().await?;
    let arguments = json!({ "p_lesson_id": course.lessons[0] });
    let path = format!("/rest/v1/courses?id=eq.{}", course.id);
    let lowered = json!({ "required_score": 0 });
    for race in 0..RACES {
        let learner = course.learner().await?;
        course.enroll(&learner).await?;
        database
            .execute(
                "update lms.courses set required_score = 80 where id = $1",
                &[&course.id],
            )
            .await?;
        let (done, lower) = tokio::try_join!(
            learner.rpc("complete_lesson", &arguments),
            course.instructor.patch(&path, &lowered),
        )?;
        assert!(
            done.status.is_success() && lower.status.is_success(),
            "race {race}: {done:?} {lower:?}"
        );
        let status: String = database
            .query_one(
                "select status from lms.enrollments where user_id = $1",
                &[&learner.id],
            )
            .await?
            .get(0);
        assert_eq!(status, "completed", "race {race}");
    }
    Ok(())
}

/// INV-C1: what an author changes while the course is published is in the version as a whole or not at all; and putting
/// lessons in order meanwhile is no deadlock.
#[tokio::test(flavor = "multi_thread")]
async fn inv_c1_a_draft_edited_while_it_is_published_makes_whole_versions() -> Result<()> {
    let course = Course::new(3).await?;
    let database = sandbox().database().await?;
    database
        .execute(
            "insert into lms.lesson_blocks (lesson_id, type, content)
             select id, 'markdown', '{\"markdown\": \"0\"}' from lms.lessons where course_id = $1",
            &[&course.id],
        )
        .await?;
    let module: Uuid = database
        .query_one(
            "select id from lms.modules where course_id = $1",
            &[&course.id],
        )
        .await?
        .get(0);
    let publish = json!({ "p_course_id": course.id });
    let blocks = format!("/rest/v1/lesson_blocks?course_id=eq.{}", course.id);
    let mut ids = course.lessons.clone();
    for race in 1..=RACES {
        // As if for the first time.
        database
            .batch_execute(&format!(
                "update lms.lessons set published_at = null, title = title where course_id = '{0}';
                 update lms.modules set published_at = null, description = '{race}' where course_id = '{0}'",
                course.id
            ))
            .await?;
        ids.rotate_left(1);
        let edit = json!({ "content": { "markdown": race.to_string() } });
        let order = json!({ "p_parent_id": module, "p_ids": ids });
        let answers = tokio::try_join!(
            course.instructor.rpc("publish_course", &publish),
            course.instructor.patch(&blocks, &edit),
            course.instructor.rpc("reorder", &order),
        )?;
        for answer in [&answers.0, &answers.1, &answers.2] {
            assert!(answer.status.is_success(), "race {race}: {answer:?}");
        }
        let texts: Vec<String> = database
            .query(
                "select distinct r.content ->> 'markdown'
                 from lms.version_lessons l
                 left join lms.version_blocks b on b.version_id = l.version_id and b.lesson_id = l.lesson_id
                 left join lms.block_revisions r on r.id = b.revision_id
                 where l.version_id = (private.latest_version($1)).id",
                &[&course.id],
            )
            .await?
            .iter()
            .map(|row| row.get::<_, Option<String>>(0).unwrap_or_default())
            .collect();
        assert!(
            texts == [race.to_string()] || texts == [(race - 1).to_string()],
            "race {race}: {texts:?}"
        );
    }
    Ok(())
}

/// Everybody completes at once, each from two devices, while the job that catches up runs, and somebody issues by hand.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_completes_at_once_gets_exactly_one_certificate() -> Result<()> {
    const AT_ONCE: usize = 50;

    let course = Course::new(1).await?;
    let registrar = course.learner().await?;
    grant(course.tenant, &registrar, "hr_admin").await?;
    let mut learners = Vec::new();
    while learners.len() < RACES {
        let more = (RACES - learners.len()).min(AT_ONCE);
        learners.extend(
            try_join_all((0..more).map(|_| async {
                let learner = course.learner().await?;
                let enrollment = course.enroll(&learner).await?;
                let by_hand = json!({ "p_enrollment_id": enrollment["id"], "p_reason": "Race" });
                Ok::<_, anyhow::Error>((learner, by_hand))
            }))
            .await?,
        );
    }

    let lesson = json!({ "p_lesson_id": course.lessons[0] });
    let everybody = join_all(learners.iter().map(|(learner, by_hand)| async {
        tokio::join!(
            learner.rpc("complete_lesson", &lesson),
            learner.rpc("complete_lesson", &lesson),
            registrar.rpc("issue_certificate", by_hand),
        )
    }));
    let job = async {
        let database = sandbox().database().await?;
        for _ in 0..50 {
            database
                .execute("select ops.issue_certificates()", &[])
                .await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let (answers, job) = tokio::join!(everybody, job);
    job?;
    for (first, second, by_hand) in answers {
        let (first, second, by_hand) = (first?, second?, by_hand?);
        assert!(
            first.status.is_success() && second.status.is_success(),
            "{first:?} {second:?}"
        );
        assert_eq!(by_hand.status, 409, "{by_hand:?}");
    }

    let row = sandbox()
        .database()
        .await?
        .query_one(
            "select count(*), count(distinct c.enrollment_id), count(distinct c.code), count(distinct c.serial),
               (select count(*) from lms.enrollments e where e.course_id = $1 and e.status = 'completed')
             from lms.certificates c where c.course_id = $1",
            &[&course.id],
        )
        .await?;
    let counts: Vec<i64> = (0..5).map(|column| row.get(column)).collect();
    assert_eq!(counts, [i64::try_from(RACES)?; 5]);
    Ok(())
}
