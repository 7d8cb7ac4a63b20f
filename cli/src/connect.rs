//! Finding the daemon, and starting this user's one where none runs.

use claviger_client::manager::launch::{self, LaunchError};
use claviger_client::manager::{Endpoint, Manager, ManagerError};

use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// A connection to the running daemon; starts this user's one, and says so, when none runs.
///
/// # Errors
/// [`Failure`] says why there is none.
pub(crate) fn daemon(out: &Output) -> Result<Manager, Failure> {
    let endpoint = Endpoint::find()?;
    match launch::running(&endpoint) {
        Err(LaunchError::Manager(ManagerError::NotRunning { .. })) => {
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
