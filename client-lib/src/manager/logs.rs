//! Where the daemon's log is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use claviger_protocol::layout;

use super::{Endpoint, Scope};
use crate::platform::{self, manage};

/// The log that the daemon writes itself; `None` where the service manager keeps it.
#[must_use]
pub fn file(endpoint: &Endpoint) -> Option<PathBuf> {
    let folder = match endpoint.scope() {
        Scope::Portable => layout::Home(&platform::home_override()?).log(),
        Scope::User => manage::user_log_folder()?,
        Scope::System => return manage::system_log(),
    };
    Some(folder.join(layout::LOG_FILE))
}

/// The last `count` lines, at most the last megabyte.
///
/// # Errors
/// When the log cannot be read.
pub fn last_lines(path: &Path, count: usize) -> io::Result<Vec<String>> {
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
