//! Linux.

use std::fs::File;
use std::io;

use tokio::net::TcpStream;

#[cfg(feature = "fault-points")]
pub(crate) use super::unix::kill_self;
pub(crate) use super::unix::{
    Hangup, make_private_dir, others_may_read, protect, restrict, stamp, stop_signal, sync_dir, with_mode,
};
#[cfg(test)]
pub(crate) use super::unix::{LOCKED_FILES_ARE_READABLE, has_mode};

/// A crash from here on leaves no image of this process on the disk, and no other process of its account looks into it.
pub(crate) fn forbid_dumps() {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Gives up on a peer that reads nothing for half a minute.
pub(crate) fn drop_silent_peers(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, 30_000);
}

/// Makes what was written to a file durable.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}
