//! Servers that are not there, not theirs, slow, or hostile: bounded time and memory, a code and a sentence for each,
//! and what was licensed before stays licensed.
#![expect(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_daemon::egress::Limits;
use claviger_protocol::ipc::CallError;
use claviger_protocol::keys::SigningKey;
use common::{
    NOW, OS_ID, PATIENT, Server, Vendor, activate, at_once, files, http, listen, run, serve, start,
    start_within,
};
use rustix::net::{AddressFamily, SocketType};

const SERIAL: &str = "SHOP0001";

/// Activates one serial at a good server, then another at the server under test; gives the second one's error.
fn against(url: &str) -> CallError {
    against_within(url, PATIENT)
}

fn against_within(url: &str, limits: Limits) -> CallError {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    run(async {
        let good = Server::new(Vendor::new(1, "com.example", "EXA"));
        let server = good.clone();
        let good_url = serve(move |path, body| server.respond(path, body));
        {
            let daemon = start(home);
            daemon.engine.add_vendor(&good.vendor.profile(&good_url)).unwrap();
            activate(&daemon, SERIAL).await.unwrap();
        }
        // The same vendor, moved to the server under test.
        std::fs::remove_file(home.join("state/vendors/com.example/vendor.clvprofile")).unwrap();
        std::fs::write(home.join("certs/com.example/vendor.clvprofile"), good.vendor.profile(url)).unwrap();
        let before = files(&home.join("certs/com.example/products"));
        let daemon = start_within(home, OS_ID, NOW, limits);
        let began = Instant::now();
        let error = activate(&daemon, "SHOP0002").await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(files(&home.join("certs/com.example/products")), before, "{error}");
        assert_eq!(at_once(daemon.engine.list_licenses(None)).unwrap().licenses.len(), 1);
        assert!(error.advice().is_some_and(|a| a.ends_with('.')), "{error:?}");
        assert!(error.to_string().ends_with('.'), "{error}");
        let waiting = daemon.engine.status(true).intents_waiting;
        // Where nothing was sent, nothing is left to find out.
        let unknown = matches!(&error, CallError::Unreachable { code, .. }
            if !["connection_refused", "dns"].contains(&code.as_str()));
        assert_eq!(waiting, usize::from(unknown), "an intent waits exactly while its end is unknown");
        error
    })
}

#[test]
fn every_failure_has_its_code() {
    // Taken and never listened at, so that no other test gets the port meanwhile.
    let closed = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&closed, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&closed).unwrap()).unwrap();
    assert_eq!(against(&format!("http://{address}")).code(), "connection_refused");

    let silent = listen(|mut stream| {
        // Takes everything and says nothing.
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink);
    });
    let short = Limits { total: Duration::from_millis(1500), ..PATIENT };
    assert_eq!(against_within(&silent, short).code(), "timeout");

    let endless = listen(|mut stream| {
        let _ = common::read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    assert_eq!(against(&endless).code(), "answer_too_large");

    let cut = serve(|_, _| b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"answer\":\"".to_vec());
    assert_eq!(against(&cut).code(), "cut_off");

    let nothing = listen(|mut stream| {
        let _ = common::read_request(&mut stream);
    });
    assert_eq!(against(&nothing).code(), "cut_off");

    for (status, code) in [(500, "server_error"), (502, "server_error"), (503, "server_busy")] {
        let broken = serve(move |_, _| http(status, "text/plain", "sorry"));
        assert_eq!(against(&broken).code(), code);
    }
    let later = serve(|_, _| b"HTTP/1.1 503 X\r\nretry-after: 77\r\ncontent-length: 0\r\n\r\n".to_vec());
    assert!(against(&later).advice().unwrap().contains("77 seconds"));

    let limited =
        serve(|_, _| b"HTTP/1.1 429 X\r\nretry-after: 200\r\ncontent-length: 4\r\n\r\nslow".to_vec());
    let error = against(&limited);
    assert_eq!(error.code(), "server_busy");
    assert!(error.to_string().contains("busy") && error.advice().unwrap().contains("4 minutes"), "{error:?}");

    let login = serve(|_, _| http(200, "text/html", "<!doctype html><title>Welcome to our hotel"));
    assert_eq!(against(&login).code(), "html_answer");
    let other = serve(|_, _| http(200, "application/json", r#"{"hello":"world"}"#));
    assert_eq!(against(&other).code(), "not_an_answer");
    let missing = serve(|_, _| http(404, "text/plain", "no such page"));
    assert_eq!(against(&missing).code(), "not_a_server");
    let elsewhere = serve(|_, _| {
        b"HTTP/1.1 307 X\r\nlocation: https://evil.example/v1/activate\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let error = against(&elsewhere);
    assert_eq!(error.code(), "redirected");
    assert!(error.to_string().contains("evil.example"));
    let garbage = listen(|mut stream| {
        let _ = common::read_request(&mut stream);
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01 not http at all\r\n\r\n");
    });
    assert!(matches!(against(&garbage), CallError::Unreachable { .. }));
    let refusing =
        serve(|_, _| http(409, "application/problem+json", r#"{"code":"seats_taken","status":409}"#));
    assert_eq!(against(&refusing).code(), "seats_taken");
}

#[test]
fn an_unknown_host_is_named() {
    // Reserved by RFC 6761: no name server anywhere knows it.
    let error = against("https://activate.invalid");
    assert_eq!(error.code(), "dns", "{error:?}");
    assert!(error.to_string().contains("activate.invalid"), "{error}");
}

#[test]
fn forged_answers_are_not_believed() {
    // The right answer, signed by a key that no keyset lists.
    let forger = Server::new(Vendor::new(1, "com.example", "EXA"));
    *forger.key.lock().unwrap() = SigningKey::from_seed(&[99; 32]);
    let url = serve(move |path, body| forger.respond(path, body));
    assert_eq!(against(&url).code(), "untrusted_answer");

    // An answer to somebody else's request.
    let replayer = Server::new(Vendor::new(1, "com.example", "EXA"));
    let stored: Arc<std::sync::Mutex<Option<Vec<u8>>>> = Arc::default();
    let first = stored.clone();
    let recorder = serve(move |path, body| {
        let response = replayer.respond(path, body);
        first.lock().unwrap().get_or_insert(response).clone()
    });
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let vendor = Vendor::new(1, "com.example", "EXA");
        let daemon = start(folder.path());
        daemon.engine.add_vendor(&vendor.profile(&recorder)).unwrap();
        activate(&daemon, SERIAL).await.unwrap();
    });
    assert_eq!(against(&recorder).code(), "untrusted_answer");
}
