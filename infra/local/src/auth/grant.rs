//! `POST /token`: by password, refresh token or PKCE code.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Auth;
use super::error::{AuthError, Code, Result};
use super::request::{Body, Client, Query};
use super::session::{self, Session};
use super::user::User;
use super::{password, pkce, validate};

pub(crate) async fn token(
    State(auth): State<Arc<Auth>>,
    query: Query,
    client: Client,
    body: Body,
) -> Result<Json<Session>> {
    let session = match query.get("grant_type") {
        Some("password") => by_password(&auth, &client, &body).await?,
        Some("refresh_token") => by_refresh_token(&auth, &client, &body).await?,
        Some("pkce") => by_code(&auth, &client, &body).await?,
        other => {
            return Err(AuthError::bad_request(
                Code::InvalidCredentials,
                format!(
                    "unsupported_grant_type: {}. The local auth stand-in knows password, refresh_token and pkce",
                    other.unwrap_or("none given")
                ),
            ));
        }
    };
    Ok(Json(session))
}

async fn by_password(auth: &Auth, client: &Client, body: &Body) -> Result<Session> {
    let Some(email) = body.text("email")? else {
        return Err(match body.text("phone")? {
            Some(_) => {
                AuthError::bad_request(Code::PhoneProviderDisabled, "Phone logins are disabled")
            }
            None => AuthError::invalid("missing email or phone"),
        });
    };
    let email = email.to_lowercase();
    let password = body.any_text("password")?.unwrap_or_default();
    // The connection is given back while bcrypt works.
    let user = {
        let db = auth.pool.get().await?;
        User::find_by_email(&db, &email).await?
    };
    let stored = match &user {
        Some(user) if !user.encrypted_password.is_empty() => &user.encrypted_password,
        _ => &auth.unmatchable_hash,
    };
    let matches = password::matches(password, stored).await?;
    let user = user
        .filter(|_| matches)
        .ok_or_else(AuthError::invalid_login)?;

    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    // Read again under lock: the account may have changed while bcrypt worked.
    let user = User::lock(&tx, user.id)
        .await?
        .filter(|now| now.encrypted_password == user.encrypted_password)
        .ok_or_else(AuthError::invalid_login)?;
    user.refuse_banned(AuthError::bad_request)?;
    if !user.is_confirmed() {
        return Err(AuthError::bad_request(
            Code::EmailNotConfirmed,
            "Email not confirmed",
        ));
    }
    let session = session::open(auth, &tx, user.id, "password", client).await?;
    tx.commit().await?;
    Ok(session)
}

async fn by_refresh_token(auth: &Auth, client: &Client, body: &Body) -> Result<Session> {
    let presented = body
        .text("refresh_token")?
        .ok_or_else(|| AuthError::invalid("refresh_token required"))?;
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let answer = session::refresh(auth, &tx, presented, client).await?;
    tx.commit().await?;
    answer
}

async fn by_code(auth: &Auth, client: &Client, body: &Body) -> Result<Session> {
    let (Some(code), Some(verifier)) = (body.text("auth_code")?, body.text("code_verifier")?)
    else {
        return Err(AuthError::invalid(
            "invalid request: both auth code and code verifier should be non-empty",
        ));
    };
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let (user_id, method) = pkce::redeem(&tx, code, verifier).await?;
    let user = User::lock(&tx, user_id).await?.ok_or_else(|| {
        AuthError::forbidden(Code::UserNotFound, "The user of this code no longer exists")
    })?;
    user.refuse_banned(AuthError::forbidden)?;
    let session = session::open(auth, &tx, user.id, &method, client).await?;
    tx.commit().await?;
    Ok(session)
}

/// The address of a body that must have one, in lower case.
pub(crate) fn required_email(body: &Body) -> Result<String> {
    validate::email(
        body.text("email")?
            .ok_or_else(|| AuthError::invalid("An email address is required"))?,
    )
}
