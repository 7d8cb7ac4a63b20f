//! Everything that differs between operating systems and is the terminal's alone, behind one facade: the terminal and its
//! secrets, becoming the daemon, following a log. The rest is in the client library, which the window uses too.
//!
//! Each system has one sibling file with the same items; no other module asks which system it runs on.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;
#[cfg(unix)]
mod unix;

pub(crate) use system::{Terminal, become_daemon, follow, forbid_dumps, prepare_console, stdin_byte};
