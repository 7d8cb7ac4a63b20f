//! The example bytes of every document, message, body and code are frozen in `golden/`: what this version writes, and
//! what every later one must read. A file there is never edited after a release; see `golden/README.md`.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use claviger_protocol::documents::{
    ActivationCertificate, Answer, Keyset, Manifest, Receipt, Request, Sunset, TrustAnchor, VendorProfile,
};
use claviger_protocol::ids::MachineId;
use claviger_protocol::ipc::{CallError, Method};
use claviger_protocol::serial::{Serial, TypedCodeError};
use claviger_protocol::telemetry::{Notice, Plan, TokenRequest};
use claviger_protocol::unlock::unlock_key;
use common::documents::*;
use common::{bodies, messages, offline, telemetry, *};

/// Set to `1` to write the files that are missing. It never touches one that exists.
const WRITE: &str = "CLAVIGER_WRITE_GOLDEN";

#[test]
fn what_is_written_today_is_what_was_frozen() {
    let mut wrong = Vec::new();
    for (name, bytes) in everything() {
        let path = folder().join(&name);
        match fs::read(&path) {
            Ok(frozen) if frozen == bytes.as_bytes() => {}
            Ok(_) => wrong.push(format!("{name}: the bytes have changed")),
            Err(_) if std::env::var_os(WRITE).is_some_and(|v| v == "1") => write_new(&path, &bytes),
            Err(error) => wrong.push(format!("{name}: {error} (write new files with {WRITE}=1)")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_frozen_file_belongs_to_an_example() {
    let known: BTreeSet<String> = everything().into_iter().map(|(name, _)| name).collect();
    for kind in ["documents", "ipc", "http", "codes", "offline"] {
        for entry in fs::read_dir(folder().join(kind)).unwrap() {
            let name = format!("{kind}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(known.contains(&name), "{name} is frozen, and no test reads it");
        }
    }
}

#[test]
fn frozen_documents_are_believed() {
    let read = |name: &str| fs::read_to_string(folder().join("documents").join(name)).unwrap();
    let (anchor, keyset) = (anchor(), keyset());
    assert_eq!(VendorProfile::verify(&read("profile.jws")).unwrap(), (profile(), keyset.clone()));
    assert_eq!(
        TrustAnchor::compiled_in(&read("profile.jws")).unwrap(),
        (TrustAnchor { least_keyset: 3, ..anchor.clone() }, profile(), keyset.clone())
    );
    let (looks, _) = VendorProfile::verify(&read("profile_with_look.jws")).unwrap();
    assert_eq!(looks, profile_with_look());
    assert_eq!(
        (looks.shown_accent().unwrap().to_string().as_str(), looks.shown_logo()),
        ("#E88A1C", Some(logo()))
    );
    // To a plug-in it is the same vendor.
    let plain =
        |name| TrustAnchor::compiled_in(&read(name)).map(|(anchor, _, keyset)| (anchor, keyset)).unwrap();
    assert_eq!(plain("profile_with_look.jws"), plain("profile.jws"));
    assert_eq!(Keyset::verify(&read("keyset.jws"), &anchor).unwrap(), keyset);
    let believed = |name| ActivationCertificate::verify(&read(name), &keyset).unwrap();
    assert_eq!(believed("activation_perpetual.jws"), perpetual());
    assert_eq!(believed("activation_subscription.jws"), subscription());
    assert_eq!(believed("activation_trial.jws"), trial());
    let (found, key) = Receipt::verify(&read("receipt.jws"), &vendor()).unwrap();
    assert_eq!((found, key), (receipt(), device().public()));
    assert_eq!(Manifest::verify(&read("manifest.jws"), &keyset).unwrap(), manifest());
    assert_eq!(Sunset::verify(&read("sunset.jws"), &anchor).unwrap(), sunset());
    assert_eq!(Notice::verify(&read("notice.jws"), &keyset).unwrap(), telemetry::notice());
    assert_eq!(Plan::verify(&read("plan.jws"), &keyset).unwrap(), telemetry::plan());
    let request = read("request_tokens.jws");
    let found = TokenRequest::verify(request.trim(), &vendor()).unwrap();
    assert_eq!(found, (telemetry::token_request(), device().public()));
    for (request, answer, name) in [
        (activate_request(), activated_answer(), "activate"),
        (refresh_request(), refreshed_answer(), "refresh"),
        (deactivate_request(), deactivated_answer(), "deactivate"),
        (seats_request(), seats_answer(), "seats"),
        (free_request(), freed_answer(), "free"),
    ] {
        let text = read(&format!("request_{name}.jws"));
        let (found, key, hash) = Request::verify(text.trim(), &vendor()).unwrap();
        assert_eq!((found, key), (request, device().public()));
        let text = read(&format!("answer_{name}.jws"));
        assert_eq!(Answer::verify(text.trim(), &keyset, &hash, device().id()).unwrap(), answer);
    }
}

#[test]
fn frozen_messages_are_understood() {
    let read = |name: &str| fs::read(folder().join("ipc").join(name)).unwrap();
    for (name, call) in messages::calls() {
        let found: Method = serde_json::from_slice(&read(&format!("call_{name}.json"))).unwrap();
        assert_eq!(found, call);
    }
    for (name, error) in messages::errors() {
        let found: CallError = serde_json::from_slice(&read(&format!("error_{name}.json"))).unwrap();
        assert_eq!(found, error);
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn write_new(path: &Path, bytes: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    file.write_all(bytes.as_bytes()).unwrap();
}

/// Every frozen file: its name, and what this version writes. One line each, ended by a line feed.
fn everything() -> Vec<(String, String)> {
    let (root, issuing) = (root(), issuing());
    let mut all: Vec<(String, String)> = [
        ("profile", signed(&profile(), &root)),
        ("profile_with_look", signed(&profile_with_look(), &root)),
        ("keyset", signed(&keyset(), &root)),
        ("activation_perpetual", signed(&perpetual(), &issuing)),
        ("activation_subscription", signed(&subscription(), &issuing)),
        ("activation_trial", signed(&trial(), &issuing)),
        ("receipt", signed_receipt()),
        ("manifest", signed(&manifest(), &issuing)),
        ("sunset", signed(&sunset(), &root)),
        ("request_activate", signed_request(&activate_request())),
        ("request_refresh", signed_request(&refresh_request())),
        ("request_deactivate", signed_request(&deactivate_request())),
        ("request_seats", signed_request(&seats_request())),
        ("request_free", signed_request(&free_request())),
        ("answer_seats", signed(&seats_answer(), &issuing)),
        ("answer_free", signed(&freed_answer(), &issuing)),
        ("answer_activate", signed(&activated_answer(), &issuing)),
        ("answer_refresh", signed(&refreshed_answer(), &issuing)),
        ("answer_deactivate", signed(&deactivated_answer(), &issuing)),
        ("notice", signed(&telemetry::notice(), &issuing)),
        ("plan", signed(&telemetry::plan(), &issuing)),
        ("request_tokens", telemetry::signed_token_request(&telemetry::token_request())),
    ]
    .into_iter()
    .map(|(name, text)| (format!("documents/{name}.jws"), text))
    .collect();
    all.extend(messages::calls().iter().map(|(n, call)| (format!("ipc/call_{n}.json"), json(call))));
    all.extend(messages::replies().into_iter().map(|(n, reply)| (format!("ipc/reply_{n}.json"), reply)));
    all.extend(messages::errors().iter().map(|(n, error)| (format!("ipc/error_{n}.json"), json(error))));
    all.extend(bodies::bodies().into_iter().map(|(n, body)| (format!("http/{n}.json"), body)));
    all.push(("codes/serial.txt".to_owned(), serials()));
    all.push(("codes/unlock.txt".to_owned(), unlock_codes()));
    all.push(("codes/machine_id.txt".to_owned(), machine_ids()));
    all.push(("codes/typed.txt".to_owned(), offline::typed_codes()));
    // Files end with a line feed already; the loop below adds the one that is cut here.
    all.extend(
        offline::files().into_iter().map(|(n, text)| (format!("offline/{n}"), text.trim_end().to_owned())),
    );
    for (_, text) in &mut all {
        text.push('\n');
    }
    all
}

/// What people type, and what it reads as.
fn serials() -> String {
    let typed = [
        SERIAL,
        "sol4xq7k2m9tborhj5",
        "  SOL 4XQ7K 2M9TB 0RHJ5  ",
        "SOL\u{2013}4XQ7K\u{2013}2M9TB\u{2013}0RHJ5",
        "SOL-4XQ7K-2M9TB-0RHJ6",
        "SOL-4XQ7K-2M9TB-0RH",
        "SOL-4XQ7K-2M9TB-0RHU5",
        "SAL-4XQ7K-2M9TB-0RHJ5",
        "AB12-cd34-EF56",
        "AB1",
        "",
    ];
    lines(typed.iter().map(|text| {
        let read = Serial::parse_any(text, &prefix()).map_or_else(|e| rule(&e).to_owned(), |s| s.to_string());
        format!("{text:?} -> {read}")
    }))
}

/// Codes, the public half of the key that each derives, and how odd spellings read.
fn unlock_codes() -> String {
    use claviger_protocol::unlock::UnlockCode;
    let imported = Serial::foreign("AB12CD34EF56").unwrap();
    let key =
        |serial: &Serial, code: Option<&UnlockCode>| unlock_key(&vendor(), serial, code).public().to_string();
    let read = |text: &str, serial: &Serial| {
        UnlockCode::parse(text, serial)
            .map_or_else(|e| rule(&e).to_owned(), |c| format!("{} {}", c.reveal(), key(serial, Some(&c))))
    };
    let typed = [UNLOCK_CODE, "7kq2m9tborhwexa4io44", "7KQ2M-9TB0R-HWEXA-41045", "7KQ2M-9TB0R", ""];
    let native =
        typed.iter().map(|text| format!("{serial} {text:?} -> {}", read(text, &serial()), serial = serial()));
    let foreign = ["Shop Code 1", UNLOCK_CODE, "abc"]
        .iter()
        .map(|text| format!("{imported} {text:?} -> {}", read(text, &imported)));
    let without = std::iter::once(format!("{imported} without a code -> {}", key(&imported, None)));
    lines(native.chain(foreign).chain(without))
}

fn machine_ids() -> String {
    let os = "0123456789abcdef0123456789abcdef";
    lines(
        ["com.soluna", "com.example", "io.a-b.c"]
            .iter()
            .map(|v| format!("{v} {os} -> {}", MachineId::derive(&v.parse().unwrap(), os))),
    )
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn anchor() -> TrustAnchor {
    profile().anchor(0)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// Which rule a typed code broke. The sentence may be improved; the rule stays.
fn rule(error: &TypedCodeError) -> &'static str {
    match error {
        TypedCodeError::Empty { .. } => "! empty",
        TypedCodeError::Symbol { .. } => "! symbol",
        TypedCodeError::Length { .. } => "! length",
        TypedCodeError::Check { .. } => "! mistyped",
        TypedCodeError::Prefix(_) => "! prefix",
        TypedCodeError::WrongPrefix { .. } => "! wrong prefix",
        TypedCodeError::Foreign { .. } => "! foreign",
        TypedCodeError::UnlockCode => "! unlock code",
    }
}
