//! An issuing key was stolen: it is declared compromised while the server runs, machines get their certificates issued
//! anew at their next contact, and what the stolen key signed is worth nothing where the new keyset is known.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::PathBuf;

use claviger_tests::machine::files_below;
use claviger_tests::world::{PRODUCT, read};
use claviger_tests::{Machine, World};
use serde_json::Value;

/// The certificate of the one product that is active on a machine.
fn certificate(machine: &Machine) -> PathBuf {
    let mut found = files_below(&machine.certificates());
    found.retain(|file| file.components().any(|c| c.as_os_str() == "products"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The key that signed a document in compact form.
fn signed_by(text: &str) -> String {
    let header = text.split('.').next().unwrap();
    let header = data_encoding::BASE64URL_NOPAD.decode(header.as_bytes()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_stolen_issuing_key_is_compromised_and_certificates_are_issued_anew() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let file = certificate(&machine);
    let old = read(&file);
    let stolen = signed_by(&old);

    let roots = world.data().join("demo-root-keys");
    let (root, passphrase) = (roots.join("root-active.clvroot"), roots.join("passphrase.txt"));
    let (root, passphrase) = (root.to_str().unwrap(), passphrase.to_str().unwrap());
    let change = ["keys", "compromise", &stolen, "--root-key", root, "--passphrase-file", passphrase];
    let _said = world.server_json(&change);
    let keys = world.server_json(&["keys", "list"]);
    let status = |kid: &str| {
        let all = keys["keys"].as_array().unwrap();
        all.iter().find(|k| k["kid"] == kid).unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&stolen), "compromised");
    assert!(machine.is_licensed(PRODUCT), "a machine that has not heard of it goes on");
    assert_eq!(read(&file), old);

    let _said = machine.claviger(&["license", "refresh"]).ok();
    assert!(machine.is_licensed(PRODUCT));
    let new = read(&certificate(&machine));
    let signer = signed_by(&new);
    assert_ne!(signer, stolen, "it was issued anew");
    assert_eq!(status(&signer), "active");
    assert_eq!(world.seats_taken(&license), 1, "for the same seat");

    // What the thief could have signed licenses nothing here any more, whatever the daemon does.
    let mut machine = machine;
    machine.stop_daemon();
    std::fs::write(&file, &old).unwrap();
    assert!(!machine.is_licensed(PRODUCT));
    std::fs::write(&file, &new).unwrap();
    assert!(machine.is_licensed(PRODUCT));
    // The daemon keeps what is good, and gives it up as any other.
    machine.start_daemon();
    let _said = machine.claviger(&["deactivate", &license.serial]).ok();
    assert_eq!(world.seats_taken(&license), 0);
}
