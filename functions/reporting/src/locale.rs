//! How numbers, days and times are written where the reader is. Pure.
//!
//! The forms are those of the Unicode CLDR for `en-GB`, `de` and `es`: grouping and decimal signs, medium dates.

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};
use chrono_tz::Tz;
use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use lyceum_core::http::FieldValue;
use serde_json::Value;

/// A language that reports are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locale {
    /// English.
    En,
    /// German.
    De,
    /// Spanish.
    Es,
}

/// A space that no line is broken at.
const NBSP: char = '\u{a0}';

const MONTHS: [[&str; 12]; 3] = [
    [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec",
    ],
    [
        "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12",
    ],
    [
        "ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic",
    ],
];

impl Locale {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::En, Self::De, Self::Es];

    /// The language's tag.
    pub fn tag(self) -> &'static str {
        ["en", "de", "es"][self as usize]
    }

    /// The language of a tag such as `de` or `de-AT`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let language = tag.split(['-', '_']).next()?;
        Self::ALL
            .into_iter()
            .find(|locale| language.eq_ignore_ascii_case(locale.tag()))
    }

    /// The language that `Accept-Language` likes best, of those that are known here.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for entry in headers
            .get_all(ACCEPT_LANGUAGE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let (tag, quality) = crate::format::weighed(entry);
            if let Some(locale) = Self::of_tag(tag)
                && quality > best.map_or(0.0, |best| best.0)
            {
                best = Some((quality, locale));
            }
        }
        best.map(|best| best.1)
    }

    fn decimal(self) -> char {
        if self == Self::En { '.' } else { ',' }
    }

    /// A whole number in groups of three. Spanish groups from five digits on.
    pub fn count(self, number: i64) -> String {
        let digits = number.unsigned_abs().to_string();
        let sign = if number < 0 { "\u{2212}" } else { "" };
        let grouping = if self == Self::En { ',' } else { '.' };
        if self == Self::Es && digits.len() < 5 {
            return format!("{sign}{digits}");
        }
        let mut text = String::from(sign);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(grouping);
            }
            text.push(digit);
        }
        text
    }

    /// A number with so many decimals.
    pub fn number(self, number: f64, decimals: usize) -> String {
        let text = format!("{:.decimals$}", number.abs());
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let sign = if number < 0.0 && !zero {
            "\u{2212}"
        } else {
            ""
        };
        let whole = whole.parse().map_or(whole.to_owned(), |n| self.count(n));
        if fraction.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}{}{fraction}", self.decimal())
        }
    }

    /// A percentage, given from 0 to 100.
    pub fn percent(self, number: f64) -> String {
        let text = self.number(number, 1);
        if self == Self::En {
            format!("{text}%")
        } else {
            format!("{text}{NBSP}%")
        }
    }

    /// A day.
    pub fn day(self, day: NaiveDate) -> String {
        let month = MONTHS[self as usize][day.month0() as usize];
        match self {
            Self::De => format!("{:02}.{month}.{}", day.day(), day.year()),
            _ => format!("{}{NBSP}{month}{NBSP}{}", day.day(), day.year()),
        }
    }

    /// A point in time, on the clock of the zone.
    pub fn moment(self, at: DateTime<Utc>, zone: Tz) -> String {
        let local = at.with_timezone(&zone).naive_local();
        format!(
            "{},{NBSP}{:02}:{:02}",
            self.day(local.date()),
            local.hour(),
            local.minute()
        )
    }

    /// Time spent.
    pub fn duration(self, seconds: i64) -> String {
        let minutes = (seconds.max(0) + 30) / 60;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        let hour = if self == Self::De { "Std." } else { "h" };
        let minute = if self == Self::De { "Min." } else { "min" };
        if hours == 0 {
            format!("{minutes}{NBSP}{minute}")
        } else {
            format!(
                "{}{NBSP}{hour} {minutes:02}{NBSP}{minute}",
                self.count(hours)
            )
        }
    }

    /// How spreadsheets write a day.
    pub fn sheet_day(self) -> &'static str {
        match self {
            Self::En => "d mmm yyyy",
            Self::De => "dd.mm.yyyy",
            Self::Es => "dd/mm/yyyy",
        }
    }
}

impl FieldValue for Locale {
    const EXPECTATION: &'static str = "must be en, de or es";

    fn read(value: &Value) -> Option<Self> {
        value.as_str().and_then(Self::of_tag)
    }
}

/// The zone of this name; UTC where there is none, which the database knows but this function does not.
pub fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(Locale::En.count(1_234_567), "1,234,567");
        assert_eq!(Locale::De.count(1_234_567), "1.234.567");
        assert_eq!(Locale::Es.count(1234), "1234");
        assert_eq!(Locale::Es.count(12_345), "12.345");
        assert_eq!(Locale::En.count(-1234), "\u{2212}1,234");
        assert_eq!(Locale::De.percent(66.67), "66,7\u{a0}%");
        assert_eq!(Locale::En.percent(100.0), "100.0%");
        assert_eq!(Locale::De.number(-0.456, 2), "\u{2212}0,46");
        assert_eq!(Locale::De.number(-0.001, 2), "0,00");
        assert_eq!(Locale::En.number(1234.5, 2), "1,234.50");
    }

    #[test]
    fn days_are_not_mistaken() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 4).unwrap();
        assert_eq!(Locale::En.day(day), "4\u{a0}Mar\u{a0}2026");
        assert_eq!(Locale::De.day(day), "04.03.2026");
        assert_eq!(Locale::Es.day(day), "4\u{a0}mar\u{a0}2026");
    }

    #[test]
    fn times_are_those_of_the_organisation() {
        let at = "2026-03-29T00:30:00Z".parse().unwrap();
        let told = |name| Locale::De.moment(at, zone(name));
        assert_eq!(told("Europe/Berlin"), "29.03.2026,\u{a0}01:30");
        assert_eq!(told("America/Chicago"), "28.03.2026,\u{a0}19:30");
        assert_eq!(told("Nowhere/At_All"), "29.03.2026,\u{a0}00:30");
        // An hour later, the clocks in Berlin have been put forward.
        let at = "2026-03-29T01:30:00Z".parse().unwrap();
        assert_eq!(
            Locale::De.moment(at, zone("Europe/Berlin")),
            "29.03.2026,\u{a0}03:30"
        );
    }

    #[test]
    fn time_spent_is_rounded_to_minutes() {
        assert_eq!(Locale::En.duration(0), "0\u{a0}min");
        assert_eq!(Locale::En.duration(3_929), "1\u{a0}h 05\u{a0}min");
        assert_eq!(Locale::De.duration(-5), "0\u{a0}Min.");
    }

    #[test]
    fn the_best_liked_language_is_chosen() {
        for (accept, locale) in [
            ("de", Some(Locale::De)),
            ("de-AT, en;q=0.9", Some(Locale::De)),
            ("fr, es;q=0.3, en;q=0.2", Some(Locale::Es)),
            ("fr", None),
            ("en;q=0", None),
            ("*", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, accept.parse().unwrap())]);
            assert_eq!(Locale::accepted(&headers), locale, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn grouping_changes_no_digit(number: i64) {
            for locale in Locale::ALL {
                let text = locale.count(number);
                let digits: String = text.chars().filter(char::is_ascii_digit).collect();
                prop_assert_eq!(digits, number.unsigned_abs().to_string());
            }
        }
    }
}
