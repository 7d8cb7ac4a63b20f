//! Everything that differs between operating systems, behind one facade: who may see a file, making names durable, what
//! tells one state of a file from the next, sockets, dumps, and the signals that end the server or make it read again.
//!
//! Each system has one sibling file with the same items; no other module asks which system it runs on.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
#[cfg(unix)]
mod unix;

#[cfg(feature = "fault-points")]
pub(crate) use system::kill_self;
pub(crate) use system::{
    Hangup, drop_silent_peers, forbid_dumps, make_private_dir, others_may_read, protect, restrict, stamp,
    stop_signal, sync_dir, sync_file, with_mode,
};
#[cfg(test)]
pub(crate) use system::{LOCKED_FILES_ARE_READABLE, has_mode};

/// What tells one state of a file from the next. Files are replaced by renaming, so more than the time changes.
pub(crate) type Stamp = [u64; 3];
