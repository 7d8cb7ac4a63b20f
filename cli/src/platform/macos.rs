//! macOS: what its terminal and processes do otherwise.

pub(crate) use super::unix::{Terminal, become_daemon, follow, prepare_console, stdin_byte};

/// A crash from here on leaves no image of this process on the disk.
pub(crate) fn forbid_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
