//! Windows. A server's files are as private as its data folder, whose rights new files inherit.
#![expect(unsafe_code, reason = "a folder with its rights from the first moment has no safe wrapper")]

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use tokio::net::TcpStream;
use tokio::signal::windows;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_NOT_SUPPORTED, GENERIC_READ,
    GENERIC_WRITE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{CreateDirectoryW, FILE_FLAG_BACKUP_SEMANTICS};

use super::Stamp;

/// Modes mean nothing here: a file has the rights of its folder.
pub(crate) fn with_mode(options: &mut OpenOptions, _mode: u32) -> &mut OpenOptions {
    options
}

/// The same for an open file.
#[expect(clippy::unnecessary_wraps, reason = "other systems may refuse")]
pub(crate) fn restrict(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// The same for a file that another library has made.
#[expect(clippy::unnecessary_wraps, reason = "other systems may refuse")]
pub(crate) fn protect(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Makes a folder for its owner, the system and administrators alone; its parents as the system makes them.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    // Literally, so that its length does not matter.
    let path = std::path::absolute(path)?;
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let sddl: Vec<u16> = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)\0".encode_utf16().collect();
    let mut descriptor = std::ptr::null_mut();
    // SAFETY: both texts end with NUL; the descriptor is ours to free, after the call that reads it.
    unsafe {
        let none = std::ptr::null_mut();
        let read = ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            none,
        );
        if read == 0 {
            return Err(io::Error::last_os_error());
        }
        let attributes = SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: descriptor,
            bInheritHandle: 0,
        };
        let made = CreateDirectoryW(name.as_ptr(), &raw const attributes);
        let error = io::Error::last_os_error();
        LocalFree(descriptor);
        if made == 0 && error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
    }
    Ok(())
}

/// Why others may read a file, if they may: rights come from the data folder, which is looked at by its administrator.
#[expect(clippy::unnecessary_wraps, reason = "other systems may refuse")]
pub(crate) fn others_may_read(_path: &Path) -> io::Result<Option<(String, String)>> {
    Ok(None)
}

/// Makes what was written to a file durable.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Makes the names in a folder durable, where the file system offers that: NTFS does, FAT and Wine do not.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    let flushed = OpenOptions::new()
        .access_mode(GENERIC_READ | GENERIC_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
        .and_then(|folder| folder.sync_all());
    match flushed {
        Err(error)
            if matches!(
                error.raw_os_error().map(i32::cast_unsigned),
                Some(
                    ERROR_ACCESS_DENIED | ERROR_INVALID_FUNCTION | ERROR_INVALID_HANDLE | ERROR_NOT_SUPPORTED
                )
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// What tells one state of a file from the next.
pub(crate) fn stamp(about: &Metadata) -> Stamp {
    [about.creation_time(), about.last_write_time(), about.file_size()]
}

/// Nothing here asks a running server to read its certificate again.
pub(crate) struct Hangup(());

impl Hangup {
    /// Says so.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is none.
    #[expect(clippy::unused_async, reason = "other systems wait")]
    pub(crate) async fn heard(&mut self) -> bool {
        false
    }
}

/// Ends when the server is asked to end: Ctrl-C, Ctrl-Break, a console that closes, the computer that is shut down.
///
/// # Errors
/// When the handlers cannot be set.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut broken) = (windows::ctrl_c()?, windows::ctrl_break()?);
    let (mut closed, mut powered_off) = (windows::ctrl_close()?, windows::ctrl_shutdown()?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = broken.recv() => {}
            _ = closed.recv() => {}
            _ = powered_off.recv() => {}
        }
    })
}

/// Windows writes dumps where an administrator has asked for them.
pub(crate) fn forbid_dumps() {}

/// The system's own patience with a peer that reads nothing is all there is here.
pub(crate) fn drop_silent_peers(_stream: &TcpStream) {}

/// Ends this process at once, with exit code 9.
#[cfg(feature = "fault-points")]
pub(crate) fn kill_self() {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
    // SAFETY: the handle means this process.
    unsafe { TerminateProcess(GetCurrentProcess(), 9) };
}

/// Nobody but its owner reads what is locked.
#[cfg(test)]
pub(crate) const LOCKED_FILES_ARE_READABLE: bool = false;

/// Permissions are the folder's.
#[cfg(test)]
pub(crate) fn has_mode(path: &Path, _mode: u32) -> bool {
    path.exists()
}
