//! Reports as pages to read and to print. No script, nothing from elsewhere. Pure but for where it is written.

use std::{collections::BTreeMap, fmt::Write as _, io::Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lyceum_core::Error;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    catalogue::{Column, Kind, Layout},
    cell::Look,
    chart::{Drawing, STATES},
    request::Asked,
    spool::failure,
    text::escaped,
    words,
};

const STYLE: &str = include_str!("page.css");

/// More rows than these nobody reads on a page, and no browser lays out quickly.
const MOST_ROWS: u64 = 5_000;
/// A matrix has a row of the database for each of its cells.
const MOST_CELLS: u64 = 20_000;
/// Courses side by side, before the rest goes into a table of its own: as many as a sheet of paper has room for.
const MOST_ACROSS: usize = 12;

/// The policy that lets this style in and nothing else: whatever got into a page, it runs nothing and loads nothing.
pub fn policy() -> String {
    format!("{}; frame-ancestors 'none'", own_policy())
}

/// The part of it that a page can say itself, for when it is opened from a file.
fn own_policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// Collects a page.
pub struct Page<'a> {
    asked: &'a Asked,
    drawing: Drawing,
    body: String,
    matrix: Matrix,
    rows: u64,
}

/// People in the order in which they came, and courses by their titles.
#[derive(Default)]
struct Matrix {
    people: Vec<Person>,
    /// Title and id, so that two courses of one title stay two.
    courses: BTreeMap<(String, String), usize>,
}

struct Person {
    id: String,
    name: String,
    about: String,
    cells: Vec<(usize, String, String)>,
}

impl<'a> Page<'a> {
    /// Nothing yet.
    pub fn new(asked: &'a Asked) -> Self {
        Self {
            asked,
            drawing: Drawing::new(asked.report, asked.look.clone()),
            body: String::new(),
            matrix: Matrix::default(),
            rows: 0,
        }
    }

    fn word(&self, words: words::Words) -> &'static str {
        words::of(words, self.asked.look.locale)
    }

    fn most(&self) -> u64 {
        if self.asked.report.layout == Layout::Matrix {
            MOST_CELLS
        } else {
            MOST_ROWS
        }
    }

    /// A row.
    pub fn row(&mut self, row: &[Value]) {
        self.drawing.row(row);
        self.rows += 1;
        if self.rows > self.most() {
            return;
        }
        match self.asked.report.layout {
            Layout::Figures => self.figures(row),
            Layout::Table => self.table_row(row),
            Layout::Records => self.record(row),
            Layout::Matrix => self.matrix.row(row, self.asked),
        }
    }

    fn shown(&self) -> impl Iterator<Item = (usize, &'static Column)> + use<> {
        self.asked
            .report
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.kind.is_shown())
    }

    fn figures(&mut self, row: &[Value]) {
        let mut text = String::from("<dl class=\"figures\">\n");
        for (place, column) in self.shown() {
            let value = or_dash(&self.asked.look.text(&row[place], column));
            let _ = writeln!(
                text,
                "<div><dt>{}</dt><dd>{value}</dd></div>",
                self.word(column.heading)
            );
        }
        text.push_str("</dl>\n");
        self.body.push_str(&text);
    }

    fn table_row(&mut self, row: &[Value]) {
        let mut text = String::from("<tr>");
        for (at, (place, column)) in self.shown().enumerate() {
            let value = self.asked.look.text(&row[place], column);
            if at == 0 {
                let _ = write!(
                    text,
                    "<th scope=\"row\"{}>{}</th>",
                    class(column),
                    or_dash(&value)
                );
            } else if let (Kind::Word, Some(state)) = (column.kind, row[place].as_str())
                && STATES.iter().any(|known| known.0 == state)
            {
                let _ = write!(text, "<td>{}</td>", mark(state, &value));
            } else {
                let _ = write!(text, "<td{}>{}</td>", class(column), or_dash(&value));
            }
        }
        text.push_str("</tr>\n");
        self.body.push_str(&text);
    }

    fn record(&mut self, row: &[Value]) {
        let mut shown = self.shown().map(|(place, column)| {
            let value = self.asked.look.text(&row[place], column);
            (column, value)
        });
        let name = shown.next().map(|first| first.1).unwrap_or_default();
        let title = shown.next().map(|second| second.1).unwrap_or_default();
        let mut text = format!(
            "<article class=\"record\">\n<h2>{} <span>{}</span></h2>\n<dl>\n",
            or_dash(&name),
            or_dash(&title)
        );
        for (column, value) in shown {
            // What is missing is of interest where something is.
            let is_lack = column.kind == Kind::List;
            if is_lack && value.is_empty() {
                continue;
            }
            let _ = writeln!(
                text,
                "<div{}><dt>{}</dt><dd>{}</dd></div>",
                if is_lack { " class=\"lack\"" } else { "" },
                self.word(column.heading),
                or_dash(&value)
            );
        }
        text.push_str("</dl>\n</article>\n");
        self.body.push_str(&text);
    }

    /// Writes the page.
    pub fn finish<W: Write>(
        self,
        facts: &[(String, String)],
        as_of: &str,
        mut out: W,
    ) -> Result<W, Error> {
        let report = self.asked.report;
        let locale = self.asked.look.locale;
        let title = escaped(self.word(report.title));
        let organization = self.asked.heading.organization.clone().unwrap_or_default();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex, nofollow\">\n<title>{title} · {}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body class=\"{}\">\n<main>\n<header>\n<p class=\"organization\">{}</p>\n<h1>{title}</h1>\n<dl class=\"facts\">\n",
            locale.tag(),
            own_policy(),
            escaped(&organization),
            if self.is_wide() { "wide" } else { "tall" },
            escaped(&organization),
        );
        for (name, value) in facts {
            let _ = writeln!(
                page,
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escaped(name),
                escaped(value)
            );
        }
        let _ = write!(
            page,
            "<div><dt>{}</dt><dd>{}</dd></div>\n</dl>\n</header>\n",
            self.word(words::AS_OF),
            escaped(as_of)
        );
        if report.layout == Layout::Figures {
            page.push_str(&self.body);
        }
        if let Some(svg) = self.drawing.inline() {
            let caption = match self.drawing.measure() {
                "" => String::new(),
                caption => format!("<figcaption>{caption}</figcaption>"),
            };
            let _ = writeln!(page, "<figure>{caption}{svg}</figure>");
        }
        if self.rows == 0 {
            let _ = writeln!(page, "<p class=\"empty\">{}</p>", self.word(words::EMPTY));
        } else {
            match report.layout {
                Layout::Figures => {}
                Layout::Records => page.push_str(&self.body),
                Layout::Table => {
                    let mut heading = String::new();
                    for (_, column) in self.shown() {
                        let _ = write!(
                            heading,
                            "<th scope=\"col\"{}>{}</th>",
                            class(column),
                            self.word(column.heading)
                        );
                    }
                    let _ = write!(
                        page,
                        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table>\n<thead><tr>{heading}</tr></thead>\n\
                         <tbody>\n{}</tbody>\n</table></div>\n",
                        self.body
                    );
                }
                Layout::Matrix => self.matrix.table(&self.asked.look, &title, &mut page),
            }
        }
        if self.rows > self.most() {
            let note = self
                .word(words::FIRST_OF)
                .replace("{shown}", &locale.count(self.most().cast_signed()))
                .replace("{all}", &locale.count(self.rows.cast_signed()));
            let _ = writeln!(page, "<p class=\"note\">{}</p>", escaped(&note));
        }
        let _ = write!(
            page,
            "<footer><h2>{}</h2><p>{}</p></footer>\n</main>\n</body>\n</html>\n",
            self.word(words::WHAT_COUNTS),
            escaped(self.word(report.counts))
        );
        out.write_all(page.as_bytes()).map_err(failure)?;
        Ok(out)
    }

    fn is_wide(&self) -> bool {
        match self.asked.report.layout {
            Layout::Matrix => true,
            Layout::Table => self.shown().count() > 6,
            _ => false,
        }
    }
}

impl Matrix {
    fn row(&mut self, row: &[Value], asked: &Asked) {
        let field = |name: &str| {
            asked
                .report
                .place(name)
                .and_then(|place| row.get(place)?.as_str())
                .unwrap_or_default()
        };
        let told = |name: &str| {
            asked
                .report
                .place(name)
                .map(|place| asked.look.text(&row[place], &asked.report.columns[place]))
                .unwrap_or_default()
        };
        let id = field("user_id");
        if self.people.last().is_none_or(|person| person.id != id) {
            let about: Vec<&str> = [field("job_title"), field("unit_name")]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            self.people.push(Person {
                id: id.to_owned(),
                name: field("display_name").to_owned(),
                about: about.join(", "),
                cells: Vec::new(),
            });
        }
        let key = (field("title").to_owned(), field("course_id").to_owned());
        let next = self.courses.len();
        let course = *self.courses.entry(key).or_insert(next);
        // The date that goes with the state: until when it holds, when it is due, or when it was done.
        let state = field("state");
        let date = match state {
            "due" | "overdue" => told("due_at"),
            "waived" => String::new(),
            _ if !field("expires_at").is_empty() => told("expires_at"),
            _ => told("completed_at"),
        };
        let date = date
            .split_once(',')
            .map_or(date.as_str(), |day| day.0)
            .to_owned();
        if let Some(person) = self.people.last_mut() {
            person.cells.push((course, state.to_owned(), date));
        }
    }

    fn table(&self, look: &Look, title: &str, page: &mut String) {
        let word = |words| words::of(words, look.locale);
        let courses: Vec<(&str, usize)> = self
            .courses
            .iter()
            .map(|((title, _), place)| (title.as_str(), *place))
            .collect();
        let mut people: Vec<&Person> = self.people.iter().collect();
        people.sort_by_key(|person| person.name.to_lowercase());
        let _ = writeln!(page, "<ul class=\"legend\">");
        for (state, _) in STATES {
            let _ = writeln!(
                page,
                "<li>{}</li>",
                mark(state, &words::told(state, look.locale))
            );
        }
        let _ = writeln!(
            page,
            "<li><span class=\"none\">·</span> {}</li></ul>",
            word(words::NOTHING_ASKED)
        );
        for across in courses.chunks(MOST_ACROSS) {
            let _ = write!(
                page,
                "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table class=\"matrix\">\n<thead><tr><th scope=\"col\">{}</th>",
                word(words::PERSON)
            );
            for (title, _) in across {
                let title = if title.is_empty() {
                    word(words::UNNAMED)
                } else {
                    title
                };
                let _ = write!(page, "<th scope=\"col\">{}</th>", escaped(title));
            }
            page.push_str("</tr></thead>\n<tbody>\n");
            for person in &people {
                let name = if person.name.is_empty() {
                    word(words::UNNAMED)
                } else {
                    &person.name
                };
                let _ = write!(
                    page,
                    "<tr><th scope=\"row\">{}<small>{}</small></th>",
                    escaped(name),
                    escaped(&person.about)
                );
                for (_, course) in across {
                    match person.cells.iter().find(|cell| cell.0 == *course) {
                        Some((_, state, date)) => {
                            let told = words::told(state, look.locale);
                            let _ = write!(
                                page,
                                "<td>{}<small>{}</small></td>",
                                mark(state, &told),
                                escaped(date)
                            );
                        }
                        None => {
                            let _ = write!(
                                page,
                                "<td class=\"none\"><span aria-label=\"{}\">·</span></td>",
                                word(words::NOTHING_ASKED)
                            );
                        }
                    }
                }
                page.push_str("</tr>\n");
            }
            page.push_str("</tbody>\n</table></div>\n");
        }
    }
}

/// A state as a sign, a pattern and a word: none of them is needed to read the others.
fn mark(state: &str, told: &str) -> String {
    let (class, sign) = match state {
        "done" => ("done", "✓"),
        "due" => ("due", "○"),
        "overdue" => ("overdue", "!"),
        "expiring" => ("expiring", "◔"),
        "expired" => ("expired", "✕"),
        "waived" => ("waived", "–"),
        _ => ("other", ""),
    };
    format!(
        "<span class=\"state {class}\"><i aria-hidden=\"true\">{sign}</i> {}</span>",
        escaped(told)
    )
}

fn class(column: &Column) -> &'static str {
    if column.kind.is_number() {
        " class=\"number\""
    } else if matches!(column.kind, Kind::Moment | Kind::Day) {
        " class=\"date\""
    } else {
        ""
    }
}

/// An empty cell says that it is.
fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "<span class=\"none\">–</span>".to_owned()
    } else {
        escaped(text)
    }
}
