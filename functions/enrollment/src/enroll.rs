//! `POST /enrollment`.

use chrono::{DateTime, FixedOffset};
use http::{HeaderValue, StatusCode, header::LOCATION};
use lyceum_core::{
    Error, Exchange, Repeat, Response,
    http::{Fields, json},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const BODY_LIMIT: usize = 64 * 1024;
const LONGEST_KEY: usize = 255;

/// The arguments of `lms.enroll`.
#[derive(Debug, Serialize)]
struct Arguments {
    p_course_id: Uuid,
    p_user_id: Option<Uuid>,
    p_due_at: Option<DateTime<FixedOffset>>,
    p_idempotency_key: Option<String>,
}

/// Enrols the caller, or with the right to do so someone else, in a course.
///
/// Repeating a request under the same `Idempotency-Key` answers the enrollment that
/// the first one made.
#[utoipa::path(
    post,
    path = "/enrollment",
    tag = "enrollment",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 printable ASCII characters, unique per intended enrollment")),
    request_body = crate::schema::EnrollRequest,
    responses(
        (status = 201, description = "Enrolled, now or by an earlier request under the same key", body = crate::schema::EnrollmentRow,
            headers(("Location" = String, description = "The enrollment's path"))),
        (status = 400, description = "The body is no JSON object", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 401, description = "Not signed in, or the token is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to enrol this person", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such course (`course_not_found`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Not eligible (`not_eligible`, with all `reasons`)", body = crate::schema::NotEligible, content_type = "application/problem+json"),
        (status = 413, description = "More than 64 KiB", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields at fault, or the key was used for something else (`idempotency_key_reused`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn enroll(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let caller = exchange.caller().await?;
    let arguments = arguments(exchange.body(BODY_LIMIT)?, exchange)?;
    let repeat = match arguments.p_idempotency_key {
        Some(_) => Repeat::Safe,
        None => Repeat::Never,
    };
    let row = exchange
        .database(&caller)
        .rpc("lms", "enroll", &arguments, repeat)
        .await
        .map_err(|error| error.naming_details("not_eligible", "reasons"))?;
    created(row)
}

fn arguments(mut fields: Fields, exchange: &Exchange<'_>) -> Result<Arguments, Error> {
    let course_id = fields.required("course_id");
    let p_user_id = fields.optional("user_id");
    let p_due_at = fields.optional("due_at");
    let p_idempotency_key = fields.optional_header(
        exchange.headers(),
        "idempotency-key",
        "must have 1 to 255 printable ASCII characters",
        is_key,
    );
    Ok(Arguments {
        p_course_id: fields.finish(course_id)?,
        p_user_id,
        p_due_at,
        p_idempotency_key,
    })
}

fn is_key(text: &str) -> bool {
    (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The row goes out as it came, so that numbers keep their digits.
fn created(row: Vec<u8>) -> Result<Response, Error> {
    #[derive(Deserialize)]
    struct Row {
        id: Uuid,
    }
    let Row { id } = serde_json::from_slice(&row)
        .map_err(|error| Error::internal(format!("lms.enroll answered no enrollment: {error}")))?;
    let text = String::from_utf8(row).map_err(Error::internal)?;
    let mut response = json(StatusCode::CREATED, text);
    let location = HeaderValue::from_str(&format!("/enrollment/{id}")).map_err(Error::internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_printable_and_bounded(text in "\\PC{0,300}|[\\x00-\\xff]{0,20}") {
            let printable = text.chars().all(|letter| (' '..='~').contains(&letter));
            let expected = printable && !text.is_empty() && text.len() <= LONGEST_KEY;
            prop_assert_eq!(is_key(&text), expected);
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let row = r#"{"id":"6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11","progress_percentage":100.00}"#;
        let response = created(row.as_bytes().to_vec()).unwrap();
        assert_eq!(response.body().as_ref(), row.as_bytes());
    }

    #[test]
    fn an_answer_without_an_enrollment_is_a_defect() {
        for answer in ["null", "[]", "{}", r#"{"id":7}"#, "not json"] {
            let error = created(answer.as_bytes().to_vec()).unwrap_err();
            assert_eq!(
                error.status(),
                StatusCode::INTERNAL_SERVER_ERROR,
                "{answer}"
            );
        }
    }
}
