//! `lyceum token`: a real session for a user, without a password.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::postgres::cluster::MAIN_DATABASE;
use crate::stack::{Addresses, Stack};

/// Has the auth stand-in make a sign-in link for the user and follows it: the token belongs to a session, as that of
/// any other sign-in does.
pub async fn for_user(stack: &Stack, email: &str) -> Result<String> {
    let addresses = stack.addresses(&stack.ports()?, MAIN_DATABASE)?;
    let users = database_users(&addresses, email).await?;
    if !users {
        bail!("there is no user {email}; the demo's logins are listed by `lyceum status`");
    }
    let link = post(
        &addresses,
        "admin/generate_link",
        &json!({ "type": "magiclink", "email": email }),
    )
    .await?;
    let hash = link["hashed_token"]
        .as_str()
        .context("the auth stand-in sent no hashed_token")?;
    let session = post(
        &addresses,
        "verify",
        &json!({ "type": "magiclink", "token_hash": hash }),
    )
    .await?;
    Ok(session["access_token"]
        .as_str()
        .context("the auth stand-in sent no access_token")?
        .to_owned())
}

/// A link for an unknown address would create its user.
async fn database_users(addresses: &Addresses, email: &str) -> Result<bool> {
    let client = crate::postgres::connect(&addresses.admin_db_url)
        .await
        .context("the database does not answer: start the stack with `make up`")?;
    let row = client
        .query_one(
            "select exists (select from auth.users where lower(email) = lower($1))",
            &[&email],
        )
        .await?;
    Ok(row.get(0))
}

async fn post(addresses: &Addresses, path: &str, body: &Value) -> Result<Value> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("{}/{path}", addresses.issuer()))
        .header("apikey", &addresses.keys.secret_key)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = client
        .request(request)
        .await
        .context("the gateway does not answer: start the stack with `make up`")?;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if !status.is_success() {
        bail!(
            "auth answered {status} to {path}: {}",
            answer["msg"].as_str().unwrap_or("no reason given")
        );
    }
    Ok(answer)
}
