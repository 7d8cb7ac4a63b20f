//! Everything that differs between operating systems, behind one facade: the terminal and its secrets, rights on files,
//! starting and ending the daemon's process, starting it at login, and words for what an administrator types.
//!
//! Each system has one sibling file with the same items; no other module asks which system it runs on.

use std::path::PathBuf;

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

pub(crate) use system::{
    MACHINE_ID_ADVICE, POLICY_ADVICE, PRIVATE_ADVICE, START_SYSTEM_DAEMON, Terminal, become_daemon,
    can_write, detached, end_process, follow, forbid_dumps, is_program, login, policy_file, policy_is_safe,
    prepare_console, private, shipped_profiles, stdin_byte, store_rights, system_log, user_log_folder,
};

/// Rights on a folder of activations.
pub(crate) struct StoreRights {
    /// It is this user's, who cannot write into it.
    pub(crate) locked_out: bool,
    /// Others can write into it.
    pub(crate) open_to_others: bool,
}

/// What starting at login was set up with.
pub(crate) struct Installed {
    /// What the system calls it: a unit, an agent, a value of the registry.
    pub(crate) name: String,
    /// The file that was written, if any.
    pub(crate) file: Option<PathBuf>,
    /// Who starts the daemon from now on: “systemd”.
    pub(crate) by: &'static str,
}
