//! Licenses and activations as commands (`--json`) and the admin interface show them.

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::{Cpu, EndReason, OsInfo};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, ProductId};
use claviger_protocol::serial::Serial;
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::model::{LicenseState, kind_word};
use crate::storage::admin::{HistoryEntry, ListedActivation, ListedLicense};

/// A license.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LicenseView {
    /// Its serial number.
    #[schema(value_type = String)]
    pub serial: Serial,
    /// The product or bundle.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// `perpetual`, `subscription` or `trial`.
    pub kind: &'static str,
    /// Whether it may be used.
    pub state: LicenseState,
    /// Machines that it may be active on.
    pub seats: u32,
    /// Machines that it is active on.
    pub seats_used: u32,
    /// Last release date covered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub updates_until: Option<Date>,
    /// Subscription: the last day that is paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub paid_through: Option<Date>,
    /// Subscription: days of use after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_days: Option<u32>,
    /// Trial: days from the first activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_days: Option<u32>,
    /// Trial: its end, once it has begun; seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub trial_end: Option<Timestamp>,
    /// Features that it opens.
    pub entitlements: Vec<String>,
    /// Lost machines that may be replaced in a year.
    pub replacement_budget: u32,
    /// The shop's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// When it was issued; seconds since 1970.
    #[schema(value_type = i64)]
    pub created: Timestamp,
}

impl From<ListedLicense> for LicenseView {
    fn from(listed: ListedLicense) -> Self {
        let license = listed.license;
        let subscription = license.paid_through.is_some();
        Self {
            serial: license.serial,
            product: license.product,
            kind: kind_word(license.kind),
            state: license.state,
            seats: license.seats,
            seats_used: listed.seats_used,
            updates_until: license.updates_until,
            paid_through: license.paid_through.map(Timestamp::date),
            grace_days: subscription.then_some(license.grace_days),
            trial_days: license.trial_days,
            trial_end: license.trial_end,
            entitlements: license.entitlements,
            replacement_budget: license.replacement_budget,
            order_id: license.order_id,
            created: license.created,
        }
    }
}

/// An activation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ActivationView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ActivationId,
    /// The license.
    #[schema(value_type = String)]
    pub serial: Serial,
    /// The product or bundle.
    #[schema(value_type = String)]
    pub product: ProductId,
    /// The machine.
    #[schema(value_type = String)]
    pub machine_id: MachineId,
    /// What its owner calls it.
    #[schema(value_type = String)]
    pub device_name: DeviceName,
    /// Its operating system: `family`, `version`, `arch`.
    #[schema(value_type = Object)]
    pub os: OsInfo,
    /// Its processor: `model`, `logical_cores`.
    #[schema(value_type = Object)]
    pub cpu: Cpu,
    /// Its memory.
    pub ram_gib: u32,
    /// The revision of its certificate.
    pub rev: u32,
    /// Since when; seconds since 1970.
    #[schema(value_type = i64)]
    pub since: Timestamp,
    /// When its machine was last heard of, to the day; seconds since 1970.
    #[schema(value_type = i64)]
    pub last_seen: Timestamp,
    /// Learned from the machine's own certificate after a backup was restored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub ended: Option<Timestamp>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub end_reason: Option<EndReason>,
    /// The machine that took the seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_by: Option<DeviceName>,
}

impl From<ListedActivation> for ActivationView {
    fn from(listed: ListedActivation) -> Self {
        let a = listed.activation;
        let (ended, end_reason, ended_by) =
            a.ended.map_or((None, None, None), |e| (Some(e.at), Some(e.reason), e.by));
        Self {
            id: a.id,
            serial: listed.serial,
            product: listed.product,
            machine_id: a.machine.machine_id,
            device_name: a.machine.device_name,
            os: a.machine.os,
            cpu: a.machine.cpu,
            ram_gib: a.machine.ram_gib,
            rev: a.rev,
            since: a.created,
            last_seen: a.last_seen,
            adopted: a.adopted,
            ended,
            end_reason,
            ended_by,
        }
    }
}

/// A license with its machines and its history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LicenseDetails {
    /// The license.
    #[serde(flatten)]
    pub license: LicenseView,
    /// The activations that hold its seats.
    pub activations: Vec<ActivationView>,
    /// What happened to it: `at`, `what`, `activation`, `detail`.
    #[schema(value_type = Vec<Object>)]
    pub history: Vec<HistoryEntry>,
}
