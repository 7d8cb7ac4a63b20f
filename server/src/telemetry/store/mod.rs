//! What the collector keeps, in files of its own under `DATA/telemetry`: counters, spent tokens, who got tokens.
//!
//! Counters and spent tokens change together or not at all: SQLite commits attached files as one while none of them is
//! in WAL mode (<https://www.sqlite.org/lang_attach.html>), so that a crash neither loses a report that was confirmed
//! nor counts one twice.

mod counters;
mod issued;

pub use counters::{CounterStore, Published, Reached, Spending, Taken};
pub use issued::{Installation, Issuance, IssuedStore};

use std::path::{Path, PathBuf};
use std::time::Duration;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::telemetry::Week;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _};

/// How long one process waits for another's transaction.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why the collector's store did not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UsageStoreError {
    /// No space left.
    #[error("the server's disk is full")]
    Full,
    /// Another process holds the files for too long.
    #[error("the usage statistics are busy")]
    Busy,
    /// Made by a later version.
    #[error("{} was made by a later version: update claviger-server", .0.display())]
    TooNew(PathBuf),
    /// A row that cannot have been written by this program.
    #[error("the usage statistics hold something unreadable: restore a backup, or move DATA/telemetry away")]
    Corrupt,
    /// Anything else.
    #[error("the usage statistics' database failed")]
    Database(#[source] sqlx::Error),
    /// A file could not be removed.
    #[error("could not remove {}", path.display())]
    Remove {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<sqlx::Error> for UsageStoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && let Some(code) = database.code().and_then(|c| c.parse::<u32>().ok())
        {
            // SQLite's primary result codes; extended ones carry more in the upper bits.
            match code & 0xff {
                13 => return Self::Full,
                5 | 6 => return Self::Busy,
                _ => {}
            }
        }
        Self::Database(error)
    }
}

/// Opens a database file, and makes its tables if it is new.
async fn open(path: &Path, schema: &'static str) -> Result<SqliteConnection, UsageStoreError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Not WAL: see above. A write-ahead log would also keep the order in which reports came.
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-8192")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
        .connect()
        .await?;
    if version(&mut connection).await? == 0 {
        let mut transaction = sqlx::Connection::begin_with(&mut connection, "BEGIN IMMEDIATE").await?;
        // Another process may have been faster.
        if version(&mut transaction).await? == 0 {
            sqlx::raw_sql(schema).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
    }
    if version(&mut connection).await? > 1 {
        return Err(UsageStoreError::TooNew(path.to_owned()));
    }
    Ok(connection)
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, UsageStoreError> {
    Ok(sqlx::query("PRAGMA user_version").fetch_one(connection).await?.try_get(0)?)
}

/// Days from the Monday 1969-12-29, which begins week 0 of the tables, to 1970-01-01.
const OFFSET: i64 = 3;

/// A week as it stands in a table: whole weeks since 1969-12-29.
fn number(week: Week) -> i64 {
    (week.start().0 / DAY + OFFSET) / 7
}

fn week(number: i64) -> Week {
    Week::of(Timestamp((number.saturating_mul(7) - OFFSET).saturating_mul(DAY)))
}

/// The spent tokens of a week.
fn spent_path(folder: &Path, week: Week) -> PathBuf {
    folder.join(format!("spent-{week}.db"))
}
