//! Everything that differs between operating systems, behind one facade. A system is one sibling folder here.
//!
//! The facade: where things are ([`Places`]), the operating system's own machine id, reading files without ever
//! waiting on what is not a file, telling a local disk from one that may hang, threads that a host does not notice, and
//! the local socket with the identity of who listens. With the feature `manager` also starting and ending the daemon's
//! process, starting it at login, rights on files, and words for what an administrator types.

use std::path::PathBuf;

use claviger_protocol::layout::Home;

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos/mod.rs"]
mod system;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod system;
#[cfg(unix)]
mod unix;

pub(crate) use system::{
    FileIdentity, Folder, Stream, Thread, connect, locality, os_machine_id, process_chain, read,
    read_with_identity, sandboxed, socket_below, system_daemon_installed, system_socket,
};

#[cfg(feature = "manager")]
pub(crate) use system::{login, manage};

/// Rights on a folder of activations.
#[cfg(feature = "manager")]
pub(crate) struct StoreRights {
    /// It is this user's, who cannot write into it.
    pub(crate) locked_out: bool,
    /// Others can write into it.
    pub(crate) open_to_others: bool,
}

/// What starting at login was set up with.
#[cfg(feature = "manager")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What the system calls it: a unit, an agent, a value of the registry.
    pub name: String,
    /// The file that was written, if any.
    pub file: Option<PathBuf>,
    /// Who starts the daemon from now on: “systemd”.
    pub by: &'static str,
}

/// Who listens at the other end of the local socket, by the kernel's word.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The user: a number on Unix systems, a security identifier on Windows.
    pub(crate) user: String,
    /// `None` when it lives in another PID namespace (a container, Flatpak), where it has no number here.
    pub(crate) pid: Option<u32>,
    /// It is the user of this process.
    pub(crate) ours: bool,
    /// It may be this user's daemon: the user himself, the administrator, or the system daemon's own user.
    pub(crate) trusted: bool,
}

/// Where a process of this user finds the stores and the daemons, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Folders of certificates, the machine's before the user's.
    pub stores: Vec<StorePlace>,
    /// Sockets of daemons, the system's before the user's.
    pub sockets: Vec<PathBuf>,
}

/// One folder of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlace {
    /// The folder.
    pub path: PathBuf,
    /// Whose it is.
    pub scope: crate::Scope,
    /// A folder above it that exists on every computer of this kind. Where it is missing, a sandbox hides the store.
    pub landmark: Option<PathBuf>,
}

impl Places {
    /// The places of this process: below `CLAVIGER_HOME` where it is set (and the process is not set-uid), otherwise
    /// the system's and the user's fixed ones, found without environment variables.
    #[must_use]
    pub fn of_process() -> Self {
        match home_override() {
            Some(home) => Self::below(&home),
            None => system::fixed_places(),
        }
    }

    /// The places below `home`: a portable installation, or a test.
    #[must_use]
    pub fn below(home: &std::path::Path) -> Self {
        Self {
            stores: vec![StorePlace { path: Home(home).certs(), scope: crate::Scope::User, landmark: None }],
            sockets: vec![socket_below(home)],
        }
    }
}

/// Makes what was written to a file durable, as far as the drive that it is on can.
///
/// # Errors
/// What the system says.
#[cfg(feature = "manager")]
pub fn sync_file(file: &std::fs::File) -> std::io::Result<()> {
    manage::sync_file(file)
}

/// Whether the operating system tells a machine id that means anything.
#[must_use]
pub fn has_machine_id() -> bool {
    os_machine_id().is_some()
}

/// `CLAVIGER_HOME` as it stood when it was first asked for, made absolute; `None` in set-uid programs. Read once: other
/// threads of the host may change the environment at any time.
#[must_use]
pub fn home_override() -> Option<PathBuf> {
    static HOME: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    HOME.get_or_init(|| {
        if system::is_set_uid() {
            return None;
        }
        let home = std::env::var_os("CLAVIGER_HOME").filter(|home| !home.is_empty())?;
        system::absolute(&PathBuf::from(home))
    })
    .clone()
}

/// Whether `DO_NOT_TRACK` (<https://consoledonottrack.com>) stood in the environment when it was first asked for: then
/// this program's uses are nobody's business, whatever was agreed to. Read once, as [`home_override`].
#[must_use]
pub(crate) fn do_not_track() -> bool {
    static SET: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *SET.get_or_init(|| is_set(std::env::var_os("DO_NOT_TRACK").as_deref()))
}

fn is_set(value: Option<&std::ffi::OsStr>) -> bool {
    value.is_some_and(|value| !value.is_empty() && value != "0")
}

/// Whether reading from a folder may hang for reasons that a healthy computer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locality {
    /// A file system of the kernel on a disk of this computer.
    Local,
    /// A network, a user-space file system, or one that we do not know.
    MayHang,
}

/// What stands in a folder under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A folder, symbolic link, pipe, socket or device.
    Other,
    /// The file system does not tell before the file is opened.
    Untold,
}

/// Why a file or folder could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is not there.
    #[error("it does not exist")]
    Missing,
    /// The operating system refuses, or the path leads nowhere.
    #[error("it cannot be opened ({0})")]
    Unreachable(std::io::ErrorKind),
    /// A folder, pipe, device or symbolic link stands where a file should.
    #[error("it is not a file")]
    NotAFile,
    /// It is longer than anything that belongs there.
    #[error("it is too large")]
    TooLarge,
}
