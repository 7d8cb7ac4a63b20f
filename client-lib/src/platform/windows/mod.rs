//! Windows, and Windows programs on Linux under Wine: fixed places, machine id, and the facade's functions from its
//! sibling files.

mod family;
mod files;
mod host;
mod identity;
#[cfg(feature = "manager")]
pub(crate) mod login;
#[cfg(feature = "manager")]
pub(crate) mod manage;
mod pipe;
mod registry;
mod thread;

use std::path::{Component, Path, PathBuf, Prefix};

pub(crate) use family::process_chain;
pub(crate) use files::{FileIdentity, Folder, locality, read, read_with_identity};
pub(crate) use pipe::{Stream, connect};
pub(crate) use thread::Thread;

use claviger_protocol::ids::MachineId;
use claviger_protocol::layout::{self, windows as names};

use super::{Places, StorePlace};
use crate::Scope;

/// The machine's store and the user's, below Known Folders; under Wine those of the Linux computer, so that a bridged
/// plug-in finds what the native one does.
pub(crate) fn fixed_places() -> Places {
    let stores = match host::root() {
        Some(root) => host::stores(&root),
        None => {
            let machine = identity::known_folder(identity::Known::ProgramData)
                .map(|above| store(above, names::MACHINE, Scope::Machine));
            let user = identity::known_folder(identity::Known::LocalAppData)
                .map(|above| store(above, names::USER, Scope::User));
            machine.into_iter().chain(user).collect()
        }
    };
    let user = identity::own_sid().map(|sid| PathBuf::from(names::user_pipe(&sid)));
    Places { stores, sockets: std::iter::once(system_socket()).chain(user).collect() }
}

fn store(above: PathBuf, name: &str, scope: Scope) -> StorePlace {
    StorePlace { path: above.join(name).join(layout::CERTS), scope, landmark: Some(above) }
}

/// The system daemon's pipe.
pub(crate) fn system_socket() -> PathBuf {
    names::SYSTEM_PIPE.into()
}

/// Whether there is a system daemon: its service is registered.
pub(crate) fn system_daemon_installed() -> bool {
    registry::service_exists(names::SERVICE)
}

/// The pipe of the daemon below `home`. Without an identity of this process nobody listens there.
pub(crate) fn socket_below(home: &Path) -> PathBuf {
    let sid = identity::own_sid().unwrap_or_default();
    names::portable_pipe(&sid, &home.to_string_lossy()).into()
}

/// `path` as it is found from every folder, in the form that the system takes literally: of any length, and without
/// names that mean devices.
pub(crate) fn absolute(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let mut rest = path.components();
    let Some(Component::Prefix(prefix)) = rest.next() else { return Some(path) };
    let start = match prefix.kind() {
        Prefix::Disk(letter) => format!(r"\\?\{}:\", char::from(letter)).into(),
        Prefix::UNC(server, share) => {
            let mut start = std::ffi::OsString::from(r"\\?\UNC\");
            start.push(server);
            start.push(r"\");
            start.push(share);
            start.push(r"\");
            start
        }
        _ => return Some(path),
    };
    Some(PathBuf::from(start).join(rest.as_path().strip_prefix(r"\").unwrap_or(rest.as_path())))
}

/// The operating system's own machine id: the Linux computer's under Wine, else the registry's.
pub(crate) fn os_machine_id() -> Option<String> {
    let text = match host::root() {
        Some(root) => host::machine_id(&root),
        None => registry::machine_guid(),
    }?;
    MachineId::usable_os_id(&text).map(str::to_owned)
}

/// Windows has no set-uid programs.
pub(crate) fn is_set_uid() -> bool {
    false
}

/// Whether this process runs in a sandbox that may hide folders instead of refusing them. Those of Windows refuse.
pub(crate) fn sandboxed() -> bool {
    false
}
