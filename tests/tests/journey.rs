//! The main job, as a customer does it: activate, be licensed with everything stopped, give it up.

use claviger_tests::world::{PRODUCT, PRODUCT_NAME};
use claviger_tests::{Machine, World};

#[test]
fn a_serial_number_becomes_a_license_and_frees_its_seat_again() {
    let mut world = World::new();
    let license = world.issue(3);
    let mut machine = world.this_machine();

    assert_eq!(machine.status_of(PRODUCT), "not_activated");
    let _said = machine.activate(&license).ok().says(&[PRODUCT_NAME, "activated"]);
    assert!(machine.is_licensed(PRODUCT_NAME));
    assert_eq!(world.seats_taken(&license), 1);
    let listed = machine.json(&["license", "list"]);
    assert_eq!(listed["licenses"][0]["serial"], license.serial.as_str());
    assert_eq!(listed["licenses"][0]["status"], "licensed");

    machine.stop_daemon();
    world.stop_server();
    assert!(machine.is_licensed(PRODUCT), "licensed with everything stopped");

    world.start_server();
    machine.start_daemon();
    let given_up = machine.json(&["deactivate", PRODUCT_NAME]);
    assert_eq!(given_up["delivered"], true);
    assert_eq!(machine.status_of(PRODUCT), "given_up");
    assert_eq!(world.seats_taken(&license), 0);

    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT), "activating again makes a new activation");
    assert_eq!(world.seats_taken(&license), 1);
}

#[test]
fn giving_up_works_without_the_server_and_is_delivered_later() {
    let mut world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    world.stop_server();
    let given_up = machine.json(&["deactivate", &license.serial]);
    assert_eq!(given_up["delivered"], false);
    assert!(!machine.is_licensed(PRODUCT), "no new process is licensed after the receipt");
    world.start_server();
    assert_eq!(world.seats_taken(&license), 1);
    let _said = machine.claviger(&["license", "refresh"]).ok();
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn a_receipt_travels_inside_the_next_activation() {
    let mut world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    world.stop_server();
    let _said = machine.claviger(&["deactivate", PRODUCT]).ok();
    world.start_server();
    // The only seat is still taken by the activation that was given up: its receipt has to come first.
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}

#[test]
fn the_command_line_starts_the_daemon_and_says_so() {
    let world = World::new();
    let machine = Machine::this(&world.folder());
    let done = machine.claviger(&["vendor", "add", world.profile().to_str().unwrap()]).ok();
    assert!(done.text().contains("daemon"), "{done}");
    let status = machine.json(&["daemon", "status"]);
    assert!(status["status"]["pid"].as_i64().is_some_and(|pid| pid > 0), "{status}");
    let license = world.issue(1);
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT));
    machine.end_stray_daemon();
}

#[test]
fn mistyped_serials_and_codes_never_reach_the_network() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let before = world.proxy.requests();
    let mut mistyped = license.clone();
    let last = mistyped.serial.pop().unwrap();
    mistyped.serial.push(if last == '2' { '3' } else { '2' });
    let done = machine.activate(&mistyped).refused().says(&["mistyped"]);
    assert_eq!(done.code, Some(3));
    let mut mistyped = license.clone();
    let last = mistyped.unlock_code.pop().unwrap();
    mistyped.unlock_code.push(if last == '2' { '3' } else { '2' });
    let done = machine.activate(&mistyped).refused();
    assert_eq!(done.code, Some(3));
    assert!(!done.text().contains(&mistyped.unlock_code), "an error never quotes the code");
    assert_eq!(world.proxy.requests(), before);
    // Typed as people type, it is understood.
    let mut sloppy = license.clone();
    sloppy.serial = sloppy.serial.to_lowercase().replace('-', " ");
    sloppy.unlock_code = format!(" {} ", sloppy.unlock_code.to_lowercase().replace('-', "_"));
    let _said = machine.activate(&sloppy).ok();
    assert_eq!(world.seats_taken(&license), 1);
}

#[test]
fn an_unknown_serial_and_a_wrong_code_look_alike() {
    let world = World::new();
    let (one, two) = (world.issue(1), world.issue(1));
    let machine = world.this_machine();
    let mut wrong = one.clone();
    wrong.unlock_code = two.unlock_code;
    let wrong_code = machine.activate(&wrong).refused();
    let prefix = "SOL".parse().unwrap();
    let rng = ring::rand::SystemRandom::new();
    wrong.serial = claviger_protocol::serial::Serial::random(&prefix, &rng).unwrap().to_string();
    let unknown = machine.activate(&wrong).refused();
    assert_eq!((wrong_code.code, unknown.code), (Some(8), Some(8)), "{wrong_code}{unknown}");
    assert_eq!(wrong_code.text(), unknown.text().replace(&wrong.serial, &one.serial));
    assert_eq!(world.seats_taken(&one), 0);
}
