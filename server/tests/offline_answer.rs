//! `claviger-server offline answer`: the real program on the data folder of a server that runs meanwhile.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use claviger_protocol::documents::*;
use claviger_protocol::keys::Sha256;
use claviger_protocol::offline::armour::{write_collection, write_file};
use claviger_protocol::offline::{self, BlockKind, FileKind};
use serde_json::Value;
use support::*;

/// Runs the program away from the test's own runtime.
async fn run(server: &TestServer, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claviger-server"));
    command.args(["offline", "answer"]).args(args).arg("--data").arg(server.data.path());
    command.current_dir(server.folder.path()).env("CLAVIGER_LOG", "off");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn write(server: &TestServer, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = server.folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn lines(done: &Output) -> Vec<Value> {
    let text = String::from_utf8(done.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn request_file(request: &str) -> String {
    write_file(FileKind::Request, &[], request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_becomes_a_response_and_its_receipt_frees_the_seat() {
    let server = TestServer::new().await;
    let license = server.license(1).await;
    let machine = Machine::new("studio");
    let request = machine.activate(&license, None, vec![], nonce());
    write(&server, "studio.clvreq", request_file(&request));
    let done = run(&server, &["studio.clvreq", "-o", "studio.clvres"]).await;
    assert!(done.status.success(), "{done:?}");
    let out = server.folder.path().join("studio.clvres");
    let contents = offline::read(&read(&out)).unwrap();
    let hash = Sha256::of(request.as_bytes());
    let answer = Answer::verify(&contents.blocks[0].text, &server.keyset, &hash, machine.key.id()).unwrap();
    let Outcome::Activated { certificate } = answer.outcome else { panic!("{answer:?}") };
    let certificate = ActivationCertificate::verify(&certificate, &server.keyset).unwrap();
    assert_eq!(server.seats_used(&license.0).await, 1);

    // Nothing is overwritten unasked; asked, the same request gets the same answer.
    let refused = run(&server, &["studio.clvreq", "-o", "studio.clvres"]).await;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let before = read(&out);
    let again = run(&server, &["studio.clvreq", "-o", "studio.clvres", "--force"]).await;
    assert!(again.status.success(), "{again:?}");
    assert_eq!(read(&out), before);
    let piped = run(&server, &["studio.clvreq", "-o", "-"]).await;
    assert_eq!(piped.stdout, before);

    let order = Order::Deactivate { machine_id: machine.facts.machine_id };
    let receipt = machine.request(order, vec![machine.receipt(&certificate)], nonce());
    write(&server, "r.clvreceipt", write_file(FileKind::Receipt, &[], &receipt));
    for round in ["1", "2"] {
        let done = run(&server, &["r.clvreceipt", "-o", &format!("r{round}.clvres"), "--json"]).await;
        assert!(done.status.success(), "{done:?}");
        assert_eq!(lines(&done)[0]["result"], "given_up");
        assert_eq!(server.seats_used(&license.0).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lab_gets_one_bundle_and_a_word_about_each_that_is_left_out() {
    let server = TestServer::new().await;
    let license = server.license(400).await;
    let machines: Vec<Machine> = (0..300).map(|n| Machine::new(&format!("lab-{n:03}"))).collect();
    let requests: Vec<String> =
        machines.iter().map(|m| m.activate(&license, None, vec![], nonce())).collect();
    let blocks = requests.iter().map(|r| (BlockKind::Request, r.as_str()));
    let mut batch = write_collection(FileKind::Batch, &[], blocks);
    // One is damaged on the way, and one is for another vendor's license.
    let at = batch.find(&requests[7][512..570]).unwrap();
    batch.replace_range(at..=at, if &batch[at..=at] == "A" { "B" } else { "A" });
    let stranger = Machine::new("stranger");
    let unknown = (claviger_protocol::serial::Serial::foreign("NOSUCHSERIAL").unwrap(), license.1.clone());
    write(&server, "lab.clvbatch", &batch);
    write(&server, "stranger.clvreq", request_file(&stranger.activate(&unknown, None, vec![], nonce())));
    write(&server, "photo.jpg", [0xff, 0xd8, 0, 0, 1]);

    let files = ["lab.clvbatch", "stranger.clvreq", "photo.jpg", "-o", "lab.clvbundle", "--json"];
    let done = run(&server, &files).await;
    assert_eq!(done.status.code(), Some(5), "{}", String::from_utf8_lossy(&done.stderr));
    let told = lines(&done);
    let summary = &told[told.len() - 2];
    assert_eq!(told.last().unwrap()["error"]["code"], "bad_input");
    assert_eq!(
        (&summary["answered"], &summary["refused"], &summary["damaged"]),
        (&299.into(), &1.into(), &2.into())
    );
    let codes: Vec<&str> = told.iter().filter_map(|row| row["code"].as_str()).collect();
    assert_eq!(codes, ["block_damaged", "proof_refused", "file_not_text"]);
    let contents = offline::read(&read(&server.folder.path().join("lab.clvbundle"))).unwrap();
    assert_eq!(contents.of(BlockKind::Response).count(), 299);
    assert_eq!(contents.of(BlockKind::Refusal).count(), 1);
    assert_eq!(server.seats_used(&license.0).await, 299);
    let text = String::from_utf8(run(&server, &files[..5]).await.stderr).unwrap();
    assert!(text.contains("exists already"), "{text}");

    // The first ones in the file get the seats.
    let few = server.license(2).await;
    let requests: Vec<String> =
        machines.iter().take(5).map(|m| m.activate(&few, None, vec![], nonce())).collect();
    let blocks = requests.iter().map(|r| (BlockKind::Request, r.as_str()));
    write(&server, "few.clvbatch", write_collection(FileKind::Batch, &[], blocks));
    let done = run(&server, &["few.clvbatch", "-o", "few.clvbundle", "--json"]).await;
    assert_eq!(done.status.code(), Some(4));
    let results: Vec<String> =
        lines(&done).iter().filter_map(|row| Some(row["result"].as_str()?.to_owned())).collect();
    assert_eq!(results, ["activated", "activated", "refused", "refused", "refused"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_no_answer_leaves_no_file() {
    let server = TestServer::new().await;
    write(&server, "note.txt", "hello");
    let cases: [(&[&str], i32, &str); 4] = [
        (&["note.txt", "-o", "x"], 5, "There is no request in it"),
        (&["missing.clvreq", "-o", "x"], 7, "missing.clvreq"),
        (&["note.txt"], 2, "--out"),
        (&["note.txt", "-o", "-", "--json"], 2, "standard output is taken"),
    ];
    for (args, code, words) in cases {
        let done = run(&server, args).await;
        let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert_eq!(done.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
        assert!(!server.folder.path().join("x").exists());
    }
}

/// `claviger-server keys …`, with the root key and its passphrase.
async fn keys(server: &TestServer, args: &[&str]) -> Output {
    std::fs::write(server.folder.path().join("passphrase"), "correct horse\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_claviger-server"));
    command.arg("keys").args(args).current_dir(server.folder.path()).env("CLAVIGER_LOG", "off");
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_stolen_key_an_offline_answer_brings_keyset_and_new_certificates() {
    let server = TestServer::new().await;
    let (first, second, third) = (server.license(1).await, server.license(1).await, server.license(1).await);
    let machine = Machine::new("studio");
    let stolen = server.keyset.keys[0].x.id();
    let held = server.activate(&machine, &first).await.unwrap();

    let data = server.data.path().to_str().unwrap();
    let root = ["--root-key", "roots/root-active.clvroot", "--passphrase-file", "passphrase"];
    keys(&server, &["request", "--data", data, "--out", "two.clvrequest"]).await;
    keys(&server, &[&["sign", "two.clvrequest", "--out", "two.jws", "--json"][..], &root].concat()).await;
    keys(&server, &["install", "two.jws", "--data", data]).await;
    keys(&server, &[&["compromise", stolen.as_str(), "--data", data, "--json"][..], &root].concat()).await;

    let ask = async |machine: &Machine, license, name: &str| {
        let request = machine.activate(license, None, vec![], nonce());
        write(&server, name, request_file(&request));
        let done = run(&server, &[name, "-o", &format!("{name}.out")]).await;
        assert!(done.status.success(), "{done:?}");
        let contents = offline::read(&read(&server.folder.path().join(format!("{name}.out")))).unwrap();
        let text = contents.blocks[0].text.clone();
        let keyset = Answer::peek_keyset(&text).unwrap().expect("the keyset comes along");
        let keyset = Keyset::verify(&keyset, &server.profile.anchor(1)).unwrap();
        let hash = Sha256::of(request.as_bytes());
        (Answer::verify(&text, &keyset, &hash, machine.key.id()).unwrap(), keyset)
    };
    let (answer, keyset) = ask(&machine, &second, "second").await;
    assert_eq!(keyset.find(&stolen).unwrap().status, KeyStatus::Compromised);
    assert_eq!(answer.reissued.len(), 1);
    let anew = ActivationCertificate::verify(&answer.reissued[0], &keyset).unwrap();
    assert_eq!((anew.jti, anew.rev, &anew.serial), (held.jti, held.rev + 1, &first.0));

    // Who only says that it is the same machine gets its own certificate and nobody else's.
    let (answer, _) = ask(&machine.with_new_key(), &third, "third").await;
    assert_eq!(answer.reissued, [""; 0]);
}
