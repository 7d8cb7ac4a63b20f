//! Names of files and folders that more than one program uses, and the small files that one writes and another reads.
//! Names only: nothing here looks at a disk.
//!
//! ```text
//! certs/clock.json                                    [`ClockFile`]
//! certs/VENDOR/vendor.clvprofile                      where to connect; believed by no plug-in
//! certs/VENDOR/keyset.jws                             a keyset newer than the profile's
//! certs/VENDOR/sunset.jws                             products that the vendor has freed for everyone
//! certs/VENDOR/counting.json                          in a user's store: a [`CountingNote`]
//! certs/VENDOR/products/PRODUCT/ACTIVATION.cert       [`FileKind::Certificate`]
//! certs/VENDOR/products/PRODUCT/ACTIVATION.receipt    [`FileKind::Receipt`]: given up
//! certs/VENDOR/products/PRODUCT/ACTIVATION.ended      [`FileKind::Ended`]: an [`EndedNote`]
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::{DAY, Timestamp};
use crate::documents::EndReason;
use crate::ids::{ActivationId, DeviceName, ProductId, VendorId};

/// The folder of certificates, below whatever it belongs to.
pub const CERTS: &str = "certs";
/// The daemon's private folder.
pub const STATE: &str = "state";
/// The folder of the local socket, where it has one of its own.
pub const RUN: &str = "run";
/// The local socket.
pub const SOCKET: &str = "daemon.sock";
/// The folder of log files.
pub const LOG: &str = "log";
/// The log of a daemon without a journal.
pub const LOG_FILE: &str = "daemon.log";
/// How the name of a vendor profile ends, wherever it lies.
pub const PROFILE_ENDING: &str = "clvprofile";
/// A vendor's profile in the daemon's folders.
pub const PROFILE: &str = "vendor.clvprofile";
/// A vendor's keyset in force, when it is newer than the profile's.
pub const KEYSET: &str = "keyset.jws";
/// A vendor's sunset.
pub const SUNSET: &str = "sunset.jws";
/// A user's word that uses of a vendor's products are counted, in the user's store.
pub const COUNTING: &str = "counting.json";
/// The folder of a vendor's products.
pub const PRODUCTS: &str = "products";
/// What the daemon knows about the clock.
pub const CLOCK: &str = "clock.json";
/// Longest [`CLOCK`] and longest note that is read, in bytes.
pub const MAX_NOTE: usize = 4096;

/// The content of [`COUNTING`]: written by the user's own program when consent is given, removed when it is withdrawn. It spares
/// the daemon every call where there is no consent; whether a use counts is decided by the daemon's consent record alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountingNote {
    /// When the consent ends by itself.
    pub until: Timestamp,
}

pub mod macos;
pub mod windows;

/// The fixed places of a Linux system.
pub mod linux {
    /// The machine's folder; `certs` and `state` are in it.
    pub const MACHINE: &str = "/var/lib/claviger";
    /// The folder of the system daemon's socket; systemd makes it, owned by the daemon's user.
    pub const RUN: &str = "/run/claviger";
    /// A user's folder, below the home that the user database names; `certs` is in it.
    pub const USER: &str = ".local/share/claviger";
    /// The folder of a user's socket, below `/run/user/UID`.
    pub const USER_RUN: &str = "claviger";
    /// The administrator's policy.
    pub const POLICY: &str = "/etc/claviger/policy.toml";
    /// Vendor profiles that installers put down.
    pub const SHIPPED: &str = "/usr/share/claviger/vendors";
}

/// A folder that everything is kept below: what `CLAVIGER_HOME` names.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a>(pub &'a Path);

impl Home<'_> {
    /// The certificate store.
    #[must_use]
    pub fn certs(self) -> PathBuf {
        self.0.join(CERTS)
    }

    /// The daemon's private state.
    #[must_use]
    pub fn state(self) -> PathBuf {
        self.0.join(STATE)
    }

    /// The local socket.
    #[must_use]
    pub fn socket(self) -> PathBuf {
        self.0.join(RUN).join(SOCKET)
    }

    /// The folder of log files.
    #[must_use]
    pub fn log(self) -> PathBuf {
        self.0.join(LOG)
    }
}

/// A vendor's folder in the certificate store at `certs`.
#[must_use]
pub fn vendor(certs: &Path, vendor: &VendorId) -> PathBuf {
    certs.join(vendor.as_str())
}

/// The folder of a vendor's products.
#[must_use]
pub fn products(certs: &Path, vendor: &VendorId) -> PathBuf {
    self::vendor(certs, vendor).join(PRODUCTS)
}

/// The folder of one product.
#[must_use]
pub fn product(certs: &Path, vendor: &VendorId, product: &ProductId) -> PathBuf {
    products(certs, vendor).join(product.as_str())
}

/// What a file in a product's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The activation certificate.
    Certificate,
    /// The receipt: the activation was given up here.
    Receipt,
    /// Why there is no certificate any more.
    Ended,
}

impl FileKind {
    /// How the file's name ends, without the dot.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Certificate => "cert",
            Self::Receipt => "receipt",
            Self::Ended => "ended",
        }
    }

    /// The file's name for one activation.
    #[must_use]
    pub fn name(self, activation: ActivationId) -> String {
        format!("{activation}.{}", self.ending())
    }

    /// What a file of this name is; `None` for names that are not ours. The second part is the name without its
    /// ending: whether it is an activation's is left to the caller, who may have enough of them already.
    #[must_use]
    pub fn split(name: &str) -> Option<(Self, &str)> {
        let (stem, ending) = name.split_once('.')?;
        let kind =
            [Self::Certificate, Self::Receipt, Self::Ended].into_iter().find(|k| k.ending() == ending)?;
        Some((kind, stem))
    }

    /// The same with the activation.
    #[must_use]
    pub fn read(name: &str) -> Option<(Self, ActivationId)> {
        let (kind, stem) = Self::split(name)?;
        Some((kind, stem.parse().ok()?))
    }
}

/// Why there is no certificate any more; for people. Unsigned: it explains, it never licenses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedNote {
    /// Why.
    pub reason: EndReason,
    /// When.
    #[serde(default)]
    pub at: Timestamp,
    /// The machine that took the seat. Made printable when it is read.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "printable")]
    pub by: Option<DeviceName>,
    /// The product's name, so that people can go on asking by it. Whoever shows it makes it harmless.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

fn printable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DeviceName>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|name| DeviceName::lossy(&name)))
}

/// What the daemon knows about the clock: what keeps one that was set back from making subscriptions last longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFile {
    /// The latest moment seen.
    #[serde(default)]
    pub high_water: Timestamp,
    /// Since when a clock that was set back is being tolerated.
    #[serde(default)]
    pub grace_from: Option<Timestamp>,
}

/// How long a clock that was set back is tolerated, from the moment it was noticed.
const GRACE: i64 = 7 * DAY;

/// What to compare an expiry with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The moment that counts.
    pub moment: Timestamp,
    /// The clock was set back by more than a day.
    pub set_back: bool,
    /// It is tolerated for the moment: the clock itself counts.
    pub in_grace: bool,
}

impl ClockFile {
    /// Judges a clock that says `now`. Time never runs backwards: the latest moment seen counts, but for the week of
    /// grace that a clock set back gets once.
    #[must_use]
    pub fn judge(self, now: Timestamp) -> Judged {
        let set_back = now.plus(DAY) < self.high_water;
        let in_grace = set_back && self.grace_from.is_some_and(|from| from <= now && now <= from.plus(GRACE));
        let moment = if in_grace { now } else { now.max(self.high_water) };
        Judged { moment, set_back, in_grace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_frozen() {
        // Plug-ins of ten years ago read these places: a changed name takes every license in the world away.
        let (vendor, product) = ("com.example".parse().unwrap(), "com.example.synth".parse().unwrap());
        let root = Path::new("certs");
        let id = ActivationId([7; 16]);
        let folder = super::product(root, &vendor, &product);
        assert_eq!(folder, Path::new("certs/com.example/products/com.example.synth"));
        for (kind, ending) in
            [(FileKind::Certificate, "cert"), (FileKind::Receipt, "receipt"), (FileKind::Ended, "ended")]
        {
            assert_eq!(kind.name(id), format!("07070707070707070707070707070707.{ending}"));
            assert_eq!(FileKind::read(&kind.name(id)), Some((kind, id)));
        }
        for other in ["", "cert", "x.cert", "07070707070707070707070707070707.cert.damaged", ".x.cert.tmp"] {
            assert_eq!(FileKind::read(other), None, "{other}");
        }
        assert_eq!(
            [PROFILE, KEYSET, SUNSET, CLOCK],
            ["vendor.clvprofile", "keyset.jws", "sunset.jws", "clock.json"]
        );
        let home = Home(Path::new("/h"));
        assert_eq!(home.socket(), Path::new("/h/run/daemon.sock"));
        assert_eq!(
            [home.certs(), home.state(), home.log()],
            ["/h/certs", "/h/state", "/h/log"].map(PathBuf::from)
        );
    }

    #[test]
    fn small_files_are_frozen_and_read_tolerantly() {
        let note = EndedNote {
            reason: EndReason::Replaced,
            at: Timestamp(1_800_000_000),
            by: Some(DeviceName::lossy("Studio Mac")),
            name: String::new(),
        };
        let text = r#"{"reason":"replaced","at":1800000000,"by":"Studio Mac"}"#;
        assert_eq!(serde_json::to_string(&note).unwrap(), text);
        assert_eq!(serde_json::from_str::<EndedNote>(text).unwrap(), note);
        let odd: EndedNote = serde_json::from_str(r#"{"reason":"eaten","by":"a\u001bb","more":1}"#).unwrap();
        assert_eq!((odd.at, odd.by.unwrap().as_str()), (Timestamp(0), "ab"));
        let clock = ClockFile { high_water: Timestamp(5), grace_from: None };
        assert_eq!(serde_json::to_string(&clock).unwrap(), r#"{"high_water":5,"grace_from":null}"#);
        assert_eq!(serde_json::from_str::<ClockFile>(r#"{"high_water":5,"more":{}}"#).unwrap(), clock);
        assert_eq!(serde_json::from_str::<ClockFile>("{}").unwrap(), ClockFile::default());
    }

    #[test]
    fn a_clock_set_back_is_tolerated_for_a_week() {
        let at = |days: i64| Timestamp(1_800_000_000 + days * DAY);
        let clock = ClockFile { high_water: at(100), grace_from: Some(at(50)) };
        assert_eq!(clock.judge(at(101)), Judged { moment: at(101), set_back: false, in_grace: false });
        assert_eq!(clock.judge(at(57)), Judged { moment: at(57), set_back: true, in_grace: true });
        assert_eq!(clock.judge(at(58)), Judged { moment: at(100), set_back: true, in_grace: false });
        assert_eq!(clock.judge(at(49)), Judged { moment: at(100), set_back: true, in_grace: false });
    }
}
