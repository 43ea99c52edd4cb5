//! Downloads: as oneself, from a public bucket, or with a signed URL; whole or in ranges.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::Storage;
use super::caller::Caller;
use super::database::Record;
use super::error::{Result, StorageError};
use super::name::{Bucket, Place};
use super::object::json_body;
use super::signature::Purpose;

/// Most objects for which one call signs URLs.
const MOST_SIGNED: usize = 1000;
const PIECE: usize = 64 * 1024;

/// A query parameter; of a repeated one, the first.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The token of a signed URL.
pub(super) fn token_of(uri: &Uri) -> String {
    parameter(uri, "token").unwrap_or_default()
}

/// What a download is asked with.
pub(super) struct Asked {
    uri: Uri,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> std::result::Result<Self, Self::Rejection> {
        Ok(Self {
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
        })
    }
}

pub(super) async fn authenticated(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    place: Place,
    asked: Asked,
) -> Result<Response<Body>> {
    let find = || storage.find_for(&caller, &place, "storage.object.get_authenticated");
    let opened = open(&storage, find).await?;
    answer(opened, &asked, Audience::One).await
}

pub(super) async fn public(
    State(storage): State<Arc<Storage>>,
    place: Place,
    asked: Asked,
) -> Result<Response<Body>> {
    if !storage.rules(&place.bucket).await?.is_public {
        return Err(StorageError::no_such_bucket());
    }
    let opened = open(&storage, || storage.find(&place)).await?;
    answer(opened, &asked, Audience::All).await
}

pub(super) async fn signed(
    State(storage): State<Arc<Storage>>,
    place: Place,
    asked: Asked,
) -> Result<Response<Body>> {
    match storage.signer.verify(&place, &token_of(&asked.uri))? {
        Purpose::Download => {}
        Purpose::Upload { .. } => return Err(StorageError::invalid_signature()),
    }
    let opened = open(&storage, || storage.find(&place)).await?;
    answer(opened, &asked, Audience::One).await
}

#[derive(Debug, Deserialize)]
struct SignRequest {
    #[serde(rename = "expiresIn")]
    expires_in: Value,
    #[serde(default)]
    paths: Vec<String>,
}

impl SignRequest {
    fn seconds(&self) -> Result<u64> {
        self.expires_in
            .as_u64()
            .filter(|seconds| *seconds >= 1)
            .ok_or_else(|| {
                StorageError::invalid_request(
                    "body/expiresIn must be a whole number of seconds, 1 or more",
                )
            })
    }
}

/// A URL for an object that the caller may read.
pub(super) async fn sign(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    place: Place,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let seconds = json_body::<SignRequest>(request.into_body())
        .await?
        .seconds()?;
    storage
        .find_for(&caller, &place, "storage.object.sign")
        .await?
        .ok_or_else(StorageError::no_such_object)?;
    Ok(Json(
        json!({ "signedURL": signed_url(&storage, &place, seconds)? }),
    ))
}

/// URLs for those of several objects that the caller may read.
pub(super) async fn sign_many(
    State(storage): State<Arc<Storage>>,
    caller: Caller,
    Bucket(bucket): Bucket,
    request: Request<Body>,
) -> Result<Json<Value>> {
    let wanted: SignRequest = json_body(request.into_body()).await?;
    let seconds = wanted.seconds()?;
    if wanted.paths.is_empty() || wanted.paths.len() > MOST_SIGNED {
        return Err(StorageError::invalid_request(format!(
            "body/paths must hold 1 to {MOST_SIGNED} paths"
        )));
    }
    let mut connection = storage.pool.get().await?;
    let transaction =
        super::database::act_as(&mut connection, &caller, "storage.object.sign_many").await?;
    let storable: Vec<&String> = wanted
        .paths
        .iter()
        .filter(|path| super::name::object(path).is_ok())
        .collect();
    let found: Vec<String> = transaction
        .query(
            "select name from storage.objects where bucket_id = $1 and name = any ($2)",
            &[&bucket, &storable],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut answers = Vec::new();
    for path in &wanted.paths {
        answers.push(if found.contains(path) {
            let place = Place::new(&bucket, path)?;
            json!({ "error": null, "path": path, "signedURL": signed_url(&storage, &place, seconds)? })
        } else {
            json!({
                "error": "Either the object does not exist or you do not have access to it",
                "path": path, "signedURL": null,
            })
        });
    }
    Ok(Json(Value::Array(answers)))
}

fn signed_url(storage: &Storage, place: &Place, seconds: u64) -> Result<String> {
    let token = storage.signer.sign(place, Purpose::Download, seconds)?;
    Ok(format!("/object/sign/{}?token={token}", place.full()))
}

/// A row with its bytes. A version that is replaced between the look at its row and the opening of its file is looked for
/// once more.
async fn open<F: Future<Output = Result<Option<Record>>>>(
    storage: &Storage,
    find: impl Fn() -> F,
) -> Result<(Record, File)> {
    for _ in 0..3 {
        let record = find().await?.ok_or_else(StorageError::no_such_object)?;
        let Some(version) = record.version() else {
            return Err(StorageError::no_such_object());
        };
        if let Some(file) = storage.disk.read(version).await? {
            return Ok((record, file));
        }
    }
    tracing::error!("an object's row names a version that is not on the disk");
    Err(StorageError::no_such_object())
}

/// Whose cache may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    One,
    All,
}

async fn answer(
    (record, mut file): (Record, File),
    asked: &Asked,
    audience: Audience,
) -> Result<Response<Body>> {
    let size = file.metadata().await.map_err(StorageError::disk)?.len();
    let headers = &asked.headers;
    let tag = record.text("eTag").unwrap_or_default().to_owned();
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), &record, &tag, audience);
    if let Some(name) = parameter(&asked.uri, "download") {
        let name = if name.is_empty() {
            record
                .name
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        } else {
            name
        };
        set(
            response.headers_mut(),
            CONTENT_DISPOSITION,
            &disposition(&name),
        );
    }
    if !tag.is_empty() && says(headers, &IF_NONE_MATCH, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        return Ok(response);
    }
    let is_same = !headers.contains_key(IF_RANGE)
        || headers
            .get(IF_RANGE)
            .is_some_and(|wanted| wanted == tag.as_str());
    let wanted = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok())
        .filter(|_| is_same);
    let (start, length) = match wanted.map_or(Wanted::All, |range| part(range, size)) {
        Wanted::All => (0, size),
        Wanted::Part(start, end) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{end}/{size}");
            set(response.headers_mut(), CONTENT_RANGE, &range);
            (start, end - start + 1)
        }
        Wanted::Nothing => {
            let body = json!({
                "statusCode": "416", "code": "InvalidRange", "error": "invalid_range", "message": "invalid range provided",
            });
            let mut response = Response::new(Body::from(body.to_string()));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(
                response.headers_mut(),
                CONTENT_RANGE,
                &format!("bytes */{size}"),
            );
            set(
                response.headers_mut(),
                CONTENT_TYPE,
                "application/json; charset=utf-8",
            );
            return Ok(response);
        }
    };
    file.seek(std::io::SeekFrom::Start(start))
        .await
        .map_err(StorageError::disk)?;
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    *response.body_mut() = Body::from_stream(pieces(file, length));
    Ok(response)
}

/// `length` bytes of a file from where it stands.
fn pieces(file: File, length: u64) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; wanted];
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left - read as u64))))
    })
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn describe(headers: &mut HeaderMap, record: &Record, tag: &str, audience: Audience) {
    let kind = record.kind();
    set(headers, CONTENT_TYPE, kind);
    set(headers, ETAG, tag);
    set(headers, ACCEPT_RANGES, "bytes");
    // What somebody uploaded must never run as if this address had said it.
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if ["html", "xml", "svg"]
        .iter()
        .any(|word| essence.to_ascii_lowercase().contains(word))
    {
        set(
            headers,
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        );
    }
    let cache = record.text("cacheControl").unwrap_or("no-cache");
    match audience {
        Audience::All => set(headers, CACHE_CONTROL, cache),
        Audience::One => set(headers, CACHE_CONTROL, &format!("private, {cache}")),
    }
    let modified = record
        .text("lastModified")
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    if let Some(time) = modified {
        let time = time.with_timezone(&Utc);
        set(
            headers,
            LAST_MODIFIED,
            &time.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        );
    }
}

/// Whether a list of entity tags holds this one.
fn says(headers: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|each| each.trim().trim_start_matches("W/"))
        .any(|each| each == "*" || each == tag)
}

/// `attachment` with a name in both spellings that browsers know.
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .take(200)
        .collect();
    let encoded: String = name
        .chars()
        .take(200)
        .collect::<String>()
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// All of it: there is no range, or one that is not understood, or several.
    All,
    /// First and last byte.
    Part(u64, u64),
    /// Bytes that are not there.
    Nothing,
}

fn part(range: &str, size: u64) -> Wanted {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|spec| spec.trim().split_once('-'))
    else {
        return Wanted::All;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return Wanted::All;
    }
    // A number of more digits than fit is past every end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", "") => Wanted::All,
        ("", last) => match number(last).min(size) {
            0 => Wanted::Nothing,
            length => Wanted::Part(size - length, size - 1),
        },
        (first, last) => {
            let start = number(first);
            let end = if last.is_empty() {
                u64::MAX
            } else {
                number(last)
            };
            if end < start {
                Wanted::All
            } else if start >= size {
                Wanted::Nothing
            } else {
                Wanted::Part(start, end.min(size - 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(part("bytes=0-3", 10), Wanted::Part(0, 3));
        assert_eq!(part("bytes=5-", 10), Wanted::Part(5, 9));
        assert_eq!(part("bytes=-3", 10), Wanted::Part(7, 9));
        assert_eq!(part("bytes=-30", 10), Wanted::Part(0, 9));
        assert_eq!(
            part("bytes=9-99999999999999999999999", 10),
            Wanted::Part(9, 9)
        );
        for beyond in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(part(beyond, 10), Wanted::Nothing, "{beyond}");
        }
        assert_eq!(part("bytes=0-0", 0), Wanted::Nothing);
        for odd in [
            "",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "items=0-1",
            "bytes=3-1",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(part(odd, 10), Wanted::All, "{odd}");
        }
    }

    #[test]
    fn a_download_name_cannot_leave_its_quotes() {
        let value = disposition("a\"; filename=\"b.exe\r\nx: y\u{e9}");
        assert!(HeaderValue::from_str(&value).is_ok());
        assert_eq!(value.matches('"').count(), 2, "{value}");
        assert!(value.contains("%C3%A9"));
    }
}
