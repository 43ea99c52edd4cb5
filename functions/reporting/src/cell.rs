//! Values as people read them. Pure.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::{
    catalogue::{Column, Kind},
    locale::Locale,
    words::{self, told},
};

/// For whom values are written, and what their ids are called.
#[derive(Debug, Clone)]
pub struct Look {
    /// The reader's language.
    pub locale: Locale,
    /// The clock on the organisation's wall.
    pub zone: Tz,
    /// Titles of courses by their ids, as far as the caller sees them.
    pub courses: HashMap<String, String>,
}

impl Look {
    /// The value as people read it; nothing for null.
    pub fn text(&self, value: &Value, column: &Column) -> String {
        let locale = self.locale;
        let told_otherwise = || match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = match column.kind {
            Kind::Course => value
                .as_str()
                .map(|id| self.courses.get(id).cloned().unwrap_or_default()),
            Kind::Word => value.as_str().map(|word| told(word, locale)),
            Kind::Count => value.as_i64().map(|number| locale.count(number)),
            Kind::Number => value.as_f64().map(|number| locale.number(number, 2)),
            Kind::Percent => value.as_f64().map(|number| locale.percent(number)),
            Kind::Day => day(value).map(|day| locale.day(day)),
            Kind::Moment => moment(value).map(|at| locale.moment(at, self.zone)),
            Kind::Seconds => value.as_i64().map(|seconds| locale.duration(seconds)),
            Kind::Flag => value.as_bool().map(|flag| {
                words::of(if flag { words::YES } else { words::NO }, locale).to_owned()
            }),
            Kind::List => value.as_array().map(|list| {
                list.iter()
                    .filter_map(Value::as_str)
                    .map(|word| told(word, locale))
                    .collect::<Vec<_>>()
                    .join(", ")
            }),
            Kind::Id | Kind::Text | Kind::Data => None,
        };
        text.unwrap_or_else(told_otherwise)
    }
}

/// The day that a value is.
pub fn day(value: &Value) -> Option<NaiveDate> {
    value.as_str()?.parse().ok()
}

/// The point in time that a value is.
pub fn moment(value: &Value) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(at.with_timezone(&Utc))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub fn look(locale: Locale) -> Look {
        Look {
            locale,
            zone: Tz::Europe__Berlin,
            courses: HashMap::from([("c-1".to_owned(), "Forklifts".to_owned())]),
        }
    }

    #[test]
    fn values_are_told() {
        let told = |kind, value: Value| {
            let column = Column {
                name: "x",
                kind,
                heading: words::COURSE,
            };
            look(Locale::De).text(&value, &column)
        };
        assert_eq!(told(Kind::Percent, json!(66.67)), "66,7\u{a0}%");
        assert_eq!(told(Kind::Percent, Value::Null), "");
        assert_eq!(told(Kind::Course, json!("c-1")), "Forklifts");
        assert_eq!(told(Kind::Course, json!("hidden")), "");
        assert_eq!(told(Kind::Day, json!("2026-03-04")), "04.03.2026");
        assert_eq!(
            told(Kind::Moment, json!("2026-03-04T23:30:00.123456+00:00")),
            "05.03.2026,\u{a0}00:30"
        );
        assert_eq!(told(Kind::Flag, json!(true)), "ja");
        assert_eq!(told(Kind::List, json!(["trainer_name"])), "trainer name");
        // What is no value of its kind is shown as it came.
        assert_eq!(told(Kind::Count, json!("many")), "many");
    }
}
