//! Users and their identities: the rows of `auth.users`, and the JSON by which clients see them.

use chrono::{DateTime, Utc};
use deadpool_postgres::{GenericClient, Transaction};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::error::{AuthError, Code, Result, violates};
use super::validate::Ban;

/// A user as clients see it. Secrets are kept out of the JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) aud: String,
    pub(crate) role: String,
    pub(crate) email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email_confirmed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_at: Option<DateTime<Utc>>,
    pub(crate) phone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_confirmed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation_sent_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_sent_at: Option<DateTime<Utc>>,
    #[serde(rename = "new_email", skip_serializing_if = "String::is_empty")]
    pub(crate) email_change: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_change_sent_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reauthentication_sent_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sign_in_at: Option<DateTime<Utc>>,
    pub(crate) app_metadata: Value,
    pub(crate) user_metadata: Value,
    identities: Value,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    banned_until: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<DateTime<Utc>>,
    pub(crate) is_anonymous: bool,
    #[serde(skip)]
    pub(crate) encrypted_password: String,
    #[serde(skip)]
    pub(crate) email_change_confirm_status: i16,
}

/// Everything that [`User::from_row`] reads. Text that seed SQL left null reads as empty.
const SELECT: &str = r#"
    select u.id, coalesce(u.aud, '') as aud, coalesce(u.role, '') as role, coalesce(u.email, '') as email,
           u.email_confirmed_at, u.invited_at, coalesce(u.phone, '') as phone, u.phone_confirmed_at,
           u.confirmation_sent_at, u.confirmed_at, u.recovery_sent_at, coalesce(u.email_change, '') as email_change,
           u.email_change_sent_at, u.reauthentication_sent_at, u.last_sign_in_at,
           coalesce(u.raw_app_meta_data, '{}') as app_metadata, coalesce(u.raw_user_meta_data, '{}') as user_metadata,
           u.created_at, u.updated_at, u.banned_until, u.deleted_at, u.is_anonymous,
           coalesce(u.encrypted_password, '') as encrypted_password,
           coalesce(u.email_change_confirm_status, 0::smallint) as email_change_confirm_status,
           (select coalesce(jsonb_agg(jsonb_build_object(
                     'identity_id', i.id, 'id', i.provider_id, 'user_id', i.user_id,
                     'identity_data', i.identity_data, 'provider', i.provider,
                     'last_sign_in_at', i.last_sign_in_at, 'created_at', i.created_at,
                     'updated_at', i.updated_at, 'email', i.email) order by i.created_at), '[]')
              from auth.identities i where i.user_id = u.id) as identities
      from auth.users u"#;

/// Whom GoTrue finds by e-mail address: rows that seed SQL wrote without instance_id or aud do not count.
const BY_EMAIL: &str =
    "u.instance_id = '00000000-0000-0000-0000-000000000000' and lower(u.email) = $1
    and u.aud = 'authenticated' and not u.is_sso_user";

/// What a new user starts with.
pub(crate) struct NewUser<'a> {
    pub(crate) id: Option<Uuid>,
    pub(crate) email: Option<&'a str>,
    pub(crate) phone: Option<&'a str>,
    pub(crate) encrypted_password: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) role: &'a str,
    pub(crate) user_metadata: Map<String, Value>,
}

impl User {
    fn from_row(row: &Row) -> std::result::Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            aud: row.try_get("aud")?,
            role: row.try_get("role")?,
            email: row.try_get("email")?,
            email_confirmed_at: row.try_get("email_confirmed_at")?,
            invited_at: row.try_get("invited_at")?,
            phone: row.try_get("phone")?,
            phone_confirmed_at: row.try_get("phone_confirmed_at")?,
            confirmation_sent_at: row.try_get("confirmation_sent_at")?,
            confirmed_at: row.try_get("confirmed_at")?,
            recovery_sent_at: row.try_get("recovery_sent_at")?,
            email_change: row.try_get("email_change")?,
            email_change_sent_at: row.try_get("email_change_sent_at")?,
            reauthentication_sent_at: row.try_get("reauthentication_sent_at")?,
            last_sign_in_at: row.try_get("last_sign_in_at")?,
            app_metadata: row.try_get("app_metadata")?,
            user_metadata: row.try_get("user_metadata")?,
            identities: row.try_get("identities")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            banned_until: row.try_get("banned_until")?,
            deleted_at: row.try_get("deleted_at")?,
            is_anonymous: row.try_get("is_anonymous")?,
            encrypted_password: row.try_get("encrypted_password")?,
            email_change_confirm_status: row.try_get("email_change_confirm_status")?,
        })
    }

    pub(crate) async fn find(db: &impl GenericClient, id: Uuid) -> Result<Option<Self>> {
        let row = db
            .query_opt(&format!("{SELECT} where u.id = $1"), &[&id])
            .await?;
        Ok(row.as_ref().map(Self::from_row).transpose()?)
    }

    /// The user, locked against changes until the transaction ends.
    pub(crate) async fn lock(tx: &Transaction<'_>, id: Uuid) -> Result<Option<Self>> {
        let row = tx
            .query_opt(&format!("{SELECT} where u.id = $1 for update of u"), &[&id])
            .await?;
        Ok(row.as_ref().map(Self::from_row).transpose()?)
    }

    /// The user as it is now, inside a transaction that has just changed it.
    pub(crate) async fn reload(tx: &Transaction<'_>, id: Uuid) -> Result<Self> {
        let row = tx
            .query_one(&format!("{SELECT} where u.id = $1"), &[&id])
            .await?;
        Ok(Self::from_row(&row)?)
    }

    /// `email` in lower case.
    pub(crate) async fn find_by_email(
        db: &impl GenericClient,
        email: &str,
    ) -> Result<Option<Self>> {
        let row = db
            .query_opt(&format!("{SELECT} where {BY_EMAIL}"), &[&email])
            .await?;
        Ok(row.as_ref().map(Self::from_row).transpose()?)
    }

    /// One page of users, newest first, and how many there are in all. `filter` is a part of the address or full name.
    pub(crate) async fn list(
        db: &impl GenericClient,
        filter: Option<&str>,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<Self>, i64)> {
        const WHERE: &str = "u.instance_id = '00000000-0000-0000-0000-000000000000' and u.aud = 'authenticated'
            and ($1::text is null or position(lower($1) in lower(coalesce(u.email, ''))) > 0
                 or position(lower($1) in lower(coalesce(u.raw_user_meta_data ->> 'full_name', ''))) > 0)";
        let total = db
            .query_one(
                &format!("select count(*) from auth.users u where {WHERE}"),
                &[&filter],
            )
            .await?
            .try_get(0)?;
        let rows = db
            .query(
                &format!(
                    "{SELECT} where {WHERE} order by u.created_at desc, u.id limit $2 offset $3"
                ),
                &[&filter, &limit, &offset],
            )
            .await?;
        let users = rows
            .iter()
            .map(Self::from_row)
            .collect::<std::result::Result<_, _>>()?;
        Ok((users, total))
    }

    /// Inserts the user and, if there is an address, its identity. The row is unconfirmed and has only the provider
    /// in app_metadata, exactly as a trigger on auth.users meets it on a hosted project; what else is known follows
    /// by update in the same transaction.
    pub(crate) async fn create(tx: &Transaction<'_>, new: NewUser<'_>) -> Result<Uuid> {
        let id = new.id.unwrap_or_else(Uuid::new_v4);
        let provider = if new.email.is_some() {
            "email"
        } else {
            "phone"
        };
        let providers: Vec<&str> = [new.email.map(|_| "email"), new.phone.map(|_| "phone")]
            .into_iter()
            .flatten()
            .collect();
        tx.execute(
            "insert into auth.users (instance_id, id, aud, role, email, phone, encrypted_password, raw_app_meta_data,
                                     raw_user_meta_data, confirmation_token, recovery_token, email_change_token_new,
                                     email_change, is_super_admin, created_at, updated_at)
             values ('00000000-0000-0000-0000-000000000000', $1, $2, $3, $4, $5, $6, $7, $8, '', '', '', '', false,
                     now(), now())",
            &[
                &id,
                &new.aud,
                &new.role,
                &new.email,
                &new.phone,
                &new.encrypted_password,
                &json!({ "provider": provider, "providers": providers }),
                &Value::Object(new.user_metadata),
            ],
        )
        .await
        .map_err(|error| {
            if violates(&error, "users_email_partial_key") {
                AuthError::email_exists()
            } else if violates(&error, "users_phone_key") {
                AuthError::unprocessable(
                    Code::PhoneExists,
                    "A user with this phone number has already been registered",
                )
            } else if violates(&error, "users_pkey") {
                AuthError::unprocessable(Code::Conflict, "A user with this id already exists")
            } else {
                AuthError::internal("Database error saving new user", error)
            }
        })?;
        if let Some(email) = new.email {
            create_identity(tx, id, email).await?;
        }
        Ok(id)
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.email_confirmed_at.is_some()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// `Err(user_banned)`, made by `error`, while a ban lasts.
    pub(crate) fn refuse_banned(
        &self,
        error: impl FnOnce(Code, &'static str) -> AuthError,
    ) -> Result<()> {
        if self.banned_until.is_some_and(|until| until > Utc::now()) {
            return Err(error(Code::UserBanned, "User is banned"));
        }
        Ok(())
    }
}

async fn create_identity(tx: &Transaction<'_>, user_id: Uuid, email: &str) -> Result<()> {
    tx.execute(
        "insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
         values ($1::uuid::text, $1, $2, 'email', now(), now(), now())",
        &[
            &user_id,
            &json!({ "sub": user_id, "email": email, "email_verified": false, "phone_verified": false }),
        ],
    )
    .await
    .map_err(AuthError::database("Database error saving new user"))?;
    Ok(())
}

/// Which of a user's two metadata objects is meant.
#[derive(Clone, Copy)]
pub(crate) enum Metadata {
    /// `raw_user_meta_data`: the user's own, never to be trusted.
    User,
    /// `raw_app_meta_data`: the administrators'.
    App,
}

/// Sets the given keys and removes those given as null. The caller holds the user's row lock.
pub(crate) async fn merge_metadata(
    tx: &Transaction<'_>,
    id: Uuid,
    which: Metadata,
    changes: &Map<String, Value>,
) -> Result<()> {
    let column = match which {
        Metadata::User => "raw_user_meta_data",
        Metadata::App => "raw_app_meta_data",
    };
    let row = tx
        .query_one(
            &format!("select {column} from auth.users where id = $1"),
            &[&id],
        )
        .await?;
    let Json(current): Json<Value> = row
        .try_get::<_, Option<_>>(0)?
        .unwrap_or_else(|| Json(json!({})));
    let merged = merge(current, changes);
    tx.execute(
        &format!("update auth.users set {column} = $2, updated_at = now() where id = $1"),
        &[&id, &merged],
    )
    .await
    .map_err(AuthError::database("Error updating user"))?;
    Ok(())
}

fn merge(current: Value, changes: &Map<String, Value>) -> Value {
    let mut merged = match current {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (key, value) in changes {
        if value.is_null() {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    Value::Object(merged)
}

/// Marks the address as confirmed and voids every token that was mailed before.
pub(crate) async fn confirm(tx: &Transaction<'_>, id: Uuid) -> Result<()> {
    let failed = AuthError::database("Error confirming user");
    tx.execute(
        "update auth.users set confirmation_token = '', email_confirmed_at = now(), updated_at = now() where id = $1",
        &[&id],
    )
    .await
    .map_err(failed)?;
    tx.execute(
        "update auth.identities
            set identity_data = identity_data || '{\"email_verified\": true}', updated_at = now()
          where user_id = $1 and provider = 'email'",
        &[&id],
    )
    .await
    .map_err(failed)?;
    let verified = Map::from_iter([("email_verified".to_owned(), Value::Bool(true))]);
    merge_metadata(tx, id, Metadata::User, &verified).await?;
    tx.execute(
        "delete from auth.one_time_tokens where user_id = $1",
        &[&id],
    )
    .await?;
    Ok(())
}

/// Stores a new password hash, voids every mailed token, and ends all sessions but `keep`.
pub(crate) async fn set_password(
    tx: &Transaction<'_>,
    id: Uuid,
    encrypted_password: &str,
    keep: Option<Uuid>,
) -> Result<()> {
    tx.execute(
        "update auth.users
            set encrypted_password = $2, updated_at = now(),
                confirmation_token = '', confirmation_sent_at = null, recovery_token = '', recovery_sent_at = null,
                email_change_token_current = '', email_change_token_new = '', email_change_sent_at = null,
                reauthentication_token = '', reauthentication_sent_at = null
          where id = $1",
        &[&id, &encrypted_password],
    )
    .await
    .map_err(AuthError::database("Error during password storage"))?;
    tx.execute(
        "delete from auth.one_time_tokens where user_id = $1",
        &[&id],
    )
    .await?;
    tx.execute(
        "delete from auth.sessions where user_id = $1 and id is distinct from $2",
        &[&id, &keep],
    )
    .await?;
    Ok(())
}

/// Changes the address at once, in the user and in its identity (made if missing).
pub(crate) async fn set_email(tx: &Transaction<'_>, id: Uuid, email: &str) -> Result<()> {
    tx.execute(
        "update auth.users
            set email = $2, email_change = '', email_change_token_current = '', email_change_token_new = '',
                email_change_confirm_status = 0, updated_at = now()
          where id = $1",
        &[&id, &email],
    )
    .await
    .map_err(|error| {
        if violates(&error, "users_email_partial_key") {
            AuthError::email_exists()
        } else {
            AuthError::internal("Error updating user", error)
        }
    })?;
    let identities = tx
        .execute(
            "update auth.identities
                set identity_data = identity_data || jsonb_build_object('email', $2::text), updated_at = now()
              where user_id = $1 and provider = 'email'",
            &[&id, &email],
        )
        .await?;
    if identities == 0 {
        create_identity(tx, id, email).await?;
    }
    Ok(())
}

pub(crate) async fn set_ban(tx: &Transaction<'_>, id: Uuid, ban: &Ban) -> Result<()> {
    let seconds = match ban {
        Ban::Lift => None,
        Ban::For(duration) => Some(duration.as_secs_f64()),
    };
    tx.execute(
        "update auth.users set banned_until = now() + make_interval(secs => $2::float8), updated_at = now()
          where id = $1",
        &[&id, &seconds],
    )
    .await
    .map_err(AuthError::database("Error updating user"))?;
    Ok(())
}

/// Keeps the row, so that references hold, but nothing by which the person could be known or could sign in.
pub(crate) async fn soft_delete(tx: &Transaction<'_>, id: Uuid) -> Result<()> {
    let failed = AuthError::database("Error soft deleting user");
    tx.execute(
        "update auth.users
            set email = encode(sha256((id::text || email)::bytea), 'hex'),
                phone = left(encode(sha256((id::text || phone)::bytea), 'hex'), 15),
                encrypted_password = '', email_change = '', phone_change = '', confirmation_token = '',
                recovery_token = '', email_change_token_current = '', email_change_token_new = '',
                phone_change_token = '', reauthentication_token = '', raw_user_meta_data = '{}',
                raw_app_meta_data = '{}', deleted_at = now(), updated_at = now()
          where id = $1",
        &[&id],
    )
    .await
    .map_err(failed)?;
    tx.execute(
        "update auth.identities
            set identity_data = '{}', provider_id = encode(sha256((user_id::text || provider_id)::bytea), 'hex'),
                updated_at = now()
          where user_id = $1",
        &[&id],
    )
    .await
    .map_err(failed)?;
    tx.execute(
        "delete from auth.one_time_tokens where user_id = $1",
        &[&id],
    )
    .await?;
    tx.execute("delete from auth.sessions where user_id = $1", &[&id])
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_merges_and_null_removes() {
        let changes = json!({"b": 2, "c": null});
        let changes = changes.as_object().unwrap();
        assert_eq!(
            merge(json!({"a": 1, "c": 3}), changes),
            json!({"a": 1, "b": 2})
        );
        assert_eq!(merge(json!([1]), changes), json!({"b": 2}));
    }
}
