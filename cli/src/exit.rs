//! Exit codes. Stable: a number keeps its meaning for ever.
//!
//! 1 to 19 say what kept a command from being done. From 20 on, `claviger check` answers with the number of the
//! product's status (the same number that a plug-in sees), so that a script can tell one reason from another.

use claviger_client::protocol::status::Status;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for `check`: licensed.
    Done,
    /// A mistake of ours.
    Internal,
    /// The command line is not understood.
    Usage,
    /// What was typed or read is not what it should be: a mistyped serial number, a damaged profile.
    Input,
    /// Nothing of that name is known here.
    NotFound,
    /// Several things have that name, or the vendor must be named.
    Ambiguous,
    /// The vendor's server refused.
    Refused,
    /// All seats are taken.
    SeatsTaken,
    /// The serial number or the unlock code is not right.
    Proof,
    /// The vendor's server cannot be reached, or policy keeps the network off.
    Unreachable,
    /// This user may not do that.
    NotPermitted,
    /// Files cannot be read or written.
    Storage,
    /// The daemon is not running and could not be started, or broke off.
    Daemon,
    /// What answers at the daemon's socket is not this user's daemon.
    NotTrusted,
    /// `doctor` found something that does not work.
    Unwell,
    /// The person broke off.
    Cancelled,
    /// `check`: why the product is not licensed.
    Status(Status),
}

impl Exit {
    /// The number.
    #[must_use]
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::NotFound => 4,
            Self::Ambiguous => 5,
            Self::Refused => 6,
            Self::SeatsTaken => 7,
            Self::Proof => 8,
            Self::Unreachable => 9,
            Self::NotPermitted => 10,
            Self::Storage => 11,
            Self::Daemon => 12,
            Self::NotTrusted => 13,
            Self::Unwell => 14,
            Self::Cancelled => 15,
            Self::Status(status) if status.is_licensed() => 0,
            Self::Status(status) => u8::try_from(status.number()).unwrap_or(1).max(1),
        }
    }
}

/// The table for `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
   0  done (check: licensed)          9  the vendor's server cannot be reached
   1  a mistake of Claviger          10  not permitted for this user
   2  wrong command line             11  files cannot be read or written
   3  mistyped or damaged input      12  the daemon does not run or answer
   4  nothing of that name here      13  another user's process poses as the daemon
   5  several of that name           14  doctor found something that does not work
   6  the vendor's server refused    15  cancelled
   7  all seats are taken         20-44  check: not licensed, see claviger check --help
   8  wrong serial number or unlock code";

/// The table for `claviger check --help`.
#[must_use]
pub(crate) fn check_table() -> String {
    let mut text = "Exit codes:\n   0  licensed\n".to_owned();
    for status in Status::ALL.iter().filter(|s| (20..60).contains(&s.number())) {
        text.push_str(&format!("  {:>2}  {}\n", status.number(), status.code()));
    }
    text.push_str("Any other code: see claviger --help.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_licensed_is_zero() {
        let mut numbers: Vec<u8> = [
            Exit::Done,
            Exit::Internal,
            Exit::Usage,
            Exit::Input,
            Exit::NotFound,
            Exit::Ambiguous,
            Exit::Refused,
            Exit::SeatsTaken,
            Exit::Proof,
            Exit::Unreachable,
            Exit::NotPermitted,
            Exit::Storage,
            Exit::Daemon,
            Exit::NotTrusted,
            Exit::Unwell,
            Exit::Cancelled,
        ]
        .map(Exit::number)
        .into();
        assert!(numbers.iter().all(|n| *n < 20));
        numbers.extend(Status::ALL.iter().filter(|s| s.number() >= 20).map(|s| Exit::Status(*s).number()));
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        assert_eq!(Exit::Status(Status::LicensedClockSetBack).number(), 0);
        assert_eq!(Exit::Status(Status::Unknown).number(), 1);
    }
}
