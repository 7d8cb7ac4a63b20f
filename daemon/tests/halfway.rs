//! What was left halfway or got damaged never keeps a daemon busy, and never takes away what is good.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use claviger_daemon::platform::Alarm;
use claviger_protocol::documents::{ActivationState, EndReason, KeyStatus};
use claviger_protocol::ipc::CallError;
use claviger_protocol::keys::SigningKey;
use claviger_protocol::status::Status;
use common::{NOW, OS_ID, Server, Vendor, activate, at_once, run, serve, start_on};

const SERIAL: &str = "SHOP0001";
const DAY: i64 = 86_400;

struct World {
    folder: tempfile::TempDir,
    server: Arc<Server>,
    url: String,
}

fn world() -> World {
    let server = Server::new(Vendor::new(1, "com.example", "EXA"));
    let answering = server.clone();
    let url = serve(move |path, body| answering.respond(path, body));
    World { folder: tempfile::tempdir().unwrap(), server, url }
}

impl World {
    fn daemon(&self, days: i64) -> common::Daemon {
        let daemon = start_on(self.folder.path(), OS_ID, NOW + days * DAY);
        daemon.engine.add_vendor(&self.server.vendor.profile(&self.url)).unwrap();
        daemon
    }

    fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join("state/vendors/com.example").join(name)
    }
}

fn statuses(daemon: &common::Daemon) -> Vec<Status> {
    at_once(daemon.engine.list_licenses(None)).unwrap().licenses.iter().map(|l| l.status).collect()
}

/// Lets the background work until it waits for its alarm.
async fn settle(daemon: &common::Daemon) {
    let work = tokio::task::spawn_local(Rc::clone(&daemon.engine).background(Alarm::new().unwrap()));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    work.abort();
}

#[test]
fn a_keyset_in_force_waits_no_more() {
    let world = world();
    run(async {
        let daemon = world.daemon(0);
        activate(&daemon, SERIAL).await.unwrap();
        let vendor = &world.server.vendor;
        let new_key = SigningKey::from_seed(&[42; 32]);
        let keyset =
            vendor.keyset_of(2, &[(&vendor.issuing, KeyStatus::Compromised), (&new_key, KeyStatus::Active)]);
        *world.server.key.lock().unwrap() = new_key;
        *world.server.keyset.lock().unwrap() = Some(keyset.clone());
        daemon.engine.refresh(None).await.unwrap();
        drop(daemon);
        // A crash between the keyset and the note that it waits no more.
        fs::write(world.folder.path().join("certs/com.example/keyset.jws"), &keyset).unwrap();
        let waits = || fs::read_to_string(world.state("vendor.json")).unwrap().contains(&keyset);
        assert!(waits());
        let daemon = world.daemon(31);
        assert_eq!(statuses(&daemon), [Status::KeyCompromised]);
        daemon.engine.refresh(None).await.unwrap();
        assert!(!waits(), "the next keyset has its own thirty days");
    });
}

#[test]
fn a_suspended_memory_that_does_not_verify_is_put_off() {
    let world = world();
    run(async {
        let daemon = world.daemon(0);
        let license = activate(&daemon, SERIAL).await.unwrap();
        *world.server.states.lock().unwrap() = vec![ActivationState {
            id: license.activation,
            rev: 2,
            certificate: None,
            ended: Some(EndReason::Suspended),
            at: None,
            by: None,
        }];
        daemon.engine.refresh(None).await.unwrap();
        let path = world.state("ended").join(format!("{}.json", license.activation));
        let mut memory: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        memory["certificate"] = "rubbish".into();
        fs::write(&path, memory.to_string()).unwrap();
        daemon.clock.0.store(NOW + 40 * DAY, Ordering::SeqCst);
        let sent = world.server.bodies.lock().unwrap().len();
        settle(&daemon).await;
        assert_eq!(world.server.bodies.lock().unwrap().len(), sent, "there is nothing to ask about");
        assert!(daemon.engine.status(true).next_contact.unwrap().0 >= NOW + 41 * DAY);
    });
}

#[test]
fn a_damaged_receipt_takes_no_license_away() {
    let world = world();
    run(async {
        let daemon = world.daemon(0);
        let license = activate(&daemon, SERIAL).await.unwrap();
        let folder = world.folder.path().join("certs/com.example/products/com.example.synth");
        let certificate = folder.join(format!("{}.cert", license.activation));
        let good = fs::read(&certificate).unwrap();
        for content in [&b""[..], b"rubbish", &good] {
            fs::write(certificate.with_extension("receipt"), content).unwrap();
            assert_eq!(statuses(&daemon), [Status::Licensed]);
        }
        // At start, and in place of a file, too.
        fs::create_dir(certificate.with_extension("receipt")).unwrap();
        drop(daemon);
        let daemon = world.daemon(0);
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        assert_eq!(fs::read(&certificate).unwrap(), good);
        assert!(certificate.with_extension("receipt.damaged").exists());
        daemon.engine.deactivate(SERIAL).await.unwrap();
        assert_eq!(statuses(&daemon), [Status::GivenUp]);
    });
}

#[test]
fn what_cannot_be_given_up_here_is_not_given_up_there() {
    let world = world();
    run(async {
        let daemon = world.daemon(0);
        let license = activate(&daemon, SERIAL).await.unwrap();
        let folder = world.folder.path().join("certs/com.example/products/com.example.synth");
        // A folder where a file is needed: a disk that fails, for root as for everyone.
        let blocked = folder.join(format!(".{}.receipt.tmp", license.activation));
        fs::create_dir(&blocked).unwrap();
        let error = daemon.engine.deactivate(SERIAL).await.unwrap_err();
        assert!(matches!(error, CallError::Storage { .. }), "{error:?}");
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        assert_eq!(daemon.engine.status(true).receipts_waiting, 0);
        // A receipt that a crash left waiting is finished first, or does not leave.
        fs::remove_dir(&blocked).unwrap();
        daemon.engine.deactivate(SERIAL).await.unwrap();
        let receipts = || world.server.requests.lock().unwrap().iter().any(|r| !r.receipts.is_empty());
        assert!(receipts());
        let again = activate(&daemon, SERIAL).await.unwrap();
        let kept = world.state("receipts").join(format!("{}.receipt", license.activation));
        let certificate = folder.join(format!("{}.cert", license.activation));
        fs::copy(folder.join(format!("{}.cert", again.activation)), &certificate).unwrap();
        fs::remove_file(certificate.with_extension("receipt")).unwrap();
        fs::copy(kept, world.state("outbox").join(format!("{}.receipt", license.activation))).unwrap();
        world.server.requests.lock().unwrap().clear();
        activate(&daemon, "SHOP0002").await.unwrap();
        assert!(!receipts(), "a copy that still licenses keeps its receipt here");
    });
}

#[test]
fn rubbish_in_the_outbox_blocks_no_request() {
    let world = world();
    run(async {
        let daemon = world.daemon(0);
        activate(&daemon, SERIAL).await.unwrap();
        let outbox = world.state("outbox");
        fs::create_dir_all(outbox.join("folder.receipt")).unwrap();
        fs::write(outbox.join("large.receipt"), vec![b'x'; 3 * 1024 * 1024]).unwrap();
        fs::write(outbox.join("text.receipt"), [0xff; 10]).unwrap();
        daemon.engine.refresh(None).await.unwrap();
        assert_eq!(daemon.engine.status(true).receipts_waiting, 0);
        fs::remove_dir_all(&outbox).unwrap();
        fs::write(&outbox, b"").unwrap();
        assert!(daemon.engine.deactivate(SERIAL).await.is_ok_and(|reply| reply.delivered));
    });
}

#[test]
fn a_vendor_in_the_middle_of_an_exchange_is_not_removed() {
    let world = world();
    run(async {
        let daemon = world.daemon(0);
        let id = world.server.vendor.id.clone();
        let engine = daemon.engine.clone();
        let refresh = tokio::task::spawn_local(async move { engine.refresh(None).await.map(|_| ()) });
        tokio::task::yield_now().await;
        assert_eq!(daemon.engine.remove_vendor(&id).unwrap_err().code(), "vendor_busy");
        refresh.await.unwrap().unwrap();
        daemon.engine.remove_vendor(&id).unwrap();
        assert!(daemon.engine.list_vendors().is_empty());
    });
}

#[cfg(unix)]
#[test]
fn what_is_no_file_holds_nothing_up() {
    let world = world();
    run(async {
        drop(world.daemon(0));
        let (sent, mark) =
            (world.folder.path().join("state/sent"), world.folder.path().join("state/machine.json"));
        fs::create_dir_all(&sent).unwrap();
        // A pipe that nobody reads, and a link in a circle.
        let log = sent.join("sent.jsonl");
        assert!(std::process::Command::new("mkfifo").arg(&log).status().unwrap().success());
        fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink(&mark, &mark).unwrap();
        let daemon = world.daemon(0);
        activate(&daemon, SERIAL).await.unwrap();
        assert_eq!(statuses(&daemon), [Status::Licensed]);
        assert!(fs::read_to_string(&log).unwrap().contains("/v1/activate"));
        assert!(sent.join("sent.jsonl.damaged").exists() && mark.is_file());
    });
}
