//! Clients on a real socket that nobody invited: too many, too large, never finished, not JSON. The owner is served.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claviger_daemon::ipc::{Caps, serve};
use claviger_daemon::platform::Listener;
use common::{paths, run, start};
use serde_json::{Value, json};

struct Client(UnixStream);

impl Client {
    fn connect(home: &Path) -> Self {
        let stream = UnixStream::connect(home.join("run/daemon.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// One reply, or what is left when the connection ends.
    fn receive(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut byte = [0u8];
        while self.0.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != 0 {
            frame.push(byte[0]);
        }
        frame
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let mut call = json!({"method": method, "parameters": parameters}).to_string().into_bytes();
        call.push(0);
        self.send(&call).unwrap();
        serde_json::from_slice(&self.receive()).unwrap()
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0u8]).map_or_else(|e| e.kind() == std::io::ErrorKind::ConnectionReset, |n| n == 0)
    }
}

/// Serves a daemon in a folder while `clients` runs in a thread.
fn with_daemon(caps: Caps, clients: impl FnOnce(PathBuf) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_owned();
    run(async {
        let daemon = start(&home);
        let listener = Listener::bind(&paths(&home)).unwrap();
        let server = tokio::task::spawn_local(serve(daemon.engine.clone(), listener, caps));
        tokio::task::spawn_blocking(move || clients(home)).await.unwrap();
        server.abort();
    });
}

const STATUS: &str = "io.claviger.Daemon.GetStatus";

#[test]
fn it_introduces_itself() {
    with_daemon(Caps::default(), |home| {
        let mut client = Client::connect(&home);
        let info = client.call("org.varlink.service.GetInfo", &json!({}));
        assert_eq!(info["parameters"]["interfaces"][1], "io.claviger.Daemon");
        let asked = json!({"interface": "io.claviger.Daemon"});
        let description = client.call("org.varlink.service.GetInterfaceDescription", &asked);
        let text = description["parameters"]["description"].as_str().unwrap();
        assert!(text.contains("interface io.claviger.Daemon"));
        let service = client.call(
            "org.varlink.service.GetInterfaceDescription",
            &json!({"interface": "org.varlink.service"}),
        );
        assert!(service["parameters"]["description"].as_str().unwrap().contains("GetInfo"));
        let unknown = client.call("io.claviger.Daemon.Sing", &json!({}));
        assert_eq!(unknown["error"], "org.varlink.service.MethodNotFound");
        let wrong = client.call("io.claviger.Daemon.AddVendor", &json!({}));
        assert_eq!(wrong["parameters"]["parameter"], "profile");
        // Calls that follow each other at once are answered in order, one-way ones not at all.
        client.send(b"{\"method\":\"io.claviger.Daemon.GetStatus\",\"oneway\":true}\0").unwrap();
        assert!(client.call(STATUS, &json!({}))["parameters"]["status"]["pid"].is_number());
    });
}

#[test]
fn idle_connections_make_room_for_the_owner() {
    let caps = Caps { total: 20, per_user: 16, ..Caps::default() };
    with_daemon(caps, |home| {
        let mut idle: Vec<Client> = (0..200).map(|_| Client::connect(&home)).collect();
        let mut owner = Client::connect(&home);
        assert!(owner.call(STATUS, &json!({}))["parameters"]["status"].is_object());
        assert!(idle[0].is_closed(), "the one that was silent longest had to go");
        // Who keeps calling stays.
        for _ in 0..50 {
            idle.push(Client::connect(&home));
            assert!(owner.call(STATUS, &json!({}))["parameters"]["status"].is_object());
        }
    });
}

#[test]
fn large_frames_are_bounded_in_size_and_number() {
    let caps = Caps { large: 2, ..Caps::default() };
    with_daemon(caps, |home| {
        let mut large = Client::connect(&home);
        // The daemon may close before all is written.
        let _ = large.send(&vec![b' '; 400 * 1024]);
        let reply = large.receive();
        if !reply.is_empty() {
            let reply: Value = serde_json::from_slice(&reply).unwrap();
            assert_eq!(reply["parameters"]["code"], "frame_too_large");
        }
        assert!(large.is_closed());

        let mut half: Vec<Client> = (0..6).map(|_| Client::connect(&home)).collect();
        for client in &mut half {
            let _ = client.send(&vec![b' '; 64 * 1024]);
        }
        assert!(half[0].is_closed(), "the oldest unfinished large frame had to go");
        let mut owner = Client::connect(&home);
        assert!(owner.call(STATUS, &json!({}))["parameters"]["status"].is_object());
    });
}

#[test]
fn nonsense_is_answered_and_hung_up_on() {
    with_daemon(Caps::default(), |home| {
        let deep = [b"[".repeat(100_000), b"\0".to_vec()].concat();
        for nonsense in [&b"\0"[..], b"{}\0", b"[]\0", b"\xff\xfe\0", b"{\"method\":7}\0", &deep] {
            let mut client = Client::connect(&home);
            client.send(nonsense).unwrap();
            let reply: Value = serde_json::from_slice(&client.receive()).unwrap();
            assert_eq!(reply["error"], "org.varlink.service.InvalidParameter");
            assert!(client.is_closed());
        }
        let mut twice = Client::connect(&home);
        let call = b"{\"method\":\"io.claviger.Daemon.Activate\",\"parameters\":{\"serial\":\"a\",\"serial\":\"b\"}}\0";
        twice.send(call).unwrap();
        let reply: Value = serde_json::from_slice(&twice.receive()).unwrap();
        assert_eq!(reply["error"], "org.varlink.service.InvalidParameter");
    });
}

#[test]
fn monitors_hear_of_changes_and_may_leave() {
    with_daemon(Caps::default(), |home| {
        let mut monitor = Client::connect(&home);
        monitor.send(b"{\"method\":\"io.claviger.Daemon.Monitor\",\"more\":true}\0").unwrap();
        let first: Value = serde_json::from_slice(&monitor.receive()).unwrap();
        assert_eq!(first["continues"], true);
        let vendor = common::Vendor::new(1, "com.example", "EXA");
        let mut other = Client::connect(&home);
        let profile = json!({"profile": vendor.profile("http://127.0.0.1:9")});
        assert_eq!(other.call("io.claviger.Daemon.AddVendor", &profile)["parameters"]["added"], true);
        let second: Value = serde_json::from_slice(&monitor.receive()).unwrap();
        assert_eq!(second["continues"], true);
        drop(monitor);
        assert!(other.call(STATUS, &json!({}))["parameters"]["status"].is_object());
    });
}
