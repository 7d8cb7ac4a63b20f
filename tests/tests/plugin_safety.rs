//! What a plug-in meets on strangers' computers, in our CLAP host and in jalv: whatever it is, the host neither crashes nor hangs,
//! audio comes out, and the status says what is the case. Each line of the tables prints how long the host's main thread was in
//! the plug-in.

use std::process::Command;

use claviger_tests::clap::{ACTIVATION, ClapHost, LICENSE, took};
use claviger_tests::jalv::Jack;
use claviger_tests::process;
use claviger_tests::scenes::{clap_host_in, scenes};
use claviger_tests::tilt::{self, Home};

const HOST: &str = env!("CARGO_BIN_EXE_clap_host");
/// Longer than this is a hang. The figures that are printed are far below; machines that run tests can be busy.
const HANG_MS: f64 = 2_000.0;
/// A thousand loads may leave no more.
const LEAK_KIB: i64 = 1024;

#[test]
fn clap_host_survives_every_surrounding() {
    for scene in scenes() {
        let slowest = clap_host_in(&scene, HOST, &tilt::clap());
        println!("{:32} {slowest:9.3} ms at most", scene.name);
        assert!(slowest < HANG_MS, "{}: {slowest} ms on the main thread", scene.name);
    }
}

#[test]
fn jalv_survives_every_surrounding() {
    let (jack, heard) = (Jack::start(), Home::new());
    for scene in scenes() {
        let words: Vec<&str> = scene.wrapper.iter().map(String::as_str).collect();
        // JACK's own sockets are below /dev/shm, which the sandbox leaves.
        let mut command = jack.jalv_command(scene.home.path(), &words);
        scene.arrange(&mut command);
        let mut jalv = jack.jalv_as(&mut command);
        let _heard = jalv.player().play(0, 1, &heard.path().join("heard"));
        assert_eq!(jalv.wait_until("license", &[scene.status]), scene.status, "{}", scene.name);
        jalv.host.say("activate = 1.0");
        assert_eq!(jalv.wait_until("activation", &[scene.activation]), scene.activation, "{}", scene.name);
        println!("{:32} started in {:?}", scene.name, jalv.started_in);
        jalv.host.end();
    }
    jack.end();
}

#[test]
fn files_that_the_kernel_denies_leave_a_reason() {
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let _loaded = host.ask(&["load", tilt::clap().to_str().unwrap()]);
    let _denied = host.ask(&["deny"]);
    let opened = host.ask(&["open", "2"]);
    assert!(took(&opened) < HANG_MS);
    assert_eq!(host.get(LICENSE), 43);
    let _played = host.ask(&["process", "1"]);
    let _set = host.ask(&["set", "2", "1"]);
    let _played = host.ask(&["process", "0.1"]);
    let _asked = host.ask(&["idle"]);
    assert_eq!(host.get(ACTIVATION), 3);
    let _closed = host.ask(&["close"]);
}

#[test]
fn sixty_four_instances_agree_and_start_no_thread() {
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let _loaded = host.ask(&["load", tilt::clap().to_str().unwrap()]);
    let before = host.ask(&["facts"]);
    let opened = host.ask(&["open", "64"]);
    println!("64 instances opened in {:.3} ms", took(&opened));
    let after = host.ask(&["facts"]);
    assert_eq!((&before["threads"], &before["files"]), (&after["threads"], &after["files"]));
    let _played = host.ask(&["process", "0.5"]);
    let values = host.ask(&["get", LICENSE]);
    assert_eq!(values["values"].as_array().unwrap().len(), 64);
    assert!(values["values"].as_array().unwrap().iter().all(|value| *value == 1.0));
    host.end();
}

/// Two copies, of two builds, each with a vendor of its own, side by side: neither sees the other.
#[test]
fn two_builds_live_in_one_process() {
    let home = Home::licensed();
    let other = claviger_tests::vendor::Vendor::new("com.example", "EX");
    let profile = home.path().join("other.clvprofile");
    std::fs::write(&profile, other.profile("https://licenses.example.com")).unwrap();
    let second = tilt::clap_with(Some(&profile), &home.path().join("Second.clap"));
    let mut host = ClapHost::start(HOST, home.path());
    let _opened = host.open(&tilt::clap(), 2);
    assert_eq!(host.get(LICENSE), 1);
    assert_eq!(host.ask(&["also", second.to_str().unwrap()])["value"], 41.0);
    let _played = host.ask(&["process", "0.5"]);
    assert_eq!(host.get(LICENSE), 1);
    let third = home.path().join("Third.clap");
    std::fs::copy(tilt::clap(), &third).unwrap();
    assert_eq!(host.ask(&["also", third.to_str().unwrap()])["value"], 1.0);
    let _unloaded = host.ask(&["unload"]);
    host.end();
}

#[test]
fn a_thousand_loads_leave_nothing() {
    let home = Home::licensed();
    let plugin = tilt::clap();
    let plugin = plugin.to_str().unwrap();
    let mut host = ClapHost::start(HOST, home.path());
    let _warm = host.ask(&["cycle", plugin, "100"]);
    let before = host.ask(&["facts"]);
    let done = host.ask(&["cycle", plugin, "900"]);
    let after = host.ask(&["facts"]);
    assert_eq!(done["mapped"], false, "the CLAP file is still mapped");
    assert_eq!((&before["threads"], &before["files"]), (&after["threads"], &after["files"]));
    let grown = after["kib"].as_i64().unwrap() - before["kib"].as_i64().unwrap();
    println!("CLAP: slowest load and open {} ms, memory {grown:+} KiB", done["slowest_ms"]);
    assert!(grown < LEAK_KIB, "{grown} KiB more");
    host.end();

    let cycle = tilt::native("lv2_cycle", &["-ldl"]);
    for home in [home, Home::new()] {
        let mut command = Command::new(&cycle);
        command.arg(tilt::lv2().join("tilt.lv2/tilt.so")).arg("1000").env("CLAVIGER_HOME", home.path());
        let done = process::run(&mut command, "").ok().json();
        println!("LV2: {done}");
        assert_eq!((&done["threads"], &done["files"]), (&0.into(), &0.into()));
        assert_eq!(done["mapped"], false, "the LV2 file is still mapped");
        assert!(done["kib"].as_i64().unwrap() < LEAK_KIB);
    }
}

#[test]
fn forked_and_replaced_processes_are_well() {
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let before = host.ask(&["exec"])["files"].clone();
    let _opened = host.open(&tilt::clap(), 2);
    let forked = host.ask(&["fork"]);
    assert_eq!((&forked["child"], &forked["ended"]), (&1.into(), &true.into()), "{forked}");
    assert_eq!(host.ask(&["exec"])["files"], before, "a file of ours is open in another program");
    let _played = host.ask(&["process", "0.5"]);
    assert_eq!(host.get(LICENSE), 1);
    host.end();
}

#[test]
fn a_stack_of_64_kib_is_enough() {
    for (home, status) in [(Home::licensed(), 1.0), (Home::new(), 20.0)] {
        let mut host = ClapHost::start(HOST, home.path());
        let _loaded = host.ask(&["load", tilt::clap().to_str().unwrap()]);
        assert_eq!(host.ask(&["stack", "64"])["value"], status);
        host.end();
    }
}

/// What the tests above do in our CLAP host, in jalv's process: a plug-in around the plug-in does it there, on the thread on which
/// jalv makes instances (tests/native/shell.c).
#[test]
fn jalv_survives_what_few_hosts_do() {
    let (jack, home) = (Jack::start(), Home::licensed());
    let other = claviger_tests::vendor::Vendor::new("com.example", "EX");
    let profile = home.path().join("other.clvprofile");
    std::fs::write(&profile, other.profile("https://licenses.example.com")).unwrap();
    let builds = home.path().join("second");
    tilt::lv2_in(&builds, &[&format!("-DPROFILE={}", profile.display())]);
    let beside = format!("beside {}", builds.join("lv2/tilt.lv2/tilt.so").display());
    // What an instance in odd circumstances shows beside the one that jalv made.
    for (scene, shown) in [
        ("many 64", -1),
        (beside.as_str(), 41),
        ("fork", 1),
        ("exec", 0),
        ("stack 64", 1),
        ("deny", 43),
        ("cycle 1000", -1),
    ] {
        let mut jalv = jack.shell(home.path(), scene);
        if scene.starts_with("cycle") {
            let left = jalv.tells();
            println!("{scene:32} {left}");
            assert_eq!(
                (&left["threads"], &left["files"], &left["mapped"]),
                (&0.into(), &0.into(), &false.into())
            );
            assert!(left["kib"].as_i64().unwrap() < LEAK_KIB, "{left}");
        }
        let found = jalv.tells();
        println!("{scene:32} {found}");
        assert_eq!((&found["other"], &found["ended"]), (&shown.into(), &true.into()), "{scene}");
        if scene.starts_with("many") {
            assert_eq!((&found["threads"], &found["files"]), (&0.into(), &0.into()));
        }
        assert!(took(&found) < HANG_MS, "{scene}: {found}");
        let heard = jalv.player().play(0, 1, &home.path().join("heard"));
        tilt::assert_heard(&heard, 0, None);
        assert_eq!(jalv.shows("license"), 1);
        jalv.host.end();
    }
    // Unlicensed, the small stack reads and judges nothing less.
    let nobody = Home::new();
    let mut jalv = jack.shell(nobody.path(), "stack 64");
    assert_eq!(jalv.tells()["other"], 20);
    jalv.host.end();
    jack.end();
}
