//! What the supervisor tells others: a small file, replaced at once whenever something changes.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use super::part::Condition;
use super::part::Part;
use crate::files;
use crate::stack::Stack;

/// The state of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The supervisor's process id.
    pub pid: u32,
    /// Fingerprint of the `lyceum` program that it runs.
    pub program: String,
    /// How often it was told that the database is ready.
    pub generation: u32,
    /// Every part in the order of its start.
    pub parts: Vec<PartState>,
    #[serde(skip)]
    saved: Option<String>,
}

/// The state of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartState {
    /// Its name, also that of its log.
    pub name: String,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// What it is doing.
    pub condition: Condition,
    /// How often it was started.
    pub starts: u32,
    /// How it ended the last time, if it ever did.
    pub last_end: Option<String>,
}

impl State {
    pub(super) fn new(program: &Path) -> Self {
        Self {
            pid: std::process::id(),
            program: files::fingerprint(program),
            generation: 0,
            parts: Vec::new(),
            saved: None,
        }
    }

    /// Writes the state if it changed.
    pub(super) fn save(&mut self, stack: &Stack, parts: &[Part]) -> Result<()> {
        self.parts = parts
            .iter()
            .map(|part| PartState {
                name: part.name.clone(),
                pid: part.pid(),
                condition: part.condition,
                starts: part.starts,
                last_end: part.last_end.clone(),
            })
            .collect();
        let text = serde_json::to_string_pretty(self)?;
        if self.saved.as_ref() != Some(&text) {
            files::write_public(&path(stack), &text)?;
            self.saved = Some(text);
        }
        Ok(())
    }

    /// Reads the state; none when the stack does not run.
    #[must_use]
    pub fn load(stack: &Stack) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path(stack)).ok()?).ok()
    }

    /// Forgets the state of a stack that does not run.
    pub(super) fn remove(stack: &Stack) {
        // It may not be there.
        let _ = std::fs::remove_file(path(stack));
    }
}

fn path(stack: &Stack) -> PathBuf {
    stack.dir.join("state.json")
}
