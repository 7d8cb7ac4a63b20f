//! A vendor, a server made by hand, and a daemon's engine in a private folder. Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger_daemon::egress::Limits;
use claviger_daemon::engine::{Engine, Setup};
use claviger_daemon::machine::Machine;
use claviger_daemon::platform::{Lock, Mode, Paths};
use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, ActivationState, Answer, Confirmation, Contact, KeyStatus, Keyset, KeysetKey,
    LicenseKind, Order, Outcome, Receipt, ReceiptAck, ReceiptOutcome, Request, RootKeys, VendorProfile,
};
use claviger_protocol::http::{AnswerBody, Problem, ProblemCode, RequestBody};
use claviger_protocol::ids::{ActivationId, VendorId};
use claviger_protocol::ipc::{ActivateCall, CallError, License};
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::{Prefix, Serial};
use ring::rand::SystemRandom;

pub const NOW: i64 = 1_800_000_000;
pub const OS_ID: &str = "0123456789abcdef0123456789abcdef";
/// Searched for in logs and files: it must never be there.
pub const UNLOCK_CODE: &str = "SHOPCODECANARY77";

/// A clock that the test holds.
pub struct TestClock(pub AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A vendor's keys.
pub struct Vendor {
    pub root: SigningKey,
    pub issuing: SigningKey,
    pub id: VendorId,
    pub prefix: Prefix,
}

impl Vendor {
    pub fn new(seed: u8, id: &str, prefix: &str) -> Self {
        Self {
            root: SigningKey::from_seed(&[seed; 32]),
            issuing: SigningKey::from_seed(&[seed + 1; 32]),
            id: id.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    pub fn keyset_of(&self, number: u32, keys: &[(&SigningKey, KeyStatus)]) -> String {
        let keys = keys
            .iter()
            .map(|(key, status)| KeysetKey { x: key.public(), status: *status, since: Timestamp(NOW - 1000) })
            .collect();
        let keyset = Keyset { iss: self.id.clone(), number, iat: Timestamp(NOW - 1000), keys };
        sign(&keyset, &self.root, KeyInHeader::Named)
    }

    pub fn profile(&self, server: &str) -> String {
        let profile = VendorProfile {
            iss: self.id.clone(),
            iat: Timestamp(NOW - 1000),
            name: "Example".to_owned(),
            prefix: self.prefix.clone(),
            server: server.to_owned(),
            roots: RootKeys {
                active: self.root.public(),
                spare: SigningKey::from_seed(&[0xee; 32]).public(),
            },
            keyset: self.keyset_of(1, &[(&self.issuing, KeyStatus::Active)]),
            policy: None,
            contact: Contact::default(),
            accent: None,
            logo: None,
        };
        sign(&profile, &self.root, KeyInHeader::Named)
    }
}

/// What the server by hand knows.
pub struct Server {
    pub vendor: Vendor,
    pub epoch: AtomicU64,
    pub key: Mutex<SigningKey>,
    pub keyset: Mutex<Option<String>>,
    pub kind: Mutex<LicenseKind>,
    pub states: Mutex<Vec<ActivationState>>,
    pub seats: Mutex<Vec<claviger_protocol::documents::LicenseSeats>>,
    pub requests: Mutex<Vec<Request>>,
    pub bodies: Mutex<Vec<String>>,
}

impl Server {
    pub fn new(vendor: Vendor) -> Arc<Self> {
        let key = SigningKey::from_seed(&[vendor.issuing.seed()[0]; 32]);
        Arc::new(Self {
            vendor,
            epoch: AtomicU64::new(1),
            key: Mutex::new(key),
            keyset: Mutex::default(),
            kind: Mutex::new(LicenseKind::Perpetual),
            states: Mutex::default(),
            seats: Mutex::default(),
            requests: Mutex::default(),
            bodies: Mutex::default(),
        })
    }

    pub fn certificate(
        &self,
        request: &Request,
        rev: u32,
        jkt: &claviger_protocol::keys::KeyId,
    ) -> ActivationCertificate {
        let (serial, machine) = match &request.order {
            Order::Activate { serial, machine, .. } => (serial.clone(), machine.machine_id),
            other => (Serial::foreign("NONE00").unwrap(), other.machine_id()),
        };
        let kind = *self.kind.lock().unwrap();
        let ends = kind != LicenseKind::Perpetual;
        // One activation a serial number, unless a receipt for it was seen.
        let given_up = self.requests.lock().unwrap().iter().flat_map(|r| r.receipts.clone()).count();
        let mut id = [u8::try_from(given_up).unwrap(); 16];
        id[0] = serial.as_str().bytes().fold(0, u8::wrapping_add);
        ActivationCertificate {
            iss: self.vendor.id.clone(),
            jti: ActivationId(id),
            rev,
            iat: Timestamp(NOW),
            serial,
            product: "com.example.bundle".parse().unwrap(),
            name: "Bundle".to_owned(),
            opens: vec!["com.example.synth".parse().unwrap(), "com.example.fx".parse().unwrap()],
            kind,
            updates_until: None,
            paid_through: ends.then_some(Timestamp(NOW + 30 * 86_400)),
            exp: ends.then_some(Timestamp(NOW + 44 * 86_400)),
            entitlements: vec![],
            machine,
            cnf: Confirmation { jkt: jkt.clone() },
        }
    }

    /// The body of the answer to a request body.
    pub fn answer(&self, body: &str) -> String {
        self.bodies.lock().unwrap().push(body.to_owned());
        let body: RequestBody = serde_json::from_str(body).unwrap();
        let (request, device, hash) = Request::verify(&body.request, &self.vendor.id).unwrap();
        self.requests.lock().unwrap().push(request.clone());
        let key = self.key.lock().unwrap();
        let outcome = match &request.order {
            Order::Activate { .. } => {
                let certificate = self.certificate(&request, 1, &device.id());
                Outcome::Activated { certificate: sign(&certificate, &key, KeyInHeader::Named) }
            }
            Order::Refresh { .. } => Outcome::Refreshed { activations: self.states.lock().unwrap().clone() },
            Order::Deactivate { .. } => Outcome::Deactivated,
            Order::Seats { .. } => Outcome::Seats { licenses: self.seats.lock().unwrap().clone() },
            Order::Free { other, .. } => Outcome::Freed {
                machine_id: claviger_protocol::ids::MachineId([0x33; 16]),
                device_name: claviger_protocol::ids::DeviceName::lossy(other),
            },
        };
        let receipts = request
            .receipts
            .iter()
            .map(|text| {
                let (receipt, _) = Receipt::verify(text, &self.vendor.id).unwrap();
                ReceiptAck { id: receipt.jti, outcome: ReceiptOutcome::Accepted }
            })
            .collect();
        let answer = Answer {
            iss: self.vendor.id.clone(),
            iat: Timestamp(NOW),
            req: hash,
            cnf: Confirmation { jkt: device.id() },
            epoch: self.epoch.load(Ordering::SeqCst),
            keyset: self.keyset.lock().unwrap().clone(),
            outcome,
            receipts,
            reissued: Vec::new(),
        };
        serde_json::to_string(&AnswerBody { answer: sign(&answer, &key, KeyInHeader::Named) }).unwrap()
    }

    /// The whole HTTP answer.
    pub fn respond(&self, path: &str, body: &str) -> Vec<u8> {
        if path == "/v1/keyset" {
            let problem = serde_json::to_string(&Problem::new(ProblemCode::NotFound)).unwrap();
            return http(404, "application/problem+json", &problem);
        }
        http(200, "application/json", &self.answer(body))
    }
}

pub fn http(status: u16, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one HTTP request: path and body.
pub fn read_request(stream: &mut impl Read) -> Option<(String, String)> {
    let mut head = Vec::new();
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let length = head
        .lines()
        .find_map(|l| {
            l.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse().unwrap())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).ok()?))
}

/// Listens on a free port of loopback and hands every connection to `handle`, in a thread of its own.
pub fn listen(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
    format!("http://{address}")
}

/// Answers every request of a connection with what `respond` says for its path and body.
pub fn serve(respond: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static) -> String {
    listen(move |mut stream| {
        if let Some((path, body)) = read_request(&mut stream) {
            let _ = stream.write_all(&respond(&path, &body));
        }
    })
}

/// An engine in a folder, and the clock it looks at.
pub struct Daemon {
    pub engine: Rc<Engine>,
    pub clock: Arc<TestClock>,
    _lock: Lock,
}

impl Daemon {
    pub fn of(engine: Rc<Engine>, clock: Arc<TestClock>, lock: Lock) -> Self {
        Self { engine, clock, _lock: lock }
    }
}

pub fn paths(home: &Path) -> Paths {
    Paths {
        mode: Mode::User,
        certs: home.join("certs"),
        state: home.join("state"),
        socket: home.join("run/daemon.sock"),
        policy: home.join("policy.toml"),
        shipped_profiles: home.join("vendors"),
        log: None,
    }
}

pub fn start(home: &Path) -> Daemon {
    start_on(home, OS_ID, NOW)
}

pub fn start_on(home: &Path, os_id: &str, now: i64) -> Daemon {
    start_within(home, os_id, now, PATIENT)
}

/// What no server of these tests needs, however busy the machine is.
pub const PATIENT: Limits =
    Limits { connect: Duration::from_secs(20), total: Duration::from_secs(40), body: 1024 * 1024 };

pub fn start_within(home: &Path, os_id: &str, now: i64, limits: Limits) -> Daemon {
    let clock = Arc::new(TestClock(AtomicI64::new(now)));
    let setup = Setup {
        paths: paths(home),
        machine: Machine::of(Ok(os_id.to_owned())),
        clock: clock.clone(),
        rng: Arc::new(SystemRandom::new()),
        limits,
        do_not_track: false,
    };
    let (engine, lock) = Engine::start(setup).unwrap();
    Daemon { engine, clock, _lock: lock }
}

pub async fn activate(daemon: &Daemon, serial: &str) -> Result<License, CallError> {
    let call = ActivateCall {
        serial: serial.to_owned(),
        unlock_code: Some(UNLOCK_CODE.to_owned()),
        vendor: Some("com.example".parse().unwrap()),
        replace_machine: None,
    };
    daemon.engine.activate(call, Box::new(|_| {})).await
}

/// Runs a test body where local tasks may be spawned.
pub fn run<F: Future>(body: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, body)
}

/// What a future gives that waits for nothing.
pub fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits for something"),
    }
}

/// All files below a folder with their content.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap()));
        }
    }
    found
}
