//! `lyceum export`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::import::course::{Form, NOT_EXPORTED, Target, export};
use crate::output;
use crate::stack::Stack;

/// What can be exported.
#[derive(Debug, Subcommand)]
pub enum What {
    /// The draft of a course, as `lyceum import course` takes it.
    Course {
        /// Slug of the course.
        slug: String,
        /// Where it is.
        #[command(flatten)]
        target: Target,
        /// A folder of Markdown files, or one JSON document. [default: by the name of OUT]
        #[arg(long, value_enum)]
        format: Option<Form>,
        /// Where it goes; what is there already is not overwritten.
        out: PathBuf,
    },
}

/// Exports.
pub async fn run(stack: &Stack, what: What) -> Result<ExitCode> {
    let What::Course {
        slug,
        target,
        format,
        out,
    } = what;
    let place = super::import::place(stack, target).await?;
    export(&place, &slug, format, &out).await?;
    output::line(format!(
        "{slug} is in {}; not exported: {NOT_EXPORTED}",
        out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
