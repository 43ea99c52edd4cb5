//! A stand-in for Supabase Auth (GoTrue), for development and tests on one machine. **Never expose it.**
//!
//! It serves GoTrue's routes well enough that an unmodified supabase-js signs up, signs in (password, mailed link or
//! code, PKCE), refreshes with rotation and reuse detection, reads and changes the user, signs out, and administers
//! users by the service role. It keeps its state in GoTrue's own tables (`auth.users`, `auth.sessions`, ...), and
//! signs ES256 access tokens with Supabase's claims, which anybody can verify by `/.well-known/jwks.json`.
//!
//! It behaves as the Supabase CLI's defaults do: addresses are confirmed on sign-up, a change of address needs both
//! mails, passwords have 6 to 72 bytes. Mails are written to a folder instead of sent.
//!
//! What it does not do:
//!
//! - No rate limits, CAPTCHA, hooks or audit log: anybody who reaches it can guess codes as fast as the CPU allows.
//!   That is why it refuses an API address that is not loopback.
//! - No phone, anonymous or social sign-in, SSO, second factors, passkeys, or OAuth server. Those routes answer 404.
//! - Errors have the shape `{code, error_code, msg}` for every API version that a client asks for.
//! - A refresh token reused after the reuse interval always revokes its session. GoTrue still accepts the direct parent
//!   of the active token then; what works here works there.

mod account;
mod admin;
mod email;
mod error;
mod grant;
mod mail;
mod one_time;
mod password;
mod pkce;
mod request;
mod session;
mod signup;
mod token;
mod user;
mod validate;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use error::{AuthError, Code, Result};

/// Everything that the auth stand-in needs to know.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Connects as role `supabase_auth_admin`, which owns schema `auth`.
    pub database_url: String,
    /// The `iss` claim: `<api_url>/auth/v1`.
    pub issuer: String,
    /// The private key that signs access tokens: P-256, PKCS#8 PEM.
    pub signing_key_pem: String,
    /// Names the key in tokens and in the key set (`kid`).
    pub key_id: String,
    /// The legacy HS256 secret. Tokens signed by it (anon and service_role keys) are accepted, none are issued.
    pub jwt_secret: String,
    /// Where mailed links lead when the client names no other place on this machine.
    pub site_url: String,
    /// The gateway's address, for mailed links. Must be loopback.
    pub api_url: String,
    /// The folder into which mails are written; made if missing.
    pub mail_dir: PathBuf,
    /// How long an access token is valid, in whole seconds.
    pub access_token_lifetime: Duration,
    /// For how long a used refresh token still yields the session's active one.
    pub refresh_token_reuse_interval: Duration,
}

/// What every handler shares.
struct Auth {
    config: AuthConfig,
    pool: Pool,
    keys: token::Keys,
    mailer: mail::Mailer,
    unmatchable_hash: String,
}

/// The auth routes at the root (`/token`, `/user`, ...); the gateway strips `/auth/v1`.
///
/// Connects to the database only when the first request comes.
///
/// # Errors
///
/// If `api_url` is not a loopback address, the database URL or the signing key is malformed, or the mail folder cannot
/// be made.
pub async fn router(config: AuthConfig) -> anyhow::Result<Router> {
    let api_url = url::Url::parse(&config.api_url)
        .with_context(|| format!("the API address {:?} is not a URL", config.api_url))?;
    if !validate::is_loopback(&api_url) {
        bail!(
            "the auth stand-in is for development on one machine: the API address must be loopback, not {}. \
             On a server use Supabase Auth itself",
            config.api_url
        );
    }
    url::Url::parse(&config.site_url)
        .with_context(|| format!("the site address {:?} is not a URL", config.site_url))?;
    let keys = token::Keys::new(
        config.issuer.clone(),
        config.key_id.clone(),
        &config.signing_key_pem,
        &config.jwt_secret,
        config.access_token_lifetime,
    )?;
    let mailer = mail::Mailer::new(config.mail_dir.clone(), config.api_url.clone())?;
    let auth = Arc::new(Auth {
        pool: pool(&config.database_url)?,
        unmatchable_hash: password::unmatchable_hash().await?,
        keys,
        mailer,
        config,
    });
    Ok(Router::new()
        .route("/health", get(health))
        .route("/settings", get(settings))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/signup", post(signup::signup))
        .route("/token", post(grant::token))
        .route("/user", get(account::get_user).put(account::update_user))
        .route("/reauthenticate", get(account::reauthenticate))
        .route("/logout", post(account::logout))
        .route("/recover", post(email::recover))
        .route("/otp", post(email::otp))
        .route("/resend", post(email::resend))
        .route("/verify", get(verify::get).post(verify::post))
        .route("/invite", post(admin::invite))
        .route("/admin/generate_link", post(admin::generate_link))
        .route(
            "/admin/users",
            get(admin::list_users).post(admin::create_user),
        )
        .route(
            "/admin/users/{user_id}",
            get(admin::get_user)
                .put(admin::update_user)
                .delete(admin::delete_user),
        )
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_route)
        .with_state(auth))
}

fn pool(database_url: &str) -> anyhow::Result<Pool> {
    let mut config: tokio_postgres::Config = database_url
        .parse()
        .context("the auth stand-in's database URL is malformed")?;
    config.application_name("lyceum-auth");
    let manager = Manager::from_config(
        config,
        NoTls,
        ManagerConfig {
            // Asks before each use, so that a restarted PostgreSQL costs no request.
            recycling_method: RecyclingMethod::Verified,
        },
    );
    Ok(Pool::builder(manager)
        .max_size(6)
        .wait_timeout(Some(Duration::from_secs(10)))
        .create_timeout(Some(Duration::from_secs(10)))
        .runtime(Runtime::Tokio1)
        .build()?)
}

async fn health(State(auth): State<Arc<Auth>>) -> Result<Json<Value>> {
    auth.pool
        .get()
        .await?
        .query_one("select count(*) from auth.users where false", &[])
        .await?;
    Ok(Json(json!({
        "name": "GoTrue",
        "version": concat!("lyceum-", env!("CARGO_PKG_VERSION")),
        "description": "A stand-in for Supabase Auth, for local development only",
    })))
}

async fn settings() -> Json<Value> {
    Json(json!({
        "external": { "email": true, "phone": false, "anonymous_users": false },
        "disable_signup": false,
        "mailer_autoconfirm": true,
        "phone_autoconfirm": false,
        "sms_provider": "",
        "saml_enabled": false,
    }))
}

async fn jwks(State(auth): State<Arc<Auth>>) -> impl IntoResponse {
    // Clients may cache the key set, as they do on hosted projects; a local key lives as long as its stack.
    (
        [(header::CACHE_CONTROL, "public, max-age=600")],
        Json(auth.keys.jwks().clone()),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> AuthError {
    AuthError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        Code::ValidationFailed,
        format!("{method} is not allowed on {}", uri.path()),
    )
}

async fn unknown_route(method: Method, uri: Uri) -> AuthError {
    AuthError::not_found(
        Code::ValidationFailed,
        format!(
            "The local auth stand-in has no route {method} {}. Phone, anonymous and social sign-in, SSO, second factors \
             and passkeys need a hosted Supabase project",
            uri.path()
        ),
    )
}
