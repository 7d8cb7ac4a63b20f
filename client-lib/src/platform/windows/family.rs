//! What a process is called. Its parents are not looked at: Windows gives their numbers to others once they have ended.
#![expect(unsafe_code, reason = "the name of another process's program has no safe wrapper")]

use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

use crate::host::ProcessFact;

/// A process.
pub(crate) fn process_chain(process: u32) -> Vec<ProcessFact> {
    let mut name = [0u16; 1024];
    let mut length = 1024;
    // SAFETY: the handle is ours where it is one; the buffer has as many units as is said.
    let told = unsafe {
        let handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process);
        if handle.is_null() {
            return Vec::new();
        }
        let handle = OwnedHandle::from_raw_handle(handle);
        let handle = handle.as_raw_handle();
        QueryFullProcessImageNameW(handle, PROCESS_NAME_WIN32, name.as_mut_ptr(), &raw mut length)
    };
    let Some(path) = usize::try_from(length).ok().and_then(|length| name.get(..length)) else {
        return Vec::new();
    };
    if told == 0 {
        return Vec::new();
    }
    let path = String::from_utf16_lossy(path).replace('\\', "/");
    // The last two parts of the path.
    let start = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    vec![ProcessFact { program: path[start..].to_owned(), label: None }]
}
