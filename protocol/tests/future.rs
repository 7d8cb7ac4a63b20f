//! A plug-in that is ten years old meets documents of a later version: unknown members and unknown words are read past,
//! and a document that must not be half understood says so with `crit`, and is refused.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use std::path::Path;

use claviger_protocol::documents::{
    ActivationCertificate, Answer, Document, EndReason, KeyStatus, Keyset, LicenseKind, Manifest, Outcome,
    ReceiptOutcome, Sunset, VendorProfile,
};
use claviger_protocol::http::{AnswerBody, HealthBody, KeysetBody, Problem, ProblemCode};
use claviger_protocol::ipc::{ActivateReply, Finding, Level, License, LicensesReply};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::status::Status;
use common::documents::*;
use common::{messages, *};
use serde_json::{Value, json};

/// Members that no version knows yet, of every JSON type.
fn news() -> Vec<(&'static str, Value)> {
    vec![
        ("moon", json!("waxing")),
        ("tides", json!({"high": [1, 2.5, null], "low": {"deep": {"deeper": true}}})),
        ("x5t#S256", json!(["a", "b"])),
        ("", json!(0)),
    ]
}

/// A header with names of later extensions, which RFC 7515 asks readers to pass over.
fn later_header<D: Document>(key: &SigningKey) -> String {
    let more = r#""cty":"json","iv":"AA","nested":{"a":[1]},"b64url":false"#;
    format!(r#"{{"typ":"{}",{more},"kid":"{}","alg":"EdDSA"}}"#, D::TYP, key.id())
}

fn later<D: Document>(document: &D, more: &[(&str, Value)], key: &SigningKey) -> String {
    let mut all = news();
    all.extend(more.iter().cloned());
    sign_raw(later_header::<D>(key).as_bytes(), with_members(document, &all).as_bytes(), key)
}

/// Compares with the frozen text, so that the reader of a later version meets the very bytes of today's test.
fn frozen(name: &str, text: String) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/from-the-future").join(name);
    if std::env::var_os("CLAVIGER_WRITE_GOLDEN").is_some_and(|v| v == "1") && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), text, "{name}");
    text
}

#[test]
fn a_later_certificate_is_read() {
    let text = frozen("activation.jws", later(&perpetual(), &[], &issuing()));
    assert_eq!(ActivationCertificate::verify(&text, &keyset()).unwrap(), perpetual());
}

#[test]
fn a_certificate_of_a_later_kind_keeps_its_end_or_has_none() {
    let rental =
        |exp: Value| later(&subscription(), &[("kind", json!("rent_to_own")), ("exp", exp)], &issuing());
    let text = frozen("activation_kind.jws", rental(json!(NOW.0 + 5)));
    let read = ActivationCertificate::verify(&text, &keyset()).unwrap();
    assert_eq!((read.kind, read.exp), (LicenseKind::Other, Some(NOW.plus(5))));
    let read = ActivationCertificate::verify(&rental(Value::Null), &keyset()).unwrap();
    assert_eq!((read.kind, read.exp), (LicenseKind::Other, None));
}

#[test]
fn a_later_keyset_is_read_and_an_unknown_status_is_no_trust() {
    let mut value = serde_json::to_value(keyset()).unwrap();
    value["keys"][0]["status"] = json!("quarantined");
    value["keys"][0]["alg"] = json!("EdDSA");
    let text = frozen("keyset.jws", later(&keyset(), &[("keys", value["keys"].clone())], &root()));
    let read = Keyset::verify(&text, &profile().anchor(0)).unwrap();
    assert_eq!(read.keys[0].status, KeyStatus::Compromised);
    let refused = ActivationCertificate::verify(&signed(&perpetual(), &issuing()), &read);
    assert_eq!(refused.unwrap_err().code(), "compromised_key");
}

#[test]
fn a_later_profile_manifest_and_sunset_are_read() {
    let contact = json!({"email": "help@soluna.example", "url": "https://soluna.example/help", "fax": "yes"});
    let text = frozen("profile.jws", later(&profile(), &[("contact", contact)], &root()));
    assert_eq!(VendorProfile::verify(&text).unwrap(), (profile(), keyset()));
    let mut products = serde_json::to_value(manifest()).unwrap()["products"].clone();
    products[0]["colour"] = json!("blue");
    let text = frozen("manifest.jws", later(&manifest(), &[("products", products)], &issuing()));
    assert_eq!(Manifest::verify(&text, &keyset()).unwrap(), manifest());
    let text = frozen("sunset.jws", later(&sunset(), &[], &root()));
    assert_eq!(Sunset::verify(&text, &profile().anchor(0)).unwrap(), sunset());
}

#[test]
fn a_later_answer_is_read() {
    let outcome = json!({"result": "refreshed", "news": 1, "activations": [
        {"id": activation(), "rev": 9, "ended": "absorbed", "at": NOW.0, "why": "later"},
    ]});
    let receipts = json!([{"id": receipt_id(), "outcome": "framed", "where": "in the hall"}]);
    let more = [("outcome", outcome), ("receipts", receipts)];
    let text = frozen("answer.jws", later(&refreshed_answer(), &more, &issuing()));
    let request = request_hash(&refresh_request());
    let read = Answer::verify(&text, &keyset(), &request, device().id()).unwrap();
    let Outcome::Refreshed { activations } = read.outcome else { panic!("{:?}", read.outcome) };
    assert_eq!(activations[0].ended, Some(EndReason::Other));
    assert_eq!(read.receipts[0].outcome, ReceiptOutcome::Other);

    let more = [("outcome", json!({"result": "postponed", "until": NOW.0, "certificate": "x"}))];
    let text = frozen("answer_outcome.jws", later(&refreshed_answer(), &more, &issuing()));
    let read = Answer::verify(&text, &keyset(), &request, device().id()).unwrap();
    assert_eq!(read.outcome, Outcome::Unknown);
}

#[test]
fn crit_is_refused_whatever_it_lists() {
    let key = issuing();
    for crit in [
        r#"["moon"]"#,
        r#"["moon","tides"]"#,
        r#"["exp"]"#,
        "[]",
        "null",
        "{}",
        "0",
        r#""moon""#,
        "[1]",
        r#"["b64"]"#,
    ] {
        let header = format!(
            r#"{{"alg":"EdDSA","typ":"{}","kid":"{}","crit":{crit},"moon":1,"b64":true}}"#,
            ActivationCertificate::TYP,
            key.id()
        );
        let text = sign_raw(header.as_bytes(), payload_of(&perpetual()).as_bytes(), &key);
        let text = if crit == r#"["moon"]"# { frozen("activation_crit.jws", text) } else { text };
        let error = ActivationCertificate::verify(&text, &keyset()).unwrap_err();
        assert_eq!(error.code(), "unknown_crit", "{crit}");
    }
}

#[test]
fn later_bodies_and_problems_are_read() {
    let problem = json!({
        "type": "urn:claviger:problem:moon_phase", "code": "moon_phase", "title": "Later.", "status": 418,
        "detail": "Wait.", "instance": "/x", "seats": {"total": 1, "holders": [], "spare": 4}, "phase": 0.5,
    });
    let read: Problem = serde_json::from_value(problem).unwrap();
    assert_eq!((read.code, read.detail.as_deref()), (ProblemCode::Other, Some("Wait.")));
    let body = json!({"answer": "a.b.c", "more": [1]});
    assert_eq!(serde_json::from_value::<AnswerBody>(body).unwrap().answer, "a.b.c");
    let body = json!({"keyset": "a.b.c", "archive": []});
    assert_eq!(serde_json::from_value::<KeysetBody>(body).unwrap().keyset, "a.b.c");
    let body = json!({"status": "ok", "version": "9.0.0", "epoch": 3, "region": "moon"});
    assert_eq!(serde_json::from_value::<HealthBody>(body).unwrap().epoch, 3);
}

#[test]
fn replies_of_a_later_daemon_are_read() {
    let mut license = serde_json::to_value(messages::held()).unwrap();
    license["status"] = json!("licensed_by_the_moon");
    license["kind"] = json!("rent_to_own");
    license["colour"] = json!("blue");
    let read: LicensesReply = serde_json::from_value(json!({"licenses": [license], "page": 1})).unwrap();
    let License { status, kind, .. } = &read.licenses[0];
    assert_eq!((*status, *kind), (Status::Unknown, LicenseKind::Other));
    let finding = json!({"name": "moon", "level": "notice", "message": "Full.", "link": "x"});
    assert_eq!(serde_json::from_value::<Finding>(finding).unwrap().level, Level::Warning);
    let reply = json!({"progress": "…", "percent": 40});
    assert!(serde_json::from_value::<ActivateReply>(reply).unwrap().license.is_none());
}
