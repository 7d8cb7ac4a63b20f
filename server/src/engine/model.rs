//! What the server knows: licenses, activations, device keys. Plain data, no I/O; the storage fills it in.

use claviger_protocol::clock::{DAY, Date, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, Confirmation, EndReason, LicenseKind, MachineFacts,
};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, ProductId, VendorId};
use claviger_protocol::keys::{KeyId, PublicKey, Sha256};
use claviger_protocol::serial::Serial;
use serde::{Deserialize, Serialize};

/// A license's row number. Never leaves the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenseId(pub i64);

/// Whether a license may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LicenseState {
    /// It may.
    Active,
    /// Not at the moment; its seats stay taken.
    Suspended,
    /// Never again.
    Revoked,
}

impl LicenseState {
    /// The word that is stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// Reads [`Self::word`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Revoked].into_iter().find(|s| s.word() == word)
    }
}

/// The stored word of a kind of license.
#[must_use]
pub const fn kind_word(kind: LicenseKind) -> &'static str {
    match kind {
        LicenseKind::Perpetual => "perpetual",
        LicenseKind::Subscription => "subscription",
        LicenseKind::Trial => "trial",
        LicenseKind::Other => "other",
    }
}

/// Reads [`kind_word`].
#[must_use]
pub fn kind_from_word(word: &str) -> Option<LicenseKind> {
    [LicenseKind::Perpetual, LicenseKind::Subscription, LicenseKind::Trial]
        .into_iter()
        .find(|k| kind_word(*k) == word)
}

/// A license, with what its certificates say about its product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// Its row.
    pub id: LicenseId,
    /// Its name in the world.
    pub serial: Serial,
    /// The product or bundle.
    pub product: ProductId,
    /// Its name for people.
    pub product_name: String,
    /// What the bundle contains; empty for a single product.
    pub contains: Vec<ProductId>,
    /// Perpetual, subscription or trial.
    pub kind: LicenseKind,
    /// On how many machines it may be active.
    pub seats: u32,
    /// The public half of the key that the unlock code derives.
    pub unlock_key: PublicKey,
    /// Last release date covered.
    pub updates_until: Option<Date>,
    /// Subscriptions: until when it is paid for.
    pub paid_through: Option<Timestamp>,
    /// Subscriptions: days of use after [`Self::paid_through`].
    pub grace_days: u32,
    /// Trials: days from the first activation.
    pub trial_days: Option<u32>,
    /// Trials: the end, fixed at the first activation on whatever machine.
    pub trial_end: Option<Timestamp>,
    /// Features that it opens.
    pub entitlements: Vec<String>,
    /// Whether it may be used.
    pub state: LicenseState,
    /// Replacements without a receipt that it may make within a year.
    pub replacement_budget: u32,
    /// Rises when its state changes, so that every certificate gets a higher revision.
    pub generation: u32,
    /// The shop's order.
    pub order_id: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
}

impl License {
    /// When its certificates stop being good; `None` for ever.
    #[must_use]
    pub fn exp(&self) -> Option<Timestamp> {
        match self.kind {
            LicenseKind::Perpetual => None,
            LicenseKind::Subscription | LicenseKind::Other => {
                Some(self.paid_through.unwrap_or_default().plus(i64::from(self.grace_days) * DAY))
            }
            LicenseKind::Trial => Some(self.trial_end.unwrap_or_default()),
        }
    }

    /// Every product that it opens.
    #[must_use]
    pub fn opens(&self) -> Vec<ProductId> {
        std::iter::once(&self.product).chain(&self.contains).cloned().collect()
    }

    /// A short hash of everything that a certificate says about the license. A certificate is outdated when this
    /// differs from what it was made from; nothing has to remember to say so.
    #[must_use]
    pub fn terms(&self) -> i64 {
        let text = serde_json::json!([
            self.product,
            self.product_name,
            self.contains,
            kind_word(self.kind),
            self.updates_until,
            self.paid_through,
            self.exp(),
            self.entitlements,
            self.state.word(),
            self.generation,
        ]);
        let hash = Sha256::of(text.to_string().as_bytes());
        let mut first = [0u8; 8];
        first.copy_from_slice(&hash.0[..8]);
        i64::from_le_bytes(first)
    }

    /// The certificate of `activation` for the device key that asks.
    #[must_use]
    pub fn certificate(
        &self,
        vendor: &VendorId,
        activation: &Activation,
        device: &KeyId,
        now: Timestamp,
    ) -> ActivationCertificate {
        ActivationCertificate {
            iss: vendor.clone(),
            jti: activation.id,
            rev: activation.rev,
            iat: now,
            serial: self.serial.clone(),
            product: self.product.clone(),
            name: self.product_name.clone(),
            opens: self.opens(),
            kind: self.kind,
            updates_until: self.updates_until,
            paid_through: if self.kind == LicenseKind::Subscription { self.paid_through } else { None },
            exp: self.exp(),
            entitlements: self.entitlements.clone(),
            machine: activation.machine.machine_id,
            cnf: Confirmation { jkt: device.clone() },
        }
    }
}

/// A license in use on a machine, or one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its name in documents.
    pub id: ActivationId,
    /// The license.
    pub license: LicenseId,
    /// The machine as it described itself.
    pub machine: MachineFacts,
    /// Rises with its terms and its end.
    pub rev: u32,
    /// [`License::terms`] of the newest certificate.
    pub terms: i64,
    /// Since when.
    pub created: Timestamp,
    /// When its machine was last heard of, to the day.
    pub last_seen: Timestamp,
    /// Whether it was learned from a genuine certificate after a restore.
    pub adopted: bool,
    /// How it ended.
    pub ended: Option<Ended>,
}

impl Activation {
    /// The machine.
    #[must_use]
    pub const fn machine_id(&self) -> MachineId {
        self.machine.machine_id
    }

    /// Ends it, with a higher revision.
    pub fn end(&mut self, at: Timestamp, reason: EndReason, by: Option<DeviceName>) {
        self.rev = self.rev.saturating_add(1);
        self.ended = Some(Ended { at, reason, by });
    }
}

/// How an activation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
    /// For a replacement: the machine that took the seat.
    pub by: Option<DeviceName>,
}

/// The stored word of an end.
#[must_use]
pub const fn end_word(reason: EndReason) -> &'static str {
    match reason {
        EndReason::GivenUp => "given_up",
        EndReason::Replaced => "replaced",
        EndReason::Released => "released",
        EndReason::Transferred => "transferred",
        EndReason::Suspended => "suspended",
        EndReason::Revoked => "revoked",
        EndReason::Unknown => "unknown",
        EndReason::Other => "other",
    }
}

/// Reads [`end_word`].
#[must_use]
pub fn end_from_word(word: &str) -> EndReason {
    [
        EndReason::GivenUp,
        EndReason::Replaced,
        EndReason::Released,
        EndReason::Transferred,
        EndReason::Suspended,
        EndReason::Revoked,
        EndReason::Unknown,
    ]
    .into_iter()
    .find(|r| end_word(*r) == word)
    .unwrap_or(EndReason::Other)
}

/// A device key that has spoken for a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The machine.
    pub machine: MachineId,
    /// The key's name.
    pub jkt: KeyId,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen, to the day.
    pub last_seen: Timestamp,
}

/// A replacement of a machine that did not give up its seat itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The license.
    pub license: LicenseId,
    /// The activation that ended.
    pub activation: ActivationId,
    /// When.
    pub at: Timestamp,
    /// Whether its machine's receipt came later after all; then it does not count.
    pub receipted: bool,
}

/// Something that happened to a license, for its history. Never an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The license.
    pub license: LicenseId,
    /// The activation it is about.
    pub activation: Option<ActivationId>,
    /// When.
    pub at: Timestamp,
    /// What: a stable word.
    pub what: &'static str,
    /// Particulars for people.
    pub detail: Option<String>,
}
