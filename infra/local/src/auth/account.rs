//! What a signed-in user does with the own account: `/user`, `/reauthenticate`, `/logout`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use deadpool_postgres::Transaction;
use serde_json::{Value, json};

use super::Auth;
use super::error::{AuthError, Code, Result};
use super::mail::Kind;
use super::one_time::{self, OneTimeToken, Purpose};
use super::pkce::Challenge;
use super::request::{Body, Caller, Query};
use super::session::{self, Scope};
use super::user::{self, Metadata, User};
use super::{password, validate};

pub(crate) async fn get_user(caller: Caller) -> Json<User> {
    Json(caller.user)
}

/// Changes password, user_metadata or e-mail address. A new address counts only after both mails are answered.
pub(crate) async fn update_user(
    State(auth): State<Arc<Auth>>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Result<Json<User>> {
    let id = caller.user.id;
    if body.object("app_metadata")?.is_some() {
        return Err(AuthError::forbidden(
            Code::NotAdmin,
            "Updating app_metadata requires admin privileges",
        ));
    }
    if body.text("phone")?.is_some() {
        return Err(AuthError::bad_request(
            Code::PhoneProviderDisabled,
            "Phone numbers cannot be changed: phone logins are disabled",
        ));
    }
    let email = body
        .text("email")?
        .map(validate::email)
        .transpose()?
        .filter(|email| *email != caller.user.email);
    let data = body.object("data")?;
    let nonce = body.text("nonce")?;
    let challenge = Challenge::parse(&body)?;
    let new_password = match body.any_text("password")? {
        None => None,
        Some(new) => {
            password::check(new)?;
            if password::matches(new, &caller.user.encrypted_password).await? {
                return Err(AuthError::unprocessable(
                    Code::SamePassword,
                    "New password should be different from the old password.",
                ));
            }
            Some(password::hash(new).await?)
        }
    };

    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let user = User::lock(&tx, id).await?.ok_or_else(|| {
        AuthError::forbidden(
            Code::UserNotFound,
            "User from sub claim in JWT does not exist",
        )
    })?;
    if let Some(hash) = new_password {
        if let Some(nonce) = nonce {
            redeem_nonce(&tx, &user, nonce).await?;
        }
        user::set_password(&tx, id, &hash, caller.session_id).await?;
    }
    if let Some(data) = data {
        user::merge_metadata(&tx, id, Metadata::User, data).await?;
    }
    if let Some(email) = email {
        if User::find_by_email(&tx, &email).await?.is_some() {
            return Err(AuthError::email_exists());
        }
        if let Some(challenge) = &challenge {
            challenge.store(&tx, id, Kind::EmailChange.as_str()).await?;
        }
        let redirect_to = validate::redirect(query.get("redirect_to"), &auth.config.site_url);
        request_email_change(&auth, &tx, &user, &email, challenge.is_some(), &redirect_to).await?;
    }
    let user = User::reload(&tx, id).await?;
    tx.commit().await?;
    Ok(Json(user))
}

/// Mails the old and the new address; both must be answered (a user without an address answers the new one only).
pub(crate) async fn request_email_change(
    auth: &Auth,
    tx: &Transaction<'_>,
    user: &User,
    new: &str,
    pkce: bool,
    redirect_to: &str,
) -> Result<()> {
    begin_email_change(tx, user, new).await?;
    let recipients = [
        (Purpose::EmailChangeCurrent, user.email.as_str()),
        (Purpose::EmailChangeNew, new),
    ];
    for (purpose, to) in recipients.into_iter().filter(|(_, to)| !to.is_empty()) {
        let token = OneTimeToken::generate(to, pkce);
        one_time::store(tx, user.id, purpose, to, &token).await?;
        auth.mailer
            .send(Kind::EmailChange, to, &token, redirect_to)
            .await?;
    }
    Ok(())
}

/// Notes the wanted address; nothing is confirmed yet.
pub(crate) async fn begin_email_change(tx: &Transaction<'_>, user: &User, new: &str) -> Result<()> {
    tx.execute(
        "update auth.users set email_change = $2, email_change_confirm_status = 0, updated_at = now() where id = $1",
        &[&user.id, &new],
    )
    .await
    .map_err(AuthError::database("Error updating user"))?;
    Ok(())
}

async fn redeem_nonce(tx: &Transaction<'_>, user: &User, nonce: &str) -> Result<()> {
    let hash = one_time::hash(&user.email, nonce);
    match one_time::redeem(tx, &hash, &[Purpose::Reauthentication]).await? {
        Some(redeemed) if redeemed.user_id == user.id => Ok(()),
        _ => Err(AuthError::unprocessable(
            Code::ReauthenticationNotValid,
            "Nonce has expired or is invalid",
        )),
    }
}

/// Mails a nonce for the next change of password.
pub(crate) async fn reauthenticate(
    State(auth): State<Arc<Auth>>,
    caller: Caller,
) -> Result<Json<Value>> {
    let user = caller.user;
    if user.email.is_empty() || !user.is_confirmed() {
        return Err(AuthError::unprocessable(
            Code::EmailNotConfirmed,
            "Please verify your email first.",
        ));
    }
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let token = OneTimeToken::generate(&user.email, false);
    one_time::store(&tx, user.id, Purpose::Reauthentication, &user.email, &token).await?;
    auth.mailer
        .send(
            Kind::Reauthentication,
            &user.email,
            &token,
            &auth.config.site_url,
        )
        .await?;
    tx.commit().await?;
    Ok(Json(json!({})))
}

pub(crate) async fn logout(
    State(auth): State<Arc<Auth>>,
    caller: Caller,
    query: Query,
) -> Result<StatusCode> {
    let scope = Scope::parse(query.get("scope"))?;
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    session::close(&tx, caller.user.id, caller.session_id, scope).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
