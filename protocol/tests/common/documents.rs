//! One example of every kind of document, and their signed forms.

use claviger_protocol::clock::{DAY, Date, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, ActivationState, Answer, Confirmation, Contact, Cpu, EndReason, HeldActivation,
    KeyInHeader, KeyStatus, Keyset, KeysetKey, LicenseKind, LicenseSeats, Logo, MachineFacts, Manifest,
    ManifestProduct, Order, OsInfo, Outcome, REQUEST_VERSION, Receipt, ReceiptAck, ReceiptOutcome, Request,
    RootKeys, SeatChange, SeatEvent, SeatHolder, Sunset, VendorProfile, sign,
};
use claviger_protocol::ids::{ActivationId, MachineId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::unlock::{UnlockProof, unlock_key};

use super::{
    NOW, activation, compromised, device, issuing, machine, nonce, prefix, product, receipt_id, retired,
    root, serial, signed, spare_root, unlock_code, vendor,
};

pub fn keyset() -> Keyset {
    let key = |key: claviger_protocol::keys::SigningKey, status, since| KeysetKey {
        x: key.public(),
        status,
        since: Timestamp(since),
    };
    Keyset {
        iss: vendor(),
        number: 3,
        iat: NOW,
        keys: vec![
            key(issuing(), KeyStatus::Active, NOW.0 - DAY),
            key(retired(), KeyStatus::Retired, NOW.0 - DAY),
            key(compromised(), KeyStatus::Compromised, NOW.0 - 2 * DAY),
        ],
    }
}

pub fn profile() -> VendorProfile {
    VendorProfile {
        iss: vendor(),
        iat: NOW,
        name: "Soluna Instruments – Zürich".to_owned(),
        prefix: prefix(),
        server: "https://licenses.soluna.example".to_owned(),
        roots: RootKeys { active: root().public(), spare: spare_root().public() },
        keyset: signed(&keyset(), &root()),
        policy: Some("https://soluna.example/privacy".to_owned()),
        contact: Contact {
            email: Some("help@soluna.example".to_owned()),
            url: Some("https://soluna.example/help".to_owned()),
        },
        accent: None,
        logo: None,
    }
}

/// The same with what a window shows of a vendor.
pub fn profile_with_look() -> VendorProfile {
    VendorProfile { accent: Some("#E88A1C".to_owned()), logo: Some(logo().to_text()), ..profile() }
}

pub fn logo() -> Logo {
    Logo::from_png(include_bytes!("logo.png").to_vec()).expect("a good picture")
}

pub fn perpetual() -> ActivationCertificate {
    ActivationCertificate {
        iss: vendor(),
        jti: activation(),
        rev: 1,
        iat: NOW,
        serial: serial(),
        product: product("bundle"),
        name: "Soluna Collection".to_owned(),
        opens: vec![product("bundle"), product("synth"), product("reverb")],
        kind: LicenseKind::Perpetual,
        updates_until: Date::new(2027, 12, 31),
        paid_through: None,
        exp: None,
        entitlements: vec!["extra-sounds".to_owned()],
        machine: machine(),
        cnf: Confirmation { jkt: device().id().clone() },
    }
}

pub fn subscription() -> ActivationCertificate {
    ActivationCertificate {
        product: product("synth"),
        name: "Soluna Synth".to_owned(),
        opens: vec![product("synth")],
        kind: LicenseKind::Subscription,
        updates_until: None,
        paid_through: Some(NOW.plus(30 * DAY)),
        exp: Some(NOW.plus(44 * DAY)),
        entitlements: vec![],
        ..perpetual()
    }
}

pub fn trial() -> ActivationCertificate {
    ActivationCertificate {
        kind: LicenseKind::Trial,
        paid_through: None,
        exp: Some(NOW.plus(14 * DAY)),
        ..subscription()
    }
}

pub fn receipt() -> Receipt {
    Receipt {
        aud: vendor(),
        jti: receipt_id(),
        iat: NOW,
        activation: activation(),
        rev: 1,
        serial: serial(),
        machine_id: machine(),
    }
}

pub fn signed_receipt() -> String {
    sign(&receipt(), &device(), KeyInHeader::Carried)
}

pub fn manifest() -> Manifest {
    Manifest {
        iss: vendor(),
        number: 12,
        iat: NOW,
        products: vec![
            ManifestProduct {
                id: product("bundle"),
                name: "Soluna Collection".to_owned(),
                contains: vec![product("synth"), product("reverb")],
            },
            ManifestProduct { id: product("synth"), name: "Soluna Synth".to_owned(), contains: vec![] },
            ManifestProduct { id: product("reverb"), name: "Soluna Reverb".to_owned(), contains: vec![] },
        ],
    }
}

pub fn sunset() -> Sunset {
    Sunset { iss: vendor(), iat: NOW, products: vec![product("synth"), product("reverb")] }
}

pub fn machine_facts() -> MachineFacts {
    MachineFacts {
        device_name: "Studio – left".parse().expect("a device name"),
        os: OsInfo { family: "linux".to_owned(), version: "Debian 12".to_owned(), arch: "x86_64".to_owned() },
        cpu: Cpu { model: "AMD Ryzen 9 7950X 16-Core Processor".to_owned(), logical_cores: 32 },
        ram_gib: 64,
        machine_id: machine(),
    }
}

/// Every member that a request of this kind can have.
pub fn activate_request() -> Request {
    let key = unlock_key(&vendor(), &serial(), Some(&unlock_code()));
    Request {
        v: REQUEST_VERSION,
        aud: vendor(),
        nonce: nonce(),
        iat: NOW,
        exp: Some(NOW.plus(30 * DAY)),
        keyset: 3,
        receipts: vec![signed_receipt()],
        order: Order::Activate {
            serial: serial(),
            proof: UnlockProof::sign(&key, &vendor(), &serial(), machine(), device().id(), nonce()),
            machine: machine_facts(),
            replace: Some("Old laptop".to_owned()),
        },
    }
}

pub fn refresh_request() -> Request {
    Request {
        exp: None,
        receipts: vec![],
        order: Order::Refresh {
            machine_id: machine(),
            activations: vec![
                HeldActivation {
                    id: activation(),
                    rev: 1,
                    certificate: Some(signed(&perpetual(), &issuing())),
                },
                HeldActivation { id: ActivationId([0xa2; 16]), rev: 7, certificate: None },
            ],
        },
        ..activate_request()
    }
}

pub fn deactivate_request() -> Request {
    Request { exp: None, order: Order::Deactivate { machine_id: machine() }, ..activate_request() }
}

pub fn seats_request() -> Request {
    Request {
        exp: None,
        receipts: vec![],
        order: Order::Seats {
            machine_id: machine(),
            activations: vec![HeldActivation {
                id: activation(),
                rev: 1,
                certificate: Some(signed(&perpetual(), &issuing())),
            }],
        },
        ..activate_request()
    }
}

/// The answer to [`seats_request`].
pub fn seats_answer() -> Answer {
    let old = || MachineId([0x33; 16]);
    let name = |name: &str| name.parse().expect("a device name");
    Answer {
        req: request_hash(&seats_request()),
        keyset: None,
        receipts: vec![],
        outcome: Outcome::Seats {
            licenses: vec![LicenseSeats {
                id: activation(),
                total: 2,
                taken: 1,
                holders: vec![SeatHolder {
                    machine_id: machine(),
                    device_name: name("Studio – left"),
                    since: NOW,
                    last_seen: NOW,
                }],
                history: vec![
                    SeatEvent {
                        at: NOW,
                        what: SeatChange::Activated,
                        machine_id: machine(),
                        device_name: name("Studio – left"),
                        by: None,
                    },
                    SeatEvent {
                        at: NOW,
                        what: SeatChange::Replaced,
                        machine_id: old(),
                        device_name: name("Old laptop"),
                        by: Some(name("Studio – left")),
                    },
                ],
            }],
        },
        ..activated_answer()
    }
}

pub fn free_request() -> Request {
    let key = unlock_key(&vendor(), &serial(), Some(&unlock_code()));
    Request {
        exp: Some(NOW.plus(7 * DAY)),
        receipts: vec![],
        order: Order::Free {
            machine_id: machine(),
            serial: serial(),
            proof: UnlockProof::sign(&key, &vendor(), &serial(), machine(), device().id(), nonce()),
            other: "Old laptop".to_owned(),
        },
        ..activate_request()
    }
}

/// The answer to [`free_request`].
pub fn freed_answer() -> Answer {
    Answer {
        req: request_hash(&free_request()),
        keyset: None,
        receipts: vec![],
        outcome: Outcome::Freed {
            machine_id: MachineId([0x33; 16]),
            device_name: "Old laptop".parse().expect("a device name"),
        },
        ..activated_answer()
    }
}

pub fn signed_request(request: &Request) -> String {
    sign(request, &device(), KeyInHeader::Carried)
}

pub fn request_hash(request: &Request) -> Sha256 {
    Sha256::of(signed_request(request).as_bytes())
}

/// The answer to [`activate_request`].
pub fn activated_answer() -> Answer {
    Answer {
        iss: vendor(),
        iat: NOW,
        req: request_hash(&activate_request()),
        cnf: Confirmation { jkt: device().id().clone() },
        epoch: 1,
        keyset: Some(signed(&keyset(), &root())),
        outcome: Outcome::Activated { certificate: signed(&perpetual(), &issuing()) },
        receipts: vec![ReceiptAck { id: receipt_id(), outcome: ReceiptOutcome::Accepted }],
        reissued: vec![],
    }
}

/// The answer to [`refresh_request`].
pub fn refreshed_answer() -> Answer {
    Answer {
        req: request_hash(&refresh_request()),
        keyset: None,
        receipts: vec![],
        outcome: Outcome::Refreshed {
            activations: vec![
                ActivationState {
                    id: activation(),
                    rev: 2,
                    certificate: Some(signed(&ActivationCertificate { rev: 2, ..perpetual() }, &issuing())),
                    ended: None,
                    at: None,
                    by: None,
                },
                ActivationState {
                    id: ActivationId([0xa2; 16]),
                    rev: 8,
                    certificate: None,
                    ended: Some(EndReason::Replaced),
                    at: Some(NOW),
                    by: Some("New laptop".parse().expect("a device name")),
                },
            ],
        },
        ..activated_answer()
    }
}

/// The answer to [`deactivate_request`].
pub fn deactivated_answer() -> Answer {
    Answer {
        req: request_hash(&deactivate_request()),
        keyset: None,
        outcome: Outcome::Deactivated,
        ..activated_answer()
    }
}
