//! One request on its way through a function.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use lambda_http::Request;
use uuid::Uuid;

use super::Fields;
use super::route::{is_token, normalized, read_id};
use crate::{Caller, CallerDatabase, Error, Services, auth::Service, database::ServiceDatabase};

/// What a request is known by, in the log and in the database's audit trail, and what the log line is filled with while
/// the request is served.
#[derive(Debug)]
pub struct Trace {
    sender: String,
    request_id: String,
    upstream_microseconds: AtomicU64,
    user_id: OnceLock<Uuid>,
}

impl Trace {
    pub(crate) fn new(function: &str, version: &str, request_id: &str) -> Self {
        Self {
            sender: format!("lyceum-{function}/{version}"),
            request_id: request_id.to_owned(),
            upstream_microseconds: AtomicU64::default(),
            user_id: OnceLock::new(),
        }
    }

    /// The function and its version, as `x-client-info` names a client.
    pub(crate) fn sender(&self) -> &str {
        &self.sender
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(crate) fn add_upstream(&self, elapsed: Duration) {
        let microseconds = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.upstream_microseconds
            .fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Time spent waiting for the database, over all calls.
    pub(crate) fn upstream(&self) -> Duration {
        Duration::from_micros(self.upstream_microseconds.load(Ordering::Relaxed))
    }

    pub(crate) fn user_id(&self) -> Option<Uuid> {
        self.user_id.get().copied()
    }
}

/// A request and what may be done with it.
pub struct Exchange<'a> {
    services: &'a Services,
    request: &'a Request,
    trace: &'a Trace,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(services: &'a Services, request: &'a Request, trace: &'a Trace) -> Self {
        Self {
            services,
            request,
            trace,
        }
    }

    /// The signed-in person who sent the request.
    ///
    /// # Errors
    /// 401 without an acceptable token, 403 `user_required` for the service key, 503
    /// when the signing keys cannot be had.
    pub async fn caller(&self) -> Result<Caller, Error> {
        let identity = self
            .services
            .verifier
            .identify(self.request.headers())
            .await?;
        let caller = identity.require_user()?;
        // A second call finds the same person.
        let _ = self.trace.user_id.set(caller.user_id());
        Ok(caller)
    }

    /// The database as that person sees it.
    pub fn database<'b>(&'b self, caller: &'b Caller) -> CallerDatabase<'b> {
        self.services.database.as_caller(caller, self.trace)
    }

    /// The system itself, which sent the request.
    ///
    /// # Errors
    /// 401 without an acceptable token, 403 `service_required` for a person, 503 when the signing keys cannot be had.
    pub async fn service(&self) -> Result<Service, Error> {
        self.services
            .verifier
            .identify(self.request.headers())
            .await?
            .require_service()
    }

    /// The database as the system itself sees it.
    pub fn service_database<'b>(&'b self, service: &'b Service) -> ServiceDatabase<'b> {
        self.services.database.as_service(service, self.trace)
    }

    /// The database as everybody sees it: as the role of the public key, whoever sent the request.
    pub fn public_database(&self) -> CallerDatabase<'_> {
        self.services.database.as_anybody(self.trace)
    }

    /// One of the function's own settings ([`crate::Function::SETTINGS`]), unless it is empty or not set.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.services.settings.get(name).map(String::as_str)
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The id that the path ends with, of an endpoint whose path says `{id}`.
    ///
    /// # Errors
    /// 404 when it ends with none.
    pub fn id(&self) -> Result<Uuid, Error> {
        normalized(self.request.uri().path())
            .rsplit('/')
            .next()
            .and_then(read_id)
            .ok_or(Error::RouteNotFound)
    }

    /// The last part of the path, of an endpoint whose path says `{token}`.
    ///
    /// # Errors
    /// 404 when it is none.
    pub fn token(&self) -> Result<&str, Error> {
        normalized(self.request.uri().path())
            .rsplit('/')
            .next()
            .filter(|token| is_token(token))
            .ok_or(Error::RouteNotFound)
    }

    /// The query's parameters.
    pub fn query(&self) -> Fields {
        Fields::from_query(self.request.uri().query().unwrap_or_default())
    }

    /// The body as it is, of at most `limit` bytes.
    ///
    /// # Errors
    /// 413.
    pub fn bytes(&self, limit: usize) -> Result<&[u8], Error> {
        let body: &[u8] = self.request.body().as_ref();
        if body.len() > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        Ok(body)
    }

    /// The declared type of the body in lower case, and its `charset`; none where nothing or several were declared, or the
    /// body is encoded on top of it.
    pub fn media_type(&self) -> Option<(String, Option<String>)> {
        media_type(self.request.headers())
    }

    /// The members of the JSON object in the body, of at most `limit` bytes.
    ///
    /// # Errors
    /// 413, 415 or 400, checked in this order.
    pub fn body(&self, limit: usize) -> Result<Fields, Error> {
        let body = self.bytes(limit)?;
        if !is_plain_json(self.request.headers()) {
            return Err(Error::UnsupportedMediaType);
        }
        Fields::from_json(body)
    }
}

fn media_type(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(declared), None) = (types.next(), types.next()) else {
        return None;
    };
    let declared = declared.to_str().ok()?;
    let (essence, parameters) = declared.split_once(';').unwrap_or((declared, ""));
    let encoded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let charset = parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim_matches('"').to_owned());
    (!encoded).then(|| (essence.trim().to_ascii_lowercase(), charset))
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|(essence, charset)| {
        essence == "application/json"
            && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(value: &str) -> bool {
        is_plain_json(&HeaderMap::from_iter([(
            CONTENT_TYPE,
            value.parse().unwrap(),
        )]))
    }

    #[test]
    fn only_json_in_utf8_is_read() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(declared(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/json; charset=utf-16",
            "application/jsonp",
            "multipart/form-data; boundary=x",
            "",
        ] {
            assert!(!declared(bad), "{bad}");
        }
        assert!(!is_plain_json(&HeaderMap::new()));
    }
}
