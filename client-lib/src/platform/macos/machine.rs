//! The computer's own id, from the registry of its devices. Unsafe: calls of IOKit and CoreFoundation.
#![expect(unsafe_code, reason = "IOKit has no safe wrapper among our dependencies")]

use std::ffi::{CStr, c_char, c_void};

use claviger_protocol::ids::MachineId;

type Ref = *const c_void;

#[link(name = "IOKit", kind = "framework")]
unsafe extern "C" {
    fn IOServiceMatching(name: *const c_char) -> Ref;
    fn IOServiceGetMatchingService(port: u32, matching: Ref) -> u32;
    fn IORegistryEntryCreateCFProperty(entry: u32, key: Ref, allocator: Ref, options: u32) -> Ref;
    fn IOObjectRelease(object: u32) -> i32;
}

#[link(name = "CoreFoundation", kind = "framework")]
unsafe extern "C" {
    fn CFStringCreateWithCString(allocator: Ref, text: *const c_char, encoding: u32) -> Ref;
    fn CFStringGetCString(string: Ref, buffer: *mut c_char, size: isize, encoding: u32) -> u8;
    fn CFStringGetTypeID() -> usize;
    fn CFGetTypeID(object: Ref) -> usize;
    fn CFRelease(object: Ref);
}

const UTF_8: u32 = 0x0800_0100;

/// `IOPlatformUUID`; `None` where there is none that means anything.
pub(crate) fn os_machine_id() -> Option<String> {
    let text = platform_uuid()?;
    MachineId::usable_os_id(&text).map(str::to_owned)
}

fn platform_uuid() -> Option<String> {
    let mut text = [0 as c_char; 128];
    // SAFETY: names end with NUL; `matching` is given away to the second call; every other object is released once,
    // after its last use; the buffer is as long as is said and, where the call succeeds, holds a C string.
    unsafe {
        let matching = IOServiceMatching(c"IOPlatformExpertDevice".as_ptr());
        if matching.is_null() {
            return None;
        }
        let device = IOServiceGetMatchingService(0, matching);
        if device == 0 {
            return None;
        }
        let key = CFStringCreateWithCString(std::ptr::null(), c"IOPlatformUUID".as_ptr(), UTF_8);
        let value = if key.is_null() {
            std::ptr::null()
        } else {
            let value = IORegistryEntryCreateCFProperty(device, key, std::ptr::null(), 0);
            CFRelease(key);
            value
        };
        IOObjectRelease(device);
        if value.is_null() {
            return None;
        }
        let size = isize::try_from(text.len()).unwrap_or(0);
        let good = CFGetTypeID(value) == CFStringGetTypeID()
            && CFStringGetCString(value, text.as_mut_ptr(), size, UTF_8) != 0;
        CFRelease(value);
        good.then(|| CStr::from_ptr(text.as_ptr()).to_str().ok().map(str::to_owned)).flatten()
    }
}
