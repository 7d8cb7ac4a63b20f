//! Where the daemon listens: one answer for every program, without trusting the environment more than it deserves.

use std::path::{Path, PathBuf};

use super::ManagerError;
use crate::platform::{self, Places};

/// The daemon's socket; on Windows its pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    path: PathBuf,
    scope: Scope,
}

/// Whose daemon it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Under `CLAVIGER_HOME`: tests and portable installs.
    Portable,
    /// The whole machine's.
    System,
    /// This user's.
    User,
}

impl Endpoint {
    /// The daemon that this program should talk to: the one of `CLAVIGER_HOME` if it is set (and the program is not
    /// set-uid), else the system daemon if one is installed, else this user's.
    ///
    /// # Errors
    /// [`ManagerError::NoPlace`] when the user has no home.
    pub fn find() -> Result<Self, ManagerError> {
        if let Some(home) = platform::home_override() {
            return Ok(Self::portable(&home));
        }
        if Self::system_installed() {
            return Ok(Self::system());
        }
        Self::user()
    }

    /// Whether this machine has a system daemon, running or not. Then nobody starts a daemon of a user.
    #[must_use]
    pub fn system_installed() -> bool {
        platform::system_daemon_installed()
    }

    /// The daemon under the folder that `CLAVIGER_HOME` names.
    #[must_use]
    pub fn portable(home: &Path) -> Self {
        Self { path: platform::socket_below(home), scope: Scope::Portable }
    }

    /// The whole machine's daemon.
    #[must_use]
    pub fn system() -> Self {
        Self { path: platform::system_socket(), scope: Scope::System }
    }

    /// The daemon behind a socket of [`Places`].
    pub(crate) fn at(path: PathBuf) -> Self {
        let scope = if path == Self::system().path { Scope::System } else { Scope::User };
        Self { path, scope }
    }

    fn user() -> Result<Self, ManagerError> {
        let system = Self::system();
        let path = Places::of_process().sockets.into_iter().find(|path| *path != system.path);
        Ok(Self { path: path.ok_or(ManagerError::NoPlace)?, scope: Scope::User })
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose daemon it is.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }
}
