//! Linux.

use tokio::net::TcpStream;

#[cfg(feature = "fault-points")]
pub(crate) use super::unix::kill_self;
pub(crate) use super::unix::{
    Hangup, make_private_dir, others_may_read, protect, restrict, stamp, stop_signal, sync_dir, with_mode,
};

/// Gives up on a peer that reads nothing for half a minute.
pub(crate) fn drop_silent_peers(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, 30_000);
}
