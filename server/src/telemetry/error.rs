//! Why something about usage statistics fails.

use std::path::{Path, PathBuf};

use claviger_protocol::documents::DocumentError;

use super::store::UsageStoreError;
use crate::keys::KeysError;
use crate::storage::StoreError;

/// Why something about usage statistics fails.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TelemetryError {
    #[error("could not {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} is damaged; restore it from a backup", .0.display())]
    Damaged(PathBuf),
    #[error("{} is not acceptable", path.display())]
    Document { path: PathBuf, source: DocumentError },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    NotFound(String),
    #[error("the system's random number generator failed")]
    Random,
    #[error(transparent)]
    Usage(#[from] UsageStoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl TelemetryError {
    /// Makes an I/O error tell what was done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
