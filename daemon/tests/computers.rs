//! Other computers as the daemon sees them: asking who holds the seats, freeing a seat so that a lost answer frees nothing twice,
//! servers from before it, and what a person may set.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{LicenseSeats, Order, SeatHolder};
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::ids::{DeviceName, MachineId};
use claviger_protocol::ipc::{CallError, FreeCall, SettingSource};
use common::{Daemon, NOW, Server, UNLOCK_CODE, Vendor, activate, http, run, serve, start};

const SERIAL: &str = "SHOP0001";

/// The server answers.
const WELL: u8 = 0;
/// It does what it is asked, and its answers get lost.
const LOSSY: u8 = 1;
/// It knows neither of the new paths.
const OLD: u8 = 2;

struct World {
    folder: tempfile::TempDir,
    server: Arc<Server>,
    mood: Arc<AtomicU8>,
    url: String,
}

fn world() -> World {
    let server = Server::new(Vendor::new(1, "com.example", "EXA"));
    let mood = Arc::new(AtomicU8::new(WELL));
    let (answering, feeling) = (server.clone(), mood.clone());
    let url = serve(move |path, body| match feeling.load(Ordering::SeqCst) {
        OLD if matches!(path, "/v1/seats" | "/v1/free") => {
            let problem = serde_json::to_string(&Problem::new(ProblemCode::NotFound)).unwrap();
            http(404, "application/problem+json", &problem)
        }
        LOSSY => {
            let _ = answering.respond(path, body);
            Vec::new()
        }
        _ => answering.respond(path, body),
    });
    World { folder: tempfile::tempdir().unwrap(), server, mood, url }
}

impl World {
    fn daemon(&self) -> Daemon {
        let daemon = start(self.folder.path());
        daemon.engine.add_vendor(&self.server.vendor.profile(&self.url)).unwrap();
        daemon
    }

    fn orders(&self) -> Vec<Order> {
        self.server.requests.lock().unwrap().iter().map(|r| r.order.clone()).collect()
    }
}

fn free(machine: &str) -> FreeCall {
    FreeCall {
        machine: machine.to_owned(),
        serial: SERIAL.to_owned(),
        unlock_code: Some(UNLOCK_CODE.to_owned()),
        vendor: Some("com.example".parse().unwrap()),
    }
}

#[test]
fn seats_are_asked_for_with_the_certificate_and_only_when_someone_asks() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        let empty = daemon.engine.show_seats(None, None).await.unwrap();
        assert!(empty.seats.is_empty() && world.orders().is_empty(), "nothing is active, so nobody is asked");
        let license = activate(&daemon, SERIAL).await.unwrap();
        let holder = |n: u8, name: &str| SeatHolder {
            machine_id: MachineId([n; 16]),
            device_name: DeviceName::lossy(name),
            since: Timestamp(NOW),
            last_seen: Timestamp(NOW),
        };
        let told = |id| LicenseSeats {
            id,
            total: 3,
            taken: 2,
            holders: vec![holder(1, "Studio"), holder(2, "Laptop")],
            history: vec![],
        };
        // What nobody asked about is not believed.
        let stranger = claviger_protocol::ids::ActivationId([0xee; 16]);
        *world.server.seats.lock().unwrap() = vec![told(license.activation), told(stranger)];
        for (target, vendor) in
            [(Some(SERIAL), None), (Some("synth"), None), (None, Some(&license.vendor)), (None, None)]
        {
            let reply = daemon.engine.show_seats(target, vendor).await.unwrap();
            assert_eq!((reply.seats.len(), reply.warnings.len()), (1, 0), "{target:?}");
            let seats = &reply.seats[0];
            assert_eq!((seats.activation, seats.total, seats.taken), (license.activation, 3, 2));
            assert_eq!(seats.holders[1].device_name.as_str(), "Laptop");
            let Order::Seats { activations, machine_id } = world.orders().pop().unwrap() else { panic!() };
            assert_eq!(machine_id, seats.machine_id);
            assert_eq!((activations.len(), activations[0].id), (1, license.activation));
            assert_eq!(activations[0].certificate, license.certificate, "the proof");
        }
        let unknown = daemon.engine.show_seats(Some("nothing"), None).await;
        assert!(matches!(unknown, Err(CallError::NotFound { .. })));
        // A server that believes the proof no longer tells nothing: that is said.
        world.server.seats.lock().unwrap().clear();
        let refused = daemon.engine.show_seats(Some(SERIAL), None).await.unwrap_err();
        assert_eq!(refused.code(), "proof_refused");
        let reply = daemon.engine.show_seats(None, None).await.unwrap();
        assert!(reply.seats.is_empty() && reply.warnings[0].contains(SERIAL), "{:?}", reply.warnings);
    });
}

#[test]
fn offline_and_old_servers_are_said_so_in_a_sentence() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        activate(&daemon, SERIAL).await.unwrap();
        world.mood.store(OLD, Ordering::SeqCst);
        for error in [
            daemon.engine.show_seats(None, None).await.unwrap_err(),
            daemon.engine.free_machine(free("Laptop")).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "server_too_old");
            assert!(error.to_string().contains("too old") && error.advice().is_some(), "{error}");
        }
        assert_eq!(daemon.engine.status(true).intents_waiting, 0, "an old server is not asked again");
        world.mood.store(LOSSY, Ordering::SeqCst);
        let error = daemon.engine.show_seats(None, None).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    });
}

#[test]
fn a_seat_is_freed_once_however_often_the_answer_gets_lost() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        world.mood.store(LOSSY, Ordering::SeqCst);
        let error = daemon.engine.free_machine(free("Laptop")).await.unwrap_err();
        assert!(error.to_string().contains("not known yet"), "{error}");
        assert_eq!(daemon.engine.status(true).intents_waiting, 1);
        // The daemon dies, starts again, and is told the same: the very same bytes go out.
        drop(daemon);
        let daemon = world.daemon();
        assert!(daemon.engine.free_machine(free("Laptop")).await.is_err());
        world.mood.store(WELL, Ordering::SeqCst);
        let freed = daemon.engine.free_machine(free("Laptop")).await.unwrap();
        assert_eq!((freed.serial.as_str(), freed.device_name.as_str()), (SERIAL, "Laptop"));
        {
            let bodies = world.server.bodies.lock().unwrap();
            assert_eq!(bodies.len(), 3);
            assert!(bodies.iter().all(|body| *body == bodies[0]));
            assert!(!bodies[0].contains(UNLOCK_CODE));
        }
        assert_eq!(daemon.engine.status(true).intents_waiting, 0);
        // Another wish is another request, with an end of validity: nobody is surprised by it weeks later.
        daemon.engine.free_machine(free("Attic")).await.unwrap();
        let requests = world.server.requests.lock().unwrap();
        let last = requests.last().unwrap();
        assert!(matches!(&last.order, Order::Free { other, .. } if other == "Attic"));
        assert_eq!(last.exp, Some(Timestamp(NOW + 7 * 86_400)));
        assert_ne!(last.nonce, requests[0].nonce);
    });
}

#[test]
fn what_is_left_of_freeing_is_settled_without_anyone_asking() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        world.mood.store(LOSSY, Ordering::SeqCst);
        assert!(daemon.engine.free_machine(free("Laptop")).await.is_err());
        drop(daemon);
        world.mood.store(WELL, Ordering::SeqCst);
        let daemon = world.daemon();
        daemon.engine.refresh(None).await.unwrap();
        assert_eq!(daemon.engine.status(true).intents_waiting, 0);
        let bodies = world.server.bodies.lock().unwrap();
        assert_eq!(bodies[0], bodies[1]);
    });
}

#[test]
fn mistakes_are_noticed_before_anything_is_sent() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        let own = daemon.engine.show_machine(None).unwrap()[0].machine_id.to_string();
        for (machine, code) in [(own.to_uppercase(), "this_computer"), (" ".to_owned(), "bad_name")] {
            let error = daemon.engine.free_machine(free(&machine)).await.unwrap_err();
            assert_eq!(error.code(), code);
        }
        let unproved =
            FreeCall { serial: "EXA-00000-00000-00000".to_owned(), unlock_code: None, ..free("Laptop") };
        assert!(matches!(daemon.engine.free_machine(unproved).await, Err(CallError::InvalidInput { .. })));
        assert!(world.orders().is_empty());
    });
}

#[test]
fn settings_outlive_restarts_and_policy_wins() {
    let world = world();
    run(async {
        let daemon = world.daemon();
        let of = |daemon: &Daemon, name: &str| {
            daemon.engine.settings(true).into_iter().find(|s| s.name == name).unwrap()
        };
        assert_eq!((of(&daemon, "proxy").value, of(&daemon, "proxy").source), (None, SettingSource::Default));
        assert_eq!(of(&daemon, "network").value.as_deref(), Some("on"));
        for (name, value) in
            [("proxy", "proxy:3128"), ("proxy", "socks5://p:1"), ("network", "maybe"), ("moon", "full")]
        {
            let error = daemon.engine.set_setting(name, Some(value)).unwrap_err();
            assert!(
                matches!(error, CallError::InvalidInput { .. }) && error.advice().is_some(),
                "{name} {value}"
            );
        }
        daemon.engine.set_setting("proxy", Some(" http://me:secret@127.0.0.1:1 ")).unwrap();
        daemon.engine.set_setting("network", Some("off")).unwrap();
        daemon.engine.rename_machine(&"Studio".parse().unwrap()).unwrap();
        drop(daemon);
        let daemon = world.daemon();
        assert_eq!(of(&daemon, "proxy").value.as_deref(), Some("http://127.0.0.1:1"), "no password is shown");
        assert_eq!(of(&daemon, "proxy").source, SettingSource::Yours);
        assert!(!daemon.engine.status(true).network);
        let error = activate(&daemon, SERIAL).await.unwrap_err();
        assert_eq!(error.code(), "network_off");
        assert!(error.advice().unwrap().contains("--network on"));
        assert_eq!(daemon.engine.status(true).intents_waiting, 0);
        daemon.engine.set_setting("network", None).unwrap();
        // Loopback is this computer: no proxy stands in between.
        activate(&daemon, SERIAL).await.unwrap();
        assert_eq!(daemon.engine.show_machine(None).unwrap()[0].device_name.as_str(), "Studio");
        assert!(daemon.engine.settings(false).iter().all(|setting| setting.locked), "who may only look");
        drop(daemon);

        std::fs::write(world.folder.path().join("policy.toml"), "proxy = \"http://theirs:3128\"\n").unwrap();
        let daemon = world.daemon();
        let proxy = of(&daemon, "proxy");
        assert_eq!(
            (proxy.value.as_deref(), proxy.source, proxy.locked),
            (Some("http://theirs:3128"), SettingSource::Policy, true)
        );
        let error = daemon.engine.set_setting("proxy", None).unwrap_err();
        assert!(matches!(error, CallError::NotPermitted { .. }));
        assert!(!of(&daemon, "network").locked);
    });
}

#[test]
fn a_proxy_of_one_s_own_is_used_and_named_when_it_is_down() {
    let server = Server::new(Vendor::new(1, "com.example", "EXA"));
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let daemon = start(folder.path());
        // A name that no resolver knows (RFC 2606): only a proxy could reach it.
        daemon.engine.add_vendor(&server.vendor.profile("https://licenses.invalid")).unwrap();
        let (seen, asked) = std::sync::mpsc::channel();
        let seen = std::sync::Mutex::new(seen);
        let proxy = common::listen(move |mut stream| {
            if let Some((target, _)) = common::read_request(&mut stream) {
                let _ = seen.lock().unwrap().send(target);
            }
        });
        daemon.engine.set_setting("proxy", Some(&proxy)).unwrap();
        activate(&daemon, SERIAL).await.unwrap_err();
        assert_eq!(asked.recv().unwrap(), "licenses.invalid:443");
        // Nobody listens at a port that was just given back.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        daemon.engine.set_setting("proxy", Some(&format!("http://{gone}"))).unwrap();
        let error = activate(&daemon, SERIAL).await.unwrap_err();
        assert_eq!(error.code(), "proxy_unreachable");
        assert!(error.to_string().contains("your settings"), "{error}");
    });
}
