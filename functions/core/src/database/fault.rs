//! PostgREST's error answers, and what each means to our clients. Pure.

use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::error::{ConstraintKind, Error, Rule, TokenFault};

/// The body of an error answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    code: Option<String>,
    message: Option<String>,
    details: Option<Value>,
    hint: Option<String>,
}

/// Classes an answer with a status other than success.
pub(super) fn decode(status: StatusCode, retry_after: Option<&HeaderValue>, body: &[u8]) -> Error {
    let Ok(fault) = serde_json::from_slice::<Fault>(body) else {
        return by_status(status, "an answer that is not PostgREST's");
    };
    let code = fault.code.clone().unwrap_or_default();
    if status.is_client_error() && is_own(&code) {
        return rule(status, retry_after, code, fault);
    }
    match code.as_str() {
        "PGRST301" | "PGRST302" | "PGRST303" => TokenFault::RefusedByDatabase.into(),
        "PGRST116" => Error::NotFound,
        "PGRST000" | "PGRST001" | "PGRST002" => Error::unavailable(&code),
        "PGRST003" | "57014" => Error::UpstreamTimeout { cause: code },
        "42501" => Error::Forbidden,
        "23505" | "23P01" => constraint(ConstraintKind::Unique, &fault),
        "23503" => constraint(ConstraintKind::Reference, &fault),
        code if code.starts_with("23") => constraint(ConstraintKind::Check, &fault),
        code if is_sqlstate(code) && code.starts_with("22") => Error::InvalidValue,
        // Deadlocks, serialisation failures and lock timeouts pass; so do lost
        // connections, exhausted resources and restarts.
        "40001" | "40P01" | "55P03" => Error::unavailable(&code),
        code if is_sqlstate(code)
            && (code.starts_with("08") || code.starts_with("53") || code.starts_with("57P")) =>
        {
            Error::unavailable(code)
        }
        "" => by_status(status, "an error without a code"),
        // Anything else means that function and schema do not fit together.
        code => Error::internal(cause(status, code, fault.message.as_deref())),
    }
}

/// For answers of something between us and PostgREST.
fn by_status(status: StatusCode, what: &str) -> Error {
    let cause = format!("{what}, status {}", status.as_u16());
    match status {
        StatusCode::UNAUTHORIZED => TokenFault::RefusedByDatabase.into(),
        StatusCode::GATEWAY_TIMEOUT => Error::UpstreamTimeout { cause },
        StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS => Error::Unavailable { cause },
        _ => Error::Internal { cause },
    }
}

/// Our SQL raises its errors with codes in snake case; PostgreSQL's and
/// PostgREST's hold digits and capitals.
fn is_own(code: &str) -> bool {
    code.len() <= 64
        && code.starts_with(|first: char| first.is_ascii_lowercase())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn rule(
    status: StatusCode,
    retry_after: Option<&HeaderValue>,
    code: String,
    fault: Fault,
) -> Error {
    // PostgREST carries details as text; ours hold JSON, which goes on unparsed so
    // that numbers keep their digits.
    let details = match fault.details {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => RawValue::from_string(text.clone())
            .or_else(|_| to_raw_value(&text))
            .ok(),
        Some(other) => to_raw_value(&other).ok(),
    };
    Error::Rule(Box::new(Rule {
        status,
        code,
        message: fault.message.unwrap_or_default(),
        hint: fault.hint.filter(|hint| !hint.is_empty()),
        details,
        details_member: "details",
        retry_after: retry_after
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok()),
    }))
}

/// Of the message only the constraint's name is shown: it reads as a rule, while
/// the rest may hold values.
fn constraint(kind: ConstraintKind, fault: &Fault) -> Error {
    let constraint = fault
        .message
        .as_deref()
        .and_then(|message| message.split_once("constraint \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(name, _)| name.to_owned());
    Error::Constraint { kind, constraint }
}

/// For the log. Only messages that speak of the schema are kept: those of other
/// classes may hold values.
fn cause(status: StatusCode, code: &str, message: Option<&str>) -> String {
    let of_schema = code.starts_with("PGRST") || code.starts_with("42");
    match message {
        Some(message) if of_schema => format!("{code} (status {}): {message}", status.as_u16()),
        _ => format!("{code} (status {})", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn classed(status: u16, body: Value) -> Error {
        decode(
            StatusCode::from_u16(status).unwrap(),
            None,
            body.to_string().as_bytes(),
        )
    }

    #[test]
    fn codes_are_mapped() {
        for (upstream, code, status, shown) in [
            (409, "23505", 409, "conflict"),
            (409, "23P01", 409, "conflict"),
            (409, "23503", 422, "reference_invalid"),
            (400, "23514", 422, "constraint_violated"),
            (400, "23502", 422, "constraint_violated"),
            (400, "22P02", 400, "value_invalid"),
            (400, "22023", 400, "value_invalid"),
            (403, "42501", 403, "forbidden"),
            (401, "PGRST301", 401, "token_refused"),
            (401, "PGRST302", 401, "token_refused"),
            (401, "PGRST303", 401, "token_refused"),
            (406, "PGRST116", 404, "not_found"),
            (500, "57014", 504, "upstream_timeout"),
            (504, "PGRST003", 504, "upstream_timeout"),
            (503, "PGRST002", 503, "unavailable"),
            (500, "40P01", 503, "unavailable"),
            (503, "53300", 503, "unavailable"),
            (503, "57P03", 503, "unavailable"),
            (404, "PGRST202", 500, "internal_error"),
            (404, "42883", 500, "internal_error"),
            (500, "XX000", 500, "internal_error"),
            (400, "P0001", 500, "internal_error"),
        ] {
            let error = classed(upstream, json!({"code": code, "message": "m"}));
            assert_eq!(
                (error.status().as_u16(), error.code()),
                (status, shown),
                "{code}"
            );
        }
    }

    #[test]
    fn our_own_codes_pass_with_their_details() {
        let error = classed(
            409,
            json!({
                "code": "not_eligible",
                "message": "You cannot enrol yet.",
                "details": "[{\"code\":\"payment_required\",\"price\":49.00}]",
                "hint": "",
            }),
        );
        let Error::Rule(rule) = error else {
            panic!("{error:?}");
        };
        assert_eq!(rule.status, 409);
        assert_eq!(rule.code, "not_eligible");
        assert_eq!(
            rule.details.unwrap().get(),
            r#"[{"code":"payment_required","price":49.00}]"#
        );
        assert_eq!(rule.hint, None);
    }

    #[test]
    fn our_own_code_with_a_server_status_stays_inside() {
        let error = classed(500, json!({"code": "broken", "message": "secret"}));
        assert_eq!(error.code(), "internal_error");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn only_the_constraints_name_is_kept() {
        let error = classed(
            409,
            json!({
                "code": "23505",
                "message": "duplicate key value violates unique constraint \"one_open_enrollment\"",
                "details": "Key (email)=(someone@example.org) already exists.",
            }),
        );
        let shown = serde_json::to_string(&error.problem("r")).unwrap();
        assert!(shown.contains("one_open_enrollment"));
        assert!(!shown.contains("someone@example.org"));
    }

    #[test]
    fn answers_of_others_are_classed_by_status() {
        for (status, shown) in [(502, 503), (503, 503), (504, 504), (401, 401), (404, 500)] {
            let error = decode(StatusCode::from_u16(status).unwrap(), None, b"<html>");
            assert_eq!(error.status().as_u16(), shown);
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_classed_as_an_error(
            status in 300_u16..600,
            code in "[A-Za-z0-9_]{0,8}",
            message in ".{0,60}",
        ) {
            let error = classed(status, json!({"code": code, "message": message}));
            prop_assert!(error.status().as_u16() >= 400);
        }
    }
}
