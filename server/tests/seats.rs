//! Who holds the seats is told after proof alone, and freeing another machine's seat is replacing it: over real HTTP, a real
//! database and signatures.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

mod support;

use claviger_protocol::clock::DAY;
use claviger_protocol::documents::{
    ActivationCertificate, EndReason, HeldActivation, KeyInHeader, LicenseSeats, Order, Outcome,
    ReceiptOutcome, SeatChange, sign,
};
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::ids::{Nonce, VendorId};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use claviger_server::keys::Issuer;
use claviger_server::storage::admin::LicenseChange;
use support::{Machine, TestServer, nonce};

type License = (Serial, UnlockCode);

/// What is told to a machine that shows these certificates.
async fn seats(
    server: &TestServer,
    machine: &Machine,
    shown: &[&ActivationCertificate],
) -> Vec<LicenseSeats> {
    let issuer = Issuer::load(&server.data).unwrap();
    let activations = shown
        .iter()
        .map(|c| HeldActivation {
            id: c.jti,
            rev: c.rev,
            certificate: Some(sign(*c, issuer.signing_key(), KeyInHeader::Named)),
        })
        .collect();
    let order = Order::Seats { machine_id: machine.facts.machine_id, activations };
    let request = machine.request(order, vec![], nonce());
    match server.ask(machine, "/v1/seats", &request).await.unwrap().outcome {
        Outcome::Seats { licenses } => licenses,
        other => panic!("{other:?}"),
    }
}

fn free_request(machine: &Machine, (serial, code): &License, other: &str, nonce: Nonce) -> String {
    let vendor: VendorId = "com.example".parse().unwrap();
    let machine_id = machine.facts.machine_id;
    let unlock = unlock_key(&vendor, serial, Some(code));
    let proof = UnlockProof::sign(&unlock, &vendor, serial, machine_id, machine.key.id(), nonce);
    let order = Order::Free { machine_id, serial: serial.clone(), proof, other: other.to_owned() };
    machine.request(order, vec![], nonce)
}

async fn free(
    server: &TestServer,
    machine: &Machine,
    license: &License,
    other: &str,
) -> Result<String, Problem> {
    let request = free_request(machine, license, other, nonce());
    match server.ask(machine, "/v1/free", &request).await?.outcome {
        Outcome::Freed { device_name, .. } => Ok(device_name.to_string()),
        other => panic!("{other:?}"),
    }
}

fn names(told: &LicenseSeats) -> Vec<&str> {
    told.holders.iter().map(|h| h.device_name.as_str()).collect()
}

fn past(told: &LicenseSeats) -> Vec<(SeatChange, &str)> {
    told.history.iter().map(|e| (e.what, e.device_name.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_are_told_to_who_holds_one_and_to_nobody_else() {
    let server = TestServer::new().await;
    let license = server.license(3).await;
    let (studio, laptop) = (Machine::new("studio"), Machine::new("laptop"));
    let mine = server.activate(&studio, &license).await.unwrap();
    server.clock.advance(60);
    let theirs = server.activate(&laptop, &license).await.unwrap();
    let told = seats(&server, &studio, &[&mine]).await;
    assert_eq!((told.len(), told[0].id, told[0].total, told[0].taken), (1, mine.jti, 3, 2));
    assert_eq!(names(&told[0]), ["studio", "laptop"]);
    assert_eq!(past(&told[0]), [(SeatChange::Activated, "laptop"), (SeatChange::Activated, "studio")]);
    // Another machine's certificate, one's own under a new key, and none at all prove nothing.
    assert_eq!(seats(&server, &studio, &[&theirs]).await, []);
    assert_eq!(seats(&server, &studio.with_new_key(), &[&mine]).await, []);
    let order = Order::Seats {
        machine_id: studio.facts.machine_id,
        activations: vec![HeldActivation { id: mine.jti, rev: mine.rev, certificate: None }],
    };
    let request = studio.request(order, vec![], nonce());
    let answer = server.ask(&studio, "/v1/seats", &request).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Seats { licenses: vec![] });
    // Nor does one that has ended.
    server.clock.advance(60);
    assert_eq!(server.deactivate(&studio, &mine).await, ReceiptOutcome::Accepted);
    assert_eq!(seats(&server, &studio, &[&mine]).await, []);
    let told = seats(&server, &laptop, &[&theirs]).await;
    assert_eq!(names(&told[0]), ["laptop"]);
    assert_eq!(past(&told[0])[0], (SeatChange::GivenUp, "studio"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_does_not_learn_of_the_old_one_s_computers() {
    let server = TestServer::new().await;
    let mut license = server.license(2).await;
    let old = Machine::new("old owner's secret studio");
    server.activate(&old, &license).await.unwrap();
    let gone = Machine::new("old owner's attic");
    let certificate = server.activate(&gone, &license).await.unwrap();
    server.deactivate(&gone, &certificate).await;
    server.clock.advance(60);
    let fresh = server.license(1).await.1;
    let vendor: VendorId = "com.example".parse().unwrap();
    let key = unlock_key(&vendor, &license.0, Some(&fresh)).public();
    let now = claviger_protocol::clock::Clock::now(server.clock.as_ref());
    server.store.change_license(license.0.clone(), LicenseChange::Transfer(key), now).await.unwrap();
    license.1 = fresh;
    server.clock.advance(60);
    let new = Machine::new("new owner's studio");
    let held = server.activate(&new, &license).await.unwrap();
    let told = seats(&server, &new, &[&held]).await;
    assert_eq!(names(&told[0]), ["new owner's studio"]);
    assert_eq!(past(&told[0]), [(SeatChange::Activated, "new owner's studio")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freeing_a_seat_counts_as_replacing_its_machine() {
    let server = TestServer::new().await;
    let mut order = server.order(3);
    order.replacement_budget = Some(1);
    let license = server.issue(&order).await.remove(0);
    let (studio, laptop, attic) = (Machine::new("Studio"), Machine::new("Laptop"), Machine::new("Attic"));
    let held = server.activate(&studio, &license).await.unwrap();
    let lost = server.activate(&laptop, &license).await.unwrap();
    server.clock.advance(60);
    server.activate(&attic, &license).await.unwrap();
    server.clock.advance(60);
    // Without the unlock code's proof nothing is told or freed; a wrong code looks as an unknown serial number does.
    let wrong = (license.0.clone(), server.license(1).await.1);
    let refused = free(&server, &studio, &wrong, "Laptop").await.unwrap_err();
    assert_eq!((refused.code, refused.seats), (ProblemCode::ProofRefused, None));
    // Nobody, and oneself: both name the others.
    for name in ["Nobody", "Studio", &studio.facts.machine_id.to_string()] {
        let refused = free(&server, &studio, &license, name).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::ReplaceUnknown, "{name}");
        let named: Vec<_> = refused.seats.unwrap().holders.into_iter().map(|h| h.device_name).collect();
        assert_eq!(named.iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["Laptop", "Attic"]);
    }
    assert_eq!(server.seats_used(&license.0).await, 3);
    let once = nonce();
    let request = free_request(&studio, &license, "lapTOP", once);
    let first = server.post("/v1/free", &request).await;
    assert_eq!(first.status, 200);
    assert_eq!(server.seats_used(&license.0).await, 2);
    // The same bytes get the same answer, whatever happened since; other bytes with the same nonce none.
    server.activate(&laptop, &license).await.unwrap();
    server.clock.advance(DAY);
    let again = server.post("/v1/free", &request).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(server.seats_used(&license.0).await, 3, "a repeated request frees nothing twice");
    let other = free_request(&studio, &license, "Attic", once);
    let refused = server.ask(&studio, "/v1/free", &other).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NonceReused);
    // The freed machine learns it, and by whom.
    let state = server.state(&laptop, &lost).await;
    assert_eq!((state.ended, state.by.unwrap().as_str()), (Some(EndReason::Replaced), "Studio"));
    let told = seats(&server, &studio, &[&held]).await;
    let replaced = told[0].history.iter().find(|e| e.what == SeatChange::Replaced).unwrap();
    assert_eq!((replaced.device_name.as_str(), replaced.by.as_ref().unwrap().as_str()), ("Laptop", "Studio"));
    // The year's budget is one, for freeing and for replacing alike.
    let refused = free(&server, &studio, &license, "Attic").await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ReplaceBudgetSpent);
    let refused =
        server.activate_with(&Machine::new("new"), &license, Some("Attic"), vec![]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ReplaceBudgetSpent);
    // Its receipt, come after all, gives the budget back.
    assert_eq!(server.deactivate(&laptop, &lost).await, ReceiptOutcome::AlreadyEnded);
    assert_eq!(free(&server, &studio, &license, "Attic").await.unwrap(), "Attic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn computers_of_one_name_are_told_apart_by_their_ids() {
    let server = TestServer::new().await;
    let license = server.license(3).await;
    let twin = |seed: &str| {
        let mut machine = Machine::new(seed);
        machine.facts.device_name = "vm".parse().unwrap();
        machine
    };
    let (mine, one, two) = (twin("a"), twin("b"), twin("c"));
    for machine in [&mine, &one, &two] {
        server.activate(machine, &license).await.unwrap();
        server.clock.advance(60);
    }
    let refused = free(&server, &mine, &license, "vm").await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ReplaceAmbiguous);
    let named: Vec<_> = refused.seats.unwrap().holders.iter().map(|h| h.machine_id).collect();
    assert_eq!(named, [one.facts.machine_id, two.facts.machine_id]);
    free(&server, &mine, &license, &one.facts.machine_id.to_string()).await.unwrap();
    // Of the two that are left, one is the machine that asks: the name is enough.
    free(&server, &mine, &license, "vm").await.unwrap();
    assert_eq!(server.seats_used(&license.0).await, 1);
    // A machine without a seat may free one as well: the code is the proof.
    free(&server, &Machine::new("elsewhere"), &license, "vm").await.unwrap();
    assert_eq!(server.seats_used(&license.0).await, 0);
}
