//! Rows to plain data and back.

use std::borrow::Cow;
use std::str::FromStr;

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::{Cpu, MachineFacts, OsInfo};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, Nonce, ProductId};
use claviger_protocol::keys::{KeyId, PublicKey};
use claviger_protocol::serial::Serial;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::engine::AnswerClaims;
use crate::engine::model::{
    Activation, Device, Ended, Event, License, LicenseId, LicenseState, Replacement, end_from_word, end_word,
    kind_from_word,
};
use crate::storage::StoreError;

/// A license as a JSON object, of `licenses l` joined with `products p`: [`LicenseRow`]. One value a row, because each value
/// goes to another thread by itself.
macro_rules! license_json {
    () => {
        "json_object('id', l.id, 'serial', l.serial, 'product', l.product, 'product_name', p.name, 'contains', json((\
         SELECT json_group_array(m.product ORDER BY m.position) FROM bundle_members m WHERE m.bundle = l.product)), \
         'kind', l.kind, 'seats', l.seats, 'unlock_key', lower(hex(l.unlock_key)), 'updates_until', l.updates_until, \
         'paid_through', l.paid_through, 'grace_days', l.grace_days, 'trial_days', l.trial_days, \
         'trial_end', l.trial_end, 'entitlements', json(l.entitlements), 'state', l.state, \
         'replacement_budget', l.replacement_budget, 'generation', l.generation, 'order_id', l.order_id, \
         'created', l.created)"
    };
}
/// An activation as a JSON object, of `activations a`: [`ActivationRow`].
macro_rules! activation_json {
    () => {
        "json_object('license', a.license, 'id', lower(hex(a.id)), 'machine', lower(hex(a.machine)), \
         'device_name', a.device_name, 'os_family', a.os_family, 'os_version', a.os_version, 'os_arch', a.os_arch, \
         'cpu_model', a.cpu_model, 'cpu_cores', a.cpu_cores, 'ram_gib', a.ram_gib, 'rev', a.rev, 'terms', a.terms, \
         'created', a.created, 'last_seen', a.last_seen, 'adopted', json(iif(a.adopted, 'true', 'false')), \
         'ended', a.ended, 'end_reason', a.end_reason, 'ended_by', a.ended_by)"
    };
}
pub(super) use {activation_json, license_json};

/// A license in the database.
#[derive(Deserialize)]
pub(super) struct LicenseRow {
    id: i64,
    serial: Serial,
    product: ProductId,
    product_name: String,
    contains: Vec<ProductId>,
    kind: String,
    seats: u32,
    unlock_key: Hex<32>,
    updates_until: Option<Date>,
    paid_through: Option<Timestamp>,
    grace_days: u32,
    trial_days: Option<u32>,
    trial_end: Option<Timestamp>,
    entitlements: Vec<String>,
    state: String,
    replacement_budget: u32,
    generation: u32,
    order_id: Option<String>,
    created: Timestamp,
}

impl LicenseRow {
    pub(super) fn license(self) -> Result<License, StoreError> {
        let corrupt = || StoreError::Corrupt("licenses");
        Ok(License {
            id: LicenseId(self.id),
            serial: self.serial,
            product: self.product,
            product_name: self.product_name,
            contains: self.contains,
            kind: kind_from_word(&self.kind).ok_or_else(corrupt)?,
            seats: self.seats,
            unlock_key: PublicKey(self.unlock_key.0),
            updates_until: self.updates_until,
            paid_through: self.paid_through,
            grace_days: self.grace_days,
            trial_days: self.trial_days,
            trial_end: self.trial_end,
            entitlements: self.entitlements,
            state: LicenseState::from_word(&self.state).ok_or_else(corrupt)?,
            replacement_budget: self.replacement_budget,
            generation: self.generation,
            order_id: self.order_id,
            created: self.created,
        })
    }
}

/// Reads [`license_json`].
pub(super) fn license(row: &SqliteRow) -> Result<License, StoreError> {
    json_of::<LicenseRow>(row, 0, "licenses")?.license()
}

/// An activation in the database.
#[derive(Serialize, Deserialize)]
pub(super) struct ActivationRow<'a> {
    license: i64,
    id: ActivationId,
    machine: MachineId,
    device_name: Cow<'a, str>,
    os_family: Cow<'a, str>,
    os_version: Cow<'a, str>,
    os_arch: Cow<'a, str>,
    cpu_model: Cow<'a, str>,
    cpu_cores: u32,
    ram_gib: u32,
    rev: u32,
    terms: i64,
    created: Timestamp,
    last_seen: Timestamp,
    adopted: bool,
    ended: Option<Timestamp>,
    end_reason: Option<Cow<'a, str>>,
    ended_by: Option<Cow<'a, str>>,
}

impl<'a> ActivationRow<'a> {
    pub(super) fn of(a: &'a Activation) -> Self {
        let ended = a.ended.as_ref();
        Self {
            license: a.license.0,
            id: a.id,
            machine: a.machine.machine_id,
            device_name: a.machine.device_name.as_str().into(),
            os_family: (&a.machine.os.family).into(),
            os_version: (&a.machine.os.version).into(),
            os_arch: (&a.machine.os.arch).into(),
            cpu_model: (&a.machine.cpu.model).into(),
            cpu_cores: a.machine.cpu.logical_cores,
            ram_gib: a.machine.ram_gib,
            rev: a.rev,
            terms: a.terms,
            created: a.created,
            last_seen: a.last_seen,
            adopted: a.adopted,
            ended: ended.map(|e| e.at),
            end_reason: ended.map(|e| end_word(e.reason).into()),
            ended_by: ended.and_then(|e| e.by.as_ref()).map(|by| by.as_str().into()),
        }
    }

    pub(super) fn activation(self) -> Result<Activation, StoreError> {
        let name = |name: Cow<'_, str>| {
            DeviceName::try_from(name.into_owned()).map_err(|_| StoreError::Corrupt("activations"))
        };
        let ended = match self.ended {
            None => None,
            Some(at) => Some(Ended {
                at,
                reason: end_from_word(self.end_reason.as_deref().unwrap_or_default()),
                by: self.ended_by.map(name).transpose()?,
            }),
        };
        Ok(Activation {
            license: LicenseId(self.license),
            id: self.id,
            machine: MachineFacts {
                device_name: name(self.device_name)?,
                os: OsInfo {
                    family: self.os_family.into_owned(),
                    version: self.os_version.into_owned(),
                    arch: self.os_arch.into_owned(),
                },
                cpu: Cpu { model: self.cpu_model.into_owned(), logical_cores: self.cpu_cores },
                ram_gib: self.ram_gib,
                machine_id: self.machine,
            },
            rev: self.rev,
            terms: self.terms,
            created: self.created,
            last_seen: self.last_seen,
            adopted: self.adopted,
            ended,
        })
    }
}

/// Reads [`activation_json`].
pub(super) fn activation(row: &SqliteRow, at: usize) -> Result<Activation, StoreError> {
    json_of::<ActivationRow<'_>>(row, at, "activations")?.activation()
}

/// A device key in the database.
#[derive(Serialize, Deserialize)]
pub(super) struct DeviceRow {
    machine: MachineId,
    jkt: Hex<32>,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

impl DeviceRow {
    pub(super) fn of(d: &Device) -> Self {
        Self { machine: d.machine, jkt: Hex::of(&d.jkt), first_seen: d.first_seen, last_seen: d.last_seen }
    }

    pub(super) fn device(self) -> Result<Device, StoreError> {
        Ok(Device {
            machine: self.machine,
            jkt: self.jkt.key_id("devices")?,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
        })
    }
}

/// An answer in the database.
#[derive(Serialize, Deserialize)]
pub(super) struct AnswerRow<'a> {
    pub(super) jkt: Hex<32>,
    pub(super) nonce: Nonce,
    pub(super) hash: Hex<32>,
    pub(super) claims: Cow<'a, AnswerClaims>,
    pub(super) activation: Option<ActivationId>,
    /// Whether that activation is over; asked for, never stored.
    #[serde(skip_serializing)]
    pub(super) ended: bool,
    #[serde(skip_deserializing)]
    pub(super) at: Timestamp,
}

/// A replacement in the database.
#[derive(Serialize, Deserialize)]
pub(super) struct ReplacementRow {
    license: i64,
    activation: ActivationId,
    at: Timestamp,
    receipted: bool,
}

impl ReplacementRow {
    pub(super) fn of(r: &Replacement) -> Self {
        Self { license: r.license.0, activation: r.activation, at: r.at, receipted: r.receipted }
    }

    pub(super) fn replacement(self) -> Replacement {
        Replacement {
            license: LicenseId(self.license),
            activation: self.activation,
            at: self.at,
            receipted: self.receipted,
        }
    }
}

/// What happened, in the database.
#[derive(Serialize)]
pub(super) struct EventRow<'a> {
    license: i64,
    activation: Option<ActivationId>,
    at: Timestamp,
    what: &'a str,
    detail: Option<&'a str>,
}

impl<'a> EventRow<'a> {
    pub(super) fn of(e: &'a Event) -> Self {
        Self {
            license: e.license.0,
            activation: e.activation,
            at: e.at,
            what: e.what,
            detail: e.detail.as_deref(),
        }
    }
}

/// Raw bytes, in JSON as hexadecimal digits.
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&HEXLOWER.encode_display(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("another length"))
    }
}

impl Hex<32> {
    /// A key's thumbprint.
    pub(super) fn of(jkt: &KeyId) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&jkt_bytes(jkt));
        Self(bytes)
    }

    /// The thumbprint of a key.
    pub(super) fn key_id(&self, what: &'static str) -> Result<KeyId, StoreError> {
        KeyId::try_from(BASE64URL_NOPAD.encode(&self.0)).map_err(|_| StoreError::Corrupt(what))
    }
}

/// A value that is JSON.
pub(super) fn json_of<T: DeserializeOwned>(
    row: &SqliteRow,
    at: usize,
    what: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get::<&str, _>(at)?).map_err(|_| StoreError::Corrupt(what))
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

pub(super) fn unsigned(row: &SqliteRow, at: usize, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(at)?).map_err(|_| StoreError::Corrupt(what))
}

/// A key's thumbprint as raw bytes.
pub(super) fn jkt_bytes(jkt: &KeyId) -> Vec<u8> {
    // A `KeyId` is checked base64url of 32 bytes.
    BASE64URL_NOPAD.decode(jkt.as_str().as_bytes()).unwrap_or_default()
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

/// A JSON array of rows.
pub(super) fn json_rows(rows: impl Iterator<Item = impl Serialize>) -> Result<String, StoreError> {
    let unwritten =
        |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Database(sqlx::Error::Encode(error));
    let mut json = Vec::from(b"[");
    for row in rows {
        if json.len() > 1 {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &row).map_err(|e| unwritten(e.into()))?;
    }
    json.push(b']');
    String::from_utf8(json).map_err(|e| unwritten(e.into()))
}
