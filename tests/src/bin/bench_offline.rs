//! The offline rows of the bench table: `claviger-server offline answer` on a batch of ten thousand requests, with the
//! release server's own database. The floor is what the signatures alone cost on one core, measured in the same run.
#![expect(clippy::unwrap_used, reason = "a bench program: a panic is how it reports")]

use std::time::{Duration, Instant};

use claviger_protocol::keys::SigningKey;
use claviger_protocol::offline::armour::write_collection;
use claviger_protocol::offline::{self, BlockKind, FileKind};
use claviger_tests::bench::Row;
use claviger_tests::device::Device;
use claviger_tests::process::run_within;
use claviger_tests::{License, World};

/// Requests of one batch.
const REQUESTS: u32 = 10_000;
/// How long they may take, in seconds.
const GOAL: f64 = 10.0;

fn main() {
    let world = World::without_server();
    let floor = signatures();
    let one = world.issue_with(&["--seats", &REQUESTS.to_string()]);
    let licenses: Vec<License> = (0..REQUESTS).map(|_| one.clone()).collect();
    answer(&world, "offline batch of 10,000, one license", &licenses, floor);
    let licenses = world.issue_batch(REQUESTS, 1);
    answer(&world, "offline batch of 10,000, a license each", &licenses, floor);
}

/// Seconds of what the server verifies and signs for all requests: request and proof, certificate and answer.
fn signatures() -> f64 {
    const SAMPLES: u32 = 500;
    let key = SigningKey::from_seed(&[7; 32]);
    let message = vec![b'x'; 1100];
    let begun = Instant::now();
    for _ in 0..SAMPLES {
        let signature = key.sign(&message);
        std::hint::black_box(key.sign(&signature));
        key.public().verify(&message, &signature).unwrap();
        key.public().verify(&message, &signature).unwrap();
    }
    begun.elapsed().as_secs_f64() * f64::from(REQUESTS) / f64::from(SAMPLES)
}

fn answer(world: &World, what: &str, licenses: &[License], floor: f64) {
    let requests: Vec<String> = licenses
        .iter()
        .enumerate()
        .map(|(n, license)| Device::new(&world.vendor, &format!("bench-{n}")).activate(license))
        .collect();
    let blocks = requests.iter().map(|request| (BlockKind::Request, request.as_str()));
    std::fs::write(world.path("lab.clvbatch"), write_collection(FileKind::Batch, &[], blocks)).unwrap();
    let mut command = std::process::Command::new(claviger_tests::programs::path("claviger-server"));
    command.args(["offline", "answer", "lab.clvbatch", "-o", "lab.clvbundle", "--force", "--data"]);
    command.arg(world.data()).current_dir(world.path("")).env("CLAVIGER_LOG", "warn");
    let done = run_within(&mut command, "", Duration::from_secs(300)).ok();
    let bundle = offline::read(&std::fs::read(world.path("lab.clvbundle")).unwrap()).unwrap();
    assert_eq!(bundle.of(BlockKind::Response).count(), licenses.len());
    let figure = done.took.as_secs_f64();
    Row {
        what,
        figure,
        unit: "s",
        floor,
        floor_what: "their signatures, one core",
        goal: "under 10 s",
        met: figure < GOAL,
        baseline: "",
    }
    .print();
}
