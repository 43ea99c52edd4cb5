//! Every way a request can fail, and how each is told to the client:
//! RFC 9457 `application/problem+json` with a stable `code`.

use std::{borrow::Cow, collections::BTreeMap};

use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use lambda_http::Body;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use crate::http::Response;

/// Seconds after which a client may try again what failed for a passing reason.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Why a request was not served.
///
/// `cause` texts are for the log; no client sees them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bearer token is missing or not acceptable (401).
    #[error("{0}")]
    Unauthenticated(#[from] TokenFault),
    /// The token is good but belongs to no person (403).
    #[error("a person's token is required")]
    UserRequired,
    /// The token is good but belongs to a person (403).
    #[error("the service key is required")]
    ServiceRequired,
    /// The database refused the caller the right (403).
    #[error("the database refused the operation")]
    Forbidden,
    /// No such path (404).
    #[error("no such path")]
    RouteNotFound,
    /// No such row, or none that the caller may see (404).
    #[error("no such row")]
    NotFound,
    /// The path exists, but not for this method (405); `allow` lists the methods that do.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: String,
    },
    /// The body is longer than `limit` bytes (413).
    #[error("body too large")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is not declared as plain JSON (415).
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// The body is not a JSON object (400).
    #[error("malformed body")]
    MalformedBody {
        /// What is wrong and where; holds nothing of the body itself.
        reason: String,
    },
    /// Fields are missing, unknown, repeated or wrong (422).
    #[error("validation failed")]
    Validation(Vec<FieldFault>),
    /// One of the database's own rules said no.
    #[error("rule: {}", .0.code)]
    Rule(Box<Rule>),
    /// A database constraint said no.
    #[error("constraint {constraint:?}: {kind:?}")]
    Constraint {
        /// Which kind.
        kind: ConstraintKind,
        /// The constraint's name, which reads as a rule.
        constraint: Option<String>,
    },
    /// A value that the database cannot take, although its form was right (400).
    #[error("the database refused a value")]
    InvalidValue,
    /// The database gave up or did not answer in time (504).
    #[error("upstream timeout: {cause}")]
    UpstreamTimeout {
        /// For the log.
        cause: String,
    },
    /// A part that the function needs cannot be reached or is overloaded (503).
    #[error("upstream unavailable: {cause}")]
    Unavailable {
        /// For the log.
        cause: String,
    },
    /// A defect on our side (500).
    #[error("internal: {cause}")]
    Internal {
        /// For the log.
        cause: String,
    },
}

/// What is wrong with the bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// No token, or only the public API key.
    #[error("sign in and send the access token as `Authorization: Bearer <token>`")]
    SignInRequired,
    /// Not three base64url parts holding JSON, or claims of the wrong form.
    #[error("the access token is malformed")]
    Malformed,
    /// The `exp` has passed.
    #[error("the access token has expired; refresh the session and try again")]
    Expired,
    /// The `nbf` lies ahead.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// The signature does not fit.
    #[error("the access token's signature is not valid")]
    SignatureInvalid,
    /// `alg` is none, unknown, not enabled, or not the key's own.
    #[error("the access token's algorithm is not accepted")]
    AlgorithmRefused,
    /// No key with the token's `kid`.
    #[error("the access token was signed with a key that is not known here")]
    KeyUnknown,
    /// Another `iss`.
    #[error("the access token was issued by somebody else")]
    IssuerMismatch,
    /// Another `aud`.
    #[error("the access token was issued for another audience")]
    AudienceMismatch,
    /// PostgREST refused the token that we had accepted.
    #[error("the database refused the access token; sign in again")]
    RefusedByDatabase,
}

impl TokenFault {
    /// The stable code shown to clients.
    pub fn code(self) -> &'static str {
        match self {
            Self::SignInRequired => "sign_in_required",
            Self::Malformed => "token_malformed",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::SignatureInvalid => "token_signature_invalid",
            Self::AlgorithmRefused => "token_algorithm_refused",
            Self::KeyUnknown => "token_key_unknown",
            Self::IssuerMismatch => "token_issuer_mismatch",
            Self::AudienceMismatch => "token_audience_mismatch",
            Self::RefusedByDatabase => "token_refused",
        }
    }
}

/// Which kind of constraint was violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    /// Unique or exclusion (409).
    Unique,
    /// Foreign key (422).
    Reference,
    /// Check or not-null (422).
    Check,
}

/// A rule of the database, raised with a code, a sentence and details of its own.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The HTTP status, 400 to 499.
    pub status: StatusCode,
    /// The stable code, in snake case.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Machine-readable particulars, as the database wrote them.
    pub details: Option<Box<RawValue>>,
    /// The member of the answer that shows `details`.
    pub details_member: &'static str,
    /// Seconds until a new attempt may succeed, when the rule says so.
    pub retry_after: Option<u32>,
}

/// One fault of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldFault {
    /// The field, query parameter or header at fault.
    #[schema(example = "course_id")]
    pub field: String,
    /// `missing`, `invalid`, `unknown` or `repeated`.
    #[schema(example = "invalid")]
    pub code: &'static str,
    /// A sentence for people.
    #[schema(example = "must be a UUID such as 6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11")]
    pub message: Cow<'static, str>,
}

/// A problem as RFC 9457 defines it, with Lyceum's extension members.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A URI that stands for the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:lyceum:problem:not_eligible")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, as a sentence.
    pub detail: String,
    /// The stable code to branch on.
    #[schema(example = "not_eligible")]
    pub code: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Identifies the request in the logs; also in the `x-request-id` header.
    pub request_id: String,
    /// Every fault of every field, when validation failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldFault>,
    /// Members that belong to the particular code, such as `reasons`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extensions: BTreeMap<&'static str, Box<RawValue>>,
}

impl Error {
    /// A defect on our side; `cause` goes to the log only.
    pub fn internal(cause: impl ToString) -> Self {
        Self::Internal {
            cause: cause.to_string(),
        }
    }

    /// A part that cannot be reached; `cause` goes to the log only.
    pub fn unavailable(cause: impl ToString) -> Self {
        Self::Unavailable {
            cause: cause.to_string(),
        }
    }

    /// Shows the details of the rule with this `code` under the name `member`, and
    /// points there: the rule's own hint speaks of the database's answer.
    #[must_use]
    pub fn naming_details(mut self, code: &str, member: &'static str) -> Self {
        if let Self::Rule(rule) = &mut self
            && rule.code == code
        {
            rule.details_member = member;
            rule.hint = Some(format!(
                "`{member}` lists everything that stands in the way."
            ));
        }
        self
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::UserRequired | Self::ServiceRequired | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::RouteNotFound | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::MalformedBody { .. } | Self::InvalidValue => StatusCode::BAD_REQUEST,
            Self::Validation(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Rule(rule) => rule.status,
            Self::Constraint { kind, .. } => match kind {
                ConstraintKind::Unique => StatusCode::CONFLICT,
                ConstraintKind::Reference | ConstraintKind::Check => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            },
            Self::UpstreamTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code shown to clients.
    pub fn code(&self) -> &str {
        match self {
            Self::Unauthenticated(fault) => fault.code(),
            Self::UserRequired => "user_required",
            Self::ServiceRequired => "service_required",
            Self::Forbidden => "forbidden",
            Self::RouteNotFound => "route_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::MalformedBody { .. } => "malformed_body",
            Self::Validation(_) => "validation_failed",
            Self::Rule(rule) => &rule.code,
            Self::Constraint { kind, .. } => match kind {
                ConstraintKind::Unique => "conflict",
                ConstraintKind::Reference => "reference_invalid",
                ConstraintKind::Check => "constraint_violated",
            },
            Self::InvalidValue => "value_invalid",
            Self::UpstreamTimeout { .. } => "upstream_timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal { .. } => "internal_error",
        }
    }

    fn title(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthenticated(TokenFault::SignInRequired) => "Sign-in required".into(),
            Self::Unauthenticated(_) => "Access token not accepted".into(),
            Self::Validation(_) => "Validation failed".into(),
            Self::MalformedBody { .. } => "Malformed body".into(),
            other => other
                .status()
                .canonical_reason()
                .unwrap_or("Request refused")
                .into(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unauthenticated(fault) => sentence(&fault.to_string()),
            Self::UserRequired => "This endpoint acts for a person: sign in as one and send that access token instead of a service key.".to_owned(),
            Self::ServiceRequired => "This endpoint is for the system itself: it takes the service key.".to_owned(),
            Self::Forbidden => "You may not do this.".to_owned(),
            Self::RouteNotFound => "There is no such path; see openapi.json for those there are.".to_owned(),
            Self::NotFound => "There is no such object, or none that you may see.".to_owned(),
            Self::MethodNotAllowed { allow } => format!("This path answers only to {allow}."),
            Self::BodyTooLarge { limit } => format!("The body may have at most {limit} bytes."),
            Self::UnsupportedMediaType => "Send the body as `Content-Type: application/json`, in UTF-8 and without content encoding.".to_owned(),
            Self::MalformedBody { reason } => format!("The body is not a JSON object: {reason}."),
            Self::Validation(_) => "Some fields are not acceptable; `errors` lists all of them.".to_owned(),
            Self::Rule(rule) => rule.message.clone(),
            Self::Constraint { kind: ConstraintKind::Unique, .. } => "This conflicts with something that already exists.".to_owned(),
            Self::Constraint { kind: ConstraintKind::Reference, .. } => "Something that this refers to does not exist.".to_owned(),
            Self::Constraint { kind: ConstraintKind::Check, .. } => "The values break a rule of the data.".to_owned(),
            Self::InvalidValue => "A value is outside of what can be stored.".to_owned(),
            Self::UpstreamTimeout { .. } => "The database did not answer in time. It is not known whether the request took effect.".to_owned(),
            Self::Unavailable { .. } => "A part of the service cannot be reached at the moment.".to_owned(),
            Self::Internal { .. } => "The service failed. The fault was recorded under the request id.".to_owned(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Rule(rule) => rule.hint.clone(),
            Self::UpstreamTimeout { .. } | Self::Unavailable { .. } => Some(
                "Try again shortly; a write is safe to repeat under the same Idempotency-Key."
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn extensions(&self) -> BTreeMap<&'static str, Box<RawValue>> {
        let member = match self {
            Self::Rule(rule) => rule
                .details
                .clone()
                .map(|details| (rule.details_member, details)),
            Self::Constraint {
                constraint: Some(name),
                ..
            } => to_raw_value(name).ok().map(|name| ("constraint", name)),
            _ => None,
        };
        member.into_iter().collect()
    }

    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Unavailable { .. } | Self::UpstreamTimeout { .. } => Some(RETRY_AFTER_SECONDS),
            Self::Rule(rule) => rule.retry_after,
            _ => None,
        }
    }

    fn challenge(&self) -> Option<HeaderValue> {
        let value = match self {
            Self::Unauthenticated(TokenFault::SignInRequired) => {
                r#"Bearer realm="lyceum""#.to_owned()
            }
            Self::Unauthenticated(fault) => format!(
                r#"Bearer realm="lyceum", error="invalid_token", error_description="{fault}""#
            ),
            other if other.status() == StatusCode::UNAUTHORIZED => {
                r#"Bearer realm="lyceum""#.to_owned()
            }
            _ => return None,
        };
        HeaderValue::from_str(&value).ok()
    }

    /// The problem document for the request with this id.
    pub fn problem(&self, request_id: &str) -> Problem {
        Problem {
            kind: format!("urn:lyceum:problem:{}", self.code()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail(),
            code: self.code().to_owned(),
            hint: self.hint(),
            request_id: request_id.to_owned(),
            errors: match self {
                Self::Validation(faults) => faults.clone(),
                _ => Vec::new(),
            },
            extensions: self.extensions(),
        }
    }

    /// The complete answer for the request with this id.
    pub fn into_response(self, request_id: &str) -> Response {
        // A problem holds strings, numbers and JSON values only: it always serialises.
        let body = serde_json::to_string(&self.problem(request_id)).unwrap_or_default();
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Self::MethodNotAllowed { allow } = &self
            && let Ok(value) = HeaderValue::from_str(allow)
        {
            headers.insert(ALLOW, value);
        }
        response
    }
}

/// The first letter in upper case and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(error: Error) -> Value {
        let Body::Text(text) = error.into_response("r-1").into_body() else {
            panic!("a problem is text");
        };
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn server_faults_carry_no_internals() {
        for error in [
            Error::internal("relation lms.secret does not exist"),
            Error::unavailable("10.0.0.7 refused: secret"),
            Error::UpstreamTimeout {
                cause: "secret".to_owned(),
            },
        ] {
            let text = body(error).to_string();
            assert!(!text.contains("secret"), "{text}");
            assert!(!text.contains("10.0.0.7"), "{text}");
        }
    }

    #[test]
    fn a_rules_details_are_shown_under_the_chosen_name() {
        let error = Error::Rule(Box::new(Rule {
            status: StatusCode::CONFLICT,
            code: "not_eligible".to_owned(),
            message: "You cannot enrol yet.".to_owned(),
            hint: None,
            details: to_raw_value(&serde_json::json!([{"code": "course_full"}])).ok(),
            details_member: "details",
            retry_after: None,
        }));
        let shown = body(error.naming_details("not_eligible", "reasons"));
        assert_eq!(shown["status"], 409);
        assert_eq!(shown["code"], "not_eligible");
        assert_eq!(shown["reasons"][0]["code"], "course_full");
        assert!(shown.get("details").is_none());
    }

    #[test]
    fn every_401_challenges() {
        for fault in [
            TokenFault::SignInRequired,
            TokenFault::Expired,
            TokenFault::RefusedByDatabase,
        ] {
            let response = Error::from(fault).into_response("r-1");
            assert_eq!(response.status(), 401);
            assert!(response.headers().contains_key(WWW_AUTHENTICATE));
        }
    }
}
