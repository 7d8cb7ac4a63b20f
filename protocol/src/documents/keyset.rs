//! The keyset: which issuing keys speak for a vendor at the moment. Signed by a root key, numbered upwards.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, TrustAnchor, same_vendor};
use crate::clock::Timestamp;
use crate::ids::VendorId;
use crate::jws::Unverified;
use crate::keys::{KeyId, PublicKey};

/// A vendor's issuing keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyset {
    /// The vendor.
    pub iss: VendorId,
    /// Rises with every keyset; a reader never goes back to a lower one.
    pub number: u32,
    /// When it was signed.
    pub iat: Timestamp,
    /// The keys, old ones included.
    pub keys: Vec<KeysetKey>,
}

/// One issuing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysetKey {
    /// The public half.
    pub x: PublicKey,
    /// Whether it may still be used.
    pub status: KeyStatus,
    /// Since when it has that status.
    pub since: Timestamp,
}

/// What an issuing key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Signs new documents.
    Active,
    /// Signs nothing new; what it signed before stays good for ever.
    Retired,
    /// Signs nothing, and what it signed is good no longer. Also read from any status of a later version.
    #[serde(other)]
    Compromised,
}

/// Documents dated up to this long after a retirement are still taken: clocks of a vendor's servers differ.
const RETIREMENT_SKEW: i64 = 3_600;

impl Document for Keyset {
    const TYP: &'static str = "claviger-keyset+jws";
    const MAX_LEN: usize = 64 * 1024;
}

impl Keyset {
    /// Verifies a keyset against the vendor's root keys and the lowest number still good.
    ///
    /// # Errors
    /// [`DocumentError`]; [`DocumentError::KeysetTooOld`] for a lower number.
    pub fn verify(text: &str, anchor: &TrustAnchor) -> Result<Self, DocumentError> {
        let keyset: Self = anchor.verify(text)?;
        same_vendor(&keyset.iss, &anchor.vendor)?;
        if keyset.number < anchor.least_keyset {
            return Err(DocumentError::KeysetTooOld { found: keyset.number, least: anchor.least_keyset });
        }
        if keyset.keys.len() > 256 {
            return Err(DocumentError::Claim("a keyset has at most 256 keys"));
        }
        let distinct: HashSet<&[u8; 32]> = keyset.keys.iter().map(|key| &key.x.0).collect();
        if distinct.len() != keyset.keys.len() {
            return Err(DocumentError::Claim("a keyset lists each key once"));
        }
        Ok(keyset)
    }

    /// Whether this keyset may follow `known`: a higher number, or the very same content.
    ///
    /// # Errors
    /// [`DocumentError::KeysetTooOld`], [`DocumentError::KeysetConflict`].
    pub fn may_follow(&self, known: &Self) -> Result<(), DocumentError> {
        if self.number < known.number {
            return Err(DocumentError::KeysetTooOld { found: self.number, least: known.number });
        }
        if self.number == known.number && self != known {
            return Err(DocumentError::KeysetConflict);
        }
        Ok(())
    }

    /// The key of this name, whatever its status.
    #[must_use]
    pub fn find(&self, kid: &KeyId) -> Option<&KeysetKey> {
        self.keys.iter().find(|key| key.x.id() == *kid)
    }

    /// Verifies a document by one of these keys: the signature, and that the key may have signed it.
    /// `new` asks for an active key: for answers, which are never read from a file later.
    pub(crate) fn verify_document<D: Document>(
        &self,
        text: &str,
        new: bool,
        dated: impl Fn(&D) -> (&VendorId, Timestamp),
    ) -> Result<D, DocumentError> {
        let unverified = Unverified::parse::<D>(text)?;
        let key = self.find(unverified.kid()).ok_or(DocumentError::UnknownKey)?;
        match key.status {
            KeyStatus::Compromised => return Err(DocumentError::CompromisedKey),
            KeyStatus::Retired if new => return Err(DocumentError::RetiredKey),
            KeyStatus::Active | KeyStatus::Retired => {}
        }
        let document: D = unverified.verify(&key.x)?;
        let (vendor, iat) = dated(&document);
        same_vendor(vendor, &self.iss)?;
        if key.status == KeyStatus::Retired && iat > key.since.plus(RETIREMENT_SKEW) {
            return Err(DocumentError::RetiredKey);
        }
        Ok(document)
    }
}
