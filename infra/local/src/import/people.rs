//! Logins by the auth admin API, so that `auth.uid()` matches whoever is imported.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) use super::api::IN_FLIGHT;
use super::api::{Api, send};

/// How often a request is made before it counts as failed.
const ATTEMPTS: u32 = 4;
/// How long the auth service may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where logins are made, below the auth service's address.
const USERS: &str = "/admin/users";

/// A person to be made.
#[derive(Debug, Clone)]
pub(super) struct Person {
    /// The id of the login; the auth service chooses one when there is none.
    pub id: Option<Uuid>,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

/// What became of a person to be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// There is a login of the address now, or there was one before.
    There,
    /// The auth service takes no such login, for the reason that it gives.
    Refused(String),
}

/// The admin part of the auth API.
pub(super) struct AuthAdmin {
    api: Api,
}

impl AuthAdmin {
    /// `auth_url` is the address that ends in `/auth/v1`.
    pub fn new(auth_url: &str, service_role_key: &str) -> Result<Self> {
        Ok(Self {
            api: Api::new(auth_url, service_role_key)?,
        })
    }

    /// Makes a login with a confirmed address and no password. One that exists already is fine.
    pub async fn create(&self, person: &Person) -> Result<Login> {
        let mut body = json!({
            "email": person.email,
            "email_confirm": true,
            "user_metadata": { "first_name": person.first_name, "last_name": person.last_name },
        });
        if let Some(id) = person.id {
            body["id"] = json!(id);
        }
        let url = self.api.address(USERS);
        let mut attempt = 1;
        loop {
            let request = self.api.request(Method::POST, USERS, PATIENCE).json(&body);
            let failure = match send(request).await {
                Ok((status, _)) if status.is_success() => return Ok(Login::There),
                Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, answer)) => bail!(
                    "{url} refuses the service role key: {answer}. Is it the key of this stack?"
                ),
                Ok((
                    StatusCode::BAD_REQUEST
                    | StatusCode::UNPROCESSABLE_ENTITY
                    | StatusCode::CONFLICT,
                    answer,
                )) => {
                    return Ok(if exists_already(&answer) {
                        Login::There
                    } else {
                        Login::Refused(reason(&answer))
                    });
                }
                Ok((status, answer)) => {
                    let failure = anyhow!("{url} answers {status} for {}: {answer}", person.email);
                    if !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) {
                        return Err(failure);
                    }
                    failure
                }
                Err(error) => error.context(format!("{url} cannot be reached")),
            };
            if attempt == ATTEMPTS {
                return Err(failure.context("people cannot be created; once the auth service answers, run the import again: it continues where it stopped"));
            }
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
            attempt += 1;
        }
    }
}

/// GoTrue names the case in `error_code`, its older versions and gateways in `code`.
fn exists_already(answer: &Value) -> bool {
    ["error_code", "code"]
        .iter()
        .filter_map(|key| answer.get(key).and_then(Value::as_str))
        .any(|code| matches!(code, "email_exists" | "user_already_exists"))
}

/// What the auth service says, for people.
fn reason(answer: &Value) -> String {
    ["msg", "message"]
        .iter()
        .find_map(|key| answer.get(key).and_then(Value::as_str))
        .map_or_else(|| answer.to_string(), str::to_owned)
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

    #[test]
    fn passes_on_what_the_auth_service_says() {
        assert_eq!(reason(&json!({ "code": 400, "msg": "no" })), "no");
        assert_eq!(reason(&json!(7)), "7");
    }
}
