//! More rights: by the own role, by roles and invitations of one's making.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::company::{Company, RIGHTS};
use crate::{WAYS, nothing_happened, post_unseen, sandbox};

/// Everybody but administrators tries every way to hold a role, or a permission, that is beyond theirs.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_raises_their_own_rights() -> Result<()> {
    let company = Company::new().await?;
    let other = Company::new().await?;
    let stranger = sandbox()
        .new_person(&format!("stranger-{}@privileges.example", company.tag))
        .await?;
    let before = company.dump(&RIGHTS).await?;
    let (north, tenant) = (company.unit("north").await?, company.tenant);
    for name in [
        "hr",
        "manager",
        "teacher",
        "auditor",
        "learner",
        "stranger",
        "foreign boss",
    ] {
        let (person, membership) = match name {
            "stranger" => (&stranger, company.membership("learner").await?),
            "foreign boss" => (other.person("boss"), company.membership("learner").await?),
            _ => (company.person(name), company.membership(name).await?),
        };
        for key in ["tenant_admin", "editor", "chief"] {
            let role = company.role(key).await?;
            let mut attempts: Vec<(Method, String, Value)> = Vec::new();
            for unit in [Value::Null, json!(north)] {
                let grant = json!({
                    "tenant_id": tenant, "membership_id": membership, "role_id": role, "unit_id": unit,
                });
                attempts.push((Method::POST, "role_grants".to_owned(), grant.clone()));
                for target in ["id", "membership_id,role_id,unit_id"] {
                    attempts.push((
                        Method::POST,
                        format!("role_grants?on_conflict={target}"),
                        grant.clone(),
                    ));
                }
                attempts.push((
                    Method::POST,
                    "role_grants?columns=tenant_id,membership_id,role_id".to_owned(),
                    grant,
                ));
            }
            attempts.push((
                Method::PATCH,
                "role_grants".to_owned(),
                json!({ "role_id": role }),
            ));
            attempts.push((
                Method::PATCH,
                format!("role_grants?membership_id=eq.{membership}"),
                json!({ "role_id": role, "unit_id": null }),
            ));
            attempts.push((
                Method::PATCH,
                format!("roles?id=eq.{role}"),
                json!({ "name": "Mine" }),
            ));
            attempts.push((
                Method::DELETE,
                format!("role_permissions?role_id=eq.{role}"),
                Value::Null,
            ));
            for (method, path, body) in attempts {
                let body = (!body.is_null()).then_some(&body);
                for way in WAYS {
                    let headers = [("content-profile", "lms"), ("prefer", way)];
                    let answer = person
                        .call(method.clone(), &format!("/rest/v1/{path}"), &headers, body)
                        .await?;
                    assert!(
                        nothing_happened(&answer),
                        "{name}: {method} {path} with {way}: {answer:?}"
                    );
                }
            }
            let address = format!("{name}-second@privileges.example").replace(' ', "-");
            for limited in [true, false] {
                let invite = json!({
                    "p_tenant_id": tenant, "p_email": address, "p_role": key,
                    "p_unit_id": north, "p_limited_to_unit": limited,
                });
                let answer = person.rpc("invite", &invite).await?;
                assert!(
                    answer.status == 403 || answer.status == 404,
                    "{name} invites: {answer:?}"
                );
            }
            let import = json!({
                "p_tenant_id": tenant,
                "p_rows": [{
                    "email": format!("{name}-{}@privileges.example", company.tag), "role": key,
                    "role_scope": "tenant",
                }],
            });
            let answer = person.rpc("import_people", &import).await?;
            let failed = answer
                .body
                .as_array()
                .is_some_and(|rows| rows[0]["action"] == "failed");
            assert!(
                failed || answer.status.is_client_error(),
                "{name} imports: {answer:?}"
            );
        }
        for permission in ["catalog.write", "roles.write", "audit.read"] {
            for key in ["learner", "hr_admin", "unit_manager", "empty", "chief"] {
                let fill = json!({
                    "tenant_id": tenant, "role_id": company.role(key).await?, "permission": permission,
                });
                let answer = post_unseen(person, "role_permissions", &fill).await?;
                assert!(
                    answer.status.is_client_error(),
                    "{name} fills {key}: {answer:?}"
                );
            }
        }
        for (role, assignable) in [
            ("hr_admin", "tenant_admin"),
            ("empty", "tenant_admin"),
            ("learner", "learner"),
        ] {
            let list = json!({
                "tenant_id": tenant, "role_id": company.role(role).await?,
                "assignable_role_id": company.role(assignable).await?,
            });
            let answer = post_unseen(person, "assignable_roles", &list).await?;
            assert!(answer.status.is_client_error(), "{name} lists: {answer:?}");
        }
        let define = json!({ "tenant_id": tenant, "key": "mine", "name": "Mine" });
        let answer = post_unseen(person, "roles", &define).await?;
        assert_eq!(answer.status, 403, "{name}: {answer:?}");
        for (function, arguments) in [
            (
                "create_tenant",
                json!({ "p_slug": "mine", "p_name": "Mine", "p_admin_email": "me@privileges.example" }),
            ),
            (
                "set_tenant_active",
                json!({ "p_tenant_id": tenant, "p_is_active": false }),
            ),
            ("get_tenants", json!({})),
        ] {
            let answer = person.rpc(function, &arguments).await?;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (403, "42501"),
                "{name}: {answer:?}"
            );
        }
    }
    assert_eq!(company.dump(&RIGHTS).await?, before);
    Ok(())
}

/// Somebody who may define roles and look after people, but nothing more, builds nothing that gives more.
#[tokio::test(flavor = "multi_thread")]
async fn custom_roles_and_assignable_roles_are_no_way_up() -> Result<()> {
    let company = Company::new().await?;
    let chief = company.hire("chief", "", "chief", "").await?;
    let tenant = company.tenant;
    let own = company
        .one(&format!(
            "select id from lms.memberships where tenant_id = $1 and user_id = '{}'",
            chief.id
        ))
        .await?;
    let define = json!({ "tenant_id": tenant, "key": "ladder", "name": "Ladder" });
    let created = chief.post("/rest/v1/roles", &define).await?;
    assert_eq!(created.status, 201, "{created:?}");
    let ladder = created.rows()[0]["id"].clone();
    let fill = |permission: &str| json!({ "tenant_id": tenant, "role_id": ladder, "permission": permission });
    let grant = json!({ "tenant_id": tenant, "membership_id": own, "role_id": ladder });
    let list = |role: Value, assignable: Value| {
        json!({
            "tenant_id": tenant, "role_id": role, "assignable_role_id": assignable,
        })
    };

    // What they hold they may put in a role and give, to themselves as well.
    let answer = chief
        .post("/rest/v1/role_permissions", &fill("reports.read"))
        .await?;
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = chief.post("/rest/v1/role_grants", &grant).await?;
    assert_eq!(answer.status, 201, "{answer:?}");

    let permissions = chief.get("/rest/v1/permissions?select=permission").await?;
    for permission in permissions
        .rows()
        .iter()
        .filter_map(|row| row["permission"].as_str())
    {
        let held = [
            "members.read",
            "members.write",
            "roles.write",
            "reports.read",
        ]
        .contains(&permission);
        for resolution in [
            "resolution=merge-duplicates",
            "resolution=ignore-duplicates",
        ] {
            if held {
                continue;
            }
            // Alone, and among others that are allowed.
            for body in [
                json!([fill(permission)]),
                json!([fill("members.read"), fill(permission)]),
            ] {
                let headers = [("content-profile", "lms"), ("prefer", resolution)];
                let answer = chief
                    .call(
                        Method::POST,
                        "/rest/v1/role_permissions",
                        &headers,
                        Some(&body),
                    )
                    .await?;
                assert_eq!(answer.status, 403, "{permission}: {answer:?}");
            }
        }
    }
    for (role, assignable) in [
        (ladder.clone(), json!(company.role("tenant_admin").await?)),
        (ladder.clone(), json!(company.role("editor").await?)),
        (
            json!(company.role("chief").await?),
            json!(company.role("auditor").await?),
        ),
        (json!(company.role("hr_admin").await?), ladder.clone()),
    ] {
        let answer = chief
            .post("/rest/v1/assignable_roles", &list(role, assignable))
            .await?;
        assert!(
            ["role_not_grantable", "builtin_role"].contains(&answer.code()),
            "{answer:?}"
        );
    }
    // An assignable role is given, not held: what it holds is not theirs to pass on in another role.
    let instructor = json!({ "tenant_id": tenant, "membership_id": own, "role_id": company.role("instructor").await? });
    let answer = chief.post("/rest/v1/role_grants", &instructor).await?;
    assert_eq!(
        answer.status, 201,
        "an assignable role can be taken: {answer:?}"
    );
    let access = chief.rpc("get_my_access", &json!({})).await?;
    let held: BTreeSet<&str> = access.body["tenants"][0]["permissions"]
        .as_array()
        .context("permissions are a list")?
        .iter()
        .filter_map(|held| held["permission"].as_str())
        .collect();
    assert_eq!(
        held,
        BTreeSet::from([
            "catalog.author",
            "members.read",
            "members.write",
            "reports.read",
            "roles.write"
        ])
    );

    // Built-in roles change for nobody, administrators neither.
    let before = company
        .dump(&["roles", "role_permissions", "assignable_roles"])
        .await?;
    for person in [company.person("boss"), &chief, &sandbox().service()] {
        let role = company.role("learner").await?;
        let changes = [
            (
                Method::PATCH,
                format!("roles?id=eq.{role}"),
                Some(json!({ "name": "Emperor" })),
            ),
            (
                Method::DELETE,
                format!("roles?id=eq.{}", company.role("auditor").await?),
                None,
            ),
            (
                Method::DELETE,
                format!(
                    "role_permissions?role_id=eq.{}",
                    company.role("hr_admin").await?
                ),
                None,
            ),
            (
                Method::POST,
                "role_permissions".to_owned(),
                Some(json!({ "tenant_id": tenant, "role_id": role, "permission": "members.read" })),
            ),
            (
                Method::DELETE,
                format!(
                    "assignable_roles?role_id=eq.{}",
                    company.role("hr_admin").await?
                ),
                None,
            ),
        ];
        for (method, path, body) in changes {
            let answer = person
                .call(
                    method,
                    &format!("/rest/v1/{path}"),
                    &[("content-profile", "lms")],
                    body.as_ref(),
                )
                .await?;
            assert_eq!(answer.code(), "builtin_role", "{path}: {answer:?}");
        }
    }
    assert_eq!(
        company
            .dump(&["roles", "role_permissions", "assignable_roles"])
            .await?,
        before
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_are_no_way_up() -> Result<()> {
    let company = Company::new().await?;
    let manager = company.person("manager");
    let (tenant, dock) = (company.tenant, company.unit("dock").await?);
    let invite = |email: &str, role: &str| {
        json!({
            "p_tenant_id": tenant, "p_email": email, "p_role": role, "p_unit_id": dock,
        })
    };
    let accept = |token: &Value| json!({ "p_token": token });

    let address = format!("second-self-{}@privileges.example", company.tag);
    let second_self = sandbox().new_person(&address).await?;
    let issued = manager
        .rpc("invite", &invite(&address, "unit_manager"))
        .await?;
    assert_eq!(issued.status, 200, "{issued:?}");
    let token = issued.body["token"].clone();

    // A token is for its address alone, and what the caller's token claims about addresses does not count.
    for name in ["manager", "hr", "learner"] {
        let answer = company
            .person(name)
            .rpc("accept_invitation", &accept(&token))
            .await?;
        assert_eq!(
            answer.code(),
            "invitation_for_another_address",
            "{name}: {answer:?}"
        );
    }
    let learner = company.person("learner");
    let liar = sandbox().bearer(
        learner.id,
        &sandbox().token(&json!({
            "sub": learner.id, "role": "authenticated", "email": address,
            "user_metadata": { "email": address, "email_verified": true },
        }))?,
    );
    let answer = liar.rpc("accept_invitation", &accept(&token)).await?;
    assert_eq!(
        answer.code(),
        "invitation_for_another_address",
        "{answer:?}"
    );
    let answer = sandbox()
        .anonymous()
        .rpc("accept_invitation", &accept(&token))
        .await?;
    assert_eq!(answer.status, 401, "{answer:?}");

    // The address is the login's; nobody changes it by their profile.
    let answer = learner
        .call(
            Method::PATCH,
            &format!("/rest/v1/profile_private?profile_id=eq.{}", learner.id),
            &[("content-profile", "public")],
            Some(&json!({ "email": address })),
        )
        .await?;
    assert_eq!(answer.status, 403, "{answer:?}");

    // No token is read back, by whoever.
    for person in [
        company.person("boss"),
        manager,
        &second_self,
        &sandbox().service(),
    ] {
        let all = person.get("/rest/v1/invitations?select=*").await?;
        assert!(
            !all.body
                .to_string()
                .contains(token.as_str().context("a token is a text")?)
        );
        let answer = person
            .get("/rest/v1/invitations?select=*,invitation_tokens(*)")
            .await?;
        assert_eq!(answer.code(), "PGRST200", "{answer:?}");
    }

    // The manager loses the rights: what was promised with them is void.
    company
        .database
        .execute(
            "update lms.memberships set status = 'ended' where tenant_id = $1 and user_id = $2",
            &[&tenant, &manager.id],
        )
        .await?;
    let answer = second_self
        .rpc("accept_invitation", &accept(&token))
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (409, "invitation_void"),
        "{answer:?}"
    );
    let access = second_self.rpc("get_my_access", &json!({})).await?;
    assert_eq!(access.body["tenants"], json!([]));

    // A table of requests is no way around the calls.
    let role = company.role("tenant_admin").await?;
    let row = json!({ "tenant_id": tenant, "email": address, "role_id": role, "expires_at": "2099-01-01" });
    for name in ["boss", "hr", "learner"] {
        for (method, path, body) in [
            (Method::POST, "invitations", row.clone()),
            (Method::POST, "invitations?on_conflict=id", row.clone()),
            (Method::PATCH, "invitations", json!({ "role_id": role })),
            (
                Method::PATCH,
                "invitations",
                json!({ "accepted_at": "2020-01-01", "accepted_by": learner.id }),
            ),
        ] {
            for way in WAYS {
                let headers = [("content-profile", "lms"), ("prefer", way)];
                let answer = company
                    .person(name)
                    .call(
                        method.clone(),
                        &format!("/rest/v1/{path}"),
                        &headers,
                        Some(&body),
                    )
                    .await?;
                assert_eq!(
                    (answer.status.as_u16(), answer.code()),
                    (403, "42501"),
                    "{name}: {path} with {way}: {answer:?}"
                );
            }
        }
    }
    Ok(())
}
