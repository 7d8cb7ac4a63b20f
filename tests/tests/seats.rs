//! Seats: how many there are, who holds them, and what somebody without one is told.

use claviger_tests::World;
use claviger_tests::world::PRODUCT;

#[test]
fn a_fourth_machine_is_told_who_holds_the_seats_and_how_to_free_one() {
    let world = World::new();
    let license = world.issue(3);
    let names = ["Studio tower", "Laptop", "Stage rack"];
    let machines: Vec<_> = names.iter().map(|name| world.machine(name)).collect();
    for machine in &machines {
        let _said = machine.activate(&license).ok();
        assert!(machine.is_licensed(PRODUCT));
    }
    assert_eq!(world.seats_taken(&license), 3);
    assert_eq!(world.activations(&license).len(), 3);

    let fourth = world.machine("Fourth");
    let done = fourth.activate(&license).refused().says(&names);
    let done = done.says(&["claviger deactivate", "--replace-machine", &license.serial]);
    assert_eq!(done.code, Some(7));
    assert!(!fourth.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 3);

    let _said = machines[1].claviger(&["deactivate", PRODUCT]).ok();
    let _said = fourth.activate(&license).ok();
    assert!(fourth.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 3);
    assert!(!machines[1].is_licensed(PRODUCT));
}

#[test]
fn the_support_desk_frees_a_seat_and_the_machine_learns_why() {
    let world = World::new();
    let license = world.issue(1);
    let (first, second) = (world.machine("First"), world.machine("Second"));
    let _said = first.activate(&license).ok();
    let id = world.activations(&license)[0]["id"].as_str().unwrap().to_owned();
    let _said = world.server(&["activation", "release", &id]).ok();
    let _said = second.activate(&license).ok();
    assert!(first.is_licensed(PRODUCT), "offline, a perpetual license goes on");
    let _said = first.claviger(&["license", "refresh"]).ok();
    assert_eq!(first.status_of(PRODUCT), "released");
    assert_eq!(world.seats_taken(&license), 1);
}
