//! Starting this user's daemon: through systemd where its unit is installed, otherwise by the documented spawn, which is
//! `clavigerd` from beside this program or from `PATH`, in a session of its own, silent but for its log.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use claviger_client::manager::{Endpoint, Manager, ManagerError, Scope};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::logs;
use crate::platform::{self, login};

/// The daemon's program.
pub(crate) const PROGRAM: &str = "clavigerd";
/// How long a daemon may take until it answers; it needs a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long another daemon, started at the same time, may take after ours has made way for it.
const RACE: Duration = Duration::from_secs(5);
/// How a daemon ends that has found another one at work.
const ANOTHER_RUNS: i32 = 3;
/// How a daemon ends that cannot write to its folders.
const NO_FOLDERS: i32 = 4;
/// How a daemon ends that cannot listen.
const NO_SOCKET: i32 = 5;

/// Starts the daemon and waits until it answers; says how it was started.
///
/// # Errors
/// [`Failure`] with the end of the daemon's log.
pub(crate) fn start(endpoint: &Endpoint) -> Result<(Manager, String), Failure> {
    if endpoint.scope() == Scope::User
        && login::installed()
        && let Ok(how) = login::start()
    {
        return Ok((wait(endpoint, None, PATIENCE)?, how));
    }
    let program = find()?;
    let log = logs::file(endpoint).ok_or(ManagerError::NoPlace)?;
    let begun = log.metadata().map_or(0, |found| found.len());
    let mut command = platform::detached(&program).map_err(|e| {
        Failure::new(Exit::Daemon, "daemon_not_started", "this program cannot find itself").because(&e)
    })?;
    if let Some(home) = claviger_client::platform::home_override() {
        command.env("CLAVIGER_HOME", home);
    }
    let mut child = command.spawn().map_err(|e| not_started(&program).because(&e))?;
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if let Ok(status) = child.wait() {
            let _ = sender.send(status);
        }
    });
    match wait(endpoint, Some(&ended), PATIENCE) {
        Ok(manager) => Ok((manager, format!("(log: {})", log.display()))),
        Err(mut failure) => {
            let grown = log.metadata().is_ok_and(|found| found.len() != begun);
            let lines = if grown { logs::last_lines(&log, 5).unwrap_or_default() } else { Vec::new() };
            failure.causes.extend(lines);
            // A daemon that cannot write cannot write its log either: say what keeps it from it.
            if !grown
                && let Some(folder) = log.parent()
                && let Err(error) = platform::can_write(folder)
            {
                failure.causes.push(format!("{}: {error}", folder.display()));
            }
            let next = match failure.code.as_str() {
                "daemon_folders" => format!(
                    "Make the folder writable for this user, or free space on its disk, then try again. What is licensed \
                     stays so meanwhile. Its log is {}.",
                    log.display()
                ),
                "daemon_socket" => format!(
                    "Only the daemon's own socket may stand at {}: move whatever else is there away, and see that the \
                     folder belongs to this user, then try again. Its log is {}.",
                    endpoint.path().display(),
                    log.display()
                ),
                _ => format!(
                    "The whole log is {}. To see the daemon start before your eyes:\n    claviger daemon run",
                    log.display()
                ),
            };
            Err(failure.advice(next))
        }
    }
}

/// Tries the socket until it answers, the daemon ends or time is up.
fn wait(
    endpoint: &Endpoint,
    ended: Option<&mpsc::Receiver<ExitStatus>>,
    patience: Duration,
) -> Result<Manager, Failure> {
    let mut deadline = Instant::now() + patience;
    let mut status: Option<ExitStatus> = None;
    let mut pause = Duration::from_millis(2);
    // Without a child to wait for, its end is an event that never comes.
    let (_never, silent) = mpsc::channel();
    loop {
        match Manager::connect(endpoint) {
            Ok(mut manager) => {
                // A socket that systemd holds open answers only when the daemon behind it does.
                manager.status()?;
                return Ok(manager);
            }
            Err(ManagerError::NotRunning { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let (code, what) = match status {
                Some(status) => match status.code() {
                    Some(NO_FOLDERS) => ("daemon_folders", "the daemon cannot use its folders".to_owned()),
                    Some(NO_SOCKET) => ("daemon_socket", "the daemon cannot make its socket".to_owned()),
                    _ => ("daemon_not_started", format!("the daemon ended at once ({status})")),
                },
                None => {
                    let seconds = patience.as_secs();
                    ("daemon_not_started", format!("the daemon did not answer within {seconds} seconds"))
                }
            };
            return Err(Failure::new(Exit::Daemon, code, what));
        }
        let event = match (&status, ended) {
            (None, Some(ended)) => ended.recv_timeout(pause.min(left)),
            _ => silent.recv_timeout(pause.min(left)),
        };
        match event {
            Ok(found) => {
                status = Some(found);
                let race = if found.code() == Some(ANOTHER_RUNS) { RACE } else { Duration::ZERO };
                deadline = deadline.min(Instant::now() + race);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The daemon's program: beside this one, or in `PATH`.
///
/// # Errors
/// [`Failure`] when there is none.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(&name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).filter(|p| p.is_absolute()).map(|folder| folder.join(&name));
    beside.into_iter().chain(in_path).find(|program| platform::is_program(program)).ok_or_else(|| {
        Failure::new(
            Exit::Daemon,
            "daemon_not_installed",
            "the daemon's program clavigerd is neither beside this program nor in PATH",
        )
        .advice("Install Claviger's daemon, or put clavigerd into the same folder as claviger.")
    })
}

fn not_started(program: &Path) -> Failure {
    Failure::new(Exit::Daemon, "daemon_not_started", format!("{} could not be started", program.display()))
}

/// Becomes the daemon: in this terminal, or in a session of its own.
///
/// # Errors
/// [`Failure`] when it cannot be started; otherwise it does not return.
pub(crate) fn become_daemon(program: &Path, arguments: &[OsString], detach: bool) -> Failure {
    let mut command = Command::new(program);
    if let Some(home) = claviger_client::platform::home_override() {
        command.env("CLAVIGER_HOME", home);
    }
    let error = platform::become_daemon(&mut command, arguments, detach);
    not_started(program).because(&error)
}
