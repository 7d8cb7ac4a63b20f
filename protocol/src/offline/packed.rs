//! Signed documents packed for QR codes: a request as the fragment of the portal's address, an answer as numbered parts.
//!
//! Packed form: a byte 1, the signature (64 bytes), and one raw deflate stream (RFC 1951) of the line `typ x` (key
//! carried) or `typ =kid` (key named) and the content; deflate starts with `DICTIONARY` as what came before, so that
//! the names of members cost nothing. A document that is not spelled as this crate spells it has a byte 0 and its
//! compact form, deflated. It all is written in base 32 (RFC 4648, capitals, no padding): QR codes store capitals and
//! digits in 5½ bits, and no scanner, keyboard or address bar changes them.

use std::collections::BTreeMap;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use miniz_oxide::{MZFlush, MZStatus};

use super::armour::{Block, BlockKind, Damage, DamagedBlock};
use super::{Contents, PORTAL_PATH};
use crate::documents::{Answer, Document, Request};
use crate::keys::{Jwk, KeyId, PublicKey, Sha256};

/// What stands in front of the request in the portal address's fragment.
const REQUEST_MARK: &str = "CLVREQ1.";
/// What stands in front of each part of an answer.
const PART_MARK: &str = "CLV1.";
/// Longest document that is packed or unpacked, in bytes: far more than QR codes can carry.
const MAX_UNPACKED: usize = 64 * 1024;
/// Longest packed text that is looked at.
const MAX_PACKED: usize = 96 * 1024;
/// Most characters of data in one part: a QR code of version 16 or less, which any scanner reads from a screen.
const PART_LEN: usize = 700;
/// Most parts of one answer.
const MAX_PARTS: usize = 99;

/// What deflate begins with. Frozen: changing it makes older packed texts unreadable.
const DICTIONARY: &str = concat!(
    r#""ended":"given_up","at":"by":"receipts":[{"id":"","outcome":"accepted"}],"epoch":1,"keyset":"eyJhbGciOiJFZERTQSIsInR5cCI6ImNsYXZpZ2VyLWtleXNldCtqd3MiLCJraWQiOiJ"#,
    r#""},"outcome":{"result":"activated","certificate":"eyJhbGciOiJFZERTQSIsInR5cCI6ImNsYXZpZ2VyLWFjdGl2YXRpb24randzIiwia2lkIjoi"#,
    r#"{"iss":"com.","iat":179,"req":"","cnf":{"jkt":""#,
    r#""replace":"},"proof":"eyJhbGciOiJFZERTQSIsInR5cCI6ImNsYXZpZ2VyLXJlY2VpcHQrandzIiwia2lkIjoi"#,
    r#"Windows 11macos 15Fedora LinuxUbuntu 24.04.1 LTSArch LinuxDebian GNU/Linux 12 (bookworm)aarch64Apple M2 ProAMD Ryzen 9 "#,
    r#"AMD Ryzen 7 5800X 8-Core ProcessorIntel(R) Xeon(R) CPU @ 2.GHz13th Gen Intel(R) Core(TM) i7-10700K CPU @ 3.80GHz"#,
    "claviger-answer+jws =claviger-request+jws ",
    "\n",
    r#"{"v":1,"aud":"com.","nonce":"","iat":1795,"exp":179,"keyset":1,"order":{"op":"activate","serial":"","proof":""#,
    r#"","machine":{"device_name":"Studio","os":{"family":"linux","version":"","arch":"x86_64"},"cpu":{"model":"","logical_cores":16},"ram_gib":32,"machine_id":""}}}"#,
);

/// Why a packed text cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PackedError {
    #[error("the document is too long for QR codes: use the file")]
    TooLong,
    #[error("the address does not carry a request: scan the code again")]
    NoRequest,
    #[error("the packed document cannot be read: scan the code again")]
    Unreadable,
}

/// A vendor's page for offline activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    address: String,
}

impl Portal {
    /// The portal of the vendor whose profile names `server`.
    #[must_use]
    pub fn of(server: &str) -> Self {
        Self { address: format!("{}{PORTAL_PATH}", server.trim_end_matches('/')) }
    }

    /// Its address, for people without a camera.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its address with `request` (compact form) behind it, which browsers do not send to the server: the content of
    /// the QR code. About 700 characters.
    ///
    /// # Errors
    /// [`PackedError::TooLong`] for a request with very many receipts.
    pub fn with_request(&self, request: &str) -> Result<String, PackedError> {
        Ok(format!("{}#{}", self.address, request_fragment(request)?))
    }
}

/// The fragment (without `#`) that carries `request`, in compact form.
///
/// # Errors
/// [`PackedError::TooLong`].
pub fn request_fragment(request: &str) -> Result<String, PackedError> {
    Ok(format!("{REQUEST_MARK}{}", BASE32_NOPAD.encode(&pack::<Request>(request)?)))
}

/// The request (compact form, not verified) in a fragment, or in the whole address around it.
///
/// # Errors
/// [`PackedError`].
pub fn request_of_fragment(text: &str) -> Result<String, PackedError> {
    let text: String = text.chars().take(MAX_PACKED).filter(|c| !c.is_whitespace()).collect();
    let text = text.to_ascii_uppercase();
    let packed =
        text.rfind(REQUEST_MARK).map(|at| &text[at + REQUEST_MARK.len()..]).ok_or(PackedError::NoRequest)?;
    let bytes = BASE32_NOPAD.decode(packed.as_bytes()).map_err(|_| PackedError::Unreadable)?;
    unpack::<Request>(&bytes)
}

/// The texts of the QR codes that carry `answer` (compact form), each complete in itself: `CLV1.` number, total, a mark
/// of the whole, data.
///
/// # Errors
/// [`PackedError::TooLong`].
pub fn answer_parts(answer: &str) -> Result<Vec<String>, PackedError> {
    let packed = pack::<Answer>(answer)?;
    let (mark, data) = (mark(&packed), BASE32_NOPAD.encode(&packed));
    let count = data.len().div_ceil(PART_LEN);
    if count > MAX_PARTS {
        return Err(PackedError::TooLong);
    }
    // Parts of the same size: none is harder to scan than it must be.
    let each = data.len().div_ceil(count);
    let parts = data.as_bytes().chunks(each).enumerate();
    Ok(parts
        .map(|(index, part)| {
            let part = String::from_utf8_lossy(part);
            format!("{PART_MARK}{:02}.{count:02}.{mark}.{part}", index + 1)
        })
        .collect())
}

fn mark(packed: &[u8]) -> String {
    BASE32_NOPAD.encode(&Sha256::of(packed).0[..5])
}

/// Finds scanned parts and a portal address in `text`: what a scanner types, or a person pastes.
pub(super) fn find(text: &str, contents: &mut Contents) {
    let mut sets: BTreeMap<(String, usize), BTreeMap<usize, String>> = BTreeMap::new();
    for word in text.split_whitespace().filter(|word| word.len() <= MAX_PACKED).take(10_000) {
        let upper = word.to_ascii_uppercase();
        if upper.contains(REQUEST_MARK) {
            let found = request_of_fragment(&upper).map_err(|_| Damage::Packed);
            add(contents, BlockKind::Request, found);
        } else if let Some((part, parts, mark, data)) = part_of(&upper) {
            sets.entry((mark.to_owned(), parts)).or_default().insert(part, data.to_owned());
        }
    }
    for ((mark_of_set, parts), found) in sets {
        let missing = (1..=parts).find(|part| !found.contains_key(part));
        let whole = match missing {
            Some(part) => Err(Damage::PartMissing { part, parts }),
            None => {
                let data: String = found.into_values().collect();
                let packed =
                    BASE32_NOPAD.decode(data.as_bytes()).ok().filter(|bytes| mark(bytes) == mark_of_set);
                packed.and_then(|bytes| unpack::<Answer>(&bytes).ok()).ok_or(Damage::Packed)
            }
        };
        add(contents, BlockKind::Response, whole);
    }
}

fn add(contents: &mut Contents, kind: BlockKind, found: Result<String, Damage>) {
    let number = contents.blocks.len() + contents.damaged.len() + 1;
    match found {
        Ok(text) => contents.blocks.push(Block { kind, number, from: None, text, computer: None }),
        Err(damage) => contents.damaged.push(DamagedBlock { number, from: None, damage }),
    }
}

fn part_of(word: &str) -> Option<(usize, usize, &str, &str)> {
    let mut fields = word.strip_prefix(PART_MARK)?.split('.');
    let (part, parts) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (mark, data) = (fields.next()?, fields.next()?);
    let sound =
        fields.next().is_none() && (1..=parts).contains(&part) && parts <= MAX_PARTS && mark.len() == 8;
    sound.then_some((part, parts, mark, data))
}

fn pack<D: Document>(text: &str) -> Result<Vec<u8>, PackedError> {
    if text.len() > MAX_UNPACKED {
        return Err(PackedError::TooLong);
    }
    if let Some((signature, plain)) = split::<D>(text) {
        let mut packed = vec![1];
        packed.extend_from_slice(&signature);
        packed.extend_from_slice(&deflate(plain.as_bytes()));
        if unpack::<D>(&packed).is_ok_and(|again| again == text) {
            return Ok(packed);
        }
    }
    let mut packed = vec![0];
    packed.extend_from_slice(&deflate(text.as_bytes()));
    Ok(packed)
}

fn unpack<D: Document>(packed: &[u8]) -> Result<String, PackedError> {
    let bad = PackedError::Unreadable;
    let (format, rest) = packed.split_first().ok_or(bad)?;
    match format {
        0 => String::from_utf8(inflate(rest)?).map_err(|_| bad),
        1 => {
            let (signature, rest) = rest.split_at_checked(64).ok_or(bad)?;
            let plain = String::from_utf8(inflate(rest)?).map_err(|_| bad)?;
            let (first, payload) = plain.split_once('\n').ok_or(bad)?;
            let key = first.strip_prefix(D::TYP).and_then(|k| k.strip_prefix(' ')).ok_or(bad)?;
            let (kid, jwk) = match key.strip_prefix('=') {
                Some(kid) => (KeyId::try_from(kid.to_owned()).map_err(|_| bad)?, None),
                None => {
                    let key = PublicKey::try_from(key.to_owned()).map_err(|_| bad)?;
                    (key.id(), Some(Jwk::from(key)))
                }
            };
            let mut text = crate::jws::compact(&crate::jws::header_json::<D>(&kid, jwk), payload.as_bytes());
            text.push('.');
            text.push_str(&BASE64URL_NOPAD.encode(signature));
            Ok(text)
        }
        _ => Err(bad),
    }
}

/// The signature of a compact form, and the rest in the form that is deflated.
fn split<D: Document>(text: &str) -> Option<(Vec<u8>, String)> {
    let unverified = crate::jws::Unverified::parse::<D>(text).ok()?;
    let mut parts = text.split('.').skip(1);
    let payload = BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
    let signature = BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
    let key = match unverified.carried_key() {
        Some(key) => key.to_string(),
        None => format!("={}", unverified.kid()),
    };
    Some((signature, format!("{} {key}\n{}", D::TYP, String::from_utf8(payload).ok()?)))
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    // Raw deflate, best compression. The dictionary goes in first and what it gives is thrown away: the flush ends at a
    // byte, and the window stays.
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(9, -15, 0));
    let mut run = |input: &[u8], flush: MZFlush| {
        let mut out = vec![0u8; input.len() + input.len() / 8 + 256];
        let (mut from, mut to) = (0, 0);
        loop {
            let done =
                miniz_oxide::deflate::stream::deflate(&mut compressor, &input[from..], &mut out[to..], flush);
            from += done.bytes_consumed;
            to += done.bytes_written;
            match done.status {
                Ok(MZStatus::Ok) if from < input.len() || to == out.len() => out.resize(out.len() * 2, 0),
                _ => break,
            }
        }
        out.truncate(to);
        out
    };
    drop(run(DICTIONARY.as_bytes(), MZFlush::Sync));
    run(plain, MZFlush::Finish)
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, PackedError> {
    let start = DICTIONARY.len();
    let mut out = vec![0u8; start + MAX_UNPACKED];
    out[..start].copy_from_slice(DICTIONARY.as_bytes());
    let mut state = Box::new(DecompressorOxide::new());
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut state, packed, &mut out, start, flags);
    if status != TINFLStatus::Done || read != packed.len() {
        return Err(PackedError::Unreadable);
    }
    Ok(out[start..start + written].to_vec())
}
