//! Windows: the console, and a daemon without one.
#![expect(unsafe_code, reason = "the console has no safe wrapper")]

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _};
use std::os::windows::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT, ENABLE_PROCESSED_INPUT,
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetStdHandle, STD_ERROR_HANDLE, STD_OUTPUT_HANDLE,
    SetConsoleMode,
};
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS};

/// The console while it shows nothing of what is typed. Restores itself whatever happens.
pub(crate) struct Terminal {
    keys: File,
    screen: File,
    before: CONSOLE_MODE,
}

impl Terminal {
    /// Takes the console that this program was started on.
    ///
    /// # Errors
    /// `None` as the inner value where there is no console; what it says otherwise.
    pub(crate) fn open() -> Result<Self, Option<io::Error>> {
        let open = |name| OpenOptions::new().read(true).write(true).open(name).map_err(|_| None);
        let (keys, screen) = (open("CONIN$")?, open("CONOUT$")?);
        let mut before = 0;
        // SAFETY: the console is open, and `before` is a place for a number.
        if unsafe { GetConsoleMode(keys.as_raw_handle(), &raw mut before) } == 0 {
            return Err(None);
        }
        // Ctrl-C is read as a byte, so that nobody is left with a console that shows nothing.
        let quiet = before & !(ENABLE_ECHO_INPUT | ENABLE_LINE_INPUT | ENABLE_PROCESSED_INPUT);
        let ours = Self { keys, screen, before };
        // SAFETY: the console is open.
        if unsafe { SetConsoleMode(ours.keys.as_raw_handle(), quiet) } == 0 {
            return Err(Some(io::Error::last_os_error()));
        }
        Ok(ours)
    }

    /// Shows a text.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.screen.write_all(text.as_bytes())
    }

    /// One byte; none at the end.
    pub(crate) fn byte(&mut self) -> io::Result<Option<u8>> {
        byte_of(&self.keys)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // SAFETY: the console is open.
        unsafe { SetConsoleMode(self.keys.as_raw_handle(), self.before) };
    }
}

fn byte_of(mut input: &File) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(1) => return Ok(Some(byte[0])),
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The writer of the pipe is gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// One byte of standard input, not through the standard library's buffer, which nobody wipes; none at the end.
pub(crate) fn stdin_byte() -> io::Result<Option<u8>> {
    // SAFETY: the handle is the process's own and stays open: what is made of it here is never dropped.
    let input = unsafe { ManuallyDrop::new(File::from_raw_handle(io::stdin().as_raw_handle())) };
    byte_of(&input)
}

/// Lets the console understand colours.
pub(crate) fn prepare_console() {
    for which in [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        let mut mode = 0;
        // SAFETY: handles of this process, which may be no console: then nothing is changed.
        unsafe {
            let stream = GetStdHandle(which);
            if GetConsoleMode(stream, &raw mut mode) != 0 {
                SetConsoleMode(stream, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
            }
        }
    }
}

/// Windows writes no image of a crashed process unless an administrator asks for it.
pub(crate) fn forbid_dumps() {}

/// Runs the daemon in this console and ends with its exit code, or starts it without one and ends. Returns only when it
/// cannot be started.
pub(crate) fn become_daemon(command: &mut Command, arguments: &[OsString], detach: bool) -> io::Error {
    command.args(arguments);
    let ended = if detach {
        command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP).spawn().map(|_| 0)
    } else {
        command.status().map(|status| status.code().unwrap_or(1))
    };
    match ended {
        Ok(code) => std::process::exit(code),
        Err(error) => error,
    }
}

/// Shows the end of a log and what is added to it. Returns only when that fails.
pub(crate) fn follow(log: &Path, lines: &str) -> io::Error {
    let run = || -> io::Result<()> {
        let count = lines.parse().unwrap_or(50);
        let mut out = io::stdout();
        for line in claviger_client::manager::logs::last_lines(log, count)? {
            writeln!(out, "{line}")?;
        }
        let mut at = std::fs::metadata(log)?.len();
        loop {
            let mut file = File::open(log)?;
            let length = file.metadata()?.len();
            // A log that has begun anew is shorter.
            file.seek(io::SeekFrom::Start(if length < at { 0 } else { at }))?;
            let mut more = Vec::new();
            at = file.stream_position()?;
            at += file.take(1024 * 1024).read_to_end(&mut more)? as u64;
            out.write_all(&more)?;
            out.flush()?;
            std::thread::park_timeout(Duration::from_millis(500));
        }
    };
    run().err().unwrap_or_else(|| io::ErrorKind::Other.into())
}
