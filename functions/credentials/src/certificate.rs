//! What the database says of a certificate.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It does.
    Valid,
    /// It did, up to a day.
    Expired,
    /// It was withdrawn.
    Revoked,
}

/// The answer of `lms.verify_certificate`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Certificate {
    pub status: Status,
    pub code: String,
    pub serial: String,
    pub holder_name: String,
    pub course_title: String,
    pub issuer_name: String,
    pub issuer_id: Uuid,
    pub issued_at: DateTime<Utc>,
    pub valid_from: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub valid_from_day: NaiveDate,
    pub expires_on_day: Option<NaiveDate>,
    pub revoked_on_day: Option<NaiveDate>,
    pub achievement_id: Uuid,
    pub language: String,
}

/// A day as people in most places read it without mistaking the month.
pub(crate) fn day(day: NaiveDate) -> String {
    day.format("%-d %B %Y").to_string()
}

#[cfg(test)]
pub(crate) fn example() -> Certificate {
    serde_json::from_value(serde_json::json!({
        "status": "valid", "code": "0123456789ABCDEFGHJKMNPQRS", "serial": "WORKS-2026-12345678",
        "holder_name": "Dora <b>&\"'", "course_title": "Safety", "issuer_name": "Works",
        "issuer_id": "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11", "issued_at": "2026-03-01T10:00:00.123456+00:00",
        "valid_from": "2026-03-01T09:59:59+00:00", "expires_at": "2029-03-01T09:59:59+00:00", "revoked_at": null,
        "valid_from_day": "2026-03-01", "expires_on_day": "2029-03-01", "revoked_on_day": null,
        "achievement_id": "0d9f5a52-1111-4222-8333-944455556666", "language": "en"
    }))
    .unwrap_or_else(|error| panic!("{error}"))
}
