//! Days, times and states in the languages that come with the product. Pure.

use chrono::{Datelike as _, NaiveDate, NaiveDateTime};

const ENGLISH: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const GERMAN: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];
const SPANISH: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

/// A day (`2031-05-01`), or a time of the clock on the wall (`2031-05-01 14:30`), as people write it; anything else, and all
/// in other languages, as it is.
pub(crate) fn date(value: &str, language: &str) -> String {
    if let Ok(time) = NaiveDateTime::parse_from_str(value, "%Y-%m-%d %H:%M") {
        return format!(
            "{}, {}",
            date(&time.date().to_string(), language),
            time.format("%H:%M")
        );
    }
    let Ok(day) = NaiveDate::parse_from_str(value, "%Y-%m-%d") else {
        return value.to_owned();
    };
    let named = |months: [&'static str; 12]| months[day.month0() as usize];
    match primary(language) {
        "en" => format!("{} {} {}", day.day(), named(ENGLISH), day.year()),
        "de" => format!("{}. {} {}", day.day(), named(GERMAN), day.year()),
        "es" => format!("{} de {} de {}", day.day(), named(SPANISH), day.year()),
        _ => value.to_owned(),
    }
}

/// A state, as people say it.
pub(crate) fn state(value: &str, language: &str) -> String {
    let word = match (primary(language), value) {
        ("en", "enrolled") => "you are enrolled",
        ("en", "waiting") => "you are let in as soon as there is a seat",
        ("en", "declined") => "declined",
        ("de", "enrolled") => "Sie sind eingeschrieben",
        ("de", "waiting") => "zugelassen, sobald ein Platz frei ist",
        ("de", "declined" | "rejected") => "abgelehnt",
        ("de", "accepted") => "angenommen",
        ("de", "cancelled") => "abgesagt",
        ("de", "scheduled") => "geplant",
        ("de", "moved" | "changed") => "geändert",
        ("es", "enrolled") => "está inscrito",
        ("es", "waiting") => "admitido en cuanto haya una plaza",
        ("es", "declined" | "rejected") => "rechazada",
        ("es", "accepted") => "aceptada",
        ("es", "cancelled") => "cancelada",
        ("es", "scheduled") => "programada",
        ("es", "moved" | "changed") => "modificada",
        _ => value,
    };
    word.to_owned()
}

fn primary(language: &str) -> &str {
    language.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_in_the_language() {
        for (language, day) in [
            ("en", "1 May 2031"),
            ("de-AT", "1. Mai 2031"),
            ("es", "1 de mayo de 2031"),
            ("ja", "2031-05-01"),
        ] {
            assert_eq!(date("2031-05-01", language), day);
        }
        assert_eq!(date("2031-05-01 09:30", "en"), "1 May 2031, 09:30");
        assert_eq!(date("next week", "en"), "next week");
        assert_eq!(state("declined", "de"), "abgelehnt");
        assert_eq!(state("something", "de"), "something");
    }
}
