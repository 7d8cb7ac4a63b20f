//! The activation certificate: proves an activation, offline, for ever or until it expires.

use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, Keyset};
use crate::clock::{Date, Timestamp};
use crate::ids::{ActivationId, MachineId, ProductId, VendorId};
use crate::keys::KeyId;
use crate::serial::Serial;

/// A license in use on a machine. It belongs to the machine, not to an OS user or a device key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationCertificate {
    /// The vendor.
    pub iss: VendorId,
    /// The activation.
    pub jti: ActivationId,
    /// Rises whenever the activation's terms or state change; a lower one never replaces a higher one.
    pub rev: u32,
    /// When it was signed. Never a reason to refuse it: machines have wrong clocks.
    pub iat: Timestamp,
    /// The license's serial number.
    pub serial: Serial,
    /// The product or bundle that the license is for.
    pub product: ProductId,
    /// Its name for people.
    pub name: String,
    /// Every product this opens: the licensed one and what it contains.
    pub opens: Vec<ProductId>,
    /// Perpetual, subscription or trial.
    pub kind: LicenseKind,
    /// Last release date that the license covers; compared with the plug-in's compiled one, not with a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_until: Option<Date>,
    /// Subscriptions: until when it is paid for. [`Self::exp`] is later by the grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_through: Option<Timestamp>,
    /// Subscriptions and trials: not licensed after this moment. Absent on perpetual licenses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<Timestamp>,
    /// Features within the product that this license opens, in the vendor's own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<String>,
    /// The machine.
    pub machine: MachineId,
    /// The device key that asked (RFC 7800). Lets a server restored from a backup recognise its receipts; a plug-in
    /// does not look at it.
    pub cnf: Confirmation,
}

/// A device key by its thumbprint (RFC 7800 section 3.1, RFC 9449's `jkt`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The thumbprint.
    pub jkt: KeyId,
}

/// How long a license lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LicenseKind {
    /// For ever.
    Perpetual,
    /// While it is paid for, and a grace period.
    Subscription,
    /// For a number of days from its first activation, on whatever machine.
    Trial,
    /// A kind of a later version; never issued by this one. It lasts until [`ActivationCertificate::exp`], or for
    /// ever where there is none: the server that knows the kind has said all that an old plug-in must respect.
    #[serde(other)]
    Other,
}

impl Document for ActivationCertificate {
    const TYP: &'static str = "claviger-activation+jws";
    const MAX_LEN: usize = 64 * 1024;
}

impl ActivationCertificate {
    /// Verifies a certificate against the vendor's keyset: signature, key, vendor and that its claims make sense.
    /// Whether it is for this product and machine, and still current, is the reader's to compare.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, keyset: &Keyset) -> Result<Self, DocumentError> {
        let certificate: Self = keyset.verify_document(text.trim(), false, |c: &Self| (&c.iss, c.iat))?;
        match (certificate.kind, certificate.exp) {
            (LicenseKind::Perpetual, Some(_)) => {
                Err(DocumentError::Claim("a perpetual certificate must not expire"))
            }
            (LicenseKind::Subscription | LicenseKind::Trial, None) => {
                Err(DocumentError::Claim("a subscription or trial certificate must say when it expires"))
            }
            _ => Ok(certificate),
        }
    }

    /// Whether `product` is the licensed product or contained in it, by its name or, in the certificate of a typed code,
    /// by its alias.
    #[must_use]
    pub fn opens(&self, product: &ProductId) -> bool {
        self.product == *product || self.opens.contains(product) || self.product.is_alias_of(product)
    }
}
