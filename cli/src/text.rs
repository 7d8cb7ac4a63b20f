//! Words for people: local dates, lists, quoting for a shell, and strangers' names made harmless.
//!
//! Names of vendors, products and machines come from servers and from other people: a terminal would obey the escape
//! sequences in them, and a reader would believe the line breaks.

use claviger_protocol::clock::{Date, Timestamp};
use jiff::tz::TimeZone;

/// Whether a terminal or a reader could be fooled by it: controls, and marks that hide or reorder text.
#[must_use]
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A stranger's text on one line, at most 200 characters, without anything that a terminal obeys.
#[must_use]
pub(crate) fn clean(text: &str) -> String {
    one_line(text, 200)
}

/// The same with a bound of one's own.
#[must_use]
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut out: String = text
        .chars()
        .take(most)
        .map(|c| {
            if c == '\n' || c == '\t' {
                ' '
            } else if is_hostile(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// A stranger's sentences: as [`clean`], longer, and ended as a sentence is.
#[must_use]
pub(crate) fn sentence(text: &str) -> String {
    let text = one_line(text, 2_000);
    let text = text.trim();
    let mut chars = text.chars();
    // A path or an id at the beginning keeps its spelling.
    let name = text.split_whitespace().next().is_some_and(|word| {
        let inner = word.trim_end_matches(['.', ':', ',', '…']);
        inner.contains(['/', '\\', '.', '_'])
    });
    let capital = |c: char| if name { c.to_string() } else { c.to_uppercase().collect() };
    let first: String = chars.next().map(capital).unwrap_or_default();
    let mut out = first + chars.as_str();
    if !out.ends_with(['.', '!', '?', ':', '…', '`']) {
        out.push('.');
    }
    out
}

/// A name in quotation marks.
#[must_use]
pub(crate) fn quoted(name: &str) -> String {
    format!("“{}”", clean(name))
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `1 seat`, `3 seats`.
#[must_use]
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// `a`, `a or b`, `a, b or c`.
#[must_use]
pub(crate) fn either(items: &[String]) -> String {
    match items {
        [] | [_] => list(items),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// Breaks lines between words, so that none is wider than `width`; no bound, no breaks.
#[must_use]
pub(crate) fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut out = String::with_capacity(text.len() + 8);
    let mut used = 0;
    for (at, word) in text.split(' ').enumerate() {
        let wide = word.chars().count();
        if at > 0 && used + 1 + wide > width {
            out.push('\n');
            used = 0;
        } else if at > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += wide;
    }
    out
}

/// An argument as a POSIX shell reads it back.
#[must_use]
pub(crate) fn shell(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// `22 November 2026`, by the local calendar.
#[must_use]
pub(crate) fn date(moment: Timestamp) -> String {
    formatted(moment, "%-d %B %Y")
}

/// `22 November 2026, 08:15`, local time.
#[must_use]
pub(crate) fn date_and_time(moment: Timestamp) -> String {
    formatted(moment, "%-d %B %Y, %H:%M")
}

/// The same for a date without a time of day, which is no local matter.
#[must_use]
pub(crate) fn calendar(date: Date) -> String {
    match date.to_string().parse::<jiff::civil::Date>() {
        Ok(found) => found.strftime("%-d %B %Y").to_string(),
        Err(_) => date.to_string(),
    }
}

fn formatted(moment: Timestamp, format: &str) -> String {
    match jiff::Timestamp::from_second(moment.0) {
        Ok(found) => found.to_zoned(TimeZone::system()).strftime(format).to_string(),
        Err(_) => moment.to_string(),
    }
}

/// `1 day left`, `358 days left`: days begun count.
#[must_use]
pub(crate) fn days_left(now: Timestamp, end: Timestamp) -> String {
    let days = usize::try_from(now.days_until(end)).unwrap_or(usize::MAX);
    format!("{} left", count(days, "day", "days"))
}

/// Rows under a heading, columns as wide as their widest cell. Empty columns are left out.
#[must_use]
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let used: Vec<usize> = (0..head.len())
        .filter(|c| rows.iter().any(|row| row.get(*c).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let widths: Vec<usize> = used
        .iter()
        .map(|c| rows.iter().map(|row| width(&row[*c])).chain([width(head[*c])]).max().unwrap_or(0))
        .collect();
    let line = |cell: &dyn Fn(usize) -> String| {
        let mut out = String::new();
        for (at, (column, wide)) in used.iter().zip(&widths).enumerate() {
            let text = cell(*column);
            let pad = if at + 1 == used.len() { 0 } else { wide - width(&text) + 2 };
            out.push_str(&text);
            out.push_str(&" ".repeat(pad));
        }
        out
    };
    let mut lines = vec![line(&|c| head[c].to_owned())];
    lines.extend(rows.iter().map(|row| line(&|c| row[c].clone())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor_or_break_the_line() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}e"), "a\u{fffd}[2Jb\u{fffd} c\u{fffd}d\u{fffd}e");
        assert_eq!(clean(&"x".repeat(500)).chars().count(), 201);
        assert!(!clean("\u{7}\u{8}\u{7f}\u{feff}").chars().any(is_hostile));
    }

    #[test]
    fn words() {
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!(either(&["a".into(), "b".into()]), "a or b");
        assert_eq!(wrap("one two three", Some(8)), "one two\nthree");
        assert_eq!(wrap("one two three", None), "one two three");
        assert_eq!(sentence("all seats are taken"), "All seats are taken.");
        assert_eq!(shell("Studio Mac"), "'Studio Mac'");
        assert_eq!(shell("it's; rm -rf ~"), r"'it'\''s; rm -rf ~'");
        assert_eq!(shell("730b4327"), "730b4327");
        assert_eq!(shell(""), "''");
        let now = Timestamp(1_000_000);
        assert_eq!(days_left(now, now.plus(86_400 * 3 + 5)), "4 days left");
        assert_eq!(days_left(now, now.plus(86_400)), "1 day left");
        assert_eq!(days_left(now, now.plus(-5)), "0 days left");
    }

    #[test]
    fn tables_leave_empty_columns_out() {
        let lines = table(
            &["A", "B", "C"],
            &[vec!["1".into(), String::new(), "x".into()], vec!["22".into(), String::new(), "y".into()]],
        );
        assert_eq!(lines, ["A   C", "1   x", "22  y"]);
    }

    #[test]
    fn far_moments_do_not_panic() {
        assert!(date(Timestamp(i64::MAX)).contains("9999"));
    }
}
