//! Identifiers: vendors, products, machines, activations, nonces. Each is checked when it is read, so that code
//! behind it never meets a bad one; none can name a path outside its folder.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::keys::Sha256;

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{text}” is not a {what}: {why}")]
pub struct InvalidId {
    what: &'static str,
    why: &'static str,
    text: String,
}

impl InvalidId {
    fn new(what: &'static str, why: &'static str, text: &str) -> Self {
        Self { what, why, text: text.chars().filter(|c| !c.is_control()).take(64).collect() }
    }
}

/// Longest reverse-DNS id in bytes; keeps every file name made from one under the usual limit of 255.
pub const MAX_NAME_LEN: usize = 128;

/// Checks a reverse-DNS name: two or more labels of `a-z 0-9 -`, split by dots, starting with a letter.
/// Lower case only: an id names files, and some file systems fold case.
/// Nor may it be one of `reserved`: names of files that lie where a folder of this name would.
fn check_reverse_dns(what: &'static str, reserved: &[&str], text: &str) -> Result<(), InvalidId> {
    let err = |why| Err(InvalidId::new(what, why, text));
    if reserved.contains(&text) {
        return err("the name is reserved");
    }
    if text.len() > MAX_NAME_LEN {
        return err("longer than 128 characters");
    }
    let mut labels = 0;
    for label in text.split('.') {
        labels += 1;
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return err("a part is empty, or begins or ends with a hyphen");
        }
        if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return err("only a-z, 0-9, hyphens and dots may be used");
        }
    }
    if labels < 2 || !text.as_bytes()[0].is_ascii_lowercase() {
        return err("it must read like com.example");
    }
    Ok(())
}

macro_rules! reverse_dns_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $reserved:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text; safe as a file name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check_reverse_dns($what, &$reserved, text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                check_reverse_dns($what, &$reserved, &text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

reverse_dns_id! {
    /// A vendor: `com.example`. Its folder lies beside the clock's file in the certificate store.
    VendorId, "vendor id", [crate::layout::CLOCK]
}
reverse_dns_id! {
    /// A product or a bundle: `com.example.synth`.
    ProductId, "product id", []
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0u8; 16];
                let err = |why| InvalidId::new($what, why, text);
                if text.len() != 32 {
                    return Err(err("it must be 32 hexadecimal digits"));
                }
                match HEXLOWER.decode_mut(text.as_bytes(), &mut bytes) {
                    Ok(16) => Ok(Self(bytes)),
                    _ => Err(err("it must be 32 lower-case hexadecimal digits")),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                HEXLOWER.encode(&id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hex_id! {
    /// One computer as one vendor knows it; 128 bits, 32 hexadecimal digits.
    MachineId, "machine id"
}
hex_id! {
    /// One activation; 128 random bits drawn by the server.
    ActivationId, "activation id"
}
hex_id! {
    /// Makes a request idempotent; 128 random bits drawn by the daemon.
    Nonce, "nonce"
}
hex_id! {
    /// One receipt; 128 random bits drawn by the daemon.
    ReceiptId, "receipt id"
}

impl MachineId {
    /// Longest file of the operating system's own machine id that is worth reading, in bytes.
    pub const MAX_OS_ID_LEN: usize = 256;

    /// What `text`, as the operating system keeps it, says this computer is called, without the white space around it:
    /// at least 16 characters. `None` where it means nothing: systemd writes "uninitialized" into images that have not
    /// booted yet, and others leave the file empty. Every program must ask this, or they would disagree about which of
    /// two files counts.
    #[must_use]
    pub fn usable_os_id(text: &str) -> Option<&str> {
        let id = text.trim();
        (text.len() <= Self::MAX_OS_ID_LEN && id.chars().count() >= 16 && id != "uninitialized").then_some(id)
    }

    /// The machine id that `vendor` sees on a computer whose operating system calls itself `os_machine_id`
    /// (on Linux the text of `/etc/machine-id`; surrounding white space and case are ignored).
    ///
    /// HMAC-SHA-256 keyed by the vendor id, cut to 128 bits: one vendor's id says nothing to another, and the
    /// operating system's own id cannot be read back from it.
    #[must_use]
    pub fn derive(vendor: &VendorId, os_machine_id: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, vendor.as_str().as_bytes());
        let tag = hmac::sign(&key, os_machine_id.trim().to_ascii_lowercase().as_bytes());
        let mut id = [0u8; 16];
        id.copy_from_slice(&tag.as_ref()[..16]);
        Self(id)
    }
}

impl ActivationId {
    /// The activation that the request with this hash makes, where it makes one: a machine that kept its request can
    /// name it from a typed code, which has no room for it. As hard to guess as the request's nonce.
    #[must_use]
    pub fn of_request(request: &Sha256) -> Self {
        let hash = Sha256::of(&[b"claviger activation v1\n", &request.0[..]].concat());
        let mut id = [0u8; 16];
        id.copy_from_slice(&hash.0[..16]);
        Self(id)
    }
}

impl ProductId {
    /// First bytes of SHA-256 over the id: how a typed code names a product.
    #[must_use]
    pub fn tag(&self) -> [u8; 4] {
        let hash = Sha256::of(self.0.as_bytes()).0;
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The id that stands for a product of this tag in the certificate that a typed code makes: `typed.1a2b3c4d`.
    #[must_use]
    pub fn of_tag(tag: [u8; 4]) -> Self {
        Self(format!("typed.{}", HEXLOWER.encode(&tag)))
    }

    /// Whether this stands for a product that only its tag names.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        self.0.starts_with("typed.")
    }

    /// Whether this stands for `product` in the certificate of a typed code.
    #[must_use]
    pub fn is_alias_of(&self, product: &Self) -> bool {
        self.is_alias() && *self == product.alias()
    }

    /// This product's [`ProductId::of_tag`].
    #[must_use]
    pub fn alias(&self) -> Self {
        Self::of_tag(self.tag())
    }
}

macro_rules! random_id {
    ($($name:ident),*) => {$(
        impl $name {
            /// A fresh one from `rng`.
            ///
            /// # Errors
            /// When the system's generator fails.
            pub fn random(rng: &dyn ring::rand::SecureRandom) -> Result<Self, ring::error::Unspecified> {
                let mut bytes = [0u8; 16];
                rng.fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }
    )*};
}
random_id!(ActivationId, Nonce, ReceiptId);

/// A device name as activation sends it: at most 64 characters, no control characters, never empty.
///
/// Shown to the person, and editable, before it leaves the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

impl DeviceName {
    /// Longest name, in characters.
    pub const MAX_CHARS: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest valid name to `text`: control characters dropped, cut to 64 characters, `computer` when empty.
    #[must_use]
    pub fn lossy(text: &str) -> Self {
        let kept: String =
            text.trim().chars().filter(|c| !is_unprintable(*c)).take(Self::MAX_CHARS).collect();
        let kept = kept.trim();
        Self(if kept.is_empty() { "computer".to_owned() } else { kept.to_owned() })
    }
}

/// Control characters, and the invisible marks that reorder or hide text in a terminal or a list of seats.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

impl TryFrom<String> for DeviceName {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let err = |why| Err(InvalidId::new("device name", why, &text));
        if text.trim().is_empty() || text.trim().len() != text.len() {
            return err("it must not be empty, nor begin or end with a space");
        }
        if text.chars().count() > Self::MAX_CHARS {
            return err("longer than 64 characters");
        }
        if text.chars().any(is_unprintable) {
            return err("it contains invisible characters");
        }
        Ok(Self(text))
    }
}

impl FromStr for DeviceName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_dns_names() {
        for good in ["com.example", "io.a-b.c2", "a.b.c.d.e"] {
            assert_eq!(good.parse::<VendorId>().unwrap().as_str(), good);
        }
        for bad in [
            "com",
            "",
            ".",
            "com.",
            ".com",
            "Com.Example",
            "com.exa mple",
            "com/../etc",
            "com.-a",
            "1.2",
            "com..x",
        ] {
            assert!(bad.parse::<VendorId>().is_err(), "{bad}");
        }
        // It would be a folder where the clock's file lies.
        let reserved = "clock.json".parse::<VendorId>().unwrap_err();
        assert_eq!(reserved.to_string(), "“clock.json” is not a vendor id: the name is reserved");
        assert!("clock.json".parse::<ProductId>().is_ok());
        assert!(format!("com.{}", "a".repeat(130)).parse::<ProductId>().is_err());
    }

    #[test]
    fn machine_ids_differ_between_vendors_and_ignore_white_space() {
        let (a, b): (VendorId, VendorId) = ("com.a".parse().unwrap(), "com.b".parse().unwrap());
        let os = "0123456789abcdef0123456789abcdef";
        assert_eq!(MachineId::derive(&a, os), MachineId::derive(&a, &format!("{}\n", os.to_uppercase())));
        assert_ne!(MachineId::derive(&a, os), MachineId::derive(&b, os));
        // Frozen: a changed derivation would take a second seat on every machine in the world.
        assert_eq!(MachineId::derive(&a, os).to_string(), "730b43272e39090a9c5dda674a41aef7");
    }

    #[test]
    fn machine_ids_of_the_system_that_mean_nothing_are_not_used() {
        let os = "0123456789abcdef0123456789abcdef";
        assert_eq!(MachineId::usable_os_id(&format!(" {os}\n")), Some(os));
        assert_eq!(MachineId::usable_os_id(&os[..16]), Some(&os[..16]));
        for bad in ["", "\n", "uninitialized\n", &os[..15], &os.repeat(9), &" ".repeat(40)] {
            assert_eq!(MachineId::usable_os_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn device_names() {
        assert!("Studio Mac – Läger".parse::<DeviceName>().is_ok());
        assert!("".parse::<DeviceName>().is_err());
        assert!("a\u{202e}b".parse::<DeviceName>().is_err());
        assert!("x".repeat(65).parse::<DeviceName>().is_err());
        assert_eq!(DeviceName::lossy("\n\u{7}").as_str(), "computer");
        assert_eq!(DeviceName::lossy(&"ä".repeat(100)).as_str().chars().count(), 64);
    }
}
