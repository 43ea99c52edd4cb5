//! `POST /signup`, and how every route makes a user who has an e-mail address.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use deadpool_postgres::Transaction;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Auth;
use super::error::{AuthError, Code, Result};
use super::request::{Body, Client};
use super::session::{self, Session};
use super::token::AUDIENCE;
use super::user::{self, Metadata, NewUser, User};
use super::{password, validate};

/// Registers a user and signs in: addresses are confirmed at once, as with the Supabase CLI's defaults.
pub(crate) async fn signup(
    State(auth): State<Arc<Auth>>,
    client: Client,
    body: Body,
) -> Result<Json<Session>> {
    let Some(email) = body.text("email")? else {
        return Err(match body.text("phone")? {
            Some(_) => {
                AuthError::bad_request(Code::PhoneProviderDisabled, "Phone signups are disabled")
            }
            None => AuthError::unprocessable(
                Code::AnonymousProviderDisabled,
                "Anonymous sign-ins are disabled",
            ),
        });
    };
    let email = validate::email(email)?;
    let password = body
        .text("password")?
        .ok_or_else(|| AuthError::invalid("Signup requires a valid password"))?;
    password::check(password)?;
    let data = body.object("data")?.cloned().unwrap_or_default();

    // The connection is given back while bcrypt works.
    let taken = {
        let db = auth.pool.get().await?;
        User::find_by_email(&db, &email).await?.is_some()
    };
    if taken {
        return Err(already_registered());
    }
    let encrypted_password = password::hash(password).await?;
    let mut db = auth.pool.get().await?;
    let tx = db.transaction().await?;
    let id = register(&tx, &email, &encrypted_password, data)
        .await
        .map_err(|error| match error.code() {
            Code::EmailExists => already_registered(),
            _ => error,
        })?;
    user::confirm(&tx, id).await?;
    let session = session::open(&auth, &tx, id, "password", &client).await?;
    tx.commit()
        .await
        .map_err(AuthError::database("Database error saving new user"))?;
    Ok(Json(session))
}

/// Creates an unconfirmed user with an identity. An empty `encrypted_password` allows no sign-in by password.
pub(crate) async fn register(
    tx: &Transaction<'_>,
    email: &str,
    encrypted_password: &str,
    user_metadata: Map<String, Value>,
) -> Result<Uuid> {
    let id = User::create(
        tx,
        NewUser {
            id: None,
            email: Some(email),
            phone: None,
            encrypted_password,
            aud: AUDIENCE,
            role: "authenticated",
            user_metadata,
        },
    )
    .await?;
    let own =
        json!({ "sub": id, "email": email, "email_verified": false, "phone_verified": false });
    if let Value::Object(own) = own {
        user::merge_metadata(tx, id, Metadata::User, &own).await?;
    }
    Ok(id)
}

fn already_registered() -> AuthError {
    AuthError::unprocessable(Code::UserAlreadyExists, "User already registered")
}
