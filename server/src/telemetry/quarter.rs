//! Quarters of ISO weeks: weeks 1 to 13, 14 to 26, 27 to 39, and 40 to the year's last. Plans are made by quarters.

use std::fmt;

use claviger_protocol::telemetry::Week;

/// A quarter, written `2026-Q4`. Ordered by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarter {
    first: Week,
}

impl Quarter {
    /// The quarter of this week.
    #[must_use]
    pub fn of(week: Week) -> Self {
        let (_, number) = week.year_and_number();
        let before = number.saturating_sub(1);
        // Week 53 belongs to the fourth quarter.
        let into = before - 13 * (before / 13).min(3);
        Self { first: week.plus(-i32::from(into)) }
    }

    /// Its first week.
    #[must_use]
    pub const fn first(self) -> Week {
        self.first
    }

    /// Its weeks: 13, or 14 in a year of 53 weeks.
    pub fn weeks(self) -> impl Iterator<Item = Week> {
        (0..14).map(move |n| self.first.plus(n)).filter(move |week| Self::of(*week) == self)
    }

    /// The quarter after it.
    #[must_use]
    pub fn next(self) -> Self {
        let thirteen = Self::of(self.first.plus(13));
        if thirteen == self { Self::of(self.first.plus(14)) } else { thirteen }
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, number) = self.first.year_and_number();
        write!(f, "{year:04}-Q{}", number / 13 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_cover_every_week_once_in_years_of_52_and_53_weeks() {
        let mut quarter = Quarter::of("2024-W01".parse().unwrap());
        let mut week = quarter.first();
        let mut names = Vec::new();
        for _ in 0..16 {
            names.push(quarter.to_string());
            for own in quarter.weeks() {
                assert_eq!(own, week);
                assert_eq!(Quarter::of(week), quarter);
                week = week.plus(1);
            }
            let next = quarter.next();
            assert_eq!(next.first(), week);
            quarter = next;
        }
        assert_eq!(names[0], "2024-Q1");
        assert_eq!(names[11], "2026-Q4");
        // 2026 has 53 weeks.
        assert_eq!(Quarter::of("2026-W53".parse().unwrap()).weeks().count(), 14);
        assert_eq!(Quarter::of("2025-W52".parse().unwrap()).weeks().count(), 13);
    }
}
