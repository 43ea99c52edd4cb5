//! Attempts, many at once: limits, deadlines and what was saved hold whoever comes first (INV-A2).

use std::{sync::OnceLock, time::Duration};

use anyhow::Result;
use futures_util::future::try_join_all;
use lyceum_e2e::{Options, Person, Sandbox, shared};
use serde_json::{Value, json};
use tokio_postgres::Client;
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

/// A course with one quiz of two questions, each worth a point, and somebody who takes it.
struct Quiz {
    database: Client,
    learner: Person,
    course: Uuid,
    assessment: Uuid,
    questions: Vec<String>,
}

impl Quiz {
    async fn new() -> Result<Self> {
        let database = sandbox().database().await?;
        let tag = Uuid::new_v4().simple().to_string();
        let tenant: Uuid = database
            .query_one(
                "insert into lms.tenants (slug, name) values ($1::text, 'Attempts') returning id",
                &[&tag],
            )
            .await?
            .get(0);
        let mut people = Vec::new();
        for (name, role) in [("instructor", Some("instructor")), ("learner", None)] {
            let person = sandbox()
                .new_person(&format!("{name}-{tag}@attempts.example"))
                .await?;
            database
                .execute(
                    "insert into lms.memberships (tenant_id, user_id) values ($1, $2)",
                    &[&tenant, &person.id],
                )
                .await?;
            database
                .execute(
                    "insert into lms.role_grants (tenant_id, membership_id, role_id)
                     select m.tenant_id, m.id, r.id from lms.memberships m join lms.roles r using (tenant_id)
                     where m.tenant_id = $1 and m.user_id = $2 and r.key = $3",
                    &[&tenant, &person.id, &role],
                )
                .await?;
            people.push(person);
        }
        let course: Uuid = database
            .query_one(
                "insert into lms.courses (tenant_id, slug, title, instructor_id) values ($1, 'race', 'Race', $2) returning id",
                &[&tenant, &people[0].id],
            )
            .await?
            .get(0);
        // A lesson that nobody completes keeps the course open, whatever becomes of the quiz.
        database
            .execute(
                "with m as (insert into lms.modules (course_id, title) values ($1, 'Only') returning id)
                 insert into lms.lessons (module_id, title) select id, 'Lesson' from m",
                &[&course],
            )
            .await?;
        let assessment: Uuid = database
            .query_one(
                "insert into lms.assessments (course_id, title, passing_percentage) values ($1, 'Quiz', 50) returning id",
                &[&course],
            )
            .await?
            .get(0);
        let questions = database
            .query(
                "insert into lms.questions (assessment_id, type, prompt, order_index)
                 select $1, 'short_answer', 'Question ' || n, n from generate_series(1, 2) n returning id",
                &[&assessment],
            )
            .await?
            .iter()
            .map(|row| row.get::<_, Uuid>(0).to_string())
            .collect();
        database
            .execute(
                "insert into private.answer_keys (question_id, tenant_id, course_id, key)
                 select id, tenant_id, course_id, '{\"accepted\": [{\"text\": \"right\"}]}' from lms.questions where assessment_id = $1",
                &[&assessment],
            )
            .await?;
        database
            .execute("select lms.publish_course($1)", &[&course])
            .await?;
        let learner = people.remove(1);
        let answer = learner
            .rpc("enroll", &json!({ "p_course_id": course }))
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(Self {
            database,
            learner,
            course,
            assessment,
            questions,
        })
    }

    async fn start(&self) -> Result<Value> {
        let answer = self
            .learner
            .rpc(
                "start_attempt",
                &json!({ "p_assessment_id": self.assessment }),
            )
            .await?;
        assert!(
            answer.status == 200 || answer.code() == "not_startable",
            "{answer:?}"
        );
        Ok(answer.body)
    }

    /// How many attempts there are, and how many of them are open.
    async fn attempts(&self) -> Result<(i64, i64)> {
        let row = self
            .database
            .query_one(
                "select count(*), count(*) filter (where status = 'in_progress') from lms.assessment_attempts where assessment_id = $1",
                &[&self.assessment],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    }

    /// What does not add up: attempts without exactly one score, with other points than their answers are worth, or with
    /// questions without points; and counters of the enrolment that are not the facts.
    async fn faults(&self) -> Result<Vec<String>> {
        Ok(self
            .database
            .query(
                "select 'attempt ' || t.number || ': ' || concat_ws(' ', s.points, (
                   select count(*) from lms.answer_scores a where a.attempt_id = t.id
                 ))
                 from lms.assessment_attempts t
                 left join lms.attempt_scores s on s.attempt_id = t.id
                 where t.assessment_id = $1 and t.status <> 'in_progress' and (
                   t.status <> 'graded'
                   or s.points is distinct from (
                     select count(*)::numeric from lms.attempt_answers n where n.attempt_id = t.id and n.response = '\"right\"'
                   )
                   or (select count(*) from lms.answer_scores a where a.attempt_id = t.id) <> 2
                 )
                 union all
                 select 'items done: ' || e.items_done
                 from lms.enrollments e
                 where e.course_id = $2 and e.items_done <> (
                   select count(*) from lms.assessment_progress p where p.enrollment_id = e.id and p.completed_at is not null
                 )",
                &[&self.assessment, &self.course],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect())
    }
}

fn attempt_id(view: &Value) -> String {
    view["id"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_a2_many_starts_at_once_are_one_attempt_and_never_more_than_the_limit() -> Result<()> {
    let quiz = Quiz::new().await?;
    for race in 1..=RACES {
        let limit = i32::try_from(race)?;
        quiz.database
            .execute(
                "update lms.assessments set max_attempts = $2 where id = $1",
                &[&quiz.assessment, &limit],
            )
            .await?;
        let views = try_join_all((0..6).map(|_| quiz.start())).await?;
        let id = attempt_id(&views[0]);
        assert!(
            views.iter().all(|view| attempt_id(view) == id),
            "race {race}: {views:?}"
        );
        assert_eq!(quiz.attempts().await?, (i64::from(limit), 1), "race {race}");

        // Handing in makes room for no other one.
        let submit = json!({ "p_attempt_id": id });
        let (handed_in, _) = tokio::try_join!(
            quiz.learner.rpc("submit_attempt", &submit),
            try_join_all((0..4).map(|_| quiz.start())),
        )?;
        assert_eq!(handed_in.status, 200, "{handed_in:?}");
        assert_eq!(quiz.attempts().await?, (i64::from(limit), 0), "race {race}");
    }
    assert_eq!(quiz.faults().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_a2_an_attempt_handed_in_many_times_at_once_is_graded_once() -> Result<()> {
    let quiz = Quiz::new().await?;
    for race in 0..RACES {
        let id = attempt_id(&quiz.start().await?);
        // Each of them with other answers: those of exactly one are in what is graded.
        let submissions: Vec<Value> = (0..4)
            .map(|n| {
                let words = [
                    if n & 1 == 0 { "right" } else { "wrong" },
                    if n & 2 == 0 { "right" } else { "wrong" },
                ];
                json!({
                    "p_attempt_id": id,
                    "p_answers": { (quiz.questions[0].as_str()): words[0], (quiz.questions[1].as_str()): words[1] },
                })
            })
            .collect();
        let answers = try_join_all(
            submissions
                .iter()
                .map(|submission| quiz.learner.rpc("submit_attempt", submission)),
        )
        .await?;
        for answer in &answers {
            assert_eq!(answer.status, 200, "race {race}: {answer:?}");
            assert_eq!(
                answer.body, answers[0].body,
                "race {race}: all are told the same"
            );
        }
        assert_eq!(quiz.faults().await?, Vec::<String>::new(), "race {race}");
    }
    Ok(())
}

/// What a receipt says is saved is saved, and what came too late is not: the deadline passes while a client saves, hands in
/// and starts again, and the job closes what it finds.
#[tokio::test(flavor = "multi_thread")]
async fn inv_a2_what_was_saved_before_the_deadline_counts_and_nothing_else() -> Result<()> {
    let quiz = Quiz::new().await?;
    let other = sandbox().database().await?;
    for race in 0..RACES {
        let id = attempt_id(&quiz.start().await?);
        quiz.database
            .execute(
                "update lms.assessment_attempts set deadline_at = clock_timestamp() + interval '60 milliseconds' where id::text = $1",
                &[&id],
            )
            .await?;

        let saving = async {
            let mut last = None;
            for n in 0.. {
                let word = if n % 2 == 0 { "right" } else { "wrong" };
                let answers = json!({ "p_attempt_id": id, "p_answers": { (quiz.questions[0].as_str()): word } });
                let answer = quiz.learner.rpc("save_answers", &answers).await?;
                if answer.status != 200 {
                    assert_eq!(answer.code(), "attempt_over", "{answer:?}");
                    break;
                }
                last = Some(word);
            }
            Ok::<_, anyhow::Error>(last)
        };
        // As if the deadline had passed longer ago than it has.
        let closing = async {
            tokio::time::sleep(Duration::from_millis(55)).await;
            other
                .execute(
                    "update lms.assessment_attempts set deadline_at = deadline_at - interval '5.1 seconds', started_at = started_at - interval '1 minute'
                     where id::text = $1 and status = 'in_progress' and deadline_at < clock_timestamp()",
                    &[&id],
                )
                .await?;
            other
                .execute("select ops.close_expired_attempts()", &[])
                .await?;
            Ok(())
        };
        let handing_in = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let answers = json!({ "p_attempt_id": id, "p_answers": { (quiz.questions[1].as_str()): "right" } });
            quiz.learner.rpc("submit_attempt", &answers).await
        };
        let (last, (), handed_in) = tokio::try_join!(saving, closing, handing_in)?;
        assert_eq!(handed_in.status, 200, "race {race}: {handed_in:?}");

        let row = quiz
            .database
            .query_one(
                "select t.status, t.closed_by,
                   (select n.response #>> '{}' from lms.attempt_answers n where n.attempt_id = t.id and n.question_id::text = $2),
                   exists (select from lms.attempt_answers n where n.attempt_id = t.id and n.question_id::text = $3)
                 from lms.assessment_attempts t where t.id::text = $1",
                &[&id, &quiz.questions[0], &quiz.questions[1]],
            )
            .await?;
        let (status, closed_by): (String, String) = (row.get(0), row.get(1));
        let (saved, too_late): (Option<String>, bool) = (row.get(2), row.get(3));
        assert_eq!(status, "graded", "race {race}");
        assert_eq!(
            saved.as_deref(),
            last,
            "race {race}: the last receipt is what is saved"
        );
        assert_eq!(
            too_late,
            closed_by == "learner",
            "race {race}: answers that come after the deadline do not count"
        );
        assert_eq!(quiz.faults().await?, Vec::<String>::new(), "race {race}");
    }
    Ok(())
}
