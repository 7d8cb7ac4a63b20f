//! What takes time: activating, giving up, notifications. Callbacks come on a thread of the library.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use claviger_client::Event;

use crate::gate::{gate, gate_or, give, object, optional_text, take, text};
use crate::license::License;
use crate::{CLV_INVALID_ARGUMENT, CLV_NO_THREAD};

/// Progress; more will follow.
pub const CLV_EVENT_PROGRESS: u32 = 1;
/// It is done: the last call.
pub const CLV_EVENT_DONE: u32 = 2;
/// It failed: the last call.
pub const CLV_EVENT_FAILED: u32 = 3;

/// News of an activation or of giving one up. It and its texts live during the call; later versions may add members at
/// its end.
#[repr(C)]
pub struct News {
    /// CLV_EVENT_…
    pub kind: u32,
    /// The product's status now.
    pub status: u32,
    /// With CLV_EVENT_FAILED a stable word for programs (`daemon_not_running`, `no_seat_left` …), otherwise empty.
    pub code: *const c_char,
    /// A sentence for people, in English.
    pub message: *const c_char,
    /// With CLV_EVENT_FAILED what to do next, otherwise (or where nothing helps) empty.
    pub advice: *const c_char,
}

/// Hears of an activation or of giving one up.
pub type EventCallback = Option<unsafe extern "C" fn(user: *mut c_void, event: *const News)>;
/// Hears of a change of status.
pub type StatusCallback = Option<unsafe extern "C" fn(user: *mut c_void, status: u32)>;
/// Frees what `user` points to. Called exactly once by every function that it is given to, also when that function
/// fails: when the library has made its last use of `user`, on any thread but an audio thread, perhaps before the
/// function returns. It calls nothing here.
pub type ReleaseCallback = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// A notification. Made by `clv_license_watch`, given back by `clv_watch_close`.
pub struct Watch {
    gates: Gates,
    /// Dropped with the handle.
    _watch: claviger_client::Watch,
}

/// The caller's pointer, which goes back to it on another thread as documented, and is released when this is dropped.
struct User(*mut c_void, ReleaseCallback);

impl Drop for User {
    fn drop(&mut self) {
        if let Some(release) = self.1.take() {
            // SAFETY: the caller gave a function of this type for this pointer; it is taken out, so called once.
            unsafe { release(self.0) };
        }
    }
}

// SAFETY: the pointer is never followed here; that its target may be used from the library's thread is what the caller
// agrees to when giving it (docs/abi.md).
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

/// Gates that callbacks go through: once shut, nothing is called any more.
#[derive(Default)]
pub(crate) struct Gates(Mutex<Vec<Arc<Mutex<bool>>>>);

impl Gates {
    fn open(&self) -> Arc<Mutex<bool>> {
        let open = Arc::new(Mutex::new(true));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|gate| Arc::strong_count(gate) > 1);
        all.push(open.clone());
        open
    }

    /// Shuts them. A call in progress is waited for, at most a millisecond in all: it may be the very one that shuts.
    pub(crate) fn silence(&self) {
        let deadline = Instant::now() + Duration::from_millis(1);
        for gate in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            loop {
                match gate.try_lock() {
                    Ok(mut open) => *open = false,
                    Err(TryLockError::Poisoned(open)) => *open.into_inner() = false,
                    Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                        std::thread::yield_now();
                        continue;
                    }
                    Err(TryLockError::WouldBlock) => {}
                }
                break;
            }
        }
    }
}

/// Runs `call` while the gate is open, and keeps it open for so long.
fn through(gate: &Mutex<bool>, call: impl FnOnce()) {
    let open = gate.lock().unwrap_or_else(PoisonError::into_inner);
    if *open {
        call();
    }
}

/// Makes a function for the client library out of a C callback.
fn teller(license: &License, callback: EventCallback, user: User) -> impl FnMut(Event) + Send + 'static {
    let gate = license.gates.open();
    let state = license.license.unleased();
    move |event| {
        // The whole of `user`, not its field: the pointer alone may not change threads.
        let user = &user;
        let Some(callback) = callback else { return };
        let (kind, code, message, advice) = match event {
            Event::Progress(text) => (CLV_EVENT_PROGRESS, String::new(), text, None),
            Event::Done(status) => (CLV_EVENT_DONE, String::new(), status.sentence().to_owned(), None),
            Event::Failed { code, message, advice } => (CLV_EVENT_FAILED, code, message, advice),
            _ => return,
        };
        let [code, message, advice] = [code, message, advice.unwrap_or_default()]
            .map(|text| CString::new(text.replace('\0', " ")).unwrap_or_default());
        let news = News {
            kind,
            status: state.status().number(),
            code: code.as_ptr(),
            message: message.as_ptr(),
            advice: advice.as_ptr(),
        };
        // SAFETY: the caller gave a function of this type and keeps `user` alive until it is released, which is when
        // this closure is dropped; the news and its texts live during the call.
        through(&gate, || unsafe { callback(user.0, &raw const news) });
    }
}

/// Asks the daemon to activate a license for this product, and returns at once. `callback` hears of progress and of the
/// end, on a thread of the library; not after `clv_license_close`. `unlock_code`: NULL for an imported serial number that
/// has none. `callback` and `release` may be NULL. Answers CLV_OK, CLV_INVALID_ARGUMENT or CLV_NO_THREAD. Any thread but
/// an audio thread.
///
/// # Safety
/// `license` is null or live; `serial` and `unlock_code` are null or C strings; `user` may be used from another thread
/// until it is released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_activate(
    license: *const License,
    serial: *const c_char,
    unlock_code: *const c_char,
    callback: EventCallback,
    release: ReleaseCallback,
    user: *mut c_void,
) -> u32 {
    let user = User(user, release);
    gate(|| {
        // SAFETY: the caller's promise.
        let (license, serial, code) =
            unsafe { (object(license)?, text(serial)?, optional_text(unlock_code)?) };
        let tell = teller(license, callback, user);
        license.license.activate(serial, code, tell).map_err(|_| CLV_NO_THREAD)
    })
}

/// Asks the daemon to give this product's activation up, and returns at once; otherwise as `clv_license_activate`. This
/// process stays licensed until it ends; the next one is not.
///
/// # Safety
/// As `clv_license_activate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_deactivate(
    license: *const License,
    callback: EventCallback,
    release: ReleaseCallback,
    user: *mut c_void,
) -> u32 {
    let user = User(user, release);
    gate(|| {
        // SAFETY: the caller's promise.
        let license = unsafe { object(license) }?;
        let tell = teller(license, callback, user);
        license.license.deactivate(tell).map_err(|_| CLV_NO_THREAD)
    })
}

/// Calls `callback` with the status whenever something about this product changes, on a thread of the library, until
/// `clv_watch_close`. Answers CLV_OK, CLV_INVALID_ARGUMENT or CLV_NO_THREAD. Any thread but an audio thread. Where a
/// callback is unwelcome, compare `clv_license_changes` instead.
///
/// # Safety
/// `license` is null or live; `out` is null or valid for a write; `user` may be used from another thread until it is
/// released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_watch(
    license: *const License,
    callback: StatusCallback,
    release: ReleaseCallback,
    user: *mut c_void,
    out: *mut *mut Watch,
) -> u32 {
    let user = User(user, release);
    gate(|| {
        // SAFETY: the caller's promise.
        let license = unsafe { object(license) }?;
        let Some(callback) = callback else { return Err(CLV_INVALID_ARGUMENT) };
        if out.is_null() {
            return Err(CLV_INVALID_ARGUMENT);
        }
        let gates = Gates::default();
        let gate = gates.open();
        let watch = license.license.watch(move |status| {
            let user = &user;
            // SAFETY: as in `teller`.
            through(&gate, || unsafe { callback(user.0, status.number()) });
        });
        let watch = watch.map_err(|_| CLV_NO_THREAD)?;
        // SAFETY: not null, and the caller's promise.
        unsafe { give(out, Watch { gates, _watch: watch }) };
        Ok(())
    })
}

/// Ends a notification; NULL is nothing. Its callback is not called afterwards. Waits at most 5 ms. Any thread but an
/// audio thread.
///
/// # Safety
/// `watch` is null or a handle that was not given back yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_watch_close(watch: *mut Watch) {
    gate_or((), || {
        // SAFETY: the caller's promise.
        if let Some(watch) = unsafe { take(watch) } {
            watch.gates.silence();
        }
    });
}
