//! Activation does not know what was decided about statistics: two computers live the same random life, activating,
//! refreshing, giving up, switched off and on, offline and back; on one of them a person reads notices, agrees, refuses,
//! withdraws, makes music, and the vendor changes its terms. What the vendor sees of activations is the same from both.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

mod common;
#[path = "common/statistics.rs"]
mod statistics;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger_daemon::consent::Subject;
use claviger_daemon::egress::Limits;
use claviger_daemon::engine::{Engine, Setup};
use claviger_daemon::machine::Machine;
use claviger_daemon::telemetry::Dice as _;
use claviger_protocol::clock::DAY;
use claviger_protocol::ids::VendorId;
use claviger_protocol::jws::{KeyInHeader, sign};
use claviger_protocol::telemetry::NoticeBody;
use common::{
    Daemon, NOW, OS_ID, Server, TestClock, Vendor, activate, http, listen, paths, read_request, run,
};
use ring::rand::SystemRandom;
use serde_json::Value;
use statistics::{Chance, notice};

/// Lives in every run, and behind `--slow`.
const LIVES: u64 = 12;
const LIVES_SLOW: u64 = 400;
/// Events of one life.
const EVENTS: usize = 24;

/// A vendor's server: it activates, and has a notice.
struct Shop {
    server: Arc<Server>,
    terms: Mutex<(u32, u32)>,
    offline: AtomicBool,
    /// Heads of requests that are about activations.
    heads: Mutex<Vec<String>>,
    asked_for_notice: AtomicBool,
}

impl Shop {
    fn open() -> (Arc<Self>, String) {
        let shop = Arc::new(Self {
            server: Server::new(Vendor::new(3, "com.example", "EXA")),
            terms: Mutex::new((1, 1)),
            offline: AtomicBool::new(false),
            heads: Mutex::default(),
            asked_for_notice: AtomicBool::new(false),
        });
        let this = shop.clone();
        let address = listen(move |mut stream| {
            if this.offline.load(Ordering::SeqCst) {
                return;
            }
            let mut recorder = Recorder { inner: &mut stream, bytes: Vec::new() };
            let Some((path, body)) = read_request(&mut recorder) else { return };
            let head = String::from_utf8(recorder.bytes).unwrap().replace(&body, "");
            let answer = match path.strip_prefix("/v1/telemetry/") {
                Some("notice") => {
                    this.asked_for_notice.store(true, Ordering::SeqCst);
                    let (version, policy) = *this.terms.lock().unwrap();
                    let key = this.server.key.lock().unwrap();
                    let body = NoticeBody {
                        notice: sign(&notice(version, policy), &key, KeyInHeader::Named),
                        next: None,
                    };
                    http(200, "application/json", &serde_json::to_string(&body).unwrap())
                }
                Some(_) => http(503, "text/plain", "later"),
                None => {
                    let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("host"));
                    this.heads.lock().unwrap().push(kept.collect());
                    this.server.respond(&path, &body)
                }
            };
            let _ = stream.write_all(&answer);
        });
        (shop, address)
    }

    /// What was seen of activations, without what chance makes.
    fn seen(&self) -> (Vec<Value>, Vec<String>) {
        let requests = self.server.requests.lock().unwrap();
        let plain = |request: &claviger_protocol::documents::Request| {
            let mut value = serde_json::to_value(request).unwrap();
            value["nonce"] = Value::Null;
            value["receipts"] = Value::from(request.receipts.len());
            value["order"]["proof"] = Value::Null;
            for held in value["order"]["activations"].as_array_mut().into_iter().flatten() {
                drop(held.as_object_mut().unwrap().remove("certificate"));
            }
            value
        };
        (requests.iter().map(plain).collect(), self.heads.lock().unwrap().clone())
    }
}

/// Keeps what is read through it.
struct Recorder<'a, R> {
    inner: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: std::io::Read> std::io::Read for Recorder<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

fn begin(home: &std::path::Path, now: i64, do_not_track: bool) -> Daemon {
    let clock = Arc::new(TestClock(now.into()));
    let setup = Setup {
        paths: paths(home),
        machine: Machine::of(Ok(OS_ID.to_owned())),
        clock: clock.clone(),
        rng: Arc::new(SystemRandom::new()),
        limits: Limits {
            connect: Duration::from_millis(500),
            total: Duration::from_secs(5),
            body: 1024 * 1024,
        },
        do_not_track,
    };
    let (engine, lock) = Engine::start(setup).unwrap();
    Daemon::of(engine, clock, lock)
}

/// Lives through the life of this seed, with a person who decides about statistics or without one.
async fn live(seed: u64, person: bool) -> (Vec<Value>, Vec<String>, u32) {
    // In memory where there is such a place: durable writes by the hundred are not what this is about.
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (shop, address) = Shop::open();
    let (mut life, mut whims) = (Chance(seed), Chance(seed ^ 0x5eed));
    let me = Subject::new("1000").unwrap();
    let vendor: VendorId = "com.example".parse().unwrap();
    let mut daemon = begin(home.path(), NOW, false);
    daemon.engine.add_vendor(&shop.server.vendor.profile(&address)).unwrap();
    let mut granted = 0;
    for _ in 0..EVENTS {
        match life.below(10) {
            0..=2 => drop(activate(&daemon, "ABC12345").await),
            3 => drop(daemon.engine.deactivate("com.example.bundle").await),
            4 => drop(daemon.engine.refresh(None).await),
            5 => {
                let offline = shop.offline.load(Ordering::SeqCst);
                shop.offline.store(!offline, Ordering::SeqCst);
            }
            6 => {
                // Switched off and on.
                let now = daemon.clock.0.load(Ordering::SeqCst);
                drop(daemon);
                daemon = begin(home.path(), now, person && whims.below(4) == 0);
            }
            _ => {
                let time = i64::try_from(life.below(12 * 86_400)).unwrap();
                daemon.clock.0.fetch_add(time, Ordering::SeqCst);
            }
        }
        if !person {
            continue;
        }
        match whims.below(8) {
            0 | 1 => {
                if let Ok(shown) = daemon.engine.show_notice(&me, &vendor, Some("de")).await {
                    granted += u32::from(daemon.engine.grant(&me, &vendor, &shown.challenge).is_ok());
                }
            }
            2 => drop(daemon.engine.refuse(&me, &vendor, None)),
            3 => drop(daemon.engine.withdraw(&me, &vendor)),
            4 => {
                let mut terms = shop.terms.lock().unwrap();
                *terms = (terms.0 + 1, terms.1 + 1);
            }
            _ => {
                let product = "com.example.synth".parse().unwrap();
                daemon.engine.report_use(&me, &product, "1.0", "reaper").unwrap();
                daemon.engine.telemetry_turn().await;
            }
        }
    }
    shop.offline.store(false, Ordering::SeqCst);
    daemon.clock.0.fetch_add(DAY, Ordering::SeqCst);
    drop(daemon.engine.refresh(None).await);
    assert!(person || !shop.asked_for_notice.load(Ordering::SeqCst), "nobody asked for it");
    let (requests, heads) = shop.seen();
    (requests, heads, granted)
}

#[test]
fn whatever_is_decided_the_vendor_sees_the_same_activations() {
    let slow = std::env::var_os("CLAVIGER_TEST_SLOW").is_some();
    let (mut requests, mut grants) = (0, 0);
    for seed in 0..if slow { LIVES_SLOW } else { LIVES } {
        let (with, without) = run(async { (live(seed, true).await, live(seed, false).await) });
        assert_eq!(with.0, without.0, "the life of seed {seed}");
        assert_eq!(with.1, without.1, "the life of seed {seed}: headers");
        requests += with.0.len();
        grants += with.2;
    }
    assert!(
        requests > 30 && grants > 10,
        "lives in which nothing happens: {requests} requests, {grants} grants"
    );
}
