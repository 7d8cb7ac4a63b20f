//! What backup and restore do with the SQLite file itself.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::ArchiveError;

/// Copies a database that may be in use into one compact file, as it is at one moment. Free pages, which could hold
/// what was erased, are not copied.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let mut connection = open(from, None).await?;
    let target = to.to_str().ok_or(ArchiveError::Damaged("the data folder's name is not text"))?;
    sqlx::query("VACUUM INTO ?")
        .bind(target)
        .execute(&mut connection)
        .await
        .map_err(ArchiveError::Database)?;
    connection.close().await.map_err(ArchiveError::Database)?;
    let mut copied = open(to, Some(SqliteJournalMode::Delete)).await?;
    whole(&mut copied).await?;
    copied.close().await.map_err(ArchiveError::Database)?;
    // Opened for writing: Windows makes nothing durable for those who may only read.
    crate::platform::sync_file(&std::fs::File::options().write(true).open(to)?)?;
    Ok(())
}

/// Checks a restored database and raises its epoch beyond the stored one and beyond `least`. Gives vendor and epoch.
pub(super) async fn raise_epoch(path: &Path, least: i64) -> Result<(String, u64), ArchiveError> {
    let mut connection = open(path, Some(SqliteJournalMode::Delete)).await?;
    whole(&mut connection).await?;
    let row = sqlx::query("UPDATE meta SET epoch = max(epoch + 1, ?) RETURNING vendor, epoch")
        .bind(least)
        .fetch_one(&mut connection)
        .await
        .map_err(ArchiveError::Database)?;
    let vendor: String = row.try_get(0).map_err(ArchiveError::Database)?;
    let epoch: i64 = row.try_get(1).map_err(ArchiveError::Database)?;
    drop(row);
    connection.close().await.map_err(ArchiveError::Database)?;
    let epoch = u64::try_from(epoch).map_err(|_| ArchiveError::Damaged("the database's epoch"))?;
    Ok((vendor, epoch))
}

async fn open(path: &Path, journal: Option<SqliteJournalMode>) -> Result<SqliteConnection, ArchiveError> {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(std::time::Duration::from_secs(15))
        .disable_statement_logging();
    if let Some(journal) = journal {
        options = options.journal_mode(journal).pragma("synchronous", "FULL").pragma("secure_delete", "ON");
    }
    options.connect().await.map_err(ArchiveError::Database)
}

async fn whole(connection: &mut SqliteConnection) -> Result<(), ArchiveError> {
    let row = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await;
    let verdict: String = row.and_then(|row| row.try_get(0)).map_err(ArchiveError::Database)?;
    if verdict != "ok" {
        return Err(ArchiveError::Damaged("its database does not pass the integrity check"));
    }
    let broken = sqlx::query("PRAGMA foreign_key_check")
        .fetch_optional(connection)
        .await
        .map_err(ArchiveError::Database)?;
    if broken.is_some() { Err(ArchiveError::Damaged("its database contradicts itself")) } else { Ok(()) }
}
