//! Rows of a JSON body. Pure.

use std::{borrow::Cow, fmt};

use lyceum_core::{
    Error,
    http::{FieldValue, Fields},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

/// All that is not rows is a few short values.
const LONGEST_OPTIONS: usize = 4 * 1024;

/// The body's members with the rows apart, which are kept as they came: as values, five megabytes of brackets would take a
/// hundred.
pub(super) struct List<'a> {
    /// `rows` stands in them for whether it is a list.
    pub options: Fields,
    pub rows: Vec<&'a RawValue>,
}

/// Stands for the rows among the other fields.
pub(super) struct IsList;

impl FieldValue for IsList {
    const EXPECTATION: &'static str = "must be a list of rows";

    fn read(value: &Value) -> Option<Self> {
        (*value == Value::Bool(true)).then_some(Self)
    }
}

impl<'a> List<'a> {
    /// Splits the body; of more than `most` rows one more than that is kept.
    pub fn read(body: &'a [u8], most: usize) -> Result<Self, Error> {
        let malformed = |error: serde_json::Error| Error::MalformedBody {
            reason: match error.classify() {
                serde_json::error::Category::Eof if body.is_empty() => "it is empty".to_owned(),
                // The parser's words for wrong types repeat the value.
                serde_json::error::Category::Data => "it is of another type".to_owned(),
                _ => error.to_string(),
            },
        };
        let Members(members) = serde_json::from_slice(body).map_err(malformed)?;
        let mut rows = Vec::new();
        let mut rest = String::from("{");
        for (name, value) in members {
            let is_rows = name == "rows";
            let is_list = is_rows && value.get().starts_with('[');
            if is_list {
                rows = Bounded::read(value, most).map_err(malformed)?;
            }
            if rest.len() > 1 {
                rest.push(',');
            }
            rest.push_str(&serde_json::to_string(&name).map_err(Error::internal)?);
            rest.push(':');
            rest.push_str(match (is_rows, is_list) {
                (true, true) => "true",
                (true, false) if value.get() != "null" => "false",
                _ => value.get(),
            });
            if rest.len() > LONGEST_OPTIONS {
                return Err(Error::MalformedBody {
                    reason: "members other than `rows` are too long".to_owned(),
                });
            }
        }
        rest.push('}');
        Ok(Self {
            options: Fields::from_json(rest.as_bytes())?,
            rows,
        })
    }
}

/// The row as the database takes it, with its number, or why not.
pub(super) fn numbered(
    row: &RawValue,
    number: usize,
) -> Result<String, (&'static str, &'static str)> {
    // Numbers that no type holds, halves of letters, and nesting that no parser follows.
    let no_text = ("invalid_text", "The row holds what cannot be stored.");
    match serde_json::from_str::<Value>(row.get()).map_err(|_| no_text)? {
        Value::Object(mut members) => {
            if has_nul(&members) {
                return Err(no_text);
            } else if members.insert("row".to_owned(), number.into()).is_some() {
                return Err(("unknown_column", "There is no such column: row."));
            }
            Ok(Value::Object(members).to_string())
        }
        _ => Err(("not_an_object", "A row is an object of texts.")),
    }
}

/// Deeper down nothing is text, and is refused for that.
fn has_nul(members: &Map<String, Value>) -> bool {
    members
        .iter()
        .any(|(name, value)| name.contains('\0') || value.to_string().contains("\\u0000"))
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name.into(), value));
                    if members.len() > 100 {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A list of which no more than one element beyond `most` is kept.
struct Bounded(usize);

impl Bounded {
    fn read(value: &RawValue, most: usize) -> Result<Vec<&RawValue>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        serde::de::DeserializeSeed::deserialize(Self(most), &mut deserializer)
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Bounded {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element::<&RawValue>()? {
            if rows.len() <= self.0 {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_off_and_bounded() {
        let list = List::read(br#"{"rows": [1, {"a": [2]}, "x"], "dry_run": true}"#, 2).unwrap();
        assert_eq!(list.rows.len(), 3);
        assert!(list.options.has("rows") && list.options.has("dry_run"));
        let many = format!(r#"{{"rows": [{}0]}}"#, "[],".repeat(1_000_000));
        assert_eq!(List::read(many.as_bytes(), 2).unwrap().rows.len(), 3);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = format!(
            r#"{{"rows": {}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let long = format!(r#"{{"x": "{}"}}"#, "x".repeat(5000));
        let many = format!(
            "{{{}}}",
            (0..200)
                .map(|n| format!("\"{n}\":1"))
                .collect::<Vec<_>>()
                .join(",")
        );
        for body in [
            "",
            "[]",
            "null",
            "7",
            "{",
            r#"{"rows": [}"#,
            "{} {}",
            &long,
            &many,
        ] {
            assert!(
                matches!(
                    List::read(body.as_bytes(), 2),
                    Err(Error::MalformedBody { .. })
                ),
                "{}",
                &body[..body.len().min(40)]
            );
        }
        // Split off, and refused as a row.
        assert_eq!(List::read(deep.as_bytes(), 2).unwrap().rows.len(), 1);
    }

    #[test]
    fn a_row_gets_its_number_or_a_reason() {
        let told = |row: &str| match numbered(&RawValue::from_string(row.to_owned()).unwrap(), 7) {
            Ok(text) => text,
            Err((code, _)) => code.to_owned(),
        };
        assert_eq!(told(r#"{"email": "a"}"#), r#"{"email":"a","row":7}"#);
        assert_eq!(told(r#"{"email": [1]}"#), r#"{"email":[1],"row":7}"#);
        assert_eq!(told(r#"{"row": 1}"#), "unknown_column");
        for row in [
            r#"{"email": "\u0000"}"#,
            r#"{"email": "\ud800"}"#,
            r#"{"\u0000": "a"}"#,
            r#"{"email": {"a": "\u0000"}}"#,
            r#"{"email": 1e999}"#,
            &format!(r#"{{"email": {}{}}}"#, "[".repeat(500), "]".repeat(500)),
        ] {
            assert_eq!(told(row), "invalid_text", "{row}");
        }
        for row in ["7", "null", "[]", "\"x\""] {
            assert_eq!(told(row), "not_an_object");
        }
    }
}
