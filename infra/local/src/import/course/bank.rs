//! The portable form of a course's assessments, as `lms.import_assessments` takes it and `lms.export_assessments` gives it.

use serde::Serialize;
use serde_json::{Value, json};

use super::document::{Decimal, Object};

/// What `format` says.
const FORMAT: &str = "lyceum-assessments-1";

/// Assessments of one course.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bank {
    format: &'static str,
    pub assessments: Vec<Assessment>,
}

impl Bank {
    pub const fn new() -> Self {
        Self {
            format: FORMAT,
            assessments: Vec::new(),
        }
    }
}

/// An assessment; what is not said has its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Assessment {
    pub key: String,
    /// Key of its lesson; none: of the course as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lesson: Option<String>,
    pub kind: &'static str,
    pub title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_shown: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_minutes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    pub shuffle_questions: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub shuffle_options: bool,
    /// Where its questions are from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    pub questions: Vec<Question>,
}

/// A part of an assessment, or a pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Section {
    pub key: String,
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draw_count: Option<usize>,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Question {
    pub question_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub prompt: String,
    #[serde(skip_serializing_if = "Object::is_empty")]
    pub content: Object,
    #[serde(skip_serializing_if = "is_one")]
    pub points: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scoring: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub explanation: String,
}

impl Question {
    /// A question that is worth one point.
    pub fn new(
        key: impl Into<String>,
        kind: &'static str,
        prompt: String,
        content: Value,
        answer: Option<Value>,
    ) -> Self {
        let content = match content {
            Value::Object(map) => Object(map),
            _ => Object::default(),
        };
        Self {
            question_key: key.into(),
            section: None,
            kind,
            prompt,
            content,
            points: Decimal(1.0),
            scoring: None,
            skills: Vec::new(),
            answer,
            explanation: String::new(),
        }
    }
}

/// Choices with ids: `[{id, text}]`.
pub(super) fn entries<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    entries
        .into_iter()
        .map(|(id, text)| json!({ "id": id, "text": text }))
        .collect()
}

/// What short answers count as right.
pub(super) fn accepted<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    let texts: Vec<_> = texts
        .into_iter()
        .map(|text| json!({ "text": text }))
        .collect();
    json!({ "accepted": texts })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
fn is_one(points: &Decimal) -> bool {
    points.0 == 1.0
}
