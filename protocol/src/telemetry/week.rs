//! Weeks as ISO 8601 counts them: they begin on Monday, and week 1 has the year's first Thursday. UTC, like all inside.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::{DAY, Date, Timestamp};

/// One ISO week, written `2026-W48`. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Week {
    /// Whole weeks since the Monday 1969-12-29.
    index: i32,
}

/// The text is not a week of the form `2026-W48`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a week of the form 2026-W48")]
pub struct NotAWeek(String);

/// Days from the Monday that begins week 0 to 1970-01-01.
const OFFSET: i64 = 3;
/// The week of 9999-12-27, the last that ends in a year of four digits.
const LAST: i64 = 418_999;
/// The week of 0001-01-01.
const FIRST: i64 = -102_737;

impl Week {
    /// The week of this moment; moments beyond the years 1 to 9999 are cut to those ends.
    #[must_use]
    pub fn of(moment: Timestamp) -> Self {
        let days = moment.0.div_euclid(DAY);
        Self::of_index(days.saturating_add(OFFSET).div_euclid(7))
    }

    fn of_index(index: i64) -> Self {
        // The clamp keeps it far inside an i32.
        Self { index: i32::try_from(index.clamp(FIRST, LAST)).unwrap_or_default() }
    }

    /// Its first second, a Monday 00:00 UTC.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp((i64::from(self.index) * 7 - OFFSET) * DAY)
    }

    /// The first second after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.start().plus(7 * DAY)
    }

    /// The week `weeks` later (earlier when negative).
    #[must_use]
    pub fn plus(self, weeks: i32) -> Self {
        Self::of_index(i64::from(self.index) + i64::from(weeks))
    }

    /// Its year and number, 1 to 53.
    #[must_use]
    pub fn year_and_number(self) -> (u16, u8) {
        // The year of a week is the year of its Thursday.
        let thursday = self.start().plus(3 * DAY);
        let text = thursday.date().to_string();
        let year: u16 = text[..4].parse().unwrap_or_default();
        let first = Date::new(year, 1, 1).map_or(thursday, Date::start);
        let number = (thursday.0 - first.0) / DAY / 7 + 1;
        (year, u8::try_from(number).unwrap_or_default())
    }
}

impl fmt::Display for Week {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, number) = self.year_and_number();
        write!(f, "{year:04}-W{number:02}")
    }
}

impl FromStr for Week {
    type Err = NotAWeek;

    fn from_str(text: &str) -> Result<Self, NotAWeek> {
        let bad = || NotAWeek(text.chars().filter(|c| !c.is_control()).take(32).collect());
        let (year, number) = text.split_once("-W").ok_or_else(bad)?;
        let digits = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(number, 2) {
            return Err(bad());
        }
        let year: u16 = year.parse().map_err(|_| bad())?;
        let number: i32 = number.parse().map_err(|_| bad())?;
        // 4 January is always in week 1.
        let first = Date::new(year, 1, 4).ok_or_else(bad)?.start();
        let week = Self::of(first).plus(number - 1);
        if week.to_string() == text { Ok(week) } else { Err(bad()) }
    }
}

impl TryFrom<String> for Week {
    type Error = NotAWeek;
    fn try_from(text: String) -> Result<Self, NotAWeek> {
        text.parse()
    }
}

impl From<Week> for String {
    fn from(week: Week) -> Self {
        week.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_are_those_of_iso_8601() {
        // From the standard's own hard cases: turns of years with 52 and 53 weeks.
        for (date, week) in [
            ("2005-01-01", "2004-W53"),
            ("2005-12-31", "2005-W52"),
            ("2007-01-01", "2007-W01"),
            ("2008-12-29", "2009-W01"),
            ("2010-01-03", "2009-W53"),
            ("1970-01-01", "1970-W01"),
            ("2026-11-22", "2026-W47"),
            ("2026-11-23", "2026-W48"),
            ("9999-12-26", "9999-W51"),
            ("0001-01-01", "0001-W01"),
        ] {
            let moment = date.parse::<Date>().unwrap().start();
            assert_eq!(Week::of(moment).to_string(), week, "{date}");
            assert_eq!(Week::of(moment.plus(DAY - 1)), week.parse().unwrap(), "{date}");
        }
    }

    #[test]
    fn weeks_follow_each_other_without_gap() {
        let mut week: Week = "2019-W50".parse().unwrap();
        for _ in 0..800 {
            assert_eq!(Week::of(week.start()), week);
            assert_eq!(Week::of(week.end().plus(-1)), week);
            assert_eq!(week.end(), week.plus(1).start());
            assert_eq!(week.to_string().parse::<Week>().unwrap(), week);
            week = week.plus(1);
        }
        assert_eq!(Week::of(Timestamp(i64::MAX)), Week::of(Timestamp(i64::MAX - 1)));
        assert_eq!(Week::of(Timestamp(i64::MIN)).plus(-5), Week::of(Timestamp(i64::MIN)));
    }

    #[test]
    fn other_texts_are_no_weeks() {
        for bad in [
            "",
            "2026",
            "2026-W",
            "2026-W00",
            "2026-W54",
            "2026-W1",
            "26-W01",
            "2026-w01",
            "2025-W53",
            "2026-W-1",
            "+026-W01",
            "2026-W01 ",
        ] {
            assert!(bad.parse::<Week>().is_err(), "{bad}");
        }
        assert!("2026-W53".parse::<Week>().is_ok());
    }
}
