//! Linux: the loader runs a table of functions.

extern "C" fn unload() {
    super::unload();
}

/// Run by the loader when the shared object that this code is in is unloaded, or the process ends.
#[used]
#[unsafe(link_section = ".fini_array")]
static UNLOAD: extern "C" fn() = unload;
