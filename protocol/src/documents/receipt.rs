//! The receipt: a machine's signed word that it has given an activation up.

use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, same_vendor};
use crate::clock::Timestamp;
use crate::ids::{ActivationId, MachineId, ReceiptId, VendorId};
use crate::jws::Unverified;
use crate::keys::PublicKey;
use crate::serial::Serial;

/// Says that an activation was given up on its machine. Closed list; carries its device key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The vendor it is meant for.
    pub aud: VendorId,
    /// The receipt: presenting it twice changes nothing.
    pub jti: ReceiptId,
    /// When it was given up.
    pub iat: Timestamp,
    /// The activation.
    pub activation: ActivationId,
    /// The revision of the certificate that was removed.
    pub rev: u32,
    /// The license's serial number.
    pub serial: Serial,
    /// The machine.
    pub machine_id: MachineId,
}

impl Document for Receipt {
    const TYP: &'static str = "claviger-receipt+jws";
    const MAX_LEN: usize = 8 * 1024;
}

impl Receipt {
    /// Verifies a receipt with the device key that it carries, and gives that key: whether the key may speak for the
    /// activation is the server's to know.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, vendor: &VendorId) -> Result<(Self, PublicKey), DocumentError> {
        let unverified = Unverified::parse::<Self>(text.trim())?;
        let key = unverified.carried_key().ok_or(DocumentError::NoKey)?;
        let receipt: Self = unverified.verify_plain(&key)?;
        same_vendor(&receipt.aud, vendor)?;
        Ok((receipt, key))
    }

    /// Which activation a receipt is about, without believing it: enough to stop believing the certificate beside it.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn peek(text: &str) -> Result<Self, DocumentError> {
        Unverified::parse::<Self>(text.trim())?.peek()
    }
}
