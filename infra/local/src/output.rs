//! Printing that does not die with its reader: `lyceum up | head` must still bring the stack up.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line to standard output; nobody reading it is no error.
pub fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
