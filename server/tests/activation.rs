//! Activating, refreshing, replacing and giving up, over a real socket.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod support;

use claviger_protocol::clock::{Clock as _, DAY};
use claviger_protocol::documents::*;
use claviger_protocol::http::ProblemCode;
use claviger_server::engine::model::LicenseState;
use claviger_server::licensing::end_of;
use claviger_server::storage::admin::LicenseChange;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_machine_is_refused_and_told_who_holds_the_seats() {
    let server = TestServer::new().await;
    let license = server.license(3).await;
    for name in ["studio", "laptop", "Bob's Mac"] {
        let certificate = server.activate(&Machine::new(name), &license).await.unwrap();
        assert_eq!(certificate.rev, 1);
        server.clock.advance(60);
        assert_eq!(certificate.exp, None);
    }
    let refused = server.activate(&Machine::new("tower"), &license).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::SeatsTaken);
    let detail = refused.detail.unwrap();
    for name in ["studio", "laptop", "Bob's Mac"] {
        assert!(detail.contains(name), "{detail}");
    }
    assert!(
        detail.contains(&format!("claviger activate {} --replace-machine studio", license.0)),
        "{detail}"
    );
    let seats = refused.seats.unwrap();
    assert_eq!((seats.total, seats.holders.len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_machine_takes_one_seat_whatever_its_keys() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("studio");
    let first = server.activate(&machine, &license).await.unwrap();
    let again = server.activate(&machine, &license).await.unwrap();
    let other_user = machine.with_new_key();
    let other = server.activate(&other_user, &license).await.unwrap();
    assert_eq!((first.jti, first.rev), (again.jti, again.rev));
    assert_eq!((first.jti, first.rev), (other.jti, other.rev));
    assert_eq!(other.cnf.jkt, *other_user.key.id());
    assert_eq!(server.seats_used(&license.0).await, 1);
    // Eight keys are a machine with many users; the ninth is many machines with one id.
    for _ in 0..6 {
        server.activate(&machine.with_new_key(), &license).await.unwrap();
    }
    let refused = server.activate(&machine.with_new_key(), &license).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::MachineIdShared);
    server.activate(&machine, &license).await.unwrap();
    server.clock.advance(366 * DAY);
    server.activate(&machine.with_new_key(), &license).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_gets_the_same_bytes() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("studio");
    let once = nonce();
    let request = machine.activate(&license, None, vec![], once);
    let first = server.post("/v1/activate", &request).await;
    server.clock.advance(3600);
    let second = server.post("/v1/activate", &request).await;
    assert_eq!((first.status, &first.body), (200, &second.body));
    // The same nonce with other bytes.
    let other = machine.activate(&license, Some("laptop"), vec![], once);
    let refused = server.ask(&machine, "/v1/activate", &other).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NonceReused);
    // Given up since: never the old certificate again.
    let certificate = server.activate(&machine, &license).await.unwrap();
    assert_eq!(server.deactivate(&machine, &certificate).await, ReceiptOutcome::Accepted);
    let refused = server.ask(&machine, "/v1/activate", &request).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ActivationGivenUp);
    let fresh = server.activate(&machine, &license).await.unwrap();
    assert_ne!(fresh.jti, certificate.jti);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_free_seats_and_forged_ones_do_not() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let (studio, thief) = (Machine::new("studio"), Machine::new("thief"));
    let certificate = server.activate(&studio, &license).await.unwrap();
    // Someone else's key, even with the right ids in it.
    let order = Order::Deactivate { machine_id: studio.facts.machine_id };
    let forged = Machine { key: thief.key, facts: studio.facts.clone() }.receipt(&certificate);
    let request = studio.request(order.clone(), vec![forged.clone()], nonce());
    let answer = server.ask(&studio, "/v1/deactivate", &request).await.unwrap();
    assert_eq!(answer.receipts[0].outcome, ReceiptOutcome::Refused);
    // A broken signature.
    let mut broken = studio.receipt(&certificate);
    let at = broken.len() - 5;
    let other = if broken.as_bytes()[at] == b'A' { "B" } else { "A" };
    broken.replace_range(at..=at, other);
    let request = studio.request(order, vec![broken, "nonsense".into()], nonce());
    let answer = server.ask(&studio, "/v1/deactivate", &request).await.unwrap();
    assert_eq!(answer.receipts.len(), 1);
    assert_eq!(answer.receipts[0].outcome, ReceiptOutcome::Refused);
    assert_eq!(server.seats_used(&license.0).await, 1);
    // The real one, twice.
    assert_eq!(server.deactivate(&studio, &certificate).await, ReceiptOutcome::Accepted);
    assert_eq!(server.deactivate(&studio, &certificate).await, ReceiptOutcome::AlreadyEnded);
    assert_eq!(server.seats_used(&license.0).await, 0);
    assert_eq!(server.state(&studio, &certificate).await.ended, Some(EndReason::GivenUp));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_inside_an_activation_frees_the_seat_that_it_takes() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let studio = Machine::new("studio");
    let old = server.activate(&studio, &license).await.unwrap();
    let receipt = studio.receipt(&old);
    let (fresh, answer) = server.activate_with(&studio, &license, None, vec![receipt]).await.unwrap();
    assert_ne!(fresh.jti, old.jti);
    assert_eq!(answer.receipts[0].outcome, ReceiptOutcome::Accepted);
    // A refused activation leaves the receipts it brought for another time.
    let other = server.license(1).await;
    server.activate(&Machine::new("laptop"), &other).await.unwrap();
    let receipt = studio.receipt(&fresh);
    let refused = server.activate_with(&studio, &other, None, vec![receipt]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::SeatsTaken);
    assert_eq!(server.seats_used(&license.0).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_machines_are_replaced_within_the_budget() {
    let server = TestServer::new().await;
    let mut order = server.order(1);
    order.replacement_budget = Some(2);
    let license = server.issue(&order).await.remove(0);
    let mut machines = vec![Machine::new("m0")];
    let mut certificates = vec![server.activate(&machines[0], &license).await.unwrap()];
    let refused =
        server.activate_with(&Machine::new("m1"), &license, Some("nobody"), vec![]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ReplaceUnknown);
    for n in 1..=2 {
        let machine = Machine::new(&format!("m{n}"));
        let old = format!("M{}", n - 1); // case does not matter
        certificates.push(server.activate_with(&machine, &license, Some(&old), vec![]).await.unwrap().0);
        machines.push(machine);
    }
    let state = server.state(&machines[0], &certificates[0]).await;
    assert_eq!((state.ended, state.by.unwrap().as_str()), (Some(EndReason::Replaced), "m1"));
    assert!(state.rev > certificates[0].rev);
    let third = Machine::new("m3");
    let id = machines[2].facts.machine_id.to_string();
    let refused = server.activate_with(&third, &license, Some(&id), vec![]).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ReplaceBudgetSpent);
    // A replaced machine that gives up after all gives the budget back.
    assert_eq!(server.deactivate(&machines[0], &certificates[0]).await, ReceiptOutcome::AlreadyEnded);
    server.activate_with(&third, &license, Some(&id), vec![]).await.unwrap();
    assert_eq!(server.seats_used(&license.0).await, 1);
    // A year later there is a new budget.
    server.clock.advance(366 * DAY);
    server.activate_with(&Machine::new("m4"), &license, Some("m3"), vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_machines_race_for_the_last_seat() {
    let server = std::sync::Arc::new(TestServer::new().await);
    let mut order = server.order(2);
    order.count = 5;
    let licenses = server.issue(&order).await;
    for license in licenses {
        server.activate(&Machine::new("first"), &license).await.unwrap();
        let license = std::sync::Arc::new(license);
        let mut racing = tokio::task::JoinSet::new();
        for n in 0..200 {
            let (server, license) = (server.clone(), license.clone());
            racing.spawn(async move { server.activate(&Machine::new(&format!("r{n}")), &license).await });
        }
        let mut winners = 0;
        while let Some(done) = racing.join_next().await {
            match done.unwrap() {
                Ok(_) => winners += 1,
                Err(problem) => assert_eq!(problem.code, ProblemCode::SeatsTaken),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(server.seats_used(&license.0).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_resumed_transferred_released() {
    let server = TestServer::new().await;
    let license = server.license(2).await;
    let machine = Machine::new("studio");
    let certificate = server.activate(&machine, &license).await.unwrap();
    let quiet = server.state(&machine, &certificate).await;
    assert_eq!((quiet.rev, quiet.ended, quiet.certificate), (1, None, None));
    let change = |change| server.store.change_license(license.0.clone(), change, server.clock.now());
    change(LicenseChange::State(LicenseState::Suspended)).await.unwrap();
    let suspended = server.state(&machine, &certificate).await;
    assert_eq!(suspended.ended, Some(EndReason::Suspended));
    assert_eq!(server.seats_used(&license.0).await, 1);
    let refused = server.activate(&Machine::new("other"), &license).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::LicenseSuspended);
    change(LicenseChange::State(LicenseState::Active)).await.unwrap();
    let back = server.state(&machine, &certificate).await;
    let renewed = ActivationCertificate::verify(&back.certificate.unwrap(), &server.keyset).unwrap();
    assert!(back.ended.is_none() && renewed.rev > suspended.rev && renewed.rev > certificate.rev);
    let again = server.state(&machine, &renewed).await;
    assert_eq!((again.rev, again.certificate), (renewed.rev, None));

    server.store.release(vec![certificate.jti], server.clock.now()).await.unwrap();
    assert_eq!(server.state(&machine, &renewed).await.ended, Some(EndReason::Released));
    let fresh = server.activate(&machine, &license).await.unwrap();
    let new_key = claviger_protocol::keys::SigningKey::from_seed(&[9; 32]).public();
    assert_eq!(change(LicenseChange::Transfer(new_key)).await.unwrap(), 1);
    assert_eq!(server.state(&machine, &fresh).await.ended, Some(EndReason::Transferred));
    let refused = server.activate(&machine, &license).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::ProofRefused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_and_trials_end() {
    let server = TestServer::new().await;
    let mut order = server.order(5);
    order.kind = LicenseKind::Subscription;
    let paid = "2026-12-31".parse().unwrap();
    order.paid_through = Some(paid);
    let license = server.issue(&order).await.remove(0);
    let machine = Machine::new("studio");
    let certificate = server.activate(&machine, &license).await.unwrap();
    assert_eq!(certificate.paid_through, Some(end_of(paid)));
    assert_eq!(certificate.exp, Some(end_of(paid).plus(14 * DAY)));

    let mut order = server.order(2);
    order.kind = LicenseKind::Trial;
    order.trial_days = Some(30);
    let trial = server.issue(&order).await.remove(0);
    let begun = server.clock.now();
    let first = server.activate(&machine, &trial).await.unwrap();
    assert_eq!(first.exp, Some(begun.plus(30 * DAY)));
    server.clock.advance(10 * DAY);
    let elsewhere = server.activate(&Machine::new("laptop"), &trial).await.unwrap();
    assert_eq!(elsewhere.exp, first.exp, "the end is fixed at the first activation");

    server.clock.advance(60 * DAY);
    for ended in [&license, &trial] {
        let refused = server.activate(&Machine::new("studio"), ended).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::LicenseExpired);
    }
    let later = "2027-12-31".parse().unwrap();
    let renew = LicenseChange::Renew {
        paid_through: Some(end_of(later)),
        updates_until: None,
        seats: None,
        replacement_budget: None,
    };
    server.store.change_license(license.0.clone(), renew, server.clock.now()).await.unwrap();
    let state = server.state(&machine, &certificate).await;
    let renewed = ActivationCertificate::verify(&state.certificate.unwrap(), &server.keyset).unwrap();
    assert_eq!((renewed.rev, renewed.paid_through), (2, Some(end_of(later))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_loses_and_doubles_no_seat() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let spare = server.license(1).await;
    let (folder, clock) = server.stop().await;
    let database = folder.path().join("data/claviger.db");
    let backup = std::fs::read(&database).unwrap();

    let server = TestServer::serve(folder, clock).await;
    let (studio, laptop) = (Machine::new("studio"), Machine::new("laptop"));
    let text = {
        let request = studio.activate(&license, None, vec![], nonce());
        let answer = server.ask(&studio, "/v1/activate", &request).await.unwrap();
        assert_eq!(answer.epoch, 1);
        let Outcome::Activated { certificate } = answer.outcome else { panic!() };
        certificate
    };
    let held = ActivationCertificate::verify(&text, &server.keyset).unwrap();
    let spare_request = laptop.activate(&spare, None, vec![], nonce());
    let answer = server.ask(&laptop, "/v1/activate", &spare_request).await.unwrap();
    let Outcome::Activated { certificate: spare_text } = answer.outcome else { panic!() };
    let spare_held = ActivationCertificate::verify(&spare_text, &server.keyset).unwrap();

    let (folder, clock) = server.stop().await;
    for wal in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{wal}", database.display()));
    }
    std::fs::write(&database, backup).unwrap();
    // What `restore` does to a database.
    let mut connection = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
    sqlx::query("UPDATE meta SET epoch = epoch + 1").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let server = TestServer::serve(folder, clock).await;

    // Another machine was faster: the genuine certificate is honoured all the same.
    server.activate(&Machine::new("quick"), &license).await.unwrap();
    let state = server.state(&studio, &held).await;
    assert_eq!(state.ended, Some(EndReason::Unknown), "no certificate was shown");
    let show = |text: &str, c: &ActivationCertificate| HeldActivation {
        id: c.jti,
        rev: c.rev,
        certificate: Some(text.to_owned()),
    };
    let answer = server.refresh(&studio, vec![show(&text, &held)], vec![]).await;
    assert_eq!(answer.epoch, 2);
    let Outcome::Refreshed { activations } = answer.outcome else { panic!() };
    assert_eq!(activations[0].ended, None);
    assert!(activations[0].rev > held.rev && activations[0].certificate.is_some());
    assert_eq!(server.seats_used(&license.0).await, 2);
    let again = server.activate(&studio, &license).await.unwrap();
    assert_eq!(again.jti, held.jti, "adopted, not doubled");
    let history = server.store.history(license.0.clone()).await.unwrap();
    assert!(history.iter().any(|h| h.what == "adopted"));

    // A receipt kept from before the restore, with the certificate that it is for.
    let receipt = laptop.receipt(&spare_held);
    let answer = server.refresh(&laptop, vec![show(&spare_text, &spare_held)], vec![receipt]).await;
    assert_eq!(answer.receipts[0].outcome, ReceiptOutcome::Accepted);
    assert_eq!(server.seats_used(&spare.0).await, 0);
    // Shown by another machine it adopts nothing.
    let thief = Machine::new("thief");
    let answer = server.refresh(&thief, vec![show(&text, &held)], vec![]).await;
    let Outcome::Refreshed { activations } = answer.outcome else { panic!() };
    assert_eq!(activations[0].ended, Some(EndReason::Unknown));
}
