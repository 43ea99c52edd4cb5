//! The shapes of requests and answers, as the OpenAPI document shows them.

use chrono::{DateTime, Utc};
use lyceum_core::error::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// What `POST /enrollment` takes. Other members are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// The course.
    pub course_id: Uuid,
    /// Somebody other than the caller; needs the right to enrol them.
    pub user_id: Option<Uuid>,
    /// By when the course is to be completed; RFC 3339 with an offset.
    pub due_at: Option<DateTime<Utc>>,
}

/// What `PATCH /enrollment/{id}` takes: at least one of these. Other members are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// What becomes of the enrollment.
    #[schema(inline)]
    pub status: Option<crate::change::Wanted>,
    /// By when the course is to be completed; RFC 3339 with an offset, null takes the date away. Staff only.
    pub due_at: Option<DateTime<Utc>>,
}

/// An enrollment. Later versions may add members.
#[derive(ToSchema)]
pub struct EnrollmentRow {
    /// The enrollment.
    pub id: Uuid,
    /// The tenant that the course belongs to.
    pub tenant_id: Uuid,
    /// The course.
    pub course_id: Uuid,
    /// The version of the course that this cycle is about.
    pub version_id: Uuid,
    /// The learner.
    pub user_id: Uuid,
    /// The learner's org unit at the time.
    pub unit_id: Option<Uuid>,
    /// 1 for the first time, higher for each renewal.
    #[schema(minimum = 1)]
    pub cycle: i32,
    /// Such as `enrolled`, `in_progress`, `paused`, `completed`, `dropped` or `expired`.
    pub status: String,
    /// How the enrollment came about.
    pub source: String,
    /// Who enrolled the learner; absent for the system.
    pub enrolled_by: Option<Uuid>,
    /// By when the course is to be completed.
    pub due_at: Option<DateTime<Utc>>,
    /// When access ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the learner was enrolled.
    pub enrolled_at: DateTime<Utc>,
    /// When the learner first worked on the course.
    pub started_at: Option<DateTime<Utc>>,
    /// When the course was completed.
    pub completed_at: Option<DateTime<Utc>>,
    /// When the enrollment was dropped.
    pub dropped_at: Option<DateTime<Utc>>,
    /// When the enrollment was paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// When the enrollment expired.
    pub expired_at: Option<DateTime<Utc>>,
    /// How many items count towards completion.
    #[schema(minimum = 0)]
    pub items_total: i32,
    /// How many of them are done.
    #[schema(minimum = 0)]
    pub items_done: i32,
    /// Done in relation to total, with two decimals.
    #[schema(minimum = 0, maximum = 100)]
    pub progress_percentage: f64,
    /// Time spent on the course, in seconds.
    #[schema(minimum = 0)]
    pub time_spent_seconds: i64,
    /// The lesson last worked on.
    pub current_lesson_id: Option<Uuid>,
    /// When the learner last worked on the course.
    pub last_accessed_at: Option<DateTime<Utc>>,
    /// The final grade, once there is one.
    pub final_grade: Option<f64>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

/// Whether somebody may enrol.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Eligibility {
    /// True when nothing stands in the way.
    pub eligible: bool,
    /// Everything that stands in the way; empty when eligible.
    pub reasons: Vec<Reason>,
}

/// One thing that stands in the way.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// A stable code to branch on.
    #[schema(example = "already_enrolled")]
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Particulars of the code, such as the courses that are missing.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub details: Value,
}

/// The problem `not_eligible`.
#[derive(Serialize, ToSchema)]
pub struct NotEligible {
    /// What every problem has.
    #[serde(flatten)]
    pub problem: Problem,
    /// Everything that stands in the way.
    pub reasons: Vec<Reason>,
}
