//! What is written: upserts, preferences, changes without a filter, odd bodies.

use std::collections::BTreeSet;

use anyhow::Result;
use lyceum_e2e::{Answer, Person};
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::company::{Company, RIGHTS};
use crate::{RETURNED, WAYS, nothing_happened, raw, sandbox};

/// A row of another tenant, sent back as it is or as one's own, moves nothing: whatever it conflicts on.
#[tokio::test(flavor = "multi_thread")]
async fn upserts_do_not_move_rows() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let before = other.everything().await?;
    let targets = company
        .database
        .query(
            "select c.relname::text, string_agg(a.attname, ',' order by k.n)
             from pg_index i join pg_class c on c.oid = i.indrelid and c.relnamespace = 'lms'::regnamespace
             cross join unnest(i.indkey) with ordinality as k (attnum, n)
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
             where i.indisunique and c.relkind in ('r', 'p')
             group by c.relname, i.indexrelid order by 1, 2",
            &[],
        )
        .await?;
    assert!(targets.len() > 30, "{}", targets.len());
    let mut refused = 0;
    for target in &targets {
        let (table, columns): (String, String) = (target.get(0), target.get(1));
        let key = if table == "tenants" {
            "id"
        } else {
            "tenant_id"
        };
        // Vocabularies, the same for every tenant.
        if ["permissions", "notification_kinds", "standard_templates"].contains(&table.as_str()) {
            continue;
        }
        let foreign = sandbox()
            .service()
            .get(&format!(
                "/rest/v1/{table}?{key}=eq.{}&limit=1",
                other.tenant
            ))
            .await?;
        let Some(row) = foreign.rows().first().and_then(Value::as_object).cloned() else {
            panic!("the company has no row in {table}");
        };
        let granted: BTreeSet<String> = company
            .database
            .query(
                "select column_name::text from information_schema.column_privileges
                 where table_schema = 'lms' and table_name = $1 and grantee = 'authenticated'
                   and privilege_type = 'INSERT'",
                &[&table],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        let mut own = row.clone();
        if own.contains_key("tenant_id") {
            own.insert("tenant_id".to_owned(), json!(company.tenant));
        }
        let only = |row: &Map<String, Value>| -> Map<String, Value> {
            row.iter()
                .filter(|(name, _)| granted.contains(*name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let bodies = [row.clone(), own.clone(), only(&row), only(&own)];
        for name in ["boss", "hr", "learner"] {
            for body in &bodies {
                for way in WAYS {
                    let headers = [("content-profile", "lms"), ("prefer", way)];
                    let path = format!("/rest/v1/{table}?on_conflict={columns}");
                    let answer = company
                        .person(name)
                        .call(
                            Method::POST,
                            &path,
                            &headers,
                            Some(&Value::Object(body.clone())),
                        )
                        .await?;
                    assert!(
                        !answer.status.is_server_error(),
                        "{name}: {path}: {answer:?}"
                    );
                    refused += u32::from(answer.status.is_client_error());
                }
            }
        }
    }
    assert_eq!(
        other.everything().await?,
        before,
        "rows of another tenant were moved or changed"
    );
    assert!(refused > 500, "{refused}");
    Ok(())
}

/// What `Prefer` asks for changes neither who one is nor what is written.
#[tokio::test(flavor = "multi_thread")]
async fn preferences_change_no_rights() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let before = (company.everything().await?, other.everything().await?);
    let (learner, admin) = (
        company.person("learner"),
        company.role("tenant_admin").await?,
    );
    let membership = company.membership("learner").await?;
    let preferences = [
        "tx=commit",
        "tx=rollback",
        "params=single-object",
        "params=multiple-objects",
        "missing=default",
        "missing=null",
        "return=minimal",
        "return=headers-only",
        "return=representation",
        "handling=strict",
        "handling=lenient, tx=commit",
        "handling=strict, max-affected=1000",
        "resolution=merge-duplicates",
        "resolution=ignore-duplicates, missing=default",
        "timezone=Mars/Olympus",
        "timezone=UTC'; set role postgres; --",
        "count=exact",
        "role=service_role",
    ];
    let attempts: [(Method, &str, Value); 9] = [
        (
            Method::POST,
            "role_grants",
            json!({ "tenant_id": company.tenant, "membership_id": membership, "role_id": admin }),
        ),
        (
            Method::POST,
            "role_grants?columns=tenant_id,membership_id,role_id",
            json!([{ "tenant_id": company.tenant, "membership_id": membership, "role_id": admin }]),
        ),
        (Method::PATCH, "role_grants", json!({ "role_id": admin })),
        (Method::DELETE, "role_grants", Value::Null),
        (
            Method::PATCH,
            "memberships",
            json!({ "status": "suspended" }),
        ),
        (Method::DELETE, "cohort_members", Value::Null),
        (Method::PATCH, "tenants", json!({ "name": "Mine" })),
        (
            Method::POST,
            "memberships?columns=tenant_id,user_id,is_guest",
            json!({ "tenant_id": other.tenant, "user_id": learner.id, "is_guest": false }),
        ),
        (
            Method::POST,
            "rpc/set_tenant_active",
            json!({ "p_tenant_id": other.tenant, "p_is_active": false }),
        ),
    ];
    for prefer in preferences {
        for (method, path, body) in &attempts {
            let headers = [("content-profile", "lms"), ("prefer", prefer)];
            let body = (!body.is_null()).then_some(body);
            let answer = learner
                .call(method.clone(), &format!("/rest/v1/{path}"), &headers, body)
                .await?;
            assert!(
                nothing_happened(&answer),
                "{prefer}: {method} {path}: {answer:?}"
            );
        }
        let headers = [("accept-profile", "lms"), ("prefer", prefer)];
        let answer = learner
            .call(
                Method::GET,
                "/rest/v1/memberships?select=id",
                &headers,
                None,
            )
            .await?;
        assert!(!answer.status.is_server_error(), "{prefer}: {answer:?}");
        let rows = answer.body.as_array().map_or(0, Vec::len);
        assert!(rows <= 1, "{prefer}: {answer:?}");
    }
    assert_eq!(
        (company.everything().await?, other.everything().await?),
        before
    );

    // A rehearsal is not offered: what was answered as done is done.
    let headers = [
        ("content-profile", "lms"),
        RETURNED,
        ("prefer", "tx=rollback"),
    ];
    let path = format!("/rest/v1/memberships?id=eq.{membership}");
    let answer = company
        .person("boss")
        .call(
            Method::PATCH,
            &path,
            &headers,
            Some(&json!({ "job_title": "Rehearsed" })),
        )
        .await?;
    let now = company.person("boss").get(&path).await?;
    assert_eq!(
        answer.rows()[0]["job_title"],
        now.rows()[0]["job_title"],
        "{answer:?}"
    );
    Ok(())
}

/// Without a filter a change means "all that I may change", and that is what it changes.
#[tokio::test(flavor = "multi_thread")]
async fn changes_without_a_filter_stay_in_scope() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let before = other.everything().await?;
    let ids = |answer: &Answer| -> BTreeSet<String> {
        let rows = answer.body.as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["id"].as_str().map(str::to_owned))
            .collect()
    };
    let manager = company.person("manager");
    let changed = manager
        .patch("/rest/v1/memberships", &json!({ "job_title": "All mine" }))
        .await?;
    let expected = [
        company.membership("manager").await?,
        company.membership("learner").await?,
    ];
    assert_eq!(
        ids(&changed),
        expected.iter().map(Uuid::to_string).collect(),
        "{changed:?}"
    );
    let changed = manager
        .patch("/rest/v1/org_units", &json!({ "kind": "team" }))
        .await?;
    assert_eq!(
        ids(&changed),
        BTreeSet::from([company.unit("dock").await?.to_string()]),
        "{changed:?}"
    );
    let cohorts = |names: &'static str| {
        let database = &company.database;
        let tenant = company.tenant;
        async move {
            let sql = format!(
                "select count(*) from lms.cohorts where tenant_id = $1 and name in ({names})"
            );
            Ok::<i64, anyhow::Error>(database.query_one(&sql, &[&tenant]).await?.get(0))
        }
    };
    // Also where no row is returned, and so none need be visible.
    let blind = [("content-profile", "lms"), ("prefer", "return=minimal")];
    let title = json!({ "job_title": "Blindly" });
    let path = "/rest/v1/memberships";
    let changed = manager
        .call(Method::PATCH, path, &blind, Some(&title))
        .await?;
    assert_eq!(changed.status, 204, "{changed:?}");
    let sql = "select array_agg(id order by id) = (select array_agg(e order by e) from unnest($2::uuid[]) e)
               from lms.memberships where tenant_id = $1 and job_title = 'Blindly'";
    let row = company
        .database
        .query_one(sql, &[&company.tenant, &expected.to_vec()])
        .await?;
    assert!(
        row.get::<_, bool>(0),
        "exactly the people of the unit are changed"
    );
    let removed = manager
        .call(Method::DELETE, "/rest/v1/cohorts", &blind, None)
        .await?;
    assert_eq!(removed.status, 204, "{removed:?}");
    assert_eq!(cohorts("'Cohort of north', 'Cohort of dock'").await?, 0);
    assert_eq!(cohorts("'Everybody', 'Cohort of south'").await?, 2);

    // Deleting rights is for administrators; not even they delete what is the last of its kind, nor built-in roles.
    let rights = company.dump(&RIGHTS).await?;
    for name in ["hr", "manager", "teacher", "auditor", "learner"] {
        for table in [
            "role_grants",
            "role_permissions",
            "roles",
            "assignable_roles",
            "memberships",
            "invitations",
        ] {
            for way in WAYS {
                let headers = [("content-profile", "lms"), ("prefer", way)];
                let answer = company
                    .person(name)
                    .call(Method::DELETE, &format!("/rest/v1/{table}"), &headers, None)
                    .await?;
                assert!(nothing_happened(&answer), "{name}: {table}: {answer:?}");
            }
        }
    }
    for table in [
        "role_grants",
        "memberships",
        "roles",
        "role_permissions",
        "assignable_roles",
    ] {
        let answer = company
            .person("boss")
            .delete(&format!("/rest/v1/{table}"))
            .await?;
        assert!(answer.status.is_client_error(), "{table}: {answer:?}");
    }
    let suspended = company
        .person("boss")
        .patch("/rest/v1/memberships", &json!({ "status": "suspended" }))
        .await?;
    assert_eq!(suspended.status.as_u16() / 100, 4, "{suspended:?}");
    assert_eq!(company.dump(&RIGHTS).await?, rights);
    let gone = company
        .person("boss")
        .delete("/rest/v1/invitations")
        .await?;
    assert_eq!(gone.rows().len(), 1, "{gone:?}");
    assert_eq!(other.everything().await?, before);
    Ok(())
}

/// One body, several rows, and among them one that is not the sender's to write: none is written, however it is said.
#[tokio::test(flavor = "multi_thread")]
async fn odd_bodies_write_nothing_that_plain_ones_would_not() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let before = (company.everything().await?, other.everything().await?);
    let (boss, manager) = (company.person("boss"), company.person("manager"));
    let tenant = company.tenant;
    let (north, dock) = (company.unit("north").await?, company.unit("dock").await?);
    let (learner, membership) = (
        company.role("learner").await?,
        company.membership("learner").await?,
    );
    let admin = company.role("tenant_admin").await?;
    let json_type = ("content-type", "application/json");
    let csv = ("content-type", "text/csv");
    let grants = "/rest/v1/role_grants";

    let own = json!({
        "tenant_id": tenant, "membership_id": membership, "role_id": learner, "unit_id": dock,
    });
    let too_much = json!({
        "tenant_id": tenant, "membership_id": membership, "role_id": admin, "unit_id": dock,
    });
    let fewer_keys = json!({ "tenant_id": tenant, "membership_id": membership, "role_id": admin });
    let keys = format!(r#""tenant_id":"{tenant}","membership_id":"{membership}""#);
    let titles = "tenant_id,membership_id,role_id";
    let line = format!("{tenant},{membership}");
    let mut cases: Vec<(&Person, String, (&str, &str), String)> = Vec::new();
    for body in [
        json!([own, too_much]).to_string(),
        json!([too_much, own]).to_string(),
        // Of keys that are said twice, whichever counts is judged.
        format!(r#"{{{keys},"role_id":"{learner}","role_id":"{admin}","unit_id":"{dock}"}}"#),
        format!(r#"{{{keys},"role_id":"{learner}","unit_id":"{dock}","unit_id":null}}"#),
        format!(
            r#"{{"tenant_id":"{}",{keys},"role_id":"{admin}"}}"#,
            other.tenant
        ),
        // Keys that differ from row to row.
        json!([own, fewer_keys]).to_string(),
        // Values of another kind than the column's.
        json!({ "tenant_id": [tenant], "membership_id": { "eq": membership }, "role_id": admin })
            .to_string(),
        json!([[own]]).to_string(),
        format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!(
            r#"{{"tenant_id":{}1{}}}"#,
            "[".repeat(6_000),
            "]".repeat(6_000)
        ),
    ] {
        cases.push((manager, grants.to_owned(), json_type, body));
    }
    for body in [
        format!("{titles},unit_id\n{line},{learner},{dock}\n{line},{admin},{dock}\n"),
        format!("{titles},unit_id\n{line},{learner},NULL\n"),
        format!("{titles}\n{line},{learner}\n"),
        format!("{titles},role_id,unit_id\n{line},{learner},{admin},{dock}\n"),
    ] {
        cases.push((manager, grants.to_owned(), csv, body));
    }
    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = format!("tenant_id={tenant}&membership_id={membership}&role_id={admin}");
    cases.push((manager, grants.to_owned(), form, body));
    // Columns that the address hides from the body, or adds to it.
    for columns in [
        "tenant_id,membership_id,role_id",
        "id,tenant_id,membership_id,role_id,unit_id",
        "tenant_id,membership_id,role_id,unit_id,created_at",
    ] {
        let path = format!("{grants}?columns={columns}");
        cases.push((manager, path, json_type, json!([own]).to_string()));
    }
    // One statement, two tenants.
    for (table, row) in [
        ("roles", json!({ "key": "a_role", "name": "A role" })),
        ("org_units", json!({ "name": "New" })),
        ("cohorts", json!({ "name": "New" })),
    ] {
        let (mut one, mut two) = (row.clone(), row);
        one["tenant_id"] = json!(tenant);
        two["tenant_id"] = json!(other.tenant);
        let path = format!("/rest/v1/{table}");
        cases.push((boss, path, json_type, json!([one, two]).to_string()));
    }
    let units = format!("tenant_id,name\n{tenant},New\n{},New\n", other.tenant);
    cases.push((boss, "/rest/v1/org_units".to_owned(), csv, units));
    let (cohort, foreign_hr) = (company.any("cohorts").await?, other.person("hr").id);
    let places = json!([
        { "cohort_id": cohort, "user_id": company.person("hr").id },
        { "cohort_id": other.any("cohorts").await?, "user_id": foreign_hr },
    ]);
    let path = "/rest/v1/cohort_members";
    cases.push((boss, path.to_owned(), json_type, places.to_string()));
    let places = format!("cohort_id,user_id\n{cohort},{foreign_hr}\n");
    cases.push((boss, path.to_owned(), csv, places));
    let cohorts = json!([
        { "tenant_id": tenant, "unit_id": north, "name": "Mine" },
        { "tenant_id": tenant, "unit_id": null, "name": "Not mine" },
    ]);
    let path = "/rest/v1/cohorts".to_owned();
    cases.push((manager, path, json_type, cohorts.to_string()));
    let path = "/rest/v1/memberships";
    let people = json!([{ "tenant_id": tenant, "user_id": foreign_hr }]);
    cases.push((boss, path.to_owned(), json_type, people.to_string()));
    let people = format!("tenant_id,user_id\n{tenant},{foreign_hr}\n");
    cases.push((boss, path.to_owned(), csv, people));
    let tenants = json!([{ "name": "x", "settings": {} }]);
    let path = "/rest/v1/tenants".to_owned();
    cases.push((boss, path, json_type, tenants.to_string()));
    for (person, path, kind, body) in cases {
        for way in &WAYS[..2] {
            let headers = [kind, ("prefer", way)];
            let answer = raw(person, Method::POST, &path, &headers, body.clone()).await?;
            let said: String = body.chars().take(300).collect();
            assert!(
                answer.status.is_client_error(),
                "{path}: {said}: {answer:?}"
            );
        }
    }
    // No rows are nothing to do.
    for body in ["[]", "null"] {
        let answer = raw(
            manager,
            Method::POST,
            grants,
            &[json_type, RETURNED],
            body.to_owned(),
        )
        .await?;
        assert!(nothing_happened(&answer), "{body}: {answer:?}");
    }
    assert_eq!(
        (company.everything().await?, other.everything().await?),
        before
    );

    // And what may be written can be, in the same ways.
    let row = |name: &str| json!({ "tenant_id": tenant, "unit_id": north, "name": name });
    let answer = raw(
        manager,
        Method::POST,
        "/rest/v1/cohorts",
        &[json_type, RETURNED],
        json!([row("One"), row("Two")]).to_string(),
    )
    .await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    let lines = format!("tenant_id,unit_id,name\n{tenant},{dock},Three\n");
    let answer = raw(
        manager,
        Method::POST,
        "/rest/v1/cohorts",
        &[csv, RETURNED],
        lines,
    )
    .await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    Ok(())
}

/// Somebody of two tenants has in each the rights that they have there.
#[tokio::test(flavor = "multi_thread")]
async fn rights_in_one_tenant_are_none_in_another() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let boss = company.person("boss");
    other
        .database
        .execute(
            "insert into lms.memberships (tenant_id, user_id) values ($1, $2)",
            &[&other.tenant, &boss.id],
        )
        .await?;
    let before = other.everything().await?;
    let membership = other
        .one(&format!(
            "select id from lms.memberships where tenant_id = $1 and user_id = '{}'",
            boss.id
        ))
        .await?;
    for (tenant, role) in [
        (other.tenant, other.role("tenant_admin").await?),
        (company.tenant, other.role("tenant_admin").await?),
        (other.tenant, company.role("tenant_admin").await?),
        (company.tenant, company.role("tenant_admin").await?),
    ] {
        let grant = json!({ "tenant_id": tenant, "membership_id": membership, "role_id": role });
        let answer = boss.post("/rest/v1/role_grants", &grant).await?;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    let (tenant, learner) = (other.tenant, other.membership("learner").await?);
    for (method, path, body) in [
        (
            Method::PATCH,
            format!("memberships?id=eq.{learner}"),
            Some(json!({ "status": "ended" })),
        ),
        (Method::DELETE, format!("memberships?id=eq.{learner}"), None),
        (
            Method::PATCH,
            format!("tenants?id=eq.{tenant}"),
            Some(json!({ "name": "Mine" })),
        ),
        (
            Method::DELETE,
            format!("role_grants?tenant_id=eq.{tenant}"),
            None,
        ),
        (
            Method::POST,
            "rpc/invite".to_owned(),
            Some(json!({ "p_tenant_id": tenant, "p_email": "x@privileges.example" })),
        ),
        (
            Method::POST,
            "rpc/import_people".to_owned(),
            Some(json!({ "p_tenant_id": tenant, "p_rows": [] })),
        ),
    ] {
        let headers = [("content-profile", "lms"), RETURNED];
        let answer = boss
            .call(method, &format!("/rest/v1/{path}"), &headers, body.as_ref())
            .await?;
        assert!(nothing_happened(&answer), "{path}: {answer:?}");
    }
    let seen = boss
        .get(&format!("/rest/v1/memberships?tenant_id=eq.{tenant}"))
        .await?;
    assert_eq!(seen.rows().len(), 1, "{seen:?}");
    assert_eq!(other.everything().await?, before);
    Ok(())
}
