//! The body of a lesson's file: Markdown, with blocks of other types in between.
//!
//! Everything is Markdown except two things, each at the beginning of a line and whatever Markdown would make of it there:
//! a line `<!-- lyceum-block {...} -->` begins another Markdown block, and what stands between a line
//! ` ```lyceum-block json ` and a line ` ``` ` is one block as JSON. Markdown that cannot be told from these, or not be written
//! down exactly, is written as JSON itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Block, Object};
use super::faults::Faults;

const COMMENT: &str = "<!-- lyceum-block";
const COMMENT_END: &str = "-->";
const FENCE: &str = "```lyceum-block";
const FENCE_LINE: &str = "```lyceum-block json";
const FENCE_END: &str = "```";

/// What is said of a Markdown block beside its text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attributes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_optional: bool,
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    metadata: Object,
}

/// Reads a body whose first line is line `first` of the file.
pub(super) fn read(body: &str, first: usize, faults: &mut Faults<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut text = String::new();
    let mut attributes = None;
    let mut lines = body.split('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let at = first + number;
        if line.starts_with(COMMENT) {
            finish(&mut blocks, &mut text, attributes.take());
            attributes = Some(read_comment(line, at, faults));
        } else if line.starts_with(FENCE) {
            finish(&mut blocks, &mut text, attributes.take());
            if line != FENCE_LINE {
                faults.add(
                    at,
                    "invalid_block",
                    format!("the line is due to be {FENCE_LINE}"),
                );
            }
            let mut json = String::new();
            let mut is_closed = false;
            for (_, line) in lines.by_ref() {
                if line == FENCE_END {
                    is_closed = true;
                    break;
                }
                json.push_str(line);
                json.push('\n');
            }
            if !is_closed {
                faults.add(at, "invalid_block", "the block has no end: a line of ```");
            } else if line == FENCE_LINE {
                match serde_json::from_str(&json) {
                    Ok(block) => blocks.push(block),
                    Err(error) => {
                        faults.add(at + error.line(), "invalid_block", error.to_string());
                    }
                }
            }
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    finish(&mut blocks, &mut text, attributes);
    blocks
}

fn read_comment(line: &str, at: usize, faults: &mut Faults<'_>) -> Attributes {
    let json = line
        .strip_prefix(COMMENT)
        .and_then(|rest| rest.strip_suffix(COMMENT_END))
        .map(str::trim);
    let attributes = match json {
        Some("") => Ok(Attributes::default()),
        Some(json) => serde_json::from_str(json).map_err(|error| error.to_string()),
        None => Err(format!("the line is due to end with {COMMENT_END}")),
    };
    attributes.unwrap_or_else(|message| {
        faults.add(at, "invalid_block", message);
        Attributes::default()
    })
}

/// Markdown without anything in it is no block.
fn finish(blocks: &mut Vec<Block>, text: &mut String, attributes: Option<Attributes>) {
    let markdown = text.trim_matches('\n');
    if !markdown.trim().is_empty() {
        let attributes = attributes.unwrap_or_default();
        blocks.push(Block {
            kind: "markdown".to_owned(),
            title: attributes.title,
            is_optional: attributes.is_optional,
            content: Object::of("markdown", markdown),
            metadata: attributes.metadata,
        });
    }
    text.clear();
}

/// Writes blocks so that reading gives them back.
pub(super) fn write(blocks: &[Block]) -> serde_json::Result<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut follows_markdown = false;
    for block in blocks {
        let Some(markdown) = verbatim(block) else {
            parts.push(format!(
                "{FENCE_LINE}\n{}\n{FENCE_END}",
                serde_json::to_string_pretty(block)?
            ));
            follows_markdown = false;
            continue;
        };
        let attributes = Attributes {
            title: block.title.clone(),
            is_optional: block.is_optional,
            metadata: block.metadata.clone(),
        };
        if attributes != Attributes::default() {
            // The end of the comment is not to be found inside of it.
            let json = serde_json::to_string(&attributes)?.replace('>', "\\u003e");
            parts.push(format!("{COMMENT} {json} {COMMENT_END}\n\n{markdown}"));
        } else if follows_markdown {
            parts.push(format!("{COMMENT} {COMMENT_END}\n\n{markdown}"));
        } else {
            parts.push(markdown.to_owned());
        }
        follows_markdown = true;
    }
    Ok(parts.join("\n\n"))
}

/// The text of a block that can stand in the file as it is.
fn verbatim(block: &Block) -> Option<&str> {
    if block.kind != "markdown" || block.content.0.len() != 1 {
        return None;
    }
    let Some(Value::String(text)) = block.content.0.get("markdown") else {
        return None;
    };
    (is_verbatim(text)
        && !text
            .split('\n')
            .any(|line| line.starts_with(COMMENT) || line.starts_with(FENCE)))
    .then_some(text)
}

/// Whether a text is the same after it was written as the rest of a file, and read.
pub(super) fn is_verbatim(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(['\r', '\0']) && text.trim_matches('\n') == text
}
