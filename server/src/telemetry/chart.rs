//! Charts as SVG, drawn on the server: a page with them needs no script. Colours are classes of the page's style sheet,
//! so that a strict content-security policy holds.

use std::fmt::Write as _;

/// Drawing area in units of the view box.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 16.0;
/// Colours that the style sheet has: `s0` to `s7`.
pub const COLOURS: usize = 8;

/// A line: its name, and one figure for each mark of the horizontal axis.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its figures.
    pub values: Vec<u64>,
}

/// A bar: its name and its figure.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its figure.
    pub value: u64,
}

/// Lines over `marks`, with a legend below. At most [`COLOURS`] lines are drawn.
#[must_use]
pub fn lines(title: &str, marks: &[String], series: &[Series]) -> String {
    let series = &series[..series.len().min(COLOURS)];
    let (step, top) = scale(series.iter().flat_map(|s| s.values.iter().copied()).max().unwrap_or(0));
    let rows = series.len().div_ceil(2);
    let height = HEIGHT + 22.0 * as_f64(rows as u64) + 8.0;
    let mut svg = begin(title, height);
    let (low, high) = (HEIGHT - BOTTOM, TOP);
    let y = |value: u64| low - (low - high) * as_f64(value) / as_f64(top);
    let wide = WIDTH - LEFT - RIGHT;
    let gaps = as_f64(marks.len().saturating_sub(1).max(1) as u64);
    // A single week stands in the middle.
    let x = |at: usize| match marks.len() {
        0 | 1 => LEFT + wide / 2.0,
        _ => LEFT + wide * as_f64(at as u64) / gaps,
    };
    let mut value = 0;
    while value <= top {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{:.1}" y2="{:.1}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{value}</text>"#,
            WIDTH - RIGHT,
            y(value),
            y(value),
            LEFT - 8.0,
            y(value) + 4.0
        );
        value += step;
    }
    let every = marks.len().div_ceil(8).max(1);
    for (at, mark) in marks.iter().enumerate().filter(|(at, _)| at % every == 0) {
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x(at),
            low + 20.0,
            escape(mark)
        );
    }
    for (index, line) in series.iter().enumerate() {
        let points: Vec<String> =
            line.values.iter().enumerate().map(|(at, v)| format!("{:.1},{:.1}", x(at), y(*v))).collect();
        let _ = write!(svg, r#"<polyline class="line s{index}" points="{}"/>"#, points.join(" "));
        for (at, value) in line.values.iter().enumerate() {
            let mark = marks.get(at).map(String::as_str).unwrap_or_default();
            let _ = write!(
                svg,
                r#"<circle class="dot s{index}" cx="{:.1}" cy="{:.1}" r="3.5"><title>{}, {}: {value}</title></circle>"#,
                x(at),
                y(*value),
                escape(&line.name),
                escape(mark)
            );
        }
        let (left, down) = (
            LEFT + (wide / 2.0) * as_f64((index % 2) as u64),
            HEIGHT + 16.0 + 22.0 * as_f64((index / 2) as u64),
        );
        let _ = write!(
            svg,
            r#"<rect class="bar s{index}" x="{left:.1}" y="{:.1}" width="12" height="12" rx="2"/><text class="name" x="{:.1}" y="{:.1}">{}</text>"#,
            down - 10.0,
            left + 18.0,
            down,
            escape(&short(&line.name, 44))
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Horizontal bars, one below the other, with their figures.
#[must_use]
pub fn bars(title: &str, bars: &[Bar]) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 230.0;
    let most = bars.iter().map(|b| b.value).max().unwrap_or(0).max(1);
    let total: u64 = bars.iter().map(|b| b.value).sum();
    let mut svg = begin(title, ROW * as_f64(bars.len() as u64) + 8.0);
    let wide = WIDTH - NAMES - 110.0;
    for (at, bar) in bars.iter().enumerate() {
        let down = 4.0 + ROW * as_f64(at as u64);
        let length = (wide * as_f64(bar.value) / as_f64(most)).max(1.0);
        let share = match 100.0 * as_f64(bar.value) / as_f64(total.max(1)) {
            small if small < 1.0 => "under 1 %".to_owned(),
            share => format!("{share:.0} %"),
        };
        let _ = write!(
            svg,
            r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="bar s0" x="{NAMES}" y="{:.1}" width="{length:.1}" height="16" rx="2"/><text class="axis" x="{:.1}" y="{:.1}">{} ({share})</text>"#,
            NAMES - 10.0,
            down + 13.0,
            escape(&short(&bar.name, 32)),
            down,
            NAMES + length + 8.0,
            down + 13.0,
            bar.value
        );
    }
    svg.push_str("</svg>");
    svg
}

fn begin(title: &str, height: f64) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{0}"><title>{0}</title>"#,
        escape(title)
    )
}

/// The distance of grid lines and the end of the axis: round numbers, at most six lines.
fn scale(most: u64) -> (u64, u64) {
    let mut step = 1u64;
    let mut factors = [2u64, 5, 10].iter().cycle();
    let mut decade = 1u64;
    while most > step.saturating_mul(5) {
        let factor = *factors.next().unwrap_or(&10);
        step = decade.saturating_mul(factor);
        if factor == 10 {
            decade = step;
        }
    }
    (step, most.div_ceil(step).max(1).saturating_mul(step))
}

fn as_f64(value: u64) -> f64 {
    value as f64
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Text as XML and HTML take it, in content and in attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_reach_the_top() {
        for (most, expected) in [
            (0, (1, 1)),
            (1, (1, 1)),
            (5, (1, 5)),
            (6, (2, 6)),
            (23, (5, 25)),
            (50, (10, 50)),
            (51, (20, 60)),
            (101, (50, 150)),
            (999, (200, 1000)),
            (1_000_000, (200_000, 1_000_000)),
        ] {
            assert_eq!(scale(most), expected, "{most}");
        }
    }

    #[test]
    fn names_cannot_break_out_and_figures_are_drawn() {
        let evil = "<script>alert(1)</script>\"'&".to_owned();
        let marks = ["2026-W49".to_owned(), "2026-W50".to_owned()];
        let svg = lines(&evil, &marks, &[Series { name: evil.clone(), values: vec![10, 20] }]);
        assert!(!svg.contains("<script") && svg.matches("<circle").count() == 2, "{svg}");
        let svg = bars(&evil, &[Bar { name: evil.clone(), value: 3 }, Bar { name: "x".into(), value: 1 }]);
        assert!(!svg.contains("<script") && svg.contains("3 (75 %)"), "{svg}");
        for text in [svg, lines("t", &[], &[]), bars("t", &[])] {
            assert!(text.starts_with("<svg") && text.ends_with("</svg>") && !text.contains("NaN"));
        }
    }
}
