//! What several commands share: the data folder, the runtime, the database, and how failures are told.

use std::io::{BufRead, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use claviger_protocol::documents::VendorProfile;
use claviger_protocol::serial::Serial;

use super::{Failure, FailureKind};
use crate::config::DataDir;
use crate::keys::{KeysError, PublicFiles};
use crate::licensing::LicensingError;
use crate::storage::{self, Store, StoreError};

/// Names the data folder.
#[derive(Debug, clap::Args)]
pub(super) struct DataArg {
    /// The server's data folder, at whatever place in the command. `init` and `restore` make it; every command that
    /// works on a server needs it, `keys sign` and `keys sunset` do not.
    // Not `required`: clap has no global arguments that are.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl DataArg {
    pub(super) fn dir(&self) -> Result<DataDir, Failure> {
        let missing = || Failure::new(FailureKind::Usage, "name the server's data folder with --data DIR");
        self.data.as_ref().map(DataDir::new).ok_or_else(missing)
    }
}

/// The vendor and its database.
pub(super) struct Shop {
    /// The vendor profile.
    pub(super) profile: VendorProfile,
    /// The database.
    pub(super) store: Arc<dyn Store>,
}

impl Shop {
    pub(super) async fn open(data: &DataArg) -> Result<Self, Failure> {
        let data = data.dir()?;
        let files = PublicFiles::load(&data)?;
        let store = storage::open(&data).await?;
        Ok(Self { profile: files.profile, store })
    }

    pub(super) fn serial(&self, text: &str) -> Result<Serial, Failure> {
        Serial::parse_any(text, &self.profile.prefix).map_err(|e| Failure::new(FailureKind::Usage, e))
    }
}

/// Runs a command's work on a small runtime.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(FailureKind::Environment, format!("the runtime did not start: {e}")))?
        .block_on(work)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NotFound(_) | StoreError::Missing(_) => FailureKind::NotFound,
            StoreError::Conflict(_) => FailureKind::Conflict,
            StoreError::Invalid(_) => FailureKind::Usage,
            StoreError::Full | StoreError::Busy | StoreError::TooNew { .. } | StoreError::Database(_) => {
                FailureKind::Environment
            }
            StoreError::Corrupt(_) | StoreError::Damaged(_) => FailureKind::BadInput,
            StoreError::Gone => FailureKind::Internal,
        };
        let hint = match &error {
            StoreError::Full => {
                "make room on the disk of the data folder and give the command again; nothing was changed"
            }
            StoreError::Busy => {
                "another command or a backup holds it: try again in a moment; nothing was changed"
            }
            StoreError::Damaged(_) => {
                "stop the server and restore the newest backup into a new folder: claviger-server restore FILE --data \
                 NEW-FOLDER"
            }
            StoreError::Database(_) => {
                "look at the disk and the permissions of the data folder, then try again"
            }
            _ => return Self::from_error(kind, &error),
        };
        Self::from_error(kind, &error).hint(hint)
    }
}

/// Asks on a terminal. Without one the command line itself is the answer: a script said what it wants.
pub(super) fn confirm(yes: bool, question: &str, refused: &str) -> Result<(), Failure> {
    let terminal = std::io::stdin().is_terminal();
    if yes || !terminal || agreed(&mut std::io::stdin().lock(), &mut std::io::stderr(), question) {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Denied, refused))
}

/// Whether the answer to a question is a yes: anything else is none, and so is the end of the input.
fn agreed(answers: &mut dyn BufRead, asks: &mut dyn Write, question: &str) -> bool {
    let mut answer = String::new();
    let asked = write!(asks, "{question} [y/N] ")
        .and_then(|()| asks.flush())
        .and_then(|()| answers.read_line(&mut answer).map(|_| ()));
    asked.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

impl From<LicensingError> for Failure {
    fn from(error: LicensingError) -> Self {
        match error {
            LicensingError::Store(error) => error.into(),
            LicensingError::Typed(_) | LicensingError::Invalid(_) => {
                Self::from_error(FailureKind::Usage, &error)
            }
            LicensingError::Random => Self::from_error(FailureKind::Environment, &error),
        }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        super::init::failure(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in [("y\n", true), ("yes\n", true), ("n\n", false), ("\n", false), ("", false)] {
            let mut asked = Vec::new();
            assert_eq!(agreed(&mut answer.as_bytes(), &mut asked, "Revoke it?"), yes, "{answer:?}");
            assert_eq!(asked, b"Revoke it? [y/N] ");
        }
    }
}
