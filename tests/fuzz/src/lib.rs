//! What the fuzz targets do, as ordinary functions from bytes: libFuzzer calls them on nightly, and
//! `tests/tests/fuzz_replay.rs` calls them with the committed corpora on stable.
//!
//! A target must not panic, and asserts what must hold for everything that its parser accepts: mostly that it has one
//! meaning, which survives being written and read again.

#[path = "../../../protocol/tests/common/mod.rs"]
mod common;

use std::fmt::Debug;

use claviger_protocol::clock::Date;
use claviger_protocol::documents::{
    ActivationCertificate, Answer, Document, DocumentError, KeyInHeader, Keyset, Logo, Manifest, Receipt,
    Request, Sunset, TrustAnchor, VendorProfile, sign,
};
use claviger_protocol::http::{AnswerBody, HealthBody, KeysetBody, ManifestBody, Problem, RequestBody};
use claviger_protocol::ids::{DeviceName, MachineId, ProductId, VendorId};
use claviger_protocol::ipc::{
    ActivateReply, AddVendorReply, CallError, DeactivateReply, DoctorReply, FreeMachineReply, GetStatusReply,
    LicensesReply, ListVendorsReply, Method, RenameMachineReply, SettingsReply, ShowMachineReply,
    ShowSeatsReply,
};
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::keys::{KeyId, PublicKey, SigningKey};
use claviger_protocol::offline::{self, BlockKind, FileKind};
use claviger_protocol::serial::{Prefix, Serial};
use claviger_protocol::telemetry::{Notice, Plan, REPORT_LEN, TokenRequest, UsageReport};
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use common::documents as example;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A target: its name, which is that of its corpus folder, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this file.
pub const TARGETS: &[Target] = &[
    ("document", document),
    ("document_header", document_header),
    ("document_content", document_content),
    ("vendor_profile", vendor_profile),
    ("typed_codes", typed_codes),
    ("ipc_frame", ipc_frame),
    ("http_body", http_body),
    ("usage_report", usage_report),
    ("usage_document", usage_document),
    ("offline_file", offline_file),
    ("offline_request", offline_request),
    ("offline_response", offline_response),
    ("offline_receipt", offline_receipt),
    ("offline_batch", offline_batch),
    ("offline_bundle", offline_bundle),
    ("offline_code", offline_code),
    ("offline_qr", offline_qr),
];

/// A document in compact form, of the kind that the first byte chooses, as a stranger would send it.
pub fn document(data: &[u8]) {
    let Some((kind, Ok(text))) = split(data) else { return };
    if let Err(error) = verify(kind, text) {
        assert!(!error.code().is_empty() && !error.to_string().is_empty());
    }
}

/// Any header over good content, signed with the right key: only the right header is believed.
pub fn document_header(data: &[u8]) {
    let text =
        common::sign_raw(data, common::payload_of(&example::perpetual()).as_bytes(), &common::issuing());
    if ActivationCertificate::verify(&text, &example::keyset()).is_ok() {
        let header: serde_json::Value = from_slice_strict(data).expect("a believed header is strict JSON");
        assert_eq!(header["alg"], "EdDSA");
        assert_eq!(header["typ"], ActivationCertificate::TYP);
        assert_eq!(header["kid"], common::issuing().id().as_str());
        assert!(header.get("crit").is_none());
    }
}

/// Any content of the kind that the first byte chooses, signed with the right key: what is believed means the same when
/// it is written again.
pub fn document_content(data: &[u8]) {
    fn round_trip<D: Document + PartialEq + Debug>(
        payload: &[u8],
        key: &SigningKey,
        carried: KeyInHeader,
        verify: impl Fn(&str) -> Result<D, DocumentError>,
    ) {
        let mut header = common::header_of::<D>(key);
        if carried == KeyInHeader::Carried {
            header.pop();
            header += &format!(r#","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{}"}}}}"#, key.public());
        }
        if let Ok(document) = verify(&common::sign_raw(header.as_bytes(), payload, key)) {
            let again = verify(&sign(&document, key, carried)).expect("what was believed is believed again");
            assert_eq!(again, document);
        }
    }
    use KeyInHeader::{Carried, Named};
    let Some((&kind, payload)) = data.split_first() else { return };
    let (root, issuing, device, vendor) =
        (common::root(), common::issuing(), common::device(), common::vendor());
    let keyset = example::keyset();
    match kind % 8 {
        0 => round_trip(payload, &root, Named, |t| VendorProfile::verify(t).map(|(profile, _)| profile)),
        1 => round_trip(payload, &root, Named, |t| Keyset::verify(t, &anchor())),
        2 => round_trip(payload, &issuing, Named, |t| ActivationCertificate::verify(t, &keyset)),
        3 => round_trip(payload, &issuing, Named, |t| Manifest::verify(t, &keyset)),
        4 => round_trip(payload, &root, Named, |t| Sunset::verify(t, &anchor())),
        5 => round_trip(payload, &device, Carried, |t| Request::verify(t, &vendor).map(|(r, ..)| r)),
        6 => round_trip(payload, &device, Carried, |t| Receipt::verify(t, &vendor).map(|(r, _)| r)),
        _ => {
            let request = example::request_hash(&example::activate_request());
            round_trip(payload, &issuing, Named, |t| Answer::verify(t, &keyset, &request, device.id()));
        }
    }
}

/// A vendor profile as the daemon finds it in a file, and as a plug-in finds it in itself.
pub fn vendor_profile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let compiled_in = TrustAnchor::compiled_in(text);
    if let Ok((profile, keyset)) = VendorProfile::verify(text) {
        let (anchor, same, keyset_too) = compiled_in.expect("what verifies can be compiled in");
        assert_eq!((&same, keyset_too), (&profile, keyset.clone()));
        assert_eq!(anchor.least_keyset, keyset.number);
        let written = profile.shown_accent().map(|accent| accent.to_string());
        assert_eq!(written.as_deref().map(str::parse), profile.shown_accent().map(Ok));
        if let Some(logo) = profile.shown_logo() {
            assert!(
                logo.png().len() <= Logo::MAX_BYTES && logo.size().0.max(logo.size().1) <= Logo::MAX_SIDE
            );
            assert_eq!(Logo::from_text(&logo.to_text()), Ok(logo));
        }
    }
}

/// What a person types or pastes: serial numbers, unlock codes, prefixes, ids, names, dates.
pub fn typed_codes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let prefix = common::prefix();
    if let Ok(serial) = Serial::parse_any(text, &prefix) {
        assert_eq!(Serial::try_from(serial.as_str().to_owned()).as_ref(), Ok(&serial));
        assert_eq!(Serial::parse_any(serial.as_str(), &prefix).as_ref(), Ok(&serial));
    }
    for serial in [common::serial(), Serial::foreign("AB12CD34").expect("a shop's serial number")] {
        if let Ok(code) = UnlockCode::parse(text, &serial) {
            assert!(UnlockCode::parse(code.reveal(), &serial).is_ok_and(|again| again == code));
            let key = unlock_key(&common::vendor(), &serial, Some(&code));
            assert_eq!(key.id(), &key.public().id());
        }
    }
    let name = DeviceName::lossy(text);
    assert_eq!(name.as_str().parse::<DeviceName>().as_ref(), Ok(&name));
    same::<Prefix>(text);
    same::<VendorId>(text);
    same::<ProductId>(text);
    same::<MachineId>(text);
    same::<Date>(text);
    same::<KeyId>(text);
    let _ = (PublicKey::try_from(text.to_owned()), UnlockProof::try_from(text.to_owned()));
}

/// A frame of the daemon's Varlink interface, without its NUL, in both directions.
pub fn ipc_frame(data: &[u8]) {
    if let Some(call) = json::<Method>(data) {
        let _ = format!("{call:?}");
    }
    if let Some(error) = json::<CallError>(data) {
        let _ = (error.code(), error.advice(), error.to_string());
    }
    let _ = (json::<GetStatusReply>(data), json::<ListVendorsReply>(data), json::<AddVendorReply>(data));
    let _ = (json::<LicensesReply>(data), json::<ActivateReply>(data), json::<DeactivateReply>(data));
    let _ = (json::<ShowSeatsReply>(data), json::<FreeMachineReply>(data), json::<SettingsReply>(data));
    let _ = (json::<ShowMachineReply>(data), json::<RenameMachineReply>(data), json::<DoctorReply>(data));
}

/// A body of the activation server's HTTP interface, in both directions.
pub fn http_body(data: &[u8]) {
    let _ = (json::<RequestBody>(data), json::<AnswerBody>(data), json::<KeysetBody>(data));
    let _ = (json::<ManifestBody>(data), json::<HealthBody>(data));
    if let Some(problem) = json::<Problem>(data) {
        assert!((400..600).contains(&problem.code.http_status()));
    }
}

/// A file of any kind as it lies on a disk or comes out of a mail program, zipped or not: what is found in it is found
/// again when it is written anew.
pub fn offline_file(data: &[u8]) {
    let contents = match offline::read(data) {
        Ok(contents) => contents,
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            return;
        }
    };
    for damaged in &contents.damaged {
        assert!(!damaged.damage.code().is_empty() && !damaged.damage.to_string().is_empty());
    }
    let blocks = contents.blocks.iter().map(|block| (block.kind, block.text.as_str()));
    let again = offline::armour::write_collection(FileKind::Batch, &[("From", "a fuzzer")], blocks);
    if contents.blocks.is_empty() {
        return;
    }
    let again = offline::read(again.as_bytes()).expect("what was written is read");
    assert!(again.damaged.is_empty() && !again.cut_off);
    let texts = |contents: &offline::Contents| {
        contents.blocks.iter().map(|b| (b.kind, b.text.clone())).collect::<Vec<_>>()
    };
    assert_eq!(texts(&again), texts(&contents));
}

/// The document of a request file, with its checksum made right: what a server does with it.
pub fn offline_request(data: &[u8]) {
    in_a_file(FileKind::Request, data, |text| {
        if let Ok(from) = offline::RequestFrom::read(text) {
            let (request, key, hash) = Request::verify(text, &from.vendor).expect("what was read verifies");
            assert_eq!((request, key.id(), hash), (from.request, from.device, from.hash));
            let fragment = offline::packed::request_fragment(text);
            if let Ok(fragment) = fragment {
                assert_eq!(offline::packed::request_of_fragment(&fragment).as_deref(), Ok(text));
            }
        }
    });
}

/// The document of a response file: what a daemon does with it before it believes it, and after.
pub fn offline_response(data: &[u8]) {
    in_a_file(FileKind::Response, data, |text| {
        let _ = offline::AnswerFor::read(text);
        let _ = Answer::peek_keyset(text);
        if let Ok(answer) = Answer::verify_from_file(text, &example::keyset()) {
            assert_eq!(answer.iss, common::vendor());
        }
    });
}

/// The document of a receipt file.
pub fn offline_receipt(data: &[u8]) {
    in_a_file(FileKind::Receipt, data, |text| {
        if let Ok(from) = offline::RequestFrom::read(text) {
            for receipt in &from.request.receipts {
                let _ = Receipt::verify(receipt, &from.vendor);
            }
        }
    });
}

/// The inside of a batch.
pub fn offline_batch(data: &[u8]) {
    collection("BATCH", data);
}

/// The inside of a bundle, with the refusals in it.
pub fn offline_bundle(data: &[u8]) {
    collection("BUNDLE", data);
}

fn collection(word: &str, data: &[u8]) {
    let mut file = format!("-----BEGIN CLAVIGER {word} V1-----\n").into_bytes();
    file.extend_from_slice(data);
    if let Ok(contents) = offline::read(&file) {
        for block in contents.of(BlockKind::Refusal) {
            if let Some(refusal) = offline::Refusal::from_text(&block.text) {
                assert_eq!(offline::Refusal::from_text(&refusal.to_text()).as_ref(), Some(&refusal));
            }
        }
        for block in &contents.blocks {
            let _ = (offline::RequestFrom::read(&block.text), offline::AnswerFor::read(&block.text));
        }
    }
    offline_file(&file);
}

fn in_a_file(kind: FileKind, data: &[u8], what: impl Fn(&str)) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = offline::armour::write_file(kind, &[("Computer", text)], text);
    if let Ok(contents) = offline::read(file.as_bytes()) {
        contents.blocks.iter().for_each(|block| what(&block.text));
    }
    what(text);
}

/// A code as a person types it.
pub fn offline_code(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match offline::TypedCode::parse(text) {
        Ok(code) => {
            assert_eq!(offline::TypedCode::parse(&code.to_string()), Ok(code));
            let terms = code.terms().expect("it was read");
            assert!(!terms.product.as_str().is_empty());
            if let Ok(text) = code.certificate(&common::offline::request(), &[], &example::keyset()) {
                ActivationCertificate::verify(&text, &example::keyset()).expect("its signature was checked");
            }
        }
        Err(error) => assert!(!error.code().is_empty() && !error.to_string().is_empty()),
    }
}

/// What a scanner reads from QR codes: addresses and parts, packed documents inside.
pub fn offline_qr(data: &[u8]) {
    let packed = data_encoding::BASE32_NOPAD.encode(data);
    let _ = offline::packed::request_of_fragment(&format!("CLVREQ1.{packed}"));
    let mark = data_encoding::BASE32_NOPAD.encode(&claviger_protocol::keys::Sha256::of(data).0[..5]);
    let _ = offline::read(format!("CLV1.01.01.{mark}.{packed}").as_bytes());
    let _ = offline::packed::request_of_fragment(&String::from_utf8_lossy(data));
}

/// The body of a usage report, as a stranger would send it to the collector: what is taken has one spelling.
pub fn usage_report(data: &[u8]) {
    // Most of what a fuzzer tries has not the one length; padded, it gets further.
    let mut padded = data.to_vec();
    padded.resize(REPORT_LEN, b' ');
    for body in [data, &padded] {
        match UsageReport::from_body(body) {
            Ok(report) => assert_eq!(report.to_body().as_bytes(), body),
            Err(error) => assert!(!error.code().is_empty() && !error.to_string().is_empty()),
        }
    }
}

/// Any content of a notice, a plan or a token request, signed with the right key.
pub fn usage_document(data: &[u8]) {
    let Some((&kind, payload)) = data.split_first() else { return };
    let (issuing, device, keyset) = (common::issuing(), common::device(), example::keyset());
    let named = |header: String| common::sign_raw(header.as_bytes(), payload, &issuing);
    match kind % 3 {
        0 => {
            if let Ok(notice) = Notice::verify(&named(common::header_of::<Notice>(&issuing)), &keyset) {
                assert!(!notice.text("de").1.text.trim().is_empty());
                let again = Notice::verify(&sign(&notice, &issuing, KeyInHeader::Named), &keyset);
                assert_eq!(again.expect("what was believed is believed again").terms(), notice.terms());
            }
        }
        1 => {
            if let Ok(plan) = Plan::verify(&named(common::header_of::<Plan>(&issuing)), &keyset) {
                assert!(
                    !plan.contradicts(&plan) && plan.weeks.iter().all(|w| plan.key(w.week) == Some(&w.key))
                );
            }
        }
        _ => {
            let mut header = common::header_of::<TokenRequest>(&device);
            header.pop();
            header += &format!(r#","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{}"}}}}"#, device.public());
            let text = common::sign_raw(header.as_bytes(), payload, &device);
            if let Ok((request, key)) = TokenRequest::verify(&text, &common::vendor()) {
                assert_eq!(key, device.public());
                let again = sign(&request, &device, KeyInHeader::Carried);
                assert_eq!(TokenRequest::verify(&again, &common::vendor()).expect("again").0, request);
            }
        }
    }
}

fn verify(kind: u8, text: &str) -> Result<(), DocumentError> {
    let (keyset, vendor) = (example::keyset(), common::vendor());
    match kind % 8 {
        0 => VendorProfile::verify(text).map(drop),
        1 => Keyset::verify(text, &anchor()).map(drop),
        2 => ActivationCertificate::verify(text, &keyset).map(drop),
        3 => Manifest::verify(text, &keyset).map(drop),
        4 => Sunset::verify(text, &anchor()).map(drop),
        5 => Request::verify(text, &vendor).map(drop),
        6 => Receipt::peek(text).and(Receipt::verify(text, &vendor).map(drop)),
        _ => {
            let request = example::request_hash(&example::activate_request());
            Answer::peek_keyset(text)?;
            Answer::verify(text, &keyset, &request, common::device().id()).map(drop)
        }
    }
}

fn anchor() -> TrustAnchor {
    example::profile().anchor(0)
}

fn split(data: &[u8]) -> Option<(u8, Result<&str, std::str::Utf8Error>)> {
    data.split_first().map(|(kind, rest)| (*kind, std::str::from_utf8(rest)))
}

/// Reads a `T` and checks that writing and reading it again changes nothing.
fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let value: T = from_slice_strict(data).ok()?;
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(from_slice_strict::<T>(&text).expect("and read again"), value);
    Some(value)
}

/// Reads a `T` from text and checks that its own spelling reads as the same.
fn same<T: std::str::FromStr<Err: Debug> + ToString + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().expect("its own spelling is valid"), value);
    }
}
