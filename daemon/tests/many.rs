//! A machine with many licenses: looking at all of them keeps nobody else waiting, and what was looked at once is still
//! looked at when it changes.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use claviger_daemon::platform::settled_stamp;
use claviger_protocol::documents::{ActivationCertificate, KeyStatus};
use claviger_protocol::ids::ActivationId;
use claviger_protocol::jws::{KeyInHeader, Unverified, sign};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::Serial;
use claviger_protocol::status::Status;
use common::{Daemon, Server, Vendor, activate, at_once, run, serve, start};

const MANY: u8 = 200;

fn folder(home: &Path) -> PathBuf {
    home.join("certs/com.example/products/com.example.synth")
}

/// A daemon that holds many licenses: one of them activated, the others made of its certificate.
async fn many(home: &Path) -> (Daemon, Arc<Server>) {
    let daemon = start(home);
    let server = Server::new(Vendor::new(1, "com.example", "EXA"));
    let answering = server.clone();
    let url = serve(move |path, body| answering.respond(path, body));
    daemon.engine.add_vendor(&server.vendor.profile(&url)).unwrap();
    let first = activate(&daemon, "SHOP0001").await.unwrap();
    let text = first.certificate.unwrap();
    let first: ActivationCertificate =
        Unverified::parse::<ActivationCertificate>(&text).unwrap().peek().unwrap();
    for number in 1..MANY {
        let mut one = first.clone();
        one.jti = ActivationId([number; 16]);
        one.serial = Serial::foreign(&format!("SHOP9{number:03}")).unwrap();
        (one.product, one.opens) = ("com.example.synth".parse().unwrap(), Vec::new());
        let text = sign(&one, &server.vendor.issuing, KeyInHeader::Named);
        fs::write(folder(home).join(format!("{}.cert", one.jti)), text).unwrap();
    }
    (daemon, server)
}

async fn statuses(daemon: &Daemon) -> Vec<Status> {
    let list = daemon.engine.list_licenses(None).await.unwrap();
    list.licenses.iter().map(|license| license.status).collect()
}

#[test]
fn a_long_list_lets_others_have_their_turn() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, _) = many(home.path()).await;
        let mut list = std::pin::pin!(daemon.engine.list_licenses(None));
        let mut looks = 0;
        let list = loop {
            let mut context = Context::from_waker(Waker::noop());
            match list.as_mut().poll(&mut context) {
                Poll::Ready(list) => break list.unwrap(),
                Poll::Pending => looks += 1,
            }
            // Whoever asks meanwhile is told.
            assert_eq!(daemon.engine.status(true).activations, usize::from(MANY));
            if looks == 2 {
                // And may change something: what has gone is no damage.
                fs::remove_file(folder(home.path()).join(format!("{}.cert", ActivationId([MANY - 1; 16]))))
                    .unwrap();
                break list.as_mut().await.unwrap();
            }
        };
        assert_eq!(list.licenses.len(), usize::from(MANY) - 1);
        assert!(list.licenses.iter().all(|license| license.status == Status::Licensed));
    });
}

#[test]
fn what_was_verified_is_verified_again_when_it_changes() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, server) = many(home.path()).await;
        let victim = folder(home.path()).join(format!("{}.cert", ActivationId([7; 16])));
        // The files have to rest before their state tells anything.
        while settled_stamp(&victim).is_none() {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        for _ in 0..2 {
            assert!(statuses(&daemon).await.iter().all(|s| *s == Status::Licensed));
        }
        // Changed in place, by one bit, with the moment of its content set back.
        let (mut content, moment) =
            (fs::read(&victim).unwrap(), fs::metadata(&victim).unwrap().modified().unwrap());
        let last = content.len() - 10;
        content[last] ^= 1;
        fs::write(&victim, content).unwrap();
        fs::File::options().write(true).open(&victim).unwrap().set_modified(moment).unwrap();
        let broken =
            statuses(&daemon).await.into_iter().filter(|s| *s != Status::Licensed).collect::<Vec<_>>();
        assert_eq!(broken, [Status::Damaged]);
        // Other keys, and nothing of it counts.
        let new_key = SigningKey::from_seed(&[42; 32]);
        let keys = [(&server.vendor.issuing, KeyStatus::Compromised), (&new_key, KeyStatus::Active)];
        let keyset = server.vendor.keyset_of(2, &keys);
        drop(daemon);
        fs::write(home.path().join("certs/com.example/keyset.jws"), keyset).unwrap();
        let daemon = start(home.path());
        assert!(statuses(&daemon).await.iter().all(|s| *s != Status::Licensed));
    });
}

#[test]
fn a_few_licenses_are_listed_at_once() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, _) = many(home.path()).await;
        for number in 10..MANY {
            fs::remove_file(folder(home.path()).join(format!("{}.cert", ActivationId([number; 16]))))
                .unwrap();
        }
        assert_eq!(at_once(daemon.engine.list_licenses(None)).unwrap().licenses.len(), 10);
    });
}

#[test]
fn the_number_of_vendors_has_an_end() {
    let home = tempfile::tempdir().unwrap();
    let daemon = start(home.path());
    let add = |n: u32| {
        let id = format!("com.vendor{n}");
        daemon.engine.add_vendor(&Vendor::new(1, &id, "EXA").profile("http://127.0.0.1:1"))
    };
    let refused = (0..300).find_map(|n| add(n).err().map(|e| (n, e))).unwrap();
    assert_eq!((refused.0, refused.1.code()), (256, "too_many_vendors"));
    // A known one may be told anew, and one that goes makes room.
    assert!(!add(7).unwrap().added);
    daemon.engine.remove_vendor(&"com.vendor7".parse().unwrap()).unwrap();
    assert!(add(300).unwrap().added);
}
