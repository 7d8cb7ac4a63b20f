//! Looking at the code for systems that are not at hand: `cargo xtask check` compiles and lints it for Windows and for Macs,
//! `--prove` shows that a mistake there is found, and the facade check shows that such code is where it is looked for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// Plants a mistake in every module of another system's, in a copy of the sources, and looks whether each is found.
pub(crate) fn prove(install: bool) -> Result<()> {
    cross::ensure(Use::Lint, install)?;
    let copy = shell::target_dir()?.join("planted");
    for target in targets() {
        let system = if target == WINDOWS { "windows" } else { "macos" };
        // A package whose dependency has a mistake is not looked at any more: those that others need come by themselves.
        for packages in [&PACKAGES[1..2], &PACKAGES[2..]] {
            if copy.exists() {
                std::fs::remove_dir_all(&copy)?;
            }
            copy_sources(&copy)?;
            let planted = plant(&copy, packages, system)?;
            let mut lint = linter(target, packages, install)?;
            let done = lint.current_dir(&copy).stderr(Stdio::piped()).output()?;
            let said = String::from_utf8_lossy(&done.stderr);
            for file in &planted {
                if done.status.success() || !said.contains(&format!("{}:", file.display())) {
                    return Err(Failure::new(format!(
                        "a mistake in {} was not found for {target}:\n{said}",
                        file.display()
                    )));
                }
                println!("  a mistake in {} is found for {target}", file.display());
            }
        }
    }
    std::fs::remove_dir_all(&copy)?;
    Ok(())
}

/// The sources as they stand here, committed or not.
fn copy_sources(to: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.current_dir(shell::root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    for name in shell::output(&mut list)?.split_terminator('\0') {
        let (from, to) = (shell::root().join(name), to.join(name));
        // One that was removed is still listed until that is committed.
        if from.is_file() {
            std::fs::create_dir_all(to.parent().unwrap_or(&to))?;
            std::fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Adds a function of the wrong type to one module of each package, and gives their names.
fn plant(copy: &Path, packages: &[&str], system: &str) -> Result<Vec<PathBuf>> {
    let mut planted = Vec::new();
    for package in packages {
        let folder = match *package {
            "claviger-client" => "client-lib",
            "claviger-capi" => "client-lib/capi",
            other => other.trim_start_matches("claviger-"),
        };
        let platform = Path::new(folder).join("src/platform");
        let (file, folder) = (platform.join(format!("{system}.rs")), platform.join(system).join("mod.rs"));
        let module = if copy.join(&file).is_file() { file } else { folder };
        let mut text = std::fs::read_to_string(copy.join(&module))?;
        text.push_str("\npub(crate) fn planted() -> u32 {\n    \"not a number\"\n}\n");
        std::fs::write(copy.join(&module), text)?;
        planted.push(module);
    }
    Ok(planted)
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
        "any(unix",
        "any(windows",
        "all(unix",
        "all(windows",
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
        let text = "#[cfg(target_os = \"linux\")]\nfn a() {}\nlet b = cfg!(windows);\n#[cfg(unix)]\n#[test]\nfn c() {}\n\
                    #[cfg(all(windows, feature = \"x\"))]\n";
        assert_eq!(questions(text).collect::<Vec<_>>(), [1, 3, 7]);
        assert_eq!(questions("//! not cfg(unix)\nfn plain() {}\n").count(), 0);
    }
}
