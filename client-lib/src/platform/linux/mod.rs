//! Linux: fixed places, machine id, and the facade's functions from its sibling files.

mod files;
mod mounts;
mod process;
mod thread;

use std::path::{Path, PathBuf};

pub(crate) use files::{FileIdentity, Folder, read, read_with_identity};
pub(crate) use mounts::locality;
pub(crate) use process::is_set_uid;
pub(crate) use thread::Thread;

use claviger_protocol::ids::MachineId;

use super::{Places, StorePlace};
use crate::Scope;

const MACHINE_STORE: &str = "/var/lib/claviger/certs";
const MACHINE_SOCKET: &str = "/run/claviger/daemon.sock";
const USER_STORE: &str = ".local/share/claviger";

/// The machine's store and the user's. Sandboxed hosts rewrite `HOME` and XDG variables, so neither is asked.
pub(crate) fn fixed_places() -> Places {
    let machine =
        StorePlace { path: MACHINE_STORE.into(), scope: Scope::Machine, landmark: Some("/var/lib".into()) };
    let mut places = Places { stores: vec![machine], sockets: vec![MACHINE_SOCKET.into()] };
    if let Some(home) = process::home() {
        let ours = home.join(USER_STORE);
        places.sockets.push(user_socket(&ours));
        places.stores.push(StorePlace { path: ours.join("certs"), scope: Scope::User, landmark: Some(home) });
    }
    places
}

/// `/run/user/<uid>/claviger/daemon.sock` where the session manager made that folder for us, otherwise beside the
/// user's store.
fn user_socket(ours: &Path) -> PathBuf {
    let uid = rustix::process::getuid();
    let runtime = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    match rustix::fs::stat(&runtime) {
        Ok(stat) if stat.st_uid == uid.as_raw() => runtime.join("claviger/daemon.sock"),
        _ => ours.join("run/daemon.sock"),
    }
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
