//! Durable files: written to a temporary, synced, renamed over the old one, and the folder synced. Whatever happens,
//! a reader sees the old content or the new one, never half of either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::ipc::CallError;

use super::system;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everyone on this machine: certificates.
    Public,
    /// The daemon's user alone: keys, intents, logs.
    Private,
}

/// A file or folder could not be used.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} {path}")]
pub struct FileError {
    doing: &'static str,
    path: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// What was tried, on what, and what the system said.
    #[must_use]
    pub fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self { doing, path: path.display().to_string(), source }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk_full",
            io::ErrorKind::ReadOnlyFilesystem => "read_only",
            io::ErrorKind::PermissionDenied => "no_access",
            io::ErrorKind::NotFound => "missing",
            io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => "damaged",
            _ => "io",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.code() {
            "disk_full" => {
                "Free some space on that disk, then try again. Nothing that was good before is lost."
            }
            "read_only" => {
                "Make that folder writable again, then try again. Nothing that was good before is lost."
            }
            "no_access" => {
                "Give the daemon's user access to that folder; `claviger doctor` names the owner it needs."
            }
            _ => "Run `claviger doctor`, which looks at every file of the daemon.",
        }
    }
}

impl From<FileError> for CallError {
    fn from(error: FileError) -> Self {
        tracing::error!(error = %error, cause = %error.source, "storage failed");
        Self::Storage {
            code: error.code().to_owned(),
            message: format!("The daemon {error}: {}.", error.source),
            advice: Some(error.advice().to_owned()),
        }
    }
}

/// Makes a folder and its parents.
///
/// # Errors
/// [`FileError`].
pub fn make_dir(path: &Path, visibility: Visibility) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dir(parent, visibility)?;
    }
    match system::create_dir(path, visibility) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(FileError::new("make the folder", path, e)),
        Ok(()) => match parent {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        },
    }
}

/// Replaces a file as a whole, durably. The folder is made when it is missing.
///
/// # Errors
/// [`FileError`]; the old content then stands.
pub fn write_file(path: &Path, content: &[u8], visibility: Visibility) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_dir(folder, visibility)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.tmp"));
    let write = || -> io::Result<()> {
        let mut file = system::create_file(&temporary, visibility)?;
        file.write_all(content)?;
        system::sync_file(&file)?;
        drop(file);
        crate::fault::point("before-rename");
        system::replace(&temporary, path)
    };
    write().map_err(|e| {
        // Best effort: on a full disk the temporary is what fills it.
        let _ = fs::remove_file(&temporary);
        FileError::new("write", path, e)
    })?;
    sync_dir(folder)
}

/// Makes earlier renames and removals in a folder durable.
///
/// # Errors
/// [`FileError`].
pub fn sync_dir(folder: &Path) -> Result<(), FileError> {
    system::sync_dir(folder).map_err(|e| FileError::new("sync the folder", folder, e))
}

/// Removes a file; a missing one is fine. The caller syncs the folder.
///
/// # Errors
/// [`FileError`].
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes a file or a folder with all that is in it; a missing one is fine. Links are removed, not followed. The
/// caller syncs the folder around it.
///
/// # Errors
/// [`FileError`].
pub fn remove_all(path: &Path) -> Result<(), FileError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Reads a file of at most `max` bytes; `None` when there is none.
///
/// # Errors
/// [`FileError`]; a longer file is an error too.
pub fn read_bounded(path: &Path, max: usize) -> Result<Option<Vec<u8>>, FileError> {
    let read = || -> io::Result<Vec<u8>> {
        let size = look_before_opening(path)?;
        let file = OpenOptions::new().read(true).open(path)?;
        let mut content = Vec::with_capacity(usize::try_from(size.len()).unwrap_or(0).min(max) + 1);
        file.take(max as u64 + 1).read_to_end(&mut content)?;
        if content.len() > max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than it can be"));
        }
        Ok(content)
    };
    match read() {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", path, e)),
    }
}

/// Looks at what is about to be opened: a pipe would make the opener wait for its other end.
fn look_before_opening(path: &Path) -> io::Result<fs::Metadata> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(found),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a file")),
        // Links in a circle; one to nothing counts as missing.
        Err(e) if e.kind() != io::ErrorKind::NotFound && path.is_symlink() => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is a link that cannot be followed ({e})"),
        )),
        Err(e) => Err(e),
    }
}

/// The names in a folder, sorted; none when there is no such folder. Names that start with a dot are ours in passing.
///
/// # Errors
/// [`FileError`].
pub fn list(folder: &Path) -> Result<Vec<String>, FileError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::new("list the folder", folder, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| FileError::new("list the folder", folder, e))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What tells one state of a file from the next: which file it is, how long, and when it was changed, in nanoseconds
/// since 1970.
pub(super) type Stamp = [u64; 4];

/// Seconds that a file must have rested before its stamp tells anything: moments are only so fine, and a change right
/// after another one may bear the same.
const AT_REST: u64 = 3;

/// The stamp of a file that has not been changed for a while; none for others, and for what is no file.
#[must_use]
pub fn settled_stamp(path: &Path) -> Option<[u64; 4]> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let stamp = system::stamp(&about);
    let now = u64::try_from(SystemClock.now().0).ok()?;
    (stamp[3] / 1_000_000_000 + AT_REST < now).then_some(stamp)
}

/// What stands at `path`, in words, where a file (or, with `folder`, a folder) should and something else does.
#[must_use]
pub fn misplaced(path: &Path, folder: bool) -> Option<&'static str> {
    let kind = fs::symlink_metadata(path).ok()?.file_type();
    // A link is followed, as reading does.
    let kind =
        if kind.is_symlink() { fs::metadata(path).map_or(kind, |found| found.file_type()) } else { kind };
    match (kind.is_file(), kind.is_dir(), folder) {
        (true, _, false) | (_, true, true) => None,
        (true, _, true) => Some("a file where a folder should be"),
        (_, true, false) => Some("a folder where a file should be"),
        _ => Some("neither a file nor a folder, but a pipe, socket, device or dead link"),
    }
}

/// Opens a private file to append to it; made when it is missing.
///
/// # Errors
/// [`FileError`]; what is no file is called damaged.
pub fn append_to(path: &Path) -> Result<File, FileError> {
    let open = || -> io::Result<File> {
        match look_before_opening(path).and_then(|_| OpenOptions::new().append(true).open(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                drop(system::create_file(path, Visibility::Private)?);
                OpenOptions::new().append(true).open(path)
            }
            other => other,
        }
    };
    open().map_err(|e| FileError::new("open", path, e))
}

/// Renames something that cannot be used, so that it is neither lost nor in the way, and gives its new place.
///
/// # Errors
/// [`FileError`].
pub fn move_aside(path: &Path, why: &str) -> Result<PathBuf, FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut target = path.with_file_name(format!("{name}.{why}"));
    let mut number = 1;
    while target.symlink_metadata().is_ok() {
        number += 1;
        target = path.with_file_name(format!("{name}.{why}-{number}"));
    }
    fs::rename(path, &target).map_err(|e| FileError::new("move aside", path, e))?;
    Ok(target)
}

/// Removes temporaries that a crash left in a folder.
pub fn clear_temporaries(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
