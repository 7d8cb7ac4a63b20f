//! Rows to plain data and back.

use std::str::FromStr;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{Cpu, MachineFacts, OsInfo};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, ProductId};
use claviger_protocol::keys::{KeyId, PublicKey};
use claviger_protocol::serial::Serial;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::engine::model::{
    Activation, Ended, License, LicenseId, LicenseState, end_from_word, kind_from_word,
};
use crate::storage::StoreError;

/// The columns that [`license`] reads, of `licenses l` joined with `products p`.
macro_rules! license_columns {
    () => {
        "l.id, l.serial, l.product, p.name, \
         (SELECT json_group_array(m.product ORDER BY m.position) FROM bundle_members m WHERE m.bundle = l.product), \
         l.kind, l.seats, l.unlock_key, l.updates_until, l.paid_through, l.grace_days, l.trial_days, l.trial_end, \
         l.entitlements, l.state, l.replacement_budget, l.generation, l.order_id, l.created"
    };
}
/// The columns that [`activation`] reads, of `activations a`.
macro_rules! activation_columns {
    () => {
        "a.license, a.id, a.machine, a.device_name, a.os_family, a.os_version, a.os_arch, a.cpu_model, a.cpu_cores, \
         a.ram_gib, a.rev, a.terms, a.created, a.last_seen, a.adopted, a.ended, a.end_reason, a.ended_by"
    };
}
pub(super) use {activation_columns, license_columns};

pub(super) fn license(row: &SqliteRow) -> Result<License, StoreError> {
    const WHERE: &str = "licenses";
    let corrupt = || StoreError::Corrupt(WHERE);
    let contains: Vec<ProductId> = serde_json::from_str(row.try_get::<&str, _>(4)?).map_err(|_| corrupt())?;
    let date: Option<&str> = row.try_get(8)?;
    Ok(License {
        id: LicenseId(row.try_get(0)?),
        serial: Serial::try_from(row.try_get::<String, _>(1)?).map_err(|_| corrupt())?,
        product: parse(row, 2, WHERE)?,
        product_name: row.try_get(3)?,
        contains,
        kind: kind_from_word(row.try_get(5)?).ok_or_else(corrupt)?,
        seats: small(row, 6, WHERE)?,
        unlock_key: PublicKey(array(row, 7, WHERE)?),
        updates_until: date.map(str::parse).transpose().map_err(|_| corrupt())?,
        paid_through: row.try_get::<Option<i64>, _>(9)?.map(Timestamp),
        grace_days: small(row, 10, WHERE)?,
        trial_days: row
            .try_get::<Option<i64>, _>(11)?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| corrupt())?,
        trial_end: row.try_get::<Option<i64>, _>(12)?.map(Timestamp),
        entitlements: serde_json::from_str(row.try_get::<&str, _>(13)?).map_err(|_| corrupt())?,
        state: LicenseState::from_word(row.try_get(14)?).ok_or_else(corrupt)?,
        replacement_budget: small(row, 15, WHERE)?,
        generation: small(row, 16, WHERE)?,
        order_id: row.try_get(17)?,
        created: Timestamp(row.try_get(18)?),
    })
}

/// Reads the columns of [`activation_columns`], beginning with column `from`.
pub(super) fn activation(row: &SqliteRow, from: usize) -> Result<Activation, StoreError> {
    const WHERE: &str = "activations";
    let name = |at: usize| -> Result<Option<DeviceName>, StoreError> {
        row.try_get::<Option<String>, _>(from + at)?
            .map(DeviceName::try_from)
            .transpose()
            .map_err(|_| StoreError::Corrupt(WHERE))
    };
    let ended = match row.try_get::<Option<i64>, _>(from + 15)? {
        None => None,
        Some(at) => Some(Ended {
            at: Timestamp(at),
            reason: end_from_word(row.try_get::<Option<&str>, _>(from + 16)?.unwrap_or_default()),
            by: name(17)?,
        }),
    };
    Ok(Activation {
        license: LicenseId(row.try_get(from)?),
        id: ActivationId(array(row, from + 1, WHERE)?),
        machine: MachineFacts {
            device_name: name(3)?.ok_or(StoreError::Corrupt(WHERE))?,
            os: OsInfo {
                family: row.try_get(from + 4)?,
                version: row.try_get(from + 5)?,
                arch: row.try_get(from + 6)?,
            },
            cpu: Cpu { model: row.try_get(from + 7)?, logical_cores: small(row, from + 8, WHERE)? },
            ram_gib: small(row, from + 9, WHERE)?,
            machine_id: MachineId(array(row, from + 2, WHERE)?),
        },
        rev: small(row, from + 10, WHERE)?,
        terms: row.try_get(from + 11)?,
        created: Timestamp(row.try_get(from + 12)?),
        last_seen: Timestamp(row.try_get(from + 13)?),
        adopted: row.try_get(from + 14)?,
        ended,
    })
}

pub(super) fn array<const N: usize>(
    row: &SqliteRow,
    at: usize,
    what: &'static str,
) -> Result<[u8; N], StoreError> {
    row.try_get::<&[u8], _>(at)?.try_into().map_err(|_| StoreError::Corrupt(what))
}

pub(super) fn parse<T: FromStr>(row: &SqliteRow, at: usize, what: &'static str) -> Result<T, StoreError> {
    row.try_get::<&str, _>(at)?.parse().map_err(|_| StoreError::Corrupt(what))
}

pub(super) fn small(row: &SqliteRow, at: usize, what: &'static str) -> Result<u32, StoreError> {
    u32::try_from(row.try_get::<i64, _>(at)?).map_err(|_| StoreError::Corrupt(what))
}

pub(super) fn unsigned(row: &SqliteRow, at: usize, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(at)?).map_err(|_| StoreError::Corrupt(what))
}

/// A key's thumbprint as raw bytes.
pub(super) fn jkt_bytes(jkt: &KeyId) -> Vec<u8> {
    // A `KeyId` is checked base64url of 32 bytes.
    BASE64URL_NOPAD.decode(jkt.as_str().as_bytes()).unwrap_or_default()
}

/// A key's thumbprint from raw bytes.
pub(super) fn jkt(row: &SqliteRow, at: usize, what: &'static str) -> Result<KeyId, StoreError> {
    KeyId::try_from(BASE64URL_NOPAD.encode(row.try_get::<&[u8], _>(at)?))
        .map_err(|_| StoreError::Corrupt(what))
}

/// A JSON array of texts that need no escapes: serial numbers, hexadecimal digits.
pub(super) fn json_texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for text in texts {
        json.push_str(if json.len() > 1 { ",\"" } else { "\"" });
        json.extend(text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-'));
        json.push('"');
    }
    json.push(']');
    json
}

/// A JSON array of raw bytes as hexadecimal texts.
pub(super) fn json_bytes<T: AsRef<[u8]>>(all: impl Iterator<Item = T>) -> String {
    let mut json = String::from("[");
    for bytes in all {
        json.push_str(if json.len() > 1 { ",\"" } else { "\"" });
        HEXLOWER.encode_append(bytes.as_ref(), &mut json);
        json.push('"');
    }
    json.push(']');
    json
}

/// A JSON array of row numbers.
pub(super) fn json_numbers(all: impl Iterator<Item = i64>) -> String {
    let mut json = String::from("[");
    for number in all {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&number.to_string());
    }
    json.push(']');
    json
}
