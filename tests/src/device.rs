//! A machine without a daemon: its device key and the requests it signs, built from the contracts alone. Two hundred of
//! them fit into one test.

use claviger_protocol::clock::{Clock as _, SystemClock, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, Cpu, HeldActivation, KeyInHeader, Keyset, MachineFacts, Order, OsInfo,
    REQUEST_VERSION, Receipt, Request, TrustAnchor, sign,
};
use claviger_protocol::ids::{DeviceName, MachineId, Nonce, ReceiptId, VendorId};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::Serial;
use claviger_protocol::telemetry::voprf::{Blinder, Pending, TokenClient as _};
use claviger_protocol::telemetry::{BATCH, TOKEN_REQUEST_VERSION, TokenRequest, Week};
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use ring::rand::SystemRandom;
use serde_json::Value;

use crate::world::License;

/// A device key on a machine.
#[derive(Debug)]
pub struct Device {
    key: SigningKey,
    vendor: VendorId,
    /// The machine as the vendor knows it.
    pub machine: MachineId,
    name: DeviceName,
    /// Until when its requests may be answered; offline requests say so.
    pub good_until: Option<Timestamp>,
}

impl Device {
    /// A fresh key on a fresh machine.
    #[must_use]
    pub fn new(vendor: &VendorId, name: &str) -> Self {
        Self::on(vendor, name, MachineId::derive(vendor, &crate::random_hex(16)))
    }

    /// A fresh key on a given machine.
    #[must_use]
    pub fn on(vendor: &VendorId, name: &str, machine: MachineId) -> Self {
        let key = SigningKey::generate(&SystemRandom::new()).unwrap();
        Self { key, vendor: vendor.clone(), machine, name: name.parse().unwrap(), good_until: None }
    }

    fn request(&self, order: Order, nonce: Nonce, receipts: Vec<String>) -> String {
        let request = Request {
            v: REQUEST_VERSION,
            aud: self.vendor.clone(),
            nonce,
            iat: SystemClock.now(),
            exp: self.good_until,
            keyset: 0,
            receipts,
            order,
        };
        sign(&request, &self.key, KeyInHeader::Carried)
    }

    /// Asks for a seat.
    #[must_use]
    pub fn activate(&self, license: &License) -> String {
        self.activate_with(license, Nonce::random(&SystemRandom::new()).unwrap(), None)
    }

    /// Asks for a seat, with a nonce of the test's choice and perhaps in place of another machine.
    #[must_use]
    pub fn activate_with(&self, license: &License, nonce: Nonce, replace: Option<&str>) -> String {
        let serial = Serial::try_from(license.serial.clone()).unwrap();
        let code = UnlockCode::parse(&license.unlock_code, &serial).unwrap();
        let key = unlock_key(&self.vendor, &serial, Some(&code));
        let proof = UnlockProof::sign(&key, &self.vendor, &serial, self.machine, self.key.id(), nonce);
        let machine = MachineFacts {
            device_name: self.name.clone(),
            os: OsInfo { family: "linux".into(), version: "Debian 12".into(), arch: "x86_64".into() },
            cpu: Cpu { model: "Test".into(), logical_cores: 2 },
            ram_gib: 8,
            machine_id: self.machine,
        };
        let order = Order::Activate { serial, proof, machine, replace: replace.map(str::to_owned) };
        self.request(order, nonce, Vec::new())
    }

    /// Asks what became of activations.
    #[must_use]
    pub fn refresh(&self, held: &[ActivationCertificate]) -> String {
        let activations =
            held.iter().map(|c| HeldActivation { id: c.jti, rev: c.rev, certificate: None }).collect();
        let order = Order::Refresh { machine_id: self.machine, activations };
        self.request(order, Nonce::random(&SystemRandom::new()).unwrap(), Vec::new())
    }

    /// The receipt for an activation.
    #[must_use]
    pub fn receipt(&self, certificate: &ActivationCertificate) -> String {
        let receipt = Receipt {
            aud: self.vendor.clone(),
            jti: ReceiptId::random(&SystemRandom::new()).unwrap(),
            iat: SystemClock.now(),
            activation: certificate.jti,
            rev: certificate.rev,
            serial: certificate.serial.clone(),
            machine_id: self.machine,
        };
        sign(&receipt, &self.key, KeyInHeader::Carried)
    }

    /// Asks for a batch of tokens: the body of the request, and what its answer is finished with.
    #[must_use]
    pub fn ask_for_tokens(&self, week: Week) -> (Value, Vec<Pending>) {
        let pending = Blinder.blind(BATCH, &SystemRandom::new()).unwrap();
        let request = TokenRequest {
            v: TOKEN_REQUEST_VERSION,
            aud: self.vendor.clone(),
            iat: SystemClock.now(),
            week,
            slot: 0,
            elements: pending.iter().map(Pending::blinded).collect(),
        };
        (serde_json::json!({ "request": sign(&request, &self.key, KeyInHeader::Carried) }), pending)
    }

    /// The same machine after it has forgotten its key.
    #[must_use]
    pub fn with_new_key(&self) -> Self {
        Self::on(&self.vendor, self.name.as_str(), self.machine)
    }

    /// Delivers receipts.
    #[must_use]
    pub fn deactivate(&self, receipts: Vec<String>) -> String {
        let order = Order::Deactivate { machine_id: self.machine };
        self.request(order, Nonce::random(&SystemRandom::new()).unwrap(), receipts)
    }
}

/// The certificate in an answer's body, believed without a look: for tests that ask the server, not the daemon.
#[must_use]
pub fn certificate_in(body: &Value, anchor: &TrustAnchor, keyset: &str) -> ActivationCertificate {
    let answer = payload(body["answer"].as_str().unwrap_or_else(|| panic!("no answer in {body}")));
    let text =
        answer["outcome"]["certificate"].as_str().unwrap_or_else(|| panic!("no certificate in {answer}"));
    ActivationCertificate::verify(text, &Keyset::verify(keyset, anchor).unwrap()).unwrap()
}

/// The content of a compact document.
#[must_use]
pub fn payload(compact: &str) -> Value {
    let middle = compact.split('.').nth(1).unwrap();
    serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(middle.as_bytes()).unwrap()).unwrap()
}
