//! The typed code: an activation of one product in 32 groups of five characters, to be read over a telephone.
//!
//! 80 bytes: a header of 16 with the terms, and one Ed25519 signature. The machine kept its request, and header and
//! request together say all that a certificate of one product says; both sides build the same
//! [`ActivationCertificate`] from them, byte for byte, and the signature in the code is that certificate's own. So
//! what the machine installs is an ordinary certificate, which every plug-in verifies as any other. It names its request
//! by hash (`req`), and its product by an alias of 8 hexadecimal digits ([`ProductId::alias`]), because a whole name
//! does not fit; the next contact or response file replaces it by the full one.
//!
//! | bytes | content |
//! |---|---|
//! | 0 | format (1) in the high half, kind (0 perpetual, 1 subscription, 2 trial) in the low one |
//! | 1–2 | revision of the full certificate; this one has one less, so that the full one replaces it |
//! | 3–6 | first bytes of SHA-256 over the product's id |
//! | 7–8 | `updates_until` as days since 2000-01-01, 0 for none |
//! | 9–10 | `exp`, rounded up to the end of that day, 0 for none |
//! | 11–12 | `paid_through`, the same |
//! | 13–15 | `iat`, in whole hours since 2000-01-01 |
//!
//! A group has four symbols of Crockford's base 32 and a check symbol over them and the group's number, so that a wrong
//! character, two exchanged ones and two exchanged groups are noticed and named.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::clock::{DAY, Date, Timestamp};
use crate::documents::{
    ActivationCertificate, Confirmation, Document, KeyInHeader, KeyStatus, Keyset, LicenseKind, Order,
    Request, sign,
};
use crate::ids::{ActivationId, MachineId, ProductId, VendorId};
use crate::jws::{DocumentError, signing_input};
use crate::keys::{Sha256, SigningKey};
use crate::serial::{Serial, crockford, gf_mul, is_separator, symbol};

/// Groups of a code.
pub const GROUPS: usize = 32;
/// Characters of a group, the check character included.
pub const GROUP_LEN: usize = 5;
/// 2000-01-01T00:00:00Z.
const EPOCH: i64 = 946_684_800;

/// What is wrong with a typed code. [`CodeError::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say it")]
pub enum CodeError {
    #[error("the code is empty")]
    Empty,
    #[error("the code has {found} groups where {GROUPS} are needed: {}", where_to_look(*found, *first))]
    GroupCount { found: usize, first: Option<usize> },
    #[error("the code has {found} characters where {} are needed: type it with a space between the groups, to learn which one is short", GROUPS * GROUP_LEN)]
    Length { found: usize },
    #[error("group {group} has {found} characters where {GROUP_LEN} are needed")]
    GroupLength { group: usize, found: usize },
    #[error("group {group} cannot contain “{symbol}”")]
    Symbol { group: usize, symbol: char },
    #[error("{} with what you were given", mistyped(groups))]
    Check { groups: Vec<usize> },
    #[error("groups {first} and {second} are exchanged: type them in their order")]
    Exchanged { first: usize, second: usize },
    #[error("the code was made by a later version of Claviger: update this program")]
    Version,
    #[error(
        "the code does not belong to this request: it was made for another computer, for another license or from a later request"
    )]
    OtherRequest,
    #[error("{0}")]
    Unsuitable(&'static str),
    #[error("the request is not readable: {0}")]
    Request(String),
}

impl CodeError {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "code_empty",
            Self::GroupCount { .. } | Self::Length { .. } => "code_length",
            Self::GroupLength { .. } => "code_group_length",
            Self::Symbol { .. } => "code_symbol",
            Self::Check { .. } => "code_mistyped",
            Self::Exchanged { .. } => "code_exchanged",
            Self::Version => "code_version",
            Self::OtherRequest => "code_other_request",
            Self::Unsuitable(_) => "code_unsuitable",
            Self::Request(_) => "bad_document",
        }
    }
}

fn mistyped(groups: &[usize]) -> String {
    match groups {
        [one] => format!("group {one} is mistyped: compare it"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(usize::to_string).collect();
            format!("groups {} and {last} are mistyped: compare them", first.join(", "))
        }
        [] => "no group is mistyped: compare all".to_owned(),
    }
}

/// `first` is the first group that is not where it belongs.
fn where_to_look(found: usize, first: Option<usize>) -> String {
    match first {
        Some(1) => "compare it from the first group on".to_owned(),
        // Its check symbol may fit a wrong place by chance: one in 32.
        Some(first) => format!("look at group {first} and the one before it"),
        None if found < GROUPS => "the last ones are missing".to_owned(),
        None => "the last ones are too many".to_owned(),
    }
}

/// A code whose groups are right. Whether it belongs to a request, [`TypedCode::certificate`] says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypedCode {
    header: [u8; 16],
    signature: [u8; 64],
}

/// What a code says by itself. Nothing proves it before [`TypedCode::certificate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeTerms {
    /// The alias of the product.
    pub product: ProductId,
    /// Perpetual, subscription or trial.
    pub kind: LicenseKind,
    /// Revision of the certificate that it becomes.
    pub rev: u32,
    /// Its date.
    pub iat: Timestamp,
    /// Last release date covered.
    pub updates_until: Option<Date>,
    /// Until when a subscription is paid.
    pub paid_through: Option<Timestamp>,
    /// End of a subscription's grace or of a trial.
    pub exp: Option<Timestamp>,
}

/// The certificate that a code becomes: the members of [`ActivationCertificate`], and `req`.
#[derive(Serialize, Deserialize)]
struct Rebuilt {
    iss: VendorId,
    jti: ActivationId,
    rev: u32,
    iat: Timestamp,
    serial: Serial,
    product: ProductId,
    name: String,
    opens: Vec<ProductId>,
    kind: LicenseKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updates_until: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid_through: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<Timestamp>,
    machine: MachineId,
    cnf: Confirmation,
    req: Sha256,
}

impl Document for Rebuilt {
    const TYP: &'static str = ActivationCertificate::TYP;
    const MAX_LEN: usize = ActivationCertificate::MAX_LEN;
}

impl TypedCode {
    /// Makes the code that activates `product` as `full` does, for the machine that made `request` (compact form).
    /// `full` is the certificate that the response file carries; `product` is one that it opens.
    ///
    /// # Errors
    /// [`CodeError::Unsuitable`] when these terms do not fit a code (give the file then), [`CodeError::Request`].
    pub fn issue(
        full: &ActivationCertificate,
        product: &ProductId,
        request: &str,
        key: &SigningKey,
    ) -> Result<Self, CodeError> {
        let unfit = CodeError::Unsuitable;
        if !full.opens(product) {
            return Err(unfit("the license does not open that product"));
        }
        let kind = match full.kind {
            LicenseKind::Perpetual => 0,
            LicenseKind::Subscription => 1,
            LicenseKind::Trial => 2,
            LicenseKind::Other => {
                return Err(unfit("a license of this kind does not fit a typed code: use the file"));
            }
        };
        let days = |moment: Option<Timestamp>| match moment {
            None => Ok(0),
            Some(moment) => u16::try_from((moment.0 - EPOCH).div_euclid(DAY))
                .ok()
                .filter(|days| *days > 0)
                .ok_or(unfit("a date of this license does not fit a typed code: use the file")),
        };
        let rev = u16::try_from(full.rev).ok().filter(|rev| *rev > 0);
        let rev = rev.ok_or(unfit("this license has changed too often for a typed code: use the file"))?;
        let hours = u32::try_from((full.iat.0 - EPOCH).div_euclid(3600)).ok().filter(|h| *h < 1 << 24);
        let hours = hours.ok_or(unfit("the server's clock does not fit a typed code: use the file"))?;
        let mut header = [0u8; 16];
        header[0] = 0x10 | kind;
        header[1..3].copy_from_slice(&rev.to_be_bytes());
        header[3..7].copy_from_slice(&product.tag());
        header[7..9].copy_from_slice(&days(full.updates_until.map(Date::start))?.to_be_bytes());
        header[9..11].copy_from_slice(&days(full.exp)?.to_be_bytes());
        header[11..13].copy_from_slice(&days(full.paid_through)?.to_be_bytes());
        header[13..16].copy_from_slice(&hours.to_be_bytes()[1..]);
        let code = Self { header, signature: [0; 64] };
        let asked = Asked::of(request)?;
        if asked.machine != full.machine || asked.serial != full.serial || asked.vendor != full.iss {
            return Err(CodeError::OtherRequest);
        }
        let document = asked.rebuild(&code.terms()?, full.jti);
        let text = sign(&document, key, KeyInHeader::Named);
        let signature = text.rsplit('.').next().unwrap_or_default();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok().and_then(|s| s.try_into().ok());
        Ok(Self { signature: signature.ok_or(CodeError::OtherRequest)?, ..code })
    }

    /// Reads what a person typed: case and separators do not matter, O reads as 0, I and L as 1.
    ///
    /// # Errors
    /// [`CodeError`], which names the groups that are wrong.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        // Nothing valid is longer, with the most generous separators.
        let typed: String = text.chars().take(4096).collect();
        let mut groups: Vec<Vec<char>> =
            typed.split(is_separator).filter(|g| !g.is_empty()).map(|g| g.chars().collect()).collect();
        let found: usize = groups.iter().map(Vec::len).sum();
        if found == 0 {
            return Err(CodeError::Empty);
        }
        // Typed without separators, or with them in other places: only the whole can be counted.
        if groups.len() != GROUPS && groups.iter().any(|g| g.len() != GROUP_LEN) {
            if found != GROUPS * GROUP_LEN {
                return Err(match groups.iter().position(|g| g.len() != GROUP_LEN) {
                    Some(at) if groups.len() > GROUPS / 2 && groups.len() < GROUPS * 2 => {
                        CodeError::GroupLength { group: at + 1, found: groups[at].len() }
                    }
                    _ => CodeError::Length { found },
                });
            }
            let all: Vec<char> = groups.concat();
            groups = all.chunks(GROUP_LEN).map(<[char]>::to_vec).collect();
        }
        for (index, group) in groups.iter().enumerate() {
            if group.len() != GROUP_LEN {
                return Err(CodeError::GroupLength { group: index + 1, found: group.len() });
            }
        }
        if groups.len() != GROUPS {
            let typed: Vec<String> = groups.iter().map(|g| g.iter().collect()).collect();
            let first =
                typed.iter().take(GROUPS).enumerate().position(|(i, g)| check_group(i + 1, g).is_err());
            return Err(CodeError::GroupCount { found: groups.len(), first: first.map(|at| at + 1) });
        }
        let (mut symbols, mut wrong) = (Vec::with_capacity(GROUPS * 4), Vec::new());
        for (index, group) in groups.iter().enumerate() {
            let mut read = [0u8; GROUP_LEN];
            for (value, c) in read.iter_mut().zip(group) {
                *value = symbol(*c).ok_or(CodeError::Symbol { group: index + 1, symbol: *c })?;
            }
            if check(index, &read[..4]) != read[4] {
                wrong.push(index + 1);
            }
            symbols.extend_from_slice(&read[..4]);
        }
        let fits = |place: usize, typed: usize| {
            check_group(place, &groups[typed - 1].iter().collect::<String>()).is_ok()
        };
        match wrong.as_slice() {
            [] => {}
            [first, second] if fits(*first, *second) && fits(*second, *first) => {
                return Err(CodeError::Exchanged { first: *first, second: *second });
            }
            _ => return Err(CodeError::Check { groups: wrong }),
        }
        let mut bytes = [0u8; 80];
        for (bit, byte) in (0..640).map(|bit| (bit, bit / 8)) {
            let set = symbols[bit / 5] >> (4 - bit % 5) & 1;
            bytes[byte] |= set << (7 - bit % 8);
        }
        let (mut header, mut signature) = ([0; 16], [0; 64]);
        header.copy_from_slice(&bytes[..16]);
        signature.copy_from_slice(&bytes[16..]);
        let code = Self { header, signature };
        code.terms()?;
        Ok(code)
    }

    /// The groups, in their order.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let bytes = [&self.header[..], &self.signature].concat();
        let text: Vec<char> = crockford(&bytes).chars().collect();
        let group = |(index, four): (usize, &[char])| {
            let symbols: Vec<u8> = four.iter().filter_map(|c| symbol(*c)).collect();
            let mut group: String = four.iter().collect();
            group.push(char::from(crate::serial::ALPHABET[usize::from(check(index, &symbols))]));
            group
        };
        text.chunks(4).enumerate().map(group).collect()
    }

    /// What the code says by itself.
    ///
    /// # Errors
    /// [`CodeError::Version`] for a format or kind of a later version.
    pub fn terms(&self) -> Result<CodeTerms, CodeError> {
        let h = &self.header;
        let number = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
        let kind = match h[0] {
            0x10 => LicenseKind::Perpetual,
            0x11 => LicenseKind::Subscription,
            0x12 => LicenseKind::Trial,
            _ => return Err(CodeError::Version),
        };
        let day = |at| (number(at) > 0).then(|| Timestamp(EPOCH + i64::from(number(at)) * DAY));
        let end = |at| day(at).map(|start| start.plus(DAY - 1));
        Ok(CodeTerms {
            product: ProductId::of_tag([h[3], h[4], h[5], h[6]]),
            kind,
            rev: u32::from(number(1)).saturating_sub(1),
            iat: Timestamp(EPOCH + i64::from(u32::from_be_bytes([0, h[13], h[14], h[15]])) * 3600),
            updates_until: day(7).map(Timestamp::date),
            paid_through: end(11),
            exp: end(9),
        })
    }

    /// The certificate in compact form that this code and `request` (compact form, kept by the machine) make together.
    /// `known` are activations of this license that the machine may hold already, tried beside the one that the
    /// request itself makes ([`ActivationId::of_request`]).
    ///
    /// # Errors
    /// [`CodeError::OtherRequest`] when no active key of `keyset` has signed that.
    pub fn certificate(
        &self,
        request: &str,
        known: &[ActivationId],
        keyset: &Keyset,
    ) -> Result<String, CodeError> {
        let (asked, terms) = (Asked::of(request)?, self.terms()?);
        let ids = std::iter::once(ActivationId::of_request(&asked.hash)).chain(known.iter().copied());
        let documents: Vec<Rebuilt> = ids.map(|id| asked.rebuild(&terms, id)).collect();
        for key in keyset.keys.iter().filter(|key| key.status == KeyStatus::Active) {
            for document in &documents {
                let mut text = signing_input(document, &key.x.id(), None);
                if key.x.verify(text.as_bytes(), &self.signature).is_ok() {
                    text.push('.');
                    text.push_str(&BASE64URL_NOPAD.encode(&self.signature));
                    return Ok(text);
                }
            }
        }
        Err(CodeError::OtherRequest)
    }
}

/// `ABCDE FGHJK …`, eight groups a line.
impl fmt::Display for TypedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.groups();
        let lines: Vec<String> = groups.chunks(8).map(|line| line.join(" ")).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Debug for TypedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypedCode({:02x?}…)", self.header)
    }
}

/// What a request says, as far as a certificate repeats it.
struct Asked {
    vendor: VendorId,
    serial: Serial,
    machine: MachineId,
    device: Confirmation,
    hash: Sha256,
}

impl Asked {
    fn of(request: &str) -> Result<Self, CodeError> {
        let bad = |error: DocumentError| CodeError::Request(error.to_string());
        let unverified = crate::jws::Unverified::parse::<Request>(request).map_err(bad)?;
        let claims: Request = unverified.peek().map_err(bad)?;
        let Order::Activate { serial, machine, .. } = claims.order else {
            return Err(CodeError::Unsuitable("only an activation can be typed"));
        };
        Ok(Self {
            vendor: claims.aud,
            serial,
            machine: machine.machine_id,
            device: Confirmation { jkt: unverified.kid().clone() },
            hash: Sha256::of(request.as_bytes()),
        })
    }

    fn rebuild(&self, terms: &CodeTerms, jti: ActivationId) -> Rebuilt {
        Rebuilt {
            iss: self.vendor.clone(),
            jti,
            rev: terms.rev,
            iat: terms.iat,
            serial: self.serial.clone(),
            product: terms.product.clone(),
            name: terms.product.to_string(),
            opens: vec![terms.product.clone()],
            kind: terms.kind,
            updates_until: terms.updates_until,
            paid_through: terms.paid_through,
            exp: terms.exp,
            machine: self.machine,
            cnf: self.device.clone(),
            req: self.hash,
        }
    }
}

/// The groups in a line of typing: what stands between separators, or five characters each where none do.
#[must_use]
pub fn split_groups(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(is_separator).filter(|g| !g.is_empty()).take(GROUPS).collect();
    match words.as_slice() {
        [one] => {
            let all: Vec<char> = one.chars().take(GROUPS * GROUP_LEN).collect();
            all.chunks(GROUP_LEN).map(|group| group.iter().collect()).collect()
        }
        several => several.iter().map(|&group| group.to_owned()).collect(),
    }
}

/// Checks one group by itself; `number` counts from 1.
///
/// # Errors
/// [`CodeError`] names the group.
pub fn check_group(number: usize, group: &str) -> Result<(), CodeError> {
    let found = group.chars().count();
    if found != GROUP_LEN {
        return Err(CodeError::GroupLength { group: number, found });
    }
    let mut read = [0u8; GROUP_LEN];
    for (value, c) in read.iter_mut().zip(group.chars()) {
        *value = symbol(c).ok_or(CodeError::Symbol { group: number, symbol: c })?;
    }
    let right = check(number.wrapping_sub(1), &read[..4]) == read[4];
    if right { Ok(()) } else { Err(CodeError::Check { groups: vec![number] }) }
}

/// The check symbol of a group: a weighted sum in GF(32) over the group's number and its symbols. The weights are
/// powers of 2 and all different, the check's own (1) too: any one wrong symbol and any two exchanged ones are noticed.
fn check(index: usize, four: &[u8]) -> u8 {
    const WEIGHTS: [u8; 5] = [2, 4, 8, 16, 5];
    let number = u8::try_from(index % 32).unwrap_or(0);
    std::iter::once(&number)
        .chain(four)
        .zip(WEIGHTS)
        .fold(0, |sum, (symbol, weight)| sum ^ gf_mul(*symbol, weight))
}
