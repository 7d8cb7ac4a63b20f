//! Two hundred machines and one seat: exactly one wins, whatever the order.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::sync::{Arc, Barrier};

use claviger_protocol::ids::Nonce;
use claviger_tests::device::{Device, certificate_in};
use claviger_tests::http::Client;
use claviger_tests::world::License;
use claviger_tests::{World, slow};

const MACHINES: usize = 200;
const LICENSES: u32 = 100;

#[test]
fn exactly_one_of_two_hundred_machines_wins_the_last_seat_of_each_license() {
    let rounds = if slow() { 5 } else { 1 };
    for _ in 0..rounds {
        let world = World::new();
        let licenses = world.issue_batch(LICENSES, 2);
        // The first seat of each is taken; the race is for the last.
        let owner = Device::new(&world.vendor, "Owner");
        let mut http = world.http();
        for license in &licenses {
            let reply = http.send("activate", &owner.activate(license));
            assert_eq!(reply.status, 200, "{}", reply.json());
        }
        let wins = race(&world, &licenses);
        for (license, wins) in licenses.iter().zip(&wins) {
            assert_eq!(*wins, 1, "{}", license.serial);
        }
        for license in licenses.iter().step_by(9) {
            assert_eq!(world.seats_taken(license), 2);
        }
    }
}

/// How many machines won each license.
fn race(world: &World, licenses: &[License]) -> Vec<usize> {
    let address = world.server_address();
    let barrier = Arc::new(Barrier::new(MACHINES));
    let licenses = Arc::new(licenses.to_vec());
    let racers: Vec<_> = (0..MACHINES)
        .map(|number| {
            let (barrier, licenses, vendor) = (barrier.clone(), licenses.clone(), world.vendor.clone());
            std::thread::spawn(move || {
                let device = Device::new(&vendor, &format!("Racer {number}"));
                let requests: Vec<String> = licenses.iter().map(|license| device.activate(license)).collect();
                let mut http = Client::connect(address);
                let mut won = Vec::with_capacity(requests.len());
                for request in &requests {
                    barrier.wait();
                    let reply = http.send("activate", request);
                    match reply.status {
                        200 => won.push(true),
                        409 => {
                            assert_eq!(reply.code(), "seats_taken");
                            won.push(false);
                        }
                        other => panic!("{other}: {}", reply.json()),
                    }
                }
                won
            })
        })
        .collect();
    let mut wins = vec![0; licenses.len()];
    for racer in racers {
        for (count, won) in wins.iter_mut().zip(racer.join().unwrap()) {
            *count += usize::from(won);
        }
    }
    wins
}

#[test]
fn the_same_bytes_get_the_same_answer_and_other_bytes_do_not() {
    let world = World::new();
    let license = world.issue(3);
    let device = Device::new(&world.vendor, "One");
    let nonce = Nonce(*b"0123456789abcdef");
    let request = device.activate_with(&license, nonce, None);
    let mut http = world.http();
    let first = http.send("activate", &request);
    assert_eq!(first.status, 200, "{}", first.json());
    let again = http.send("activate", &request);
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(world.seats_taken(&license), 1);

    let other = world.issue(1);
    let reply = http.send("activate", &device.activate_with(&other, nonce, None));
    assert_eq!((reply.status, reply.code().as_str()), (422, "nonce_reused"));

    let (anchor, keyset) = world.anchor();
    let certificate = certificate_in(&first.json(), &anchor, &keyset);
    let reply = http.send("deactivate", &device.deactivate(vec![device.receipt(&certificate)]));
    assert_eq!(reply.status, 200, "{}", reply.json());
    assert_eq!(world.seats_taken(&license), 0);
    let late = http.send("activate", &request);
    assert_eq!((late.status, late.code().as_str()), (409, "activation_given_up"));
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn one_machine_that_asks_with_many_keys_at_once_takes_one_seat() {
    let world = World::new();
    let license = world.issue(2);
    let machine = Device::new(&world.vendor, "Studio").machine;
    let address = world.server_address();
    let askers: Vec<_> = (0..8)
        .map(|_| {
            let (license, vendor) = (license.clone(), world.vendor.clone());
            std::thread::spawn(move || {
                let device = Device::on(&vendor, "Studio", machine);
                Client::connect(address).send("activate", &device.activate(&license)).status
            })
        })
        .collect();
    for asker in askers {
        assert_eq!(asker.join().unwrap(), 200);
    }
    assert_eq!(world.seats_taken(&license), 1);
    let ninth = Device::on(&world.vendor, "Studio", machine);
    let reply = world.http().send("activate", &ninth.activate(&license));
    assert_eq!((reply.status, reply.code().as_str()), (409, "machine_id_shared"));
    assert_eq!(world.seats_taken(&license), 1);
}
