//! The collector's rows of the bench table: blind tokens beside the bare library, reports into the store and over TLS, and
//! how much room a year takes.
#![expect(clippy::unwrap_used, reason = "a bench program: a panic is how it reports")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use claviger_protocol::clock::{Clock, DAY, Timestamp};
use claviger_protocol::daw::Daw;
use claviger_protocol::telemetry::voprf::{Blinder, Issuer, TokenClient as _, TokenIssuer as _};
use claviger_protocol::telemetry::{BATCH, PlanTitle, REPORT_SCHEMA, Token, UsageReport, Uses, Week};
use claviger_server::admin_keys::AdminKeys;
use claviger_server::config::DataDir;
use claviger_server::http::{IssuerCell, Limits, Listener, telemetry_routes};
use claviger_server::keys::envelope::Passphrase;
use claviger_server::keys::{durable, install};
use claviger_server::metrics::Metrics;
use claviger_server::storage;
use claviger_server::telemetry::collector::Counting;
use claviger_server::telemetry::fold::Cell;
use claviger_server::telemetry::store::{CounterStore, Spending, Taken};
use claviger_server::telemetry::{PlanFolder, Telemetry, TelemetryParts, keyfiles};
use claviger_tests::bench::{Row, home, median};
use ring::rand::{SecureRandom as _, SystemRandom};
use voprf_ng::{BlindedElement, Ristretto255, VoprfServer};

/// Reports into the store, and those over TLS.
const STORED: usize = 200_000;
const OVER_TLS: usize = 4_000;
const CLIENTS: usize = 16;

fn main() {
    tokens();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(stored());
    over_tls(&runtime);
    runtime.block_on(a_year());
}

fn week() -> Week {
    "2026-W49".parse().unwrap()
}

/// Microseconds of one call, the median of `rounds`.
fn micros(rounds: usize, mut call: impl FnMut()) -> f64 {
    let once = |()| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e6
    };
    median(std::iter::repeat_n((), rounds).map(once))
}

fn tokens() {
    let rng = SystemRandom::new();
    let issuer = Issuer::from_seed(&[7; 32], b"bench").unwrap();
    let pending = Blinder.blind(BATCH, &rng).unwrap();
    let blinded: Vec<_> = pending.iter().map(claviger_protocol::telemetry::voprf::Pending::blinded).collect();
    let bare = VoprfServer::<Ristretto255>::new_from_seed(&[7; 32], b"bench").unwrap();
    let raw: Vec<BlindedElement<Ristretto255>> =
        blinded.iter().map(|e| BlindedElement::deserialize(&e.0).unwrap()).collect();

    let floor = micros(60, || {
        std::hint::black_box(bare.batch_blind_evaluate(&mut Random(&rng), &raw).unwrap());
    });
    let figure = micros(60, || {
        std::hint::black_box(issuer.evaluate(&blinded, &rng).unwrap());
    });
    row("token batch of 32: issue", figure, floor, "the bare VOPRF evaluation with its proof", 1.25);

    let (evaluated, proof) = issuer.evaluate(&blinded, &rng).unwrap();
    let tokens = Blinder.finish(&pending, &evaluated, &proof, &issuer.public()).unwrap();
    let floor = micros(400, || {
        std::hint::black_box(bare.evaluate(tokens[0].input()).unwrap());
    });
    let figure = micros(400, || assert!(issuer.verify(&tokens[0])));
    row("token: redeem", figure, floor, "the bare VOPRF evaluation", 1.1);
}

fn row(what: &str, figure: f64, floor: f64, floor_what: &str, most: f64) {
    let goal = format!("at most {most} times the floor");
    let baseline = "voprf-ng alone: issue 270, redeem 70 a token";
    let met = figure <= most * floor;
    Row { what, figure, unit: "µs", floor, floor_what, goal: &goal, met, baseline }.print();
}

/// Reports that reach the store at once, as many as there are.
async fn stored() {
    let folder = tempfile::tempdir_in(home()).unwrap();
    let store = Arc::new(CounterStore::open(folder.path()).await.unwrap());
    let (counting, done) = Counting::start(store);
    let spendings = spendings(STORED);
    let start = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let spendings = Arc::new(spendings);
    // As many wait for a commit as connections would.
    let mut tasks = Vec::new();
    for _ in 0..1_000 {
        let (counting, next, spendings) = (counting.clone(), Arc::clone(&next), Arc::clone(&spendings));
        tasks.push(tokio::spawn(async move {
            while let Some(spending) = spendings.get(next.fetch_add(1, Ordering::Relaxed)) {
                assert_eq!(counting.count(spending.clone()).await.unwrap(), Taken::Counted);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let figure = STORED as f64 / start.elapsed().as_secs_f64();
    drop(counting);
    done.await.unwrap();
    let floor = bare_rows().await;
    Row {
        what: "reports into the store, 1,000 waiting",
        figure,
        unit: "/s",
        floor,
        floor_what: "SQLite: rows of spent tokens alone, 1,000 a commit",
        goal: "at least 10,000/s",
        met: figure >= 10_000.0,
        baseline: "",
    }
    .print();
}

fn spendings(count: usize) -> Vec<Spending> {
    let rng = SystemRandom::new();
    let one = |n: usize| {
        let mut random = [0u8; 24];
        rng.fill(&mut random).unwrap();
        let (token, report) = random.split_at(16);
        Spending {
            week: week(),
            token: token.try_into().unwrap(),
            report: report.try_into().unwrap(),
            cell: Cell {
                title: format!("com.example.title{}", n % 20),
                version: format!("1.{}", n % 7),
                daw: Daw::ALL[n % 11].id().to_owned(),
                bucket: Uses::ALL[n % 6].as_str().to_owned(),
            },
        }
    };
    (0..count).map(one).collect()
}

/// Rows a second of the spent tokens' table alone, in the same journal mode.
async fn bare_rows() -> f64 {
    use sqlx::{ConnectOptions as _, Executor as _};
    let folder = tempfile::tempdir_in(home()).unwrap();
    let mut db = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("floor.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Delete)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .connect()
        .await
        .unwrap();
    db.execute("CREATE TABLE spent (token BLOB PRIMARY KEY, report BLOB NOT NULL) STRICT, WITHOUT ROWID")
        .await
        .unwrap();
    let start = Instant::now();
    for _ in 0..STORED / 1_000 {
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
             INSERT INTO spent SELECT randomblob(16), randomblob(8) FROM n",
        )
        .await
        .unwrap();
    }
    STORED as f64 / start.elapsed().as_secs_f64()
}

#[derive(Debug)]
struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Whole reports, each over a TLS connection of its own without resumption, as daemons send them.
fn over_tls(runtime: &tokio::runtime::Runtime) {
    let folder = tempfile::tempdir_in(home()).unwrap();
    let data = DataDir::new(folder.path().join("data"));
    let rng = SystemRandom::new();
    let vendor = claviger_tests::bench::VENDOR.parse().unwrap();
    let before = week().start().plus(-DAY);
    vendor_files(&data, folder.path(), before);
    let issuer = Arc::new(IssuerCell::load(&data).unwrap());
    let synth = "com.example.synth".parse().unwrap();
    let title = PlanTitle { product: synth, versions: vec!["1.0".parse().unwrap()] };
    let plans = PlanFolder::new(&data.telemetry());
    plans.make(&issuer.get(), &[week()], vec![title], vec![Daw::Reaper], before, &rng).unwrap();
    let key = keyfiles::load(plans.keys(), &vendor, week()).unwrap().unwrap();
    let bodies = bodies(&key);

    let (certificate, acceptor) = certificate(folder.path());
    let clock = Arc::new(Fixed(week().end().plus(DAY)));
    let (ours, bare) = runtime.block_on(async {
        storage::create(&data, &vendor).await.unwrap();
        let (telemetry, _done) = Telemetry::start(TelemetryParts {
            data: data.clone(),
            store: storage::open(&data).await.unwrap(),
            clock,
            rng: Arc::new(SystemRandom::new()),
            issuer,
            metrics: Arc::new(Metrics::default()),
            admin_keys: Arc::new(AdminKeys::load(&data).unwrap()),
        })
        .await
        .unwrap();
        let nothing = async |_: axum::body::Bytes| axum::http::StatusCode::NO_CONTENT;
        let bare = axum::Router::new().route("/v1/telemetry/report", axum::routing::post(nothing));
        (serve(telemetry_routes(telemetry), acceptor.clone()).await, serve(bare, acceptor).await)
    });
    let floor = send(bare, &certificate, &bodies);
    let figure = send(ours, &certificate, &bodies);
    Row {
        what: "reports over TLS, a connection each, 16 clients",
        figure,
        unit: "/s",
        floor,
        floor_what: "the same exchange with a server that only reads; clients on the same cores",
        goal: "",
        met: true,
        baseline: "",
    }
    .print();
}

fn vendor_files(data: &DataDir, folder: &Path, now: Timestamp) {
    let wish = install::Wish {
        vendor: claviger_tests::bench::VENDOR.parse().unwrap(),
        name: "Bench Audio".into(),
        prefix: "BEN".parse().unwrap(),
        server: "https://localhost:1".into(),
        policy: None,
        contact: claviger_protocol::documents::Contact::default(),
        accent: None,
        logo: None,
        demo: true,
    };
    let passphrase = Passphrase::new(zeroize::Zeroizing::new("bench".into())).unwrap();
    let roots = folder.join("roots");
    durable::private_dir(data.path()).unwrap();
    durable::private_dir(&roots).unwrap();
    install::create(data, &roots, &wish, &passphrase, now, &SystemRandom::new()).unwrap();
    install::finish(data).unwrap();
}

fn bodies(key: &Issuer) -> Vec<String> {
    let rng = SystemRandom::new();
    let mut tokens: Vec<Token> = Vec::new();
    while tokens.len() < OVER_TLS {
        let pending = Blinder.blind(500, &rng).unwrap();
        let blinded: Vec<_> =
            pending.iter().map(claviger_protocol::telemetry::voprf::Pending::blinded).collect();
        let (evaluated, proof) = key.evaluate(&blinded, &rng).unwrap();
        tokens.extend(Blinder.finish(&pending, &evaluated, &proof, &key.public()).unwrap());
    }
    let report = |token| UsageReport {
        schema: REPORT_SCHEMA,
        week: week(),
        product_id: "com.example.synth".parse().unwrap(),
        product_version: "1.0".parse().unwrap(),
        daw: Daw::Reaper,
        uses: Uses::Once,
        token,
    };
    tokens.into_iter().take(OVER_TLS).map(|token| report(token).to_body()).collect()
}

fn certificate(folder: &Path) -> (rustls::pki_types::CertificateDer<'static>, tokio_rustls::TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (made.cert.der().clone(), claviger_server::tls::acceptor(&cert, &key).unwrap())
}

async fn serve(routes: axum::Router, tls: tokio_rustls::TlsAcceptor) -> SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener { socket, tls: Some(tls), limits: Limits::default() };
    tokio::spawn(listener.serve(routes, std::future::pending()));
    address
}

/// Reports a second.
fn send(to: SocketAddr, certificate: &rustls::pki_types::CertificateDer<'static>, bodies: &[String]) -> f64 {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
                    let client = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
                    let stream = std::net::TcpStream::connect(to).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut tls = rustls::StreamOwned::new(client, stream);
                    let head = format!(
                        "POST /v1/telemetry/report HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                         content-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    tls.write_all(head.as_bytes()).unwrap();
                    let mut answer = [0u8; 12];
                    tls.read_exact(&mut answer).unwrap();
                    assert_eq!(&answer, b"HTTP/1.1 204");
                }
            });
        }
    });
    bodies.len() as f64 / start.elapsed().as_secs_f64()
}

/// A vendor with a million installations that take part, for a year: 40 titles with 8 versions, each installation with
/// five titles in use every week, versions and DAWs as unevenly spread as they are.
#[expect(clippy::cast_possible_truncation, reason = "counts of a few million")]
async fn a_year() {
    const INSTALLATIONS: f64 = 1e6;
    let folder = tempfile::tempdir_in(home()).unwrap();
    CounterStore::open(folder.path()).await.unwrap().close().await.unwrap();
    let reports = 5.0 * INSTALLATIONS;
    // Falls off as one over rank: the first of 26 DAWs has a quarter of all.
    let share = |rank: usize, of: usize| {
        let all: f64 = (1..=of).map(|n| 1.0 / n as f64).sum();
        1.0 / (rank + 1) as f64 / all
    };
    let daws: Vec<Daw> = Daw::ALL.to_vec();
    for n in 0..52 {
        let week = week().plus(n);
        let mut cells: BTreeMap<Cell<String>, u64> = BTreeMap::new();
        for title in 0..40 {
            for version in 0..8 {
                for (at, daw) in daws.iter().enumerate() {
                    for (bucket, uses) in Uses::ALL.iter().enumerate() {
                        let part =
                            share(title, 40) * share(version, 8) * share(at, daws.len()) * share(bucket, 6);
                        let cell = Cell {
                            title: format!("com.example.title{title}"),
                            version: format!("{}.{version}", n / 13),
                            daw: daw.id().to_owned(),
                            bucket: uses.as_str().to_owned(),
                        };
                        let count = (reports * part).round();
                        if count >= 1.0 {
                            cells.insert(cell, count as u64);
                        }
                    }
                }
            }
        }
        fill(folder.path(), week, &cells).await;
        // Three weeks are open at any time.
        if n >= 3 {
            let store = CounterStore::open(folder.path()).await.unwrap();
            store.close_week(week.plus(-3)).await.unwrap();
            store.close().await.unwrap();
        }
    }
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0.0, |m| m.len() as f64 / 1e6);
    let figure = size("counters.db");
    Row {
        what: "counters after a year of 1 M installations",
        figure,
        unit: "MB",
        floor: 0.0,
        floor_what: "",
        goal: "under 50 MB",
        met: figure < 50.0,
        baseline: "",
    }
    .print();

    // Spent tokens: what a hundredth of a week takes, times a hundred, times the four weeks that are there at once.
    let spent = tempfile::tempdir_in(home()).unwrap();
    let store = CounterStore::open(spent.path()).await.unwrap();
    let part = 100_000usize;
    for chunk in spendings(part).chunks(2_000) {
        store.take(chunk.to_vec()).await.unwrap();
    }
    store.close().await.unwrap();
    let bytes = std::fs::metadata(spent.path().join(format!("spent-{}.db", week()))).unwrap().len() as f64;
    Row {
        what: "spent tokens of 1 M installations, four open weeks",
        figure: bytes / part as f64 * reports * 4.0 / 1e6,
        unit: "MB",
        floor: 24.0 * reports * 4.0 / 1e6,
        floor_what: "24 bytes a report",
        goal: "",
        met: true,
        baseline: "removed with each week's key",
    }
    .print();
}

/// Puts the counts of a week where five million reports would have left them.
async fn fill(folder: &Path, week: Week, cells: &BTreeMap<Cell<String>, u64>) {
    use sqlx::{ConnectOptions as _, Connection as _, Row as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("counters.db"));
    let mut db = options.connect().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    // As the store counts weeks: from the Monday 1969-12-29 on.
    let number = (week.start().0 / DAY + 3) / 7;
    let mut names: BTreeMap<&str, i64> = BTreeMap::new();
    for (cell, count) in cells {
        let mut ids = [0; 4];
        for (id, text) in ids.iter_mut().zip([&cell.title, &cell.version, &cell.daw, &cell.bucket]) {
            if !names.contains_key(text.as_str()) {
                let row = sqlx::query(
                    "INSERT INTO names (name) VALUES (?) ON CONFLICT DO UPDATE SET name = excluded.name RETURNING id",
                );
                let row = row.bind(text).fetch_one(&mut *tx).await.unwrap();
                names.insert(text, row.get(0));
            }
            *id = names[text.as_str()];
        }
        let insert = sqlx::query("INSERT INTO counting VALUES (?, ?, ?, ?, ?, ?)").bind(number);
        let insert = ids.iter().fold(insert, |insert, id| insert.bind(*id));
        insert.bind(i64::try_from(*count).unwrap()).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    db.close().await.unwrap();
}

/// `ring`'s generator as the library wants one.
struct Random<'a>(&'a SystemRandom);

impl rand_core::TryRng for Random<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(out).unwrap();
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Random<'_> {}
