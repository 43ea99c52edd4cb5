//! CSV (RFC 4180), for programs and spreadsheets alike: headings in the reader's language, values with decimal points and ISO
//! dates, which no program mistakes. Times are on the organisation's clock, with their offset.

use std::io::Write;

use chrono::SecondsFormat;
use lyceum_core::Error;
use serde_json::Value;

use crate::{
    catalogue::{Column, Kind},
    cell::{self, Look},
    spool::failure,
    words,
};

/// Writes rows as CSV.
pub struct Csv<W: Write> {
    writer: csv::Writer<W>,
    columns: &'static [Column],
    look: Look,
}

impl<W: Write> Csv<W> {
    /// With the headings.
    pub fn new(out: W, columns: &'static [Column], look: Look) -> Result<Self, Error> {
        let mut writer = csv::WriterBuilder::new()
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        let headings = columns
            .iter()
            .map(|column| words::of(column.heading, look.locale));
        writer.write_record(headings).map_err(failed)?;
        Ok(Self {
            writer,
            columns,
            look,
        })
    }

    /// A row.
    pub fn row(&mut self, row: &[Value]) -> Result<(), Error> {
        let fields: Vec<String> = self
            .columns
            .iter()
            .zip(row)
            .map(|(column, value)| self.field(column, value))
            .collect();
        self.writer.write_record(fields).map_err(failed)
    }

    /// What it was written to.
    pub fn finish(self) -> Result<W, Error> {
        self.writer
            .into_inner()
            .map_err(|error| failure(error.into_error()))
    }

    fn field(&self, column: &Column, value: &Value) -> String {
        match (column.kind, value) {
            (_, Value::Null) => String::new(),
            (Kind::Moment, _) => cell::moment(value).map_or_else(
                || safe(&value.to_string()),
                |at| {
                    at.with_timezone(&self.look.zone)
                        .to_rfc3339_opts(SecondsFormat::Secs, false)
                },
            ),
            (Kind::List, Value::Array(list)) => safe(
                &list
                    .iter()
                    .filter_map(Value::as_str)
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
            (_, Value::String(text)) => safe(text),
            // A number is one, also if it begins with a sign.
            (_, other) => other.to_string(),
        }
    }
}

fn failed(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => failure(error),
        other => Error::internal(format!("the CSV could not be written: {other:?}")),
    }
}

/// Text that no spreadsheet takes for a formula: an apostrophe goes before what one would, and before an apostrophe, so that
/// one apostrophe at the beginning is always ours. Source: OWASP, CSV Injection.
pub fn safe(text: &str) -> String {
    // Programs skip blanks and what cannot be seen, and take the wide forms of East Asian keyboards as well.
    let first = text
        .chars()
        .find(|letter| !letter.is_whitespace() && !letter.is_control() && !is_invisible(*letter));
    let starts_as_formula = matches!(
        first,
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\u{2212}' | '\'')
    );
    if starts_as_formula || text.starts_with(['\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{cell::tests::look, locale::Locale};

    const COLUMNS: &[Column] = &[
        Column {
            name: "title",
            kind: Kind::Text,
            heading: words::COURSE,
        },
        Column {
            name: "rate",
            kind: Kind::Percent,
            heading: words::MISS_RATE,
        },
        Column {
            name: "at",
            kind: Kind::Moment,
            heading: words::DUE_AT,
        },
    ];

    fn written(rows: &[Vec<Value>]) -> String {
        let mut csv = Csv::new(Vec::new(), COLUMNS, look(Locale::De)).unwrap();
        for row in rows {
            csv.row(row).unwrap();
        }
        String::from_utf8(csv.finish().unwrap()).unwrap()
    }

    #[test]
    fn numbers_and_times_are_for_programs() {
        let text = written(&[
            vec![
                json!("=1+1"),
                json!(-66.67),
                json!("2026-07-01T22:30:00+00:00"),
            ],
            vec![Value::Null, Value::Null, Value::Null],
        ]);
        assert_eq!(
            text,
            "Kurs,\"Falsch, Anteil\",Fällig\r\n'=1+1,-66.67,2026-07-02T00:30:00+02:00\r\n,,\r\n"
        );
    }

    #[test]
    fn formulas_are_text() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            " =1",
            "\u{feff}=1",
            "\u{a0}=1",
            "＝1",
            "'=1",
            "\n",
        ] {
            assert_eq!(safe(text), format!("'{text}"));
        }
        for text in ["", "a=1", "Zoë", "1-1", "\"=1\"", " a"] {
            assert_eq!(safe(text), text);
        }
    }

    proptest! {
        /// What was written is what is read, and no field begins as a formula does.
        #[test]
        fn texts_come_back(texts in prop::collection::vec("\\PC{0,12}|[=+\\-@'\t\r\n\", ]{0,6}", 1..6)) {
            let rows: Vec<_> = texts.iter().map(|text| vec![json!(text), json!(1), Value::Null]).collect();
            let csv = written(&rows);
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let back: Vec<String> = reader.records().map(|record| record.unwrap()[0].to_owned()).collect();
            for (written, text) in back.iter().zip(&texts) {
                prop_assert!(!written.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
                // Ours is taken off wherever it stands before one of those, or before another.
                let read = match written.strip_prefix('\'') {
                    Some(rest) if safe(rest) == *written => rest,
                    _ => written,
                };
                prop_assert_eq!(read, text);
            }
            prop_assert_eq!(back.len(), texts.len());
        }
    }
}
