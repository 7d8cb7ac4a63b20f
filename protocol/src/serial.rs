//! Serial numbers and the alphabet that they share with unlock codes.
//!
//! `SOL-4XQ7K-2M9TB-0RHJ5`: the vendor's prefix (2 to 4 letters), then 13 random symbols of Crockford's base 32 (65
//! bits) and two check symbols. Reading is forgiving: case, hyphens, dashes and spaces do not matter, O reads as 0, I
//! and L as 1. The check symbols are those of a Reed-Solomon code over GF(32), taken over prefix and symbols: any one
//! or two wrong symbols and any two exchanged ones are noticed, before anything is sent anywhere.
//!
//! A vendor may also bring serials of its shop, of any form: [`Serial::foreign`].

use std::fmt;

use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

/// Crockford's alphabet: no I, L, O, U.
pub(crate) const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Symbols of a serial number behind its prefix, check symbols included.
pub const BODY_LEN: usize = 15;

/// What is wrong with a typed serial number or unlock code. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TypedCodeError {
    #[error("the {what} is empty")]
    Empty { what: &'static str },
    #[error("the {what} cannot contain “{symbol}”; check it against your purchase confirmation")]
    Symbol { what: &'static str, symbol: char },
    #[error("the {what} has {found} characters where {expected} are needed{}", prefix_hint(prefix.as_deref()))]
    Length { what: &'static str, found: usize, expected: usize, prefix: Option<String> },
    #[error(
        "the {what} was mistyped: its check characters do not match; compare it with your purchase confirmation"
    )]
    Check { what: &'static str },
    #[error("the {what} {}; compare it with your purchase confirmation", wrong_prefix(typed, prefix))]
    WrongPrefix { what: &'static str, typed: String, prefix: String },
    #[error(
        "this is an unlock code; the serial number that came with it begins with two to four letters of the vendor"
    )]
    UnlockCode,
    #[error("“{0}” is not a serial prefix: it must be 2 to 4 letters")]
    Prefix(String),
    #[error("the {what} must have {min} to {max} letters and digits")]
    Foreign { what: &'static str, min: usize, max: usize },
}

fn prefix_hint(prefix: Option<&str>) -> String {
    prefix.map(|p| format!(" after {p}")).unwrap_or_default()
}

fn wrong_prefix(typed: &str, prefix: &str) -> String {
    if typed.is_empty() {
        format!("lacks {prefix} at its beginning")
    } else {
        format!("begins with {typed} where {prefix} belongs")
    }
}

/// A vendor's serial prefix: 2 to 4 letters A to Z. I, L and 1, and O and 0, count as the same when compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    /// The prefix as its vendor writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn symbols(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().filter_map(|b| prefix_symbol(char::from(b)))
    }
}

/// Prefix letters as symbols: as in Crockford's reading, and U as V.
fn prefix_symbol(c: char) -> Option<u8> {
    symbol(if c.eq_ignore_ascii_case(&'u') { 'V' } else { c })
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        self.symbols().eq(other.symbols())
    }
}
impl Eq for Prefix {}

impl std::hash::Hash for Prefix {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.symbols().for_each(|s| s.hash(state));
    }
}

impl TryFrom<String> for Prefix {
    type Error = TypedCodeError;
    fn try_from(text: String) -> Result<Self, TypedCodeError> {
        let upper = text.trim().to_ascii_uppercase();
        if (2..=4).contains(&upper.len()) && upper.bytes().all(|b| b.is_ascii_uppercase()) {
            Ok(Self(upper))
        } else {
            Err(TypedCodeError::Prefix(text.chars().take(16).collect()))
        }
    }
}

impl std::str::FromStr for Prefix {
    type Err = TypedCodeError;
    fn from_str(text: &str) -> Result<Self, TypedCodeError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A serial number in its one spelling: `SOL-4XQ7K-2M9TB-0RHJ5`, or a shop's own in capitals without separators.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);

impl Serial {
    /// Fewest and most letters and digits of a shop's own serial number.
    pub const FOREIGN_LEN: std::ops::RangeInclusive<usize> = 6..=64;

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh serial number of the vendor with this prefix.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn random(prefix: &Prefix, rng: &dyn SecureRandom) -> Result<Self, ring::error::Unspecified> {
        let mut symbols = [0u8; BODY_LEN];
        random_symbols(&mut symbols[..BODY_LEN - 2], rng)?;
        append_check(prefix.symbols(), &mut symbols);
        Ok(Self::native(prefix, &symbols))
    }

    fn native(prefix: &Prefix, symbols: &[u8; BODY_LEN]) -> Self {
        Self(format!("{prefix}-{}", grouped(symbols)))
    }

    /// Reads a serial number of the vendor with this prefix, however it was typed.
    ///
    /// # Errors
    /// [`TypedCodeError`], which says what looks wrong.
    pub fn parse(text: &str, prefix: &Prefix) -> Result<Self, TypedCodeError> {
        const WHAT: &str = "serial number";
        let typed: Vec<char> = strip(text);
        if typed.is_empty() {
            return Err(TypedCodeError::Empty { what: WHAT });
        }
        if !starts_with_prefix(&typed, prefix) {
            return Err(TypedCodeError::Length {
                what: WHAT,
                found: 0,
                expected: BODY_LEN,
                prefix: Some(prefix.0.clone()),
            });
        }
        let body = &typed[prefix.0.len()..];
        let symbols = read_symbols(WHAT, body)?;
        let symbols: [u8; BODY_LEN] = symbols.try_into().map_err(|_| TypedCodeError::Length {
            what: WHAT,
            found: body.len(),
            expected: BODY_LEN,
            prefix: Some(prefix.0.clone()),
        })?;
        if !check_holds(prefix.symbols(), &symbols) {
            return Err(TypedCodeError::Check { what: WHAT });
        }
        Ok(Self::native(prefix, &symbols))
    }

    /// Whether `text` looks like a serial number of the vendor with this prefix: it begins with it, and either a
    /// separator follows or the length is right. Then [`Serial::parse`] tells whether it was typed correctly.
    #[must_use]
    pub fn looks_native(text: &str, prefix: &Prefix) -> bool {
        let typed = strip(text);
        if !starts_with_prefix(&typed, prefix) {
            return false;
        }
        let text = behind_label(text).trim_start_matches(is_separator);
        let separated = text
            .chars()
            .nth(prefix.0.len())
            .is_some_and(|c| is_separator(c) && !text.chars().take(prefix.0.len()).any(is_separator));
        separated || typed.len() == prefix.0.len() + BODY_LEN
    }

    /// What went wrong where `text` belongs to no vendor but was almost one of this vendor's: its symbols are right
    /// under this prefix but the prefix itself was mistyped, or the prefix is right and a few symbols are missing or too
    /// many. `None` where it may be anything. Only for a text whose vendor was not named: a shop's own serial numbers
    /// may look like anything.
    #[must_use]
    pub fn near_miss(text: &str, prefix: &Prefix) -> Option<TypedCodeError> {
        const WHAT: &str = "serial number";
        let typed = strip(text);
        let found = typed.len().saturating_sub(prefix.0.len());
        let begins = starts_with_prefix(&typed, prefix);
        if begins && found == BODY_LEN {
            return None;
        }
        if let Some((head, body)) = typed.len().checked_sub(BODY_LEN).map(|at| typed.split_at(at))
            && head.len() <= 6
            && let Ok(body) = read_symbols(WHAT, body)
            && let Ok(body) = <[u8; BODY_LEN]>::try_from(body)
            // The check symbols cover the prefix: they hold by accident once in a thousand times.
            && check_holds(prefix.symbols(), &body)
        {
            let head: String = head.iter().collect();
            return Some(TypedCodeError::WrongPrefix { what: WHAT, typed: head, prefix: prefix.0.clone() });
        }
        (begins && (BODY_LEN - 3..=BODY_LEN + 3).contains(&found)).then(|| TypedCodeError::Length {
            what: WHAT,
            found,
            expected: BODY_LEN,
            prefix: Some(prefix.0.clone()),
        })
    }

    /// The prefix of a serial number of our own form, whichever vendor it belongs to: its check symbols cover the
    /// prefix, so that a stranger's serial number is known as one. By accident once in a thousand texts of that length.
    #[must_use]
    pub fn native_prefix(text: &str) -> Option<Prefix> {
        let typed = strip(text);
        let (head, body) = typed.split_at(typed.len().checked_sub(BODY_LEN)?);
        let prefix = Prefix::try_from(head.iter().collect::<String>()).ok()?;
        let body = <[u8; BODY_LEN]>::try_from(read_symbols("serial number", body).ok()?).ok()?;
        check_holds(prefix.symbols(), &body).then_some(prefix)
    }

    /// A serial number of the vendor's shop: capitals and digits only, separators dropped.
    ///
    /// # Errors
    /// Other than 6 to 64 letters and digits.
    pub fn foreign(text: &str) -> Result<Self, TypedCodeError> {
        foreign("serial number", text, Self::FOREIGN_LEN).map(Self)
    }

    /// Reads what a customer of the vendor with this prefix typed: one of the vendor's own kind when it looks like
    /// one, otherwise one of the shop's.
    ///
    /// # Errors
    /// As [`Serial::parse`] and [`Serial::foreign`].
    pub fn parse_any(text: &str, prefix: &Prefix) -> Result<Self, TypedCodeError> {
        if Self::looks_native(text, prefix) { Self::parse(text, prefix) } else { Self::foreign(text) }
    }
}

/// Reading it back from a document or a file: the spelling must be a canonical one. Check symbols were verified when it
/// was typed, and are not needed to compare it.
impl TryFrom<String> for Serial {
    type Error = TypedCodeError;
    fn try_from(text: String) -> Result<Self, TypedCodeError> {
        let err = TypedCodeError::Foreign { what: "serial number", min: 6, max: 64 };
        let fits = Self::FOREIGN_LEN.contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
        if fits && plain && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text))
        } else {
            Err(err)
        }
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({})", self.0)
    }
}

pub(crate) fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '"' | '\'' | '`' | '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}' | '\u{2039}' | '\u{203a}'
        )
        || matches!(c, '-' | '_' | '.' | ',' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
}

/// What stands behind `Serial number:`, as it is copied from a mail along with the number.
fn behind_label(text: &str) -> &str {
    match text.split_once(':') {
        Some((label, rest)) if label.chars().all(|c| c.is_alphabetic() || is_separator(c) || c == '/') => {
            rest
        }
        _ => text,
    }
}

/// What was typed, without separators, in capitals. Cut at 200 characters: nothing valid is longer.
fn strip(text: &str) -> Vec<char> {
    behind_label(text)
        .chars()
        .filter(|c| !is_separator(*c))
        .take(200)
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

fn starts_with_prefix(typed: &[char], prefix: &Prefix) -> bool {
    typed.len() >= prefix.0.len()
        && typed.iter().map(|c| prefix_symbol(*c)).zip(prefix.symbols()).all(|(t, p)| t == Some(p))
}

/// Crockford's reading of one typed character.
pub(crate) fn symbol(c: char) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let byte = u8::try_from(u32::from(c)).ok()?;
    ALPHABET.iter().position(|a| *a == byte).and_then(|p| u8::try_from(p).ok())
}

/// Reads typed characters as symbols.
pub(crate) fn read_symbols(what: &'static str, typed: &[char]) -> Result<Vec<u8>, TypedCodeError> {
    typed.iter().map(|c| symbol(*c).ok_or(TypedCodeError::Symbol { what, symbol: *c })).collect()
}

pub(crate) fn read_typed(what: &'static str, text: &str) -> Result<Vec<u8>, TypedCodeError> {
    read_symbols(what, &strip(text))
}

pub(crate) fn foreign(
    what: &'static str,
    text: &str,
    len: std::ops::RangeInclusive<usize>,
) -> Result<String, TypedCodeError> {
    let typed = strip(text);
    if typed.is_empty() {
        return Err(TypedCodeError::Empty { what });
    }
    if !len.contains(&typed.len()) || !typed.iter().all(char::is_ascii_alphanumeric) {
        return Err(TypedCodeError::Foreign { what, min: *len.start(), max: *len.end() });
    }
    Ok(typed.into_iter().collect())
}

/// Symbols as text in groups of five.
pub(crate) fn grouped(symbols: &[u8]) -> String {
    let mut text = String::with_capacity(symbols.len() * 6 / 5);
    for (index, s) in symbols.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(*s) % 32]));
    }
    text
}

/// Bytes in Crockford's alphabet, first bit first; the last symbol is filled up with zeros.
#[cfg(feature = "offline")]
pub(crate) fn crockford(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let symbol = |at: usize| (0..5).fold(0u8, |value, more| value << 1 | bit(at * 5 + more));
    (0..(bytes.len() * 8).div_ceil(5)).map(|at| char::from(ALPHABET[usize::from(symbol(at))])).collect()
}

/// Fills `symbols` with uniform random values below 32.
pub(crate) fn random_symbols(
    symbols: &mut [u8],
    rng: &dyn SecureRandom,
) -> Result<(), ring::error::Unspecified> {
    rng.fill(symbols)?;
    symbols.iter_mut().for_each(|s| *s &= 31);
    Ok(())
}

/// Product in GF(32) with x^5 + x^2 + 1.
pub(crate) const fn gf_mul(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a & 32 != 0 {
            a ^= 0b10_0101;
        }
        b >>= 1;
    }
    product
}

/// Remainder of the message, shifted by two symbols, divided by the generator (x + 2)(x + 4) of a Reed-Solomon code.
/// Its distance is 3 up to 31 symbols; a prefix and a body together have at most 24.
fn remainder(message: impl Iterator<Item = u8>) -> [u8; 2] {
    const G1: u8 = 2 ^ 4;
    const G0: u8 = gf_mul(2, 4);
    message.fold([0, 0], |[high, low], symbol| {
        let feedback = symbol ^ high;
        [low ^ gf_mul(feedback, G1), gf_mul(feedback, G0)]
    })
}

/// Sets the last two of `symbols` to the check over `context` and those before.
pub(crate) fn append_check(context: impl Iterator<Item = u8>, symbols: &mut [u8]) {
    let split = symbols.len() - 2;
    let check = remainder(context.chain(symbols[..split].iter().copied()));
    symbols[split..].copy_from_slice(&check);
}

/// Whether the last two of `symbols` are the check over `context` and those before.
pub(crate) fn check_holds(context: impl Iterator<Item = u8>, symbols: &[u8]) -> bool {
    let split = symbols.len() - 2;
    remainder(context.chain(symbols[..split].iter().copied())) == symbols[split..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> Prefix {
        "SOL".parse().unwrap()
    }

    fn serial_of(body: &[u8]) -> Serial {
        let mut symbols = [0u8; BODY_LEN];
        symbols[..13].copy_from_slice(body);
        append_check(prefix().symbols(), &mut symbols);
        Serial::native(&prefix(), &symbols)
    }

    #[test]
    fn reading_is_forgiving() {
        let serial = serial_of(&[1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert!(serial.as_str().starts_with("SOL-10123-"));
        let text = serial.as_str();
        for typed in [
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " \u{2013} "),
            text.replace("SOL-10123", "s0l l0I23"),
            format!("  {text}\n"),
            format!("“{text}”"),
            format!("Serial number: {text}"),
            format!("S/N:{text}"),
        ] {
            assert!(Serial::looks_native(&typed, &prefix()), "{typed}");
            assert_eq!(Serial::parse(&typed, &prefix()).as_ref(), Ok(&serial), "{typed}");
        }
    }

    #[test]
    fn serials_of_strangers_are_known_as_such() {
        let serial = serial_of(&[1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        let found = |text: &str| Serial::native_prefix(text).map(|prefix| prefix.to_string());
        assert_eq!(found(serial.as_str()), Some("SOL".to_owned()));
        assert_eq!(found(&serial.as_str().to_lowercase().replace('-', " ")), Some("SOL".to_owned()));
        assert_eq!(found(&serial.as_str().replacen("SOL", "EVL", 1)), None);
        assert_eq!((found(""), found("SHOP-1234"), found(&"A".repeat(300))), (None, None, None));
    }

    #[test]
    fn every_single_mistake_and_every_exchange_is_noticed() {
        let serial = serial_of(&[9, 31, 4, 2, 30, 17, 5, 6, 0, 8, 29, 10, 11]);
        let text: Vec<char> = serial.as_str().chars().collect();
        for i in 4..text.len() {
            if text[i] == '-' {
                continue;
            }
            for a in ALPHABET {
                let mut wrong = text.clone();
                wrong[i] = char::from(*a);
                let typed: String = wrong.iter().collect();
                assert_eq!(Serial::parse(&typed, &prefix()).is_ok(), wrong == text, "{typed}");
            }
            for j in 4..i {
                let mut wrong = text.clone();
                wrong.swap(i, j);
                let typed: String = wrong.iter().collect();
                let same = typed.replace('-', "") == serial.as_str().replace('-', "");
                assert_eq!(Serial::parse(&typed, &prefix()).is_ok(), same, "{typed}");
            }
        }
        assert!(Serial::parse(&serial.as_str()[..19], &prefix()).is_err());
        assert!(Serial::parse(&serial.as_str().replace("SOL", "SAL"), &prefix()).is_err());
        assert!(!Serial::looks_native("1234-5678-9ABC", &prefix()));
        assert!(Serial::looks_native(&serial.as_str()[..12], &prefix()));
    }

    #[test]
    fn near_misses_are_told() {
        let serial = serial_of(&[9, 31, 4, 2, 30, 17, 5, 6, 0, 8, 29, 10, 11]);
        let bare = serial.as_str().replace('-', "");
        let miss = |text: &str| Serial::near_miss(text, &prefix());
        for wrong in ["SAL", "S0", "SOLL", "", "XYZ"] {
            let typed = serial.as_str().replace("SOL", wrong);
            assert!(matches!(miss(&typed), Some(TypedCodeError::WrongPrefix { .. })), "{typed}");
        }
        for typed in [format!("{bare}7"), format!("{bare}777"), bare[..17].to_owned()] {
            assert!(matches!(miss(&typed), Some(TypedCodeError::Length { expected: 15, .. })), "{typed}");
        }
        for other in ["", "XYZ-12345", "SOL", "SOLAR-1234", "XYZ-4XQ7K-2M9TB-0RHWE", serial.as_str()] {
            assert_eq!(miss(other), None, "{other}");
        }
    }

    #[test]
    fn shops_own_serials() {
        assert_eq!(Serial::parse_any("ab12-cd34 ef", &prefix()).unwrap().as_str(), "AB12CD34EF");
        assert!(Serial::parse_any("a b c", &prefix()).is_err());
        assert!(Serial::parse_any("ünïcödé1", &prefix()).is_err());
        assert!(Serial::try_from("ab12".to_owned()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
            let _ = Serial::parse_any(&text, &prefix());
            let _ = Serial::looks_native(&text, &prefix());
        }

        #[test]
        fn two_wrong_symbols_are_always_noticed(
            body in proptest::collection::vec(0u8..32, 13), i in 0usize..15, j in 0usize..15, x in 1u8..32, y in 1u8..32,
        ) {
            prop_assume!(i != j);
            let mut symbols = [0u8; BODY_LEN];
            symbols[..13].copy_from_slice(&body);
            append_check(prefix().symbols(), &mut symbols);
            prop_assert!(check_holds(prefix().symbols(), &symbols));
            symbols[i] ^= x;
            symbols[j] ^= y;
            prop_assert!(!check_holds(prefix().symbols(), &symbols));
        }
    }
}
