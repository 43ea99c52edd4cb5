//! What an import did with rows that it could not take as they stand.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// What was done with the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Left out.
    Skipped,
    /// Taken, with a value changed.
    Repaired,
    /// Taken as it is, though it is odd.
    Flagged,
}

/// Why a row needed attention. Each reason has one way of dealing with it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// What is done with such rows.
    pub action: Action,
    /// Stable name, for programs.
    pub code: &'static str,
    /// What is wrong and what was done, for people.
    pub meaning: &'static str,
}

/// How many rows had one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows of the files.
    pub rows: u64,
    /// Enrolments that these rows are about; 0 where the reason is not about enrolments.
    pub enrollments: u64,
}

/// One remark about a row while it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub reason: &'static Reason,
    pub detail: String,
}

impl Remark {
    pub fn new(reason: &'static Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// Counts by reason, and the report file: one JSON object a line,
/// `{file, line, reason, action, detail, enrollment}`.
pub(super) struct Findings {
    path: PathBuf,
    writer: BufWriter<File>,
    tallies: BTreeMap<&'static Reason, Tally>,
    last_enrollment: BTreeMap<&'static Reason, String>,
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    line: u64,
    reason: &'a str,
    action: Action,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment: Option<&'a str>,
}

impl Findings {
    /// Begins a report file in `dir`, which is made if it is missing.
    pub fn begin(dir: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| {
            format!("the folder for reports, {}, cannot be made", dir.display())
        })?;
        let path = dir.join(format!(
            "{name}-{}.jsonl",
            chrono::Utc::now().format("%Y%m%dT%H%M%S%.3fZ")
        ));
        let file = File::create(&path)
            .with_context(|| format!("the report {} cannot be written", path.display()))?;
        Ok(Self {
            path,
            writer: BufWriter::new(file),
            tallies: BTreeMap::new(),
            last_enrollment: BTreeMap::new(),
        })
    }

    /// Where the report file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records one row. Rows about the same enrolment come one after another.
    pub fn add(
        &mut self,
        file: &str,
        line: u64,
        remark: &Remark,
        enrollment: Option<&str>,
    ) -> Result<()> {
        let Remark { reason, detail } = remark;
        let tally = self.tallies.entry(reason).or_default();
        tally.rows += 1;
        if let Some(enrollment) = enrollment
            && self.last_enrollment.get(reason).map(String::as_str) != Some(enrollment)
        {
            tally.enrollments += 1;
            self.last_enrollment.insert(reason, enrollment.to_owned());
        }
        let line = Line {
            file,
            line,
            reason: reason.code,
            action: reason.action,
            detail,
            enrollment,
        };
        serde_json::to_writer(&mut self.writer, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.write_all(b"\n"))
            .with_context(|| format!("the report {} cannot be written", self.path.display()))
    }

    /// Closes the report file: its path, and the counts by reason, skipped rows first.
    pub fn finish(mut self) -> Result<(PathBuf, Vec<(&'static Reason, Tally)>)> {
        self.writer
            .flush()
            .with_context(|| format!("the report {} cannot be written", self.path.display()))?;
        Ok((self.path, self.tallies.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ODD: Reason = Reason {
        action: Action::Flagged,
        code: "odd",
        meaning: "odd, but taken",
    };

    #[test]
    fn counts_rows_and_enrolments_and_lists_each_row() {
        let dir = std::env::temp_dir().join(format!("lyceum-findings-{}", std::process::id()));
        let mut findings = Findings::begin(&dir, "test").unwrap();
        for (line, enrollment) in [(2, "a"), (3, "a"), (4, "b")] {
            findings
                .add(
                    "x.csv.gz",
                    line,
                    &Remark::new(&ODD, "why"),
                    Some(enrollment),
                )
                .unwrap();
        }
        let (path, tallies) = findings.finish().unwrap();
        assert_eq!(
            tallies,
            [(
                &ODD,
                Tally {
                    rows: 3,
                    enrollments: 2
                }
            )]
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().last(),
            Some(
                r#"{"file":"x.csv.gz","line":4,"reason":"odd","action":"flagged","detail":"why","enrollment":"b"}"#
            )
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
