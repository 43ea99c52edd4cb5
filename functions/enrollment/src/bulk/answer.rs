//! What became of the rows, put together from many answers. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use uuid::Uuid;

/// A function answers at most 6 MB: beyond this, particulars are left out.
const LONGEST_FULL: usize = 4 * 1024 * 1024;

/// A row of `lms.bulk_row_result`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome<'a> {
    row: u64,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    course_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment_id: Option<Uuid>,
}

impl<'a> Outcome<'a> {
    /// A row that never went to the database.
    pub fn refused(row: u64, code: &'a str, message: &str) -> Self {
        Self {
            row,
            outcome: "refused",
            code: Some(code),
            message: Some(message.to_owned()),
            details: None,
            user_id: None,
            course_id: None,
            enrollment_id: None,
        }
    }
}

/// The answer as it grows.
#[derive(Default)]
pub(super) struct Answer {
    rows: String,
    count: u64,
    outcomes: BTreeMap<String, u64>,
    codes: BTreeMap<String, u64>,
    shortened: u64,
    first: HashMap<(Uuid, Uuid), u64>,
}

impl Answer {
    /// Adds what became of one row.
    pub fn push(&mut self, outcome: Outcome<'_>) -> Result<(), serde_json::Error> {
        // The database sees the duplicates of one call; this sees those of all calls. What it answers for an earlier row of
        // the same list would read as if somebody else had enrolled the person.
        if let (Some(user_id), Some(course_id)) = (outcome.user_id, outcome.course_id)
            && outcome.code != Some("duplicate_row")
        {
            let first = *self
                .first
                .entry((user_id, course_id))
                .or_insert(outcome.row);
            if first != outcome.row {
                let details = RawValue::from_string(json!({ "row": first }).to_string())?;
                return self.write(&Outcome {
                    details: Some(&details),
                    user_id: Some(user_id),
                    course_id: Some(course_id),
                    ..Outcome::refused(
                        outcome.row,
                        "duplicate_row",
                        "An earlier row says the same.",
                    )
                });
            }
        }
        self.write(&outcome)
    }

    fn write(&mut self, outcome: &Outcome<'_>) -> Result<(), serde_json::Error> {
        self.count += 1;
        *self.outcomes.entry(outcome.outcome.to_owned()).or_default() += 1;
        if outcome.outcome == "refused"
            && let Some(code) = outcome.code
        {
            *self.codes.entry(code.to_owned()).or_default() += 1;
        }
        if !self.rows.is_empty() {
            self.rows.push(',');
        }
        // An invitation's token is told this once.
        let is_long = self.rows.len() > LONGEST_FULL
            && outcome.outcome != "invited"
            && (outcome.details.is_some() || outcome.message.is_some());
        if is_long {
            self.shortened += 1;
            self.rows.push_str(&serde_json::to_string(&Outcome {
                message: None,
                details: None,
                row: outcome.row,
                outcome: outcome.outcome,
                code: outcome.code,
                user_id: outcome.user_id,
                course_id: outcome.course_id,
                enrollment_id: outcome.enrollment_id,
            })?);
        } else {
            self.rows.push_str(&serde_json::to_string(outcome)?);
        }
        Ok(())
    }

    /// The body.
    pub fn finish(self) -> String {
        let count = |outcome: &str| self.outcomes.get(outcome).copied().unwrap_or(0);
        let summary = json!({
            "rows": self.count,
            "enrolled": count("enrolled"),
            "already_enrolled": count("already_enrolled"),
            "invited": count("invited"),
            "would_enroll": count("would_enroll"),
            "would_invite": count("would_invite"),
            "refused": count("refused"),
            "refused_by_code": self.codes,
            "shortened": self.shortened,
        });
        format!(r#"{{"summary":{summary},"rows":[{}]}}"#, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn outcome(row: u64, text: &str) -> Outcome<'_> {
        Outcome {
            row,
            ..serde_json::from_str(text).unwrap()
        }
    }

    #[test]
    fn outcomes_are_counted_and_duplicates_of_other_calls_found() {
        let of = |user: u8| {
            let id = Uuid::from_bytes([user; 16]);
            format!(
                r#"{{"row":0,"outcome":"already_enrolled","code":"already_enrolled","message":null,"details":null,"user_id":"{id}","course_id":"{id}","enrollment_id":"{id}"}}"#
            )
        };
        let (one, two) = (of(1), of(2));
        let mut answer = Answer::default();
        for (row, text) in [(1, &one), (2, &two), (3, &one)] {
            answer.push(outcome(row, text)).unwrap();
        }
        answer
            .push(Outcome::refused(4, "invalid_text", "No."))
            .unwrap();
        let body: Value = serde_json::from_str(&answer.finish()).unwrap();
        assert_eq!(body["summary"]["rows"], 4);
        assert_eq!(body["summary"]["already_enrolled"], 2);
        assert_eq!(
            body["summary"]["refused_by_code"],
            json!({"duplicate_row": 1, "invalid_text": 1})
        );
        assert_eq!(body["rows"][2]["details"], json!({"row": 1}));
        assert!(body["rows"][2].get("enrollment_id").is_none());
        assert!(body["rows"][0].get("message").is_none());
    }

    #[test]
    fn a_long_answer_leaves_particulars_out_and_says_so() {
        let details = format!(r#""{}""#, "x".repeat(1000));
        let text = format!(
            r#"{{"row":0,"outcome":"refused","code":"not_eligible","message":"m","details":{details},"user_id":null,"course_id":null,"enrollment_id":null}}"#
        );
        let mut answer = Answer::default();
        for row in 1..=10_000 {
            answer.push(outcome(row, &text)).unwrap();
        }
        let body = answer.finish();
        assert!(body.len() < 5_500_000, "{}", body.len());
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["rows"].as_array().unwrap().len(), 10_000);
        assert!(body["summary"]["shortened"].as_u64().unwrap() > 1000);
        assert_eq!(body["rows"][9999]["code"], "not_eligible");
    }
}
