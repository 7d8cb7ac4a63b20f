//! A vendor made of nothing but keys, so that a test can sign whatever a dishonest, careless or broken server would.

use claviger_protocol::clock::{Clock as _, SystemClock, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, Answer, Confirmation, Contact, KeyInHeader, KeyStatus, Keyset, KeysetKey,
    LicenseKind, Order, Outcome, Request, RootKeys, VendorProfile, sign,
};
use claviger_protocol::ids::{ActivationId, ProductId, VendorId};
use claviger_protocol::keys::{PublicKey, SigningKey};
use claviger_protocol::serial::{Prefix, Serial};
use claviger_protocol::unlock::UnlockCode;
use ring::rand::SystemRandom;

use crate::world::License;

/// Keys and a name.
#[derive(Debug)]
pub struct Vendor {
    /// Its id.
    pub id: VendorId,
    /// What its serials begin with.
    pub prefix: Prefix,
    /// The root key in use.
    pub root: SigningKey,
    spare: SigningKey,
    /// The issuing key in use.
    pub issuing: SigningKey,
    /// A retired issuing key.
    pub retired: SigningKey,
    /// A compromised issuing key.
    pub compromised: SigningKey,
}

/// What an activation asked for, as a server sees it.
#[derive(Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// The device key that signed it.
    pub device: PublicKey,
    /// What an answer has to refer to.
    pub hash: claviger_protocol::keys::Sha256,
}

fn fresh() -> SigningKey {
    SigningKey::generate(&SystemRandom::new()).unwrap()
}

impl Vendor {
    /// A vendor of this id and prefix.
    #[must_use]
    pub fn new(id: &str, prefix: &str) -> Self {
        Self {
            id: id.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
            root: fresh(),
            spare: fresh(),
            issuing: fresh(),
            retired: fresh(),
            compromised: fresh(),
        }
    }

    /// Its keyset under a number.
    #[must_use]
    pub fn keyset(&self, number: u32) -> String {
        let long_ago = Timestamp(1_700_000_000);
        let key = |key: &SigningKey, status| KeysetKey { x: key.public(), status, since: long_ago };
        let keyset = Keyset {
            iss: self.id.clone(),
            number,
            iat: long_ago,
            keys: vec![
                key(&self.issuing, KeyStatus::Active),
                key(&self.retired, KeyStatus::Retired),
                key(&self.compromised, KeyStatus::Compromised),
            ],
        };
        sign(&keyset, &self.root, KeyInHeader::Named)
    }

    /// Its profile, with keyset number 5.
    #[must_use]
    pub fn profile(&self, server: &str) -> String {
        let profile = VendorProfile {
            iss: self.id.clone(),
            iat: Timestamp(1_700_000_000),
            name: "Test Vendor".to_owned(),
            prefix: self.prefix.clone(),
            server: server.to_owned(),
            roots: RootKeys { active: self.root.public(), spare: self.spare.public() },
            keyset: self.keyset(5),
            policy: None,
            contact: Contact::default(),
            accent: None,
            logo: None,
        };
        sign(&profile, &self.root, KeyInHeader::Named)
    }

    /// A serial number and an unlock code that nobody has on record.
    #[must_use]
    pub fn license(&self) -> License {
        let rng = SystemRandom::new();
        License {
            serial: Serial::random(&self.prefix, &rng).unwrap().to_string(),
            unlock_code: UnlockCode::random(&rng).unwrap().reveal().to_owned(),
        }
    }

    /// Reads a request's body.
    #[must_use]
    pub fn read(&self, body: &[u8]) -> Option<Asked> {
        let body: claviger_protocol::http::RequestBody = serde_json::from_slice(body).ok()?;
        let (request, device, hash) = Request::verify(&body.request, &self.id).ok()?;
        Some(Asked { request, device, hash })
    }

    /// An honest certificate for what was asked.
    #[must_use]
    pub fn certificate(&self, asked: &Asked, product: &str) -> ActivationCertificate {
        let product: ProductId = product.parse().unwrap();
        let serial = match &asked.request.order {
            Order::Activate { serial, .. } => serial.clone(),
            Order::Free { serial, .. } => serial.clone(),
            Order::Refresh { .. } | Order::Deactivate { .. } | Order::Seats { .. } => {
                Serial::random(&self.prefix, &SystemRandom::new()).unwrap()
            }
        };
        ActivationCertificate {
            iss: self.id.clone(),
            jti: ActivationId::random(&SystemRandom::new()).unwrap(),
            rev: 1,
            iat: SystemClock.now(),
            serial,
            product: product.clone(),
            name: "Test Synth".to_owned(),
            opens: vec![product],
            kind: LicenseKind::Perpetual,
            updates_until: None,
            paid_through: None,
            exp: None,
            entitlements: Vec::new(),
            machine: asked.request.order.machine_id(),
            cnf: Confirmation { jkt: asked.device.id() },
        }
    }

    /// An honest answer that carries a certificate.
    #[must_use]
    pub fn answer(&self, asked: &Asked, certificate: String) -> Answer {
        Answer {
            iss: self.id.clone(),
            iat: SystemClock.now(),
            req: asked.hash,
            cnf: Confirmation { jkt: asked.device.id() },
            epoch: 1,
            keyset: None,
            outcome: Outcome::Activated { certificate },
            receipts: Vec::new(),
            reissued: Vec::new(),
        }
    }
}

/// A signed answer as a body.
#[must_use]
pub fn body(answer: &str) -> String {
    serde_json::json!({ "answer": answer }).to_string()
}
