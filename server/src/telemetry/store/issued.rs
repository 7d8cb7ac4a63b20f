//! Which machines got tokens: the database's `issued` table.

use std::path::Path;

use claviger_protocol::ids::MachineId;
use claviger_protocol::keys::{KeyId, Sha256};
use claviger_protocol::telemetry::Week;
use data_encoding::BASE64URL_NOPAD;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Mutex;

use super::{UsageStoreError, number, open};

/// Most batches that one machine gets in a week: as many as a system daemon has slots, or a machine device keys.
const MOST_BATCHES: i64 = 8;

/// Who asks for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The machine.
    pub machine: MachineId,
    /// The device key of its daemon.
    pub device: KeyId,
    /// The person, under a system daemon.
    pub slot: u8,
}

/// What became of a request for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuance {
    /// It is this installation's first of the week, or the very same again: answer it.
    Answer,
    /// The installation has its batch of this week, with other elements; or its machine has had too many.
    HadItsBatch,
}

/// `DATA/telemetry/issued.db`.
#[derive(Debug)]
pub struct IssuedStore {
    connection: Mutex<SqliteConnection>,
}

impl IssuedStore {
    /// Opens it in the collector's folder.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn open(folder: &Path) -> Result<Self, UsageStoreError> {
        let connection = open(&folder.join("issued.db"), include_str!("issued.sql")).await?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Notes that an installation gets this batch for this week, unless it had another one or its machine had
    /// `MOST_BATCHES`; durable when this returns.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn issue(
        &self,
        week: Week,
        installation: &Installation,
        batch: Sha256,
    ) -> Result<Issuance, UsageStoreError> {
        let Installation { machine, device, slot } = installation;
        let jkt = BASE64URL_NOPAD.decode(device.as_str().as_bytes()).unwrap_or_default();
        let mut connection = self.connection.lock().await;
        // One statement: it is either done or not, whoever goes away in the middle. Of a repeated request nothing is
        // written.
        sqlx::query(
            "INSERT INTO issued (week, machine, jkt, slot, batch) SELECT ?1, ?2, ?3, ?4, ?5 \
             WHERE (SELECT count(*) FROM issued WHERE week = ?1 AND machine = ?2) < ?6 \
             ON CONFLICT (week, machine, jkt, slot) DO NOTHING",
        )
        .bind(number(week))
        .bind(&machine.0[..])
        .bind(&jkt[..])
        .bind(i64::from(*slot))
        .bind(&batch.0[..])
        .bind(MOST_BATCHES)
        .execute(&mut *connection)
        .await?;
        let row =
            sqlx::query("SELECT batch FROM issued WHERE week = ? AND machine = ? AND jkt = ? AND slot = ?")
                .bind(number(week))
                .bind(&machine.0[..])
                .bind(&jkt[..])
                .bind(i64::from(*slot))
                .fetch_optional(&mut *connection)
                .await?;
        let known = row.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose()?;
        Ok(if known.is_some_and(|known| known == batch.0) { Issuance::Answer } else { Issuance::HadItsBatch })
    }

    /// The machines that got tokens of `from` or a later week: the installations that have opted in. In no order.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn machines_since(&self, from: Week) -> Result<Vec<MachineId>, UsageStoreError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query("SELECT DISTINCT machine FROM issued WHERE week >= ?")
            .bind(number(from))
            .fetch_all(&mut *connection)
            .await?;
        rows.iter()
            .map(|row| {
                let bytes = row.try_get::<&[u8], _>(0)?;
                bytes.try_into().map(MachineId).map_err(|_| UsageStoreError::Corrupt)
            })
            .collect()
    }

    /// Forgets all weeks before `week`.
    ///
    /// # Errors
    /// [`UsageStoreError`].
    pub async fn forget_before(&self, week: Week) -> Result<(), UsageStoreError> {
        let mut connection = self.connection.lock().await;
        sqlx::query("DELETE FROM issued WHERE week < ?").bind(number(week)).execute(&mut *connection).await?;
        Ok(())
    }
}
