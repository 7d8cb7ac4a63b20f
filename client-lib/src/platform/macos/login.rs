//! Starting this user's daemon at login: an agent of launchd.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Installed;
use claviger_protocol::layout::macos as names;

/// The agent's file, as `man launchd.plist` describes it: started at login, and again only after a crash. It is no
/// `Background` process, whose disk is slowed down: people wait for it.
fn agent_text(program: &Path) -> String {
    let quoted =
        program.display().to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let label = names::LABEL;
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by `claviger daemon install`, removed by `claviger daemon uninstall`. -->
<plist version="1.0"><dict>
  <key>Label</key><string>{label}</string>
  <key>ProgramArguments</key><array><string>{quoted}</string></array>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>Crashed</key><true/></dict>
</dict></plist>
"#
    )
}

fn agent_file() -> Option<PathBuf> {
    let folder = directories::BaseDirs::new()?.home_dir().join("Library/LaunchAgents");
    Some(folder.join(format!("{}.plist", names::LABEL)))
}

fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

/// launchd is on every Mac.
pub(crate) fn available() -> bool {
    true
}

/// Why there is nothing to install the daemon into, where there is not.
pub(crate) const UNAVAILABLE: &str = "launchd does not run here";

/// Whether launchd knows an agent for this user's daemon.
pub(crate) fn installed() -> bool {
    agent_file().is_some_and(|file| file.exists())
}

/// Starts the installed daemon; says how.
///
/// # Errors
/// What launchctl said.
pub(crate) fn start() -> Result<String, String> {
    let label = names::LABEL;
    launchctl(&["kickstart", &format!("{}/{label}", domain())])?;
    Ok(format!("(launchd agent {label})"))
}

/// Has `program` started at every login, and `now`, once the daemon that runs already has ended.
///
/// # Errors
/// What failed.
pub(crate) fn install<E: From<String>>(
    program: &Path,
    end_running: impl FnOnce() -> Result<(), E>,
) -> Result<Installed, E> {
    let file = agent_file().ok_or_else(|| "this user has no home folder".to_owned())?;
    let written = file
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&file, agent_text(program)));
    written.map_err(|e| format!("{} cannot be written: {e}", file.display()))?;
    end_running()?;
    // An agent of an older version is forgotten first; there may be none.
    let _ = launchctl(&["bootout", &format!("{}/{}", domain(), names::LABEL)]);
    launchctl(&["bootstrap", &domain(), &file.display().to_string()])?;
    Ok(Installed { name: names::LABEL.to_owned(), file: Some(file), by: "launchd" })
}

/// Takes it out again and ends what it has started; the name of who did it, if there was something.
///
/// # Errors
/// What failed.
pub(crate) fn uninstall() -> Result<Option<&'static str>, String> {
    let Some(file) = agent_file().filter(|file| file.exists()) else { return Ok(None) };
    // Not loaded is as good.
    let _ = launchctl(&["bootout", &format!("{}/{}", domain(), names::LABEL)]);
    std::fs::remove_file(&file).map_err(|e| format!("{} cannot be removed: {e}", file.display()))?;
    Ok(Some("launchd"))
}

/// The last lines of the log that the service manager keeps; `None` where the daemon keeps it itself.
pub(crate) fn log(_system: bool, _lines: &str) -> Option<io::Result<Vec<String>>> {
    None
}

/// Shows that log on the terminal. Returns when that fails, or at once where the daemon keeps it itself.
pub(crate) fn show_log(_system: bool, _lines: &str, _follow: bool) -> Option<io::Error> {
    None
}

fn launchctl(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("/bin/launchctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("launchctl cannot be run: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(format!("`launchctl {}` failed: {said}", arguments.join(" ")))
}
