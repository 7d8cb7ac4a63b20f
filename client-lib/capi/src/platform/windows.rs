//! Windows: the loader calls a table of functions on its own events, with its lock held.

use std::ffi::c_void;

/// `DLL_PROCESS_DETACH`
const DETACH: u32 = 0;

extern "system" fn event(_module: *mut c_void, what: u32, process_ends: *mut c_void) {
    // When the process ends its other threads are dead already, perhaps while they held a lock.
    if what == DETACH && process_ends.is_null() {
        super::unload();
    }
}

/// Among the callbacks of thread-local storage, which the loader runs for plug-ins as well as for DLLs of ours.
#[used]
#[unsafe(link_section = ".CRT$XLY")]
static UNLOAD: extern "system" fn(*mut c_void, u32, *mut c_void) = event;
