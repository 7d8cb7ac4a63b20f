//! What Linux and macOS do alike: the terminal, file modes, exec and signals.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use super::StoreRights;

/// What to do about a store that others can write.
pub(crate) const PRIVATE_ADVICE: &str = "Take that right away: chmod go-w on the folder.";
/// What to do about a policy that is not the administrator's alone, or not readable.
pub(crate) const POLICY_ADVICE: &str = "An administrator mends it: chown root, chmod 644, its folder 755.";

/// The terminal while it shows nothing of what is typed. Restores itself whatever happens.
pub(crate) struct Terminal {
    terminal: File,
    before: Termios,
}

impl Terminal {
    /// Takes the terminal that this program was started on.
    ///
    /// # Errors
    /// `None` as the inner value where there is no terminal; what it says otherwise.
    pub(crate) fn open() -> Result<Self, Option<io::Error>> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|_| None)?;
        let before = termios::tcgetattr(&terminal).map_err(|e| Some(e.into()))?;
        let mut quiet = before.clone();
        // Signals are off as well: Ctrl-C is read as a byte, so that nobody is left with a terminal that shows nothing.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        let ours = Self { terminal, before };
        termios::tcsetattr(&ours.terminal, OptionalActions::Flush, &quiet).map_err(|e| Some(e.into()))?;
        Ok(ours)
    }

    /// Shows a text.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.terminal.write_all(text.as_bytes())
    }

    /// One byte; none at the end.
    pub(crate) fn byte(&mut self) -> io::Result<Option<u8>> {
        read_byte(&self.terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// One byte of standard input, not through the standard library's buffer, which nobody wipes; none at the end.
pub(crate) fn stdin_byte() -> io::Result<Option<u8>> {
    read_byte(io::stdin())
}

fn read_byte(input: impl AsFd) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match rustix::io::read(&input, &mut byte) {
            Ok(1) => return Ok(Some(byte[0])),
            Ok(_) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Has a new file made for its owner alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Terminals here know colours.
pub(crate) fn prepare_console() {}

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

/// The command that starts the daemon in a session of its own: through ourselves, because leaving the session needs a
/// step between fork and exec.
///
/// # Errors
/// When this program cannot find itself.
pub(crate) fn detached(program: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["daemon", "run", "--detach"]).arg(program).stdin(Stdio::null());
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// Becomes the daemon: in this terminal, or in a session of its own. Returns only when that fails.
pub(crate) fn become_daemon(command: &mut Command, arguments: &[OsString], detach: bool) -> io::Error {
    if detach {
        // Fails only for the leader of a process group, which a spawned child is not.
        let _ = rustix::process::setsid();
    }
    command.args(arguments).exec()
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

/// Shows the end of a log and what is added to it. Returns only when that fails.
pub(crate) fn follow(log: &Path, lines: &str) -> io::Error {
    Command::new("tail").args(["-n", lines, "-F"]).arg(log).exec()
}
