//! Electronic signatures with real tokens: only right after signing in.

use anyhow::{Context as _, Result};
use lyceum_e2e::{Options, Person, Sandbox};
use serde_json::{Value, json};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";

async fn refreshed(sandbox: &Sandbox, session: &Value) -> Result<(Person, Value)> {
    let answer = sandbox
        .anonymous()
        .post(
            "/auth/v1/token?grant_type=refresh_token",
            &json!({ "refresh_token": session["refresh_token"] }),
        )
        .await?;
    person(sandbox, answer.body)
}

fn person(sandbox: &Sandbox, session: Value) -> Result<(Person, Value)> {
    let token = session["access_token"]
        .as_str()
        .with_context(|| format!("no session: {session}"))?;
    let id = session["user"]["id"].as_str().context("no id")?.parse()?;
    Ok((sandbox.bearer(id, token), session))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_takes_having_just_signed_in() -> Result<()> {
    let sandbox = Sandbox::start(Options {
        functions: false,
        seed: false,
    })?;
    let email = "signer@attestations.example";
    let service = sandbox.service();
    let made = service
        .post(
            "/auth/v1/admin/users",
            &json!({ "email": email, "password": PASSWORD, "email_confirm": true }),
        )
        .await?;
    let user: Uuid = made.body["id"].as_str().context("no id")?.parse()?;
    let database = sandbox.database().await?;
    database
        .batch_execute(&format!(
            "insert into lms.tenants (id, slug, name) values ('{user}', 'works', 'Works');
             insert into lms.memberships (tenant_id, user_id) values ('{user}', '{user}');
             insert into lms.courses (id, tenant_id, slug, title, instructor_id, status, published_at)
             values ('{user}', '{user}', 'safety', 'Safety', '{user}', 'published', now());
             insert into lms.enrollments (id, course_id, user_id) values ('{user}', '{user}', '{user}');
             insert into lms.attestation_statements (id, tenant_id, key, version, meaning, signer, language, body)
             select coalesce(i, gen_random_uuid()), '{user}', k, 1, 'understood', 'learner', 'en', 'I have understood it.'
             from (values ('{user}'::uuid, 'first'), (null, 'second')) as s (i, k)"
        ))
        .await?;
    let first = json!({ "p_statement_id": user, "p_enrollment_id": user });
    let second: Uuid = database
        .query_one(
            "select id from lms.attestation_statements where key = 'second'",
            &[],
        )
        .await?
        .get(0);
    let second = json!({ "p_statement_id": second, "p_enrollment_id": user });

    let sign_in = || async {
        let answer = sandbox
            .anonymous()
            .post(
                "/auth/v1/token?grant_type=password",
                &json!({ "email": email, "password": PASSWORD }),
            )
            .await?;
        person(&sandbox, answer.body)
    };
    let (signer, session) = sign_in().await?;
    let signed = signer.rpc("sign_attestation", &first).await?;
    assert_eq!(signed.status, 200, "{signed:?}");
    assert_eq!(signed.body["sha256"].as_str().map(str::len), Some(64));

    // Ten minutes later, the session goes on; a signature is not made by whoever sits down at the desk.
    let (admin, connection) =
        tokio_postgres::connect(sandbox.address("ADMIN_DB_URL"), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    admin
        .execute(
            "update auth.mfa_amr_claims set updated_at = updated_at - interval '10 minutes'",
            &[],
        )
        .await?;
    let (later, _) = refreshed(&sandbox, &session).await?;
    let refused = later.rpc("sign_attestation", &second).await?;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "reauthentication_required")
    );
    let (again, _) = sign_in().await?;
    let signed = again.rpc("sign_attestation", &second).await?;
    assert_eq!(signed.status, 200, "{signed:?}");
    Ok(())
}
