//! The consent record and its published schema say the same thing: every record that can be written satisfies
//! docs/consent-record.schema.json, and the schema refuses what a record never is. The event chain notices every change.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{KeyInHeader, sign};
use claviger_protocol::ids::Nonce;
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::{
    ConsentReceipt, ConsentRecord, EventKind, NoticeReference, PURPOSE, REPORT_FIELDS,
};
use common::telemetry::notice;
use common::{NOW, device, vendor};
use serde_json::{Value, json};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/consent-record.schema.json")).unwrap()
}

fn refused() -> ConsentRecord {
    let mut record = ConsentRecord::new(vendor(), Nonce([1; 16]), Nonce([2; 16]), Nonce([3; 16]));
    record.push(EventKind::Refused, NOW, None, None);
    record
}

/// A record with every kind of event and every member.
fn full() -> ConsentRecord {
    let mut record = ConsentRecord::new(vendor(), Nonce([1; 16]), Nonce([2; 16]), Nonce([3; 16]));
    let reference = NoticeReference::new(&notice(), Sha256([4; 32]), "de");
    record.describe(&notice(), &reference);
    let shown = Some(notice().text("de").1.hash());
    for (after, event) in [
        EventKind::Requested,
        EventKind::Given,
        EventKind::Withdrawn,
        EventKind::Refused,
        EventKind::Expired,
        EventKind::Superseded,
    ]
    .into_iter()
    .enumerate()
    {
        let time = NOW.plus(i64::try_from(after).unwrap());
        record.push(event, time, shown, Some(reference.clone()));
    }
    record
}

/// As much of JSON Schema 2020-12 as the schema uses; a word that is not known here fails, so that none is passed over.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{place}: {why}: {value}"));
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                check(root, target, value, place)?;
            }
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("the schema has a type {other}"),
                };
                if !fits {
                    return fail("wrong type");
                }
            }
            "const" if value != rule => return fail("another constant"),
            "enum" if !rule.as_array().unwrap().contains(value) => return fail("not one of the words"),
            "const" | "enum" => {}
            "anyOf" => {
                let tried: Vec<_> =
                    rule.as_array().unwrap().iter().map(|s| check(root, s, value, place)).collect();
                if tried.iter().all(Result::is_err) {
                    return fail("fits no alternative");
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return fail(&format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = rule.get(name) {
                        check(root, schema, member, &format!("{place}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(*rule, json!(false));
                for name in value.as_object().into_iter().flat_map(|o| o.keys()) {
                    if schema["properties"].get(name).is_none() {
                        return fail(&format!("{name} is not expected"));
                    }
                }
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{place}[{at}]"))?;
                }
            }
            "minLength" | "maxLength" | "minimum" | "maximum" | "maxItems" => {
                let bound = rule.as_i64().unwrap();
                let size = match value {
                    Value::String(text) => i64::try_from(text.chars().count()).unwrap(),
                    Value::Array(items) => i64::try_from(items.len()).unwrap(),
                    other => other.as_i64().unwrap_or(bound),
                };
                if (word.starts_with("min") && size < bound) || (word.starts_with("max") && size > bound) {
                    return fail("out of bounds");
                }
            }
            "pattern" => {
                if !value.as_str().is_some_and(|text| matches_pattern(rule.as_str().unwrap(), text)) {
                    return fail("does not match");
                }
            }
            other => panic!("the schema uses “{other}”, which this test does not check"),
        }
    }
    Ok(())
}

/// The three patterns of the schema.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let all = |len: usize, fits: fn(u8) -> bool| text.len() == len && text.bytes().all(fits);
    match pattern {
        "^[0-9a-f]{32}$" => all(32, |b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        "^[A-Za-z0-9_-]{43}$" => all(43, |b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
        r"^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$" => text.parse::<claviger_protocol::ids::VendorId>().is_ok(),
        other => panic!("the schema has a pattern {other}"),
    }
}

fn valid(value: &Value) -> Result<(), String> {
    check(&schema(), &schema(), value, "record")
}

#[test]
fn every_record_satisfies_the_published_schema() {
    for record in [full(), refused(), ConsentRecord { events: vec![], ..refused() }] {
        let value = serde_json::to_value(&record).unwrap();
        valid(&value).unwrap();
        assert_eq!(serde_json::from_value::<ConsentRecord>(value).unwrap(), record);
    }
}

#[test]
fn the_schema_refuses_what_no_record_is() {
    let good = serde_json::to_value(full()).unwrap();
    let pointers = [
        "/purpose",
        "/lawful_basis",
        "/record_id",
        "/events/0/event",
        "/events/0/previous",
        "/vendor",
        "/notice/sha256",
        "/controller/name",
        "/retention_days",
        "/data_categories/0",
        "/policy",
        "/events",
    ];
    for pointer in pointers {
        for odd in [json!(7.5), json!(""), json!({"a": 1}), json!("advertising")] {
            let mut value = good.clone();
            *value.pointer_mut(pointer).unwrap() = odd.clone();
            // A name may be any text.
            let fine = pointer == "/controller/name" && odd == json!("advertising");
            assert_eq!(valid(&value).is_ok(), fine, "{pointer} = {odd}");
        }
    }
    for name in good.as_object().unwrap().keys() {
        let mut value = good.clone();
        value.as_object_mut().unwrap().remove(name);
        assert!(valid(&value).is_err(), "without {name}");
    }
    for pointer in ["", "/events/1", "/notice", "/controller", "/authority", "/policy"] {
        let mut value = good.clone();
        value.pointer_mut(pointer).unwrap()["ip_address"] = json!("192.0.2.7");
        assert!(valid(&value).is_err(), "{pointer} with more");
    }
}

#[test]
fn the_chain_notices_every_change() {
    let record = full();
    assert!(record.is_whole());
    let broken = |change: fn(&mut ConsentRecord)| {
        let mut record = full();
        change(&mut record);
        !record.is_whole()
    };
    assert!(broken(|r| r.events[1].event = EventKind::Refused));
    assert!(broken(|r| r.events[1].time = Timestamp(0)));
    assert!(broken(|r| r.events[1].shown = None));
    assert!(broken(|r| r.events[1].notice.as_mut().unwrap().version += 1));
    assert!(broken(|r| drop(r.events.remove(2))));
    assert!(broken(|r| drop(r.events.remove(0))));
    assert!(broken(|r| r.events.swap(3, 4)));
    assert!(broken(|r| r.events.insert(2, r.events[1].clone())));
    assert!(broken(|r| r.subject = Nonce([9; 16])));
    assert!(broken(|r| r.vendor = "com.other".parse().unwrap()));
    assert!(broken(|r| r.purpose = "advertising".to_owned()));
    assert!(broken(|r| r.schema = "claviger-consent-record/2".to_owned()));
    // What was cut off at the end is missed by nobody but the receipt's owner, who keeps it signed.
    let receipt = ConsentReceipt { jti: record.receipt_id, iat: NOW, record };
    let text = sign(&receipt, &device(), KeyInHeader::Carried);
    assert_eq!(ConsentReceipt::verify(&text).unwrap(), (receipt.clone(), device().public()));
    let mut shorter = receipt;
    shorter.record.events[0].event = EventKind::Given;
    let forged = sign(&shorter, &device(), KeyInHeader::Carried);
    assert_eq!(ConsentReceipt::verify(&forged).unwrap_err().code(), "bad_claim");
    assert_eq!(ConsentReceipt::verify(&text.replacen('.', "..", 1)).unwrap_err().code(), "not_compact");
}

#[test]
fn the_schema_names_the_fields_that_are_sent() {
    let schema = schema();
    assert_eq!(schema["properties"]["purpose"]["const"], PURPOSE);
    assert_eq!(schema["properties"]["data_categories"]["items"]["enum"], json!(REPORT_FIELDS));
}
