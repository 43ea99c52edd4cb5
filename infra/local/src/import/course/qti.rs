//! QTI 3 (1EdTech Question and Test Interoperability): items and tests become assessments, as far as their interactions
//! have a type of question here. Whatever does not is left out and said.

mod item;
pub(super) mod package;
#[cfg(test)]
mod tests;
mod xml;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use roxmltree::{Document, Node};

use super::bank::{Assessment, Bank, Question, Section};
use super::document::{Decimal, slug_of, title_of};
use super::source::{Located, reason};
use crate::import::Action::{Flagged, Repaired, Skipped};
use crate::import::Reason;
use crate::import::findings::Remark;
use item::Item;
use package::Package;

static NOT_XML: Reason = reason(
    Skipped,
    "not_xml",
    "file is no XML, or has a DTD or entities, which are refused",
);
static NO_CONTENT: Reason = reason(
    Skipped,
    "no_content",
    "XML that is neither an item nor a test of QTI 3",
);
static OLDER: Reason = reason(
    Skipped,
    "older_version",
    "item or test of an earlier version of QTI; convert it to QTI 3 first",
);
static REPEATED_ITEM: Reason = reason(
    Skipped,
    "repeated_item",
    "item whose identifier another one has; the first stands",
);
static IN_NO_TEST: Reason = reason(
    Skipped,
    "in_no_test",
    "item that no test of the package refers to",
);
static ASKED_TWICE: Reason = reason(
    Skipped,
    "asked_twice",
    "item that a test refers to again; a question is in one place",
);
static ITEM_MISSING: Reason = reason(
    Skipped,
    "item_missing",
    "item that a test refers to and that is not there, or was left out",
);
static NESTED: Reason = reason(
    Repaired,
    "sections_flattened",
    "section within a section; it stands beside it",
);
static DRAW: Reason = reason(
    Repaired,
    "fewer_to_draw_from",
    "section that draws more questions than it has here; it asks all",
);
static TEST_RULES: Reason = reason(
    Flagged,
    "test_rules_left_out",
    "rule of a test that has no place here (branching, preconditions, submission mode, outcome processing)",
);
static SHUFFLE: Reason = reason(
    Flagged,
    "shuffled_all",
    "some of the questions have their choices shuffled; here that holds for all of an assessment",
);

/// What QTI content gives.
#[derive(Debug)]
pub(super) struct Content {
    pub bank: Bank,
    pub remarks: Vec<Located>,
    /// What is not imported, with how many of it.
    pub not_imported: Vec<(String, u64)>,
}

struct Reader<'a> {
    /// Items by file.
    items: BTreeMap<&'a str, Item>,
    remarks: Vec<Located>,
    asked: BTreeSet<String>,
}

/// Reads a package. `name` is what its assessment is called where there is no test.
///
/// # Errors
/// When there is nothing of QTI 3 in it.
pub(super) fn read(name: &str, package: &Package) -> Result<Content> {
    let mut reader = Reader {
        items: BTreeMap::new(),
        remarks: Vec::new(),
        asked: BTreeSet::new(),
    };
    let mut not_imported: Vec<_> = package
        .others
        .iter()
        .map(|(ending, count)| (format!("files {ending}"), *count))
        .collect();
    let mut tests = Vec::new();
    let mut identifiers = BTreeSet::new();
    let mut manifests = 0;
    for (file, text) in &package.files {
        let document = match xml::parse(text) {
            Ok(document) => document,
            Err(why) => {
                reader.note(file, 0, &NOT_XML, why);
                continue;
            }
        };
        let root = document.root_element();
        match root.tag_name().name() {
            "qti-assessment-item" => match item::read(&document) {
                Ok((item, remarks)) => {
                    for (line, remark) in remarks {
                        reader.add(file, line, remark);
                    }
                    if identifiers.insert(item.question.question_key.clone()) {
                        reader.items.insert(file, item);
                    } else {
                        let key = item.question.question_key;
                        reader.note(file, 1, &REPEATED_ITEM, key);
                    }
                }
                Err((line, remark)) => reader.add(file, line, remark),
            },
            "qti-assessment-test" => tests.push((file.as_str(), document)),
            "assessmentItem" | "assessmentTest" | "questestinterop" => {
                reader.note(file, 1, &OLDER, root.tag_name().name());
            }
            "manifest" => manifests += 1,
            other => reader.note(file, 1, &NO_CONTENT, other),
        }
    }
    if manifests > 0 {
        not_imported.push(("manifests, with their metadata".to_owned(), manifests));
    }
    let mut bank = Bank::new();
    if tests.is_empty() {
        bank.assessments.extend(reader.loose(name));
    } else {
        for (file, document) in &tests {
            bank.assessments.extend(reader.test(file, document));
        }
        let rest: Vec<_> = reader
            .items
            .iter()
            .map(|(file, item)| ((*file).to_owned(), item.question.question_key.clone()))
            .filter(|(_, key)| !reader.asked.contains(key))
            .collect();
        for (file, key) in rest {
            reader.note(&file, 1, &IN_NO_TEST, key);
        }
    }
    if bank.assessments.is_empty() && reader.remarks.is_empty() {
        bail!("there is nothing of QTI 3 here");
    }
    Ok(Content {
        bank,
        remarks: reader.remarks,
        not_imported,
    })
}

impl Reader<'_> {
    fn note(&mut self, file: &str, line: u64, reason: &'static Reason, detail: impl Into<String>) {
        self.add(file, line, Remark::new(reason, detail));
    }

    fn add(&mut self, file: &str, line: u64, remark: Remark) {
        self.remarks.push(Located {
            file: Cow::Owned(file.to_owned()),
            line,
            remark,
        });
    }

    /// One assessment of all items, in the order of their files.
    fn loose(&mut self, name: &str) -> Option<Assessment> {
        let shuffled: Vec<bool> = self.items.values().map(|item| item.shuffles).collect();
        let questions: Vec<Question> = self
            .items
            .values()
            .map(|item| item.question.clone())
            .collect();
        if questions.is_empty() {
            return None;
        }
        let shuffle_options = self.shuffle(name, &shuffled);
        let key = slug_of(name, 100);
        Some(Assessment {
            key: if key.is_empty() {
                "questions".to_owned()
            } else {
                key
            },
            kind: "quiz",
            title: title_of(name),
            shuffle_options,
            questions,
            ..Assessment::default()
        })
    }

    fn shuffle(&mut self, file: &str, shuffled: &[bool]) -> bool {
        let some = shuffled.contains(&true);
        if some && shuffled.contains(&false) {
            let count = shuffled.iter().filter(|shuffles| **shuffles).count();
            self.note(file, 0, &SHUFFLE, format!("{count} of {}", shuffled.len()));
        }
        some
    }

    fn test(&mut self, file: &str, document: &Document<'_>) -> Option<Assessment> {
        let root = document.root_element();
        let identifier = root.attribute("identifier").unwrap_or_default();
        let title = root
            .attribute("title")
            .map(str::trim)
            .filter(|title| !title.is_empty())
            .unwrap_or(identifier);
        let mut assessment = Assessment {
            key: slug_of(identifier, 100),
            kind: "quiz",
            title: title.chars().take(300).collect(),
            ..Assessment::default()
        };
        let mut shuffled = Vec::new();
        for node in root.descendants().filter(Node::is_element) {
            let line = xml::line(node);
            match node.tag_name().name() {
                "qti-branch-rule"
                | "qti-pre-condition"
                | "qti-outcome-processing"
                | "qti-item-session-control" => {
                    self.note(file, line, &TEST_RULES, node.tag_name().name());
                }
                "qti-test-part" if node.attribute("submission-mode") == Some("individual") => {
                    self.note(file, line, &TEST_RULES, "submission-mode individual");
                }
                "qti-time-limits" if node.parent() == Some(root) => {
                    assessment.time_limit_minutes = node
                        .attribute("max-time")
                        .and_then(|seconds| seconds.trim().parse::<f64>().ok())
                        .filter(|seconds| *seconds > 0.0 && *seconds < 4e6)
                        .and_then(|seconds| format!("{:.0}", (seconds / 60.0).ceil()).parse().ok());
                }
                "qti-time-limits" => {
                    self.note(file, line, &TEST_RULES, "time limit of a part of the test");
                }
                "qti-ordering" if node.attribute("shuffle") == Some("true") => {
                    assessment.shuffle_questions = true;
                }
                "qti-assessment-section" => {
                    self.section(file, node, &mut assessment, &mut shuffled);
                }
                _ => {}
            }
        }
        assessment.shuffle_options = self.shuffle(file, &shuffled);
        (!assessment.questions.is_empty()).then_some(assessment)
    }

    fn section(
        &mut self,
        file: &str,
        node: Node<'_, '_>,
        assessment: &mut Assessment,
        shuffled: &mut Vec<bool>,
    ) {
        let identifier = node.attribute("identifier").unwrap_or_default();
        let key = item::key_of(identifier);
        let is_nested = node
            .parent()
            .is_some_and(|parent| parent.tag_name().name() == "qti-assessment-section");
        if is_nested {
            self.note(file, xml::line(node), &NESTED, identifier);
        }
        let before = assessment.questions.len();
        for reference in xml::children(node, "qti-assessment-item-ref") {
            let line = xml::line(reference);
            let href = reference.attribute("href").unwrap_or_default();
            let wanted = resolve(file, href);
            let Some(item) = self.items.get(wanted.as_str()) else {
                self.note(file, line, &ITEM_MISSING, href);
                continue;
            };
            let (mut question, shuffles) = (item.question.clone(), item.shuffles);
            if !self.asked.insert(question.question_key.clone()) {
                self.note(file, line, &ASKED_TWICE, href);
                continue;
            }
            question.section = Some(key.clone());
            let weight = xml::children(reference, "qti-weight")
                .find_map(|weight| weight.attribute("value")?.trim().parse::<f64>().ok());
            if let Some(weight) = weight.filter(|weight| *weight > 0.0) {
                question.points = Decimal(item::two_digits(question.points.0 * weight));
            }
            shuffled.push(shuffles);
            assessment.questions.push(question);
        }
        let count = assessment.questions.len() - before;
        if count == 0 {
            return;
        }
        let select = xml::children(node, "qti-selection")
            .find_map(|select| select.attribute("select")?.trim().parse::<usize>().ok())
            .filter(|select| *select > 0);
        if let Some(select) = select.filter(|select| *select > count) {
            let detail = format!("{identifier}: {select} of {count}");
            self.note(file, xml::line(node), &DRAW, detail);
        }
        let title = node
            .attribute("title")
            .map(str::trim)
            .filter(|title| !title.is_empty())
            .unwrap_or(identifier);
        assessment.sections.push(Section {
            key,
            title: title.chars().take(300).collect(),
            draw_count: select.filter(|select| *select <= count),
        });
    }
}

/// The file that a reference in another file means. It names a file of the package or none.
fn resolve(from: &str, href: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in href.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
