//! macOS.

use std::fs::File;
use std::io;

use tokio::net::TcpStream;

#[cfg(feature = "fault-points")]
pub(crate) use super::unix::kill_self;
pub(crate) use super::unix::{
    Hangup, make_private_dir, others_may_read, protect, restrict, stamp, stop_signal, sync_dir, with_mode,
};
#[cfg(test)]
pub(crate) use super::unix::{LOCKED_FILES_ARE_READABLE, has_mode};

/// A crash from here on leaves no image of this process on the disk.
pub(crate) fn forbid_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// The system's own patience with a peer that reads nothing, some minutes, is all there is here.
pub(crate) fn drop_silent_peers(_stream: &TcpStream) {}

/// Makes what was written to a file durable: down to the disk itself, as the standard library asks for. Network drives do not
/// know that request, and get the one that they do.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    use rustix::io::Errno;
    match file.sync_all() {
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::NOTSUP | Errno::INVAL | Errno::NOTTY)) =>
        {
            Ok(rustix::fs::fsync(file)?)
        }
        other => other,
    }
}
