//! Where the daemon's sockets are on Linux, and opening one in bounded time.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claviger_protocol::layout;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// Longest path that fits into a socket address, NUL excluded.
const MAX_ADDRESS: usize = 107;
/// What `systemctl enable` makes for the units that packages install.
const ENABLED: [&str; 2] = [
    "/etc/systemd/system/sockets.target.wants/clavigerd.socket",
    "/etc/systemd/system/multi-user.target.wants/clavigerd.service",
];

/// The system daemon's socket.
pub(crate) fn system_socket() -> PathBuf {
    Path::new(layout::linux::RUN).join(layout::SOCKET)
}

/// Whether there is a system daemon: its folder is there, which systemd makes, or systemd is told to start it.
pub(crate) fn system_daemon_installed() -> bool {
    Path::new(layout::linux::RUN).is_dir()
        || ENABLED.iter().any(|link| Path::new(link).symlink_metadata().is_ok())
}

pub(crate) fn open_socket(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Linux bounds `connect` by the time to send: a daemon whose queue is full cannot hold us.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
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
