//! A bar chart as SVG, readable without color: what reaches its bar is solid, what does not is hatched, and every bar
//! carries its number.

use std::fmt::Write as _;

use super::report::Row;

const LABELS: f64 = 430.0;
const BARS: f64 = 420.0;
const NUMBERS: f64 = 210.0;
const LINE: f64 = 22.0;
/// The share at which the axis ends; longer bars are cut there and say so by their number.
const END: f64 = 2.0;

/// Each row with a bar as its share of what is allowed; the line at 1 is the bar itself.
pub(super) fn svg(title: &str, rows: &[Row]) -> String {
    let shown: Vec<(&Row, f64)> = rows
        .iter()
        .filter_map(|row| Some((row, row.bar.share(row.value)?)))
        .collect();
    let groups = shown
        .windows(2)
        .filter(|pair| pair[0].0.group != pair[1].0.group)
        .count()
        + 1;
    #[expect(clippy::cast_precision_loss, reason = "a few dozen lines")]
    let height = 70.0 + LINE * (shown.len() + groups) as f64 + 10.0;
    let width = LABELS + BARS + NUMBERS;
    let mut body = String::new();
    let mut y = 60.0;
    let mut group = "";
    for (row, share) in shown {
        if row.group != group {
            group = &row.group;
            y += LINE;
            let _ = writeln!(
                body,
                r#"<text x="10" y="{:.0}" font-weight="bold">{}</text>"#,
                y - 6.0,
                escape(group)
            );
        }
        let fill = if row.reached() {
            "#777"
        } else {
            "url(#hatched)"
        };
        let length = share.min(END) / END * BARS;
        let _ = writeln!(
            body,
            r##"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><rect x="{LABELS}" y="{:.0}" width="{length:.1}" height="14" fill="{fill}" stroke="#333"/><text x="{:.0}" y="{:.0}">{}  (bar {})</text>"##,
            LABELS - 8.0,
            y + 12.0,
            escape(&row.name),
            y,
            LABELS + BARS + 8.0,
            y + 12.0,
            escape(&row.result()),
            escape(&row.bar.text())
        );
        y += LINE;
    }
    let bar = LABELS + BARS / END;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<title>{title}</title>
<defs><pattern id="hatched" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/><line x1="0" y1="0" x2="0" y2="6" stroke="#333" stroke-width="3"/></pattern></defs>
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="10" y="22" font-size="16" font-weight="bold">{title}</text>
<text x="10" y="42">Left of the line is within the bar. Solid: reached; hatched: not.</text>
{body}<line x1="{bar}" y1="50" x2="{bar}" y2="{height}" stroke="#000" stroke-width="2" stroke-dasharray="5 3"/>
</svg>
"##,
        title = escape(title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Bar;
    use crate::bench::sample::Rounds;

    #[test]
    fn what_misses_its_bar_is_hatched_and_names_are_escaped() {
        let mut rounds = Rounds::default();
        rounds.add(&[3.0], &[1.0]);
        let rows = [
            Row::ratio("g", "a < b", "ms", &rounds, Bar::AtMost(2.0)),
            Row::ratio("g", "shown beside", "ms", &rounds, Bar::Unset),
        ];
        let picture = svg("T", &rows);
        assert!(picture.contains("a &lt; b"));
        assert!(picture.contains(r#"fill="url(#hatched)""#));
        assert!(!picture.contains("shown beside"));
    }
}
