//! What OATutor's typed answers are worth here. OATutor compares them as algebra; Lyceum compares numbers exactly and
//! texts as texts. So a number is graded by its value, an answer with few spellings by a list of them, and an expression
//! that can be written in more ways than can be listed not at all: a right answer must not count as wrong.

use super::source::reason;
use crate::import::Action::{Flagged, Skipped};
use crate::import::Reason;

pub(super) static SUM: Reason = reason(
    Skipped,
    "answer_is_a_sum",
    "typed answer is a sum like 4x+12: right in any order of terms, and factored; a list of spellings would fail right answers",
);
pub(super) static PRODUCT: Reason = reason(
    Skipped,
    "answer_is_a_product",
    "typed answer is a product of sums like (x+1)(x+3): right in any order; a list of spellings would fail right answers",
);
pub(super) static QUOTIENT: Reason = reason(
    Skipped,
    "answer_is_a_quotient",
    "typed answer is a quotient with letters or powers like 1/x^6: x^-6 is as right; a list of spellings would fail right answers",
);
pub(super) static ROOT: Reason = reason(
    Skipped,
    "answer_with_root",
    "typed answer has a root, an absolute value or a broken exponent, which are typed in too many ways to be listed",
);
pub(super) static MALFORMED: Reason = reason(
    Skipped,
    "answer_malformed",
    "typed answer cannot be read as a number, a term or words",
);
pub(super) static FORM: Reason = reason(
    Flagged,
    "form_not_checked",
    "a certain form of a number is asked for; it is graded by its value, so that equal numbers in another form count",
);
pub(super) static SPELLING: Reason = reason(
    Flagged,
    "answer_by_spelling",
    "typed answer is one term; its usual spellings count, others (x*48 for 48x) do not",
);
pub(super) static LIST: Reason = reason(
    Flagged,
    "list_by_spelling",
    "typed answer is a list of numbers; it counts with commas or «and» between them, in any order unless one is asked for",
);

/// How an answer can be graded.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// By its value: `-3.5`, `7/3`.
    Number(String),
    /// By text, which is one of these.
    Text(Vec<String>, Option<&'static Reason>),
    /// Not exactly, and why.
    Not(&'static Reason),
}

/// What is known about an answer beside its text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct About {
    /// It is compared as text, not as algebra.
    pub is_text: bool,
    /// The order of a list is asked for.
    pub in_order: bool,
}

/// Reads an answer as OATutor writes it.
pub(super) fn read(answer: &str, about: About) -> Answer {
    let text = answer.trim();
    let text = text
        .strip_prefix("$$")
        .and_then(|text| text.strip_suffix("$$"))
        .unwrap_or(text);
    if text.is_empty() || text.contains("$$") {
        return Answer::Not(&MALFORMED);
    }
    let text = text.replace("\\left", "").replace("\\right", "");
    let text = text.trim();
    if let Some(number) = number(text) {
        return Answer::Number(number);
    }
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| is_decimal(part)) {
        return Answer::Text(list(&parts, about.in_order), Some(&LIST));
    }
    if about.is_text && text.chars().all(|c| c.is_alphabetic() || c == ' ') {
        return Answer::Text(vec![text.to_owned()], None);
    }
    if text.contains("\\sqrt") || text.contains('|') || text.contains("^{\\frac") {
        return Answer::Not(&ROOT);
    }
    if let Some(term) = Term::read(text) {
        return Answer::Text(term.spellings(), Some(&SPELLING));
    }
    if let Some(spellings) = power(text) {
        return Answer::Text(spellings, Some(&SPELLING));
    }
    Answer::Not(if has_sum(text) {
        &SUM
    } else if text.contains("\\frac") || text.contains('/') {
        &QUOTIENT
    } else if text.contains('(') {
        &PRODUCT
    } else {
        &MALFORMED
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, rest)) => is_digits(whole) && is_digits(rest),
        None => is_digits(text),
    }
}

/// A decimal, or a fraction of whole numbers as `top/bottom`, with the sign in front.
fn number(text: &str) -> Option<String> {
    if is_decimal(text) {
        return Some(text.to_owned());
    }
    let (minus, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let rest = rest.trim().strip_prefix("\\frac{")?.strip_suffix('}')?;
    let (top, bottom) = rest.split_once("}{")?;
    let mut negative = minus;
    let mut part = |text: &str| {
        let text = text
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'))
            .unwrap_or(text);
        let digits = text.strip_prefix('-').unwrap_or(text);
        negative ^= digits.len() < text.len();
        is_digits(digits).then(|| digits.to_owned())
    };
    let (top, bottom) = (part(top)?, part(bottom)?);
    if bottom.bytes().all(|digit| digit == b'0') {
        return None;
    }
    Some(format!("{}{top}/{bottom}", if negative { "-" } else { "" }))
}

/// The ways in which a short list of numbers is written.
fn list(parts: &[&str], in_order: bool) -> Vec<String> {
    let orders = if in_order {
        vec![parts.to_vec()]
    } else {
        orders(parts)
    };
    let mut spellings = Vec::new();
    for order in &orders {
        for between in [",", ", ", " and ", " or ", "; "] {
            push(&mut spellings, order.join(between));
        }
    }
    spellings
}

/// All orders of a few things.
fn orders<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
    if things.len() < 2 {
        return vec![things.to_vec()];
    }
    let mut all = Vec::new();
    for place in 0..things.len() {
        let mut rest = things.to_vec();
        let first = rest.remove(place);
        for mut order in orders(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

fn push(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

/// A term: a number, and letters with whole exponents.
struct Term {
    sign: &'static str,
    number: String,
    letters: Vec<(char, String)>,
}

impl Term {
    fn read(text: &str) -> Option<Self> {
        let (sign, text) = match text.strip_prefix('-') {
            Some(text) => ("-", text),
            None => ("", text),
        };
        let letters_begin = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, mut rest) = text.split_at(letters_begin);
        let mut letters: Vec<(char, String)> = Vec::new();
        while let Some(letter) = rest.trim_start().chars().next() {
            if !letter.is_ascii_alphabetic() {
                return None;
            }
            rest = &rest.trim_start()[1..];
            let mut power = String::new();
            if let Some(after) = rest.strip_prefix('^') {
                (power, rest) = exponent(after)?;
            }
            letters.push((letter, power));
        }
        // With four there would be more spellings than a key takes.
        (1..=3).contains(&letters.len()).then(|| Self {
            sign,
            number: number.to_owned(),
            letters,
        })
    }

    fn spellings(&self) -> Vec<String> {
        let mut spellings = Vec::new();
        for raise in ["^", "**"] {
            for order in orders(&self.letters) {
                let factors = order.iter().map(|(letter, power)| {
                    if power.is_empty() {
                        letter.to_string()
                    } else {
                        format!("{letter}{raise}{power}")
                    }
                });
                let factors: Vec<_> = factors.collect();
                for between in ["", " ", "*", " * "] {
                    let letters = factors.join(between);
                    for first in ["", " ", "*", " * "] {
                        let number = if self.number.is_empty() {
                            String::new()
                        } else {
                            format!("{}{first}", self.number)
                        };
                        push(&mut spellings, format!("{}{number}{letters}", self.sign));
                    }
                }
            }
        }
        spellings
    }
}

/// Reads what stands behind `^`: digits, or digits in braces.
fn exponent(text: &str) -> Option<(String, &str)> {
    let (digits, rest) = if let Some(inner) = text.strip_prefix('{') {
        inner.split_once('}')?
    } else {
        text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        )
    };
    is_digits(digits).then(|| (digits.to_owned(), rest))
}

/// A power of a whole number, and its value where that is a number of ordinary size.
fn power(text: &str) -> Option<Vec<String>> {
    let (base, raised) = text.split_once('^')?;
    let base = base
        .strip_prefix('{')
        .and_then(|base| base.strip_suffix('}'))
        .unwrap_or(base);
    let (power, rest) = exponent(raised)?;
    if !is_digits(base) || !rest.is_empty() {
        return None;
    }
    let mut spellings: Vec<_> = ["^", "**", " ^ ", " ** "]
        .iter()
        .map(|raise| format!("{base}{raise}{power}"))
        .collect();
    if let (Ok(base), Ok(power)) = (base.parse::<u128>(), power.parse())
        && let Some(value) = base.checked_pow(power)
    {
        push(&mut spellings, value.to_string());
    }
    Some(spellings)
}

/// Whether something is added or taken away, outside of parentheses and braces.
fn has_sum(text: &str) -> bool {
    let mut depth = 0_i32;
    text.chars().enumerate().any(|(place, c)| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        depth == 0 && place > 0 && (c == '+' || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGEBRA: About = About {
        is_text: false,
        in_order: false,
    };
    const TEXT: About = About {
        is_text: true,
        in_order: false,
    };
    const IN_ORDER: About = About {
        is_text: true,
        in_order: true,
    };

    #[test]
    fn numbers_are_graded_by_their_value() {
        for (answer, value) in [
            ("$$5$$", "5"),
            ("$$-12$$", "-12"),
            ("$$23.4$$", "23.4"),
            ("7", "7"),
            ("$$\\frac{11}{7}$$", "11/7"),
            ("$$\\frac{-27}{1}$$", "-27/1"),
            ("$$\\frac{7}{\\left(-4\\right)}$$", "-7/4"),
            ("$$-\\frac{1}{2}$$", "-1/2"),
        ] {
            assert_eq!(
                read(answer, ALGEBRA),
                Answer::Number(value.to_owned()),
                "{answer}"
            );
        }
        assert_eq!(read("$$\\frac{1}{0}$$", ALGEBRA), Answer::Not(&QUOTIENT));
    }

    #[test]
    fn one_term_has_few_spellings() {
        let Answer::Text(spellings, Some(reason)) = read("$$8r^2 s^5$$", ALGEBRA) else {
            panic!("this is one term");
        };
        assert_eq!(reason, &SPELLING);
        assert_eq!(spellings.len(), 64);
        for spelling in [
            "8r^2s^5",
            "8r^2 s^5",
            "8 r^2 s^5",
            "8*s^5*r^2",
            "8 * r**2 * s**5",
        ] {
            assert!(spellings.contains(&spelling.to_owned()), "{spelling}");
        }
        for (answer, first) in [
            ("$$x$$", "x"),
            ("a", "a"),
            ("$$-18y^{11}$$", "-18y^11"),
            ("$$2p q$$", "2pq"),
            ("pq", "pq"),
        ] {
            let Answer::Text(spellings, _) = read(answer, ALGEBRA) else {
                panic!("{answer} is one term");
            };
            assert_eq!(spellings[0], first);
        }
        assert_eq!(
            read("$${10}^8$$", ALGEBRA),
            Answer::Text(
                ["10^8", "10**8", "10 ^ 8", "10 ** 8", "100000000"]
                    .map(String::from)
                    .to_vec(),
                Some(&SPELLING)
            )
        );
    }

    #[test]
    fn words_and_lists_are_texts() {
        assert_eq!(
            read("Complex", TEXT),
            Answer::Text(vec!["Complex".to_owned()], None)
        );
        let Answer::Text(in_order, _) = read("-2,4", IN_ORDER) else {
            panic!("this is a list");
        };
        assert!(in_order.contains(&"-2, 4".to_owned()) && !in_order.contains(&"4,-2".to_owned()));
        let Answer::Text(any_order, _) = read("-2,4", TEXT) else {
            panic!("this is a list");
        };
        assert!(any_order.contains(&"4 and -2".to_owned()));
    }

    #[test]
    fn what_has_too_many_spellings_is_not_graded() {
        for (answer, reason) in [
            ("$$4x+12$$", &SUM),
            ("-3a-21", &SUM),
            ("$$\\left(-2x\\right)-1+\\frac{4}{5x}$$", &SUM),
            ("$$\\left(x+1\\right) \\left(x+3\\right)$$", &PRODUCT),
            ("$$10\\left(x+4\\right)^2$$", &PRODUCT),
            ("$$\\frac{1}{x^6}$$", &QUOTIENT),
            ("$$\\frac{1}{{10}^2}$$", &QUOTIENT),
            ("$$\\frac{x-6}{2\\left(x+5\\right)}$$", &QUOTIENT),
            ("$$y^{\\frac{3}{2}}$$", &ROOT),
            ("$$|p|$$", &ROOT),
            ("$$2\\sqrt[3]{4x}$$", &ROOT),
            ("$$\\frac{3a}{4} b$$ ** $$\\frac{3}{2}$$", &MALFORMED),
            ("", &MALFORMED),
            ("$$\\pi$$", &MALFORMED),
        ] {
            assert_eq!(read(answer, ALGEBRA), Answer::Not(reason), "{answer}");
        }
    }
}
