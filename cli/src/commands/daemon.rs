//! `claviger daemon`: running, installing and watching this user's daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use claviger_client::manager::launch::{self, LaunchError};
use claviger_client::manager::login::{self, Installed};
use claviger_client::manager::{Endpoint, ManagerError, Scope, logs};
use claviger_protocol::ipc::{DaemonStatus, Mode, SettingSource};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::{connect, platform, text};

/// `claviger daemon …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in this terminal until Ctrl-C
    ///
    /// This command becomes clavigerd and ends as it does: 0 when asked to end, 3 when another daemon serves this user,
    /// 4 when its folders cannot be used, 5 when its socket cannot be made.
    Run {
        /// Leave the terminal's session; used by claviger itself to start the daemon
        #[arg(long, hide = true, value_name = "PROGRAM")]
        detach: Option<PathBuf>,
        /// Options for clavigerd
        #[arg(last = true)]
        options: Vec<OsString>,
    },
    /// Have the system run this user's daemon, from now on and at every login
    ///
    /// Not needed to activate: claviger starts the daemon when it wants something from it. With a system
    /// daemon, which packages install, there is nothing to do.
    Install,
    /// Stop this user's daemon and have it started no more at login. Licenses stay
    Uninstall,
    /// Say whether the daemon runs, and what it is about
    Status,
    /// Show what may be set for the daemon, or set it
    ///
    /// What the administrator's policy decides is locked.
    Settings {
        /// The proxy for everything that is sent, as host, port and scheme; none leaves it to the environment
        ///
        /// For example `--proxy "http://proxy.example.com:3128"`.
        #[arg(long, value_name = "URL|none")]
        proxy: Option<String>,
        /// Whether the daemon uses the network at all
        #[arg(long, value_name = "on|off")]
        network: Option<String>,
    },
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
        Command::Run { detach: Some(program), options } => Err(become_daemon(&program, &options, true)),
        Command::Run { detach: None, options } => {
            let ours = !options.iter().any(|option| option == "--system");
            if ours && Endpoint::find()?.scope() == Scope::System {
                return Err(LaunchError::SystemServesAll.into());
            }
            Err(become_daemon(&launch::program()?, &options, false))
        }
        Command::Install => install(out),
        Command::Uninstall => uninstall(out),
        Command::Status => status(out),
        Command::Settings { proxy, network } => settings(proxy, network, out),
        Command::Logs { lines, follow } => show_logs(lines, follow, out),
    }
}

/// Becomes the daemon: in this terminal, or in a session of its own. Returns only when that fails.
fn become_daemon(program: &Path, arguments: &[OsString], detach: bool) -> Failure {
    let mut command = std::process::Command::new(program);
    if let Some(home) = claviger_client::platform::home_override() {
        command.env("CLAVIGER_HOME", home);
    }
    let source = platform::become_daemon(&mut command, arguments, detach);
    LaunchError::NotSpawned { program: program.to_owned(), source }.into()
}

fn install(out: &mut Output) -> Result<Exit, Failure> {
    let program = launch::program();
    let Installed { name, file, by } = login::install(&Endpoint::find()?)?;
    out.json(&json!({ "installed": true, "unit": name, "file": file }));
    out.line(format!("The daemon runs, and {by} starts it at every login."));
    let file = file.map_or(name, |file| file.display().to_string());
    out.fields(&[("Written", file), ("Program", program?.display().to_string())]);
    Ok(Exit::Done)
}

fn uninstall(out: &mut Output) -> Result<Exit, Failure> {
    let done = login::uninstall(&Endpoint::find()?)?;
    out.json(&json!({ "uninstalled": done.by.is_some(), "stopped": done.stopped || done.by.is_some() }));
    out.line(match (done.by, done.stopped) {
        (Some(by), _) => {
            format!("The daemon is stopped, and {by} does not start it any more. Licenses stay as they are.")
        }
        (None, true) => "The daemon is stopped; it was not installed. Licenses stay as they are.".to_owned(),
        (None, false) => "The daemon was neither installed nor running.".to_owned(),
    });
    Ok(Exit::Done)
}

fn status(out: &mut Output) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find()?;
    let mut daemon = match launch::running(&endpoint) {
        Err(error @ LaunchError::Manager(ManagerError::NotRunning { .. })) => {
            let mut failure = Failure::from(error);
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
        (
            "Network",
            if status.network { String::new() } else { "kept off: see claviger daemon settings".to_owned() },
        ),
        (
            "Changes",
            if status.may_change { String::new() } else { "not permitted for you by policy".to_owned() },
        ),
        ("Next contact", status.next_contact.map(text::date_and_time).unwrap_or_default()),
    ]);
}

fn settings(proxy: Option<String>, network: Option<String>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let proxy = proxy.map(|url| Some(url).filter(|url| url != "none"));
    let wishes = [("proxy", proxy), ("network", network.map(Some))];
    let mut settings = None;
    for (name, wish) in wishes {
        if let Some(value) = wish {
            settings = Some(daemon.set(name.to_owned(), value)?);
        }
    }
    let settings = match settings {
        Some(settings) => settings,
        None => daemon.settings()?,
    };
    out.json(&json!({ "settings": settings }));
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|setting| {
            let source = match setting.source {
                SettingSource::Yours => "yours",
                SettingSource::Policy => "the administrator's policy",
                SettingSource::Default => "default",
            };
            let value = setting.value.as_deref().map_or_else(|| "none".to_owned(), text::clean);
            let locked = if setting.locked { "locked" } else { "" };
            vec![text::clean(&setting.name), value, source.to_owned(), locked.to_owned()]
        })
        .collect();
    out.table(&["SETTING", "VALUE", "SET BY", ""], &rows);
    Ok(Exit::Done)
}

fn show_logs(lines: usize, follow: bool, out: &mut Output) -> Result<Exit, Failure> {
    let endpoint = Endpoint::find()?;
    if out.is_json() {
        if let Some(lines) = login::log(&endpoint, lines) {
            let lines = lines.map_err(|e| no_log("the service manager's log cannot be read").because(&e))?;
            out.json(&json!({ "file": null, "lines": lines }));
            return Ok(Exit::Done);
        }
    } else if let Some(error) = login::show_log(&endpoint, lines, follow) {
        return Err(no_log("the service manager's log cannot be shown").because(&error));
    }
    let file = logs::file(&endpoint).ok_or(ManagerError::NoPlace)?;
    if follow && !out.is_json() && file.exists() {
        return Err(
            no_log("the log cannot be followed").because(&platform::follow(&file, &lines.to_string()))
        );
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
