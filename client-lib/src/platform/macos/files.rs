//! Reading files that anyone may have put there: nothing here waits on a pipe, follows a link or reads without end.
#![expect(unsafe_code, reason = "the table of mounts has no safe wrapper that does not ask the file systems")]

use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::{EntryKind, Locality, ReadError};

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// `O_NONBLOCK`: opening a pipe must not wait for a writer. `O_NOFOLLOW`: a link is never one of ours.
const FLAGS: libc::c_int = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;

fn explain(error: &io::Error) -> ReadError {
    match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENXIO | libc::EOPNOTSUPP | libc::EISDIR) => ReadError::NotAFile,
        Some(libc::ENOENT) => ReadError::Missing,
        _ => ReadError::Unreachable(error.kind()),
    }
}

fn open(path: &Path) -> Result<(File, FileIdentity), ReadError> {
    let file = OpenOptions::new().read(true).custom_flags(FLAGS).open(path).map_err(|e| explain(&e))?;
    let found = file.metadata().map_err(|e| explain(&e))?;
    if !found.is_file() {
        return Err(ReadError::NotAFile);
    }
    let identity = FileIdentity {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
    };
    Ok((file, identity))
}

fn read_open(file: File, max: usize) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::with_capacity(2048.min(max + 1));
    file.take(max as u64 + 1).read_to_end(&mut content).map_err(|e| explain(&e))?;
    if content.len() > max { Err(ReadError::TooLarge) } else { Ok(content) }
}

/// All of a file that is at most `max` bytes long.
pub(crate) fn read(path: &Path, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
    if kind == EntryKind::Other {
        return Err(ReadError::NotAFile);
    }
    read_open(open(path)?.0, max)
}

/// All of a file that is at most `max` bytes long and not `known` already, and what tells its state; `None` in place of
/// the bytes where it is.
pub(crate) fn read_with_identity(
    path: &Path,
    max: usize,
    known: Option<FileIdentity>,
) -> Result<(Option<Vec<u8>>, FileIdentity), ReadError> {
    let (file, identity) = open(path)?;
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
        let found = std::fs::symlink_metadata(path).map_err(|e| explain(&e))?;
        if !found.is_dir() {
            return Err(ReadError::Unreachable(io::ErrorKind::NotADirectory));
        }
        Ok(Self(path.to_owned()))
    }

    /// Shows every name in the folder to `visit`.
    pub(crate) fn list(&self, mut visit: impl FnMut(&str, EntryKind)) -> Result<(), ReadError> {
        for entry in std::fs::read_dir(&self.0).map_err(|e| explain(&e))?.take(MAX_ENTRIES) {
            let entry = entry.map_err(|e| explain(&e))?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => EntryKind::File,
                Ok(_) => EntryKind::Other,
                Err(_) => EntryKind::Untold,
            };
            if let Some(name) = entry.file_name().to_str() {
                visit(name, kind);
            }
        }
        Ok(())
    }

    /// All of a file in the folder, as [`read`].
    pub(crate) fn read(&self, name: &str, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
        read(&self.0.join(name), kind, max)
    }
}

/// Most file systems that are looked through.
const MAX_MOUNTS: usize = 256;

/// Whether reading below `path` may hang, by what the kernel has noted about the file system that the longest mount
/// point above it names; no file system is asked. Links on the way are not followed: the fixed places have none.
pub(crate) fn locality(path: &Path) -> Locality {
    let mut table: Vec<libc::statfs> = Vec::with_capacity(MAX_MOUNTS);
    let bytes = libc::c_int::try_from(MAX_MOUNTS * size_of::<libc::statfs>()).unwrap_or(0);
    // SAFETY: the buffer has room for as many bytes as is said; the kernel says how many entries it has filled.
    unsafe {
        let count = libc::getfsstat(table.as_mut_ptr(), bytes, libc::MNT_NOWAIT);
        let Ok(count) = usize::try_from(count) else { return Locality::MayHang };
        table.set_len(count.min(MAX_MOUNTS));
    }
    let mut best: Option<(usize, Locality)> = None;
    for mount in &table {
        // SAFETY: the kernel ends the name with NUL inside its field.
        let point = unsafe { CStr::from_ptr(mount.f_mntonname.as_ptr()) };
        let point = Path::new(OsStr::from_bytes(point.to_bytes()));
        let length = point.as_os_str().len();
        if path.starts_with(point) && best.is_none_or(|(longest, _)| length >= longest) {
            let local = mount.f_flags & libc::MNT_LOCAL.cast_unsigned() != 0;
            best = Some((length, if local { Locality::Local } else { Locality::MayHang }));
        }
    }
    best.map_or(Locality::MayHang, |(_, locality)| locality)
}
