//! Starting and ending this user's daemon, for the command line and the window alike: through systemd where its unit is
//! installed, otherwise by the documented spawn, which is `clavigerd` from beside this program or from `PATH`, in a session of
//! its own, silent but for its log.

mod error;

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Endpoint, Manager, ManagerError, Scope, logs};
use crate::platform::{self, login, manage};

pub use error::{LaunchError, Said};

/// The daemon's program.
const PROGRAM: &str = "clavigerd";
/// How long a daemon may take until it answers; it needs a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long another daemon, started at the same time, may take after ours has made way for it.
const RACE: Duration = Duration::from_secs(5);
/// How long a daemon may take to finish its work when it is asked to end.
const ENDING: Duration = Duration::from_secs(30);
/// How a daemon ends that has found another one at work.
const ANOTHER_RUNS: i32 = 3;
/// How a daemon ends that cannot write to its folders.
const NO_FOLDERS: i32 = 4;
/// How a daemon ends that cannot listen.
const NO_SOCKET: i32 = 5;

/// A connection to the daemon if it runs. Where [`ManagerError::NotRunning`] comes back, [`start`] may be called; it does not
/// where the whole machine's daemon is down.
///
/// # Errors
/// [`LaunchError`] says why there is none.
pub fn running(endpoint: &Endpoint) -> Result<Manager, LaunchError> {
    match Manager::connect(endpoint) {
        Err(ManagerError::NotRunning { path, .. }) if endpoint.scope() == Scope::System => {
            Err(LaunchError::SystemDown(path))
        }
        other => Ok(other?),
    }
}

/// Starts the daemon and waits until it answers; says how it was started, in brackets.
///
/// # Errors
/// [`LaunchError`], with the end of the daemon's log.
pub fn start(endpoint: &Endpoint) -> Result<(Manager, String), LaunchError> {
    if endpoint.scope() == Scope::System {
        return Err(LaunchError::SystemDown(endpoint.path().to_owned()));
    }
    if endpoint.scope() == Scope::User
        && login::installed()
        && let Ok(how) = login::start()
    {
        return match wait(endpoint, None)? {
            Ok(manager) => Ok((manager, how)),
            Err(_) => Err(LaunchError::Silent { seconds: PATIENCE.as_secs(), said: None }),
        };
    }
    let program = program()?;
    let log = logs::file(endpoint).ok_or(ManagerError::NoPlace)?;
    let begun = log.metadata().map_or(0, |found| found.len());
    let mut command = manage::detached(&program);
    if let Some(home) = platform::home_override() {
        command.env("CLAVIGER_HOME", home);
    }
    let mut child = command.spawn().map_err(|source| LaunchError::NotSpawned { program, source })?;
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if let Ok(status) = child.wait() {
            let _ = sender.send(status);
        }
    });
    match wait(endpoint, Some(&ended))? {
        Ok(manager) => Ok((manager, format!("(log: {})", log.display()))),
        Err(status) => Err(explain(status, endpoint, log, begun)),
    }
}

/// What a daemon's end, or its silence, means. Its log had `begun` bytes before it was started.
fn explain(status: Option<ExitStatus>, endpoint: &Endpoint, log: PathBuf, begun: u64) -> LaunchError {
    let grown = log.metadata().is_ok_and(|found| found.len() != begun);
    let mut lines = if grown { logs::last_lines(&log, 5).unwrap_or_default() } else { Vec::new() };
    // A daemon that cannot write cannot write its log either: say what keeps it from it.
    if !grown
        && let Some(folder) = log.parent()
        && let Err(error) = manage::can_write(folder)
    {
        lines.push(format!("{}: {error}", folder.display()));
    }
    let said = Said { log, lines };
    match status {
        None => LaunchError::Silent { seconds: PATIENCE.as_secs(), said: Some(said) },
        Some(status) => match status.code() {
            Some(NO_FOLDERS) => LaunchError::Folders(said),
            Some(NO_SOCKET) => LaunchError::Socket { path: endpoint.path().to_owned(), said },
            _ => LaunchError::Ended { status, said },
        },
    }
}

/// Tries the socket until it answers, the daemon ends or time is up; then how it ended, if it did.
fn wait(
    endpoint: &Endpoint,
    ended: Option<&mpsc::Receiver<ExitStatus>>,
) -> Result<Result<Manager, Option<ExitStatus>>, ManagerError> {
    let mut deadline = Instant::now() + PATIENCE;
    let mut status: Option<ExitStatus> = None;
    let mut pause = Duration::from_millis(2);
    // Without a child to wait for, its end is an event that never comes.
    let (_never, silent) = mpsc::channel();
    loop {
        match Manager::connect(endpoint) {
            Ok(mut manager) => {
                // A socket that systemd holds open answers only when the daemon behind it does.
                manager.status()?;
                return Ok(Ok(manager));
            }
            Err(ManagerError::NotRunning { .. }) => {}
            Err(other) => return Err(other),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(status));
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
/// [`LaunchError::NotInstalled`] when there is none.
pub fn program() -> Result<PathBuf, LaunchError> {
    let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(&name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).filter(|p| p.is_absolute()).map(|folder| folder.join(&name));
    let mut places = beside.into_iter().chain(in_path);
    places.find(|program| manage::is_program(program)).ok_or(LaunchError::NotInstalled)
}

/// Ends a daemon of this user, and waits until it has finished its work; false when there was none to end. A service manager
/// may start it again.
///
/// # Errors
/// [`LaunchError`].
pub fn stop(endpoint: &Endpoint) -> Result<bool, LaunchError> {
    let manager = match Manager::connect(endpoint) {
        Ok(manager) => manager,
        Err(ManagerError::NotRunning { .. }) => return Ok(false),
        Err(other) => return Err(other.into()),
    };
    let pid = manager.peer_pid().filter(|_| manager.peer_is_us());
    let Some(pid) = pid else { return Ok(false) };
    drop(manager);
    match manage::end_process(pid, ENDING) {
        Ok(true) => Ok(true),
        Ok(false) => Err(LaunchError::StillRunning(ENDING.as_secs())),
        Err(error) => Err(LaunchError::NotStopped(error)),
    }
}
