//! Everything that differs between operating systems, behind one set of names: folders, the machine id, durable
//! writes, the daemon lock, the local socket with its peer's identity, alarms, and what keeps a process small.
//!
//! Each system has one sibling file with the same items; no other module asks which system it runs on.

mod files;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

use std::path::PathBuf;

pub use claviger_protocol::ipc::Mode;
pub use files::{
    FileError, Visibility, append_to, clear_temporaries, list, make_dir, misplaced, move_aside, read_bounded,
    remove_all, remove_file, sync_dir, write_file,
};
pub use system::{
    Alarm, BindError, Connection, Listener, Lock, LockError, Notifier, Peer, Shutdown, boot_log_stream, changed_by_others,
    kill_self, os_machine_id, paths, process_id, raise_file_limit, trim_memory,
};

/// Whether `DO_NOT_TRACK` is set for this process (<https://consoledonottrack.com>): to anything but nothing or `0`.
#[must_use]
pub fn do_not_track() -> bool {
    std::env::var_os("DO_NOT_TRACK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Where a daemon keeps its things.
#[derive(Clone, Debug)]
pub struct Paths {
    /// For one user or for everyone.
    pub mode: Mode,
    /// The certificate store, readable by plug-ins.
    pub certs: PathBuf,
    /// Private state.
    pub state: PathBuf,
    /// The local socket.
    pub socket: PathBuf,
    /// The administrator's policy.
    pub policy: PathBuf,
    /// Vendor profiles that installers put down.
    pub shipped_profiles: PathBuf,
    /// Log files of its own, where no journal keeps them.
    pub log: Option<PathBuf>,
}

/// Why the folders are not known.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// The user database knows no home folder.
    #[error(
        "the user database names no home folder for this user; set CLAVIGER_HOME to a folder to use instead"
    )]
    NoHome,
    /// `CLAVIGER_HOME` is relative.
    #[error("CLAVIGER_HOME must be an absolute path")]
    RelativeHome,
}
