//! Reading named values from a body or a query: into types, all faults at once,
//! nothing ignored. Pure.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, FixedOffset};
use http::{HeaderMap, HeaderName};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, FieldFault};

/// Faults beyond these are not listed: a body of thousands of unknown fields should
/// not get an answer of that size.
const MOST_FAULTS: usize = 50;
/// How much of an unknown field's name is repeated in the answer, in characters.
const LONGEST_NAME: usize = 64;

/// The named values of one request, taken out one by one; [`Fields::finish`] then
/// refuses the request if any was wrong or any is left over.
#[derive(Debug)]
pub struct Fields {
    values: Vec<(String, Value)>,
    faults: Vec<FieldFault>,
}

/// A type that a field can be read into.
pub trait FieldValue: Sized {
    /// Completes the sentence "the field ...".
    const EXPECTATION: &'static str;

    /// The value, if it has the right form.
    fn read(value: &Value) -> Option<Self>;
}

impl FieldValue for Uuid {
    const EXPECTATION: &'static str = "must be a UUID such as 6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";

    fn read(value: &Value) -> Option<Self> {
        // The other spellings that the parser knows (braces, URN, no hyphens) are
        // not ones that the database's own API takes.
        value
            .as_str()
            .filter(|text| text.len() == 36)
            .and_then(|text| Self::try_parse(text).ok())
    }
}

impl FieldValue for bool {
    const EXPECTATION: &'static str = "must be true or false";

    fn read(value: &Value) -> Option<Self> {
        // A query holds texts only.
        match value {
            Value::Bool(value) => Some(*value),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl FieldValue for DateTime<FixedOffset> {
    const EXPECTATION: &'static str =
        "must be a time with its offset, such as 2031-05-01T08:00:00Z (RFC 3339)";

    fn read(value: &Value) -> Option<Self> {
        value
            .as_str()
            .and_then(|text| Self::parse_from_rfc3339(text).ok())
    }
}

impl Fields {
    /// The members of a JSON object.
    ///
    /// # Errors
    /// 400 `malformed_body` when `body` is not one JSON object in UTF-8, or is nested
    /// too deeply.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let Members(values) = serde_json::from_slice(body).map_err(|error| {
            let reason = match error.classify() {
                serde_json::error::Category::Eof if body.is_empty() => "it is empty".to_owned(),
                // The parser's words for wrong types repeat the value.
                serde_json::error::Category::Data => "it is of another type".to_owned(),
                _ => error.to_string(),
            };
            Error::MalformedBody { reason }
        })?;
        Ok(Self::new(values))
    }

    /// The parameters of a query string.
    pub fn from_query(query: &str) -> Self {
        Self::new(
            url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect(),
        )
    }

    fn new(values: Vec<(String, Value)>) -> Self {
        let mut fields = Self {
            values: Vec::with_capacity(values.len().min(MOST_FAULTS)),
            faults: Vec::new(),
        };
        let mut seen = std::collections::HashSet::new();
        for (name, value) in values {
            if seen.insert(name.clone()) {
                fields.values.push((name, value));
            } else {
                fields.fault(&name, "repeated", "may be given only once");
            }
        }
        fields
    }

    /// Takes a field that must be there; `None` once a fault is noted.
    pub fn required<T: FieldValue>(&mut self, name: &'static str) -> Option<T> {
        match self.take(name) {
            Some(value) => self.read(name, &value),
            None => {
                self.fault(name, "missing", "is required");
                None
            }
        }
    }

    /// Whether the field was given, be it as null.
    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(given, _)| given == name)
    }

    /// Takes a field that may be left out; null counts as left out.
    pub fn optional<T: FieldValue>(&mut self, name: &'static str) -> Option<T> {
        let value = self.take(name)?;
        self.read(name, &value)
    }

    /// Takes a header that may be left out, checked along with the fields.
    pub fn optional_header(
        &mut self,
        headers: &HeaderMap,
        name: &'static str,
        expectation: &'static str,
        accepts: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let mut values = headers.get_all(HeaderName::from_static(name)).iter();
        let value = values.next()?;
        if values.next().is_some() {
            self.fault(name, "repeated", "may be given only once");
            return None;
        }
        match value.to_str() {
            Ok(text) if accepts(text) => Some(text.to_owned()),
            _ => {
                self.fault(name, "invalid", expectation);
                None
            }
        }
    }

    /// Hands over the required values when everything was right.
    ///
    /// # Errors
    /// 422 `validation_failed` with all faults, unknown fields among them.
    pub fn finish<T>(mut self, required: Option<T>) -> Result<T, Error> {
        for (name, _) in std::mem::take(&mut self.values) {
            self.fault(&name, "unknown", "is not known here");
        }
        match required {
            Some(values) if self.faults.is_empty() => Ok(values),
            _ => Err(Error::Validation(self.faults)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.values.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.values.swap_remove(index);
        (!value.is_null()).then_some(value)
    }

    fn read<T: FieldValue>(&mut self, name: &'static str, value: &Value) -> Option<T> {
        let read = T::read(value);
        if read.is_none() {
            self.fault(name, "invalid", T::EXPECTATION);
        }
        read
    }

    fn fault(&mut self, name: &str, code: &'static str, message: &'static str) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(FieldFault {
                field: name.chars().take(LONGEST_NAME).collect(),
                code,
                message: Cow::Borrowed(message),
            });
        }
    }
}

/// An object's members in order, repeated ones included: the parser's own map would
/// silently keep the last.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";

    fn faults(mut fields: Fields) -> Vec<(String, &'static str)> {
        let course: Option<Uuid> = fields.required("course_id");
        let _: Option<DateTime<FixedOffset>> = fields.optional("due_at");
        match fields.finish(course) {
            Ok(_) => Vec::new(),
            Err(Error::Validation(faults)) => faults
                .into_iter()
                .map(|fault| (fault.field, fault.code))
                .collect(),
            Err(other) => panic!("{other}"),
        }
    }

    fn in_json(body: &str) -> Vec<(String, &'static str)> {
        faults(Fields::from_json(body.as_bytes()).unwrap())
    }

    #[test]
    fn good_values_are_read() {
        assert!(in_json(&format!(r#"{{"course_id":"{ID}"}}"#)).is_empty());
        assert!(in_json(&format!(r#"{{"course_id":"{ID}","due_at":null}}"#)).is_empty());
        assert!(
            in_json(&format!(
                r#"{{"due_at":"2031-05-01T08:00:00+02:00","course_id":"{ID}"}}"#
            ))
            .is_empty()
        );
        assert!(faults(Fields::from_query(&format!("course_id={ID}"))).is_empty());
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let found = in_json(r#"{"course_id":7,"due_at":"tomorrow","colour":"red","due_at":1}"#);
        assert_eq!(
            found,
            [
                ("due_at".to_owned(), "repeated"),
                ("course_id".to_owned(), "invalid"),
                ("due_at".to_owned(), "invalid"),
                ("colour".to_owned(), "unknown"),
            ]
        );
    }

    #[test]
    fn wrong_forms_are_refused() {
        for value in [
            "null",
            "\"\"",
            "[]",
            "{}",
            "true",
            "\"6f1c0b5e8f3d4f0a9a572f0d1c9b7e11\"",
            "\"{6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11}\"",
            "\"6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e1\\u0000\"",
        ] {
            assert_eq!(
                in_json(&format!(r#"{{"course_id":{value}}}"#)).len(),
                1,
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for body in [
            "",
            "null",
            "[]",
            "\"x\"",
            "{",
            "{}{}",
            "{\"a\":1,}",
            "\u{0}",
            &deep,
        ] {
            assert!(
                matches!(
                    Fields::from_json(body.as_bytes()),
                    Err(Error::MalformedBody { .. })
                ),
                "{body:.20}"
            );
        }
        assert!(Fields::from_json(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn the_answer_does_not_grow_with_the_faults() {
        let members: Vec<String> = (0..5_000).map(|n| format!("\"f{n}\":1")).collect();
        assert_eq!(
            in_json(&format!("{{{}}}", members.join(","))).len(),
            MOST_FAULTS
        );
        let long = format!("{{\"{}\":1}}", "x".repeat(9_000));
        assert_eq!(in_json(&long)[1].0.len(), LONGEST_NAME);
    }

    #[test]
    fn repeated_headers_are_refused() {
        let mut headers = HeaderMap::new();
        let mut fields = Fields::from_query("");
        assert_eq!(
            fields.optional_header(&headers, "x-key", "e", |_| true),
            None
        );
        headers.append("x-key", "a".parse().unwrap());
        assert_eq!(
            fields
                .optional_header(&headers, "x-key", "e", |_| true)
                .as_deref(),
            Some("a")
        );
        headers.append("x-key", "b".parse().unwrap());
        assert_eq!(
            fields.optional_header(&headers, "x-key", "e", |_| true),
            None
        );
        assert!(fields.finish(Some(())).is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(fields) = Fields::from_json(&body) {
                let _ = faults(fields);
            }
        }

        #[test]
        fn any_query_is_read_without_a_panic(query in ".{0,200}") {
            let _ = faults(Fields::from_query(&query));
        }
    }
}
