//! Windows: the console, events and processes, and the registry's Run key, which starts the daemon at login.
#![expect(unsafe_code, reason = "the console, events and the registry have no safe wrapper")]

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use claviger_client::platform::Places;
use claviger_protocol::layout::{self, windows as names};
use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0};
use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT, ENABLE_PROCESSED_INPUT,
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE,
    STD_OUTPUT_HANDLE, SetConsoleMode,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS, EVENT_MODIFY_STATE, OpenEventW, OpenProcess,
    PROCESS_SYNCHRONIZE, SetEvent, WaitForSingleObject,
};

use super::StoreRights;

/// How an administrator starts the system's daemon.
pub(crate) const START_SYSTEM_DAEMON: &str = "sc start clavigerd";
/// What to do about a computer without a machine id.
pub(crate) const MACHINE_ID_ADVICE: &str = "Windows makes one when it is installed \
    (HKLM\\SOFTWARE\\Microsoft\\Cryptography, MachineGuid); an image that has lost it has to be prepared anew.";
/// What to do about a store that others can write.
pub(crate) const PRIVATE_ADVICE: &str = "Let an administrator take that right away: icacls FOLDER /reset.";
/// What to do about a policy that is not the administrator's alone, or not readable.
pub(crate) const POLICY_ADVICE: &str = "An administrator puts the policy down anew, in a folder of his own.";

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

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

/// A new file has the rights of its folder: a user's own folders are that user's alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
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
        .any(|store| store.path == path && store.scope == claviger_client::Scope::User);
    StoreRights { locked_out: users && can_write(path).is_err(), open_to_others: false }
}

/// Whether only the administrator can have written this policy: the daemon looks at who owns its folder.
pub(crate) fn policy_is_safe(found: &Metadata) -> bool {
    found.is_file()
}

/// The machine's folder: above the first store's.
fn machine_folder() -> PathBuf {
    let store = Places::of_process().stores.into_iter().find(|s| s.scope == claviger_client::Scope::Machine);
    store.and_then(|s| Some(s.path.parent()?.to_owned())).unwrap_or_default()
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
///
/// # Errors
/// None.
#[expect(clippy::unnecessary_wraps, reason = "other systems may not find themselves")]
pub(crate) fn detached(program: &Path) -> io::Result<Command> {
    for which in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // What may be inherited is inherited by every child, named or not: a pipe that the daemon holds never ends.
        // SAFETY: handles of this process; where one is none, nothing is changed.
        unsafe { SetHandleInformation(GetStdHandle(which), HANDLE_FLAG_INHERIT, 0) };
    }
    let mut command = Command::new(program);
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

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

/// Shows the end of a log and what is added to it. Returns only when that fails.
pub(crate) fn follow(log: &Path, lines: &str) -> io::Error {
    let run = || -> io::Result<()> {
        let count = lines.parse().unwrap_or(50);
        let mut out = io::stdout();
        for line in crate::logs::last_lines(log, count)? {
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

/// Starting at login: a value of the registry's Run key.
pub(crate) mod login {
    use std::io;
    use std::path::Path;

    use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
    use windows_sys::Win32::System::Registry::{
        HKEY_CURRENT_USER, REG_SZ, RRF_RT_REG_SZ, RegDeleteKeyValueW, RegGetValueW, RegSetKeyValueW,
    };

    use super::super::Installed;
    use super::{names, wide};

    const KEY: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";

    /// Every user has a Run key.
    pub(crate) fn available() -> bool {
        true
    }

    /// Why there is nothing to install the daemon into, where there is not.
    pub(crate) const UNAVAILABLE: &str = "the registry has no Run key";

    /// Whether the daemon is started at login.
    pub(crate) fn installed() -> bool {
        let (key, name) = (wide(KEY), wide(names::RUN_VALUE));
        let none: *mut std::ffi::c_void = std::ptr::null_mut();
        // SAFETY: both names end with NUL; nothing is written.
        let found = unsafe {
            RegGetValueW(
                HKEY_CURRENT_USER,
                key.as_ptr(),
                name.as_ptr(),
                RRF_RT_REG_SZ,
                none.cast(),
                none.cast(),
                none.cast(),
            )
        };
        found == ERROR_SUCCESS
    }

    /// Nobody starts it before the next login; whoever needs it does.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn start() -> Result<String, String> {
        Err("the Run key starts programs at login only".to_owned())
    }

    /// Has `program` started at every login, and now, once the daemon that runs already has ended.
    ///
    /// # Errors
    /// What failed.
    pub(crate) fn install<E: From<String>>(
        program: &Path,
        end_running: impl FnOnce() -> Result<(), E>,
    ) -> Result<Installed, E> {
        // Through `claviger`, which starts it without a console.
        let ours = std::env::current_exe().map_err(|e| format!("this program cannot find itself: {e}"))?;
        let command = wide(&format!("\"{}\" daemon run --detach \"{}\"", ours.display(), program.display()));
        let (key, name) = (wide(KEY), wide(names::RUN_VALUE));
        let length = u32::try_from(command.len() * 2).unwrap_or(0);
        // SAFETY: all three texts end with NUL, and the last has as many bytes as is said.
        let failed = unsafe {
            RegSetKeyValueW(
                HKEY_CURRENT_USER,
                key.as_ptr(),
                name.as_ptr(),
                REG_SZ,
                command.as_ptr().cast(),
                length,
            )
        };
        if failed != ERROR_SUCCESS {
            let error = io::Error::from_raw_os_error(failed.cast_signed());
            return Err(format!("the registry's Run key cannot be written: {error}").into());
        }
        end_running()?;
        let started = super::detached(program).and_then(|mut command| command.spawn());
        started.map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
        Ok(Installed { name: format!(r"HKCU\{KEY}\{}", names::RUN_VALUE), file: None, by: "Windows" })
    }

    /// Takes it out again; the name of who did it, if there was something.
    ///
    /// # Errors
    /// What failed.
    pub(crate) fn uninstall() -> Result<Option<&'static str>, String> {
        let (key, name) = (wide(KEY), wide(names::RUN_VALUE));
        // SAFETY: both names end with NUL.
        match unsafe { RegDeleteKeyValueW(HKEY_CURRENT_USER, key.as_ptr(), name.as_ptr()) } {
            ERROR_SUCCESS => Ok(Some("Windows")),
            ERROR_FILE_NOT_FOUND => Ok(None),
            failed => {
                let error = io::Error::from_raw_os_error(failed.cast_signed());
                Err(format!("the registry's Run key cannot be written: {error}"))
            }
        }
    }

    /// The last lines of the log that the service manager keeps; `None` where the daemon keeps it itself.
    pub(crate) fn log(_system: bool, _lines: &str) -> Option<io::Result<Vec<String>>> {
        None
    }

    /// Shows that log on the terminal. Returns when that fails, or at once where the daemon keeps it itself.
    pub(crate) fn show_log(_system: bool, _lines: &str, _follow: bool) -> Option<io::Error> {
        None
    }
}
