//! What Linux and macOS do alike: the Unix socket, and what a manager of the daemon needs.

#[cfg(feature = "manager")]
pub(super) mod manage;
pub(super) mod socket;
