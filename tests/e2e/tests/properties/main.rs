//! Learners, an author and staff do random things to one course. After each, the database is compared with a model of
//! what should have come of it (INV-C1, C2, E1, E2, P1, P2); and with one of the rules taken out, the comparison fails.

mod model;
mod walk;

use anyhow::Result;
use lyceum_e2e::{Options, Sandbox, shared};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::sync::OnceLock;

use model::deeds;
use walk::Walk;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: false,
            seed: false,
        },
    )
}

/// Runs `cases` random sequences, each on a course of its own in a transaction that is rolled back; `broken` is applied
/// to the database first. The error is the shortest sequence found that goes wrong, and how.
fn try_out(cases: u32, broken: &[&str]) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let mut walk = runtime
        .block_on(Walk::new(sandbox(), broken))
        .map_err(|error| format!("the walk cannot begin: {error:#}"))?;
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let walk = std::cell::RefCell::new(&mut walk);
    runner
        .run(&deeds(), |sequence| {
            runtime
                .block_on(walk.borrow_mut().run(&sequence))
                .map_err(|error| TestCaseError::fail(format!("{error:#}")))
        })
        .map_err(|error| error.to_string())
}

#[test]
fn whatever_is_done_the_record_is_what_it_should_be() {
    if let Err(error) = try_out(60, &[]) {
        panic!("{error}");
    }
}

/// A rule, and what takes it out of the database.
const RULES: [(&str, &[&str]); 9] = [
    (
        "INV-C1: enrolments keep their version",
        &["
        do $$ begin execute replace(
          pg_get_functiondef('private.count_progress'::regproc), 'where l.version_id = e.version_id',
          'where l.version_id = (private.latest_version(e.course_id)).id'
        ); end $$"],
    ),
    (
        "INV-C1: publishing moves nobody",
        &[
            "create function private.move_everybody() returns trigger language plpgsql as $$ begin
               update lms.enrollments e set version_id = new.id
               where e.course_id = new.course_id and e.status in ('enrolled', 'in_progress');
               return null;
             end $$",
            "create constraint trigger _999_move after insert on lms.course_versions
             deferrable initially immediate for each row execute function private.move_everybody()",
        ],
    ),
    (
        "INV-C2: a changed review changes the average",
        &["drop trigger _500_count_changed on lms.course_reviews"],
    ),
    (
        "INV-C2: a removed review leaves the average",
        &["drop trigger _500_count_removed on lms.course_reviews"],
    ),
    (
        "INV-E1: one open cycle",
        &[
            "drop index lms.one_open_cycle",
            "do $$ begin execute replace(
               pg_get_functiondef('private.enrollment_obstacles'::regproc), 'v_open.id is not null', 'false'
             ); end $$",
        ],
    ),
    (
        "INV-E2: only allowed transitions",
        &[
            "create or replace function private.is_enrollment_transition(from_status text, to_status text)
           returns boolean language sql immutable as 'select true'",
        ],
    ),
    (
        "INV-P1: progress only moves forward",
        &["drop trigger _300_advance on lms.lesson_progress"],
    ),
    (
        "INV-P2: every completion is counted",
        &["drop trigger _500_count_more on lms.lesson_progress"],
    ),
    (
        "INV-P2: what is all done is completed",
        &["drop trigger _200_settle on lms.enrollments"],
    ),
];

#[test]
fn without_any_one_of_the_rules_it_is_not() {
    for (rule, broken) in RULES {
        let outcome = try_out(200, broken);
        let Err(error) = outcome else {
            panic!("nothing noticed that this rule was missing: {rule}");
        };
        assert!(error.contains("differs:"), "{rule}: {error}");
    }
}
