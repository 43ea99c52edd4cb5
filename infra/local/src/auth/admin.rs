//! What a service_role token may do: `/admin/users`, `/admin/generate_link`, `/invite`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use deadpool_postgres::Transaction;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Auth;
use super::account::begin_email_change;
use super::error::{AuthError, Code, Result};
use super::grant::required_email;
use super::mail::Kind;
use super::one_time::{self, OneTimeToken, Purpose};
use super::password;
use super::request::{Admin, Body, OptionalBody, Query};
use super::signup::register;
use super::token::AUDIENCE;
use super::user::{self, Metadata, NewUser, User};
use super::validate::{self, Ban, Page};

type UserPath = std::result::Result<Path<String>, PathRejection>;

/// The attributes that createUser and updateUserById share.
struct Attributes<'a> {
    email: Option<String>,
    phone: Option<String>,
    /// The bcrypt hash of `password`, or `password_hash` as given.
    encrypted_password: Option<String>,
    role: Option<String>,
    aud: Option<String>,
    email_confirm: bool,
    phone_confirm: bool,
    user_metadata: Option<&'a Map<String, Value>>,
    app_metadata: Option<&'a Map<String, Value>>,
    ban: Option<Ban>,
}

impl<'a> Attributes<'a> {
    async fn parse(body: &'a Body) -> Result<Self> {
        let encrypted_password = match (body.text("password")?, body.text("password_hash")?) {
            (Some(_), Some(_)) => {
                return Err(AuthError::invalid(
                    "Only a password or a password hash should be provided",
                ));
            }
            (Some(password), None) => {
                password::check(password)?;
                Some(password::hash(password).await?)
            }
            (None, Some(hash)) => {
                password::check_hash(hash)?;
                Some(hash.to_owned())
            }
            (None, None) => None,
        };
        let name = |field: &str| {
            body.text(field)?
                .map(|value| validate::name(field, value))
                .transpose()
        };
        Ok(Self {
            email: body.text("email")?.map(validate::email).transpose()?,
            phone: body.text("phone")?.map(validate::phone).transpose()?,
            encrypted_password,
            role: name("role")?,
            aud: name("aud")?,
            email_confirm: body.flag("email_confirm")?.unwrap_or(false),
            phone_confirm: body.flag("phone_confirm")?.unwrap_or(false),
            user_metadata: body.object("user_metadata")?,
            app_metadata: body.object("app_metadata")?,
            ban: body
                .text("ban_duration")?
                .map(validate::ban_duration)
                .transpose()?,
        })
    }

    /// What is the same for a new and for an existing user.
    async fn apply(&self, tx: &Transaction<'_>, id: Uuid) -> Result<()> {
        if let Some(app_metadata) = self.app_metadata {
            user::merge_metadata(tx, id, Metadata::App, app_metadata).await?;
        }
        if self.email_confirm {
            user::confirm(tx, id).await?;
        }
        if self.phone_confirm {
            tx.execute(
                "update auth.users set phone_confirmed_at = now(), updated_at = now() where id = $1",
                &[&id],
            )
            .await
            .map_err(AuthError::database("Error updating user"))?;
        }
        if let Some(ban) = &self.ban {
            user::set_ban(tx, id, ban).await?;
        }
        Ok(())
    }
}

pub(crate) async fn create_user(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    body: Body,
) -> Result<Json<User>> {
    let id = body
        .text("id")?
        .map(|id| {
            Uuid::parse_str(id)
                .ok()
                .filter(|id| !id.is_nil())
                .ok_or_else(|| AuthError::invalid("ID must conform to the uuid v4 format"))
        })
        .transpose()?;
    let wanted = Attributes::parse(&body).await?;
    if wanted.email.is_none() && wanted.phone.is_none() {
        return Err(AuthError::invalid(
            "Cannot create a user without either an email or phone",
        ));
    }
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let id = User::create(
        &tx,
        NewUser {
            id,
            email: wanted.email.as_deref(),
            phone: wanted.phone.as_deref(),
            encrypted_password: wanted.encrypted_password.as_deref().unwrap_or_default(),
            aud: wanted.aud.as_deref().unwrap_or(AUDIENCE),
            role: wanted.role.as_deref().unwrap_or("authenticated"),
            user_metadata: wanted.user_metadata.cloned().unwrap_or_default(),
        },
    )
    .await?;
    wanted.apply(&tx, id).await?;
    let user = User::reload(&tx, id).await?;
    tx.commit()
        .await
        .map_err(AuthError::database("Database error saving new user"))?;
    Ok(Json(user))
}

pub(crate) async fn list_users(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    query: Query,
) -> Result<impl IntoResponse> {
    let page = Page::parse(query.get("page"), query.get("per_page"))?;
    let db = auth.pool.get().await?;
    let (users, total) = User::list(&db, query.get("filter"), page.size, page.offset()).await?;
    Ok((
        [
            (header::LINK, page.link_header(total)),
            (HeaderName::from_static("x-total-count"), total.to_string()),
        ],
        Json(json!({ "users": users, "aud": AUDIENCE })),
    ))
}

pub(crate) async fn get_user(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    path: UserPath,
) -> Result<Json<User>> {
    let id = user_id(path)?;
    let db = auth.pool.get().await?;
    let user = User::find(&db, id).await?.ok_or_else(no_such_user)?;
    Ok(Json(user))
}

pub(crate) async fn update_user(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    path: UserPath,
    body: Body,
) -> Result<Json<User>> {
    let id = user_id(path)?;
    let wanted = Attributes::parse(&body).await?;
    let failed = AuthError::database("Error updating user");
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    User::lock(&tx, id).await?.ok_or_else(no_such_user)?;
    if let Some(role) = &wanted.role {
        tx.execute(
            "update auth.users set role = $2, updated_at = now() where id = $1",
            &[&id, role],
        )
        .await
        .map_err(failed)?;
    }
    if let Some(phone) = &wanted.phone {
        tx.execute(
            "update auth.users set phone = $2, updated_at = now() where id = $1",
            &[&id, phone],
        )
        .await
        .map_err(|error| {
            if super::error::violates(&error, "users_phone_key") {
                AuthError::unprocessable(
                    Code::PhoneExists,
                    "A user with this phone number has already been registered",
                )
            } else {
                failed(error)
            }
        })?;
    }
    if let Some(email) = &wanted.email {
        user::set_email(&tx, id, email).await?;
    }
    if let Some(hash) = &wanted.encrypted_password {
        user::set_password(&tx, id, hash, None).await?;
    }
    if let Some(user_metadata) = wanted.user_metadata {
        user::merge_metadata(&tx, id, Metadata::User, user_metadata).await?;
    }
    wanted.apply(&tx, id).await?;
    let user = User::reload(&tx, id).await?;
    tx.commit().await.map_err(failed)?;
    Ok(Json(user))
}

pub(crate) async fn delete_user(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    path: UserPath,
    OptionalBody(body): OptionalBody,
) -> Result<Json<Value>> {
    let id = user_id(path)?;
    let soft = body.flag("should_soft_delete")?.unwrap_or(false);
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let user = User::lock(&tx, id).await?.ok_or_else(no_such_user)?;
    let failed = AuthError::database("Database error deleting user");
    if !soft {
        tx.execute("delete from auth.users where id = $1", &[&id])
            .await
            .map_err(failed)?;
    } else if !user.is_deleted() {
        user::soft_delete(&tx, id).await?;
    }
    tx.commit().await.map_err(failed)?;
    Ok(Json(json!({})))
}

/// Creates an account without a password and mails the invitation; an invited but unconfirmed user is invited again.
pub(crate) async fn invite(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    query: Query,
    body: Body,
) -> Result<Json<User>> {
    let email = required_email(&body)?;
    let data = body.object("data")?.cloned().unwrap_or_default();
    let redirect_to = validate::redirect(query.get("redirect_to"), &auth.config.site_url);
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let (id, token) = prepare_invitation(&tx, &email, data).await?;
    auth.mailer
        .send(Kind::Invite, &email, &token, &redirect_to)
        .await?;
    let user = User::reload(&tx, id).await?;
    tx.commit()
        .await
        .map_err(AuthError::database("Database error saving new user"))?;
    Ok(Json(user))
}

async fn prepare_invitation(
    tx: &Transaction<'_>,
    email: &str,
    data: Map<String, Value>,
) -> Result<(Uuid, OneTimeToken)> {
    let id = match User::find_by_email(tx, email).await? {
        Some(user) if user.is_confirmed() => return Err(AuthError::email_exists()),
        Some(user) => user.id,
        None => register(tx, email, "", data).await?,
    };
    let token = OneTimeToken::generate(email, false);
    one_time::store(tx, id, Purpose::Confirmation, email, &token).await?;
    tx.execute(
        "update auth.users set invited_at = now(), updated_at = now() where id = $1",
        &[&id],
    )
    .await
    .map_err(AuthError::database("Error inviting user"))?;
    Ok((id, token))
}

/// Makes the link that a mail would carry, for applications that send their own mails.
pub(crate) async fn generate_link(
    State(auth): State<Arc<Auth>>,
    _: Admin,
    query: Query,
    body: Body,
) -> Result<Json<Value>> {
    let email = required_email(&body)?;
    let data = body.object("data")?.cloned().unwrap_or_default();
    let wanted_redirect = query.get("redirect_to").or(body.text("redirect_to")?);
    let redirect_to = validate::redirect(wanted_redirect, &auth.config.site_url);
    let mut kind = body.text("type")?.unwrap_or_default();
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let existing = User::find_by_email(&tx, &email).await?;
    if kind == "magiclink" && existing.is_none() {
        kind = "signup";
    }
    let no_account = || AuthError::not_found(Code::UserNotFound, "User with this email not found");
    let (id, token) = match kind {
        "invite" => prepare_invitation(&tx, &email, data).await?,
        "signup" => {
            let id = match existing {
                Some(user) if user.is_confirmed() => return Err(AuthError::email_exists()),
                Some(user) => user.id,
                None => {
                    let hash = match body.text("password")? {
                        Some(password) => {
                            password::check(password)?;
                            password::hash(password).await?
                        }
                        None => String::new(),
                    };
                    register(&tx, &email, &hash, data).await?
                }
            };
            let token = OneTimeToken::generate(&email, false);
            one_time::store(&tx, id, Purpose::Confirmation, &email, &token).await?;
            (id, token)
        }
        "magiclink" | "recovery" => {
            let user = existing.ok_or_else(no_account)?;
            let token = OneTimeToken::generate(&email, false);
            one_time::store(&tx, user.id, Purpose::Recovery, &email, &token).await?;
            (user.id, token)
        }
        "email_change_current" | "email_change_new" => {
            let user = existing.ok_or_else(no_account)?;
            let new = validate::email(body.text("new_email")?.unwrap_or_default())?;
            if User::find_by_email(&tx, &new).await?.is_some() {
                return Err(AuthError::email_exists());
            }
            // The second of the two links must not undo the first.
            if user.email_change != new {
                begin_email_change(&tx, &user, &new).await?;
            }
            let (purpose, to) = match kind {
                "email_change_current" => (Purpose::EmailChangeCurrent, &email),
                _ => (Purpose::EmailChangeNew, &new),
            };
            let token = OneTimeToken::generate(to, false);
            one_time::store(&tx, user.id, purpose, to, &token).await?;
            (user.id, token)
        }
        _ => {
            return Err(AuthError::invalid(format!(
                "Invalid email action link type requested: {kind:?}"
            )));
        }
    };
    let user = User::reload(&tx, id).await?;
    tx.commit()
        .await
        .map_err(AuthError::database("Database error saving new user"))?;
    let link_type = match kind {
        "email_change_current" | "email_change_new" => Kind::EmailChange.as_str(),
        other => other,
    };
    let mut answer = json!(user);
    answer["action_link"] = json!(auth.mailer.link(link_type, &token.hash, &redirect_to));
    answer["email_otp"] = json!(token.otp);
    answer["hashed_token"] = json!(token.hash);
    answer["redirect_to"] = json!(redirect_to);
    answer["verification_type"] = json!(kind);
    Ok(Json(answer))
}

fn user_id(path: UserPath) -> Result<Uuid> {
    path.ok()
        .and_then(|Path(id)| id.parse().ok())
        .ok_or_else(|| AuthError::not_found(Code::ValidationFailed, "user_id must be an UUID"))
}

fn no_such_user() -> AuthError {
    AuthError::not_found(Code::UserNotFound, "User not found")
}
