//! A day in the demo company, and what the audit trail says of it: every change to the row, nobody's words, and proof
//! that it was not altered afterwards, not even by a superuser.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use lyceum_e2e::{Answer, DEMO_PASSWORD, Options, Person, Sandbox, shared};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

const TENANT: &str = "a0000000-0000-4000-8000-000000000001";
const HAZMAT: &str = "c0000000-0000-4000-8000-000000000001";

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: true,
            seed: true,
        },
    )
}

/// One row of the trail, as far as it is the same on every day: who, what, of which table, which columns.
type Entry = (String, String, String, String);

fn entry(who: &str, operation: &str, table: &str, columns: &str) -> Entry {
    (
        who.to_owned(),
        operation.to_owned(),
        table.to_owned(),
        columns.to_owned(),
    )
}

/// What `audit.verify` found: seal, row of the log, what is wrong.
type Problem = (Option<i64>, Option<i64>, String);

/// A day's people, by first name.
struct Company {
    people: BTreeMap<&'static str, Person>,
    /// What should be in the trail.
    expected: Vec<Entry>,
}

impl Company {
    async fn open() -> Result<Self> {
        let mut people = BTreeMap::new();
        for name in ["ada", "hanna", "marco", "ines", "lena", "audrey"] {
            let person = sandbox()
                .sign_in(&format!("{name}@ironworks.example"), DEMO_PASSWORD)
                .await?;
            people.insert(name, person);
        }
        Ok(Self {
            people,
            expected: Vec::new(),
        })
    }

    fn person(&self, name: &str) -> &Person {
        &self.people[name]
    }

    /// Notes what the trail has to say about what was just done.
    fn expect(&mut self, who: &str, changes: &[(&str, &str, &str)]) {
        for (operation, table, columns) in changes {
            self.expected.push(entry(who, operation, table, columns));
        }
    }
}

fn done(answer: Answer) -> Value {
    assert!(answer.status.is_success(), "{answer:?}");
    match answer.body {
        Value::Array(mut rows) => rows.swap_remove(0),
        body => body,
    }
}

fn id(row: &Value) -> String {
    row["id"]
        .as_str()
        .unwrap_or_else(|| panic!("a row with an id was expected: {row}"))
        .to_owned()
}

/// All entries of the tenant after `since`, oldest first, read as pages by somebody with audit.read.
async fn trail(reader: &Person, since: i64) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    let mut before: Option<i64> = None;
    loop {
        let page = reader
            .rpc(
                "get_audit_trail",
                &json!({ "p_tenant_id": TENANT, "p_before_id": before, "p_limit": 7 }),
            )
            .await?;
        assert_eq!(page.status, 200, "{page:?}");
        let rows = page.rows();
        let fresh: Vec<Value> = rows
            .iter()
            .filter(|row| row["id"].as_i64() > Some(since))
            .cloned()
            .collect();
        let last = fresh.len() < rows.len() || rows.len() < 7;
        entries.extend(fresh);
        if last {
            entries.reverse();
            return Ok(entries);
        }
        before = entries.last().and_then(|row| row["id"].as_i64());
    }
}

fn summary(company: &Company, row: &Value) -> Entry {
    let who = company
        .people
        .iter()
        .find(|(_, person)| row["actor_id"] == person.id.to_string())
        .map_or_else(
            || row["actor_role"].as_str().unwrap_or_default(),
            |(name, _)| name,
        );
    let operation = row["operation"].as_str().unwrap_or_default();
    let mut columns: Vec<&str> = match (operation, row["changes"].as_object()) {
        ("UPDATE", Some(changes)) => changes.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    columns.sort_unstable();
    entry(
        who,
        operation,
        row["table_name"].as_str().unwrap_or_default(),
        &columns.join(" "),
    )
}

async fn newest(reader: &Person) -> Result<i64> {
    let page = reader
        .rpc(
            "get_audit_trail",
            &json!({ "p_tenant_id": TENANT, "p_limit": 1 }),
        )
        .await?;
    Ok(page.rows().first().map_or(0, |row| {
        row["id"].as_i64().unwrap_or_else(|| panic!("{row}"))
    }))
}

/// Somebody is invited, joins, learns, is suspended and leaves.
async fn a_newcomer_comes_and_goes(company: &mut Company) -> Result<()> {
    let hanna = company.person("hanna").clone();
    let units = hanna.get("/rest/v1/org_units?code=eq.MB").await?;
    let invitation = done(
        hanna
            .rpc(
                "invite",
                &json!({
                    "p_tenant_id": TENANT, "p_email": "nia@ironworks.example", "p_unit_id": units.rows()[0]["id"],
                    "p_first_name": "Nia", "p_last_name": "Quillfeather", "p_job_title": "Crane operator",
                }),
            )
            .await?,
    );
    company.expect("hanna", &[("INSERT", "lms.invitations", "")]);

    let nia = sandbox().new_person("nia@ironworks.example").await?;
    company.people.insert("nia", nia.clone());
    let membership = id(&done(
        nia.rpc(
            "accept_invitation",
            &json!({ "p_token": invitation["token"] }),
        )
        .await?,
    ));
    company.expect(
        "nia",
        &[
            ("INSERT", "lms.memberships", ""),
            ("INSERT", "lms.role_grants", ""),
            ("UPDATE", "lms.invitations", "accepted_at accepted_by"),
        ],
    );

    let enrolled = nia
        .call(
            Method::POST,
            "/functions/v1/enrollment",
            &[("x-request-id", "day-in-the-demo-0001")],
            Some(&json!({ "course_id": HAZMAT })),
        )
        .await?;
    assert_eq!(enrolled.status, 201, "{enrolled:?}");
    company.expect("nia", &[("INSERT", "lms.enrollments", "")]);

    let lessons = nia
        .get(&format!(
            "/rest/v1/lessons?course_id=eq.{HAZMAT}&requires_completion=is.true&limit=2"
        ))
        .await?;
    let lesson = id(&lessons.rows()[0]);
    done(
        nia.rpc("complete_lesson", &json!({ "p_lesson_id": lesson }))
            .await?,
    );
    company.expect("nia", &[("UPDATE", "lms.enrollments", "started_at status")]);
    // Progress itself is not in the trail: the enrolment's counters follow from it.
    done(nia.upsert_progress(&lesson, 100).await?);
    done(nia.upsert_progress(&id(&lessons.rows()[1]), 40).await?);

    let path = format!("/rest/v1/memberships?id=eq.{membership}");
    let marco = company.person("marco").clone();
    done(
        marco
            .patch(&path, &json!({ "job_title": "Crane foreman" }))
            .await?,
    );
    company.expect("marco", &[("UPDATE", "lms.memberships", "job_title")]);

    done(
        hanna
            .patch(&path, &json!({ "status": "suspended" }))
            .await?,
    );
    company.expect("hanna", &[("UPDATE", "lms.memberships", "status")]);
    let refused = nia
        .rpc("complete_lesson", &json!({ "p_lesson_id": lesson }))
        .await?;
    assert!(!refused.status.is_success(), "{refused:?}");

    done(hanna.patch(&path, &json!({ "status": "ended" })).await?);
    company.expect(
        "hanna",
        &[
            ("DELETE", "lms.role_grants", ""),
            ("UPDATE", "lms.memberships", "ended_at ended_by status"),
        ],
    );
    Ok(())
}

/// A role is made, given, taken and deleted.
async fn a_role_comes_and_goes(company: &mut Company) -> Result<()> {
    let ada = company.person("ada").clone();
    let role = id(&done(
        ada.post(
            "/rest/v1/roles",
            &json!({ "tenant_id": TENANT, "key": "shift_lead", "name": "Shift lead" }),
        )
        .await?,
    ));
    done(
        ada.post(
            "/rest/v1/role_permissions",
            &json!({ "tenant_id": TENANT, "role_id": role, "permission": "members.read" }),
        )
        .await?,
    );
    let members = ada
        .get("/rest/v1/memberships?employee_number=eq.IW-0105")
        .await?;
    let grant = id(&done(
        ada.post(
            "/rest/v1/role_grants",
            &json!({ "tenant_id": TENANT, "membership_id": members.rows()[0]["id"], "role_id": role }),
        )
        .await?,
    ));
    done(
        ada.delete(&format!("/rest/v1/role_grants?id=eq.{grant}"))
            .await?,
    );
    done(ada.delete(&format!("/rest/v1/roles?id=eq.{role}")).await?);
    company.expect(
        "ada",
        &[
            ("INSERT", "lms.roles", ""),
            ("INSERT", "lms.role_permissions", ""),
            ("INSERT", "lms.role_grants", ""),
            ("DELETE", "lms.role_grants", ""),
            ("DELETE", "lms.roles", ""),
            ("DELETE", "lms.role_permissions", ""),
        ],
    );
    Ok(())
}

/// A course is written and published.
async fn a_course_is_published(company: &mut Company) -> Result<()> {
    let ines = company.person("ines").clone();
    let course = id(&done(
        ines.post(
            "/rest/v1/courses",
            &json!({ "tenant_id": TENANT, "slug": "ladders", "title": "Ladders" }),
        )
        .await?,
    ));
    let module = id(&done(
        ines.post(
            "/rest/v1/modules",
            &json!({ "course_id": course, "title": "Up" }),
        )
        .await?,
    ));
    let lesson = id(&done(
        ines.post(
            "/rest/v1/lessons",
            &json!({ "module_id": module, "title": "Three points of contact" }),
        )
        .await?,
    ));
    done(
        ines.post(
            "/rest/v1/lesson_blocks",
            &json!({ "lesson_id": lesson, "type": "markdown", "content": { "markdown": "Two feet, one hand." } }),
        )
        .await?,
    );
    done(
        ines.rpc("publish_course", &json!({ "p_course_id": course }))
            .await?,
    );
    company.expect(
        "ines",
        &[
            ("INSERT", "lms.course_staff", ""),
            ("INSERT", "lms.courses", ""),
            ("INSERT", "lms.modules", ""),
            ("INSERT", "lms.lessons", ""),
            ("INSERT", "lms.lesson_blocks", ""),
            ("INSERT", "lms.course_versions", ""),
            ("UPDATE", "lms.courses", "published_at status"),
        ],
    );
    Ok(())
}

/// What is refused leaves nothing.
async fn some_things_are_refused(company: &Company) -> Result<()> {
    let (lena, marco) = (company.person("lena"), company.person("marco"));
    let members = marco
        .get(&format!("/rest/v1/memberships?user_id=eq.{}", lena.id))
        .await?;
    let path = format!("/rest/v1/memberships?user_id=eq.{}", lena.id);
    let own = lena.patch(&path, &json!({ "status": "ended" })).await?;
    assert_eq!(own.rows().len(), 0, "{own:?}");
    let roles = marco.get("/rest/v1/roles?key=eq.tenant_admin").await?;
    let grant = json!({
        "tenant_id": TENANT, "membership_id": members.rows()[0]["id"], "role_id": roles.rows()[0]["id"],
    });
    let refused = marco.post("/rest/v1/role_grants", &grant).await?;
    assert_eq!(refused.status, 403, "{refused:?}");
    Ok(())
}

/// An operator at the console, and a job.
async fn the_house_is_kept(company: &mut Company) -> Result<()> {
    let database = sandbox().database().await?;
    database
        .batch_execute("update lms.org_units set name = 'Red Mesa Works' where code = 'RM'; update lms.invitations set expires_at = now() - interval '100 days' where email = 'uma@ironworks.example'")
        .await?;
    company.expect(
        "postgres",
        &[
            ("UPDATE", "lms.org_units", "name"),
            ("UPDATE", "lms.invitations", "expires_at"),
        ],
    );
    let run = database
        .query_one(
            "select status, rows_done from ops.run_job('forget-invitations')",
            &[],
        )
        .await?;
    assert_eq!(
        (run.get::<_, &str>(0), run.get::<_, Option<i64>>(1)),
        ("succeeded", Some(1))
    );
    company.expect("postgres", &[("DELETE", "lms.invitations", "")]);
    Ok(())
}

#[tokio::test]
async fn a_day_is_in_the_trail_to_the_row_and_stays_there() -> Result<()> {
    let mut company = Company::open().await?;
    let audrey = company.person("audrey").clone();
    let since = newest(&audrey).await?;

    a_newcomer_comes_and_goes(&mut company).await?;
    a_role_comes_and_goes(&mut company).await?;
    a_course_is_published(&mut company).await?;
    some_things_are_refused(&company).await?;
    the_house_is_kept(&mut company).await?;

    let entries = trail(&audrey, since).await?;
    let found: Vec<Entry> = entries.iter().map(|row| summary(&company, row)).collect();
    assert_eq!(found, company.expected);

    // Who, from where, by what.
    let enrolled = entries
        .iter()
        .find(|row| row["table_name"] == "lms.enrollments" && row["operation"] == "INSERT")
        .context("the enrolment is in the trail")?;
    assert_eq!(enrolled["via"], "POST /rpc/enroll");
    assert_eq!(enrolled["request_id"], "day-in-the-demo-0001");
    let client = enrolled["client"].as_str().unwrap_or_default();
    assert!(client.starts_with("lyceum-enrollment/"), "{client}");
    let forgotten = entries.last().context("the job is in the trail")?;
    assert_eq!(forgotten["via"], "job forget-invitations");

    // Changed personal values can be told apart, and not be read.
    let text = serde_json::to_string(&entries)?;
    for word in ["Quillfeather", "Crane", "nia@ironworks.example"] {
        assert!(!text.contains(word), "{word} is readable in the trail");
    }
    let titled = entries
        .iter()
        .find(|row| !row["changes"]["job_title"]["old"].is_null())
        .context("the new job title is in the trail")?;
    let hash = |side: &str| titled["changes"]["job_title"][side]["hash"].clone();
    assert!(
        hash("old").is_string() && hash("old") != hash("new"),
        "{titled}"
    );

    for name in ["lena", "marco", "ines", "hanna"] {
        let refused = company
            .person(name)
            .rpc("get_audit_trail", &json!({ "p_tenant_id": TENANT }))
            .await?;
        assert_eq!(refused.status, 403, "{name}: {refused:?}");
    }
    nobody_writes_it(&company).await?;
    tampering_is_found(&audrey, &entries).await
}

async fn nobody_writes_it(company: &Company) -> Result<()> {
    for person in [company.person("ada"), &sandbox().service()] {
        for (method, body) in [
            (Method::GET, None),
            (Method::POST, Some(json!({}))),
            (Method::PATCH, Some(json!({ "changes": {} }))),
            (Method::DELETE, None),
        ] {
            let profile = [("accept-profile", "audit"), ("content-profile", "audit")];
            let answer = person
                .call(method, "/rest/v1/log", &profile, body.as_ref())
                .await?;
            assert_eq!(answer.status, 406, "{answer:?}");
        }
    }
    Ok(())
}

/// As a superuser, to whom no trigger and no right is an obstacle.
async fn tampering_is_found(audrey: &Person, entries: &[Value]) -> Result<()> {
    let database = sandbox().database().await?;
    let (superuser, connection) =
        tokio_postgres::connect(sandbox().address("ADMIN_DB_URL"), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    superuser
        .batch_execute("set session_replication_role = replica")
        .await?;
    let tenant: Uuid = TENANT.parse()?;
    let seal = "select * from ops.run_job('seal-audit-log')";
    let problems = async |heads: Option<&Value>| -> Result<Vec<Problem>> {
        let heads = heads.map(Value::to_string);
        let rows = database
            .query(
                "select seal_number, log_id, problem from audit.verify($1, $2::text::jsonb)",
                &[&tenant, &heads],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect())
    };

    database.batch_execute(seal).await?;
    let kept = audrey
        .rpc("get_audit_heads", &json!({ "p_tenant_id": TENANT }))
        .await?;
    assert_eq!(kept.rows().len(), 1, "{kept:?}");
    assert_eq!(problems(Some(&kept.body)).await?, []);

    let row = entries[3]["id"].as_i64().context("an entry has an id")?;
    superuser
        .batch_execute(&format!(
            "create temporary table kept as select * from audit.log where id = {row};
             update audit.log set actor_id = null where id = {row}"
        ))
        .await?;
    let number = kept.rows()[0]["number"].as_i64();
    assert_eq!(
        problems(None).await?,
        [(number, Some(row), "row altered".to_owned())]
    );
    superuser
        .batch_execute(&format!("delete from audit.log where id = {row}"))
        .await?;
    assert_eq!(
        problems(None).await?,
        [(number, Some(row), "row missing".to_owned())]
    );
    superuser
        .batch_execute("insert into audit.log overriding system value select * from pg_temp.kept")
        .await?;
    assert_eq!(problems(Some(&kept.body)).await?, []);

    // The newest seal and all that it sealed, taken away without a trace inside the database: the head that the auditor has
    // kept is what finds it.
    superuser
        .batch_execute(&format!(
            "create temporary table gone as select unnest(log_ids) as id from audit.seals where tenant_id = '{TENANT}' and number = {0};
             delete from audit.heads where tenant_id = '{TENANT}';
             delete from audit.seals where tenant_id = '{TENANT}' and number = {0};
             delete from audit.log where id in (select id from gone);
             insert into audit.heads select tenant_id, number, hash, sealed_at from audit.seals
             where tenant_id = '{TENANT}' order by number desc limit 1",
            number.unwrap_or_default()
        ))
        .await?;
    assert_eq!(problems(None).await?, []);
    let found = problems(Some(&kept.body)).await?;
    assert_eq!(
        (found.len(), found[0].2.as_str()),
        (1, "seal missing"),
        "{found:?}"
    );
    Ok(())
}
