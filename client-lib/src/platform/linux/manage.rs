//! What a program that manages the daemon asks of Linux: systemd starts the daemon and keeps its log.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use claviger_protocol::layout;

pub(crate) use super::super::unix::manage::{
    POLICY_ADVICE, PRIVATE_ADVICE, can_write, detached, end_process, is_program, policy_is_safe, private,
    store_rights,
};

/// How an administrator starts the system's daemon.
pub(crate) const START_SYSTEM_DAEMON: &str = "systemctl start clavigerd";
/// What to do about a computer without a machine id.
pub(crate) const MACHINE_ID_ADVICE: &str = "An administrator makes one with: systemd-machine-id-setup";

/// Makes what was written to a file durable.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// The administrator's policy.
pub(crate) fn policy_file() -> PathBuf {
    layout::linux::POLICY.into()
}

/// Vendor profiles that installers put down.
pub(crate) fn shipped_profiles() -> PathBuf {
    layout::linux::SHIPPED.into()
}

/// The log of a user's daemon.
pub(crate) fn user_log_folder() -> Option<PathBuf> {
    let ours = directories::ProjectDirs::from("", "", "claviger")?;
    Some(ours.state_dir().unwrap_or(ours.data_local_dir()).join(layout::LOG))
}

/// The system daemon's log, where it is a file: the journal keeps it.
pub(crate) fn system_log() -> Option<PathBuf> {
    None
}
