//! Threads that a host does not notice. Unsafe: the C library's own thread calls.
//!
//! `std::thread` would register destructors of thread-local values on the host's thread that starts one, which keeps a
//! plug-in's code mapped for ever; and its `join` cannot be bounded. These threads block all signals, so that a host's
//! handlers never run on them, and have a small stack.
#![expect(unsafe_code, reason = "pthread_create, pthread_timedjoin_np and dlopen have no safe wrapper")]

use std::ffi::c_void;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const STACK: usize = 512 * 1024;
/// How long a thread that is done with our work is at least given to return.
const RETURN: Duration = Duration::from_millis(1);

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
        let mut id: libc::pthread_t = 0;
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
                error = libc::pthread_create(&raw mut id, attributes.as_ptr(), run, start.cast());
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
            }
            if masked {
                libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
            }
            if error != 0 {
                drop(Box::from_raw(start));
                return Err(io::Error::from_raw_os_error(error));
            }
        }
        Ok(Self { id, ended })
    }

    /// Waits until the thread has left our code, for at most `patience`. Otherwise pins our code in memory for the rest
    /// of the process and lets the thread run on.
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
        // All that is left to it is to return; bounded all the same, because a loader lock may be held here.
        let left = deadline.saturating_duration_since(Instant::now()).max(RETURN);
        let mut until = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `until` is a place for a time; the thread is joined or detached once, because `self` is consumed.
        unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut until);
            until.tv_sec += libc::time_t::try_from(left.as_secs()).unwrap_or(0);
            until.tv_nsec += libc::c_long::from(i32::try_from(left.subsec_nanos()).unwrap_or(0));
            if until.tv_nsec >= 1_000_000_000 {
                until.tv_sec += 1;
                until.tv_nsec -= 1_000_000_000;
            }
            if libc::pthread_timedjoin_np(self.id, std::ptr::null_mut(), &raw const until) == 0 {
                return true;
            }
            pin();
            libc::pthread_detach(self.id);
        }
        false
    }
}

/// Keeps the shared object that this code is in mapped until the process ends.
fn pin() {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: the address is that of a function of ours; `info` is filled where the call succeeds, and its name is a C
    // string that lives as long as the object. The handle is leaked on purpose.
    unsafe {
        if libc::dladdr(pin as *const c_void, info.as_mut_ptr()) != 0 {
            let name = info.assume_init().dli_fname;
            if !name.is_null() {
                libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_time_or_is_left_alone() {
        let thread = Thread::start(Box::new(|| {})).unwrap();
        assert!(thread.end(Duration::from_secs(60)));
        let thread = Thread::start(Box::new(|| panic!("on purpose"))).unwrap();
        assert!(thread.end(Duration::from_secs(60)));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = Thread::start(Box::new(move || {
            let _ = stopped.recv();
        }))
        .unwrap();
        // Returns although the thread cannot end before `stop` is dropped.
        assert!(!thread.end(Duration::from_millis(5)));
        drop(stop);
    }
}
