//! Activating without a network, as the daemon does it: requests out, answers in, typed codes, receipts, bundles of many
//! machines, golden images; and everything that a file can be instead of what it should be.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    ActivationCertificate, Answer, KeyStatus, LicenseKind, Order, Outcome, Request,
};
use claviger_protocol::http::AnswerBody;
use claviger_protocol::ids::{ActivationId, ProductId};
use claviger_protocol::ipc::{ActivateCall, CallError, OfflineItem, OfflineRequestReply};
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::keys::{Sha256, SigningKey};
use claviger_protocol::offline::armour::write_collection;
use claviger_protocol::offline::{BlockKind, FileKind, REQUEST_LIFETIME, RequestFrom, TypedCode};
use claviger_protocol::status::Status;
use common::{Daemon, NOW, OS_ID, Server, UNLOCK_CODE, Vendor, at_once, files, run, start_on};

const SERIAL: &str = "SHOP0001";
const DAY: i64 = 86_400;
const NOBODY: &str = "http://127.0.0.1:9";

/// A computer that never sees a network: its policy says so, so that a request would be a failure.
fn machine(home: &Path, os_id: &str, server: &Server) -> Daemon {
    std::fs::create_dir_all(home).unwrap();
    if !home.join("policy.toml").exists() {
        std::fs::write(home.join("policy.toml"), "network = false\n").unwrap();
    }
    let daemon = start_on(home, os_id, NOW);
    daemon.engine.add_vendor(&server.vendor.profile(NOBODY)).unwrap();
    daemon
}

fn vendor() -> Arc<Server> {
    Server::new(Vendor::new(1, "com.example", "EXA"))
}

async fn request(daemon: &Daemon, serial: &str) -> OfflineRequestReply {
    let call = ActivateCall {
        serial: serial.to_owned(),
        unlock_code: Some(UNLOCK_CODE.to_owned()),
        vendor: Some("com.example".parse().unwrap()),
        replace_machine: None,
    };
    daemon.engine.make_offline_request(call).await.unwrap()
}

/// What the vendor's side makes of a request.
fn answer(server: &Server, request: &str) -> String {
    let body = serde_json::json!({ "request": request }).to_string();
    let body: AnswerBody = serde_json::from_str(&server.answer(&body)).unwrap();
    body.answer
}

async fn import(daemon: &Daemon, answer: &str) -> OfflineItem {
    daemon.engine.import_offline_answers(&[answer.to_owned()]).await.remove(0)
}

async fn refused(daemon: &Daemon, answer: &str) -> String {
    let before = files(&daemon_certs(daemon));
    let item = import(daemon, answer).await;
    assert!(item.license.is_none() && !item.changed && item.message.is_some(), "{item:?}");
    assert_eq!(files(&daemon_certs(daemon)), before, "nothing was changed");
    item.code.unwrap()
}

fn daemon_certs(daemon: &Daemon) -> std::path::PathBuf {
    daemon.engine.certs().to_owned()
}

fn statuses(daemon: &Daemon) -> Vec<Status> {
    at_once(daemon.engine.list_licenses(None)).unwrap().licenses.iter().map(|l| l.status).collect()
}

#[test]
fn a_request_goes_out_an_answer_comes_in_and_a_receipt_goes_out() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        let made = request(&daemon, SERIAL).await;
        let from = RequestFrom::read(&made.request).unwrap();
        assert_eq!(from.exp, Some(Timestamp(NOW + REQUEST_LIFETIME)));
        assert_eq!((made.expires, from.request.receipts.len()), (Timestamp(NOW + 30 * DAY), 0));
        let answer = answer(&server, &made.request);
        let item = import(&daemon, &answer).await;
        assert_eq!((item.changed, item.license.unwrap().status), (true, Status::Licensed));
        // Importing it again changes nothing and says so.
        let again = import(&daemon, &answer).await;
        assert_eq!((again.changed, again.license.unwrap().status), (false, Status::Licensed));
        // Giving up: the certificate is gone, the receipt leaves in a file, as often as it is asked for.
        let first = daemon.engine.deactivate_offline(SERIAL).await.unwrap();
        assert!(first.same_key);
        assert_eq!(statuses(&daemon), [Status::GivenUp]);
        let second = daemon.engine.deactivate_offline(SERIAL).await.unwrap();
        let receipts = |text: &str| RequestFrom::read(text).unwrap().request.receipts;
        assert_eq!(receipts(&first.request), receipts(&second.request));
        assert_eq!(receipts(&first.request).len(), 1);
        assert_eq!(RequestFrom::read(&first.request).unwrap().exp, None);
        // What was given up does not come back from the old file.
        assert_eq!(refused(&daemon, &answer).await, "already_given_up");
        // The vendor's answer to the receipt acknowledges it.
        let acknowledged = self::answer(&server, &first.request);
        assert_eq!(import(&daemon, &acknowledged).await.receipts, 1);
        assert_eq!(daemon.engine.status(true).receipts_waiting, 0);
        assert_eq!(refused(&daemon, &answer).await, "already_given_up");
        assert!(matches!(daemon.engine.deactivate_offline(SERIAL).await, Err(CallError::NotFound { .. })));
    });
}

#[test]
fn a_certificate_restored_from_a_backup_after_its_receipt_stays_refused() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        let answer = answer(&server, &request(&daemon, SERIAL).await.request);
        assert!(import(&daemon, &answer).await.changed);
        let backup = files(&folder.path().join("certs"));
        daemon.engine.deactivate_offline(SERIAL).await.unwrap();
        drop(daemon);
        std::fs::remove_dir_all(folder.path().join("certs")).unwrap();
        for (name, bytes) in backup {
            std::fs::create_dir_all(Path::new(&name).parent().unwrap()).unwrap();
            std::fs::write(&name, bytes).unwrap();
        }
        let daemon = machine(folder.path(), OS_ID, &server);
        assert_eq!(statuses(&daemon), [Status::GivenUp]);
        let left = files(&folder.path().join("certs"));
        assert!(left.iter().all(|(name, _)| !name.ends_with(".cert")), "{left:?}");
    });
}

#[test]
fn a_machine_that_forgot_everything_takes_its_answer_again() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        let answer = answer(&server, &request(&daemon, SERIAL).await.request);
        drop(daemon);
        std::fs::remove_dir_all(folder.path()).unwrap();
        // Reset to its image: no request, no device key.
        let daemon = machine(folder.path(), OS_ID, &server);
        assert!(import(&daemon, &answer).await.changed);
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        // Its receipt is signed by a key that the vendor has never seen: it says so.
        assert!(!daemon.engine.deactivate_offline(SERIAL).await.unwrap().same_key);
    });
}

/// Everything that a file can be instead: each is refused by a word of its own, and nothing changes.
#[test]
fn files_that_are_not_ours_are_told_apart() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(&folder.path().join("a"), OS_ID, &server);
        let made = request(&daemon, SERIAL).await;
        let good = answer(&server, &made.request);
        // Another computer's.
        let other = machine(&folder.path().join("b"), "fedcba9876543210fedcba9876543210", &server);
        let theirs = answer(&server, &request(&other, SERIAL).await.request);
        assert_eq!(refused(&daemon, &theirs).await, "other_machine");
        // Edited, in the middle and at the end.
        for at in [good.len() / 2, good.len() - 30] {
            let mut edited = good.clone();
            let c = if &edited[at..=at] == "A" { "B" } else { "A" };
            edited.replace_range(at..=at, c);
            let code = refused(&daemon, &edited).await;
            assert!(
                ["bad_signature", "bad_json", "not_compact", "duplicate_name"].contains(&code.as_str()),
                "{code}"
            );
        }
        // By a stranger, by a compromised key, by an unknown vendor, of another kind, far too long, nothing at all.
        *server.key.lock().unwrap() = SigningKey::from_seed(&[77; 32]);
        assert_eq!(refused(&daemon, &answer(&server, &made.request)).await, "unknown_kid");
        let foreign = Server::new(Vendor::new(40, "com.foreign", "FOR"));
        let home = folder.path().join("c");
        let elsewhere = machine(&home, OS_ID, &foreign);
        let call = ActivateCall {
            serial: SERIAL.to_owned(),
            unlock_code: Some(UNLOCK_CODE.to_owned()),
            vendor: Some("com.foreign".parse().unwrap()),
            replace_machine: None,
        };
        let asked = elsewhere.engine.make_offline_request(call).await.unwrap();
        assert_eq!(refused(&daemon, &answer(&foreign, &asked.request)).await, "not_found");
        assert_eq!(refused(&daemon, &made.request).await, "wrong_typ");
        assert_eq!(refused(&daemon, &"A".repeat(300_000)).await, "too_large");
        assert_eq!(refused(&daemon, "").await, "not_compact");
        // And the good one is good all the same.
        assert!(import(&daemon, &good).await.changed);
        // An older answer of the same activation does not replace a newer certificate.
        let later = with_revision(&server, &made.request, 5);
        assert!(import(&daemon, &later).await.changed);
        let older = import(&daemon, &good).await;
        assert_eq!((older.changed, older.license.unwrap().revision), (false, 5));
    });
}

fn with_revision(server: &Server, text: &str, rev: u32) -> String {
    let (request, device, hash) = Request::verify(text, &server.vendor.id).unwrap();
    let key = &server.vendor.issuing;
    let certificate = server.certificate(&request, rev, &device.id());
    let answer = Answer {
        iss: server.vendor.id.clone(),
        iat: Timestamp(NOW),
        req: hash,
        cnf: certificate.cnf.clone(),
        epoch: 1,
        keyset: None,
        outcome: Outcome::Activated { certificate: sign(&certificate, key, KeyInHeader::Named) },
        receipts: vec![],
        reissued: vec![],
    };
    sign(&answer, key, KeyInHeader::Named)
}

/// An old answer must not turn the clock back: only the answer to a request that waits here tells the time.
#[test]
fn a_replayed_answer_tells_no_time() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    *server.kind.lock().unwrap() = LicenseKind::Subscription;
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        let answer = answer(&server, &request(&daemon, SERIAL).await.request);
        assert!(import(&daemon, &answer).await.changed);
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        daemon.clock.0.store(NOW + 60 * DAY, Ordering::SeqCst);
        let _seen = request(&daemon, "SHOP0002").await;
        assert_eq!(statuses(&daemon), [Status::Expired]);
        // The clock set back and the old file imported again: still over, after the week of grace.
        let _again = import(&daemon, &answer).await;
        daemon.clock.0.store(NOW + 20 * DAY, Ordering::SeqCst);
        let _again = import(&daemon, &answer).await;
        daemon.clock.0.store(NOW + 28 * DAY, Ordering::SeqCst);
        let _again = import(&daemon, &answer).await;
        assert_eq!(statuses(&daemon), [Status::ClockSetBack]);
    });
}

fn full(server: &Server, text: &str) -> ActivationCertificate {
    let (request, device, hash) = Request::verify(text, &server.vendor.id).unwrap();
    let jti = ActivationId::of_request(&hash);
    ActivationCertificate { jti, ..server.certificate(&request, 1, &device.id()) }
}

fn synth() -> ProductId {
    "com.example.synth".parse().unwrap()
}

#[test]
fn a_code_read_over_the_telephone_activates_one_product() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        let issuing = &server.vendor.issuing;
        let early = request(&daemon, "SHOP0002").await;
        let made = request(&daemon, SERIAL).await;
        let certificate = full(&server, &made.request);
        let code = TypedCode::issue(&certificate, &synth(), &made.request, issuing).unwrap();
        // One wrong character names its group, and changes nothing.
        let mut groups = code.groups();
        let wrong = if groups[6].starts_with('2') { "3" } else { "2" };
        groups[6].replace_range(..1, wrong);
        let error = daemon.engine.import_offline_code(&groups.join(" ")).await.unwrap_err();
        assert_eq!(error.code(), "code_mistyped");
        assert!(error.to_string().contains("Group 7 is mistyped"), "{error}");
        assert!(statuses(&daemon).is_empty());
        // A code for another request of this computer is tried with that one; a stranger's with none.
        let forged =
            TypedCode::issue(&certificate, &synth(), &made.request, &SigningKey::from_seed(&[9; 32]));
        let error = daemon.engine.import_offline_code(&forged.unwrap().to_string()).await.unwrap_err();
        assert_eq!(error.code(), "code_other_request");
        let license = daemon.engine.import_offline_code(&code.to_string()).await.unwrap();
        assert_eq!((license.status, license.activation), (Status::Licensed, certificate.jti));
        assert_eq!(license.product, synth().alias());
        let other =
            TypedCode::issue(&full(&server, &early.request), &synth(), &early.request, issuing).unwrap();
        assert!(daemon.engine.import_offline_code(&other.to_string()).await.is_ok());
        // The license is for a bundle: its other product gets a code of its own, and the first stays licensed.
        let effects = "com.example.fx".parse().unwrap();
        let second = TypedCode::issue(&certificate, &effects, &made.request, issuing).unwrap();
        assert!(daemon.engine.import_offline_code(&second.to_string()).await.is_ok());
        for product in [synth(), effects] {
            let folder = claviger_protocol::layout::product(
                daemon.engine.certs(),
                &server.vendor.id,
                &product.alias(),
            );
            let file = claviger_protocol::layout::FileKind::Certificate.name(certificate.jti);
            assert!(folder.join(file).is_file(), "{product}");
        }
        // The response file brings the whole license, in the place of the short one.
        let answer = Answer {
            iss: server.vendor.id.clone(),
            iat: Timestamp(NOW),
            req: Sha256::of(made.request.as_bytes()),
            cnf: certificate.cnf.clone(),
            epoch: 1,
            keyset: None,
            outcome: Outcome::Activated { certificate: sign(&certificate, issuing, KeyInHeader::Named) },
            receipts: vec![],
            reissued: vec![],
        };
        let item = import(&daemon, &sign(&answer, issuing, KeyInHeader::Named)).await;
        let license = item.license.unwrap();
        assert_eq!((item.changed, license.product.as_str()), (true, "com.example.bundle"));
        let held = at_once(daemon.engine.list_licenses(None)).unwrap().licenses;
        assert_eq!(held.iter().filter(|l| l.activation == certificate.jti).count(), 1);
        // A typed license is given up by the product's whole name, and its code does not bring it back.
        let target = "com.example.synth";
        let ambiguous = daemon.engine.deactivate_offline(target).await;
        assert!(ambiguous.is_err() || ambiguous.unwrap().license.product == synth().alias());
        let _ = daemon.engine.deactivate_offline("SHOP0002").await;
        let error = daemon.engine.import_offline_code(&other.to_string()).await.unwrap_err();
        assert_eq!(error.code(), "already_given_up");
    });
}

#[test]
fn a_code_without_a_request_says_what_is_missing() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let elsewhere = machine(&folder.path().join("a"), OS_ID, &server);
        let made = request(&elsewhere, SERIAL).await;
        let code =
            TypedCode::issue(&full(&server, &made.request), &synth(), &made.request, &server.vendor.issuing);
        let daemon = machine(&folder.path().join("b"), OS_ID, &server);
        let error = daemon.engine.import_offline_code(&code.unwrap().to_string()).await.unwrap_err();
        assert_eq!(error.code(), "code_without_request");
    });
}

/// A compromised key: the new keyset travels in the answer, and so do the certificates that it would make worthless.
#[test]
fn answers_carry_the_keyset_and_what_was_issued_anew() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        let first = request(&daemon, SERIAL).await;
        assert!(import(&daemon, &answer(&server, &first.request)).await.changed);
        let second = request(&daemon, "SHOP0002").await;
        let fresh = SigningKey::from_seed(&[33; 32]);
        let keyset = server
            .vendor
            .keyset_of(2, &[(&server.vendor.issuing, KeyStatus::Compromised), (&fresh, KeyStatus::Active)]);
        let (asked, device, _) = Request::verify(&first.request, &server.vendor.id).unwrap();
        let anew = server.certificate(&asked, 2, &device.id());
        let (asked, _, hash) = Request::verify(&second.request, &server.vendor.id).unwrap();
        let certificate = server.certificate(&asked, 1, &device.id());
        let answer = Answer {
            iss: server.vendor.id.clone(),
            iat: Timestamp(NOW),
            req: hash,
            cnf: certificate.cnf.clone(),
            epoch: 1,
            keyset: Some(keyset),
            outcome: Outcome::Activated { certificate: sign(&certificate, &fresh, KeyInHeader::Named) },
            receipts: vec![],
            reissued: vec![sign(&anew, &fresh, KeyInHeader::Named)],
        };
        assert!(import(&daemon, &sign(&answer, &fresh, KeyInHeader::Named)).await.changed);
        assert_eq!(statuses(&daemon), [Status::Licensed, Status::Licensed]);
        assert_eq!(daemon.engine.list_vendors()[0].keyset, 2, "in force at once: nothing is lost by it");
    });
}

/// Two hundred computers of a lab, one batch, one bundle: each takes its own part, and only that, at its start.
#[test]
fn two_hundred_machines_take_their_own_part_of_one_bundle() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    let os_id = |n: usize| format!("{n:032x}");
    run(async {
        let mut answers = Vec::new();
        for n in 0..200 {
            let daemon = machine(&folder.path().join(n.to_string()), &os_id(n), &server);
            answers.push(answer(&server, &request(&daemon, SERIAL).await.request));
        }
        let mut blocks: Vec<_> = answers.iter().map(|a| (BlockKind::Response, a.as_str())).collect();
        // The last one's does not arrive whole: it stops nobody else.
        let broken = answers[199].replace('A', "B");
        blocks[199].1 = &broken;
        let bundle = folder.path().join("lab.clvbundle");
        std::fs::write(&bundle, write_collection(FileKind::Bundle, &[], blocks)).unwrap();
        for n in 0..200 {
            let home = folder.path().join(n.to_string());
            // Reset to the image: only the policy stays.
            std::fs::remove_dir_all(home.join("state")).unwrap();
            let policy = format!("network = false\nbundle = \"{}\"\n", bundle.display());
            std::fs::write(home.join("policy.toml"), policy).unwrap();
            let daemon = machine(&home, &os_id(n), &server);
            daemon.engine.import_policy_bundle().await;
            let held = at_once(daemon.engine.list_licenses(None)).unwrap().licenses;
            assert_eq!(held.len(), usize::from(n != 199), "machine {n}");
            assert!(held.iter().all(|l| l.status == Status::Licensed), "machine {n}");
        }
    });
}

#[test]
fn a_golden_image_carries_nothing_of_its_machine() {
    let (folder, server) = (tempfile::tempdir().unwrap(), vendor());
    run(async {
        let daemon = machine(folder.path(), OS_ID, &server);
        daemon.engine.rename_machine(&"Golden".parse().unwrap()).unwrap();
        let made = request(&daemon, SERIAL).await;
        assert!(import(&daemon, &answer(&server, &made.request)).await.changed);
        let _waiting = request(&daemon, "SHOP0002").await;
        let done = at_once(daemon.engine.prepare_image()).unwrap();
        assert_eq!((done.vendors, done.seats, done.requests), (1, vec![SERIAL.to_owned()], 1));
        let left: Vec<String> = files(folder.path()).into_iter().map(|(name, _)| name).collect();
        let allowed = ["vendor.clvprofile", "keyset.jws", "policy.toml"];
        assert!(left.iter().all(|n| allowed.iter().any(|a| n.ends_with(a))), "{left:?}");
        assert!(statuses(&daemon).is_empty());
        // It goes on working, as a new machine would: with a device key of its own.
        let (_, before, _) = Request::verify(&made.request, &server.vendor.id).unwrap();
        let after = request(&daemon, SERIAL).await;
        let (asked, after, _) = Request::verify(&after.request, &server.vendor.id).unwrap();
        assert_ne!(before, after);
        let Order::Activate { machine, .. } = asked.order else { panic!() };
        assert_ne!(machine.device_name.as_str(), "Golden");
    });
}
