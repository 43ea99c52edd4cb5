//! Routes that answer by mail: `/recover`, `/otp`, `/resend`. They answer alike whether or not an account exists.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::Auth;
use super::account::request_email_change;
use super::error::{AuthError, Code, Result};
use super::grant::required_email;
use super::mail::Kind;
use super::one_time::{self, OneTimeToken, Purpose};
use super::pkce::Challenge;
use super::request::{Body, Query};
use super::signup::register;
use super::user::{self, User};
use super::validate;

/// Mails a link by which the user gets a session, to set a new password.
pub(crate) async fn recover(
    State(auth): State<Arc<Auth>>,
    query: Query,
    body: Body,
) -> Result<Json<Value>> {
    let email = required_email(&body)?;
    let challenge = Challenge::parse(&body)?;
    let redirect_to = validate::redirect(query.get("redirect_to"), &auth.config.site_url);
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    if let Some(user) = User::find_by_email(&tx, &email).await? {
        send_recovery(&auth, &tx, &user, Kind::Recovery, challenge, &redirect_to).await?;
    }
    tx.commit().await?;
    Ok(Json(json!({})))
}

/// Mails a sign-in link and code; makes the account first, unless `create_user` is false.
pub(crate) async fn otp(
    State(auth): State<Arc<Auth>>,
    query: Query,
    body: Body,
) -> Result<Json<Value>> {
    if body.text("email")?.is_none() && body.text("phone")?.is_some() {
        return Err(AuthError::bad_request(
            Code::PhoneProviderDisabled,
            "Phone logins are disabled",
        ));
    }
    let email = required_email(&body)?;
    let challenge = Challenge::parse(&body)?;
    let redirect_to = validate::redirect(query.get("redirect_to"), &auth.config.site_url);
    let create = body.flag("create_user")?.unwrap_or(true);
    let data = body.object("data")?.cloned().unwrap_or_default();
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let user = match User::find_by_email(&tx, &email).await? {
        Some(user) => user,
        None if create => {
            let id = register(&tx, &email, "", data).await?;
            user::confirm(&tx, id).await?;
            User::reload(&tx, id).await?
        }
        None => {
            return Err(AuthError::unprocessable(
                Code::OtpDisabled,
                "Signups not allowed for otp",
            ));
        }
    };
    send_recovery(&auth, &tx, &user, Kind::MagicLink, challenge, &redirect_to).await?;
    tx.commit().await?;
    Ok(Json(json!({})))
}

/// Mails a confirmation or an e-mail change again, if one is still open.
pub(crate) async fn resend(
    State(auth): State<Arc<Auth>>,
    query: Query,
    body: Body,
) -> Result<Json<Value>> {
    let email = required_email(&body)?;
    let challenge = Challenge::parse(&body)?;
    let redirect_to = validate::redirect(query.get("redirect_to"), &auth.config.site_url);
    let kind = match body.text("type")? {
        Some("signup") => Kind::Signup,
        Some("email_change") => Kind::EmailChange,
        _ => {
            return Err(AuthError::invalid(
                "Missing or unsupported type. Use signup or email_change",
            ));
        }
    };
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    if let Some(user) = User::find_by_email(&tx, &email).await? {
        let pending = match kind {
            Kind::Signup => !user.is_confirmed(),
            _ => !user.email_change.is_empty(),
        };
        if pending {
            if let Some(challenge) = &challenge {
                challenge.store(&tx, user.id, kind.as_str()).await?;
            }
            if kind == Kind::Signup {
                let token = OneTimeToken::generate(&user.email, challenge.is_some());
                one_time::store(&tx, user.id, Purpose::Confirmation, &user.email, &token).await?;
                auth.mailer
                    .send(kind, &user.email, &token, &redirect_to)
                    .await?;
            } else {
                request_email_change(
                    &auth,
                    &tx,
                    &user,
                    &user.email_change,
                    challenge.is_some(),
                    &redirect_to,
                )
                .await?;
            }
        }
    }
    tx.commit().await?;
    Ok(Json(json!({})))
}

async fn send_recovery(
    auth: &Auth,
    tx: &Transaction<'_>,
    user: &User,
    kind: Kind,
    challenge: Option<Challenge>,
    redirect_to: &str,
) -> Result<()> {
    if let Some(challenge) = &challenge {
        challenge.store(tx, user.id, kind.as_str()).await?;
    }
    let token = OneTimeToken::generate(&user.email, challenge.is_some());
    one_time::store(tx, user.id, Purpose::Recovery, &user.email, &token).await?;
    auth.mailer
        .send(kind, &user.email, &token, redirect_to)
        .await
}
