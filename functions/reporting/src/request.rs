//! What a request asks for.

use chrono::{Days, NaiveDate};
use http::HeaderMap;
use lyceum_core::{
    Error,
    error::FieldFault,
    http::{FieldValue, Fields},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use uuid::Uuid;

use crate::{
    catalogue::{Chart, Kind, Parameter, Report},
    cell::Look,
    format::Format,
    locale::{Locale, zone},
};

/// A report as somebody wants it.
#[derive(Debug)]
pub struct Asked {
    /// Which.
    pub report: &'static Report,
    /// In which form.
    pub format: Format,
    /// For whom it is written.
    pub look: Look,
    /// What the things that it is about are called.
    pub heading: Heading,
    /// What was asked for, under the names that clients use.
    pub parameters: Map<String, Value>,
    /// The arguments of the report's function.
    pub arguments: Map<String, Value>,
    /// Most rows.
    pub limit: Option<u64>,
}

/// What the query says, checked.
#[derive(Debug)]
pub struct Query {
    report: &'static Report,
    format: Format,
    locale: Option<Locale>,
    parameters: Map<String, Value>,
    last_days: Option<Whole>,
    limit: Option<Whole>,
}

/// `analytics.describe_report`: names as the caller sees them.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Heading {
    /// The organisation's name.
    pub organization: Option<String>,
    /// Its time zone.
    pub time_zone: Option<String>,
    /// Its language.
    pub locale: Option<String>,
    /// Today, there.
    pub today: Option<NaiveDate>,
    /// The person asked for.
    pub person: Option<String>,
    /// The unit asked for.
    pub unit: Option<String>,
    /// The course asked for.
    pub course: Option<String>,
    /// The cohort asked for.
    pub cohort: Option<String>,
    /// Titles of courses by their ids, where the report has ids alone.
    #[serde(default)]
    pub courses: Option<HashMap<String, String>>,
}

/// A day, in the one form that is the same everywhere.
struct Day(NaiveDate);

impl FieldValue for Day {
    const EXPECTATION: &'static str = "must be a day such as 2031-05-01";

    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str().filter(|text| text.len() == 10)?;
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Self(day))
    }
}

/// A whole number from 1 to a million.
#[derive(Debug, Clone, Copy)]
struct Whole(u32);

impl FieldValue for Whole {
    const EXPECTATION: &'static str = "must be a whole number from 1 to 1000000";

    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits)?;
        (1..=1_000_000).contains(&number).then_some(Self(number))
    }
}

/// A number of days back from today.
#[derive(Debug, Clone, Copy)]
struct DaysBack(Whole);

impl FieldValue for DaysBack {
    const EXPECTATION: &'static str = "must be a number of days from 1 to 3660";

    fn read(value: &Value) -> Option<Self> {
        let days = Whole::read(value)?;
        (days.0 <= 3660).then_some(Self(days))
    }
}

/// The states that training can be in.
const STATES: [&str; 6] = ["due", "overdue", "expiring", "expired", "done", "waived"];

struct States(Vec<String>);

impl FieldValue for States {
    const EXPECTATION: &'static str =
        "must list states, with commas, of: due, overdue, expiring, expired, done, waived";

    fn read(value: &Value) -> Option<Self> {
        value
            .as_str()?
            .split(',')
            .map(|state| STATES.contains(&state).then(|| state.to_owned()))
            .collect::<Option<_>>()
            .map(Self)
    }
}

struct Step(String);

impl FieldValue for Step {
    const EXPECTATION: &'static str = "must be day, week or month";

    fn read(value: &Value) -> Option<Self> {
        let step = value.as_str()?;
        ["day", "week", "month"]
            .contains(&step)
            .then(|| Self(step.to_owned()))
    }
}

impl Query {
    /// Reads and checks the query.
    ///
    /// # Errors
    /// 422 with all faults: what is missing, wrong, repeated, or not known to this report.
    pub fn read(
        report: &'static Report,
        mut fields: Fields,
        headers: &HeaderMap,
    ) -> Result<Self, Error> {
        let mut parameters = Map::new();
        let mut complete = true;
        for parameter in report.parameters {
            let value = read(*parameter, &mut fields);
            complete &= value.is_some() || !parameter.is_required();
            if let Some(value) = value {
                parameters.insert(parameter.name().to_owned(), value);
            }
        }
        let has_period = report.parameters.contains(&Parameter::Until);
        let last_days = has_period
            .then(|| fields.optional::<DaysBack>("last_days"))
            .flatten()
            .map(|days| days.0);
        let limit = report.page.and_then(|_| fields.optional::<Whole>("limit"));
        let locale = fields.optional("locale");
        let format = fields
            .optional("format")
            .unwrap_or_else(|| Format::accepted(headers));
        fields.finish(complete.then_some(()))?;

        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &'static str| {
            faults.push(FieldFault {
                field: field.to_owned(),
                code: "invalid",
                message: message.into(),
            });
        };
        let day = |name: &str| parameters.get(name).and_then(Value::as_str);
        if last_days.is_some() && (day("from").is_some() || day("until").is_some()) {
            fault("last_days", "stands in place of from and until");
        }
        if let (Some(from), Some(until)) = (day("from"), day("until"))
            && from > until
        {
            fault("until", "must not be before from");
        }
        if format == Format::Svg && report.chart == Chart::None {
            fault("format", "must be another one: this report has no chart");
        }
        if faults.is_empty() {
            Ok(Self {
                report,
                format,
                locale,
                parameters,
                last_days,
                limit,
            })
        } else {
            Err(Error::Validation(faults))
        }
    }

    /// The arguments of `analytics.describe_report`.
    pub fn heading_arguments(&self) -> Value {
        let id = |name: &str| self.parameters.get(name).cloned().unwrap_or(Value::Null);
        json!({
            "p_tenant_id": id("tenant_id"), "p_user_id": id("user_id"), "p_unit_id": id("unit_id"),
            "p_course_id": id("course_id"), "p_cohort_id": id("cohort_id"),
            "p_with_courses": self.report.columns.iter().any(|column| column.kind == Kind::Course),
        })
    }

    /// The report that is asked for, now that it is known where and for whom.
    pub fn with(mut self, heading: Heading, headers: &HeaderMap) -> Asked {
        let locale = self
            .locale
            .or_else(|| Locale::accepted(headers))
            .or_else(|| heading.locale.as_deref().and_then(Locale::of_tag))
            .unwrap_or(Locale::En);
        if let (Some(Whole(days)), Some(today)) = (self.last_days, heading.today) {
            // Today is one of them.
            let from = today - Days::new(u64::from(days) - 1);
            self.parameters.insert("from".to_owned(), json!(from));
            self.parameters.insert("until".to_owned(), json!(today));
        }
        let arguments = self
            .report
            .parameters
            .iter()
            .filter_map(|parameter| {
                let value = self.parameters.get(parameter.name())?;
                Some((parameter.argument().to_owned(), value.clone()))
            })
            .collect();
        Asked {
            report: self.report,
            format: self.format,
            look: Look {
                locale,
                zone: zone(heading.time_zone.as_deref().unwrap_or("UTC")),
                courses: heading.courses.clone().unwrap_or_default(),
            },
            heading,
            parameters: self.parameters,
            arguments,
            limit: self.limit.map(|limit| u64::from(limit.0)),
        }
    }
}

fn read(parameter: Parameter, fields: &mut Fields) -> Option<Value> {
    let name = parameter.name();
    match parameter {
        Parameter::From | Parameter::Until | Parameter::At => {
            fields.optional::<Day>(name).map(|day| json!(day.0))
        }
        Parameter::MinAttempts => fields.optional::<Whole>(name).map(|whole| json!(whole.0)),
        Parameter::States => fields
            .optional::<States>(name)
            .map(|states| json!(states.0)),
        Parameter::Step => fields.optional::<Step>(name).map(|step| json!(step.0)),
        _ if parameter.is_required() => fields.required::<Uuid>(name).map(|id| json!(id)),
        _ => fields.optional::<Uuid>(name).map(|id| json!(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";

    fn asked(report: &str, query: &str) -> Result<Query, Vec<(String, &'static str)>> {
        let report = Report::find(report).unwrap();
        Query::read(report, Fields::from_query(query), &HeaderMap::new()).map_err(|error| {
            let Error::Validation(faults) = error else {
                panic!("{error}");
            };
            faults
                .into_iter()
                .map(|fault| (fault.field, fault.code))
                .collect()
        })
    }

    fn faults(report: &str, query: &str) -> Vec<String> {
        let mut fields: Vec<_> = asked(report, query)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|fault| fault.0)
            .collect();
        fields.sort();
        fields
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let query = "unit_id=x&from=01.02.2026&states=done&limit=5&format=pdf&locale=fr&last_days=0&color=red&color=blue";
        assert_eq!(
            faults("completion-rate", query),
            [
                "color",
                "color",
                "format",
                "from",
                "last_days",
                "limit",
                "locale",
                "states",
                "tenant_id",
                "unit_id",
            ]
        );
        assert_eq!(
            faults("lesson-drop-off", &format!("tenant_id={ID}")),
            ["course_id"]
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let with = |rest: &str| faults("completion-rate", &format!("tenant_id={ID}&{rest}"));
        assert_eq!(with("from=2026-02-01&until=2026-01-31"), ["until"]);
        assert_eq!(with("last_days=7&from=2026-01-01"), ["last_days"]);
        assert!(with("from=2026-02-01&until=2026-02-01").is_empty());
        assert_eq!(
            faults("learner-timeline", &format!("tenant_id={ID}&format=svg")),
            ["format"]
        );
        assert_eq!(
            faults("due-training", &format!("tenant_id={ID}&states=due,,done")),
            ["states"]
        );
        assert_eq!(
            faults("engagement", &format!("tenant_id={ID}&step=year")),
            ["step"]
        );
        for day in [
            "2026-2-1",
            "2026-02-30",
            "+2026-02-0",
            "20260201",
            "infinity",
            "",
        ] {
            assert_eq!(with(&format!("from={day}")), ["from"], "{day}");
        }
    }

    #[test]
    fn days_back_are_counted_from_today_there() {
        let query = asked("completion-rate", &format!("tenant_id={ID}&last_days=7")).unwrap();
        let heading = Heading {
            today: NaiveDate::from_ymd_opt(2026, 3, 2),
            ..Heading::default()
        };
        let asked = query.with(heading, &HeaderMap::new());
        assert_eq!(asked.arguments["p_from"], "2026-02-24");
        assert_eq!(asked.arguments["p_until"], "2026-03-02");
    }

    #[test]
    fn the_language_is_the_one_asked_for_else_the_clients_else_the_organisations() {
        let of = |query: &str, accept: Option<&str>, there: Option<&str>| {
            let headers = accept
                .map(|accept| (http::header::ACCEPT_LANGUAGE, accept.parse().unwrap()))
                .into_iter()
                .collect();
            let heading = Heading {
                locale: there.map(str::to_owned),
                ..Heading::default()
            };
            let query = asked("completion-rate", &format!("tenant_id={ID}{query}")).unwrap();
            query.with(heading, &headers).look.locale
        };
        assert_eq!(of("&locale=de", Some("es"), Some("en")), Locale::De);
        assert_eq!(of("", Some("es"), Some("de")), Locale::Es);
        assert_eq!(of("", Some("fr"), Some("de-AT")), Locale::De);
        assert_eq!(of("", None, Some("fr")), Locale::En);
    }
}
