//! The shapes of answers, as the OpenAPI document shows them.

use chrono::{DateTime, NaiveDate, Utc};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a verifier is told of a certificate. Later versions may add members.
#[derive(ToSchema)]
pub struct Verification {
    /// `valid`, `expired` or `revoked`.
    pub status: String,
    /// The code, as it is written.
    pub code: String,
    /// The organisation's number.
    pub serial: String,
    /// Whose it is.
    pub holder_name: String,
    /// What was completed.
    pub course_title: String,
    /// The organisation that issued it.
    pub issuer_name: String,
    /// Stands for the organisation.
    pub issuer_id: Uuid,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When the course was completed.
    pub valid_from: DateTime<Utc>,
    /// When it ends; absent without end.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The day of `valid_from` where the organisation is.
    pub valid_from_day: NaiveDate,
    /// The day of `expires_at` there.
    pub expires_on_day: Option<NaiveDate>,
    /// The day of `revoked_at` there.
    pub revoked_on_day: Option<NaiveDate>,
    /// Stands for the course in its version.
    pub achievement_id: Uuid,
    /// The course's language.
    pub language: String,
}
