//! macOS: the loader runs a table of functions.

extern "C" fn unload() {
    super::unload();
}

/// Run by the loader when the image that this code is in is unloaded, or the process ends.
#[used]
#[unsafe(link_section = "__DATA,__mod_term_func,mod_term_funcs")]
static UNLOAD: extern "C" fn() = unload;
