//! Finding the daemon, and starting this user's one where none runs.

use claviger_client::manager::{Endpoint, Manager, ManagerError, Scope};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::launch;
use crate::output::Output;
use crate::platform;
use crate::progress::Progress;

/// A connection to the running daemon; starts this user's one, and says so, when none runs.
///
/// # Errors
/// [`Failure`] says why there is none.
pub(crate) fn daemon(out: &Output) -> Result<Manager, Failure> {
    let endpoint = Endpoint::find()?;
    match Manager::connect(&endpoint) {
        Err(ManagerError::NotRunning { .. }) if endpoint.scope() == Scope::System => {
            Err(system_is_down(&endpoint))
        }
        Err(ManagerError::NotRunning { .. }) => {
            let progress = Progress::start("Starting the Claviger daemon", out.is_json());
            let started = launch::start(&endpoint);
            drop(progress);
            let (manager, how) = started?;
            out.remark(format!("Started the Claviger daemon {how}."));
            Ok(manager)
        }
        other => Ok(other?),
    }
}

/// A connection to the daemon if it runs.
///
/// # Errors
/// [`Failure`] says why there is none.
pub(crate) fn running(endpoint: &Endpoint) -> Result<Manager, Failure> {
    match Manager::connect(endpoint) {
        Err(ManagerError::NotRunning { .. }) if endpoint.scope() == Scope::System => {
            Err(system_is_down(endpoint))
        }
        other => Ok(other?),
    }
}

fn system_is_down(endpoint: &Endpoint) -> Failure {
    Failure::new(
        Exit::Daemon,
        "daemon_not_running",
        format!(
            "this computer's Claviger daemon is not running (nobody listens at {})",
            endpoint.path().display()
        ),
    )
    .advice(format!(
        "It serves all users of this computer, so no other is started. An administrator starts it with\n    {}",
        platform::START_SYSTEM_DAEMON
    ))
}
