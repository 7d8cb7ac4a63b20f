//! What an activation server answers: signed, and bound to the request and to the device key that asked.

use serde::{Deserialize, Serialize};

use super::{Confirmation, Document, DocumentError, Keyset};
use crate::clock::Timestamp;
use crate::ids::{ActivationId, DeviceName, MachineId, ReceiptId, VendorId};
use crate::keys::{KeyId, Sha256};

/// An answer. Readers ignore what they do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The vendor.
    pub iss: VendorId,
    /// The server's time: trusted, because signed.
    pub iat: Timestamp,
    /// SHA-256 of the request's compact form.
    pub req: Sha256,
    /// The device key that asked.
    pub cnf: Confirmation,
    /// Rises when the server was restored from a backup; whoever knew a lower one presents its certificates again.
    pub epoch: u64,
    /// The current keyset, when the request knew a lower number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyset: Option<String>,
    /// What became of the order.
    pub outcome: Outcome,
    /// What became of the receipts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<ReceiptAck>,
    /// Certificates of this machine's other activations, issued anew because a key that signed them was compromised. Only
    /// in answers to offline requests: a daemon that is online asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reissued: Vec<String>,
}

/// What became of an order. Refusals are not answers: they come as problem bodies and change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// The license is active on the machine.
    Activated {
        /// The certificate in compact form.
        certificate: String,
    },
    /// What became of the activations that were asked about.
    Refreshed {
        /// One entry each, in any order.
        activations: Vec<ActivationState>,
    },
    /// The receipts were looked at.
    Deactivated,
    /// Who holds the seats that were asked about.
    Seats {
        /// One entry for each activation that was proved, in any order. One that is missing proves nothing (any more).
        licenses: Vec<LicenseSeats>,
    },
    /// A seat is free that another machine held.
    Freed {
        /// That machine.
        machine_id: MachineId,
        /// Its name.
        device_name: DeviceName,
    },
    /// Something that a later version answers.
    #[serde(other)]
    Unknown,
}

/// The seats of one license, as far as they are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseSeats {
    /// The activation that was asked about.
    pub id: ActivationId,
    /// How many seats there are.
    pub total: u32,
    /// How many machines hold one.
    pub taken: u32,
    /// Who they are, oldest first; where there are very many, the latest of them.
    pub holders: Vec<SeatHolder>,
    /// What became of seats, newest first, bounded.
    #[serde(default)]
    pub history: Vec<SeatEvent>,
}

/// A machine that holds a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatHolder {
    /// Its id, for `--replace-machine`.
    pub machine_id: MachineId,
    /// Its name.
    pub device_name: DeviceName,
    /// Since when.
    pub since: Timestamp,
    /// When it was last heard of.
    pub last_seen: Timestamp,
}

/// Something that happened to a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: SeatChange,
    /// The machine that got or lost the seat.
    pub machine_id: MachineId,
    /// Its name.
    pub device_name: DeviceName,
    /// For [`SeatChange::Replaced`]: the machine that took the seat, or freed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DeviceName>,
}

/// What happened to a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeatChange {
    /// The machine activated the license.
    Activated,
    /// The machine gave it up itself.
    GivenUp,
    /// Another machine took the seat, or freed it.
    Replaced,
    /// The vendor freed the seat.
    Released,
    /// The license went to another owner.
    Transferred,
    /// Something else, or something of a later version.
    #[serde(other)]
    Other,
}

/// What became of one activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationState {
    /// The activation.
    pub id: ActivationId,
    /// Its revision; a reader ignores a state with a lower one than it knows.
    pub rev: u32,
    /// A new certificate, when the held one is outdated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Present when it is no longer good on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndReason>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// For [`EndReason::Replaced`]: the name of the machine that took the seat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DeviceName>,
}

/// Why an activation is no longer good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The machine gave it up itself.
    GivenUp,
    /// Another machine took the seat.
    Replaced,
    /// The vendor freed the seat.
    Released,
    /// The license went to another owner.
    Transferred,
    /// The vendor suspended the license; it may come back.
    Suspended,
    /// The vendor revoked the license.
    Revoked,
    /// The server does not know the activation, and no genuine certificate was shown for it.
    Unknown,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// What became of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptAck {
    /// The receipt.
    pub id: ReceiptId,
    /// Its fate; in every case the daemon need not send it again.
    pub outcome: ReceiptOutcome,
}

/// What a server did with a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptOutcome {
    /// The seat is free.
    Accepted,
    /// The activation had ended before; nothing changed.
    AlreadyEnded,
    /// The server knows no such activation.
    Unknown,
    /// The device key may not speak for that activation.
    Refused,
    /// An outcome of a later version.
    #[serde(other)]
    Other,
}

impl Document for Answer {
    const TYP: &'static str = "claviger-answer+jws";
    const MAX_LEN: usize = 16 * 1024 * 1024;
}

impl Answer {
    /// Verifies an answer to the request with hash `request` by the device key `device`: signed by an active key of
    /// `keyset`, or of the keyset that the answer brings along if that one is verified first
    /// ([`Answer::peek_keyset`]).
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(
        text: &str,
        keyset: &Keyset,
        request: &Sha256,
        device: &KeyId,
    ) -> Result<Self, DocumentError> {
        let answer: Self = keyset.verify_document(text, true, |a: &Self| (&a.iss, a.iat))?;
        if answer.req != *request {
            return Err(DocumentError::OtherRequest);
        }
        if answer.cnf.jkt != *device {
            return Err(DocumentError::OtherDevice);
        }
        Ok(answer)
    }

    /// Verifies an answer that came as a file: signed by a key that was active then. The machine that asked may have
    /// forgotten its request and its device key (it is reset to an image each night), so the caller compares the machine in
    /// the certificate, and decides what an old answer may still do.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify_from_file(text: &str, keyset: &Keyset) -> Result<Self, DocumentError> {
        keyset.verify_document(text, false, |a: &Self| (&a.iss, a.iat))
    }

    /// The keyset that comes along, before anything is believed; verify it with [`Keyset::verify`].
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn peek_keyset(text: &str) -> Result<Option<String>, DocumentError> {
        #[derive(Deserialize)]
        struct Peek {
            keyset: Option<String>,
        }
        crate::jws::Unverified::parse::<Self>(text)?.peek::<Peek>().map(|p| p.keyset)
    }
}
