//! Uploads: raw bodies and forms, new objects and new versions, with the caller's right or a signed URL's.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequestParts as _, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Map, Value, json};

use super::Storage;
use super::caller::Caller;
use super::database::{NewRecord, Rules, act_as, write_as};
use super::disk::Draft;
use super::download::token_of;
use super::error::{Result, StorageError};
use super::name::Place;
use super::signature::Purpose;

const UPSERT: HeaderName = HeaderName::from_static("x-upsert");
const METADATA: HeaderName = HeaderName::from_static("x-metadata");
/// What a form may add to the bytes of its file.
const FORM_OVERHEAD: u64 = 128 * 1024;
/// Longest field of a form that is not the file.
const LONGEST_FIELD: usize = 64 * 1024;
/// Most that is read and thrown away of a body after the answer is known: a client that is cut off while it sends sees a
/// broken connection instead of the answer.
const MOST_SWALLOWED: u64 = 64 * 1024 * 1024;
const LONGEST_SWALLOW: Duration = Duration::from_secs(10);
/// Life of the token of a signed upload.
const UPLOAD_SECONDS: u64 = 300;

/// POST: a new object; with `x-upsert: true` also a new version of one.
pub(super) async fn create(
    State(storage): State<Arc<Storage>>,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let upsert = wants_upsert(request.headers());
    receive(&storage, request, async |parts: &mut Parts| {
        let caller = Caller::from_request_parts(parts, &storage).await?;
        let place = Place::from_request_parts(parts, &storage).await?;
        Ok((caller, place, upsert))
    })
    .await
}

/// PUT: a new version, or a new object.
pub(super) async fn replace(
    State(storage): State<Arc<Storage>>,
    request: Request<Body>,
) -> Result<Json<Value>> {
    receive(&storage, request, async |parts: &mut Parts| {
        let caller = Caller::from_request_parts(parts, &storage).await?;
        let place = Place::from_request_parts(parts, &storage).await?;
        Ok((caller, place, true))
    })
    .await
}

/// PUT with the token of a signed upload. Whoever asked for the token is the one who writes; whether they still may is
/// asked now.
pub(super) async fn signed(
    State(storage): State<Arc<Storage>>,
    request: Request<Body>,
) -> Result<Json<Value>> {
    receive(&storage, request, async |parts: &mut Parts| {
        let place = Place::from_request_parts(parts, &storage).await?;
        match storage.signer.verify(&place, &token_of(&parts.uri))? {
            Purpose::Upload { upsert, role, sub } => {
                let mut claims = Map::new();
                claims.insert("role".to_owned(), Value::from(role));
                if let Some(sub) = sub {
                    claims.insert("sub".to_owned(), Value::from(sub));
                }
                Ok((Caller::from_claims(claims)?, place, upsert))
            }
            Purpose::Download => Err(StorageError::invalid_signature()),
        }
    })
    .await
}

/// The token for an upload, if the caller may make it.
pub(super) async fn sign(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
) -> Result<Json<Value>> {
    let upsert = wants_upsert(&headers);
    storage.rules(&place.bucket).await?;
    ask_permission(&storage, &caller, &place, upsert, &Value::Null).await?;
    let purpose = Purpose::Upload {
        upsert,
        role: caller.role().to_owned(),
        sub: caller.subject().map(str::to_owned),
    };
    let token = storage.signer.sign(&place, purpose, UPLOAD_SECONDS)?;
    let url = format!("/object/upload/sign/{}?token={token}", place.full());
    Ok(Json(json!({ "url": url, "token": token })))
}

fn wants_upsert(headers: &HeaderMap) -> bool {
    headers.get(UPSERT).is_some_and(|value| value == "true")
}

/// Takes an upload of whoever `admit` lets in, and reads its body to the end, whatever becomes of it.
async fn receive(
    storage: &Storage,
    request: Request<Body>,
    admit: impl AsyncFnOnce(&mut Parts) -> Result<(Caller, Place, bool)>,
) -> Result<Json<Value>> {
    let (mut parts, body) = request.into_parts();
    let source = Source::new(body);
    let outcome = match admit(&mut parts).await {
        Ok((caller, place, upsert)) => {
            let upload = Upload {
                storage,
                caller: &caller,
                place: &place,
                upsert,
                headers: &parts.headers,
            };
            upload.take(&source).await
        }
        Err(error) => Err(error),
    };
    source.swallow().await;
    outcome.map(Json)
}

/// Writes the row and takes it back: what a policy or a trigger says against it, it says now. As the real service does,
/// before any byte is read.
async fn ask_permission(
    storage: &Storage,
    caller: &Caller,
    place: &Place,
    upsert: bool,
    metadata: &Value,
) -> Result<()> {
    let mut connection = storage.pool.get().await?;
    let transaction = act_as(&mut connection, caller, "storage.object.upload").await?;
    let record = NewRecord {
        place,
        version: uuid::Uuid::nil(),
        metadata: metadata.clone(),
        user_metadata: None,
        upsert,
    };
    write_as(&transaction, caller, &record).await?;
    transaction.rollback().await?;
    Ok(())
}

struct Upload<'a> {
    storage: &'a Storage,
    caller: &'a Caller,
    place: &'a Place,
    upsert: bool,
    headers: &'a HeaderMap,
}

/// What came with the bytes.
struct Received {
    draft: Draft,
    kind: String,
    cache_control: String,
    user_metadata: Option<Value>,
}

impl Upload<'_> {
    async fn take(&self, source: &Source) -> Result<Value> {
        let rules = self.storage.rules(&self.place.bucket).await?;
        let kind = text_header(self.headers, &CONTENT_TYPE).unwrap_or("application/octet-stream");
        let announced: Option<u64> =
            text_header(self.headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let received = if is_form(kind) {
            let boundary = multer::parse_boundary(kind)
                .map_err(|_| StorageError::invalid_request("The form has no boundary"))?;
            let limit = rules.largest + FORM_OVERHEAD;
            if announced.is_some_and(|length| length > limit) {
                return Err(StorageError::too_large());
            }
            self.ask(&Value::Null).await?;
            let form = multer::Multipart::new(source.limited(limit), boundary);
            self.read_form(form, source, &rules).await?
        } else {
            let kind = checked_type(kind)?;
            rules.check(&kind, announced)?;
            self.ask(&json!({ "mimetype": kind, "size": announced, "contentLength": announced }))
                .await?;
            self.read_raw(kind, source, &rules).await?
        };
        self.store(received).await
    }

    async fn ask(&self, metadata: &Value) -> Result<()> {
        ask_permission(self.storage, self.caller, self.place, self.upsert, metadata).await
    }

    async fn read_raw(&self, kind: String, source: &Source, rules: &Rules) -> Result<Received> {
        let cache_control = text_header(self.headers, &CACHE_CONTROL).unwrap_or("no-cache");
        let user_metadata = match text_header(self.headers, &METADATA) {
            Some(text) => {
                let decoded = STANDARD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                Some(checked_metadata(decoded.as_deref().unwrap_or_default())?)
            }
            None => None,
        };
        let mut draft = self.storage.disk.begin().await?;
        let mut body = source.limited(rules.largest);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| source.reason())?;
            draft.write(&piece).await?;
        }
        Ok(Received {
            draft,
            kind,
            cache_control: cache_control.to_owned(),
            user_metadata,
        })
    }

    /// Reads a form up to its first file; what comes after it is not looked at, as in the real service.
    async fn read_form(
        &self,
        mut form: multer::Multipart<'static>,
        source: &Source,
        rules: &Rules,
    ) -> Result<Received> {
        let mut cache_control = "no-cache".to_owned();
        let mut user_metadata = None;
        while let Some(mut field) = form.next_field().await.map_err(|_| source.reason())? {
            if field.file_name().is_some() {
                let kind = field
                    .headers()
                    .get(CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("application/octet-stream");
                let kind = checked_type(kind)?;
                rules.check(&kind, None)?;
                let mut draft = self.storage.disk.begin().await?;
                while let Some(piece) = field.chunk().await.map_err(|_| source.reason())? {
                    draft.write(&piece).await?;
                    if draft.size() > rules.largest {
                        return Err(StorageError::too_large());
                    }
                }
                return Ok(Received {
                    draft,
                    kind,
                    cache_control,
                    user_metadata,
                });
            }
            let name = field.name().unwrap_or_default().to_owned();
            let mut text = Vec::new();
            while let Some(piece) = field.chunk().await.map_err(|_| source.reason())? {
                text.extend_from_slice(&piece);
                if text.len() > LONGEST_FIELD {
                    return Err(StorageError::invalid_request(format!(
                        "A field of the form is longer than {LONGEST_FIELD} bytes"
                    )));
                }
            }
            let text = String::from_utf8(text)
                .map_err(|_| StorageError::invalid_request("A field of the form is not UTF-8"))?;
            match name.as_str() {
                "cacheControl" => cache_control = format!("max-age={text}"),
                "metadata" => user_metadata = Some(checked_metadata(&text)?),
                _ => {}
            }
        }
        Err(StorageError::invalid_request("No content provided"))
    }

    /// Bytes to the disk, then the row, then away with the version that it replaced.
    async fn store(&self, received: Received) -> Result<Value> {
        let size = received.draft.size();
        let (stored, hash) = received.draft.finish().await?;
        let metadata = json!({
            "eTag": format!("\"{hash}\""),
            "size": size,
            "contentLength": size,
            "mimetype": received.kind,
            "cacheControl": checked_cache_control(&received.cache_control),
            "lastModified": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "httpStatusCode": 200,
        });
        let record = NewRecord {
            place: self.place,
            version: stored.version(),
            metadata,
            user_metadata: received.user_metadata,
            upsert: self.upsert,
        };
        let mut connection = self.storage.pool.get().await?;
        let transaction = act_as(&mut connection, self.caller, "storage.object.upload").await?;
        let (id, replaced) = write_as(&transaction, self.caller, &record).await?;
        if let Err(error) = transaction.commit().await {
            // A connection that broke now tells nothing: the row may be there. Its bytes then stay; if it is not, they
            // are found at the next start.
            if error.as_db_error().is_none() {
                stored.keep();
            }
            return Err(error.into());
        }
        stored.keep();
        self.storage.disk.remove(replaced.as_slice()).await;
        Ok(json!({ "Id": id, "Key": self.place.full() }))
    }
}

fn text_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_form(kind: &str) -> bool {
    kind.trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
}

/// A media type that can be sent back as a header.
fn checked_type(kind: &str) -> Result<String> {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let is_type = essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if is_type && kind.len() <= 255 && HeaderValue::from_str(kind).is_ok() {
        return Ok(kind.to_owned());
    }
    Err(StorageError::invalid_type(kind))
}

fn checked_cache_control(value: &str) -> &str {
    let is_good = value.len() <= 255
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b" ,=-\"".contains(&byte));
    if is_good { value } else { "no-cache" }
}

/// What a client notes about an object: a JSON object of bounded size.
fn checked_metadata(text: &str) -> Result<Value> {
    let bad = || {
        StorageError::invalid_request(format!(
            "metadata must be a JSON object of at most {LONGEST_FIELD} bytes, in the header x-metadata as base64"
        ))
    };
    if text.len() > LONGEST_FIELD || text.contains("\\u0000") {
        return Err(bad());
    }
    let value: Value = serde_json::from_str(text).map_err(|_| bad())?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(bad())
    }
}

/// A request's body, which may be read in two steps: as far as it is wanted, and the rest of it.
struct Source {
    body: Arc<Mutex<BodyDataStream>>,
    is_too_large: Arc<AtomicBool>,
}

impl Source {
    fn new(body: Body) -> Self {
        Self {
            body: Arc::new(Mutex::new(body.into_data_stream())),
            is_too_large: Arc::default(),
        }
    }

    /// The body up to a limit; it fails where it goes on.
    fn limited(&self, limit: u64) -> Intake {
        Intake {
            body: Arc::clone(&self.body),
            is_too_large: Arc::clone(&self.is_too_large),
            left: limit,
        }
    }

    /// Why reading failed.
    fn reason(&self) -> StorageError {
        if self.is_too_large.load(Ordering::Relaxed) {
            StorageError::too_large()
        } else {
            StorageError::invalid_request("The request body is malformed or incomplete")
        }
    }

    /// Reads the rest and throws it away, within bounds.
    async fn swallow(&self) {
        let mut rest = self.limited(MOST_SWALLOWED);
        let discard = async { while let Some(Ok(_)) = rest.next().await {} };
        // Running out of time means the same as running out of patience: the connection closes.
        let _ = tokio::time::timeout(LONGEST_SWALLOW, discard).await;
    }
}

struct Intake {
    body: Arc<Mutex<BodyDataStream>>,
    is_too_large: Arc<AtomicBool>,
    left: u64,
}

impl Stream for Intake {
    type Item = std::result::Result<Bytes, axum::BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .poll_next_unpin(context);
        let piece = match std::task::ready!(polled) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(piece)) => piece,
        };
        match self.left.checked_sub(piece.len() as u64) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(piece)))
            }
            None => {
                self.is_too_large.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err("the body is too large".into())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_one() {
        for good in [
            "text/plain;charset=UTF-8",
            "image/svg+xml",
            "application/x-a.b",
        ] {
            assert!(checked_type(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "text",
            "text/",
            "/plain",
            "te xt/plain",
            "text/plain\r\nx: y",
            "a/b/c",
        ] {
            assert!(checked_type(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cache_control_carries_no_header_of_its_own() {
        assert_eq!(checked_cache_control("max-age=3600"), "max-age=3600");
        assert_eq!(checked_cache_control("a\r\nset-cookie: b"), "no-cache");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let source = Source::new(Body::from("abcdef"));
        let mut intake = source.limited(5);
        assert!(intake.next().await.is_some_and(|piece| piece.is_err()));
        assert!(source.reason().to_string().contains("maximum allowed size"));
        let exact = Source::new(Body::from("abcdef"));
        assert!(
            exact
                .limited(6)
                .next()
                .await
                .is_some_and(|piece| piece.is_ok())
        );
    }
}
