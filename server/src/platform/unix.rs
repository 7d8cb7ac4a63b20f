//! What Linux and macOS do alike: file modes, inodes, signals.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Stamp, system};

/// Has a new file made with these permissions.
pub(crate) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    options.mode(mode)
}

/// Gives an open file exactly these permissions: the umask may have taken bits away that a public file needs. A file
/// system that keeps none (the FAT of a memory stick) refuses: there the medium itself is what must be kept.
pub(crate) fn restrict(file: &File, mode: u32) -> io::Result<()> {
    match file.set_permissions(Permissions::from_mode(mode)) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// Gives a file that another library has made exactly these permissions.
pub(crate) fn protect(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Makes a folder for its owner alone, with its parents.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Why others may read a file, if they may, and the command that mends it.
pub(crate) fn others_may_read(path: &Path) -> io::Result<Option<(String, String)>> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    let mends = || (format!("mode {:o}", mode & 0o777), format!("chmod 600 {}", path.display()));
    Ok((mode & 0o077 != 0).then(mends))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    system::sync_file(&File::open(path)?)
}

/// What tells one state of a file from the next.
pub(crate) fn stamp(about: &Metadata) -> Stamp {
    let time = about.mtime().cast_unsigned().wrapping_mul(1_000_000_000);
    [about.ino(), time.wrapping_add(about.mtime_nsec().cast_unsigned()), about.len()]
}

/// SIGHUP: read again what may have changed.
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// Listens for it.
    ///
    /// # Errors
    /// When the handler cannot be set.
    pub(crate) fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for one; false when there will be none any more.
    pub(crate) async fn heard(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

/// Ends when the server is asked to end.
///
/// # Errors
/// When the handlers cannot be set.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Kills this process with SIGKILL.
#[cfg(feature = "fault-points")]
pub(crate) fn kill_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Whoever is refused a lock can read who has it.
#[cfg(test)]
pub(crate) const LOCKED_FILES_ARE_READABLE: bool = true;

/// Whether a file or folder has exactly these permissions.
#[cfg(test)]
pub(crate) fn has_mode(path: &Path, mode: u32) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o777 == mode)
}
