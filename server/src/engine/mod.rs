//! What a request does to a license: plain data ([`model`]), the part of the database that a batch touches ([`World`]),
//! the pure decision ([`decide()`]), and the one writer that commits what queued up together ([`Writer`]).

mod command;
mod decide;
mod lookup;
pub mod model;
mod seats;
mod world;
mod writer;

#[cfg(test)]
mod tests;

pub use command::{
    Activate, AnswerClaims, Claimed, ClaimedState, Command, Decision, Free, GivenReceipt, Held, Order,
    Refusal, Shown,
};
pub use decide::{Context, MAX_DEVICE_KEYS, YEAR, decide, holders};
pub use lookup::Lookup;
pub use seats::MOST_EVENTS;
pub use world::{Answered, Changes, LicenseEntry, Touched, World};
pub use writer::{Decided, Writer, WriterError};
