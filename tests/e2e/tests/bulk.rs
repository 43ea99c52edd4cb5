//! Bulk enrolment through the function: ten thousand rows, killed half-way, sent twice at once, and lists that are none.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::SinkExt as _;
use lyceum_e2e::{Answer, Options, Person, Sandbox, answer, shared};
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

const PEOPLE: i32 = 5000;

const OPTIONS: Options = Options {
    functions: true,
    seed: false,
};

fn sandbox() -> &'static Sandbox {
    shared(&SANDBOX, OPTIONS)
}

/// An organisation with people, courses, and somebody of HR.
struct Works<'a> {
    sandbox: &'a Sandbox,
    slug: String,
    tenant: Uuid,
    hanna: Person,
    database: tokio_postgres::Client,
}

impl<'a> Works<'a> {
    async fn found(sandbox: &'a Sandbox, people: i32, courses: i32) -> Result<Self> {
        let slug = format!("works-{}", Uuid::new_v4().simple());
        let hanna = sandbox.new_person(&format!("hanna@{slug}.example")).await?;
        let database = sandbox.database().await?;
        let text = format!(
            "insert into auth.users (instance_id, id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
             select '00000000-0000-0000-0000-000000000000', md5('{slug}:' || n)::uuid, 'authenticated', 'authenticated',
               'p' || n || '@{slug}.example', now(), '{{}}', '{{}}', now(), now()
             from generate_series(1, {people}) n;
             insert into lms.tenants (id, slug, name) values (md5('{slug}')::uuid, '{slug}', 'Works');
             insert into lms.memberships (tenant_id, user_id, employee_number)
             select md5('{slug}')::uuid, md5('{slug}:' || n)::uuid, lpad(n::text, 6, '0') from generate_series(1, {people}) n
             union all values (md5('{slug}')::uuid, '{hanna}'::uuid, 'HR');
             insert into lms.role_grants (tenant_id, membership_id, role_id)
             select m.tenant_id, m.id, r.id from lms.memberships m join lms.roles r on r.tenant_id = m.tenant_id and r.key = 'hr_admin'
             where m.tenant_id = md5('{slug}')::uuid and m.employee_number = 'HR';
             insert into lms.courses (id, tenant_id, slug, title, status, published_at, instructor_id)
             select md5('{slug}/' || n)::uuid, md5('{slug}')::uuid, 'course-' || n, 'Course ' || n, 'published', now(), '{hanna}'
             from generate_series(1, {courses}) n;
             insert into lms.courses (tenant_id, slug, title, instructor_id) values (md5('{slug}')::uuid, 'draft', 'Draft', '{hanna}');
             analyze auth.users, public.profiles, public.profile_private, lms.memberships, lms.courses;",
            hanna = hanna.id
        );
        database.batch_execute(&text).await?;
        let tenant = database
            .query_one("select id from lms.tenants where slug = $1", &[&slug])
            .await?
            .get(0);
        Ok(Self {
            sandbox,
            slug,
            tenant,
            hanna,
            database,
        })
    }

    fn email(&self, n: i32) -> String {
        format!("p{n}@{}.example", self.slug)
    }

    async fn send(
        &self,
        who: &Person,
        kind: &str,
        query: &str,
        key: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Answer> {
        let mut request = http_client()
            .post(format!(
                "{}/functions/v1/enrollment/bulk{query}",
                self.sandbox.address("API_URL")
            ))
            .header("apikey", self.sandbox.address("ANON_KEY"))
            .header("content-type", kind)
            .bearer_auth(&who.token)
            .body(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request).await
    }

    async fn send_json(&self, who: &Person, body: &Value) -> Result<Answer> {
        self.send(who, "application/json", "", None, body.to_string().into())
            .await
    }

    /// How many enrolments there are, and of how many pairs of person and course.
    async fn enrolled(&self) -> Result<(i64, i64)> {
        let row = self
            .database
            .query_one(
                "select count(*), count(distinct (user_id, course_id)) from lms.enrollments where tenant_id = $1",
                &[&self.tenant],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    }
}

fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(Duration::from_secs(120))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap_or_default()
}

/// 10,000 rows, of which 300 are at fault in seven ways; and by line what each should become.
fn list(works: &Works<'_>) -> (String, BTreeMap<u64, &'static str>) {
    let mut text = String::from("E-Mail;Personnel number;Course;Due date;Access until\r\n");
    let mut expected = BTreeMap::new();
    let mut line = 2;
    for n in 1..=PEOPLE {
        for course in 1..=2 {
            let (email, slug) = (works.email(n), format!("course-{course}"));
            let faulty = course == 1 && n % 100 < 6;
            let (row, outcome) = match (faulty, n % 7) {
                // By address or by number, which a spreadsheet was kept from cutting.
                (false, 0..4) => (format!("{email};;{slug};2031-05-01;"), "enrolled"),
                (false, _) => (format!(";\"=\"\"{n:06}\"\"\";{slug};;"), "enrolled"),
                (_, 0) => (
                    format!("nobody{n}@example.com;;{slug};;"),
                    "person_not_found",
                ),
                (_, 1) => (format!("{email};;no-such-course;;"), "course_not_found"),
                (_, 2) => (format!("{email};;draft;;"), "not_eligible"),
                (_, 3) => (format!("{email};;{slug};01.05.2031;"), "invalid_date"),
                (_, 4) => (format!("{email};;{slug}"), "wrong_number_of_columns"),
                (_, 5) => (format!(";;{slug};;"), "person_missing"),
                (_, _) => (format!("{email};HR;{slug};;"), "person_ambiguous"),
            };
            expected.insert(line, outcome);
            let _ = write!(text, "{row}\r\n");
            line += 1;
        }
    }
    (text, expected)
}

fn in_utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

fn outcomes(answer: &Answer) -> BTreeMap<u64, String> {
    answer.body["rows"]
        .as_array()
        .unwrap_or_else(|| panic!("rows were expected: {:?} {}", answer.status, answer.body))
        .iter()
        .map(|row| {
            let outcome = row["outcome"].as_str().unwrap_or_default();
            let told = if outcome == "refused" {
                row["code"].as_str().unwrap_or_default()
            } else {
                outcome
            };
            (row["row"].as_u64().unwrap_or_default(), told.to_owned())
        })
        .collect()
}

fn assert_told(what: &str, answer: &Answer, expected: &BTreeMap<u64, &str>) {
    assert_eq!(answer.status, 200, "{what}: {:?}", answer.body["code"]);
    let told = outcomes(answer);
    assert_eq!(told.len(), expected.len(), "{what}");
    for (row, expected) in expected {
        assert_eq!(told[row], *expected, "{what}, line {row}");
    }
}

/// The process of the sandbox's function, its program and its environment.
fn function(sandbox: &Sandbox) -> Result<(u32, std::path::PathBuf, HashMap<String, String>)> {
    let url = format!("SUPABASE_URL={}", sandbox.address("API_URL"));
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        let environment = String::from_utf8_lossy(&environment);
        let is_function = environment.contains("AWS_LAMBDA_FUNCTION_NAME=enrollment")
            && environment.split('\0').any(|variable| {
                variable == url || variable == format!("API_URL={}", sandbox.address("API_URL"))
            });
        if is_function {
            let variables = environment
                .split('\0')
                .filter_map(|variable| variable.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            return Ok((
                pid,
                std::fs::read_link(entry.path().join("exe"))?,
                variables,
            ));
        }
    }
    anyhow::bail!("the function does not run")
}

/// The most memory that a process has held, in kB.
fn peak_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .context("a process has a peak")?
        .trim()
        .parse()
        .context("in kB")
}

/// Ends with the test.
struct Restarted(Child);

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_that_is_killed_half_way_is_sent_again() -> Result<()> {
    // Of its own: the function that the other tests call is not to be killed.
    let own = Sandbox::start(OPTIONS)?;
    let works = Works::found(&own, PEOPLE, 2).await?;
    let (text, expected) = list(&works);
    let good = expected
        .values()
        .filter(|told| **told == "enrolled")
        .count();
    assert_eq!((expected.len(), good), (10_000, 9_700));
    let query = format!("?tenant_id={}", works.tenant);
    let file = in_utf16(&text);

    // What it would do, by a single call.
    let told = works
        .send(
            &works.hanna,
            "application/octet-stream",
            &format!("{query}&dry_run=true"),
            None,
            file.clone(),
        )
        .await?;
    let would: BTreeMap<u64, &str> = expected
        .iter()
        .map(|(line, told)| {
            (
                *line,
                if *told == "enrolled" {
                    "would_enroll"
                } else {
                    told
                },
            )
        })
        .collect();
    assert_told("the dry run", &told, &would);
    assert_eq!(works.enrolled().await?, (0, 0));

    // Killed once some are in, and not all.
    let (pid, program, environment) = function(&own)?;
    let sending = works.send(
        &works.hanna,
        "application/octet-stream",
        &query,
        Some("list 1"),
        file.clone(),
    );
    let killing = async {
        let begun = Instant::now();
        loop {
            let (there, _) = works.enrolled().await?;
            if there > 0 {
                let killed = Command::new("kill")
                    .args(["-9", &pid.to_string()])
                    .status()?;
                ensure!(killed.success(), "cannot kill the function");
                return anyhow::Ok(there);
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "nobody was enrolled"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let there = tokio::select! {
        told = sending => anyhow::bail!("it was answered before it was killed: {:?}", told?.status),
        there = killing => there?,
    };
    assert!(there < 9_700, "{there} rows were in already");
    let restarted = Restarted(
        Command::new(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_clear()
            .envs(&environment)
            .spawn()?,
    );

    // Under the same key it is answered as if nothing had happened; what was in stays in.
    let told = works
        .send(
            &works.hanna,
            "application/octet-stream",
            &query,
            Some("list 1"),
            file.clone(),
        )
        .await?;
    assert_told("sent again", &told, &expected);
    assert_eq!(works.enrolled().await?, (9_700, 9_700));
    assert_eq!(told.body["summary"]["enrolled"], 9_700);
    assert_eq!(told.body["summary"]["refused"], 300);
    for row in told.body["rows"].as_array().into_iter().flatten() {
        let is_explained = row["outcome"] != "refused"
            || row["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty());
        assert!(is_explained, "{row}");
    }

    // Without the key, and in other clothes: nobody is enrolled again.
    let told = works
        .send(
            &works.hanna,
            "text/csv; charset=utf-8",
            &query,
            None,
            text.replace(';', ",").into(),
        )
        .await?;
    let again: BTreeMap<u64, &str> = expected
        .iter()
        .map(|(line, told)| {
            (
                *line,
                if *told == "enrolled" {
                    "already_enrolled"
                } else {
                    told
                },
            )
        })
        .collect();
    assert_told("without a key", &told, &again);
    assert_eq!(works.enrolled().await?, (9_700, 9_700));

    let audited: i64 = works
        .database
        .query_one(
            "select count(*) from lms.enrollments where tenant_id = $1 and source = 'bulk' and enrolled_by = $2",
            &[&works.tenant, &works.hanna.id],
        )
        .await?
        .get(0);
    assert_eq!(audited, 9_700);
    let peak = peak_memory(restarted.0.id())?;
    println!("the function held {} MiB at most", peak / 1024);
    assert!(peak < 64 * 1024, "{peak} kB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_lists_at_once_enrol_each_once() -> Result<()> {
    let works = Works::found(sandbox(), 1500, 3).await?;
    works
        .database
        .execute(
            "update lms.courses set capacity = 40 where tenant_id = $1 and slug = 'course-3'",
            &[&works.tenant],
        )
        .await?;
    let row = |n: i32, course: i32| json!({ "email": works.email(n), "course_slug": format!("course-{course}") });
    let forth: Vec<Value> = (1..=1500)
        .flat_map(|n| [row(n, 1), row(n, 2)])
        .chain((1..=100).map(|n| row(n, 3)))
        .collect();
    let back: Vec<Value> = forth.iter().rev().cloned().collect();
    let bodies = [forth, back].map(|rows| json!({ "tenant_id": works.tenant, "rows": rows }));
    let (left, right) = tokio::join!(
        works.send_json(&works.hanna, &bodies[0]),
        works.send_json(&works.hanna, &bodies[1]),
    );
    let answers = [left?, right?];
    let mut enrolled = 0;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let summary = &answer.body["summary"];
        enrolled += summary["enrolled"].as_u64().unwrap_or_default();
        assert_eq!(summary["rows"], 3100);
        assert_eq!(
            summary["refused_by_code"]
                .as_object()
                .map(serde_json::Map::len),
            Some(1),
            "{summary}"
        );
        assert_eq!(summary["refused"], 60, "seats are 40: {summary}");
    }
    assert_eq!(enrolled, 3040);
    assert_eq!(works.enrolled().await?, (3040, 3040));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_that_are_none_are_refused_and_change_nothing() -> Result<()> {
    let works = Works::found(sandbox(), 3, 1).await?;
    let tenant = works.tenant;
    let query = format!("?tenant_id={tenant}");
    let bad: Vec<(&str, String, Vec<u8>, u16, &str)> = vec![
        (
            "application/json",
            String::new(),
            b"{".to_vec(),
            400,
            "malformed_body",
        ),
        (
            "application/json",
            String::new(),
            b"[]".to_vec(),
            400,
            "malformed_body",
        ),
        (
            "application/json",
            String::new(),
            b"{}".to_vec(),
            422,
            "validation_failed",
        ),
        (
            "application/json",
            String::new(),
            json!({ "tenant_id": tenant, "rows": 7 }).to_string().into(),
            422,
            "validation_failed",
        ),
        (
            "application/json",
            String::new(),
            json!({ "tenant_id": tenant, "rows": [], "colour": 1 })
                .to_string()
                .into(),
            422,
            "validation_failed",
        ),
        (
            "application/json",
            String::new(),
            json!({ "tenant_id": Uuid::new_v4(), "rows": [] })
                .to_string()
                .into(),
            404,
            "tenant_not_found",
        ),
        (
            "application/json",
            String::new(),
            json!({ "tenant_id": tenant, "rows": vec![1; 10_001] })
                .to_string()
                .into(),
            413,
            "too_many_rows",
        ),
        (
            "text/csv",
            String::new(),
            b"email,course\n".to_vec(),
            422,
            "validation_failed",
        ),
        (
            "text/csv",
            format!("{query}&colour=red"),
            b"email,course\n".to_vec(),
            422,
            "validation_failed",
        ),
        ("text/csv", query.clone(), Vec::new(), 400, "malformed_file"),
        (
            "text/csv",
            query.clone(),
            b"colour\n".to_vec(),
            422,
            "validation_failed",
        ),
        (
            "text/csv",
            query.clone(),
            b"email,course\na@b.c,\0\n".to_vec(),
            400,
            "malformed_file",
        ),
        (
            "text/csv",
            query.clone(),
            format!("email,course\n\"{}", "x,y\n".repeat(100_000)).into(),
            400,
            "malformed_file",
        ),
        (
            "application/octet-stream",
            query.clone(),
            b"\xff\xfex".to_vec(),
            400,
            "malformed_file",
        ),
        (
            "text/csv; charset=ebcdic",
            query.clone(),
            b"email,course\n".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            "text/html",
            query.clone(),
            b"<p>".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            "text/csv",
            query.clone(),
            format!("email,course\n{}", "a@b.c,x\n".repeat(10_001)).into(),
            413,
            "too_many_rows",
        ),
        (
            "text/csv",
            query.clone(),
            vec![b'x'; 5 * 1024 * 1024 + 1],
            413,
            "body_too_large",
        ),
    ];
    for (kind, query, body, status, code) in bad {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let told = works.send(&works.hanna, kind, &query, None, body).await?;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (status, code),
            "{kind} {start}: {told:?}"
        );
        assert!(
            told.body["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{told:?}"
        );
    }

    // What is odd within a row is that row's business.
    let rows = format!(
        "[{{\"email\": \"{}\", \"course_slug\": \"course-1\"}}, {{\"email\": \"\\u0000\", \"course_slug\": \"course-1\"}}, {{\"email\": {}{}}}, 7, {{\"row\": 3}}, {{\"email\": \"=1+1\", \"course_slug\": \"course-1\"}}]",
        works.email(1),
        "[".repeat(200),
        "]".repeat(200)
    );
    let body = format!("{{\"tenant_id\": \"{tenant}\", \"rows\": {rows}}}");
    let told = works
        .send(&works.hanna, "application/json", "", None, body.into())
        .await?;
    assert_told(
        "odd rows",
        &told,
        &BTreeMap::from([
            (1, "enrolled"),
            (2, "invalid_text"),
            (3, "invalid_text"),
            (4, "not_an_object"),
            (5, "unknown_column"),
            (6, "person_not_found"),
        ]),
    );

    // Rights are the caller's.
    let learner = sandbox().bearer(
        works.hanna.id,
        &sandbox().token(&json!({ "sub": works.database.query_one("select md5($1)::uuid", &[&format!("{}:1", works.slug)]).await?.get::<_, Uuid>(0), "role": "authenticated" }))?,
    );
    let told = works
        .send_json(&learner, &json!({ "tenant_id": tenant, "rows": [] }))
        .await?;
    assert_eq!((told.status.as_u16(), told.code()), (403, "forbidden"));
    let told = works
        .send_json(
            &sandbox().anonymous(),
            &json!({ "tenant_id": tenant, "rows": [] }),
        )
        .await?;
    assert_eq!(told.status, 401);
    assert_eq!(works.enrolled().await?, (1, 1));
    Ok(())
}

/// Prints how long 10,000 rows take through the function, against COPY and one INSERT ... SELECT by the owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a measurement: cargo test -p lyceum-e2e --test bulk -- --ignored --nocapture"]
async fn measure() -> Result<()> {
    const ROUNDS: i32 = 7;
    let works = Works::found(sandbox(), PEOPLE, 4 * ROUNDS).await?;
    works
        .database
        .batch_execute(&format!(
            "select private.freeze_course(id) from lms.courses where tenant_id = '{}' and status = 'published'",
            works.tenant
        ))
        .await?;
    let query = format!("?tenant_id={}", works.tenant);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let courses = [4 * round + 1, 4 * round + 2];
        let mut text = String::from("email,course,due\n");
        for course in courses {
            for n in 1..=PEOPLE {
                let _ = writeln!(text, "{},course-{course},2031-05-01", works.email(n));
            }
        }
        let begun = Instant::now();
        let told = works
            .send(&works.hanna, "text/csv", &query, None, text.into())
            .await?;
        ours.push(begun.elapsed().as_millis());
        assert_eq!(
            told.body["summary"]["enrolled"], 10_000,
            "{}",
            told.body["summary"]
        );

        let mut copied = String::new();
        for course in courses.map(|course| course + 2) {
            for n in 1..=PEOPLE {
                let _ = writeln!(copied, "{},course-{course},2031-05-01", works.email(n));
            }
        }
        let begun = Instant::now();
        works
            .database
            .batch_execute("begin; create temporary table staged (email text, course text, due date) on commit drop")
            .await?;
        let sink = works
            .database
            .copy_in("copy staged from stdin (format csv)")
            .await?;
        let mut sink = Box::pin(sink);
        sink.send(std::io::Cursor::new(copied.into_bytes())).await?;
        sink.as_mut().finish().await?;
        let inserted = works
            .database
            .execute(
                "insert into lms.enrollments (course_id, user_id, due_at, source)
                 select c.id, p.profile_id, s.due, 'bulk'
                 from staged s
                 join lms.courses c on c.tenant_id = $1 and c.slug = s.course
                 join public.profile_private p on lower(p.email) = s.email",
                &[&works.tenant],
            )
            .await?;
        works.database.batch_execute("commit").await?;
        theirs.push(begun.elapsed().as_millis());
        assert_eq!(inserted, 10_000);
    }
    let median = |times: &[u128]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!("function: {ours:?} ms, median {}", median(&ours));
    println!(
        "COPY and INSERT ... SELECT: {theirs:?} ms, median {}",
        median(&theirs)
    );
    println!(
        "peak of the function: {} MiB",
        peak_memory(function(sandbox())?.0)? / 1024
    );
    Ok(())
}
