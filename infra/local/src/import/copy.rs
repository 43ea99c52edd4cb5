//! Rows into a table by `COPY ... FROM STDIN`.

use std::fmt::{Display, Write as _};
use std::pin::Pin;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::{Client, CopyInSink};

/// How many bytes are gathered before they are sent.
const PORTION: usize = 64 * 1024;

/// A `COPY` under way.
pub(super) struct Copy {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    table: &'static str,
    tuples: Tuples,
}

/// Rows in COPY's text format.
#[derive(Default)]
pub(super) struct Tuples {
    text: String,
    complete: usize,
    fields: usize,
}

impl Tuples {
    /// Adds a field that holds no tab, line break or backslash: a number, a date, a UUID.
    pub fn plain(&mut self, value: impl Display) -> &mut Self {
        self.separate();
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{value}");
        self
    }

    /// As `plain`, or null.
    pub fn optional(&mut self, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.plain(value),
            None => self.plain("\\N"),
        }
    }

    /// Adds a field of any text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.separate();
        for character in value.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '\t' => self.text.push_str("\\t"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                other => self.text.push(other),
            }
        }
        self
    }

    fn separate(&mut self) {
        if self.fields > 0 {
            self.text.push('\t');
        }
        self.fields += 1;
    }

    /// Ends the row.
    pub fn end(&mut self) {
        self.text.push('\n');
        self.complete = self.text.len();
        self.fields = 0;
    }

    /// Takes the row that was begun back.
    pub fn cancel(&mut self) {
        self.text.truncate(self.complete);
        self.fields = 0;
    }

    fn take(&mut self) -> Bytes {
        self.complete = 0;
        Bytes::from(std::mem::take(&mut self.text))
    }
}

impl Copy {
    /// Begins to fill `table`.
    pub async fn begin(client: &Client, table: &'static str) -> Result<Self> {
        let sink = client
            .copy_in(&format!("copy {table} from stdin"))
            .await
            .with_context(|| format!("rows for {table} are not accepted"))?;
        Ok(Self {
            sink: Box::pin(sink),
            table,
            tuples: Tuples::default(),
        })
    }

    /// The rows not yet sent.
    pub fn tuples(&mut self) -> &mut Tuples {
        &mut self.tuples
    }

    /// Sends what has gathered, once it is worth it. To be called between rows.
    pub async fn send_if_many(&mut self) -> Result<()> {
        if self.tuples.text.len() >= PORTION {
            let portion = self.tuples.take();
            self.sink
                .send(portion)
                .await
                .with_context(|| format!("rows for {} were refused", self.table))?;
        }
        Ok(())
    }

    /// Sends the rest and ends the `COPY`: number of rows.
    pub async fn finish(mut self) -> Result<u64> {
        let rest = self.tuples.take();
        if !rest.is_empty() {
            self.sink
                .send(rest)
                .await
                .with_context(|| format!("rows for {} were refused", self.table))?;
        }
        self.sink
            .as_mut()
            .finish()
            .await
            .with_context(|| format!("rows for {} were refused", self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_copy_text_and_takes_begun_rows_back() {
        let mut tuples = Tuples::default();
        tuples.plain(1).text("a\tb\\c\nd").optional(None::<i32>);
        tuples.end();
        tuples.plain(2).text("gone");
        tuples.cancel();
        tuples.text("").plain(3);
        tuples.end();
        assert_eq!(tuples.take(), "1\ta\\tb\\\\c\\nd\t\\N\n\t3\n");
    }
}
