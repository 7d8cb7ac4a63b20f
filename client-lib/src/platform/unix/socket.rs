//! Opening the daemon's Unix socket and learning who is behind it.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::super::{Peer, system};

/// A connection to the daemon.
pub(crate) type Stream = UnixStream;

/// Connects to the socket at `path` and asks the kernel who listens there; `whole_machine`: it is the system daemon's.
///
/// # Errors
/// What the system says; `TimedOut` or `WouldBlock` when nobody opens within `patience`.
pub(crate) fn connect(path: &Path, patience: Duration, whole_machine: bool) -> io::Result<(Stream, Peer)> {
    let stream = system::open_socket(path, patience)?;
    let (uid, pid) = system::peer_of(stream.as_fd())?;
    let ours = uid == rustix::process::geteuid().as_raw();
    let trusted = ours || uid == 0 || (whole_machine && system_user() == Some(uid));
    Ok((stream, Peer { user: uid.to_string(), pid, ours, trusted }))
}

/// The user of the system daemon: who owns its folder, which only root can have made.
fn system_user() -> Option<u32> {
    let socket = system::system_socket();
    let folder = socket.parent()?;
    let parent = folder.parent()?.symlink_metadata().ok()?;
    let own = folder.symlink_metadata().ok()?;
    let roots = parent.uid() == 0 && parent.mode() & 0o022 == 0;
    (roots && own.is_dir()).then(|| own.uid())
}
