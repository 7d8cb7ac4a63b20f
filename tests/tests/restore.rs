//! A server restored from a backup meets its customers again: no seat lost, none doubled, receipts honoured.

use claviger_tests::World;
use claviger_tests::world::PRODUCT;

#[test]
fn what_happened_after_the_backup_is_put_right_by_the_daemons() {
    let mut world = World::new();
    let (kept, given_up, later) = (world.issue(1), world.issue(1), world.issue(1));
    world.add_product("com.example.second", "Second");
    let machine = world.this_machine();
    let _said = machine.activate(&given_up).ok();
    let _said = machine.activate(&kept).ok();

    let backup = world.path("backup");
    world.backup(&backup);
    // After the backup: one license is given up and its receipt delivered, another one is activated.
    let reply = machine.json(&["deactivate", &given_up.serial]);
    assert_eq!(reply["delivered"], true);
    let _said = machine.activate(&later).ok();
    assert_eq!((world.seats_taken(&given_up), world.seats_taken(&later)), (0, 1));

    world.kill_server();
    world.restore(&backup);
    world.start_server();
    assert_eq!((world.seats_taken(&given_up), world.seats_taken(&later)), (1, 0), "the backup is older");

    let _said = machine.claviger(&["license", "refresh"]).ok();
    // The first answer tells of the new epoch; certificates and receipts are shown with the next request at the latest.
    let _said = machine.claviger(&["license", "refresh"]).ok();
    assert_eq!(world.seats_taken(&kept), 1);
    assert_eq!(world.seats_taken(&given_up), 0, "the receipt is honoured");
    assert_eq!(world.seats_taken(&later), 1, "the genuine certificate is adopted");
    assert!(machine.is_licensed(PRODUCT));
    let listed = machine.json(&["license", "list"]);
    let of = |serial: &str| {
        let all = listed["licenses"].as_array().unwrap();
        all.iter().filter(|l| l["serial"] == serial && l["status"] == "licensed").count()
    };
    assert_eq!((of(&kept.serial), of(&later.serial), of(&given_up.serial)), (1, 1, 0));

    // The adopted seat is a real one: nobody else gets it, and giving it up frees it.
    let device = claviger_tests::device::Device::new(&world.vendor, "Latecomer");
    let reply = world.http().send("activate", &device.activate(&later));
    assert_eq!(reply.code(), "seats_taken");
    let _said = machine.claviger(&["deactivate", &later.serial]).ok();
    assert_eq!(world.seats_taken(&later), 0);
    let reply = world.http().send("activate", &device.activate(&later));
    assert_eq!(reply.status, 200, "{}", reply.json());
}

#[test]
fn a_machine_that_never_asked_keeps_its_license_and_doubles_no_seat() {
    let mut world = World::new();
    let license = world.issue(1);
    let backup = world.path("backup");
    world.backup(&backup);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    world.kill_server();
    world.restore(&backup);
    world.start_server();
    assert!(machine.is_licensed(PRODUCT));
    // Activating again on the same machine with the same key takes the one seat, not a second one.
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}
