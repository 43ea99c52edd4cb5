//! `GET /enrollment/eligibility`.

use http::StatusCode;
use lyceum_core::{
    Error, Exchange, Repeat, Response,
    http::{Fields, json},
};
use serde::Serialize;
use uuid::Uuid;

use crate::schema::Eligibility;

/// The arguments of `lms.check_enrollment_eligibility`.
#[derive(Debug, Serialize)]
struct Arguments {
    p_course_id: Uuid,
    p_user_id: Option<Uuid>,
}

/// Tells whether the caller, or with the right to ask someone else, may enrol in a
/// course, and if not, all the reasons at once.
#[utoipa::path(
    get,
    path = "/enrollment/eligibility",
    tag = "enrollment",
    params(
        ("course_id" = Uuid, Query, description = "The course"),
        ("user_id" = Option<Uuid>, Query, description = "Somebody other than the caller"),
    ),
    responses(
        (status = 200, description = "Eligible or not, and why", body = Eligibility),
        (status = 401, description = "Not signed in, or the token is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to ask for this person", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such course (`course_not_found`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Parameters at fault", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn eligibility(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let caller = exchange.caller().await?;
    let arguments = arguments(exchange.query())?;
    let answer = exchange
        .database(&caller)
        .rpc(
            "lms",
            "check_enrollment_eligibility",
            &arguments,
            Repeat::Safe,
        )
        .await?;
    serde_json::from_slice::<Eligibility>(&answer).map_err(|error| {
        Error::internal(format!(
            "lms.check_enrollment_eligibility answered no verdict: {error}"
        ))
    })?;
    let text = String::from_utf8(answer).map_err(Error::internal)?;
    Ok(json(StatusCode::OK, text))
}

fn arguments(mut fields: Fields) -> Result<Arguments, Error> {
    let course_id = fields.required("course_id");
    let p_user_id = fields.optional("user_id");
    Ok(Arguments {
        p_course_id: fields.finish(course_id)?,
        p_user_id,
    })
}
