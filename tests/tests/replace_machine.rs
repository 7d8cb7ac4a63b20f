//! A lost or dead machine's seat is taken over, within the license's budget; the lost machine learns it when it is found.

use claviger_tests::World;
use claviger_tests::device::Device;
use claviger_tests::world::PRODUCT;

#[test]
fn a_dead_machine_s_seat_is_taken_over_and_it_learns_why() {
    let world = World::new();
    let license = world.issue(1);
    let old = world.machine("Old laptop");
    let new = world.machine("New tower");
    let _said = old.activate(&license).ok();
    assert_eq!(new.activate(&license).refused().code, Some(7));
    let _said = new.activate_with(&license, &["--replace-machine", "Old laptop"]).ok();
    assert!(new.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    assert!(old.is_licensed(PRODUCT), "a perpetual license never has to call home");

    let _said = old.claviger(&["license", "refresh"]).ok();
    assert_eq!(old.status_of(PRODUCT), "replaced");
    let done = old.claviger(&["check", PRODUCT]).refused();
    assert_eq!(done.code, Some(25), "{done}");
    let listed = old.json(&["license", "list"]);
    assert_eq!(listed["licenses"][0]["status"], "replaced");
    assert_eq!(listed["licenses"][0]["ended_by"], "New tower");
    let _said = old.claviger(&["license", "show", PRODUCT]).ok().says(&["Another computer", "New tower"]);
    assert!(new.is_licensed(PRODUCT));
}

#[test]
fn a_machine_can_be_named_by_its_id_and_an_unknown_one_changes_nothing() {
    let world = World::new();
    let license = world.issue(1);
    let old = world.machine("Old");
    let new = world.machine("New");
    let _said = old.activate(&license).ok();
    let _said = new.activate_with(&license, &["--replace-machine", "Nobody"]).refused().says(&["Old"]);
    assert_eq!(world.seats_taken(&license), 1);
    let shown = old.json(&["machine", "show"]);
    let id = shown["machines"][0]["machine_id"].as_str().unwrap().to_owned();
    let _said = new.activate_with(&license, &["--replace-machine", &id]).ok();
    assert!(new.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}

#[test]
fn replacements_without_a_receipt_are_budgeted() {
    let world = World::new();
    let license = world.issue(1);
    let mut http = world.http();
    let nonce = || claviger_protocol::ids::Nonce::random(&ring::rand::SystemRandom::new()).unwrap();
    let first = Device::new(&world.vendor, "Machine 0");
    assert_eq!(http.send("activate", &first.activate(&license)).status, 200);
    for number in 1..=6 {
        let next = Device::new(&world.vendor, &format!("Machine {number}"));
        let replaced = format!("Machine {}", number - 1);
        let reply = http.send("activate", &next.activate_with(&license, nonce(), Some(&replaced)));
        assert_eq!(reply.status, 200, "replacement {number}: {}", reply.json());
    }
    let seventh = world.machine("Seventh");
    let done = seventh.activate_with(&license, &["--replace-machine", "Machine 6"]).refused();
    assert_eq!(done.code, Some(6), "{done}");
    assert!(!seventh.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}
