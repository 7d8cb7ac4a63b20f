//! The daemon as a Windows service: started, told of and stopped by the service manager, with its words in the log of
//! events.
#![expect(unsafe_code, reason = "the service manager and the log of events have no safe wrapper")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use claviger_protocol::layout::windows as names;
use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, HANDLE, NO_ERROR,
};
use windows_sys::Win32::System::EventLog::{
    EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW, ReportEventW,
};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_SHUTDOWN, SERVICE_ACCEPT_STOP, SERVICE_CONTROL_INTERROGATE,
    SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP, SERVICE_RUNNING, SERVICE_START_PENDING, SERVICE_STATUS,
    SERVICE_STATUS_CURRENT_STATE, SERVICE_STOP_PENDING, SERVICE_STOPPED, SERVICE_TABLE_ENTRYW,
    SERVICE_WIN32_OWN_PROCESS, SetServiceStatus, StartServiceCtrlDispatcherW,
};

use super::super::{EventLog, Mode, Weight};

static RUN: OnceLock<fn() -> ExitCode> = OnceLock::new();
static ENDED: Mutex<Option<ExitCode>> = Mutex::new(None);
static MANAGER: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(std::ptr::null_mut());
static STOP: Notify = Notify::const_new();

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// Runs the daemon: for the service manager where that has started this process, else at once.
pub fn supervised(mode: Mode, run: fn() -> ExitCode) -> ExitCode {
    if mode != Mode::System {
        return run();
    }
    let run = RUN.get_or_init(|| run);
    let mut name = wide(names::SERVICE);
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(main) },
        SERVICE_TABLE_ENTRYW::default(),
    ];
    // SAFETY: the table ends with an empty entry, and it and the name outlive the call, which returns when the service
    // has stopped, or at once where nobody started this process as one.
    if unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) } == 0 {
        return run();
    }
    ENDED.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(ExitCode::FAILURE)
}

unsafe extern "system" fn main(_count: u32, _arguments: *mut *mut u16) {
    let name = wide(names::SERVICE);
    // SAFETY: the name ends with NUL, and the handler is a function that never goes.
    let manager = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(control), std::ptr::null()) };
    MANAGER.store(manager, Ordering::SeqCst);
    report(SERVICE_START_PENDING, 0);
    let code = RUN.get().map_or(ExitCode::FAILURE, |run| run());
    *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    report(SERVICE_STOPPED, u32::from(code != ExitCode::SUCCESS));
}

unsafe extern "system" fn control(
    what: u32,
    _kind: u32,
    _data: *mut core::ffi::c_void,
    _context: *mut core::ffi::c_void,
) -> u32 {
    match what {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN => STOP.notify_one(),
        SERVICE_CONTROL_INTERROGATE => {}
        _ => return ERROR_CALL_NOT_IMPLEMENTED,
    }
    NO_ERROR
}

/// Tells the service manager, if it is there. A service that takes longer than half a minute to start or stop is stuck.
fn report(state: SERVICE_STATUS_CURRENT_STATE, code: u32) {
    let manager = MANAGER.load(Ordering::SeqCst);
    if manager.is_null() {
        return;
    }
    let on_the_way = state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING;
    let status = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: state,
        dwControlsAccepted: if on_the_way { 0 } else { SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN },
        // Numbers of ours are no numbers of the system's.
        dwWin32ExitCode: if code == 0 { NO_ERROR } else { ERROR_SERVICE_SPECIFIC_ERROR },
        dwServiceSpecificExitCode: code,
        dwCheckPoint: u32::from(on_the_way),
        dwWaitHint: if on_the_way { 30_000 } else { 0 },
    };
    // SAFETY: the manager's handle is good until the process ends.
    unsafe { SetServiceStatus(manager, &raw const status) };
}

/// Waits until the service manager wants the daemon to end.
pub(super) async fn stopped() {
    STOP.notified().await;
}

/// Tells the service manager how the daemon is; silent without one.
#[derive(Debug, Default)]
pub struct Notifier(());

impl Notifier {
    /// Finds the service manager.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }

    /// Sends a state such as `READY=1`.
    pub fn tell(&self, state: &str) {
        match state {
            "READY=1" => report(SERVICE_RUNNING, 0),
            "STOPPING=1" => report(SERVICE_STOP_PENDING, 0),
            _ => {}
        }
    }
}

struct Source(HANDLE);

// SAFETY: the log of events takes reports from any thread.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    fn report(&self, weight: Weight, text: &str) {
        let kind = match weight {
            Weight::Error => EVENTLOG_ERROR_TYPE,
            Weight::Warning => EVENTLOG_WARNING_TYPE,
            Weight::Information => EVENTLOG_INFORMATION_TYPE,
        };
        let text = wide(&text.replace('\0', ""));
        let strings = [text.as_ptr()];
        let none = std::ptr::null_mut();
        // SAFETY: one text that ends with NUL, read during the call.
        unsafe { ReportEventW(self.0, kind, 0, 1, none, 1, 0, strings.as_ptr(), none) };
    }
}

/// The Application log, for the system's daemon.
#[must_use]
pub fn event_log(mode: Mode) -> Option<EventLog> {
    if mode != Mode::System {
        return None;
    }
    let name = wide(names::SERVICE);
    // SAFETY: the name ends with NUL.
    let source = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
    if source.is_null() {
        return None;
    }
    let source = Source(source);
    Some(Box::new(move |weight, text| source.report(weight, text)))
}
