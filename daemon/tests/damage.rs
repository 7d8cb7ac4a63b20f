//! Damage on one vendor's account is nobody else's: the others are listed, asked about and given up as ever; and a
//! machine without any has nothing for the doctor.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use claviger_protocol::ipc::{ActivateCall, CallError, Level, License};
use claviger_protocol::status::Status;
use common::{Daemon, Server, Vendor, activate, at_once, files, run, serve, start};

const SERIAL: &str = "SHOP0001";

/// A server of one vendor, known to this daemon.
fn vendor(daemon: &Daemon, seed: u8, id: &str, prefix: &str) -> Arc<Server> {
    let server = Server::new(Vendor::new(seed, id, prefix));
    let answering = server.clone();
    let url = serve(move |path, body| answering.respond(path, body));
    daemon.engine.add_vendor(&server.vendor.profile(&url)).unwrap();
    server
}

async fn activated(home: &Path) -> (Daemon, License) {
    let daemon = start(home);
    vendor(&daemon, 1, "com.example", "EXA");
    let license = activate(&daemon, SERIAL).await.unwrap();
    (daemon, license)
}

#[test]
fn a_healthy_machine_has_nothing_for_the_doctor() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, _) = activated(home.path()).await;
        assert!(home.path().join("certs/clock.json").is_file());
        for finding in at_once(daemon.engine.doctor()) {
            assert_eq!(finding.level, Level::Ok, "{finding:?}");
        }
    });
}

#[test]
fn damage_in_one_vendors_folder_leaves_the_others_alone() {
    for place in ["certs/com.keyco/products", "certs/com.keyco", "state/vendors/com.keyco"] {
        let home = tempfile::tempdir().unwrap();
        run(async {
            let (daemon, _) = activated(home.path()).await;
            vendor(&daemon, 5, "com.keyco", "KEY");
            let path = home.path().join(place);
            fs::remove_dir_all(&path).ok();
            fs::write(&path, "not a folder").unwrap();
            let check = |daemon: &Daemon| {
                let list = at_once(daemon.engine.list_licenses(None)).unwrap();
                let statuses: Vec<Status> = list.licenses.iter().map(|l| l.status).collect();
                assert_eq!(statuses, [Status::Licensed], "{place}");
                assert_eq!(list.warnings.len(), 1, "{place}");
                assert!(list.warnings[0].contains("com.keyco"), "{list:?}");
                let keyco = "com.keyco".parse().unwrap();
                assert!(at_once(daemon.engine.list_licenses(Some(&keyco))).is_err());
                let findings = at_once(daemon.engine.doctor());
                let bad = |f: &&claviger_protocol::ipc::Finding| f.level == Level::Error;
                assert!(
                    findings.iter().filter(bad).all(|f| f.message.contains("com.keyco")),
                    "{place}: {findings:?}"
                );
                assert!(findings.iter().any(|f| f.level == Level::Error), "{place}");
            };
            check(&daemon);
            drop(daemon);
            let daemon = start(home.path());
            check(&daemon);
            let asked = daemon.engine.refresh(None).await.unwrap();
            assert_eq!((asked.licenses.len(), asked.warnings.len()), (1, 1), "{place}");
            assert!(daemon.engine.deactivate(SERIAL).await.unwrap().delivered, "{place}");
        });
    }
}

#[test]
fn a_vendor_that_could_not_be_added_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let daemon = start(home.path());
        let server = Server::new(Vendor::new(1, "com.example", "EXA"));
        let profile = server.vendor.profile("http://127.0.0.1:1");
        let place = home.path().join("certs/com.example");
        fs::create_dir_all(home.path().join("certs")).unwrap();
        fs::write(&place, "not a folder").unwrap();
        daemon.engine.add_vendor(&profile).unwrap_err();
        assert!(!home.path().join("state/vendors/com.example").exists());
        drop(daemon);
        let daemon = start(home.path());
        assert!(daemon.engine.list_vendors().is_empty());
        fs::remove_file(&place).unwrap();
        assert!(daemon.engine.add_vendor(&profile).unwrap().added);
    });
}

#[test]
fn a_certificate_that_nothing_can_be_read_of_is_listed_as_damaged() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, license) = activated(home.path()).await;
        for (name, _) in files(&home.path().join("certs/com.example/products")) {
            fs::write(name, "").unwrap();
        }
        let list = at_once(daemon.engine.list_licenses(None)).unwrap().licenses;
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].status, list[0].activation), (Status::Damaged, license.activation));
        assert_eq!(list[0].serial.as_str(), "UNREADABLE");
        assert!(license.opens.iter().all(|product| list[0].opens.contains(product)));
    });
}

#[test]
fn the_list_tells_how_a_serial_number_ended_last_and_only_while_it_is_not_held() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, _) = activated(home.path()).await;
        daemon.engine.deactivate(SERIAL).await.unwrap();
        daemon.clock.0.fetch_add(10, std::sync::atomic::Ordering::SeqCst);
        let second = activate(&daemon, SERIAL).await.unwrap();
        daemon.engine.deactivate(SERIAL).await.unwrap();
        let told = || -> Vec<_> {
            let list = at_once(daemon.engine.list_licenses(None)).unwrap().licenses;
            list.iter().map(|l| (l.activation, l.status)).collect()
        };
        assert_eq!(told(), [(second.activation, Status::GivenUp)]);
        let third = activate(&daemon, SERIAL).await.unwrap();
        assert_eq!(told(), [(third.activation, Status::Licensed)]);
    });
}

#[test]
fn a_damaged_mark_is_no_other_machine() {
    let home = tempfile::tempdir().unwrap();
    run(async {
        let (daemon, _) = activated(home.path()).await;
        drop(daemon);
        let mark = home.path().join("state/machine.json");
        let good = fs::read_to_string(&mark).unwrap();
        let start_of_tag = good.rfind(": \"").unwrap() + 3;
        let digit = if good.as_bytes()[start_of_tag] == b'0' { "1" } else { "0" };
        // One that is no tag at all, and one that could be another machine's, were its keys not this one's.
        for damage in ["!", digit] {
            let mut bad = good.clone();
            bad.replace_range(start_of_tag..=start_of_tag, damage);
            fs::write(&mark, bad).unwrap();
            let daemon = start(home.path());
            assert!(at_once(daemon.engine.doctor()).iter().all(|f| f.name != "foreign_state"), "{damage}");
            assert!(home.path().join("state/vendors/com.example/device.key").exists());
            drop(daemon);
            assert_eq!(fs::read_to_string(&mark).unwrap(), good);
        }
    });
}

#[test]
fn the_doctor_names_what_is_wrong_in_the_policy() {
    let cases = [
        ("ca_file = \"/nope.pem\"", "/nope.pem"),
        ("proxy = \"http://user:secret@\"", "proxy"),
        ("proxy = \"nonsense\"", "proxy nonsense"),
        ("change_group = \"no-such-group-here\"", "no-such-group-here"),
        ("bundle = \"/nope.clvresp\"", "/nope.clvresp"),
        ("network = false\nbundle = \"/nope.clvresp\"", "/nope.clvresp"),
    ];
    for (policy, word) in cases {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("policy.toml"), policy).unwrap();
        run(async {
            let findings = at_once(start(home.path()).engine.doctor());
            let finding = findings.iter().find(|f| f.name == "policy").unwrap();
            assert_eq!(finding.level, Level::Error, "{policy}");
            assert!(finding.message.contains(word) && !finding.message.contains("secret"), "{finding:?}");
        });
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("policy.toml"), "vendors = [\"com.other\"]").unwrap();
    run(async {
        let error = activate(&start(home.path()), SERIAL).await.unwrap_err();
        assert!(
            matches!(&error, CallError::NotPermitted { message, .. } if message.contains("policy")),
            "{error:?}"
        );
        let call = ActivateCall {
            serial: SERIAL.to_owned(),
            unlock_code: None,
            vendor: None,
            replace_machine: None,
        };
        let error = start(home.path()).engine.activate(call, Box::new(|_| {})).await.unwrap_err();
        assert!(
            matches!(&error, CallError::NotPermitted { message, .. } if message.contains("com.other")),
            "{error:?}"
        );
    });
}
