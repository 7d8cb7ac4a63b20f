//! Files and folders on Windows: who may see them, replacing one in one step, what makes a change durable, and the lock.
#![expect(unsafe_code, reason = "a folder with its rights from the first moment has no safe wrapper")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_NOT_SUPPORTED,
    ERROR_SHARING_VIOLATION, GENERIC_READ, GENERIC_WRITE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE,
};
use windows_sys::Win32::System::Threading::Sleep;

use super::super::{LockError, Visibility};
use super::identity::{self, Known};
use super::places::wine_root;
use super::security::Descriptor;

fn code(error: &io::Error) -> u32 {
    error.raw_os_error().map_or(0, i32::cast_unsigned)
}

/// Makes a folder. What is private is its user's and the system's alone. What is public inherits the rights of a user's
/// own folder; below `%ProgramData%`, where anyone may write, it gets rights of its own: all may read, none may plant.
pub(in super::super) fn create_dir(path: &Path, visibility: Visibility) -> io::Result<()> {
    // Under Wine, Unix modes decide.
    let shared = || identity::known_folder(Known::ProgramData).is_some_and(|data| path.starts_with(data));
    if wine_root().is_some() || (visibility == Visibility::Public && !shared()) {
        return fs::create_dir(path);
    }
    let own = identity::own_sid().ok_or(io::ErrorKind::PermissionDenied)?;
    let everyone = if visibility == Visibility::Public { "(A;OICI;0x1200a9;;;BU)" } else { "" };
    let sddl = format!("D:P(A;OICI;FA;;;{own})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA){everyone}");
    let descriptor = Descriptor::read(&sddl)?;
    let attributes = descriptor.attributes();
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the name ends with NUL; the attributes and what they point to outlive the call.
    if unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What tells one state of a file from the next: which one it is says the moment when it was made.
pub(in super::super) fn stamp(about: &fs::Metadata) -> super::super::files::Stamp {
    /// Hundreds of nanoseconds from 1601 to 1970.
    const TO_1970: u64 = 116_444_736_000_000_000;
    let changed = about.last_write_time().saturating_sub(TO_1970).saturating_mul(100);
    [about.creation_time(), u64::from(about.file_attributes()), about.file_size(), changed]
}

/// Opens a file for writing from its beginning; its rights are those that its folder hands on.
pub(in super::super) fn create_file(path: &Path, _visibility: Visibility) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_DELETE)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// Puts a complete and synced file in the place of another, in one step: by the kind of rename that readers with the old
/// file open do not hinder. Virus scanners and indexers open new files for a moment without that; they are waited for.
pub(in super::super) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let mut pause = 1;
    loop {
        match fs::rename(from, to) {
            Err(error)
                if pause <= 64 && matches!(code(&error), ERROR_SHARING_VIOLATION | ERROR_ACCESS_DENIED) =>
            {
                // SAFETY: a number of milliseconds.
                unsafe { Sleep(pause) };
                pause *= 2;
            }
            other => return other,
        }
    }
}

/// Makes what was written to a file durable.
///
/// # Errors
/// What the system says.
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Makes the names in a folder durable, where the file system offers that: NTFS writes its journal out. FAT and Wine do
/// not, and there is nothing else to be had.
pub(in super::super) fn sync_dir(folder: &Path) -> io::Result<()> {
    let flushed = OpenOptions::new()
        .access_mode(GENERIC_READ | GENERIC_WRITE)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(folder)
        .and_then(|folder| folder.sync_all());
    match flushed {
        Err(error)
            if matches!(
                code(&error),
                ERROR_ACCESS_DENIED | ERROR_INVALID_FUNCTION | ERROR_INVALID_HANDLE | ERROR_NOT_SUPPORTED
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Keeps a second daemon away from the same state. A file beside the folder: one inside would keep the folder from being
/// moved aside. It holds no bytes, so a full disk seldom prevents it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks a folder until the value is dropped or the process ends.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let mut path = folder.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let io = |source| LockError::Io { path: path.clone(), source };
        // Anyone may open it, because a virus scanner or a backup that reads it is no other daemon; nobody may remove it.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// The same for a folder that has taken the place of the one that was locked.
    ///
    /// # Errors
    /// None: the file beside it is the same.
    pub fn renew(self, _folder: &Path) -> Result<Self, LockError> {
        Ok(self)
    }
}
