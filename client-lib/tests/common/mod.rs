//! A vendor, its keys and a folder of activations, made with the protocol's own types.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part; a panic is how a test fails"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use claviger_client::platform::Places;
use claviger_client::protocol::clock::{Clock, Timestamp};
use claviger_client::protocol::documents::{
    ActivationCertificate, Confirmation, Contact, KeyInHeader, KeyStatus, Keyset, KeysetKey, LicenseKind,
    Receipt, RootKeys, Sunset, VendorProfile, sign,
};
use claviger_client::protocol::ids::{ActivationId, MachineId, ReceiptId, VendorId};
use claviger_client::protocol::keys::SigningKey;
use claviger_client::{Library, LibraryBuilder, License, OpenOptions, Vendor};

/// What the operating system calls this computer.
pub(crate) const OS: &str = "0123456789abcdef0123456789abcdef";
/// The product that most tests are about.
pub(crate) const SYNTH: &str = "com.example.synth";
/// The moment of most tests.
pub(crate) const NOW: i64 = 1_800_000_000;
/// A day.
pub(crate) const DAY: i64 = 86_400;

/// A clock that a test holds.
pub(crate) struct Held(pub(crate) AtomicI64);

impl Clock for Held {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// A vendor with its keys, and a home.
pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    pub(crate) root: SigningKey,
    pub(crate) issuing: SigningKey,
    pub(crate) vendor: VendorId,
    pub(crate) clock: Arc<Held>,
    pub(crate) profile: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = SigningKey::from_seed(&[1; 32]);
        let issuing = SigningKey::from_seed(&[2; 32]);
        let vendor: VendorId = "com.example".parse().unwrap();
        let mut world = Self {
            home: tempfile::tempdir().unwrap(),
            root,
            issuing,
            vendor,
            clock: Arc::new(Held(AtomicI64::new(NOW))),
            profile: String::new(),
        };
        let keyset = world.keyset(5, &[(&world.issuing, KeyStatus::Active)]);
        let profile = VendorProfile {
            iss: world.vendor.clone(),
            iat: Timestamp(NOW),
            name: "Example".to_owned(),
            prefix: "EX".parse().unwrap(),
            server: "https://example.com".to_owned(),
            roots: RootKeys { active: world.root.public(), spare: SigningKey::from_seed(&[3; 32]).public() },
            keyset,
            policy: None,
            contact: Contact::default(),
            accent: None,
            logo: None,
        };
        world.profile = sign(&profile, &world.root, KeyInHeader::Named);
        world
    }

    pub(crate) fn keyset(&self, number: u32, keys: &[(&SigningKey, KeyStatus)]) -> String {
        let keys = keys
            .iter()
            .map(|(key, status)| KeysetKey { x: key.public(), status: *status, since: Timestamp(NOW) })
            .collect();
        let keyset = Keyset { iss: self.vendor.clone(), number, iat: Timestamp(NOW), keys };
        sign(&keyset, &self.root, KeyInHeader::Named)
    }

    pub(crate) fn certificate(&self) -> ActivationCertificate {
        ActivationCertificate {
            iss: self.vendor.clone(),
            jti: ActivationId([7; 16]),
            rev: 1,
            iat: Timestamp(NOW - DAY),
            serial: "EX-4XQ7K-2M9TB-0RHWE".to_owned().try_into().unwrap(),
            product: SYNTH.parse().unwrap(),
            name: "Synth".to_owned(),
            opens: vec![SYNTH.parse().unwrap()],
            kind: LicenseKind::Perpetual,
            updates_until: None,
            paid_through: None,
            exp: None,
            entitlements: vec!["pro".to_owned()],
            machine: MachineId::derive(&self.vendor, OS),
            cnf: Confirmation { jkt: SigningKey::from_seed(&[9; 32]).id().clone() },
        }
    }

    pub(crate) fn signed(&self, certificate: &ActivationCertificate) -> String {
        sign(certificate, &self.issuing, KeyInHeader::Named)
    }

    pub(crate) fn receipt(&self, activation: ActivationId) -> String {
        let receipt = Receipt {
            aud: self.vendor.clone(),
            jti: ReceiptId([1; 16]),
            iat: Timestamp(NOW),
            activation,
            rev: 1,
            serial: "EX-4XQ7K-2M9TB-0RHWE".to_owned().try_into().unwrap(),
            machine_id: MachineId::derive(&self.vendor, OS),
        };
        sign(&receipt, &SigningKey::from_seed(&[9; 32]), KeyInHeader::Carried)
    }

    pub(crate) fn sunset(&self, product: &str, key: &SigningKey) -> String {
        let products = vec![product.parse().unwrap()];
        sign(&Sunset { iss: self.vendor.clone(), iat: Timestamp(NOW), products }, key, KeyInHeader::Named)
    }

    pub(crate) fn certs(&self) -> PathBuf {
        self.home.path().join("certs")
    }

    /// The folder of a product, made.
    pub(crate) fn folder(&self, product: &str) -> PathBuf {
        let folder = self.certs().join("com.example/products").join(product);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub(crate) fn place(&self, product: &str, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder(product).join(name), content).unwrap();
    }

    /// Puts a certificate where the daemon would.
    pub(crate) fn install(&self, certificate: &ActivationCertificate) {
        self.place(SYNTH, &format!("{}.cert", certificate.jti), self.signed(certificate));
    }

    pub(crate) fn vendor_file(&self, name: &str, content: impl AsRef<[u8]>) {
        self.folder(SYNTH);
        std::fs::write(self.certs().join("com.example").join(name), content).unwrap();
    }

    pub(crate) fn builder(&self) -> LibraryBuilder {
        Library::builder(Places::below(self.home.path()))
            .clock(self.clock.clone())
            .os_machine_id(Some(OS.to_owned()))
    }

    /// A library copy that has seen nothing yet: what a new process would have.
    pub(crate) fn fresh(&self) -> Vendor {
        self.builder().build().vendor(&self.profile).unwrap()
    }

    pub(crate) fn open(&self) -> License {
        self.open_released("2026-11-22")
    }

    pub(crate) fn open_released(&self, date: &str) -> License {
        self.fresh().open(SYNTH, OpenOptions::new().released(date.parse().unwrap())).unwrap()
    }

    /// Status and cause in a new process.
    pub(crate) fn says(&self) -> (claviger_client::Status, &'static str) {
        let license = self.open();
        (license.status(), license.reason().code)
    }
}
