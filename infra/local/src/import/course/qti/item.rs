//! One item of QTI 3 as a question.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};
use serde_json::{Value, json};

use super::super::bank::{Question, entries};
use super::super::document::Decimal;
use super::super::source::reason;
use super::xml;
use crate::import::Action::{Flagged, Repaired, Skipped};
use crate::import::Reason;
use crate::import::findings::Remark;

static NAMELESS: Reason = reason(Skipped, "nameless_item", "item without a usable identifier");
static ADAPTIVE: Reason = reason(
    Skipped,
    "adaptive_item",
    "adaptive item: it is answered in several steps, and questions here in one",
);
static TEMPLATE: Reason = reason(
    Skipped,
    "templated_item",
    "item whose text or answer is computed anew for each attempt",
);
static NO_INTERACTION: Reason = reason(Skipped, "no_interaction", "item that asks nothing");
static SEVERAL: Reason = reason(
    Skipped,
    "several_interactions",
    "item with more than one interaction; a question here has one answer",
);
static UNKNOWN: Reason = reason(
    Skipped,
    "unknown_interaction",
    "item with an interaction that no type of question here corresponds to",
);
static PICTURE: Reason = reason(
    Skipped,
    "not_only_text",
    "item that shows a picture, a formula in MathML or other media; prompts here are text",
);
static NO_KEY: Reason = reason(
    Skipped,
    "no_usable_answer",
    "item without a right answer that can be graded here",
);
static PAIRS: Reason = reason(
    Skipped,
    "not_one_to_one",
    "item that matches an entry with none or with several; here each has one",
);
static NO_PROMPT: Reason = reason(Skipped, "empty_item", "item without a text");
static SCORING: Reason = reason(
    Flagged,
    "scoring_differs",
    "points of single answers differ from how partial credit works here; the right answer earns the same",
);
static PROCESSING: Reason = reason(
    Flagged,
    "own_processing",
    "item with rules of its own for its points; it is graded by its right answer",
);
static FEEDBACK: Reason = reason(
    Flagged,
    "feedback_left_out",
    "feedback that depends on the answer; explanations here do not",
);
static CASE: Reason = reason(
    Flagged,
    "case_for_all",
    "capitals count for some of the answers; here they count for all or none: none",
);
static UPLOAD_TYPE: Reason = reason(
    Flagged,
    "upload_type_left_out",
    "upload for certain media types; any file may be handed in",
);
static LIMITS: Reason = reason(
    Flagged,
    "choice_limits_left_out",
    "least or most number of choices; here any number may be chosen",
);
static KEY_CHANGED: Reason = reason(
    Repaired,
    "identifier_changed",
    "identifier with signs that a question's key does not have",
);

type Remarks = Vec<(u64, Remark)>;
type Refused = (u64, Remark);

/// A question, and whether its choices are shuffled.
#[derive(Debug, PartialEq)]
pub(super) struct Item {
    pub question: Question,
    pub shuffles: bool,
}

/// How an answer is declared.
#[derive(Debug, Default)]
struct Declaration {
    is_multiple: bool,
    base_type: String,
    correct: Vec<String>,
    mapping: Option<Mapping>,
}

#[derive(Debug, Default)]
struct Mapping {
    /// Key, points, and whether capitals count.
    entries: Vec<(String, f64, bool)>,
    default: f64,
    lower: Option<f64>,
    upper: Option<f64>,
}

impl Mapping {
    fn of(&self, key: &str) -> f64 {
        self.entries
            .iter()
            .find(|(entry, _, _)| entry == key)
            .map_or(self.default, |(_, points, _)| *points)
    }

    fn most(&self) -> f64 {
        self.entries
            .iter()
            .map(|(_, points, _)| *points)
            .fold(0.0, f64::max)
    }
}

/// What becomes of the answer's points.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Processing {
    Match,
    Map,
    Own,
}

/// Makes a question of an item, or says why not.
pub(super) fn read(document: &Document<'_>) -> Result<(Item, Remarks), Refused> {
    let root = document.root_element();
    let refuse = |node: Node<'_, '_>, reason, detail: &str| {
        Err((xml::line(node), Remark::new(reason, detail)))
    };
    let identifier = root.attribute("identifier").unwrap_or_default().trim();
    let key = key_of(identifier);
    if key.is_empty() {
        return refuse(root, &NAMELESS, identifier);
    }
    if root.attribute("adaptive") == Some("true") {
        return refuse(root, &ADAPTIVE, identifier);
    }
    for name in [
        "qti-template-declaration",
        "qti-template-processing",
        "qti-printed-variable",
    ] {
        if let Some(node) = xml::find(root, name) {
            return refuse(node, &TEMPLATE, identifier);
        }
    }
    let Some(body) = xml::find(root, "qti-item-body") else {
        return refuse(root, &NO_INTERACTION, identifier);
    };
    let interactions: Vec<_> = body
        .descendants()
        .filter(|node| node.is_element() && is_interaction(node.tag_name().name()))
        .collect();
    let interaction = match interactions[..] {
        [] => return refuse(body, &NO_INTERACTION, identifier),
        [one] => one,
        [_, second, ..] => return refuse(second, &SEVERAL, identifier),
    };
    let mut remarks = Vec::new();
    if key != identifier {
        remarks.push((xml::line(root), Remark::new(&KEY_CHANGED, identifier)));
    }
    for node in root.descendants().filter(Node::is_element) {
        if matches!(
            node.tag_name().name(),
            "qti-modal-feedback" | "qti-feedback-block" | "qti-feedback-inline"
        ) {
            remarks.push((xml::line(node), Remark::new(&FEEDBACK, identifier)));
        }
    }

    let mut prompt = Text::default();
    prompt.element(body);
    if let Some(line) = prompt.not_text {
        return Err((line, Remark::new(&PICTURE, identifier)));
    }
    let prompt = prompt.finish();
    if prompt.is_empty() {
        return refuse(body, &NO_PROMPT, identifier);
    }
    let mut reader = Reader {
        root,
        identifier,
        interaction,
        declaration: declaration(root, interaction.attribute("response-identifier")),
        processing: processing(root),
        remarks,
    };
    if reader.processing == Processing::Own && reader.tolerance().is_none() {
        reader.note(&PROCESSING, identifier);
    }
    let (mut question, shuffles) = reader.question(&key, prompt)?;
    question.points = Decimal(reader.points(&question));
    Ok((Item { question, shuffles }, reader.remarks))
}

struct Reader<'a, 'input> {
    root: Node<'a, 'input>,
    identifier: &'a str,
    interaction: Node<'a, 'input>,
    declaration: Declaration,
    processing: Processing,
    remarks: Remarks,
}

impl Reader<'_, '_> {
    fn note(&mut self, reason: &'static Reason, detail: impl Into<String>) {
        self.remarks
            .push((xml::line(self.interaction), Remark::new(reason, detail)));
    }

    fn refused(&self, reason: &'static Reason, detail: &str) -> Refused {
        let detail = if detail.is_empty() {
            self.identifier.to_owned()
        } else {
            format!("{}: {detail}", self.identifier)
        };
        (xml::line(self.interaction), Remark::new(reason, detail))
    }

    fn question(&mut self, key: &str, prompt: String) -> Result<(Question, bool), Refused> {
        let shuffles = self.interaction.attribute("shuffle") == Some("true");
        let (kind, content, answer, scoring) = match self.interaction.tag_name().name() {
            "qti-choice-interaction" => self.choice("qti-simple-choice")?,
            "qti-inline-choice-interaction" => self.choice("qti-inline-choice")?,
            "qti-text-entry-interaction" => self.text_entry()?,
            "qti-match-interaction" => self.matching()?,
            "qti-order-interaction" => self.ordering()?,
            "qti-extended-text-interaction" => ("essay", json!({}), self.by_hand(), None),
            "qti-upload-interaction" => {
                if let Some(kind) = self.interaction.attribute("type") {
                    self.note(&UPLOAD_TYPE, format!("{}: {kind}", self.identifier));
                }
                ("file_upload", json!({}), self.by_hand(), None)
            }
            other => return Err(self.refused(&UNKNOWN, other)),
        };
        let mut question = Question::new(key, kind, prompt, content, Some(answer));
        question.scoring = scoring;
        Ok((question, shuffles))
    }

    /// Entries with their texts; their identifiers are told apart.
    fn entries(
        &self,
        parent: Node<'_, '_>,
        name: &'static str,
    ) -> Result<Vec<(String, String)>, Refused> {
        let mut found: Vec<(String, String)> = Vec::new();
        for node in xml::children(parent, name) {
            let id = node.attribute("identifier").unwrap_or_default().trim();
            let mut text = Text::default();
            text.element(node);
            if text.not_text.is_some() {
                return Err(self.refused(&PICTURE, id));
            }
            let text = text.finish();
            if id.is_empty() || text.is_empty() || found.iter().any(|(other, _)| other == id) {
                return Err(self.refused(&NO_PROMPT, id));
            }
            found.push((id.to_owned(), text));
        }
        Ok(found)
    }

    fn list(found: &[(String, String)]) -> Value {
        entries(found.iter().map(|(id, text)| (id.as_str(), text.as_str())))
    }

    fn choice(
        &mut self,
        name: &'static str,
    ) -> Result<(&'static str, Value, Value, Option<&'static str>), Refused> {
        let choices = self.entries(self.interaction, name)?;
        let correct: Vec<String> = self.right_keys();
        let known = correct
            .iter()
            .all(|key| choices.iter().any(|(id, _)| id == key));
        if choices.len() < 2 || correct.is_empty() || !known {
            return Err(self.refused(&NO_KEY, ""));
        }
        let content = json!({ "options": Self::list(&choices) });
        if !self.declaration.is_multiple {
            let [correct] = &correct[..] else {
                return Err(self.refused(
                    &NO_KEY,
                    "several right answers, of which one is to be chosen",
                ));
            };
            if let Some(mapping) = &self.declaration.mapping
                && self.processing == Processing::Map
                && choices
                    .iter()
                    .any(|(id, _)| id != correct && mapping.of(id) != 0.0)
            {
                let detail = self.identifier.to_owned();
                self.note(&SCORING, detail);
            }
            return Ok(("single", content, json!({ "correct": correct }), None));
        }
        let most = self
            .interaction
            .attribute("max-choices")
            .unwrap_or("0")
            .trim();
        let least = self
            .interaction
            .attribute("min-choices")
            .unwrap_or("0")
            .trim();
        if !["0", ""].contains(&least)
            || most
                .parse::<usize>()
                .is_ok_and(|most| most > 0 && most < choices.len())
        {
            let detail = format!("{}: {least} to {most}", self.identifier);
            self.note(&LIMITS, detail);
        }
        let scoring = if self.processing == Processing::Map {
            let ids: Vec<&str> = choices.iter().map(|(id, _)| id.as_str()).collect();
            Some(self.partial(&correct, &ids))
        } else {
            None
        };
        Ok(("multiple", content, json!({ "correct": correct }), scoring))
    }

    /// The kind of partial credit that a mapping is, or is closest to.
    fn partial(&mut self, correct: &[String], all: &[&str]) -> &'static str {
        let Some(mapping) = &self.declaration.mapping else {
            return "partial";
        };
        let share = mapping.of(&correct[0]);
        let is_right = |id: &&&str| correct.iter().any(|right| right == *id);
        let same = correct.iter().all(|id| mapping.of(id) == share) && share > 0.0;
        let wrong: Vec<f64> = all
            .iter()
            .filter(|id| !is_right(id))
            .map(|id| mapping.of(id))
            .collect();
        let scoring = if wrong.iter().any(|points| *points < 0.0) && mapping.lower.is_none() {
            "partial_negative"
        } else {
            "partial"
        };
        if !same || wrong.iter().any(|points| *points != -share) {
            let detail = self.identifier.to_owned();
            self.note(&SCORING, detail);
        }
        scoring
    }

    /// What is right: as declared, or else what brings most points, or for several, any.
    fn right_keys(&self) -> Vec<String> {
        if !self.declaration.correct.is_empty() {
            return self.declaration.correct.clone();
        }
        let Some(mapping) = &self.declaration.mapping else {
            return Vec::new();
        };
        let most = mapping.most();
        mapping
            .entries
            .iter()
            .filter(|(_, points, _)| {
                *points > 0.0 && (self.declaration.is_multiple || *points == most)
            })
            .map(|(key, _, _)| key.clone())
            .collect()
    }

    fn text_entry(
        &mut self,
    ) -> Result<(&'static str, Value, Value, Option<&'static str>), Refused> {
        if matches!(self.declaration.base_type.as_str(), "integer" | "float") {
            return self.number();
        }
        let mapping = self
            .declaration
            .mapping
            .as_ref()
            .filter(|mapping| mapping.most() > 0.0);
        let mut accepted: Vec<Value> = Vec::new();
        let mut cases = BTreeSet::new();
        let mut texts = BTreeSet::new();
        let use_mapping =
            self.processing != Processing::Match || self.declaration.correct.is_empty();
        if let Some(mapping) = mapping.filter(|_| use_mapping) {
            for (text, points, case) in &mapping.entries {
                if *points <= 0.0 || !texts.insert(text.clone()) {
                    continue;
                }
                cases.insert(*case);
                if *points == mapping.most() {
                    accepted.push(json!({ "text": text }));
                } else {
                    // Six digits, at least one of them not 0.
                    let share = format!("{:.6}", (points / mapping.most()).max(0.000_001));
                    accepted.push(json!({ "text": text, "fraction": share }));
                }
            }
        } else {
            for text in &self.declaration.correct {
                if texts.insert(text.clone()) {
                    accepted.push(json!({ "text": text }));
                }
            }
            cases.insert(true);
        }
        if accepted.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
            return Err(self.refused(&NO_KEY, ""));
        }
        if cases.len() > 1 {
            let detail = self.identifier.to_owned();
            self.note(&CASE, detail);
        }
        // Texts are compared as QTI compares them: nothing but spaces is passed over.
        let answer = json!({
            "accepted": accepted,
            "case_sensitive": cases.len() == 1 && cases.contains(&true),
            "keep_diacritics": true,
            "keep_punctuation": true,
        });
        Ok(("short_answer", json!({}), answer, None))
    }

    fn number(&mut self) -> Result<(&'static str, Value, Value, Option<&'static str>), Refused> {
        let right = self.right_keys();
        let [value] = &right[..] else {
            return Err(self.refused(&NO_KEY, "not one right number"));
        };
        let value = value.trim().to_owned();
        if !is_number(&value) {
            return Err(self.refused(&NO_KEY, &value));
        }
        if let Some(mapping) = &self.declaration.mapping
            && self.processing == Processing::Map
            && (mapping.default != 0.0
                || mapping
                    .entries
                    .iter()
                    .any(|(key, points, _)| key.trim() != value && *points != 0.0))
        {
            let detail = self.identifier.to_owned();
            self.note(&SCORING, detail);
        }
        let mut answer = json!({ "value": value });
        if let Some((mode, tolerance)) = self.tolerance() {
            let parts: Vec<&str> = tolerance.split_whitespace().collect();
            let number = match parts[..] {
                [one] => one,
                [below, above] if below == above => below,
                _ => return Err(self.refused(&NO_KEY, "tolerance is not the same below and above")),
            };
            if mode == "relative" {
                // Per cent there, a share here.
                let Some(share) = hundredth(number) else {
                    return Err(self.refused(&NO_KEY, "tolerance"));
                };
                answer["tolerance"] = json!(share);
                answer["tolerance_kind"] = json!("relative");
            } else if mode == "absolute" {
                if !is_number(number) || number.starts_with('-') {
                    return Err(self.refused(&NO_KEY, "tolerance"));
                }
                answer["tolerance"] = json!(number);
            }
        }
        Ok(("numeric", json!({}), answer, None))
    }

    /// The tolerance of the one comparison that an item's own processing makes.
    fn tolerance(&self) -> Option<(String, String)> {
        let processing = xml::find(self.root, "qti-response-processing")?;
        let equal: Vec<_> = processing
            .descendants()
            .filter(|node| node.is_element() && node.tag_name().name() == "qti-equal")
            .collect();
        let [equal] = equal[..] else {
            return None;
        };
        Some((
            equal.attribute("tolerance-mode")?.to_owned(),
            equal.attribute("tolerance").unwrap_or_default().to_owned(),
        ))
    }

    fn matching(&mut self) -> Result<(&'static str, Value, Value, Option<&'static str>), Refused> {
        let sets: Vec<_> = xml::children(self.interaction, "qti-simple-match-set").collect();
        let [prompts, choices] = sets[..] else {
            return Err(self.refused(&NO_KEY, ""));
        };
        let prompts = self.entries(prompts, "qti-simple-associable-choice")?;
        let choices = self.entries(choices, "qti-simple-associable-choice")?;
        let mut pairs = serde_json::Map::new();
        for pair in self.pairs() {
            let parts: Vec<&str> = pair.split_whitespace().collect();
            let [prompt, choice] = parts[..] else {
                return Err(self.refused(&NO_KEY, &pair));
            };
            if !choices.iter().any(|(id, _)| id == choice)
                || !prompts.iter().any(|(id, _)| id == prompt)
            {
                return Err(self.refused(&NO_KEY, &pair));
            }
            if pairs.insert(prompt.to_owned(), json!(choice)).is_some() {
                return Err(self.refused(&PAIRS, prompt));
            }
        }
        if pairs.is_empty() {
            return Err(self.refused(&NO_KEY, ""));
        }
        if pairs.len() < prompts.len() || choices.len() < 2 {
            return Err(self.refused(&PAIRS, ""));
        }
        let mut scoring = None;
        if self.processing == Processing::Map {
            scoring = Some("partial");
            let mapping = self.declaration.mapping.as_ref();
            let is_plain = mapping.is_some_and(|mapping| {
                mapping.default == 0.0
                    && mapping
                        .entries
                        .iter()
                        .all(|(_, points, _)| *points == mapping.most())
            });
            if !is_plain {
                let detail = self.identifier.to_owned();
                self.note(&SCORING, detail);
            }
        }
        Ok((
            "matching",
            json!({ "prompts": Self::list(&prompts), "choices": Self::list(&choices) }),
            json!({ "pairs": pairs }),
            scoring,
        ))
    }

    fn pairs(&self) -> Vec<String> {
        if !self.declaration.correct.is_empty() {
            return self.declaration.correct.clone();
        }
        self.declaration
            .mapping
            .as_ref()
            .map_or_else(Vec::new, |mapping| {
                mapping
                    .entries
                    .iter()
                    .filter(|(_, points, _)| *points > 0.0)
                    .map(|(key, _, _)| key.clone())
                    .collect()
            })
    }

    fn ordering(&mut self) -> Result<(&'static str, Value, Value, Option<&'static str>), Refused> {
        let items = self.entries(self.interaction, "qti-simple-choice")?;
        let order = &self.declaration.correct;
        let all: BTreeSet<&str> = items.iter().map(|(id, _)| id.as_str()).collect();
        let named: BTreeSet<&str> = order.iter().map(String::as_str).collect();
        if items.len() < 2 || all != named || order.len() != items.len() {
            return Err(self.refused(&NO_KEY, "the right order does not name each once"));
        }
        Ok((
            "ordering",
            json!({ "items": Self::list(&items) }),
            json!({ "order": order }),
            None,
        ))
    }

    /// What graders of an essay or a file are told.
    fn by_hand(&self) -> Value {
        let mut texts: Vec<String> = Vec::new();
        for block in self.root.descendants().filter(|node| {
            node.is_element()
                && node.tag_name().name() == "qti-rubric-block"
                && node
                    .attribute("view")
                    .is_some_and(|view| view.split_whitespace().any(|view| view == "scorer"))
        }) {
            let mut text = Text::default();
            for child in block.children() {
                text.node(child);
            }
            texts.push(text.finish());
        }
        texts.extend(self.declaration.correct.iter().cloned());
        texts.retain(|text| !text.trim().is_empty());
        if texts.is_empty() {
            json!({})
        } else {
            json!({ "model_answer": texts.join("\n\n") })
        }
    }

    /// What all of it right is worth.
    fn points(&self, question: &Question) -> f64 {
        let mapped = self
            .declaration
            .mapping
            .as_ref()
            .filter(|_| self.processing == Processing::Map)
            .map(|mapping| {
                let sum = if question.kind == "multiple" || question.kind == "matching" {
                    mapping
                        .entries
                        .iter()
                        .map(|(_, points, _)| points.max(0.0))
                        .sum()
                } else {
                    mapping.most()
                };
                mapping.upper.map_or(sum, |upper| sum.min(upper))
            });
        let outcome = |identifier: &str| {
            xml::children(self.root, "qti-outcome-declaration")
                .find(|node| node.attribute("identifier") == Some(identifier))
        };
        let declared = outcome("MAXSCORE")
            .and_then(|node| xml::find(node, "qti-value"))
            .and_then(|value| xml::text(value).parse().ok())
            .or_else(|| {
                outcome("SCORE")?
                    .attribute("normal-maximum")?
                    .trim()
                    .parse()
                    .ok()
            });
        let points: f64 = mapped.or(declared).unwrap_or(1.0);
        let points = two_digits(points);
        if points > 0.0 && points < 1e5 {
            points
        } else {
            1.0
        }
    }
}

pub(super) fn two_digits(points: f64) -> f64 {
    (points * 100.0).round() / 100.0
}

/// A question's or section's key of an identifier, which may begin with an underscore and hold any letter.
pub(super) fn key_of(identifier: &str) -> String {
    identifier
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._:/-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(200)
        .collect()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    text.len() <= 100
        && !digits.is_empty()
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.matches('.').count() <= 1
}

/// A hundredth of a decimal, exactly.
fn hundredth(number: &str) -> Option<String> {
    if !is_number(number) || number.starts_with(['-', '+']) {
        return None;
    }
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let padded = format!("{whole:0>3}");
    let (whole, hundredths) = padded.split_at(padded.len() - 2);
    Some(format!("{whole}.{hundredths}{rest}"))
}

fn is_interaction(name: &str) -> bool {
    name.starts_with("qti-") && name.ends_with("-interaction")
}

fn declaration(root: Node<'_, '_>, identifier: Option<&str>) -> Declaration {
    let Some(node) = xml::children(root, "qti-response-declaration")
        .find(|node| node.attribute("identifier") == identifier)
    else {
        return Declaration::default();
    };
    let number = |node: Node<'_, '_>, name: &str| -> Option<f64> {
        node.attribute(name)?
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    };
    Declaration {
        is_multiple: node.attribute("cardinality") == Some("multiple"),
        base_type: node.attribute("base-type").unwrap_or_default().to_owned(),
        correct: xml::children(node, "qti-correct-response")
            .flat_map(|node| xml::children(node, "qti-value"))
            .map(xml::text)
            .collect(),
        mapping: xml::children(node, "qti-mapping")
            .next()
            .map(|node| Mapping {
                entries: xml::children(node, "qti-map-entry")
                    .filter_map(|entry| {
                        Some((
                            entry.attribute("map-key")?.trim().to_owned(),
                            number(entry, "mapped-value")?,
                            entry.attribute("case-sensitive") != Some("false"),
                        ))
                    })
                    .collect(),
                default: number(node, "default-value").unwrap_or_default(),
                lower: number(node, "lower-bound"),
                upper: number(node, "upper-bound"),
            }),
    }
}

fn processing(root: Node<'_, '_>) -> Processing {
    let Some(node) = xml::find(root, "qti-response-processing") else {
        return Processing::Match;
    };
    let template = node.attribute("template").unwrap_or_default();
    let template = template.trim_end_matches(".xml");
    if template.ends_with("map_response") {
        Processing::Map
    } else if template.ends_with("match_correct") {
        Processing::Match
    } else {
        Processing::Own
    }
}

/// The text of a body: paragraphs, with a blank where something is to be filled in.
#[derive(Default)]
struct Text {
    text: String,
    /// Where there is something that is no text.
    not_text: Option<u64>,
    /// A paragraph begins with the next word.
    breaks: bool,
    spaces: bool,
}

impl Text {
    fn finish(self) -> String {
        self.text.trim().to_owned()
    }

    fn word(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.spaces = true;
                continue;
            }
            if self.breaks && !self.text.is_empty() {
                self.text.push_str("\n\n");
            } else if self.spaces && !self.text.is_empty() && !self.text.ends_with('\n') {
                self.text.push(' ');
            }
            self.breaks = false;
            self.spaces = false;
            self.text.push(c);
        }
    }

    /// What is in an element.
    fn element(&mut self, node: Node<'_, '_>) {
        for child in node.children() {
            self.node(child);
        }
    }

    fn node(&mut self, node: Node<'_, '_>) {
        if node.is_text() {
            self.word(node.text().unwrap_or_default());
            return;
        }
        if !node.is_element() {
            return;
        }
        match node.tag_name().name() {
            "img" | "object" | "picture" | "video" | "audio" | "svg" | "math" | "iframe"
            | "embed" | "canvas" => {
                self.not_text.get_or_insert(xml::line(node));
            }
            "br" => {
                if !self.text.is_empty() && !self.breaks {
                    self.text.push('\n');
                    self.spaces = false;
                }
            }
            "pre" => {
                self.breaks = true;
                let text: String = node
                    .descendants()
                    .filter_map(|node| if node.is_text() { node.text() } else { None })
                    .collect();
                if !self.text.is_empty() {
                    self.text.push_str("\n\n");
                }
                self.text.push_str(text.trim_matches('\n'));
            }
            "qti-text-entry-interaction" | "qti-inline-choice-interaction" => {
                self.word("____");
            }
            name if is_interaction(name) => {
                self.breaks = true;
                for prompt in xml::children(node, "qti-prompt") {
                    self.element(prompt);
                }
                // A picture beside the choices is part of the question, too.
                let picture = node.descendants().find(|node| {
                    node.is_element()
                        && matches!(
                            node.tag_name().name(),
                            "img" | "object" | "picture" | "math"
                        )
                });
                if let Some(picture) = picture {
                    self.not_text.get_or_insert(xml::line(picture));
                }
                self.breaks = true;
            }
            "qti-rubric-block"
                if !node.attribute("view").is_some_and(|view| {
                    view.split_whitespace().any(|view| view == "candidate")
                }) => {}
            "qti-feedback-block"
            | "qti-feedback-inline"
            | "script"
            | "style"
            | "qti-stylesheet" => {}
            "p" | "div" | "li" | "ul" | "ol" | "dl" | "dt" | "dd" | "blockquote" | "table"
            | "tr" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "section" | "qti-rubric-block"
            | "qti-content-body" => {
                self.breaks = true;
                self.element(node);
                self.breaks = true;
            }
            "td" | "th" => {
                self.spaces = true;
                self.element(node);
                self.spaces = true;
            }
            _ => self.element(node),
        }
    }
}
