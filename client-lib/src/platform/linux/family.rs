//! What a process and its parents are called, from `/proc`.

use std::path::{Path, PathBuf};

use crate::host::ProcessFact;

/// Most parents that are looked at.
const MOST: usize = 16;

/// A process and its parents.
pub(crate) fn process_chain(process: u32) -> Vec<ProcessFact> {
    let mut chain = Vec::new();
    let mut next = Some(process);
    while let Some(id) = next.filter(|id| *id > 1 && chain.len() < MOST) {
        let Some(fact) = fact(id) else { break };
        chain.push(fact);
        next = parent(id);
    }
    chain
}

fn proc_file(id: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(id.to_string()).join(name)
}

fn fact(id: u32) -> Option<ProcessFact> {
    let comm = std::fs::read_to_string(proc_file(id, "comm")).ok()?;
    // Another user's program cannot be read; its short name can.
    let exe = std::fs::read_link(proc_file(id, "exe")).unwrap_or_else(|_| PathBuf::from(comm.trim()));
    let program = tail(&exe.to_string_lossy());
    let name = program.rsplit('/').next().unwrap_or_default();
    let interpreted = name.starts_with("python") || name.contains("wine");
    let script = if interpreted { script(id, name.contains("wine")) } else { None };
    Some(ProcessFact { program: script.unwrap_or(program), label: None })
}

/// What an interpreter runs: the program that Wine was given, or a script.
fn script(id: u32, wine: bool) -> Option<String> {
    let text = std::fs::read(proc_file(id, "cmdline")).ok()?;
    let words: Vec<String> =
        text.split(|b| *b == 0).take(8).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let is_program = |word: &&String| {
        if wine { word.to_ascii_lowercase().ends_with(".exe") } else { !word.starts_with('-') }
    };
    let word = words.iter().skip(usize::from(!wine)).find(is_program)?;
    Some(tail(&word.replace('\\', "/")))
}

/// The last two parts of a path, without the mark of a file that was replaced by an update.
fn tail(path: &str) -> String {
    let path = path.trim_end_matches(" (deleted)");
    let parts: Vec<&str> = path.rsplit('/').filter(|part| !part.is_empty()).take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// The parent, from `/proc/ID/stat`: its second number behind the name, which may hold anything.
fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(proc_file(id, "stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_name_and_a_parent() {
        let chain = process_chain(std::process::id());
        let own = std::env::current_exe().unwrap();
        assert!(chain[0].program.ends_with(own.file_name().unwrap().to_str().unwrap()));
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert!(process_chain(0).is_empty());
    }

    #[test]
    fn only_the_end_of_a_path_is_looked_at() {
        assert_eq!(tail("/usr/lib/ardour7/luasession"), "ardour7/luasession");
        assert_eq!(tail("/home/someone/reaper (deleted)"), "someone/reaper");
        assert_eq!(tail("jalv"), "jalv");
    }
}
