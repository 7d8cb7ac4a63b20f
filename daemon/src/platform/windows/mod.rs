//! Windows: Known Folders, `MachineGuid`, DPAPI, named pipes, waitable timers, services and the log of events.
#![expect(unsafe_code, reason = "the few calls on this process itself, each with its SAFETY line")]

mod disk;
mod identity;
mod managed;
mod pipe;
mod places;
mod seal;
mod security;
mod service;
mod wait;

use windows_sys::Win32::System::Threading::{GetCurrentProcess, SetProcessWorkingSetSize, TerminateProcess};

pub use disk::{Lock, sync_file};
pub(super) use disk::{create_dir, create_file, replace, stamp, sync_dir};
pub use managed::{MANAGED, managed_policy, policy_place};
pub use pipe::{Connection, Listener, Peer, group_exists, hung_up};
pub use places::{changed_by_others, os_machine_id, paths};
pub use seal::{seal, unseal};
pub use service::{Notifier, event_log, supervised};
pub use wait::{Alarm, Shutdown};

/// Windows has no limit on open files worth raising.
pub fn raise_file_limit() {}

/// Gives memory that is not used any more back to the system.
pub fn trim_memory() {
    // SAFETY: the handle means this process; the two numbers mean "as little as possible".
    unsafe { SetProcessWorkingSetSize(GetCurrentProcess(), usize::MAX, usize::MAX) };
}

/// This process.
#[must_use]
pub fn process_id() -> u32 {
    std::process::id()
}

/// Whether standard error goes to a log that adds the time itself: not on Windows.
#[must_use]
pub fn boot_log_stream() -> bool {
    false
}

/// Ends this process at once, with exit code 9.
pub fn kill_self() {
    // SAFETY: the handle means this process.
    unsafe { TerminateProcess(GetCurrentProcess(), 9) };
}
