//! What must hold for every value, tried with random ones: what is written is read back, and nothing that was changed
//! after signing is believed.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, Answer, DocumentError, KeyInHeader, Keyset, LicenseKind, Manifest, Receipt,
    Request, Sunset, TrustAnchor, VendorProfile, sign,
};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, Nonce, ProductId, VendorId};
use claviger_protocol::ipc::{CallError, Method};
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::keys::{PublicKey, SigningKey};
use claviger_protocol::serial::{Prefix, Serial};
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use common::documents::*;
use common::*;
use proptest::prelude::*;
use serde_json::Value;

/// Every kind of document: a signed example, and how it is verified.
type Kind = (String, Box<dyn Fn(&str) -> Result<(), DocumentError>>);

fn kinds() -> Vec<Kind> {
    fn kind<T>(text: String, verify: impl Fn(&str) -> Result<T, DocumentError> + 'static) -> Kind {
        (text, Box::new(move |text| verify(text).map(|_| ())))
    }
    let anchor: TrustAnchor = profile().anchor(0);
    let other = anchor.clone();
    let request = request_hash(&activate_request());
    vec![
        kind(signed(&profile(), &root()), VendorProfile::verify),
        kind(signed(&keyset(), &root()), move |t| Keyset::verify(t, &anchor)),
        kind(signed(&perpetual(), &issuing()), |t| ActivationCertificate::verify(t, &keyset())),
        kind(signed_receipt(), |t| Receipt::verify(t, &vendor())),
        kind(signed(&manifest(), &issuing()), |t| Manifest::verify(t, &keyset())),
        kind(signed(&sunset(), &root()), move |t| Sunset::verify(t, &other)),
        kind(signed_request(&activate_request()), |t| Request::verify(t, &vendor())),
        kind(signed(&activated_answer(), &issuing()), move |t| {
            Answer::verify(t, &keyset(), &request, device().id())
        }),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,10}(\\.[a-z0-9]{1,10}){1,4}"
}

prop_compose! {
    fn certificate()(
        product in name(), opens in prop::collection::vec(name(), 0..5), title in "\\PC{0,40}",
        entitlements in prop::collection::vec("\\PC{0,20}", 0..4), id in any::<[u8; 16]>(), rev in any::<u32>(),
        iat in any::<i64>(), exp in any::<i64>(), kind in 0usize..3, day in 0i64..3_000_000,
    ) -> ActivationCertificate {
        let kind = [LicenseKind::Perpetual, LicenseKind::Subscription, LicenseKind::Trial][kind];
        ActivationCertificate {
            jti: ActivationId(id), rev, iat: Timestamp(iat), product: product.parse().unwrap(), name: title,
            opens: opens.iter().map(|o| o.parse().unwrap()).collect(), kind, entitlements,
            updates_until: Some(Timestamp(day * 86_400 - 62_000_000_000).date()),
            paid_through: (kind == LicenseKind::Subscription).then_some(Timestamp(iat)),
            exp: (kind != LicenseKind::Perpetual).then_some(Timestamp(exp)), ..perpetual()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn certificates_round_trip(certificate in certificate()) {
        let text = signed(&certificate, &issuing());
        prop_assert_eq!(&text, &signed(&certificate, &issuing()));
        prop_assert_eq!(ActivationCertificate::verify(&text, &keyset()).unwrap(), certificate);
    }

    #[test]
    fn machine_facts_round_trip(
        device in "\\PC{1,64}", os in "[ -~]{0,128}", model in "[ -~]{0,128}", cores in any::<u32>(),
        ram in any::<u32>(), id in any::<[u8; 16]>(), nonce in any::<[u8; 16]>(), seed in any::<[u8; 32]>(),
    ) {
        use claviger_protocol::documents::Order;
        let mut request = activate_request();
        request.nonce = Nonce(nonce);
        let Order::Activate { machine, .. } = &mut request.order else { unreachable!() };
        machine.device_name = DeviceName::lossy(&device);
        machine.os.version = os;
        machine.cpu.model = model;
        machine.cpu.logical_cores = cores;
        machine.ram_gib = ram;
        machine.machine_id = MachineId(id);
        let key = SigningKey::from_seed(&seed);
        let text = sign(&request, &key, KeyInHeader::Carried);
        let (read, by, _) = Request::verify(&text, &vendor()).unwrap();
        prop_assert_eq!((read, by), (request, key.public()));
    }

    #[test]
    fn nothing_changed_after_signing_is_believed(
        kind in 0usize..8, at in any::<prop::sample::Index>(), with in any::<u8>(), how in 0..4, len in 1usize..40,
    ) {
        let (text, verify) = &kinds()[kind];
        prop_assert!(verify(text).is_ok());
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = with & 0x7f,
            1 => bytes.insert(at, with & 0x7f),
            2 => drop(bytes.drain(at..(at + len).min(text.len()))),
            _ => bytes.splice(at..at, text.bytes().take(len)).for_each(drop),
        }
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(changed.trim() == text || verify(&changed).is_err(), "{}", changed);
    }

    #[test]
    fn documents_of_one_kind_are_refused_as_another(a in 0usize..8, b in 0usize..8) {
        let all = kinds();
        prop_assert_eq!(all[a].1(&all[b].0).is_ok(), a == b);
    }

    #[test]
    fn any_text_is_refused_without_panic(text in "\\PC{0,200}|[A-Za-z0-9_.-]{0,300}") {
        for (_, verify) in kinds() {
            prop_assert!(verify(&text).is_err());
        }
        let _ = serde_json::from_str::<Method>(&text);
        let _ = serde_json::from_str::<CallError>(&text);
        let _ = from_slice_strict::<Value>(text.as_bytes());
        let _ = (text.parse::<VendorId>(), text.parse::<ProductId>(), text.parse::<Prefix>(), text.parse::<Date>());
        let _ = (text.parse::<MachineId>(), PublicKey::try_from(text.clone()), Serial::try_from(text.clone()));
        let _ = UnlockCode::parse(&text, &serial());
        let _ = UnlockCode::parse_foreign(&text);
    }

    #[test]
    fn device_names_are_made_valid(text in any::<String>()) {
        let name = DeviceName::lossy(&text);
        prop_assert_eq!(name.as_str().parse::<DeviceName>().unwrap(), name);
    }

    #[test]
    fn strict_json_agrees_with_serde_json(value in json()) {
        let text = value.to_string();
        prop_assert_eq!(from_slice_strict::<Value>(text.as_bytes()).unwrap(), value);
    }

    #[test]
    fn dates_and_moments_agree(seconds in -62_167_219_200i64..253_402_300_800) {
        let date = Timestamp(seconds).date();
        prop_assert!(date.start() <= Timestamp(seconds) && Timestamp(seconds) < date.start().plus(86_400));
        prop_assert_eq!(date.to_string().parse::<Date>().unwrap(), date);
    }

    #[test]
    fn codes_are_read_back_however_they_are_typed(upper in any::<bool>(), separator in "[ _.\u{2013}-]{0,2}") {
        let rng = ring::rand::SystemRandom::new();
        let typed = |text: &str| {
            let text = text.replace('-', &separator);
            if upper { text } else { text.to_lowercase() }
        };
        let serial = Serial::random(&prefix(), &rng).unwrap();
        prop_assert_eq!(&Serial::parse_any(&typed(serial.as_str()), &prefix()).unwrap(), &serial);
        let code = UnlockCode::random(&rng).unwrap();
        let read = UnlockCode::parse(&typed(code.reveal()), &serial).unwrap();
        prop_assert!(read == code);
    }

    #[test]
    fn unlock_proofs_are_bound_to_every_part(machine in any::<[u8; 16]>(), nonce in any::<[u8; 16]>(), flip in 0usize..4) {
        let key = unlock_key(&vendor(), &serial(), Some(&unlock_code()));
        let (m, n) = (MachineId(machine), Nonce(nonce));
        let proof = UnlockProof::sign(&key, &vendor(), &serial(), m, device().id(), n);
        prop_assert!(proof.verify(&key.public(), &vendor(), &serial(), m, device().id(), n).is_ok());
        let other = |bytes: [u8; 16]| bytes.map(|b| b ^ 1);
        let wrong = match flip {
            0 => proof.verify(&key.public(), &"com.other".parse().unwrap(), &serial(), m, device().id(), n),
            1 => proof.verify(&key.public(), &vendor(), &serial(), MachineId(other(machine)), device().id(), n),
            2 => proof.verify(&key.public(), &vendor(), &serial(), m, stranger().id(), n),
            _ => proof.verify(&key.public(), &vendor(), &serial(), m, device().id(), Nonce(other(nonce))),
        };
        prop_assert!(wrong.is_err());
    }
}

/// JSON of moderate depth, with distinct names in each object (a map has no others).
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
