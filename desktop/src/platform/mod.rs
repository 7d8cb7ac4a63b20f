//! What differs between systems: private files, and the local socket by which a second start hands over to the first.

use std::io;
use std::path::PathBuf;

use claviger_client::manager::Endpoint;
use claviger_client::platform::Places;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as peer;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as peer;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;

pub(crate) use system::{Door, knock, private};

/// Longest message between two starts, in bytes.
const MAX_MESSAGE: u64 = 4 * 1024;

/// The window's own socket, in the private folder of this user's daemon; none where the user has no home.
fn socket() -> Option<PathBuf> {
    if let Some(home) = claviger_client::platform::home_override() {
        return Some(Endpoint::portable(&home).path().with_file_name("window.sock"));
    }
    let system = Endpoint::system();
    let users = Places::of_process().sockets.into_iter().find(|path| path != system.path())?;
    Some(users.with_file_name("window.sock"))
}

fn no_home() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "this user has no home folder")
}
