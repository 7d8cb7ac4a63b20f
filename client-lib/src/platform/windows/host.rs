//! The Linux computer around a Windows program under Wine: a plug-in bridged into a Linux DAW is on that machine, and on
//! no other. Its file system is reached by Wine's own name for its root, which needs no drive letter in the prefix.
#![expect(unsafe_code, reason = "asking a loaded module for a name")]

use std::path::{Path, PathBuf};

use claviger_protocol::ids::MachineId;
use claviger_protocol::layout;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};

use super::super::{EntryKind, StorePlace};
use super::files;
use crate::Scope;

/// The root of the Linux computer's files; `None` on Windows itself. Wine's ntdll has a function that no Windows has.
pub(super) fn root() -> Option<PathBuf> {
    let name: Vec<u16> = "ntdll.dll\0".encode_utf16().collect();
    // SAFETY: both names end with NUL; ntdll is in every process and never goes.
    let found = unsafe {
        let module = GetModuleHandleW(name.as_ptr());
        !module.is_null() && GetProcAddress(module, c"wine_get_version".as_ptr().cast()).is_some()
    };
    found.then(|| PathBuf::from(r"\\?\unix\"))
}

/// The machine id as the Linux programs read it.
pub(super) fn machine_id(root: &Path) -> Option<String> {
    ["etc/machine-id", "var/lib/dbus/machine-id"].iter().find_map(|path| {
        let bytes = files::read(&root.join(path), EntryKind::Untold, MachineId::MAX_OS_ID_LEN).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        MachineId::usable_os_id(&text).is_some().then(|| text.trim().to_owned())
    })
}

/// The stores of the Linux computer.
pub(super) fn stores(root: &Path) -> Vec<StorePlace> {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let mut stores = vec![StorePlace {
        path: below(layout::linux::MACHINE).join(layout::CERTS),
        scope: Scope::Machine,
        landmark: Some(below("/var/lib")),
    }];
    if let Some(home) = home(root) {
        stores.push(StorePlace {
            path: home.join(layout::linux::USER).join(layout::CERTS),
            scope: Scope::User,
            landmark: Some(home),
        });
    }
    stores
}

/// The home that the user database names. `/proc/self` is that of Wine's server, which runs as the same user.
fn home(root: &Path) -> Option<PathBuf> {
    let text = |path: &str| {
        let bytes = std::fs::read(root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let status = text("proc/self/status")?;
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next())?.to_owned();
    let passwd = text("etc/passwd")?;
    let home = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2)? == uid).then(|| fields.nth(2)).flatten()
    })?;
    home.starts_with('/').then(|| root.join(home.trim_start_matches('/')))
}
