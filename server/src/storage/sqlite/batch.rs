//! A batch: loads what it touches in one way to SQLite's thread and back, or with the past and replacements in three,
//! however many requests it has, and writes what changed in another, because the way costs more than the work.

use std::borrow::Cow;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::Nonce;
use claviger_protocol::keys::{KeyId, Sha256};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::rows::{
    ActivationRow, AnswerRow, DeviceRow, EventRow, Hex, LicenseRow, ReplacementRow, activation,
    activation_json, jkt_bytes, json_bytes, json_of, json_rows, license_json, unsigned,
};
use crate::engine::model::{Activation, Event};
use crate::engine::{Answered, MOST_EVENTS, Touched, World};
use crate::storage::StoreError;

/// The begin of a transaction that takes the write lock, so that it never has to give up in the middle, and everything that a
/// batch reads, but for the past and replacements: one row, a JSON array a table.
const LOAD: &str = concat!(
    "BEGIN IMMEDIATE; WITH touched AS (\
       SELECT s.id FROM json_each(?1) j CROSS JOIN licenses s ON s.serial = j.value \
       UNION SELECT a.license FROM json_each(?2) j CROSS JOIN activations a ON a.id = unhex(j.value)) \
     SELECT epoch, (SELECT json_group_array(",
    license_json!(),
    ") FROM touched t CROSS JOIN licenses l ON l.id = t.id CROSS JOIN products p ON p.id = l.product), \
     (SELECT json_group_array(",
    activation_json!(),
    ") FROM (SELECT a.* FROM touched t CROSS JOIN activations a ON a.license = t.id AND a.ended IS NULL \
       UNION ALL SELECT a.* FROM json_each(?2) j CROSS JOIN activations a ON a.id = unhex(j.value) \
       AND a.ended IS NOT NULL) a), \
     (SELECT json_group_array(json_object('machine', j.value, 'jkt', lower(hex(d.jkt)), 'first_seen', d.first_seen, \
       'last_seen', d.last_seen)) FROM json_each(?3) j CROSS JOIN devices d ON d.machine = unhex(j.value)), \
     (SELECT json_group_array(json_object('jkt', lower(hex(r.jkt)), 'nonce', lower(hex(r.nonce)), \
       'hash', lower(hex(r.hash)), 'claims', json(r.claims), \
       'activation', iif(r.activation IS NULL, NULL, lower(hex(r.activation))), \
       'ended', json(iif(EXISTS (SELECT 1 FROM activations a WHERE a.id = r.activation AND a.ended IS NOT NULL), \
       'true', 'false')))) FROM json_each(?4) j CROSS JOIN requests r \
       ON r.jkt = unhex(substr(j.value, 1, 64)) AND r.nonce = unhex(substr(j.value, 65))) FROM meta"
);

/// The latest ended activations of the licenses of some activations, since the license came to its present owner: what
/// became of seats before is not the new owner's to know.
const LOAD_PAST: &str = concat!(
    "SELECT ",
    activation_json!(),
    " FROM (SELECT a.*, row_number() OVER (\
       PARTITION BY a.license ORDER BY a.ended DESC, a.created DESC, a.id) AS place FROM (\
       SELECT DISTINCT t.license FROM json_each(?1) j CROSS JOIN activations t ON t.id = unhex(j.value)) l \
     CROSS JOIN activations a ON a.license = l.license AND a.ended IS NOT NULL AND a.created > coalesce(\
       (SELECT max(e.at) FROM events e WHERE e.license = l.license AND e.what = 'transferred'), -1)) a \
     WHERE a.place <= ?2 ORDER BY a.license, a.place"
);

async fn load_past(
    connection: &mut SqliteConnection,
    touched: &Touched,
    world: &mut World,
) -> Result<(), StoreError> {
    let most = i64::try_from(MOST_EVENTS).unwrap_or(i64::MAX);
    let found = sqlx::query(LOAD_PAST)
        .bind(json_bytes(touched.histories.iter().map(|id| id.0)))
        .bind(most)
        .fetch_all(&mut *connection)
        .await?;
    for row in &found {
        world.put_past(activation(row, 0)?);
    }
    Ok(())
}

/// Begins a transaction and fills `world` with what is touched.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    touched: &Touched,
    world: &mut World,
) -> Result<(), StoreError> {
    let answered = touched.requests.iter().map(|(device, nonce)| {
        let mut key = jkt_bytes(device);
        key.extend_from_slice(&nonce.0);
        key
    });
    let row = sqlx::query(LOAD)
        .bind(json_rows(touched.serials.iter())?)
        .bind(json_bytes(touched.activations.iter().map(|id| id.0)))
        .bind(json_bytes(touched.machines.iter().map(|id| id.0)))
        .bind(json_bytes(answered))
        .fetch_one(&mut *connection)
        .await?;
    world.epoch = unsigned(&row, 0, "meta")?;
    let licenses = fill(&row, world)?;
    if !touched.histories.is_empty() {
        load_past(connection, touched, world).await?;
    }
    match touched.replacements_since {
        Some(since) if !licenses.is_empty() => load_replacements(connection, &licenses, since, world).await,
        _ => Ok(()),
    }
}

/// Puts the row of [`LOAD`] into `world`, licenses before their activations; which licenses there are.
fn fill(row: &SqliteRow, world: &mut World) -> Result<Vec<i64>, StoreError> {
    let mut licenses = Vec::new();
    for found in json_of::<Vec<LicenseRow>>(row, 1, "licenses")? {
        let license = found.license()?;
        licenses.push(license.id.0);
        world.put_license(license);
    }
    for found in json_of::<Vec<ActivationRow<'_>>>(row, 2, "activations")? {
        world.put_activation(found.activation()?);
    }
    for found in json_of::<Vec<DeviceRow>>(row, 3, "devices")? {
        world.put_device(found.device()?);
    }
    for found in json_of::<Vec<AnswerRow<'_>>>(row, 4, "requests")? {
        let answered = Answered {
            hash: Sha256(found.hash.0),
            claims: found.claims.into_owned(),
            activation: found.activation,
            ended: found.ended,
            new: false,
        };
        world.put_answered(found.jkt.key_id("requests")?, found.nonce, answered);
    }
    Ok(licenses)
}

async fn load_replacements(
    connection: &mut SqliteConnection,
    licenses: &[i64],
    since: Timestamp,
    world: &mut World,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT json_group_array(json_object('license', r.license, 'activation', lower(hex(r.activation)), \
         'at', r.at, 'receipted', json(iif(r.receipted, 'true', 'false')))) \
         FROM json_each(?1) j CROSS JOIN replacements r ON r.license = j.value AND r.at > ?2",
    )
    .bind(json_rows(licenses.iter())?)
    .bind(since.0)
    .fetch_one(&mut *connection)
    .await?;
    for found in json_of::<Vec<ReplacementRow>>(&row, 0, "replacements")? {
        world.put_replacement(found.replacement());
    }
    Ok(())
}

/// Writes what changed, and commits it.
pub(super) async fn commit(connection: &mut SqliteConnection, world: &World) -> Result<(), StoreError> {
    let changes = world.changes();
    let trial_ends =
        changes.licenses.iter().filter_map(|id| Some((id.0, world.entry(*id)?.license.trial_end?)));
    let activations = changes.activations.iter().filter_map(|(_, id)| world.activation(*id));
    let devices = changes.devices.iter().filter_map(|(machine, jkt)| world.device(*machine, jkt));
    let answers = changes
        .answers
        .iter()
        .filter_map(|(device, nonce)| Some(answer_row(device, *nonce, world.answered(device, *nonce)?)));
    let replacements = changes
        .replacements
        .iter()
        .filter_map(|(license, id)| world.entry(*license)?.replacements.iter().find(|r| r.activation == *id));
    let tables = [
        (WRITE_TRIAL_ENDS, json_rows(trial_ends)?),
        (WRITE_ACTIVATIONS, json_rows(activations.map(ActivationRow::of))?),
        (WRITE_DEVICES, json_rows(devices.map(DeviceRow::of))?),
        (WRITE_ANSWERS, json_rows(answers)?),
        (WRITE_REPLACEMENTS, json_rows(replacements.map(ReplacementRow::of))?),
        (WRITE_EVENTS, json_rows(changes.events.iter().map(EventRow::of))?),
    ];
    // What few batches write is left out: every statement reports its end, which wakes somebody up.
    let written = || tables.iter().filter(|(_, rows)| rows != "[]");
    let sql: String = written().map(|(sql, _)| *sql).chain(["COMMIT"]).collect::<Vec<_>>().join("; ");
    let query = written().fold(sqlx::query(AssertSqlSafe(sql)), |query, (_, rows)| query.bind(rows));
    query.execute(connection).await?;
    Ok(())
}

fn answer_row<'a>(device: &KeyId, nonce: Nonce, answered: &'a Answered) -> AnswerRow<'a> {
    AnswerRow {
        jkt: Hex::of(device),
        nonce,
        hash: Hex(answered.hash.0),
        claims: Cow::Borrowed(&answered.claims),
        activation: answered.activation,
        ended: answered.ended,
        at: answered.claims.iat,
    }
}

/// The statements that write: the rows of a table are a JSON array of objects. `WHERE true` tells `ON CONFLICT` from a join.
const WRITE_TRIAL_ENDS: &str =
    "UPDATE licenses SET trial_end = j.value ->> 1 FROM json_each(?) j WHERE licenses.id = j.value ->> 0";
const WRITE_ACTIVATIONS: &str = "INSERT INTO activations (license, id, machine, device_name, os_family, os_version, os_arch, cpu_model, cpu_cores, \
     ram_gib, rev, terms, created, last_seen, adopted, ended, end_reason, ended_by) \
     SELECT j.value ->> 'license', unhex(j.value ->> 'id'), unhex(j.value ->> 'machine'), j.value ->> 'device_name', \
     j.value ->> 'os_family', j.value ->> 'os_version', j.value ->> 'os_arch', j.value ->> 'cpu_model', \
     j.value ->> 'cpu_cores', j.value ->> 'ram_gib', j.value ->> 'rev', j.value ->> 'terms', j.value ->> 'created', \
     j.value ->> 'last_seen', j.value ->> 'adopted', j.value ->> 'ended', j.value ->> 'end_reason', \
     j.value ->> 'ended_by' FROM json_each(?) j WHERE true \
     ON CONFLICT (license, id) DO UPDATE SET device_name = excluded.device_name, os_family = excluded.os_family, \
     os_version = excluded.os_version, os_arch = excluded.os_arch, cpu_model = excluded.cpu_model, \
     cpu_cores = excluded.cpu_cores, ram_gib = excluded.ram_gib, rev = excluded.rev, terms = excluded.terms, \
     last_seen = excluded.last_seen, ended = excluded.ended, end_reason = excluded.end_reason, \
     ended_by = excluded.ended_by";
const WRITE_DEVICES: &str = "INSERT INTO devices (machine, jkt, first_seen, last_seen) \
     SELECT unhex(j.value ->> 'machine'), unhex(j.value ->> 'jkt'), j.value ->> 'first_seen', j.value ->> 'last_seen' \
     FROM json_each(?) j WHERE true ON CONFLICT (machine, jkt) DO UPDATE SET last_seen = excluded.last_seen";
const WRITE_ANSWERS: &str = "INSERT INTO requests (jkt, nonce, hash, claims, activation, at) \
     SELECT unhex(j.value ->> 'jkt'), unhex(j.value ->> 'nonce'), unhex(j.value ->> 'hash'), j.value -> 'claims', \
     unhex(j.value ->> 'activation'), j.value ->> 'at' FROM json_each(?) j";
const WRITE_REPLACEMENTS: &str = "INSERT INTO replacements (license, activation, at, receipted) \
     SELECT j.value ->> 'license', unhex(j.value ->> 'activation'), j.value ->> 'at', j.value ->> 'receipted' \
     FROM json_each(?) j WHERE true ON CONFLICT (license, activation) DO UPDATE SET receipted = excluded.receipted";
const WRITE_EVENTS: &str = "INSERT INTO events (license, activation, at, what, detail) \
     SELECT j.value ->> 'license', unhex(j.value ->> 'activation'), j.value ->> 'at', j.value ->> 'what', \
     j.value ->> 'detail' FROM json_each(?) j";

pub(super) async fn write_activations(
    connection: &mut SqliteConnection,
    activations: &[Activation],
) -> Result<(), StoreError> {
    let rows = json_rows(activations.iter().map(ActivationRow::of))?;
    sqlx::query(WRITE_ACTIVATIONS).bind(rows).execute(connection).await?;
    Ok(())
}

pub(super) async fn insert_event(connection: &mut SqliteConnection, event: &Event) -> Result<(), StoreError> {
    let rows = json_rows(std::iter::once(EventRow::of(event)))?;
    sqlx::query(WRITE_EVENTS).bind(rows).execute(connection).await?;
    Ok(())
}
