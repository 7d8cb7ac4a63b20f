//! macOS: fixed places, machine id, and the facade's functions from its sibling files.

mod family;
mod files;
#[cfg(feature = "manager")]
pub(crate) mod login;
mod machine;
#[cfg(feature = "manager")]
pub(crate) mod manage;
mod process;
mod thread;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use family::process_chain;
pub(crate) use files::{FileIdentity, Folder, locality, read, read_with_identity};
pub(crate) use machine::os_machine_id;
pub(crate) use process::{is_set_uid, peer_of, sandboxed};
pub(crate) use thread::Thread;

pub(crate) use super::unix::socket::{Stream, connect};

use claviger_protocol::layout::{self, macos as names};

use super::{Places, StorePlace};
use crate::Scope;

/// The machine's store and the user's. Sandboxed hosts rewrite `HOME`, so it is not asked.
pub(crate) fn fixed_places() -> Places {
    let machine = StorePlace {
        path: names::MACHINE_STORE.into(),
        scope: Scope::Machine,
        landmark: Some("/Library/Audio".into()),
    };
    let mut places = Places { stores: vec![machine], sockets: vec![system_socket()] };
    if let Some(home) = process::home() {
        let ours = home.join(names::USER);
        places.sockets.push(socket_below(&ours));
        places.stores.push(StorePlace {
            path: ours.join(layout::CERTS),
            scope: Scope::User,
            landmark: Some(home),
        });
    }
    places
}

/// The system daemon's socket.
pub(crate) fn system_socket() -> PathBuf {
    Path::new(names::RUN).join(layout::SOCKET)
}

/// Whether there is a system daemon: launchd is told to start it.
pub(crate) fn system_daemon_installed() -> bool {
    let told = Path::new("/Library/LaunchDaemons").join(format!("{}.plist", names::LABEL));
    told.symlink_metadata().is_ok() || Path::new(names::RUN).is_dir()
}

/// The socket of the daemon below `home`.
pub(crate) fn socket_below(home: &Path) -> PathBuf {
    layout::Home(home).socket()
}

/// `path` as it is found from every folder.
pub(crate) fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

/// Opens a socket. A daemon whose queue is full refuses at once here, so there is nothing to bound.
pub(crate) fn open_socket(path: &Path, _patience: Duration) -> io::Result<UnixStream> {
    UnixStream::connect(path)
}
