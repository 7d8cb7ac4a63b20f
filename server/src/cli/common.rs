//! What several commands share: the data folder, the runtime, the database, and how failures are told.

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
    /// The server's data folder; needed, at whatever place in the command. `init` and `restore` make it.
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
            StoreError::Corrupt(_) => FailureKind::BadInput,
            StoreError::Gone => FailureKind::Internal,
        };
        Self::from_error(kind, &error)
    }
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
