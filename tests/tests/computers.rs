//! Several computers share a license: each sees who holds the seats, one frees the seat of another that is lost, and the lost one
//! learns it when it is found. With a real server and real daemons, as people type it.

use claviger_tests::World;
use claviger_tests::world::PRODUCT;

#[test]
fn a_lost_computer_s_seat_is_freed_from_another_and_seen_by_all() {
    let mut world = World::new();
    let license = world.issue(3);
    let studio = world.machine("Studio");
    let laptop = world.machine("Old laptop");
    let _said = studio.activate(&license).ok();
    let _said = laptop.activate(&license).ok();
    let serial = license.serial.clone();

    let shown = studio.json(&["license", "show", PRODUCT, "--seats"]);
    assert_eq!((&shown["seats"]["total"], &shown["seats"]["taken"]), (&3.into(), &2.into()));
    let mut names: Vec<&str> = shown["seats"]["holders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h["device_name"].as_str().unwrap())
        .collect();
    // Both may have come within one second, which is all that their order goes by.
    names.sort_unstable();
    assert_eq!(names, ["Old laptop", "Studio"]);
    let _said = studio.claviger(&["license", "show", &serial, "--seats"]).ok().says(&[
        "Seats: 2 of 3 in use",
        "Old laptop",
        "this one",
        "“Studio” activated it",
    ]);
    let listed = studio.json(&["machine", "list"]);
    let computers = listed["computers"].as_array().unwrap();
    assert_eq!(listed["complete"], true);
    assert_eq!(computers.len(), 2, "{listed}");
    assert_eq!((&computers[0]["here"], &computers[1]["device_name"]), (&true.into(), &"Old laptop".into()));

    // Without the code nothing is freed; the own seat is not freed this way.
    let free = |name: &str, code: &str| {
        studio.claviger_with(&["machine", "free", name, &serial, "--unlock-code-stdin"], code)
    };
    let wrong = world.issue(1).unlock_code;
    let done = free("Old laptop", &wrong).refused();
    assert_eq!(done.code, Some(8), "{done}");
    let _said = free("Studio", &license.unlock_code).refused().says(&["Old laptop", "claviger deactivate"]);
    assert_eq!(world.seats_taken(&license), 2);
    let _said = free("old LAPTOP", &license.unlock_code).ok().says(&["Old laptop", "holds no seat"]);
    assert_eq!(world.seats_taken(&license), 1);

    // A perpetual license never has to call home; the freed computer learns it when it does.
    assert!(laptop.is_licensed(PRODUCT));
    let refused = laptop.claviger(&["license", "show", PRODUCT, "--seats"]).refused();
    assert_eq!(refused.code, Some(8), "an ended activation proves nothing: {refused}");
    let _said = laptop.claviger(&["license", "refresh"]).ok();
    assert_eq!(laptop.status_of(PRODUCT), "replaced");
    let shown = studio.json(&["license", "show", PRODUCT, "--seats"]);
    let history = shown["seats"]["history"].as_array().unwrap();
    let last = history.iter().find(|event| event["what"] == "replaced").unwrap();
    assert_eq!(
        (&last["what"], &last["device_name"], &last["by"]),
        (&"replaced".into(), &"Old laptop".into(), &"Studio".into())
    );

    // What was sent stands in the log, the code not.
    let sent = studio.json(&["privacy", "log"]);
    let purposes: Vec<&str> =
        sent["sent"].as_array().unwrap().iter().map(|s| s["purpose"].as_str().unwrap()).collect();
    assert!(purposes.contains(&"seats") && purposes.contains(&"free"), "{purposes:?}");
    assert!(!sent.to_string().contains(&license.unlock_code));

    // With the server away this computer is listed all the same, with a sentence and success.
    world.stop_server();
    let done = studio.claviger(&["machine", "list"]).ok().says(&["Studio", "this one", "may be missing"]);
    assert!(!done.text().contains("Old laptop"));
    let done = studio.claviger(&["license", "show", PRODUCT, "--seats"]).refused();
    assert_eq!(done.code, Some(9), "{done}");
}

#[test]
fn settings_are_kept_and_switch_the_network_off() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.machine("Studio");
    let done = machine.claviger(&["daemon", "settings", "--proxy", "nonsense"]).refused();
    assert_eq!(done.code, Some(3), "{done}");
    let _said = done.says(&["http://proxy.example.com:3128"]);
    let _said =
        machine.claviger(&["daemon", "settings", "--network", "off"]).ok().says(&["network", "off", "yours"]);
    machine.stop_daemon();
    machine.start_daemon();
    let done = machine.activate(&license).refused();
    assert_eq!(done.code, Some(9), "{done}");
    let _said = done.says(&["--network on"]);
    assert_eq!(world.seats_taken(&license), 0);
    let set = machine.json(&["daemon", "settings", "--network", "on", "--proxy", "none"]);
    assert_eq!(
        (&set["settings"][1]["value"], &set["settings"][0]["source"]),
        (&"on".into(), &"default".into())
    );
    let _said = machine.activate(&license).ok();
}
