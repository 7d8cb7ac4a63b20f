//! What can go wrong between a manager and the daemon, told apart by what the person can do about it.

use std::io;
use std::path::PathBuf;

use claviger_protocol::ipc::CallError;

/// A call to the daemon that gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// Nobody listens at the daemon's socket.
    #[error("the Claviger daemon is not running (nobody listens at {path})", path = .path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket may not be opened by this user.
    #[error("this user may not use the daemon's socket {path}", path = .path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another user's process listens there.
    #[error("the process behind {path} belongs to the user {user}, who may not be this user's daemon", path = .path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Who listens: a number on Unix systems, a security identifier on Windows.
        user: String,
    },
    /// There is no place for a socket: the user has no home.
    #[error("the folder of the daemon's socket cannot be found: this user has no home folder")]
    NoPlace,
    /// The daemon did not take or answer the call in time.
    #[error("the daemon did not answer within {0} seconds")]
    Timeout(u64),
    /// The daemon ended before it answered.
    #[error("the daemon closed the connection before it answered")]
    Closed,
    /// The last reply lacked the result.
    #[error("the daemon's last reply lacks the result")]
    Incomplete,
    /// A frame is longer than the protocol allows.
    #[error("the daemon's reply is longer than {max} bytes")]
    ReplyTooLarge {
        /// The bound.
        max: usize,
    },
    /// The call does not fit into a frame.
    #[error("the call is longer than the {max} bytes that the daemon reads")]
    CallTooLarge {
        /// The bound.
        max: usize,
    },
    /// The reply is not what the interface describes.
    #[error("the daemon's reply is not readable")]
    Unreadable(#[source] serde_json::Error),
    /// The daemon knows no such method or error: its version differs.
    #[error("the daemon answered “{0}”, which this program does not know")]
    Unknown(String),
    /// The daemon serves another user.
    #[error("the daemon refuses to serve this user: it belongs to another one")]
    NotOurs,
    /// The connection failed.
    #[error("the connection to the daemon failed")]
    Io(#[from] io::Error),
    /// The daemon refused or failed, and says why.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ManagerError {
    /// What to do next, if there is something.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        Some(match self {
            Self::NotRunning { .. } => "Start it with `claviger daemon run`, or run `claviger doctor`.",
            Self::Denied { .. } => {
                "Ask the administrator of this computer for access, or run `claviger doctor`."
            }
            Self::Stranger { .. } => {
                "Do not go on: ask the administrator of this computer who runs that process."
            }
            Self::NotOurs => {
                "Run the command as the user whose daemon it is, or without CLAVIGER_HOME to use this user's own."
            }
            Self::NoPlace => "Ask the administrator of this computer to give this user a home folder.",
            Self::Timeout(_) | Self::Closed | Self::Io(_) => {
                "Look at `claviger daemon logs`, then try again. Licensed plug-ins go on working meanwhile."
            }
            Self::Incomplete | Self::ReplyTooLarge { .. } | Self::Unreadable(_) | Self::Unknown(_) => {
                "The daemon and this program may be of different versions: update Claviger and restart the daemon."
            }
            Self::CallTooLarge { .. } => "Check that the file or text is the right one.",
            Self::Call(error) => return error.advice(),
        })
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NotRunning { .. } => "daemon_not_running",
            Self::Denied { .. } | Self::NotOurs => "daemon_denied",
            Self::Stranger { .. } => "daemon_not_trusted",
            Self::NoPlace => "no_home",
            Self::Timeout(_) => "daemon_timeout",
            Self::Closed | Self::Io(_) => "daemon_gone",
            Self::Incomplete | Self::ReplyTooLarge { .. } | Self::Unreadable(_) | Self::Unknown(_) => {
                "daemon_unreadable"
            }
            Self::CallTooLarge { .. } => "too_large",
            Self::Call(error) => error.code(),
        }
    }
}
