//! Consent: what a person decided about a vendor's usage statistics, and the proof that everything else needs.
//!
//! [`Ledger`] is all that exists about one person and one vendor: the record of decisions and, only while a consent is
//! valid, what was gathered under it. It is one file, replaced as a whole: a withdrawal that wipes counters, queue and
//! tokens either has happened or has not. [`Consented`] is the proof: nothing can be counted or sent without one, and
//! only a valid, current, unvetoed record gives it.

mod desk;
mod ledger;

pub use desk::{Desk, Known, NotTaken, Question, Store, Subject};
pub use ledger::{Consented, Denied, InForce, KEPT, Ledger, Seen, Veto};
