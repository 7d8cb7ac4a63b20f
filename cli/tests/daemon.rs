//! Reaching a daemon that is missing, broken, silent or a stranger's; starting one.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use support::{Home, Ran, good, license, refused};

#[test]
fn status_says_whether_it_runs_and_starts_nothing() {
    let home = Home::new();
    let ran = home.run(&["daemon", "status", "--json"]);
    assert_eq!(ran.code, 12);
    assert_eq!(ran.json()["error"]["code"], "daemon_not_running");
    assert!(!home.path().join("log").exists());
    let status = json!({ "version": "0.1.0", "mode": "user", "pid": 7, "vendors": 2, "activations": 3,
        "receipts_waiting": 1, "intents_waiting": 0, "network": true, "may_change": true });
    let reply = status.clone();
    home.peer(move |_, _| good(json!({ "status": reply })));
    assert_eq!(home.run(&["daemon", "status", "--json"]).json()["status"]["activations"], 3);
    let ran = home.run(&["daemon", "status"]);
    assert!(ran.out.starts_with("The Claviger daemon is running.\n"), "{}", ran.out);
    assert!(ran.out.contains("1 waiting for the vendor's server"), "{}", ran.out);
    assert!(!ran.out.contains("Unsettled"), "{}", ran.out);
}

#[test]
fn broken_daemons_are_told_apart_from_refusals() {
    let cases: [(&[u8], &str, i32); 6] = [
        (b"\0", "daemon_unreadable", 12),
        (b"<html>\0", "daemon_unreadable", 12),
        (b"{\"parameters\":{}}\0", "daemon_unreadable", 12),
        (b"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{}}\0", "daemon_unreadable", 12),
        (
            b"{\"error\":\"io.claviger.Daemon.NotPermitted\",\"parameters\":{\"message\":\"no\"}}\0",
            "not_permitted",
            10,
        ),
        (
            b"{\"error\":\"io.claviger.Daemon.Storage\",\"parameters\":{\"code\":\"disk_full\",\"message\":\"full\"}}\0",
            "disk_full",
            11,
        ),
    ];
    for (bytes, word, code) in cases {
        let home = Home::new();
        home.raw_peer(move |_, _| bytes.to_vec());
        let ran = home.run(&["vendor", "list", "--json"]);
        assert_eq!(ran.json()["error"]["code"], word, "{}", ran.out);
        assert_eq!(ran.code, code, "{}", ran.out);
    }
}

#[test]
fn a_daemon_that_hangs_up_is_said_so() {
    let home = Home::new();
    let listener = home.listen();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"{\"parameters\":");
        }
    });
    let ran = home.run(&["license", "list", "--json"]);
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (12, &json!("daemon_gone")));
}

#[test]
fn a_strangers_process_is_not_talked_to() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root can play another user");
        return;
    }
    let home = Home::new();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = home.path().join("run");
    std::fs::create_dir(&run).unwrap();
    std::os::unix::fs::chown(&run, Some(65_534), None).unwrap();
    let socket = run.join("daemon.sock");
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // The kernel keeps the credentials of the thread that listens.
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        ready.send(()).unwrap();
        listener.incoming().flatten().for_each(drop);
    });
    listening.recv().unwrap();
    let ran = home.run(&["daemon", "status", "--json"]);
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (13, &json!("daemon_not_trusted")));
}

#[test]
fn sockets_with_long_paths_are_reached() {
    let home = Home::new();
    let deep = home.path().join("x".repeat(120));
    std::fs::create_dir_all(deep.join("run")).unwrap();
    std::env::set_current_dir(deep.join("run")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind("daemon.sock").unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"{\"parameters\":{\"vendors\":[]}}\0");
            let _ = std::io::Read::read(&mut stream, &mut [0; 100]);
        }
    });
    let ran =
        Ran::of(home.command(&["vendor", "list", "--json"]).env("CLAVIGER_HOME", &deep).output().unwrap());
    assert_eq!(ran.json(), json!({ "vendors": [] }));
}

/// The command alone in a folder, with a `clavigerd` beside it that does what `script` says. Another process copies
/// them: a file that this one has open for writing while another test forks is "busy" to the kernel.
fn beside(home: &Home, script: Option<&str>) -> std::path::PathBuf {
    let folder = home.path().join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("claviger");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let done =
            std::process::Command::new("install").args(["-m", "755"]).arg(from).arg(to).status().unwrap();
        assert!(done.success());
    };
    copy(std::path::Path::new(env!("CARGO_BIN_EXE_claviger")), &program);
    if let Some(script) = script {
        let text = home.path().join("script");
        std::fs::write(&text, script).unwrap();
        copy(&text, &folder.join("clavigerd"));
    }
    program
}

const CHEESE: &str = "#!/bin/sh
mkdir -p $CLAVIGER_HOME/log
echo 'the disk is made of cheese' >> $CLAVIGER_HOME/log/daemon.log
exit 4
";

#[test]
fn a_daemon_that_is_missing_or_ends_at_once_is_explained() {
    let home = Home::new();
    let program = beside(&home, None);
    let mut command = home.command_of(&program, &["vendor", "list", "--json"]);
    let ran = Ran::of(command.env("PATH", "").output().unwrap());
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (12, &json!("daemon_not_installed")));

    let home = Home::new();
    let program = beside(&home, Some(CHEESE));
    let ran = Ran::of(home.command_of(&program, &["vendor", "list"]).output().unwrap());
    assert_eq!(ran.code, 12);
    assert!(ran.err.contains("Error: The daemon cannot use its folders."), "{}", ran.err);
    assert!(ran.err.contains("  because: the disk is made of cheese\n"), "{}", ran.err);
    let ran = Ran::of(home.command_of(&program, &["daemon", "logs", "--json"]).output().unwrap());
    assert_eq!(ran.json()["lines"], json!(["the disk is made of cheese"]));
}

#[test]
fn run_becomes_the_daemon() {
    let home = Home::new();
    let program = beside(&home, Some("#!/bin/sh\necho \"$CLAVIGER_HOME $*\"\nexit 5\n"));
    let ran = Ran::of(home.command_of(&program, &["daemon", "run", "--", "--flag"]).output().unwrap());
    assert_eq!(ran.out, format!("{} --flag\n", home.path().display()));
    assert_eq!(ran.code, 5);
}

#[test]
fn lists_and_details_of_licenses() {
    let home = Home::new();
    let mut ended = license("Noctuary");
    ended["status"] = json!("replaced");
    ended["ended_by"] = json!("Laptop");
    ended["product"] = json!("com.example.reverb");
    ended["opens"] = json!(["com.example.reverb"]);
    ended["serial"] = json!("SOL-11111-11111-11111");
    let all = json!([license("Solstice"), ended]);
    home.peer(move |method, _| match method {
        "ListLicenses" | "Refresh" => good(json!({ "licenses": all })),
        _ => refused("Internal", json!({ "message": "?" })),
    });
    let ran = home.run(&["license", "list"]);
    assert_eq!(
        ran.out,
        "PRODUCT   STATUS    VALID                                           SERIAL NUMBER          VENDOR\n\
         Solstice  licensed  for ever                                        SOL-00000-00000-00000  Example Audio\n\
         Noctuary  replaced  ended 22 November 2026, taken over by “Laptop”  SOL-11111-11111-11111  Example Audio\n"
    );
    for target in ["reverb", "noctuary", "sol 11111 11111 11111", "com.example.reverb"] {
        let ran = home.run(&["license", "show", target, "--json"]);
        assert_eq!(ran.json()["license"]["ended_by"], "Laptop", "{target}");
    }
    assert_eq!(home.run(&["license", "show", "example"]).code, 4);
    assert!(home.run(&["license", "show", "reverb"]).out.contains("Taken over by  Laptop"));
}

#[test]
fn doctor_works_without_a_daemon() {
    let home = Home::new();
    let certificate = home.with_certificate(&support::certificate(), &support::issuing(1));
    let ran = home.run(&["doctor", "--json"]);
    let findings = ran.json()["findings"].as_array().unwrap().clone();
    let level = |name: &str| findings.iter().find(|f| f["name"] == name).map(|f| f["level"].clone());
    assert_eq!(level("store"), Some(json!("ok")), "{findings:?}");
    assert_eq!(level("certificates"), Some(json!("ok")));
    assert_eq!(level("machine_id"), Some(json!("ok")));
    std::fs::write(&certificate, "damaged").unwrap();
    let ran = home.run(&["doctor", "--json"]);
    assert_eq!(ran.code, 14);
    let findings = ran.json()["findings"].as_array().unwrap().clone();
    let bad = findings.iter().find(|f| f["name"] == "certificate").unwrap();
    assert!(bad["advice"].as_str().unwrap().contains("license refresh"), "{bad}");
    assert!(home.run(&["doctor"]).out.contains("problem  certificate: The certificate "));
}

#[test]
fn vendors_by_file() {
    let home = Home::new();
    let vendor = json!({ "id": "com.example", "name": "Example Audio", "prefix": "SOL", "server": "http://127.0.0.1:1", "keyset": 1 });
    let peer = home.peer(move |method, _| match method {
        "AddVendor" => good(json!({ "vendor": vendor, "added": true })),
        "ListVendors" => good(json!({ "vendors": [vendor] })),
        "RemoveVendor" => good(json!({})),
        _ => refused("Internal", json!({ "message": "?" })),
    });
    let file = home.path().join("example.clvprofile");
    let path = file.to_str().unwrap();
    assert_eq!(home.run(&["vendor", "add", path]).code, 11);
    std::fs::write(&file, "not.a.profile").unwrap();
    let ran = home.run(&["vendor", "add", path, "--json"]);
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (3, &json!("bad_profile")));
    assert!(peer.calls().is_empty(), "a bad file is caught before the daemon is asked");
    std::fs::write(&file, support::profile_text(1) + "\n").unwrap();
    let ran = home.run(&["vendor", "add", path]);
    assert!(ran.out.starts_with("Example Audio is known now"), "{}{}", ran.out, ran.err);
    assert_eq!(home.run(&["vendor", "remove", "sol", "--json"]).json()["removed"], "com.example");
    assert_eq!(home.run(&["vendor", "remove", "com.other"]).code, 4);
}

/// The session this process belongs to; 0 when its leader is outside of our PID namespace, as in a container
/// (`getsid` of rustix panics there). Sixth field of `/proc/self/stat`, proc(5).
fn session() -> String {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, behind_the_name) = stat.rsplit_once(") ").unwrap();
    behind_the_name.split(' ').nth(3).unwrap().to_owned()
}

/// Not a test by itself: the daemon of `a_missing_daemon_is_started`, which this very program plays.
#[test]
#[ignore = "started by another test"]
fn play_the_daemon() {
    let Some(home) = std::env::var_os("CLAVIGER_HOME") else { return };
    let run = std::path::Path::new(&home).join("run");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("session"), session()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(run.join("daemon.sock")).unwrap();
    // Two commands, then it ends.
    for mut stream in listener.incoming().flatten().take(2) {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = std::io::Read::read(&mut stream, &mut chunk) {
            let status = json!({ "parameters": { "status": { "version": "0.1.0", "mode": "user", "pid": 1,
                "vendors": 0, "activations": 0, "receipts_waiting": 0, "intents_waiting": 0, "network": true,
                "may_change": true } } });
            let asked = String::from_utf8_lossy(&chunk[..read]).into_owned();
            let reply =
                if asked.contains("GetStatus") { status } else { json!({ "parameters": { "vendors": [] } }) };
            stream.write_all(format!("{reply}\0").as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_missing_daemon_is_started() {
    let home = Home::new();
    let this = std::env::current_exe().unwrap();
    let script =
        format!("#!/bin/sh\nexec '{}' --exact play_the_daemon --ignored --nocapture\n", this.display());
    let program = beside(&home, Some(&script));
    let ran = Ran::of(home.command_of(&program, &["vendor", "list"]).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("No vendor is known yet."), "{}", ran.out);
    let log = home.path().join("log/daemon.log");
    assert_eq!(ran.err, format!("Started the Claviger daemon (log: {}).\n", log.display()));
    let its_session = std::fs::read_to_string(home.path().join("run/session")).unwrap();
    assert_ne!(its_session, session(), "it has left our session");
    let ran = Ran::of(home.command_of(&program, &["vendor", "list", "--json"]).output().unwrap());
    assert_eq!(ran.json(), json!({ "vendors": [] }));
}
