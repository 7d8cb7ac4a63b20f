//! The life of an activation as its machine sees it: lost answers, receipts, ends and returns, new keysets, restored
//! servers, damaged files, and state that belongs elsewhere.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use claviger_protocol::documents::{ActivationState, EndReason, KeyStatus, LicenseKind, Order};
use claviger_protocol::ipc::{CallError, License};
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::status::Status;
use common::{NOW, OS_ID, Server, Vendor, activate, at_once, files, http, run, serve, start, start_on};

const SERIAL: &str = "SHOP0001";
const DAY: i64 = 86_400;

struct World {
    folder: tempfile::TempDir,
    server: Arc<Server>,
    /// While set, answers get lost on their way back.
    lossy: Arc<AtomicBool>,
    url: String,
}

fn world() -> World {
    let server = Server::new(Vendor::new(1, "com.example", "EXA"));
    let lossy = Arc::new(AtomicBool::new(false));
    let (answering, losing) = (server.clone(), lossy.clone());
    let url = serve(move |path, body| {
        let response = answering.respond(path, body);
        if losing.load(Ordering::SeqCst) { Vec::new() } else { response }
    });
    World { folder: tempfile::tempdir().unwrap(), server, lossy, url }
}

impl World {
    fn home(&self) -> &Path {
        self.folder.path()
    }

    fn daemon(&self) -> common::Daemon {
        let daemon = start(self.home());
        daemon.engine.add_vendor(&self.server.vendor.profile(&self.url)).unwrap();
        daemon
    }

    fn certificates(&self) -> Vec<String> {
        let all = files(&self.home().join("certs"));
        all.into_iter().map(|(name, _)| name).filter(|n| n.ends_with(".cert")).collect()
    }
}

fn statuses(daemon: &common::Daemon) -> Vec<Status> {
    at_once(daemon.engine.list_licenses(None)).unwrap().licenses.iter().map(|l| l.status).collect()
}

fn state_of(license: &License, rev: u32) -> ActivationState {
    ActivationState { id: license.activation, rev, certificate: None, ended: None, at: None, by: None }
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_bytes() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        world.lossy.store(true, Ordering::SeqCst);
        assert_eq!(activate(&daemon, SERIAL).await.unwrap_err().code(), "cut_off");
        assert!(world.certificates().is_empty());
        world.lossy.store(false, Ordering::SeqCst);
        drop(daemon);
        let daemon = world.daemon();
        assert_eq!(activate(&daemon, SERIAL).await.unwrap().status, Status::Licensed);
        let bodies = world.server.bodies.lock().unwrap();
        assert_eq!(bodies.len(), 2);
        assert_eq!(bodies[0], bodies[1]);
        assert_eq!(world.certificates().len(), 3, "one for the bundle and each of its products");
        assert_eq!(daemon.engine.status(true).intents_waiting, 0);
    });
}

#[test]
fn the_unlock_code_is_nowhere() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        world.lossy.store(true, Ordering::SeqCst);
        activate(&daemon, "SHOP0002").await.unwrap_err();
    });
    let needle = common::UNLOCK_CODE.as_bytes();
    for (name, content) in files(world.home()) {
        assert!(!content.windows(needle.len()).any(|w| w == needle), "{name}");
    }
    assert!(!world.server.bodies.lock().unwrap().iter().any(|b| b.contains(common::UNLOCK_CODE)));
}

#[test]
fn giving_up_works_offline_and_is_delivered_later() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        let license = activate(&daemon, SERIAL).await.unwrap();
        world.lossy.store(true, Ordering::SeqCst);
        let reply = daemon.engine.deactivate("synth").await.unwrap();
        assert!(!reply.delivered);
        assert_eq!(reply.license.activation, license.activation);
        assert!(world.certificates().is_empty());
        assert_eq!(statuses(&daemon), [Status::GivenUp]);
        assert_eq!(daemon.engine.status(true).receipts_waiting, 1);
        assert!(matches!(daemon.engine.deactivate("synth").await, Err(CallError::NotFound { .. })));
        world.lossy.store(false, Ordering::SeqCst);
        // The next request takes the receipt along; activating again makes a new activation.
        let again = activate(&daemon, SERIAL).await.unwrap();
        assert_ne!(again.activation, license.activation);
        assert_eq!(daemon.engine.status(true).receipts_waiting, 0);
        assert!(daemon.engine.deactivate(SERIAL).await.unwrap().delivered);
    });
}

#[test]
fn a_restored_copy_of_a_given_up_certificate_is_not_held() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        let copy = files(&world.home().join("certs/com.example/products"));
        daemon.engine.deactivate(SERIAL).await.unwrap();
        for (name, content) in &copy {
            fs::write(name, content).unwrap();
        }
        assert_eq!(statuses(&daemon), [Status::GivenUp]);
        drop(daemon);
        let daemon = world.daemon();
        assert_eq!(statuses(&daemon), [Status::GivenUp]);
        assert!(world.certificates().is_empty());
    });
}

#[test]
fn ends_are_noted_and_suspensions_come_back() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        let license = activate(&daemon, SERIAL).await.unwrap();
        let suspended = ActivationState { ended: Some(EndReason::Suspended), ..state_of(&license, 2) };
        *world.server.states.lock().unwrap() = vec![suspended];
        daemon.engine.refresh(None).await.unwrap();
        assert_eq!(statuses(&daemon), [Status::Suspended]);
        assert!(world.certificates().is_empty());
        drop(daemon);

        let daemon = world.daemon();
        assert_eq!(statuses(&daemon), [Status::Suspended]);
        let request = world.server.requests.lock().unwrap()[0].clone();
        let mut certificate =
            world.server.certificate(&request, 3, &SigningKey::from_seed(&[5; 32]).id().clone());
        certificate.jti = license.activation;
        let text = sign(&certificate, &world.server.key.lock().unwrap(), KeyInHeader::Named);
        *world.server.states.lock().unwrap() =
            vec![ActivationState { certificate: Some(text), ..state_of(&license, 3) }];
        daemon.engine.refresh(None).await.unwrap();
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        assert_eq!(world.certificates().len(), 3);

        // An older state changes nothing.
        let old = ActivationState { ended: Some(EndReason::Revoked), ..state_of(&license, 2) };
        *world.server.states.lock().unwrap() = vec![old];
        daemon.engine.refresh(None).await.unwrap();
        assert_eq!(statuses(&daemon), [Status::Licensed]);

        let replaced = ActivationState {
            ended: Some(EndReason::Replaced),
            by: Some("New Studio".parse().unwrap()),
            ..state_of(&license, 4)
        };
        *world.server.states.lock().unwrap() = vec![replaced];
        let licenses = daemon.engine.refresh(None).await.unwrap().licenses;
        assert_eq!(licenses[0].status, Status::Replaced);
        assert_eq!(licenses[0].ended_by.as_ref().unwrap().as_str(), "New Studio");
        let notes: Vec<_> =
            files(&world.home().join("certs")).into_iter().filter(|(n, _)| n.ends_with(".ended")).collect();
        assert_eq!(notes.len(), 3);
        assert!(String::from_utf8_lossy(&notes[0].1).contains("New Studio"));
    });
}

#[test]
fn a_compromised_key_waits_for_new_certificates_at_most_thirty_days() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        let new_key = SigningKey::from_seed(&[42; 32]);
        let vendor = &world.server.vendor;
        let keyset =
            vendor.keyset_of(2, &[(&vendor.issuing, KeyStatus::Compromised), (&new_key, KeyStatus::Active)]);
        *world.server.key.lock().unwrap() = new_key;
        *world.server.keyset.lock().unwrap() = Some(keyset.clone());
        // The server forgets to issue the certificate anew: the old one stays good for the time being.
        daemon.engine.refresh(None).await.unwrap();
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        assert!(!world.home().join("certs/com.example/keyset.jws").exists());
        assert_eq!(daemon.engine.list_vendors()[0].keyset, 2);
        let shown = world.server.requests.lock().unwrap().iter().any(|r| {
            matches!(&r.order, Order::Refresh { activations, .. } if activations[0].certificate.is_some())
        });
        assert!(!shown, "the first refresh did not know the new keyset yet");
        daemon.engine.refresh(None).await.unwrap();
        let shown = world.server.requests.lock().unwrap().iter().any(|r| {
            matches!(&r.order, Order::Refresh { activations, .. } if activations[0].certificate.is_some())
        });
        assert!(shown, "the certificate is shown, to be issued anew");
        drop(daemon);
        let daemon = start_on(world.home(), OS_ID, NOW + 29 * DAY);
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        drop(daemon);
        let daemon = start_on(world.home(), OS_ID, NOW + 31 * DAY);
        assert_eq!(statuses(&daemon), [Status::KeyCompromised]);
        assert_eq!(fs::read_to_string(world.home().join("certs/com.example/keyset.jws")).unwrap(), keyset);
        // Never back to a lower number, nor to another keyset of the same number.
        let vendor = &world.server.vendor;
        *world.server.keyset.lock().unwrap() =
            Some(vendor.keyset_of(1, &[(&vendor.issuing, KeyStatus::Active)]));
        assert_eq!(activate(&daemon, "SHOP0002").await.unwrap_err().code(), "untrusted_answer");
        *world.server.keyset.lock().unwrap() =
            Some(vendor.keyset_of(2, &[(&vendor.issuing, KeyStatus::Active)]));
        assert_eq!(activate(&daemon, "SHOP0003").await.unwrap_err().code(), "untrusted_answer");
    });
}

#[test]
fn a_restored_server_is_shown_certificates_and_receipts_again() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        let license = activate(&daemon, SERIAL).await.unwrap();
        assert!(daemon.engine.deactivate(SERIAL).await.unwrap().delivered);
        activate(&daemon, "SHOP0002").await.unwrap();
        world.server.epoch.store(2, Ordering::SeqCst);
        world.server.requests.lock().unwrap().clear();
        daemon.engine.refresh(None).await.unwrap();
        let requests = world.server.requests.lock().unwrap();
        let shown = requests.iter().any(|r| {
            matches!(&r.order, Order::Refresh { activations, .. } if activations.iter().all(|a| a.certificate.is_some()))
                && !r.receipts.is_empty()
        });
        assert!(shown, "{requests:?}");
        assert_eq!(daemon.engine.status(true).receipts_waiting, 0);
        let _ = license;
    });
}

#[test]
fn damaged_files_are_mended_or_said() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        drop(daemon);
        let all = world.certificates();
        let good = fs::read(&all[0]).unwrap();
        // One copy flipped, one truncated, one good: the good one mends the others.
        let mut flipped = good.clone();
        flipped[100] ^= 4;
        fs::write(&all[0], flipped).unwrap();
        fs::write(&all[1], &good[..50]).unwrap();
        let daemon = world.daemon();
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        for name in &all {
            assert_eq!(fs::read(name).unwrap(), good);
        }
        drop(daemon);
        // All of the private state damaged: everything that plug-ins need is still there.
        for (name, content) in files(&world.home().join("state")) {
            if name.ends_with("machine.json") {
                continue;
            }
            let half = &content[..content.len() / 2];
            fs::write(&name, half).unwrap();
        }
        let daemon = world.daemon();
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        activate(&daemon, "SHOP0002").await.unwrap();
        assert_eq!(statuses(&daemon).len(), 2);
        let aside = files(&world.home().join("state")).iter().any(|(n, _)| n.contains(".damaged"));
        assert!(aside);
        // Every copy damaged: said, and mended by the next refresh.
        for name in world.certificates() {
            fs::write(name, b"rubbish").unwrap();
        }
        assert_eq!(statuses(&daemon), [Status::Damaged, Status::Damaged]);
        let findings = at_once(daemon.engine.doctor());
        assert!(findings.iter().any(|f| f.name == "activation" && f.message.contains("damaged")));
        let asked = |request: &claviger_protocol::documents::Request| matches!(&request.order, Order::Refresh { activations, .. } if activations.iter().all(|a| a.rev == 0));
        daemon.engine.refresh(None).await.unwrap();
        assert!(asked(world.server.requests.lock().unwrap().last().unwrap()));
    });
}

#[test]
fn state_of_another_machine_is_moved_aside() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        drop(daemon);
        let daemon = start_on(world.home(), "ffffffffffffffffffffffffffffffff", NOW);
        assert_eq!(statuses(&daemon), [Status::OtherMachine]);
        assert!(world.home().join("state.from-another-machine/vendors").is_dir());
        assert!(at_once(daemon.engine.doctor()).iter().any(|f| f.name == "foreign_state"));
        assert!(matches!(daemon.engine.deactivate(SERIAL).await, Err(CallError::NotFound { .. })));
    });
}

#[test]
fn known_roots_are_never_replaced() {
    let world = world();
    let forger = Vendor::new(7, "com.example", "EXA");
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        let error = daemon.engine.add_vendor(&forger.profile(&world.url)).unwrap_err();
        assert_eq!(error.code(), "roots_differ");
        drop(daemon);
        // On disk the same: the daemon goes by its own copy, and puts the right one back.
        let path = world.home().join("certs/com.example/vendor.clvprofile");
        let right = fs::read(&path).unwrap();
        fs::write(&path, forger.profile(&world.url)).unwrap();
        let daemon = start(world.home());
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        assert_eq!(fs::read(&path).unwrap(), right);
        for bad in ["", "x", "a.b.c", &forger.profile("http://example.com")] {
            assert_eq!(daemon.engine.add_vendor(bad).unwrap_err().code(), "bad_profile", "{bad}");
        }
        assert_eq!(
            daemon.engine.remove_vendor(&"com.example".parse().unwrap()).unwrap_err().code(),
            "vendor_in_use"
        );
    });
}

#[test]
fn serial_numbers_go_to_their_vendor_alone() {
    let world = world();
    let other = Server::new(Vendor::new(20, "com.other", "OTH"));
    let answering = other.clone();
    let url = serve(move |path, body| answering.respond(path, body));
    run(async {
        let daemon = world.daemon();
        daemon.engine.add_vendor(&other.vendor.profile(&url)).unwrap();
        let call = |serial: &str, vendor: Option<&str>| claviger_protocol::ipc::ActivateCall {
            serial: serial.to_owned(),
            unlock_code: None,
            vendor: vendor.map(|v| v.parse().unwrap()),
            replace_machine: None,
        };
        let try_it = |serial: &str, vendor: Option<&str>| {
            let call = call(serial, vendor);
            let engine = daemon.engine.clone();
            async move { engine.activate(call, Box::new(|_| {})).await }
        };
        let serial =
            claviger_protocol::serial::Serial::random(&other.vendor.prefix, &ring::rand::SystemRandom::new())
                .unwrap();
        assert_eq!(try_it(serial.as_str(), None).await.unwrap_err().code(), "unlock_code_needed");
        assert_eq!(try_it(serial.as_str(), Some("com.example")).await.unwrap_err().code(), "other_vendor");
        let mut wrong = serial.as_str().to_owned();
        wrong.pop();
        wrong.push(if serial.as_str().ends_with('7') { '8' } else { '7' });
        assert_eq!(try_it(&wrong, None).await.unwrap_err().code(), "mistyped_serial");
        let CallError::VendorNeeded { choices, .. } = try_it("ABC-DEF-123456", None).await.unwrap_err()
        else {
            panic!("a shop's own serial number does not tell its vendor")
        };
        assert_eq!(choices, ["com.example", "com.other"]);
        assert!(matches!(try_it("SHOP0009", Some("com.nobody")).await, Err(CallError::NotFound { .. })));
        assert_eq!(try_it("SHOP0009", Some("com.other")).await.unwrap().status, Status::Licensed);
        assert!(world.server.bodies.lock().unwrap().is_empty());
        assert_eq!(other.bodies.lock().unwrap().len(), 1);
    });
}

#[test]
fn what_cannot_be_stored_is_said_and_changes_nothing() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        // A file where a folder is needed: a disk that fails, for root as for everyone.
        let intents = world.home().join("state/vendors/com.example/intents");
        fs::remove_dir_all(&intents).unwrap();
        fs::write(&intents, b"").unwrap();
        let sent = world.server.bodies.lock().unwrap().len();
        let error = activate(&daemon, "SHOP0002").await.unwrap_err();
        assert!(matches!(error, CallError::Storage { .. }), "{error:?}");
        assert_eq!(world.server.bodies.lock().unwrap().len(), sent, "nothing was sent");
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        fs::remove_file(&intents).unwrap();
        // Granted, but the certificate cannot be stored: the intent stays, and the same request is sent again.
        let products = world.home().join("certs/com.example/products");
        let kept = world.home().join("kept");
        fs::rename(&products, &kept).unwrap();
        fs::write(&products, b"").unwrap();
        let error = activate(&daemon, "SHOP0002").await.unwrap_err();
        assert!(matches!(error, CallError::Storage { .. }), "{error:?}");
        fs::remove_file(&products).unwrap();
        fs::rename(&kept, &products).unwrap();
        activate(&daemon, "SHOP0002").await.unwrap();
        let bodies = world.server.bodies.lock().unwrap();
        assert_eq!(bodies[bodies.len() - 1], bodies[bodies.len() - 2]);
        assert_eq!(statuses(&daemon).len(), 2);
    });
}

#[test]
fn subscriptions_expire_by_the_latest_moment_seen() {
    let world = world();
    *world.server.kind.lock().unwrap() = LicenseKind::Subscription;
    run(async {
        let daemon = world.daemon();
        assert_eq!(activate(&daemon, SERIAL).await.unwrap().status, Status::Licensed);
        drop(daemon);
        for (days, status) in [
            (43, Status::Licensed),
            (60, Status::Expired),
            (10, Status::LicensedClockSetBack),
            (18, Status::ClockSetBack),
        ] {
            let daemon = start_on(world.home(), OS_ID, NOW + days * DAY);
            assert_eq!(statuses(&daemon), [status], "day {days}");
        }
    });
}

#[test]
fn a_refusal_clears_the_intent() {
    let server = Server::new(Vendor::new(1, "com.example", "EXA"));
    let url = serve(|_, _| http(403, "application/problem+json", r#"{"code":"proof_refused","status":403}"#));
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let daemon = start(folder.path());
        daemon.engine.add_vendor(&server.vendor.profile(&url)).unwrap();
        let error = activate(&daemon, SERIAL).await.unwrap_err();
        assert_eq!(error.code(), "proof_refused");
        assert_eq!(daemon.engine.status(true).intents_waiting, 0);
    });
}
