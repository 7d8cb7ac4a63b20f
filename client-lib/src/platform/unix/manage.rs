//! What a program that manages the daemon asks of Linux and macOS alike: file modes, sessions and signals. Unsafe: a step
//! between fork and exec.
#![expect(unsafe_code, reason = "leaving the session needs a step between fork and exec")]

use std::fs::{Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::StoreRights;

/// What to do about a store that others can write.
pub(crate) const PRIVATE_ADVICE: &str = "Take that right away: chmod go-w on the folder.";
/// What to do about a policy that is not the administrator's alone, or not readable.
pub(crate) const POLICY_ADVICE: &str = "An administrator mends it: chown root, chmod 644, its folder 755.";

/// Has a new file made for its owner alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Whether this user can write into a folder.
///
/// # Errors
/// Why not.
pub(crate) fn can_write(folder: &Path) -> io::Result<()> {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(io::Error::from)
}

/// Whether this is a program that can be started.
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Rights on a folder of activations.
pub(crate) fn store_rights(path: &Path, found: &Metadata) -> StoreRights {
    let own = rustix::process::geteuid().as_raw();
    StoreRights {
        locked_out: found.uid() == own && can_write(path).is_err(),
        open_to_others: found.mode() & 0o022 != 0,
    }
}

/// Whether only the administrator can have written this policy.
pub(crate) fn policy_is_safe(found: &Metadata) -> bool {
    found.is_file() && found.uid() == 0 && found.mode() & 0o022 == 0
}

/// The command that starts the daemon in a session of its own, holding nothing of ours.
pub(crate) fn detached(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only calls that are safe in signal handlers may be made; setsid is one, and nothing
    // else happens here: no allocation, no lock.
    unsafe {
        command.pre_exec(|| {
            // Fails only for the leader of a process group, which a child is not.
            let _ = rustix::process::setsid();
            Ok(())
        });
    }
    command
}

/// Asks a process to end, and waits until it has; false when `patience` passes first.
///
/// # Errors
/// When it cannot be asked.
pub(crate) fn end_process(pid: u32, patience: Duration) -> io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    let deadline = Instant::now() + patience;
    while rustix::process::test_kill_process(pid).is_ok() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(true)
}
