//! DPAPI: what one user seals on one computer, only that user opens there.
#![expect(unsafe_code, reason = "DPAPI has no safe wrapper")]

use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};

fn blob(bytes: &[u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    // The calls read only; their declaration does not say so.
    Ok(CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() })
}

/// Seals a secret, encrypted already, with what the system keeps for this user.
///
/// # Errors
/// What the system says.
pub fn seal(purpose: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    run(purpose, sealed, true)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// What the system says: another user or computer, or bytes that were changed.
pub fn unseal(purpose: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    run(purpose, sealed, false)
}

fn run(purpose: &str, bytes: &[u8], protect: bool) -> io::Result<Vec<u8>> {
    let (from, purpose) = (blob(bytes)?, blob(purpose.as_bytes())?);
    let mut to = CRYPT_INTEGER_BLOB::default();
    let (from, purpose, to_place) = (&raw const from, &raw const purpose, &raw mut to);
    let (none, flags) = (std::ptr::null(), CRYPTPROTECT_UI_FORBIDDEN);
    // SAFETY: the blobs describe slices that outlive the call; the result is ours to free, once it is copied.
    unsafe {
        let done = if protect {
            CryptProtectData(from, std::ptr::null(), purpose, none, none.cast(), flags, to_place)
        } else {
            CryptUnprotectData(from, std::ptr::null_mut(), purpose, none, none.cast(), flags, to_place)
        };
        if done == 0 || to.pbData.is_null() {
            return Err(io::Error::last_os_error());
        }
        let length = usize::try_from(to.cbData).map_err(io::Error::other)?;
        let copy = std::slice::from_raw_parts(to.pbData, length).to_vec();
        LocalFree(to.pbData.cast());
        Ok(copy)
    }
}
