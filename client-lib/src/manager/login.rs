//! Whether the system starts this user's daemon at every login, and having it do so or not: systemd, launchd, or the
//! registry's Run key.

use std::io;

use super::launch::{self, LaunchError};
use super::{Endpoint, Scope};
use crate::platform::login as system;

pub use crate::platform::Installed;

/// Whether the daemon is started at login, by a package's unit or by ours.
#[must_use]
pub fn installed() -> bool {
    system::installed()
}

/// Why there is nothing to install the daemon into, where there is not.
#[must_use]
pub fn unavailable() -> Option<&'static str> {
    (!system::available()).then_some(system::UNAVAILABLE)
}

/// Has the daemon started at every login, and now.
///
/// # Errors
/// [`LaunchError`].
pub fn install(endpoint: &Endpoint) -> Result<Installed, LaunchError> {
    match endpoint.scope() {
        Scope::System => return Err(LaunchError::SystemServesAll),
        Scope::Portable => return Err(LaunchError::Portable),
        Scope::User => {}
    }
    let program = launch::program()?;
    if !system::available() {
        return Err(LaunchError::NoServiceManager { program });
    }
    system::install(&program, || launch::stop(endpoint).map(drop))
}

/// What [`uninstall`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uninstalled {
    /// Who started it until now; none where it was not installed.
    pub by: Option<&'static str>,
    /// Whether a daemon that nobody had installed was ended.
    pub stopped: bool,
}

/// Ends this user's daemon and has it started no more at login.
///
/// # Errors
/// [`LaunchError`].
pub fn uninstall(endpoint: &Endpoint) -> Result<Uninstalled, LaunchError> {
    let by = match endpoint.scope() {
        Scope::System => return Err(LaunchError::SystemsOwn),
        Scope::User => system::uninstall()?,
        Scope::Portable => None,
    };
    Ok(Uninstalled { by, stopped: launch::stop(endpoint)? })
}

/// The last lines of the log that the service manager keeps; `None` where the daemon keeps it itself ([`super::logs`]).
#[must_use]
pub fn log(endpoint: &Endpoint, lines: usize) -> Option<io::Result<Vec<String>>> {
    match endpoint.scope() {
        Scope::Portable => None,
        scope => system::log(scope == Scope::System, &lines.to_string()),
    }
}

/// Shows that log on the terminal. Returns when that fails, or at once where the daemon keeps it itself.
#[must_use]
pub fn show_log(endpoint: &Endpoint, lines: usize, follow: bool) -> Option<io::Error> {
    match endpoint.scope() {
        Scope::Portable => None,
        scope => system::show_log(scope == Scope::System, &lines.to_string(), follow),
    }
}

impl From<String> for LaunchError {
    fn from(said: String) -> Self {
        Self::ServiceManager(said)
    }
}
