//! Looking at the code for systems that are not at hand: `cargo xtask check` compiles and lints it for Windows and for Macs,
//! and looks whether such code is in its places only.

use std::process::Command;

use crate::cross::{self, MACS, Use, WINDOWS};
use crate::shell::{self, Failure, Result};

/// What links into programs and plug-ins.
const PACKAGES: &[&str] = &[
    "claviger-protocol",
    "claviger-client",
    "claviger-capi",
    "claviger-daemon",
    "claviger-cli",
    "claviger-server",
];

/// Every target that is looked at.
pub(crate) fn targets() -> impl Iterator<Item = &'static str> {
    [WINDOWS].into_iter().chain(MACS)
}

/// Types and lints for another system, as for this one.
pub(crate) fn lint(target: &str, install: bool) -> Result<()> {
    cross::ensure(Use::Lint, install)?;
    shell::run(&mut linter(target, PACKAGES, install)?)
}

fn linter(target: &str, packages: &[&str], install: bool) -> Result<Command> {
    let mut lint = cross::cargo(target, "clippy")?;
    // One mistake does not hide the others.
    lint.arg("--keep-going");
    // By name, or the lints of another version of clippy would be in the way of what is built for tests alone.
    for package in packages {
        lint.args(["-p", package]);
        if matches!(*package, "claviger-server" | "claviger-daemon") {
            lint.arg("--features").arg(format!("{package}/fault-points"));
        }
    }
    if target != WINDOWS {
        cross::with_zig(&mut lint, target, install)?;
    }
    lint.args(["--", "-D", "warnings"]);
    Ok(lint)
}

/// No question after the system outside the folders that answer it. Whole tests of what one kind of system has are free
/// to say so.
pub(crate) fn one_facade() -> Result<()> {
    let mut list = Command::new("git");
    list.current_dir(shell::root()).args(["ls-files", "-z", "--", "*.rs"]);
    let mut wrong = Vec::new();
    for name in shell::output(&mut list)?.split_terminator('\0') {
        let elsewhere = ["tests/", "xtask/"].iter().any(|folder| name.starts_with(folder));
        let path = shell::root().join(name);
        if elsewhere || name.contains("/platform/") || name.contains("/tests/") || !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(path)?;
        wrong.extend(questions(&text).map(|line| format!("{name}:{line}")));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let places = wrong.join("\n  ");
    Err(Failure::new(format!("what differs between systems belongs into a `platform` folder:\n  {places}")))
}

/// The lines, counted from 1, that ask for the system.
fn questions(text: &str) -> impl Iterator<Item = usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let words = [
        "target_os",
        "target_family",
        "target_vendor",
        "target_env",
        "cfg(unix",
        "cfg(windows",
        "cfg!(unix",
        "cfg!(windows",
        "(not(unix",
        "(not(windows",
    ];
    (0..lines.len())
        .filter(move |at| {
            let asks = words.iter().any(|word| lines[*at].contains(word));
            let whole_test = lines.get(at + 1).is_some_and(|next| next.starts_with("#[test]"));
            asks && !whole_test && !lines[*at].starts_with("//")
        })
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::questions;

    #[test]
    fn questions_after_the_system_are_found() {
        let text = "#[cfg(target_os = \"linux\")]\nfn a() {}\nlet b = cfg!(windows);\n#[cfg(unix)]\n#[test]\nfn c() {}\n";
        assert_eq!(questions(text).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(questions("//! not cfg(unix)\nfn plain() {}\n").count(), 0);
    }
}
