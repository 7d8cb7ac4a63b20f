//! JSON Web Signatures in compact form (RFC 7515), cut down to what cannot be misread: EdDSA over Ed25519 (RFC 8037)
//! and nothing else, `typ` checked for each kind, `kid` always present, no `crit` that we do not know (we know none).

use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::json::{JsonError, from_slice_strict, is_plainly_written};
use crate::keys::{Jwk, KeyId, PublicKey, SigningKey};

/// A kind of signed document.
pub trait Document: Serialize + DeserializeOwned {
    /// The `typ` header: a media type without `application/` (RFC 7515 section 4.1.9).
    const TYP: &'static str;
    /// Longest compact form in bytes; a longer one is refused before anything is decoded.
    const MAX_LEN: usize;
}

/// Why a signed document is not believed. [`DocumentError::code`] is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DocumentError {
    #[error("the document is longer than {max} bytes")]
    TooLarge { max: usize },
    #[error("the document is not three base64url parts joined by dots")]
    NotCompact,
    #[error("the document's {part} is not readable: {source}")]
    Json { part: &'static str, source: JsonError },
    #[error("the document is signed with “{0}”; only EdDSA is accepted")]
    Algorithm(String),
    #[error("the document is a “{found}”, not a “{expected}”")]
    Type { found: String, expected: &'static str },
    #[error("the document needs “{0}”, which this version does not know; update the software that reads it")]
    Critical(String),
    #[error("the document does not name its key")]
    NoKey,
    #[error("the document carries another key than the one it names")]
    KeyMismatch,
    #[error("the document is signed by a key that its vendor's keyset does not list")]
    UnknownKey,
    #[error("the document is signed by a key that its vendor has declared compromised")]
    CompromisedKey,
    #[error("the document is newer than the retirement of the key that signed it")]
    RetiredKey,
    #[error("the document's signature does not match: it was changed or forged")]
    Signature,
    #[error("the document belongs to the vendor {found}, not to {expected}")]
    Vendor { found: String, expected: String },
    #[error("the keyset has number {found}; number {least} is already known")]
    KeysetTooOld { found: u32, least: u32 },
    #[error("the keyset has the number of the known one, but says something else")]
    KeysetConflict,
    #[error("the answer belongs to another request")]
    OtherRequest,
    #[error("the answer belongs to another device key")]
    OtherDevice,
    #[error("{0}")]
    Claim(&'static str),
}

impl DocumentError {
    /// A stable code for programs; a new kind of failure gets a new code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotCompact => "not_compact",
            Self::Json { source: JsonError::Duplicate(_), .. } => "duplicate_name",
            Self::Json { .. } => "bad_json",
            Self::Algorithm(_) => "wrong_alg",
            Self::Type { .. } => "wrong_typ",
            Self::Critical(_) => "unknown_crit",
            Self::NoKey => "no_kid",
            Self::KeyMismatch => "kid_mismatch",
            Self::UnknownKey => "unknown_kid",
            Self::CompromisedKey => "compromised_key",
            Self::RetiredKey => "retired_key",
            Self::Signature => "bad_signature",
            Self::Vendor { .. } => "wrong_vendor",
            Self::KeysetTooOld { .. } => "keyset_too_old",
            Self::KeysetConflict => "keyset_conflict",
            Self::OtherRequest => "other_request",
            Self::OtherDevice => "other_device",
            Self::Claim(_) => "bad_claim",
        }
    }
}

#[derive(Serialize)]
struct HeaderOut<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Jwk>,
}

/// Unknown header names are ignored, as RFC 7515 asks; those that matter list themselves in `crit`.
#[derive(Deserialize)]
struct HeaderIn {
    alg: Option<String>,
    typ: Option<String>,
    kid: Option<String>,
    /// Present at all, `null` too: an empty or odd list is no reason to go on.
    #[serde(default, deserialize_with = "present")]
    crit: Option<serde_json::Value>,
    jwk: Option<Jwk>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// Whether a header carries the public key itself (a device key, which the reader may see for the first time).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyInHeader {
    /// Only its name.
    Named,
    /// Its name and the key.
    Carried,
}

/// Signs `document` with `key` and gives its compact form. The same input gives the same text.
#[must_use]
pub fn sign<D: Document>(document: &D, key: &SigningKey, key_in_header: KeyInHeader) -> String {
    let jwk = (key_in_header == KeyInHeader::Carried).then(|| key.public().into());
    let mut text = signing_input(document, key.id(), jwk);
    let signature = key.sign(text.as_bytes());
    text.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut text);
    text
}

/// What the signature of `document` is made over (RFC 7515, section 5.1): all of the compact form in front of its last dot.
pub(crate) fn signing_input<D: Document>(document: &D, kid: &KeyId, jwk: Option<Jwk>) -> String {
    #[expect(clippy::expect_used, reason = "no map with non-text keys, no failing Serialize among our types")]
    let payload = serde_json::to_vec(document).expect("a document serializes");
    compact(&header_json::<D>(kid, jwk), &payload)
}

/// The header that documents of this kind are written with.
pub(crate) fn header_json<D: Document>(kid: &KeyId, jwk: Option<Jwk>) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "no map with non-text keys, no failing Serialize among our types")]
    serde_json::to_vec(&HeaderOut { alg: "EdDSA", typ: D::TYP, kid, jwk }).expect("a header serializes")
}

/// Header and content as they stand in front of the signature.
pub(crate) fn compact(header: &[u8], payload: &[u8]) -> String {
    let mut text = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 96);
    BASE64URL_NOPAD.encode_append(header, &mut text);
    text.push('.');
    BASE64URL_NOPAD.encode_append(payload, &mut text);
    text
}

/// A document whose header was checked and whose signature was not yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: [u8; 64],
    kid: KeyId,
    jwk: Option<PublicKey>,
}

impl<'a> Unverified<'a> {
    /// Splits the compact form of a `D` and checks its header.
    ///
    /// # Errors
    /// [`DocumentError`] for a wrong size, shape, algorithm, type, `crit` or key name.
    pub fn parse<D: Document>(text: &'a str) -> Result<Self, DocumentError> {
        if text.len() > D::MAX_LEN {
            return Err(DocumentError::TooLarge { max: D::MAX_LEN });
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(DocumentError::NotCompact);
        };
        let header: HeaderIn = from_slice_strict(&decode(header)?)
            .map_err(|source| DocumentError::Json { part: "header", source })?;
        let shorten = |s: &str| s.chars().filter(|c| !c.is_control()).take(64).collect::<String>();
        match header.alg.as_deref() {
            Some("EdDSA") => {}
            other => return Err(DocumentError::Algorithm(shorten(other.unwrap_or("nothing")))),
        }
        if header.typ.as_deref() != Some(D::TYP) {
            let found = shorten(header.typ.as_deref().unwrap_or("document without a type"));
            return Err(DocumentError::Type { found, expected: D::TYP });
        }
        if let Some(names) = header.crit {
            let first = names.get(0).and_then(|n| n.as_str()).unwrap_or("an empty list of extensions");
            return Err(DocumentError::Critical(shorten(first)));
        }
        let kid = header.kid.and_then(|k| KeyId::try_from(k).ok()).ok_or(DocumentError::NoKey)?;
        let jwk = header.jwk.map(|jwk| jwk.x);
        if jwk.is_some_and(|key| key.id() != kid) {
            return Err(DocumentError::KeyMismatch);
        }
        let signed = &text[..text.len() - signature.len() - 1];
        let signature = decode(signature)?.try_into().map_err(|_| DocumentError::NotCompact)?;
        Ok(Self { signed, payload, signature, kid, jwk })
    }

    /// The name of the key that should have signed this.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// The public key in the header, if it carries one. It proves nothing about whose key it is.
    #[must_use]
    pub fn carried_key(&self) -> Option<PublicKey> {
        self.jwk
    }

    /// Verifies the signature with `key` and reads the claims.
    ///
    /// # Errors
    /// [`DocumentError::Signature`], or [`DocumentError::Json`] when the claims are not those of a `D`.
    pub fn verify<D: Document>(&self, key: &PublicKey) -> Result<D, DocumentError> {
        self.check(key)?;
        from_slice_strict(&decode(self.payload)?)
            .map_err(|source| DocumentError::Json { part: "content", source })
    }

    /// The same for a document that machines write: every structure in it is an object.
    ///
    /// # Errors
    /// As [`Unverified::verify`].
    pub(crate) fn verify_plain<D: Document>(&self, key: &PublicKey) -> Result<D, DocumentError> {
        self.check(key)?;
        let content = decode(self.payload)?;
        let document: D =
            from_slice_strict(&content).map_err(|source| DocumentError::Json { part: "content", source })?;
        if is_plainly_written(&content, &document) {
            Ok(document)
        } else {
            Err(DocumentError::Json { part: "content", source: JsonError::List })
        }
    }

    fn check(&self, key: &PublicKey) -> Result<(), DocumentError> {
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| DocumentError::Signature)
    }

    /// Reads the claims without believing them: to learn which vendor's keys to look for, or to show a file.
    ///
    /// # Errors
    /// As [`Unverified::verify`], the signature apart.
    pub fn peek<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        from_slice_strict(&decode(self.payload)?)
            .map_err(|source| DocumentError::Json { part: "content", source })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, DocumentError> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| DocumentError::NotCompact)
}
