//! Enrolling in courses: `POST /enrollment`, `POST /enrollment/bulk`, `PATCH /enrollment/{id}` and `GET /enrollment/eligibility`.
//!
//! The rules live in the database (`lms.enroll`, `lms.enroll_in_bulk`, `lms.change_enrollment`, `lms.check_enrollment_eligibility`);
//! this function reads the request, calls them as the caller, and tells the outcome.

mod bulk;
mod change;
mod eligibility;
mod enroll;
pub mod schema;

use http::Method;
use lyceum_core::{Error, Exchange, Function, Response, Route};
use utoipa::OpenApi;

/// The function's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrollment {
    /// `POST /enrollment`
    Enroll,
    /// `POST /enrollment/bulk`
    Bulk,
    /// `PATCH /enrollment/{id}`
    Change,
    /// `GET /enrollment/eligibility`
    Eligibility,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lyceum enrollment",
        description = "Enrols people in courses, one or many, changes enrollments, and tells beforehand whether one may enrol."
    ),
    paths(enroll::enroll, bulk::bulk, change::change, eligibility::eligibility)
)]
struct Document;

impl Function for Enrollment {
    const NAME: &'static str = "enrollment";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn routes() -> &'static [Route<Self>] {
        const ROUTES: &[Route<Enrollment>] = &[
            Route {
                method: Method::POST,
                path: "",
                endpoint: Enrollment::Enroll,
            },
            Route {
                method: Method::POST,
                path: "/bulk",
                endpoint: Enrollment::Bulk,
            },
            Route {
                method: Method::PATCH,
                path: "/{id}",
                endpoint: Enrollment::Change,
            },
            Route {
                method: Method::GET,
                path: "/eligibility",
                endpoint: Enrollment::Eligibility,
            },
        ];
        ROUTES
    }

    fn document() -> utoipa::openapi::OpenApi {
        Document::openapi()
    }

    async fn serve(self, exchange: &Exchange<'_>) -> Result<Response, Error> {
        match self {
            Self::Enroll => enroll::enroll(exchange).await,
            Self::Bulk => bulk::bulk(exchange).await,
            Self::Change => change::change(exchange).await,
            Self::Eligibility => eligibility::eligibility(exchange).await,
        }
    }
}
