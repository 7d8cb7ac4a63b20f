//! The daemon's named pipe: opened so that the daemon learns who we are and can do nothing in our name, believed only
//! when its owner may be our daemon, and read and written in bounded time.
#![expect(unsafe_code, reason = "overlapped pipes and their owners have no safe wrapper")]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use claviger_protocol::layout::windows as names;
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_PIPE_BUSY, ERROR_PIPE_NOT_CONNECTED, ERROR_SEM_TIMEOUT,
    HANDLE, INVALID_HANDLE_VALUE, LocalFree, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT};
use windows_sys::Win32::Security::OWNER_SECURITY_INFORMATION;
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, FILE_GENERIC_READ, FILE_WRITE_DATA, OPEN_EXISTING, ReadFile,
    SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{GetNamedPipeServerProcessId, WaitNamedPipeW};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects};

use super::super::Peer;
use super::identity;

/// A connection to the daemon. Clones are the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Stream(Arc<Pipe>);

#[derive(Debug)]
struct Pipe {
    handle: OwnedHandle,
    /// Set for ever when the connection is shut down.
    stop: OwnedHandle,
    read_wait: AtomicU32,
    write_wait: AtomicU32,
}

fn event() -> io::Result<OwnedHandle> {
    // SAFETY: no arguments but numbers; the handle is ours.
    unsafe {
        let event = CreateEventW(std::ptr::null(), 1, 0, std::ptr::null());
        if event.is_null() {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedHandle::from_raw_handle(event))
        }
    }
}

/// Milliseconds for the system, rounded up; without bound where there is none.
fn milliseconds(wait: Option<Duration>) -> u32 {
    wait.map_or(INFINITE, |wait| {
        u32::try_from(wait.as_millis()).unwrap_or(INFINITE - 1).saturating_add(1).min(INFINITE - 1)
    })
}

/// Connects to the pipe at `path` and asks the system whose it is; `whole_machine`: it is the system daemon's.
///
/// # Errors
/// What the system says; `TimedOut` when nobody opens within `patience`.
pub(crate) fn connect(path: &Path, patience: Duration, whole_machine: bool) -> io::Result<(Stream, Peer)> {
    let handle = open(path, patience)?;
    let owner = owner(&handle)?;
    let ours = identity::own_sid().is_some_and(|own| own == owner);
    let trusted = ours || (whole_machine && names::SERVICE_USERS.contains(&owner.as_str()));
    let mut pid = 0;
    // SAFETY: the handle is open, and `pid` is a place for a number.
    let told = unsafe { GetNamedPipeServerProcessId(handle.as_raw_handle(), &raw mut pid) } != 0;
    let pipe = Pipe {
        handle,
        stop: event()?,
        read_wait: AtomicU32::new(INFINITE),
        write_wait: AtomicU32::new(INFINITE),
    };
    Ok((Stream(Arc::new(pipe)), Peer { user: owner, pid: told.then_some(pid), ours, trusted }))
}

fn open(path: &Path, patience: Duration) -> io::Result<OwnedHandle> {
    let deadline = Instant::now() + patience;
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    loop {
        // Not the right to append, which on a pipe is the right to make another one of its name; and no more of our
        // identity than it takes to know it.
        // SAFETY: the name ends with NUL; the handle is ours where it is one.
        let handle = unsafe {
            CreateFileW(
                name.as_ptr(),
                FILE_GENERIC_READ | FILE_WRITE_DATA,
                0,
                std::ptr::null(),
                OPEN_EXISTING,
                FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION,
                std::ptr::null_mut(),
            )
        };
        if handle != INVALID_HANDLE_VALUE {
            // SAFETY: just opened, and nobody else's.
            return Ok(unsafe { OwnedHandle::from_raw_handle(handle) });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(ERROR_PIPE_BUSY.cast_signed()) {
            return Err(error);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // SAFETY: the name ends with NUL.
        if unsafe { WaitNamedPipeW(name.as_ptr(), milliseconds(Some(left))) } == 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(ERROR_SEM_TIMEOUT.cast_signed()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // Gone again: the next attempt says so.
        }
    }
}

/// Whose pipe it is. Nobody can make one in another's name, and only its owner can make more of the same name.
fn owner(handle: &OwnedHandle) -> io::Result<String> {
    let (mut sid, mut descriptor) = (std::ptr::null_mut(), std::ptr::null_mut());
    let none = std::ptr::null_mut();
    // SAFETY: places for two pointers; where the call succeeds, the first points into the second, which is ours to free.
    unsafe {
        let failed = GetSecurityInfo(
            handle.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut sid,
            none,
            none.cast(),
            none.cast(),
            &raw mut descriptor,
        );
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed.cast_signed()));
        }
        let text = if sid.is_null() { None } else { identity::sid_text(sid) };
        LocalFree(descriptor);
        text.ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, "the pipe has no owner"))
    }
}

impl Stream {
    /// How long a read may take; without bound where there is none.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of a Unix socket's")]
    pub(crate) fn set_read_timeout(&self, wait: Option<Duration>) -> io::Result<()> {
        self.0.read_wait.store(milliseconds(wait), Ordering::Relaxed);
        Ok(())
    }

    /// How long a write may take; without bound where there is none.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of a Unix socket's")]
    pub(crate) fn set_write_timeout(&self, wait: Option<Duration>) -> io::Result<()> {
        self.0.write_wait.store(milliseconds(wait), Ordering::Relaxed);
        Ok(())
    }

    /// A second handle of the connection.
    #[expect(clippy::unnecessary_wraps, reason = "the signature of a Unix socket's")]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    /// Ends every wait on the connection, those to come included.
    pub(crate) fn shutdown(&self, _both: Shutdown) -> io::Result<()> {
        // SAFETY: the event is open as long as `self`.
        if unsafe { SetEvent(self.0.stop.as_raw_handle()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Starts a transfer and waits for its end; 0 when the other side is gone or the connection was shut down.
    fn transfer(
        &self,
        wait: &AtomicU32,
        start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> i32,
    ) -> io::Result<usize> {
        let done = event()?;
        let pipe = self.0.handle.as_raw_handle();
        let mut state = OVERLAPPED { hEvent: done.as_raw_handle(), ..OVERLAPPED::default() };
        let state = &raw mut state;
        let gone = |error: io::Error| {
            let code = error.raw_os_error().map(i32::cast_unsigned);
            if matches!(code, Some(ERROR_BROKEN_PIPE | ERROR_PIPE_NOT_CONNECTED)) {
                Ok(0)
            } else {
                Err(error)
            }
        };
        let mut interrupted = None;
        if start(pipe, state) == 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) {
                return gone(error);
            }
            let both = [done.as_raw_handle(), self.0.stop.as_raw_handle()];
            // SAFETY: two open handles.
            let event = unsafe { WaitForMultipleObjects(2, both.as_ptr(), 0, wait.load(Ordering::Relaxed)) };
            if event != WAIT_OBJECT_0 {
                interrupted = Some(event);
                // SAFETY: the transfer under way is ours; that it ends is waited for below.
                unsafe { CancelIoEx(pipe, state) };
            }
        }
        let mut count = 0;
        // SAFETY: waits until the system is through with `state` and the buffer, both of which are still here.
        let finished = unsafe { GetOverlappedResult(pipe, state, &raw mut count, 1) } != 0;
        match (finished, interrupted) {
            (true, _) => usize::try_from(count).map_err(io::Error::other),
            (false, Some(WAIT_TIMEOUT)) => Err(io::ErrorKind::TimedOut.into()),
            (false, Some(_)) => Ok(0),
            (false, None) => gone(io::Error::last_os_error()),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = u32::try_from(into.len()).unwrap_or(u32::MAX);
        self.transfer(&self.0.read_wait, |pipe, state| {
            // SAFETY: `transfer` keeps `state` and returns only when the system is through with the buffer.
            unsafe { ReadFile(pipe, into.as_mut_ptr(), room, std::ptr::null_mut(), state) }
        })
    }
}

impl Write for &Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = u32::try_from(from.len()).unwrap_or(u32::MAX);
        let written = self.transfer(&self.0.write_wait, |pipe, state| {
            // SAFETY: `transfer` keeps `state` and returns only when the system is through with the buffer.
            unsafe { WriteFile(pipe, from.as_ptr(), length, std::ptr::null_mut(), state) }
        })?;
        if written == 0 && !from.is_empty() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
