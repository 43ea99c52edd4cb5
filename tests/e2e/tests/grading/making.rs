//! Makes questions and answers, the same ones in every run: right, nearly right, wrong, odd and none.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::rules::{Accepted, Answer, Decimal, Question, Scoring, Unit};

/// A question with one answer to it, as the database gets them.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) question: Question,
    pub(crate) scoring: Scoring,
    pub(crate) cents: i64,
    pub(crate) answer: Answer,
    pub(crate) kind: &'static str,
    pub(crate) content: Value,
    pub(crate) key: Value,
    /// JSON as text, so that numbers are what was written; none: no answer at all.
    pub(crate) response: Option<String>,
}

pub(crate) struct Maker {
    random: StdRng,
}

const WORDS: [&str; 12] = [
    "Café",
    "lait",
    "Zürich",
    "ΣΟΦΟΣ",
    "naïve",
    "e-mail",
    "don't",
    "H₂O",
    "10²",
    "3½",
    "Ångström",
    "straße",
];
const UNITS: [(&str, i64, u32); 5] = [
    ("m", 1, 0),
    ("cm", 1, 2),
    ("km", 1000, 0),
    ("µm", 1, 6),
    ("ft", 3048, 4),
];

pub(crate) fn id(number: usize) -> String {
    format!("o{number}")
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_range(0..n) == 0
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.random.random_range(0..n)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        all.shuffle(&mut self.random);
        all
    }

    pub(crate) fn case(&mut self) -> Case {
        let question = self.question();
        self.case_of(&question)
    }

    pub(crate) fn case_of(&mut self, question: &Question) -> Case {
        let (kind, content, key) = written(question);
        let typed = matches!(
            question,
            Question::ShortAnswer { .. } | Question::Numeric { .. } | Question::Essay
        );
        let scoring = *self.pick(if typed {
            &[Scoring::AllOrNothing, Scoring::Partial]
        } else {
            &[
                Scoring::AllOrNothing,
                Scoring::Partial,
                Scoring::PartialNegative,
            ]
        });
        let cents = if self.one_in(2) {
            self.random.random_range(1..=40)
        } else {
            self.random.random_range(1..=20_000)
        };
        let (answer, response) = self.answer(question);
        Case {
            question: question.clone(),
            scoring,
            cents,
            answer,
            kind,
            content,
            key,
            response,
        }
    }

    pub(crate) fn question(&mut self) -> Question {
        match self.below(15) {
            0..=1 => {
                let options = self.random.random_range(2..=7);
                Question::Single {
                    options,
                    correct: self.below(options),
                }
            }
            2..=4 => {
                let options = self.random.random_range(2..=9);
                let correct = self.random.random_range(1..=options);
                Question::Multiple {
                    options,
                    correct: self.shuffled(options).into_iter().take(correct).collect(),
                }
            }
            5 => Question::TrueFalse {
                correct: self.one_in(2),
            },
            6..=7 => self.short_answer(),
            8..=10 => self.numeric(),
            11..=12 => {
                let choices = self.random.random_range(2..=7);
                let prompts = self.random.random_range(1..=7);
                Question::Matching {
                    choices,
                    pairs: (0..prompts).map(|_| self.below(choices)).collect(),
                }
            }
            13 => {
                let items = self.random.random_range(2..=8);
                Question::Ordering {
                    order: self.shuffled(items),
                }
            }
            _ => Question::Essay,
        }
    }

    fn phrase(&mut self) -> String {
        let words = self.random.random_range(1..=3);
        (0..words)
            .map(|_| *self.pick(&WORDS))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn short_answer(&mut self) -> Question {
        let count = self.random.random_range(1..=4);
        let accepted = (0..count)
            .map(|place| Accepted {
                text: self.phrase(),
                millionths: if place == 0 || self.one_in(3) {
                    1_000_000
                } else {
                    self.random.random_range(1..1_000_000)
                },
            })
            .collect();
        Question::ShortAnswer {
            accepted,
            case_sensitive: self.one_in(4),
            keep_diacritics: self.one_in(4),
            keep_punctuation: self.one_in(4),
        }
    }

    fn decimal(&mut self, limit: i64) -> Decimal {
        Decimal::new(
            self.random.random_range(-limit..=limit),
            self.random.random_range(0..=4),
        )
    }

    fn numeric(&mut self) -> Question {
        let units: Vec<Unit> = if self.one_in(2) {
            Vec::new()
        } else {
            UNITS
                .iter()
                .filter(|_| self.random.random_range(0..2) == 0)
                .map(|&(name, units, digits)| Unit {
                    name: name.to_owned(),
                    factor: Decimal::new(units, digits),
                })
                .collect()
        };
        Question::Numeric {
            value: self.decimal(100_000),
            divisor: if self.one_in(3) {
                *self.pick(&[-7, 3, 6, 9])
            } else {
                1
            },
            tolerance: if self.one_in(3) {
                Decimal::new(0, 0)
            } else {
                Decimal::new(
                    self.random.random_range(0..=500),
                    self.random.random_range(0..=4),
                )
            },
            relative: self.one_in(3),
            unit_required: !units.is_empty() && self.one_in(3),
            units,
        }
    }

    /// What was answered, and how that is written.
    fn answer(&mut self, question: &Question) -> (Answer, Option<String>) {
        match self.below(20) {
            0 => {
                let open = ["null", "\"\"", "[]", "{}", "   \"\"  "];
                return match (question, self.below(3)) {
                    (_, 0) => (Answer::Open, None),
                    (Question::Multiple { .. } | Question::Ordering { .. }, 1) => {
                        (Answer::Open, Some(open[2].into()))
                    }
                    (Question::Matching { .. } | Question::Numeric { .. } | Question::Essay, 1) => {
                        (Answer::Open, Some(open[3].into()))
                    }
                    (Question::Single { .. } | Question::ShortAnswer { .. }, 1) => {
                        (Answer::Open, Some(open[4].into()))
                    }
                    _ => (Answer::Open, Some(open[0].into())),
                };
            }
            1 => return (Answer::Malformed, Some(self.malformed(question))),
            _ => {}
        }
        match question {
            Question::Single { options, correct } => {
                let chosen = if self.one_in(2) {
                    *correct
                } else {
                    self.below(*options)
                };
                (Answer::Option(chosen), Some(json!(id(chosen)).to_string()))
            }
            Question::Multiple { options, correct } => {
                let mut chosen: Vec<usize> = if self.one_in(2) {
                    // The right ones, some of them changed.
                    let changed: HashSet<usize> = (0..*options)
                        .filter(|_| self.random.random_range(0..5) == 0)
                        .collect();
                    (0..*options)
                        .filter(|option| correct.contains(option) != changed.contains(option))
                        .collect()
                } else {
                    (0..*options)
                        .filter(|_| self.random.random_range(0..2) == 0)
                        .collect()
                };
                chosen.shuffle(&mut self.random);
                let written: Vec<String> = chosen.iter().copied().map(id).collect();
                if chosen.is_empty() {
                    (Answer::Open, Some("[]".into()))
                } else {
                    (Answer::Options(chosen), Some(json!(written).to_string()))
                }
            }
            Question::TrueFalse { .. } => {
                let said = self.one_in(2);
                (Answer::Truth(said), Some(said.to_string()))
            }
            Question::ShortAnswer { accepted, .. } => {
                let text = if self.one_in(5) {
                    self.phrase()
                } else {
                    self.pick(accepted).text.clone()
                };
                let text = self.retyped(&text);
                let written = json!(text).to_string();
                (Answer::Text(text), Some(written))
            }
            Question::Numeric { .. } => self.number(question),
            Question::Matching { choices, pairs } => {
                let given: Vec<Option<usize>> = pairs
                    .iter()
                    .map(|right| match self.random.random_range(0..6) {
                        0 => None,
                        1..=3 => Some(*right),
                        _ => Some(self.random.random_range(0..*choices)),
                    })
                    .collect();
                let mut written = serde_json::Map::new();
                for (prompt, choice) in given.iter().enumerate() {
                    match choice {
                        Some(choice) => {
                            written.insert(format!("p{prompt}"), json!(id(*choice)));
                        }
                        None if self.random.random_range(0..2) == 0 => {
                            written.insert(format!("p{prompt}"), Value::Null);
                        }
                        None => {}
                    }
                }
                let written = Value::Object(written).to_string();
                if given.iter().all(Option::is_none) {
                    (Answer::Open, Some(written))
                } else {
                    (Answer::Pairs(given), Some(written))
                }
            }
            Question::Ordering { order } => {
                let mut given = order.clone();
                match self.below(5) {
                    0 => {}
                    1 => given.shuffle(&mut self.random),
                    2 => {
                        let by = self.below(given.len());
                        given.rotate_left(by);
                    }
                    3 => {
                        let (one, other) = (self.below(given.len()), self.below(given.len()));
                        given.swap(one, other);
                    }
                    _ => {
                        let kept = self.random.random_range(1..=given.len());
                        given.truncate(kept);
                    }
                }
                let written: Vec<String> = given.iter().copied().map(id).collect();
                (Answer::Order(given), Some(json!(written).to_string()))
            }
            Question::Essay => (Answer::Essay, Some(json!({"text": "Because."}).to_string())),
        }
    }

    fn malformed(&mut self, question: &Question) -> String {
        let odd: &[&str] = match question {
            Question::Single { .. } => &["7", "[\"o0\"]", "\"zz\"", "{\"id\": \"o0\"}", "true"],
            Question::Multiple { .. } => &[
                "\"o0\"",
                "[\"o0\", \"o0\"]",
                "[\"zz\"]",
                "[null]",
                "{\"o0\": true}",
            ],
            Question::TrueFalse { .. } => &["\"true\"", "1", "[true]", "{}"],
            Question::ShortAnswer { .. } => &["7", "[\"Café\"]", "{\"text\": \"Café\"}", "true"],
            Question::Numeric { .. } => &[
                "true",
                "[1]",
                "{\"value\": [1]}",
                "{\"value\": 1, \"x\": 1}",
                "1e300",
            ],
            Question::Matching { .. } => &[
                "[\"o0\"]",
                "{\"p0\": \"zz\"}",
                "{\"zz\": \"o0\"}",
                "{\"p0\": 1}",
                "\"o0\"",
            ],
            Question::Ordering { .. } => &[
                "\"o0\"",
                "[\"o0\", \"o0\"]",
                "[\"zz\"]",
                "[1]",
                "{\"o0\": 1}",
            ],
            Question::Essay => &[
                "\"text\"",
                "{\"text\": 7}",
                "{\"text\": \"x\", \"y\": 1}",
                "[1]",
                "7",
            ],
        };
        (*self.pick(odd)).to_owned()
    }

    /// The same text as somebody else would type it, or nearly the same.
    fn retyped(&mut self, text: &str) -> String {
        use unicode_normalization::UnicodeNormalization as _;
        let mut text = text.to_owned();
        if self.one_in(3) {
            text = text.to_uppercase();
        } else if self.one_in(3) {
            text = text.to_lowercase();
        }
        if self.one_in(4) {
            text = text.nfd().collect();
        }
        if self.one_in(4) {
            text = text
                .nfd()
                .filter(|c| !matches!(c, '\u{300}'..='\u{36f}'))
                .collect();
        }
        if self.one_in(4) {
            let space = *self.pick(&["  ", "\t", "\u{a0}", " \n "]);
            text = text.replace(' ', space);
        }
        if self.one_in(4) {
            text = text.replace('\'', "’").replace('-', "–");
        }
        if self.one_in(6) {
            text = text
                .replace('²', "^2")
                .replace('½', " 1/2")
                .replace('₂', "2");
        }
        if self.one_in(8) {
            text = text.replace('²', "2").replace('½', "1/2");
        }
        if self.one_in(4) {
            let (before, behind) = *self.pick(&[
                ("", "."),
                ("«", "»"),
                ("\"", "\"!"),
                (" ", " "),
                ("¿", "?"),
                ("", " …"),
                ("(", ")"),
            ]);
            text = format!("{before}{text}{behind}");
        }
        if self.one_in(8) {
            text.pop();
        }
        if text.trim().is_empty() {
            "x".into()
        } else {
            text
        }
    }

    /// Near the value, often exactly at the edge of what is allowed, in one of the units and one of the ways to write it.
    fn number(&mut self, question: &Question) -> (Answer, Option<String>) {
        let Question::Numeric {
            value,
            divisor,
            tolerance,
            units,
            ..
        } = question
        else {
            unreachable!("only numbers are made here");
        };
        if self.one_in(15) {
            let text = *self.pick(&[
                "one", "1,5", "NaN", "1e300", "3/0", "--1", "1.2.3", "∞", "1 2",
            ]);
            return (Answer::NotANumber, Some(json!(text).to_string()));
        }
        let digits = value.digits.max(tolerance.digits);
        let scaled = |d: &Decimal| d.units * 10_i64.pow(digits - d.digits);
        let edge = match self.below(5) {
            0..=1 => 0,
            2 => scaled(tolerance),
            3 => -scaled(tolerance),
            _ => self.random.random_range(-200..=200),
        };
        let off = if self.one_in(4) {
            *self.pick(&[-1, 1])
        } else {
            0
        };
        let top = Decimal::new(scaled(value) + edge + off, digits);
        let bottom = (*divisor != 1 && !self.one_in(6)).then(|| Decimal::new(*divisor, 0));
        let unit = match (units.choose(&mut self.random), self.below(6)) {
            (Some(unit), 0..=3) => Some(unit.clone()),
            (_, 4) => Some(Unit {
                name: "parsec".into(),
                factor: Decimal::new(1, 0),
            }),
            _ => None,
        };
        // In a unit the number is divided by its factor, exactly: as a fraction.
        let (top, bottom) = match &unit {
            Some(unit) => {
                let factor = &unit.factor;
                let divisor = bottom.map_or(1, |bottom| bottom.units);
                let top = Decimal::new(top.units * 10_i64.pow(factor.digits), top.digits);
                let divisor = divisor * factor.units;
                (top, (divisor != 1).then(|| Decimal::new(divisor, 0)))
            }
            None => (top, bottom),
        };
        let name = unit.map(|unit| unit.name);
        let number = self.spelled(&top, bottom.as_ref());
        let response = match (&name, bottom.is_none(), self.below(4)) {
            (None, true, 0) => top.text(),
            (None, true, 1) => format!("{{\"value\": {}}}", top.text()),
            (None, _, _) => json!(number).to_string(),
            (Some(name), _, 0) => json!(format!("{number} {name}")).to_string(),
            (Some(name), _, 1) => json!(format!("{number}{name}")).to_string(),
            (Some(name), _, _) => json!({"value": number, "unit": name}).to_string(),
        };
        (
            Answer::Number {
                top,
                bottom,
                unit: name,
            },
            Some(response),
        )
    }

    fn spelled(&mut self, top: &Decimal, bottom: Option<&Decimal>) -> String {
        let mut text = match self.below(4) {
            0 => format!("{}e-{}", top.units, top.digits),
            1 if top.units >= 0 => format!("+{}", top.text()),
            2 => format!(
                "{}00",
                if top.digits == 0 {
                    format!("{}.", top.text())
                } else {
                    top.text()
                }
            ),
            _ => top.text(),
        };
        if let Some(bottom) = bottom {
            text = format!(
                "{text}{}{}",
                if self.one_in(2) { "/" } else { " / " },
                bottom.text()
            );
        }
        if self.one_in(4) {
            text = text.replace('-', "−");
        }
        if self.one_in(4) {
            text = format!(" {text} ");
        }
        text
    }
}

fn list(prefix: &str, count: usize) -> Value {
    (0..count)
        .map(|n| json!({"id": format!("{prefix}{n}"), "text": format!("Text {n}")}))
        .collect()
}

/// Type, content and key as the database has them.
pub(crate) fn written(question: &Question) -> (&'static str, Value, Value) {
    match question {
        Question::Single { options, correct } => (
            "single",
            json!({"options": list("o", *options)}),
            json!({"correct": id(*correct)}),
        ),
        Question::Multiple { options, correct } => {
            let correct: Vec<String> = correct.iter().copied().map(id).collect();
            (
                "multiple",
                json!({"options": list("o", *options)}),
                json!({"correct": correct}),
            )
        }
        Question::TrueFalse { correct } => ("true_false", json!({}), json!({"correct": correct})),
        Question::ShortAnswer {
            accepted,
            case_sensitive,
            keep_diacritics,
            keep_punctuation,
        } => {
            let accepted: Vec<Value> = accepted
                .iter()
                .map(|one| {
                    if one.millionths == 1_000_000 {
                        json!({"text": one.text})
                    } else {
                        json!({"text": one.text, "fraction": Decimal::new(one.millionths, 6).text()})
                    }
                })
                .collect();
            let mut key = json!({"accepted": accepted});
            for (name, set) in [
                ("case_sensitive", case_sensitive),
                ("keep_diacritics", keep_diacritics),
                ("keep_punctuation", keep_punctuation),
            ] {
                if *set {
                    key[name] = json!(true);
                }
            }
            ("short_answer", json!({}), key)
        }
        Question::Numeric {
            value,
            divisor,
            tolerance,
            relative,
            units,
            unit_required,
        } => {
            let value = if *divisor == 1 {
                value.text()
            } else {
                format!("{}/{divisor}", value.text())
            };
            let units: Vec<Value> = units
                .iter()
                .map(|unit| json!({"unit": unit.name, "factor": unit.factor.text()}))
                .collect();
            let mut key = json!({"value": value, "tolerance": tolerance.text()});
            if *relative {
                key["tolerance_kind"] = json!("relative");
            }
            if !units.is_empty() {
                key["units"] = json!(units);
            }
            if *unit_required {
                key["unit_required"] = json!(true);
            }
            ("numeric", json!({}), key)
        }
        Question::Matching { choices, pairs } => {
            let key: serde_json::Map<String, Value> = pairs
                .iter()
                .enumerate()
                .map(|(prompt, choice)| (format!("p{prompt}"), json!(id(*choice))))
                .collect();
            (
                "matching",
                json!({"prompts": list("p", pairs.len()), "choices": list("o", *choices)}),
                json!({"pairs": key}),
            )
        }
        Question::Ordering { order } => {
            let written: Vec<String> = order.iter().copied().map(id).collect();
            (
                "ordering",
                json!({"items": list("o", order.len())}),
                json!({"order": written}),
            )
        }
        Question::Essay => (
            "essay",
            json!({}),
            json!({"rubric": [{"id": "r", "criterion": "Good", "points": 1}]}),
        ),
    }
}
