//! What a daemon asks of an activation server. Closed lists: an unknown field is refused on both sides, so that no
//! field can slip in unseen (PRIVACY duties 1 and 27).

use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, same_vendor};
use crate::clock::Timestamp;
use crate::ids::{ActivationId, DeviceName, MachineId, Nonce, VendorId};
use crate::jws::Unverified;
use crate::keys::{PublicKey, Sha256};
use crate::serial::Serial;
use crate::unlock::UnlockProof;

/// The version of request documents that this crate writes and reads.
pub const REQUEST_VERSION: u32 = 1;

/// A request. Signed by a device key, which its header carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`REQUEST_VERSION`].
    pub v: u32,
    /// The vendor it is meant for.
    pub aud: VendorId,
    /// Makes it idempotent together with the device key.
    pub nonce: Nonce,
    /// When it was made, by the machine's clock.
    pub iat: Timestamp,
    /// Until when it may be answered (offline requests: 30 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<Timestamp>,
    /// The highest keyset number that the daemon knows.
    pub keyset: u32,
    /// Receipts that the server has not acknowledged yet, in compact form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<String>,
    /// What is asked.
    pub order: Order,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Use a license on this machine.
    Activate {
        /// The license.
        serial: Serial,
        /// Proof of its unlock code.
        proof: UnlockProof,
        /// The machine: everything that activation tells about it.
        machine: MachineFacts,
        /// The machine id or device name of a machine whose seat this one takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replace: Option<String>,
    },
    /// Learn what became of activations.
    Refresh {
        /// The machine.
        machine_id: MachineId,
        /// The activations that it holds.
        activations: Vec<HeldActivation>,
    },
    /// Deliver receipts.
    Deactivate {
        /// The machine.
        machine_id: MachineId,
    },
    /// Learn who holds the seats of licenses that are active on this machine, and what became of seats before.
    Seats {
        /// The machine.
        machine_id: MachineId,
        /// The activations that it holds. Each one's certificate, made for the device key that asks, is the proof without
        /// which nothing is told.
        activations: Vec<HeldActivation>,
    },
    /// End what another machine holds of a license, without that machine.
    Free {
        /// The machine that asks.
        machine_id: MachineId,
        /// The license.
        serial: Serial,
        /// Proof of its unlock code.
        proof: UnlockProof,
        /// The machine id or device name of the machine whose seat becomes free.
        other: String,
    },
}

impl Order {
    /// The machine that asks.
    #[must_use]
    pub fn machine_id(&self) -> MachineId {
        match self {
            Self::Activate { machine, .. } => machine.machine_id,
            Self::Refresh { machine_id, .. }
            | Self::Deactivate { machine_id }
            | Self::Seats { machine_id, .. }
            | Self::Free { machine_id, .. } => *machine_id,
        }
    }
}

/// All that activation tells about a machine, a closed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineFacts {
    /// The name that the person chose for it; shown in the list of seats.
    pub device_name: DeviceName,
    /// The operating system.
    pub os: OsInfo,
    /// The processor.
    pub cpu: Cpu,
    /// Memory in GiB, rounded.
    pub ram_gib: u32,
    /// The machine as this vendor knows it.
    pub machine_id: MachineId,
}

/// The operating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsInfo {
    /// `linux`, `macos` or `windows`.
    pub family: String,
    /// Its version for people, as `Debian 12`.
    pub version: String,
    /// `x86_64` or `aarch64`.
    pub arch: String,
}

/// The processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Its model name.
    pub model: String,
    /// Logical cores.
    pub logical_cores: u32,
}

/// An activation as its machine knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldActivation {
    /// The activation.
    pub id: ActivationId,
    /// The revision of its certificate.
    pub rev: u32,
    /// The certificate itself, when the server may have forgotten it (it was restored from a backup) or when it must
    /// be issued anew (its key was compromised).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Document for Request {
    const TYP: &'static str = "claviger-request+jws";
    const MAX_LEN: usize = 1024 * 1024;
}

impl Request {
    /// Longest text of a free field (operating system, processor, name of a machine to replace), in bytes.
    const MAX_TEXT: usize = 128;
    /// Most activations whose seats one request asks for.
    pub const MAX_SEATS: usize = 256;

    /// Verifies a request with the device key that it carries, and gives that key and the hash that answers refer to.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, vendor: &VendorId) -> Result<(Self, PublicKey, Sha256), DocumentError> {
        let unverified = Unverified::parse::<Self>(text)?;
        let key = unverified.carried_key().ok_or(DocumentError::NoKey)?;
        let request: Self = unverified.verify_plain(&key)?;
        same_vendor(&request.aud, vendor)?;
        request.check()?;
        Ok((request, key, Sha256::of(text.as_bytes())))
    }

    fn check(&self) -> Result<(), DocumentError> {
        if self.v != REQUEST_VERSION {
            return Err(DocumentError::Claim("the request has a version that this server does not know"));
        }
        if self.receipts.len() > 256 {
            return Err(DocumentError::Claim("a request carries at most 256 receipts"));
        }
        match &self.order {
            Order::Activate { machine, replace, .. } => {
                let texts = [&machine.os.family, &machine.os.version, &machine.os.arch, &machine.cpu.model]
                    .into_iter()
                    .chain(replace);
                texts.into_iter().try_for_each(|text| Self::check_text(text))?;
            }
            Order::Free { other, .. } => Self::check_text(other)?,
            Order::Refresh { activations, .. } if activations.len() > 4096 => {
                return Err(DocumentError::Claim("a request names at most 4,096 activations"));
            }
            Order::Seats { activations, .. } if activations.len() > Self::MAX_SEATS => {
                return Err(DocumentError::Claim("a request asks for the seats of at most 256 activations"));
            }
            Order::Refresh { .. } | Order::Deactivate { .. } | Order::Seats { .. } => {}
        }
        Ok(())
    }

    fn check_text(text: &str) -> Result<(), DocumentError> {
        if text.len() > Self::MAX_TEXT || text.chars().any(char::is_control) {
            return Err(DocumentError::Claim("a text of the request is too long or has control characters"));
        }
        Ok(())
    }
}
