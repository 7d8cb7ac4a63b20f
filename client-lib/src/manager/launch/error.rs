//! Why there is no daemon to talk to, or why it is not started, ended or installed: told apart by what a person can do.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::super::{ManagerError, words};
use crate::platform::{login, manage};

/// A daemon that could not be reached, started, ended or installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Talking to it failed.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The whole machine's daemon does not run; nobody starts another one beside it.
    #[error("this computer's Claviger daemon is not running (nobody listens at {path})", path = .0.display())]
    SystemDown(PathBuf),
    /// A daemon of this user is neither run nor installed beside the whole machine's.
    #[error("this computer has a system daemon, which serves all its users")]
    SystemServesAll,
    /// The whole machine's daemon is not this user's to remove.
    #[error("this computer has a system daemon, which its administrator installs and removes")]
    SystemsOwn,
    /// The daemon below `CLAVIGER_HOME` is nobody's to install.
    #[error("CLAVIGER_HOME is set: a portable daemon is not installed into the system")]
    Portable,
    /// There is no program to start.
    #[error("the daemon's program clavigerd is neither beside this program nor in PATH")]
    NotInstalled,
    /// The system did not start the program.
    #[error("{program} could not be started", program = .program.display())]
    NotSpawned {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The daemon ended because it cannot write.
    #[error("the daemon cannot use its folders")]
    Folders(Said),
    /// The daemon ended because it cannot listen.
    #[error("the daemon cannot make its socket")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What it said.
        said: Said,
    },
    /// The daemon ended for another reason.
    #[error("the daemon ended at once ({status})")]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it said.
        said: Said,
    },
    /// The daemon does not answer.
    #[error("the daemon did not answer within {seconds} seconds")]
    Silent {
        /// How long was waited.
        seconds: u64,
        /// What it said; none where the service manager keeps its log.
        said: Option<Said>,
    },
    /// There is nothing to install the daemon into.
    #[error("{}", login::UNAVAILABLE)]
    NoServiceManager {
        /// The program that a session could start instead.
        program: PathBuf,
    },
    /// The service manager refused.
    #[error("{0}")]
    ServiceManager(String),
    /// The running daemon could not be asked to end.
    #[error("the running daemon cannot be stopped")]
    NotStopped(#[source] io::Error),
    /// The running daemon was asked to end and did not.
    #[error("the running daemon did not end within {0} seconds")]
    StillRunning(u64),
}

/// What a daemon that did not start left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its log.
    pub log: PathBuf,
    /// The last lines of it, if it wrote any; otherwise what keeps it from writing.
    pub lines: Vec<String>,
}

impl LaunchError {
    /// What to do next, if there is something. An indented line is a command.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Manager(error) => return error.advice().map(str::to_owned),
            Self::SystemDown(_) => format!(
                "It serves all users of this computer, so no other is started. An administrator starts it with\n    {}",
                manage::START_SYSTEM_DAEMON
            ),
            Self::SystemServesAll => {
                "No other is run or installed beside it. See it with\n    claviger daemon status".to_owned()
            }
            Self::SystemsOwn => "Remove it with the package manager that installed it.".to_owned(),
            Self::Portable => {
                "Unset CLAVIGER_HOME, or let claviger start the daemon when it needs it.".to_owned()
            }
            Self::NotInstalled => {
                "Install Claviger's daemon, or put clavigerd into the same folder as claviger.".to_owned()
            }
            Self::Folders(said) => format!(
                "Make the folder writable for this user, or free space on its disk, then try again. What is licensed \
                 stays so meanwhile. Its log is {}.",
                said.log.display()
            ),
            Self::Socket { path, said } => format!(
                "Only the daemon's own socket may stand at {}: move whatever else is there away, and see that the \
                 folder belongs to this user, then try again. Its log is {}.",
                path.display(),
                said.log.display()
            ),
            Self::Ended { said, .. } | Self::Silent { said: Some(said), .. } => format!(
                "The whole log is {}. To see the daemon start before your eyes:\n    claviger daemon run",
                said.log.display()
            ),
            Self::NoServiceManager { program } => format!(
                "It works without: claviger starts the daemon when it needs it. To have it run from login on, let your \
                 session start\n    {}",
                words::shell(&program.display().to_string())
            ),
            Self::ServiceManager(_) => "See why with\n    claviger daemon logs".to_owned(),
            Self::StillRunning(_) => "Look at `claviger daemon logs`.".to_owned(),
            Self::NotSpawned { .. } | Self::Silent { said: None, .. } | Self::NotStopped(_) => return None,
        })
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Manager(error) => error.code(),
            Self::SystemDown(_) => "daemon_not_running",
            Self::SystemServesAll | Self::SystemsOwn => "system_daemon",
            Self::Portable => "portable",
            Self::NotInstalled => "daemon_not_installed",
            Self::NotSpawned { .. } | Self::Ended { .. } | Self::Silent { .. } => "daemon_not_started",
            Self::Folders(_) => "daemon_folders",
            Self::Socket { .. } => "daemon_socket",
            Self::NoServiceManager { .. } => "no_service_manager",
            Self::ServiceManager(_) => "service_manager",
            Self::NotStopped(_) | Self::StillRunning(_) => "daemon_not_stopped",
        }
    }

    /// What the daemon said before it ended, as far as it said anything.
    #[must_use]
    pub fn said(&self) -> &[String] {
        match self {
            Self::Folders(said)
            | Self::Socket { said, .. }
            | Self::Ended { said, .. }
            | Self::Silent { said: Some(said), .. } => &said.lines,
            _ => &[],
        }
    }
}
