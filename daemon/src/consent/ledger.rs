//! The state machine of one consent, without clock, disk or network: the caller says what time it is and what is known.

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::ids::{Nonce, VendorId};
use claviger_protocol::ipc::ConsentState;
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::{ConsentRecord, EventKind, Notice, NoticeReference};
use serde::{Deserialize, Serialize};

use crate::telemetry::{Gathered, Pins};

/// Consent and refusal both rest this long: 13 months.
pub const KEPT: i64 = 396 * DAY;

/// Everything about one person and one vendor. The form of its file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    record: ConsentRecord,
    /// Keys of weeks that were seen: public, and what a second key for a week is told by.
    #[serde(default)]
    pins: Pins,
    /// Which of the persons of this computer who agreed: 0 to 7, given with the consent.
    #[serde(default)]
    slot: u8,
    /// Counters, queue and tokens. Only while a consent holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gathered: Option<Gathered>,
}

/// The vendor's notice that holds at the moment.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// The notice.
    pub notice: &'a Notice,
    /// Hash of its signed text.
    pub sha256: Sha256,
}

/// A notice as a person saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The notice.
    pub reference: NoticeReference,
    /// Hash of title and text.
    pub shown: Sha256,
}

/// What keeps telemetry off, whatever was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    /// The administrator's policy.
    Policy,
    /// `DO_NOT_TRACK`.
    DoNotTrack,
}

impl Veto {
    /// A stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::DoNotTrack => "do_not_track",
        }
    }
}

/// Why a grant does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Telemetry is off here.
    #[error("usage statistics are switched off on this computer")]
    Vetoed(Veto),
    /// What was shown is not what holds.
    #[error("the notice has changed since it was shown")]
    OtherNotice,
}

/// Proof that a person has agreed, that it holds at this moment, and that nothing forbids it.
///
/// Only [`Ledger::consented`] makes one, and it borrows the ledger: no decision can be recorded while it lives.
///
/// There is no other way to make one:
/// ```compile_fail
/// use claviger_daemon::consent::Consented;
/// use claviger_protocol::clock::Timestamp;
/// let forged = Consented { since: Timestamp(0), now: Timestamp(0) };
/// ```
/// nor to keep one over a withdrawal:
/// ```compile_fail
/// # use claviger_daemon::consent::Ledger;
/// # use claviger_protocol::clock::Timestamp;
/// fn late(ledger: &mut Ledger) {
///     let proof = ledger.consented(Timestamp(0), None, None);
///     ledger.withdraw(Timestamp(1));
///     drop(proof);
/// }
/// ```
/// The same without keeping it compiles:
/// ```
/// # use claviger_daemon::consent::Ledger;
/// # use claviger_protocol::clock::Timestamp;
/// fn in_time(ledger: &mut Ledger) {
///     drop(ledger.consented(Timestamp(0), None, None));
///     ledger.withdraw(Timestamp(1));
/// }
/// ```
#[derive(Debug)]
pub struct Consented<'a> {
    pub(in crate::consent) vendor: &'a VendorId,
    pub(in crate::consent) since: Timestamp,
    pub(in crate::consent) now: Timestamp,
    pub(in crate::consent) gathered: &'a mut Gathered,
    pub(in crate::consent) pins: &'a mut Pins,
}

impl Consented<'_> {
    /// The vendor.
    #[must_use]
    pub fn vendor(&self) -> &VendorId {
        self.vendor
    }

    /// Since when uses are counted under it.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The moment that the proof is about.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What was gathered under this consent, and the keys seen.
    pub(crate) fn gathered(&mut self) -> (&mut Gathered, &mut Pins) {
        (self.gathered, self.pins)
    }
}

impl Ledger {
    /// A ledger without any decision.
    #[must_use]
    pub fn new(vendor: VendorId, record_id: Nonce, receipt_id: Nonce, subject: Nonce) -> Self {
        Self {
            record: ConsentRecord::new(vendor, record_id, receipt_id, subject),
            pins: Pins::default(),
            slot: 0,
            gathered: None,
        }
    }

    /// The slot of token requests.
    #[must_use]
    pub fn slot(&self) -> u8 {
        self.slot
    }

    /// Gives it a slot that no other person of this computer has.
    pub fn set_slot(&mut self, slot: u8) {
        self.slot = slot;
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &ConsentRecord {
        &self.record
    }

    /// Whether the record is one that was written here: its events follow each other.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.record.is_whole()
    }

    /// Whether anything was gathered: counters, a queue, tokens.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        self.gathered.is_some()
    }

    /// Where it stands, after the last event.
    #[must_use]
    pub fn state(&self) -> ConsentState {
        match self.record.events.last().map(|e| e.event) {
            None => ConsentState::None,
            Some(EventKind::Requested) => ConsentState::Requested,
            Some(EventKind::Given) => ConsentState::Given,
            Some(EventKind::Refused) => ConsentState::Refused,
            Some(EventKind::Withdrawn) => ConsentState::Withdrawn,
            Some(EventKind::Expired) => ConsentState::Expired,
            Some(EventKind::Superseded) => ConsentState::Superseded,
        }
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.record.events.last().map(|e| e.time)
    }

    /// When a consent or refusal ends by itself.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.rests().then(|| self.since().map(|at| at.plus(KEPT))).flatten()
    }

    fn rests(&self) -> bool {
        matches!(self.state(), ConsentState::Given | ConsentState::Refused)
    }

    /// Records what time and the vendor have done: expiry after 13 months, new terms. Whatever may not be kept any
    /// longer is gone afterwards. Says whether anything changed.
    pub fn settle(&mut self, now: Timestamp, in_force: Option<InForce<'_>>, veto: Option<Veto>) -> bool {
        let mut changed = false;
        if self.rests() {
            let since = self.since().unwrap_or(now);
            // A decision from the future was dated by a clock that was wrong: it does not rest until then.
            if now >= since.plus(KEPT) || now.plus(DAY) < since {
                self.record.push(EventKind::Expired, now, None, None);
                changed = true;
            } else if let Some(known) = in_force
                && self.record.terms.is_some_and(|terms| terms != known.notice.terms())
            {
                let language = self.record.notice.as_ref().map_or("en", |n| &n.language);
                let reference = NoticeReference::new(known.notice, known.sha256, language);
                self.record.push(EventKind::Superseded, now, None, Some(reference));
                changed = true;
            }
        }
        if (self.state() != ConsentState::Given || veto.is_some()) && self.gathered.take().is_some() {
            changed = true;
        }
        changed
    }

    /// The person was shown the notice and asked. Changes nothing where a decision rests.
    pub fn request(&mut self, now: Timestamp, notice: &Notice, seen: &Seen) -> bool {
        let open =
            matches!(self.state(), ConsentState::None | ConsentState::Expired | ConsentState::Superseded);
        if open {
            self.record.describe(notice, &seen.reference);
            self.push(EventKind::Requested, now, Some(seen));
        }
        open
    }

    /// The person said yes to what was just shown.
    ///
    /// # Errors
    /// [`Denied`]; nothing changes then.
    pub fn grant(
        &mut self,
        now: Timestamp,
        in_force: InForce<'_>,
        seen: &Seen,
        veto: Option<Veto>,
    ) -> Result<(), Denied> {
        if let Some(veto) = veto {
            return Err(Denied::Vetoed(veto));
        }
        if in_force.sha256 != seen.reference.sha256 {
            return Err(Denied::OtherNotice);
        }
        self.settle(now, Some(in_force), None);
        let renewed = self.state() == ConsentState::Given;
        self.record.describe(in_force.notice, &seen.reference);
        self.push(EventKind::Given, now, Some(seen));
        if !renewed || self.gathered.is_none() {
            self.gathered = Some(Gathered::new(now));
        }
        Ok(())
    }

    /// The person said no. Where there was a consent, that withdraws it.
    pub fn refuse(&mut self, now: Timestamp, seen: Option<(&Notice, &Seen)>) {
        if self.state() == ConsentState::Given {
            self.withdraw(now);
            return;
        }
        if self.state() == ConsentState::Refused && seen.is_none() {
            return;
        }
        if let Some((notice, seen)) = seen {
            self.record.describe(notice, &seen.reference);
        }
        self.push(EventKind::Refused, now, seen.map(|(_, seen)| seen));
        self.gathered = None;
    }

    /// The person takes a consent back: counters, queue and tokens are gone with it. Without a consent nothing changes.
    pub fn withdraw(&mut self, now: Timestamp) {
        if self.state() == ConsentState::Given {
            self.record.push(EventKind::Withdrawn, now, None, self.record.notice.clone());
        }
        self.gathered = None;
    }

    fn push(&mut self, event: EventKind, now: Timestamp, seen: Option<&Seen>) {
        self.record.push(event, now, seen.map(|s| s.shown), seen.map(|s| s.reference.clone()));
    }

    /// The proof, if there is a consent that holds at this moment and nothing forbids it.
    pub fn consented(
        &mut self,
        now: Timestamp,
        in_force: Option<InForce<'_>>,
        veto: Option<Veto>,
    ) -> Option<Consented<'_>> {
        self.settle(now, in_force, veto);
        if veto.is_some() || self.state() != ConsentState::Given {
            return None;
        }
        let gathered = self.gathered.get_or_insert_with(|| Gathered::new(now));
        // A consent that was renewed goes on; one that was vetoed meanwhile begins anew.
        let since = gathered.since();
        Some(Consented { vendor: &self.record.vendor, since, now, gathered, pins: &mut self.pins })
    }

    /// Whether uses are counted at this moment.
    #[must_use]
    pub fn is_counting(&self, now: Timestamp, in_force: Option<InForce<'_>>, veto: Option<Veto>) -> bool {
        let mut copy = Self { record: self.record.clone(), pins: Pins::default(), slot: 0, gathered: None };
        copy.consented(now, in_force, veto).is_some()
    }

    /// What was gathered, to be looked at.
    #[must_use]
    pub(crate) fn peek(&self) -> Option<&Gathered> {
        self.gathered.as_ref()
    }
}
