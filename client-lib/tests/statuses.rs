//! Every status that files can lead to, from real files.

mod common;

use std::sync::atomic::Ordering;

use claviger_client::protocol::clock::Timestamp;
use claviger_client::protocol::documents::{KeyStatus, LicenseKind};
use claviger_client::protocol::ids::{ActivationId, MachineId};
use claviger_client::protocol::keys::SigningKey;
use claviger_client::{OpenOptions, Status};
use common::{DAY, NOW, SYNTH, World};

#[test]
fn perpetual_license_with_its_terms() {
    let world = World::new();
    assert_eq!(world.open().status(), Status::NotActivated);
    let mut certificate = world.certificate();
    certificate.updates_until = Some("2026-12-31".parse().unwrap());
    world.install(&certificate);
    let license = world.open();
    assert_eq!(license.status(), Status::Licensed);
    assert!(license.has_entitlement("pro") && !license.has_entitlement("max"));
    assert_eq!(license.updates_until().unwrap().to_string(), "2026-12-31");
    assert_eq!((license.days_left(), license.expires()), (None, None));
    assert_eq!(license.certificate().unwrap(), certificate);
    // No clock is ever asked.
    world.clock.0.store(i64::MIN, Ordering::Relaxed);
    assert_eq!(world.open().status(), Status::Licensed);
    assert_eq!(world.open_released("2026-12-31").status(), Status::Licensed);
    assert_eq!(world.open_released("2027-01-01").status(), Status::UpdatesEnded);
    let undated = world.fresh().open(SYNTH, OpenOptions::new()).unwrap();
    assert_eq!(undated.status(), Status::Licensed);
}

#[test]
fn subscriptions_and_clocks() {
    let world = World::new();
    let mut certificate = world.certificate();
    certificate.kind = LicenseKind::Subscription;
    certificate.exp = Some(Timestamp(NOW + 10 * DAY));
    world.install(&certificate);
    let at = |now: i64, note: Option<(i64, Option<i64>)>| {
        let path = world.certs().join("clock.json");
        match note {
            Some((high, grace)) => {
                let grace = grace.map_or("null".to_owned(), |g| g.to_string());
                std::fs::write(path, format!("{{\"high_water\":{high},\"grace_from\":{grace}}}")).unwrap();
            }
            None => drop(std::fs::remove_file(path)),
        }
        world.clock.0.store(now, Ordering::Relaxed);
        let license = world.open();
        (license.status(), license.days_left())
    };
    assert_eq!(at(NOW, None), (Status::Licensed, Some(10)));
    assert_eq!(at(NOW + 9 * DAY + 1, None), (Status::Licensed, Some(1)));
    assert_eq!(at(NOW + 10 * DAY, None), (Status::Licensed, Some(0)));
    assert_eq!(at(NOW + 10 * DAY + 1, None), (Status::Expired, Some(0)));
    // The clock was set back: the latest moment seen counts.
    assert_eq!(at(NOW, Some((NOW + 5 * DAY, None))), (Status::Licensed, Some(5)));
    assert_eq!(at(NOW, Some((NOW + 20 * DAY, None))), (Status::ClockSetBack, Some(0)));
    assert_eq!(at(NOW, Some((NOW + 20 * DAY, Some(NOW)))).0, Status::LicensedClockSetBack);
    assert_eq!(at(NOW + 7 * DAY, Some((NOW + 20 * DAY, Some(NOW)))).0, Status::LicensedClockSetBack);
    assert_eq!(at(NOW + 7 * DAY + 1, Some((NOW + 20 * DAY, Some(NOW)))).0, Status::ClockSetBack);
    assert_eq!(at(NOW - 1, Some((NOW + 20 * DAY, Some(NOW)))).0, Status::ClockSetBack);
    // Half a day is no setting back; a damaged note is no note.
    assert_eq!(at(NOW + 10 * DAY, Some((NOW + 10 * DAY + DAY / 2, None))).0, Status::Expired);
    std::fs::write(world.certs().join("clock.json"), "{").unwrap();
    world.clock.0.store(NOW, Ordering::Relaxed);
    assert_eq!(world.open().status(), Status::Licensed);
}

#[test]
fn other_machines_and_none() {
    let world = World::new();
    let mut certificate = world.certificate();
    certificate.machine = MachineId([0; 16]);
    world.install(&certificate);
    assert_eq!(world.open().status(), Status::OtherMachine);
    // This computer is this computer, whatever certificate lies on it.
    assert_eq!(world.open().machine(), Some(world.certificate().machine));
    let nowhere = world.builder().os_machine_id(None).build().vendor(&world.profile).unwrap();
    let license = nowhere.open(SYNTH, OpenOptions::new()).unwrap();
    assert_eq!((license.status(), license.machine()), (Status::NoMachineId, None));
    // A better one beside it wins.
    let mut good = world.certificate();
    good.jti = ActivationId([8; 16]);
    world.install(&good);
    assert_eq!(world.open().status(), Status::Licensed);
}

#[test]
fn receipts_and_notes() {
    let world = World::new();
    let certificate = world.certificate();
    world.install(&certificate);
    let receipt = format!("{}.receipt", certificate.jti);
    // A torn receipt takes nothing away, and neither does one about another activation.
    let text = world.receipt(certificate.jti);
    world.place(SYNTH, &receipt, &text[..text.len() / 2]);
    assert_eq!(world.open().status(), Status::Licensed);
    world.place(SYNTH, &receipt, world.receipt(ActivationId([1; 16])));
    assert_eq!(world.open().status(), Status::Licensed);
    world.place(SYNTH, &receipt, &text);
    assert_eq!(world.open().status(), Status::GivenUp);
    // A copy under another name does not come back to life.
    world.place(SYNTH, &format!("{}.cert", ActivationId([6; 16])), world.signed(&certificate));
    assert_eq!(world.open().status(), Status::GivenUp);

    let folder = world.folder(SYNTH);
    std::fs::remove_dir_all(folder).unwrap();
    for (reason, status) in [
        ("given_up", Status::GivenUp),
        ("replaced", Status::Replaced),
        ("released", Status::Released),
        ("transferred", Status::Transferred),
        ("suspended", Status::Suspended),
        ("revoked", Status::Revoked),
        ("something_new", Status::Released),
    ] {
        let note = format!(r#"{{"reason":"{reason}","at":5,"by":"Studio\u0007"}}"#);
        world.place(SYNTH, &format!("{}.ended", certificate.jti), note);
        assert_eq!(world.open().status(), status, "{reason}");
    }
    world.place(
        SYNTH,
        &format!("{}.ended", certificate.jti),
        r#"{"reason":"replaced","at":5,"by":"Studio\u0007"}"#,
    );
    assert!(world.open().reason().sentence.contains("“Studio”"));
}

#[test]
fn keysets() {
    let world = World::new();
    let (new, old) = (SigningKey::from_seed(&[4; 32]), &world.issuing);
    let certificate = world.certificate();
    world.install(&certificate);
    world.vendor_file("keyset.jws", world.keyset(6, &[(old, KeyStatus::Retired), (&new, KeyStatus::Active)]));
    assert_eq!(world.open().status(), Status::Licensed);
    world.vendor_file(
        "keyset.jws",
        world.keyset(6, &[(old, KeyStatus::Compromised), (&new, KeyStatus::Active)]),
    );
    assert_eq!(world.says(), (Status::KeyCompromised, "compromised_key"));
    // A lower number, a conflict, a forgery and rubbish are as good as nothing.
    let forged = {
        let keyset = claviger_client::protocol::documents::Keyset {
            iss: world.vendor.clone(),
            number: 9,
            iat: Timestamp(NOW),
            keys: vec![],
        };
        claviger_client::protocol::documents::sign(
            &keyset,
            &new,
            claviger_client::protocol::documents::KeyInHeader::Named,
        )
    };
    for bad in [world.keyset(4, &[]), world.keyset(5, &[]), forged, "x".to_owned(), "x".repeat(100_000)] {
        world.vendor_file("keyset.jws", bad);
        assert_eq!(world.open().status(), Status::Licensed);
    }
    // A library that is open already finds the newer keyset when a certificate needs it.
    std::fs::remove_file(world.certs().join("com.example/keyset.jws")).unwrap();
    std::fs::remove_dir_all(world.folder(SYNTH)).unwrap();
    let vendor = world.fresh();
    let options = OpenOptions::new();
    assert_eq!(vendor.open(SYNTH, options).unwrap().status(), Status::NotActivated);
    let text = claviger_client::protocol::documents::sign(
        &certificate,
        &new,
        claviger_client::protocol::documents::KeyInHeader::Named,
    );
    world.place(SYNTH, &format!("{}.cert", certificate.jti), text);
    assert_eq!(vendor.open(SYNTH, options).unwrap().reason().code, "unknown_kid");
    world.vendor_file("keyset.jws", world.keyset(7, &[(&new, KeyStatus::Active)]));
    assert_eq!(vendor.open(SYNTH, options).unwrap().status(), Status::Licensed);
}

#[test]
fn sunset_frees_on_any_machine() {
    let world = World::new();
    world.vendor_file("sunset.jws", world.sunset(SYNTH, &world.issuing));
    assert_eq!(world.open().status(), Status::NotActivated, "only a root key may do that");
    world.vendor_file("sunset.jws", world.sunset("com.example.other", &world.root));
    assert_eq!(world.open().status(), Status::NotActivated);
    world.vendor_file("sunset.jws", world.sunset(SYNTH, &world.root));
    assert_eq!(world.open().status(), Status::Sunset);
    world.install(&world.certificate());
    assert_eq!(world.open().status(), Status::Licensed);
}

#[test]
fn licensed_stays_licensed_in_a_process() {
    let world = World::new();
    let certificate = world.certificate();
    let vendor = world.fresh();
    let open = || vendor.open(SYNTH, OpenOptions::new()).unwrap();
    let early = open();
    assert_eq!((early.status(), early.changes()), (Status::NotActivated, 1));
    world.install(&certificate);
    assert_eq!(early.refresh(), Status::Licensed);
    assert_eq!((early.changes(), open().changes()), (2, 2));
    world.place(SYNTH, &format!("{}.receipt", certificate.jti), world.receipt(certificate.jti));
    assert_eq!(early.refresh(), Status::Licensed);
    drop(early);
    assert_eq!(open().status(), Status::Licensed);
    assert!(open().has_entitlement("pro"));
    assert_eq!(world.open().status(), Status::GivenUp, "a new process sees the truth");
    // What is opened more while it runs is added.
    std::fs::remove_file(world.folder(SYNTH).join(format!("{}.receipt", certificate.jti))).unwrap();
    world.install(&claviger_client::protocol::documents::ActivationCertificate {
        rev: 2,
        entitlements: vec!["max".to_owned()],
        ..certificate
    });
    assert_eq!(open().refresh(), Status::Licensed);
    assert!(open().has_entitlement("pro") && open().has_entitlement("max"));
}

#[test]
fn wrong_calls_are_told() {
    let world = World::new();
    assert!(world.fresh().open("Not A Product", OpenOptions::new()).is_err());
    assert!(world.builder().build().vendor("rubbish").is_err());
}
