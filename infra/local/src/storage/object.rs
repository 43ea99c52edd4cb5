//! What is done to objects without their bytes: list, info, move, copy, remove.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Storage;
use super::caller::Caller;
use super::database::{COLUMNS, NewRecord, Record, act_as, find_as, time, write_as};
use super::error::{Result, StorageError};
use super::name::{self, Bucket, Place};

const LARGEST_JSON: usize = 1024 * 1024;
/// Most objects that one call removes.
const MOST_REMOVED: usize = 1000;
const LONGEST_LIST: i64 = 1000;
/// Files of this age that no row names were left by a process that died.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// A JSON body of bounded size.
pub(super) async fn json_body<T: DeserializeOwned>(body: Body) -> Result<T> {
    let bytes = axum::body::to_bytes(body, LARGEST_JSON)
        .await
        .map_err(|_| {
            StorageError::invalid_request(format!(
                "The request body is larger than {LARGEST_JSON} bytes or incomplete"
            ))
        })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StorageError::invalid_request(format!("body is not as expected: {error}")))
}

// Reading -------------------------------------------------------------------------------------------------------------

#[derive(Debug, Deserialize)]
struct ListRequest {
    #[serde(default)]
    prefix: String,
    limit: Option<i64>,
    offset: Option<i64>,
    search: Option<String>,
    #[serde(rename = "sortBy")]
    sort_by: Option<SortBy>,
}

#[derive(Debug, Deserialize)]
struct SortBy {
    column: Option<String>,
    order: Option<String>,
}

/// What lies in a folder: files, and the folders below, as far as the caller may read something in them.
pub(super) async fn list(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let wanted: ListRequest = json_body(request.into_body()).await?;
    let search = wanted.search.unwrap_or_default();
    let folder = match wanted.prefix.trim_matches('/') {
        "" => String::new(),
        folder => {
            name::object(folder)?;
            format!("{folder}/")
        }
    };
    if search.contains('\0') {
        return Err(StorageError::invalid_request("search cannot hold NUL"));
    }
    let limit = wanted.limit.unwrap_or(100).clamp(1, LONGEST_LIST);
    let offset = wanted.offset.unwrap_or(0).max(0);
    let sort = wanted.sort_by.as_ref();
    let column = match sort
        .and_then(|sort| sort.column.as_deref())
        .unwrap_or("name")
    {
        column @ ("name" | "updated_at" | "created_at" | "last_accessed_at") => column,
        _ => {
            return Err(StorageError::invalid_request(
                "sortBy.column must be name, updated_at, created_at or last_accessed_at",
            ));
        }
    };
    let order = match sort.and_then(|sort| sort.order.as_deref()).unwrap_or("asc") {
        order if order.eq_ignore_ascii_case("desc") => "desc",
        _ => "asc",
    };
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.object.list").await?;
    let rows = transaction
        .query(
            &format!(
                "with below as materialized (
                   select substr(o.name, length($2) + 1) as rest, o.id, o.metadata, o.created_at, o.updated_at, o.last_accessed_at
                   from storage.objects o
                   where o.bucket_id = $1 and starts_with(o.name, $2)
                 ), entries as (
                   select rest as name, id, metadata, created_at, updated_at, last_accessed_at
                   from below where strpos(rest, '/') = 0
                   union all
                   select distinct split_part(rest, '/', 1), null::uuid, null::jsonb, null::timestamptz, null::timestamptz, null::timestamptz
                   from below where strpos(rest, '/') > 0
                 )
                 select * from entries where starts_with(lower(name), lower($3))
                 order by {column} {order} nulls first, name limit $4 offset $5"
            ),
            &[&bucket, &folder, &search, &limit, &offset],
        )
        .await?;
    let entry = |row: &tokio_postgres::Row| {
        json!({
            "name": row.get::<_, String>("name"),
            "id": row.get::<_, Option<Uuid>>("id"),
            "metadata": row.get::<_, Option<Value>>("metadata"),
            "created_at": time(row.get("created_at")),
            "updated_at": time(row.get("updated_at")),
            "last_accessed_at": time(row.get("last_accessed_at")),
        })
    };
    Ok(Json(rows.iter().map(entry).collect()))
}

fn describe(record: &Record) -> Value {
    json!({
        "id": record.id, "name": record.name, "version": record.version, "bucket_id": record.bucket,
        "size": record.size(), "content_type": record.kind(),
        "cache_control": record.text("cacheControl"), "etag": record.text("eTag"),
        "metadata": record.user_metadata.clone().unwrap_or_else(|| json!({})),
        "last_modified": record.text("lastModified"), "created_at": time(record.created_at),
    })
}

pub(super) async fn info(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    place: Place,
) -> Result<Json<Value>> {
    let record = storage
        .find_for(&caller, &place, "storage.object.info")
        .await?
        .ok_or_else(StorageError::no_such_object)?;
    Ok(Json(describe(&record)))
}

pub(super) async fn public_info(
    State(storage): State<Arc<Storage>>,
    place: Place,
) -> Result<Json<Value>> {
    if !storage.rules(&place.bucket).await?.is_public {
        return Err(StorageError::no_such_bucket());
    }
    let record = storage
        .find(&place)
        .await?
        .ok_or_else(StorageError::no_such_object)?;
    Ok(Json(describe(&record)))
}

// Moving and copying --------------------------------------------------------------------------------------------------

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transfer {
    bucket_id: String,
    source_key: String,
    destination_key: String,
    destination_bucket: Option<String>,
    copy_metadata: Option<bool>,
    metadata: Option<Value>,
}

impl Transfer {
    fn places(&self) -> Result<(Place, Place)> {
        let bucket = self.destination_bucket.as_ref().unwrap_or(&self.bucket_id);
        Ok((
            Place::new(&self.bucket_id, &self.source_key)?,
            Place::new(bucket, &self.destination_key)?,
        ))
    }
}

/// Moves an object; its bytes stay where they are.
pub(super) async fn rename(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let (from, to) = json_body::<Transfer>(request.into_body()).await?.places()?;
    let rules = storage.rules(&to.bucket).await?;
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.object.move").await?;
    let record = find_as(&transaction, &from)
        .await?
        .ok_or_else(StorageError::no_such_object)?;
    rules.check(record.kind(), Some(record.size()))?;
    let moved = transaction
        .execute(
            "update storage.objects set bucket_id = $3, name = $4 where bucket_id = $1 and name = $2",
            &[&from.bucket, &from.name, &to.bucket, &to.name],
        )
        .await?;
    if moved == 0 {
        // Readable, or it would not have been found, but not the caller's to change.
        return Err(StorageError::access_denied(
            "new row violates row-level security policy",
        ));
    }
    transaction.commit().await?;
    Ok(Json(json!({ "message": "Successfully moved" })))
}

/// Copies an object that the caller may read to where the caller may write.
pub(super) async fn copy(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let upsert = request
        .headers()
        .get("x-upsert")
        .is_some_and(|value| value == "true");
    let transfer: Transfer = json_body(request.into_body()).await?;
    let (from, to) = transfer.places()?;
    let rules = storage.rules(&to.bucket).await?;
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.object.copy").await?;
    let record = find_as(&transaction, &from)
        .await?
        .ok_or_else(StorageError::no_such_object)?;
    rules.check(record.kind(), Some(record.size()))?;
    let original = record.version().ok_or_else(StorageError::no_such_object)?;
    let copied = storage.disk.duplicate(original).await?;
    let new = NewRecord {
        place: &to,
        version: copied.version(),
        metadata: record.metadata.clone(),
        user_metadata: match transfer.copy_metadata {
            Some(false) => transfer.metadata.filter(Value::is_object),
            _ => record.user_metadata.clone(),
        },
        upsert,
    };
    let (id, replaced) = write_as(&transaction, &caller, &new).await?;
    if let Err(error) = transaction.commit().await {
        if error.as_db_error().is_none() {
            copied.keep();
        }
        return Err(error.into());
    }
    copied.keep();
    storage.disk.remove(replaced.as_slice()).await;
    Ok(Json(json!({ "Id": id, "Key": to.full() })))
}

// Removing ------------------------------------------------------------------------------------------------------------

/// Removes rows that the caller may remove, then their bytes.
async fn remove_names(
    storage: &Storage,
    caller: &Caller,
    bucket: &str,
    names: &[String],
) -> Result<Vec<Record>> {
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, caller, "storage.object.delete").await?;
    transaction
        .batch_execute("set local storage.allow_delete_query = 'true'")
        .await?;
    let rows = transaction
        .query(
            &format!(
                "delete from storage.objects where bucket_id = $1 and name = any ($2) returning {COLUMNS}"
            ),
            &[&bucket, &names],
        )
        .await?;
    let removed: Vec<Record> = rows.iter().map(Record::from).collect();
    transaction.commit().await?;
    let versions: Vec<Uuid> = removed.iter().filter_map(Record::version).collect();
    storage.disk.remove(&versions).await;
    Ok(removed)
}

pub(super) async fn remove(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    place: Place,
) -> Result<Json<Value>> {
    let removed = remove_names(&storage, &caller, &place.bucket, &[place.name]).await?;
    if removed.is_empty() {
        return Err(StorageError::no_such_object());
    }
    Ok(Json(json!({ "message": "Successfully deleted" })))
}

#[derive(Debug, Deserialize)]
struct RemoveRequest {
    prefixes: Vec<String>,
}

pub(super) async fn remove_many(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let wanted: RemoveRequest = json_body(request.into_body()).await?;
    if wanted.prefixes.is_empty() || wanted.prefixes.len() > MOST_REMOVED {
        return Err(StorageError::invalid_request(format!(
            "body/prefixes must hold 1 to {MOST_REMOVED} names"
        )));
    }
    for name in &wanted.prefixes {
        name::object(name)?;
    }
    let removed = remove_names(&storage, &caller, &bucket, &wanted.prefixes).await?;
    Ok(Json(removed.iter().map(Record::to_json).collect()))
}

/// Removes the files that no row names, once, after the start.
pub(super) async fn remove_orphans(storage: Arc<Storage>) {
    let disk = storage.disk.clone();
    let versions = tokio::task::spawn_blocking(move || disk.versions(ORPHAN_AGE)).await;
    let Ok(Ok(versions)) = versions else { return };
    for some in versions.chunks(1000) {
        let texts: Vec<String> = some.iter().map(Uuid::to_string).collect();
        let known = async {
            let rows = storage
                .pool
                .get()
                .await?
                .query(
                    "select version from storage.objects where version = any ($1)",
                    &[&texts],
                )
                .await?;
            Ok::<_, StorageError>(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>())
        };
        match known.await {
            Ok(known) => {
                let orphans: Vec<Uuid> = some
                    .iter()
                    .copied()
                    .filter(|version| !known.contains(&version.to_string()))
                    .collect();
                storage.disk.remove(&orphans).await;
            }
            Err(error) => {
                tracing::warn!(%error, "orphaned files were not looked for");
                return;
            }
        }
    }
}
