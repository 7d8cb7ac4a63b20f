//! What Linux and macOS do alike: the Unix socket.

pub(super) mod socket;
