//! Imports of data sets that come as files.
//!
//! An import reads and checks everything first, into temporary tables, and writes afterwards: a damaged file leaves
//! the database as it was. Whatever it writes has an id derived from the source's own keys, so that running it again
//! adds what is missing and changes nothing else. Every row that is not taken as it stands is counted, and listed in
//! a report file.

mod copy;
mod csv_file;
mod findings;
pub mod oulad;
mod people;
mod progress;

pub use findings::{Action, Reason, Tally};
