//! Limits on failed proofs: per serial number and address, and for all together. A correct proof never comes here, so
//! that nobody can lock an owner out by guessing; two hundred lab machines behind one address do not disturb each other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::keys::Sha256;

/// Failures of one serial number from one address before it must wait.
const PER_PAIR: u32 = 10;
/// Failures from everywhere before everyone who fails must wait.
const GLOBAL: u32 = 1_000;
/// Seconds after which failures are forgotten.
const WINDOW: i64 = 60;
/// Pairs that are remembered; beyond that the global limit alone holds.
const MAX_PAIRS: usize = 10_000;

/// Counts failed proofs. Addresses are kept as hashes, in memory, for a minute.
#[derive(Debug, Default)]
pub struct FailedProofs(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    window: i64,
    global: u32,
    pairs: HashMap<[u8; 16], u32>,
}

impl FailedProofs {
    /// Counts a failure; the seconds to wait if it was one too many.
    #[must_use]
    pub fn failed(&self, serial: &str, address: IpAddr, now: Timestamp) -> Option<u32> {
        let hash = Sha256::of(format!("{address} {serial}").as_bytes());
        let mut pair = [0u8; 16];
        pair.copy_from_slice(&hash.0[..16]);
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let window = now.0.div_euclid(WINDOW);
        if counts.window != window {
            *counts = Counts { window, ..Counts::default() };
        }
        counts.global = counts.global.saturating_add(1);
        let of_pair = if counts.pairs.len() < MAX_PAIRS || counts.pairs.contains_key(&pair) {
            let count = counts.pairs.entry(pair).or_default();
            *count = count.saturating_add(1);
            *count
        } else {
            1
        };
        let limited = of_pair > PER_PAIR || counts.global > GLOBAL;
        limited.then(|| u32::try_from(WINDOW - now.0.rem_euclid(WINDOW)).unwrap_or(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn one_pair_is_limited_and_others_are_not() {
        let limits = FailedProofs::default();
        let now = Timestamp(1_000_021);
        for _ in 0..PER_PAIR {
            assert_eq!(limits.failed("A", HERE, now), None);
        }
        assert_eq!(limits.failed("A", HERE, now), Some(59));
        assert_eq!(limits.failed("A", THERE, now), None);
        assert_eq!(limits.failed("B", HERE, now), None);
        assert_eq!(limits.failed("A", HERE, now.plus(60)), None);
    }

    #[test]
    fn everyone_together_is_limited() {
        let limits = FailedProofs::default();
        let now = Timestamp(0);
        for n in 0..GLOBAL {
            assert_eq!(limits.failed(&n.to_string(), HERE, now), None);
        }
        assert!(limits.failed("one more", THERE, now).is_some());
    }
}
