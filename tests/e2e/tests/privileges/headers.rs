//! Headers, keys and tokens that say one is somebody else, or somewhere else.

use anyhow::{Context as _, Result};
use lyceum_e2e::answer;
use reqwest::Method;
use serde_json::json;

use crate::company::Company;
use crate::{RETURNED, mentions, nothing_happened, sandbox};

#[tokio::test(flavor = "multi_thread")]
async fn headers_do_not_say_who_one_is() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let before = other.everything().await?;
    let foreign = other.ids().await?;
    let (tenant, boss) = (
        other.tenant.to_string(),
        other.person("boss").id.to_string(),
    );
    let claims = json!({ "sub": boss, "role": "service_role" }).to_string();
    let forged: Vec<(&str, &str)> = vec![
        ("x-tenant", &tenant),
        ("x-tenant-id", &tenant),
        ("tenant-id", &tenant),
        ("tenant", &tenant),
        ("x-user-id", &boss),
        ("x-user", &boss),
        ("x-role", "service_role"),
        ("role", "service_role"),
        ("x-supabase-role", "service_role"),
        ("x-hasura-role", "admin"),
        ("x-hasura-user-id", &boss),
        ("x-jwt-claims", &claims),
        ("request.jwt.claims", &claims),
        ("x-forwarded-user", &boss),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-prefix", "/rest/v1/rpc"),
        ("x-forwarded-uri", "/rest/v1/tenants"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=localhost;proto=http"),
        ("x-original-url", "/rest/v1/rpc/get_tenants"),
        ("x-rewrite-url", "/rest/v1/rpc/get_tenants"),
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-client-info", "supabase-js/2; role=service_role"),
        ("cookie", "sb-access-token=service_role; role=service_role"),
    ];
    for name in ["boss", "learner"] {
        let person = company.person(name);
        let plain = person
            .get("/rest/v1/memberships?select=id&order=id")
            .await?;
        for header in &forged {
            for path in [
                "memberships?select=id&order=id",
                "tenants?select=id",
                "invitations?select=*",
                "courses?select=id",
            ] {
                let answer = person
                    .call(
                        Method::GET,
                        &format!("/rest/v1/{path}"),
                        &[("accept-profile", "lms"), *header],
                        None,
                    )
                    .await?;
                assert_eq!(answer.status, 200, "{header:?}: {answer:?}");
                assert_eq!(mentions(&answer, &foreign), None, "{header:?} {path}");
                if path.starts_with("memberships") {
                    assert_eq!(answer.body, plain.body, "{header:?}");
                }
            }
            let path = format!("/rest/v1/memberships?tenant_id=eq.{tenant}");
            let headers = [("content-profile", "lms"), RETURNED, *header];
            let answer = person
                .call(
                    Method::PATCH,
                    &path,
                    &headers,
                    Some(&json!({ "job_title": "Forged" })),
                )
                .await?;
            assert!(nothing_happened(&answer), "{header:?}: {answer:?}");
        }
    }
    assert_eq!(other.everything().await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_are_not_served_are_not_reached_by_a_profile_header() -> Result<()> {
    let company = Company::new().await?;
    let boss = company.person("boss");
    let hidden = [
        ("private", "invitation_tokens"),
        ("private", "platform_admins"),
        ("private", "membership_scopes"),
        ("audit", "log"),
        ("audit", "heads"),
        ("ops", "jobs"),
        ("auth", "users"),
        ("cron", "job"),
        ("extensions", "pg_stat_statements"),
        ("pg_catalog", "pg_authid"),
        ("information_schema", "tables"),
        ("LMS", "memberships"),
        ("lms, private", "invitation_tokens"),
        ("lms\",\"private", "invitation_tokens"),
        ("", "memberships"),
    ];
    for (schema, relation) in hidden {
        for (method, header) in [
            (Method::GET, "accept-profile"),
            (Method::HEAD, "accept-profile"),
            (Method::POST, "content-profile"),
            (Method::PATCH, "content-profile"),
            (Method::DELETE, "content-profile"),
        ] {
            let body = (method != Method::GET && method != Method::HEAD)
                .then(|| json!({ "user_id": boss.id }));
            for path in [relation.to_owned(), format!("rpc/{relation}")] {
                let answer = boss
                    .call(
                        method.clone(),
                        &format!("/rest/v1/{path}"),
                        &[(header, schema)],
                        body.as_ref(),
                    )
                    .await?;
                assert!(
                    answer.status == 406 || answer.status == 404 || answer.status == 405,
                    "{method} {path} of {schema}: {answer:?}"
                );
            }
        }
    }
    // Nor by writing the schema into the address, or by calling a helper that is granted for policies.
    for path in [
        "private.invitation_tokens",
        "%22private%22.invitation_tokens",
        "rpc/private.list_tenants",
        "rpc/list_tenants",
        "rpc/tenants_where",
        "rpc/issue_invitation",
        "rpc/my_addresses",
        "rpc/holds",
        "rpc/may_grant",
        "rpc/forget_invitations",
    ] {
        let answer = boss
            .post(
                &format!("/rest/v1/{path}"),
                &json!({ "wanted": "members.write" }),
            )
            .await?;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    Ok(())
}

/// The key says which project, the bearer token who: neither lends the other its rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_service_does_not_raise_a_person() -> Result<()> {
    let (company, other) = (Company::new().await?, Company::new().await?);
    let foreign = other.ids().await?;
    let url = format!(
        "{}/rest/v1/memberships?select=*",
        sandbox().address("API_URL")
    );
    let keys = [
        "ANON_KEY",
        "SERVICE_ROLE_KEY",
        "SECRET_KEY",
        "PUBLISHABLE_KEY",
    ];
    for key in keys {
        let request = reqwest::Client::new()
            .get(&url)
            .header("accept-profile", "lms")
            .header("apikey", sandbox().address(key))
            .bearer_auth(&company.person("learner").token);
        let answer = answer(request).await?;
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
        assert_eq!(answer.rows().len(), 1, "{key}: {answer:?}");
        assert_eq!(mentions(&answer, &foreign), None);
    }
    // Tokens that nobody signed, or somebody else did.
    let claims =
        json!({ "sub": other.person("boss").id, "role": "service_role", "exp": 4_102_444_800_i64 });
    let forged = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(
            b"a secret that is long enough to be one, but not ours",
        ),
    )?;
    let body = forged
        .split('.')
        .nth(1)
        .context("a token has three parts")?;
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
    for token in [forged.as_str(), none.as_str(), "null", "undefined"] {
        let request = reqwest::Client::new()
            .get(&url)
            .header("accept-profile", "lms")
            .header("apikey", sandbox().address("ANON_KEY"))
            .bearer_auth(token);
        let answer = answer(request).await?;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
    }
    Ok(())
}
