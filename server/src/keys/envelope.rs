//! Sealing a secret with a passphrase: argon2id makes the key, AES-256-GCM seals. Used for root keys and for backups.

use data_encoding::BASE64URL_NOPAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A passphrase. Wiped when dropped, never printed.
pub struct Passphrase(Zeroizing<String>);

/// The passphrase is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is empty; choose one of several words that nobody would guess")]
pub struct EmptyPassphrase;

impl Passphrase {
    /// A passphrase as it was typed, or read from the first line of a file.
    ///
    /// # Errors
    /// [`EmptyPassphrase`] when nothing but white space is left.
    pub fn new(text: Zeroizing<String>) -> Result<Self, EmptyPassphrase> {
        if text.trim().is_empty() { Err(EmptyPassphrase) } else { Ok(Self(text)) }
    }

    /// Its length in characters, to advise against a short one.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }

    /// Whether both are the same, for the second prompt.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// How the key is made from the passphrase. Written beside what is sealed, so that costs may rise later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdf {
    /// Always `argon2id`.
    pub name: Argon2id,
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// 16 random bytes, unpadded base64url.
    pub salt: String,
}

/// The one way to make a key from a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Argon2id {
    /// Argon2id, version 1.3 (RFC 9106).
    #[serde(rename = "argon2id")]
    Argon2id,
}

/// How much work a guess costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    m_kib: u32,
    passes: u32,
}

impl Cost {
    /// For real secrets: RFC 9106's second recommended choice, 64 MiB and three passes.
    pub const FULL: Self = Self { m_kib: 64 * 1024, passes: 3 };
    /// For demonstrations and tests, whose passphrase protects nothing.
    pub const DEMO: Self = Self { m_kib: 1024, passes: 1 };
}

/// Why a passphrase opens nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EnvelopeError {
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    #[error("its parameters are out of bounds ({0}): the file is damaged or was forged")]
    Parameters(&'static str),
    #[error("the system's random number generator failed")]
    Random,
}

/// A key made from a passphrase. Wiped by `ring` when dropped is not promised, so the bytes are wiped here.
pub struct SealingKey(LessSafeKey);

impl Kdf {
    /// Fresh parameters with a random salt.
    ///
    /// # Errors
    /// [`EnvelopeError::Random`].
    pub fn fresh(cost: Cost, rng: &dyn SecureRandom) -> Result<Self, EnvelopeError> {
        let mut salt = [0u8; 16];
        rng.fill(&mut salt).map_err(|_| EnvelopeError::Random)?;
        Ok(Self {
            name: Argon2id::Argon2id,
            m_kib: cost.m_kib,
            passes: cost.passes,
            lanes: 1,
            salt: BASE64URL_NOPAD.encode(&salt),
        })
    }

    /// The key that `passphrase` makes with these parameters. Bounded, because they come from a file.
    ///
    /// # Errors
    /// [`EnvelopeError::Parameters`].
    pub fn key(&self, passphrase: &Passphrase) -> Result<SealingKey, EnvelopeError> {
        if !(64..=1024 * 1024).contains(&self.m_kib) {
            return Err(EnvelopeError::Parameters("memory"));
        }
        if !(1..=16).contains(&self.passes) || !(1..=8).contains(&self.lanes) {
            return Err(EnvelopeError::Parameters("passes or lanes"));
        }
        let salt = BASE64URL_NOPAD
            .decode(self.salt.as_bytes())
            .ok()
            .filter(|salt| salt.len() == 16)
            .ok_or(EnvelopeError::Parameters("salt"))?;
        let params = argon2::Params::new(self.m_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| EnvelopeError::Parameters("memory"))?;
        let mut key = Zeroizing::new([0u8; 32]);
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(passphrase.0.as_bytes(), &salt, &mut *key)
            .map_err(|_| EnvelopeError::Parameters("memory"))?;
        let key =
            UnboundKey::new(&AES_256_GCM, &*key).map_err(|_| EnvelopeError::Parameters("key length"))?;
        Ok(SealingKey(LessSafeKey::new(key)))
    }
}

impl SealingKey {
    /// Seals `plain` in place under a nonce that is never used twice with one key.
    ///
    /// # Errors
    /// [`EnvelopeError::Parameters`] beyond AES-GCM's limits, which no caller reaches.
    pub fn seal(&self, nonce: [u8; 12], about: &[u8], plain: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), plain)
            .map_err(|_| EnvelopeError::Parameters("length"))
    }

    /// Opens `sealed` in place and gives the plain bytes.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongPassphrase`], which a damaged text looks like as well: check its hash first.
    pub fn open<'a>(
        &self,
        nonce: [u8; 12],
        about: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], EnvelopeError> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(about), sealed)
            .map_err(|_| EnvelopeError::WrongPassphrase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn words(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn a_passphrase_opens_what_it_sealed_and_nothing_else_does() {
        let rng = ring::rand::SystemRandom::new();
        let kdf = Kdf::fresh(Cost::DEMO, &rng).unwrap();
        let mut text = b"secret".to_vec();
        kdf.key(&words("right")).unwrap().seal([1; 12], b"about", &mut text).unwrap();
        let open = |passphrase: &str, about: &[u8]| {
            kdf.key(&words(passphrase)).unwrap().open([1; 12], about, &mut text.clone()).map(|p| p.to_vec())
        };
        assert_eq!(open("right", b"about").unwrap(), b"secret");
        assert!(matches!(open("wrong", b"about"), Err(EnvelopeError::WrongPassphrase)));
        assert!(matches!(open("right", b"another"), Err(EnvelopeError::WrongPassphrase)));
    }

    #[test]
    fn empty_passphrases_and_forged_costs_are_refused() {
        for empty in ["", " \t"] {
            assert!(Passphrase::new(Zeroizing::new(empty.to_owned())).is_err());
        }
        let kdf = Kdf::fresh(Cost::DEMO, &ring::rand::SystemRandom::new()).unwrap();
        for bad in [
            Kdf { m_kib: u32::MAX, ..kdf.clone() },
            Kdf { m_kib: 0, ..kdf.clone() },
            Kdf { passes: 1 << 30, ..kdf.clone() },
            Kdf { lanes: 0, ..kdf.clone() },
            Kdf { salt: "AA".to_owned(), ..kdf.clone() },
        ] {
            assert!(matches!(bad.key(&words("x")), Err(EnvelopeError::Parameters(_))), "{bad:?}");
        }
    }
}
