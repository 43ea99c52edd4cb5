//! `/verify`: redeeming what a mail carried, by code or token hash (POST), or by following the link (GET).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use deadpool_postgres::Transaction;
use serde_json::json;
use url::Url;

use super::Auth;
use super::error::{AuthError, Code, Result};
use super::one_time::{self, PKCE_PREFIX, Purpose};
use super::request::{Body, Client, Query};
use super::session::{self, Session};
use super::user::{self, User};
use super::{pkce, validate};

const HALF_CONFIRMED: &str =
    "Confirmation link accepted. Please proceed to confirm link sent to the other email";

/// What a token did.
enum Outcome {
    SignedIn(Box<Session>),
    /// The link belongs to a PKCE flow: the client exchanges this code.
    Code(String),
    /// One of the two addresses of an e-mail change has answered.
    HalfConfirmed,
}

pub(crate) async fn post(
    State(auth): State<Arc<Auth>>,
    client: Client,
    body: Body,
) -> Result<Response> {
    let kind = body
        .text("type")?
        .ok_or_else(|| AuthError::invalid("Verify requires a verification type"))?;
    let hash = match (body.text("token_hash")?, body.text("token")?) {
        (Some(hash), None) => {
            if body.text("email")?.is_some() || body.text("phone")?.is_some() {
                return Err(AuthError::invalid(
                    "Only the token_hash and type should be provided",
                ));
            }
            hash.to_owned()
        }
        (None, Some(token)) => {
            let email = body.text("email")?.ok_or_else(|| {
                AuthError::invalid(
                    "Only an email address or phone number should be provided on verify",
                )
            })?;
            one_time::hash(&validate::email(email)?, &token.replace('-', ""))
        }
        (Some(_), Some(_)) => {
            return Err(AuthError::invalid(
                "Verify requires either a token or a token hash",
            ));
        }
        (None, None) => {
            return Err(AuthError::invalid(
                "Verify requires a token or a token hash",
            ));
        }
    };
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let outcome = redeem(&auth, &tx, kind, &hash, false, &client).await?;
    tx.commit().await?;
    Ok(match outcome {
        Outcome::SignedIn(session) => Json(session).into_response(),
        Outcome::Code(code) => Json(json!({ "code": code })).into_response(),
        Outcome::HalfConfirmed => {
            Json(json!({ "code": "200", "msg": HALF_CONFIRMED })).into_response()
        }
    })
}

/// Always redirects: with the session in the fragment, a code in the query, or the error in both.
pub(crate) async fn get(
    State(auth): State<Arc<Auth>>,
    query: Query,
    client: Client,
) -> Result<Response> {
    let redirect_to = validate::redirect(query.get("redirect_to"), &auth.config.site_url);
    let mut target = Url::parse(&redirect_to)
        .map_err(|error| AuthError::internal("site_url is not a URL", error))?;
    let kind = query.get("type").unwrap_or_default();
    let hash = query.get("token").or_else(|| query.get("token_hash"));
    let pkce = hash.is_some_and(|hash| hash.starts_with(PKCE_PREFIX));
    match follow(&auth, kind, hash, pkce, &client).await {
        Ok(Outcome::SignedIn(session)) => target.set_fragment(Some(&session.fragment(kind))),
        Ok(Outcome::Code(code)) => {
            target.query_pairs_mut().append_pair("code", &code);
        }
        Ok(Outcome::HalfConfirmed) => {
            target.set_fragment(Some(&encode(&[("message", HALF_CONFIRMED)])))
        }
        Err(error) => {
            let oauth = match error.status().as_u16() {
                401 => "unauthorized_client",
                403 => "access_denied",
                500.. => "server_error",
                _ => "invalid_request",
            };
            let description = match error.code() {
                Code::OtpExpired => "Email link is invalid or has expired".to_owned(),
                _ => error.to_string(),
            };
            let fields = encode(&[
                ("error", oauth),
                ("error_code", error.code().as_str()),
                ("error_description", &description),
            ]);
            if pkce {
                target.set_query(Some(&fields));
            }
            target.set_fragment(Some(&fields));
            // The client sees a redirect; the log still gets the cause.
            drop(error.into_response());
        }
    }
    Ok(Redirect::to(target.as_str()).into_response())
}

fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

async fn follow(
    auth: &Auth,
    kind: &str,
    hash: Option<&str>,
    pkce: bool,
    client: &Client,
) -> Result<Outcome> {
    let hash = hash.ok_or_else(|| AuthError::invalid("Verify requires a token or a token hash"))?;
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let outcome = redeem(auth, &tx, kind, hash, pkce, client).await?;
    tx.commit().await?;
    Ok(outcome)
}

async fn redeem(
    auth: &Auth,
    tx: &Transaction<'_>,
    kind: &str,
    hash: &str,
    pkce: bool,
    client: &Client,
) -> Result<Outcome> {
    let purposes: &[Purpose] = match kind {
        "signup" | "invite" => &[Purpose::Confirmation],
        "recovery" | "magiclink" => &[Purpose::Recovery],
        "email" => &[Purpose::Recovery, Purpose::Confirmation],
        "email_change" => &[Purpose::EmailChangeCurrent, Purpose::EmailChangeNew],
        "sms" | "phone_change" => {
            return Err(AuthError::bad_request(
                Code::PhoneProviderDisabled,
                "Phone logins are disabled",
            ));
        }
        _ => {
            return Err(AuthError::invalid(
                "Unsupported verification type. Use signup, invite, recovery, magiclink, email or email_change",
            ));
        }
    };
    let redeemed = one_time::redeem(tx, hash, purposes)
        .await?
        .ok_or_else(AuthError::otp_expired)?;
    let user = User::lock(tx, redeemed.user_id)
        .await?
        .ok_or_else(AuthError::otp_expired)?;
    user.refuse_banned(AuthError::forbidden)?;
    match redeemed.purpose {
        Purpose::EmailChangeCurrent | Purpose::EmailChangeNew => {
            if user.email_change.is_empty() {
                return Err(AuthError::otp_expired());
            }
            if user.email_change_confirm_status == 0 && !user.email.is_empty() {
                tx.execute(
                    "update auth.users set email_change_confirm_status = 1, updated_at = now() where id = $1",
                    &[&user.id],
                )
                .await?;
                return Ok(Outcome::HalfConfirmed);
            }
            user::set_email(tx, user.id, &user.email_change).await?;
            user::confirm(tx, user.id).await?;
        }
        _ if !user.is_confirmed() => user::confirm(tx, user.id).await?,
        _ => {}
    }
    if pkce {
        return pkce::issue_code(tx, user.id, kind).await.map(Outcome::Code);
    }
    let session = session::open(auth, tx, user.id, "otp", client).await?;
    Ok(Outcome::SignedIn(Box::new(session)))
}
