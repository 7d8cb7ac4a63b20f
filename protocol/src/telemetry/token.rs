//! One-time tokens on the wire: what is asked for, what comes back, what a report carries. The mathematics is in
//! [`super::voprf`], for programs that need it.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::Week;
use crate::clock::Timestamp;
use crate::documents::{Document, DocumentError};
use crate::ids::VendorId;
use crate::jws::Unverified;
use crate::keys::PublicKey;

/// The version of [`TokenRequest`]'s list of members.
pub const TOKEN_REQUEST_VERSION: u8 = 1;
/// Tokens in every batch: the same for everyone, used or not.
pub const BATCH: usize = 32;
/// The highest slot: under a system daemon each person who agreed has one.
pub const MAX_SLOT: u8 = 7;

macro_rules! bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $len]);

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, &'static str> {
                let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| concat!($what, " is not base64url"))?;
                bytes.try_into().map(Self).map_err(|_| concat!($what, " does not have ", $len, " bytes"))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                BASE64URL_NOPAD.encode(&value.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&BASE64URL_NOPAD.encode(&self.0))
            }
        }
    };
}

bytes! {
    /// A group element of ristretto255, encoded (RFC 9496); base64url. Not checked to be one here.
    Element, 32, "a group element"
}
bytes! {
    /// A proof of equal discrete logarithms (RFC 9497 section 2.2): two scalars; base64url.
    Proof, 64, "a proof"
}
bytes! {
    /// The public key that a week's tokens are made with; base64url.
    TokenKey, 32, "a token key"
}
bytes! {
    /// A token: 32 random bytes and their pseudorandom output of 64 bytes; base64url, 128 characters.
    Token, 96, "a token"
}

macro_rules! debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
debug!(Element, Proof, TokenKey);

/// Unspent, it is as good as cash: not for logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A token of its two halves.
    #[must_use]
    pub fn new(input: &[u8; 32], output: &[u8; 64]) -> Self {
        let mut bytes = [0u8; 96];
        bytes[..32].copy_from_slice(input);
        bytes[32..].copy_from_slice(output);
        Self(bytes)
    }

    /// The random half.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.0[..32]
    }

    /// The half that only the issuer can make.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.0[32..]
    }
}

/// Asks for a week's batch. Signed by the device key that activations are bound to: the issuer learns that this
/// installation takes part, and nothing else. The same bytes again get the same tokens. Closed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// [`TOKEN_REQUEST_VERSION`].
    pub v: u8,
    /// The vendor it is for.
    pub aud: VendorId,
    /// When it was made.
    pub iat: Timestamp,
    /// The week that the tokens are good for.
    pub week: Week,
    /// Which person of this installation: 0 to [`MAX_SLOT`], 0 where a daemon serves one person.
    pub slot: u8,
    /// [`BATCH`] blinded elements.
    pub elements: Vec<Element>,
}

/// The batch: the elements evaluated, in the same order, and one proof for all that the week's key did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensBody {
    /// [`BATCH`] evaluated elements.
    pub elements: Vec<Element>,
    /// The proof over the whole batch.
    pub proof: Proof,
}

impl Document for TokenRequest {
    const TYP: &'static str = "claviger-token-request+jws";
    const MAX_LEN: usize = 8 * 1024;
}

impl TokenRequest {
    /// Verifies a request with the device key that it carries, and gives that key. Whether the key is known and holds an
    /// activation is the server's business.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, vendor: &VendorId) -> Result<(Self, PublicKey), DocumentError> {
        let unverified = Unverified::parse::<Self>(text)?;
        let key = unverified.carried_key().ok_or(DocumentError::NoKey)?;
        let request: Self = unverified.verify(&key)?;
        crate::documents::same_vendor(&request.aud, vendor)?;
        if request.v != TOKEN_REQUEST_VERSION {
            return Err(DocumentError::Claim("the request has a version that this server does not know"));
        }
        if request.elements.len() != BATCH {
            return Err(DocumentError::Claim("a batch has 32 elements"));
        }
        if request.slot > MAX_SLOT {
            return Err(DocumentError::Claim("an installation has at most 8 slots"));
        }
        Ok((request, key))
    }
}
