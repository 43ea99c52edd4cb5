//! Rows of schema `storage`: asked for as the caller, so that policies decide, or as the schema's owner, who sees all.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction,
};
use serde_json::{Value, json};
use tokio_postgres::types::Json;
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

use super::Storage;
use super::caller::Caller;
use super::error::{Result, StorageError};
use super::name::Place;

/// What [`Record::from`] reads.
pub(super) const COLUMNS: &str = "id, bucket_id, name, version, owner_id, metadata, user_metadata, created_at, updated_at, last_accessed_at";

pub(super) fn pool(database_url: &str) -> anyhow::Result<Pool> {
    let mut config: tokio_postgres::Config = database_url
        .parse()
        .context("the storage stand-in's database URL is malformed")?;
    config.application_name("lyceum-storage");
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

/// Begins a transaction with the caller's role and claims; it ends with the transaction, however that ends.
pub(super) async fn act_as<'a>(
    connection: &'a mut Object,
    caller: &Caller,
    operation: &str,
) -> Result<Transaction<'a>> {
    let transaction = connection.transaction().await?;
    transaction
        .query_one(
            // The role comes last: what follows it is the caller's doing.
            "select set_config('request.jwt.claims', $1, true), set_config('request.jwt.claim.sub', $2, true),
               set_config('request.jwt.claim.role', $3, true), set_config('storage.operation', $4, true),
               set_config('statement_timeout', '8s', true), set_config('lock_timeout', '5s', true),
               set_config('search_path', 'storage, public', true), set_config('role', $3, true)",
            &[
                &caller.claims(),
                &caller.subject().unwrap_or_default(),
                &caller.role(),
                &operation,
            ],
        )
        .await?;
    Ok(transaction)
}

/// Lets writers of one name pass one after the other, so that each knows which version it replaces.
pub(super) async fn lock_name(transaction: &Transaction<'_>, place: &Place) -> Result<()> {
    transaction
        .execute(
            "select pg_advisory_xact_lock(hashtextextended($1, 0))",
            &[&place.full()],
        )
        .await?;
    Ok(())
}

/// A row of `storage.objects`.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: Uuid,
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) owner_id: Option<String>,
    pub(super) metadata: Value,
    pub(super) user_metadata: Option<Value>,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) updated_at: Option<DateTime<Utc>>,
    pub(super) last_accessed_at: Option<DateTime<Utc>>,
}

impl From<&Row> for Record {
    fn from(row: &Row) -> Self {
        Self {
            id: row.get("id"),
            bucket: row
                .get::<_, Option<String>>("bucket_id")
                .unwrap_or_default(),
            name: row.get::<_, Option<String>>("name").unwrap_or_default(),
            version: row.get("version"),
            owner_id: row.get("owner_id"),
            metadata: row.get::<_, Option<Value>>("metadata").unwrap_or_default(),
            user_metadata: row.get("user_metadata"),
            created_at: row.get("created_at"),
            updated_at: row.get("updated_at"),
            last_accessed_at: row.get("last_accessed_at"),
        }
    }
}

impl Record {
    /// Where its bytes are. A row that was written by hand may have none.
    pub(super) fn version(&self) -> Option<Uuid> {
        self.version.as_deref()?.parse().ok()
    }

    pub(super) fn size(&self) -> u64 {
        self.metadata["size"].as_u64().unwrap_or(0)
    }

    /// One of the texts of its metadata.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.metadata[field].as_str()
    }

    pub(super) fn kind(&self) -> &str {
        self.text("mimetype").unwrap_or("application/octet-stream")
    }

    /// As lists of files show it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id, "bucket_id": self.bucket, "name": self.name, "version": self.version,
            "owner": self.owner_id, "owner_id": self.owner_id,
            "metadata": self.metadata, "user_metadata": self.user_metadata,
            "created_at": time(self.created_at), "updated_at": time(self.updated_at),
            "last_accessed_at": time(self.last_accessed_at),
        })
    }
}

/// A time as JSON.
pub(super) fn time(time: Option<DateTime<Utc>>) -> Option<String> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// An object, if the caller may read it.
pub(super) async fn find_as(
    transaction: &Transaction<'_>,
    place: &Place,
) -> Result<Option<Record>> {
    let statement =
        format!("select {COLUMNS} from storage.objects where bucket_id = $1 and name = $2");
    let row = transaction
        .query_opt(&statement, &[&place.bucket, &place.name])
        .await?;
    Ok(row.as_ref().map(Record::from))
}

/// What a bucket allows.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) is_public: bool,
    /// Largest object, in bytes.
    pub(super) largest: u64,
    types: Option<Vec<String>>,
}

impl Rules {
    /// Refuses an object that the bucket does not take.
    pub(super) fn check(&self, kind: &str, size: Option<u64>) -> Result<()> {
        if size.is_some_and(|size| size > self.largest) {
            return Err(StorageError::too_large());
        }
        self.check_type(kind)
    }

    fn check_type(&self, kind: &str) -> Result<()> {
        let Some(types) = &self.types else {
            return Ok(());
        };
        let essence = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let allows = |pattern: &String| {
            let pattern = pattern.to_ascii_lowercase();
            pattern == "*/*"
                || pattern == essence
                || pattern
                    .strip_suffix('*')
                    .filter(|prefix| prefix.ends_with('/'))
                    .is_some_and(|prefix| essence.starts_with(prefix))
        };
        if types.iter().any(allows) {
            return Ok(());
        }
        Err(StorageError::invalid_type(&essence))
    }
}

impl Storage {
    /// What a bucket allows, whoever asks.
    pub(super) async fn rules(&self, bucket: &str) -> Result<Rules> {
        let row = self
            .pool
            .get()
            .await?
            .query_opt(
                "select public, file_size_limit, allowed_mime_types from storage.buckets where id = $1",
                &[&bucket],
            )
            .await?
            .ok_or_else(StorageError::no_such_bucket)?;
        let limit: Option<i64> = row.get("file_size_limit");
        Ok(Rules {
            is_public: row.get::<_, Option<bool>>("public").unwrap_or(false),
            largest: limit
                .and_then(|limit| u64::try_from(limit).ok())
                .unwrap_or(super::LARGEST_OBJECT)
                .min(super::LARGEST_OBJECT),
            types: row
                .get::<_, Option<Vec<String>>>("allowed_mime_types")
                .filter(|types| !types.is_empty()),
        })
    }

    /// An object as its owner sees it: for public buckets and signed URLs, whose right is not a row's.
    pub(super) async fn find(&self, place: &Place) -> Result<Option<Record>> {
        let statement =
            format!("select {COLUMNS} from storage.objects where bucket_id = $1 and name = $2");
        let row = self
            .pool
            .get()
            .await?
            .query_opt(&statement, &[&place.bucket, &place.name])
            .await?;
        Ok(row.as_ref().map(Record::from))
    }

    /// An object, if the caller may read it.
    pub(super) async fn find_for(
        &self,
        caller: &Caller,
        place: &Place,
        operation: &str,
    ) -> Result<Option<Record>> {
        let mut connection = self.pool.get().await?;
        let transaction = act_as(&mut connection, caller, operation).await?;
        let found = find_as(&transaction, place).await?;
        transaction.rollback().await?;
        Ok(found)
    }
}

/// A new row, or a new version of one.
#[derive(Debug)]
pub(super) struct NewRecord<'a> {
    pub(super) place: &'a Place,
    pub(super) version: Uuid,
    pub(super) metadata: Value,
    pub(super) user_metadata: Option<Value>,
    /// Whether an object of this name is replaced.
    pub(super) upsert: bool,
}

/// Writes a row as the caller. Returns its id, and the version that it replaced.
pub(super) async fn write_as(
    transaction: &Transaction<'_>,
    caller: &Caller,
    record: &NewRecord<'_>,
) -> Result<(Uuid, Option<Uuid>)> {
    let owner_id = caller.subject();
    let owner: Option<Uuid> = owner_id.and_then(|id| id.parse().ok());
    let (bucket, name) = (&record.place.bucket, &record.place.name);
    // Chosen here: RETURNING would demand the right to read.
    let mut id = Uuid::new_v4();
    let mut replaced = None;
    if record.upsert {
        lock_name(transaction, record.place).await?;
        if let Some(present) = find_as(transaction, record.place).await? {
            (id, replaced) = (present.id, present.version());
        }
    }
    let on_conflict = if record.upsert {
        "on conflict (bucket_id, name) do update set version = excluded.version, metadata = excluded.metadata,
           user_metadata = excluded.user_metadata, owner = excluded.owner, owner_id = excluded.owner_id"
    } else {
        ""
    };
    transaction
        .execute(
            &format!(
                "insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
                 values ($1, $2, $3, $4, $5, $6, $7, $8) {on_conflict}"
            ),
            &[
                &id,
                bucket,
                name,
                &owner,
                &owner_id,
                &record.version.to_string(),
                &Json(&record.metadata),
                &record.user_metadata.as_ref().map(Json),
            ],
        )
        .await?;
    Ok((id, replaced))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_takes_what_its_patterns_say() {
        let rules = |types: &[&str]| Rules {
            is_public: false,
            largest: 10,
            types: Some(types.iter().map(|kind| (*kind).to_owned()).collect()),
        };
        let images = rules(&["image/*", "application/pdf"]);
        for good in ["image/png", "IMAGE/PNG; q=1", "application/pdf"] {
            assert!(images.check(good, Some(10)).is_ok(), "{good}");
        }
        for bad in ["text/html", "image", "application/pdfx", "", "ximage/png"] {
            assert!(images.check(bad, None).is_err(), "{bad}");
        }
        assert!(images.check("image/png", Some(11)).is_err());
        assert!(rules(&["*/*"]).check("a/b", None).is_ok());
    }
}
