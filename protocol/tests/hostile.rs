//! Documents made by someone who wants to be believed: each is refused, with a code that says which rule it broke.

mod common;

use claviger_protocol::clock::DAY;
use claviger_protocol::documents::{
    ActivationCertificate, Answer, Document, DocumentError, KeyInHeader, KeyStatus, Keyset, LicenseKind,
    Manifest, Order, Receipt, Request, Sunset, TrustAnchor, VendorProfile, sign,
};
use claviger_protocol::ids::VendorId;
use claviger_protocol::keys::{Sha256, SigningKey};
use common::documents::*;
use common::*;
use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD};
use serde_json::json;

/// The code with which a certificate is refused; `believed` when it is not.
fn code(text: &str) -> &'static str {
    refusal(ActivationCertificate::verify(text, &keyset()))
}

fn refusal<T>(result: Result<T, DocumentError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "believed")
}

/// A certificate with this header, properly signed by the issuing key.
fn with_header(header: &str) -> String {
    sign_raw(header.as_bytes(), payload_of(&perpetual()).as_bytes(), &issuing())
}

/// A certificate with this content, properly signed by the issuing key.
fn with_payload(payload: impl AsRef<[u8]>) -> String {
    sign_raw(header_of::<ActivationCertificate>(&issuing()).as_bytes(), payload.as_ref(), &issuing())
}

fn good() -> String {
    signed(&perpetual(), &issuing())
}

/// The good certificate with one of its three parts replaced.
fn with_part(index: usize, change: impl Fn(&str) -> String) -> String {
    let text = good();
    let parts: Vec<String> = text
        .split('.')
        .enumerate()
        .map(|(i, part)| if i == index { change(part) } else { part.to_owned() })
        .collect();
    parts.join(".")
}

#[test]
fn algorithms_other_than_eddsa() {
    let kid = issuing().id().to_string();
    let typ = ActivationCertificate::TYP;
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""HS256""#,
        r#""HS512""#,
        r#""RS256""#,
        r#""ES256""#,
        r#""eddsa""#,
        r#""EDDSA""#,
        r#""EdDSA ""#,
        r#""Ed25519""#,
        r#""""#,
        r#""EdDSA\u0000""#,
        "null",
    ] {
        let header = format!(r#"{{"alg":{alg},"typ":"{typ}","kid":"{kid}"}}"#);
        assert_eq!(code(&with_header(&header)), "wrong_alg", "{alg}");
    }
    assert_eq!(code(&with_header(&format!(r#"{{"typ":"{typ}","kid":"{kid}"}}"#))), "wrong_alg");
    for alg in ["0", "[\"EdDSA\"]", "{}", "true"] {
        let header = format!(r#"{{"alg":{alg},"typ":"{typ}","kid":"{kid}"}}"#);
        assert_eq!(code(&with_header(&header)), "bad_json", "{alg}");
    }
}

#[test]
fn a_public_key_is_not_an_hmac_secret() {
    let header =
        format!(r#"{{"alg":"HS256","typ":"{}","kid":"{}"}}"#, ActivationCertificate::TYP, issuing().id());
    let mut text = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header.as_bytes()),
        BASE64URL_NOPAD.encode(payload_of(&perpetual()).as_bytes())
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &issuing().public().0);
    let tag = ring::hmac::sign(&key, text.as_bytes());
    text.push('.');
    text.push_str(&BASE64URL_NOPAD.encode(tag.as_ref()));
    assert_eq!(code(&text), "wrong_alg");
    // `none`, as it is usually written: nothing behind the last dot.
    let header = header.replace("HS256", "none");
    let text = format!(
        "{}.{}.",
        BASE64URL_NOPAD.encode(header.as_bytes()),
        BASE64URL_NOPAD.encode(payload_of(&perpetual()).as_bytes())
    );
    assert_eq!(code(&text), "wrong_alg");
}

#[test]
fn one_kind_of_document_is_not_another() {
    for typ in [
        r#""claviger-answer+jws""#,
        r#""claviger-keyset+jws""#,
        r#""JWT""#,
        r#""Claviger-Activation+jws""#,
        r#""application/claviger-activation+jws""#,
        r#""claviger-activation""#,
        r#""""#,
        "null",
    ] {
        let header = format!(r#"{{"alg":"EdDSA","typ":{typ},"kid":"{}"}}"#, issuing().id());
        assert_eq!(code(&with_header(&header)), "wrong_typ", "{typ}");
    }
    let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, issuing().id());
    assert_eq!(code(&with_header(&header)), "wrong_typ");
    assert_eq!(code(&signed(&manifest(), &issuing())), "wrong_typ");
    assert_eq!(code(&signed_receipt()), "wrong_typ");

    let anchor = anchor();
    assert_eq!(refusal(Keyset::verify(&signed(&sunset(), &root()), &anchor)), "wrong_typ");
    assert_eq!(refusal(Sunset::verify(&signed(&keyset(), &root()), &anchor)), "wrong_typ");
    assert_eq!(refusal(VendorProfile::verify(&signed(&keyset(), &root()))), "wrong_typ");
    assert_eq!(refusal(Manifest::verify(&good(), &keyset())), "wrong_typ");
    assert_eq!(refusal(Receipt::verify(&signed_request(&activate_request()), &vendor())), "wrong_typ");
    assert_eq!(refusal(Request::verify(&signed_receipt(), &vendor())), "wrong_typ");
    let answer = Answer::verify(&good(), &keyset(), &Sha256([0; 32]), device().id());
    assert_eq!(refusal(answer), "wrong_typ");
}

#[test]
fn keys_that_may_not_speak() {
    assert_eq!(code(&signed(&perpetual(), &stranger())), "unknown_kid");
    assert_eq!(code(&signed(&perpetual(), &root())), "unknown_kid");
    assert_eq!(code(&signed(&perpetual(), &compromised())), "compromised_key");
    let later = ActivationCertificate { iat: NOW, ..perpetual() };
    assert_eq!(code(&signed(&later, &retired())), "retired_key");
    let earlier = ActivationCertificate { iat: NOW.plus(-2 * DAY), ..perpetual() };
    assert_eq!(code(&signed(&earlier, &retired())), "believed");

    // The right name over another key's signature.
    let header = header_of::<ActivationCertificate>(&issuing());
    let payload = payload_of(&perpetual());
    let forged = sign_raw(header.as_bytes(), payload.as_bytes(), &stranger());
    assert_eq!(code(&forged), "bad_signature");

    // A key that comes along in the header is no reason to believe a certificate.
    let carried = sign(&perpetual(), &stranger(), KeyInHeader::Carried);
    assert_eq!(code(&carried), "unknown_kid");
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, stranger().public());
    let header = format!(
        r#"{{"alg":"EdDSA","typ":"{}","kid":"{}","jwk":{jwk}}}"#,
        ActivationCertificate::TYP,
        issuing().id()
    );
    assert_eq!(code(&sign_raw(header.as_bytes(), payload.as_bytes(), &stranger())), "kid_mismatch");
}

#[test]
fn names_of_keys() {
    let typ = ActivationCertificate::TYP;
    let short = issuing().id().as_str()[..42].to_owned();
    for kid in [
        "null",
        r#""""#,
        r#""0""#,
        r#""../../etc/passwd""#,
        &format!("\"{short}\""),
        &format!("\"{short}==\""),
    ] {
        let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":{kid}}}"#);
        assert_eq!(code(&with_header(&header)), "no_kid", "{kid}");
    }
    assert_eq!(code(&with_header(&format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#))), "no_kid");
}

#[test]
fn another_vendor_with_its_own_good_keys() {
    let other: VendorId = "com.other".parse().unwrap();
    let forged = ActivationCertificate { iss: other.clone(), ..perpetual() };
    assert_eq!(code(&signed(&forged, &issuing())), "wrong_vendor");
    let anchor = TrustAnchor { vendor: other.clone(), ..anchor() };
    assert_eq!(refusal(Keyset::verify(&signed(&keyset(), &root()), &anchor)), "wrong_vendor");
    assert_eq!(refusal(Sunset::verify(&signed(&sunset(), &root()), &anchor)), "wrong_vendor");
    assert_eq!(refusal(Request::verify(&signed_request(&activate_request()), &other)), "wrong_vendor");
    assert_eq!(refusal(Receipt::verify(&signed_receipt(), &other)), "wrong_vendor");
    let keyset = Keyset { iss: other, ..keyset() };
    assert_eq!(refusal(ActivationCertificate::verify(&good(), &keyset)), "wrong_vendor");
}

#[test]
fn keysets_never_go_back() {
    let anchor = TrustAnchor { least_keyset: 3, ..anchor() };
    let numbered = |number| Keyset { number, ..keyset() };
    assert_eq!(refusal(Keyset::verify(&signed(&numbered(2), &root()), &anchor)), "keyset_too_old");
    assert_eq!(refusal(Keyset::verify(&signed(&numbered(3), &root()), &anchor)), "believed");
    assert_eq!(refusal(Keyset::verify(&signed(&numbered(4), &spare_root()), &anchor)), "believed");
    assert_eq!(refusal(Keyset::verify(&signed(&numbered(4), &issuing()), &anchor)), "unknown_kid");

    assert_eq!(refusal(numbered(2).may_follow(&keyset())), "keyset_too_old");
    assert_eq!(refusal(keyset().may_follow(&keyset())), "believed");
    assert_eq!(refusal(numbered(u32::MAX).may_follow(&keyset())), "believed");
    let mut other = keyset();
    other.keys[2].status = KeyStatus::Active;
    assert_eq!(refusal(other.may_follow(&keyset())), "keyset_conflict");

    let mut twice = keyset();
    twice
        .keys
        .push(claviger_protocol::documents::KeysetKey { status: KeyStatus::Active, ..twice.keys[2].clone() });
    assert_eq!(refusal(Keyset::verify(&signed(&twice, &root()), &anchor)), "bad_claim");
    let mut many = keyset();
    many.keys = (0..257u32)
        .map(|n| {
            let mut seed = [9; 32];
            seed[..4].copy_from_slice(&n.to_le_bytes());
            let x = SigningKey::from_seed(&seed).public();
            claviger_protocol::documents::KeysetKey { x, status: KeyStatus::Active, since: NOW }
        })
        .collect();
    assert_eq!(refusal(Keyset::verify(&signed(&many, &root()), &anchor)), "bad_claim");
    many.keys.pop();
    assert_eq!(refusal(Keyset::verify(&signed(&many, &root()), &anchor)), "believed");
}

#[test]
fn a_vendor_is_not_refused_for_its_looks() {
    let huge = "A".repeat(30_000);
    for (accent, logo) in
        [("red", "no picture"), ("", ""), ("#12345678", huge.as_str()), ("\u{202e}#123456", "iVBORw0KGgo")]
    {
        let odd = VendorProfile { accent: Some(accent.to_owned()), logo: Some(logo.to_owned()), ..profile() };
        let (read, _) = VendorProfile::verify(&signed(&odd, &root())).unwrap();
        assert_eq!((read.shown_accent(), read.shown_logo()), (None, None), "{accent}");
        assert_eq!(TrustAnchor::compiled_in(&signed(&odd, &root())).unwrap().0.roots, profile().roots);
    }
    // What does not fit into a profile at all is refused as anything too long is.
    let bloated = VendorProfile { logo: Some("A".repeat(VendorProfile::MAX_LEN)), ..profile() };
    assert_eq!(refusal(VendorProfile::verify(&signed(&bloated, &root()))), "too_large");
}

#[test]
fn a_forged_profile_proves_only_itself() {
    let forger = stranger();
    let mut forged = profile();
    forged.roots.active = forger.public();
    // Its keyset is still signed by the real root: not by the roots that it names, unless the spare stays.
    forged.roots.spare = forger.public();
    assert_eq!(refusal(VendorProfile::verify(&signed(&forged, &forger))), "unknown_kid");
    forged.keyset = signed(&keyset(), &forger);
    let (read, _) = VendorProfile::verify(&signed(&forged, &forger)).unwrap();
    // Whole, but not the vendor's: what is compiled in goes on deciding.
    assert_ne!(read.roots, profile().roots);
    assert_eq!(refusal(Keyset::verify(&read.keyset, &anchor())), "unknown_kid");
    assert_eq!(refusal(VendorProfile::verify(&signed(&profile(), &forger))), "unknown_kid");
    let elsewhere = VendorProfile { server: "http://licenses.soluna.example".to_owned(), ..profile() };
    assert_eq!(refusal(VendorProfile::verify(&signed(&elsewhere, &root()))), "bad_claim");
}

#[test]
fn repeated_names_in_header_and_content() {
    let key = issuing();
    let (typ, kid) = (ActivationCertificate::TYP, key.id());
    for header in [
        format!(r#"{{"alg":"none","alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","\u0061lg":"none"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","x":1,"x":1}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","x":{{"y":1,"\u0079":2}}}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}","crit":null,"crit":[]}}"#),
    ] {
        assert_eq!(code(&with_header(&header)), "duplicate_name", "{header}");
    }
    let payload = payload_of(&perpetual());
    for more in [
        r#""kind":"perpetual""#,
        r#""rev":2"#,
        r#""\u0072ev":2"#,
        r#""re\u0076":2"#,
        r#""x":1,"x":2"#,
        r#""x":[{"y":{"z":1,"z":2}}]"#,
        r#""cnf":{}"#,
    ] {
        let text = format!("{},{more}}}", &payload[..payload.len() - 1]);
        assert_eq!(code(&with_payload(text)), "duplicate_name", "{more}");
    }
}

#[test]
fn content_that_is_not_plain_json() {
    let payload = payload_of(&perpetual());
    let inside = |more: &str| format!("{},{more}}}", &payload[..payload.len() - 1]).into_bytes();
    let not_utf8 = {
        let mut bytes = inside(r#""x":"?""#);
        let at = bytes.len() - 3;
        bytes[at] = 0xff;
        bytes
    };
    let overlong =
        [payload.as_bytes()[..payload.len() - 1].to_vec(), b",\"x\":\"\xc0\xaf\"}".to_vec()].concat();
    let utf16: Vec<u8> = payload.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("text behind it", format!("{payload}x").into_bytes()),
        ("a second value", format!("{payload}{payload}").into_bytes()),
        ("NUL behind it", format!("{payload}\0").into_bytes()),
        ("NUL within", payload.replace(':', ":\0").into_bytes()),
        ("raw NUL in a string", payload.replace("Soluna", "Sol\0na").into_bytes()),
        ("byte order mark", format!("\u{feff}{payload}").into_bytes()),
        ("UTF-16", utf16),
        ("not UTF-8 in an unknown member", not_utf8),
        ("overlong UTF-8", overlong),
        ("lone surrogate", inside(r#""x":"\ud800""#)),
        ("lone surrogate in a name", inside(r#""\udfff":1"#)),
        ("comment", format!("{payload}/**/").into_bytes()),
        ("trailing comma", inside("")),
        ("not a number", inside(r#""x":NaN"#)),
        ("an array", format!("[{payload}]").into_bytes()),
        ("null", b"null".to_vec()),
        ("a string", b"\"x\"".to_vec()),
        ("deep array", inside(&format!(r#""x":{}{}"#, "[".repeat(5_000), "]".repeat(5_000)))),
        ("deep object", inside(&format!(r#""x":{}0{}"#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000)))),
        ("deep and open", inside(&format!(r#""x":{}"#, "[".repeat(20_000)))),
        ("negative revision", payload.replace(r#""rev":1"#, r#""rev":-1"#).into_bytes()),
        ("huge revision", payload.replace(r#""rev":1"#, r#""rev":4294967296"#).into_bytes()),
        ("fractional revision", payload.replace(r#""rev":1"#, r#""rev":1.0"#).into_bytes()),
        ("huge time", payload.replace(&NOW.0.to_string(), "99999999999999999999").into_bytes()),
        ("impossible date", payload.replace("2027-12-31", "2027-02-31").into_bytes()),
        ("bad product id", payload.replace("com.soluna.synth", "../../synth").into_bytes()),
        ("bad vendor id", payload.replace(r#""com.soluna""#, r#""COM.soluna""#).into_bytes()),
        ("bad machine id", payload.replace(&machine().to_string(), &"A".repeat(32)).into_bytes()),
    ];
    for (name, bytes) in cases {
        assert_ne!(bytes, payload.as_bytes(), "{name} changes nothing");
        assert_eq!(code(&with_payload(bytes)), "bad_json", "{name}");
    }
    // The same garbage as a header.
    for header in ["", "null", "[]", "{", "\u{feff}{}", "{}\0", "\"x\""] {
        assert_eq!(code(&with_header(header)), "bad_json", "{header:?}");
    }
    assert_eq!(code(&with_header("{}")), "wrong_alg");
}

#[test]
fn spellings_of_base64_other_than_the_one() {
    let text = good();
    let last = |part: &str| {
        // The last symbol of a part whose length is not a multiple of four has unused bits: set one of them.
        let symbol = part.chars().last().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let value = alphabet.find(symbol).unwrap();
        assert_ne!(part.len() % 4, 0, "the example leaves no unused bits");
        format!("{}{}", &part[..part.len() - 1], &alphabet[value + 1..value + 2])
    };
    let padded = |part: &str| BASE64URL.encode(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
    let standard = |part: &str| {
        let text = BASE64.encode(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
        text.trim_end_matches('=').to_owned()
    };
    assert!(
        standard(text.split('.').nth(2).unwrap()).contains(['+', '/']),
        "the example must show a difference"
    );
    assert_eq!(code(&with_part(2, last)), "not_compact");
    assert_eq!(code(&with_part(2, padded)), "not_compact");
    assert_eq!(code(&with_part(2, standard)), "not_compact");
    assert_eq!(code(&with_part(0, |p| format!("{p}="))), "not_compact");
    for index in 0..3 {
        // What is not base64url in the content is noticed behind the signature, which covers its spelling.
        let expected = if index == 1 { "bad_signature" } else { "not_compact" };
        for odd in [" ", "\n", "\t", "\0", "=", "+", "/", "é", "\u{feff}", "%2E"] {
            let inside = with_part(index, |p| format!("{}{odd}{}", &p[..8], &p[8..]));
            assert_eq!(code(&inside), expected, "{odd:?} within part {index}");
        }
    }
    // Signed with the odd spelling: then the content's own check finds it.
    let header = BASE64URL_NOPAD.encode(header_of::<ActivationCertificate>(&issuing()).as_bytes());
    for content in
        [format!("{} ", "e30"), "e31".to_owned(), "e30=".to_owned(), "A".to_owned(), "é".to_owned()]
    {
        let signed = format!("{header}.{content}");
        let signature = BASE64URL_NOPAD.encode(&issuing().sign(signed.as_bytes()));
        assert_eq!(code(&format!("{signed}.{signature}")), "not_compact", "{content:?}");
    }
}

#[test]
fn shapes_other_than_three_parts() {
    let text = good();
    let cases = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        text.replace('.', ""),
        text.rsplit_once('.').unwrap().0.to_owned(),
        format!("{text}."),
        format!("{text}.x"),
        format!(".{text}"),
        format!("{text}\n{text}"),
        text.replace('.', " ."),
        text.replace('.', ".\n"),
        text.replace('.', "。"),
        format!("{text}\0"),
        format!("\u{feff}{text}"),
        format!("\"{text}\""),
    ];
    for text in cases {
        let found = code(&text);
        assert!(found == "not_compact" || found == "bad_json" && text.starts_with('.'), "{found}: {text:?}");
    }
    for signature in [0, 1, 63, 65, 128] {
        let short = with_part(2, |_| BASE64URL_NOPAD.encode(&vec![1; signature]));
        assert_eq!(code(&short), "not_compact", "{signature} bytes");
    }
    // White space around a document in a file is passed over; that is all the freedom there is.
    assert_eq!(code(&format!(" \r\n{text}\n")), "believed");
}

#[test]
fn sizes_are_bounded_before_anything_is_read() {
    for (max, code) in [
        (ActivationCertificate::MAX_LEN, code as fn(&str) -> &'static str),
        (Receipt::MAX_LEN, |t| refusal(Receipt::verify(t, &vendor()))),
        (Request::MAX_LEN, |t| refusal(Request::verify(t, &vendor()))),
        (Keyset::MAX_LEN, |t| refusal(Keyset::verify(t, &anchor()))),
        (Sunset::MAX_LEN, |t| refusal(Sunset::verify(t, &anchor()))),
        (VendorProfile::MAX_LEN, |t| refusal(VendorProfile::verify(t))),
        (Manifest::MAX_LEN, |t| refusal(Manifest::verify(t, &keyset()))),
        (Answer::MAX_LEN, |t| refusal(Answer::verify(t, &keyset(), &Sha256([0; 32]), device().id()))),
    ] {
        assert_eq!(code(&"A".repeat(max + 1)), "too_large", "{max}");
        assert_eq!(code(&"A".repeat(max)), "not_compact", "{max}");
    }
}

#[test]
fn many_names_take_no_more_than_their_length() {
    use std::fmt::Write;
    // 16 MB of names in one object: a reader that compares each with each would sit here for hours.
    let mut header = String::from("{");
    for n in 0..900_000 {
        write!(header, "\"{n:x}\":0,").unwrap();
    }
    header.push_str("\"alg\":\"none\"}");
    let text = format!("{}.e30.AA", BASE64URL_NOPAD.encode(header.as_bytes()));
    assert!(text.len() < Answer::MAX_LEN);
    let answer = Answer::verify(&text, &keyset(), &Sha256([0; 32]), device().id());
    assert_eq!(refusal(answer), "wrong_alg");
}

#[test]
fn claims_that_contradict_each_other() {
    let endless = ActivationCertificate { exp: None, ..subscription() };
    assert_eq!(code(&signed(&endless, &issuing())), "bad_claim");
    let endless = ActivationCertificate { exp: None, ..trial() };
    assert_eq!(code(&signed(&endless, &issuing())), "bad_claim");
    let ending = ActivationCertificate { exp: Some(NOW), kind: LicenseKind::Perpetual, ..perpetual() };
    assert_eq!(code(&signed(&ending, &issuing())), "bad_claim");
}

#[test]
fn any_changed_character_is_noticed() {
    let text = good();
    for (index, byte) in text.bytes().enumerate() {
        let mut wrong = text.clone().into_bytes();
        wrong[index] = if byte == b'A' { b'B' } else { b'A' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_ne!(code(&wrong), "believed", "character {index}");
    }
}

#[test]
fn answers_belong_to_their_request_and_device() {
    let text = signed(&activated_answer(), &issuing());
    let request = request_hash(&activate_request());
    let verify = |request: &Sha256, device: &SigningKey| {
        refusal(Answer::verify(&text, &keyset(), request, device.id()))
    };
    assert_eq!(verify(&request, &device()), "believed");
    assert_eq!(verify(&request_hash(&refresh_request()), &device()), "other_request");
    assert_eq!(verify(&request, &stranger()), "other_device");
    // An answer is read once, when it comes: an old key has no business there, however old the answer claims to be.
    let backdated = Answer { iat: NOW.plus(-90 * DAY), ..activated_answer() };
    let old = Answer::verify(&signed(&backdated, &retired()), &keyset(), &request, device().id());
    assert_eq!(refusal(old), "retired_key");
}

#[test]
fn requests_are_closed_lists() {
    let sign_with = |payload: String| {
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, device().public());
        let header = header_of::<Request>(&device());
        let header = format!("{},\"jwk\":{jwk}}}", &header[..header.len() - 1]);
        refusal(Request::verify(&sign_raw(header.as_bytes(), payload.as_bytes(), &device()), &vendor()))
    };
    let whole = serde_json::to_value(activate_request()).unwrap();
    assert_eq!(sign_with(whole.to_string()), "believed");
    for place in ["", "/order", "/order/machine", "/order/machine/os", "/order/machine/cpu"] {
        let mut more = whole.clone();
        more.pointer_mut(place).unwrap()["email"] = json!("someone@example.org");
        assert_eq!(sign_with(more.to_string()), "bad_json", "{place}");
    }
    // A list of an object's values is no second spelling of it.
    let machine_facts = &whole["order"]["machine"];
    let order = json!(["activate", whole["order"]["serial"], whole["order"]["proof"], machine_facts]);
    let cpu = json!([machine_facts["cpu"]["model"], machine_facts["cpu"]["logical_cores"]]);
    for (place, list) in [("/order", order), ("/order/machine/cpu", cpu)] {
        let mut listed = whole.clone();
        *listed.pointer_mut(place).unwrap() = list;
        assert_eq!(sign_with(listed.to_string()), "bad_json", "{place}");
    }
    let mut empty = whole.clone();
    empty["receipts"] = json!([]);
    assert_eq!(sign_with(empty.to_string()), "believed");
    let mut held = serde_json::to_value(refresh_request()).unwrap();
    assert_eq!(sign_with(held.to_string()), "believed");
    held["order"]["activations"][0]["path"] = json!("/home/someone");
    assert_eq!(sign_with(held.to_string()), "bad_json");
    let mut seats = serde_json::to_value(seats_request()).unwrap();
    assert_eq!(sign_with(seats.to_string()), "believed");
    let one = seats["order"]["activations"][0].clone();
    seats["order"]["activations"] = json!(vec![one; Request::MAX_SEATS + 1]);
    assert_eq!(sign_with(seats.to_string()), "bad_claim");
    let mut free = serde_json::to_value(free_request()).unwrap();
    assert_eq!(sign_with(free.to_string()), "believed");
    for (other, expected) in
        [(json!("x".repeat(129)), "bad_claim"), (json!("a\u{7}b"), "bad_claim"), (json!(7), "bad_json")]
    {
        free["order"]["other"] = other;
        assert_eq!(sign_with(free.to_string()), expected);
    }
    for whole in [seats_request(), free_request()] {
        let mut more = serde_json::to_value(whole).unwrap();
        more["order"]["email"] = json!("someone@example.org");
        assert_eq!(sign_with(more.to_string()), "bad_json");
    }
    for order in ["refresh", "deactivate", "seats", "free"] {
        // Members of another order are unknown members, too.
        let mut mixed = whole.clone();
        mixed["order"]["op"] = json!(order);
        mixed["order"]["machine_id"] = json!(machine());
        assert_eq!(sign_with(mixed.to_string()), "bad_json", "{order}");
    }
    let mut receipt = serde_json::to_value(receipt()).unwrap();
    receipt["reason"] = json!("tired of it");
    let header = format!(
        r#"{{"alg":"EdDSA","typ":"{}","kid":"{}","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{}"}}}}"#,
        Receipt::TYP,
        device().id(),
        device().public()
    );
    let text = sign_raw(header.as_bytes(), receipt.to_string().as_bytes(), &device());
    assert_eq!(refusal(Receipt::verify(&text, &vendor())), "bad_json");
}

#[test]
fn requests_carry_their_key_and_stay_within_bounds() {
    let key = device();
    let named = sign(&activate_request(), &key, KeyInHeader::Named);
    assert_eq!(refusal(Request::verify(&named, &vendor())), "no_kid");
    let named = sign(&receipt(), &key, KeyInHeader::Named);
    assert_eq!(refusal(Receipt::verify(&named, &vendor())), "no_kid");

    let check = |change: &dyn Fn(&mut Request)| {
        let mut request = activate_request();
        change(&mut request);
        refusal(Request::verify(&signed_request(&request), &vendor()))
    };
    assert_eq!(check(&|_| {}), "believed");
    assert_eq!(check(&|r| r.v = 2), "bad_claim");
    assert_eq!(check(&|r| r.receipts = vec![String::new(); 257]), "bad_claim");
    let text = |long: String| {
        check(&move |r: &mut Request| {
            if let Order::Activate { machine, .. } = &mut r.order {
                machine.cpu.model.clone_from(&long);
            }
        })
    };
    assert_eq!(text("x".repeat(128)), "believed");
    assert_eq!(text("x".repeat(129)), "bad_claim");
    assert_eq!(text("a\u{1b}[2Jb".to_owned()), "bad_claim");
}

fn anchor() -> TrustAnchor {
    profile().anchor(0)
}
