//! Opening the daemon's Unix socket and learning who is behind it. The platform's part of the manager: a named pipe
//! joins as a sibling.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::endpoint::{Endpoint, SYSTEM_RUN, Scope};
use super::error::ManagerError;
use crate::platform;

/// Longest path that fits into a socket address, NUL excluded.
const MAX_ADDRESS: usize = 107;
/// How long a daemon may let a caller wait at the door.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// `None` when it lives in another PID namespace (a container, Flatpak), where it has no number here.
    pub(super) pid: Option<u32>,
}

pub(super) fn connect(endpoint: &Endpoint) -> Result<(UnixStream, Peer), ManagerError> {
    let path = endpoint.path();
    let stream = open(path).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                ManagerError::NotRunning { path, source }
            }
            io::ErrorKind::PermissionDenied => ManagerError::Denied { path, source },
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ManagerError::Timeout(PATIENCE.as_secs()),
            _ => ManagerError::Io(source),
        }
    })?;
    let (uid, pid) = platform::peer_of(stream.as_fd()).map_err(ManagerError::Io)?;
    let peer = Peer { uid, pid };
    let own = rustix::process::geteuid().as_raw();
    let system = endpoint.scope() == Scope::System && system_user() == Some(peer.uid);
    if peer.uid != own && peer.uid != 0 && !system {
        return Err(ManagerError::Stranger { path: path.to_owned(), uid: peer.uid });
    }
    Ok((stream, peer))
}

fn open(path: &Path) -> io::Result<UnixStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Linux bounds `connect` by the time to send: a daemon whose queue is full cannot hold us.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    if path.as_os_str().as_bytes().len() <= MAX_ADDRESS {
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    } else {
        let (folder, name) =
            path.parent().zip(path.file_name()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let folder: OwnedFd =
            rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        rustix::net::connect(&socket, &SocketAddrUnix::new(&short)?)?;
    }
    Ok(UnixStream::from(socket))
}

/// The user of the system daemon: who owns its folder, which only root can have made.
fn system_user() -> Option<u32> {
    let folder = Path::new(SYSTEM_RUN);
    let parent = folder.parent()?.symlink_metadata().ok()?;
    let own = folder.symlink_metadata().ok()?;
    let roots = parent.uid() == 0 && parent.mode() & 0o022 == 0;
    (roots && own.is_dir()).then(|| own.uid())
}
