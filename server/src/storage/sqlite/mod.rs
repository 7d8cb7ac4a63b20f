//! SQLite, embedded: one writing connection for the process (other processes wait for each other through the file),
//! and reading ones beside it. WAL with synchronous=FULL: what was answered survives a power cut.

mod admin;
mod batch;
mod migrate;
mod rows;
mod usage;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::{ActivationId, VendorId};
use claviger_protocol::keys::{KeyId, PublicKey};
use claviger_protocol::serial::Serial;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{Decide, Idle, Later, Meta, Store, StoreError};
use crate::engine::{Touched, World};
use crate::fault;

/// How long one process waits for another's transaction.
const PATIENCE: Duration = Duration::from_secs(15);

/// Work after which the write-ahead log is moved into the database, by a connection of its own: done by the writer, as
/// SQLite does by itself, it would hold up everything that is queued. More often, and the disk would be busy with it all the
/// time; more seldom, and the log would grow, whose new size takes a commit another write. A commit counts as its requests.
const WORK_IN_THE_LOG: usize = 1_000;
/// What a commit counts as at least: few requests share no pages.
const LEAST_WORK: usize = 8;
/// Pages in the log at which the writer moves them after all, so that the log cannot grow for ever.
const MOST_PAGES_IN_THE_LOG: &str = "10000";

/// A database file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Slot,
    reader: Slot,
    lookup: Slot,
    checkpointer: Slot,
    /// Work committed since the write-ahead log was last moved into the database.
    in_the_log: AtomicUsize,
    much_in_the_log: Notify,
}

/// A connection that is opened anew when it failed.
type Slot = Mutex<Option<SqliteConnection>>;

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .foreign_keys(true)
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-8192")
        .pragma("wal_autocheckpoint", MOST_PAGES_IN_THE_LOG)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

impl SqliteStore {
    /// Makes a new database.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the file exists.
    pub async fn create(path: &Path, vendor: &VendorId) -> Result<(), StoreError> {
        if path.exists() {
            return Err(StoreError::Conflict(format!("there is a database at {} already", path.display())));
        }
        // Made beside its place, so that an interruption leaves no half database there.
        let making = path.with_extension("db.new");
        let _ = std::fs::remove_file(&making);
        let made = options(&making).journal_mode(SqliteJournalMode::Delete).create_if_missing(true);
        let mut connection = made.connect().await?;
        migrate::forward(&mut connection).await?;
        sqlx::query("INSERT INTO meta (id, vendor, epoch, catalogue) VALUES (1, ?, 1, 0)")
            .bind(vendor.as_str())
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        crate::keys::durable::publish_new(&making, path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                StoreError::Conflict(format!("{} is there already", path.display()))
            }
            _ => StoreError::Database(sqlx::Error::Io(e)),
        })
    }

    /// Opens a database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let mut connection = options(path).connect().await?;
        migrate::forward(&mut connection).await?;
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(Some(connection)),
            reader: Mutex::new(None),
            lookup: Mutex::new(None),
            checkpointer: Mutex::new(None),
            in_the_log: AtomicUsize::new(0),
            much_in_the_log: Notify::new(),
        })
    }

    async fn writing(&self) -> Result<Held<'_>, StoreError> {
        Held::take(&self.writer, options(&self.path)).await
    }

    async fn reading(&self) -> Result<Held<'_>, StoreError> {
        Held::take(&self.reader, options(&self.path).pragma("query_only", "ON")).await
    }

    async fn looking_up(&self) -> Result<Held<'_>, StoreError> {
        Held::take(&self.lookup, options(&self.path).pragma("query_only", "ON")).await
    }
}

/// A connection in use.
struct Held<'a>(MutexGuard<'a, Option<SqliteConnection>>);

impl<'a> Held<'a> {
    async fn take(slot: &'a Slot, options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let mut held = slot.lock().await;
        if held.is_none() {
            *held = Some(options.connect().await?);
        }
        Ok(Self(held))
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.0.as_mut().ok_or(StoreError::Gone)
    }

    /// For work that leaves the connection in doubt unless it is done to its end: then it is put back.
    fn take_out(&mut self) -> Result<SqliteConnection, StoreError> {
        self.0.take().ok_or(StoreError::Gone)
    }

    fn put_back(&mut self, connection: SqliteConnection) {
        *self.0 = Some(connection);
    }

    /// A transaction that takes the write lock at its start, so that it never has to give up in the middle.
    async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, StoreError> {
        Ok(self.connection()?.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// After a failure that left the connection in doubt: the next user opens another one.
    fn settle<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(StoreError::Database(sqlx::Error::RowNotFound)) => {}
            // On a full disk SQLite itself rolls the transaction back, and the driver goes on counting it as open.
            Err(StoreError::Database(_) | StoreError::Damaged(_) | StoreError::Full) => *self.0 = None,
            _ => {}
        }
        result
    }
}

impl Store for SqliteStore {
    fn batch(&self, touched: Touched, decide: Decide) -> Later<'_, ()> {
        Box::pin(async move {
            let mut held = self.writing().await?;
            // Whoever gives up in the middle closes the connection with it, and so the transaction.
            let mut connection = held.take_out()?;
            let mut world = World::default();
            batch::begin(&mut connection, &touched, &mut world).await?;
            decide(&mut world);
            fault::point("before-commit");
            batch::commit(&mut connection, &world).await?;
            held.put_back(connection);
            let work = touched.requests.len().max(LEAST_WORK);
            if self.in_the_log.fetch_add(work, Ordering::Relaxed) + work >= WORK_IN_THE_LOG {
                self.in_the_log.store(0, Ordering::Relaxed);
                self.much_in_the_log.notify_one();
            }
            Ok(())
        })
    }

    fn keep_tidy(&self) -> Idle<'_> {
        Box::pin(async move {
            loop {
                self.much_in_the_log.notified().await;
                let done = async {
                    let mut held = Held::take(&self.checkpointer, options(&self.path)).await?;
                    let done =
                        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_all(held.connection()?).await;
                    held.settle(done.map_err(StoreError::from))
                };
                // It is tried again after the next commits.
                if let Err(error) = done.await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the write-ahead log was not moved"
                    );
                }
            }
        })
    }

    fn unlock_keys<'a>(&'a self, serials: &'a [Serial]) -> Later<'a, Vec<Option<PublicKey>>> {
        Box::pin(async move {
            let mut held = self.looking_up().await?;
            let json = rows::json_rows(serials.iter())?;
            let found = sqlx::query(
                "SELECT json_group_array(json_array(j.key, lower(hex(l.unlock_key)))) \
                 FROM json_each(?1) j CROSS JOIN licenses l ON l.serial = j.value",
            )
            .bind(json)
            .fetch_one(held.connection()?)
            .await
            .map_err(StoreError::from);
            let mut keys = vec![None; serials.len()];
            let row = held.settle(found)?;
            for (at, key) in rows::json_of::<Vec<(usize, rows::Hex<32>)>>(&row, 0, "licenses")? {
                if let Some(slot) = keys.get_mut(at) {
                    *slot = Some(PublicKey(key.0));
                }
            }
            Ok(keys)
        })
    }

    fn made_by(&self, device: KeyId, limit: u32) -> Later<'_, Vec<ActivationId>> {
        admin::reading!(self, connection, {
            let found = sqlx::query(
                "SELECT activation FROM requests WHERE jkt = ?1 AND activation IS NOT NULL \
                 GROUP BY activation ORDER BY max(at) DESC LIMIT ?2",
            )
            .bind(rows::jkt_bytes(&device))
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await?;
            found.iter().map(|row| Ok(ActivationId(rows::array(row, 0, "requests")?))).collect()
        })
    }

    fn meta(&self) -> Later<'_, Meta> {
        admin::reading!(self, connection, {
            let row =
                sqlx::query("SELECT vendor, epoch, catalogue FROM meta").fetch_one(&mut *connection).await?;
            let vendor: String = row.try_get(0)?;
            Ok(Meta {
                vendor: VendorId::from_str(&vendor).map_err(|_| StoreError::Corrupt("meta"))?,
                epoch: rows::unsigned(&row, 1, "meta")?,
                catalogue: rows::unsigned(&row, 2, "meta")?,
            })
        })
    }

    fn forget_answers(&self, before: Timestamp) -> Later<'_, u64> {
        Box::pin(async move {
            let mut held = self.writing().await?;
            // A bounded number at a time: activations must not wait for it.
            let done = sqlx::query(
                "DELETE FROM requests WHERE id IN \
                 (SELECT id FROM requests WHERE activation IS NULL AND at < ? LIMIT 2000)",
            )
            .bind(before.0)
            .execute(held.connection()?)
            .await
            .map_err(StoreError::from);
            Ok(held.settle(done)?.rows_affected())
        })
    }

    fn close(&self) -> Later<'_, ()> {
        Box::pin(async move {
            // The writer last: who closes last moves the write-ahead log into the file.
            for slot in [&self.checkpointer, &self.reader, &self.lookup, &self.writer] {
                if let Some(connection) = slot.lock().await.take() {
                    connection.close().await?;
                }
            }
            Ok(())
        })
    }
}
