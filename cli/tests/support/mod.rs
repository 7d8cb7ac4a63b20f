//! A private home, a scripted daemon on a real socket, and signed documents: what the tests of the command share.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "each test program uses a part of it, and fails by panicking"
)]

use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    ActivationCertificate, Confirmation, Contact, KeyInHeader, KeyStatus, Keyset, KeysetKey, LicenseKind,
    RootKeys, VendorProfile, sign,
};
use claviger_protocol::ids::{ActivationId, MachineId};
use claviger_protocol::keys::SigningKey;
use serde_json::{Value, json};

/// A folder of its own for everything that a command keeps.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command, in an environment that has nothing but this home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_claviger")), arguments)
    }

    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("CLAVIGER_HOME", self.path()).env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses at once does not read.
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child.wait_with_output().unwrap())
    }

    /// A scripted daemon: `answer` gets method and parameters, and gives whole replies.
    pub fn peer(&self, answer: impl Fn(&str, &Value) -> Vec<Value> + Send + Sync + 'static) -> Peer {
        self.raw_peer(move |method, parameters| {
            let mut bytes = Vec::new();
            for reply in answer(method, parameters) {
                bytes.extend(serde_json::to_vec(&reply).unwrap());
                bytes.push(0);
            }
            bytes
        })
    }

    pub fn raw_peer(&self, answer: impl Fn(&str, &Value) -> Vec<u8> + Send + Sync + 'static) -> Peer {
        let listener = self.listen();
        let calls: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (answer, seen) = (Arc::new(answer), calls.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        Peer { calls }
    }

    pub fn listen(&self) -> UnixListener {
        let run = self.path().join("run");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&run).unwrap();
        UnixListener::bind(run.join("daemon.sock")).unwrap()
    }

    /// Puts the test vendor's profile into the store.
    pub fn with_vendor(&self) -> PathBuf {
        let folder = self.path().join("certs/com.example");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("vendor.clvprofile"), profile_text(1)).unwrap();
        folder
    }

    /// Puts a certificate into the store, in the folder of each product that it opens.
    pub fn with_certificate(&self, certificate: &ActivationCertificate, key: &SigningKey) -> PathBuf {
        let text = sign(certificate, key, KeyInHeader::Named);
        let mut last = PathBuf::new();
        for product in &certificate.opens {
            let folder = self.with_vendor().join("products").join(product.as_str());
            std::fs::create_dir_all(&folder).unwrap();
            last = folder.join(format!("{}.cert", certificate.jti));
            std::fs::write(&last, &text).unwrap();
        }
        last
    }
}

fn serve(mut stream: UnixStream, answer: &dyn Fn(&str, &Value) -> Vec<u8>, seen: &Mutex<Vec<Value>>) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some(end) = buffer.iter().position(|b| *b == 0) {
            let frame: Vec<u8> = buffer.drain(..=end).collect();
            let call: Value = serde_json::from_slice(&frame[..end]).unwrap();
            seen.lock().unwrap().push(call.clone());
            let method = call["method"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
            if stream.write_all(&answer(&method, &call["parameters"])).is_err() {
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// What a scripted daemon heard.
pub struct Peer {
    calls: Arc<Mutex<Vec<Value>>>,
}

impl Peer {
    pub fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }
}

pub fn good(parameters: Value) -> Vec<Value> {
    vec![json!({ "parameters": parameters })]
}

pub fn refused(name: &str, parameters: Value) -> Vec<Value> {
    vec![json!({ "error": format!("io.claviger.Daemon.{name}"), "parameters": parameters })]
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("not ended by a signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.err, "", "standard error stays silent with --json");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

pub const SERIAL: &str = "SOL-10123-45678-9AB";

/// A serial number of the test vendor that is typed correctly.
pub fn serial() -> String {
    let rng = ring::rand::SystemRandom::new();
    claviger_protocol::serial::Serial::random(&"SOL".parse().unwrap(), &rng).unwrap().to_string()
}

pub fn code() -> String {
    let rng = ring::rand::SystemRandom::new();
    claviger_protocol::unlock::UnlockCode::random(&rng).unwrap().reveal().to_owned()
}

pub fn root(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub fn issuing(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed.wrapping_add(100); 32])
}

/// The test vendor's profile; another seed is another vendor's keys under the same name.
pub fn profile_text(seed: u8) -> String {
    let (key, issuing) = (root(seed), issuing(seed));
    let keyset = Keyset {
        iss: "com.example".parse().unwrap(),
        number: 1,
        iat: Timestamp(1_700_000_000),
        keys: vec![KeysetKey {
            x: issuing.public(),
            status: KeyStatus::Active,
            since: Timestamp(1_700_000_000),
        }],
    };
    let profile = VendorProfile {
        iss: "com.example".parse().unwrap(),
        iat: Timestamp(1_700_000_000),
        name: "Example Audio".to_owned(),
        prefix: "SOL".parse().unwrap(),
        server: "http://127.0.0.1:1".to_owned(),
        roots: RootKeys { active: key.public(), spare: root(seed + 1).public() },
        keyset: sign(&keyset, &key, KeyInHeader::Named),
        policy: None,
        contact: Contact::default(),
        accent: None,
        logo: None,
    };
    sign(&profile, &key, KeyInHeader::Named)
}

/// A perpetual activation of this very machine.
pub fn certificate() -> ActivationCertificate {
    let vendor = "com.example".parse().unwrap();
    let os = std::fs::read_to_string("/etc/machine-id").expect("a machine with a machine id");
    ActivationCertificate {
        machine: MachineId::derive(&vendor, &os),
        iss: vendor,
        jti: ActivationId([7; 16]),
        rev: 1,
        iat: Timestamp(1_700_000_000),
        serial: "SOL-00000-00000-00000".to_owned().try_into().unwrap(),
        product: "com.example.synth".parse().unwrap(),
        name: "Solstice".to_owned(),
        opens: vec!["com.example.synth".parse().unwrap()],
        kind: LicenseKind::Perpetual,
        updates_until: None,
        paid_through: None,
        exp: None,
        entitlements: vec!["mpe".to_owned()],
        cnf: Confirmation { jkt: SigningKey::from_seed(&[9; 32]).id().clone() },
    }
}

/// A license as a daemon tells it.
pub fn license(name: &str) -> Value {
    json!({
        "vendor": "com.example", "vendor_name": "Example Audio", "serial": "SOL-00000-00000-00000",
        "activation": "07070707070707070707070707070707", "revision": 1, "product": "com.example.synth",
        "product_name": name, "opens": ["com.example.synth"], "kind": "perpetual", "status": "licensed",
        "since": 1_795_305_600, "entitlements": []
    })
}
