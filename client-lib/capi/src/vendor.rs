//! Vendors, as compiled into a plug-in.

use std::ffi::c_char;

use crate::CLV_INVALID_ARGUMENT;
use crate::gate::{gate, gate_or, give, object, take, write_text};

/// A vendor. Made by `clv_vendor_open`, given back by `clv_vendor_close`.
pub struct Vendor(pub(crate) claviger_client::Vendor);

/// The vendor's id, `com.example`.
pub const CLV_VENDOR_TEXT_ID: u32 = 1;
/// The vendor's name for people.
pub const CLV_VENDOR_TEXT_NAME: u32 = 2;

/// Makes the vendor known whose profile (the text of its .clvprofile file) is compiled into this program.
///
/// `profile`: `profile_length` bytes, copied; they need no NUL at the end. `out`: where the handle is written.
/// Answers CLV_OK or CLV_INVALID_ARGUMENT. Any thread but an audio thread.
///
/// # Safety
/// `profile` is null or has `profile_length` bytes; `out` is null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_vendor_open(
    profile: *const c_char,
    profile_length: usize,
    out: *mut *mut Vendor,
) -> u32 {
    gate(|| {
        if profile.is_null() || out.is_null() || profile_length > 1024 * 1024 {
            return Err(CLV_INVALID_ARGUMENT);
        }
        // SAFETY: the caller's promise; not null.
        let bytes = unsafe { std::slice::from_raw_parts(profile.cast::<u8>(), profile_length) };
        let text = std::str::from_utf8(bytes).map_err(|_| CLV_INVALID_ARGUMENT)?;
        let vendor = claviger_client::Vendor::compiled_in(text).map_err(|_| CLV_INVALID_ARGUMENT)?;
        // SAFETY: not null, and the caller's promise.
        unsafe { give(out, Vendor(vendor)) };
        Ok(())
    })
}

/// Gives a vendor back; NULL is nothing. Its licenses stay open. Any thread but an audio thread.
///
/// # Safety
/// `vendor` is null or a handle that was not given back yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_vendor_close(vendor: *mut Vendor) {
    // SAFETY: the caller's promise.
    gate_or((), || drop(unsafe { take(vendor) }));
}

/// Copies a text about the vendor (CLV_VENDOR_TEXT_…) into `buffer`; `length` as in `clv_license_text`. Any thread but an
/// audio thread.
///
/// # Safety
/// `vendor` is null or live; `length` is null or valid; `buffer` is null or has `*length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_vendor_text(
    vendor: *const Vendor,
    which: u32,
    buffer: *mut c_char,
    length: *mut usize,
) -> u32 {
    gate(|| {
        // SAFETY: the caller's promise.
        let vendor = &unsafe { object(vendor) }?.0;
        let value = match which {
            CLV_VENDOR_TEXT_ID => vendor.id().as_str(),
            CLV_VENDOR_TEXT_NAME => vendor.name(),
            _ => return Err(CLV_INVALID_ARGUMENT),
        };
        // SAFETY: the caller's promise.
        unsafe { write_text(value, buffer, length) }
    })
}
