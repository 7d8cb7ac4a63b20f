//! Other people on the same computer: they share its seat, and none of them commands another's daemon.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use claviger_tests::varlink::Connection;
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
    // Even with every door left open the daemon itself asks who is there.
    let mut path = anna.socket();
    while path.starts_with(&anna.home) {
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        path.pop();
    }
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let own = std::mem::replace(&mut ben.home, anna.home.clone());
    let done = ben.claviger(&["deactivate", PRODUCT]).refused();
    assert!(!done.text().contains("given up"), "{done}");
    // His own command line may have refused to speak; another program of his does not.
    let socket = anna.socket();
    let said = std::thread::spawn(move || {
        // Of this thread alone: the daemon sees a peer who is Ben.
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(BEN)).unwrap();
        let mut raw = Connection::open(&socket).ok()?;
        raw.call("Deactivate", &serde_json::json!({ "target": PRODUCT })).ok()
    });
    let said = said.join().unwrap();
    assert!(said.is_none_or(|reply| reply["error"].is_string()), "Ben was obeyed");
    ben.home = own;
    assert!(anna.daemon().is_running());
    assert!(anna.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    let _said = anna.claviger(&["deactivate", PRODUCT]).ok();
}
