//! Where the daemon's log is.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use claviger_client::manager::{Endpoint, Scope};

use crate::failure::Failure;

/// Longer logs are set aside when the daemon is started.
const MAX: u64 = 4 * 1024 * 1024;

/// The log of a daemon that this command started; the system's daemon writes to the journal.
#[must_use]
pub(crate) fn file(endpoint: &Endpoint) -> Option<PathBuf> {
    let folder = match endpoint.scope() {
        Scope::Portable => claviger_client::platform::home_override()?.join("log"),
        Scope::User => {
            let ours = directories::ProjectDirs::from("", "", "claviger")?;
            ours.state_dir().unwrap_or(ours.data_local_dir()).join("log")
        }
        Scope::System => return None,
    };
    Some(folder.join("daemon.log"))
}

/// Opens the log to be added to, private, and sets a long one aside.
///
/// # Errors
/// [`Failure`] when it cannot be made.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let made = || -> io::Result<File> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        if path.metadata().is_ok_and(|found| found.len() > MAX) {
            std::fs::rename(path, path.with_extension("log.old"))?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    };
    made().map_err(|error| {
        Failure::storage(format!("The daemon's log {} cannot be written", path.display()), &error)
            .advice("Make the folder writable and the disk not full, then try again.")
    })
}

/// The last `count` lines, at most the last megabyte.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn last_lines(path: &Path, count: usize) -> io::Result<Vec<String>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(1024 * 1024)))?;
    let mut bytes = Vec::new();
    file.take(1024 * 1024).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(count)..].iter().map(|l| (*l).to_owned()).collect())
}
