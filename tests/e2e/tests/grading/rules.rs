//! What an answer is worth, written from the rules and not from the SQL: questions are values here, not JSON, and every
//! fraction is one of whole numbers.

use std::collections::HashSet;

use num_bigint::BigInt;
use unicode_normalization::UnicodeNormalization as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scoring {
    AllOrNothing,
    Partial,
    PartialNegative,
}

impl Scoring {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AllOrNothing => "all_or_nothing",
            Self::Partial => "partial",
            Self::PartialNegative => "partial_negative",
        }
    }
}

/// A number of so many units, each a power of ten: 1.50 is 150 of 10^-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) units: i64,
    pub(crate) digits: u32,
}

impl Decimal {
    pub(crate) const fn new(units: i64, digits: u32) -> Self {
        Self { units, digits }
    }

    pub(crate) fn text(&self) -> String {
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = format!(
            "{:0>1$}",
            self.units.unsigned_abs(),
            self.digits as usize + 1
        );
        let (whole, part) = digits.split_at(digits.len() - self.digits as usize);
        if part.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{part}")
        }
    }

    pub(crate) fn ratio(&self) -> Ratio {
        Ratio {
            top: BigInt::from(self.units),
            bottom: BigInt::from(10).pow(self.digits),
        }
    }
}

/// A fraction; the bottom is above 0.
#[derive(Debug, Clone)]
pub(crate) struct Ratio {
    pub(crate) top: BigInt,
    pub(crate) bottom: BigInt,
}

impl Ratio {
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self::of(&self.top * &other.bottom, &self.bottom * &other.top)
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        Self::of(&self.top * &other.top, &self.bottom * &other.bottom)
    }

    fn minus(&self, other: &Self) -> Self {
        Self::of(
            &self.top * &other.bottom - &other.top * &self.bottom,
            &self.bottom * &other.bottom,
        )
    }

    fn of(top: BigInt, bottom: BigInt) -> Self {
        if bottom < BigInt::ZERO {
            Self {
                top: -top,
                bottom: -bottom,
            }
        } else {
            Self { top, bottom }
        }
    }

    fn size(&self) -> Self {
        if self.top < BigInt::ZERO {
            Self::of(-&self.top, self.bottom.clone())
        } else {
            self.clone()
        }
    }

    fn at_most(&self, other: &Self) -> bool {
        &self.top * &other.bottom <= &other.top * &self.bottom
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) text: String,
    /// Millionths of the points.
    pub(crate) millionths: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) factor: Decimal,
}

#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// The right one of so many options.
    Single {
        options: usize,
        correct: usize,
    },
    Multiple {
        options: usize,
        correct: HashSet<usize>,
    },
    TrueFalse {
        correct: bool,
    },
    ShortAnswer {
        accepted: Vec<Accepted>,
        case_sensitive: bool,
        keep_diacritics: bool,
        keep_punctuation: bool,
    },
    Numeric {
        value: Decimal,
        /// The value is divided by this.
        divisor: i64,
        tolerance: Decimal,
        relative: bool,
        units: Vec<Unit>,
        unit_required: bool,
    },
    /// For each prompt the right one of so many choices.
    Matching {
        choices: usize,
        pairs: Vec<usize>,
    },
    Ordering {
        order: Vec<usize>,
    },
    Essay,
}

/// What the learner did; `None` everywhere: left open.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Open,
    /// Of another type than the question asks for.
    Malformed,
    Option(usize),
    Options(Vec<usize>),
    Truth(bool),
    Text(String),
    Number {
        top: Decimal,
        bottom: Option<Decimal>,
        unit: Option<String>,
    },
    NotANumber,
    Pairs(Vec<Option<usize>>),
    Order(Vec<usize>),
    Essay,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grade {
    /// Hundredths; none while a grader has to say.
    pub(crate) cents: Option<i64>,
    pub(crate) correct: Option<bool>,
}

/// Earned, of what can be earned.
type Credit = (i64, i64);

pub(crate) fn grade(question: &Question, scoring: Scoring, cents: i64, answer: &Answer) -> Grade {
    match answer {
        Answer::Open | Answer::Malformed => {
            return Grade {
                cents: Some(0),
                correct: Some(false),
            };
        }
        Answer::Essay => {
            return Grade {
                cents: None,
                correct: None,
            };
        }
        _ => {}
    }
    let (earned, of) = credit(question, scoring, answer);
    Grade {
        cents: Some(half_up(cents, earned, of)),
        correct: Some(earned == of),
    }
}

/// The nearest whole number to `cents * earned / of`, the greater one where two are as near.
pub(crate) fn half_up(cents: i64, earned: i64, of: i64) -> i64 {
    let exact = i128::from(cents) * i128::from(earned);
    let of = i128::from(of);
    let below = exact.div_euclid(of);
    let rest = exact.rem_euclid(of);
    i64::try_from(if 2 * rest >= of { below + 1 } else { below }).unwrap_or(i64::MAX)
}

fn credit(question: &Question, scoring: Scoring, answer: &Answer) -> Credit {
    match (question, answer) {
        (Question::Single { options, correct }, Answer::Option(chosen)) => {
            guessed(*options, chosen == correct, scoring)
        }
        (Question::TrueFalse { correct }, Answer::Truth(said)) => {
            guessed(2, said == correct, scoring)
        }
        (Question::Multiple { correct, .. }, Answer::Options(chosen)) => {
            let right = chosen.iter().filter(|one| correct.contains(one)).count();
            let wrong = chosen.len() - right;
            let (right, wrong, of) = (whole(right), whole(wrong), whole(correct.len()));
            let earned = match scoring {
                Scoring::AllOrNothing => all_of(right == of && wrong == 0, of),
                Scoring::Partial => (right - wrong).max(0),
                Scoring::PartialNegative => (right - wrong).max(-of),
            };
            (earned, of)
        }
        (Question::Matching { pairs, .. }, Answer::Pairs(given)) => {
            let mut right = 0;
            let mut wrong = 0;
            for (pair, given) in pairs.iter().zip(given) {
                match given {
                    Some(choice) if choice == pair => right += 1,
                    Some(_) => wrong += 1,
                    None => {}
                }
            }
            by_parts(right, wrong, whole(pairs.len()), scoring)
        }
        (Question::Ordering { order }, Answer::Order(given)) => {
            // Neighbours that are neighbours in the right order.
            let follows: HashSet<(usize, usize)> =
                order.windows(2).map(|two| (two[0], two[1])).collect();
            let right = given
                .windows(2)
                .filter(|two| follows.contains(&(two[0], two[1])))
                .count();
            let wrong = given.len() - 1 - right;
            by_parts(whole(right), whole(wrong), whole(order.len()) - 1, scoring)
        }
        (
            Question::ShortAnswer {
                accepted,
                case_sensitive,
                keep_diacritics,
                keep_punctuation,
            },
            Answer::Text(text),
        ) => {
            let normal =
                |text: &str| normal(text, *case_sensitive, *keep_diacritics, *keep_punctuation);
            let given = normal(text);
            let best = accepted
                .iter()
                .filter(|one| normal(&one.text) == given)
                .map(|one| one.millionths)
                .max()
                .unwrap_or(0);
            let earned = if scoring == Scoring::AllOrNothing && best < 1_000_000 {
                0
            } else {
                best
            };
            (earned, 1_000_000)
        }
        (Question::Numeric { .. }, Answer::Number { top, bottom, unit }) => (
            i64::from(is_near(question, top, bottom.as_ref(), unit.as_deref())),
            1,
        ),
        (Question::Numeric { .. }, Answer::NotANumber) => (0, 1),
        _ => unreachable!("answers are made for their question"),
    }
}

fn is_near(
    question: &Question,
    top: &Decimal,
    bottom: Option<&Decimal>,
    unit: Option<&str>,
) -> bool {
    let Question::Numeric {
        value,
        divisor,
        tolerance,
        relative,
        units,
        unit_required,
    } = question
    else {
        return false;
    };
    let factor = match unit {
        None if *unit_required => return false,
        None => Decimal::new(1, 0),
        Some(name) => match units.iter().find(|unit| unit.name == name) {
            Some(unit) => unit.factor.clone(),
            None => return false,
        },
    };
    let mut given = top.ratio();
    if let Some(bottom) = bottom {
        given = given.over(&bottom.ratio());
    }
    let expected = value.ratio().over(&Decimal::new(*divisor, 0).ratio());
    let allowed = if *relative {
        tolerance.ratio().times(&expected.size())
    } else {
        tolerance.ratio()
    };
    given
        .times(&factor.ratio())
        .minus(&expected)
        .size()
        .at_most(&allowed)
}

/// Whoever guesses among so many options gains nothing on average.
fn guessed(options: usize, right: bool, scoring: Scoring) -> Credit {
    let of = whole(options) - 1;
    let earned = match (right, scoring) {
        (true, _) => of,
        (false, Scoring::PartialNegative) => -1,
        (false, _) => 0,
    };
    (earned, of)
}

fn by_parts(right: i64, wrong: i64, of: i64, scoring: Scoring) -> Credit {
    let earned = match scoring {
        Scoring::AllOrNothing => all_of(right == of && wrong == 0, of),
        Scoring::Partial => right,
        Scoring::PartialNegative => (right - wrong).max(-of),
    };
    (earned, of)
}

const fn all_of(earned: bool, of: i64) -> i64 {
    if earned { of } else { 0 }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A short answer as it is compared, character by character.
pub(crate) fn normal(
    text: &str,
    case_sensitive: bool,
    keep_diacritics: bool,
    keep_punctuation: bool,
) -> String {
    let mut marked = String::new();
    let mut in_superscript = false;
    for c in text.chars() {
        let superscript = matches!(c, '²' | '³' | '¹' | '\u{2070}'..='\u{207f}');
        if superscript && !in_superscript {
            marked.push('^');
        }
        in_superscript = superscript;
        if matches!(c, '¼'..='¾' | '\u{2150}'..='\u{215e}') {
            marked.push(' ');
        }
        marked.push(c);
    }
    let mut text: String = marked.nfkd().collect();
    if !keep_diacritics {
        text.retain(|c| !matches!(c, '\u{300}'..='\u{36f}'));
    }
    if !case_sensitive {
        text = text.to_lowercase().replace('ς', "σ");
    }
    let plain: String = text
        .nfc()
        .filter(|c| !matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}'))
        .map(|c| match c {
            '\u{2010}'..='\u{2014}' | '\u{2212}' => '-',
            '\u{2044}' => '/',
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '`' | '\u{b4}' => '\'',
            '\u{201c}'..='\u{201e}' | '«' | '»' => '"',
            _ => c,
        })
        .collect();
    let words = plain.split([' ', '\t', '\n', '\r', '\u{c}', '\u{b}']);
    let around = |c: char| ".,;:!?\"'…¡¿".contains(c);
    words
        .map(|word| {
            if keep_punctuation {
                word
            } else {
                word.trim_matches(around)
            }
        })
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
