//! What became of the rows: the summary for the terminal, and the files beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files::write_private;

/// What was done about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A member was added.
    Created,
    /// An invitation was made or renewed.
    Invited,
    /// Job title, number, status or role.
    Updated,
    /// Another home unit.
    Moved,
    /// A member who had left is one again.
    Restored,
    /// A membership or an invitation was ended.
    Ended,
    /// Nothing, because it is so already.
    Unchanged,
    /// Nothing, because it cannot be done.
    Failed,
}

/// The order of the summary.
const ACTIONS: [Action; 8] = [
    Action::Created,
    Action::Invited,
    Action::Updated,
    Action::Moved,
    Action::Restored,
    Action::Ended,
    Action::Unchanged,
    Action::Failed,
];

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Created => "created",
            Self::Invited => "invited",
            Self::Updated => "updated",
            Self::Moved => "moved",
            Self::Restored => "restored",
            Self::Ended => "ended",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        })
    }
}

/// What became of one row, as `lms.import_people` answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Outcome {
    /// The line of the file; none for somebody whom it does not name.
    pub line: Option<u64>,
    /// What was done.
    pub action: Action,
    /// The number in the row.
    pub employee_number: Option<String>,
    /// The address in the row.
    pub email: Option<String>,
    /// The invitation that was made, renewed or ended.
    pub invitation_id: Option<String>,
    /// What belongs into the invitation's link; shown this once.
    pub token: Option<String>,
    /// Stable name of the fault, or of what is to be known about the row.
    pub code: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Particulars of it.
    pub details: Option<Value>,
}

/// What an import did; its `Display` is the summary for the terminal.
#[derive(Debug)]
pub struct Report {
    /// Nothing was written: this is what would have been done.
    pub dry_run: bool,
    /// One for each row of the file in its order, then one for each person whom it does not name.
    pub outcomes: Vec<Outcome>,
    /// Why nobody was ended, where that was asked for and not done.
    pub nobody_ended: Option<&'static str>,
    /// The list of rows.
    pub path: PathBuf,
    /// The tokens of invitations, one JSON object a line, where there are any.
    pub invitations: Option<PathBuf>,
}

impl Report {
    /// How many rows were not applied.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.count(Action::Failed)
    }

    fn count(&self, action: Action) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.action == action)
            .count()
    }

    /// Writes the list of rows, and the tokens beside it.
    pub(super) fn write(&mut self) -> Result<()> {
        write_private(&self.path, &to_csv(&self.outcomes)?)
            .with_context(|| format!("the report {} cannot be written", self.path.display()))?;
        let invitations = to_lines(&self.outcomes);
        if !invitations.is_empty() {
            let path = self.path.with_extension("invitations.jsonl");
            write_private(&path, &invitations)
                .with_context(|| format!("the invitations {} cannot be written", path.display()))?;
            self.invitations = Some(path);
        }
        Ok(())
    }
}

/// Makes sure, before anything is done, that a report can be written to `path`.
pub(super) fn prepare(path: &Path) -> Result<()> {
    write_private(path, "")
        .with_context(|| format!("the report {} cannot be written", path.display()))
}

/// One line for each outcome, for a spreadsheet.
fn to_csv(outcomes: &[Outcome]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "line",
        "action",
        "employee_number",
        "email",
        "code",
        "message",
        "details",
    ])?;
    for outcome in outcomes {
        let text = |value: &Option<String>| harmless(value.as_deref().unwrap_or_default());
        writer.write_record([
            outcome
                .line
                .map(|line| line.to_string())
                .unwrap_or_default(),
            outcome.action.to_string(),
            text(&outcome.employee_number),
            text(&outcome.email),
            text(&outcome.code),
            text(&outcome.message),
            harmless(
                &outcome
                    .details
                    .as_ref()
                    .map(Value::to_string)
                    .unwrap_or_default(),
            ),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A spreadsheet takes a text that begins like this for a formula, and runs it.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// One JSON object for each token.
fn to_lines(outcomes: &[Outcome]) -> String {
    outcomes
        .iter()
        .filter(|outcome| outcome.token.is_some())
        .map(|outcome| {
            let line = json!({
                "email": outcome.email, "employee_number": outcome.employee_number,
                "invitation_id": outcome.invitation_id, "token": outcome.token,
            });
            format!("{line}\n")
        })
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(out, "nothing was changed; it would be:")?;
        }
        for action in ACTIONS {
            writeln!(out, "{:>10} {action}", self.count(action))?;
        }
        let mut codes: BTreeMap<(Action, &str), (usize, &str)> = BTreeMap::new();
        for outcome in &self.outcomes {
            if let Some(code) = &outcome.code {
                let message = outcome.message.as_deref().unwrap_or_default();
                codes
                    .entry((outcome.action, code))
                    .or_insert((0, message))
                    .0 += 1;
            }
        }
        if !codes.is_empty() {
            writeln!(out, "\n{:>10} {:<10} why", "rows", "action")?;
        }
        for ((action, code), (rows, message)) in codes {
            writeln!(out, "{rows:>10} {action:<10} {message} ({code})")?;
        }
        if let Some(why) = self.nobody_ended {
            writeln!(
                out,
                "\nnobody who is missing from the file was ended: {why}"
            )?;
        }
        writeln!(out, "\neach row: {}", self.path.display())?;
        if let Some(path) = &self.invitations {
            writeln!(
                out,
                "tokens for the links of invitations: {}",
                path.display()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(action: Action, code: Option<&str>) -> Outcome {
        Outcome {
            line: Some(2),
            action,
            employee_number: Some("=1+1".to_owned()),
            email: Some("@x".to_owned()),
            invitation_id: None,
            token: Some("-t".to_owned()),
            code: code.map(str::to_owned),
            message: Some("Why, so".to_owned()),
            details: Some(json!({ "line": 1 })),
        }
    }

    #[test]
    fn lists_rows_for_spreadsheets_that_run_formulas() {
        assert_eq!(
            to_csv(&[outcome(Action::Failed, Some("odd"))]).unwrap(),
            "line,action,employee_number,email,code,message,details\n\
             2,failed,'=1+1,'@x,odd,\"Why, so\",\"{\"\"line\"\":1}\"\n"
        );
        for text in ["-1", "+1", "\tx", "\rx"] {
            assert_eq!(harmless(text), format!("'{text}"));
        }
        assert_eq!(harmless("a=1"), "a=1");
    }

    #[test]
    fn writes_tokens_as_they_are() {
        assert_eq!(
            to_lines(&[outcome(Action::Invited, None)]),
            "{\"email\":\"@x\",\"employee_number\":\"=1+1\",\"invitation_id\":null,\"token\":\"-t\"}\n"
        );
    }

    #[test]
    fn counts_actions_and_codes() {
        let report = Report {
            dry_run: false,
            outcomes: vec![
                outcome(Action::Created, None),
                outcome(Action::Failed, Some("odd")),
                outcome(Action::Failed, Some("odd")),
            ],
            nobody_ended: None,
            path: PathBuf::from("r.csv"),
            invitations: None,
        };
        let text = report.to_string();
        assert!(
            text.contains("         1 created\n         0 invited\n"),
            "{text}"
        );
        assert!(
            text.contains("         2 failed     Why, so (odd)\n"),
            "{text}"
        );
        assert_eq!(report.failed(), 2);
    }
}
