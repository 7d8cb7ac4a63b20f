//! The server's rows of the bench table: a real release server on loopback, its clients on the same cores, SQLite at
//! synchronous=FULL. Every floor is measured in the same run, because machines differ and are noisy.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench program: a panic or a line is how it reports"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::documents::{
    Cpu, KeyInHeader, MachineFacts, Order, OsInfo, REQUEST_VERSION, Request, sign,
};
use claviger_protocol::ids::{MachineId, Nonce, VendorId};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use claviger_tests::bench::{self, Row, Server};
use claviger_tests::http::Client;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

/// Activations of the throughput row, and of each latency row.
const LOAD: usize = 20_000;
const SINGLE: usize = 600;
const CLIENTS: usize = 64;

fn main() {
    let floors = Floors::measure();
    let figures = throughput();
    report_throughput(&floors, &figures);
    flatness();
}

/// What the parts cost by themselves.
struct Floors {
    /// Seconds of one Ed25519 verification, and of one signature, over a request's size.
    verify: f64,
    sign: f64,
    /// Seconds a bare HTTP exchange takes of both cores together at 64 clients; and its latency with one client.
    http_64: f64,
    http_1: f64,
    /// Seconds a claim-shaped row takes in a group of 64, and a claim-shaped commit alone.
    commit_64: f64,
    commit_1: f64,
}

impl Floors {
    fn measure() -> Self {
        let key = SigningKey::from_seed(&[7; 32]);
        let message = vec![b'x'; 1100];
        let signature = key.sign(&message);
        let verify = per_call(2_000, || key.public().verify(&message, &signature).unwrap());
        let sign = per_call(2_000, || {
            std::hint::black_box(key.sign(&message));
        });
        let bare = bare_http();
        let bodies = vec![vec![b'x'; 1500]; LOAD];
        let http = drive(bare, &bodies, CLIENTS, None);
        let single = drive(bare, &bodies[..SINGLE * 4], 1, None);
        Self {
            verify,
            sign,
            http_64: http.wall / bodies.len() as f64,
            http_1: single.percentile(50),
            commit_64: commits(64),
            commit_1: commits(1),
        }
    }

    /// Two verifications (device key, unlock proof) and two signatures (certificate, answer).
    fn cryptography(&self) -> f64 {
        2.0 * self.verify + 2.0 * self.sign
    }

    /// Seconds of one core that an activation at 64 clients costs at least: the HTTP exchange keeps both cores busy.
    fn composed(&self) -> f64 {
        self.cryptography() + 2.0 * self.http_64 + self.commit_64
    }
}

fn per_call(count: u32, mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..count {
            call();
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(count));
    }
    best
}

/// A server that reads the body and answers one of the same size: axum, with the same runtime as ours.
fn bare_http() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let answer = async |body: axum::body::Bytes| body;
            let routes = axum::Router::new().route("/v1/activate", axum::routing::post(answer));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// Seconds a row of a claim takes when `group` of them commit together: look the licenses up, count their seats, insert
/// an activation, a request and an event each; WAL, synchronous=FULL. A group takes one statement a table, as a database
/// wants it: row by row would be no floor.
fn commits(group: usize) -> f64 {
    use sqlx::{Connection as _, Executor as _};
    let folder = tempfile::tempdir_in(bench::home()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(folder.path().join("floor.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
        let mut db = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        db.execute(
            "CREATE TABLE l(id INTEGER PRIMARY KEY, serial TEXT UNIQUE, seats INT);
             CREATE TABLE a(id INTEGER PRIMARY KEY, l INT, machine BLOB, facts TEXT);
             CREATE INDEX al ON a(l);
             CREATE TABLE r(id INTEGER PRIMARY KEY, device BLOB, nonce BLOB, answer TEXT);
             CREATE UNIQUE INDEX rk ON r(device, nonce);
             CREATE TABLE e(id INTEGER PRIMARY KEY, l INT, what TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
             INSERT INTO l SELECT i, printf('BEN-%015d', i), 1 FROM n;",
        )
        .await
        .unwrap();
        let total = if group == 1 { 1_500 } else { 20_032 };
        let start = Instant::now();
        let mut next = 1usize;
        while next <= total {
            claim(&mut db, next..next + group).await;
            next += group;
        }
        start.elapsed().as_secs_f64() / total as f64
    })
}

/// One commit of [`commits`].
async fn claim(db: &mut sqlx::SqliteConnection, rows: std::ops::Range<usize>) {
    use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite};
    let facts = "x".repeat(300);
    let rng = SystemRandom::new();
    let serials: Vec<String> = rows.map(|i| format!("BEN-{:015}", i % 20_000 + 1)).collect();
    let mut tx = db.begin().await.unwrap();
    let found = sqlx::query(
        "SELECT l.id, (SELECT count(*) FROM a WHERE a.l = l.id) FROM json_each(?) j CROSS JOIN l ON l.serial = j.value",
    )
    .bind(json!(serials).to_string())
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    assert_eq!(found.len(), serials.len());
    let claims: Vec<(i64, [u8; 48])> = found
        .iter()
        .map(|row| {
            let mut random = [0u8; 48];
            rng.fill(&mut random).unwrap();
            (row.get(0), random)
        })
        .collect();
    let mut activations: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO a(l, machine, facts) ");
    activations.push_values(&claims, |mut row, (id, random)| {
        row.push_bind(*id).push_bind(&random[..16]).push_bind(&facts);
    });
    activations.build().execute(&mut *tx).await.unwrap();
    let mut requests: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO r(device, nonce, answer) ");
    requests.push_values(&claims, |mut row, (_, random)| {
        row.push_bind(&random[..32]).push_bind(&random[32..]).push_bind(&facts);
    });
    requests.build().execute(&mut *tx).await.unwrap();
    let mut events: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO e(l, what) ");
    events.push_values(&claims, |mut row, (id, _)| {
        row.push_bind(*id).push_bind("activated");
    });
    events.build().execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

fn requests(licenses: &[(Serial, UnlockCode)]) -> Vec<Vec<u8>> {
    let vendor = bench::VENDOR.parse().unwrap();
    licenses.iter().map(|(serial, code)| request(&vendor, serial, code)).collect()
}

/// An activation request of a machine that nobody has seen before, as a body.
fn request(vendor: &VendorId, serial: &Serial, code: &UnlockCode) -> Vec<u8> {
    let rng = SystemRandom::new();
    let device = SigningKey::generate(&rng).unwrap();
    let nonce = Nonce::random(&rng).unwrap();
    let machine_id = MachineId::derive(vendor, &claviger_tests::random_hex(16));
    let proof = UnlockProof::sign(
        &unlock_key(vendor, serial, Some(code)),
        vendor,
        serial,
        machine_id,
        device.id(),
        nonce,
    );
    let machine = MachineFacts {
        device_name: "Bench Machine".parse().unwrap(),
        os: OsInfo { family: "linux".into(), version: "Debian 12".into(), arch: "x86_64".into() },
        cpu: Cpu { model: "Bench CPU at 3.00 GHz".into(), logical_cores: 2 },
        ram_gib: 24,
        machine_id,
    };
    let request = Request {
        v: REQUEST_VERSION,
        aud: vendor.clone(),
        nonce,
        iat: SystemClock.now(),
        exp: None,
        keyset: 1,
        receipts: Vec::new(),
        order: Order::Activate { serial: serial.clone(), proof, machine, replace: None },
    };
    json!({ "request": sign(&request, &device, KeyInHeader::Carried) }).to_string().into_bytes()
}

/// What a load did.
struct Outcome {
    wall: f64,
    latencies: Vec<f64>,
    failed: usize,
}

impl Outcome {
    fn percentile(&self, percent: usize) -> f64 {
        self.latencies[(self.latencies.len() * percent / 100).min(self.latencies.len() - 1)]
    }
}

/// Posts every body once, from `clients` connections that are kept.
fn drive(address: SocketAddr, bodies: &[Vec<u8>], clients: usize, expect: Option<&str>) -> Outcome {
    let next = AtomicUsize::new(0);
    let latencies = Mutex::new(Vec::with_capacity(bodies.len()));
    let failed = AtomicUsize::new(0);
    let barrier = Barrier::new(clients + 1);
    let mut start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                let mut mine = Vec::new();
                barrier.wait();
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let body = std::str::from_utf8(body).unwrap();
                    let sent = Instant::now();
                    let reply = client.try_exchange("POST", "/v1/activate", Some(body));
                    mine.push(sent.elapsed().as_secs_f64());
                    let good = reply.is_ok_and(|r| {
                        r.status == 200
                            && expect.is_none_or(|e| r.body.windows(e.len()).any(|w| w == e.as_bytes()))
                    });
                    if !good {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                latencies.lock().unwrap().extend(mine);
            });
        }
        barrier.wait();
        start = Instant::now();
    });
    let wall = start.elapsed().as_secs_f64();
    let mut latencies = latencies.into_inner().unwrap();
    latencies.sort_by(f64::total_cmp);
    Outcome { wall, latencies, failed: failed.into_inner() }
}

/// Figures of the throughput rows.
struct Figures {
    load: Outcome,
    single: f64,
    memory: f64,
}

fn throughput() -> Figures {
    let (server, licenses) = Server::start(LOAD + SINGLE, "http://127.0.0.1:1");
    let requests = requests(&licenses);
    let single = drive(server.address, &requests[..SINGLE], 1, Some("answer")).percentile(50);
    let load = drive(server.address, &requests[SINGLE..], CLIENTS, Some("answer"));
    Figures { load, single, memory: server.peak_memory_mb() }
}

fn report_throughput(floors: &Floors, figures: &Figures) {
    let rate = figures.load.latencies.len() as f64 / figures.load.wall;
    let ceiling = 2.0 / floors.composed();
    let us = 1e6;
    println!(
        "composed ceiling at 64 clients: 2 verifications {:.0} + 2 signatures {:.0} + bare HTTP {:.0} (2 cores x {:.0}) + \
         grouped commit {:.0} = {:.0} us of core time an activation; 2 cores give {ceiling:.0}/s",
        2.0 * floors.verify * us,
        2.0 * floors.sign * us,
        2.0 * floors.http_64 * us,
        floors.http_64 * us,
        floors.commit_64 * us,
        floors.composed() * us,
    );
    Row {
        what: "activations a second, 64 clients, synchronous=FULL",
        figure: rate,
        unit: "/s",
        floor: ceiling,
        floor_what: "composed ceiling",
        goal: ">= 0.5 x ceiling",
        met: rate >= 0.5 * ceiling,
        baseline: "keygen-relay 838/s, unsynced",
    }
    .print();
    Row {
        what: "the same, against the goal of the reference machine",
        figure: rate,
        unit: "/s",
        floor: 5000.0,
        floor_what: "goal",
        goal: ">= 5,000/s",
        met: rate >= 5000.0,
        baseline: "838/s",
    }
    .print();
    let p99 = figures.load.percentile(99) * 1e3;
    Row {
        what: "p99 latency at 64 clients",
        figure: p99,
        unit: "ms",
        floor: 40.0,
        floor_what: "goal",
        goal: "< 40 ms",
        met: p99 < 40.0,
        baseline: "5,008 ms (stock)",
    }
    .print();
    let failed = figures.load.failed as f64;
    Row {
        what: "failed of 20,000",
        figure: failed,
        unit: "",
        floor: 0.0,
        floor_what: "goal",
        goal: "0",
        met: failed == 0.0,
        baseline: "up to 50 of 5,000",
    }
    .print();
    let floor = floors.commit_1 + floors.http_1 + floors.cryptography();
    let single = figures.single;
    Row {
        what: "activation latency, 1 client",
        figure: single * 1e6,
        unit: "us",
        floor: floor * 1e6,
        floor_what: "commit + bare HTTP + cryptography",
        goal: "<= 1.4 x floor",
        met: single <= 1.4 * floor,
        baseline: "1/800 s",
    }
    .print();
    Row {
        what: "server memory under that load",
        figure: figures.memory,
        unit: "MB",
        floor: 60.0,
        floor_what: "goal",
        goal: "<= 60 MB",
        met: figures.memory <= 60.0,
        baseline: "up to 136 MB",
    }
    .print();
}

fn flatness() {
    let mut first = None;
    for (count, name) in [(1_000, "1 k"), (100_000, "100 k"), (1_000_000, "1 M")] {
        let (server, licenses) = Server::start(count, "http://127.0.0.1:1");
        let step = (licenses.len() / SINGLE).max(1);
        let some: Vec<_> = licenses.iter().step_by(step).take(SINGLE).cloned().collect();
        let requests = requests(&some);
        let latency = drive(server.address, &requests, 1, Some("answer")).percentile(50) * 1e6;
        let base = *first.get_or_insert(latency);
        let what = format!("activation latency, {name} licenses stored");
        Row {
            what: &what,
            figure: latency,
            unit: "us",
            floor: base,
            floor_what: "that with 1 k licenses",
            goal: "<= 1.2 x that with 1 k",
            met: latency <= 1.2 * base,
            baseline: "grows with the pool",
        }
        .print();
    }
}
