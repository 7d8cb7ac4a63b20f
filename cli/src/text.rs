//! Words for people on a terminal: local dates, tables and line breaks, beside what every program says in the same way.

use claviger_protocol::clock::{Date, Timestamp};
use jiff::tz::TimeZone;

pub(crate) use claviger_client::manager::words::{
    clean, count, either, is_hostile, list, one_line, quoted, sentence, shell,
};

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
    fn words() {
        assert_eq!(wrap("one two three", Some(8)), "one two\nthree");
        assert_eq!(wrap("one two three", None), "one two three");
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
