//! Unlock codes: the secret that proves a license, without ever leaving the machine it is typed on.
//!
//! A code has 18 random symbols (90 bits) and two check symbols: `7KQ2M-9TB0R-HWEXA-41CD8`. It derives an Ed25519 key;
//! the server keeps the public half only, and a request carries a signature by it. A serial number that a vendor
//! imported without a code is proved by the serial itself.

use std::fmt;

use ring::hkdf;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::{MachineId, Nonce, VendorId};
use crate::keys::{BadSignature, KeyId, PublicKey, SigningKey};
use crate::serial::{
    Serial, TypedCodeError, append_check, check_holds, foreign, grouped, random_symbols, read_typed,
};

const WHAT: &str = "unlock code";
const LEN: usize = 20;

/// An unlock code in its one spelling. Wiped when dropped, never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct UnlockCode(Zeroizing<String>);

impl UnlockCode {
    /// A fresh code of 90 random bits.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn random(rng: &dyn SecureRandom) -> Result<Self, ring::error::Unspecified> {
        let mut symbols = Zeroizing::new([0u8; LEN]);
        random_symbols(&mut symbols[..LEN - 2], rng)?;
        append_check(std::iter::empty(), &mut *symbols);
        Ok(Self(Zeroizing::new(grouped(&*symbols))))
    }

    /// Reads a code, however it was typed. `serial` decides what a code may look like: only a vendor's imported serial
    /// numbers have codes of other forms.
    ///
    /// # Errors
    /// [`TypedCodeError`], which says what looks wrong; it never quotes the code.
    pub fn parse(text: &str, serial: &Serial) -> Result<Self, TypedCodeError> {
        if serial.as_str().contains('-') { Self::parse_native(text) } else { Self::parse_foreign(text) }
    }

    /// Whether `text` is a code of our own form, typed correctly: for telling that it stands in the wrong place.
    #[must_use]
    pub fn looks_native(text: &str) -> bool {
        Self::parse_native(text).is_ok()
    }

    fn parse_native(text: &str) -> Result<Self, TypedCodeError> {
        let symbols = Zeroizing::new(read_typed(WHAT, text)?);
        if symbols.is_empty() {
            return Err(TypedCodeError::Empty { what: WHAT });
        }
        if symbols.len() != LEN {
            return Err(TypedCodeError::Length {
                what: WHAT,
                found: symbols.len(),
                expected: LEN,
                prefix: None,
            });
        }
        if !check_holds(std::iter::empty(), &symbols) {
            return Err(TypedCodeError::Check { what: WHAT });
        }
        Ok(Self(Zeroizing::new(grouped(&symbols))))
    }

    /// A code of the vendor's shop, for an imported serial number: letters and digits, separators dropped.
    ///
    /// # Errors
    /// Other than 4 to 64 letters and digits.
    pub fn parse_foreign(text: &str) -> Result<Self, TypedCodeError> {
        // A transferred license of an imported serial gets a code of ours: read that one with its check.
        if let Ok(native) = Self::parse_native(text) {
            return Ok(native);
        }
        foreign(WHAT, text, 4..=64).map(|code| Self(Zeroizing::new(code)))
    }

    /// The code as it is printed on a receipt. The only way to read it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UnlockCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockCode(…)")
    }
}

/// The key that a code derives for one serial number of one vendor. Without a code (an imported serial) the serial is
/// the secret. HKDF-SHA-256 (RFC 5869); no slow hash, because a code has 90 random bits.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "32 bytes are within HKDF's bounds")]
pub fn unlock_key(vendor: &VendorId, serial: &Serial, code: Option<&UnlockCode>) -> SigningKey {
    let secret = code.map_or(serial.as_str(), UnlockCode::reveal);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"claviger unlock v1").extract(secret.as_bytes());
    let info = [vendor.as_str().as_bytes(), b"\0", serial.as_str().as_bytes()];
    let mut seed = Zeroizing::new([0u8; 32]);
    #[expect(clippy::expect_used, reason = "32 bytes are within HKDF's bounds")]
    extracted.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *seed)).expect("32 bytes");
    SigningKey::from_seed(&seed)
}

/// A signature by the unlock key over everything that ties a request to its maker: vendor, serial number, machine,
/// device key and nonce. Worthless to anyone who copies it out of a request.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnlockProof([u8; 64]);

impl UnlockProof {
    fn message(
        vendor: &VendorId,
        serial: &Serial,
        machine: MachineId,
        device: &KeyId,
        nonce: Nonce,
    ) -> String {
        format!("claviger unlock proof v1\n{vendor}\n{serial}\n{machine}\n{device}\n{nonce}")
    }

    /// Makes a proof with the key of [`unlock_key`].
    #[must_use]
    pub fn sign(
        key: &SigningKey,
        vendor: &VendorId,
        serial: &Serial,
        machine: MachineId,
        device: &KeyId,
        nonce: Nonce,
    ) -> Self {
        Self(key.sign(Self::message(vendor, serial, machine, device, nonce).as_bytes()))
    }

    /// Checks a proof against the public half that the server keeps.
    ///
    /// # Errors
    /// [`BadSignature`] when the code was wrong, or the proof belongs to another request.
    pub fn verify(
        &self,
        key: &PublicKey,
        vendor: &VendorId,
        serial: &Serial,
        machine: MachineId,
        device: &KeyId,
        nonce: Nonce,
    ) -> Result<(), BadSignature> {
        key.verify(Self::message(vendor, serial, machine, device, nonce).as_bytes(), &self.0)
    }
}

impl TryFrom<String> for UnlockProof {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()
            .and_then(|b| b.try_into().ok())
            .ok_or("a proof is 64 bytes of base64url")?;
        Ok(Self(bytes))
    }
}

impl From<UnlockProof> for String {
    fn from(proof: UnlockProof) -> Self {
        data_encoding::BASE64URL_NOPAD.encode(&proof.0)
    }
}

impl fmt::Debug for UnlockProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockProof(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_forgivingly_and_checked() {
        let native = Serial::try_from("SOL-00000-00000-00000".to_owned()).unwrap();
        let code = UnlockCode::random(&ring::rand::SystemRandom::new()).unwrap();
        let typed = code.reveal().to_lowercase().replace('-', "  ");
        assert!(UnlockCode::parse(&typed, &native).unwrap() == code);
        let mut wrong = code.reveal().to_owned();
        let swapped = if wrong.starts_with('2') { "3" } else { "2" };
        wrong.replace_range(..1, swapped);
        assert_eq!(UnlockCode::parse(&wrong, &native), Err(TypedCodeError::Check { what: WHAT }));
        assert!(matches!(UnlockCode::parse("abc", &native), Err(TypedCodeError::Length { found: 3, .. })));
        assert_eq!(format!("{code:?}"), "UnlockCode(…)");
    }

    #[test]
    fn proofs_are_bound_to_their_request() {
        let vendor: VendorId = "com.example".parse().unwrap();
        let serial = Serial::foreign("AB12CD34").unwrap();
        let key = unlock_key(&vendor, &serial, None);
        let device = SigningKey::from_seed(&[1; 32]);
        let (machine, nonce) = (MachineId([2; 16]), Nonce([3; 16]));
        let proof = UnlockProof::sign(&key, &vendor, &serial, machine, device.id(), nonce);
        let check =
            |machine, nonce| proof.verify(&key.public(), &vendor, &serial, machine, device.id(), nonce);
        assert!(check(machine, nonce).is_ok());
        assert!(check(MachineId([9; 16]), nonce).is_err());
        assert!(check(machine, Nonce([9; 16])).is_err());
        // Frozen: a changed derivation would lock every customer out.
        assert_eq!(key.public().to_string(), "43mi4RQ3Z1xU47ykD0QvYHkwZ-vYFMqk00sODwv04Co");
    }
}
