//! What a core dump of a running process would hold: everything in its memory that is not the content of a file. The
//! process stands still while it is read.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Pid, Signal, kill_process};

/// A part of a process's memory, and what the system calls it.
#[derive(Debug)]
pub struct Part {
    /// `[heap]`, `[stack]`, or the file behind it; empty for memory of its own.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The memory of a process, without the words that it was started with: arguments and environment lie there because
/// whoever started it put them there.
#[must_use]
pub fn of(pid: u32) -> Vec<Part> {
    let process = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let parts = read(pid);
    kill_process(process, Signal::CONT).unwrap();
    parts
}

fn read(pid: u32) -> Vec<Part> {
    let started_with = started_with(pid);
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut parts = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (range, modes) = (words.next().unwrap(), words.next().unwrap());
        let name = words.nth(3).unwrap_or_default().to_owned();
        // What cannot be written is the program file itself, or the kernel's.
        if !modes.starts_with("rw") || name.starts_with("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        for (from, to) in &started_with {
            let (from, to) = ((*from).max(start), (*to).min(end));
            if from < to {
                bytes[usize::try_from(from - start).unwrap()..usize::try_from(to - start).unwrap()].fill(0);
            }
        }
        parts.push(Part { name, bytes });
    }
    assert!(parts.iter().any(|part| part.name == "[heap]"), "the memory was read");
    parts
}

/// Where arguments and environment lie: `proc_pid_stat(5)`, fields 48 to 51.
fn started_with(pid: u32) -> Vec<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<u64> = rest.split_ascii_whitespace().skip(45).map(|n| n.parse().unwrap_or(0)).collect();
    vec![(fields[0], fields[1]), (fields[2], fields[3])]
}
