//! Threads that a host does not notice. Each holds its own reference to our code and gives it back as its last act, so
//! whoever unloads the plug-in need not wait for it to be gone: waiting for a thread's end under the loader's lock would
//! wait for ever.
#![expect(unsafe_code, reason = "CreateThread and FreeLibraryAndExitThread have no safe wrapper")]

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{FreeLibrary, HMODULE};
use windows_sys::Win32::System::LibraryLoader::{
    FreeLibraryAndExitThread, GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GetModuleHandleExW,
};
use windows_sys::Win32::System::Threading::{CreateThread, STACK_SIZE_PARAM_IS_A_RESERVATION};

const STACK: usize = 512 * 1024;

/// A running thread.
#[derive(Debug)]
pub(crate) struct Thread {
    ended: Arc<(Mutex<bool>, Condvar)>,
}

struct Start {
    body: Box<dyn FnOnce() + Send>,
    ended: Arc<(Mutex<bool>, Condvar)>,
    module: HMODULE,
}

unsafe extern "system" fn run(start: *mut c_void) -> u32 {
    let module = {
        // SAFETY: `start` is the box that `Thread::start` gave away to this thread alone.
        let start = unsafe { Box::from_raw(start.cast::<Start>()) };
        let Start { body, ended, module } = *start;
        // A panic must not leave through the system.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        *ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        ended.1.notify_all();
        module
    };
    // SAFETY: the reference is the one that `Thread::start` took for this thread; nothing of ours runs afterwards.
    unsafe { FreeLibraryAndExitThread(module, 0) }
}

impl Thread {
    /// Starts a thread that runs `body` once.
    pub(crate) fn start(body: Box<dyn FnOnce() + Send>) -> io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let mut module: HMODULE = std::ptr::null_mut();
        let here: *const u16 = (run as *const ()).cast();
        // SAFETY: with this flag the second argument is an address inside our code; `module` is a place for a handle.
        if unsafe { GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, here, &raw mut module) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let start = Box::into_raw(Box::new(Start { body, ended: ended.clone(), module }));
        let flags = STACK_SIZE_PARAM_IS_A_RESERVATION;
        // SAFETY: `start` belongs to the new thread once it exists, and to us again if it does not; so does the reference.
        unsafe {
            let id = std::ptr::null_mut();
            let handle = CreateThread(std::ptr::null(), STACK, Some(run), start.cast(), flags, id);
            if handle.is_null() {
                let error = io::Error::last_os_error();
                drop(Box::from_raw(start));
                FreeLibrary(module);
                return Err(error);
            }
            drop(OwnedHandle::from_raw_handle(handle));
        }
        Ok(Self { ended })
    }

    /// Waits until the thread has left our code, for at most `patience`. Otherwise lets it run on: its own reference
    /// keeps the code in memory until it is done.
    pub(crate) fn end(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            ended = self.ended.1.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
