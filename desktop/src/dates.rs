//! Local dates in the window's language.

use claviger_protocol::clock::{Date, Timestamp};
use jiff::tz::TimeZone;

use crate::prefs::Language;

const ENGLISH: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const FRENCH: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const GERMAN: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// `22 November 2026`, `22. November 2026`, `1er décembre 2026`.
#[must_use]
pub(crate) fn day(moment: Timestamp, language: Language) -> String {
    match jiff::Timestamp::from_second(moment.0) {
        Ok(found) => civil(found.to_zoned(TimeZone::system()).date(), language),
        Err(_) => String::new(),
    }
}

/// The same with the time of day.
#[must_use]
pub(crate) fn moment(moment: Timestamp, language: Language) -> String {
    match jiff::Timestamp::from_second(moment.0) {
        Ok(found) => {
            let local = found.to_zoned(TimeZone::system());
            format!("{}, {:02}:{:02}", civil(local.date(), language), local.hour(), local.minute())
        }
        Err(_) => String::new(),
    }
}

/// How many midnights lie between two moments, by the local calendar: what people count as days.
#[must_use]
pub(crate) fn days_between(from: Timestamp, to: Timestamp) -> i32 {
    let local = |moment: Timestamp| {
        jiff::Timestamp::from_second(moment.0).ok().map(|found| found.to_zoned(TimeZone::system()).date())
    };
    match (local(from), local(to)) {
        (Some(from), Some(to)) => from.until(to).map_or(i32::MAX, |span| span.get_days()),
        _ => i32::MAX,
    }
}

/// A date without a time of day, which is no local matter.
#[must_use]
pub(crate) fn calendar(date: Date, language: Language) -> String {
    match date.to_string().parse::<jiff::civil::Date>() {
        Ok(found) => civil(found, language),
        Err(_) => date.to_string(),
    }
}

fn civil(date: jiff::civil::Date, language: Language) -> String {
    let month = usize::try_from(date.month() - 1).unwrap_or(0).min(11);
    let (day, year) = (date.day(), date.year());
    // No license has to do with such years: what says so is damaged, or lies.
    if year < 1 {
        return String::new();
    }
    match language {
        Language::English => format!("{day} {} {year}", ENGLISH[month]),
        Language::French if day == 1 => format!("1er {} {year}", FRENCH[month]),
        Language::French => format!("{day} {} {year}", FRENCH[month]),
        Language::German => format!("{day}. {} {year}", GERMAN[month]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_speak_the_language() {
        let date: Date = "2026-12-01".parse().unwrap();
        assert_eq!(calendar(date, Language::English), "1 December 2026");
        assert_eq!(calendar(date, Language::French), "1er décembre 2026");
        assert_eq!(calendar(date, Language::German), "1. Dezember 2026");
    }

    #[test]
    fn days_are_counted_by_the_calendar() {
        let noon = Timestamp(1_795_305_600 + 12 * 3600);
        assert_eq!(days_between(noon, noon), 0);
        assert_eq!(days_between(noon, noon.plus(5 * 86_400 + 60)), 5);
        assert_eq!(days_between(noon, noon.plus(-86_400)), -1);
        assert_eq!(days_between(noon, Timestamp(i64::MAX)), i32::MAX);
    }

    #[test]
    fn far_moments_are_no_trouble() {
        for far in [Timestamp(i64::MAX), Timestamp(i64::MIN), Timestamp(-62_167_219_200)] {
            assert_eq!(day(far, Language::German), "", "{far}");
            assert!(!moment(far, Language::French).contains('Z'), "{far}");
        }
    }
}
