//! What a program that manages the daemon asks of macOS: launchd starts the daemon, which keeps its log itself.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use claviger_protocol::layout::{self, macos as names};

pub(crate) use super::super::unix::manage::{
    POLICY_ADVICE, PRIVATE_ADVICE, can_write, detached, end_process, is_program, policy_is_safe, private,
    store_rights,
};

/// How an administrator starts the system's daemon.
pub(crate) const START_SYSTEM_DAEMON: &str = "sudo launchctl kickstart system/io.claviger.clavigerd";
/// What to do about a computer without a machine id.
pub(crate) const MACHINE_ID_ADVICE: &str =
    "Every Mac has one (IOPlatformUUID); a virtual machine gets it from its settings.";

/// Makes what was written to a file durable: down to the disk itself, as the standard library asks for. Network drives do
/// not know that request, and get the one that they do.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    use rustix::io::Errno;
    match file.sync_all() {
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::NOTSUP | Errno::INVAL | Errno::NOTTY)) =>
        {
            Ok(rustix::fs::fsync(file)?)
        }
        other => other,
    }
}

/// The administrator's policy.
pub(crate) fn policy_file() -> PathBuf {
    names::POLICY.into()
}

/// Vendor profiles that installers put down.
pub(crate) fn shipped_profiles() -> PathBuf {
    names::SHIPPED.into()
}

/// The log of a user's daemon.
pub(crate) fn user_log_folder() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.home_dir().join(names::USER).join(layout::LOG))
}

/// The system daemon's log.
pub(crate) fn system_log() -> Option<PathBuf> {
    Some(PathBuf::from(names::MACHINE).join(layout::LOG).join(layout::LOG_FILE))
}
