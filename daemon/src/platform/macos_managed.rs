//! Settings that an administrator manages for many computers: a configuration profile becomes a property list in
//! `/Library/Managed Preferences`. The whole file is read rather than single preferences, so that a misspelt name is noticed.
#![expect(unsafe_code, reason = "property lists have no safe wrapper here")]

use std::ffi::{c_char, c_void};
use std::io;
use std::path::Path;

use claviger_protocol::layout::macos as names;
use toml::{Table, Value};

use super::super::{changed_by_others, read_bounded};

/// Where the settings are managed, for messages.
pub const MANAGED: &str = names::MANAGED;

/// Where the administrator's word stands, for messages.
#[must_use]
pub fn policy_place() -> &'static str {
    "/Library/Application Support/Claviger/policy.toml or a configuration profile (io.claviger.clavigerd)"
}

/// Longest file that is read.
const LONGEST: usize = 256 * 1024;

type Ref = *const c_void;

#[link(name = "CoreFoundation", kind = "framework")]
unsafe extern "C" {
    fn CFDataCreate(allocator: Ref, bytes: *const u8, length: isize) -> Ref;
    fn CFPropertyListCreateWithData(
        allocator: Ref,
        data: Ref,
        options: usize,
        format: Ref,
        error: Ref,
    ) -> Ref;
    fn CFGetTypeID(object: Ref) -> usize;
    fn CFDictionaryGetTypeID() -> usize;
    fn CFDictionaryGetCount(dictionary: Ref) -> isize;
    fn CFDictionaryGetKeysAndValues(dictionary: Ref, keys: *mut Ref, values: *mut Ref);
    fn CFBooleanGetTypeID() -> usize;
    fn CFBooleanGetValue(boolean: Ref) -> u8;
    fn CFArrayGetTypeID() -> usize;
    fn CFArrayGetCount(array: Ref) -> isize;
    fn CFArrayGetValueAtIndex(array: Ref, index: isize) -> Ref;
    fn CFStringGetTypeID() -> usize;
    fn CFStringGetLength(string: Ref) -> isize;
    fn CFStringGetMaximumSizeForEncoding(length: isize, encoding: u32) -> isize;
    fn CFStringGetCString(string: Ref, buffer: *mut c_char, size: isize, encoding: u32) -> u8;
    fn CFRelease(object: Ref);
}

const UTF_8: u32 = 0x0800_0100;

/// The managed settings, by the names of `policy.toml`; empty where nobody manages any.
///
/// # Errors
/// When they cannot be read, or one is neither a boolean, nor a text, nor a list of texts.
pub fn managed_policy() -> io::Result<Table> {
    let path = Path::new(names::MANAGED);
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let Some(bytes) = read_bounded(path, LONGEST).map_err(|e| e.source)? else { return Ok(Table::new()) };
    if let Some(why) = changed_by_others(path)? {
        return Err(invalid(&why));
    }
    let length = isize::try_from(bytes.len()).unwrap_or(0);
    // SAFETY: `bytes` has as many bytes as is said; every object that is created here is released once, after its last
    // use; what is got out of another one lives as long as that.
    unsafe {
        let data = CFDataCreate(std::ptr::null(), bytes.as_ptr(), length);
        if data.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let list =
            CFPropertyListCreateWithData(std::ptr::null(), data, 0, std::ptr::null(), std::ptr::null());
        CFRelease(data);
        if list.is_null() {
            return Err(invalid("it is no property list"));
        }
        let found = dictionary(list);
        CFRelease(list);
        found.map_err(|why| invalid(&why))
    }
}

/// # Safety
/// `list` is an object.
unsafe fn dictionary(list: Ref) -> Result<Table, String> {
    // SAFETY: the caller's promise; the buffers have room for as many entries as the dictionary has, and each entry is
    // an object that lives as long as the dictionary.
    unsafe {
        if CFGetTypeID(list) != CFDictionaryGetTypeID() {
            return Err("it is no dictionary".to_owned());
        }
        let count = usize::try_from(CFDictionaryGetCount(list)).unwrap_or(0);
        let (mut keys, mut values) = (vec![std::ptr::null(); count], vec![std::ptr::null(); count]);
        CFDictionaryGetKeysAndValues(list, keys.as_mut_ptr(), values.as_mut_ptr());
        let mut table = Table::new();
        for (key, object) in keys.into_iter().zip(values) {
            let name = text(key).ok_or("a name in it is no text")?;
            let Some(value) = value(object) else {
                return Err(format!("{name} is neither a boolean, nor a text, nor a list of texts"));
            };
            table.insert(name, value);
        }
        Ok(table)
    }
}

/// # Safety
/// `object` is one.
unsafe fn value(object: Ref) -> Option<Value> {
    // SAFETY: the caller's promise; each call is made for an object of its own kind only, with indices that exist.
    unsafe {
        let kind = CFGetTypeID(object);
        if kind == CFBooleanGetTypeID() {
            return Some(Value::Boolean(CFBooleanGetValue(object) != 0));
        }
        if kind == CFArrayGetTypeID() {
            let items = (0..CFArrayGetCount(object)).map(|at| text(CFArrayGetValueAtIndex(object, at)));
            return Some(Value::Array(items.map(|item| item.map(Value::String)).collect::<Option<_>>()?));
        }
        text(object).map(Value::String)
    }
}

/// # Safety
/// `object` is one.
unsafe fn text(object: Ref) -> Option<String> {
    // SAFETY: the caller's promise; the buffer is as long as is said.
    unsafe {
        if CFGetTypeID(object) != CFStringGetTypeID() {
            return None;
        }
        let size = CFStringGetMaximumSizeForEncoding(CFStringGetLength(object), UTF_8).checked_add(1)?;
        let mut buffer = vec![0u8; usize::try_from(size).ok()?];
        if CFStringGetCString(object, buffer.as_mut_ptr().cast(), size, UTF_8) == 0 {
            return None;
        }
        let end = buffer.iter().position(|byte| *byte == 0)?;
        buffer.truncate(end);
        String::from_utf8(buffer).ok()
    }
}
