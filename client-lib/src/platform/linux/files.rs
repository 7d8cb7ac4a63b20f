//! Reading files that anyone may have put there: nothing here waits on a pipe, follows a link or reads without end.

use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::super::{EntryKind, ReadError};

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
}

/// `O_NONBLOCK`: opening a pipe must not wait for a writer. `O_NOFOLLOW`: a link is never one of ours.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

fn explain(error: Errno) -> ReadError {
    match error {
        Errno::NOENT => ReadError::Missing,
        other => ReadError::Unreachable(std::io::Error::from(other).kind()),
    }
}

/// Opens a file, asking only where the folder's listing did not tell whether it is one.
fn open(at: impl AsFd, path: &Path, kind: EntryKind) -> Result<OwnedFd, ReadError> {
    if kind == EntryKind::Other {
        return Err(ReadError::NotAFile);
    }
    match rustix::fs::openat(at, path, FILE, Mode::empty()) {
        Ok(file) => Ok(file),
        // A link at the end of the path, a socket, a device without a driver.
        Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => Err(ReadError::NotAFile),
        Err(error) => Err(explain(error)),
    }
}

fn identity(file: impl AsFd) -> Result<FileIdentity, ReadError> {
    let stat = rustix::fs::fstat(file).map_err(explain)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(ReadError::NotAFile);
    }
    Ok(FileIdentity {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size,
        modified: (stat.st_mtime, stat.st_mtime_nsec),
    })
}

/// All of a file that is at most `max` bytes long.
pub(crate) fn read(path: &Path, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
    read_at(CWD, path, kind, max)
}

fn read_at(at: impl AsFd, path: &Path, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
    let file = open(at, path, kind)?;
    if kind == EntryKind::Untold {
        identity(&file)?;
    }
    read_open(&file, max, Ends::Early)
}

/// All of a table of the kernel's below `/proc` that is at most `max` bytes long.
pub(crate) fn read_table(path: &Path, max: usize) -> Result<Vec<u8>, ReadError> {
    read_open(&open(CWD, path, EntryKind::File)?, max, Ends::AtNothing)
}

/// All of a file that is at most `max` bytes long and not `known` already, and what tells its state; `None` in place of
/// the bytes where it is.
pub(crate) fn read_with_identity(
    path: &Path,
    max: usize,
    known: Option<FileIdentity>,
) -> Result<(Option<Vec<u8>>, FileIdentity), ReadError> {
    let file = open(CWD, path, EntryKind::Untold)?;
    let identity = identity(&file)?;
    if known == Some(identity) {
        return Ok((None, identity));
    }
    Ok((Some(read_open(&file, max, Ends::Early)?), identity))
}

/// All of a file of the system's that is at most `max` bytes long; only an administrator can put it there, and some
/// put a link, which the daemon follows as well.
pub(crate) fn read_system(path: &Path, max: usize) -> Result<Vec<u8>, ReadError> {
    let file = rustix::fs::open(path, FILE.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(explain)?;
    identity(&file)?;
    read_open(&file, max, Ends::Early)
}

/// How the end of a file is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// A regular file gives fewer bytes than it is asked for only at its end: that saves a read.
    Early,
    /// The kernel's tables give about a page at a time, however much they are asked for; nothing more is the end.
    AtNothing,
}

fn read_open(file: &OwnedFd, max: usize, ends: Ends) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::with_capacity(2048.min(max + 1));
    loop {
        let room = content.capacity() - content.len();
        let got = match rustix::io::read(file, rustix::buffer::spare_capacity(&mut content)) {
            Ok(got) => got,
            Err(Errno::INTR) => continue,
            Err(Errno::ISDIR | Errno::AGAIN) => return Err(ReadError::NotAFile),
            Err(error) => return Err(explain(error)),
        };
        if content.len() > max {
            return Err(ReadError::TooLarge);
        }
        if got == 0 || (got < room && ends == Ends::Early) {
            return Ok(content);
        }
        if content.len() == content.capacity() {
            content.reserve(content.capacity().min(max + 1 - content.len()).max(1));
        }
    }
}

/// Most names of a folder that are looked at: reading 10,000 takes about a millisecond.
const MAX_ENTRIES: usize = 20_000;

/// An open folder: its files are found without walking down the whole path again for each.
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// Opens a folder; a link in its place is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::NONBLOCK;
        rustix::fs::open(path, flags, Mode::empty()).map(Self).map_err(explain)
    }

    /// Shows every name in the folder to `visit`.
    pub(crate) fn list(&self, mut visit: impl FnMut(&str, EntryKind)) -> Result<(), ReadError> {
        let mut buffer: Vec<u8> = Vec::with_capacity(2 * 1024);
        let mut entries = RawDir::new(&self.0, buffer.spare_capacity_mut());
        let mut seen = 0;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(explain)?;
            seen += 1;
            if seen > MAX_ENTRIES {
                break;
            }
            let kind = match entry.file_type() {
                FileType::RegularFile => EntryKind::File,
                FileType::Unknown => EntryKind::Untold,
                _ => EntryKind::Other,
            };
            if let Ok(name) = entry.file_name().to_str() {
                visit(name, kind);
            }
        }
        Ok(())
    }

    /// All of a file in the folder, as [`read`].
    pub(crate) fn read(&self, name: &str, kind: EntryKind, max: usize) -> Result<Vec<u8>, ReadError> {
        read_at(&self.0, Path::new(name), kind, max)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// Messages stand for the kernel's pages: each read gives one, however much room there is. Their length divides
    /// the room, so none is cut.
    #[test]
    fn a_table_that_comes_in_pages_is_read_to_its_end() {
        const PAGE: usize = 512;
        const PAGES: usize = 80;
        let read = |max| {
            let (from, to) = UnixDatagram::pair().unwrap();
            let writer = std::thread::spawn(move || {
                for page in 0..PAGES {
                    if to.send(&[u8::try_from(page).unwrap(); PAGE]).is_err() {
                        return;
                    }
                }
                let _ = to.send(&[]);
            });
            let table = read_open(&OwnedFd::from(from), max, Ends::AtNothing);
            writer.join().unwrap();
            table
        };
        let table = read(1024 * 1024).unwrap();
        assert_eq!(table.len(), PAGE * PAGES);
        assert!(
            table.chunks(PAGE).enumerate().all(|(page, bytes)| bytes.iter().all(|b| usize::from(*b) == page))
        );
        assert!(matches!(read(16 * PAGE), Err(ReadError::TooLarge)));
    }

    #[test]
    fn only_files_of_the_system_are_found_through_links() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("id"), "0123").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("id", &link).unwrap();
        assert_eq!(read_system(&link, 256).unwrap(), b"0123");
        assert!(matches!(read(&link, EntryKind::Untold, 256), Err(ReadError::NotAFile)));
        assert!(matches!(read_system(dir.path(), 256), Err(ReadError::NotAFile)));
    }

    #[test]
    fn the_mount_table_is_whole() {
        let table = read_table(Path::new("/proc/self/mountinfo"), 4 * 1024 * 1024).unwrap();
        assert_eq!(table, std::fs::read("/proc/self/mountinfo").unwrap());
    }
}
