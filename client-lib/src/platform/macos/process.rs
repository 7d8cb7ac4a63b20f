//! What the operating system knows about this process, its user and its peers. Unsafe: calls of the C library.
#![expect(unsafe_code, reason = "getpwuid_r, getpeereid and issetugid have no safe wrapper that fits")]

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Whether this program runs with more rights than its caller.
pub(crate) fn is_set_uid() -> bool {
    // SAFETY: no arguments, no preconditions.
    unsafe { libc::issetugid() != 0 }
}

/// Whether this process runs in an App Sandbox, which may hide folders: its home is a container then.
pub(crate) fn sandboxed() -> bool {
    std::env::var_os("APP_SANDBOX_CONTAINER_ID").is_some()
}

/// The home folder of this process's user as the user database has it.
pub(super) fn home() -> Option<PathBuf> {
    let mut buffer = vec![0 as libc::c_char; 16 * 1024];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found: *mut libc::passwd = std::ptr::null_mut();
    let uid = rustix::process::getuid().as_raw();
    // SAFETY: entry and found are places for one value each, buffer is as long as we say; all outlive the call.
    let failed = unsafe {
        libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
    };
    if failed != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so `entry` is filled and pw_dir, where not null, is a C string inside `buffer`.
    let home = unsafe {
        let dir = entry.assume_init_ref().pw_dir;
        if dir.is_null() {
            return None;
        }
        CStr::from_ptr(dir)
    };
    Some(PathBuf::from(OsStr::from_bytes(home.to_bytes()))).filter(|home| home.is_absolute())
}

/// User and process id of whoever listens at the other end of a Unix socket, by the kernel's word.
///
/// # Errors
/// What getpeereid says.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<u32>)> {
    let (mut user, mut group) = (0, 0);
    let mut process: libc::pid_t = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::pid_t>()).unwrap_or(0);
    // SAFETY: the descriptor is open while `socket` is borrowed; all others are places for one number each, and `length`
    // says how long the last one is.
    unsafe {
        if libc::getpeereid(socket.as_raw_fd(), &raw mut user, &raw mut group) != 0 {
            return Err(io::Error::last_os_error());
        }
        let told = libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERPID,
            (&raw mut process).cast(),
            &raw mut length,
        ) == 0;
        Ok((user, u32::try_from(process).ok().filter(|pid| told && *pid != 0)))
    }
}
