//! Learning events by many at once: nobody waits for somebody else's, and what is sent twice at once is there once.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use lyceum_e2e::{Answer, Options, Person, Sandbox, shared};
use reqwest::Method;
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
            functions: false,
            seed: false,
        },
    )
}

/// A course of a new tenant, and as many learners who take it.
async fn course_with(learners: usize) -> Result<(Uuid, Vec<Person>)> {
    let database = sandbox().database().await?;
    let tag = Uuid::new_v4().simple().to_string();
    let tenant: Uuid = database
        .query_one(
            "insert into lms.tenants (slug, name) values ($1::text, 'Races') returning id",
            &[&tag],
        )
        .await?
        .get(0);
    let mut people = Vec::new();
    for number in 0..=learners {
        let person = sandbox()
            .new_person(&format!("{number}-{tag}@races.example"))
            .await?;
        database
            .execute(
                "insert into lms.memberships (tenant_id, user_id) values ($1, $2)",
                &[&tenant, &person.id],
            )
            .await?;
        people.push(person);
    }
    let instructor = people.pop().context("somebody teaches")?;
    let course: Uuid = database
        .query_one(
            "insert into lms.courses (tenant_id, slug, title, status, published_at, instructor_id)
             values ($1, 'race', 'Race', 'published', now(), $2) returning id",
            &[&tenant, &instructor.id],
        )
        .await?
        .get(0);
    for person in &people {
        database
            .execute(
                "insert into lms.enrollments (course_id, user_id) values ($1, $2)",
                &[&course, &person.id],
            )
            .await?;
    }
    Ok((course, people))
}

fn answers(course: Uuid, ids: &[Uuid]) -> Value {
    ids.iter()
        .enumerate()
        .map(|(place, id)| {
            json!({ "id": id, "course_id": course, "section_key": "s", "question_key": format!("q{}", place % 3), "is_correct": true })
        })
        .collect()
}

async fn insert(person: &Person, table: &str, rows: &Value) -> Result<Answer> {
    person
        .call(
            Method::POST,
            &format!("/rest/v1/{table}"),
            &[
                ("content-profile", "analytics"),
                ("prefer", "return=minimal"),
            ],
            Some(rows),
        )
        .await
}

#[tokio::test]
async fn inv_n1_nobody_waits_for_somebody_elses_events() -> Result<()> {
    let (course, people) = course_with(2).await?;
    let [slow, quick] = people.as_slice() else {
        panic!("two learners were asked for")
    };
    let ids = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];

    // One learner's request does not come to its end: the same course, questions and ids, of both kinds of events.
    let mut database = sandbox().database().await?;
    let open = database.transaction().await?;
    open.execute(
        "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1::text, true)",
        &[&json!({ "sub": slow.id, "role": "authenticated" }).to_string()],
    )
    .await?;
    for id in &ids {
        open.execute(
            "insert into analytics.question_events (id, course_id, section_key, question_key, is_correct) values ($1, $2, 's', 'q0', true)",
            &[id, &course],
        )
        .await?;
        open.execute(
            "insert into analytics.activity_events (id, course_id, event_type) values ($1, $2, 'view_section')",
            &[id, &course],
        )
        .await?;
    }

    // Waiting would end in the client's timeout.
    let answer = insert(quick, "question_events", &answers(course, &ids)).await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    let activities: Value = ids
        .iter()
        .map(|id| json!({ "id": id, "course_id": course, "event_type": "view_section" }))
        .collect();
    let answer = insert(quick, "activity_events", &activities).await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    // Nor does the job that ends sessions.
    sandbox()
        .database()
        .await?
        .execute("select ops.end_learning_sessions()", &[])
        .await?;

    open.commit().await?;
    let counts = sandbox()
        .database()
        .await?
        .query(
            "select count(*), max(attempt_index) from analytics.question_events where course_id = $1 group by user_id order by 2",
            &[&course],
        )
        .await?;
    let counts: Vec<(i64, i32)> = counts.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, [(3, 1), (3, 3)]);
    Ok(())
}

#[tokio::test]
async fn what_is_sent_twice_at_once_is_there_once() -> Result<()> {
    let (course, people) = course_with(4).await?;
    let database = sandbox().database().await?;
    for race in 0..RACES {
        let person = &people[race % people.len()];
        let ids: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
        let mut backwards = ids.clone();
        backwards.reverse();
        let overlapping = [&ids[3..], &[Uuid::new_v4()]].concat();
        let all: Vec<Uuid> = ids.iter().chain(&overlapping[3..]).copied().collect();
        let batches = [
            answers(course, &ids),
            answers(course, &backwards),
            answers(course, &ids),
            answers(course, &overlapping),
        ];
        let outcomes = try_join_all(
            batches
                .iter()
                .map(|rows| insert(person, "question_events", rows)),
        )
        .await?;
        for answer in outcomes {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        let taken: i64 = database
            .query_one(
                "select count(*) from analytics.question_events where user_id = $1 and id = any ($2)",
                &[&person.id, &all],
            )
            .await?
            .get(0);
        assert_eq!(usize::try_from(taken)?, all.len());
    }

    // However they came, the attempts of each learner at each question are numbered without gap or double.
    let wrong: i64 = database
        .query_one(
            "select count(*) from (
               select attempt_index, row_number() over (partition by user_id, question_key order by attempt_index) as place
               from analytics.question_events where course_id = $1
             ) e where e.attempt_index <> e.place",
            &[&course],
        )
        .await?
        .get(0);
    assert_eq!(wrong, 0);
    // And each has one session.
    let sessions: i64 = database
        .query_one(
            "select count(*) from analytics.learning_sessions where course_id = $1",
            &[&course],
        )
        .await?
        .get(0);
    assert_eq!(usize::try_from(sessions)?, people.len());
    Ok(())
}
