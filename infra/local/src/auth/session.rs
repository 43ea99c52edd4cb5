//! Sessions and their refresh tokens.

use std::time::Duration;

use deadpool_postgres::Transaction;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Auth;
use super::error::{AuthError, Code, Result};
use super::request::Client;
use super::token::{AccessClaims, AuthenticationMethod};
use super::user::User;

/// What a client gets when it signs in or refreshes.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    /// Seconds.
    pub(crate) expires_in: i64,
    /// Unix time in seconds.
    pub(crate) expires_at: i64,
    pub(crate) refresh_token: String,
    pub(crate) user: User,
}

impl Session {
    /// The session as GoTrue appends it to a redirect.
    pub(crate) fn fragment(&self, verification_type: &str) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("access_token", &self.access_token)
            .append_pair("expires_at", &self.expires_at.to_string())
            .append_pair("expires_in", &self.expires_in.to_string())
            .append_pair("refresh_token", &self.refresh_token)
            .append_pair("token_type", self.token_type)
            .append_pair("type", verification_type)
            .finish()
    }
}

/// Opens a session for `user_id`. `method` is what the `amr` claim will say: `password`, `otp`, ...
pub(crate) async fn open(
    auth: &Auth,
    tx: &Transaction<'_>,
    user_id: Uuid,
    method: &str,
    client: &Client,
) -> Result<Session> {
    let session_id = Uuid::new_v4();
    tx.execute(
        "insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
         values ($1, $2, now(), now(), 'aal1', $3, $4)",
        &[&session_id, &user_id, &client.user_agent, &client.ip],
    )
    .await?;
    tx.execute(
        "insert into auth.mfa_amr_claims (id, session_id, created_at, updated_at, authentication_method)
         values ($1, $2, now(), now(), $3)",
        &[&Uuid::new_v4(), &session_id, &method],
    )
    .await?;
    let token = add_refresh_token(tx, user_id, session_id, None).await?;
    tx.execute(
        "update auth.users set last_sign_in_at = now(), updated_at = now() where id = $1",
        &[&user_id],
    )
    .await
    .map_err(AuthError::database("Database error granting user"))?;
    tx.execute(
        "update auth.identities set last_sign_in_at = now() where user_id = $1 and provider = 'email'",
        &[&user_id],
    )
    .await?;
    grant(auth, tx, user_id, session_id, token).await
}

/// Exchanges a refresh token for a new session state.
///
/// A token works once. Presented again within the reuse interval, it yields the session's active token, because two
/// tabs or a lost answer are no theft; after that it revokes every token of the session.
///
/// The outer error rolls back; the inner one is an answer whose revocation must be committed.
pub(crate) async fn refresh(
    auth: &Auth,
    tx: &Transaction<'_>,
    presented: &str,
    client: &Client,
) -> Result<Result<Session>> {
    let not_found = || {
        AuthError::bad_request(
            Code::RefreshTokenNotFound,
            "Invalid Refresh Token: Refresh Token Not Found",
        )
    };
    // The session's lock makes simultaneous refreshes wait for each other; only then is the token's state read.
    let session_id: Uuid = tx
        .query_opt(
            "select s.id from auth.sessions s
              where s.id = (select r.session_id from auth.refresh_tokens r where r.token = $1)
                for update",
            &[&presented],
        )
        .await?
        .ok_or_else(not_found)?
        .try_get(0)?;
    let row = tx
        .query_opt(
            "select coalesce(r.revoked, false), extract(epoch from clock_timestamp() - r.updated_at)::float8, s.user_id,
                    (select a.token from auth.refresh_tokens a
                      where a.session_id = s.id and not coalesce(a.revoked, false) order by a.id desc limit 1)
               from auth.refresh_tokens r join auth.sessions s on s.id = r.session_id
              where r.token = $1",
            &[&presented],
        )
        .await?
        .ok_or_else(not_found)?;
    let revoked: bool = row.try_get(0)?;
    let seconds_since_change: f64 = row.try_get::<_, Option<_>>(1)?.unwrap_or(f64::MAX);
    let user_id: Uuid = row.try_get(2)?;
    let active: Option<String> = row.try_get(3)?;

    User::reload(tx, user_id).await?.refuse_banned(|code, _| {
        AuthError::bad_request(code, "Invalid Refresh Token: User Banned")
    })?;

    let token = match presented_state(
        revoked,
        seconds_since_change,
        auth.config.refresh_token_reuse_interval,
        active,
    ) {
        Presented::Current => {
            revoke(tx, session_id).await?;
            add_refresh_token(tx, user_id, session_id, Some(presented)).await?
        }
        Presented::RecentlyUsed(active) => active,
        Presented::Reused => {
            revoke(tx, session_id).await?;
            return Ok(Err(AuthError::bad_request(
                Code::RefreshTokenAlreadyUsed,
                "Invalid Refresh Token: Already Used",
            )));
        }
    };
    tx.execute(
        "update auth.sessions
            set refreshed_at = (now() at time zone 'utc'), updated_at = now(), user_agent = $2, ip = $3
          where id = $1",
        &[&session_id, &client.user_agent, &client.ip],
    )
    .await?;
    grant(auth, tx, user_id, session_id, token).await.map(Ok)
}

#[derive(Debug, PartialEq, Eq)]
enum Presented {
    Current,
    RecentlyUsed(String),
    Reused,
}

fn presented_state(
    revoked: bool,
    seconds_since_change: f64,
    reuse_interval: Duration,
    active: Option<String>,
) -> Presented {
    match active {
        _ if !revoked => Presented::Current,
        Some(active) if seconds_since_change <= reuse_interval.as_secs_f64() => {
            Presented::RecentlyUsed(active)
        }
        _ => Presented::Reused,
    }
}

/// Which sessions a sign-out ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Global,
    Local,
    Others,
}

impl Scope {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("global") => Ok(Self::Global),
            Some("local") => Ok(Self::Local),
            Some("others") => Ok(Self::Others),
            Some(other) => Err(AuthError::invalid(format!(
                "Unsupported logout scope {other:?}. Use global, local or others"
            ))),
        }
    }
}

/// Ends sessions; their refresh tokens go with them. Access tokens already issued pass PostgREST until they expire.
pub(crate) async fn close(
    tx: &Transaction<'_>,
    user_id: Uuid,
    session_id: Option<Uuid>,
    scope: Scope,
) -> Result<()> {
    let condition = match scope {
        Scope::Global => "true or $2::uuid is null",
        Scope::Local => "id = $2",
        Scope::Others => "id is distinct from $2",
    };
    tx.execute(
        &format!("delete from auth.sessions where user_id = $1 and ({condition})"),
        &[&user_id, &session_id],
    )
    .await?;
    Ok(())
}

async fn revoke(tx: &Transaction<'_>, session_id: Uuid) -> Result<()> {
    tx.execute(
        "update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp()
          where session_id = $1 and not coalesce(revoked, false)",
        &[&session_id],
    )
    .await?;
    Ok(())
}

async fn add_refresh_token(
    tx: &Transaction<'_>,
    user_id: Uuid,
    session_id: Uuid,
    parent: Option<&str>,
) -> Result<String> {
    let token: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(24)
        .map(char::from)
        .collect();
    tx.execute(
        "insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
         values ('00000000-0000-0000-0000-000000000000', $1, $2::uuid::text, false, now(), now(), $3, $4)",
        &[&token, &user_id, &parent, &session_id],
    )
    .await?;
    Ok(token)
}

async fn grant(
    auth: &Auth,
    tx: &Transaction<'_>,
    user_id: Uuid,
    session_id: Uuid,
    refresh_token: String,
) -> Result<Session> {
    let user = User::reload(tx, user_id).await?;
    let amr = tx
        .query(
            "select authentication_method, extract(epoch from updated_at)::bigint from auth.mfa_amr_claims
              where session_id = $1 order by updated_at desc",
            &[&session_id],
        )
        .await?
        .iter()
        .map(|row| {
            Ok(AuthenticationMethod {
                method: row.try_get(0)?,
                timestamp: row.try_get(1)?,
            })
        })
        .collect::<Result<_>>()?;
    let now = chrono::Utc::now().timestamp();
    let expires_in = auth.keys.lifetime_seconds();
    let or_empty = |value: &Value| match value {
        Value::Object(_) => value.clone(),
        _ => Value::Object(serde_json::Map::new()),
    };
    let claims = AccessClaims {
        iss: auth.keys.issuer().to_owned(),
        aud: user.aud.clone(),
        sub: user.id,
        role: user.role.clone(),
        email: user.email.clone(),
        phone: user.phone.clone(),
        session_id,
        aal: "aal1",
        amr,
        app_metadata: or_empty(&user.app_metadata),
        user_metadata: or_empty(&user.user_metadata),
        is_anonymous: user.is_anonymous,
        iat: now,
        exp: now + expires_in,
    };
    Ok(Session {
        access_token: auth.keys.sign(&claims)?,
        token_type: "bearer",
        expires_in,
        expires_at: claims.exp,
        refresh_token,
        user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuse_rule() {
        let interval = Duration::from_secs(10);
        let state = |revoked, seconds, active: Option<&str>| {
            presented_state(revoked, seconds, interval, active.map(Into::into))
        };
        assert_eq!(state(false, 1e6, Some("a")), Presented::Current);
        assert_eq!(
            state(true, 9.9, Some("b")),
            Presented::RecentlyUsed("b".into())
        );
        assert_eq!(state(true, 10.1, Some("b")), Presented::Reused);
        // A family that was revoked stays revoked, interval or not.
        assert_eq!(state(true, 0.0, None), Presented::Reused);
    }

    #[test]
    fn scopes() {
        assert_eq!(Scope::parse(None).unwrap(), Scope::Global);
        assert_eq!(Scope::parse(Some("others")).unwrap(), Scope::Others);
        assert!(Scope::parse(Some("all")).is_err());
    }
}
