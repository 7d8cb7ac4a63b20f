//! What the vendor's commands and the admin interface ask of a store.

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::LicenseKind;
use claviger_protocol::ids::{ActivationId, MachineId, ProductId};
use claviger_protocol::keys::{PublicKey, Sha256};
use claviger_protocol::serial::Serial;
use serde::{Deserialize, Serialize};

use super::Later;
use crate::engine::model::{Activation, License, LicenseState};

/// A product or bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Its name for people.
    pub name: String,
    /// What the bundle contains.
    #[serde(default)]
    pub contains: Vec<ProductId>,
}

/// The terms of licenses to be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The product or bundle.
    pub product: ProductId,
    /// Perpetual, subscription or trial.
    pub kind: LicenseKind,
    /// Machines.
    pub seats: u32,
    /// Last release date covered.
    pub updates_until: Option<Date>,
    /// Subscriptions.
    pub paid_through: Option<Timestamp>,
    /// Subscriptions: days of use beyond that.
    pub grace_days: u32,
    /// Trials.
    pub trial_days: Option<u32>,
    /// Features.
    pub entitlements: Vec<String>,
    /// Replacements without a receipt in a year.
    pub replacement_budget: u32,
}

/// One license to be stored.
#[derive(Clone, Debug)]
pub struct NewLicense {
    /// Its serial number.
    pub serial: Serial,
    /// The public half of its unlock key.
    pub unlock_key: PublicKey,
    /// Its terms.
    pub terms: Terms,
    /// The shop's order.
    pub order_id: Option<String>,
}

/// An order: the id that makes it idempotent, and the hash of what it asks for.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// The shop's id.
    pub id: String,
    /// What was ordered.
    pub content: Sha256,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// It was stored.
    Now,
    /// It had been stored before: these are its serial numbers.
    Before(Vec<Serial>),
}

/// Which licenses to list.
#[derive(Clone, Debug, Default)]
pub struct LicenseFilter {
    /// Of this product.
    pub product: Option<ProductId>,
    /// In this state.
    pub state: Option<LicenseState>,
    /// Of this order.
    pub order_id: Option<String>,
    /// Behind this row (the last one of the page before).
    pub after: i64,
    /// At most this many.
    pub limit: u32,
}

/// A license as it is listed.
#[derive(Clone, Debug)]
pub struct ListedLicense {
    /// The license.
    pub license: License,
    /// Machines that hold a seat.
    pub seats_used: u32,
}

/// A change to a license.
#[derive(Clone, Debug)]
pub enum LicenseChange {
    /// Suspends it, resumes it or revokes it.
    State(LicenseState),
    /// Gives it to a new owner: a new unlock key, activations ended.
    Transfer(PublicKey),
    /// Changes what was paid for.
    Renew {
        /// Subscriptions.
        paid_through: Option<Timestamp>,
        /// Update plans.
        updates_until: Option<Date>,
        /// Seats.
        seats: Option<u32>,
        /// Replacements a year.
        replacement_budget: Option<u32>,
    },
}

/// An event of a license's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
    /// The activation it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationId>,
    /// Particulars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// An activation with its license's names.
#[derive(Clone, Debug)]
pub struct ListedActivation {
    /// The activation.
    pub activation: Activation,
    /// Its license.
    pub serial: Serial,
    /// The product.
    pub product: ProductId,
}

/// Which activations to list.
#[derive(Clone, Debug, Default)]
pub struct ActivationFilter {
    /// Of this license.
    pub serial: Option<Serial>,
    /// On this machine.
    pub machine: Option<MachineId>,
    /// Ended ones too.
    pub ended_too: bool,
    /// At most this many.
    pub limit: u32,
}

/// What the vendor's commands ask of a store. Each call is one transaction.
pub trait Admin {
    /// Adds a product or bundle.
    fn add_product(&self, product: Product, now: Timestamp) -> Later<'_, ()>;
    /// All products, by id.
    fn products(&self) -> Later<'_, Vec<Product>>;
    /// Stores licenses, all or none.
    fn issue(&self, order: Option<NewOrder>, licenses: Vec<NewLicense>, now: Timestamp) -> Later<'_, Issued>;
    /// Which of these serial numbers exist already.
    fn existing(&self, serials: Vec<Serial>) -> Later<'_, Vec<Serial>>;
    /// A license.
    fn license(&self, serial: Serial) -> Later<'_, Option<ListedLicense>>;
    /// A page of licenses.
    fn licenses(&self, filter: LicenseFilter) -> Later<'_, Vec<ListedLicense>>;
    /// Changes a license, and gives how many activations ended by it.
    fn change_license(&self, serial: Serial, change: LicenseChange, now: Timestamp) -> Later<'_, u64>;
    /// The history of a license.
    fn history(&self, serial: Serial) -> Later<'_, Vec<HistoryEntry>>;
    /// Activations.
    fn activations(&self, filter: ActivationFilter) -> Later<'_, Vec<ListedActivation>>;
    /// Ends activations of a license on the vendor's word.
    fn release(&self, ids: Vec<ActivationId>, now: Timestamp) -> Later<'_, u64>;
}
