//! Leaves nothing behind when a host unloads the plug-in: what the process knew of its products is freed. Handles that
//! are still open keep what they need.

use crate::gate::gate_or;

extern "C" fn unload() {
    gate_or((), claviger_client::Library::forget_process);
}

/// Run by the loader when the shared object that this code is in is unloaded, or the process ends.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".fini_array")]
static UNLOAD: extern "C" fn() = unload;
