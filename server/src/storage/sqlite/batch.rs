//! Loads what a batch touches with a few statements, however many requests it has, and writes what changed with a few
//! more: a statement's way to SQLite's thread and back costs more than its work.

use claviger_protocol::clock::Timestamp;
use claviger_protocol::ids::{ActivationId, MachineId, Nonce};
use claviger_protocol::keys::{KeyId, Sha256};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::rows::{
    activation, activation_columns, array, jkt, jkt_bytes, json_bytes, json_numbers, json_texts, license,
    license_columns, unsigned,
};
use crate::engine::model::{Activation, Device, Event, LicenseId, Replacement, end_word};
use crate::engine::{Answered, MOST_EVENTS, Touched, World};
use crate::storage::StoreError;

/// Everything that a batch reads, but for replacements, in one way to SQLite's thread and back. The last column says
/// what a row is; licenses come before their activations. Values are bound in the order of the question marks, through
/// all statements: the driver does not stand numbers with gaps in a later one.
const LOAD: &str = concat!(
    "SELECT epoch, 'meta' FROM meta; SELECT ",
    license_columns!(),
    ", 'license' FROM licenses l JOIN products p ON p.id = l.product WHERE l.id IN (\
       SELECT s.id FROM json_each(?) j CROSS JOIN licenses s ON s.serial = j.value \
       UNION SELECT a.license FROM json_each(?) j CROSS JOIN activations a ON a.id = unhex(j.value)); \
     WITH touched AS (\
       SELECT s.id FROM json_each(?) j CROSS JOIN licenses s ON s.serial = j.value \
       UNION SELECT a.license FROM json_each(?) j CROSS JOIN activations a ON a.id = unhex(j.value)) SELECT ",
    activation_columns!(),
    ", 'activation' FROM touched t CROSS JOIN activations a ON a.license = t.id AND a.ended IS NULL \
     UNION ALL SELECT ",
    activation_columns!(),
    ", 'activation' FROM json_each(?) j CROSS JOIN activations a ON a.id = unhex(j.value) AND a.ended IS NOT NULL; \
     SELECT d.machine, d.jkt, d.first_seen, d.last_seen, 'device' FROM json_each(?) j \
     CROSS JOIN devices d ON d.machine = unhex(j.value); \
     SELECT r.jkt, r.nonce, r.hash, r.claims, r.activation, \
     EXISTS (SELECT 1 FROM activations a WHERE a.id = r.activation AND a.ended IS NOT NULL), 'answer' \
     FROM json_each(?) j CROSS JOIN requests r \
     ON r.jkt = unhex(substr(j.value, 1, 64)) AND r.nonce = unhex(substr(j.value, 65))"
);

/// The latest ended activations of the licenses of some activations, since the license came to its present owner: what
/// became of seats before is not the new owner's to know.
const LOAD_PAST: &str = concat!(
    "SELECT * FROM (SELECT ",
    activation_columns!(),
    ", row_number() OVER (PARTITION BY a.license ORDER BY a.ended DESC, a.created DESC, a.id) AS place FROM (\
       SELECT DISTINCT t.license FROM json_each(?1) j CROSS JOIN activations t ON t.id = unhex(j.value)) l \
     CROSS JOIN activations a ON a.license = l.license AND a.ended IS NOT NULL AND a.created > coalesce(\
       (SELECT max(e.at) FROM events e WHERE e.license = l.license AND e.what = 'transferred'), -1)) \
     WHERE place <= ?2"
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

/// Fills `world` with what is touched.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    touched: &Touched,
    world: &mut World,
) -> Result<(), StoreError> {
    let answered = touched.requests.iter().map(|(device, nonce)| {
        let mut key = jkt_bytes(device);
        key.extend_from_slice(&nonce.0);
        key
    });
    let serials = json_texts(touched.serials.iter().map(|s| s.as_str()));
    let activations = json_bytes(touched.activations.iter().map(|id| id.0));
    let found = sqlx::query(LOAD)
        .bind(&serials)
        .bind(&activations)
        .bind(&serials)
        .bind(&activations)
        .bind(&activations)
        .bind(json_bytes(touched.machines.iter().map(|id| id.0)))
        .bind(json_bytes(answered))
        .fetch_all(&mut *connection)
        .await?;
    let mut licenses = Vec::new();
    for row in &found {
        match row.try_get::<&str, _>(row.len().saturating_sub(1))? {
            "meta" => world.epoch = unsigned(row, 0, "meta")?,
            "license" => {
                let found = license(row)?;
                licenses.push(found.id.0);
                world.put_license(found);
            }
            "activation" => world.put_activation(activation(row, 0)?),
            "device" => world.put_device(Device {
                machine: MachineId(array(row, 0, "devices")?),
                jkt: jkt(row, 1, "devices")?,
                first_seen: Timestamp(row.try_get(2)?),
                last_seen: Timestamp(row.try_get(3)?),
            }),
            _ => put_answer(row, world)?,
        }
    }
    if !touched.histories.is_empty() {
        load_past(connection, touched, world).await?;
    }
    match touched.replacements_since {
        Some(since) if !licenses.is_empty() => load_replacements(connection, &licenses, since, world).await,
        _ => Ok(()),
    }
}

async fn load_replacements(
    connection: &mut SqliteConnection,
    licenses: &[i64],
    since: Timestamp,
    world: &mut World,
) -> Result<(), StoreError> {
    let found = sqlx::query(
        "SELECT r.license, r.activation, r.at, r.receipted FROM json_each(?1) j \
         CROSS JOIN replacements r ON r.license = j.value AND r.at > ?2",
    )
    .bind(json_numbers(licenses.iter().copied()))
    .bind(since.0)
    .fetch_all(&mut *connection)
    .await?;
    for row in found {
        world.put_replacement(Replacement {
            license: LicenseId(row.try_get(0)?),
            activation: ActivationId(array(&row, 1, "replacements")?),
            at: Timestamp(row.try_get(2)?),
            receipted: row.try_get(3)?,
        });
    }
    Ok(())
}

fn put_answer(row: &SqliteRow, world: &mut World) -> Result<(), StoreError> {
    const WHERE: &str = "requests";
    let claims = serde_json::from_str(row.try_get::<&str, _>(3)?).map_err(|_| StoreError::Corrupt(WHERE))?;
    let made: Option<&[u8]> = row.try_get(4)?;
    let answered = Answered {
        hash: Sha256(array(row, 2, WHERE)?),
        claims,
        activation: made
            .map(TryInto::try_into)
            .transpose()
            .map_err(|_| StoreError::Corrupt(WHERE))?
            .map(ActivationId),
        ended: row.try_get(5)?,
        new: false,
    };
    world.put_answered(jkt(row, 0, WHERE)?, Nonce(array(row, 1, WHERE)?), answered);
    Ok(())
}

/// Writes what changed.
pub(super) async fn write(connection: &mut SqliteConnection, world: &World) -> Result<(), StoreError> {
    let changes = world.changes();
    if !changes.licenses.is_empty() {
        let fixed: Vec<(i64, i64)> = changes
            .licenses
            .iter()
            .filter_map(|id| Some((id.0, world.entry(*id)?.license.trial_end?.0)))
            .collect();
        let json = serde_json::to_string(&fixed).unwrap_or_default();
        sqlx::query(
            "UPDATE licenses SET trial_end = j.value ->> 1 FROM json_each(?1) j WHERE licenses.id = j.value ->> 0",
        )
        .bind(json)
        .execute(&mut *connection)
        .await?;
    }
    let activations: Vec<&Activation> =
        changes.activations.iter().filter_map(|(_, id)| world.activation(*id)).collect();
    let devices: Vec<&Device> =
        changes.devices.iter().filter_map(|(machine, jkt)| world.device(*machine, jkt)).collect();
    let answers: Vec<Answer<'_>> = changes
        .answers
        .iter()
        .filter_map(|(device, nonce)| Some((device, nonce, world.answered(device, *nonce)?)))
        .collect();
    write_together(connection, &activations, &devices, &answers).await?;
    let replacements: Vec<&Replacement> = changes
        .replacements
        .iter()
        .filter_map(|(license, id)| world.entry(*license)?.replacements.iter().find(|r| r.activation == *id))
        .collect();
    insert(
        connection,
        "INSERT INTO replacements (license, activation, at, receipted)",
        4,
        "ON CONFLICT (license, activation) DO UPDATE SET receipted = excluded.receipted",
        &replacements,
        |query, r| query.bind(r.license.0).bind(&r.activation.0[..]).bind(r.at.0).bind(r.receipted),
    )
    .await?;
    let events: Vec<&Event> = changes.events.iter().collect();
    insert_events(connection, &events).await
}

/// A table, and how a row gets into it: the head and tail of its `INSERT`, and its columns.
type Into = (&'static str, usize, &'static str);

const ACTIVATIONS: Into = (
    "INSERT INTO activations (license, id, machine, device_name, os_family, os_version, os_arch, cpu_model, \
     cpu_cores, ram_gib, rev, terms, created, last_seen, adopted, ended, end_reason, ended_by)",
    18,
    "ON CONFLICT (license, id) DO UPDATE SET device_name = excluded.device_name, os_family = excluded.os_family, \
     os_version = excluded.os_version, os_arch = excluded.os_arch, cpu_model = excluded.cpu_model, \
     cpu_cores = excluded.cpu_cores, ram_gib = excluded.ram_gib, rev = excluded.rev, terms = excluded.terms, \
     last_seen = excluded.last_seen, ended = excluded.ended, end_reason = excluded.end_reason, \
     ended_by = excluded.ended_by",
);
const DEVICES: Into = (
    "INSERT INTO devices (machine, jkt, first_seen, last_seen)",
    4,
    "ON CONFLICT (machine, jkt) DO UPDATE SET last_seen = excluded.last_seen",
);
const ANSWERS: Into = ("INSERT INTO requests (jkt, nonce, hash, claims, activation, at)", 6, "");

/// Writes what most batches write. A new activation brings a device and an answer with it: as long as there are rows of
/// all three, they go to SQLite's thread together.
async fn write_together(
    connection: &mut SqliteConnection,
    mut activations: &[&Activation],
    mut devices: &[&Device],
    mut answers: &[Answer<'_>],
) -> Result<(), StoreError> {
    for size in CHUNKS {
        while activations.len().min(devices.len()).min(answers.len()) >= size {
            let sql =
                [ACTIVATIONS, DEVICES, ANSWERS].map(|(head, width, tail)| statement(head, width, tail, size));
            let mut query = sqlx::query(AssertSqlSafe(sql.join("; ")));
            for row in take(&mut activations, size) {
                query = bind_activation(query, row);
            }
            for row in take(&mut devices, size) {
                query = bind_device(query, row);
            }
            for row in take(&mut answers, size) {
                query = bind_answer(query, row);
            }
            query.execute(&mut *connection).await?;
        }
    }
    write_activations(connection, activations).await?;
    let (head, width, tail) = DEVICES;
    insert(connection, head, width, tail, devices, |query, d| bind_device(query, d)).await?;
    let (head, width, tail) = ANSWERS;
    insert(connection, head, width, tail, answers, |query, a| bind_answer(query, a)).await
}

fn take<'a, T>(rows: &mut &'a [T], count: usize) -> &'a [T] {
    let (now, later) = rows.split_at(count);
    *rows = later;
    now
}

fn bind_activation<'q>(query: Statement<'q>, a: &'q Activation) -> Statement<'q> {
    let ended = a.ended.as_ref();
    query
        .bind(a.license.0)
        .bind(&a.id.0[..])
        .bind(&a.machine.machine_id.0[..])
        .bind(a.machine.device_name.as_str())
        .bind(&a.machine.os.family)
        .bind(&a.machine.os.version)
        .bind(&a.machine.os.arch)
        .bind(&a.machine.cpu.model)
        .bind(i64::from(a.machine.cpu.logical_cores))
        .bind(i64::from(a.machine.ram_gib))
        .bind(i64::from(a.rev))
        .bind(a.terms)
        .bind(a.created.0)
        .bind(a.last_seen.0)
        .bind(a.adopted)
        .bind(ended.map(|e| e.at.0))
        .bind(ended.map(|e| end_word(e.reason)))
        .bind(ended.and_then(|e| e.by.as_ref()).map(|by| by.as_str()))
}

fn bind_device<'q>(query: Statement<'q>, d: &'q Device) -> Statement<'q> {
    query.bind(&d.machine.0[..]).bind(jkt_bytes(&d.jkt)).bind(d.first_seen.0).bind(d.last_seen.0)
}

/// An answer with the request's key.
type Answer<'a> = (&'a KeyId, &'a Nonce, &'a Answered);

fn bind_answer<'q>(query: Statement<'q>, (device, nonce, answered): &'q Answer<'q>) -> Statement<'q> {
    query
        .bind(jkt_bytes(device))
        .bind(&nonce.0[..])
        .bind(&answered.hash.0[..])
        .bind(serde_json::to_string(&answered.claims).unwrap_or_default())
        .bind(answered.activation.as_ref().map(|id| &id.0[..]))
        .bind(answered.claims.iat.0)
}

pub(super) async fn write_activations(
    connection: &mut SqliteConnection,
    activations: &[&Activation],
) -> Result<(), StoreError> {
    let (head, width, tail) = ACTIVATIONS;
    insert(connection, head, width, tail, activations, |query, a| bind_activation(query, a)).await
}

pub(super) async fn insert_events(
    connection: &mut SqliteConnection,
    events: &[&Event],
) -> Result<(), StoreError> {
    insert(
        connection,
        "INSERT INTO events (license, activation, at, what, detail)",
        5,
        "",
        events,
        |query, e| {
            query
                .bind(e.license.0)
                .bind(e.activation.as_ref().map(|id| &id.0[..]))
                .bind(e.at.0)
                .bind(e.what)
                .bind(e.detail.as_deref())
        },
    )
    .await
}

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Rows an `INSERT` takes at once. Few sizes, so that few statements are prepared.
const CHUNKS: [usize; 3] = [32, 6, 1];

/// Inserts `rows` of `width` columns with as few statements as it takes.
pub(super) async fn insert<'q, T>(
    connection: &mut SqliteConnection,
    head: &'static str,
    width: usize,
    tail: &'static str,
    rows: &'q [T],
    bind: impl Fn(Statement<'q>, &'q T) -> Statement<'q>,
) -> Result<(), StoreError> {
    let mut rest = rows;
    for size in CHUNKS {
        while rest.len() >= size {
            let (now, later) = rest.split_at(size);
            rest = later;
            let mut query = sqlx::query(AssertSqlSafe(statement(head, width, tail, size)));
            for row in now {
                query = bind(query, row);
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn statement(head: &str, width: usize, tail: &str, rows: usize) -> String {
    let mut row = String::with_capacity(width * 2 + 2);
    for column in 0..width {
        row.push(if column == 0 { '(' } else { ',' });
        row.push('?');
    }
    row.push(')');
    let mut sql = String::with_capacity(head.len() + tail.len() + rows * (row.len() + 1) + 16);
    sql.push_str(head);
    sql.push_str(" VALUES ");
    for at in 0..rows {
        if at > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
    sql.push(' ');
    sql.push_str(tail);
    sql
}
