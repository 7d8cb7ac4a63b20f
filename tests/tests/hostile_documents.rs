//! Documents that somebody made up: in the folder where plug-ins look, and in the answers of a server. Each is refused
//! for its own reason, and nothing becomes licensed.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use claviger_protocol::documents::{ActivationCertificate, Answer, KeyInHeader, Outcome, sign};
use claviger_protocol::ids::MachineId;
use claviger_protocol::keys::SigningKey;
use claviger_tests::Machine;
use claviger_tests::vendor::{Asked, Vendor, body};
use claviger_tests::world::License;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tempfile::TempDir;

const SYNTH: &str = "com.forge.synth";

type Answering = Arc<Mutex<Box<dyn Fn(&Vendor, &Asked) -> String + Send>>>;

/// A vendor whose server answers whatever a test wants, and a machine that asks it.
struct Scene {
    folder: TempDir,
    vendor: Arc<Vendor>,
    answering: Answering,
    machine: Machine,
}

fn scene() -> Scene {
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let vendor = Arc::new(Vendor::new("com.forge", "FRG"));
    let answering: Answering = Arc::new(Mutex::new(Box::new(honest)));
    let (of_server, answers) = (vendor.clone(), answering.clone());
    let address = claviger_tests::http::serve(move |seen| match of_server.read(&seen.body) {
        Some(asked) => (200, answers.lock().unwrap()(&of_server, &asked)),
        None => (404, "{}".to_owned()),
    });
    let profile = folder.path().join("p.clvprofile");
    std::fs::write(&profile, vendor.profile(&format!("http://{address}"))).unwrap();
    let mut machine = Machine::this(&folder.path().join("m"));
    machine.start_daemon();
    machine.add_vendor(&profile);
    Scene { folder, vendor, answering, machine }
}

fn honest(vendor: &Vendor, asked: &Asked) -> String {
    let certificate = sign(&vendor.certificate(asked, SYNTH), &vendor.issuing, KeyInHeader::Named);
    body(&sign(&vendor.answer(asked, certificate), &vendor.issuing, KeyInHeader::Named))
}

/// A compact document with any header, over any content, signed by any key.
fn forge(header: &Value, content: &str, key: &SigningKey) -> String {
    let head = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
    let text = format!("{head}.{}", BASE64URL_NOPAD.encode(content.as_bytes()));
    format!("{text}.{}", BASE64URL_NOPAD.encode(&key.sign(text.as_bytes())))
}

fn header(alg: &str, typ: &str, key: &SigningKey) -> Value {
    json!({ "alg": alg, "typ": typ, "kid": key.id() })
}

const CERTIFICATE: &str = "claviger-activation+jws";

/// Bad certificates by name, each from a good one.
fn bad_certificates(vendor: &Vendor, good: &ActivationCertificate) -> Vec<(&'static str, String)> {
    let content = serde_json::to_string(good).unwrap();
    let issuing = &vendor.issuing;
    let stranger = Vendor::new("com.stranger", "STR");
    let honest = sign(good, issuing, KeyInHeader::Named);
    let claim = |change: &dyn Fn(&mut ActivationCertificate)| {
        let mut other = good.clone();
        change(&mut other);
        sign(&other, issuing, KeyInHeader::Named)
    };
    let doubled = content.replacen('{', &format!("{{\"rev\":{},", good.rev), 1);
    let mut crit = header("EdDSA", CERTIFICATE, issuing);
    crit["crit"] = json!(["exp"]);
    vec![
        ("alg none", forge(&header("none", CERTIFICATE, issuing), &content, issuing)),
        ("alg HS256", forge(&header("HS256", CERTIFICATE, issuing), &content, issuing)),
        ("alg RS256", forge(&header("RS256", CERTIFICATE, issuing), &content, issuing)),
        ("wrong typ", forge(&header("EdDSA", "claviger-receipt+jws", issuing), &content, issuing)),
        ("no typ", forge(&json!({ "alg": "EdDSA", "kid": issuing.id() }), &content, issuing)),
        ("no kid", forge(&json!({ "alg": "EdDSA", "typ": CERTIFICATE }), &content, issuing)),
        ("unknown crit", forge(&crit, &content, issuing)),
        ("unknown kid", sign(good, &stranger.issuing, KeyInHeader::Named)),
        (
            "another key under a known kid",
            forge(&header("EdDSA", CERTIFICATE, issuing), &content, &stranger.issuing),
        ),
        ("compromised key", sign(good, &vendor.compromised, KeyInHeader::Named)),
        ("retired key, dated later", sign(good, &vendor.retired, KeyInHeader::Named)),
        ("another vendor", claim(&|c| c.iss = "com.stranger".parse().unwrap())),
        ("another machine", claim(&|c| c.machine = MachineId([7; 16]))),
        (
            "perpetual that expires",
            claim(&|c| c.exp = Some(claviger_protocol::clock::Timestamp(4_000_000_000))),
        ),
        ("a claim twice", forge(&header("EdDSA", CERTIFICATE, issuing), &doubled, issuing)),
        ("no JSON", forge(&header("EdDSA", CERTIFICATE, issuing), "{", issuing)),
        ("bytes behind it", format!("{honest}x")),
        ("two parts", honest.rsplit_once('.').unwrap().0.to_owned()),
        ("too large", format!("{honest}{}", "A".repeat(100_000))),
        ("nothing", String::new()),
    ]
}

fn certificate_file(scene: &Scene) -> PathBuf {
    let folder = scene.machine.certificates().join("com.forge/products").join(SYNTH);
    let entry = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "cert"));
    entry.unwrap()
}

#[test]
fn forged_files_license_nothing_and_each_says_why() {
    let mut scene = scene();
    let _said = scene.machine.activate(&scene.vendor.license()).ok();
    assert!(scene.machine.is_licensed(SYNTH));
    scene.machine.stop_daemon();
    let file = certificate_file(&scene);
    let honest = std::fs::read_to_string(&file).unwrap();
    let good: ActivationCertificate =
        serde_json::from_value(claviger_tests::device::payload(&honest)).unwrap();
    let profile = scene.folder.path().join("p.clvprofile");
    let check = || {
        let args = ["--json", "check", SYNTH, "--profile", profile.to_str().unwrap()];
        let done = scene.machine.claviger(&args);
        let answer = done.json();
        assert_eq!(answer["licensed"] == true, done.code == Some(0));
        (answer["licensed"] == true, answer["reason"].as_str().unwrap_or_default().to_owned())
    };
    let mut reasons = BTreeMap::new();
    for (name, text) in bad_certificates(&scene.vendor, &good) {
        std::fs::write(&file, text).unwrap();
        let (licensed, reason) = check();
        assert!(!licensed, "{name} was believed");
        reasons.insert(name, reason);
    }
    // In the folder of a product that it does not open.
    let other = scene.machine.certificates().join("com.forge/products/com.forge.other");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(&file, &honest).unwrap();
    std::fs::copy(&file, other.join(file.file_name().unwrap())).unwrap();
    let args = ["--json", "check", "com.forge.other", "--profile", profile.to_str().unwrap()];
    assert_eq!(scene.machine.claviger(&args).json()["licensed"], false);
    assert_eq!(check(), (true, "licensed".to_owned()), "the good one is good again");
    let distinct = [
        "alg none",
        "wrong typ",
        "no kid",
        "unknown crit",
        "unknown kid",
        "another key under a known kid",
        "compromised key",
        "retired key, dated later",
        "another vendor",
        "another machine",
        "perpetual that expires",
        "a claim twice",
        "no JSON",
        "two parts",
        "too large",
    ];
    let seen: std::collections::BTreeSet<&String> = distinct.iter().map(|name| &reasons[name]).collect();
    assert_eq!(seen.len(), distinct.len(), "one reason each: {reasons:#?}");
}

/// Tries to activate against an answer; gives the code of the refusal.
fn refusal(scene: &Scene, answer: impl Fn(&Vendor, &Asked) -> String + Send + 'static) -> String {
    *scene.answering.lock().unwrap() = Box::new(answer);
    let license: License = scene.vendor.license();
    let input = format!("{}\n", license.unlock_code);
    let args = ["--json", "activate", &license.serial, "--unlock-code-stdin"];
    let done = scene.machine.claviger_with(&args, &input).refused();
    assert!(!scene.machine.is_licensed(SYNTH), "{done}");
    done.error_code()
}

/// An honest answer, changed.
fn changed(
    change: impl Fn(&mut Answer, &Vendor, &Asked) + Send + 'static,
) -> impl Fn(&Vendor, &Asked) -> String + Send {
    move |vendor: &Vendor, asked: &Asked| {
        let certificate = sign(&vendor.certificate(asked, SYNTH), &vendor.issuing, KeyInHeader::Named);
        let mut answer = vendor.answer(asked, certificate);
        change(&mut answer, vendor, asked);
        body(&sign(&answer, &vendor.issuing, KeyInHeader::Named))
    }
}

fn with_certificate(
    change: impl Fn(&mut ActivationCertificate) + Send + 'static,
) -> impl Fn(&Vendor, &Asked) -> String + Send {
    changed(move |answer, vendor, asked| {
        let mut certificate = vendor.certificate(asked, SYNTH);
        change(&mut certificate);
        answer.outcome =
            Outcome::Activated { certificate: sign(&certificate, &vendor.issuing, KeyInHeader::Named) };
    })
}

fn signed_by(
    key: impl Fn(&Vendor) -> &SigningKey + Send + 'static,
) -> impl Fn(&Vendor, &Asked) -> String + Send {
    move |vendor: &Vendor, asked: &Asked| {
        let certificate = sign(&vendor.certificate(asked, SYNTH), &vendor.issuing, KeyInHeader::Named);
        body(&sign(&vendor.answer(asked, certificate), key(vendor), KeyInHeader::Named))
    }
}

#[test]
fn a_lying_server_licenses_nothing() {
    let mut scene = scene();
    let mut codes = BTreeMap::new();
    let stranger = Vendor::new("com.stranger", "STR");
    let unknown = SigningKey::from_seed(stranger.issuing.seed());
    let mut note = |name: &'static str, code: String| codes.insert(name, code);
    note(
        "another request",
        refusal(&scene, changed(|a, _, _| a.req = claviger_protocol::keys::Sha256::of(b"other"))),
    );
    note("another device", refusal(&scene, changed(|a, v, _| a.cnf.jkt = v.root.id().clone())));
    note("another vendor", refusal(&scene, changed(|a, _, _| a.iss = "com.stranger".parse().unwrap())));
    note("retired key", refusal(&scene, signed_by(|v| &v.retired)));
    note("compromised key", refusal(&scene, signed_by(|v| &v.compromised)));
    note("root key", refusal(&scene, signed_by(|v| &v.root)));
    note("no answer", refusal(&scene, |_, _| "{}".to_owned()));
    note("no JSON", refusal(&scene, |_, _| "<html>".to_owned()));
    note("a lower keyset", refusal(&scene, changed(|a, v, _| a.keyset = Some(v.keyset(1)))));
    note("a forged keyset", {
        let forged = Vendor::new("com.forge", "FRG").keyset(9);
        refusal(&scene, changed(move |a, _, _| a.keyset = Some(forged.clone())))
    });
    note("a stranger's certificate", {
        refusal(
            &scene,
            changed(move |a, v, asked| {
                let text = sign(&v.certificate(asked, SYNTH), &unknown, KeyInHeader::Named);
                a.outcome = Outcome::Activated { certificate: text };
            }),
        )
    });
    note(
        "a certificate for another machine",
        refusal(&scene, with_certificate(|c| c.machine = MachineId([9; 16]))),
    );
    note("a certificate for another serial", {
        let other = scene.vendor.license().serial;
        refusal(&scene, with_certificate(move |c| c.serial = other.clone().try_into().unwrap()))
    });
    note(
        "a certificate for another vendor",
        refusal(&scene, with_certificate(|c| c.iss = "com.stranger".parse().unwrap())),
    );
    note("an answer to something else", refusal(&scene, changed(|a, _, _| a.outcome = Outcome::Deactivated)));
    assert!(codes.values().all(|code| !code.is_empty() && code != "internal"), "{codes:#?}");
    assert!(scene.machine.daemon().is_running());

    *scene.answering.lock().unwrap() = Box::new(honest);
    let _said = scene.machine.activate(&scene.vendor.license()).ok();
    assert!(scene.machine.is_licensed(SYNTH));
}
