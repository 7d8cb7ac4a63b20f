//! macOS: homes from the user database, `IOPlatformUUID`, the Keychain, peers by `LOCAL_PEERCRED`.
#![expect(unsafe_code, reason = "the few C calls that have no safe wrapper, each with its SAFETY line")]

#[path = "macos_managed.rs"]
mod managed;

use std::ffi::{CStr, c_char, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claviger_protocol::clock::{Clock as _, SystemClock, Timestamp};
use claviger_protocol::ids::MachineId;
use claviger_protocol::layout::{self, Home, macos as names};
use ring::aead;
use ring::rand::{SecureRandom as _, SystemRandom};
use security_framework::passwords::{get_generic_password, set_generic_password};
use zeroize::Zeroizing;

pub use managed::{MANAGED, managed_policy, policy_place};

pub use super::unix::{
    Connection, Listener, Lock, Shutdown, changed_by_others, group_exists, hung_up, kill_self, process_id,
    raise_file_limit, supervised,
};
pub(super) use super::unix::{create_dir, create_file, replace, stamp, sync_dir};

use super::unix::{group_id, passwd_home, portable_home};
use super::{Mode, Paths, PathsError};

/// The administrator's policy.
pub(super) const POLICY: &str = names::POLICY;
/// Longest path that fits into a socket address.
const MAX_SOCKET_PATH: usize = 103;

/// The folders of a daemon of this mode, found without trusting the environment (`CLAVIGER_HOME` apart).
///
/// # Errors
/// [`PathsError`].
pub fn paths(mode: Mode) -> Result<Paths, PathsError> {
    let policy = PathBuf::from(names::POLICY);
    let shipped_profiles = PathBuf::from(names::SHIPPED);
    if mode == Mode::System {
        return Ok(Paths {
            mode,
            certs: names::MACHINE_STORE.into(),
            state: Path::new(names::MACHINE).join(layout::STATE),
            socket: Path::new(names::RUN).join(layout::SOCKET),
            policy,
            shipped_profiles,
            log: Some(Path::new(names::MACHINE).join(layout::LOG)),
        });
    }
    if let Some(home) = portable_home()? {
        return Ok(Paths {
            mode,
            certs: Home(&home).certs(),
            state: Home(&home).state(),
            socket: Home(&home).socket(),
            policy,
            shipped_profiles,
            log: Some(Home(&home).log()),
        });
    }
    let uid = rustix::process::getuid();
    let store = passwd_home(uid.as_raw()).ok_or(PathsError::NoHome)?.join(names::USER);
    // Homes are shared over networks: each machine has its own state in them.
    let machine =
        os_machine_id().map_or_else(|_| "unknown-machine".to_owned(), |id| crate::machine::folder_tag(&id));
    Ok(Paths {
        mode,
        certs: Home(&store).certs(),
        state: Home(&store).state().join(machine),
        socket: Home(&store).socket(),
        policy,
        shipped_profiles,
        log: Some(Home(&store).log()),
    })
}

/// Makes what was written to a file durable: down to the disk itself, as the standard library asks for. Network drives do not
/// know that request, and get the one that they do.
///
/// # Errors
/// What the system says.
pub fn sync_file(file: &File) -> io::Result<()> {
    use rustix::io::Errno;
    match file.sync_all() {
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::NOTSUP | Errno::INVAL | Errno::NOTTY)) =>
        {
            Ok(rustix::fs::fsync(file)?)
        }
        other => other,
    }
}

/// Whether the program is set-uid or the like: then the environment is someone else's.
pub(super) fn runs_with_borrowed_rights() -> bool {
    // SAFETY: no arguments, no preconditions.
    unsafe { libc::issetugid() != 0 }
}

type Ref = *const c_void;

#[link(name = "IOKit", kind = "framework")]
unsafe extern "C" {
    fn IOServiceMatching(name: *const c_char) -> Ref;
    fn IOServiceGetMatchingService(port: u32, matching: Ref) -> u32;
    fn IORegistryEntryCreateCFProperty(entry: u32, key: Ref, allocator: Ref, options: u32) -> Ref;
    fn IOObjectRelease(object: u32) -> i32;
}

#[link(name = "CoreFoundation", kind = "framework")]
unsafe extern "C" {
    fn CFStringCreateWithCString(allocator: Ref, text: *const c_char, encoding: u32) -> Ref;
    fn CFStringGetCString(string: Ref, buffer: *mut c_char, size: isize, encoding: u32) -> u8;
    fn CFStringGetTypeID() -> usize;
    fn CFGetTypeID(object: Ref) -> usize;
    fn CFRelease(object: Ref);
}

const UTF_8: u32 = 0x0800_0100;

/// The operating system's own machine id: `IOPlatformUUID`.
///
/// # Errors
/// When there is none.
pub fn os_machine_id() -> io::Result<String> {
    let text = platform_uuid().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    match MachineId::usable_os_id(&text) {
        Some(id) => Ok(id.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "IOPlatformUUID holds no machine id")),
    }
}

fn platform_uuid() -> Option<String> {
    let mut text = [0 as c_char; 128];
    // SAFETY: names end with NUL; `matching` is given away to the second call; every other object is released once,
    // after its last use; the buffer is as long as is said and, where the call succeeds, holds a C string.
    unsafe {
        let matching = IOServiceMatching(c"IOPlatformExpertDevice".as_ptr());
        if matching.is_null() {
            return None;
        }
        let device = IOServiceGetMatchingService(0, matching);
        if device == 0 {
            return None;
        }
        let key = CFStringCreateWithCString(std::ptr::null(), c"IOPlatformUUID".as_ptr(), UTF_8);
        let value = if key.is_null() {
            std::ptr::null()
        } else {
            let value = IORegistryEntryCreateCFProperty(device, key, std::ptr::null(), 0);
            CFRelease(key);
            value
        };
        IOObjectRelease(device);
        if value.is_null() {
            return None;
        }
        let size = isize::try_from(text.len()).unwrap_or(0);
        let good = CFGetTypeID(value) == CFStringGetTypeID()
            && CFStringGetCString(value, text.as_mut_ptr(), size, UTF_8) != 0;
        CFRelease(value);
        good.then(|| CStr::from_ptr(text.as_ptr()).to_str().ok().map(str::to_owned)).flatten()
    }
}

/// The Keychain's item: a random key, made when it is first wanted. For the system's daemon it is in the system's
/// Keychain, for a user's in the one that opens at login.
const ACCOUNT: &str = "device keys v1";
/// What the Keychain says when it holds no such item (`errSecItemNotFound`).
const NOT_FOUND: i32 = -25300;

fn keychain_key(make: bool) -> io::Result<Zeroizing<Vec<u8>>> {
    match get_generic_password(names::LABEL, ACCOUNT) {
        Ok(key) => Ok(Zeroizing::new(key)),
        Err(error) if make && error.code() == NOT_FOUND => {
            let mut key = Zeroizing::new(vec![0; aead::AES_256_GCM.key_len()]);
            SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
            set_generic_password(names::LABEL, ACCOUNT, &key).map_err(io::Error::other)?;
            Ok(key)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

fn cipher(key: &[u8]) -> io::Result<aead::LessSafeKey> {
    aead::UnboundKey::new(&aead::AES_256_GCM, key)
        .map(aead::LessSafeKey::new)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the Keychain holds another kind of key"))
}

/// Seals a secret, encrypted already, with a key that the Keychain keeps.
///
/// # Errors
/// What the Keychain says.
pub fn seal(purpose: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    let mut sealed = sealed.to_vec();
    let key = cipher(&keychain_key(true)?)?;
    let mut nonce = [0; aead::NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("no random numbers"))?;
    let aad = aead::Aad::from(purpose.as_bytes());
    key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .map_err(|_| io::Error::other("nothing can be sealed"))?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens what [`seal`] made.
///
/// # Errors
/// What the Keychain says; `InvalidData` for what was sealed elsewhere.
pub fn unseal(purpose: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    let key = cipher(&keychain_key(false)?)?;
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let (nonce, body) = sealed.split_first_chunk::<{ aead::NONCE_LEN }>().ok_or_else(damaged)?;
    let mut body = body.to_vec();
    let aad = aead::Aad::from(purpose.as_bytes());
    let opened = key
        .open_in_place(aead::Nonce::assume_unique_for_key(*nonce), aad, &mut body)
        .map_err(|_| damaged())?
        .len();
    body.truncate(opened);
    Ok(body)
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The user; the kernel's word, taken when the connection was made.
    pub user: u32,
    /// The first sixteen groups of the process: all that the kernel keeps.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it does not say.
    pub fn of(connection: &Connection) -> io::Result<Self> {
        // SAFETY: plain numbers, for which zero is a value.
        let mut found: libc::xucred = unsafe { std::mem::zeroed() };
        let mut length = libc::socklen_t::try_from(size_of::<libc::xucred>()).unwrap_or(0);
        // SAFETY: `found` has `length` bytes, and the descriptor is open while `connection` is borrowed.
        let failed = unsafe {
            libc::getsockopt(
                connection.as_raw_fd(),
                libc::SOL_LOCAL,
                libc::LOCAL_PEERCRED,
                (&raw mut found).cast(),
                &raw mut length,
            )
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        if found.cr_version != libc::XUCRED_VERSION {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel tells of users in a new way"));
        }
        let count = usize::try_from(found.cr_ngroups).unwrap_or(0).min(found.cr_groups.len());
        Ok(Self { user: found.cr_uid, groups: found.cr_groups[..count].to_vec() })
    }

    /// Whether this is the daemon's own user, or root.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.user == 0 || self.user == rustix::process::geteuid().as_raw()
    }

    /// The system's word for the account: what a consent is filed under.
    #[must_use]
    pub fn account(&self) -> String {
        self.user.to_string()
    }

    /// Whether this is root.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.user == 0
    }

    /// Whether the process is in the group of this name.
    #[must_use]
    pub fn is_in_group(&self, name: &str) -> bool {
        group_id(name).is_some_and(|gid| self.groups.contains(&gid))
    }
}

/// `path`, which has to fit into a socket address: there is no shorter name for it here.
pub(super) fn short_address(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((path.to_owned(), None));
    }
    let why = format!("its path is longer than {MAX_SOCKET_PATH} bytes: choose a shorter CLAVIGER_HOME");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// launchd is not asked to hold the socket.
pub(super) fn inherited_socket() -> Option<std::os::unix::net::UnixListener> {
    None
}

/// How long a wait goes on without a look at the wall clock: the system's timers stand still while it sleeps.
const STEP: Duration = Duration::from_secs(60);

/// Rings at a moment of the wall clock, at most a minute late after a sleep.
#[derive(Debug)]
pub struct Alarm(());

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// None.
    pub fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits until `moment`; for ever without one.
    pub async fn wait(&self, moment: Option<Timestamp>) {
        let Some(moment) = moment else { return std::future::pending().await };
        loop {
            let left = moment.0.saturating_sub(SystemClock.now().0);
            let Ok(left @ 1..) = u64::try_from(left) else { return };
            tokio::time::sleep(Duration::from_secs(left).min(STEP)).await;
        }
    }
}

/// launchd wants to be told nothing.
#[derive(Debug, Default)]
pub struct Notifier(());

impl Notifier {
    /// Finds the service manager.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }

    /// Sends a state such as `READY=1`.
    pub fn tell(&self, _state: &str) {}
}

/// Gives memory that is not used any more back to the system: it takes it by itself when it needs some.
pub fn trim_memory() {}

/// Whether standard error goes to a log that adds the time itself: launchd's files do not.
#[must_use]
pub fn boot_log_stream() -> bool {
    false
}

/// The system's log of events, where a daemon writes to it itself: not here.
#[must_use]
pub fn event_log(_mode: Mode) -> Option<super::EventLog> {
    None
}
