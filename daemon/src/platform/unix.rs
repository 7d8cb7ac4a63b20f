//! What Linux and macOS do alike: homes from the user database, file modes, flock, the Unix socket, signals.
#![expect(unsafe_code, reason = "the few C calls that have no safe wrapper, each with its SAFETY line")]

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::io::Interest;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{BindError, LockError, Mode, Paths, PathsError, Visibility, system};

/// The home folder that the user database names: sandboxes and `sudo` rewrite `HOME`.
pub(super) fn passwd_home(uid: u32) -> Option<PathBuf> {
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

/// What `CLAVIGER_HOME` names, if it counts.
///
/// # Errors
/// [`PathsError::RelativeHome`].
pub(super) fn portable_home() -> Result<Option<PathBuf>, PathsError> {
    let Some(home) = std::env::var_os("CLAVIGER_HOME").filter(|home| !home.is_empty()) else {
        return Ok(None);
    };
    if system::runs_with_borrowed_rights() {
        return Ok(None);
    }
    let home = PathBuf::from(home);
    if home.is_absolute() { Ok(Some(home)) } else { Err(PathsError::RelativeHome) }
}

/// Says in a sentence without its stop if others than an administrator can change a file or swap it for another; a
/// link counts as that. At another place than the fixed one of the administrator's policy (tests) the daemon's own
/// user stands for root.
///
/// # Errors
/// When the system does not say.
pub fn changed_by_others(path: &Path) -> io::Result<Option<String>> {
    let (owner, writers) = if path == Path::new(system::POLICY) {
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

/// What tells one state of a file from the next. Nobody can set the moment of its last change back, as one can that of
/// its content.
pub(super) fn stamp(about: &fs::Metadata) -> super::files::Stamp {
    let changed = about.ctime().saturating_mul(1_000_000_000).saturating_add(about.ctime_nsec());
    [about.dev(), about.ino(), about.len(), changed.max(0).cast_unsigned()]
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

/// Puts a complete and synced file in the place of another, in one step.
pub(super) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(folder: &Path) -> io::Result<()> {
    system::sync_file(&File::open(folder)?)
}

/// Keeps a second daemon away from the same state. Held on the folder itself, so that a full disk cannot prevent it.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
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

    /// The same for a folder that has taken the place of the one that was locked.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn renew(self, folder: &Path) -> Result<Self, LockError> {
        Self::take(folder)
    }
}

/// A connected local client.
pub type Connection = tokio::net::UnixStream;

/// Waits until a client that is being told of changes hangs up, which gives true, or says something, which gives false.
///
/// # Errors
/// What the system says; the connection is of no use then.
pub async fn hung_up(connection: &Connection) -> io::Result<bool> {
    Ok(connection.ready(Interest::READABLE).await?.is_read_closed())
}

/// Whether the system knows a group of this name.
#[must_use]
pub fn group_exists(name: &str) -> bool {
    group_id(name).is_some()
}

/// The number of the group of this name.
pub(super) fn group_id(name: &str) -> Option<u32> {
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

impl Listener {
    /// Listens on the socket that the service manager passed, or makes the one of `paths`. The caller holds the state's lock, so
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
        if let Some(socket) = system::inherited_socket() {
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
            system::short_address(&paths.socket).map_err(|e| error("its folder cannot be opened", e))?;
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
            && let Ok((address, _folder)) = system::short_address(path)
        {
            let _ = fs::remove_file(address);
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

/// Runs the daemon; service managers of these systems start plain programs.
pub fn supervised(_mode: Mode, run: fn() -> ExitCode) -> ExitCode {
    run()
}

/// Lets the daemon keep as many descriptors as the administrator allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// This process.
#[must_use]
pub fn process_id() -> u32 {
    std::process::id()
}

/// Ends this process as `kill -9` would.
pub fn kill_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
