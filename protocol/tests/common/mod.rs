//! What the tests of this folder share: keys of fixed seeds, and one example of every document, message and body.
//! The examples are what the golden files hold, what the mutation tests damage and what the fuzz corpora start from.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(unreachable_pub, reason = "a module of several test programs")]

pub mod bodies;
pub mod documents;
pub mod messages;
pub mod offline;
pub mod telemetry;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{Document, KeyInHeader, sign};
use claviger_protocol::ids::{ActivationId, MachineId, Nonce, ProductId, ReceiptId, VendorId};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::{Prefix, Serial};
use claviger_protocol::unlock::UnlockCode;
use data_encoding::BASE64URL_NOPAD;

/// 2026-11-22T08:15:00Z.
pub const NOW: Timestamp = Timestamp(1_795_335_300);
pub const SERIAL: &str = "SOL-4XQ7K-2M9TB-0RHJ5";
pub const UNLOCK_CODE: &str = "7KQ2M-9TB0R-HWEXA-41044";

/// Who signs.
pub fn root() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}
pub fn spare_root() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}
pub fn issuing() -> SigningKey {
    SigningKey::from_seed(&[3; 32])
}
/// Retired an hour before [`NOW`] less a day.
pub fn retired() -> SigningKey {
    SigningKey::from_seed(&[4; 32])
}
pub fn compromised() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}
pub fn device() -> SigningKey {
    SigningKey::from_seed(&[6; 32])
}
/// Of nobody whom this vendor knows.
pub fn stranger() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

pub fn vendor() -> VendorId {
    "com.soluna".parse().expect("a vendor id")
}
pub fn prefix() -> Prefix {
    "SOL".parse().expect("a prefix")
}
pub fn product(name: &str) -> ProductId {
    format!("com.soluna.{name}").parse().expect("a product id")
}
pub fn serial() -> Serial {
    Serial::parse(SERIAL, &prefix()).expect("the example serial number is right")
}
pub fn unlock_code() -> UnlockCode {
    UnlockCode::parse(UNLOCK_CODE, &serial()).expect("the example unlock code is right")
}
pub fn machine() -> MachineId {
    MachineId::derive(&vendor(), "0123456789abcdef0123456789abcdef")
}
pub fn activation() -> ActivationId {
    ActivationId([0xa1; 16])
}
pub fn nonce() -> Nonce {
    Nonce([0xb2; 16])
}
pub fn receipt_id() -> ReceiptId {
    ReceiptId([0xc3; 16])
}

/// Signs what the types would never write: any header over any content.
pub fn sign_raw(header: &[u8], payload: &[u8], key: &SigningKey) -> String {
    let mut text = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(payload));
    let signature = key.sign(text.as_bytes());
    text.push('.');
    text.push_str(&BASE64URL_NOPAD.encode(&signature));
    text
}

/// The header that a `D` of this key has.
pub fn header_of<D: Document>(key: &SigningKey) -> String {
    format!(r#"{{"alg":"EdDSA","typ":"{}","kid":"{}"}}"#, D::TYP, key.id())
}

/// The content of a document as JSON text.
pub fn payload_of<D: Document>(document: &D) -> String {
    serde_json::to_string(document).expect("documents serialize")
}

/// A document of today with more members added: what a later version would write.
pub fn with_members<D: Document>(document: &D, members: &[(&str, serde_json::Value)]) -> String {
    let mut value = serde_json::to_value(document).expect("documents serialize");
    for (name, more) in members {
        value[*name] = more.clone();
    }
    value.to_string()
}

/// One of today's documents, signed as its kind is.
pub fn signed<D: Document>(document: &D, key: &SigningKey) -> String {
    sign(document, key, KeyInHeader::Named)
}
