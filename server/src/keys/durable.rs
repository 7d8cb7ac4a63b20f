//! Files that a power cut leaves either old or new, never torn: written beside their place, synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::platform;

/// Readable by everyone: what is public anyway.
pub const PUBLIC: u32 = 0o644;
/// Readable by the owner alone: keys, and what names people.
pub const PRIVATE: u32 = 0o600;

/// Replaces `path` with a file of `bytes`, durably.
///
/// # Errors
/// Those of the file system; `path` is then what it was before.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = temporary(path)?;
    write_temporary(&beside, bytes, mode)
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_parent(path))
        .inspect_err(|_| discard(&beside))
}

/// Creates `path` with `bytes`, durably, and never over an existing file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or those of the file system.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = temporary(path)?;
    write_temporary(&beside, bytes, mode).inspect_err(|_| discard(&beside))?;
    publish_new(&beside, path)
}

/// Moves a complete and synced temporary file to `path`, never over an existing file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or those of the file system.
pub fn publish_new(temporary: &Path, path: &Path) -> io::Result<()> {
    name_new(temporary, path).inspect_err(|_| discard(temporary))
}

/// The same; a temporary file that could not be moved stays where it is.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or those of the file system.
pub fn name_new(temporary: &Path, path: &Path) -> io::Result<()> {
    // A hard link refuses an existing name in one step, which a rename does not.
    match fs::hard_link(temporary, path) {
        Ok(()) => discard(temporary),
        Err(e) if has_no_links(&e) => rename_new(temporary, path)?,
        Err(e) => return Err(e),
    }
    sync_parent(path)
}

/// Whether a file system knows no hard links: the FAT of a memory stick, some network shares.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported)
}

/// Without hard links: the name is taken first, by an empty file that must be new, and then replaced.
fn rename_new(temporary: &Path, path: &Path) -> io::Result<()> {
    drop(OpenOptions::new().write(true).create_new(true).open(path)?);
    fs::rename(temporary, path).inspect_err(|_| discard(path))
}

/// Opens a new file for writing, with its permissions from the first moment.
///
/// # Errors
/// Those of the file system.
pub fn open_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let file = platform::with_mode(&mut options, mode).open(path)?;
    platform::restrict(&file, mode)?;
    Ok(file)
}

/// Makes `path` a folder for its owner alone, with its parents; leaves an existing folder as it is.
///
/// # Errors
/// Those of the file system.
pub fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    platform::make_private_dir(path)?;
    sync_parent(path)
}

/// Overwrites a file with zeros before removing it, so that its old content is not found in free blocks. File systems
/// that never write in place keep it all the same; docs say so.
///
/// # Errors
/// Those of the file system; a missing file is none.
pub fn shred(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let mut left = file.metadata()?.len();
    let zeros = [0u8; 16 * 1024];
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    platform::sync_file(&file)?;
    match fs::remove_file(path) {
        // Another process was told to do the same, and was faster.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    sync_parent(path)
}

/// Makes the names in the folder of `path` durable.
///
/// # Errors
/// Those of the file system.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(parent(path))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Those of the file system.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    platform::sync_dir(path)
}

/// The folder of `path`; `.` for a bare name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden name beside `path` that no other process uses.
///
/// # Errors
/// When `path` has no file name.
pub fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn write_temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Left by an earlier process with this very id, which is gone.
    discard(path);
    let mut file = open_new(path, mode)?;
    file.write_all(bytes)?;
    platform::sync_file(&file)
}

fn discard(path: &Path) {
    // Best effort: what stays behind is a hidden file that nothing reads.
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_creating_and_shredding() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, b"one", PRIVATE).unwrap();
        assert_eq!(create(&path, b"two", PRIVATE).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"three", PUBLIC).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert!(platform::has_mode(&path, 0o644));
        let other_name = dir.path().join("b");
        fs::hard_link(&path, &other_name).unwrap();
        shred(&path).unwrap();
        shred(&path).unwrap();
        assert_eq!(fs::read(&other_name).unwrap(), [0; 5], "the content itself is gone");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary files stay");
    }

    #[test]
    fn where_there_are_no_hard_links_nothing_is_replaced_either() {
        let dir = tempfile::tempdir().unwrap();
        let (temporary, path) = (dir.path().join("t"), dir.path().join("a"));
        fs::write(&temporary, "one").unwrap();
        rename_new(&temporary, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::write(&temporary, "two").unwrap();
        assert_eq!(rename_new(&temporary, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&path).unwrap(), fs::read(&temporary).unwrap()), (b"one".into(), b"two".into()));
        fs::remove_file(&temporary).unwrap();
        assert!(rename_new(&temporary, &dir.path().join("b")).is_err());
        assert!(!dir.path().join("b").exists(), "no empty file stays under the name");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        assert!(write(&path, b"one", PUBLIC).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(path.join("inside").exists());
    }
}
