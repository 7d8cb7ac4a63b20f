//! What a program that manages the daemon asks of Windows: folders, events and processes. Unsafe: calls without a wrapper.
#![expect(unsafe_code, reason = "events, processes and the rights of handles have no safe wrapper")]

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use claviger_protocol::layout::{self, windows as names};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS, EVENT_MODIFY_STATE, OpenEventW, OpenProcess,
    PROCESS_SYNCHRONIZE, SetEvent, WaitForSingleObject,
};

use super::super::{Places, StoreRights};
use super::registry::wide;

/// How an administrator starts the system's daemon.
pub(crate) const START_SYSTEM_DAEMON: &str = "sc start clavigerd";
/// What to do about a computer without a machine id.
pub(crate) const MACHINE_ID_ADVICE: &str = "Windows makes one when it is installed \
    (HKLM\\SOFTWARE\\Microsoft\\Cryptography, MachineGuid); an image that has lost it has to be prepared anew.";
/// What to do about a store that others can write.
pub(crate) const PRIVATE_ADVICE: &str = "Let an administrator take that right away: icacls FOLDER /reset.";
/// What to do about a policy that is not the administrator's alone, or not readable.
pub(crate) const POLICY_ADVICE: &str = "An administrator puts the policy down anew, in a folder of his own.";

/// A new file has the rights of its folder: a user's own folders are that user's alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Whether this user can write into a folder: tried, because rights here are too rich to be read.
///
/// # Errors
/// Why not.
pub(crate) fn can_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    drop(OpenOptions::new().write(true).create_new(true).open(&probe)?);
    std::fs::remove_file(probe)
}

/// Whether this is a program that can be started.
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// Rights on a folder of activations: the user's own must be his to write; the machine's has rights that the daemon sets.
pub(crate) fn store_rights(path: &Path, _found: &Metadata) -> StoreRights {
    let users = Places::of_process()
        .stores
        .iter()
        .any(|store| store.path == path && store.scope == crate::Scope::User);
    StoreRights { locked_out: users && can_write(path).is_err(), open_to_others: false }
}

/// Whether only the administrator can have written this policy: the daemon looks at who owns its folder.
pub(crate) fn policy_is_safe(found: &Metadata) -> bool {
    found.is_file()
}

/// The machine's folder: above the first store's.
fn machine_folder() -> PathBuf {
    let store = Places::of_process().stores.into_iter().find(|s| s.scope == crate::Scope::Machine);
    store.and_then(|s| Some(s.path.parent()?.to_owned())).unwrap_or_default()
}

/// Makes what was written to a file durable.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// The administrator's policy.
pub(crate) fn policy_file() -> PathBuf {
    machine_folder().join(names::POLICY)
}

/// Vendor profiles that installers put down.
pub(crate) fn shipped_profiles() -> PathBuf {
    machine_folder().join(names::SHIPPED)
}

/// The log of a user's daemon.
pub(crate) fn user_log_folder() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.data_local_dir().join(names::USER).join(layout::LOG))
}

/// The system daemon's log.
pub(crate) fn system_log() -> Option<PathBuf> {
    Some(machine_folder().join(layout::LOG).join(layout::LOG_FILE))
}

/// The command that starts the daemon without a console, holding nothing of ours.
pub(crate) fn detached(program: &Path) -> Command {
    for which in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // What may be inherited is inherited by every child, named or not: a pipe that the daemon holds never ends.
        // SAFETY: handles of this process; where one is none, nothing is changed.
        unsafe { SetHandleInformation(GetStdHandle(which), HANDLE_FLAG_INHERIT, 0) };
    }
    let mut command = Command::new(program);
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Asks a daemon's process to end, by the event that it listens to, and waits until it has; false when `patience` passes
/// first.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn end_process(pid: u32, patience: Duration) -> io::Result<bool> {
    let name = wide(&names::stop_event(pid));
    // SAFETY: the name ends with NUL; both handles are ours where they are ones, and closed when dropped.
    unsafe {
        let process = OpenProcess(PROCESS_SYNCHRONIZE, 0, pid);
        if process.is_null() {
            return Err(io::Error::last_os_error());
        }
        let process = OwnedHandle::from_raw_handle(process);
        let event = OpenEventW(EVENT_MODIFY_STATE, 0, name.as_ptr());
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        let event = OwnedHandle::from_raw_handle(event);
        if SetEvent(event.as_raw_handle()) == 0 {
            return Err(io::Error::last_os_error());
        }
        let wait = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX - 1);
        Ok(WaitForSingleObject(process.as_raw_handle(), wait) == WAIT_OBJECT_0)
    }
}
