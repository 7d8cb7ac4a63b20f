//! Bundles that wait for their download: in memory, a few, for a while. Losing one harms nobody, because the same batch
//! gets the same answers again. Only what answers at least one proven request comes here, so strangers cannot fill it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use claviger_protocol::clock::Timestamp;
use ring::rand::SecureRandom;

/// Bytes of all bundles together; the oldest go first.
const MOST: usize = 64 * 1024 * 1024;
/// Seconds that a bundle stays.
const KEPT: i64 = 3_600;

/// A bundle.
#[derive(Debug)]
struct Kept {
    ticket: String,
    at: Timestamp,
    text: Arc<str>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(in crate::http) struct Shelf(Mutex<VecDeque<Kept>>);

impl Shelf {
    /// Puts a bundle down and gives the ticket that fetches it: 128 random bits. `None` when there is no randomness.
    pub(super) fn put(&self, text: String, now: Timestamp, rng: &dyn SecureRandom) -> Option<String> {
        let mut bytes = [0u8; 16];
        rng.fill(&mut bytes).ok()?;
        let ticket = data_encoding::HEXLOWER.encode(&bytes);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Kept { ticket: ticket.clone(), at: now, text: text.into() });
        let mut total: usize = kept.iter().map(|k| k.text.len()).sum();
        while total > MOST && kept.len() > 1 {
            total -= kept.pop_front().map_or(0, |k| k.text.len());
        }
        Some(ticket)
    }

    /// The bundle of a ticket, while it is there.
    pub(super) fn get(&self, ticket: &str, now: Timestamp) -> Option<Arc<str>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|k| now.0 - k.at.0 < KEPT);
        kept.iter().find(|k| k.ticket == ticket).map(|k| Arc::clone(&k.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_stay_for_an_hour_and_the_oldest_make_room() {
        let (shelf, rng, now) = (Shelf::default(), ring::rand::SystemRandom::new(), Timestamp(1_000));
        let first = shelf.put("one".into(), now, &rng).unwrap();
        assert_eq!(shelf.get(&first, now.plus(KEPT - 1)).as_deref(), Some("one"));
        let big = shelf.put("x".repeat(MOST), now, &rng).unwrap();
        assert_eq!(shelf.get(&first, now), None, "the oldest made room");
        assert!(shelf.get(&big, now).is_some(), "the newest stays, whatever its size");
        assert_eq!(shelf.get(&big, now.plus(KEPT)), None);
        assert_eq!(shelf.get("", now), None);
    }
}
