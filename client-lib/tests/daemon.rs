//! Activation, giving up and notifications against a scripted daemon on a real socket.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use claviger_client::{Event, OpenOptions, Status};
use common::{SYNTH, World};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each call with what `script` gives for it: replies, the last of which ends the call.
fn daemon(world: &World, mut script: impl FnMut(&str) -> Vec<String> + Send + Clone + 'static) {
    let folder = world.home.path().join("run");
    std::fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("daemon.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut script) = (stream.unwrap(), script.clone());
            std::thread::spawn(move || serve(&mut stream, &mut script));
        }
        script("")
    });
}

fn serve(stream: &mut UnixStream, script: &mut dyn FnMut(&str) -> Vec<String>) {
    let mut frame = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|n| n == 1) {
        if byte[0] != 0 {
            frame.push(byte[0]);
            continue;
        }
        let call = String::from_utf8(std::mem::take(&mut frame)).unwrap();
        for reply in script(&call) {
            if stream.write_all(format!("{reply}\0").as_bytes()).is_err() {
                return;
            }
        }
    }
}

const VENDOR: &str = r#"{"parameters":{"added":true,"vendor":{"id":"com.example","name":"Example","prefix":"EX","server":"https://example.com","keyset":5}}}"#;

fn license(world: &World, status: Status) -> String {
    let certificate = world.certificate();
    let license =
        claviger_client::protocol::ipc::License::of(&certificate, None, "Example".to_owned(), status);
    serde_json::to_string(&license).unwrap()
}

fn last(events: &Receiver<Event>) -> (Vec<String>, Event) {
    let mut progress = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            Event::Progress(text) => progress.push(text),
            end => return (progress, end),
        }
    }
}

#[test]
fn activating_and_giving_up() {
    let world = World::new();
    let path = world.folder(SYNTH).join(format!("{}.cert", world.certificate().jti));
    let (text, held) = (world.signed(&world.certificate()), license(&world, Status::Licensed));
    daemon(&world, move |call| {
        if call.contains("AddVendor") {
            vec![VENDOR.to_owned()]
        } else if call.contains("Activate") {
            assert!(call.contains(r#""unlock_code":"secret""#) && call.contains(r#""vendor":"com.example""#));
            std::fs::write(&path, &text).unwrap();
            vec![
                r#"{"parameters":{"progress":"Asking Example"},"continues":true}"#.to_owned(),
                format!(r#"{{"parameters":{{"license":{held}}}}}"#),
            ]
        } else {
            assert!(call.contains("07070707070707070707070707070707"), "{call}");
            std::fs::remove_file(&path).unwrap();
            vec![format!(r#"{{"parameters":{{"license":{held},"delivered":true}}}}"#)]
        }
    });
    let license = world.open();
    assert_eq!(license.status(), Status::NotActivated);
    let (tell, told) = channel();
    license.activate("EX-1", Some("secret"), move |event| tell.send(event).unwrap()).unwrap();
    let (progress, end) = last(&told);
    assert_eq!(progress, ["Asking Example"]);
    assert!(matches!(end, Event::Done(Status::Licensed)), "{end:?}");
    assert_eq!(license.status(), Status::Licensed);
    let (tell, told) = channel();
    license.deactivate(move |event| tell.send(event).unwrap()).unwrap();
    assert!(matches!(last(&told).1, Event::Done(Status::Licensed)), "this process stays licensed");
    assert_eq!(world.open().status(), Status::NotActivated);
}

#[test]
fn refusals_and_absence_are_told() {
    let world = World::new();
    let license = world.open();
    let ask = || {
        let (tell, told) = channel();
        license.activate("EX-1", None, move |event| tell.send(event).unwrap()).unwrap();
        match last(&told).1 {
            Event::Failed { code, message, advice } => (code, message, advice),
            other => panic!("{other:?}"),
        }
    };
    let (code, message, _) = ask();
    assert_eq!(code, "daemon_not_running", "{message}");
    daemon(&world, |call| {
        let refused = r#"{"error":"io.claviger.Daemon.Refused","parameters":{"code":"no_seat_left","message":"No seat is left.","advice":"Free one.","seats":null}}"#;
        vec![if call.contains("AddVendor") { VENDOR } else { refused }.to_owned()]
    });
    assert_eq!(
        ask(),
        ("no_seat_left".to_owned(), "No seat is left.".to_owned(), Some("Free one.".to_owned()))
    );
}

#[test]
fn a_daemon_that_hangs_holds_no_close_up() {
    let world = World::new();
    daemon(&world, |_| vec![]);
    let vendor = world.fresh();
    let license = vendor.open(SYNTH, OpenOptions::new()).unwrap();
    let begun = Instant::now();
    license.activate("EX-1", None, |_| {}).unwrap();
    let watch = license.watch(|_| {}).unwrap();
    drop((vendor, license, watch));
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for a daemon that never answers");
}

#[test]
fn changes_are_told() {
    let world = World::new();
    let (reply, replies) = channel::<()>();
    let replies = std::sync::Arc::new(std::sync::Mutex::new(replies));
    daemon(&world, move |call| {
        if !call.contains("Monitor") {
            return vec![];
        }
        replies.lock().unwrap().recv().unwrap();
        vec![r#"{"parameters":{"licenses":[]},"continues":true}"#.to_owned()]
    });
    let license = world.open();
    let (tell, told) = channel();
    let watch = license.watch(move |status| tell.send(status).unwrap()).unwrap();
    world.install(&world.certificate());
    reply.send(()).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Status::Licensed));
    assert_eq!(license.status(), Status::Licensed);
    drop(watch);
    // The callback goes with the watch.
    assert!(told.recv_timeout(PATIENCE).is_err());
}
