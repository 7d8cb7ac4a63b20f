//! Linux: fixed places, machine id, and the facade's functions from its sibling files.

mod family;
mod files;
#[cfg(feature = "manager")]
pub(crate) mod login;
#[cfg(feature = "manager")]
pub(crate) mod manage;
mod mounts;
mod process;
mod socket;
mod thread;

use std::path::{Path, PathBuf};

pub(crate) use family::process_chain;
pub(crate) use files::{FileIdentity, Folder, read, read_with_identity};
pub(crate) use mounts::locality;
pub(crate) use process::{is_set_uid, peer_of};
pub(crate) use socket::{open_socket, system_daemon_installed, system_socket};
pub(crate) use thread::Thread;

pub(crate) use super::unix::socket::{Stream, connect};

use claviger_protocol::ids::MachineId;
use claviger_protocol::layout;

use super::{Places, StorePlace};
use crate::Scope;

/// The machine's store and the user's. Sandboxed hosts rewrite `HOME` and XDG variables, so neither is asked.
pub(crate) fn fixed_places() -> Places {
    let machine = StorePlace {
        path: Path::new(layout::linux::MACHINE).join(layout::CERTS),
        scope: Scope::Machine,
        landmark: Some("/var/lib".into()),
    };
    let mut places = Places { stores: vec![machine], sockets: vec![system_socket()] };
    if let Some(home) = process::home() {
        let ours = home.join(layout::linux::USER);
        places.sockets.push(user_socket(&ours));
        places.stores.push(StorePlace {
            path: ours.join(layout::CERTS),
            scope: Scope::User,
            landmark: Some(home),
        });
    }
    places
}

/// `/run/user/<uid>/claviger/daemon.sock` where the session manager made that folder for us, otherwise beside the
/// user's store.
fn user_socket(ours: &Path) -> PathBuf {
    let uid = rustix::process::getuid();
    let runtime = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    match rustix::fs::stat(&runtime) {
        Ok(stat) if stat.st_uid == uid.as_raw() => runtime.join(layout::linux::USER_RUN).join(layout::SOCKET),
        _ => layout::Home(ours).socket(),
    }
}

/// `path` as it is found from every folder.
pub(crate) fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

/// The socket of the daemon below `home`.
pub(crate) fn socket_below(home: &Path) -> PathBuf {
    layout::Home(home).socket()
}

/// The operating system's own machine id, trimmed; `None` where there is none that means anything.
pub(crate) fn os_machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(|path| {
        let text = files::read_system(Path::new(path), MachineId::MAX_OS_ID_LEN).ok()?;
        MachineId::usable_os_id(std::str::from_utf8(&text).ok()?).map(str::to_owned)
    })
}

/// Whether this process runs in a sandbox that may hide folders instead of refusing them.
pub(crate) fn sandboxed() -> bool {
    rustix::fs::access("/.flatpak-info", rustix::fs::Access::EXISTS).is_ok()
}
