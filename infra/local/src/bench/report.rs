//! Results: a table to read, JSON to keep, a chart to look at.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::Effort;
use super::chart;
use super::place::{Place, memory_megabytes};
use super::sample::{Rounds, median};
use crate::files;

/// What the design asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Shown beside another row, asked for by nobody.
    Unset,
}

impl Bar {
    /// Share of what is allowed that `value` takes: 1 is just within.
    pub(super) fn share(self, value: f64) -> Option<f64> {
        match self {
            Self::AtMost(limit) => Some((value / limit).max(0.0)),
            Self::AtLeast(limit) => Some(limit / value.max(f64::MIN_POSITIVE)),
            Self::Unset => None,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {limit}"),
            Self::AtLeast(limit) => format!(">= {limit}"),
            Self::Unset => String::new(),
        }
    }
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Ratio,
    Difference,
}

/// One line of the results.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) name: String,
    /// Of `ours` and `reference`: ms, or /s.
    pub(super) unit: &'static str,
    /// Median over the rounds.
    pub(super) ours: f64,
    /// Median over the rounds.
    pub(super) reference: f64,
    pub(super) kind: Kind,
    /// Median of the rounds' ratios or differences.
    pub(super) value: f64,
    /// Smallest of the rounds.
    pub(super) low: f64,
    /// Largest of the rounds.
    pub(super) high: f64,
    pub(super) bar: Bar,
}

impl Row {
    pub(super) fn ratio(
        group: &str,
        name: &str,
        unit: &'static str,
        rounds: &Rounds,
        bar: Bar,
    ) -> Self {
        Self::new(
            group,
            name,
            unit,
            rounds,
            bar,
            Kind::Ratio,
            &rounds.ratios(),
        )
    }

    pub(super) fn difference(
        group: &str,
        name: &str,
        unit: &'static str,
        rounds: &Rounds,
        bar: Bar,
    ) -> Self {
        Self::new(
            group,
            name,
            unit,
            rounds,
            bar,
            Kind::Difference,
            &rounds.differences(),
        )
    }

    fn new(
        group: &str,
        name: &str,
        unit: &'static str,
        rounds: &Rounds,
        bar: Bar,
        kind: Kind,
        values: &[f64],
    ) -> Self {
        Self {
            group: group.to_owned(),
            name: name.to_owned(),
            unit,
            ours: median(&rounds.ours),
            reference: median(&rounds.reference),
            kind,
            value: median(values),
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            bar,
        }
    }

    /// "1.12 x", or "+0.04 ms".
    pub(super) fn result(&self) -> String {
        match self.kind {
            Kind::Ratio => format!("{:.2} x", self.value),
            Kind::Difference => format!("{:+.3} {}", self.value, self.unit),
        }
    }

    /// Whether the bar is reached; unset bars always are.
    pub(super) fn reached(&self) -> bool {
        self.bar.share(self.value).is_none_or(|share| share <= 1.0)
    }

    fn number(&self, value: f64) -> String {
        if self.unit == "/s" {
            format!("{value:.0}/s")
        } else {
            format!("{value:.3} {}", self.unit)
        }
    }
}

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    at: String,
    scale: &'static str,
    machine: String,
    postgres: String,
    build: &'static str,
    enrollments: i64,
    lesson_progress: i64,
    rounds: usize,
    repeats: usize,
    rows: Vec<Row>,
}

impl Report {
    pub(super) async fn new(place: &Place, effort: Effort) -> Result<Self> {
        let row = place
            .admin()
            .await?
            .query_one(
                "select current_setting('server_version'), (select count(*) from lms.enrollments),
                   (select count(*) from lms.lesson_progress), current_setting('shared_buffers')",
                &[],
            )
            .await?;
        Ok(Self {
            at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            scale: place.scale.word(),
            machine: machine(),
            postgres: format!(
                "{}, shared_buffers {}",
                row.get::<_, &str>(0),
                row.get::<_, &str>(3)
            ),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            enrollments: row.get(1),
            lesson_progress: row.get(2),
            rounds: effort.rounds,
            repeats: effort.repeats,
            rows: Vec::new(),
        })
    }

    /// Adds a row below the others of its group.
    pub(super) fn add(&mut self, row: Row) {
        let place = self
            .rows
            .iter()
            .rposition(|other| other.group == row.group)
            .map_or(self.rows.len(), |last| last + 1);
        self.rows.insert(place, row);
    }

    /// The table as text.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "\nScale {}: {} enrolments, {} progress rows. {}; PostgreSQL {}; {} build.\n\
             Medians of {} rounds of {}; in brackets the smallest and largest round.\n",
            self.scale,
            self.enrollments,
            self.lesson_progress,
            self.machine,
            self.postgres,
            self.build,
            self.rounds,
            self.repeats
        );
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = &row.group;
                let _ = writeln!(text, "\n{group}");
            }
            let _ = writeln!(
                text,
                "  {} {:<50} {:>12} {:>12} {:>11} [{:.2} .. {:.2}] {}",
                if row.reached() { ' ' } else { '!' },
                row.name,
                row.number(row.ours),
                row.number(row.reference),
                row.result(),
                row.low,
                row.high,
                row.bar.text()
            );
        }
        text.push_str("\n! beyond what docs/benchmarks.md asks for. Columns: ours, reference, the comparison, its spread, its bar.\n");
        text
    }

    /// Writes `table.txt`, `results.json` and `results.svg` into `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        files::write_public(&folder.join("table.txt"), &self.table())?;
        files::write_public(
            &folder.join("results.json"),
            &serde_json::to_string_pretty(self)?,
        )?;
        let title = format!(
            "Lyceum, scale {}: share of what each bar allows",
            self.scale
        );
        files::write_public(&folder.join("results.svg"), &chart::svg(&title, &self.rows))
    }
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{model}, {cores} cores, {} GB",
        memory_megabytes().div_ceil(1024)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, reference: f64, bar: Bar) -> Row {
        let mut rounds = Rounds::default();
        rounds.add(&[ours], &[reference]);
        Row::ratio("group", "name", "ms", &rounds, bar)
    }

    #[test]
    fn a_bar_is_reached_from_its_own_side() {
        assert!(row(1.1, 1.0, Bar::AtMost(1.15)).reached());
        assert!(!row(1.2, 1.0, Bar::AtMost(1.15)).reached());
        assert!(row(0.9, 1.0, Bar::AtLeast(0.85)).reached());
        assert!(!row(0.8, 1.0, Bar::AtLeast(0.85)).reached());
        assert!(row(9.0, 1.0, Bar::Unset).reached());
    }
}
