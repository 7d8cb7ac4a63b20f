//! What handlers hand to the writer, all signatures verified, and what comes back.

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    ActivationCertificate, EndReason, LicenseSeats, MachineFacts, Receipt, ReceiptAck,
};
use claviger_protocol::http::SeatHolder;
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, Nonce, ReceiptId};
use claviger_protocol::keys::{KeyId, PublicKey, Sha256};
use claviger_protocol::serial::Serial;
use serde::{Deserialize, Serialize};

/// A request whose signatures were verified.
#[derive(Clone, Debug)]
pub struct Command {
    /// The device key that signed it.
    pub device: KeyId,
    /// Its idempotency key.
    pub nonce: Nonce,
    /// The hash of its bytes.
    pub hash: Sha256,
    /// The machine that asks.
    pub machine_id: MachineId,
    /// Whether the answer should bring the keyset along.
    pub wants_keyset: bool,
    /// The issuing key that will sign the answer.
    pub kid: KeyId,
    /// Receipts that came along.
    pub receipts: Vec<GivenReceipt>,
    /// Activations of this device key whose certificates are to be issued anew, because a key that may have signed them was
    /// compromised: for machines without a network, which cannot ask.
    pub reissue: Vec<ActivationId>,
    /// What is asked.
    pub order: Order,
}

/// A receipt as it arrived.
#[derive(Clone, Debug)]
pub enum GivenReceipt {
    /// Signed by the device key `by`, which may or may not speak for the activation.
    Signed {
        /// What it says.
        receipt: Receipt,
        /// Who says it.
        by: KeyId,
    },
    /// Its signature does not hold; it is answered with a refusal under this id.
    Forged(ReceiptId),
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Order {
    /// Use a license.
    Activate(Box<Activate>),
    /// Learn what became of activations.
    Refresh(Vec<Held>),
    /// Deliver receipts; the genuine certificates help a restored server to believe them.
    Deactivate,
    /// Learn who holds the seats; each activation is proved by its genuine certificate, made for the device key that asks.
    Seats(Vec<Held>),
    /// End what another machine holds.
    Free(Box<Free>),
}

/// End what another machine holds of a license.
#[derive(Clone, Debug)]
pub struct Free {
    /// The license.
    pub serial: Serial,
    /// The public key under which the proof was verified.
    pub proved_by: PublicKey,
    /// The other machine's id or name.
    pub other: String,
}

/// Use a license on a machine.
#[derive(Clone, Debug)]
pub struct Activate {
    /// The license.
    pub serial: Serial,
    /// The public key under which the proof was verified.
    pub proved_by: PublicKey,
    /// The machine.
    pub machine: MachineFacts,
    /// The machine whose seat it takes over.
    pub replace: Option<String>,
    /// The id that a new activation would get.
    pub fresh_id: ActivationId,
}

/// An activation that a machine holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its id.
    pub id: ActivationId,
    /// The revision of its certificate.
    pub rev: u32,
    /// What became of the certificate that was shown.
    pub shown: Shown,
}

/// A certificate that was shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// None was.
    Nothing,
    /// A good one for this activation.
    Genuine(Box<ActivationCertificate>),
    /// One that readers do not believe any more: damaged, forged or by a compromised key.
    Outdated,
}

/// What the writer decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// An answer, committed.
    Answer(Box<AnswerClaims>),
    /// A refusal; nothing changed.
    Refused(Refusal),
}

/// Everything an answer says, unsigned: stored, so that a repeated request gets the same bytes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerClaims {
    /// The issuing key that signed it.
    pub kid: KeyId,
    /// The server's time.
    pub iat: Timestamp,
    /// The server's epoch.
    pub epoch: u64,
    /// Whether the keyset comes along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyset: bool,
    /// What became of the order.
    pub outcome: Claimed,
    /// What became of the receipts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<ReceiptAck>,
    /// Certificates of the machine's other activations, issued anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reissued: Vec<ActivationCertificate>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// The license is active.
    Activated(Box<ActivationCertificate>),
    /// The states that were asked for.
    Refreshed(Vec<ClaimedState>),
    /// The receipts were looked at.
    Deactivated,
    /// Who holds the seats that were asked about.
    Seats(Vec<LicenseSeats>),
    /// A seat is free that another machine held.
    Freed {
        /// That machine.
        machine_id: MachineId,
        /// Its name.
        device_name: DeviceName,
    },
}

/// What became of one activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedState {
    /// The activation.
    pub id: ActivationId,
    /// Its revision.
    pub rev: u32,
    /// A new certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<ActivationCertificate>>,
    /// Why it is no longer good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndReason>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The machine that took the seat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DeviceName>,
}

/// Why the writer refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The unlock key changed while the request was on its way, or the license went.
    ProofRefused,
    /// The same nonce with other bytes.
    NonceReused,
    /// The activation that this request made has ended.
    ActivationGivenUp,
    /// Suspended.
    Suspended,
    /// Revoked.
    Revoked,
    /// The subscription or trial is over since.
    Expired(Timestamp),
    /// Every seat is taken.
    SeatsTaken {
        /// How many there are.
        total: u32,
        /// Who holds them.
        holders: Vec<SeatHolder>,
    },
    /// No machine of that name.
    ReplaceUnknown {
        /// The name that was given.
        name: String,
        /// Who holds the seats.
        total: u32,
        /// Who holds the seats.
        holders: Vec<SeatHolder>,
    },
    /// Several machines of that name.
    ReplaceAmbiguous {
        /// The name that was given.
        name: String,
        /// How many seats there are.
        total: u32,
        /// The machines of that name.
        holders: Vec<SeatHolder>,
    },
    /// No other machine of that name holds a seat to be freed.
    FreeUnknown {
        /// The name that was given.
        name: String,
        /// How many seats there are.
        total: u32,
        /// The other machines that hold seats.
        holders: Vec<SeatHolder>,
    },
    /// Several other machines of that name hold seats.
    FreeAmbiguous {
        /// The name that was given.
        name: String,
        /// How many seats there are.
        total: u32,
        /// The machines of that name.
        holders: Vec<SeatHolder>,
    },
    /// The year's replacements are used up.
    ReplaceBudgetSpent {
        /// How many there are a year.
        budget: u32,
        /// When the next one is free.
        next: Timestamp,
    },
    /// Too many device keys on one machine id.
    MachineIdShared,
}
