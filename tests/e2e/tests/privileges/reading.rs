//! What is read: relations, embeds, and answers that would tell a hidden row from none.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use lyceum_e2e::{Answer, Person};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::company::Company;
use crate::{RETURNED, mentions, sandbox};

/// Every relation, by every kind of person: an answer, and never an error of the database's own making.
#[tokio::test(flavor = "multi_thread")]
async fn no_policy_runs_in_circles_for_anybody() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let guest = sandbox()
        .new_person(&format!("guest-{}@privileges.example", company.tag))
        .await?;
    let suspended = company.hire("suspended", "dock", "hr_admin", "").await?;
    let left = company.hire("left", "dock", "tenant_admin", "").await?;
    let operator = sandbox()
        .new_person(&format!("operator-{}@privileges.example", company.tag))
        .await?;
    company
        .database
        .batch_execute(&format!(
            "insert into lms.memberships (tenant_id, user_id, is_guest) values ('{}', '{}', true);
             update lms.memberships set status = 'suspended' where user_id = '{}';
             update lms.memberships set status = 'ended' where user_id = '{}';
             insert into private.platform_admins (user_id) values ('{}');",
            company.tenant, guest.id, suspended.id, left.id, operator.id
        ))
        .await?;
    let nobody = sandbox().bearer(
        Uuid::nil(),
        &sandbox().token(&json!({ "role": "authenticated" }))?,
    );
    let anonymous = sandbox().anonymous();
    let mut all: Vec<(&str, &Person)> = company
        .people
        .iter()
        .map(|(name, person)| (name.as_str(), person))
        .collect();
    all.extend([
        ("guest", &guest),
        ("suspended", &suspended),
        ("left", &left),
        ("operator", &operator),
        ("nobody", &nobody),
        ("anonymous", &anonymous),
    ]);
    let mut relations = Vec::new();
    for schema in ["public", "lms"] {
        let document = sandbox()
            .service()
            .call(
                Method::GET,
                "/rest/v1/",
                &[("accept-profile", schema)],
                None,
            )
            .await?;
        let paths = document.body["paths"]
            .as_object()
            .context("the API describes itself")?;
        relations.extend(
            paths
                .keys()
                .map(|path| path.trim_start_matches('/').to_owned())
                .filter(|name| !name.is_empty() && !name.starts_with("rpc/"))
                .map(|name| (schema, name)),
        );
    }
    assert!(relations.len() >= 19, "{relations:?}");
    let foreign = other.ids().await?;
    for (name, person) in all {
        let requests = relations.iter().map(|(schema, relation)| async move {
            let headers = [("accept-profile", *schema), ("prefer", "count=exact")];
            let path = format!("/rest/v1/{relation}?select=*");
            Ok::<_, anyhow::Error>((
                relation,
                person.call(Method::GET, &path, &headers, None).await?,
            ))
        });
        for (relation, answer) in try_join_all(requests).await? {
            let expected = if name == "anonymous" {
                [200, 401]
            } else {
                [200, 403]
            };
            assert!(
                expected.contains(&answer.status.as_u16()),
                "{name} reads {relation}: {answer:?}"
            );
            assert_ne!(answer.code(), "42P17", "{name} reads {relation}");
            assert_eq!(mentions(&answer, &foreign), None, "{name} reads {relation}");
        }
    }
    Ok(())
}

/// Embedding asks the policies of every table on the way, whichever key is named.
#[tokio::test(flavor = "multi_thread")]
async fn embeds_show_what_their_tables_show() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let foreign = other.ids().await?;
    let assigning = "assignable_roles!assigning_role_is_of_the_same_tenant(*,\
        roles!assignable_role_is_of_the_same_tenant(*,role_permissions(*)))";
    let selects = [
        format!(
            "tenants?select=*,org_units(*),roles(*,{assigning}),invitations(*),\
             cohorts(*,cohort_members(*,people(*)))"
        ),
        "tenants?select=*,memberships!membership_belongs_to_a_tenant(*,\
         role_grants!grant_membership_is_of_the_same_tenant(*,\
         roles!grant_role_is_of_the_same_tenant(*)))"
            .to_owned(),
        "invitations?select=*,tenants(*,memberships(*)),roles(*,role_grants(*)),org_units(*,memberships(*))".to_owned(),
        "cohorts?select=*,cohort_members(*,memberships(*,people(*,enrollments(*)))),org_units(*)".to_owned(),
        "cohort_members?select=*,people(*,memberships(*,tenants(*))),cohorts(*,cohort_members(*))".to_owned(),
        "assignable_roles?select=*,\
         roles!assigning_role_is_of_the_same_tenant(*,role_grants(*,memberships(*)))".to_owned(),
        "role_grants?select=*,memberships(*,people(*)),roles(*),org_units(*)".to_owned(),
        "people?select=*,memberships!membership_is_of_a_person(*,\
         tenants(*,invitations(*))),cohort_members(*)".to_owned(),
        "permissions?select=*,role_permissions(*,roles(*,tenants(*),role_grants(*)))".to_owned(),
        "org_units?select=*,cohorts(*),invitations(*),memberships(*),role_grants(*),enrollments(*)".to_owned(),
        "memberships?select=id,...tenants(name,invitations(email))".to_owned(),
        "permissions?select=permission,role_permissions!inner(role_id,roles!inner(tenant_id))".to_owned(),
    ];
    for name in ["boss", "hr", "manager", "learner"] {
        for select in &selects {
            let answer = company
                .person(name)
                .get(&format!("/rest/v1/{select}"))
                .await?;
            assert_eq!(answer.status, 200, "{name}: {select}: {answer:?}");
            assert_eq!(mentions(&answer, &foreign), None, "{name}: {select}");
        }
    }
    // Within a tenant as well: a learner sees nobody's membership but the own one, through whatever it is embedded in.
    let learner = company.person("learner");
    let own = company.membership("learner").await?.to_string();
    let others: BTreeSet<String> = company
        .database
        .query(
            "select id::text from lms.memberships where tenant_id = $1",
            &[&company.tenant],
        )
        .await?
        .iter()
        .map(|row| row.get::<_, String>(0))
        .filter(|id| *id != own)
        .collect();
    for select in &selects {
        let answer = learner.get(&format!("/rest/v1/{select}")).await?;
        assert_eq!(mentions(&answer, &others), None, "{select}");
    }
    Ok(())
}

/// Asking about rows that one does not see is answered as asking about rows that do not exist.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_rows_are_answered_like_none() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let stranger = sandbox()
        .new_person(&format!("curious-{}@privileges.example", company.tag))
        .await?;
    let hidden: Vec<(&str, String)> = vec![
        ("tenant", other.tenant.to_string()),
        ("role", other.role("learner").await?.to_string()),
        ("custom role", other.role("editor").await?.to_string()),
        ("unit", other.unit("dock").await?.to_string()),
        ("membership", other.membership("learner").await?.to_string()),
        ("person", other.person("learner").id.to_string()),
        ("cohort", other.any("cohorts").await?.to_string()),
        ("invitation", other.any("invitations").await?.to_string()),
        ("course", other.any("courses").await?.to_string()),
    ];
    let tenant = company.tenant;
    let role = company.role("empty").await?;
    let cohort = company.any("cohorts").await?;
    let membership = company.membership("learner").await?;
    for (kind, id) in &hidden {
        let random = Uuid::new_v4().to_string();
        // What is asked, with the id left open.
        let reads = [
            "memberships?tenant_id=eq.ID&select=id",
            "memberships?user_id=eq.ID",
            "memberships?unit_id=eq.ID",
            "role_grants?role_id=eq.ID",
            "role_permissions?role_id=eq.ID",
            "invitations?role_id=eq.ID",
            "cohort_members?user_id=eq.ID&order=created_at",
            "people?id=eq.ID",
            "courses?tenant_id=eq.ID&visibility=eq.restricted",
            "roles?select=id,role_grants!inner(id)&role_grants.membership_id=eq.ID",
            "tenants?id=eq.ID&order=domain.desc",
            "invitations?or=(id.eq.ID,tenant_id.eq.ID)&email=like.*",
        ];
        let writes: Vec<(Method, &str, Value)> = vec![
            (
                Method::POST,
                "role_grants",
                json!({ "tenant_id": tenant, "membership_id": "ID", "role_id": role }),
            ),
            (
                Method::POST,
                "role_grants",
                json!({ "tenant_id": tenant, "membership_id": membership, "role_id": "ID" }),
            ),
            (
                Method::POST,
                "role_grants",
                json!({ "tenant_id": tenant, "membership_id": membership, "role_id": role, "unit_id": "ID" }),
            ),
            (
                Method::POST,
                "role_grants",
                json!({ "tenant_id": "ID", "membership_id": membership, "role_id": role }),
            ),
            (
                Method::POST,
                "role_permissions",
                json!({ "tenant_id": tenant, "role_id": "ID", "permission": "members.read" }),
            ),
            (
                Method::POST,
                "role_permissions",
                json!({ "tenant_id": "ID", "role_id": role, "permission": "members.read" }),
            ),
            (
                Method::POST,
                "assignable_roles",
                json!({ "tenant_id": tenant, "role_id": "ID", "assignable_role_id": role }),
            ),
            (
                Method::POST,
                "assignable_roles",
                json!({ "tenant_id": tenant, "role_id": role, "assignable_role_id": "ID" }),
            ),
            (
                Method::POST,
                "roles",
                json!({ "tenant_id": "ID", "key": "probe", "name": "Probe" }),
            ),
            (
                Method::POST,
                "memberships",
                json!({ "tenant_id": tenant, "user_id": "ID" }),
            ),
            (
                Method::POST,
                "memberships",
                json!({ "tenant_id": "ID", "user_id": company.person("learner").id }),
            ),
            (
                Method::POST,
                "org_units",
                json!({ "tenant_id": tenant, "name": "Probe", "parent_id": "ID" }),
            ),
            (
                Method::POST,
                "org_units",
                json!({ "tenant_id": "ID", "name": "Probe" }),
            ),
            (
                Method::POST,
                "cohorts",
                json!({ "tenant_id": tenant, "name": "Probe", "unit_id": "ID" }),
            ),
            (
                Method::POST,
                "cohorts",
                json!({ "tenant_id": "ID", "name": "Probe" }),
            ),
            (
                Method::POST,
                "cohort_members",
                json!({ "cohort_id": "ID", "user_id": company.person("learner").id }),
            ),
            (
                Method::POST,
                "cohort_members",
                json!({ "cohort_id": cohort, "user_id": "ID" }),
            ),
            (Method::PATCH, "memberships", json!({ "unit_id": "ID" })),
            (Method::PATCH, "cohorts", json!({ "unit_id": "ID" })),
            (Method::PATCH, "role_grants", json!({ "unit_id": "ID" })),
            (
                Method::PATCH,
                "org_units?code=eq.dock",
                json!({ "parent_id": "ID" }),
            ),
            (
                Method::POST,
                "rpc/invite",
                json!({ "p_tenant_id": "ID", "p_email": "probe@privileges.example" }),
            ),
            (
                Method::POST,
                "rpc/invite",
                json!({ "p_tenant_id": tenant, "p_email": "probe@privileges.example", "p_unit_id": "ID" }),
            ),
            (
                Method::POST,
                "rpc/revoke_invitation",
                json!({ "p_invitation_id": "ID" }),
            ),
            (
                Method::POST,
                "rpc/accept_invitation",
                json!({ "p_token": "ID" }),
            ),
            (
                Method::POST,
                "rpc/get_invitation",
                json!({ "p_token": "ID" }),
            ),
            (
                Method::POST,
                "rpc/leave_tenant",
                json!({ "p_tenant_id": "ID" }),
            ),
            (
                Method::POST,
                "rpc/import_people",
                json!({ "p_tenant_id": "ID", "p_rows": [] }),
            ),
            (
                Method::POST,
                "rpc/set_tenant_active",
                json!({ "p_tenant_id": "ID", "p_is_active": true }),
            ),
            (
                Method::POST,
                "rpc/get_audit_heads",
                json!({ "p_tenant_id": "ID" }),
            ),
            (
                Method::POST,
                "rpc/get_audit_trail",
                json!({ "p_tenant_id": "ID" }),
            ),
            (
                Method::POST,
                "rpc/check_enrollment_eligibility",
                json!({ "p_course_id": company.any("courses").await?, "p_user_id": "ID" }),
            ),
        ];
        for (name, person) in [
            ("boss", company.person("boss")),
            ("hr", company.person("hr")),
            ("learner", company.person("learner")),
            ("stranger", &stranger),
        ] {
            for read in &reads {
                let headers = [("accept-profile", "lms"), ("prefer", "count=exact")];
                let ask = |id: &str| {
                    let path = format!("/rest/v1/{}", read.replace("ID", id));
                    async move { person.call(Method::GET, &path, &headers, None).await }
                };
                let (one, two) = (ask(id).await?, ask(&random).await?);
                same(name, kind, read, (&one, id), (&two, &random));
                assert_eq!(
                    one.headers.get("content-range"),
                    two.headers.get("content-range"),
                    "{name}: {read}"
                );
            }
            for (method, path, body) in &writes {
                let send = |id: &str| {
                    let body = serde_json::from_str::<Value>(
                        &body.to_string().replace("\"ID\"", &format!("\"{id}\"")),
                    );
                    let method = method.clone();
                    async move {
                        let headers = [("content-profile", "lms"), RETURNED];
                        person
                            .call(method, &format!("/rest/v1/{path}"), &headers, Some(&body?))
                            .await
                    }
                };
                let (one, two) = (send(id).await?, send(&random).await?);
                same(
                    name,
                    kind,
                    &format!("{method} {path} {body}"),
                    (&one, id),
                    (&two, &random),
                );
            }
        }
    }
    Ok(())
}

fn same(name: &str, kind: &str, what: &str, one: (&Answer, &str), two: (&Answer, &str)) {
    let without =
        |(answer, id): (&Answer, &str)| (answer.status, answer.body.to_string().replace(id, "ID"));
    assert_eq!(
        without(one),
        without(two),
        "{name} tells a hidden {kind} from none: {what}"
    );
}

/// What is asked about hidden columns within one's own tenant: by filter, embed, order and count. WORD and DIGITS stand for
/// what they hold at first.
const ORACLES: [(&str, &str); 22] = [
    (
        "public",
        "profile_private?select=profile_id&phone=like.*DIGITS*",
    ),
    (
        "public",
        "profile_private?select=profile_id&email=like.WORD*",
    ),
    (
        "public",
        "profile_private?select=profile_id&or=(phone.match.DIGITS,email.imatch.WORD)",
    ),
    (
        "public",
        "profile_private?select=profile_id&knowledge_profile->>note=eq.WORD",
    ),
    (
        "public",
        "profile_private?select=profile_id&order=phone.desc,profile_id",
    ),
    (
        "public",
        "profiles?select=id,profile_private!inner(phone)&profile_private.phone=like.*DIGITS*",
    ),
    (
        "public",
        "profiles?select=id,profile_private!inner()&profile_private.email=like.WORD*",
    ),
    (
        "public",
        "profiles?select=id,profile_private()&profile_private.phone=like.*DIGITS*&profile_private=not.is.null",
    ),
    (
        "public",
        "profiles?select=id,profile_private()&profile_private.email=like.WORD*\
         &or=(profile_private.not.is.null,id.is.null)",
    ),
    (
        "public",
        "profiles?select=id,profile_private()&order=profile_private(phone).desc,id",
    ),
    (
        "public",
        "profiles?select=id,profile_private()&order=profile_private(email),id&limit=2",
    ),
    ("lms", "memberships?select=id&job_title=like.WORD*"),
    (
        "lms",
        "memberships?select=id&employee_number=in.(WORD-a,WORD-b)",
    ),
    ("lms", "memberships?select=id&order=job_title.desc,id"),
    (
        "lms",
        "people?select=id,memberships!membership_is_of_a_person!inner()&memberships.job_title=like.WORD*",
    ),
    (
        "lms",
        "cohort_members?select=user_id,memberships!inner()&memberships.employee_number=like.WORD*",
    ),
    (
        "lms",
        "cohort_members?select=user_id,memberships()&order=memberships(job_title),user_id,cohort_id",
    ),
    (
        "lms",
        "org_units?select=code,memberships!inner()&memberships.job_title=like.WORD*",
    ),
    (
        "lms",
        "tenants?select=name,invitations!inner()&invitations.email=like.WORD*",
    ),
    (
        "lms",
        "roles?select=key,invitations!inner()&invitations.last_name=eq.WORD",
    ),
    (
        "lms",
        "courses?select=slug,enrollments!inner()&enrollments.status=eq.paused",
    ),
    (
        "lms",
        "people?select=id,enrollments!inner()&enrollments.status=eq.paused",
    ),
];

/// Changes what is hidden from learner and manager: of the southerner, who is in a cohort with the learner and in another
/// unit than the manager, of the teacher and of the boss.
async fn hide(company: &Company, word: &str, places: [&str; 3], status: &str) -> Result<()> {
    let digits = digits(word);
    for (name, place) in ["southerner", "teacher", "boss"].iter().zip(places) {
        let (id, tag) = (company.person(name).id, &company.tag);
        let number = u32::from(place.as_bytes()[0]);
        company
            .database
            .batch_execute(&format!(
                "update public.profile_private
                 set phone = '+{number}{digits}', email = '{word}-{place}-{tag}@privileges.example',
                     knowledge_profile = '{{\"note\": \"{word}\"}}'
                 where profile_id = '{id}';
                 update lms.memberships set job_title = '{word} {place}', employee_number = '{word}-{place}'
                 where user_id = '{id}'"
            ))
            .await?;
    }
    company
        .database
        .batch_execute(&format!(
            "update lms.invitations set email = '{word}-{tag}@privileges.example', last_name = '{word}'
             where tenant_id = '{tenant}';
             update lms.enrollments set status = '{status}' where tenant_id = '{tenant}' and user_id = '{southerner}'",
            tag = company.tag,
            tenant = company.tenant,
            southerner = company.person("southerner").id,
        ))
        .await?;
    Ok(())
}

fn digits(word: &str) -> &'static str {
    if word == "zebra" {
        "7777777"
    } else {
        "1111111"
    }
}

/// Whoever may see a person may not find out the rest by asking for it: answers, order and count are the same whatever the
/// hidden columns hold.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_columns_are_not_found_out_by_asking() -> Result<()> {
    let company = Company::new().await?;
    company
        .database
        .batch_execute(&format!(
            "insert into lms.enrollments (course_id, user_id)
             select id, '{southerner}' from lms.courses where tenant_id = '{tenant}';
             insert into lms.lesson_progress (lesson_id, user_id, progress_percentage)
             select id, '{southerner}', 50 from lms.lessons where tenant_id = '{tenant}';
             update lms.memberships set job_title = 'mechanic' where user_id = '{learner}'",
            learner = company.person("learner").id,
            southerner = company.person("southerner").id,
            tenant = company.tenant,
        ))
        .await?;
    let mut answers: Vec<Vec<(String, String, String)>> = Vec::new();
    for (word, places, status) in [
        ("zebra", ["a", "b", "c"], "paused"),
        ("aardvark", ["c", "b", "a"], "in_progress"),
    ] {
        hide(&company, word, places, status).await?;
        let mut heard = Vec::new();
        for name in ["learner", "manager", "boss"] {
            for (schema, question) in ORACLES {
                // Both times the same question, about what was there the first time.
                let path = question
                    .replace("WORD", "zebra")
                    .replace("DIGITS", digits("zebra"));
                let headers = [("accept-profile", schema), ("prefer", "count=exact")];
                let answer = company
                    .person(name)
                    .call(Method::GET, &format!("/rest/v1/{path}"), &headers, None)
                    .await?;
                // 206: a page of them.
                assert!(answer.status.is_success(), "{name}: {path}: {answer:?}");
                let count = answer
                    .headers
                    .get("content-range")
                    .context("a count was asked for")?;
                let told = format!("{:?} {count:?} {}", answer.status, answer.body);
                heard.push((name.to_owned(), path, told));
            }
        }
        answers.push(heard);
    }
    for ((name, question, before), (_, _, now)) in answers[0].iter().zip(&answers[1]) {
        match name.as_str() {
            // Who may read it is told: the questions are such as would find it out.
            "boss" => assert_ne!(before, now, "{question}"),
            _ => assert_eq!(before, now, "{name} finds out: {question}"),
        }
    }
    Ok(())
}
