//! A daemon's socket behind which a test says what it wants: states that take years to come about, and what no honest daemon
//! would say. For the window's looks; what it does is tried on the real daemon.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

use crate::Machine;

/// What it says, by method, and who listens.
#[derive(Debug, Default)]
struct Script {
    replies: Mutex<BTreeMap<String, Value>>,
    /// Counts the changes of the list.
    changes: Mutex<u64>,
    changed: Condvar,
    open: Mutex<Vec<UnixStream>>,
    calls: Mutex<Vec<(String, Value)>>,
}

/// A daemon that says what it was told to.
#[derive(Debug)]
pub struct Stage {
    script: Arc<Script>,
    socket: PathBuf,
}

impl Stage {
    /// Takes the place of a machine's daemon, with these vendors and licenses.
    #[must_use]
    pub fn open(machine: &Machine, vendors: &[Value], licenses: &[Value]) -> Self {
        let socket = machine.socket();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(socket.parent().unwrap()).unwrap();
        let _earlier = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let script = Arc::new(Script::default());
        let stage = Self { script: script.clone(), socket };
        stage.says("GetStatus", json!({ "status": status(&json!({})) }));
        stage.says("ListVendors", json!({ "vendors": vendors }));
        stage.says("ShowMachine", json!({ "machines": vendors.iter().map(machine_for).collect::<Vec<_>>() }));
        stage.says("ListConsents", json!({ "consents": [] }));
        stage.says("PreviewTelemetry", json!({ "planned": [], "counted": [] }));
        stage.says("ListSent", json!({ "sent": [] }));
        stage.says("Doctor", json!({ "findings": [] }));
        stage.lists(licenses, &[]);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                script.open.lock().unwrap().push(stream.try_clone().unwrap());
                let script = script.clone();
                std::thread::spawn(move || script.serve(stream));
            }
        });
        stage
    }

    /// Answers a method with this from now on: the reply's parameters, or with `error` an error's.
    pub fn says(&self, method: &str, reply: Value) {
        self.script.replies.lock().unwrap().insert(method.to_owned(), reply);
    }

    /// Lists these licenses from now on, and tells whoever listens.
    pub fn lists(&self, licenses: &[Value], warnings: &[&str]) {
        let reply = json!({ "licenses": licenses, "warnings": warnings });
        for method in ["ListLicenses", "Monitor", "Refresh"] {
            self.says(method, reply.clone());
        }
        *self.script.changes.lock().unwrap() += 1;
        self.script.changed.notify_all();
    }

    /// What was called so far, except for what only asks.
    #[must_use]
    pub fn called(&self) -> Vec<(String, Value)> {
        self.script.calls.lock().unwrap().clone()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.socket);
        for stream in self.script.open.lock().unwrap().drain(..) {
            let _gone = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Script {
    fn serve(&self, stream: UnixStream) {
        let mut reader = BufReader::new(stream);
        let mut frame = Vec::new();
        while reader.read_until(0, &mut frame).is_ok_and(|length| length > 1) {
            let _end = frame.pop();
            let call: Value = serde_json::from_slice(&frame).unwrap();
            frame.clear();
            let method = call["method"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
            if method == "Monitor" {
                self.tell_changes(reader.get_mut());
                return;
            }
            if !method.starts_with("List") && !matches!(&*method, "GetStatus" | "ShowMachine") {
                self.calls.lock().unwrap().push((method.clone(), call["parameters"].clone()));
            }
            let reply = self.replies.lock().unwrap().get(&method).cloned();
            let reply = match reply {
                Some(reply) if reply["error"].is_string() => reply,
                Some(reply) => json!({ "parameters": reply }),
                None => {
                    json!({ "error": "org.varlink.service.MethodNotFound", "parameters": { "method": method } })
                }
            };
            if send(reader.get_mut(), &reply).is_err() {
                return;
            }
        }
    }

    fn tell_changes(&self, stream: &mut UnixStream) {
        let mut told = 0;
        loop {
            let changes = self.changes.lock().unwrap();
            let now = *self.changed.wait_while(changes, |now| *now == told).unwrap();
            told = now;
            let list = self.replies.lock().unwrap()["Monitor"].clone();
            if send(stream, &json!({ "parameters": list, "continues": true })).is_err() {
                return;
            }
        }
    }
}

fn send(stream: &mut UnixStream, reply: &Value) -> std::io::Result<()> {
    let mut frame = serde_json::to_vec(reply).unwrap();
    frame.push(0);
    stream.write_all(&frame)
}

/// `base` with the members of `other` in place of its own.
#[must_use]
pub fn but(mut base: Value, other: &Value) -> Value {
    for (name, value) in other.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

/// A daemon's status, with some members of another value.
#[must_use]
pub fn status(other: &Value) -> Value {
    let plain = json!({
        "version": "0.1.0", "mode": "user", "pid": std::process::id(), "vendors": 1, "activations": 1,
        "receipts_waiting": 0, "intents_waiting": 0, "network": true, "may_change": true, "next_contact": null,
    });
    but(plain, other)
}

/// A vendor.
#[must_use]
pub fn vendor(id: &str, name: &str, prefix: &str) -> Value {
    json!({
        "accent": null, "logo": null, "id": id, "name": name, "prefix": prefix, "server": format!("https://licenses.{prefix}.example").to_lowercase(),
        "keyset": 1, "policy": "https://vendor.example/privacy", "support": "support@vendor.example",
    })
}

/// A license that is held here, with some members of another value.
#[must_use]
pub fn license(vendor: &Value, product: &str, name: &str, number: usize, other: &Value) -> Value {
    let prefix = vendor["prefix"].as_str().unwrap();
    let plain = json!({
        "vendor": vendor["id"], "vendor_name": vendor["name"], "serial": serial(prefix, number),
        "activation": format!("{number:032x}"), "revision": 1, "product": product, "product_name": name,
        "opens": [product], "kind": "perpetual", "status": "licensed", "since": 1_700_000_000,
        "updates_until": null, "paid_through": null, "expires": null, "entitlements": [], "ended_by": null,
        "certificate": "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJjb20uZXhhbXBsZSJ9.c2lnbmF0dXJl",
    });
    but(plain, other)
}

/// A serial number, always the same for a number: with check symbols for small ones, a shop's own for many.
#[must_use]
pub fn serial(prefix: &str, number: usize) -> String {
    const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if number >= 1000 {
        return format!("{prefix}{number:010}");
    }
    let symbol = |n: usize| char::from(SYMBOLS[n % 32]);
    let mut left = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995_7b93;
    let body: String = (0..13)
        .map(|_| {
            left = left.rotate_left(5);
            symbol(left)
        })
        .collect();
    let prefix = prefix.parse().unwrap();
    let tries = (0..1024).map(|n| format!("{prefix}{body}{}{}", symbol(n / 32), symbol(n)));
    tries
        .filter_map(|text| claviger_protocol::serial::Serial::parse(&text, &prefix).ok())
        .next()
        .unwrap()
        .to_string()
}

fn machine_for(vendor: &Value) -> Value {
    json!({
        "vendor": vendor["id"], "device_name": "Studio", "os_family": "Linux", "os_version": "12",
        "os_arch": "x86_64", "cpu_model": "Example CPU 3000", "cpu_logical_cores": 8, "ram_gib": 32,
        "machine_id": "00112233445566778899aabbccddeeff",
    })
}
