//! Answers that the gateway gives itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{self, Body};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer in JSON: `{message, hint?}` unless it is made of other fields.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    fields: Value,
    retry_after: Option<Duration>,
}

impl Reply {
    /// An answer with a sentence for people.
    pub fn new(status: StatusCode, message: &str) -> Self {
        Self::json(status, json!({ "message": message }))
    }

    /// An answer of any fields.
    pub fn json(status: StatusCode, fields: Value) -> Self {
        Self {
            status,
            fields,
            retry_after: None,
        }
    }

    /// What the caller can do.
    pub fn hint(mut self, hint: &str) -> Self {
        self.fields["hint"] = Value::from(hint);
        self
    }

    /// When to try again.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The HTTP response.
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(body::full(Bytes::from(self.fields.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        if let Some(delay) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs()));
        }
        response
    }
}

/// The caller's request id when it is a plain short word, else a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|value| {
            (1..=128).contains(&value.len())
                && value
                    .as_bytes()
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
        })
        .cloned()
        .or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok())
        .unwrap_or(HeaderValue::from_static("unknown"))
}

/// Sets the request id.
pub fn set_request_id(headers: &mut HeaderMap, id: &HeaderValue) {
    headers.insert(REQUEST_ID, id.clone());
}
