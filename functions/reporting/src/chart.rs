//! Charts as SVG: told apart by pattern and place rather than by colour, with all that is drawn as text besides. No script, no
//! style sheet, nothing from elsewhere. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    catalogue::{Chart, Column, Report},
    cell::Look,
    text::{escaped, shortened},
    words::{self, told},
};

const WIDTH: f64 = 720.0;
const INK: &str = "#1f2328";
const FAINT: &str = "#59626c";
const LINE: &str = "#d5dae0";
const ACCENT: &str = "#2b5c86";
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif";

/// Bars beyond these are not drawn.
const MOST_BARS: usize = 20;
/// A year of days.
const MOST_COLUMNS: usize = 366;
const MOST_CURVES: usize = 6;

/// What stands for the states of training, in the order in which they ask for attention: the word, and the pattern's name.
pub const STATES: [(&str, &str); 6] = [
    ("overdue", "stripes"),
    ("expired", "cross"),
    ("due", "lines"),
    ("expiring", "dots"),
    ("done", "full"),
    ("waived", "empty"),
];

/// Collects what is drawn while the rows pass by, and draws it.
pub struct Drawing {
    report: &'static Report,
    look: Look,
    rows: Vec<Vec<Value>>,
    counts: Vec<(String, u64)>,
    passed: u64,
}

struct Bar {
    label: String,
    value: f64,
    told: String,
    pattern: &'static str,
}

impl Drawing {
    /// Nothing yet.
    pub fn new(report: &'static Report, look: Look) -> Self {
        Self {
            report,
            look,
            rows: Vec::new(),
            counts: Vec::new(),
            passed: 0,
        }
    }

    /// A row.
    pub fn row(&mut self, row: &[Value]) {
        self.passed += 1;
        match self.report.chart {
            Chart::None => {}
            Chart::Bars(..) | Chart::Parts(_) | Chart::Steps(_) => {
                if self.rows.len() < MOST_BARS {
                    self.rows.push(row.to_vec());
                }
            }
            Chart::Time(..) | Chart::Curves(..) => {
                if self.rows.len() == MOST_COLUMNS * 2 {
                    self.rows.drain(..MOST_COLUMNS);
                }
                self.rows.push(row.to_vec());
            }
            Chart::States(column) => {
                let state = self
                    .report
                    .place(column)
                    .and_then(|place| row.get(place)?.as_str())
                    .unwrap_or_default();
                match self.counts.iter().position(|count| count.0 == state) {
                    Some(place) => self.counts[place].1 += 1,
                    // There are six; whatever else comes is not drawn for ever.
                    None if self.counts.len() < MOST_BARS => {
                        self.counts.push((state.to_owned(), 1))
                    }
                    None => {}
                }
            }
        }
    }

    fn column(&self, name: &str) -> Option<(usize, &'static Column)> {
        let place = self.report.place(name)?;
        Some((place, &self.report.columns[place]))
    }

    fn heading(&self, column: &Column) -> String {
        words::of(column.heading, self.look.locale).to_owned()
    }

    /// What the chart shows, in words, for those who do not see it; and the drawing with its height.
    fn drawn(&self) -> Option<(String, f64, String)> {
        match self.report.chart {
            Chart::None => None,
            Chart::Parts(parts) => self.parts(parts),
            Chart::Steps(steps) => self.steps(steps),
            Chart::Bars(label, value) => self.bars(label, value),
            Chart::Time(day, value) => self.time(day, value),
            Chart::Curves(group, along, height) => self.curves(group, along, height),
            Chart::States(_) => self.states(),
        }
    }

    /// What bars, columns and lines measure; nothing where they say it themselves.
    pub fn measure(&self) -> &'static str {
        let column = match self.report.chart {
            Chart::Bars(_, value) | Chart::Time(_, value) | Chart::Curves(_, _, value) => value,
            _ => return "",
        };
        self.column(column).map_or("", |(_, column)| {
            words::of(column.heading, self.look.locale)
        })
    }

    /// The chart inside a page; none where there is nothing to draw.
    pub fn inline(&self) -> Option<String> {
        let (words, height, drawing) = self.drawn()?;
        Some(self.svg(&words, 0.0, height, &drawing, false))
    }

    /// The chart alone, with its title.
    pub fn alone(&self, subtitle: &str) -> String {
        let subtitle = match self.measure() {
            "" => subtitle.to_owned(),
            measure => format!("{measure} · {subtitle}"),
        };
        let title = words::of(self.report.title, self.look.locale);
        let (words, height, drawing) = self.drawn().unwrap_or_else(|| {
            let empty = words::of(words::EMPTY, self.look.locale);
            (
                empty.to_owned(),
                30.0,
                label(0.0, 20.0, "start", FAINT, empty),
            )
        });
        let head = format!(
            "<text x=\"0\" y=\"-38\" font-size=\"19\" font-weight=\"600\" fill=\"{INK}\">{}</text>{}",
            escaped(title),
            label(0.0, -17.0, "start", FAINT, &shortened(&subtitle, 100)),
        );
        self.svg(&words, 60.0, height, &format!("{head}{drawing}"), true)
    }

    fn svg(&self, words: &str, above: f64, height: f64, drawing: &str, alone: bool) -> String {
        let title = words::of(self.report.title, self.look.locale);
        let margin = if alone { 24.0 } else { 0.5 };
        let (wide, high) = (WIDTH + 2.0 * margin, above + height + 2.0 * margin);
        let (namespace, size, ground) = if alone {
            (
                " xmlns=\"http://www.w3.org/2000/svg\"",
                format!(" width=\"{wide}\" height=\"{high}\""),
                format!(
                    "<rect x=\"{}\" y=\"{}\" width=\"{wide}\" height=\"{high}\" fill=\"#fff\"/>",
                    -margin,
                    -above - margin
                ),
            )
        } else {
            ("", String::new(), String::new())
        };
        format!(
            "<svg{namespace}{size} viewBox=\"{} {} {wide} {high}\" role=\"img\" aria-labelledby=\"chart-title chart-words\" \
             lang=\"{}\" font-family=\"{FONT}\" font-size=\"13\"><title id=\"chart-title\">{}</title>\
             <desc id=\"chart-words\">{}</desc>{}{ground}{drawing}</svg>",
            -margin,
            -above - margin,
            self.look.locale.tag(),
            escaped(title),
            escaped(words),
            patterns(),
        )
    }

    fn parts(&self, names: &[&str]) -> Option<(String, f64, String)> {
        let row = self.rows.first()?;
        let parts: Vec<(String, f64)> = names
            .iter()
            .filter_map(|name| {
                let (place, column) = self.column(name)?;
                Some((self.heading(column), row.get(place)?.as_f64()?))
            })
            .collect();
        let whole: f64 = parts.iter().map(|part| part.1).sum();
        if whole <= 0.0 {
            return None;
        }
        let mut drawing = String::new();
        let mut words = Vec::new();
        let mut left = 0.0;
        for (place, (name, value)) in parts.iter().enumerate() {
            let pattern = ["full", "stripes", "empty"][place % 3];
            let width = WIDTH * value / whole;
            if width > 0.0 {
                let _ = write!(
                    drawing,
                    "<rect x=\"{left:.1}\" y=\"0\" width=\"{width:.1}\" height=\"34\" fill=\"{}\" stroke=\"{ACCENT}\"/>",
                    paint(pattern)
                );
            }
            left += width;
            let told = format!(
                "{name}: {} ({})",
                self.look.text(&Value::from(*value as i64), &count()),
                self.look.locale.percent(100.0 * value / whole)
            );
            let y = 62.0;
            #[expect(clippy::cast_precision_loss)]
            let x = place as f64 * WIDTH / 3.0;
            let _ = write!(
                drawing,
                "<rect x=\"{x:.1}\" y=\"{}\" width=\"16\" height=\"12\" fill=\"{}\" stroke=\"{ACCENT}\"/>{}",
                y - 11.0,
                paint(pattern),
                label(x + 24.0, y, "start", INK, &told)
            );
            words.push(told);
        }
        Some((words.join("; "), 70.0, drawing))
    }

    fn steps(&self, names: &[&str]) -> Option<(String, f64, String)> {
        let row = self.rows.first()?;
        let number = |name: &str| row.get(self.report.place(name)?)?.as_f64();
        let first = names.first().and_then(|name| number(name)).unwrap_or(0.0);
        if first <= 0.0 {
            return None;
        }
        let bars: Vec<Bar> = names
            .iter()
            .filter_map(|name| {
                let (place, column) = self.column(name)?;
                let value = number(name)?;
                let told = self.look.text(&row[place], column);
                Some(Bar {
                    label: self.heading(column),
                    value,
                    told: format!(
                        "{told} ({})",
                        self.look.locale.percent(100.0 * value / first)
                    ),
                    pattern: "full",
                })
            })
            .collect();
        Some(bar_chart(&bars, first))
    }

    fn bars(&self, name: &str, value: &str) -> Option<(String, f64, String)> {
        let (name, _) = self.column(name)?;
        let (value, column) = self.column(value)?;
        let unnamed = words::of(words::UNNAMED, self.look.locale);
        let bars: Vec<Bar> = self
            .rows
            .iter()
            .filter_map(|row| {
                let number = row.get(value)?.as_f64()?;
                Some(Bar {
                    label: row.get(name)?.as_str().unwrap_or(unnamed).to_owned(),
                    value: number,
                    told: self.look.text(&row[value], column),
                    pattern: "full",
                })
            })
            .collect();
        if bars.is_empty() {
            return None;
        }
        let is_percent = column.kind == crate::catalogue::Kind::Percent;
        let longest = if is_percent {
            100.0
        } else {
            bars.iter().map(|bar| bar.value).fold(1.0, f64::max)
        };
        let (words, mut height, mut drawing) = bar_chart(&bars, longest);
        let heading = self.heading(column);
        if self.passed > bars.len() as u64 {
            let note = words::of(words::MORE_BARS, self.look.locale)
                .replace("{shown}", &bars.len().to_string())
                .replace(
                    "{all}",
                    &self.look.text(&Value::from(self.passed), &count()),
                );
            drawing.push_str(&label(0.0, height + 14.0, "start", FAINT, &note));
            height += 20.0;
        }
        Some((format!("{heading}. {words}"), height, drawing))
    }

    fn states(&self) -> Option<(String, f64, String)> {
        let bars: Vec<Bar> = STATES
            .iter()
            .filter_map(|(state, pattern)| {
                let count = self.counts.iter().find(|count| count.0 == *state)?.1;
                #[expect(clippy::cast_precision_loss)]
                Some(Bar {
                    label: told(state, self.look.locale),
                    value: count as f64,
                    told: self.look.text(&Value::from(count), &self::count()),
                    pattern,
                })
            })
            .collect();
        if bars.is_empty() {
            return None;
        }
        let longest = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
        Some(bar_chart(&bars, longest))
    }

    fn time(&self, day: &str, value: &str) -> Option<(String, f64, String)> {
        let (day, day_column) = self.column(day)?;
        let (value, column) = self.column(value)?;
        let rows = &self.rows[self.rows.len().saturating_sub(MOST_COLUMNS)..];
        let points: Vec<(String, f64, String)> = rows
            .iter()
            .filter_map(|row| {
                Some((
                    self.look.text(row.get(day)?, day_column),
                    row.get(value)?.as_f64()?,
                    self.look.text(&row[value], column),
                ))
            })
            .collect();
        if points.is_empty() {
            return None;
        }
        let most = nice(points.iter().map(|point| point.1).fold(1.0, f64::max));
        let (left, top, high) = (48.0, 8.0, 180.0);
        #[expect(clippy::cast_precision_loss)]
        let step = (WIDTH - left) / points.len() as f64;
        let mut drawing = self.grid(left, top, high, &[0.0, most / 2.0, most], most, column);
        let ticks = points.len().div_ceil(6);
        for (place, (when, number, told)) in points.iter().enumerate() {
            #[expect(clippy::cast_precision_loss)]
            let x = left + step * place as f64;
            let tall = high * number / most;
            let gap = (step * 0.18).min(6.0);
            let _ = write!(
                drawing,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{ACCENT}\"><title>{}: {}</title></rect>",
                x + gap / 2.0,
                top + high - tall,
                (step - gap).max(0.5),
                escaped(when),
                escaped(told)
            );
            if place % ticks == 0 {
                drawing.push_str(&label(
                    x + gap / 2.0,
                    top + high + 18.0,
                    "start",
                    FAINT,
                    when,
                ));
            }
        }
        let words: Vec<String> = points
            .iter()
            .map(|(when, _, told)| format!("{when}: {told}"))
            .collect();
        let words = format!("{}. {}", self.heading(column), words.join("; "));
        Some((words, top + high + 26.0, drawing))
    }

    fn curves(&self, group: &str, along: &str, height: &str) -> Option<(String, f64, String)> {
        let (group, group_column) = self.column(group)?;
        let (along, along_column) = self.column(along)?;
        let (height, column) = self.column(height)?;
        let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for row in &self.rows {
            let name = self.look.text(row.get(group)?, group_column);
            let (Some(x), Some(y)) = (row.get(along)?.as_f64(), row.get(height)?.as_f64()) else {
                continue;
            };
            match curves.last_mut() {
                Some(last) if last.0 == name => last.1.push((x, y)),
                _ => curves.push((name, vec![(x, y)])),
            }
        }
        let curves = &curves[curves.len().saturating_sub(MOST_CURVES)..];
        let farthest = curves
            .iter()
            .flat_map(|curve| curve.1.iter().map(|point| point.0))
            .fold(1.0, f64::max);
        if curves.is_empty() {
            return None;
        }
        let (left, top, wide, high) = (56.0, 8.0, WIDTH - 56.0 - 150.0, 200.0);
        let mut drawing = self.grid(left, top, high, &[0.0, 50.0, 100.0], 100.0, column);
        let mut words = Vec::new();
        for (place, (name, points)) in curves.iter().enumerate() {
            let dash = ["none", "7 3", "2 3", "9 3 2 3", "4 4", "12 4"][place % 6];
            let at = |point: &(f64, f64)| {
                (
                    left + wide * point.0 / farthest,
                    top + high * (1.0 - point.1.clamp(0.0, 100.0) / 100.0),
                )
            };
            let path: Vec<String> = points
                .iter()
                .map(|point| format!("{:.1},{:.1}", at(point).0, at(point).1))
                .collect();
            let _ = write!(
                drawing,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{ACCENT}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
                path.join(" ")
            );
            for point in points {
                let (x, y) = at(point);
                let _ = write!(
                    drawing,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{ACCENT}\"/>"
                );
            }
            #[expect(clippy::cast_precision_loss)]
            let y = top + 14.0 + 22.0 * place as f64;
            let x = WIDTH - 136.0;
            let _ = write!(
                drawing,
                "<line x1=\"{x}\" x2=\"{}\" y1=\"{1}\" y2=\"{1}\" stroke=\"{ACCENT}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>{2}",
                x + 34.0,
                y - 4.0,
                label(x + 42.0, y, "start", INK, name)
            );
            let told: Vec<String> = points
                .iter()
                .map(|point| self.look.locale.percent(point.1))
                .collect();
            words.push(format!("{name}: {}", told.join(", ")));
        }
        let mut place = 0.0;
        while place <= farthest {
            let x = left + wide * place / farthest;
            drawing.push_str(&label(
                x,
                top + high + 18.0,
                "middle",
                FAINT,
                &format!("{place}"),
            ));
            place += (farthest / 12.0).ceil().max(1.0);
        }
        drawing.push_str(&label(
            left + wide / 2.0,
            top + high + 38.0,
            "middle",
            FAINT,
            &self.heading(along_column),
        ));
        let words = format!("{}. {}", self.heading(column), words.join("; "));
        Some((words, top + high + 46.0, drawing))
    }

    fn grid(
        &self,
        left: f64,
        top: f64,
        high: f64,
        marks: &[f64],
        most: f64,
        column: &Column,
    ) -> String {
        let mut drawing = String::new();
        let right = if matches!(self.report.chart, Chart::Curves(..)) {
            WIDTH - 150.0
        } else {
            WIDTH
        };
        for mark in marks {
            let y = top + high * (1.0 - mark / most);
            // Half of an odd number is no count.
            let told = if column.kind == crate::catalogue::Kind::Percent {
                format!("{mark}%")
            } else if mark.fract() == 0.0 {
                self.look.text(&Value::from(*mark as i64), column)
            } else {
                continue;
            };
            let _ = write!(
                drawing,
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{LINE}\"/>{}",
                label(left - 8.0, y + 4.0, "end", FAINT, &told)
            );
        }
        drawing
    }
}

const fn count() -> Column {
    Column {
        name: "",
        kind: crate::catalogue::Kind::Count,
        heading: words::PEOPLE,
    }
}

/// The next number that reads well on an axis.
fn nice(number: f64) -> f64 {
    let power = 10_f64.powf(number.log10().floor());
    let step = [1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .find(|step| step * power >= number)
        .unwrap_or(10.0);
    step * power
}

fn label(x: f64, y: f64, anchor: &str, color: &str, text: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\">{}</text>",
        escaped(text)
    )
}

fn bar_chart(bars: &[Bar], longest: f64) -> (String, f64, String) {
    let (left, row) = (214.0, 27.0);
    let told = bars
        .iter()
        .map(|bar| bar.told.chars().count())
        .max()
        .unwrap_or(0);
    #[expect(clippy::cast_precision_loss)]
    let room = WIDTH - left - 16.0 - 7.2 * told as f64;
    let mut drawing = String::new();
    for (place, bar) in bars.iter().enumerate() {
        #[expect(clippy::cast_precision_loss)]
        let y = row * place as f64;
        let width = room * (bar.value / longest).clamp(0.0, 1.0);
        let _ = write!(
            drawing,
            "<g><title>{}: {}</title>{}",
            escaped(&bar.label),
            escaped(&bar.told),
            label(0.0, y + 17.0, "start", INK, &shortened(&bar.label, 30)),
        );
        let _ = write!(
            drawing,
            "<rect x=\"{left}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"17\" fill=\"{}\" stroke=\"{ACCENT}\"/>{}</g>",
            y + 4.0,
            paint(bar.pattern),
            label(left + width + 8.0, y + 17.0, "start", INK, &bar.told),
        );
    }
    let words: Vec<String> = bars
        .iter()
        .map(|bar| format!("{}: {}", bar.label, bar.told))
        .collect();
    #[expect(clippy::cast_precision_loss)]
    let height = row * bars.len() as f64;
    // Where bars begin, so that none is seen to be none.
    let _ = write!(
        drawing,
        "<line x1=\"{left}\" x2=\"{left}\" y1=\"0\" y2=\"{height}\" stroke=\"{FAINT}\"/>"
    );
    (words.join("; "), height, drawing)
}

fn paint(pattern: &str) -> String {
    match pattern {
        "full" => ACCENT.to_owned(),
        "empty" => "#fff".to_owned(),
        other => format!("url(#{other})"),
    }
}

fn patterns() -> String {
    let mut text = String::from("<defs>");
    for (name, side, path) in [
        ("stripes", 7, "M-1 8L8 -1M-1 1L1 -1M6 8L8 6"),
        ("cross", 7, "M0 0L7 7M7 0L0 7"),
        ("lines", 5, "M0 2.5H5"),
    ] {
        let _ = write!(
            text,
            "<pattern id=\"{name}\" width=\"{side}\" height=\"{side}\" patternUnits=\"userSpaceOnUse\">\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\" stroke=\"{ACCENT}\" stroke-width=\"1.6\"/></pattern>",
        );
    }
    let _ = write!(
        text,
        "<pattern id=\"dots\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" fill=\"#fff\"/>\
         <circle cx=\"3\" cy=\"3\" r=\"1.3\" fill=\"{ACCENT}\"/></pattern></defs>"
    );
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{catalogue::REPORTS, cell::tests::look, locale::Locale};

    fn drawn(report: &str, rows: &[Vec<Value>]) -> String {
        let mut drawing = Drawing::new(Report::find(report).unwrap(), look(Locale::En));
        for row in rows {
            drawing.row(row);
        }
        drawing.alone("Works & Sons")
    }

    #[test]
    fn what_is_drawn_is_told() {
        let svg = drawn(
            "completion-rate",
            &[vec![json!(8), json!(4), json!(3), json!(1), json!(50.0)]],
        );
        assert!(svg.contains(
            "<desc id=\"chart-words\">Completed: 4 (50.0%); In progress: 3 (37.5%); Not started: 1 (12.5%)</desc>"
        ));
        assert!(svg.contains("role=\"img\" aria-labelledby=\"chart-title chart-words\""));
        // Told apart without colour.
        assert!(svg.contains("url(#stripes)"));
    }

    #[test]
    fn nothing_is_told_as_such() {
        for report in REPORTS {
            let svg = drawn(report.name, &[]);
            assert!(svg.contains("There is nothing to show"), "{}", report.name);
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (most, nice_one) in [
            (1.0, 1.0),
            (3.0, 4.0),
            (17.0, 20.0),
            (100.0, 100.0),
            (730.0, 800.0),
        ] {
            assert!((nice(most) - nice_one).abs() < 1e-9, "{most}");
        }
    }

    fn value(kind: crate::catalogue::Kind) -> BoxedStrategy<Value> {
        use crate::catalogue::Kind;
        match kind {
            Kind::Count | Kind::Seconds => (0_i64..100_000).prop_map(Value::from).boxed(),
            Kind::Percent | Kind::Number => (0.0_f64..100.0).prop_map(Value::from).boxed(),
            Kind::Day => (1_u32..28)
                .prop_map(|day| json!(format!("2026-02-{day:02}")))
                .boxed(),
            Kind::Moment => Just(json!("2026-02-01T10:00:00+00:00")).boxed(),
            Kind::Word => prop::sample::select(vec!["done", "due", "odd<b>"])
                .prop_map(Value::from)
                .boxed(),
            _ => "\\PC{0,40}|<script>alert\\(1\\)</script>|[\"'&<>\\x00-\\x1f]{1,9}"
                .prop_map(Value::from)
                .boxed(),
        }
    }

    proptest! {
        /// Whatever things are called, a chart is well-formed, holds none of it as markup, and loads nothing.
        #[test]
        fn no_title_escapes(seed in (0..REPORTS.len()).prop_flat_map(|place| {
            let row: Vec<_> = REPORTS[place].columns.iter().map(|column| prop_oneof![9 => value(column.kind), 1 => Just(Value::Null)].boxed()).collect();
            (Just(place), prop::collection::vec(row, 0..30))
        })) {
            let (place, rows) = seed;
            let svg = drawn(REPORTS[place].name, &rows);
            let document = roxmltree::Document::parse(&svg).map_err(|error| TestCaseError::fail(format!("{error}\n{svg}")))?;
            for node in document.descendants().filter(|node| node.is_element()) {
                let known = ["svg", "title", "desc", "defs", "pattern", "rect", "path", "circle", "text", "g", "line", "polyline"];
                prop_assert!(known.contains(&node.tag_name().name()));
                prop_assert!(node.attributes().all(|one| !one.name().starts_with("on") && one.name() != "href" && one.name() != "style"));
                prop_assert!(node.attributes().all(|one| !one.value().contains("NaN") && !one.value().contains("inf")));
            }
        }
    }
}
