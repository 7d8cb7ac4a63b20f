//! Usage statistics under a consent: what is counted, what waits to be sent and when, and the only envelopes in which it
//! can leave.
//!
//! Everything here needs a [`crate::consent::Consented`]. The course of a week is told in
//! [`claviger_protocol::telemetry`]; chance comes in through [`Dice`], time through the proof.

mod count;
mod course;
mod gathered;
mod outgoing;

pub use course::{Task, TaskFailure};
pub use gathered::{Cell, Gathered, Gathering, Pins, Queued};
pub use outgoing::{Kind, Outgoing};

/// Chance: a whole number below the bound, each as likely as another.
pub trait Dice {
    /// 0 to `bound - 1`; 0 for a bound of 0.
    fn below(&mut self, bound: u64) -> u64;
}

/// Chance from the system.
pub struct SystemDice<'a>(pub &'a dyn ring::rand::SecureRandom);

impl Dice for SystemDice<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0u8; 8];
        // A generator that fails makes times less random, not reports less anonymous; the log says so.
        if self.0.fill(&mut bytes).is_err() {
            tracing::error!("the system's random generator failed");
        }
        // The bounds are seconds of weeks: the bias of the remainder is below one in 10^12.
        u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}
