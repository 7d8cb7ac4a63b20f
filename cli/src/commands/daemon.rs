//! `claviger daemon`: running, installing and watching this user's daemon.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use clap::Subcommand;
use claviger_client::manager::{Endpoint, Manager, ManagerError, Scope};
use claviger_protocol::ipc::{DaemonStatus, Mode};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::{connect, launch, logs, text};

/// `claviger daemon …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in this terminal until Ctrl-C
    Run {
        /// Leave the terminal's session; used by claviger itself to start the daemon
        #[arg(long, hide = true, value_name = "PROGRAM")]
        detach: Option<PathBuf>,
        /// Options for clavigerd
        #[arg(last = true)]
        options: Vec<OsString>,
    },
    /// Have systemd run this user's daemon, from now on and at every login
    ///
    /// Not needed to activate: claviger starts the daemon when it wants something from it. With a system
    /// daemon, which packages install, there is nothing to do.
    Install,
    /// Stop this user's daemon and take it out of systemd. Licenses stay
    Uninstall,
    /// Say whether the daemon runs, and what it is about
    Status,
    /// Show the daemon's log
    Logs {
        /// How many of the last lines
        #[arg(short = 'n', long, default_value_t = 50, value_name = "COUNT")]
        lines: usize,
        /// Wait for more lines until Ctrl-C
        #[arg(short, long)]
        follow: bool,
    },
}

/// Carries `claviger daemon …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Run { detach: Some(program), options } => {
            Err(launch::become_daemon(&program, &options, true))
        }
        Command::Run { detach: None, options } => {
            let ours = !options.iter().any(|option| option == "--system");
            if ours && Endpoint::find()?.scope() == Scope::System {
                return Err(system_serves_all());
            }
            Err(launch::become_daemon(&launch::find()?, &options, false))
        }
        Command::Install => install(out),
        Command::Uninstall => uninstall(out),
        Command::Status => status(out),
        Command::Logs { lines, follow } => show_logs(lines, follow, out),
    }
}

/// The unit that packages ship, sandbox and all.
const PACKAGED_UNIT: &str = include_str!("../../../packaging/systemd/user/clavigerd.service");
const PACKAGED_PROGRAM: &str = "ExecStart=/usr/bin/clavigerd";

/// The same unit for a program elsewhere.
fn unit_text(program: &Path) -> String {
    let quoted = program.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let body = PACKAGED_UNIT.find("[Unit]").map_or(PACKAGED_UNIT, |at| &PACKAGED_UNIT[at..]);
    let body = body.replace(PACKAGED_PROGRAM, &format!("ExecStart=\"{quoted}\""));
    format!("# Written by `claviger daemon install`, removed by `claviger daemon uninstall`.\n{body}")
}

/// Where a user's own units are.
fn unit_file() -> Result<PathBuf, Failure> {
    let folders = directories::BaseDirs::new().ok_or(ManagerError::NoPlace)?;
    Ok(folders.config_dir().join("systemd/user").join(launch::UNIT))
}

fn system_serves_all() -> Failure {
    Failure::new(
        Exit::NotPermitted,
        "system_daemon",
        "this computer has a system daemon, which serves all its users",
    )
    .advice("No other is run or installed beside it. See it with\n    claviger daemon status")
}

fn install(out: &mut Output) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find()?;
    match endpoint.scope() {
        Scope::System => {
            return Err(system_serves_all());
        }
        Scope::Portable => {
            return Err(Failure::new(
                Exit::Usage,
                "portable",
                "CLAVIGER_HOME is set: a portable daemon is not installed into the system",
            )
            .advice("Unset CLAVIGER_HOME, or let claviger start the daemon when it needs it."));
        }
        Scope::User => {}
    }
    let program = launch::find()?;
    if !launch::has_user_manager() {
        return Err(Failure::new(
            Exit::Daemon,
            "no_service_manager",
            "no systemd of this user runs here, so there is nothing to install the daemon into",
        )
        .advice(format!(
            "It works without: claviger starts the daemon when it needs it. To have it run from login on, let your \
             session start\n    {}",
            text::shell(&program.display().to_string())
        )));
    }
    let file = unit_file()?;
    // A unit that a package brought along is only enabled.
    let packaged = !file.exists() && launch::unit_installed();
    if !packaged {
        let written = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&file, unit_text(&program)));
        written.map_err(|e| Failure::storage(format!("{} cannot be written", file.display()), &e))?;
    }
    systemctl(&["daemon-reload"])?;
    stop_spawned(&endpoint)?;
    systemctl(&["enable", "--now", launch::UNIT])?;
    out.json(&json!({ "installed": true, "unit": launch::UNIT, "file": (!packaged).then_some(&file) }));
    out.line("The daemon runs, and systemd starts it at every login.");
    if !packaged {
        out.fields(&[("Unit", file.display().to_string()), ("Program", program.display().to_string())]);
    }
    Ok(Exit::Done)
}

fn uninstall(out: &mut Output) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find()?;
    if endpoint.scope() == Scope::System {
        return Err(Failure::new(
            Exit::NotPermitted,
            "system_daemon",
            "this computer has a system daemon, which its administrator installs and removes",
        )
        .advice("Remove it with the package manager that installed it."));
    }
    let file = unit_file()?;
    let mut removed = false;
    if endpoint.scope() == Scope::User && launch::unit_installed() {
        systemctl(&["disable", "--now", launch::UNIT])?;
        if file.exists() {
            std::fs::remove_file(&file)
                .map_err(|e| Failure::storage(format!("{} cannot be removed", file.display()), &e))?;
        }
        systemctl(&["daemon-reload"])?;
        removed = true;
    }
    let stopped = stop_spawned(&endpoint)?;
    out.json(&json!({ "uninstalled": removed, "stopped": stopped || removed }));
    out.line(match (removed, stopped) {
        (true, _) => {
            "The daemon is stopped, and systemd does not start it any more. Licenses stay as they are."
        }
        (false, true) => "The daemon is stopped; it was not installed. Licenses stay as they are.",
        (false, false) => "The daemon was neither installed nor running.",
    });
    Ok(Exit::Done)
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    launch::systemctl(arguments).map(drop).map_err(|said| {
        let mut failure = Failure::new(
            Exit::Daemon,
            "systemctl",
            format!("`systemctl --user {}` failed", arguments.join(" ")),
        )
        .advice("See why with\n    claviger daemon logs");
        failure.causes.push(said);
        failure
    })
}

/// Ends a daemon of this user that was started outside systemd, and waits until it has finished its work.
fn stop_spawned(endpoint: &Endpoint) -> Result<bool, Failure> {
    let manager = match Manager::connect(endpoint) {
        Ok(manager) => manager,
        Err(ManagerError::NotRunning { .. }) => return Ok(false),
        Err(other) => return Err(other.into()),
    };
    let own = rustix::process::geteuid().as_raw();
    let pid = manager.peer_pid().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(pid) = pid.filter(|_| manager.peer_uid() == own) else { return Ok(false) };
    drop(manager);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(|error| {
        Failure::new(Exit::Daemon, "daemon_not_stopped", "the running daemon cannot be stopped")
            .because(&std::io::Error::from(error))
    })?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while rustix::process::test_kill_process(pid).is_ok() {
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Exit::Daemon,
                "daemon_not_stopped",
                "the running daemon did not end within 30 seconds",
            )
            .advice("Look at `claviger daemon logs`."));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(true)
}

fn status(out: &mut Output) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find()?;
    let mut daemon = match connect::running(&endpoint) {
        Err(mut failure) if failure.code == "daemon_not_running" && endpoint.scope() != Scope::System => {
            failure.advice = Some(
                "Claviger starts it when it needs it. To run it before your eyes:\n    claviger daemon run"
                    .to_owned(),
            );
            return Err(failure);
        }
        other => other?,
    };
    let status = daemon.status()?;
    out.json(&json!({ "status": status, "socket": endpoint.path() }));
    describe(&status, &endpoint, out);
    Ok(Exit::Done)
}

fn describe(status: &DaemonStatus, endpoint: &Endpoint, out: &mut Output) {
    let running = out.look(Look::Good, "The Claviger daemon is running.");
    out.line(running);
    let waiting =
        |count: usize, what: &str| if count == 0 { String::new() } else { format!("{count} {what}") };
    out.fields(&[
        ("Version", text::clean(&status.version)),
        (
            "Serves",
            match status.mode {
                Mode::User => "you alone".to_owned(),
                Mode::System => "all users of this computer".to_owned(),
            },
        ),
        ("Process", status.pid.to_string()),
        ("Socket", endpoint.path().display().to_string()),
        ("Vendors", status.vendors.to_string()),
        ("Activations", status.activations.to_string()),
        ("Receipts", waiting(status.receipts_waiting, "waiting for the vendor's server")),
        ("Unsettled", waiting(status.intents_waiting, "begun, to be settled when the server answers")),
        ("Network", if status.network { String::new() } else { "kept off by policy".to_owned() }),
        (
            "Changes",
            if status.may_change { String::new() } else { "not permitted for you by policy".to_owned() },
        ),
        ("Next contact", status.next_contact.map(text::date_and_time).unwrap_or_default()),
    ]);
}

fn show_logs(lines: usize, follow: bool, out: &mut Output) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find()?;
    let count = lines.to_string();
    let system = endpoint.scope() == Scope::System;
    if system || (endpoint.scope() == Scope::User && launch::unit_installed()) {
        let mut journal = Process::new("journalctl");
        if !system {
            journal.arg("--user");
        }
        journal.args(["--unit", launch::UNIT, "--lines", &count]);
        if out.is_json() {
            let done = journal.args(["--output", "cat", "--no-pager"]).output();
            let done = done.map_err(|e| no_log("journalctl cannot be run").because(&e))?;
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            out.json(&json!({ "file": null, "lines": text.lines().collect::<Vec<_>>() }));
            return Ok(Exit::Done);
        }
        if follow {
            journal.arg("--follow");
        }
        return Err(no_log("journalctl cannot be run").because(&journal.exec()));
    }
    let file = logs::file(&endpoint).ok_or(ManagerError::NoPlace)?;
    if follow && !out.is_json() && file.exists() {
        let error = Process::new("tail").args(["-n", &count, "-F"]).arg(&file).exec();
        return Err(no_log("tail cannot be run").because(&error));
    }
    let found = match logs::last_lines(&file, lines) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("there is no log yet at {}", file.display());
            return Err(Failure::new(Exit::NotFound, "no_log", what)
                .advice("The log begins when claviger starts the daemon for the first time."));
        }
        Err(error) => return Err(Failure::storage(format!("{} cannot be read", file.display()), &error)),
    };
    out.json(&json!({ "file": file, "lines": found }));
    for line in found {
        out.line(text::one_line(&line, 4_000));
    }
    Ok(Exit::Done)
}

fn no_log(what: &str) -> Failure {
    Failure::new(Exit::Daemon, "no_log", what)
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
