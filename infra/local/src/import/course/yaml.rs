//! Front matter: the YAML between two lines of `---` at the beginning of a file.
//!
//! Plain YAML without anchors, aliases and tags: a file of a few bytes cannot unfold to gigabytes. A value is read as what
//! its field asks for, so a title may be `No` or `2024`.

use std::fmt::Write as _;
use std::str::FromStr;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::document::{Decimal, Object};
use super::faults::Faults;

/// Deepest nesting.
const DEEPEST: usize = 32;
/// Most bytes of front matter.
const LONGEST: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Line of the file, from 1.
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Vec<(String, usize, Node)>),
}

/// A file's front matter and the rest, with the line where each begins.
#[derive(Debug)]
pub(super) struct Split<'a> {
    pub front: Option<&'a str>,
    pub body: &'a str,
    pub body_line: usize,
}

/// Separates front matter from what follows it.
pub(super) fn split<'a>(text: &'a str, faults: &mut Faults<'_>) -> Split<'a> {
    let without = Split {
        front: None,
        body: text,
        body_line: 1,
    };
    let Some(rest) = text.strip_prefix("---\n") else {
        return without;
    };
    let mut at = 0;
    for (number, line) in rest.split_inclusive('\n').enumerate() {
        if line.trim_end_matches('\n') == "---" {
            return Split {
                front: Some(&rest[..at]),
                body: &rest[at + line.len()..],
                body_line: number + 3,
            };
        }
        at += line.len();
    }
    faults.add(
        1,
        "front_matter_open",
        "the front matter has no second line of ---",
    );
    without
}

/// Reads front matter whose first line is line 2 of the file.
pub(super) fn parse(text: &str, faults: &mut Faults<'_>) -> Option<Node> {
    if text.len() > LONGEST {
        faults.add(1, "too_large", "the front matter is larger than 256 KiB");
        return None;
    }
    let mut reader = Reader {
        stack: Vec::new(),
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                faults.add(error.marker().line() + 1, "invalid_yaml", error.info());
                return None;
            }
        };
        if let Err((code, message)) = reader.take(event, span.start.line() + 1) {
            faults.add(span.start.line() + 1, code, message);
            return None;
        }
    }
    match reader.root {
        Some(node) if matches!(node.kind, Kind::Map(_)) => Some(node),
        None => Some(Node {
            line: 1,
            kind: Kind::Map(Vec::new()),
        }),
        Some(node) => {
            faults.add(node.line, "invalid_yaml", "fields are due: name: value");
            None
        }
    }
}

/// What is open: a list, or a map with the key that waits for its value.
enum Open {
    List(usize, Vec<Node>),
    Map(usize, Vec<(String, usize, Node)>, Option<(String, usize)>),
}

struct Reader {
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

type Refusal = (&'static str, String);

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Refusal> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(("invalid_yaml", "there is more than one document".to_owned()));
                }
                Ok(())
            }
            Event::Alias(_) => Err(("alias", "aliases are not taken".to_owned())),
            Event::Scalar(text, style, anchor, tag) => {
                refuse(anchor, tag.is_some())?;
                self.add(Node {
                    line,
                    kind: Kind::Scalar {
                        text: text.into_owned(),
                        is_plain: style == ScalarStyle::Plain,
                    },
                })
            }
            Event::SequenceStart(anchor, tag) => {
                refuse(anchor, tag.is_some())?;
                self.open(Open::List(line, Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                refuse(anchor, tag.is_some())?;
                self.open(Open::Map(line, Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (line, kind) = match self.stack.pop() {
                    Some(Open::List(line, list)) => (line, Kind::List(list)),
                    Some(Open::Map(line, map, _)) => (line, Kind::Map(map)),
                    None => return Ok(()),
                };
                self.add(Node { line, kind })
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Refusal> {
        if self.stack.len() == DEEPEST {
            return Err(("too_deep", format!("nested deeper than {DEEPEST}")));
        }
        self.stack.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Refusal> {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, list)) => list.push(node),
            Some(Open::Map(_, map, waiting)) => match waiting.take() {
                Some((key, line)) => map.push((key, line, node)),
                None => {
                    let Kind::Scalar { text, .. } = node.kind else {
                        return Err(("invalid_yaml", "a field's name is a text".to_owned()));
                    };
                    if map.iter().any(|(key, _, _)| *key == text) {
                        return Err(("duplicate_field", format!("{text} is there twice")));
                    }
                    *waiting = Some((text, node.line));
                }
            },
        }
        Ok(())
    }
}

fn refuse(anchor: usize, has_tag: bool) -> Result<(), Refusal> {
    if anchor != 0 {
        return Err(("alias", "anchors are not taken".to_owned()));
    }
    if has_tag {
        return Err(("tag", "tags are not taken".to_owned()));
    }
    Ok(())
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, is_plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// As JSON, by YAML's core schema.
    fn to_json(&self) -> Option<Value> {
        Some(match &self.kind {
            Kind::List(list) => {
                Value::Array(list.iter().map(Self::to_json).collect::<Option<_>>()?)
            }
            Kind::Map(map) => Value::Object(
                map.iter()
                    .map(|(key, _, node)| Some((key.clone(), node.to_json()?)))
                    .collect::<Option<Map<_, _>>>()?,
            ),
            Kind::Scalar { text, is_plain } => {
                if !is_plain {
                    return Some(Value::String(text.clone()));
                }
                if self.is_null() {
                    return Some(Value::Null);
                }
                match text.as_str() {
                    "true" | "True" | "TRUE" => Value::Bool(true),
                    "false" | "False" | "FALSE" => Value::Bool(false),
                    _ if is_number(text) => {
                        if let Ok(number) = text.parse::<i64>() {
                            Value::from(number)
                        } else {
                            Value::Number(Number::from_f64(text.parse::<f64>().ok()? + 0.0)?)
                        }
                    }
                    _ => Value::String(text.clone()),
                }
            }
        })
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.contains(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && text.parse::<f64>().is_ok()
}

/// The fields of a map, taken one by one; what is left over is unknown.
pub(super) struct Fields<'a, 'f> {
    rest: Vec<(String, usize, Node)>,
    faults: &'a mut Faults<'f>,
}

impl<'a, 'f> Fields<'a, 'f> {
    pub fn new(node: Option<Node>, faults: &'a mut Faults<'f>) -> Self {
        let rest = match node.map(|node| node.kind) {
            Some(Kind::Map(map)) => map,
            _ => Vec::new(),
        };
        Self { rest, faults }
    }

    fn take(&mut self, field: &str) -> Option<Node> {
        let place = self.rest.iter().position(|(key, _, _)| key == field)?;
        let (_, _, node) = self.rest.remove(place);
        (!node.is_null()).then_some(node)
    }

    fn wrong(&mut self, line: usize, field: &str, due: &str) {
        self.faults
            .add(line, "wrong_kind", format!("{field} is {due}"));
    }

    pub fn text(&mut self, field: &str) -> Option<String> {
        let node = self.take(field)?;
        match node.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => {
                self.wrong(node.line, field, "a text");
                None
            }
        }
    }

    pub fn flag(&mut self, field: &str) -> Option<bool> {
        let node = self.take(field)?;
        match node.to_json() {
            Some(Value::Bool(flag)) => Some(flag),
            _ => {
                self.wrong(node.line, field, "true or false");
                None
            }
        }
    }

    fn number<T: FromStr>(&mut self, field: &str, due: &str) -> Option<T> {
        let node = self.take(field)?;
        let number = match &node.kind {
            Kind::Scalar {
                text,
                is_plain: true,
            } if is_number(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node.line, field, due);
        }
        number
    }

    pub fn integer(&mut self, field: &str) -> Option<u32> {
        self.number(field, "a whole number")
    }

    pub fn decimal(&mut self, field: &str) -> Option<Decimal> {
        self.number(field, "a number")
            .map(|number: f64| Decimal(number + 0.0))
    }

    pub fn list(&mut self, field: &str) -> Option<Vec<Node>> {
        let node = self.take(field)?;
        match node.kind {
            Kind::List(list) => Some(list),
            _ => {
                self.wrong(node.line, field, "a list");
                None
            }
        }
    }

    pub fn texts(&mut self, field: &str) -> Option<Vec<String>> {
        let list = self.list(field)?;
        let mut texts = Vec::new();
        for node in list {
            match node.kind {
                Kind::Scalar { text, .. } => texts.push(text),
                _ => self.wrong(node.line, field, "a list of texts"),
            }
        }
        Some(texts)
    }

    /// A map, or a text that holds one as JSON.
    pub fn object(&mut self, field: &str) -> Option<Object> {
        let node = self.take(field)?;
        let object = match &node.kind {
            Kind::Scalar {
                text,
                is_plain: false,
            } => serde_json::from_str(text).ok(),
            _ => match node.to_json() {
                Some(Value::Object(map)) => Some(Object(map)),
                _ => None,
            },
        };
        if object.is_none() {
            self.wrong(node.line, field, "a map");
        }
        object
    }

    pub fn fault(&mut self, line: usize, code: &'static str, message: impl Into<String>) {
        self.faults.add(line, code, message);
    }

    /// The fields of a map inside of this one.
    pub fn inside(&mut self, node: Node) -> Fields<'_, 'f> {
        Fields::new(Some(node), self.faults)
    }

    pub fn finish(self) {
        for (key, line, _) in self.rest {
            self.faults.add(
                line,
                "unknown_field",
                format!("there is no field {key:?} here"),
            );
        }
    }
}

// Writing =============================================================================================================

/// Front matter that grows field by field.
#[derive(Debug)]
pub(super) struct Front(String);

impl Front {
    pub fn new() -> Self {
        Self("---\n".to_owned())
    }

    pub fn text(&mut self, field: &str, text: &str) {
        self.line(format_args!("{field}: {}", scalar(text)));
    }

    pub fn optional(&mut self, field: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    /// A number or a flag.
    pub fn plain(&mut self, field: &str, value: impl std::fmt::Display) {
        self.line(format_args!("{field}: {value}"));
    }

    pub fn texts(&mut self, field: &str, texts: &[String]) {
        if texts.is_empty() {
            self.line(format_args!("{field}: []"));
            return;
        }
        self.line(format_args!("{field}:"));
        for text in texts {
            self.line(format_args!("  - {}", scalar(text)));
        }
    }

    pub fn object(&mut self, field: &str, object: &Object) {
        if object.is_empty() {
            return;
        }
        let map = Value::Object(object.0.clone());
        let mut text = String::new();
        if is_simple(&map, 0) {
            flow(&map, &mut text);
        } else {
            text = quoted(&map.to_string());
        }
        self.line(format_args!("{field}: {text}"));
    }

    pub fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    pub fn finish(mut self, body: &str) -> String {
        self.0.push_str("---\n");
        if !body.is_empty() {
            self.0.push('\n');
            self.0.push_str(body);
            self.0.push('\n');
        }
        self.0
    }
}

/// Whether YAML takes it as a map on one line: its keys are limited in length.
fn is_simple(value: &Value, depth: usize) -> bool {
    depth < DEEPEST - 2
        && match value {
            Value::Object(map) => map
                .iter()
                .all(|(key, value)| key.len() < 100 && is_simple(value, depth + 1)),
            Value::Array(list) => list.iter().all(|value| is_simple(value, depth + 1)),
            _ => true,
        }
}

fn flow(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            out.push('{');
            for (place, (key, value)) in map.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                out.push_str(&quoted(key));
                out.push_str(": ");
                flow(value, out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (place, value) in list.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { ", " });
                flow(value, out);
            }
            out.push(']');
        }
        Value::String(text) => out.push_str(&quoted(text)),
        other => out.push_str(&other.to_string()),
    }
}

/// As it is where every reader of YAML takes it for a text, else in quotes.
pub(super) fn scalar(text: &str) -> String {
    let is_word =
        |c: char| c.is_alphanumeric() || " _-./()!?'".contains(c) || (c == ',' && text.len() > 1);
    let is_plain = text.starts_with(char::is_alphabetic)
        && text.ends_with(|c: char| !c.is_whitespace())
        && text.chars().all(is_word)
        && ![
            "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf",
        ]
        .contains(&text.to_lowercase().as_str());
    if is_plain {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // What YAML does not take as it is, or takes for the end of a line.
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
