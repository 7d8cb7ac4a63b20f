//! The one gate between C and Rust: panics stop here, and raw pointers become references or an error.

use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{CLV_BUFFER_TOO_SMALL, CLV_INTERNAL, CLV_INVALID_ARGUMENT, CLV_OK};

/// Most bytes of a text that a caller hands over. Ids, dates, serial numbers, codes and names of hosts are far shorter.
const MAX_TEXT: usize = 4096;

/// Runs the body of an entry point. What went wrong is its error; a panic is [`CLV_INTERNAL`].
pub(crate) fn gate(body: impl FnOnce() -> Result<(), u32>) -> u32 {
    gate_or(CLV_INTERNAL, || body().err().unwrap_or(CLV_OK))
}

/// As [`gate`], for entry points that answer with a value; `broken` is the answer after a panic.
pub(crate) fn gate_or<T>(broken: T, body: impl FnOnce() -> T) -> T {
    // Nothing behind the gate is left half done: state is published under locks that ignore poisoning.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(broken)
}

/// The object behind a handle.
///
/// # Safety
/// `handle` is null or a live handle made by this library.
pub(crate) unsafe fn object<'a, T>(handle: *const T) -> Result<&'a T, u32> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_ref() }.ok_or(CLV_INVALID_ARGUMENT)
}

/// The text behind a C string.
///
/// # Safety
/// `text` is null or a NUL-terminated string that lives for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, u32> {
    // SAFETY: the caller's promise.
    unsafe { optional_text(text) }?.ok_or(CLV_INVALID_ARGUMENT)
}

/// The text behind a C string, `None` for null.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(text: *const c_char) -> Result<Option<&'a str>, u32> {
    if text.is_null() {
        return Ok(None);
    }
    // What nobody can mean is not read to its end: copying megabytes would hold the host up.
    // SAFETY: not null, and by the caller's promise the bytes up to the first NUL can be read; none behind it is.
    let length =
        (0..=MAX_TEXT).find(|at| unsafe { text.add(*at).read() } == 0).ok_or(CLV_INVALID_ARGUMENT)?;
    // SAFETY: that many bytes were read just now; they live for `'a` by the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    std::str::from_utf8(bytes).map(Some).map_err(|_| CLV_INVALID_ARGUMENT)
}

/// Writes `value` and a NUL into the caller's buffer. `length` holds the buffer's size going in, and the length of the
/// text without its NUL coming out. A null buffer only asks for the length.
///
/// # Safety
/// `length` is null or valid; `buffer` is null or has `*length` bytes.
pub(crate) unsafe fn write_text(value: &str, buffer: *mut c_char, length: *mut usize) -> Result<(), u32> {
    // SAFETY: the caller's promise.
    let length = unsafe { length.as_mut() }.ok_or(CLV_INVALID_ARGUMENT)?;
    let room = std::mem::replace(length, value.len());
    if buffer.is_null() {
        return Ok(());
    }
    if room <= value.len() {
        return Err(CLV_BUFFER_TOO_SMALL);
    }
    // SAFETY: the buffer has `room` bytes, which is more than the text; they cannot overlap, one is ours.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), buffer.cast::<u8>(), value.len());
        buffer.add(value.len()).write(0);
    }
    Ok(())
}

/// Gives a new object to the caller.
///
/// # Safety
/// `out` is valid for a write.
pub(crate) unsafe fn give<T>(out: *mut *mut T, object: T) {
    // SAFETY: the caller's promise.
    unsafe { out.write(Box::into_raw(Box::new(object))) };
}

/// Takes an object back from the caller; null is nothing.
///
/// # Safety
/// `handle` is null or a handle that [`give`] made and nobody uses any more.
pub(crate) unsafe fn take<T>(handle: *mut T) -> Option<Box<T>> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { Box::from_raw(handle) })
}
