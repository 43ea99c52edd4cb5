//! How people try to get more rights than they have, or to reach into another tenant: by their own role, by roles and
//! invitations of their making, by headers, ids, embeds, filters, upserts and odd payloads. After each attempt the
//! database is compared with what it held before.

mod company;
mod headers;
mod reading;
mod rights;
mod writing;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use anyhow::Result;
use lyceum_e2e::{Answer, Options, Person, Sandbox, answer, shared};
use reqwest::Method;
use serde_json::Value;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

fn sandbox() -> &'static Sandbox {
    shared(
        &SANDBOX,
        Options {
            functions: false,
            seed: false,
        },
    )
}

fn mentions(answer: &Answer, ids: &BTreeSet<String>) -> Option<String> {
    let text = answer.body.to_string();
    ids.iter().find(|id| text.contains(id.as_str())).cloned()
}

/// A refusal, or an answer about no rows.
fn nothing_happened(answer: &Answer) -> bool {
    answer.status.is_client_error()
        || answer.body.as_array().is_some_and(Vec::is_empty)
        || (answer.status == 204 && answer.body.is_null())
}

/// A request whose body is not made of JSON values.
async fn raw(
    person: &Person,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<Answer> {
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", sandbox().address("API_URL")))
        .header("apikey", sandbox().address("ANON_KEY"))
        .bearer_auth(&person.token)
        .header("content-profile", "lms")
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request).await
}

/// How a write may be asked for. Rows that are returned must be visible, and upserts need rights on every column, so either
/// could hide that a plain write is possible.
const WAYS: [&str; 4] = [
    "return=minimal",
    "return=representation",
    "return=minimal,resolution=merge-duplicates",
    "return=minimal,resolution=ignore-duplicates",
];

const RETURNED: (&str, &str) = ("prefer", "return=representation");

/// Inserts a row that is not returned, and so need not be visible.
async fn post_unseen(person: &Person, table: &str, row: &Value) -> Result<Answer> {
    let headers = [("content-profile", "lms"), ("prefer", WAYS[0])];
    let path = format!("/rest/v1/{table}");
    person.call(Method::POST, &path, &headers, Some(row)).await
}
