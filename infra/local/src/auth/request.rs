//! What handlers take out of a request: the JSON body, the query, the caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Auth;
use super::error::{AuthError, Code, Result};
use super::token::PresentedClaims;
use super::user::User;
use super::validate::contains_nul;

const MAX_BODY: usize = 1 << 20;
const MAX_SWALLOWED: usize = 64 << 20;

/// A JSON object. Unknown fields are ignored and null counts as absent, as in GoTrue; a field of the wrong type is
/// an error that names the field.
#[derive(Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| {
            AuthError::bad_request(
                Code::BadJson,
                format!("Could not parse request body as JSON: {reason}"),
            )
        };
        let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if contains_nul(&value) {
            return Err(AuthError::invalid(
                "The request body contains a NUL character (\\u0000), which cannot be stored",
            ));
        }
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(bad("expected an object".into())),
        }
    }

    /// The text of `field`; None if it is absent, null or empty (which GoTrue does not tell apart).
    pub(crate) fn text(&self, field: &str) -> Result<Option<&str>> {
        Ok(self.any_text(field)?.filter(|text| !text.is_empty()))
    }

    /// Like [`Body::text`], but an empty text counts.
    pub(crate) fn any_text(&self, field: &str) -> Result<Option<&str>> {
        self.typed(field, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, field: &str) -> Result<Option<bool>> {
        self.typed(field, "true or false", Value::as_bool)
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<&Map<String, Value>>> {
        self.typed(field, "an object", Value::as_object)
    }

    fn typed<'a, T>(
        &'a self,
        field: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| {
                AuthError::bad_request(
                    Code::BadJson,
                    format!("Could not parse request body as JSON: {field} must be {expected}"),
                )
            }),
        }
    }
}

/// Reads the body. One that is too large is still swallowed (up to [`MAX_SWALLOWED`]), because a client that is cut off
/// while it sends sees a broken connection instead of the answer.
async fn read(request: Request) -> Result<Vec<u8>> {
    let mut body = request.into_body();
    let (mut bytes, mut received) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| AuthError::invalid("The request body ended before it was complete"))?;
        if let Some(data) = frame.data_ref() {
            received += data.len();
            if received <= MAX_BODY {
                bytes.extend_from_slice(data);
            } else if received > MAX_SWALLOWED {
                break;
            }
        }
    }
    if received > MAX_BODY {
        return Err(AuthError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::ValidationFailed,
            format!("The request body is larger than {MAX_BODY} bytes"),
        ));
    }
    Ok(bytes)
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = AuthError;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        Self::parse(&read(request).await?)
    }
}

/// A body that may be missing altogether.
pub(crate) struct OptionalBody(pub(crate) Body);

impl<S: Send + Sync> FromRequest<S> for OptionalBody {
    type Rejection = AuthError;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(Body::default()));
        }
        Body::parse(&bytes).map(Self)
    }
}

/// The query parameters; of a repeated one, the first.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let mut values = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if value.contains('\0') {
                return Err(AuthError::invalid(
                    "A query parameter contains a NUL character",
                ));
            }
            values.entry(name.into()).or_insert_with(|| value.into());
        }
        Ok(Self(values))
    }
}

/// Who asks, as noted on the session.
pub(crate) struct Client {
    pub(crate) user_agent: Option<String>,
    pub(crate) ip: Option<IpAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        Ok(Self {
            user_agent: header(USER_AGENT.as_str()).map(ToOwned::to_owned),
            ip: header("x-forwarded-for")
                .and_then(|list| list.split(',').next())
                .and_then(|first| first.trim().parse().ok()),
        })
    }
}

/// A signed-in user whose session still exists.
pub(crate) struct Caller {
    pub(crate) user: User,
    /// None for a token made without a session, by the legacy secret.
    pub(crate) session_id: Option<Uuid>,
}

impl FromRequestParts<Arc<Auth>> for Caller {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, auth: &Arc<Auth>) -> Result<Self> {
        let claims = presented_claims(&parts.headers, auth)?;
        let subject = claims.sub.filter(|sub| !sub.is_empty()).ok_or_else(|| {
            AuthError::forbidden(Code::BadJwt, "invalid claim: missing sub claim")
        })?;
        let user_id = subject
            .parse()
            .map_err(|_| AuthError::invalid("invalid claim: sub claim must be a UUID"))?;
        let session_id: Option<Uuid> = match claims.session_id.as_deref() {
            None | Some("") => None,
            Some(id) => Some(id.parse().map_err(|_| {
                AuthError::forbidden(
                    Code::BadJwt,
                    "invalid claim: session_id claim must be a UUID",
                )
            })?),
        };
        let db = auth.pool.get().await?;
        let user = User::find(&db, user_id).await?.ok_or_else(|| {
            AuthError::forbidden(
                Code::UserNotFound,
                "User from sub claim in JWT does not exist",
            )
        })?;
        if let Some(id) = session_id {
            db.query_opt(
                "select from auth.sessions where id = $1 and user_id = $2",
                &[&id, &user.id],
            )
            .await?
            .ok_or_else(|| {
                AuthError::forbidden(
                    Code::SessionNotFound,
                    "Session from session_id claim in JWT does not exist",
                )
            })?;
        }
        user.refuse_banned(AuthError::forbidden)?;
        Ok(Self { user, session_id })
    }
}

/// Proof that the caller holds a service_role (or supabase_admin) token.
pub(crate) struct Admin;

impl FromRequestParts<Arc<Auth>> for Admin {
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, auth: &Arc<Auth>) -> Result<Self> {
        match presented_claims(&parts.headers, auth)?.role.as_deref() {
            Some("service_role" | "supabase_admin") => Ok(Self),
            _ => Err(AuthError::forbidden(Code::NotAdmin, "User not allowed")),
        }
    }
}

fn presented_claims(headers: &HeaderMap, auth: &Auth) -> Result<PresentedClaims> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty())
        .ok_or_else(AuthError::unauthenticated)?;
    auth.keys.verify(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_absent_and_unknown_fields_are_fine() {
        let body = Body::parse(br#"{"email": null, "password": "", "whatever": [1]}"#).unwrap();
        assert_eq!(body.text("email").unwrap(), None);
        assert_eq!(body.text("password").unwrap(), None);
        assert_eq!(body.any_text("password").unwrap(), Some(""));
        assert_eq!(body.text("missing").unwrap(), None);
    }

    #[test]
    fn wrong_types_are_named() {
        let body = Body::parse(br#"{"email": 1, "data": [], "create_user": "yes"}"#).unwrap();
        assert!(
            body.text("email")
                .unwrap_err()
                .to_string()
                .contains("email must be a string")
        );
        assert!(
            body.object("data")
                .unwrap_err()
                .to_string()
                .contains("data must be an object")
        );
        assert_eq!(body.flag("create_user").unwrap_err().code(), Code::BadJson);
    }

    #[test]
    fn malformed_bodies_are_refused() {
        let deep = "[".repeat(100_000);
        for bad in [
            "",
            "{",
            "[]",
            "\"x\"",
            "null",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":1e999}",
            deep.as_str(),
        ] {
            assert_eq!(
                Body::parse(bad.as_bytes()).unwrap_err().code(),
                Code::BadJson,
                "{bad:.20}"
            );
        }
        assert_eq!(
            Body::parse(b"{\"a\":\"\xff\"}").unwrap_err().code(),
            Code::BadJson
        );
        assert_eq!(
            Body::parse(br#"{"a": "x\u0000"}"#).unwrap_err().code(),
            Code::ValidationFailed
        );
    }
}
