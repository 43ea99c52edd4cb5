//! What reading a curriculum of another make gives: courses, and all that was not taken as it stands.

use std::borrow::Cow;

use crate::import::findings::Remark;
use crate::import::{Action, Reason};

use super::bank::Bank;
use super::document::Course;

/// Courses from elsewhere.
#[derive(Debug, Default)]
pub(super) struct Curriculum {
    pub courses: Vec<Course>,
    /// Assessments, with the slugs of their courses.
    pub banks: Vec<(String, Bank)>,
    pub remarks: Vec<Located>,
    /// What the source holds and the courses do not, with how many of it.
    pub not_imported: Vec<(String, u64)>,
}

/// A remark and the line of the file that it is about; 0 where there is none.
#[derive(Debug)]
pub(super) struct Located {
    pub file: Cow<'static, str>,
    pub line: u64,
    pub remark: Remark,
}

pub(super) const fn reason(action: Action, code: &'static str, meaning: &'static str) -> Reason {
    Reason {
        action,
        code,
        meaning,
    }
}

/// Finds the lines of a file on which its values stand.
pub(super) struct Lines<'a> {
    file: &'static str,
    text: &'a str,
}

impl<'a> Lines<'a> {
    pub fn new(file: &'static str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// A remark about the value that is `nth` (from 0) in the file, written in quotes.
    pub fn remark(
        &self,
        value: &str,
        nth: usize,
        reason: &'static Reason,
        detail: impl Into<String>,
    ) -> Located {
        let place = self
            .text
            .match_indices(&format!("\"{value}\""))
            .nth(nth)
            .map(|(place, _)| place);
        Located {
            file: Cow::Borrowed(self.file),
            line: place.map_or(0, |place| {
                self.text[..place].matches('\n').count() as u64 + 1
            }),
            remark: Remark::new(reason, detail),
        }
    }
}
