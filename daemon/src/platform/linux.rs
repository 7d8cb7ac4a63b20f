//! Linux: passwd homes, `/etc/machine-id`, flock, Unix sockets with `SO_PEERCRED`, timerfd alarms, `sd_notify`.
#![expect(unsafe_code, reason = "the few C calls that have no safe wrapper, each with its SAFETY line")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::MachineId;
use claviger_protocol::layout::{self, Home};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

pub use super::unix::{
    Connection, Listener, Lock, Shutdown, changed_by_others, group_exists, hung_up, kill_self, process_id,
    raise_file_limit, supervised,
};
pub(super) use super::unix::{create_dir, create_file, replace, stamp, sync_dir};

use super::unix::{group_id, passwd_home, portable_home};
use super::{Mode, Paths, PathsError};

/// The administrator's policy.
pub(super) const POLICY: &str = layout::linux::POLICY;
/// Longest path that fits into a socket address.
const MAX_SOCKET_PATH: usize = 107;

/// Where the administrator's word stands, for messages.
#[must_use]
pub fn policy_place() -> &'static str {
    POLICY
}

/// Where settings are managed beside the policy's file: nowhere, because the file is what administrators manage here.
pub const MANAGED: &str = "";

/// The managed settings: none.
///
/// # Errors
/// None.
pub fn managed_policy() -> io::Result<toml::Table> {
    Ok(toml::Table::new())
}

/// Makes what was written to a file durable.
///
/// # Errors
/// What the system says.
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// The folders of a daemon of this mode, found without trusting the environment (`CLAVIGER_HOME` apart).
///
/// # Errors
/// [`PathsError`].
pub fn paths(mode: Mode) -> Result<Paths, PathsError> {
    let policy = PathBuf::from(layout::linux::POLICY);
    let shipped_profiles = PathBuf::from(layout::linux::SHIPPED);
    if mode == Mode::System {
        return Ok(Paths {
            mode,
            certs: Path::new(layout::linux::MACHINE).join(layout::CERTS),
            state: Path::new(layout::linux::MACHINE).join(layout::STATE),
            socket: Path::new(layout::linux::RUN).join(layout::SOCKET),
            policy,
            shipped_profiles,
            log: None,
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
    let store = passwd_home(uid.as_raw()).ok_or(PathsError::NoHome)?.join(layout::linux::USER);
    let projects = directories::ProjectDirs::from("", "", "claviger").ok_or(PathsError::NoHome)?;
    let state_home = projects.state_dir().unwrap_or(projects.data_local_dir()).to_owned();
    // Homes are shared over networks: each machine has its own state in them.
    let machine =
        os_machine_id().map_or_else(|_| "unknown-machine".to_owned(), |id| crate::machine::folder_tag(&id));
    let runtime = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    let ours = |p: &Path| fs::symlink_metadata(p).is_ok_and(|m| m.is_dir() && m.uid() == uid.as_raw());
    let socket = if ours(&runtime) {
        runtime.join(layout::linux::USER_RUN).join(layout::SOCKET)
    } else {
        Home(&store).socket()
    };
    Ok(Paths {
        mode,
        certs: Home(&store).certs(),
        state: state_home.join(machine),
        socket,
        policy,
        shipped_profiles,
        log: Some(Home(&state_home).log()),
    })
}

/// Whether the program is set-uid or the like (`AT_SECURE`): then the environment is someone else's.
pub(super) fn runs_with_borrowed_rights() -> bool {
    // SAFETY: the call reads the process's own auxiliary vector and has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The operating system's own machine id.
///
/// # Errors
/// When neither file holds one.
pub fn os_machine_id() -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        match fs::read_to_string(path) {
            Ok(text) if MachineId::usable_os_id(&text).is_some() => return Ok(text.trim().to_owned()),
            Ok(_) => last = io::Error::new(io::ErrorKind::InvalidData, format!("{path} holds no machine id")),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Seals a secret, encrypted already, with what the system keeps for this user: nothing, on Linux.
///
/// # Errors
/// None.
pub fn seal(_purpose: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    Ok(sealed.to_vec())
}

/// Opens what [`seal`] made.
///
/// # Errors
/// None.
pub fn unseal(_purpose: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    Ok(sealed.to_vec())
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The user; the kernel's word, taken when the connection was made.
    pub user: u32,
    /// All groups of the process.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When it does not say.
    pub fn of(connection: &Connection) -> io::Result<Self> {
        // tokio reads the credentials as plain numbers: a peer in another PID namespace has process id 0 here.
        let credentials = connection.peer_cred()?;
        let mut groups = vec![credentials.gid()];
        groups.extend(peer_groups(connection));
        Ok(Self { user: credentials.uid(), groups })
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

fn peer_groups(connection: &Connection) -> Vec<u32> {
    let mut groups = vec![0u32; 256];
    let bytes = |count: usize| libc::socklen_t::try_from(count * size_of::<u32>()).unwrap_or(0);
    let mut length = bytes(groups.len());
    // SAFETY: the buffer has `length` bytes, and the descriptor is open while `connection` is borrowed.
    let status = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Vec::new();
    }
    groups.truncate(usize::try_from(length).unwrap_or(0) / size_of::<u32>());
    groups
}

/// A name of `path` that fits into a socket address; valid while the returned folder is open.
pub(super) fn short_address(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((path.to_owned(), None));
    }
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    let address = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((address, Some(folder)))
}

/// The listening socket of systemd's socket activation (`sd_listen_fds`), if this process was started by one.
pub(super) fn inherited_socket() -> Option<std::os::unix::net::UnixListener> {
    let own = std::env::var("LISTEN_PID").ok()?.parse::<u32>().ok()? == std::process::id();
    if !own || std::env::var("LISTEN_FDS").ok()? != "1" {
        return None;
    }
    // SAFETY: the protocol says that descriptor 3 is ours alone when LISTEN_PID names this process.
    let descriptor = unsafe { OwnedFd::from_raw_fd(3) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(descriptor.into())
}

/// Rings at a moment of the wall clock, across suspends, without waking up before.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the system has no timers left.
    pub fn new() -> io::Result<Self> {
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Realtime,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped.
        let timer = unsafe { AsyncFd::register(timer) };
        Ok(Self(timer.map_err(io::Error::from)?))
    }

    /// Waits until `moment`; for ever without one. A clock that is set anew ends the wait early.
    pub async fn wait(&self, moment: Option<Timestamp>) {
        let at = moment.map_or(0, |m| m.0.max(1));
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: at, tv_nsec: 0 },
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        if rustix::time::timerfd_settime(self.0.get_ref(), flags, &spec).is_err() {
            std::future::pending::<()>().await;
        }
        loop {
            let Ok(mut ready) = self.0.readable().await else { return };
            let mut count = [0u8; 8];
            match rustix::io::read(self.0.get_ref(), &mut count) {
                Err(rustix::io::Errno::WOULDBLOCK) => ready.clear_ready(),
                _ => return,
            }
        }
    }
}

/// Tells the service manager how the daemon is (`sd_notify`); silent without one.
#[derive(Debug)]
pub struct Notifier(Option<std::os::unix::net::UnixDatagram>);

impl Notifier {
    /// Finds the service manager.
    #[must_use]
    pub fn new() -> Self {
        Self(Self::connect())
    }

    fn connect() -> Option<std::os::unix::net::UnixDatagram> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        let name = name.as_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(hidden) => SocketAddr::from_abstract_name(hidden).ok()?,
            None => SocketAddr::from_pathname(OsStr::from_bytes(name)).ok()?,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect_addr(&address).ok()?;
        Some(socket)
    }

    /// Sends a state such as `READY=1`.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(state.as_bytes());
        }
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

/// Gives memory that is not used any more back to the system: freed blocks, and the pages of the program that an
/// exchange over TLS has touched and that are not needed until the next one.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
    drop_program_pages();
}

/// Unmaps the program's own code and constants; what runs next is mapped again from the page cache.
fn drop_program_pages() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start).addr().next_multiple_of(page);
    let end = (&raw const etext).addr() & !(page - 1);
    if end <= start {
        return;
    }
    let from = (&raw const __executable_start).with_addr(start).cast_mut().cast();
    // SAFETY: the range holds whole pages of the program file between its first byte and the end of its code. They are
    // mapped read-only and were never written (relocated data lies behind the code), so they read the same afterwards.
    unsafe {
        libc::madvise(from, end - start, libc::MADV_DONTNEED);
    }
}

/// Whether standard error goes to the journal, which adds the time itself.
#[must_use]
pub fn boot_log_stream() -> bool {
    // systemd says which stream it made (device:inode): a redirected one is not the journal's.
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|f| named == format!("{}:{}", f.st_dev, f.st_ino))
}

/// The system's log of events, where a daemon writes to it itself: standard error leads to the journal.
#[must_use]
pub fn event_log(_mode: Mode) -> Option<super::EventLog> {
    None
}
