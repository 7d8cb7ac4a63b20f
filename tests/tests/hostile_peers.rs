//! Programs that mean ill, or are broken, at the daemon's socket: it stays up and serves its owner.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use claviger_tests::World;
use claviger_tests::world::PRODUCT;
use serde_json::json;

#[test]
fn frames_that_are_no_frames() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let deep = "[".repeat(100_000);
    let long_method = format!("{{\"method\":\"{}\"}}", "x".repeat(100_000));
    let bad: [&[u8]; 10] = [
        b"\0",
        b"\0\0\0\0",
        b"hello\0",
        b"{}\0",
        b"[]\0",
        b"null\0",
        b"{\"method\":1}\0",
        b"{\"method\":\"io.claviger.Daemon.Activate\",\"parameters\":{\"serial\":null}}\0",
        b"\xff\xfe\xfd\0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for bytes in bad {
        let mut connection = machine.connect();
        connection.send_raw(bytes).unwrap();
        // An error reply or a closed connection; never silence.
        connection.finish();
    }
    for text in [deep.as_str(), long_method.as_str()] {
        let mut connection = machine.connect();
        let _hung_up = connection.send_raw(text.as_bytes());
        let _hung_up = connection.send_raw(b"\0");
        let _reply = connection.read();
    }
    assert!(machine.daemon().is_running());
    let status = machine.json(&["daemon", "status"]);
    assert_eq!(status["status"]["activations"], 1);
}

#[test]
fn oversized_frames_are_cut_off_before_they_are_stored() {
    let world = World::new();
    let mut machine = world.this_machine();
    let pid = machine.daemon().pid();
    let told = machine.json(&["daemon", "status"])["status"]["pid"].clone();
    let before = resident_kib(pid);
    let part = vec![b'a'; 64 * 1024];
    let mut refused = 0;
    for _ in 0..8 {
        let mut connection = machine.connect();
        connection.send_raw(b"{\"method\":\"").unwrap();
        // 64 MiB, unless the daemon hangs up, as it should after 256 KiB.
        for _ in 0..1_024 {
            if connection.send_raw(&part).is_err() {
                refused += 1;
                break;
            }
        }
    }
    assert_eq!(refused, 8);
    let after = resident_kib(pid);
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    assert_eq!(machine.json(&["daemon", "status"])["status"]["pid"], told);
}

#[test]
fn half_sent_frames_and_ten_thousand_idle_connections() {
    allow_many_files();
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let mut half: Vec<UnixStream> = Vec::new();
    let mut refused = 0;
    for number in 0..10_000 {
        match UnixStream::connect(machine.socket()) {
            Ok(mut stream) => {
                if number % 2 == 0 {
                    let _hung_up = stream.write_all(b"{\"method\":\"io.claviger.Dae");
                }
                half.push(stream);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(half.len() > 5_000, "{refused} connections were refused");
    // Whoever comes now is served, in the time of a person.
    let done = machine.activate(&license).ok();
    assert!(done.took < Duration::from_secs(30), "{done}");
    assert!(machine.is_licensed(PRODUCT));
    let pid = machine.daemon().pid();
    let memory = resident_kib(pid);
    assert!(memory < 256 * 1024, "{memory} KiB for {} connections", half.len());
    drop(half);
    let _said = machine.claviger(&["deactivate", PRODUCT]).ok();
    assert!(machine.daemon().is_running());
}

#[test]
fn whoever_hangs_up_in_the_middle_harms_nobody() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    for _ in 0..20 {
        let mut connection = machine.connect();
        let call = json!({
            "method": "io.claviger.Daemon.Activate", "more": true,
            "parameters": { "serial": license.serial, "unlock_code": license.unlock_code },
        });
        connection.send_raw(format!("{call}\0").as_bytes()).unwrap();
        drop(connection);
    }
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    assert!(machine.daemon().is_running());
}

#[test]
fn unknown_methods_are_answered_in_varlink_s_own_words() {
    let world = World::new();
    let machine = world.this_machine();
    let mut connection = machine.connect();
    let reply = connection.call("io.claviger.Daemon.Nonsense", &json!({})).unwrap();
    assert_eq!(reply["error"], "org.varlink.service.MethodNotFound", "{reply}");
    let mut connection = machine.connect();
    let reply = connection.call("com.nobody.Nothing", &json!({})).unwrap();
    assert_eq!(reply["error"], "org.varlink.service.InterfaceNotFound", "{reply}");
    let mut connection = machine.connect();
    let reply = connection.call("org.varlink.service.GetInfo", &json!({})).unwrap();
    let interfaces = reply["parameters"]["interfaces"].as_array().unwrap();
    assert!(interfaces.iter().any(|i| i == "io.claviger.Daemon"), "{reply}");
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Our own end of ten thousand connections needs as many files.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = 20_000;
    let maximum = now
        .maximum
        .map_or(wanted, |most| most.max(if rustix::process::geteuid().is_root() { wanted } else { most }));
    let raised = Rlimit { current: Some(wanted.min(maximum)), maximum: Some(maximum) };
    setrlimit(Resource::Nofile, raised).unwrap();
}
