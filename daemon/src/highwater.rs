//! The latest moment seen: what keeps a clock that was set back from making subscriptions last longer.
//!
//! Written at start, whenever something happens, and at the end; no timer wakes the daemon for it. A signed time from
//! a server resets it, so that one boot in 2099 poisons nothing.

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::layout::{ClockFile, Judged};

use crate::platform::FileError;
use crate::store::Store;

/// Judges the clock, as a plug-in does.
#[must_use]
pub fn judge(clock: Option<ClockFile>, now: Timestamp) -> Judged {
    clock.unwrap_or_default().judge(now)
}

/// Notes that it is `now`. Rewrites the file only when that says something new.
///
/// # Errors
/// [`FileError`].
pub fn observe(store: &Store, now: Timestamp) -> Result<(), FileError> {
    let known = store.clock();
    let next = match known {
        None => ClockFile { high_water: now, grace_from: None },
        Some(clock) if now.plus(DAY) < clock.high_water => {
            ClockFile { high_water: clock.high_water, grace_from: Some(clock.grace_from.unwrap_or(now)) }
        }
        Some(clock) => {
            // The clock is right again, or nearly: the grace, once used, stays on record until a server is asked.
            ClockFile { high_water: clock.high_water.max(now), grace_from: clock.grace_from }
        }
    };
    if known == Some(next) { Ok(()) } else { store.write_clock(next) }
}

/// A server signed that it is `moment`.
///
/// # Errors
/// [`FileError`].
pub fn reset(store: &Store, moment: Timestamp) -> Result<(), FileError> {
    store.write_clock(ClockFile { high_water: moment, grace_from: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> Timestamp {
        Timestamp(1_800_000_000 + days * DAY)
    }

    #[test]
    fn a_clock_set_back_gets_seven_days_and_then_counts_as_the_high_water_mark() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        observe(&store, at(100)).unwrap();
        assert_eq!(judge(store.clock(), at(100)).moment, at(100));
        // Half a day back is a time zone mishap, not a trick.
        observe(&store, Timestamp(at(100).0 - DAY / 2)).unwrap();
        assert!(!judge(store.clock(), Timestamp(at(100).0 - DAY / 2)).set_back);
        observe(&store, at(50)).unwrap();
        assert_eq!(judge(store.clock(), at(51)), Judged { moment: at(51), set_back: true, in_grace: true });
        observe(&store, at(56)).unwrap();
        let late = judge(store.clock(), at(58));
        assert_eq!(late, Judged { moment: at(100), set_back: true, in_grace: false });
        // Set back further: no second grace.
        observe(&store, at(20)).unwrap();
        assert_eq!(judge(store.clock(), at(20)).moment, at(100));
        // Right again in between, and back once more: still no second grace.
        observe(&store, at(101)).unwrap();
        assert_eq!(
            judge(store.clock(), at(101)),
            Judged { moment: at(101), set_back: false, in_grace: false }
        );
        observe(&store, at(70)).unwrap();
        assert_eq!(judge(store.clock(), at(70)), Judged { moment: at(101), set_back: true, in_grace: false });
        // A grace that runs counts only while the clock is really set back.
        let near = ClockFile { high_water: at(10), grace_from: Some(at(5)) };
        let nearly = Timestamp(at(10).0 - DAY / 2);
        assert_eq!(judge(Some(near), nearly), Judged { moment: at(10), set_back: false, in_grace: false });
        reset(&store, at(20)).unwrap();
        assert_eq!(judge(store.clock(), at(20)), Judged { moment: at(20), set_back: false, in_grace: false });
    }
}
