//! Starting this user's daemon at login: a value of the registry's Run key. Unsafe: calls that read and write the registry.
#![expect(unsafe_code, reason = "the registry has no safe wrapper among our dependencies")]

use std::io;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY_CURRENT_USER, REG_SZ, RRF_RT_REG_SZ, RegDeleteKeyValueW, RegGetValueW, RegSetKeyValueW,
};

use super::super::Installed;
use super::manage;
use super::registry::wide;
use claviger_protocol::layout::windows as names;

const KEY: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";
/// Longest command there: Windows passes longer ones over without a word.
const MAX_COMMAND: usize = 260;

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
    let ours = command(program)?;
    let command = wide(&format!("\"{}\" daemon run --detach \"{}\"", ours.display(), program.display()));
    if command.len() > MAX_COMMAND {
        let why = "the programs lie too deep: Windows starts nothing at login whose command has more than 260 characters. \
                   Install Claviger in a folder with a shorter path";
        return Err(why.to_owned().into());
    }
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
    let started = manage::detached(program).spawn();
    started.map_err(|e| format!("{} cannot be started: {e}", program.display()))?;
    Ok(Installed { name: format!(r"HKCU\{KEY}\{}", names::RUN_VALUE), file: None, by: "Windows" })
}

/// The command `claviger`: this program, or the one beside it or beside the daemon.
fn command(program: &Path) -> Result<PathBuf, String> {
    const NAME: &str = "claviger.exe";
    let this = std::env::current_exe().map_err(|e| format!("this program cannot find itself: {e}"))?;
    let beside = [&this, program].map(|neighbour| neighbour.with_file_name(NAME));
    beside.into_iter().find(|found| manage::is_program(found)).ok_or_else(|| {
        format!(
            "{NAME}, which starts the daemon at login, lies neither beside {} nor beside it",
            program.display()
        )
    })
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
