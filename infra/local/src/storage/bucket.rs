//! Buckets: by row security on `storage.buckets`, which lets nobody but the service role near them unless a policy does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use super::caller::Caller;
use super::database::{act_as, time};
use super::error::{Result, StorageError};
use super::name::{self, Bucket};
use super::object::json_body;
use super::{LARGEST_OBJECT, Storage};

const COLUMNS: &str =
    "id, name, owner_id, public, file_size_limit, allowed_mime_types, created_at, updated_at";

fn to_json(row: &Row) -> Value {
    json!({
        "id": row.get::<_, String>("id"),
        "name": row.get::<_, String>("name"),
        "owner": row.get::<_, Option<String>>("owner_id").unwrap_or_default(),
        "public": row.get::<_, Option<bool>>("public"),
        "type": "STANDARD",
        "file_size_limit": row.get::<_, Option<i64>>("file_size_limit"),
        "allowed_mime_types": row.get::<_, Option<Vec<String>>>("allowed_mime_types"),
        "created_at": time(row.get("created_at")),
        "updated_at": time(row.get("updated_at")),
    })
}

pub(super) async fn list(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
) -> Result<Json<Value>> {
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.bucket.list").await?;
    let rows = transaction
        .query(
            &format!("select {COLUMNS} from storage.buckets order by name"),
            &[],
        )
        .await?;
    Ok(Json(rows.iter().map(to_json).collect()))
}

pub(super) async fn get(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
) -> Result<Json<Value>> {
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.bucket.get").await?;
    let row = transaction
        .query_opt(
            &format!("select {COLUMNS} from storage.buckets where id = $1"),
            &[&bucket],
        )
        .await?
        .ok_or_else(StorageError::no_such_bucket)?;
    Ok(Json(to_json(&row)))
}

#[derive(Debug, Deserialize)]
struct Settings {
    id: Option<String>,
    name: Option<String>,
    public: Option<bool>,
    file_size_limit: Option<Value>,
    allowed_mime_types: Option<Vec<String>>,
}

impl Settings {
    fn check(&self) -> Result<Option<i64>> {
        if let Some(types) = &self.allowed_mime_types {
            let is_pattern = |kind: &String| {
                kind.is_ascii() && kind.split('/').filter(|part| !part.is_empty()).count() == 2
            };
            if let Some(bad) = types.iter().find(|kind| !is_pattern(kind)) {
                return Err(StorageError::invalid_type(bad));
            }
        }
        let limit = match &self.file_size_limit {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => bytes(text),
            Some(_) => None,
        };
        let limit = limit.ok_or_else(|| {
            StorageError::invalid_request(
                "Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B",
            )
        })?;
        if limit > LARGEST_OBJECT {
            return Err(StorageError::too_large());
        }
        Ok(i64::try_from(limit).ok())
    }
}

/// The number of bytes that `20MB` and the like say.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KIB" => 1024,
        "MIB" => 1024 * 1024,
        "GIB" => 1024 * 1024 * 1024,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) async fn create(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    request: Request<axum::body::Body>,
) -> Result<Json<Value>> {
    let settings: Settings = json_body(request.into_body()).await?;
    let name = settings
        .name
        .as_deref()
        .ok_or_else(StorageError::invalid_bucket_name)?;
    let id = settings.id.as_deref().unwrap_or(name);
    name::bucket(name)?;
    name::bucket(id)?;
    let limit = settings.check()?;
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.bucket.create").await?;
    transaction
        .execute(
            "insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)
             values ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &id,
                &name,
                &caller.subject().and_then(|id| id.parse::<Uuid>().ok()),
                &caller.subject(),
                &settings.public.unwrap_or(false),
                &limit,
                &settings.allowed_mime_types,
            ],
        )
        .await?;
    transaction.commit().await?;
    Ok(Json(json!({ "name": id })))
}

pub(super) async fn update(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
    request: Request<axum::body::Body>,
) -> Result<Json<Value>> {
    let settings: Settings = json_body(request.into_body()).await?;
    let limit = settings.check()?;
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.bucket.update").await?;
    let changed = transaction
        .execute(
            "update storage.buckets set public = coalesce($2, public), updated_at = now(),
               file_size_limit = case when $3 then $4 else file_size_limit end,
               allowed_mime_types = case when $5 then $6 else allowed_mime_types end
             where id = $1",
            &[
                &bucket,
                &settings.public,
                &settings.file_size_limit.is_some(),
                &limit,
                &settings.allowed_mime_types.is_some(),
                &settings.allowed_mime_types,
            ],
        )
        .await?;
    if changed == 0 {
        return Err(StorageError::no_such_bucket());
    }
    transaction.commit().await?;
    Ok(Json(json!({ "message": "Successfully updated" })))
}

pub(super) async fn empty(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
) -> Result<Json<Value>> {
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.bucket.empty").await?;
    transaction
        .query_opt("select id from storage.buckets where id = $1", &[&bucket])
        .await?
        .ok_or_else(StorageError::no_such_bucket)?;
    transaction
        .batch_execute("set local storage.allow_delete_query = 'true'")
        .await?;
    let rows = transaction
        .query(
            "delete from storage.objects where bucket_id = $1 returning version",
            &[&bucket],
        )
        .await?;
    transaction.commit().await?;
    let versions: Vec<Uuid> = rows
        .iter()
        .filter_map(|row| row.get::<_, Option<String>>(0)?.parse().ok())
        .collect();
    storage.disk.remove(&versions).await;
    Ok(Json(json!({ "message": "Successfully emptied" })))
}

pub(super) async fn delete(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
) -> Result<Json<Value>> {
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, &caller, "storage.bucket.delete").await?;
    transaction
        .batch_execute("set local storage.allow_delete_query = 'true'")
        .await?;
    let deleted = transaction
        .execute("delete from storage.buckets where id = $1", &[&bucket])
        .await
        .map_err(|error| match error.code() {
            Some(code) if *code == tokio_postgres::error::SqlState::FOREIGN_KEY_VIOLATION => {
                StorageError::bucket_not_empty()
            }
            _ => error.into(),
        })?;
    if deleted == 0 {
        return Err(StorageError::no_such_bucket());
    }
    transaction.commit().await?;
    Ok(Json(json!({ "message": "Successfully deleted" })))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_in_words() {
        assert_eq!(bytes("20MB"), Some(20_000_000));
        assert_eq!(bytes("1 kib"), Some(1024));
        assert_eq!(bytes("3"), Some(3));
        for bad in ["", "MB", "1.5MB", "-1", "1TB", "99999999999GB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
