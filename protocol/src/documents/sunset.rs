//! The sunset: licenses named products on any machine, for the day a vendor ends, so that its customers' music does not.

use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, TrustAnchor, same_vendor};
use crate::clock::Timestamp;
use crate::ids::{ProductId, VendorId};

/// Frees products for everyone. Signed by a root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sunset {
    /// The vendor.
    pub iss: VendorId,
    /// When it was signed.
    pub iat: Timestamp,
    /// The products that are licensed from now on, on any machine.
    pub products: Vec<ProductId>,
}

impl Document for Sunset {
    const TYP: &'static str = "claviger-sunset+jws";
    const MAX_LEN: usize = 1024 * 1024;
}

impl Sunset {
    /// Verifies a sunset against the vendor's root keys.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, anchor: &TrustAnchor) -> Result<Self, DocumentError> {
        let sunset: Self = anchor.verify(text)?;
        same_vendor(&sunset.iss, &anchor.vendor)?;
        Ok(sunset)
    }
}
