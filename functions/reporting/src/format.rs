//! In which form a report is asked for. Pure.

use http::{
    HeaderMap,
    header::{ACCEPT, ACCEPT_ENCODING, IF_NONE_MATCH},
};
use lyceum_core::http::FieldValue;
use serde_json::Value;

/// A form that a report can be had in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For programs.
    Json,
    /// For programs and spreadsheets.
    Csv,
    /// For spreadsheets.
    Xlsx,
    /// To read and to print.
    Html,
    /// The chart alone.
    Svg,
}

impl Format {
    /// Its name, which is the end of a file's, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
            Self::Svg => "svg",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Html => "text/html; charset=utf-8",
            Self::Svg => "image/svg+xml",
        }
    }

    /// Whether it is a file to keep rather than something to look at.
    pub fn is_file(self) -> bool {
        matches!(self, Self::Csv | Self::Xlsx)
    }

    /// Whether it becomes smaller by being compressed; a spreadsheet is already.
    pub fn is_compressible(self) -> bool {
        self != Self::Xlsx
    }

    /// What the `Accept` header likes best; JSON, where it says nothing that is known here.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let mut best = (0.0, Self::Json);
        for entry in entries(headers, &ACCEPT) {
            let (kind, quality) = weighed(entry);
            let format = match kind.to_ascii_lowercase().as_str() {
                "application/json" => Self::Json,
                "text/csv" => Self::Csv,
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Self::Xlsx,
                "text/html" => Self::Html,
                "image/svg+xml" => Self::Svg,
                _ => continue,
            };
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }
}

impl FieldValue for Format {
    const EXPECTATION: &'static str = "must be json, csv, xlsx, html or svg";

    fn read(value: &Value) -> Option<Self> {
        [Self::Json, Self::Csv, Self::Xlsx, Self::Html, Self::Svg]
            .into_iter()
            .find(|format| value == format.name())
    }
}

fn entries<'h>(
    headers: &'h HeaderMap,
    name: &http::HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

/// An entry of a header that weighs what it lists, and its weight.
pub(crate) fn weighed(entry: &str) -> (&str, f32) {
    let mut parts = entry.split(';').map(str::trim);
    let what = parts.next().unwrap_or_default();
    let quality = parts
        .find_map(|parameter| parameter.strip_prefix("q="))
        .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
    (what, quality)
}

/// Whether the client takes gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = |wanted: &str| {
        entries(headers, &ACCEPT_ENCODING)
            .map(weighed)
            .find(|(what, _)| what.eq_ignore_ascii_case(wanted))
            .map(|(_, quality)| quality > 0.0)
    };
    named("gzip").or_else(|| named("*")).unwrap_or(false)
}

/// Whether the client has this already: `If-None-Match`, compared weakly.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    entries(headers, &IF_NONE_MATCH)
        .any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_best_liked_form_is_chosen() {
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("image/svg+xml", Format::Svg),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Format::Html,
            ),
            ("application/json;q=0.5, Text/CSV;q=0.9", Format::Csv),
            ("text/csv;q=0, image/png", Format::Json),
        ] {
            assert_eq!(Format::accepted(&with(ACCEPT, accept)), format, "{accept}");
        }
    }

    #[test]
    fn compression_is_for_those_who_take_it() {
        for (accept, takes) in [
            ("gzip, deflate, br", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("br", false),
            ("identity", false),
        ] {
            assert_eq!(
                takes_gzip(&with(ACCEPT_ENCODING, accept)),
                takes,
                "{accept}"
            );
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (known, is) in [
            ("W/\"a\"", true),
            ("\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
        ] {
            assert_eq!(
                is_known(&with(IF_NONE_MATCH, known), "W/\"a\""),
                is,
                "{known}"
            );
        }
    }
}
