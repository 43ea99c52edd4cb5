//! Imports of data that comes as files: a data set ([`oulad`]), the people of a tenant ([`feed`]) and courses ([`course`]),
//! which also go out as files.
//!
//! An import reads and checks everything first and writes afterwards: a damaged file leaves the database as it was.
//! What is there already is found by the source's own keys, so that running it again adds what is missing and changes
//! nothing else. Every row that is not taken as it stands is counted, and listed in a report file.

mod api;
mod copy;
pub mod course;
mod csv_file;
pub mod feed;
mod findings;
pub mod oulad;
mod people;
mod progress;

pub use findings::{Action, Reason, Tally};
