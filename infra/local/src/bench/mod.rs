//! `lyceum bench`: loads synthetic data of a known shape and measures, side by side, what the design promises.
//!
//! Nothing here asserts: a run ends well whatever the figures are. The bench has a cluster of its own, one database
//! for each scale.

mod audit;
mod chart;
mod completion;
mod database;
mod http;
mod load;
mod place;
mod plans;
mod recount;
mod report;
mod sample;
mod screens;

use std::path::Path;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::output;
use place::Place;
use report::Report;

/// How much data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// 2,000 people, 10,000 enrolments, 100,000 progress rows: seconds.
    S,
    /// 200,000 people, 1 M enrolments, 10 M progress rows: minutes, 10 GB.
    M,
    /// Three times m.
    L,
}

impl Scale {
    /// Its letter.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::S => "s",
            Self::M => "m",
            Self::L => "l",
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Load the synthetic data of a scale, unless it is there and current.
    Load(LoadArgs),
    /// Load if needed, measure, print a table; results go to .lyceum/bench/results.
    Run(RunArgs),
}

/// Arguments of `lyceum bench load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// How much data.
    #[arg(long, value_enum, default_value = "s")]
    pub scale: Scale,
    /// Load again even if the data is current.
    #[arg(long)]
    pub again: bool,
}

/// Arguments of `lyceum bench run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// How much data.
    #[arg(long, value_enum, default_value = "s")]
    pub scale: Scale,
    /// How often each pair is measured; the table shows the median and the spread.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Requests or transactions of each side in one round.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    pub repeats: u32,
}

/// How often things are measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    rounds: usize,
    repeats: usize,
}

/// Runs `lyceum bench`.
///
/// # Errors
/// When the cluster does not start, the data does not load, or a measured request fails.
pub async fn run(root: &Path, command: BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Load(arguments) => {
            let mut place = Place::open(root, arguments.scale).await?;
            let loaded = load::run(&place, arguments.again).await;
            place.close().await;
            loaded
        }
        BenchCommand::Run(arguments) => {
            let mut place = Place::open(root, arguments.scale).await?;
            let measured = measure(&mut place, &arguments).await;
            place.close().await;
            measured
        }
    }
}

async fn measure(place: &mut Place, arguments: &RunArgs) -> Result<()> {
    load::run(place, false).await?;
    let effort = Effort {
        rounds: arguments.rounds as usize,
        repeats: arguments.repeats as usize,
    };
    place.prepare().await?;
    place.serve().await?;
    let personas = database::personas(&place.admin().await?).await?;
    let mut report = Report::new(place, effort).await?;
    screens::measure(place, &personas, effort, &mut report).await?;
    database::measure(place, effort, &mut report).await?;
    completion::measure(place, &personas, effort, &mut report).await?;
    audit::measure(place, &personas, effort, &mut report).await?;
    recount::measure(place, effort, &mut report).await?;
    let folder = place.results_folder();
    report.write(&folder)?;
    plans::record(place, &personas, &folder).await?;
    output::line(report.table());
    output::line(format!("written to {}", folder.display()));
    Ok(())
}

/// Tells how far a long run is.
fn say(line: &str) {
    eprintln!("  {line}");
}
