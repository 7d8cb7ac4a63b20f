//! The manifest: a vendor's catalogue as its daemons see it.

use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, Keyset};
use crate::clock::Timestamp;
use crate::ids::{ProductId, VendorId};

/// A vendor's products and bundles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The vendor.
    pub iss: VendorId,
    /// Rises with every change.
    pub number: u64,
    /// When it was signed.
    pub iat: Timestamp,
    /// The catalogue.
    pub products: Vec<ManifestProduct>,
}

/// One product or bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestProduct {
    /// The product.
    pub id: ProductId,
    /// Its name for people.
    pub name: String,
    /// What a bundle contains; empty for a single product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<ProductId>,
}

impl Document for Manifest {
    const TYP: &'static str = "claviger-manifest+jws";
    const MAX_LEN: usize = 8 * 1024 * 1024;
}

impl Manifest {
    /// Verifies a manifest against the vendor's keyset.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, keyset: &Keyset) -> Result<Self, DocumentError> {
        keyset.verify_document(text.trim(), false, |m: &Self| (&m.iss, m.iat))
    }
}
