//! `PATCH /enrollment/{id}`.

use chrono::{DateTime, FixedOffset};
use http::StatusCode;
use lyceum_core::{
    Error, Exchange, Repeat, Response,
    http::{FieldValue, Fields, json},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

const BODY_LIMIT: usize = 64 * 1024;

/// What can become of an enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Progress waits.
    Paused,
    /// A paused one goes on.
    Resumed,
    /// It ends without completion; taking the course again is a new cycle.
    Dropped,
}

impl FieldValue for Wanted {
    const EXPECTATION: &'static str = "must be paused, resumed or dropped";

    fn read(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }
}

/// The arguments of `lms.change_enrollment`.
#[derive(Debug, Serialize)]
struct Arguments {
    p_enrollment_id: Uuid,
    p_status: Option<Wanted>,
    p_due_at: Option<DateTime<FixedOffset>>,
    p_change_due_at: bool,
}

/// Pauses, resumes or drops an enrollment, sets its due date, or both at once.
///
/// Either all of it happens or nothing.
#[utoipa::path(
    patch,
    path = "/enrollment/{id}",
    tag = "enrollment",
    params(("id" = Uuid, Path, description = "The enrollment")),
    request_body = crate::schema::ChangeRequest,
    responses(
        (status = 200, description = "The enrollment as it is now", body = crate::schema::EnrollmentRow),
        (status = 400, description = "The body is no JSON object", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 401, description = "Not signed in, or the token is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to change it", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such enrollment (`enrollment_not_found`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot become that (`transition_not_allowed`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 64 KiB", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields at fault", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn change(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let caller = exchange.caller().await?;
    let arguments = arguments(exchange.id()?, exchange.body(BODY_LIMIT)?)?;
    let row = exchange
        .database(&caller)
        .rpc("lms", "change_enrollment", &arguments, repeat(&arguments))
        .await?;
    // The row goes out as it came, so that numbers keep their digits.
    let text = String::from_utf8(row).map_err(Error::internal)?;
    Ok(json(StatusCode::OK, text))
}

/// Asking twice changes nothing more, but for resuming: what is no longer paused is not resumed.
fn repeat(arguments: &Arguments) -> Repeat {
    if arguments.p_status == Some(Wanted::Resumed) {
        Repeat::Never
    } else {
        Repeat::Safe
    }
}

fn arguments(p_enrollment_id: Uuid, mut fields: Fields) -> Result<Arguments, Error> {
    let p_change_due_at = fields.has("due_at");
    let p_due_at = fields.optional("due_at");
    // A change of nothing is a mistake: then the status is asked for.
    let p_status = if p_change_due_at {
        Some(fields.optional("status"))
    } else {
        fields.required("status").map(Some)
    };
    Ok(Arguments {
        p_enrollment_id,
        p_status: fields.finish(p_status)?,
        p_due_at,
        p_change_due_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<String, String> {
        let fields = Fields::from_json(body.as_bytes()).unwrap();
        match arguments(Uuid::nil(), fields) {
            Ok(arguments) => Ok(format!(
                "{:?} {:?} {}",
                arguments.p_status, arguments.p_due_at, arguments.p_change_due_at
            )),
            Err(Error::Validation(faults)) => Err(faults
                .iter()
                .map(|fault| format!("{}:{}", fault.field, fault.code))
                .collect::<Vec<_>>()
                .join(" ")),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_date_that_is_null_is_not_a_date_that_is_left_out() {
        assert_eq!(
            read(r#"{"status":"paused"}"#).unwrap(),
            "Some(Paused) None false"
        );
        assert_eq!(read(r#"{"due_at":null}"#).unwrap(), "None None true");
        assert_eq!(
            read(r#"{"due_at":"2031-05-01T08:00:00+02:00","status":"resumed"}"#).unwrap(),
            "Some(Resumed) Some(2031-05-01T08:00:00+02:00) true"
        );
    }

    #[test]
    fn all_faults_are_told_at_once() {
        for (body, faults) in [
            ("{}", "status:missing"),
            (r#"{"status":null}"#, "status:missing"),
            (r#"{"status":"completed"}"#, "status:invalid"),
            (
                r#"{"status":7,"due_at":"tomorrow","grade":1}"#,
                "due_at:invalid status:invalid grade:unknown",
            ),
        ] {
            assert_eq!(read(body).unwrap_err(), faults, "{body}");
        }
    }
}
