//! A profile on disk only tells where to connect: whoever forges one licenses nothing.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, KeyInHeader, Keyset, sign};
use claviger_tests::vendor::Vendor;
use claviger_tests::world::{PRODUCT, read};
use claviger_tests::{Machine, World};

/// `claviger check` with a profile compiled in, as a plug-in has it.
fn plug_in(machine: &Machine, profile: &std::path::Path) -> String {
    let done = machine.claviger(&["--json", "check", PRODUCT, "--profile", profile.to_str().unwrap()]);
    done.json()["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_forged_root_licenses_nothing() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let compiled_in = world.path("compiled-in.clvprofile");
    std::fs::copy(world.profile(), &compiled_in).unwrap();
    assert_eq!(plug_in(&machine, &compiled_in), "licensed");
    let folder = machine.certificates().join("com.example");
    let certificates = folder.join("products").join(PRODUCT);
    let genuine = std::fs::read_dir(&certificates).unwrap().next().unwrap().unwrap().path();
    let (anchor, keyset) = world.anchor();
    let content =
        ActivationCertificate::verify(&read(&genuine), &Keyset::verify(&keyset, &anchor).unwrap()).unwrap();

    let forger = Vendor::new("com.example", "SOL");
    let forged_profile = world.path("forged.clvprofile");
    std::fs::write(&forged_profile, forger.profile("http://127.0.0.1:9")).unwrap();
    let done = machine.claviger(&["vendor", "add", forged_profile.to_str().unwrap()]).refused();
    assert!(done.text().contains("key"), "{done}");
    assert_eq!(plug_in(&machine, &compiled_in), "licensed");

    // The forger writes into the store himself: profile, keyset with a huge number, certificate.
    machine.stop_daemon();
    std::fs::write(folder.join("vendor.clvprofile"), forger.profile("http://127.0.0.1:9")).unwrap();
    std::fs::write(folder.join("keyset.jws"), forger.keyset(9_999)).unwrap();
    assert_eq!(plug_in(&machine, &compiled_in), "licensed", "a forged keyset takes no license away");
    let forged = ActivationCertificate { iat: Timestamp(1_800_000_000), rev: 99, ..content };
    std::fs::write(&genuine, sign(&forged, &forger.issuing, KeyInHeader::Named)).unwrap();
    assert_eq!(plug_in(&machine, &compiled_in), "untrusted");
}
