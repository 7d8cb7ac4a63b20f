//! What the registry says about this computer. Unsafe: two calls that read it.
#![expect(unsafe_code, reason = "the registry has no safe wrapper among our dependencies")]

use std::ffi::c_void;

use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_READ, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY, RegCloseKey, RegGetValueW,
    RegOpenKeyExW,
};

/// A text for the system: UTF-16, ended by NUL.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// The id that Windows made when it was installed. The 64-bit view, so that a 32-bit program reads the same.
pub(super) fn machine_guid() -> Option<String> {
    let (key, name) = (wide(r"SOFTWARE\Microsoft\Cryptography"), wide("MachineGuid"));
    let mut text = [0u16; 256];
    let mut bytes = u32::try_from(size_of_val(&text)).unwrap_or(0);
    // SAFETY: both names end with NUL, and the buffer has as many bytes as is said.
    let failed = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY,
            std::ptr::null_mut(),
            text.as_mut_ptr().cast::<c_void>(),
            &raw mut bytes,
        )
    };
    let end = text.iter().position(|unit| *unit == 0)?;
    (failed == 0).then(|| String::from_utf16(&text[..end]).ok()).flatten()
}

/// Whether a service of this name is registered.
pub(super) fn service_exists(name: &str) -> bool {
    let path = wide(&format!(r"SYSTEM\CurrentControlSet\Services\{name}"));
    let mut key: HKEY = std::ptr::null_mut();
    // SAFETY: the name ends with NUL; the key is ours to close where the call succeeds.
    unsafe {
        if RegOpenKeyExW(HKEY_LOCAL_MACHINE, path.as_ptr(), 0, KEY_READ, &raw mut key) != 0 {
            return false;
        }
        RegCloseKey(key);
    }
    true
}
