//! What the operating system knows about this process and its user. Unsafe: three calls of the C library.
#![expect(
    unsafe_code,
    reason = "getauxval, getpwuid_r and SO_PEERCRED have no safe wrapper among our dependencies that fits"
)]

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::super::EntryKind;

/// Whether this program runs with more rights than its caller (set-uid, set-gid, file capabilities).
pub(crate) fn is_set_uid() -> bool {
    // SAFETY: getauxval takes a number and reads a table that the kernel filled before the program began.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// User and process id of whoever listens at the other end of a Unix socket, by the kernel's word.
///
/// rustix takes the process id for one that is never 0. It is 0 where the peer lives in a PID namespace that we do not
/// see into: a container, Flatpak. That is `None` here.
///
/// # Errors
/// What getsockopt says.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<u32>)> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: `peer` has `length` bytes and any bytes are a ucred; the descriptor is open while `socket` is borrowed.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((peer.uid, u32::try_from(peer.pid).ok().filter(|pid| *pid != 0)))
}

/// The home folder of this process's user as the user database has it.
///
/// `/etc/passwd` is read first: it costs three system calls and cannot hang. Only a user who is not in it costs a call
/// of the C library, which may ask a directory server.
pub(crate) fn home() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let passwd = super::read(Path::new("/etc/passwd"), EntryKind::Untold, 1024 * 1024).unwrap_or_default();
    home_in_passwd(&passwd, uid).or_else(|| home_by_name_service(uid)).filter(|home| home.is_absolute())
}

fn home_in_passwd(passwd: &[u8], uid: u32) -> Option<PathBuf> {
    passwd.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let id = std::str::from_utf8(fields.nth(2)?).ok()?;
        let home = fields.nth(2)?;
        (id.parse() == Ok(uid) && !home.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(home)))
    })
}

fn home_by_name_service(uid: u32) -> Option<PathBuf> {
    let mut buffer = vec![0 as libc::c_char; 16 * 1024];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found: *mut libc::passwd = std::ptr::null_mut();
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
    (!home.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(home.to_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_lines() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/sh\nbroken\nu:x:1000:1000:A,B:/home/u:/bin/sh\nv:x:1001:1::/h";
        assert_eq!(home_in_passwd(passwd, 1000), Some("/home/u".into()));
        assert_eq!(home_in_passwd(passwd, 1001), Some("/h".into()));
        assert_eq!(home_in_passwd(passwd, 7), None);
    }

    #[test]
    fn name_service_knows_root() {
        assert_eq!(home_by_name_service(0), Some("/root".into()));
        assert_eq!(home_by_name_service(0x7fff_fff0), None);
        assert!(!is_set_uid());
    }
}
