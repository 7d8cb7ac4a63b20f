//! Linux: passwd homes, `/etc/machine-id`, flock, Unix sockets with `SO_PEERCRED`, timerfd alarms, `sd_notify`.
#![expect(unsafe_code, reason = "the few C calls that have no safe wrapper, each with its SAFETY line")]

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::MachineId;
use claviger_protocol::layout::{self, Home};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Mode, Paths, PathsError, Visibility};

/// Longest path that fits into a socket address.
const MAX_SOCKET_PATH: usize = 107;

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
    if let Some(home) = std::env::var_os("CLAVIGER_HOME").filter(|h| !h.is_empty())
        && !runs_with_borrowed_rights()
    {
        let home = PathBuf::from(home);
        if !home.is_absolute() {
            return Err(PathsError::RelativeHome);
        }
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
fn runs_with_borrowed_rights() -> bool {
    // SAFETY: the call reads the process's own auxiliary vector and has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The home folder that the user database names: sandboxes and `sudo` rewrite `HOME`.
fn passwd_home(uid: u32) -> Option<PathBuf> {
    let mut buffer = vec![0u8; 16 * 1024];
    // SAFETY: an all-zero passwd is a valid value of plain pointers and integers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
    let status = unsafe {
        libc::getpwuid_r(uid, &raw mut entry, buffer.as_mut_ptr().cast(), buffer.len(), &raw mut found)
    };
    if status != 0 || found.is_null() || entry.pw_dir.is_null() {
        return None;
    }
    // SAFETY: on success pw_dir points to a NUL-ended text inside `buffer`, which is still alive.
    let home = unsafe { CStr::from_ptr(entry.pw_dir) };
    let home = PathBuf::from(OsStr::from_bytes(home.to_bytes()));
    home.is_absolute().then_some(home)
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

/// Says in a sentence without its stop if others than an administrator can change a file or swap it for another; a
/// link counts as that. At another place than the fixed one of the administrator's policy (tests) the daemon's own
/// user stands for root.
///
/// # Errors
/// When the system does not say.
pub fn changed_by_others(path: &Path) -> io::Result<Option<String>> {
    let (owner, writers) = if path == Path::new(layout::linux::POLICY) {
        (0, 0o022)
    } else {
        (rustix::process::geteuid().as_raw(), 0o002)
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    for (place, found) in [(folder, fs::metadata(folder)?), (path, fs::symlink_metadata(path)?)] {
        let why = if place == path && !found.is_file() {
            "is not a file of its own"
        } else if found.uid() != 0 && found.uid() != owner {
            "belongs to another user than root"
        } else if found.mode() & writers != 0 {
            "can be changed by others than root"
        } else {
            continue;
        };
        return Ok(Some(format!("{} {why}", place.display())));
    }
    Ok(None)
}

pub(super) fn create_dir(path: &Path, visibility: Visibility) -> io::Result<()> {
    let mode = if visibility == Visibility::Public { 0o755 } else { 0o700 };
    fs::DirBuilder::new().mode(mode).create(path)?;
    // The umask may have taken bits away that plug-ins of other users need.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(super) fn create_file(path: &Path, visibility: Visibility) -> io::Result<File> {
    let mode = if visibility == Visibility::Public { 0o644 } else { 0o600 };
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .custom_flags(flags)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// Keeps a second daemon away from the same state. Held on the folder itself, so that a full disk cannot prevent it.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon holds it.
    #[error("another daemon is already using {0}")]
    Held(PathBuf),
    /// The folder cannot be opened or locked.
    #[error("could not lock the folder {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lock {
    /// Locks a folder until the value is dropped or the process ends.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: folder.to_owned(), source };
        let file = File::open(folder).map_err(io)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _folder: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held(folder.to_owned())),
            Err(e) => Err(io(e.into())),
        }
    }
}

/// A connected local client.
pub type Connection = tokio::net::UnixStream;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The user; on Linux the kernel's word, taken when the connection was made.
    pub uid: u32,
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
        Ok(Self { uid: credentials.uid(), groups })
    }

    /// Whether this is the daemon's own user, or root.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }

    /// The system's word for the account: what a consent is filed under.
    #[must_use]
    pub fn account(&self) -> String {
        self.uid.to_string()
    }

    /// Whether this is root.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.uid == 0
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

fn group_id(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0u8; 64 * 1024];
    // SAFETY: an all-zero group is a valid value of plain pointers and integers.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and the length is that of the buffer.
    let status = unsafe {
        libc::getgrnam_r(
            name.as_ptr(),
            &raw mut entry,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &raw mut found,
        )
    };
    (status == 0 && !found.is_null()).then_some(entry.gr_gid)
}

/// The local socket.
#[derive(Debug)]
pub struct Listener {
    socket: tokio::net::UnixListener,
    path: Option<PathBuf>,
}

/// Why the local socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {path}: {why}")]
pub struct BindError {
    path: String,
    why: String,
    /// What the system said.
    #[source]
    source: Option<io::Error>,
}

impl Listener {
    /// Listens on the socket that systemd passed, or makes the one of `paths`. The caller holds the state's lock, so
    /// a socket file that is there already belongs to a daemon that is gone.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(paths: &Paths) -> Result<Self, BindError> {
        let error = |why: &str, source: io::Error| BindError {
            path: paths.socket.display().to_string(),
            why: why.to_owned(),
            source: Some(source),
        };
        if let Some(socket) = inherited_socket() {
            socket.set_nonblocking(true).map_err(|e| error("the inherited socket is unusable", e))?;
            let socket = tokio::net::UnixListener::from_std(socket)
                .map_err(|e| error("the inherited socket is unusable", e))?;
            return Ok(Self { socket, path: None });
        }
        let folder = paths.socket.parent().unwrap_or(Path::new("/"));
        let system = paths.mode == Mode::System;
        let visibility = if system { Visibility::Public } else { Visibility::Private };
        super::make_dir(folder, visibility).map_err(|e| error("its folder cannot be made", e.source))?;
        let found = fs::symlink_metadata(folder).map_err(|e| error("its folder cannot be read", e))?;
        if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
            return Err(BindError {
                path: paths.socket.display().to_string(),
                why: "its folder belongs to another user".to_owned(),
                source: None,
            });
        }
        let mode = if system { 0o755 } else { 0o700 };
        if found.mode() & 0o777 != mode {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode))
                .map_err(|e| error("its folder cannot be made private", e))?;
        }
        let (address, _folder) =
            short_address(&paths.socket).map_err(|e| error("its folder cannot be opened", e))?;
        match fs::remove_file(&address) {
            Err(_) if fs::symlink_metadata(&address).is_ok_and(|found| found.is_dir()) => {
                return Err(BindError {
                    path: paths.socket.display().to_string(),
                    why: "a folder stands in its place: move it away".to_owned(),
                    source: None,
                });
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(error("the old socket cannot be removed", e));
            }
            _ => {}
        }
        let socket = tokio::net::UnixListener::bind(&address).map_err(|e| error("it cannot be bound", e))?;
        let mode = if system { 0o666 } else { 0o600 };
        fs::set_permissions(&address, fs::Permissions::from_mode(mode))
            .map_err(|e| error("its permissions cannot be set", e))?;
        Ok(Self { socket, path: Some(paths.socket.clone()) })
    }

    /// Waits for a client.
    ///
    /// # Errors
    /// What `accept` says: out of descriptors, mostly.
    pub async fn accept(&self) -> io::Result<Connection> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Ok((address, _folder)) = short_address(path)
        {
            let _ = fs::remove_file(address);
        }
    }
}

/// A name of `path` that fits into a socket address; valid while the returned folder is open.
fn short_address(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((path.to_owned(), None));
    }
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    let address = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((address, Some(folder)))
}

/// The listening socket of systemd's socket activation (`sd_listen_fds`), if this process was started by one.
fn inherited_socket() -> Option<std::os::unix::net::UnixListener> {
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

/// Signals that end the daemon in an orderly way.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdown {
    /// Listens for them.
    ///
    /// # Errors
    /// When the handlers cannot be set.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
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

/// Lets the daemon keep as many descriptors as the administrator allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
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

/// This process.
#[must_use]
pub fn process_id() -> u32 {
    std::process::id()
}

/// Whether standard error goes to the journal, which adds the time itself.
#[must_use]
pub fn boot_log_stream() -> bool {
    // systemd says which stream it made (device:inode): a redirected one is not the journal's.
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|f| named == format!("{}:{}", f.st_dev, f.st_ino))
}

/// Ends this process as `kill -9` would.
pub fn kill_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
