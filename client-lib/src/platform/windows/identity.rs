//! Who this process's user is, and where that user's folders are, by the system's word and not the environment's.
#![expect(unsafe_code, reason = "tokens, security identifiers and Known Folders have no safe wrapper")]

use std::ffi::{OsString, c_void};
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::PathBuf;

use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{GetTokenInformation, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::Win32::UI::Shell::{
    FOLDERID_LocalAppData, FOLDERID_ProgramData, KF_FLAG_DONT_VERIFY, SHGetKnownFolderPath,
};

/// A folder that the system knows.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// `C:\ProgramData`
    ProgramData,
    /// `C:\Users\…\AppData\Local`
    LocalAppData,
}

/// The folder, in the form that is taken literally; `None` where the system does not tell.
pub(super) fn known_folder(which: Known) -> Option<PathBuf> {
    let id = match which {
        Known::ProgramData => &FOLDERID_ProgramData,
        Known::LocalAppData => &FOLDERID_LocalAppData,
    };
    let mut text = std::ptr::null_mut();
    // SAFETY: `text` is a place for a pointer; the call fills it with a text that is ours to free, also on failure.
    let path = unsafe {
        let flags = KF_FLAG_DONT_VERIFY.cast_unsigned();
        let failed = SHGetKnownFolderPath(id, flags, std::ptr::null_mut(), &raw mut text);
        let path = (failed == 0 && !text.is_null()).then(|| wide(text));
        CoTaskMemFree(text.cast::<c_void>());
        path
    };
    super::absolute(&PathBuf::from(path?))
}

/// A NUL-ended text of the system's.
///
/// # Safety
/// `text` points to one.
unsafe fn wide(text: *const u16) -> OsString {
    // SAFETY: the caller's promise: everything up to the NUL is readable.
    unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        OsString::from_wide(std::slice::from_raw_parts(text, length))
    }
}

/// A security identifier as `S-1-5-21-…`.
///
/// # Safety
/// `sid` points to a valid one.
pub(super) unsafe fn sid_text(sid: PSID) -> Option<String> {
    let mut text = std::ptr::null_mut();
    // SAFETY: the caller's promise; the text is ours to free.
    unsafe {
        if ConvertSidToStringSidW(sid, &raw mut text) == 0 {
            return None;
        }
        let owned = wide(text).into_string().ok();
        LocalFree(text.cast());
        owned
    }
}

/// The user of this process.
pub(super) fn own_sid() -> Option<String> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: `token` is a place for a handle, which is ours where the call succeeds.
    let token = unsafe {
        if OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) == 0 {
            return None;
        }
        OwnedHandle::from_raw_handle(token)
    };
    // A user's entry has at most 68 bytes behind a pointer and a number; words keep it aligned.
    let mut buffer = [0u64; 32];
    let mut length = 0;
    // SAFETY: the buffer has as many bytes as is said; where the call succeeds it begins with a TOKEN_USER, whose SID
    // lies in the same buffer.
    unsafe {
        let room = u32::try_from(size_of_val(&buffer)).unwrap_or(0);
        let into = buffer.as_mut_ptr().cast::<c_void>();
        if GetTokenInformation(token.as_raw_handle(), TokenUser, into, room, &raw mut length) == 0 {
            return None;
        }
        sid_text((*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid)
    }
}
