//! A server in this process with a real listening socket, and machines that talk to it.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests stop at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::documents::*;
use claviger_protocol::http::{AnswerBody, Problem};
use claviger_protocol::ids::*;
use claviger_protocol::keys::{Sha256, SigningKey};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use claviger_server::admin_keys::AdminKeys;
use claviger_server::config::DataDir;
use claviger_server::http::{App, AppParts, IssuerCell, Limits, Listener, router, telemetry_routes};
use claviger_server::keys::envelope::Passphrase;
use claviger_server::keys::install::{self, Wish};
use claviger_server::licensing::{Batch, IssueOrder, IssueOutcome};
use claviger_server::metrics::Metrics;
use claviger_server::security_log::SecurityLog;
use claviger_server::storage::admin::Product;
use claviger_server::storage::{self, Store};
use claviger_server::telemetry::{Telemetry, TelemetryParts};
use ring::rand::SystemRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// 2026-11-23, noon.
pub(crate) const NOW: i64 = 1_795_435_200;

#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct TestServer {
    pub(crate) folder: Arc<tempfile::TempDir>,
    pub(crate) data: DataDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) address: SocketAddr,
    pub(crate) profile: VendorProfile,
    pub(crate) keyset: Keyset,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<()>>,
}

impl TestServer {
    pub(crate) async fn new() -> Self {
        Self::limited(Limits::default()).await
    }

    /// One that grants its connections no more than that.
    pub(crate) async fn limited(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().join("data"));
        claviger_server::keys::durable::private_dir(data.path()).unwrap();
        let wish = Wish {
            vendor: "com.example".parse().unwrap(),
            name: "Example".into(),
            prefix: "SOL".parse().unwrap(),
            server: "http://127.0.0.1:1".into(),
            policy: None,
            contact: Contact::default(),
            accent: None,
            logo: None,
            demo: true,
        };
        let passphrase = Passphrase::new(zeroize::Zeroizing::new("correct horse".into())).unwrap();
        let roots = folder.path().join("roots");
        claviger_server::keys::durable::private_dir(&roots).unwrap();
        install::create(&data, &roots, &wish, &passphrase, Timestamp(NOW), &SystemRandom::new()).unwrap();
        storage::create(&data, &wish.vendor).await.unwrap();
        install::finish(&data).unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
        let server = Self::serve_limited(Arc::new(folder), clock, limits).await;
        let synth: ProductId = "com.example.synth".parse().unwrap();
        server
            .store
            .add_product(Product { id: synth, name: "Synth".into(), contains: vec![] }, Timestamp(NOW))
            .await
            .unwrap();
        server
    }

    /// Serves the data folder.
    pub(crate) async fn serve(folder: Arc<tempfile::TempDir>, clock: Arc<TestClock>) -> Self {
        Self::serve_limited(folder, clock, Limits::default()).await
    }

    async fn serve_limited(folder: Arc<tempfile::TempDir>, clock: Arc<TestClock>, limits: Limits) -> Self {
        let data = DataDir::new(folder.path().join("data"));
        let issuer = IssuerCell::load(&data).unwrap();
        let (profile, keyset) = (issuer.get().profile().clone(), issuer.get().keyset().clone());
        let store = storage::open(&data).await.unwrap();
        let metrics = Arc::new(Metrics::default());
        let admin_keys = Arc::new(AdminKeys::load(&data).unwrap());
        let (telemetry, counting) = Telemetry::start(TelemetryParts {
            data: data.clone(),
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: Arc::new(SystemRandom::new()),
            issuer: Arc::new(IssuerCell::load(&data).unwrap()),
            metrics: Arc::clone(&metrics),
            admin_keys: Arc::clone(&admin_keys),
        })
        .await
        .unwrap();
        let (app, writer) = App::start(AppParts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: Arc::new(SystemRandom::new()),
            issuer,
            metrics: Arc::clone(&metrics),
            security_log: SecurityLog::open(&data, Arc::clone(&clock) as Arc<dyn Clock>).unwrap(),
            admin_keys,
        })
        .unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let listener = Listener { socket, tls: None, limits };
        let routes = router(app).merge(telemetry_routes(Arc::clone(&telemetry)));
        let done = tokio::spawn(async move {
            listener
                .serve(routes, async {
                    let _ = stopped.await;
                })
                .await;
            writer.await.unwrap();
            counting.await.unwrap();
        });
        Self {
            folder,
            data,
            store,
            clock,
            address,
            profile,
            keyset,
            telemetry,
            metrics,
            stop: Some(stop),
            done: Some(done),
        }
    }

    /// Stops serving; the files stay.
    pub(crate) async fn stop(self) -> (Arc<tempfile::TempDir>, Arc<TestClock>) {
        let Self { folder, store, clock, telemetry, stop, done, .. } = self;
        drop((stop, telemetry));
        done.unwrap().await.unwrap();
        store.close().await.unwrap();
        (folder, clock)
    }

    pub(crate) fn order(&self, seats: u32) -> IssueOrder {
        IssueOrder {
            product: "com.example.synth".into(),
            kind: LicenseKind::Perpetual,
            seats,
            updates_until: None,
            paid_through: None,
            grace_days: None,
            trial_days: None,
            entitlements: vec![],
            replacement_budget: None,
            order_id: None,
            count: 1,
        }
    }

    pub(crate) async fn issue(&self, order: &IssueOrder) -> Vec<(Serial, UnlockCode)> {
        let product = order.product.parse().unwrap();
        let batch = Batch::draw(&self.profile, order, product, &SystemRandom::new(), || {}).unwrap();
        match batch.store(self.store.as_ref(), self.clock.now()).await.unwrap() {
            IssueOutcome::Fresh(fresh) => fresh.into_iter().map(|f| (f.serial, f.code)).collect(),
            IssueOutcome::Before(_) => panic!("issued before"),
        }
    }

    pub(crate) async fn license(&self, seats: u32) -> (Serial, UnlockCode) {
        self.issue(&self.order(seats)).await.remove(0)
    }

    pub(crate) async fn seats_used(&self, serial: &Serial) -> u32 {
        self.store.license(serial.clone()).await.unwrap().unwrap().seats_used
    }

    pub(crate) async fn post(&self, path: &str, request: &str) -> Reply {
        let body = serde_json::json!({ "request": request }).to_string();
        exchange(self.address, "POST", path, &[], body.as_bytes()).await
    }

    /// Posts a request, and reads the verified answer or the refusal.
    pub(crate) async fn ask(&self, machine: &Machine, path: &str, request: &str) -> Result<Answer, Problem> {
        let reply = self.post(path, request).await;
        if reply.status != 200 {
            let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(problem.status, reply.status);
            assert!(reply.head.contains("application/problem+json"));
            return Err(problem);
        }
        let body: AnswerBody = serde_json::from_slice(&reply.body).unwrap();
        Ok(Answer::verify(&body.answer, &self.keyset, &Sha256::of(request.as_bytes()), machine.key.id())
            .unwrap())
    }

    pub(crate) async fn activate(
        &self,
        machine: &Machine,
        license: &(Serial, UnlockCode),
    ) -> Result<ActivationCertificate, Problem> {
        self.activate_with(machine, license, None, vec![]).await.map(|(certificate, _)| certificate)
    }

    pub(crate) async fn activate_with(
        &self,
        machine: &Machine,
        license: &(Serial, UnlockCode),
        replace: Option<&str>,
        receipts: Vec<String>,
    ) -> Result<(ActivationCertificate, Answer), Problem> {
        let request = machine.activate(license, replace, receipts, nonce());
        let answer = self.ask(machine, "/v1/activate", &request).await?;
        let Outcome::Activated { certificate } = &answer.outcome else { panic!("{answer:?}") };
        Ok((ActivationCertificate::verify(certificate, &self.keyset).unwrap(), answer))
    }

    pub(crate) async fn refresh(
        &self,
        machine: &Machine,
        held: Vec<HeldActivation>,
        receipts: Vec<String>,
    ) -> Answer {
        let order = Order::Refresh { machine_id: machine.facts.machine_id, activations: held };
        let request = machine.request(order, receipts, nonce());
        self.ask(machine, "/v1/refresh", &request).await.unwrap()
    }

    pub(crate) async fn state(
        &self,
        machine: &Machine,
        certificate: &ActivationCertificate,
    ) -> ActivationState {
        let held = HeldActivation { id: certificate.jti, rev: certificate.rev, certificate: None };
        let answer = self.refresh(machine, vec![held], vec![]).await;
        let Outcome::Refreshed { mut activations } = answer.outcome else { panic!() };
        activations.remove(0)
    }

    pub(crate) async fn deactivate(
        &self,
        machine: &Machine,
        certificate: &ActivationCertificate,
    ) -> ReceiptOutcome {
        let order = Order::Deactivate { machine_id: machine.facts.machine_id };
        let request = machine.request(order, vec![machine.receipt(certificate)], nonce());
        self.ask(machine, "/v1/deactivate", &request).await.unwrap().receipts[0].outcome
    }
}

pub(crate) fn nonce() -> Nonce {
    Nonce::random(&SystemRandom::new()).unwrap()
}

pub(crate) struct Machine {
    pub(crate) key: SigningKey,
    pub(crate) facts: MachineFacts,
}

impl Machine {
    pub(crate) fn new(name: &str) -> Self {
        let machine_id = MachineId::derive(&"com.example".parse().unwrap(), name);
        Self {
            key: SigningKey::generate(&SystemRandom::new()).unwrap(),
            facts: MachineFacts {
                device_name: DeviceName::lossy(name),
                os: OsInfo { family: "linux".into(), version: "Debian 12".into(), arch: "x86_64".into() },
                cpu: Cpu { model: "Test".into(), logical_cores: 8 },
                ram_gib: 32,
                machine_id,
            },
        }
    }

    /// The same machine after its state was lost.
    pub(crate) fn with_new_key(&self) -> Self {
        Self { key: SigningKey::generate(&SystemRandom::new()).unwrap(), facts: self.facts.clone() }
    }

    pub(crate) fn request(&self, order: Order, receipts: Vec<String>, nonce: Nonce) -> String {
        let request = Request {
            v: REQUEST_VERSION,
            aud: "com.example".parse().unwrap(),
            nonce,
            iat: Timestamp(NOW),
            exp: None,
            keyset: 1,
            receipts,
            order,
        };
        sign(&request, &self.key, KeyInHeader::Carried)
    }

    pub(crate) fn activate(
        &self,
        (serial, code): &(Serial, UnlockCode),
        replace: Option<&str>,
        receipts: Vec<String>,
        nonce: Nonce,
    ) -> String {
        let vendor: VendorId = "com.example".parse().unwrap();
        let unlock = unlock_key(&vendor, serial, Some(code));
        let machine_id = self.facts.machine_id;
        let proof = UnlockProof::sign(&unlock, &vendor, serial, machine_id, self.key.id(), nonce);
        let order = Order::Activate {
            serial: serial.clone(),
            proof,
            machine: self.facts.clone(),
            replace: replace.map(str::to_owned),
        };
        self.request(order, receipts, nonce)
    }

    pub(crate) fn receipt(&self, certificate: &ActivationCertificate) -> String {
        let receipt = Receipt {
            aud: certificate.iss.clone(),
            jti: ReceiptId::random(&SystemRandom::new()).unwrap(),
            iat: Timestamp(NOW),
            activation: certificate.jti,
            rev: certificate.rev,
            serial: certificate.serial.clone(),
            machine_id: self.facts.machine_id,
        };
        sign(&receipt, &self.key, KeyInHeader::Carried)
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One HTTP/1.1 exchange on a connection of its own.
pub(crate) async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    head.push_str("content-type: application/json\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(answer[..split].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[split + 4..].to_vec() }
}
