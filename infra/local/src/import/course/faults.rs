//! What is wrong with a source, and where.

use std::fmt;

/// One thing that keeps a source from being imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, below the folder that is imported.
    pub file: String,
    /// Its line, from 1; 0 where it is about the whole file.
    pub line: usize,
    /// Stable name.
    pub code: &'static str,
    /// The same for people.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {} ({})", self.file, self.message, self.code),
            line => write!(
                out,
                "{}:{line}: {} ({})",
                self.file, self.message, self.code
            ),
        }
    }
}

/// Faults of one file while it is read.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    file: &'a str,
    found: &'a mut Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub fn new(file: &'a str, found: &'a mut Vec<Fault>) -> Self {
        Self { file, found }
    }

    pub fn add(&mut self, line: usize, code: &'static str, message: impl Into<String>) {
        self.found.push(Fault {
            file: self.file.to_owned(),
            line,
            code,
            message: message.into(),
        });
    }
}
