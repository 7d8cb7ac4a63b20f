//! The vendor's commands on SQLite. Each is one transaction.

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::EndReason;
use claviger_protocol::ids::{ActivationId, ProductId};
use claviger_protocol::serial::Serial;
use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::batch::{insert_event, write_activations};
use super::rows::{Hex, activation, activation_json, json_bytes, json_rows, license, license_json, parse};
use super::{Held, SqliteStore};
use crate::engine::model::{Activation, Event, License, LicenseId, LicenseState};
use crate::storage::admin::{
    ActivationFilter, Admin, HistoryEntry, Issued, LicenseChange, LicenseFilter, ListedActivation,
    ListedLicense, NewLicense, NewOrder, Product, Terms,
};
use crate::storage::{Later, StoreError};

/// Reads on the reading connection.
macro_rules! reading {
    ($store:ident, $connection:ident, $work:block) => {
        Box::pin(async move {
            let mut held: Held<'_> = $store.reading().await?;
            let done = async {
                let $connection = held.connection()?;
                $work
            }
            .await;
            held.settle(done)
        })
    };
}
pub(super) use reading;

/// Runs `work` in one transaction of the writing connection.
macro_rules! in_transaction {
    ($store:ident, $transaction:ident, $work:block) => {
        Box::pin(async move {
            let mut held: Held<'_> = $store.writing().await?;
            let done = async {
                let mut $transaction = held.begin().await?;
                let result = $work;
                $transaction.commit().await?;
                Ok(result)
            }
            .await;
            held.settle(done)
        })
    };
}

impl Admin for SqliteStore {
    fn add_product(&self, product: Product, now: Timestamp) -> Later<'_, ()> {
        in_transaction!(self, transaction, {
            let id = &product.id;
            if sqlx::query("SELECT 1 FROM products WHERE id = ?")
                .bind(id.as_str())
                .fetch_optional(&mut *transaction)
                .await?
                .is_some()
            {
                return Err(StoreError::Conflict(format!("the product {id} exists already")));
            }
            for member in &product.contains {
                check_member(&mut transaction, member).await?;
            }
            sqlx::query("INSERT INTO products (id, name, created) VALUES (?, ?, ?)")
                .bind(id.as_str())
                .bind(&product.name)
                .bind(now.0)
                .execute(&mut *transaction)
                .await?;
            sqlx::query(
                "INSERT INTO bundle_members (bundle, position, product) SELECT ?1, j.key, j.value FROM json_each(?2) j",
            )
            .bind(id.as_str())
            .bind(json_rows(product.contains.iter())?)
            .execute(&mut *transaction)
            .await?;
            sqlx::query("UPDATE meta SET catalogue = catalogue + 1").execute(&mut *transaction).await?;
        })
    }

    fn products(&self) -> Later<'_, Vec<Product>> {
        reading!(self, connection, {
            let found = sqlx::query(
                "SELECT p.id, p.name, (SELECT json_group_array(m.product ORDER BY m.position) \
                 FROM bundle_members m WHERE m.bundle = p.id) FROM products p ORDER BY p.id",
            )
            .fetch_all(&mut *connection)
            .await?;
            found
                .iter()
                .map(|row| {
                    Ok(Product {
                        id: parse(row, 0, "products")?,
                        name: row.try_get(1)?,
                        contains: serde_json::from_str(row.try_get(2)?)
                            .map_err(|_| StoreError::Corrupt("bundle_members"))?,
                    })
                })
                .collect()
        })
    }

    fn issue(&self, order: Option<NewOrder>, licenses: Vec<NewLicense>, now: Timestamp) -> Later<'_, Issued> {
        in_transaction!(self, transaction, {
            if let Some(order) = &order
                && let Some(before) = order_before(&mut transaction, order, now).await?
            {
                return Ok(Issued::Before(before));
            }
            // A shop's import may carry an order id a row: each exists once, whatever it brought.
            let ids: std::collections::BTreeSet<&str> = licenses
                .iter()
                .filter_map(|l| l.order_id.as_deref())
                .filter(|id| order.as_ref().is_none_or(|o| o.id != *id))
                .collect();
            sqlx::query(
                "INSERT INTO orders (id, content, created) SELECT j.value, x'', ?1 FROM json_each(?2) j WHERE true \
                 ON CONFLICT (id) DO NOTHING",
            )
            .bind(now.0)
            .bind(json_rows(ids.iter())?)
            .execute(&mut *transaction)
            .await?;
            check_products(&mut transaction, &licenses).await?;
            insert_licenses(&mut transaction, &licenses, now).await?;
            Issued::Now
        })
    }

    fn existing(&self, serials: Vec<Serial>) -> Later<'_, Vec<Serial>> {
        reading!(self, connection, {
            let found = sqlx::query(
                "SELECT l.serial FROM json_each(?1) j CROSS JOIN licenses l ON l.serial = j.value ORDER BY j.key",
            )
            .bind(json_rows(serials.iter())?)
            .fetch_all(&mut *connection)
            .await?;
            found.iter().map(serial).collect()
        })
    }

    fn license(&self, serial: Serial) -> Later<'_, Option<ListedLicense>> {
        reading!(self, connection, {
            let Some(license) = find(&mut *connection, &serial).await? else { return Ok(None) };
            let row = sqlx::query(
                "SELECT count(DISTINCT machine) FROM activations WHERE license = ? AND ended IS NULL",
            )
            .bind(license.id.0)
            .fetch_one(&mut *connection)
            .await?;
            let used: i64 = row.try_get(0)?;
            Ok(Some(ListedLicense { license, seats_used: u32::try_from(used).unwrap_or(u32::MAX) }))
        })
    }

    fn licenses(&self, filter: LicenseFilter) -> Later<'_, Vec<ListedLicense>> {
        reading!(self, connection, {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(concat!(
                "SELECT ",
                license_json!(),
                ", (SELECT count(DISTINCT a.machine) FROM activations a WHERE a.license = l.id AND a.ended IS NULL) \
                 FROM licenses l JOIN products p ON p.id = l.product WHERE l.id > "
            ));
            query.push_bind(filter.after);
            if let Some(product) = filter.product {
                query.push(" AND l.product = ").push_bind(String::from(product));
            }
            if let Some(state) = filter.state {
                query.push(" AND l.state = ").push_bind(state.word());
            }
            if let Some(order) = filter.order_id {
                query.push(" AND l.order_id = ").push_bind(order);
            }
            query.push(" ORDER BY l.id LIMIT ").push_bind(i64::from(filter.limit));
            let found = query.build().fetch_all(&mut *connection).await?;
            found
                .iter()
                .map(|row| {
                    let used: i64 = row.try_get(1)?;
                    Ok(ListedLicense {
                        license: license(row)?,
                        seats_used: u32::try_from(used).unwrap_or(u32::MAX),
                    })
                })
                .collect()
        })
    }

    fn change_license(&self, serial: Serial, change: LicenseChange, now: Timestamp) -> Later<'_, u64> {
        in_transaction!(self, transaction, {
            let Some(license) = find(&mut transaction, &serial).await? else {
                return Err(StoreError::NotFound(format!(
                    "there is no license {serial}: look for a mistyped letter, or see `claviger-server license list`"
                )));
            };
            let ended = match &change {
                LicenseChange::Transfer(_) => {
                    end_all(&mut transaction, license.id, EndReason::Transferred, now).await?
                }
                LicenseChange::State(_) | LicenseChange::Renew { .. } => 0,
            };
            apply_change(&mut transaction, &license, change, now).await?;
            ended
        })
    }

    fn history(&self, serial: Serial) -> Later<'_, Vec<HistoryEntry>> {
        reading!(self, connection, {
            // The activations' own rows are history too. Within a second: what began, what ended, what was changed.
            let found = sqlx::query(
                "WITH l AS (SELECT id, created FROM licenses WHERE serial = ?1) \
                 SELECT at, what, activation, detail FROM ( \
                   SELECT created AS at, 'issued' AS what, NULL AS activation, NULL AS detail, 0 AS o, 0 AS n FROM l \
                   UNION ALL SELECT a.created, 'activated', a.id, a.device_name, 1, a.id FROM activations a, l \
                     WHERE a.license = l.id \
                   UNION ALL SELECT a.ended, a.end_reason, a.id, coalesce('by ' || a.ended_by, a.device_name), 2, a.id \
                     FROM activations a, l WHERE a.license = l.id AND a.ended IS NOT NULL \
                   UNION ALL SELECT e.at, e.what, e.activation, e.detail, 3, e.id FROM events e, l \
                     WHERE e.license = l.id) \
                 ORDER BY at, o, n",
            )
            .bind(serial.as_str())
            .fetch_all(connection)
            .await?;
            found
                .iter()
                .map(|row| {
                    let id: Option<&[u8]> = row.try_get(2)?;
                    Ok(HistoryEntry {
                        at: Timestamp(row.try_get(0)?),
                        what: row.try_get(1)?,
                        activation: id
                            .map(TryInto::try_into)
                            .transpose()
                            .map_err(|_| StoreError::Corrupt("events"))?
                            .map(ActivationId),
                        detail: row.try_get(3)?,
                    })
                })
                .collect()
        })
    }

    fn activations(&self, filter: ActivationFilter) -> Later<'_, Vec<ListedActivation>> {
        reading!(self, connection, {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(concat!(
                "SELECT l.serial, l.product, ",
                activation_json!(),
                " FROM activations a JOIN licenses l ON l.id = a.license WHERE 1"
            ));
            if let Some(serial) = filter.serial {
                query.push(" AND l.serial = ").push_bind(String::from(serial));
            }
            if let Some(machine) = filter.machine {
                query.push(" AND a.machine = ").push_bind(machine.0.to_vec());
            }
            if !filter.ended_too {
                query.push(" AND a.ended IS NULL");
            }
            query.push(" ORDER BY a.license, a.created, a.id LIMIT ").push_bind(i64::from(filter.limit));
            let found = query.build().fetch_all(&mut *connection).await?;
            found
                .iter()
                .map(|row| {
                    Ok(ListedActivation {
                        serial: serial(row)?,
                        product: parse(row, 1, "licenses")?,
                        activation: activation(row, 2)?,
                    })
                })
                .collect()
        })
    }

    fn release(&self, ids: Vec<ActivationId>, now: Timestamp) -> Later<'_, u64> {
        in_transaction!(self, transaction, {
            let found = sqlx::query(concat!(
                "SELECT ",
                activation_json!(),
                " FROM json_each(?1) j CROSS JOIN activations a ON a.id = unhex(j.value) WHERE a.ended IS NULL"
            ))
            .bind(json_bytes(ids.iter().map(|id| id.0)))
            .fetch_all(&mut *transaction)
            .await?;
            let all = found.iter().map(|row| activation(row, 0)).collect::<Result<Vec<_>, _>>()?;
            end(&mut transaction, all, EndReason::Released, now).await?
        })
    }
}

fn serial(row: &sqlx::sqlite::SqliteRow) -> Result<Serial, StoreError> {
    Serial::try_from(row.try_get::<String, _>(0)?).map_err(|_| StoreError::Corrupt("licenses"))
}

async fn find(connection: &mut SqliteConnection, serial: &Serial) -> Result<Option<License>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        license_json!(),
        " FROM licenses l JOIN products p ON p.id = l.product WHERE l.serial = ?"
    ))
    .bind(serial.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(license).transpose()
}

async fn check_member(connection: &mut SqliteConnection, member: &ProductId) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM products WHERE id = ?1), EXISTS (SELECT 1 FROM bundle_members WHERE bundle = ?1)",
    )
    .bind(member.as_str())
    .fetch_one(connection)
    .await?;
    let (known, bundle): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !known {
        return Err(StoreError::NotFound(format!(
            "there is no product {member} yet: add it before the bundle"
        )));
    }
    if bundle {
        return Err(StoreError::Invalid(format!(
            "{member} is a bundle itself: name the products that it contains instead"
        )));
    }
    Ok(())
}

/// Notes a new order; for one that was noted before, its serial numbers.
async fn order_before(
    connection: &mut SqliteConnection,
    order: &NewOrder,
    now: Timestamp,
) -> Result<Option<Vec<Serial>>, StoreError> {
    let known = sqlx::query("SELECT content FROM orders WHERE id = ?")
        .bind(&order.id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(known) = known else {
        sqlx::query("INSERT INTO orders (id, content, created) VALUES (?, ?, ?)")
            .bind(&order.id)
            .bind(&order.content.0[..])
            .bind(now.0)
            .execute(connection)
            .await?;
        return Ok(None);
    };
    if known.try_get::<&[u8], _>(0)? != order.content.0 {
        return Err(StoreError::Conflict(format!(
            "the order {} exists already, with other content: give a new order its own id",
            order.id
        )));
    }
    let found = sqlx::query("SELECT serial FROM licenses WHERE order_id = ? ORDER BY id")
        .bind(&order.id)
        .fetch_all(connection)
        .await?;
    found.iter().map(serial).collect::<Result<_, _>>().map(Some)
}

async fn check_products(
    connection: &mut SqliteConnection,
    licenses: &[NewLicense],
) -> Result<(), StoreError> {
    let products: std::collections::BTreeSet<&ProductId> =
        licenses.iter().map(|l| &l.terms.product).collect();
    for product in products {
        let known = sqlx::query("SELECT 1 FROM products WHERE id = ?")
            .bind(product.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        if known.is_none() {
            return Err(StoreError::NotFound(format!(
                "there is no product {product}: `claviger-server product list` names those there are"
            )));
        }
    }
    Ok(())
}

/// A license as it is issued. The words of its terms are those of the table.
#[derive(Serialize)]
struct NewLicenseRow<'a> {
    serial: &'a Serial,
    unlock_key: Hex<32>,
    #[serde(flatten)]
    terms: &'a Terms,
    order_id: Option<&'a str>,
}

impl<'a> NewLicenseRow<'a> {
    fn of(new: &'a NewLicense) -> Self {
        Self {
            serial: &new.serial,
            unlock_key: Hex(new.unlock_key.0),
            terms: &new.terms,
            order_id: new.order_id.as_deref(),
        }
    }
}

/// Rows of [`insert_licenses`] at once: their text is in memory three times.
const LICENSES_AT_ONCE: usize = 500;

async fn insert_licenses(
    connection: &mut SqliteConnection,
    licenses: &[NewLicense],
    now: Timestamp,
) -> Result<(), StoreError> {
    for some in licenses.chunks(LICENSES_AT_ONCE) {
        let done = sqlx::query(
            "INSERT INTO licenses (serial, product, kind, seats, unlock_key, updates_until, paid_through, grace_days, \
             trial_days, entitlements, state, replacement_budget, generation, order_id, created) \
             SELECT j.value ->> 'serial', j.value ->> 'product', j.value ->> 'kind', j.value ->> 'seats', \
             unhex(j.value ->> 'unlock_key'), j.value ->> 'updates_until', j.value ->> 'paid_through', \
             j.value ->> 'grace_days', j.value ->> 'trial_days', j.value -> 'entitlements', ?1, \
             j.value ->> 'replacement_budget', 0, j.value ->> 'order_id', ?2 FROM json_each(?3) j",
        )
        .bind(LicenseState::Active.word())
        .bind(now.0)
        .bind(json_rows(some.iter().map(NewLicenseRow::of))?)
        .execute(&mut *connection)
        .await;
        done.map_err(|error| match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                StoreError::Conflict("one of the serial numbers exists already".to_owned())
            }
            _ => error.into(),
        })?;
    }
    Ok(())
}

async fn end_all(
    connection: &mut SqliteConnection,
    license: LicenseId,
    reason: EndReason,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let found = sqlx::query(concat!(
        "SELECT ",
        activation_json!(),
        " FROM activations a WHERE a.license = ? AND a.ended IS NULL"
    ))
    .bind(license.0)
    .fetch_all(&mut *connection)
    .await?;
    let all = found.iter().map(|row| activation(row, 0)).collect::<Result<Vec<_>, _>>()?;
    end(connection, all, reason, now).await
}

async fn end(
    connection: &mut SqliteConnection,
    mut all: Vec<Activation>,
    reason: EndReason,
    now: Timestamp,
) -> Result<u64, StoreError> {
    for activation in &mut all {
        activation.end(now, reason, None);
    }
    write_activations(connection, &all).await?;
    u64::try_from(all.len()).map_err(|_| StoreError::Corrupt("activations"))
}

async fn apply_change(
    connection: &mut SqliteConnection,
    license: &License,
    change: LicenseChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let serial = &license.serial;
    let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("UPDATE licenses SET ");
    let (what, detail) = match change {
        LicenseChange::State(state) => {
            if license.state == LicenseState::Revoked && state != LicenseState::Revoked {
                return Err(StoreError::Conflict(format!(
                    "the license {serial} is revoked, which is for ever: issue a new one"
                )));
            }
            if license.state == state {
                return Ok(());
            }
            query.push("generation = generation + 1, state = ").push_bind(state.word());
            let what = match state {
                LicenseState::Active => "resumed",
                LicenseState::Suspended => "suspended",
                LicenseState::Revoked => "revoked",
            };
            (what, None)
        }
        LicenseChange::Transfer(key) => {
            if license.state == LicenseState::Revoked {
                return Err(StoreError::Conflict(format!("the license {serial} is revoked")));
            }
            query.push("generation = generation + 1, unlock_key = ").push_bind(key.0.to_vec());
            ("transferred", None)
        }
        LicenseChange::Renew { paid_through, updates_until, seats, replacement_budget } => {
            query.push("seats = ").push_bind(i64::from(seats.unwrap_or(license.seats)));
            query
                .push(", replacement_budget = ")
                .push_bind(i64::from(replacement_budget.unwrap_or(license.replacement_budget)));
            let mut words = Vec::new();
            if let Some(until) = paid_through {
                query.push(", paid_through = ").push_bind(until.0);
                words.push(format!("paid through {until}"));
            }
            if let Some(until) = updates_until {
                query.push(", updates_until = ").push_bind(until.to_string());
                words.push(format!("updates until {until}"));
            }
            if let Some(seats) = seats {
                words.push(format!("{seats} seat{}", if seats == 1 { "" } else { "s" }));
            }
            if let Some(budget) = replacement_budget {
                words.push(format!("{budget} replacement{} a year", if budget == 1 { "" } else { "s" }));
            }
            ("renewed", Some(words.join(", ")))
        }
    };
    query.push(" WHERE id = ").push_bind(license.id.0);
    query.build().execute(&mut *connection).await?;
    let event = Event { license: license.id, activation: None, at: now, what, detail };
    insert_event(connection, &event).await
}
