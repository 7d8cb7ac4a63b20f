//! Waiting for the system's own events without a thread of ours: an alarm by the wall clock, and being told to end.
#![expect(unsafe_code, reason = "waitable timers and named events have no safe wrapper")]

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::sync::Arc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::layout::windows as names;
use tokio::signal::windows;
use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Console::{CTRL_LOGOFF_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::Threading::{
    CancelWaitableTimer, CreateEventW, CreateWaitableTimerW, INFINITE, RegisterWaitForSingleObject,
    SetWaitableTimer, UnregisterWaitEx, WT_EXECUTEDEFAULT,
};

use super::identity;
use super::security::Descriptor;
use super::service;

/// An object of the system's that rings a [`Notify`] whenever it is signalled.
#[derive(Debug)]
struct Bell {
    object: OwnedHandle,
    wait: Wait,
    rung: Arc<Notify>,
}

/// A registration with the system, taken back when dropped.
#[derive(Debug)]
struct Wait(HANDLE);

// SAFETY: the handle is only given back, which any thread may do.
unsafe impl Send for Wait {}
// SAFETY: as above.
unsafe impl Sync for Wait {}

unsafe extern "system" fn ring(rung: *mut c_void, _timed_out: bool) {
    // SAFETY: `Bell` keeps the value until no call of this function can be under way.
    unsafe { &*rung.cast::<Notify>() }.notify_one();
}

impl Bell {
    fn hang(object: OwnedHandle) -> io::Result<Self> {
        let rung = Arc::new(Notify::new());
        let mut wait = std::ptr::null_mut();
        // SAFETY: the object is open, and `rung` lives until the registration is taken back.
        let hung = unsafe {
            RegisterWaitForSingleObject(
                &raw mut wait,
                object.as_raw_handle(),
                Some(ring),
                Arc::as_ptr(&rung).cast(),
                INFINITE,
                WT_EXECUTEDEFAULT,
            )
        };
        if hung == 0 { Err(io::Error::last_os_error()) } else { Ok(Self { object, wait: Wait(wait), rung }) }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: taken back once; waits until no call of `ring` is under way, so `rung` may go afterwards.
        unsafe { UnregisterWaitEx(self.wait.0, INVALID_HANDLE_VALUE) };
    }
}

/// Seconds between the epochs of Windows (1601) and of Unix.
const EPOCHS: i64 = 11_644_473_600;

/// Rings at a moment of the wall clock, across suspends, without waking up before. A clock that is set anew moves it.
#[derive(Debug)]
pub struct Alarm(Bell);

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the system has no timers left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no arguments but numbers; the handle is ours where it is one. The timer resets itself.
        let timer = unsafe {
            let timer = CreateWaitableTimerW(std::ptr::null(), 0, std::ptr::null());
            if timer.is_null() {
                return Err(io::Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(timer)
        };
        Bell::hang(timer).map(Self)
    }

    /// Waits until `moment`; for ever without one.
    pub async fn wait(&self, moment: Option<Timestamp>) {
        let timer = self.0.object.as_raw_handle();
        match moment {
            Some(moment) => {
                // In tenths of microseconds; a positive number is a moment, a negative one a delay.
                let due = moment.0.max(1).saturating_add(EPOCHS).saturating_mul(10_000_000);
                // SAFETY: the timer is open, and the moment is read during the call.
                unsafe { SetWaitableTimer(timer, &raw const due, 0, None, std::ptr::null(), 0) };
            }
            // SAFETY: the timer is open.
            None => unsafe {
                CancelWaitableTimer(timer);
            },
        }
        self.0.rung.notified().await;
    }
}

/// What ends the daemon in an orderly way: Ctrl-C, a console that closes, the computer that is shut down, the service
/// manager, and the event that `claviger daemon uninstall` sets.
///
/// Not a user who logs off: only services are told of that, whoever it is, and they serve the others. A user's own daemon
/// has no console that could tell it and is ended by the system, which the next start settles like any other end.
#[derive(Debug)]
pub struct Shutdown {
    interrupt: windows::CtrlC,
    broken: windows::CtrlBreak,
    closed: windows::CtrlClose,
    powered_off: windows::CtrlShutdown,
    told: Option<Bell>,
}

impl Shutdown {
    /// Listens for them.
    ///
    /// # Errors
    /// When the handlers cannot be set.
    pub fn new() -> io::Result<Self> {
        let ours = Self {
            interrupt: windows::ctrl_c()?,
            broken: windows::ctrl_break()?,
            closed: windows::ctrl_close()?,
            powered_off: windows::ctrl_shutdown()?,
            // Without it the daemon ends by the other ways only.
            told: stop_event().and_then(Bell::hang).ok(),
        };
        // Set last, it is asked first.
        // SAFETY: the handler is a function that never goes.
        if unsafe { SetConsoleCtrlHandler(Some(stay), 1) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(ours)
    }

    /// Waits for one.
    pub async fn wait(&mut self) {
        let told = async {
            match &self.told {
                Some(bell) => bell.rung.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.broken.recv() => {}
            _ = self.closed.recv() => {}
            _ = self.powered_off.recv() => {}
            () = told => {}
            () = service::stopped() => {}
        }
    }
}

/// Answers that a user who logs off is dealt with: unanswered, the system's own handler would end the process.
unsafe extern "system" fn stay(what: u32) -> i32 {
    i32::from(what == CTRL_LOGOFF_EVENT)
}

fn stop_event() -> io::Result<OwnedHandle> {
    let own = identity::own_sid().ok_or(io::ErrorKind::PermissionDenied)?;
    let descriptor = Descriptor::read(&format!("D:P(A;;GA;;;{own})(A;;GA;;;SY)"))?;
    let attributes = descriptor.attributes();
    let name: Vec<u16> = names::stop_event(std::process::id()).encode_utf16().chain([0]).collect();
    // SAFETY: the name ends with NUL, and the attributes outlive the call; the handle is ours where it is one.
    unsafe {
        let event = CreateEventW(&raw const attributes, 0, 0, name.as_ptr());
        let error = io::Error::last_os_error();
        if event.is_null() {
            return Err(error);
        }
        let event = OwnedHandle::from_raw_handle(event);
        // Then its rights are not ours, and whoever has made it could end us.
        let taken = error.raw_os_error() == Some(ERROR_ALREADY_EXISTS.cast_signed());
        if taken { Err(error) } else { Ok(event) }
    }
}
