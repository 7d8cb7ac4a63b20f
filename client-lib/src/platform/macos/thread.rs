//! Threads that a host does not notice: signals blocked, a small stack, and no destructors of thread-local values on the
//! host's thread that starts one. Unsafe: the C library's own thread calls.
#![expect(unsafe_code, reason = "pthread_create and dlopen have no safe wrapper")]

use std::ffi::c_void;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const STACK: usize = 512 * 1024;

/// A running thread.
#[derive(Debug)]
pub(crate) struct Thread {
    id: libc::pthread_t,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

struct Start {
    body: Box<dyn FnOnce() + Send>,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: `start` is the box that `Thread::start` gave away to this thread alone.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    let Start { body, ended } = *start;
    // A panic must not leave through the C library.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    *ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    ended.1.notify_all();
    std::ptr::null_mut()
}

impl Thread {
    /// Starts a thread that runs `body` once.
    pub(crate) fn start(body: Box<dyn FnOnce() + Send>) -> io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let start = Box::into_raw(Box::new(Start { body, ended: ended.clone() }));
        let mut id = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
        // SAFETY: the sets and attributes are initialised by the calls before their use; the new thread inherits the
        // mask, and ours is put back. `start` belongs to the new thread once it exists, and to us again if it does not.
        unsafe {
            let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(all.as_mut_ptr());
            let masked = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0;
            let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
            let mut error = libc::pthread_attr_init(attributes.as_mut_ptr());
            if error == 0 {
                libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
                error = libc::pthread_create(id.as_mut_ptr(), attributes.as_ptr(), run, start.cast());
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
            }
            if masked {
                libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
            }
            if error != 0 {
                drop(Box::from_raw(start));
                return Err(io::Error::from_raw_os_error(error));
            }
            Ok(Self { id: id.assume_init(), ended })
        }
    }

    /// Waits until the thread has left our code, for at most `patience`. Otherwise pins our code in memory for the rest
    /// of the process and lets the thread run on. There is no join in bounded time here, so one that has ended is joined
    /// (all that is left to it is to return).
    pub(crate) fn end(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(ended);
                pin();
                // SAFETY: the thread was neither joined nor detached before: both consume `self`.
                unsafe { libc::pthread_detach(self.id) };
                return false;
            }
            ended = self.ended.1.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(ended);
        // SAFETY: as above; the result is not wanted.
        unsafe { libc::pthread_join(self.id, std::ptr::null_mut()) == 0 }
    }
}

// A thread's id is a pointer on macOS; it names the thread from every thread.
// SAFETY: the id is only handed to calls that any thread may make for any thread.
unsafe impl Send for Thread {}

/// Keeps the library that this code is in mapped until the process ends.
fn pin() {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: the address is that of a function of ours; `info` is filled where the call succeeds, and its name is a C
    // string that lives as long as the library. The handle is leaked on purpose.
    unsafe {
        if libc::dladdr(pin as *const c_void, info.as_mut_ptr()) != 0 {
            let name = info.assume_init().dli_fname;
            if !name.is_null() {
                libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
            }
        }
    }
}
