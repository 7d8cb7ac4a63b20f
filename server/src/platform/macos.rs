//! macOS.

use tokio::net::TcpStream;

#[cfg(feature = "fault-points")]
pub(crate) use super::unix::kill_self;
pub(crate) use super::unix::{
    Hangup, make_private_dir, others_may_read, protect, restrict, stamp, stop_signal, sync_dir, with_mode,
};

/// The system's own patience with a peer that reads nothing, some minutes, is all there is here.
pub(crate) fn drop_silent_peers(_stream: &TcpStream) {}
