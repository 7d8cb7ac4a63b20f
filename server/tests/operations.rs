//! What a vendor's administrator does, with the real program: init, keys, TLS, metrics, backup and restore.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use claviger_protocol::documents::{Keyset, VendorProfile};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_claviger-server");

/// A folder of one vendor.
struct Vendor {
    dir: tempfile::TempDir,
}

impl Vendor {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("passphrase"), "correct horse battery staple\n").unwrap();
        Self { dir }
    }

    fn ready() -> Self {
        let vendor = Self::new();
        let done = vendor.init(&[]);
        assert!(done.status.success(), "{done:?}");
        vendor
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("CLAVIGER_FAULT");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        assert!(done.status.success(), "{args:?}: {done:?}");
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn refused(&self, args: &[&str], code: i32, words: &str) {
        let done = self.run(args);
        let text = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }

    fn init_args<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["init", "--data", "data", "--vendor", "com.example", "--name", "Example Audio"];
        args.extend(["--prefix", "EXA", "--server-url", "https://licenses.example.com"]);
        if !more.contains(&"--passphrase-file") {
            args.extend(["--passphrase-file", "passphrase"]);
        }
        args.extend(more);
        args
    }

    fn init(&self, more: &[&str]) -> Output {
        self.run(&self.init_args(more))
    }

    fn serve(&self, args: &[&str]) -> Server {
        let base = ["serve", "--data", "data", "--listen", "127.0.0.1:0", "--json"];
        let mut child = self
            .command(&[&base, args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let said = serde_json::from_str(&line).unwrap_or(Value::Null);
        Server { child, log, said }
    }
}

struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    said: Value,
}

impl Server {
    fn address(&self, which: &str) -> String {
        self.said[which].as_str().unwrap_or_else(|| panic!("{}", self.said)).to_owned()
    }

    fn get(&self, which: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address(which)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn keyset(&self) -> String {
        let answer = self.get("listening", "/v1/keyset");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        body["keyset"].as_str().unwrap().to_owned()
    }

    fn wait_for_log(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the server ended without “{words}”");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_a_private_server_and_overwrites_nothing() {
    let vendor = Vendor::ready();
    for private in ["data", "data/keys", "data-root-keys"] {
        assert_eq!(mode(&vendor.path(private)), 0o700, "{private}");
    }
    for secret in
        ["data-root-keys/root-active.clvroot", "data-root-keys/root-spare.clvroot", "data/claviger.db"]
    {
        assert_eq!(mode(&vendor.path(secret)), 0o600, "{secret}");
    }
    let profile = std::fs::read_to_string(vendor.path("data/vendor.clvprofile")).unwrap();
    let (profile, keyset) = VendorProfile::verify(&profile).unwrap();
    assert_eq!((profile.name.as_str(), keyset.number), ("Example Audio", 1));

    let again = vendor.init(&[]);
    assert_eq!(again.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&again.stderr).contains("holds the server of Example Audio"));

    let other = Vendor::new();
    std::fs::create_dir(other.path("data")).unwrap();
    std::fs::write(other.path("data/holiday.jpg"), "x").unwrap();
    let refused = other.init(&[]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holiday.jpg"));
    std::fs::remove_file(other.path("data/holiday.jpg")).unwrap();
    std::fs::write(other.path("empty"), "\n").unwrap();
    assert_eq!(other.init(&["--passphrase-file", "empty"]).status.code(), Some(6));
    assert_eq!(other.init(&["--root-key-dir", "data/roots"]).status.code(), Some(2));
    assert!(!other.path("data/vendor.clvprofile").exists());
    assert!(other.init(&[]).status.success());
}

#[test]
fn serve_refuses_a_root_key_inside_its_folder() {
    let vendor = Vendor::ready();
    std::fs::copy(vendor.path("data-root-keys/root-spare.clvroot"), vendor.path("data/keys/spare.bak"))
        .unwrap();
    vendor.refused(&["serve", "--data", "data", "--listen", "127.0.0.1:0"], 6, "inside the data folder");
    vendor.refused(&["serve", "--data", "nowhere", "--listen", "127.0.0.1:0"], 3, "claviger-server init");
}

#[test]
fn one_process_serves_a_data_folder() {
    let vendor = Vendor::ready();
    let mut server = vendor.serve(&[]);
    let again = ["serve", "--data", "data", "--listen", "127.0.0.1:0"];
    vendor.refused(&again, 4, &format!("(process {}) serves", server.child.id()));
    let done = vendor.run(&[&["--json"], &again[..]].concat());
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["error"]["code"], "conflict", "{said}");
    assert!(said["error"]["advice"].as_str().unwrap().contains("--data"), "{said}");
    assert!(server.get("listening", "/v1/health").contains("\"ok\""), "the first one goes on");
    // Other commands work beside it, and a killed one leaves nothing in the way.
    vendor.json(&["keys", "list", "--data", "data"]);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(vendor.serve(&[]).get("listening", "/v1/health").contains("\"ok\""));
}

#[test]
fn the_data_folder_may_be_named_first_and_errors_have_one_shape() {
    let vendor = Vendor::ready();
    vendor.json(&["--data", "data", "product", "add", "com.example.synth", "--name", "Synth"]);
    let error = |args: &[&str], code: i32| {
        let done = vendor.run(&[&["--json"], args].concat());
        assert_eq!(done.status.code(), Some(code), "{done:?}");
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        (said["error"]["code"].as_str().unwrap().to_owned(), said["error"]["message"].to_string())
    };
    assert_eq!(error(&["product", "list"], 2).0, "usage");
    assert_eq!(error(&["--data", "data", "product", "lst"], 2).0, "usage");
    assert_eq!(error(&["--data", "data", "license", "show", "SHOP-0001"], 3).0, "not_found");
    let (code, message) = error(&["--data", "data", "product", "add", "org.else.synth", "--name", "S"], 2);
    assert!(code == "usage" && message.contains("com.example.synth"), "{message}");
}

#[test]
fn orders_are_repeated_into_a_file_without_codes() {
    let vendor = Vendor::ready();
    vendor.json(&["--data", "data", "product", "add", "com.example.synth", "--name", "Synth"]);
    let issue = |csv: &str| {
        let args =
            ["license", "issue", "--product", "synth", "--count", "3", "--order-id", "A-1", "--csv", csv];
        vendor.json(&[&["--data", "data"], &args[..]].concat())
    };
    let read = |csv: &str| {
        let text = std::fs::read_to_string(vendor.path(csv)).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split_once(',').unwrap());
        rows.map(|(serial, code)| (serial.to_owned(), code.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(issue("one.csv")["issued"], 3);
    let again = issue("two.csv");
    assert_eq!((&again["issued"], &again["issued_before"]), (&0.into(), &3.into()));
    let (one, two) = (read("one.csv"), read("two.csv"));
    assert_eq!(one.len(), 3);
    for (first, second) in one.iter().zip(&two) {
        assert_eq!(first.0, second.0);
        assert!(!first.1.is_empty() && second.1.is_empty());
    }
    let left = std::fs::read_dir(vendor.dir.path()).unwrap().flatten();
    assert!(
        left.map(|e| e.file_name()).all(|n| !n.to_string_lossy().ends_with(".new")),
        "no codes lie about"
    );
}

#[test]
fn an_import_names_every_bad_row_and_takes_none() {
    let vendor = Vendor::ready();
    vendor.json(&["--data", "data", "product", "add", "com.example.synth", "--name", "Synth"]);
    let import = ["--data", "data", "license", "import", "shop.csv", "--product", "synth"];
    let rows = "SERIAL;Unlock_Code\r\nSHOP-0001;\r\n";
    std::fs::write(vendor.path("shop.csv"), rows).unwrap();
    vendor.refused(&import, 5, "commas between");
    let rows = "SERIAL,Unlock_Code\r\nSHOP-0001,\r\nSHOP-0002\r\n\r\nx,\r\nSHOP-0003,a,b\r\n";
    std::fs::write(vendor.path("shop.csv"), rows).unwrap();
    for words in ["line 3: it has 1 column", "line 5: ", "line 6: it has 3 columns", "3 of 4 rows are wrong"]
    {
        vendor.refused(&import, 5, words);
    }
    assert_eq!(vendor.run(&["--data", "data", "license", "list"]).stdout, b"");
    std::fs::write(vendor.path("shop.csv"), "SERIAL,Unlock_Code\r\nSHOP-0001,\r\n").unwrap();
    assert_eq!(vendor.json(&import)["imported"], 1);
    let none = ["--data", "data", "activation", "release", "SHOP-0001", "--machine", "nope"];
    vendor.refused(&none, 3, "no machine holds a seat of");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let vendor = Vendor::new();
    let script = vendor.run(&["completions", "bash"]).stdout;
    assert!(String::from_utf8_lossy(&script).contains("vendor-profile"));
    let page = vendor.run(&["man"]).stdout;
    assert!(page.starts_with(b".ie") && page.windows(6).any(|w| w == b"backup"), "{page:?}");
    let pages = vendor.json(&["man", "pages"]);
    let names: Vec<&str> = pages["pages"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    for name in ["claviger-server.1", "claviger-server-license-issue.1", "claviger-server-serve.1"] {
        assert!(names.contains(&name) && vendor.path("pages").join(name).exists(), "{name}: {names:?}");
    }
}

#[test]
fn keys_rotate_retire_and_are_revoked_while_the_server_runs() {
    let vendor = Vendor::ready();
    let server = vendor.serve(&[]);
    let anchor = {
        let text = std::fs::read_to_string(vendor.path("data/vendor.clvprofile")).unwrap();
        VendorProfile::verify(&text).unwrap().0.anchor(0)
    };
    let number = |server: &Server| Keyset::verify(&server.keyset(), &anchor).unwrap().number;
    assert_eq!(number(&server), 1);
    let first =
        vendor.json(&["keys", "list", "--data", "data"])["keys"][0]["kid"].as_str().unwrap().to_owned();
    vendor.refused(&["keys", "retire", &first, "--data", "data"], 4, "only key that signs");

    let request = vendor.json(&["keys", "request", "--data", "data", "--out", "two.clvrequest"]);
    assert_eq!(request["keyset"], 2);
    // The machine with the root key has no data folder.
    let root = ["--root-key", "data-root-keys/root-active.clvroot", "--passphrase-file", "passphrase"];
    std::fs::write(vendor.path("wrong"), "wrong\n").unwrap();
    let wrong = ["--root-key", "data-root-keys/root-active.clvroot", "--passphrase-file", "wrong"];
    vendor.refused(
        &[&["keys", "sign", "two.clvrequest", "--out", "two.jws"][..], &wrong].concat(),
        6,
        "passphrase",
    );
    vendor.json(&[&["keys", "sign", "two.clvrequest", "--out", "two.jws"][..], &root].concat());
    vendor.refused(
        &[&["keys", "sign", "two.clvrequest", "--out", "two.jws"][..], &root].concat(),
        4,
        "exists",
    );
    let installed = vendor.json(&["keys", "install", "two.jws", "--data", "data"]);
    assert_eq!(number(&server), 2, "the running server follows");
    assert_ne!(installed["signing"].as_str(), Some(first.as_str()));

    vendor.json(&[&["keys", "retire", &first, "--data", "data"][..], &root].concat());
    assert_eq!(number(&server), 3);
    vendor.refused(&["keys", "install", "two.jws", "--data", "data"], 4, "never go back");
    vendor.json(&[&["keys", "compromise", &first[..8], "--data", "data"][..], &root].concat());
    let keys = vendor.json(&["keys", "list", "--data", "data"]);
    let status = |kid: &str| {
        let all = keys["keys"].as_array().unwrap();
        all.iter().find(|k| k["kid"] == kid).unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&first), "compromised");
    assert_eq!(number(&server), 4);

    let sunset = [&["keys", "sunset", "com.example.synth", "--out", "sunset.jws"][..], &root].concat();
    vendor.json(&sunset);
    vendor.json(&["keys", "install", "sunset.jws", "--data", "data"]);
    assert!(server.get("listening", "/v1/keyset").contains("\"sunset\":"));
}

#[test]
fn metrics_have_an_address_of_their_own() {
    let vendor = Vendor::ready();
    let server = vendor.serve(&["--metrics-listen", "127.0.0.1:0"]);
    let text = server.get("metrics", "/metrics");
    assert!(
        text.contains("claviger_build_info{version=") && text.contains("claviger_commit_queue 0"),
        "{text}"
    );
    assert!(server.get("listening", "/metrics").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_running_server_is_backed_up_and_restored_in_a_new_epoch() {
    let vendor = Vendor::ready();
    vendor.json(&["product", "add", "com.example.synth", "--name", "Synth", "--data", "data"]);
    let server = vendor.serve(&[]);
    vendor.json(&["backup", "plain.clvbackup", "--data", "data"]);
    vendor.json(&["backup", "sealed.clvbackup", "--data", "data", "--passphrase-file", "passphrase"]);
    vendor.refused(&["backup", "plain.clvbackup", "--data", "data"], 4, "exists");
    assert!(server.get("listening", "/v1/health").contains("\"ok\""));
    drop(server);
    let first = vendor.json(&["restore", "plain.clvbackup", "--data", "one"])["epoch"].as_u64().unwrap();
    let sealed = ["restore", "sealed.clvbackup", "--data", "two", "--passphrase-file", "passphrase"];
    let second = vendor.json(&sealed)["epoch"].as_u64().unwrap();
    assert!(1 < first && first < second, "{first} {second}");
    vendor.refused(&["restore", "plain.clvbackup", "--data", "one"], 4, "not empty");
    vendor.refused(&["restore", "sealed.clvbackup", "--data", "three"], 2, "--passphrase-file");
    let mut bytes = std::fs::read(vendor.path("plain.clvbackup")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(vendor.path("bad.clvbackup"), bytes).unwrap();
    vendor.refused(&["restore", "bad.clvbackup", "--data", "three"], 5, "damaged");
    assert!(!vendor.path("three").exists());
    let products = vendor.json(&["product", "list", "--data", "two"]);
    assert!(products.to_string().contains("com.example.synth"), "{products}");
}

#[test]
fn admin_keys_are_shown_once() {
    let vendor = Vendor::ready();
    let made = vendor.json(&["admin-key", "add", "shop", "--scope", "issue", "--data", "data"]);
    let key = made["key"].as_str().unwrap().to_owned();
    let listed = vendor.json(&["admin-key", "list", "--data", "data"]).to_string();
    assert!(listed.contains("shop") && !listed.contains(&key));
    assert!(!std::fs::read_to_string(vendor.path("data/admin-keys.json")).unwrap().contains(&key[7..]));
    assert_eq!(mode(&vendor.path("data/admin-keys.json")), 0o600);
    vendor.json(&["admin-key", "remove", "shop", "--data", "data"]);
    vendor.refused(&["admin-key", "remove", "shop", "--data", "data"], 3, "shop");
}

fn certificate(vendor: &Vendor) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    std::fs::write(vendor.path("cert.pem"), cert.pem()).unwrap();
    std::fs::write(vendor.path("key.pem"), key.serialize_pem()).unwrap();
    cert.der().to_vec()
}

fn get_over_tls(address: &str, trusted: &[u8]) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.to_vec().into()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(address)?);
    stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(e) if answer.is_empty() => Err(e),
        _ => Ok(answer),
    }
}

#[test]
fn https_is_served_and_a_renewed_certificate_read_on_sighup() {
    let vendor = Vendor::ready();
    let first = certificate(&vendor);
    let mut server = vendor.serve(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    let address = server.address("listening");
    assert!(get_over_tls(&address, &first).unwrap().starts_with("HTTP/1.1 200"));
    let second = certificate(&vendor);
    assert!(get_over_tls(&address, &second).is_err(), "not yet");
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    server.wait_for_log("was read again");
    assert!(get_over_tls(&address, &second).unwrap().starts_with("HTTP/1.1 200"));
    // A client that speaks no TLS, or none at all, costs nobody else anything.
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _idle = TcpStream::connect(&address).unwrap();
    assert!(get_over_tls(&address, &second).is_ok());
    drop(server);

    let key = std::fs::read(vendor.path("key.pem")).unwrap();
    certificate(&vendor);
    std::fs::write(vendor.path("key.pem"), key).unwrap();
    let serve = ["serve", "--data", "data", "--listen", "127.0.0.1:0", "--tls-cert", "cert.pem", "--tls-key"];
    vendor.refused(&[&serve[..], &["key.pem"]].concat(), 7, "does not belong");
    vendor.refused(&[&serve[..], &["cert.pem"]].concat(), 7, "cert.pem");
}

/// A process stopped at each named point leaves something that the same command finishes.
#[cfg(feature = "fault-points")]
mod stopped {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn killed(vendor: &Vendor, args: &[&str], point: &str) {
        let done = vendor.command(args).env("CLAVIGER_FAULT", point).output().unwrap();
        assert_eq!(done.status.signal(), Some(9), "{point}: {done:?}");
    }

    #[test]
    fn init_goes_on_where_it_was_stopped() {
        for point in [
            "init-begun",
            "init-root-key-written",
            "init-root-key-written:2",
            "init-issuing-key-written",
            "init-keyset-written",
            "init-profile-written",
        ] {
            let vendor = Vendor::new();
            killed(&vendor, &vendor.init_args(&[]), point);
            vendor.refused(&["serve", "--data", "data", "--listen", "127.0.0.1:0"], 3, "");
            let other = vendor.init(&["--policy-url", "https://example.com/p"]);
            assert_eq!(other.status.code(), Some(4), "{point}: other settings are refused");
            let done = vendor.init(&[]);
            assert!(done.status.success(), "{point}: {done:?}");
            assert!(vendor.serve(&[]).get("listening", "/v1/health").contains("\"ok\""), "{point}");
            assert_eq!(vendor.init(&[]).status.code(), Some(4), "{point}: it is done now");
        }
    }

    #[test]
    fn restore_and_backup_can_be_repeated() {
        let vendor = Vendor::ready();
        let backup = ["backup", "one.clvbackup", "--data", "data"];
        killed(&vendor, &backup, "backup-before-publish");
        assert!(!vendor.path("one.clvbackup").exists());
        vendor.json(&backup);
        for point in ["before-restore-swap", "after-restore-swap"] {
            let restore = ["restore", "one.clvbackup", "--data", point];
            killed(&vendor, &restore, point);
            if point.starts_with("before") {
                vendor.refused(&["keys", "list", "--data", point], 3, "");
                vendor.json(&restore);
            }
            vendor.json(&["keys", "list", "--data", point]);
        }
    }

    #[test]
    fn an_interrupted_sweep_keeps_no_address_and_loses_no_line() {
        for point in ["security-log-before-swap", "security-log-after-swap"] {
            let vendor = Vendor::ready();
            let folder = vendor.path("data/security-log");
            std::fs::create_dir_all(&folder).unwrap();
            let line = "{\"at\":1600000000,\"what\":\"activate\",\"ip\":\"203.0.113.77\"}\n";
            std::fs::write(folder.join("2020-09-13.jsonl"), line).unwrap();
            vendor.json(&["retention", "set", "--keep-days", "3650", "--data", "data"]);
            killed(&vendor, &["retention", "run", "--data", "data"], point);
            vendor.json(&["retention", "run", "--data", "data"]);
            let mut whole = String::new();
            for entry in std::fs::read_dir(&folder).unwrap() {
                whole += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
            }
            assert!(whole.contains("203.0.113.0") && !whole.contains("203.0.113.77"), "{point}: {whole}");
        }
    }
}

/// Notices, releases and plans by the real program; the figures take weeks that no test waits for.
#[test]
fn usage_statistics_begin_with_a_notice_and_a_plan() {
    let vendor = Vendor::ready();
    let data = ["--data", "data"];
    let run = |args: &[&str]| vendor.json(&[args, &data].concat());
    let refused = |args: &[&str], code, words: &str| vendor.refused(&[args, &data].concat(), code, words);
    assert_eq!(run(&["notice", "list"]), serde_json::json!([]));
    refused(&["notice", "show"], 3, "no such notice");
    refused(&["telemetry", "report"], 3, "no usage statistics");

    run(&["notice", "template", "notice.json"]);
    refused(&["notice", "add", "notice.json"], 5, "[…]");
    let text = std::fs::read_to_string(vendor.path("notice.json")).unwrap();
    std::fs::write(vendor.path("notice.json"), text.replace("[…]", "1 Example Street")).unwrap();
    let first = run(&["notice", "add", "notice.json"]);
    assert_eq!(first["version"], 1);
    let shown = run(&["notice", "show"]);
    assert_eq!(shown["controller"]["name"], "Example Audio");
    let moved = text.replace("[…]", "Example").replace("\"recipients\": []", "\"recipients\": [\"Others\"]");
    std::fs::write(vendor.path("moved.json"), moved).unwrap();
    let today = first["effective"].as_str().unwrap();
    refused(&["notice", "add", "moved.json", "--effective", today], 4, "30 days");
    assert_eq!(run(&["notice", "add", "moved.json"])["version"], 2);
    refused(&["notice", "withdraw", "1"], 4, "in force");
    run(&["notice", "withdraw", "2"]);
    std::fs::write(vendor.path("wrong.json"), text.replace("\"id\"", "\"purpose\": \"adverts\", \"id\""))
        .unwrap();
    refused(&["notice", "add", "wrong.json"], 5, "not a notice");

    run(&["product", "add", "com.example.synth", "--name", "Synth"]);
    assert_eq!(run(&["telemetry", "release", "add", "synth", "1.0", "1.1"])["added"], 2);
    refused(&["telemetry", "release", "add", "synth", "other"], 4, "another name");
    refused(&["telemetry", "release", "add", "synth", "my song"], 2, "a version has");
    assert_eq!(
        run(&["telemetry", "release", "list"])["com.example.synth"],
        serde_json::json!(["1.0", "1.1"])
    );
    run(&["telemetry", "release", "remove", "synth", "1.0"]);
    refused(&["telemetry", "release", "remove", "synth", "1.0"], 3, "not on the list");

    let server = vendor.serve(&["--demo"]);
    let notice = server.get("listening", "/v1/telemetry/notice");
    assert!(notice.starts_with("HTTP/1.1 200") && notice.contains("cache-control: public"), "{notice}");
    let plan = server.get("listening", "/v1/telemetry/plan");
    assert!(plan.starts_with("HTTP/1.1 200") && plan.contains("{\"plans\":[\""), "{plan}");
    drop(server);
    let plans = run(&["telemetry", "plan"]);
    assert!(!plans.as_array().unwrap().is_empty() && plans[0]["titles"] == serde_json::json!([]), "{plans}");
    assert_eq!(run(&["telemetry", "report"])["cells"], serde_json::json!([]));
    let csv = vendor.run(&["telemetry", "report", "--csv", "--data", "data"]);
    assert_eq!(csv.stdout, b"week,product_id,product_version,daw,uses,reports\n");
    let key = std::fs::read_dir(vendor.path("data/telemetry/keys")).unwrap().next().unwrap().unwrap();
    assert_eq!(mode(&key.path()), 0o600);
}

#[test]
fn refusals_say_what_to_do_next() {
    let vendor = Vendor::ready();
    vendor.refused(&["backup", "nonexist/x.backup", "--data", "data"], 3, "hint: make the folder first");
    vendor.refused(&["restore", "nonexist.backup", "--data", "other"], 3, "could not open nonexist.backup");
    vendor.refused(
        &[
            "init",
            "--demo",
            "--data",
            "passphrase/below",
            "--vendor",
            "com.example",
            "--name",
            "E",
            "--prefix",
            "EXA",
            "--server-url",
            "http://127.0.0.1:9",
        ],
        7,
        "hint: name a folder",
    );
    vendor.json(&["product", "add", "--data", "data", "com.example.synth", "--name", "Synth"]);
    vendor.refused(
        &["license", "issue", "--data", "data", "--product", "synth", "--seats", "99999999999"],
        2,
        "1..=100000",
    );
    let import = ["license", "import", ".", "--data", "data", "--product", "synth"];
    vendor.refused(&import, 5, "hint: name a CSV file");
    vendor.refused(&["license", "revoke", "SHOP-0001", "--data", "data"], 3, "claviger-server license list");
    let order = [
        "license",
        "issue",
        "--data",
        "data",
        "--product",
        "synth",
        "--kind",
        "subscription",
        "--paid-through",
    ];
    let serial = vendor.json(&[&order[..], &["2999-01-01"]].concat());
    let serial = serial["licenses"][0]["serial"].as_str().or(serial["serial"].as_str()).unwrap().to_owned();
    let past = vendor.run(&["license", "renew", &serial, "--paid-through", "2020-01-01", "--data", "data"]);
    assert!(String::from_utf8_lossy(&past.stderr).contains("warning: 2020-01-01 is over"), "{past:?}");
    std::fs::write(vendor.path("data/keyset.jws"), "damaged").unwrap();
    vendor.refused(&["license", "list", "--data", "data"], 5, "hint: take another copy");
    std::fs::remove_file(vendor.path("data/keyset.jws")).unwrap();
    std::fs::write(vendor.path("data/claviger.db"), "damaged".repeat(1000)).unwrap();
    vendor.refused(
        &["license", "list", "--data", "data"],
        5,
        "hint: stop the server and restore the newest backup",
    );
}

#[test]
fn an_init_without_a_passphrase_leaves_no_folder() {
    let vendor = Vendor::new();
    let args = vendor.init_args(&["--passphrase-file", "missing"]);
    assert!(!vendor.run(&args).status.success());
    assert!(!vendor.path("data").exists());
}

#[cfg(target_os = "linux")] // where a device is that is always full
#[test]
fn a_full_disk_does_not_swallow_unlock_codes_unsaid() {
    let vendor = Vendor::ready();
    vendor.json(&["product", "add", "com.example.synth", "--name", "Synth", "--data", "data"]);
    let issue = ["license", "issue", "--product", "synth", "--data", "data"];
    let onto = |args: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        vendor.command(args).stdout(full).output().unwrap()
    };
    let done = onto(&issue);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(7), "{said}");
    assert!(said.contains("carried out") && said.contains("license transfer"), "{said}");
    assert_eq!(onto(&[&issue[..], &["--json"]].concat()).status.code(), Some(7));
    assert_eq!(onto(&["man"]).status.code(), Some(7));
    // Whoever closes the pipe has seen enough.
    let mut child =
        vendor.command(&["license", "list", "--data", "data"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
