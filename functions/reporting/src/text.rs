//! Text inside documents. Pure.

/// Without what no document may hold, and without the invisible characters that turn the text around them: a name that reads
/// as another one.
pub fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| {
            !matches!(letter,
                '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
                | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
        })
        .collect()
}

/// Text inside an element or a quoted attribute of HTML or SVG.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in plain(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// The beginning of a text that is longer than there is room.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_escapes(text in "\\PC{0,40}|[<>\"'&\\x00-\\x1f]{0,10}") {
            let safe = escaped(&text);
            let left = safe.contains(['<', '>', '"', '\'', '\0', '\x1b']);
            prop_assert!(!left);
        }

        #[test]
        fn there_is_room(text in "\\PC{0,40}", most in 1_usize..20) {
            prop_assert!(shortened(&text, most).chars().count() <= most);
        }
    }

    #[test]
    fn no_text_turns_another_around() {
        assert_eq!(escaped("Eve \u{202e}nimdA\u{202c}"), "Eve nimdA");
        assert_eq!(shortened("Working at heights", 9), "Working…");
    }
}
