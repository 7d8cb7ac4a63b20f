//! What Linux and macOS do alike: the terminal, exec and the end of a log.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

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

/// Terminals here know colours.
pub(crate) fn prepare_console() {}

/// Becomes the daemon: in this terminal, or in a session of its own. Returns only when that fails.
pub(crate) fn become_daemon(command: &mut Command, arguments: &[OsString], detach: bool) -> io::Error {
    if detach {
        // Fails only for the leader of a process group, which a spawned child is not.
        let _ = rustix::process::setsid();
    }
    command.args(arguments).exec()
}

/// Shows the end of a log and what is added to it. Returns only when that fails.
pub(crate) fn follow(log: &Path, lines: &str) -> io::Error {
    Command::new("tail").args(["-n", lines, "-F"]).arg(log).exec()
}
