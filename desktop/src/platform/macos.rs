//! macOS: the socket's folder is what keeps others out; it is checked before it is used.

use std::os::unix::net::UnixStream;

/// Whether the other end is a process of this user: only this user can enter the folder.
pub(super) fn is_us(_: &UnixStream) -> bool {
    true
}
