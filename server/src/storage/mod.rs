//! The seam to the database. A store loads what a batch touches, lets it be decided in memory, and commits what
//! changed; beside that it answers look-ups and does what the vendor's commands ask. SQLite is the embedded default;
//! PostgreSQL implements the same trait and must pass the same tests (`contract`).

pub mod admin;
pub mod sqlite;
pub mod usage;

#[cfg(test)]
mod contract;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::{ActivationId, VendorId};
use claviger_protocol::keys::{KeyId, PublicKey};
use claviger_protocol::serial::Serial;

use crate::config::DataDir;
use crate::engine::{Touched, World};

/// A future of a store: the trait is used as `dyn Store`.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Work that goes on until it is dropped.
pub type Idle<'a> = Pin<Box<dyn Future<Output = std::convert::Infallible> + Send + 'a>>;

/// Decides in memory about a batch.
pub type Decide = Box<dyn FnOnce(&mut World) + Send>;

/// What the server knows about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The vendor.
    pub vendor: VendorId,
    /// Rises with every restore.
    pub epoch: u64,
    /// Rises with every change of products.
    pub catalogue: u64,
}

/// A database of licenses.
pub trait Store: admin::Admin + usage::Usage + std::fmt::Debug + Send + Sync {
    /// In one transaction: loads what is touched, lets `decide` change it, writes what changed, commits durably. When
    /// this fails, nothing was stored.
    fn batch(&self, touched: Touched, decide: Decide) -> Later<'_, ()>;

    /// The unlock keys of these serial numbers, in their order.
    fn unlock_keys<'a>(&'a self, serials: &'a [Serial]) -> Later<'a, Vec<Option<PublicKey>>>;

    /// Activations that requests of this device key made, the newest first, at most `limit`; ended ones too.
    fn made_by(&self, device: KeyId, limit: u32) -> Later<'_, Vec<ActivationId>>;

    /// What the server knows about itself.
    fn meta(&self) -> Later<'_, Meta>;

    /// Forgets some of the answers older than `before` that made no activation; how many. Zero when none are left.
    fn forget_answers(&self, before: Timestamp) -> Later<'_, u64>;

    /// Does what a database needs beside the writer's work, for as long as it is polled.
    fn keep_tidy(&self) -> Idle<'_>;

    /// Closes all connections, so that nothing is left beside the database's file.
    fn close(&self) -> Later<'_, ()>;
}

/// Why the database did not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error("the server's disk is full")]
    Full,
    /// Another process holds the database for too long.
    #[error("the database is busy")]
    Busy,
    /// Nothing there yet.
    #[error(
        "there is no database at {0}: run `claviger-server init` first, or name the data folder with --data"
    )]
    Missing(std::path::PathBuf),
    /// Made by a later version.
    #[error("the database has schema {found}; this version knows {known}: update claviger-server")]
    TooNew {
        /// What it has.
        found: i64,
        /// What this version knows.
        known: i64,
    },
    /// A row that cannot have been written by this program.
    #[error("the database holds something unreadable in {0}: restore a backup")]
    Corrupt(&'static str),
    /// The file is not what SQLite wrote.
    #[error("the database is damaged")]
    Damaged(#[source] sqlx::Error),
    /// Anything else.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The store was closed.
    #[error("the database is closed")]
    Gone,
    /// What was asked for contradicts what is stored.
    #[error("{0}")]
    Conflict(String),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// What was given is not acceptable.
    #[error("{0}")]
    Invalid(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && let Some(code) = database.code().and_then(|c| c.parse::<u32>().ok())
        {
            // SQLite's primary result codes; extended ones carry more in the upper bits.
            match code & 0xff {
                13 => return Self::Full,
                5 | 6 => return Self::Busy,
                11 | 26 => return Self::Damaged(error),
                _ => {}
            }
        }
        Self::Database(error)
    }
}

/// Makes the database of a new data folder.
///
/// # Errors
/// [`StoreError::Conflict`] when there is one already.
pub async fn create(data: &DataDir, vendor: &VendorId) -> Result<(), StoreError> {
    sqlite::SqliteStore::create(&data.database(), vendor).await
}

/// Opens the database of a data folder, migrating it forward if need be.
///
/// # Errors
/// [`StoreError`].
pub async fn open(data: &DataDir) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(sqlite::SqliteStore::open(&data.database()).await?))
}
