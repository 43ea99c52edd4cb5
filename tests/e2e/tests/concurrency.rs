//! Many at once: what holds one at a time must hold then as well.

use std::sync::OnceLock;

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use lyceum_e2e::{Answer, CHECK_PROGRESS, CHECK_RATINGS, Options, Person, Sandbox, shared};
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
    let waiting = tokio::spawn(request);
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert!(
        !waiting.is_finished(),
        "the request was to wait: {:?}",
        waiting.await?
    );
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
