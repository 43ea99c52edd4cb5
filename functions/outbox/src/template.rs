//! From a text with placeholders to a mail in plain text and HTML. Pure.
//!
//! A placeholder is replaced once by a value of the delivery's own parameters: what a value holds is never read as a
//! placeholder again, and in HTML it is text, whatever it looks like.

use serde_json::{Map, Value};

use crate::language;

/// The longest subject or name, in characters.
const LONGEST_LINE: usize = 200;

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The value of `{{link}}`.
    Link(String),
}

/// A mail, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Fills a subject and a body. A line of the body in which a placeholder has no value is left out.
pub(crate) fn render(
    subject: &str,
    body: &str,
    params: &Map<String, Value>,
    language: &str,
) -> Rendered {
    let subject: String = pieces(subject, params, language)
        .0
        .iter()
        .map(plain)
        .collect();
    let lines: Vec<Vec<Piece>> = body
        .lines()
        .filter_map(|line| {
            let (pieces, complete) = pieces(line, params, language);
            complete.then_some(pieces)
        })
        .collect();
    let text: Vec<String> = lines
        .iter()
        .map(|line| line.iter().map(plain).collect())
        .collect();
    Rendered {
        subject: one_line(&subject),
        text: format!("{}\n", text.join("\n").trim()),
        html: page(&lines, language),
    }
}

/// Fit for a header: a line break in a name or a title would end it, and begin another one.
pub(crate) fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(LONGEST_LINE)
        .collect();
    line.trim().to_owned()
}

/// The pieces of a line, and whether every placeholder in it had a value.
fn pieces(line: &str, params: &Map<String, Value>, language: &str) -> (Vec<Piece>, bool) {
    let mut found = Vec::new();
    let mut complete = true;
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else {
            break;
        };
        found.push(Piece::Text(before.to_owned()));
        let name = name.trim();
        match value(name, params, language) {
            Some(value) if name == "link" => found.push(Piece::Link(value)),
            Some(value) => found.push(Piece::Text(value)),
            None => complete = false,
        }
        rest = behind;
    }
    found.push(Piece::Text(rest.to_owned()));
    (found, complete)
}

fn value(name: &str, params: &Map<String, Value>, language: &str) -> Option<String> {
    let value = match params.get(name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let value = match name {
        "status" => language::state(&value, language),
        name if name.ends_with("_on") || name.ends_with("_at") || name == "invited_until" => {
            language::date(&value, language)
        }
        _ => value,
    };
    (!value.trim().is_empty()).then_some(value)
}

fn plain(piece: &Piece) -> &str {
    match piece {
        Piece::Text(text) | Piece::Link(text) => text,
    }
}

fn page(lines: &[Vec<Piece>], language: &str) -> String {
    let mut paragraphs: Vec<Vec<String>> = vec![Vec::new()];
    for line in lines {
        let shown: String = line.iter().map(marked_up).collect();
        if shown.trim().is_empty() {
            paragraphs.push(Vec::new());
        } else if let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push(shown);
        }
    }
    let body: String = paragraphs
        .iter()
        .filter(|paragraph| !paragraph.is_empty())
        .map(|paragraph| format!("<p>{}</p>\n", paragraph.join("<br>\n")))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<body style=\"font-family: sans-serif\">\n{body}</body>\n</html>\n",
        escaped(language)
    )
}

fn marked_up(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => escaped(text).replace('\n', "<br>\n"),
        Piece::Link(address)
            if address.starts_with("https://") || address.starts_with("http://") =>
        {
            let address = escaped(address);
            format!("<a href=\"{address}\">{address}</a>")
        }
        Piece::Link(text) => escaped(text),
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn params(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn placeholders_are_filled_and_lines_without_a_value_left_out() {
        let filled = render(
            "Due: {{course}}",
            "Hello {{person}},\n\n\"{{ course }}\" is due on {{due_on}}.\nRoom {{place}}\n\n{{link}}",
            &params(&json!({
                "course": "Forklifts", "person": "Lena", "due_on": "2031-05-01", "link": "https://learn.example/?a=1&b=2"
            })),
            "en",
        );
        assert_eq!(filled.subject, "Due: Forklifts");
        assert_eq!(
            filled.text,
            "Hello Lena,\n\n\"Forklifts\" is due on 1 May 2031.\n\nhttps://learn.example/?a=1&b=2\n"
        );
        assert!(filled.html.contains(
            "<a href=\"https://learn.example/?a=1&amp;b=2\">https://learn.example/?a=1&amp;b=2</a>"
        ));
        assert!(!filled.text.contains("Room"));
    }

    #[test]
    fn a_value_is_text_and_stays_on_the_subjects_one_line() {
        let evil = "x\r\nBcc: all@example.com\r\n\r\n<script>{{link}}</script>";
        let filled = render(
            "{{course}}",
            "{{course}}",
            &params(&json!({ "course": evil, "link": "https://secret.example" })),
            "en",
        );
        assert!(!filled.subject.contains(['\r', '\n']));
        assert!(!filled.html.contains("<script>"));
        assert!(!filled.html.contains("secret.example"));
        let script = render(
            "s",
            "{{link}}",
            &params(&json!({ "link": "javascript:alert(1)" })),
            "en",
        );
        assert!(!script.html.contains("href"));
    }

    proptest! {
        #[test]
        fn no_value_is_ever_markup_or_a_second_line_of_the_subject(
            course in ".{0,80}", person in "\\PC{0,40}", body in ".{0,200}"
        ) {
            let filled = render(
                "About {{course}}",
                &format!("{{{{person}}}} {{{{course}}}}\n{body}"),
                &params(&json!({ "course": course, "person": person })),
                "en",
            );
            prop_assert!(!filled.subject.chars().any(char::is_control));
            prop_assert!(filled.subject.chars().count() <= LONGEST_LINE);
            let inner = filled.html.split_once("sans-serif\">\n").unwrap().1;
            let inner = inner.strip_suffix("</body>\n</html>\n").unwrap();
            let bare = inner.replace("<p>", "").replace("</p>", "").replace("<br>", "");
            prop_assert!(!bare.contains(['<', '>', '"']), "{bare}");
        }
    }
}
