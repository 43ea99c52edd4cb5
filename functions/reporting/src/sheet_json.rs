//! JSON: the rows as the database gave them, with what they mean before and how many they are after.

use std::io::Write;

use lyceum_core::Error;
use serde_json::{Value, json};

use crate::{catalogue::Column, request::Asked, spool::failure, words};

/// Writes rows as JSON.
pub struct Json<W: Write> {
    out: W,
    columns: &'static [Column],
    rows: u64,
}

impl<W: Write> Json<W> {
    /// With what the rows mean.
    pub fn new(mut out: W, asked: &Asked) -> Result<Self, Error> {
        let locale = asked.look.locale;
        let columns: Vec<Value> = asked
            .report
            .columns
            .iter()
            .map(|column| {
                json!({
                    "name": column.name, "kind": column.kind.name(), "heading": words::of(column.heading, locale),
                })
            })
            .collect();
        let head = json!({
            "report": asked.report.name,
            "title": words::of(asked.report.title, locale),
            "counts": words::of(asked.report.counts, locale),
            "organization": asked.heading.organization,
            "locale": locale.tag(),
            "time_zone": asked.look.zone.name(),
            "parameters": asked.parameters,
            "columns": columns,
        });
        let head = head.to_string();
        // Left open for the rows.
        out.write_all(head.strip_suffix('}').unwrap_or(&head).as_bytes())
            .and_then(|()| out.write_all(b",\"rows\":["))
            .map_err(failure)?;
        Ok(Self {
            out,
            columns: asked.report.columns,
            rows: 0,
        })
    }

    /// A row.
    pub fn row(&mut self, row: &[Value]) -> Result<(), Error> {
        let mut text = String::from(if self.rows == 0 { "\n" } else { ",\n" });
        self.rows += 1;
        for (place, (column, value)) in self.columns.iter().zip(row).enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            text.push_str(&format!("{before}\"{}\":{value}", column.name));
        }
        text.push('}');
        self.out.write_all(text.as_bytes()).map_err(failure)
    }

    /// What it was written to.
    pub fn finish(mut self) -> Result<W, Error> {
        write!(self.out, "\n],\"row_count\":{}}}\n", self.rows).map_err(failure)?;
        Ok(self.out)
    }
}
