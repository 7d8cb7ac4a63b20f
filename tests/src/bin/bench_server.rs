//! The server's rows of the bench table: a real release server on loopback, its clients on the same cores, SQLite at
//! synchronous=FULL. Every floor is measured in the same run, because machines differ and are noisy.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench program: a panic or a line is how it reports"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::documents::{
    Cpu, KeyInHeader, MachineFacts, Order, OsInfo, REQUEST_VERSION, Request, sign,
};
use claviger_protocol::ids::{MachineId, Nonce, VendorId};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
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
    flatness(&floors);
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

/// Seconds a row of a claim takes when `group` of them commit together: look the license up, count its seats, insert an
/// activation, a request and an event; WAL, synchronous=FULL.
fn commits(group: usize) -> f64 {
    use sqlx::{Connection as _, Executor as _, Row as _};
    let folder = tempfile::tempdir_in(home()).unwrap();
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
             CREATE TABLE r(device BLOB, nonce BLOB, answer TEXT, PRIMARY KEY(device, nonce)) WITHOUT ROWID;
             CREATE TABLE e(id INTEGER PRIMARY KEY, l INT, what TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
             INSERT INTO l SELECT i, printf('BEN-%015d', i), 1 FROM n;",
        )
        .await
        .unwrap();
        let total = if group == 1 { 1_500 } else { 20_000 };
        let rng = SystemRandom::new();
        let facts = "x".repeat(300);
        let start = Instant::now();
        let mut next = 1usize;
        while next <= total {
            let mut tx = db.begin().await.unwrap();
            for i in next..next + group {
                let mut random = [0u8; 48];
                rng.fill(&mut random).unwrap();
                let row =
                    sqlx::query("SELECT l.id, count(a.id) FROM l LEFT JOIN a ON a.l = l.id WHERE serial = ?")
                        .bind(format!("BEN-{:015}", i % 20_000 + 1))
                        .fetch_one(&mut *tx)
                        .await
                        .unwrap();
                let id: i64 = row.get(0);
                sqlx::query("INSERT INTO a(l, machine, facts) VALUES (?, ?, ?)")
                    .bind(id)
                    .bind(&random[..16])
                    .bind(&facts)
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                sqlx::query("INSERT INTO r VALUES (?, ?, ?)")
                    .bind(&random[..32])
                    .bind(&random[32..])
                    .bind(&facts)
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                sqlx::query("INSERT INTO e(l, what) VALUES (?, 'activated')")
                    .bind(id)
                    .execute(&mut *tx)
                    .await
                    .unwrap();
            }
            tx.commit().await.unwrap();
            next += group;
        }
        start.elapsed().as_secs_f64() / total as f64
    })
}

/// The folder in which databases are made: on the disk of the build, not in memory.
fn home() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// A vendor's server process with licenses in its database.
struct Server {
    process: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
    vendor: VendorId,
}

impl Server {
    fn run(data: &Path, args: &[&str]) {
        let done = Command::new(claviger_tests::programs::path("claviger-server"))
            .args(args)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts one and gives the serial numbers and codes of `licenses` licenses with one seat.
    fn start(licenses: usize) -> (Self, Vec<(Serial, UnlockCode)>) {
        let folder = tempfile::tempdir_in(home()).unwrap();
        let data = folder.path().join("data");
        let passphrase = folder.path().join("passphrase");
        std::fs::write(&passphrase, "bench").unwrap();
        let vendor: VendorId = "com.example".parse().unwrap();
        Self::run(
            &data,
            &[
                "init",
                "--vendor",
                "com.example",
                "--name",
                "Bench Audio",
                "--prefix",
                "BEN",
                "--server-url",
                "http://127.0.0.1:1",
                "--demo",
                "--passphrase-file",
                passphrase.to_str().unwrap(),
            ],
        );
        Self::run(&data, &["product", "add", "com.example.synth", "--name", "Bench Synth"]);
        let csv = folder.path().join("licenses.csv");
        let count = licenses.to_string();
        Self::run(
            &data,
            &[
                "license",
                "issue",
                "--product",
                "com.example.synth",
                "--kind",
                "perpetual",
                "--seats",
                "1",
                "--count",
                &count,
                "--csv",
                csv.to_str().unwrap(),
            ],
        );
        let address_file = folder.path().join("address");
        let process = Command::new(claviger_tests::programs::path("claviger-server"))
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--address-file"])
            .arg(&address_file)
            .arg("--data")
            .arg(&data)
            .env("CLAVIGER_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = wait_for_address(&address_file);
        (Self { process, folder, address, vendor }, read_csv(&csv))
    }

    fn peak_memory_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    fn requests(&self, licenses: &[(Serial, UnlockCode)]) -> Vec<Vec<u8>> {
        licenses.iter().map(|(serial, code)| request(&self.vendor, serial, code)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
        let _keep_until_now = &self.folder;
    }
}

fn wait_for_address(file: &Path) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(address) = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok())
            && std::net::TcpStream::connect(address).is_ok()
        {
            return address;
        }
        assert!(Instant::now() < deadline, "the server did not come up");
        std::thread::yield_now();
    }
}

fn read_csv(file: &Path) -> Vec<(Serial, UnlockCode)> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let (serial, code) = (column("serial"), column("unlock_code"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let serial = Serial::try_from(fields[serial].to_owned()).unwrap();
            let code = UnlockCode::parse(fields[code], &serial).unwrap();
            (serial, code)
        })
        .collect()
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
    let (server, licenses) = Server::start(LOAD + SINGLE);
    let requests = server.requests(&licenses);
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
    row(
        "activations a second, 64 clients, synchronous=FULL",
        rate,
        "/s",
        ceiling,
        "composed ceiling",
        ">= 0.5 x ceiling",
        rate >= 0.5 * ceiling,
        "keygen-relay 838/s, unsynced",
    );
    row(
        "the same, against the goal of the reference machine",
        rate,
        "/s",
        5000.0,
        "goal",
        ">= 5,000/s",
        rate >= 5000.0,
        "838/s",
    );
    let p99 = figures.load.percentile(99) * 1e3;
    row("p99 latency at 64 clients", p99, "ms", 40.0, "goal", "< 40 ms", p99 < 40.0, "5,008 ms (stock)");
    let failed = figures.load.failed as f64;
    row("failed of 20,000", failed, "", 0.0, "goal", "0", failed == 0.0, "up to 50 of 5,000");
    let floor = floors.commit_1 + floors.http_1 + floors.cryptography();
    let single = figures.single;
    row(
        "activation latency, 1 client",
        single * 1e6,
        "us",
        floor * 1e6,
        "commit + bare HTTP + cryptography",
        "<= 1.4 x floor",
        single <= 1.4 * floor,
        "1/800 s",
    );
    row(
        "server memory under that load",
        figures.memory,
        "MB",
        60.0,
        "goal",
        "<= 60 MB",
        figures.memory <= 60.0,
        "up to 136 MB",
    );
}

fn flatness(floors: &Floors) {
    let floor = (floors.commit_1 + floors.http_1 + floors.cryptography()) * 1e6;
    let mut first = None;
    for (count, name) in [(1_000, "1 k"), (100_000, "100 k"), (1_000_000, "1 M")] {
        let (server, licenses) = Server::start(count);
        let step = (licenses.len() / SINGLE).max(1);
        let some: Vec<_> = licenses.iter().step_by(step).take(SINGLE).cloned().collect();
        let requests = server.requests(&some);
        let latency = drive(server.address, &requests, 1, Some("answer")).percentile(50) * 1e6;
        let base = *first.get_or_insert(latency);
        let what = format!("activation latency, {name} licenses stored");
        println!(
            "{}",
            json!({"what": what, "figure": round(latency), "unit": "us", "floor": round(floor),
                   "floor_what": "commit + bare HTTP + cryptography", "ratio": round(latency / base),
                   "goal": "<= 1.2 x that with 1 k", "met": latency <= 1.2 * base, "baseline": "grows with the pool"})
        );
    }
}

#[expect(clippy::too_many_arguments, reason = "the columns of one table row")]
fn row(
    what: &str,
    figure: f64,
    unit: &str,
    floor: f64,
    floor_what: &str,
    goal: &str,
    met: bool,
    baseline: &str,
) {
    let ratio = if floor == 0.0 { 0.0 } else { figure / floor };
    println!(
        "{}",
        json!({"what": what, "figure": round(figure), "unit": unit, "floor": round(floor), "floor_what": floor_what,
               "ratio": round(ratio), "goal": goal, "met": met, "baseline": baseline})
    );
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
