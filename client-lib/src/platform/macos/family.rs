//! What a process is called. Its parent is launchd for most programs, so parents are not looked at.
#![expect(unsafe_code, reason = "proc_pidpath has no safe wrapper among our dependencies")]

use crate::host::ProcessFact;

/// A process.
pub(crate) fn process_chain(process: u32) -> Vec<ProcessFact> {
    let mut name = vec![0u8; 4096];
    let Ok(id) = i32::try_from(process) else { return Vec::new() };
    // SAFETY: the buffer has as many bytes as is said.
    let length = unsafe { libc::proc_pidpath(id, name.as_mut_ptr().cast(), 4096) };
    let Ok(length @ 1..) = usize::try_from(length) else { return Vec::new() };
    name.truncate(length);
    let path = String::from_utf8_lossy(&name).into_owned();
    // The last two parts of the path.
    let start = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    vec![ProcessFact { program: path[start..].to_owned(), label: None }]
}
