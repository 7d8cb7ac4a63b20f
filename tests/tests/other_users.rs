//! Other people on the same computer: they share its seat, and none of them commands another's daemon.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};

const ANNA: u32 = 61_234;
const BEN: u32 = 61_235;

fn user(world: &World, user: u32) -> Machine {
    let mut machine = Machine::user(&world.folder(), user);
    machine.start_daemon();
    // The profile lies where only its owner reads it; users get it from an installer.
    let profile = machine.home.parent().unwrap().join("example.clvprofile");
    std::fs::copy(world.profile(), &profile).unwrap();
    std::fs::set_permissions(&profile, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    machine.add_vendor(&profile);
    machine
}

#[test]
fn two_users_with_daemons_of_their_own_share_one_seat() {
    let world = World::new();
    let license = world.issue(2);
    let (anna, ben) = (user(&world, ANNA), user(&world, BEN));
    let _said = anna.activate(&license).ok();
    let _said = ben.activate(&license).ok();
    assert!(anna.is_licensed(PRODUCT) && ben.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}

#[test]
fn nobody_commands_another_user_s_daemon() {
    let world = World::new();
    let license = world.issue(1);
    let mut anna = user(&world, ANNA);
    let _said = anna.activate(&license).ok();
    let mut ben = Machine::user(&world.folder(), BEN);
    // Ben points his command line at Anna's home: her folders are closed to him.
    let own = std::mem::replace(&mut ben.home, anna.home.clone());
    let done = ben.claviger(&["deactivate", PRODUCT]).refused();
    assert!(!done.text().is_empty(), "{done}");
    ben.home = own;
    // Root gets through closed folders: the daemon itself asks who is there.
    let root = {
        let mut machine = Machine::this(&world.folder());
        machine.home.clone_from(&anna.home);
        machine
    };
    let done = root.claviger(&["deactivate", PRODUCT]).refused();
    assert!(!done.text().contains("given up"), "{done}");
    let mut raw = anna.connect();
    let reply = raw.call("Deactivate", &serde_json::json!({ "target": PRODUCT }));
    assert!(reply.is_err() || reply.is_ok_and(|r| r["error"].is_string()));
    assert!(anna.daemon().is_running());
    assert!(anna.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    let _said = anna.claviger(&["deactivate", PRODUCT]).ok();
}
