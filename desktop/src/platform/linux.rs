//! Linux: the kernel tells whose process a peer is.

use std::os::unix::net::UnixStream;

/// Whether the other end is a process of this user.
pub(super) fn is_us(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == rustix::process::getuid())
}
