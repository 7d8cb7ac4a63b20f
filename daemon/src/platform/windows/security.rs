//! Who may use what we make, in the system's own notation (SDDL), and whose something is.
#![expect(unsafe_code, reason = "security descriptors have no safe wrapper")]

use std::ffi::c_void;
use std::io;

use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_OBJECT_TYPE,
};
use windows_sys::Win32::Security::{OWNER_SECURITY_INFORMATION, SECURITY_ATTRIBUTES};

use super::identity;

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

/// Whose an open object is; `None` where it has no owner. The handle must have the right to ask.
pub(super) fn owner(object: HANDLE, kind: SE_OBJECT_TYPE) -> io::Result<Option<String>> {
    let (mut sid, mut descriptor) = (std::ptr::null_mut(), std::ptr::null_mut());
    let none = std::ptr::null_mut();
    // SAFETY: places for two pointers; where the call succeeds, the first points into the second, which is ours to free.
    // A handle that is none makes the call fail.
    unsafe {
        let failed = GetSecurityInfo(
            object,
            kind,
            OWNER_SECURITY_INFORMATION,
            &raw mut sid,
            none,
            none.cast(),
            none.cast(),
            &raw mut descriptor,
        );
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed.cast_signed()));
        }
        let owner = if sid.is_null() { None } else { identity::sid_text(sid) };
        LocalFree(descriptor);
        Ok(owner)
    }
}
