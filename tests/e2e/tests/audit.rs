//! A day in the demo company, and what the audit trail says of it: every change to the row, nobody's words, and proof
//! that it was not altered afterwards, not even by a superuser.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lyceum_e2e::{Answer, DEMO_PASSWORD, Options, Person, Sandbox, root, shared};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;
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

    /// Notes what the log has to say about what was just done.
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

// The log itself ======================================================================================================

/// What `audit.watch` was told about a table.
struct Watched {
    name: String,
    personal: Vec<String>,
    ignored: Vec<String>,
    corrections_only: bool,
    /// Expression for a row's key, as the log spells it.
    key: String,
}

async fn watched(database: &Client) -> Result<Vec<Watched>> {
    let rows = database
        .query(
            "select w.table_name, w.personal || w.secret, w.ignored || array(
               select a.attname::text from pg_attribute a
               where a.attrelid = w.table_name::regclass and a.attgenerated <> ''
             ), w.corrections_only, (
               select string_agg('t.' || quote_ident(a.attname) || '::text', ' || '','' || ' order by k.place)
               from pg_index i
               cross join unnest(i.indkey) with ordinality as k (number, place)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
               where i.indrelid = w.table_name::regclass and i.indisprimary
             )
             from audit.watched_tables w order by 1",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Watched {
            name: row.get(0),
            personal: row.get(1),
            ignored: row.get(2),
            corrections_only: row.get(3),
            key: row.get(4),
        })
        .collect())
}

/// Every row of the watched tables by table and key.
type State = BTreeMap<(String, String), Map<String, Value>>;

async fn state(database: &Client, tables: &[Watched]) -> Result<State> {
    let mut state = State::new();
    for table in tables {
        let sql = format!(
            "select {}, to_jsonb(t)::text from {} t",
            table.key, table.name
        );
        for row in database.query(&sql, &[]).await? {
            let body: Map<String, Value> = serde_json::from_str(row.get(1))?;
            state.insert((table.name.clone(), row.get(0)), body);
        }
    }
    Ok(state)
}

/// All that was recorded after `since`, of every tenant and of none, oldest first.
async fn log(database: &Client, since: i64) -> Result<Vec<Value>> {
    let rows = database
        .query(
            "select to_jsonb(l)::text from audit.log l where l.id > $1 order by l.id",
            &[&since],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(serde_json::from_str(row.get(0))?))
        .collect()
}

/// Does to `state` what the log says was done. Old values have to be those that were there; of personal columns there is
/// a hash of each side, which stands for the value from then on.
fn replay(state: &mut State, tables: &[Watched], entries: &[Value]) {
    for entry in entries {
        let name = entry["table_name"].as_str().unwrap_or_default();
        let table = tables
            .iter()
            .find(|table| table.name == name)
            .unwrap_or_else(|| panic!("nobody watches this: {entry}"));
        let key = (
            name.to_owned(),
            entry["row_id"].as_str().unwrap_or_default().to_owned(),
        );
        let changes = entry["changes"]
            .as_object()
            .unwrap_or_else(|| panic!("{entry}"));
        let is_new = entry["operation"] == "INSERT";
        let is_gone = entry["operation"] == "DELETE"
            && changes.values().all(|change| change.get("new").is_none());
        let mut row = match (state.remove(&key), is_new) {
            (Some(row), false) => row,
            (None, true) => Map::new(),
            (found, _) => panic!("{entry} is about a row that was {found:?}"),
        };
        for (column, change) in changes {
            let side = |side: &str| change.get(side).cloned().unwrap_or_default();
            let was = row.get(column).cloned().unwrap_or_default();
            let is_personal = table.personal.contains(column);
            for value in [side("old"), side("new")] {
                assert!(
                    is_empty(&value) || is_personal == value.get("hash").is_some(),
                    "{column} is readable and must not be, or should be: {entry}"
                );
            }
            if is_personal {
                // Told apart by hash, or by being empty.
                let told = was.get("hash").is_some() || is_empty(&was);
                assert!(!told || side("old") == was, "{column} was {was}: {entry}");
            } else if !table.ignored.contains(column) && !table.corrections_only {
                assert_eq!(side("old"), was, "{column}: {entry}");
            }
            assert!(!is_gone || change.get("new").is_none(), "{entry}");
            row.insert(column.clone(), side("new"));
        }
        if is_gone {
            let unsaid: Vec<_> = row
                .iter()
                .filter(|(column, value)| {
                    !value.is_null() && !changes.contains_key(*column) && !is_unsaid(table, column)
                })
                .collect();
            assert!(unsaid.is_empty(), "{entry} says nothing of {unsaid:?}");
        } else {
            let tenant = if name == "lms.tenants" {
                "id"
            } else {
                "tenant_id"
            };
            let owner = row.get(tenant).cloned().unwrap_or_default();
            assert_eq!(entry["tenant_id"], owner, "{entry} is of another tenant");
            state.insert(key, row);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(parts) => parts.is_empty(),
        Value::Object(parts) => parts.is_empty(),
        _ => false,
    }
}

fn is_unsaid(table: &Watched, column: &str) -> bool {
    column == "updated_at" || table.ignored.iter().any(|name| name == column)
}

/// What happened without being recorded, or was recorded without having happened.
fn differences(tables: &[Watched], before: &State, told: &State, after: &State) -> Vec<String> {
    let mut found = Vec::new();
    for table in tables.iter().filter(|table| !table.corrections_only) {
        let keys: BTreeSet<_> = told
            .keys()
            .chain(after.keys())
            .filter(|(name, _)| *name == table.name)
            .collect();
        for key in keys {
            let (Some(told), Some(is)) = (told.get(key), after.get(key)) else {
                found.push(format!(
                    "{key:?}: there is {:?}, and told was {:?}",
                    after.get(key),
                    told.get(key)
                ));
                continue;
            };
            for (column, value) in is.iter().filter(|(column, _)| !is_unsaid(table, column)) {
                let said = told.get(column).cloned().unwrap_or_default();
                let was = before.get(key).and_then(|row| row.get(column));
                let is_as_told = if said.get("hash").is_some() {
                    // Which value it was, the hash does not say; that there was a new one, it does.
                    was != Some(value)
                } else {
                    said == *value
                };
                if !is_as_told {
                    found.push(format!("{key:?}.{column}: is {value}, and told was {said}"));
                }
            }
        }
    }
    found
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
    company.expect("supabase_auth_admin", &SIGNED_UP);
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
            ("UPDATE", "public.profiles", "first_name last_name"),
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

/// What a sign-up leaves.
const SIGNED_UP: [(&str, &str, &str); 2] = [
    ("INSERT", "public.profiles", ""),
    ("INSERT", "public.profile_private", ""),
];

/// One is transferred with what they are learning, three come with a file, an invitation is renewed and another revoked,
/// and somebody leaves of their own accord.
async fn people_come_and_go(company: &mut Company) -> Result<()> {
    let (hanna, ada) = (
        company.person("hanna").clone(),
        company.person("ada").clone(),
    );
    let sam = "/rest/v1/memberships?employee_number=eq.IW-0108";
    let units = hanna.get("/rest/v1/org_units?code=eq.HC").await?;
    done(
        hanna
            .patch(sam, &json!({ "unit_id": units.rows()[0]["id"] }))
            .await?,
    );
    company.expect(
        "hanna",
        &[
            ("UPDATE", "lms.enrollments", "unit_id"),
            ("UPDATE", "lms.memberships", "unit_id"),
        ],
    );

    let rows = json!([
        { "employee_number": "IW-0106", "job_title": "Lead welder" },
        { "employee_number": "IW-0102", "unit": "RM", "role": "unit_manager" },
        { "employee_number": "IW-0103" },
        { "employee_number": "IW-0300", "email": "pia@ironworks.example", "first_name": "Pia", "unit": "LV" },
        { "employee_number": "IW-0301", "email": "nowhere@ironworks.example", "unit": "NOWHERE" },
    ]);
    for (is_dry, actions) in [
        (true, ["updated", "moved", "unchanged", "invited", "failed"]),
        (
            false,
            ["updated", "moved", "unchanged", "invited", "failed"],
        ),
    ] {
        let body = json!({ "p_tenant_id": TENANT, "p_rows": rows, "p_dry_run": is_dry });
        let answer = hanna.rpc("import_people", &body).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let found: Vec<_> = answer
            .rows()
            .iter()
            .map(|row| row["action"].clone())
            .collect();
        assert_eq!(found, actions, "{answer:?}");
    }
    company.expect(
        "hanna",
        &[
            ("UPDATE", "lms.memberships", "job_title"),
            ("UPDATE", "lms.enrollments", "unit_id"),
            ("UPDATE", "lms.memberships", "unit_id"),
            ("INSERT", "lms.role_grants", ""),
            ("INSERT", "lms.invitations", ""),
        ],
    );

    let unit = hanna.get("/rest/v1/org_units?code=eq.MB").await?.rows()[0]["id"].clone();
    let body =
        json!({ "p_tenant_id": TENANT, "p_email": "lou@ironworks.example", "p_unit_id": unit });
    let first = done(hanna.rpc("invite", &body).await?);
    let again = json!({ "p_tenant_id": TENANT, "p_email": "lou@ironworks.example", "p_job_title": "Fitter" });
    let second = done(ada.rpc("invite", &again).await?);
    assert_eq!(first["invitation_id"], second["invitation_id"]);
    let gone = json!({ "p_invitation_id": second["invitation_id"] });
    done(hanna.rpc("revoke_invitation", &gone).await?);
    company.expect("hanna", &[("INSERT", "lms.invitations", "")]);
    company.expect(
        "ada",
        &[(
            "UPDATE",
            "lms.invitations",
            "expires_at invited_by job_title unit_id",
        )],
    );
    company.expect("hanna", &[("UPDATE", "lms.invitations", "revoked_at")]);

    let wren = sandbox()
        .sign_in("wren@ironworks.example", DEMO_PASSWORD)
        .await?;
    company.people.insert("wren", wren.clone());
    done(
        wren.rpc("leave_tenant", &json!({ "p_tenant_id": TENANT }))
            .await?,
    );
    company.expect(
        "wren",
        &[
            ("DELETE", "lms.role_grants", ""),
            ("UPDATE", "lms.memberships", "ended_at ended_by status"),
        ],
    );
    Ok(())
}

/// A cohort is made, filled, renamed and deleted with its members; the house rules change.
async fn a_cohort_and_new_settings(company: &mut Company) -> Result<()> {
    let ada = company.person("ada").clone();
    let cohort = id(&done(
        ada.post(
            "/rest/v1/cohorts",
            &json!({ "tenant_id": TENANT, "name": "Night shift" }),
        )
        .await?,
    ));
    for name in ["lena", "marco"] {
        let member = json!({ "cohort_id": cohort, "user_id": company.person(name).id });
        done(ada.post("/rest/v1/cohort_members", &member).await?);
    }
    let path = format!("/rest/v1/cohorts?id=eq.{cohort}");
    done(
        ada.patch(
            &path,
            &json!({ "name": "Late shift", "description": "From ten to six." }),
        )
        .await?,
    );
    let members = format!("/rest/v1/cohort_members?cohort_id=eq.{cohort}");
    done(
        ada.delete(&format!(
            "{members}&user_id=eq.{}",
            company.person("lena").id
        ))
        .await?,
    );
    done(ada.delete(&path).await?);
    done(
        ada.patch(
            &format!("/rest/v1/tenants?id=eq.{TENANT}"),
            &json!({ "settings": { "theme": "dark" }, "invitation_valid_days": 3 }),
        )
        .await?,
    );
    company.expect(
        "ada",
        &[
            ("INSERT", "lms.cohorts", ""),
            ("INSERT", "lms.cohort_members", ""),
            ("INSERT", "lms.cohort_members", ""),
            ("UPDATE", "lms.cohorts", "description name"),
            ("DELETE", "lms.cohort_members", ""),
            ("DELETE", "lms.cohorts", ""),
            ("DELETE", "lms.cohort_members", ""),
            ("UPDATE", "lms.tenants", "invitation_valid_days settings"),
        ],
    );
    Ok(())
}

/// Another organisation is founded and closed; none of it is in the first one's trail.
async fn a_neighbour_is_founded(company: &mut Company) -> Result<()> {
    let piet = sandbox().new_person("piet@platform.example").await?;
    company.people.insert("piet", piet.clone());
    company.expect("supabase_auth_admin", &SIGNED_UP);
    let database = sandbox().database().await?;
    database
        .execute(
            "insert into private.platform_admins (user_id) values ($1)",
            &[&piet.id],
        )
        .await?;
    company.expect("postgres", &[("INSERT", "private.platform_admins", "")]);
    let tenant =
        json!({ "p_slug": "foundry", "p_name": "Foundry", "p_admin_email": "fay@foundry.example" });
    let founded = done(piet.rpc("create_tenant", &tenant).await?);
    let closed = json!({ "p_tenant_id": founded["tenant_id"], "p_is_active": false });
    done(piet.rpc("set_tenant_active", &closed).await?);
    for (table, source) in [
        ("lms.roles", "private.builtin_roles"),
        ("lms.role_permissions", "private.builtin_role_permissions"),
        ("lms.assignable_roles", "private.builtin_assignable_roles"),
    ] {
        let count: i64 = database
            .query_one(&format!("select count(*) from {source}"), &[])
            .await?
            .get(0);
        for _ in 0..count {
            company.expect("piet", &[("INSERT", table, "")]);
        }
    }
    company.expect(
        "piet",
        &[
            ("INSERT", "lms.tenants", ""),
            ("INSERT", "lms.invitations", ""),
            ("UPDATE", "lms.tenants", "is_active"),
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
    let database = sandbox().database().await?;
    let tables = watched(&database).await?;
    let before = state(&database, &tables).await?;
    let newest = "select coalesce(max(id), 0) from audit.log";
    let since: i64 = database.query_one(newest, &[]).await?.get(0);

    a_newcomer_comes_and_goes(&mut company).await?;
    people_come_and_go(&mut company).await?;
    a_role_comes_and_goes(&mut company).await?;
    a_cohort_and_new_settings(&mut company).await?;
    a_course_is_published(&mut company).await?;
    a_neighbour_is_founded(&mut company).await?;
    some_things_are_refused(&company).await?;
    the_house_is_kept(&mut company).await?;

    // Of all tenants and of none: who did what, to the row.
    let recorded = log(&database, since).await?;
    let found: Vec<Entry> = recorded.iter().map(|row| summary(&company, row)).collect();
    assert_eq!(found, company.expected);
    // And what the values were: done again to what was there before, it makes what is there now.
    let mut told = before.clone();
    replay(&mut told, &tables, &recorded);
    let after = state(&database, &tables).await?;
    assert_eq!(differences(&tables, &before, &told, &after), [""; 0]);

    // The auditor reads just that, as far as it is the tenant's.
    let entries = trail(&audrey, since).await?;
    let own: Vec<&Value> = recorded
        .iter()
        .filter(|row| row["tenant_id"] == TENANT)
        .collect();
    assert_eq!(entries.len(), own.len());
    for (read, is) in entries.iter().zip(own) {
        assert_eq!((&read["id"], &read["changes"]), (&is["id"], &is["changes"]));
    }

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
    history_is_told(&audrey, &entries)?;
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

/// One of the operators' own scripts, run as docs tell them to; the rows that it prints.
fn script(name: &str, variables: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut psql = std::process::Command::new("psql");
    psql.args(["-qXAt", "-v", "ON_ERROR_STOP=1"])
        .arg(sandbox().address("DB_URL"));
    for (variable, value) in variables {
        psql.arg("-v").arg(format!("{variable}={value}"));
    }
    let output = psql
        .arg("-f")
        .arg(root().join("sql/audit").join(name))
        .output()
        .context("psql does not run")?;
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{name}: {output:?}"
    );
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// What an operator is told of a row and of a person.
fn history_is_told(audrey: &Person, entries: &[Value]) -> Result<()> {
    let renamed = entries
        .iter()
        .find(|row| row["table_name"] == "lms.cohorts" && row["operation"] == "UPDATE")
        .context("the cohort was renamed")?;
    let row = renamed["row_id"].as_str().unwrap_or_default();
    let person = renamed["actor_id"].as_str().unwrap_or_default();
    let of_row = script("history.sql", &[("row", row)])?;
    let name = of_row
        .iter()
        .find(|line| line.contains("|UPDATE|lms.cohorts|name|"))
        .with_context(|| format!("{of_row:?}"))?;
    assert!(name.contains("|\"Night shift\"|\"Late shift\"|"), "{name}");
    assert!(
        of_row
            .iter()
            .any(|line| line.contains("|DELETE|lms.cohorts|")),
        "{of_row:?}"
    );
    let did = entries
        .iter()
        .filter(|row| row["actor_id"] == person)
        .count();
    let of_person = script("history.sql", &[("person", person)])?;
    assert_eq!(of_person.len(), did, "{of_person:?}");
    assert!(
        of_person
            .iter()
            .any(|line| line.contains(&format!("|UPDATE|lms.cohorts|{row}|")))
    );
    assert_eq!(
        script("history.sql", &[("person", &audrey.id.to_string())])?,
        [""; 0]
    );
    let both = script("history.sql", &[("row", row), ("person", person)])?;
    assert_eq!(both.len(), of_row.len() + of_person.len());
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

    // What is committed is sealed once no older transaction runs anywhere in the cluster, which other tests use as well.
    let last = entries
        .last()
        .and_then(|row| row["id"].as_i64())
        .context("the last entry has an id")?;
    let sealed = "select exists (select from audit.seals where $1 = any (log_ids))";
    let begun = Instant::now();
    loop {
        database.batch_execute(seal).await?;
        if database.query_one(sealed, &[&last]).await?.get(0) {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "the day is not sealed"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let kept = audrey
        .rpc("get_audit_heads", &json!({ "p_tenant_id": TENANT }))
        .await?;
    assert_eq!(kept.rows().len(), 1, "{kept:?}");
    assert_eq!(problems(Some(&kept.body)).await?, []);
    // The operator keeps the heads of all tenants.
    let exported = script("export-heads.sql", &[])?.join("");
    let heads: Vec<Value> = serde_json::from_str(&exported)?;
    assert!(heads.len() > 1, "{exported}");
    for head in kept.rows() {
        assert!(
            heads.iter().any(|one| one["hash"] == head["hash"]),
            "{head} {exported}"
        );
    }
    assert_eq!(script("verify.sql", &[])?, [""; 0]);
    assert_eq!(script("verify.sql", &[("heads", &exported)])?, [""; 0]);

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
    let said = format!(
        "{TENANT}|ironworks|{}|{row}|row altered",
        number.unwrap_or_default()
    );
    assert_eq!(script("verify.sql", &[])?, [said]);
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
    assert_eq!(script("verify.sql", &[])?, [""; 0]);
    let told = script("verify.sql", &[("heads", &exported)])?;
    assert!(
        told.len() == 1 && told[0].ends_with("|seal missing"),
        "{told:?}"
    );
    let found = problems(Some(&kept.body)).await?;
    assert_eq!(
        (found.len(), found[0].2.as_str()),
        (1, "seal missing"),
        "{found:?}"
    );
    Ok(())
}
