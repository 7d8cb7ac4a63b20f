//! Leaves nothing behind when a host unloads the plug-in: what the process knew of its products is freed. Handles that
//! are still open keep what they need. How a loader tells is what differs between operating systems.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "macos.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;

fn unload() {
    crate::gate::gate_or((), claviger_client::Library::forget_process);
}
