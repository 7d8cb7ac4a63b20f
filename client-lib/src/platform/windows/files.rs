//! Reading files that anyone may have put there: nothing here follows a link or reads without end. Windows has no pipes
//! or devices in folders, as long as their names are taken literally.
#![expect(unsafe_code, reason = "what tells one file from another has no stable safe name")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::{Component, Path, PathBuf, Prefix};

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DEVICE, FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, GetDriveTypeW,
    GetFileInformationByHandle, SECURITY_IDENTIFICATION,
};
use windows_sys::Win32::System::WindowsProgramming::{DRIVE_FIXED, DRIVE_RAMDISK};

use super::super::{EntryKind, Locality, ReadError};

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    volume: u32,
    index: (u32, u32),
    size: (u32, u32),
    modified: (u32, u32),
}

fn explain(error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        // What a folder or a name that no file can have answers with.
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidFilename => ReadError::NotAFile,
        kind => ReadError::Unreachable(kind),
    }
}

/// Opens what stands there itself, be it a link or a folder, and refuses all but files.
fn open(path: &Path) -> Result<File, ReadError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS)
        .security_qos_flags(SECURITY_IDENTIFICATION)
        .open(path)
        .map_err(|error| explain(&error))?;
    let attributes = file.metadata().map_err(|error| explain(&error))?.file_attributes();
    let other = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DEVICE;
    if attributes & other == 0 { Ok(file) } else { Err(ReadError::NotAFile) }
}

fn identity(file: &File) -> Result<FileIdentity, ReadError> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open while `file` is borrowed, and `found` is a place for the answer.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) } == 0 {
        return Err(explain(&io::Error::last_os_error()));
    }
    Ok(FileIdentity {
        volume: found.dwVolumeSerialNumber,
        index: (found.nFileIndexHigh, found.nFileIndexLow),
        size: (found.nFileSizeHigh, found.nFileSizeLow),
        modified: (found.ftLastWriteTime.dwHighDateTime, found.ftLastWriteTime.dwLowDateTime),
    })
}

fn read_open(file: File, max: usize) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::with_capacity(2048.min(max + 1));
    file.take(max as u64 + 1).read_to_end(&mut content).map_err(|error| explain(&error))?;
    if content.len() > max { Err(ReadError::TooLarge) } else { Ok(content) }
}

/// All of a file that is at most `max` bytes long.
pub(crate) fn read(path: &Path, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
    if kind == EntryKind::Other {
        return Err(ReadError::NotAFile);
    }
    read_open(open(path)?, max)
}

/// All of a file that is at most `max` bytes long and not `known` already, and what tells its state; `None` in place of
/// the bytes where it is.
pub(crate) fn read_with_identity(
    path: &Path,
    max: usize,
    known: Option<FileIdentity>,
) -> Result<(Option<Vec<u8>>, FileIdentity), ReadError> {
    let file = open(path)?;
    let identity = identity(&file)?;
    if known == Some(identity) {
        return Ok((None, identity));
    }
    Ok((Some(read_open(file, max)?), identity))
}

/// Most names of a folder that are looked at.
const MAX_ENTRIES: usize = 20_000;

/// A folder.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Looks for a folder; a link in its place is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let found = std::fs::symlink_metadata(path).map_err(|error| explain(&error))?;
        let attributes = found.file_attributes();
        if attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 || attributes & FILE_ATTRIBUTE_DIRECTORY == 0 {
            return Err(ReadError::Unreachable(io::ErrorKind::NotADirectory));
        }
        Ok(Self(path.to_owned()))
    }

    /// Shows every name in the folder to `visit`.
    pub(crate) fn list(&self, mut visit: impl FnMut(&str, EntryKind)) -> Result<(), ReadError> {
        for entry in std::fs::read_dir(&self.0).map_err(|error| explain(&error))?.take(MAX_ENTRIES) {
            let entry = entry.map_err(|error| explain(&error))?;
            // Told by the listing itself: no file is opened.
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => EntryKind::File,
                Ok(_) => EntryKind::Other,
                Err(_) => EntryKind::Untold,
            };
            if let Ok(name) = entry.file_name().into_string() {
                visit(&name, kind);
            }
        }
        Ok(())
    }

    /// All of a file in the folder, as [`read`].
    pub(crate) fn read(&self, name: &str, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
        read(&self.0.join(name), kind, max)
    }
}

/// Whether reading below `path` may hang: everything but fixed disks, and where that cannot be told.
///
/// The files of a Linux computer under Wine are taken for local. Wine's one server opens them for every program of a
/// prefix: where that hangs, the host hangs with or without us, and a thread of ours would not help.
pub(crate) fn locality(path: &Path) -> Locality {
    let Some(Component::Prefix(prefix)) = path.components().next() else { return Locality::MayHang };
    if matches!(prefix.kind(), Prefix::Verbatim(name) if name == "unix") {
        return Locality::Local;
    }
    let (Prefix::Disk(letter) | Prefix::VerbatimDisk(letter)) = prefix.kind() else {
        return Locality::MayHang;
    };
    let root = format!(r"{}:\", char::from(letter));
    let root: Vec<u16> = std::ffi::OsStr::new(&root).encode_wide().chain([0]).collect();
    // SAFETY: the text ends with NUL. The call asks the table of drives, not the disk.
    let kind = unsafe { GetDriveTypeW(root.as_ptr()) };
    if kind == DRIVE_FIXED || kind == DRIVE_RAMDISK { Locality::Local } else { Locality::MayHang }
}
