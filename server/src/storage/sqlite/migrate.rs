//! Brings a database's schema forward, one file at a time. The recipe stands at the top of the first migration.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::storage::StoreError;

/// Every migration, in order; the number of a migration is its place, beginning with 1.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001-licenses.sql"),
    include_str!("migrations/0002-usage.sql"),
    include_str!("migrations/0003-answers.sql"),
];

/// Runs what has not run yet.
pub(super) async fn forward(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version(connection).await? == known {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Another process may have been faster.
    let found = version(&mut transaction).await?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA user_version = {known}"))).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query("PRAGMA user_version").fetch_one(connection).await?.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    /// A database of schema 2.
    #[tokio::test]
    async fn a_database_of_before_keeps_its_answers() {
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::new().in_memory(true)).await.unwrap();
        for before in &MIGRATIONS[..2] {
            sqlx::raw_sql(*before).execute(&mut connection).await.unwrap();
        }
        sqlx::raw_sql(
            "INSERT INTO requests VALUES (x'02', x'22', x'aa', '{\"n\":2}', x'bb', 20), (x'01', x'11', x'cc', '{}', NULL, 10); \
             PRAGMA user_version = 2",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        forward(&mut connection).await.unwrap();
        assert_eq!(version(&mut connection).await.unwrap(), 3);
        let found = sqlx::query(
            "SELECT hex(jkt) || hex(nonce) || hex(hash) || claims || iif(activation IS NULL, '-', hex(activation)) || at \
             FROM requests ORDER BY at",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, ["0111CC{}-10", "0222AA{\"n\":2}BB20"]);
        let twice =
            "INSERT INTO requests (jkt, nonce, hash, claims, at) VALUES (x'01', x'11', x'', '{}', 30)";
        assert!(sqlx::query(twice).execute(&mut connection).await.is_err(), "an answer is given once");
        // Nothing is left to do.
        forward(&mut connection).await.unwrap();
    }
}
