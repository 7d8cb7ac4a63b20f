//! The signed documents, one file a kind, and the one function that verifies each.
//!
//! | kind | `typ` | signed by | verified by |
//! |---|---|---|---|
//! | vendor profile | `claviger-profile+jws` | root key | [`VendorProfile::verify`] |
//! | keyset | `claviger-keyset+jws` | root key | [`Keyset::verify`] |
//! | activation certificate | `claviger-activation+jws` | issuing key | [`ActivationCertificate::verify`] |
//! | manifest | `claviger-manifest+jws` | issuing key | [`Manifest::verify`] |
//! | answer | `claviger-answer+jws` | issuing key, active | [`Answer::verify`] |
//! | sunset | `claviger-sunset+jws` | root key | [`Sunset::verify`] |
//! | request | `claviger-request+jws` | device key | [`Request::verify`] |
//! | receipt | `claviger-receipt+jws` | device key | [`Receipt::verify`] |

mod answer;
mod certificate;
mod keyset;
mod look;
mod manifest;
mod profile;
mod receipt;
mod request;
mod sunset;

pub use answer::{
    ActivationState, Answer, EndReason, LicenseSeats, Outcome, ReceiptAck, ReceiptOutcome, SeatChange,
    SeatEvent, SeatHolder,
};
pub use certificate::{ActivationCertificate, Confirmation, LicenseKind};
pub use keyset::{KeyStatus, Keyset, KeysetKey};
pub use look::{Accent, Logo, LookError};
pub use manifest::{Manifest, ManifestProduct};
pub use profile::{Contact, RootKeys, TrustAnchor, VendorProfile, is_server_address};
pub use receipt::Receipt;
pub use request::{Cpu, HeldActivation, MachineFacts, Order, OsInfo, REQUEST_VERSION, Request};
pub use sunset::Sunset;

pub use crate::jws::{Document, DocumentError, KeyInHeader, sign};

use crate::ids::VendorId;

pub(crate) fn same_vendor(found: &VendorId, expected: &VendorId) -> Result<(), DocumentError> {
    if found == expected {
        return Ok(());
    }
    Err(DocumentError::Vendor { found: found.to_string(), expected: expected.to_string() })
}
