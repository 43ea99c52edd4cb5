//! Logins by the auth admin API, so that `auth.uid()` matches whoever is imported.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use uuid::Uuid;

/// How many requests are under way at a time.
pub(super) const IN_FLIGHT: usize = 8;
/// How often a request is made before it counts as failed.
const ATTEMPTS: u32 = 4;
/// How long the auth service may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// A person to be made.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub id: Uuid,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

/// The admin part of the auth API (plain http).
pub(super) struct AuthAdmin {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    key: String,
}

impl AuthAdmin {
    /// `auth_url` is the address that ends in `/auth/v1`.
    pub fn new(auth_url: &str, service_role_key: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(IN_FLIGHT)
                .build_http(),
            url: format!("{}/admin/users", auth_url.trim_end_matches('/')),
            key: service_role_key.to_owned(),
        }
    }

    /// Makes a login with a confirmed address and no password. One that exists already is fine.
    pub async fn create(&self, person: &Person) -> Result<()> {
        let body = Bytes::from(
            json!({
                "id": person.id,
                "email": person.email,
                "email_confirm": true,
                "user_metadata": { "first_name": person.first_name, "last_name": person.last_name },
            })
            .to_string(),
        );
        let mut attempt = 1;
        loop {
            let failure = match self.post(body.clone()).await {
                Ok((status, _)) if status.is_success() => return Ok(()),
                Ok((StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT, answer))
                    if exists_already(&answer) =>
                {
                    return Ok(());
                }
                Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, answer)) => bail!(
                    "{} refuses the service role key: {answer}. Is it the key of this stack?",
                    self.url
                ),
                Ok((status, answer)) => {
                    let failure = anyhow::anyhow!(
                        "{} answers {status} for {}: {answer}",
                        self.url,
                        person.email
                    );
                    if !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) {
                        return Err(failure);
                    }
                    failure
                }
                Err(error) => error,
            };
            if attempt == ATTEMPTS {
                return Err(failure.context("people cannot be created; once the auth service answers, run the import again: it continues where it stopped"));
            }
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
            attempt += 1;
        }
    }

    async fn post(&self, body: Bytes) -> Result<(StatusCode, Value)> {
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("apikey", &self.key)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .body(Full::new(body))
            .with_context(|| format!("{} or the service role key is malformed", self.url))?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .with_context(|| format!("{} does not answer", self.url))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER)
                .collect()
                .await
                .map_err(|error| anyhow::anyhow!("{} broke off its answer: {error}", self.url))?
                .to_bytes();
            let answer = serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
            Ok((status, answer))
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .with_context(|| {
                format!(
                    "{} did not answer within {} s",
                    self.url,
                    PATIENCE.as_secs()
                )
            })?
    }
}

/// GoTrue names the case in `error_code`, its older versions and gateways in `code`.
fn exists_already(answer: &Value) -> bool {
    ["error_code", "code"]
        .iter()
        .filter_map(|key| answer.get(key).and_then(Value::as_str))
        .any(|code| matches!(code, "email_exists" | "user_already_exists"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_an_existing_person_from_other_faults() {
        assert!(exists_already(
            &json!({ "code": 422, "error_code": "email_exists", "msg": "..." })
        ));
        assert!(exists_already(&json!({ "code": "user_already_exists" })));
        assert!(!exists_already(&json!({ "code": "validation_failed" })));
        assert!(!exists_already(&json!("down")));
    }
}
