//! Grading equals a reference that was written from the rules: 10,000 answers of every type, partial and negative credit,
//! rounding; and attempts with weights, tries and averages through the calls that clients make.

mod course;
mod making;
mod rules;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use course::{Asked, Assessment, Course, Learner, Method};
use lyceum_e2e::{CHECK_PROGRESS, Options, Sandbox, shared};
use making::{Case, Maker};
use rules::{Answer, Grade, Question, Scoring, grade};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const ANSWERS: usize = 10_000;

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    shared(&SANDBOX, Options::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_gets_what_the_rules_say() -> Result<()> {
    let database = sandbox().database().await?;
    let mut maker = Maker::new(20_260_101);
    let cases: Vec<Case> = (0..ANSWERS).map(|_| maker.case()).collect();

    let mut seen: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for cases in cases.chunks(1000) {
        let text = |of: fn(&Case) -> String| cases.iter().map(of).collect::<Vec<String>>();
        let rows = database
            .query(
                "select (100 * g.points)::bigint, g.points = round(g.points, 2), g.is_correct, g.waits, g.explanation ->> 'reason',
                   array(select private.question_faults(c.type, c.content::jsonb, c.scoring))
                     || array(select private.key_faults(c.type, c.content::jsonb, c.key::jsonb))
                 from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
                   with ordinality as c (type, content, scoring, cents, key, response, place)
                 cross join lateral private.grade_response(
                   c.type, c.content::jsonb, c.scoring, c.cents / 100.0, c.key::jsonb, c.response::jsonb
                 ) as g
                 order by c.place",
                &[
                    &text(|case| case.kind.to_owned()),
                    &text(|case| case.content.to_string()),
                    &text(|case| case.scoring.name().to_owned()),
                    &cases.iter().map(|case| case.cents).collect::<Vec<i64>>(),
                    &text(|case| case.key.to_string()),
                    &cases.iter().map(|case| case.response.clone()).collect::<Vec<Option<String>>>(),
                ],
            )
            .await?;
        for (case, row) in cases.iter().zip(&rows) {
            let faults: Vec<String> = row.get(5);
            ensure!(faults.is_empty(), "{faults:?}: {case:?}");
            let given = Grade {
                cents: row.get(0),
                correct: row.get(2),
            };
            let expected = grade(&case.question, case.scoring, case.cents, &case.answer);
            ensure!(
                given == expected
                    && row.get::<_, Option<bool>>(1) != Some(false)
                    && row.get::<_, bool>(3) == expected.cents.is_none(),
                "the database gives {given:?}, the rules {expected:?}: {case:?}"
            );
            let outcome = match expected.cents {
                None => "waits",
                Some(cents) if cents < 0 => "below 0",
                Some(_) if expected.correct == Some(true) => "right",
                Some(0) => "nothing",
                Some(_) => "partly",
            };
            *seen
                .entry((case.kind, case.scoring.name(), outcome))
                .or_default() += 1;
        }
    }
    // A generator that makes only wrong answers would agree with anything.
    for (kind, outcomes) in [
        ("single", "right nothing below 0"),
        ("multiple", "right nothing partly below 0"),
        ("true_false", "right nothing below 0"),
        ("short_answer", "right nothing partly"),
        ("numeric", "right nothing"),
        ("matching", "right nothing partly below 0"),
        ("ordering", "right nothing partly below 0"),
        ("essay", "nothing waits"),
    ] {
        for outcome in ["right", "nothing", "partly", "below 0", "waits"] {
            let count: usize = seen
                .iter()
                .filter(|((of, _, what), _)| *of == kind && *what == outcome)
                .map(|(_, count)| count)
                .sum();
            ensure!(
                (count >= 20) == outcomes.contains(outcome),
                "{kind} {outcome}: {count}"
            );
        }
    }
    Ok(())
}

// Attempts ============================================================================================================

/// How many attempts are made; `make proof` asks for more.
const ATTEMPTS: usize = 1000;

/// What a learner's attempts at an assessment came to, in hundredths of a percent.
#[derive(Debug, Default, Clone)]
struct Standing {
    percentages: Vec<i64>,
    passed: bool,
}

impl Standing {
    fn counts(&self, method: Method) -> Option<i64> {
        let tries = i64::try_from(self.percentages.len()).unwrap_or(i64::MAX);
        match method {
            Method::Best => self.percentages.iter().max().copied(),
            Method::Latest => self.percentages.last().copied(),
            Method::Average => (tries > 0).then(|| self.percentages.iter().sum::<i64>() / tries),
        }
    }
}

/// Hundredths of a percent, cut off; what was not taken counts 0.
fn final_grade(assessments: &[Assessment], standings: &[Standing]) -> Option<i64> {
    let total: i128 = assessments.iter().map(|one| i128::from(one.weight)).sum();
    let earned: i128 = assessments
        .iter()
        .zip(standings)
        .map(|(one, standing)| {
            i128::from(one.weight) * i128::from(standing.counts(one.method).unwrap_or(0))
        })
        .sum();
    (total > 0).then(|| i64::try_from(earned / total).unwrap_or(i64::MAX))
}

fn assessments(maker: &mut Maker) -> Vec<Assessment> {
    let rules = [
        (Method::Best, 1_000_000, Some(5000)),
        (Method::Latest, 333_333, None),
        (Method::Average, 2_500_000, Some(6667)),
        (Method::Average, 1, Some(1)),
        (Method::Best, 0, Some(10_000)),
    ];
    rules
        .into_iter()
        .enumerate()
        .map(|(place, (method, weight, passing))| Assessment {
            id: Uuid::new_v4(),
            method,
            weight,
            passing,
            is_mandatory: place % 2 == 0,
            questions: (0..4)
                .map(|_| {
                    loop {
                        let case = maker.case();
                        if !matches!(case.question, Question::Essay) {
                            break Asked {
                                id: Uuid::new_v4(),
                                question: case.question,
                                scoring: case.scoring,
                                cents: case.cents,
                            };
                        }
                    }
                })
                .collect(),
        })
        .collect()
}

/// Answers all questions of an attempt; returns them as written, and the points that they get.
fn answered(maker: &mut Maker, assessment: &Assessment) -> (String, i64) {
    let mut written = Vec::new();
    let mut points = 0;
    for asked in &assessment.questions {
        let case = loop {
            let case = maker.case_of(&asked.question);
            // What is no answer at all is refused, with the whole call.
            if !matches!(case.answer, Answer::Malformed) {
                break case;
            }
        };
        points += grade(&asked.question, asked.scoring, asked.cents, &case.answer)
            .cents
            .unwrap_or_default();
        if let Some(response) = case.response {
            written.push(format!("\"{}\": {response}", asked.id));
        }
    }
    (format!("{{{}}}", written.join(", ")), points.max(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_and_course_gets_what_the_rules_say() -> Result<()> {
    let attempts = std::env::var("LYCEUM_ATTEMPTS")
        .map_or(Ok(ATTEMPTS), |attempts| attempts.parse())
        .context("LYCEUM_ATTEMPTS is a number")?;
    let mut database = sandbox().database().await?;
    let mut maker = Maker::new(42);
    let mut made = 0;
    let mut passed = 0;
    for round in 0.. {
        if made >= attempts {
            break;
        }
        let course = Course::found(&database, &format!("graded-{round}")).await?;
        let assessments = assessments(&mut maker);
        for assessment in &assessments {
            course.add(&database, assessment).await?;
        }
        course.publish(&database).await?;
        for _ in 0..5 {
            let learner = course.learner(&database).await?;
            let mut standings = vec![Standing::default(); assessments.len()];
            for _ in 0..12 {
                let chosen = maker.below(assessments.len());
                let assessment = &assessments[chosen];
                let (answers, points) = answered(&mut maker, assessment);
                let max: i64 = assessment.questions.iter().map(|asked| asked.cents).sum();
                let percentage = 10_000 * points / max;
                let is_passed = percentage >= assessment.passing.unwrap_or(0);
                standings[chosen].percentages.push(percentage);
                standings[chosen].passed |= is_passed;
                made += 1;
                passed += usize::from(is_passed);

                let attempt = learner.start(&mut database, assessment.id).await?;
                let receipt = learner.submit(&mut database, attempt, &answers).await?;
                let hundredths = |name: &str| {
                    receipt[name]
                        .as_f64()
                        .map(|number| (number * 100.0).round() as i64)
                };
                ensure!(
                    hundredths("points") == Some(points)
                        && hundredths("max_points") == Some(max)
                        && hundredths("percentage") == Some(percentage)
                        && receipt["passed"] == Value::Bool(is_passed),
                    "{points} of {max} points, {percentage}: {receipt} for {answers} to {assessment:?}"
                );
                compare(&database, &learner, &assessments, &standings).await?;
            }
        }
    }
    ensure!(
        passed > made / 10 && passed < made * 9 / 10,
        "{passed} of {made} passed"
    );
    let differing = database.query(CHECK_PROGRESS, &[]).await?;
    ensure!(
        differing.is_empty(),
        "{} enrolments are miscounted",
        differing.len()
    );
    let recounted: i64 = database
        .query_one("select ops.recount_progress()", &[])
        .await?
        .get(0);
    ensure!(recounted == 0, "counting again mends {recounted}");
    Ok(())
}

async fn compare(
    database: &Client,
    learner: &Learner,
    assessments: &[Assessment],
    standings: &[Standing],
) -> Result<()> {
    let row = database
        .query_one(
            "select (100 * e.final_grade)::bigint, e.items_done from lms.enrollments e where e.id = $1",
            &[&learner.enrollment_id],
        )
        .await?;
    let expected = if standings
        .iter()
        .zip(assessments)
        .any(|(standing, one)| one.weight > 0 && !standing.percentages.is_empty())
    {
        final_grade(assessments, standings)
    } else {
        None
    };
    let given: Option<i64> = row.get(0);
    ensure!(
        given == expected,
        "final grade {given:?}, by the rules {expected:?}: {standings:?}"
    );
    let done = assessments
        .iter()
        .zip(standings)
        .filter(|(one, standing)| one.is_mandatory && standing.passed)
        .count();
    ensure!(
        usize::try_from(row.get::<_, i32>(1))? == done,
        "{done} items are done: {standings:?}"
    );

    for (assessment, standing) in assessments.iter().zip(standings) {
        let row = database
            .query_opt(
                "select (100 * r.percentage)::bigint, r.attempts_count, r.passed_at is not null
                 from lms.assessment_results r where r.enrollment_id = $1 and r.assessment_id = $2",
                &[&learner.enrollment_id, &assessment.id],
            )
            .await?;
        let given = row.map(|row| {
            (
                row.get::<_, Option<i64>>(0),
                row.get::<_, i32>(1),
                row.get::<_, bool>(2),
            )
        });
        let expected = (!standing.percentages.is_empty()).then(|| {
            (
                standing.counts(assessment.method),
                i32::try_from(standing.percentages.len()).unwrap_or(i32::MAX),
                standing.passed,
            )
        });
        ensure!(
            given == expected,
            "{given:?}, by the rules {expected:?}: {standing:?}"
        );
    }
    Ok(())
}

// Races ===============================================================================================================

/// How often each race is run; `make proof` asks for more.
const RACES: usize = 100;

fn races() -> Result<usize> {
    std::env::var("LYCEUM_RACES")
        .map_or(Ok(RACES), |races| races.parse())
        .context("LYCEUM_RACES is a number")
}

/// Learners start and hand in while the key is corrected and everything is graded again: afterwards nobody is judged by the
/// old key, and what is counted is what the scores say.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_a_score_by_a_key_that_was_corrected_meanwhile() -> Result<()> {
    let races = races()?;
    let owner = sandbox().database().await?;
    let course = Course::found(&owner, "raced").await?;
    let assessments: Vec<Assessment> = (0..20)
        .map(|_| Assessment {
            id: Uuid::new_v4(),
            method: Method::Latest,
            weight: 1_000_000,
            passing: Some(5000),
            is_mandatory: true,
            questions: vec![Asked {
                id: Uuid::new_v4(),
                question: Question::TrueFalse { correct: true },
                scoring: Scoring::AllOrNothing,
                cents: 100,
            }],
        })
        .collect();
    for assessment in &assessments {
        course.add(&owner, assessment).await?;
    }
    course.publish(&owner).await?;
    let mut learners = Vec::new();
    for _ in 0..4 {
        learners.push((course.learner(&owner).await?, sandbox().database().await?));
    }
    let mut correcting = sandbox().database().await?;

    for race in 0..races {
        let assessment = &assessments[race % assessments.len()];
        let question = assessment.questions[0].id;
        // Half of them have started before.
        let mut open = Vec::new();
        for (place, (learner, database)) in learners.iter_mut().enumerate() {
            open.push(if place % 2 == 0 {
                Some(learner.start(database, assessment.id).await?)
            } else {
                None
            });
        }
        let right = (race / assessments.len()) % 2 == 1;
        let correction = async {
            let transaction = correcting.transaction().await?;
            course.author.call(&transaction).await?;
            transaction
                .execute(
                    "select lms.correct_answer_key($1, jsonb_build_object('correct', $2::boolean), '', 'Wrong')",
                    &[&question, &right],
                )
                .await?;
            transaction.commit().await?;
            let transaction = correcting.transaction().await?;
            course.author.call(&transaction).await?;
            transaction
                .execute("select lms.regrade($1, 'Wrong')", &[&question])
                .await?;
            transaction.commit().await?;
            anyhow::Ok(())
        };
        let submissions = futures_util::future::try_join_all(learners.iter_mut().zip(open).map(
            |((learner, database), open)| async move {
                let attempt = match open {
                    Some(attempt) => attempt,
                    None => learner.start(database, assessment.id).await?,
                };
                learner
                    .submit(database, attempt, &format!("{{\"{question}\": true}}"))
                    .await
            },
        ));
        let (corrected, submitted) = tokio::join!(correction, submissions);
        corrected.with_context(|| format!("race {race}"))?;
        submitted.with_context(|| format!("race {race}"))?;

        let outdated: i64 = owner
            .query_one(
                "select count(*) from private.outdated_attempts($1)",
                &[&question],
            )
            .await?
            .get(0);
        ensure!(
            outdated == 0,
            "race {race}: {outdated} attempts are left with the old key"
        );
        let wrong: i64 = owner
            .query_one(
                "select count(*)
                 from lms.assessment_attempts t
                 left join lms.answer_scores a on a.attempt_id = t.id
                 left join lms.attempt_scores s on s.attempt_id = t.id
                 left join lms.assessment_progress p on p.enrollment_id = t.enrollment_id and p.assessment_id = t.assessment_id
                 where t.assessment_id = $1 and (t.status, a.points, s.percentage::numeric, s.passed, p.percentage::numeric,
                     p.passed_at is not null)
                   is distinct from ('graded', $2::integer::numeric, $2::integer * 100::numeric, $2 = 1, $2 * 100::numeric, $2 = 1)",
                &[&assessment.id, &i32::from(right)],
            )
            .await?
            .get(0);
        ensure!(
            wrong == 0,
            "race {race}: {wrong} attempts have another score than the key gives"
        );
    }
    let differing = owner.query(CHECK_PROGRESS, &[]).await?;
    ensure!(
        differing.is_empty(),
        "{} enrolments are miscounted",
        differing.len()
    );
    let recounted: i64 = owner
        .query_one("select ops.recount_progress($1)", &[&course.id])
        .await?
        .get(0);
    ensure!(recounted == 0, "counting again mends {recounted}");
    Ok(())
}

/// Two graders, an override, a release and the learner's next attempt, all at once, of one enrolment: nothing waits for ever,
/// nothing gets lost, and all of it is counted once.
#[tokio::test(flavor = "multi_thread")]
async fn graders_and_learners_do_not_get_in_each_others_way() -> Result<()> {
    let races = races()?;
    let owner = sandbox().database().await?;
    let course = Course::found(&owner, "marked").await?;
    let asked = |question: Question| Asked {
        id: Uuid::new_v4(),
        question,
        scoring: Scoring::AllOrNothing,
        cents: 100,
    };
    let assessment = |questions: Vec<Asked>| Assessment {
        id: Uuid::new_v4(),
        method: Method::Best,
        weight: 1_000_000,
        passing: Some(5000),
        is_mandatory: true,
        questions,
    };
    let essays = assessment(vec![asked(Question::Essay), asked(Question::Essay)]);
    let quiz = assessment(vec![asked(Question::TrueFalse { correct: true })]);
    for assessment in [&essays, &quiz] {
        course.add(&owner, assessment).await?;
    }
    owner
        .execute(
            "update lms.assessments set holds_grades = true where id = $1",
            &[&essays.id],
        )
        .await?;
    course.publish(&owner).await?;
    let mut first = sandbox().database().await?;
    let mut second = sandbox().database().await?;
    let mut third = sandbox().database().await?;
    let mut fourth = sandbox().database().await?;
    let mut own = sandbox().database().await?;

    for race in 0..races {
        let learner = course.learner(&owner).await?;
        let attempt = learner.start(&mut own, essays.id).await?;
        let answers = format!(
            "{{\"{}\": {{\"text\": \"So.\"}}, \"{}\": {{\"text\": \"So.\"}}}}",
            essays.questions[0].id, essays.questions[1].id
        );
        learner.submit(&mut own, attempt, &answers).await?;
        let overrides = race % 2 == 0;
        let author = &course.author;
        let one: [&(dyn ToSql + Sync); 2] = [&attempt, &essays.questions[0].id];
        let other: [&(dyn ToSql + Sync); 2] = [&attempt, &essays.questions[1].id];
        let all: [&(dyn ToSql + Sync); 1] = [&essays.id];
        let grading = "select lms.grade_answer($1, $2, 1)";
        let (graded, also, released, overridden, submitted) = tokio::join!(
            author.run(&mut first, grading, &one),
            author.run(&mut second, grading, &other),
            author.run(&mut third, "select lms.release_grades($1)", &all),
            async {
                if overrides {
                    author
                        .run(
                            &mut fourth,
                            "select lms.override_grade($1, 40, 'So.')",
                            &[&attempt],
                        )
                        .await?;
                }
                anyhow::Ok(())
            },
            async {
                let attempt = learner.start(&mut own, quiz.id).await?;
                learner
                    .submit(
                        &mut own,
                        attempt,
                        &format!("{{\"{}\": true}}", quiz.questions[0].id),
                    )
                    .await
            }
        );
        for outcome in [graded, also, released, overridden, submitted.map(drop)] {
            outcome.with_context(|| format!("race {race}"))?;
        }
        author
            .run(&mut first, "select lms.release_grades($1)", &[&essays.id])
            .await?;
        let row = owner
            .query_one(
                "select s.points::text, s.percentage::integer, s.passed, s.released_at is not null, e.items_done, e.final_grade::integer
                 from lms.attempt_scores s join lms.enrollments e on e.id = s.enrollment_id where s.attempt_id = $1",
                &[&attempt],
            )
            .await?;
        let expected = if overrides {
            (40, false, 1, 70)
        } else {
            (100, true, 2, 100)
        };
        let given: (i32, bool, i32, i32) = (row.get(1), row.get(2), row.get(4), row.get(5));
        ensure!(
            given == expected && row.get::<_, &str>(0) == "2.00" && row.get(3),
            "race {race}: {given:?}, expected {expected:?}"
        );
    }
    let recounted: i64 = owner
        .query_one("select ops.recount_progress($1)", &[&course.id])
        .await?
        .get(0);
    ensure!(recounted == 0, "counting again mends {recounted}");
    Ok(())
}
