//! Everything that differs between operating systems, behind one set of names: folders, the machine id, managed
//! settings, durable writes, sealing, the daemon lock, the local socket with its peer's identity, alarms, the service manager, the system's
//! log, and what keeps a process small.
//!
//! Each system has one sibling file with the same items; no other module asks which system it runs on.

mod files;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod system;
#[cfg(unix)]
mod unix;

use std::io;
use std::path::PathBuf;

pub use claviger_protocol::ipc::Mode;
pub use files::{
    FileError, Visibility, append_to, clear_temporaries, list, make_dir, misplaced, move_aside, read_bounded,
    remove_all, remove_file, settled_stamp, sync_dir, write_file,
};
pub use system::{
    Alarm, Connection, Listener, Lock, MANAGED, Notifier, Peer, Shutdown, boot_log_stream, changed_by_others,
    event_log, group_exists, hung_up, kill_self, managed_policy, os_machine_id, paths, policy_place,
    process_id, raise_file_limit, seal, supervised, sync_file, trim_memory, unseal,
};

/// Whether `DO_NOT_TRACK` is set for this process (<https://consoledonottrack.com>): to anything but nothing or `0`.
#[must_use]
pub fn do_not_track() -> bool {
    std::env::var_os("DO_NOT_TRACK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Writes one line of the log into the system's own log of events; the number is its weight.
pub type EventLog = Box<dyn Fn(Weight, &str) + Send + Sync>;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something failed.
    Error,
    /// Something may fail soon.
    Warning,
    /// Anything else.
    Information,
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
    /// Someone else has made the machine's folder.
    #[error(
        "the folder {0} belongs to neither the system nor an administrator, so what is in it cannot be trusted; let an \
         administrator remove it, then start the daemon again"
    )]
    Foreign(PathBuf),
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it.
    #[error("another daemon is already using {0}")]
    Held(PathBuf),
    /// The folder cannot be opened or locked.
    #[error("could not lock the folder {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the local socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {path}: {why}")]
pub struct BindError {
    pub(super) path: String,
    pub(super) why: String,
    /// What the system said.
    #[source]
    pub(super) source: Option<io::Error>,
}
