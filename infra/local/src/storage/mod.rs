//! A stand-in for Supabase Storage, for development and tests on one machine. **Never expose it.**
//!
//! It serves the routes that supabase-js calls: buckets, uploads, downloads (own, public, signed, ranges), signed URLs,
//! list, info, move, copy, remove. Rows of `storage.objects` say what exists and row security on them decides who may do
//! what, with the role and the claims of the caller's own token, as the real service does; bytes lie in a folder, one
//! file per version of an object, whose name no client chooses.
//!
//! An upload is asked for permission twice: before its body is read, so that nobody fills the disk with what they may not
//! write, and when its row is written, so that what changed in the meantime counts. Bytes are on disk before their row
//! is, and a row that cannot be written leaves no bytes.
//!
//! Where it is stricter than the real service:
//!
//! - A signed URL is valid for five minutes at most, whatever was asked for.
//! - A signed upload acts with the rights that its signer has when it arrives; the real service does not ask again.
//! - Names that read as paths (`..`, empty folders) are refused.
//!
//! What it does not do: resumable (tus) and S3 uploads, image transformations, object versions, list-v2. Those routes
//! answer 404.

mod bucket;
mod caller;
mod database;
mod disk;
mod download;
mod error;
mod name;
mod object;
mod signature;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, Uri};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use deadpool_postgres::Pool;
use serde_json::{Value, json};

use crate::keys::Keys;
use caller::Verifier;
use disk::Disk;
use error::{Result, StorageError};
use signature::Signer;

/// Largest object where its bucket allows it: what the Supabase CLI's configuration says, too.
pub const LARGEST_OBJECT: u64 = 50 * 1024 * 1024;
/// Longest life of a signed URL.
pub const LONGEST_SIGNATURE: Duration = Duration::from_secs(300);

/// Everything that the storage stand-in needs to know.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Connects as role `supabase_storage_admin`, which owns schema `storage`.
    pub database_url: String,
    /// The stack's keys: what tokens are verified with, and what signed URLs are signed with.
    pub keys: Keys,
    /// The gateway's address. Must be loopback.
    pub api_url: String,
    /// The folder of the bytes; made if missing.
    pub folder: PathBuf,
}

/// What every handler shares.
struct Storage {
    pool: Pool,
    verifier: Verifier,
    signer: Signer,
    disk: Disk,
}

/// The storage routes at the root (`/object/...`, `/bucket`); the gateway strips `/storage/v1`.
///
/// Connects to the database only when the first request comes.
///
/// # Errors
///
/// If `api_url` is not a loopback address, the database URL or a key is malformed, or the folder cannot be made.
pub async fn router(config: StorageConfig) -> anyhow::Result<Router> {
    let is_loopback = url::Url::parse(&config.api_url).is_ok_and(|url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    });
    if !is_loopback {
        bail!(
            "the storage stand-in is for development on one machine: the API address must be loopback, not {}. \
             On a server use Supabase Storage itself",
            config.api_url
        );
    }
    let storage = Arc::new(Storage {
        pool: database::pool(&config.database_url)?,
        verifier: Verifier::new(&config.keys)?,
        signer: Signer::new(&config.keys.jwt_secret),
        disk: Disk::open(&config.folder)?,
    });
    tokio::spawn(object::remove_orphans(Arc::clone(&storage)));
    Ok(Router::new()
        .route("/health", get(health))
        .route("/status", get(health))
        .route("/bucket", get(bucket::list).post(bucket::create))
        .route(
            "/bucket/{bucket}",
            get(bucket::get).put(bucket::update).delete(bucket::delete),
        )
        .route("/bucket/{bucket}/empty", post(bucket::empty))
        .route("/object/list/{bucket}", post(object::list))
        .route("/object/move", post(object::rename))
        .route("/object/copy", post(object::copy))
        .route("/object/info/{bucket}/{*name}", get(object::info))
        .route(
            "/object/info/authenticated/{bucket}/{*name}",
            get(object::info),
        )
        .route(
            "/object/info/public/{bucket}/{*name}",
            get(object::public_info),
        )
        .route("/object/sign/{bucket}", post(download::sign_many))
        .route(
            "/object/sign/{bucket}/{*name}",
            get(download::signed).post(download::sign),
        )
        .route(
            "/object/upload/sign/{bucket}/{*name}",
            post(upload::sign).put(upload::signed),
        )
        .route("/object/public/{bucket}/{*name}", get(download::public))
        .route(
            "/object/authenticated/{bucket}/{*name}",
            get(download::authenticated),
        )
        .route("/object/{bucket}", delete(object::remove_many))
        .route(
            "/object/{bucket}/{*name}",
            get(download::authenticated)
                .post(upload::create)
                .merge(put(upload::replace))
                .delete(object::remove),
        )
        .method_not_allowed_fallback(unknown_route)
        .fallback(unknown_route)
        // Every handler bounds what it reads by itself.
        .layer(DefaultBodyLimit::disable())
        .with_state(storage))
}

async fn health(State(storage): State<Arc<Storage>>) -> Result<Json<Value>> {
    storage
        .pool
        .get()
        .await?
        .query_one("select count(*) from storage.objects where false", &[])
        .await?;
    storage.disk.check()?;
    Ok(Json(json!({
        "healthy": true,
        "version": concat!("lyceum-", env!("CARGO_PKG_VERSION")),
        "description": "A stand-in for Supabase Storage, for local development only",
    })))
}

async fn unknown_route(method: Method, uri: Uri) -> StorageError {
    StorageError::no_route(format!(
        "The local storage stand-in has no route {method} {}. Resumable and S3 uploads and image transformations need a \
         hosted Supabase project",
        uri.path()
    ))
}
