//! `claviger check` from files alone: no daemon runs in any of these tests.

mod support;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::LicenseKind;
use claviger_protocol::ids::MachineId;
use support::{Home, certificate, issuing, profile_text};

#[test]
fn licensed_by_name_id_and_ending() {
    let home = Home::new();
    home.with_certificate(&certificate(), &issuing(1));
    let serial = certificate().serial.to_string();
    for product in ["com.example.synth", "synth", "Solstice", "SOLSTICE", &serial.to_lowercase()] {
        let ran = home.run(&["check", product]);
        assert_eq!(ran.code, 0, "{product}: {}{}", ran.out, ran.err);
    }
    let ran = home.run(&["check", "synth", "--json"]);
    let answer = ran.json();
    assert_eq!(answer["licensed"], true);
    assert_eq!(answer["status"], "licensed");
    assert_eq!(answer["product"], "com.example.synth");
    assert_eq!(answer["kind"], "perpetual");
    assert_eq!(answer["entitlements"][0], "mpe");
    assert!(!home.path().join("log").exists(), "no daemon was started");
}

#[test]
fn each_reason_has_its_code() {
    let check =
        |home: &Home, more: &[&str]| home.run(&[&["check", "com.example.synth", "--json"], more].concat());
    let home = Home::new();
    let ran = check(&home, &[]);
    assert_eq!((ran.code, ran.json()["status"].as_str()), (20, Some("not_activated")));
    home.with_vendor();
    assert_eq!(check(&home, &[]).code, 20);

    let mut trial = certificate();
    (trial.kind, trial.exp) = (LicenseKind::Trial, Some(Timestamp(1_700_000_001)));
    home.with_certificate(&trial, &issuing(1));
    assert_eq!(check(&home, &[]).code, 21);

    let mut old = certificate();
    old.updates_until = Some("2025-01-01".parse().unwrap());
    home.with_certificate(&old, &issuing(1));
    assert_eq!(check(&home, &[]).code, 0);
    assert_eq!(check(&home, &["--release-date", "2025-01-01"]).code, 0);
    assert_eq!(check(&home, &["--release-date", "2025-01-02"]).code, 22);

    let mut other = certificate();
    other.machine = MachineId([1; 16]);
    home.with_certificate(&other, &issuing(1));
    assert_eq!(check(&home, &[]).code, 24);

    let file = home.with_certificate(&certificate(), &issuing(7));
    assert_eq!(check(&home, &[]).code, 41);
    std::fs::write(&file, "x").unwrap();
    assert_eq!(check(&home, &[]).code, 40);
}

#[test]
fn the_genuine_profile_unmasks_a_forged_store() {
    let home = Home::new();
    home.with_certificate(&certificate(), &issuing(7));
    std::fs::write(home.path().join("certs/com.example/vendor.clvprofile"), profile_text(7)).unwrap();
    let genuine = home.path().join("genuine.clvprofile");
    std::fs::write(&genuine, profile_text(1)).unwrap();
    let ran = home.run(&["check", "com.example.synth", "--profile", genuine.to_str().unwrap()]);
    assert_eq!(ran.code, 41, "{}", ran.out);
}

#[test]
fn a_store_that_cannot_be_read_says_so() {
    let home = Home::new();
    std::fs::write(home.path().join("certs"), "not a folder").unwrap();
    assert_eq!(home.run(&["check", "com.example.synth"]).code, 43);
}

#[test]
fn a_product_of_two_vendors_asks_which_one() {
    let home = Home::new();
    home.with_certificate(&certificate(), &issuing(1));
    // The same id in another vendor's folder, as two vendors may name a product.
    let other = home.path().join("certs/com.other/products/com.example.synth");
    std::fs::create_dir_all(other).unwrap();
    let ran = home.run(&["check", "com.example.synth"]);
    assert_eq!(ran.code, 5, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("\n    claviger check com.example.synth --vendor com.other"), "{}", ran.err);
    let ran = home.run(&["check", "com.example.synth", "--vendor", "com.example"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(home.run(&["check", "synth", "--vendor", "nobody"]).code, 4);
}

#[test]
fn what_was_given_up_is_still_known_by_its_name() {
    let home = Home::new();
    let file = home.with_certificate(&certificate(), &issuing(1));
    std::fs::write(
        file.with_extension("ended"),
        r#"{"reason":"given_up","at":1800000000,"name":"Solstice"}"#,
    )
    .unwrap();
    std::fs::remove_file(&file).unwrap();
    let ran = home.run(&["check", "Solstice", "--json"]);
    assert_eq!(ran.json()["status"], "given_up", "{}{}", ran.out, ran.err);
}
