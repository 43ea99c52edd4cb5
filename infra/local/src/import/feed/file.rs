//! The file of a personnel system: CSV with the columns that `lms.import_people` knows.

use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::{Map, Value};

/// The columns that a file may have, in any order and case.
pub(super) const COLUMNS: [&str; 9] = [
    "employee_number",
    "email",
    "first_name",
    "last_name",
    "unit",
    "job_title",
    "role",
    "role_scope",
    "status",
];
/// Characters that may stand between values.
const DELIMITERS: [u8; 3] = *b",;\t";
/// Largest file that is read, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct PeopleFile {
    /// The rows that can be read.
    pub rows: Vec<Row>,
    /// The others.
    pub unreadable: Vec<Unreadable>,
}

/// One row: the values by column, without blanks around them.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// The line of the file on which it begins, from 1.
    pub line: u64,
    pub values: Map<String, Value>,
}

/// A row of which nobody knows whom it is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The line of the file on which it begins, from 1.
    pub line: u64,
    /// Stable name of the fault.
    pub code: &'static str,
    pub message: String,
}

/// Reads a file.
///
/// # Errors
/// When it cannot be opened, and as [`parse`].
pub(super) fn read(path: &Path) -> Result<PeopleFile> {
    let name = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("{name} cannot be opened"))?;
    if metadata.len() > LARGEST {
        bail!(
            "{name} has {} bytes: no list of people is that long",
            metadata.len()
        );
    }
    let bytes = std::fs::read(path).with_context(|| format!("{name} cannot be read"))?;
    parse(&bytes).with_context(|| format!("{name} cannot be imported"))
}

/// Takes a file apart.
///
/// # Errors
/// When it is no CSV in UTF-8, has no usable header, no rows, or ends inside a quoted value.
fn parse(bytes: &[u8]) -> Result<PeopleFile> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(kind) = other_kind(bytes) {
        bail!("it is {kind}; save it as CSV in UTF-8");
    }
    let delimiter = delimiter(bytes);
    if ends_inside_quotes(bytes, delimiter) {
        bail!(
            "it ends inside a quoted value: it was cut off, or a quote is missing; get the file again"
        );
    }
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .terminator(Terminator::CRLF)
        .from_reader(bytes);
    let mut lines = Lines::new(bytes);
    let mut record = ByteRecord::new();
    let mut header = None;
    let mut file = PeopleFile::default();
    while reader
        .read_byte_record(&mut record)
        .context("it cannot be read")?
    {
        if record.iter().all(|value| value.trim_ascii().is_empty()) {
            continue;
        }
        let Some(columns) = &header else {
            header = Some(columns_of(&record)?);
            continue;
        };
        let begins = record.position().map_or(0, csv::Position::byte);
        let line = lines.at(usize::try_from(begins)?);
        match row(columns, &record) {
            Ok(values) => file.rows.push(Row { line, values }),
            Err((code, message)) => file.unreadable.push(Unreadable {
                line,
                code,
                message,
            }),
        }
    }
    if header.is_none() {
        bail!("it is empty");
    }
    if file.rows.is_empty() {
        bail!("no row of it can be read");
    }
    Ok(file)
}

/// What a file is that is no CSV, as far as its first bytes tell.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'K', 3, 4, ..] => Some("an Excel workbook or another archive"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("text in UTF-16"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("an old Excel workbook"),
        [0x1f, 0x8b, ..] => Some("compressed"),
        _ => None,
    }
}

/// The delimiter that the first line has most of; the comma where it has none.
fn delimiter(bytes: &[u8]) -> u8 {
    let start = bytes
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .unwrap_or_default();
    let first_line = bytes[start..]
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()
        .unwrap_or_default();
    let count = |delimiter: u8| first_line.iter().filter(|byte| **byte == delimiter).count();
    let [mut most, ..] = DELIMITERS;
    for other in DELIMITERS {
        if count(other) > count(most) {
            most = other;
        }
    }
    most
}

/// Whether a quoted value is open at the end, which a reader of CSV passes over in silence.
fn ends_inside_quotes(bytes: &[u8], delimiter: u8) -> bool {
    enum At {
        Start,
        Plain,
        Quoted,
        Quote,
    }
    let mut at = At::Start;
    for byte in bytes {
        at = match (at, byte) {
            (At::Start, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (At::Quote, b'"') | (At::Quoted, _) => At::Quoted,
            (_, b'\n' | b'\r') => At::Start,
            (_, byte) if *byte == delimiter => At::Start,
            _ => At::Plain,
        };
    }
    matches!(at, At::Quoted)
}

/// The columns that the header names, in its order.
fn columns_of(header: &ByteRecord) -> Result<Vec<&'static str>> {
    let mut columns = Vec::with_capacity(header.len());
    let mut unknown = Vec::new();
    for name in header {
        let name = String::from_utf8_lossy(name).trim().to_lowercase();
        match COLUMNS.iter().find(|known| **known == name) {
            Some(known) if columns.contains(known) => bail!("its first row names {known} twice"),
            Some(known) => columns.push(*known),
            None => unknown.push(format!("«{}»", name.chars().take(60).collect::<String>())),
        }
    }
    if !unknown.is_empty() {
        bail!(
            "its first row names columns that are not known: {}. Known are {}",
            unknown.join(", "),
            COLUMNS.join(", ")
        );
    }
    if !columns.contains(&"employee_number") && !columns.contains(&"email") {
        bail!("its first row names neither employee_number nor email, by which people are found");
    }
    Ok(columns)
}

/// The values of a row, or why they cannot be told.
fn row(
    columns: &[&'static str],
    record: &ByteRecord,
) -> Result<Map<String, Value>, (&'static str, String)> {
    if record.len() != columns.len() {
        let message = format!(
            "The row has {} columns instead of {}; is a quote missing?",
            record.len(),
            columns.len()
        );
        return Err(("wrong_number_of_columns", message));
    }
    let mut values = Map::new();
    for (column, value) in columns.iter().zip(record) {
        let Ok(value) = std::str::from_utf8(value) else {
            return Err(("not_text", format!("{column} is not UTF-8.")));
        };
        if value.contains('\0') {
            return Err(("not_text", format!("{column} holds a zero byte.")));
        }
        let value = value.trim();
        if value.contains(['\n', '\r']) {
            let message = format!("{column} holds a line break; is a quote missing?");
            return Err(("line_break", message));
        }
        values.insert((*column).to_owned(), Value::from(value));
    }
    Ok(values)
}

/// Numbers of lines, asked for from the beginning to the end.
struct Lines<'a> {
    bytes: &'a [u8],
    passed: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            passed: 0,
            line: 1,
        }
    }

    /// The line of the first byte from `offset` on that ends no line: a reader counts what is between two rows to the
    /// second.
    fn at(&mut self, offset: usize) -> u64 {
        while let Some(byte) = self.bytes.get(self.passed) {
            let ends_line = matches!(byte, b'\n' | b'\r');
            if self.passed >= offset && !ends_line {
                break;
            }
            self.passed += 1;
            let first_of_two = *byte == b'\r' && self.bytes.get(self.passed) == Some(&b'\n');
            if ends_line && !first_of_two {
                self.line += 1;
            }
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u64> {
        parse(text.as_bytes())
            .unwrap()
            .rows
            .iter()
            .map(|row| row.line)
            .collect()
    }

    fn refusal(bytes: &[u8]) -> String {
        format!("{:#}", parse(bytes).unwrap_err())
    }

    #[test]
    fn reads_any_delimiter_case_order_and_line_end() {
        for text in [
            "email,employee_number\na@b.example,1\n",
            "\u{feff}EMAIL;Employee_Number\r\na@b.example;1\r\n",
            "\r\n email \temployee_number\r\r\n\ra@b.example\t 1 ",
        ] {
            let file = parse(text.as_bytes()).unwrap();
            assert!(file.unreadable.is_empty());
            let row = &file.rows[0];
            assert_eq!(row.values["email"], "a@b.example", "{text:?}");
            assert_eq!(row.values["employee_number"], "1", "{text:?}");
        }
    }

    #[test]
    fn names_the_line_on_which_a_row_begins() {
        assert_eq!(lines("email\na\nb\n"), [2, 3]);
        assert_eq!(lines("email\r\na\r\n\r\nb\r\n"), [2, 4]);
        assert_eq!(lines("\n\nemail,unit\n\n\na,x\n , \nb,\"y\"\n"), [6, 8]);
        assert_eq!(lines("email\ra\rb"), [2, 3]);
    }

    #[test]
    fn reports_rows_that_cannot_be_read() {
        let file = parse(
            b"email,unit,job_title\na,x,t\nb,x\nc,x,t,u\nd,\xff,t\ne,\0,t\nf,\"x\ny\",t\ng,x,\"t, \"\"u\"\"\"\n",
        )
        .unwrap();
        let found: Vec<_> = file
            .unreadable
            .iter()
            .map(|row| (row.line, row.code))
            .collect();
        assert_eq!(
            found,
            [
                (3, "wrong_number_of_columns"),
                (4, "wrong_number_of_columns"),
                (5, "not_text"),
                (6, "not_text"),
                (7, "line_break"),
            ]
        );
        assert_eq!(file.rows.len(), 2);
        assert_eq!(file.rows[1].line, 9);
        assert_eq!(file.rows[1].values["job_title"], "t, \"u\"");
    }

    #[test]
    fn refuses_what_is_no_list_of_people() {
        for (bytes, why) in [
            (&b""[..], "is empty"),
            (b"\n \n", "is empty"),
            (b"email\n", "no row"),
            (b"email\n\"a", "ends inside a quoted value"),
            (b"email,unit\na,\"x\"\"\n", "ends inside a quoted value"),
            (b"PK\x03\x04....", "an Excel workbook"),
            (b"\xff\xfee\0", "UTF-16"),
            (
                b"email,phone,\na,1,2\n",
                "«phone», «». Known are employee_number, email",
            ),
            (b"<html><body>\na\n", "«<html><body>»"),
            (b"email,Email\na,b\n", "email twice"),
            (b"unit\nx\n", "neither employee_number nor email"),
        ] {
            let refusal = refusal(bytes);
            assert!(refusal.contains(why), "«{why}» expected, but: {refusal}");
        }
        assert!(parse(b"email\n5\" pipe\n").is_ok());
    }
}
