//! Rows of a CSV file. Pure.

use std::{borrow::Cow, collections::BTreeSet};

use csv::{ReaderBuilder, StringRecord};
use lyceum_core::error::FieldFault;
use serde::Serialize;
use uuid::Uuid;

/// A record longer than this is no row about a person: most likely a quote was never closed.
const LONGEST_RECORD: usize = 64 * 1024;
/// Longer than any value that could be found.
const LONGEST_VALUE: usize = 1000;
/// How many unknown columns are named.
const MOST_NAMED: usize = 20;

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    UserId,
    Email,
    EmployeeNumber,
    /// An id or a slug, as the value looks.
    Course,
    CourseId,
    CourseSlug,
    UnitCode,
    DueAt,
    ExpiresAt,
}

impl Column {
    /// The column of a title, however it is written: case, blanks and marks do not count.
    fn of(title: &str) -> Option<Self> {
        let plain: String = title
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        Some(match plain.as_str() {
            "userid" | "personid" | "user" => Self::UserId,
            "email" | "emailaddress" | "mail" | "workemail" => Self::Email,
            "employeenumber" | "employeeno" | "employeeid" | "employee" | "personnelnumber"
            | "staffnumber" | "staffid" | "personalnummer" => Self::EmployeeNumber,
            "course" | "kurs" => Self::Course,
            "courseid" => Self::CourseId,
            "courseslug" | "slug" => Self::CourseSlug,
            "unit" | "unitcode" | "plant" | "site" => Self::UnitCode,
            "dueat" | "due" | "duedate" | "dueon" | "deadline" => Self::DueAt,
            "expiresat" | "expires" | "expirydate" | "expirationdate" | "accessuntil" => {
                Self::ExpiresAt
            }
            _ => return None,
        })
    }
}

/// A row as `lms.enroll_in_bulk` takes it; `row` is the line that it begins on.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    employee_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    course_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    course_slug: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// One record: a row, or what is wrong with its form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Row(Row),
    Faulty {
        row: u64,
        code: &'static str,
        message: &'static str,
    },
}

/// Why a file is not read at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TableFault {
    /// It has no first line with titles.
    Empty,
    /// A record is too long; it begins on this line.
    LongRecord(u64),
    /// Columns are unknown, missing or repeated.
    Columns(Vec<FieldFault>),
    /// More rows than this.
    TooManyRows(usize),
}

/// A file whose titles are understood.
#[derive(Debug)]
pub(super) struct Table<'a> {
    text: &'a str,
    /// Lines before the titles.
    skipped: u64,
    delimiter: u8,
    columns: Vec<Option<Column>>,
}

impl<'a> Table<'a> {
    /// Reads the titles, and goes through the file once, so that nothing is done with the first half of a file whose second
    /// half is broken.
    pub fn open(text: &'a str, ignore_unknown: bool, most: usize) -> Result<Self, TableFault> {
        let (delimiter, text, skipped) = delimiter(text);
        let mut table = Self {
            text,
            skipped,
            delimiter,
            columns: Vec::new(),
        };
        let mut records = table.records();
        let titles = records.next().transpose()?.ok_or(TableFault::Empty)?;
        let columns = columns(&titles.1, ignore_unknown)?;
        let mut rows = 0;
        for record in records {
            if !is_blank(&record?.1) {
                rows += 1;
                if rows > most {
                    return Err(TableFault::TooManyRows(most));
                }
            }
        }
        table.columns = columns;
        Ok(table)
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Record> {
        // What `open` found no fault with has none.
        self.records()
            .skip(1)
            .filter_map(Result::ok)
            .filter(|(_, record)| !is_blank(record))
            .map(|(line, record)| self.row(line, &record))
    }

    /// Records with the lines on which they begin. The reader's own count stops before line breaks that belong to nothing.
    fn records(&self) -> impl Iterator<Item = Result<(u64, StringRecord), TableFault>> + use<'a> {
        let bytes = self.text.as_bytes();
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(bytes);
        let (mut at, mut line) = (0, self.skipped + 1);
        std::iter::from_fn(move || {
            let mut record = StringRecord::new();
            // Reading from memory does not fail, and text is UTF-8.
            if !reader.read_record(&mut record).ok()? {
                return None;
            }
            let begins = record
                .position()
                .and_then(|position| usize::try_from(position.byte()).ok())
                .unwrap_or(at);
            while let Some(&byte) = bytes.get(at)
                && (at < begins || matches!(byte, b'\r' | b'\n'))
            {
                at += 1;
                if byte == b'\n' || (byte == b'\r' && bytes.get(at) != Some(&b'\n')) {
                    line += 1;
                }
            }
            Some(if record.as_slice().len() > LONGEST_RECORD {
                Err(TableFault::LongRecord(line))
            } else {
                Ok((line, record))
            })
        })
    }

    fn row(&self, line: u64, record: &StringRecord) -> Record {
        let faulty = |code, message| Record::Faulty {
            row: line,
            code,
            message,
        };
        if record.len() < self.columns.len()
            || record
                .iter()
                .skip(self.columns.len())
                .any(|value| !value.trim().is_empty())
        {
            return faulty(
                "wrong_number_of_columns",
                "The row has more or fewer columns than the first line.",
            );
        }
        let mut row = Row {
            row: line,
            ..Row::default()
        };
        for (column, value) in self.columns.iter().zip(record) {
            let Some(column) = column else { continue };
            let value = unwrapped(value.trim());
            if value.is_empty() {
                continue;
            } else if value.len() > LONGEST_VALUE {
                return faulty("value_too_long", "A value has more than 1,000 bytes.");
            }
            let field = match column {
                Column::UserId => &mut row.user_id,
                Column::Email => &mut row.email,
                Column::EmployeeNumber => &mut row.employee_number,
                Column::Course if Uuid::try_parse(&value).is_ok() => &mut row.course_id,
                Column::Course | Column::CourseSlug => &mut row.course_slug,
                Column::CourseId => &mut row.course_id,
                Column::UnitCode => &mut row.unit_code,
                Column::DueAt => &mut row.due_at,
                Column::ExpiresAt => &mut row.expires_at,
            };
            *field = Some(value.into_owned());
        }
        Record::Row(row)
    }
}

/// `="00123"` is how spreadsheets are made to keep zeros. Any other formula is text like everything else.
fn unwrapped(value: &str) -> Cow<'_, str> {
    match value
        .strip_prefix("=\"")
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) => Cow::Owned(inner.replace("\"\"", "\"").trim().to_owned()),
        None => Cow::Borrowed(value),
    }
}

fn is_blank(record: &StringRecord) -> bool {
    record.iter().all(|value| value.trim().is_empty())
}

/// What separates values, the text from the titles on, and how many lines were before them. A first line `sep=;` says so;
/// else it is what the titles have most of, outside quotes.
fn delimiter(text: &str) -> (u8, &str, u64) {
    let first = text.lines().next().unwrap_or_default();
    if let Some(&[mark]) = first
        .strip_prefix("sep=")
        .map(|rest| rest.trim_end().as_bytes())
        && matches!(mark, b',' | b';' | b'\t' | b'|')
    {
        let rest = text.get(first.len()..).unwrap_or_default();
        let rest = rest.strip_prefix('\r').unwrap_or(rest);
        return (mark, rest.strip_prefix('\n').unwrap_or(rest), 1);
    }
    let titles = text
        .trim_start_matches(['\r', '\n'])
        .lines()
        .next()
        .unwrap_or_default();
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in titles.bytes() {
        if byte == b'"' {
            quoted = !quoted;
        } else if !quoted
            && let Some((_, count)) = counts.iter_mut().find(|(mark, _)| *mark == byte)
        {
            *count += 1;
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let mark = counts
        .iter()
        .find(|(_, count)| *count == most)
        .map_or(b',', |(mark, _)| *mark);
    (mark, text, 0)
}

fn columns(titles: &StringRecord, ignore_unknown: bool) -> Result<Vec<Option<Column>>, TableFault> {
    let mut faults = Vec::new();
    let mut fault = |title: &str, code, message: &'static str| {
        if faults.len() < MOST_NAMED {
            faults.push(FieldFault {
                field: title.trim().chars().take(64).collect(),
                code,
                message: message.into(),
            });
        }
    };
    let mut seen = BTreeSet::new();
    let mut columns = Vec::new();
    for title in titles {
        let column = Column::of(title);
        match column {
            Some(column) if !seen.insert(column) => {
                fault(title, "repeated", "may be given only once");
            }
            None if !ignore_unknown && !title.trim().is_empty() => fault(
                title,
                "unknown",
                "is not known here; say ignore_columns=true to leave out such columns",
            ),
            _ => {}
        }
        columns.push(column);
    }
    let has = |wanted: &[Column]| wanted.iter().any(|column| seen.contains(column));
    if !has(&[Column::UserId, Column::Email, Column::EmployeeNumber]) {
        fault(
            "email",
            "missing",
            "or user_id or employee_number is required",
        );
    }
    if !has(&[Column::Course, Column::CourseId, Column::CourseSlug]) {
        fault(
            "course",
            "missing",
            "or course_id or course_slug is required",
        );
    }
    if faults.is_empty() {
        Ok(columns)
    } else {
        Err(TableFault::Columns(faults))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<String> {
        match Table::open(text, false, 100) {
            Ok(table) => table
                .rows()
                .map(|record| match record {
                    Record::Row(row) => serde_json::to_string(&row).unwrap(),
                    Record::Faulty { row, code, .. } => format!("{row} {code}"),
                })
                .collect(),
            Err(TableFault::Columns(faults)) => faults
                .iter()
                .map(|fault| format!("{}:{}", fault.field, fault.code))
                .collect(),
            Err(other) => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn separators_are_found_out() {
        let expected = [r#"{"row":2,"email":"a@b.c","course_slug":"x","due_at":"2031-05-01"}"#];
        for text in [
            "email,course,due_at\na@b.c,x,2031-05-01\n",
            "E-Mail;Kurs;Due date\r\na@b.c;x;2031-05-01\r\n",
            "EMAIL\tcourse_slug\tdeadline\na@b.c\tx\t2031-05-01",
            "email,course,due\ra@b.c,x,2031-05-01\r",
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        assert_eq!(
            read("sep=;\r\nemail;\"course\";due\r\na@b.c;x;2031-05-01\r\n"),
            [r#"{"row":3,"email":"a@b.c","course_slug":"x","due_at":"2031-05-01"}"#]
        );
        assert_eq!(read("\"e,mail\";course;\"d,u,e\"\na@b.c;x;\n").len(), 1);
    }

    #[test]
    fn quotes_blank_lines_and_broken_rows() {
        assert_eq!(
            read(
                "email,course\r\n\"a\"\"b@c.d\",\"two\nlines\"\r\n\r\n\r\n , \nlast@b.c,x\nshort@b.c\nlong@b.c,x,y\n\nok@b.c,x,,\n"
            ),
            [
                r#"{"row":2,"email":"a\"b@c.d","course_slug":"two\nlines"}"#,
                r#"{"row":7,"email":"last@b.c","course_slug":"x"}"#,
                "8 wrong_number_of_columns",
                "9 wrong_number_of_columns",
                r#"{"row":11,"email":"ok@b.c","course_slug":"x"}"#,
            ]
        );
    }

    #[test]
    fn formulas_are_text_and_kept_zeros_are_kept() {
        assert_eq!(
            read(
                "employee_number,course\n\"=\"\"00123\"\"\",x\n=cmd|'/C calc'!A0,x\n+1-2,@SUM(A1)\n"
            ),
            [
                r#"{"row":2,"employee_number":"00123","course_slug":"x"}"#,
                r#"{"row":3,"employee_number":"=cmd|'/C calc'!A0","course_slug":"x"}"#,
                r#"{"row":4,"employee_number":"+1-2","course_slug":"@SUM(A1)"}"#,
            ]
        );
    }

    #[test]
    fn a_course_is_an_id_or_a_slug() {
        assert_eq!(
            read("user id,course\n1,6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11\n"),
            [r#"{"row":2,"user_id":"1","course_id":"6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11"}"#]
        );
    }

    #[test]
    fn titles_are_checked_all_at_once() {
        assert_eq!(
            read("name,colour,due,deadline\n"),
            [
                "name:unknown",
                "colour:unknown",
                "deadline:repeated",
                "email:missing",
                "course:missing"
            ]
        );
        assert_eq!(read(""), ["Empty"]);
        assert_eq!(read("\n\n"), ["Empty"]);
        let table = Table::open("email,name,course\na@b.c,\"A,\nB\",x\n", true, 5).unwrap();
        assert_eq!(table.rows().count(), 1);
    }

    #[test]
    fn what_never_ends_is_refused() {
        let open = format!(
            "email,course\na@b.c,x\n\"a@b.c,x\n{}",
            "b@b.c,x\n".repeat(10_000)
        );
        assert_eq!(read(&open), ["LongRecord(3)"]);
        let long = format!("email,course\n{},x\n", "a".repeat(2000));
        assert_eq!(read(&long), ["2 value_too_long"]);
        let many = format!("email,course\n{}", "a@b.c,x\n".repeat(101));
        assert_eq!(read(&many), ["TooManyRows(100)"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(email|course|,|;|\t|\"|\r|\n|=|a|é){0,60}") {
            read(&text);
            read(&format!("email,course\n{text}"));
        }

        #[test]
        fn what_a_writer_quotes_is_read_back(values in proptest::collection::vec("[a-zé,;\"\n=]{1,12}", 1..20)) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(["employee_number", "course"]).unwrap();
            for value in &values {
                writer.write_record([format!("n{value}n").as_str(), "x"]).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let table = Table::open(&text, false, 100).unwrap();
            let read: Vec<_> = table.rows().map(|record| match record {
                Record::Row(row) => row.employee_number.unwrap(),
                Record::Faulty { code, .. } => code.to_owned(),
            }).collect();
            prop_assert_eq!(read, values.iter().map(|value| format!("n{value}n")).collect::<Vec<_>>());
        }
    }
}
