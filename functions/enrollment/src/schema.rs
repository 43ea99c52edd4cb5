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

/// What `POST /enrollment/bulk` takes as JSON. Other members are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// The organisation that people and courses belong to.
    pub tenant_id: Uuid,
    /// At most 10,000.
    #[schema(max_items = 10_000)]
    pub rows: Vec<BulkRow>,
    /// Tell what would become of the rows, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Invite addresses that are unknown; the enrollment follows when they join.
    #[serde(default)]
    pub invite: bool,
}

/// One person and one course. Whatever names the person has to fit the same one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRow {
    /// The person.
    pub user_id: Option<Uuid>,
    /// The address under which they sign in.
    pub email: Option<String>,
    /// Their number in the organisation.
    pub employee_number: Option<String>,
    /// The course.
    pub course_id: Option<Uuid>,
    /// The course, by its name in addresses.
    pub course_slug: Option<String>,
    /// The home unit of somebody who is invited.
    pub unit_code: Option<String>,
    /// By when the course is to be completed: a time with its offset, or a day, of which the end is meant.
    #[schema(example = "2031-05-01")]
    pub due_at: Option<String>,
    /// When access ends.
    pub expires_at: Option<String>,
}

/// What became of a list.
#[derive(Serialize, ToSchema)]
pub struct BulkAnswer {
    /// How many of what.
    pub summary: BulkSummary,
    /// One per row, in order.
    pub rows: Vec<BulkOutcome>,
}

/// How many rows had which outcome.
#[derive(Serialize, ToSchema)]
pub struct BulkSummary {
    /// All of them.
    pub rows: u64,
    /// Enrolled by this request, or by an earlier one under the same key.
    pub enrolled: u64,
    /// Enrolled before.
    pub already_enrolled: u64,
    /// Invited.
    pub invited: u64,
    /// Would be enrolled, of a dry run.
    pub would_enroll: u64,
    /// Would be invited, of a dry run.
    pub would_invite: u64,
    /// Refused.
    pub refused: u64,
    /// Refused, by `code`.
    pub refused_by_code: std::collections::BTreeMap<String, u64>,
    /// Rows whose message and details were left out, so that the answer is not too long.
    pub shortened: u64,
}

/// What became of one row.
#[derive(Serialize, ToSchema)]
pub struct BulkOutcome {
    /// The row's place from 1; of a CSV file the line on which it begins.
    pub row: u64,
    /// `enrolled`, `already_enrolled`, `invited`, `refused`; of a dry run `would_enroll`, `would_invite`.
    #[schema(example = "refused")]
    pub outcome: String,
    /// Why: a stable code to branch on.
    #[schema(example = "person_not_found")]
    pub code: Option<String>,
    /// A sentence for people.
    pub message: Option<String>,
    /// Particulars: all reasons of `not_eligible`, the row that a `duplicate_row` repeats, the invitation with its token.
    #[schema(value_type = Option<Object>)]
    pub details: Option<Value>,
    /// The person.
    pub user_id: Option<Uuid>,
    /// The course.
    pub course_id: Option<Uuid>,
    /// The enrollment.
    pub enrollment_id: Option<Uuid>,
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
