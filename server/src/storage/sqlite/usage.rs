//! Who holds activations, for usage statistics.

use claviger_protocol::ids::{MachineId, ProductId};
use claviger_protocol::keys::KeyId;

use super::{SqliteStore, rows};
use crate::storage::usage::Usage;
use crate::storage::{Later, StoreError};

impl Usage for SqliteStore {
    fn active_machine<'a>(&'a self, device: &'a KeyId) -> Later<'a, Option<MachineId>> {
        Box::pin(async move {
            let mut held = self.looking_up().await?;
            let found = sqlx::query(
                "SELECT d.machine FROM devices d WHERE d.jkt = ? AND EXISTS \
                 (SELECT 1 FROM activations a WHERE a.machine = d.machine AND a.ended IS NULL) LIMIT 1",
            )
            .bind(rows::jkt_bytes(device))
            .fetch_optional(held.connection()?)
            .await
            .map_err(StoreError::from);
            held.settle(found)?.map(|row| rows::array(&row, 0, "devices").map(MachineId)).transpose()
        })
    }

    fn machines_with<'a>(&'a self, product: &'a ProductId) -> Later<'a, Vec<MachineId>> {
        Box::pin(async move {
            let mut held = self.reading().await?;
            let found = sqlx::query(
                "SELECT a.machine FROM licenses l JOIN activations a ON a.license = l.id AND a.ended IS NULL \
                 WHERE l.product = ?1 OR l.product IN (SELECT m.bundle FROM bundle_members m WHERE m.product = ?1)",
            )
            .bind(product.as_str())
            .fetch_all(held.connection()?)
            .await
            .map_err(StoreError::from);
            let rows = held.settle(found)?;
            rows.iter().map(|row| rows::array(row, 0, "activations").map(MachineId)).collect()
        })
    }
}
