//! What somebody of one tenant reaches of another, and what a plain member reaches of the own one: nothing that is
//! not theirs, by no route.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use anyhow::Result;
use lyceum_e2e::{Answer, DEMO_PASSWORD, Options, Person, Sandbox, shared};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

/// Held by a test that changes the demo's rows and by the one that compares all of them.
static IRONWORKS_CHANGES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SCHEMAS: [&str; 6] = ["public", "lms", "content", "media", "billing", "analytics"];
const IRONWORKS: &str = "a0000000-0000-4000-8000-000000000001";
const FIELDNOTES: &str = "a0000000-0000-4000-8000-000000000002";
const HAZMAT: &str = "c0000000-0000-4000-8000-000000000001";
const LENA: &str = "d0000000-0000-4000-8000-000000000006";

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: true,
            seed: true,
        },
    )
}

async fn demo(email: &str) -> Result<Person> {
    sandbox().sign_in(email, DEMO_PASSWORD).await
}

/// Every table and view that PostgREST serves, as (schema, name), by the service role's own OpenAPI document.
async fn relations() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for schema in SCHEMAS {
        let document = sandbox()
            .service()
            .call(
                Method::GET,
                "/rest/v1/",
                &[("accept-profile", schema)],
                None,
            )
            .await?;
        for path in document.body["paths"]
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            let name = path.trim_start_matches('/');
            if !name.is_empty() && !name.starts_with("rpc/") {
                all.push((schema.to_owned(), name.to_owned()));
            }
        }
    }
    assert!(
        all.len() >= 14,
        "the OpenAPI document lists the exposed tables: {all:?}"
    );
    Ok(all)
}

/// All that a dump of every relation shows of one tenant, as text, to be compared before and after.
async fn fingerprint(tenant: &str) -> Result<String> {
    let database = sandbox().database().await?;
    let tables = database
        .query(
            "select format('%I.%I', table_schema, table_name) from information_schema.columns
             where column_name = 'tenant_id' and table_schema = 'lms' order by 1",
            &[],
        )
        .await?;
    let mut parts = Vec::new();
    for row in tables {
        let table: String = row.get(0);
        let sql = format!(
            "select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t where tenant_id = $1"
        );
        let hash: String = database
            .query_one(&sql, &[&tenant.parse::<Uuid>()?])
            .await?
            .get(0);
        parts.push(format!("{table} {hash}"));
    }
    Ok(parts.join("\n"))
}

/// Every id of a row of the tenant.
async fn ids_of(tenant: &str) -> Result<BTreeSet<String>> {
    let database = sandbox().database().await?;
    let tenant = tenant.parse::<Uuid>()?;
    let rows = database
        .query(
            "select id from lms.courses where tenant_id = $1 union all select id from lms.modules where tenant_id = $1
             union all select id from lms.lessons where tenant_id = $1 union all select id from lms.lesson_blocks where tenant_id = $1
             union all select id from lms.enrollments where tenant_id = $1 union all select id from lms.memberships where tenant_id = $1
             union all select id from lms.org_units where tenant_id = $1 union all select id from lms.roles where tenant_id = $1
             union all select id from lms.role_grants where tenant_id = $1 union all select id from lms.tenants where id = $1
             union all select id from lms.invitations where tenant_id = $1 union all select id from lms.cohorts where tenant_id = $1
             union all select user_id from lms.memberships where tenant_id = $1",
            &[&tenant],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.get::<_, Uuid>(0).to_string())
        .collect())
}

fn mentions(answer: &Answer, ids: &BTreeSet<String>) -> Option<String> {
    let text = answer.body.to_string();
    ids.iter().find(|id| text.contains(id.as_str())).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_reads_nothing_of_another_tenant_by_rest() -> Result<()> {
    let zoe = demo("zoe@fieldnotes.example").await?;
    let mut foreign = ids_of(IRONWORKS).await?;
    // Noah belongs to both; whether Zoe may see him is Field Notes' matter.
    foreign.remove("d0000000-0000-4000-8000-000000000007");
    for (schema, relation) in relations().await? {
        let profile = [
            ("accept-profile", schema.as_str()),
            ("prefer", "count=exact"),
        ];
        let all = zoe
            .call(
                Method::GET,
                &format!("/rest/v1/{relation}?select=*"),
                &profile,
                None,
            )
            .await?;
        assert!(
            all.status.is_success() || all.status == 403,
            "{schema}.{relation}: {all:?}"
        );
        assert_eq!(
            mentions(&all, &foreign),
            None,
            "{schema}.{relation} shows a row of another tenant"
        );

        // Asking for them by name changes nothing, neither in rows nor in counts.
        for filter in [
            format!("tenant_id=eq.{IRONWORKS}"),
            format!("id=eq.{HAZMAT}"),
            format!("course_id=eq.{HAZMAT}"),
            format!("user_id=eq.{LENA}"),
            format!("id=eq.{LENA}"),
        ] {
            let filtered = zoe
                .call(
                    Method::GET,
                    &format!("/rest/v1/{relation}?{filter}"),
                    &profile,
                    None,
                )
                .await?;
            if filtered.status.is_success() {
                assert_eq!(
                    filtered.rows().len(),
                    0,
                    "{schema}.{relation}?{filter}: {filtered:?}"
                );
                assert_eq!(
                    filtered.headers["content-range"], "*/0",
                    "{schema}.{relation}?{filter}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn embedding_does_not_reach_another_tenant() -> Result<()> {
    let zoe = demo("zoe@fieldnotes.example").await?;
    let foreign = ids_of(IRONWORKS).await?;
    let selects = [
        "courses?select=*,modules(*,lessons(*,lesson_blocks(*),lesson_progress(*))),enrollments(*,people(*),lesson_progress(*)),course_staff(*)",
        "tenants?select=*,courses(*),memberships(*,people(*),role_grants(*,roles(*,role_permissions(*)))),org_units(*)",
        "people?select=*,memberships(*,tenants(*)),enrollments(*,courses(*))",
        "memberships?select=*,people(*,enrollments(*))",
        "tenants?select=*,invitations(*,roles(*)),cohorts(*,cohort_members(*,people(*)))",
        "cohort_members?select=*,people(*,memberships(*))",
    ];
    for select in selects {
        let answer = zoe.get(&format!("/rest/v1/{select}")).await?;
        assert!(answer.status.is_success(), "{select}: {answer:?}");
        let seen =
            mentions(&answer, &foreign).filter(|id| id != "d0000000-0000-4000-8000-000000000007");
        assert_eq!(seen, None, "{select}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_id_is_answered_like_a_random_one() -> Result<()> {
    let zoe = demo("zoe@fieldnotes.example").await?;
    let database = sandbox().database().await?;
    let lesson: Uuid = database
        .query_one(
            "select id from lms.lessons where course_id = $1 limit 1",
            &[&HAZMAT.parse::<Uuid>()?],
        )
        .await?
        .get(0);
    let enrollment: Uuid = database
        .query_one(
            "select id from lms.enrollments where course_id = $1 limit 1",
            &[&HAZMAT.parse::<Uuid>()?],
        )
        .await?
        .get(0);
    let random = Uuid::new_v4().to_string();
    let calls: [(&str, &str, String); 9] = [
        ("enroll", "p_course_id", HAZMAT.to_owned()),
        (
            "check_enrollment_eligibility",
            "p_course_id",
            HAZMAT.to_owned(),
        ),
        ("get_course_outline", "p_course_id", HAZMAT.to_owned()),
        ("get_course_progress", "p_course_id", HAZMAT.to_owned()),
        ("publish_course", "p_course_id", HAZMAT.to_owned()),
        ("archive_course", "p_course_id", HAZMAT.to_owned()),
        ("get_lesson", "p_lesson_id", lesson.to_string()),
        ("complete_lesson", "p_lesson_id", lesson.to_string()),
        (
            "set_enrollment_status",
            "p_enrollment_id",
            enrollment.to_string(),
        ),
    ];
    for (function, argument, id) in calls {
        let with = |id: &str| {
            let mut arguments = json!({ argument: id });
            if function == "set_enrollment_status" {
                arguments["p_status"] = json!("dropped");
            }
            arguments
        };
        let foreign = zoe.rpc(function, &with(&id)).await?;
        let unknown = zoe.rpc(function, &with(&random)).await?;
        assert!(foreign.status.is_client_error(), "{function}: {foreign:?}");
        assert_eq!(
            foreign.status, unknown.status,
            "{function}: {foreign:?} {unknown:?}"
        );
        assert_eq!(
            foreign.body.to_string().replace(&id, "ID"),
            unknown.body.to_string().replace(&random, "ID"),
            "{function} tells a hidden row from none"
        );
    }
    let other_learner = zoe
        .rpc("get_user_courses", &json!({ "p_user_id": LENA }))
        .await?;
    assert_eq!(other_learner.rows().len(), 0);

    for (method, path, body) in [
        (
            Method::POST,
            "/functions/v1/enrollment".to_owned(),
            Some(json!({ "course_id": HAZMAT })),
        ),
        (
            Method::GET,
            format!("/functions/v1/enrollment/eligibility?course_id={HAZMAT}"),
            None,
        ),
    ] {
        let foreign = zoe.call(method.clone(), &path, &[], body.as_ref()).await?;
        let body = body.map(|_| json!({ "course_id": random }));
        let unknown = zoe
            .call(method, &path.replace(HAZMAT, &random), &[], body.as_ref())
            .await?;
        assert_eq!(
            (foreign.status.as_u16(), foreign.code()),
            (404, "course_not_found"),
            "{foreign:?}"
        );
        assert_eq!(
            (unknown.status.as_u16(), unknown.code()),
            (404, "course_not_found"),
            "{unknown:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_changes_nothing_of_another_tenant() -> Result<()> {
    let zoe = demo("zoe@fieldnotes.example").await?;
    let _quiet = IRONWORKS_CHANGES.lock().await;
    let before = fingerprint(IRONWORKS).await?;
    // What is not returned need not be visible: both, so that the rule for reading does not hide the one for writing.
    let prefers = [
        "return=representation,resolution=merge-duplicates",
        "return=minimal",
    ];
    for ((schema, relation), prefer) in relations()
        .await?
        .into_iter()
        .flat_map(|relation| prefers.map(|prefer| (relation.clone(), prefer)))
    {
        let profile = [("content-profile", schema.as_str()), ("prefer", prefer)];
        for filter in [
            format!("tenant_id=eq.{IRONWORKS}"),
            format!("course_id=eq.{HAZMAT}"),
            format!("id=eq.{HAZMAT}"),
            "id=not.is.null".to_owned(),
            String::new(),
        ] {
            let path = format!("/rest/v1/{relation}?{filter}");
            for change in [
                json!({ "title": "taken" }),
                json!({ "name": "taken" }),
                json!({ "status": "archived" }),
                json!({ "tenant_id": FIELDNOTES }),
                json!({ "unit_id": null }),
            ] {
                let answer = zoe
                    .call(Method::PATCH, &path, &profile, Some(&change))
                    .await?;
                assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
            }
            let answer = zoe.call(Method::DELETE, &path, &profile, None).await?;
            assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
        }
        for row in [
            json!({ "tenant_id": IRONWORKS, "slug": "mine", "title": "Mine" }),
            json!({ "id": HAZMAT, "tenant_id": FIELDNOTES, "slug": "moved", "title": "Moved" }),
            json!({ "course_id": HAZMAT, "user_id": zoe.id }),
            json!({ "course_id": HAZMAT, "title": "Mine", "order_index": 99 }),
            json!({ "tenant_id": IRONWORKS, "user_id": zoe.id }),
            json!({ "tenant_id": IRONWORKS, "name": "Annex" }),
        ] {
            let answer = zoe
                .call(
                    Method::POST,
                    &format!("/rest/v1/{relation}"),
                    &profile,
                    Some(&row),
                )
                .await?;
            assert!(
                !answer.status.is_success(),
                "{schema}.{relation} took {row}: {answer:?}"
            );
            assert!(
                !answer.status.is_server_error(),
                "{schema}.{relation}: {answer:?}"
            );
        }
    }
    assert_eq!(fingerprint(IRONWORKS).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_member_changes_no_course_and_no_rights() -> Result<()> {
    let wren = demo("wren@ironworks.example").await?;
    let database = sandbox().database().await?;
    let sums = "select md5(string_agg(t, '' order by t)) from (
        select c::text as t from lms.courses c union all select m::text from lms.modules m
        union all select l::text from lms.lessons l union all select b::text from lms.lesson_blocks b
        union all select s::text from lms.course_staff s union all select g::text from lms.role_grants g
        union all select r::text from lms.roles r union all select p::text from lms.role_permissions p
        union all select m::text from lms.memberships m where tenant_id = 'a0000000-0000-4000-8000-000000000001'
        union all select t::text from lms.tenants t union all select u::text from lms.org_units u) all_rows";
    let before: String = database.query_one(sums, &[]).await?.get(0);
    let roles = wren.get("/rest/v1/roles?key=eq.tenant_admin").await?;
    let membership = wren
        .get(&format!("/rest/v1/memberships?user_id=eq.{}", wren.id))
        .await?;
    let (role, membership) = (&roles.rows()[0]["id"], &membership.rows()[0]["id"]);

    let attempts: Vec<(Method, &str, Value)> = vec![
        (
            Method::PATCH,
            "courses?id=not.is.null",
            json!({ "title": "Free beer" }),
        ),
        (
            Method::PATCH,
            "courses?id=not.is.null",
            json!({ "status": "archived" }),
        ),
        (Method::DELETE, "courses?id=not.is.null", Value::Null),
        (
            Method::POST,
            "courses",
            json!({ "tenant_id": IRONWORKS, "slug": "mine", "title": "Mine" }),
        ),
        (
            Method::POST,
            "courses?on_conflict=id",
            json!({ "id": HAZMAT, "tenant_id": IRONWORKS, "slug": "x", "title": "X" }),
        ),
        (
            Method::PATCH,
            "modules?id=not.is.null",
            json!({ "title": "Free beer" }),
        ),
        (
            Method::POST,
            "modules",
            json!({ "course_id": HAZMAT, "title": "Mine" }),
        ),
        (
            Method::PATCH,
            "lessons?id=not.is.null",
            json!({ "requires_completion": false }),
        ),
        (Method::DELETE, "lessons?id=not.is.null", Value::Null),
        (
            Method::PATCH,
            "lesson_blocks?id=not.is.null",
            json!({ "content": {} }),
        ),
        (
            Method::POST,
            "course_staff",
            json!({ "tenant_id": IRONWORKS, "course_id": HAZMAT, "user_id": wren.id }),
        ),
        (
            Method::POST,
            "role_grants",
            json!({ "tenant_id": IRONWORKS, "membership_id": membership, "role_id": role }),
        ),
        (
            Method::PATCH,
            "role_grants?id=not.is.null",
            json!({ "role_id": role }),
        ),
        (
            Method::POST,
            "role_permissions",
            json!({ "tenant_id": IRONWORKS, "role_id": role, "permission": "catalog.write" }),
        ),
        (
            Method::PATCH,
            "memberships?id=not.is.null",
            json!({ "status": "suspended" }),
        ),
        (
            Method::PATCH,
            "memberships?id=not.is.null",
            json!({ "job_title": "Boss" }),
        ),
        (
            Method::PATCH,
            "tenants?id=not.is.null",
            json!({ "name": "Mine" }),
        ),
        (
            Method::POST,
            "org_units",
            json!({ "tenant_id": IRONWORKS, "name": "Mine" }),
        ),
    ];
    for (method, path, body) in attempts {
        let body = (!body.is_null()).then_some(&body);
        // Without a filter and without an answer, no row need be visible: only the rule for writing is in the way.
        let plain = path.split('?').next().unwrap_or(path);
        for (path, prefer) in [
            (path, "return=representation,resolution=merge-duplicates"),
            (plain, "return=minimal"),
        ] {
            let headers = [("content-profile", "lms"), ("prefer", prefer)];
            let answer = wren
                .call(method.clone(), &format!("/rest/v1/{path}"), &headers, body)
                .await?;
            let nothing = answer.status == 403
                || answer.status == 400
                || answer.status == 204
                || answer.body.as_array().is_some_and(Vec::is_empty);
            assert!(nothing, "{method} {path}: {answer:?}");
        }
    }
    for (function, arguments) in [
        ("publish_course", json!({ "p_course_id": HAZMAT })),
        ("archive_course", json!({ "p_course_id": HAZMAT })),
    ] {
        let answer = wren.rpc(function, &arguments).await?;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "42501"),
            "{function}: {answer:?}"
        );
    }
    let after: String = database.query_one(sums, &[]).await?.get(0);
    assert_eq!(before, after);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_sets_status_completion_score_or_tenant() -> Result<()> {
    let _quiet = IRONWORKS_CHANGES.lock().await;
    let tomas = demo("tomas@ironworks.example").await?;
    let path = format!("/rest/v1/enrollments?user_id=eq.{}", tomas.id);
    let enrollments = tomas.get(&path).await?;
    let lessons = tomas
        .get(&format!("/rest/v1/lessons?course_id=eq.{HAZMAT}&select=id"))
        .await?;
    let lesson = lessons.rows()[0]["id"].as_str().unwrap_or_default();
    let started = tomas.upsert_progress(lesson, 10).await?;
    assert_eq!(started.status, 201, "{started:?}");

    let owned = [
        "id",
        "tenant_id",
        "course_id",
        "user_id",
        "unit_id",
        "cycle",
        "status",
        "source",
        "enrolled_by",
        "enrolled_at",
        "started_at",
        "completed_at",
        "dropped_at",
        "paused_at",
        "expired_at",
        "items_total",
        "items_done",
        "progress_percentage",
        "time_spent_seconds",
        "current_lesson_id",
        "last_accessed_at",
        "final_grade",
        "created_at",
    ];
    for column in owned {
        let answer = tomas
            .patch(&path, &json!({ column: enrollments.rows()[0][column] }))
            .await?;
        // A generated column is refused by PostgreSQL itself, before rights.
        let expected = if column == "progress_percentage" {
            (400, "428C9")
        } else {
            (403, "42501")
        };
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            expected,
            "{column}: {answer:?}"
        );
    }
    for column in [
        "tenant_id",
        "status",
        "cycle",
        "source",
        "completed_at",
        "final_grade",
        "items_done",
        "unit_id",
        "enrolled_by",
    ] {
        let row = json!({ "user_id": tomas.id, "course_id": "c0000000-0000-4000-8000-000000000002", column: enrollments.rows()[0][column] });
        let answer = tomas.post("/rest/v1/enrollments", &row).await?;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "42501"),
            "{column}: {answer:?}"
        );
    }
    let progress = format!("/rest/v1/lesson_progress?user_id=eq.{}", tomas.id);
    for column in [
        "enrollment_id",
        "tenant_id",
        "course_id",
        "status",
        "first_accessed_at",
        "last_accessed_at",
    ] {
        let answer = tomas
            .patch(&progress, &json!({ column: started.body[0][column] }))
            .await?;
        // A generated column is refused by PostgreSQL itself, before rights.
        assert!(
            answer.code() == "42501" || answer.code() == "428C9",
            "{column}: {answer:?}"
        );
    }

    // Accepted and overruled: the times; refused: an end without the way to it.
    let claim = json!({
        "user_id": tomas.id, "lesson_id": lesson, "progress_percentage": 20,
        "completed_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z",
    });
    let headers = [
        ("content-profile", "lms"),
        (
            "prefer",
            "resolution=merge-duplicates,return=representation",
        ),
    ];
    let answer = tomas
        .call(
            Method::POST,
            "/rest/v1/lesson_progress",
            &headers,
            Some(&claim),
        )
        .await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body[0]["completed_at"], Value::Null);
    assert!(
        answer.body[0]["updated_at"]
            .as_str()
            .is_some_and(|at| at > "2026"),
        "{answer:?}"
    );

    // Somebody else's progress, and one's own moved to somebody else.
    let stolen = json!({ "user_id": LENA, "lesson_id": lesson, "progress_percentage": 100 });
    let answer = tomas
        .call(
            Method::POST,
            "/rest/v1/lesson_progress",
            &headers,
            Some(&stolen),
        )
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "42501"),
        "{answer:?}"
    );
    let answer = tomas.patch(&progress, &json!({ "user_id": LENA })).await?;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "42501"),
        "{answer:?}"
    );
    let answer = tomas
        .patch(&progress, &json!({ "lesson_id": lessons.rows()[1]["id"] }))
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (403, "42501"),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn inv_t4_a_suspension_holds_from_the_next_request() -> Result<()> {
    let database = sandbox().database().await?;
    let person = sandbox().new_person("suspended@isolation.example").await?;
    let course = "c0000000-0000-4000-8000-000000000011";
    // Joins by enrolling in an open public course.
    let enrolled = person
        .rpc("enroll", &json!({ "p_course_id": course }))
        .await?;
    assert_eq!(enrolled.status, 200, "{enrolled:?}");
    let lessons = person
        .get(&format!("/rest/v1/lessons?course_id=eq.{course}&select=id"))
        .await?;
    let lesson = lessons.rows()[0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(person.upsert_progress(&lesson, 50).await?.status, 201);
    // Who came that way is a guest, and sees what they came for.
    for (table, rows) in [
        ("tenants", 0),
        ("org_units", 0),
        ("roles", 0),
        ("memberships", 1),
        ("enrollments", 1),
    ] {
        let seen = person.get(&format!("/rest/v1/{table}")).await?;
        assert_eq!(seen.rows().len(), rows, "a guest reads {table}: {seen:?}");
    }
    let invitation = demo("petra@fieldnotes.example")
        .await?
        .rpc(
            "invite",
            &json!({ "p_tenant_id": FIELDNOTES, "p_email": "suspended@isolation.example" }),
        )
        .await?;
    let accepted = person
        .rpc(
            "accept_invitation",
            &json!({ "p_token": invitation.body["token"] }),
        )
        .await?;
    assert_eq!(accepted.body["is_guest"], false, "{accepted:?}");
    database
        .execute(
            "with c as (insert into lms.cohorts (tenant_id, name) values ($1, 'Together') returning id)
             insert into lms.cohort_members (cohort_id, user_id) select id, $2 from c",
            &[&FIELDNOTES.parse::<Uuid>()?, &person.id],
        )
        .await?;
    let tables = [
        "tenants",
        "memberships",
        "enrollments",
        "lesson_progress",
        "roles",
        "role_permissions",
        "role_grants",
        "invitations",
        "cohorts",
        "cohort_members",
    ];
    for table in tables {
        assert!(
            !person
                .get(&format!("/rest/v1/{table}"))
                .await?
                .rows()
                .is_empty(),
            "{table} before"
        );
    }

    database
        .execute(
            "update lms.memberships set status = 'suspended' where user_id = $1",
            &[&person.id],
        )
        .await?;
    for table in tables {
        assert_eq!(
            person.get(&format!("/rest/v1/{table}")).await?.rows().len(),
            0,
            "{table} after"
        );
    }
    assert_eq!(
        person.rpc("get_dashboard", &json!({})).await?.body["statistics"]["active_courses"],
        0
    );
    for (answer, code) in [
        (
            person.upsert_progress(&lesson, 90).await?,
            "membership_suspended",
        ),
        (
            person
                .rpc("enroll", &json!({ "p_course_id": course }))
                .await?,
            "not_eligible",
        ),
        (
            person
                .rpc(
                    "set_enrollment_status",
                    &json!({ "p_enrollment_id": enrolled.body["id"], "p_status": "dropped" }),
                )
                .await?,
            "enrollment_not_found",
        ),
    ] {
        assert_eq!(answer.code(), code, "{answer:?}");
    }
    let patched = person
        .patch(
            "/rest/v1/lesson_progress?lesson_id=not.is.null",
            &json!({ "progress_percentage": 90 }),
        )
        .await?;
    assert_eq!(patched.rows().len(), 0, "{patched:?}");
    let own = person
        .call(
            Method::GET,
            "/rest/v1/profiles",
            &[("accept-profile", "public")],
            None,
        )
        .await?;
    assert!(
        own.rows()
            .iter()
            .any(|row| row["id"] == person.id.to_string()),
        "the own profile stays: {own:?}"
    );

    database
        .execute(
            "update lms.memberships set status = 'active' where user_id = $1",
            &[&person.id],
        )
        .await?;
    let back = person.upsert_progress(&lesson, 90).await?;
    assert_eq!(back.body[0]["progress_percentage"], 90, "{back:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_manager_sees_and_assigns_within_the_unit_only() -> Result<()> {
    let marco = demo("marco@ironworks.example").await?;
    let seen = marco
        .get("/rest/v1/memberships?select=people(display_name),org_units(name)")
        .await?;
    let units: BTreeSet<_> = seen
        .rows()
        .iter()
        .map(|row| row["org_units"]["name"].to_string())
        .collect();
    assert_eq!(
        units,
        BTreeSet::from(["\"Millbrook\"".to_owned()]),
        "{seen:?}"
    );

    let forklift = "c0000000-0000-4000-8000-000000000002";
    let mia = "d0000000-0000-4000-8000-000000000008";
    let sam = "d0000000-0000-4000-8000-000000000013";
    let outside = marco
        .rpc(
            "enroll",
            &json!({ "p_course_id": forklift, "p_user_id": mia }),
        )
        .await?;
    let nobody = marco
        .rpc(
            "enroll",
            &json!({ "p_course_id": forklift, "p_user_id": Uuid::new_v4() }),
        )
        .await?;
    assert_eq!(
        (outside.status, &outside.body),
        (nobody.status, &nobody.body)
    );
    assert_eq!(outside.code(), "42501", "{outside:?}");
    let suspended = marco
        .rpc(
            "enroll",
            &json!({ "p_course_id": forklift, "p_user_id": sam }),
        )
        .await?;
    assert!(
        suspended.body["details"]
            .as_str()
            .is_some_and(|details| details.contains("membership_suspended")),
        "{suspended:?}"
    );
    Ok(())
}
