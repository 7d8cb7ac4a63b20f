//! Who may use what we make, in the system's own notation (SDDL).
#![expect(unsafe_code, reason = "security descriptors have no safe wrapper")]

use std::ffi::c_void;
use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;

/// A security descriptor of the system's making.
#[derive(Debug)]
pub(super) struct Descriptor(*mut c_void);

impl Descriptor {
    /// Reads one in SDDL.
    ///
    /// # Errors
    /// When it is not one.
    pub(super) fn read(sddl: &str) -> io::Result<Self> {
        let text: Vec<u16> = sddl.encode_utf16().chain([0]).collect();
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: the text ends with NUL; `descriptor` is a place for a pointer, ours to free where the call succeeds.
        let read = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        };
        if read == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(descriptor)) }
    }

    /// What a call that makes something takes; good while `self` lives.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by the system for us, and freed once.
        unsafe { LocalFree(self.0) };
    }
}
