//! An activation belongs to the machine: deleting files takes no second seat, copying files gives no second machine.

use claviger_tests::machine::copy_folder;
use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};

#[test]
fn deleting_everything_and_activating_again_takes_no_second_seat() {
    let world = World::new();
    let license = world.issue(2);
    let mut machine = world.machine("Studio");
    let _said = machine.activate(&license).ok();
    for round in 0..3 {
        machine.stop_daemon();
        let lost = if round == 0 { machine.home.join("state") } else { machine.home.clone() };
        std::fs::remove_dir_all(lost).unwrap();
        machine.start_daemon();
        machine.add_vendor(&world.profile());
        let _said = machine.activate(&license).ok();
        assert!(machine.is_licensed(PRODUCT));
        assert_eq!(world.seats_taken(&license), 1, "round {round}");
    }
    let _said = machine.claviger(&["deactivate", PRODUCT]).ok();
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn a_home_copied_to_another_machine_licenses_nothing_there() {
    let world = World::new();
    let license = world.issue(2);
    let mut original = world.machine("Original");
    let _said = original.activate(&license).ok();
    original.stop_daemon();

    let mut copy = Machine::second(&world.folder());
    copy_folder(&original.home, &copy.home);
    let _gone = std::fs::remove_dir_all(copy.home.join("run"));
    assert_eq!(copy.status_of(PRODUCT), "other_machine");
    copy.start_daemon();
    assert!(!copy.is_licensed(PRODUCT));
    // What was copied cannot speak for the original: neither giving up nor asking touches its seat.
    let _tried = copy.claviger(&["deactivate", PRODUCT]);
    let _tried = copy.claviger(&["license", "refresh"]);
    assert_eq!(world.seats_taken(&license), 1);
    original.start_daemon();
    assert!(original.is_licensed(PRODUCT));
    let _said = original.claviger(&["license", "refresh"]).ok();
    assert!(original.is_licensed(PRODUCT));

    // The copy is a machine of its own: it takes its own seat with a key of its own.
    copy.add_vendor(&world.profile());
    let _said = copy.activate(&license).ok();
    assert!(copy.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 2);
}

#[test]
fn a_reinstalled_operating_system_is_offered_to_replace_its_old_self() {
    let world = World::new();
    let license = world.issue(1);
    let before = world.machine("Studio");
    let _said = before.activate(&license).ok();
    // Same computer, same name, new /etc/machine-id.
    let after = world.machine("Studio");
    let done = after.activate(&license).refused();
    assert_eq!(done.code, Some(7));
    let _said = done.says(&["--replace-machine Studio"]);
    let _said = after.activate_with(&license, &["--replace-machine", "Studio"]).ok();
    assert!(after.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}
