//! Starting this user's daemon at login: systemd's units of the user, which also keep its log.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Installed;

/// The unit.
const UNIT: &str = "clavigerd.service";
/// The unit that packages ship, sandbox and all.
const PACKAGED_UNIT: &str = include_str!("../../../../packaging/systemd/user/clavigerd.service");
const PACKAGED_PROGRAM: &str = "ExecStart=/usr/bin/clavigerd";

/// The same unit for a program elsewhere.
fn unit_text(program: &Path) -> String {
    let quoted = program.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let body = PACKAGED_UNIT.find("[Unit]").map_or(PACKAGED_UNIT, |at| &PACKAGED_UNIT[at..]);
    let body = body.replace(PACKAGED_PROGRAM, &format!("ExecStart=\"{quoted}\""));
    format!("# Written by `claviger daemon install`, removed by `claviger daemon uninstall`.\n{body}")
}

/// Where a user's own units are.
fn unit_file() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.config_dir().join("systemd/user").join(UNIT))
}

/// Whether a systemd of this user runs.
pub(crate) fn available() -> bool {
    let runtime = Path::new("/run/user").join(rustix::process::getuid().as_raw().to_string());
    runtime.join("systemd/private").exists()
}

/// Why there is nothing to install the daemon into, where there is not.
pub(crate) const UNAVAILABLE: &str =
    "no systemd of this user runs here, so there is nothing to install the daemon into";

/// Whether systemd knows a unit of this user's daemon and there is a user manager to start it.
pub(crate) fn installed() -> bool {
    available() && systemctl(&["cat", UNIT]).is_ok()
}

/// Starts the installed daemon; says how.
///
/// # Errors
/// What systemctl said.
pub(crate) fn start() -> Result<String, String> {
    systemctl(&["start", UNIT])?;
    Ok(format!("(systemd unit {UNIT} of this user)"))
}

/// Has `program` started at every login, and `now`, once the daemon that runs already has ended.
///
/// # Errors
/// What failed.
pub(crate) fn install<E: From<String>>(
    program: &Path,
    end_running: impl FnOnce() -> Result<(), E>,
) -> Result<Installed, E> {
    let file = unit_file().ok_or_else(|| "this user has no home folder".to_owned())?;
    // A unit that a package brought along is only enabled.
    let packaged = !file.exists() && installed();
    if !packaged {
        let written = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&file, unit_text(program)));
        written.map_err(|e| format!("{} cannot be written: {e}", file.display()))?;
    }
    systemctl(&["daemon-reload"])?;
    end_running()?;
    systemctl(&["enable", "--now", UNIT])?;
    Ok(Installed { name: UNIT.to_owned(), file: (!packaged).then_some(file), by: "systemd" })
}

/// Takes it out again and ends what it has started; the name of who did it, if there was something.
///
/// # Errors
/// What failed.
pub(crate) fn uninstall() -> Result<Option<&'static str>, String> {
    if !installed() {
        return Ok(None);
    }
    systemctl(&["disable", "--now", UNIT])?;
    if let Some(file) = unit_file().filter(|file| file.exists()) {
        std::fs::remove_file(&file).map_err(|e| format!("{} cannot be removed: {e}", file.display()))?;
    }
    systemctl(&["daemon-reload"])?;
    Ok(Some("systemd"))
}

/// The journal's command that shows the daemon's log, where the journal keeps it.
fn journal(system: bool, lines: &str) -> Option<Command> {
    if !system && !installed() {
        return None;
    }
    let mut journal = Command::new("journalctl");
    if !system {
        journal.arg("--user");
    }
    journal.args(["--unit", UNIT, "--lines", lines]);
    Some(journal)
}

/// The last lines of the log that the service manager keeps; `None` where the daemon keeps it itself.
pub(crate) fn log(system: bool, lines: &str) -> Option<io::Result<Vec<String>>> {
    let done = journal(system, lines)?.args(["--output", "cat", "--no-pager"]).output();
    Some(done.map(|done| String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()))
}

/// Shows that log on the terminal. Returns when that fails, or at once where the daemon keeps it itself.
pub(crate) fn show_log(system: bool, lines: &str, follow: bool) -> Option<io::Error> {
    let mut journal = journal(system, lines)?;
    if follow {
        journal.arg("--follow");
    }
    Some(journal.exec())
}

/// Runs `systemctl --user`; gives what it said when it failed.
fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("systemctl")
        .arg("--user")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("systemctl cannot be run: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(format!("`systemctl --user {}` failed: {said}", arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_program_and_keeps_its_sandbox() {
        let unit = unit_text(Path::new("/opt/100% \"audio\"/clavigerd"));
        assert!(unit.contains("\nExecStart=\"/opt/100%% \\\"audio\\\"/clavigerd\"\n"), "{unit}");
        assert!(unit.contains("\nNoNewPrivileges=yes\n") && !unit.contains("/usr/bin/"), "{unit}");
    }
}
