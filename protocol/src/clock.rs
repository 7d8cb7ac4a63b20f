//! Moments, calendar dates, and the clock they come from.
//!
//! Everything inside is UTC, in whole seconds. Local dates are made at the edge, for people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A moment: seconds since 1970-01-01T00:00:00Z, leap seconds not counted (RFC 7519, NumericDate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Seconds in a day.
pub const DAY: i64 = 86_400;

impl Timestamp {
    /// This moment moved by `seconds` (which may be negative); saturates at the ends of time.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Days from this moment until `end`, begun ones included; 0 when it has passed. The one way in which days left are
    /// counted.
    #[must_use]
    pub const fn days_until(self, end: Self) -> i64 {
        let seconds = end.0.saturating_sub(self.0);
        if seconds <= 0 { 0 } else { seconds / DAY + (seconds % DAY > 0) as i64 }
    }

    /// The UTC calendar date of this moment.
    #[must_use]
    pub fn date(self) -> Date {
        // Days to civil date, after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        // Moments beyond the years 0 to 9999 are cut to those ends.
        let days = self.0.div_euclid(DAY).clamp(-719_528, 2_932_896);
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date { year: to_u16(year), month: to_u8(month), day: to_u8(day) }
    }
}

fn to_u16(value: i64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn to_u8(value: i64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// RFC 3339 in UTC with seconds, for logs and files: `2026-11-22T08:15:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0.rem_euclid(DAY);
        write!(f, "{}T{:02}:{:02}:{:02}Z", self.date(), second / 3600, second / 60 % 60, second % 60)
    }
}

/// A calendar date, written `2026-11-22`. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The date of these parts, or `None` when no calendar has it. Years 0 to 9999.
    #[must_use]
    pub const fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        if year > 9999 || day == 0 || day > days {
            return None;
        }
        Some(Self { year, month, day })
    }

    /// The first second of this date in UTC.
    #[must_use]
    pub fn start(self) -> Timestamp {
        // Civil date to days, the inverse of `Timestamp::date`.
        let month = i64::from(self.month);
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = (month + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Timestamp((era * 146_097 + day_of_era - 719_468) * DAY)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The text is not a calendar date of the form `2026-11-22`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a date of the form 2026-11-22")]
pub struct NotADate(String);

impl FromStr for Date {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let bad = || NotADate(text.chars().take(32).collect());
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(bad());
        }
        let number = |from: usize, to: usize| -> Option<u16> {
            bytes[from..to]
                .iter()
                .try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))
        };
        let part = |from, to| number(from, to).ok_or_else(bad);
        let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
        let small = |n: u16| u8::try_from(n).unwrap_or(u8::MAX);
        Self::new(year, small(month), small(day)).ok_or_else(bad)
    }
}

impl TryFrom<String> for Date {
    type Error = NotADate;
    fn try_from(text: String) -> Result<Self, NotADate> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

/// Where the present moment comes from. Tests hold one of their own.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Microseconds since 1970, for what must rise even twice within a second. A clock that knows whole seconds only
    /// gives those.
    fn now_micros(&self) -> i64 {
        self.now().0.saturating_mul(1_000_000)
    }
}

/// The system's clock: the only place that asks for it. With the feature `test-clock` it is ahead by what the file says
/// that `CLAVIGER_TEST_CLOCK` names ([`shift`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_micros().div_euclid(1_000_000))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam that the ban points to")]
    fn now_micros(&self) -> i64 {
        use std::time::{SystemTime, UNIX_EPOCH};
        let micros = |d: std::time::Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        let now = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        };
        now.saturating_add(shift().saturating_mul(1_000_000))
    }
}

/// By how many seconds a test has moved [`SystemClock`]: the number in the file that `CLAVIGER_TEST_CLOCK` names, which is
/// read anew each time. 0 without the file, and always without the feature `test-clock`.
#[must_use]
#[cfg(feature = "test-clock")]
pub fn shift() -> i64 {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("CLAVIGER_TEST_CLOCK").map(PathBuf::from));
    let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[must_use]
#[cfg(not(feature = "test-clock"))]
const fn shift() -> i64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip_through_days() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2026-11-22", 1_795_305_600),
            ("0000-01-01", -62_167_219_200),
        ] {
            let date: Date = text.parse().unwrap();
            assert_eq!(date.start(), Timestamp(seconds), "{text}");
            assert_eq!(Timestamp(seconds).date(), date);
            assert_eq!(Timestamp(seconds + DAY - 1).date().to_string(), text);
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "22-11-2026", "", "2026-11-2x"] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }

    #[test]
    fn far_moments_do_not_overflow() {
        assert_eq!(Timestamp(i64::MAX).plus(5), Timestamp(i64::MAX));
        assert_eq!(Timestamp(i64::MAX).date().to_string(), "9999-12-31");
        assert_eq!(Timestamp(1_795_305_600 + 8 * 3600 + 15 * 60).to_string(), "2026-11-22T08:15:00Z");
    }
}
