//! Spreadsheets (Office Open XML): typed cells, a heading that stays in sight, filters. Rows go to a file as they come.

use std::io::{Seek, SeekFrom, Write};

use chrono::NaiveDateTime;
use lyceum_core::Error;
use rust_xlsxwriter::{
    Color, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Workbook, Worksheet,
    XlsxError,
};
use serde_json::Value;

use crate::{
    catalogue::{Column, Kind},
    cell::{self, Look},
    request::Asked,
    spool::{Spool, failure, too_large},
    text::{plain, shortened},
    words,
};

/// What a sheet can hold, its heading included.
const MOST_ROWS: u32 = 1_048_576;
/// What a cell can hold, in UTF-16 units; a character has two at most.
const LONGEST_TEXT: usize = 16_000;

/// Writes rows as a spreadsheet.
pub struct Xlsx {
    workbook: Workbook,
    columns: Vec<(usize, &'static Column, Format)>,
    look: Look,
    next: u32,
}

impl Xlsx {
    /// With the headings; `facts` go to a second sheet, once all rows are there.
    pub fn new(asked: &Asked) -> Result<Self, Error> {
        let locale = asked.look.locale;
        let mut workbook = Workbook::new();
        let title = words::of(asked.report.title, locale);
        let mut properties = DocProperties::new().set_title(title);
        if let Some(organization) = &asked.heading.organization {
            properties = properties.set_company(plain(organization));
        }
        if let Some(today) = asked.heading.today {
            // The day rather than the moment: what says the same is the same file.
            let at = today.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc();
            properties = properties.set_creation_datetime(
                &ExcelDateTime::from_timestamp(at.timestamp()).map_err(failed)?,
            );
        }
        workbook.set_properties(&properties);

        let columns: Vec<_> = asked
            .report
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.kind.is_shown())
            .map(|(place, column)| (place, column, format(column.kind, asked)))
            .collect();
        let sheet = workbook
            .add_worksheet_with_constant_memory()
            .map_err(failed)?;
        sheet
            .set_name(sheet_name(title))
            .and_then(|sheet| sheet.set_freeze_panes(1, 0))
            .map_err(failed)?;
        sheet
            .set_landscape()
            .set_repeat_rows(0, 0)
            .map_err(failed)?;
        sheet.set_print_fit_to_pages(1, 0);
        let heading = Format::new()
            .set_bold()
            .set_text_wrap()
            .set_align(FormatAlign::Top)
            .set_background_color(Color::RGB(0x00E9_EDF2))
            .set_border_bottom(FormatBorder::Thin);
        for (at, (_, column, _)) in (0_u16..).zip(&columns) {
            let text = words::of(column.heading, locale);
            sheet
                .set_column_width(at, width(column.kind))
                .and_then(|sheet| sheet.write_string_with_format(0, at, text, &heading))
                .map_err(failed)?;
        }
        Ok(Self {
            workbook,
            columns,
            look: asked.look.clone(),
            next: 1,
        })
    }

    /// A row.
    pub fn row(&mut self, row: &[Value]) -> Result<(), Error> {
        if self.next >= MOST_ROWS {
            return Err(too_large());
        }
        let sheet = self.workbook.worksheet_from_index(0).map_err(failed)?;
        for (at, (place, column, format)) in (0_u16..).zip(&self.columns) {
            let value = row.get(*place).unwrap_or(&Value::Null);
            write(sheet, self.next, at, value, column, format, &self.look).map_err(failed)?;
        }
        self.next += 1;
        Ok(())
    }

    /// Writes the file.
    pub fn finish(mut self, facts: &[(String, String)], mut out: Spool) -> Result<Spool, Error> {
        let sheet = self.workbook.worksheet_from_index(0).map_err(failed)?;
        #[expect(clippy::cast_possible_truncation)]
        let last = self.columns.len().saturating_sub(1) as u16;
        sheet
            .autofilter(0, 0, self.next - 1, last)
            .map_err(failed)?;
        let about = self
            .workbook
            .add_worksheet_with_constant_memory()
            .map_err(failed)?;
        let name = words::of(words::WHAT_COUNTS, self.look.locale);
        let (bold, wrap) = (
            Format::new().set_bold().set_align(FormatAlign::Top),
            Format::new().set_text_wrap().set_align(FormatAlign::Top),
        );
        about
            .set_name(sheet_name(name))
            .and_then(|sheet| sheet.set_column_width(0, 24))
            .and_then(|sheet| sheet.set_column_width(1, 90))
            .map_err(failed)?;
        for (at, (name, value)) in (0_u32..).zip(facts) {
            about
                .write_string_with_format(at, 0, name, &bold)
                .and_then(|sheet| sheet.write_string_with_format(at, 1, text(value), &wrap))
                .map_err(failed)?;
        }
        // It is written with its directory at the end, and lengths are filled in before it: that takes a file to seek in.
        let mut file = tempfile::tempfile().map_err(failure)?;
        self.workbook.save_to_writer(&mut file).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failure)?;
        std::io::copy(&mut file, &mut out).map_err(failure)?;
        out.flush().map_err(failure)?;
        Ok(out)
    }
}

fn write(
    sheet: &mut Worksheet,
    row: u32,
    at: u16,
    value: &Value,
    column: &Column,
    format: &Format,
    look: &Look,
) -> Result<(), XlsxError> {
    if value.is_null() {
        return Ok(());
    }
    let number = match column.kind {
        Kind::Count | Kind::Number => value.as_f64(),
        Kind::Percent => value.as_f64().map(|percent| percent / 100.0),
        Kind::Seconds => value.as_f64().map(|seconds| seconds / 86_400.0),
        _ => None,
    };
    let date = match column.kind {
        Kind::Day => cell::day(value).and_then(|day| day.and_hms_opt(0, 0, 0)),
        Kind::Moment => cell::moment(value).map(|at| at.with_timezone(&look.zone).naive_local()),
        _ => None,
    }
    .and_then(excel);
    match (number, date, value) {
        (Some(number), _, _) => sheet.write_number_with_format(row, at, number, format)?,
        (_, Some(date), _) => sheet.write_datetime_with_format(row, at, date, format)?,
        (_, _, Value::Bool(flag)) => sheet.write_boolean_with_format(row, at, *flag, format)?,
        // Always a string cell, whatever it begins with: never a formula.
        _ => sheet.write_string_with_format(row, at, text(&look.text(value, column)), format)?,
    };
    Ok(())
}

fn text(value: &str) -> String {
    shortened(&plain(value), LONGEST_TEXT)
}

/// To the second; none before 1900, which spreadsheets do not know.
fn excel(at: NaiveDateTime) -> Option<ExcelDateTime> {
    ExcelDateTime::parse_from_str(&at.format("%Y-%m-%dT%H:%M:%S").to_string()).ok()
}

fn format(kind: Kind, asked: &Asked) -> Format {
    let format = Format::new().set_align(FormatAlign::Top);
    let day = asked.look.locale.sheet_day();
    match kind {
        Kind::Count => format.set_num_format("#,##0"),
        Kind::Number => format.set_num_format("#,##0.00"),
        Kind::Percent => format.set_num_format("0.0%"),
        Kind::Day => format.set_num_format(day),
        Kind::Moment => format.set_num_format(format!("{day} hh:mm")),
        Kind::Seconds => format.set_num_format("[h]:mm"),
        Kind::Text | Kind::Course | Kind::List => format.set_text_wrap(),
        _ => format,
    }
}

fn width(kind: Kind) -> f64 {
    match kind {
        Kind::Text | Kind::Course => 28.0,
        Kind::List => 24.0,
        Kind::Moment => 18.0,
        _ => 14.0,
    }
}

/// What Excel takes as a name.
fn sheet_name(title: &str) -> String {
    let name: String = title
        .chars()
        .filter(|letter| !"[]:*?/\\'".contains(*letter))
        .collect();
    shortened(&name, 31)
}

fn failed(error: XlsxError) -> Error {
    match error {
        XlsxError::IoError(error) => failure(error),
        XlsxError::RowColumnLimitError | XlsxError::MaxStringLengthExceeded => too_large(),
        other => Error::internal(format!("the spreadsheet could not be written: {other}")),
    }
}
