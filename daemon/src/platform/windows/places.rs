//! Where the daemon keeps its things on Windows, and which computer it is on: Windows itself, or the Linux computer
//! around it under Wine, whose certificates and machine id are used then.
#![expect(
    unsafe_code,
    reason = "the registry, owners of files and a loaded module's names have no safe wrapper"
)]

use std::ffi::{OsString, c_void};
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Component, Path, PathBuf, Prefix};

use claviger_protocol::ids::MachineId;
use claviger_protocol::layout::{self, Home, windows as names};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY, RegGetValueW,
};

use super::super::{Mode, Paths, PathsError, Visibility};
use super::disk::create_dir;
use super::identity::{self, Known};
use super::security;

/// The administrators, who own what they have made.
const ADMINISTRATORS: &str = "S-1-5-32-544";

/// The folders of a daemon of this mode, found without trusting the environment (`CLAVIGER_HOME` apart).
///
/// # Errors
/// [`PathsError`].
pub fn paths(mode: Mode) -> Result<Paths, PathsError> {
    let wine = wine_root();
    let machine = identity::known_folder(Known::ProgramData).ok_or(PathsError::NoHome)?.join(names::MACHINE);
    let policy = match &wine {
        Some(root) => root.join(layout::linux::POLICY.trim_start_matches('/')),
        None => machine.join(names::POLICY),
    };
    let shipped_profiles = machine.join(names::SHIPPED);
    if mode == Mode::System {
        let (certs, state) = (machine.join(layout::CERTS), machine.join(layout::STATE));
        let log = machine.join(layout::LOG);
        claim(&machine, Visibility::Public)?;
        claim(&certs, Visibility::Public)?;
        claim(&state, Visibility::Private)?;
        claim(&log, Visibility::Private)?;
        refuse_foreign(&shipped_profiles)?;
        let socket = names::SYSTEM_PIPE.into();
        return Ok(Paths { mode, certs, state, socket, policy, shipped_profiles, log: Some(log) });
    }
    let sid = identity::own_sid().ok_or(PathsError::NoHome)?;
    if let Some(home) = std::env::var_os("CLAVIGER_HOME").filter(|home| !home.is_empty()) {
        let home = PathBuf::from(home);
        if !home.is_absolute() {
            return Err(PathsError::RelativeHome);
        }
        let home = absolute(&home).ok_or(PathsError::RelativeHome)?;
        return Ok(Paths {
            mode,
            certs: Home(&home).certs(),
            state: Home(&home).state(),
            socket: names::portable_pipe(&sid, &home.to_string_lossy()).into(),
            policy,
            shipped_profiles,
            log: Some(Home(&home).log()),
        });
    }
    let local = identity::known_folder(Known::LocalAppData).ok_or(PathsError::NoHome)?.join(names::USER);
    let certs = match &wine {
        Some(root) => {
            wine_home(root).ok_or(PathsError::NoHome)?.join(layout::linux::USER).join(layout::CERTS)
        }
        None => local.join(layout::CERTS),
    };
    // One folder a machine: profiles are copied, and disks move.
    let tag =
        os_machine_id().map_or_else(|_| "unknown-machine".to_owned(), |id| crate::machine::folder_tag(&id));
    Ok(Paths {
        mode,
        certs,
        state: local.join(layout::STATE).join(tag),
        socket: names::user_pipe(&sid).into(),
        policy,
        shipped_profiles,
        log: Some(local.join(layout::LOG)),
    })
}

/// Makes one of the service's folders, with its rights from the first moment. Anyone may make folders in `%ProgramData%`,
/// and in folders that an installer has put there: one that someone else has made before us is not ours.
fn claim(folder: &Path, visibility: Visibility) -> Result<(), PathsError> {
    // Where it cannot be made, whoever writes into it says why.
    let _ = create_dir(folder, visibility);
    refuse_foreign(folder)
}

fn refuse_foreign(folder: &Path) -> Result<(), PathsError> {
    match owner_of(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(owner) if is_trusted(&owner) => Ok(()),
        _ => Err(PathsError::Foreign(folder.to_owned())),
    }
}

fn is_trusted(owner: &str) -> bool {
    owner == ADMINISTRATORS
        || names::SERVICE_USERS.contains(&owner)
        || identity::own_sid().is_some_and(|own| own == owner)
}

/// Says in a sentence without its stop if a file or its folder belongs to someone who is no administrator. At another
/// place than the fixed one of the administrator's policy (tests) the daemon's own user stands for one. Under Wine the
/// policy is the Linux computer's, whose rights Wine does not tell.
///
/// # Errors
/// When the system does not say.
pub fn changed_by_others(path: &Path) -> io::Result<Option<String>> {
    if wine_root().is_some() {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(path);
    for place in [folder, path] {
        if !is_trusted(&owner_of(place)?) {
            return Ok(Some(format!("{} belongs to another user than an administrator", place.display())));
        }
    }
    Ok(None)
}

/// Whose a file or folder is; of a link or junction, whose that itself is: anyone may make one to what the system owns.
fn owner_of(path: &Path) -> io::Result<String> {
    let found = OpenOptions::new()
        .access_mode(READ_CONTROL)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)?;
    let handle: HANDLE = found.as_raw_handle();
    security::owner(handle, SE_FILE_OBJECT)?.ok_or_else(|| io::ErrorKind::PermissionDenied.into())
}

/// `path` in the form that the system takes literally: of any length, and without names that mean devices.
pub(super) fn absolute(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let mut rest = path.components();
    let Some(Component::Prefix(prefix)) = rest.next() else { return Some(path) };
    let start = match prefix.kind() {
        Prefix::Disk(letter) => OsString::from(format!(r"\\?\{}:\", char::from(letter))),
        Prefix::UNC(server, share) => {
            let mut start = OsString::from(r"\\?\UNC\");
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

/// The operating system's own machine id: the Linux computer's under Wine, else the one that Windows made when it was
/// installed.
///
/// # Errors
/// When there is none.
pub fn os_machine_id() -> io::Result<String> {
    let text = match wine_root() {
        Some(root) => std::fs::read_to_string(root.join(r"etc\machine-id"))
            .or_else(|_| std::fs::read_to_string(root.join(r"var\lib\dbus\machine-id")))?,
        None => machine_guid()?,
    };
    match MachineId::usable_os_id(&text) {
        Some(id) => Ok(id.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the machine id is empty")),
    }
}

fn machine_guid() -> io::Result<String> {
    let wide = |text: &str| text.encode_utf16().chain([0]).collect::<Vec<u16>>();
    let (key, name) = (wide(r"SOFTWARE\Microsoft\Cryptography"), wide("MachineGuid"));
    let mut text = [0u16; 256];
    let mut bytes = u32::try_from(size_of_val(&text)).unwrap_or(0);
    // SAFETY: both names end with NUL, and the buffer has as many bytes as is said.
    let failed = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY,
            std::ptr::null_mut(),
            text.as_mut_ptr().cast::<c_void>(),
            &raw mut bytes,
        )
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed.cast_signed()));
    }
    let end = text.iter().position(|unit| *unit == 0).unwrap_or(text.len());
    String::from_utf16(&text[..end]).map_err(io::Error::other)
}

/// The root of the Linux computer's files by Wine's own name for it, which needs no drive letter; `None` on Windows
/// itself. Wine's ntdll has a function that no Windows has.
pub(super) fn wine_root() -> Option<PathBuf> {
    let name: Vec<u16> = "ntdll.dll\0".encode_utf16().collect();
    // SAFETY: both names end with NUL; ntdll is in every process and never goes.
    let found = unsafe {
        let module = GetModuleHandleW(name.as_ptr());
        !module.is_null() && GetProcAddress(module, c"wine_get_version".as_ptr().cast()).is_some()
    };
    found.then(|| PathBuf::from(r"\\?\unix\"))
}

/// The home that the Linux computer's user database names for the user that Wine's server runs as.
fn wine_home(root: &Path) -> Option<PathBuf> {
    let text = |path: &str| {
        let bytes = std::fs::read(root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let status = text(r"proc\self\status")?;
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next())?.to_owned();
    let passwd = text(r"etc\passwd")?;
    let home = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2)? == uid).then(|| fields.nth(2)).flatten()
    })?;
    home.starts_with('/').then(|| root.join(home.trim_start_matches('/')))
}
