//! What the daemon does by itself, and when: one alarm for the next deadline, none when there is no deadline.

use std::rc::Rc;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::ids::{ActivationId, VendorId};
use claviger_protocol::ipc::CallError;

use super::survey::Deadline;
use super::{Engine, Vendor};
use crate::fault;
use crate::platform::Alarm;

/// First wait after a failed attempt, and the longest one.
const FIRST_WAIT: i64 = 60;
const LONGEST_WAIT: i64 = DAY;
/// How long an expired subscription is asked about, in case it was renewed late.
const AFTER_END: i64 = 30 * DAY;
/// How long receipts and memories of ended activations are kept.
const KEPT: i64 = 400 * DAY;
/// How long the store tells plug-ins why an activation ended.
const EXPLAINED: i64 = 90 * DAY;

impl Engine {
    /// Works through what is due, then sleeps until the next deadline or until something changes.
    pub async fn background(self: Rc<Self>, alarm: Alarm) {
        for vendor in self.known_vendors() {
            self.prune(vendor.id());
            if let Ok((vendor, _turn)) = self.turn(&vendor).await {
                self.mend_locally(&vendor).await;
            }
        }
        let mut stalled = 0;
        loop {
            for vendor in self.known_vendors() {
                let now = self.now();
                if Self::pending_until(&vendor).is_some_and(|until| until <= now) {
                    self.apply_pending(&vendor);
                }
                if !self.closing.get() && self.due(&vendor, now).await.is_some_and(|at| at <= now) {
                    self.work(&vendor).await;
                }
            }
            self.telemetry_turn().await;
            let now = self.now();
            let mut next = None;
            for vendor in self.known_vendors() {
                next = next.into_iter().chain(self.due(&vendor, now).await).min();
            }
            self.next_contact.set(next.into_iter().chain(self.desk.next_send()).min());
            let next = next.into_iter().chain(self.telemetry_next()).min();
            let local: Vec<_> = self.known_vendors().iter().filter_map(|v| Self::pending_until(v)).collect();
            let wake = next_wake(next.into_iter().chain(local), now, &mut stalled);
            tokio::select! {
                () = alarm.wait(wake) => self.observe_clock(),
                () = fault::clock_moved(wake) => self.observe_clock(),
                () = self.poke.notified() => {}
            }
        }
    }

    /// Removes what is remembered about activations that ended long ago.
    fn prune(&self, vendor: &VendorId) {
        let now = self.now();
        let pruned = self.state.prune(vendor, now.plus(-KEPT)).and_then(|()| {
            let waiting =
                self.state.outbox(vendor)?.into_iter().map(|(receipt, _)| receipt.activation).collect();
            self.store.prune(vendor, &waiting, now.plus(-EXPLAINED))
        });
        if let Err(e) = pruned {
            tracing::warn!(error = %e, cause = %e.source, "old memories could not be removed");
        }
    }

    /// When a vendor's server is to be contacted without anyone asking.
    async fn due(&self, vendor: &Rc<Vendor>, now: Timestamp) -> Option<Timestamp> {
        if !self.egress.is_open() {
            return None;
        }
        let deadlines = self.deadlines(vendor).await.unwrap_or_default();
        let record = vendor.record.borrow();
        let unfinished = record.present
            || record.pending.is_some()
            || self.state.has_intents(vendor.id())
            || (self.state.has_outbox(vendor.id()) && !record.quiet);
        let mut next = unfinished.then_some(now);
        let last = record.last_contact.unwrap_or_default();
        for deadline in &deadlines {
            next = next.into_iter().chain(next_look(deadline, last)).min();
        }
        let ended = self.state.ended(vendor.id()).unwrap_or_default();
        for suspended in ended.iter().filter(|e| e.certificate.is_some()) {
            let id = suspended.license.activation;
            next = next.into_iter().chain([last.plus(DAY + jitter(id, DAY / 4))]).min();
        }
        next.map(|at| record.retry_at.map_or(at, |retry| retry.max(at)))
    }

    async fn work(self: &Rc<Self>, vendor: &Rc<Vendor>) {
        let Ok((vendor, turn)) = self.turn(vendor).await else { return };
        let vendor = &vendor;
        // Whoever had the turn before may have done it all.
        let now = self.now();
        if self.closing.get() || self.due(vendor, now).await.is_none_or(|at| at > now) {
            return;
        }
        let busy = self.busy();
        let result = self.work_in_turn(vendor).await;
        drop((busy, turn));
        match result {
            Ok(()) => self.note_success(vendor).await,
            Err(e) => {
                // Its sentence may name serial numbers and computers: those are no business of a log.
                tracing::info!(vendor = %vendor.id(), code = e.code(), "will be tried again");
                self.note_failure(vendor, None);
            }
        }
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    async fn work_in_turn(self: &Rc<Self>, vendor: &Rc<Vendor>) -> Result<(), CallError> {
        self.observe_clock();
        self.mend_locally(vendor).await;
        for (intent, request) in self.state.intents(vendor.id())? {
            self.settle(vendor, &intent, &request).await?;
        }
        let now = self.now();
        if self.due(vendor, now).await.is_some_and(|at| at <= now) {
            self.refresh_in_turn(vendor, false).await?;
        }
        Ok(())
    }

    async fn note_success(&self, vendor: &Rc<Vendor>) {
        // What still waits although the server answered (a keyset whose certificates were not issued anew, say) is
        // looked at again tomorrow, not at once.
        let unfinished = vendor.record.borrow().pending.is_some()
            || vendor.record.borrow().present
            || self.state.has_outbox(vendor.id())
            || self.state.has_intents(vendor.id());
        // And what is due but could not be asked about (a memory that does not verify any more, say) as well.
        let now = self.now();
        if unfinished || self.due(vendor, now).await.is_some_and(|at| at <= now) {
            self.note_failure(vendor, Some(DAY));
        }
    }

    /// Puts the next attempt in the background off: twice as long each time, spread by chance, at most a day.
    pub(super) fn note_failure(&self, vendor: &Vendor, least: Option<i64>) {
        let mut random = [0u8; 8];
        // Without chance the waits are still right.
        let _ = self.rng.fill(&mut random);
        {
            let mut record = vendor.record.borrow_mut();
            let wait = backoff(record.failures, u64::from_le_bytes(random)).max(least.unwrap_or(0));
            record.failures = record.failures.saturating_add(1);
            // A server may have asked for a longer pause.
            record.retry_at = record.retry_at.max(Some(self.now().plus(wait)));
        }
        self.store_record(vendor);
    }
}

/// When to wake. What is due although its turn has just been is not waited for at once: each such turn in a row
/// doubles the pause, so that a full disk or a damaged file never keeps a processor busy.
fn next_wake(
    deadlines: impl Iterator<Item = Timestamp>,
    now: Timestamp,
    stalled: &mut u32,
) -> Option<Timestamp> {
    let (past, ahead): (Vec<_>, Vec<_>) = deadlines.partition(|at| *at <= now);
    let pause = FIRST_WAIT.saturating_mul(1i64 << (*stalled).min(20)).min(LONGEST_WAIT);
    *stalled = if past.is_empty() { 0 } else { stalled.saturating_add(1) };
    let again = (!past.is_empty()).then(|| now.plus(pause));
    ahead.into_iter().chain(again).min()
}

/// Seconds to wait after this many failures: between one half and all of a doubling time.
fn backoff(failures: u32, random: u64) -> i64 {
    let full = FIRST_WAIT.saturating_mul(1i64 << failures.min(20)).min(LONGEST_WAIT);
    let half = full / 2;
    half + i64::try_from(random % u64::try_from(half + 1).unwrap_or(1)).unwrap_or(0)
}

/// A fixed offset of each activation, so that machines that were set up together do not all call at once.
fn jitter(id: ActivationId, within: i64) -> i64 {
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&id.0[..8]);
    i64::try_from(u64::from_le_bytes(bytes) % u64::try_from(within.max(1)).unwrap_or(1)).unwrap_or(0)
}

/// When to look at a subscription next: two days before it is paid to its end, then daily until well after it ended.
fn next_look(deadline: &Deadline, last: Timestamp) -> Option<Timestamp> {
    let Deadline { activation, paid_through, exp } = *deadline;
    let first = paid_through.unwrap_or(exp).plus(-2 * DAY + jitter(activation, DAY));
    if last < first {
        return Some(first);
    }
    let next = last.plus(DAY - DAY / 8 + jitter(activation, DAY / 4));
    (next <= exp.plus(AFTER_END)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_looked_at_around_their_end() {
        let subscription = Deadline {
            activation: ActivationId([9; 16]),
            paid_through: Some(Timestamp(100 * DAY)),
            exp: Timestamp(114 * DAY),
        };
        let first = next_look(&subscription, Timestamp(10 * DAY)).unwrap();
        assert!(first >= Timestamp(98 * DAY) && first <= Timestamp(99 * DAY));
        let daily = next_look(&subscription, Timestamp(101 * DAY)).unwrap();
        assert!(daily > Timestamp(101 * DAY + DAY / 2) && daily < Timestamp(103 * DAY));
        assert_eq!(next_look(&subscription, Timestamp(200 * DAY)), None);
    }

    #[test]
    fn a_past_deadline_never_wakes_at_once() {
        let now = Timestamp(1000);
        let mut stalled = 0;
        let wake = |deadlines: &[i64], stalled: &mut u32| {
            next_wake(deadlines.iter().map(|at| Timestamp(*at)), now, stalled)
        };
        assert_eq!(wake(&[], &mut stalled), None);
        assert_eq!(wake(&[1001, 5000], &mut stalled), Some(Timestamp(1001)));
        assert_eq!(wake(&[1000, 5000], &mut stalled), Some(Timestamp(1060)));
        assert_eq!(wake(&[10], &mut stalled), Some(Timestamp(1120)));
        // Another deadline is not missed for it.
        assert_eq!(wake(&[10, 1030], &mut stalled), Some(Timestamp(1030)));
        stalled = 40;
        assert_eq!(wake(&[10], &mut stalled), Some(Timestamp(1000 + DAY)));
        assert_eq!(wake(&[2000], &mut stalled), Some(Timestamp(2000)));
        assert_eq!(stalled, 0);
    }

    #[test]
    fn waits_double_up_to_a_day() {
        for random in [0, 1, u64::MAX] {
            assert!((30..=60).contains(&backoff(0, random)));
            assert!((60..=120).contains(&backoff(1, random)));
            assert!((DAY / 2..=DAY).contains(&backoff(11, random)));
            assert!((DAY / 2..=DAY).contains(&backoff(u32::MAX, random)));
        }
    }
}
