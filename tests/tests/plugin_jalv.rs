//! The LV2 build of the demonstration plug-in in jalv (JACK's dummy driver): what comes out of the host, sample by sample.

use std::process::Command;

use claviger_client::host::{Catalogue, chain_of, recognise};
use claviger_tests::jalv::{Jack, RATE, lv2_path, lv2_path_of};
use claviger_tests::tilt::{self, Home};
use claviger_tests::world::license_of;
use claviger_tests::{Machine, World};

#[test]
fn sounds_the_same_with_and_without_a_license_but_for_a_fade_a_minute() {
    let jack = Jack::start();
    let record = |home: &Home, status: u32| {
        let mut jalv = jack.jalv(home.path());
        let recording = jalv.player().play(0, 65, &home.path().join("heard"));
        assert_eq!(jalv.shows("license"), status);
        let processes = chain_of(jalv.host.pid());
        assert_eq!(recognise(&Catalogue::own(), &processes, None).daw.id(), "other", "{processes:?}");
        jalv.host.end();
        recording
    };
    let licensed = record(&Home::licensed(), 1);
    let unlicensed = record(&Home::new(), 20);
    jack.end();
    tilt::assert_heard(&licensed, 0, None);
    tilt::assert_demo_of(&unlicensed, &licensed, tilt::phase(&unlicensed), RATE);
}

#[test]
fn a_license_lost_while_it_runs_changes_nothing() {
    let jack = Jack::start();
    let record = |loses: bool| {
        let home = Home::licensed();
        let mut jalv = jack.jalv(home.path());
        let mut player = jalv.player();
        let one = player.play(0, 5, &home.path().join("one"));
        if loses {
            std::fs::remove_dir_all(home.path().join("certs")).unwrap();
        }
        let two = player.play(5 * RATE, 62, &home.path().join("two"));
        assert_eq!(jalv.shows("license"), 1);
        drop(player);
        jalv.host.end();
        (one, two)
    };
    let (kept, lost) = (record(false), record(true));
    jack.end();
    tilt::assert_same(&kept.0, &lost.0);
    tilt::assert_same(&kept.1, &lost.1);
    tilt::assert_heard(&lost.1, 5 * RATE, None);
}

/// A vendor with a server; the plug-in is built for it, and activates itself by its port.
#[test]
fn asks_for_an_activation_by_itself() {
    let world = World::new();
    world.add_product(tilt::PRODUCT, "Tilt");
    let license = license_of(&world.server_json(&["license", "issue", "--product", tilt::PRODUCT]));
    let bundles = world.path("lv2-build");
    tilt::lv2_in(&bundles, &[&format!("-DPROFILE={}", world.profile().display())]);
    let mut machine = Machine::this(&world.folder());
    machine.start_daemon();
    let text = world.path("license.txt");
    std::fs::write(&text, format!("{}\n{}\n", license.serial, license.unlock_code)).unwrap();
    let jack = Jack::start();
    let command = || {
        let mut command = jack.jalv_command(&machine.home, &[]);
        command.env("TILT_LICENSE_FILE", &text);
        // Alone: the other build has the same URI, and which of two lilv takes is its own affair.
        command.env("LV2_PATH", lv2_path_of(&bundles.join("lv2")));
        command
    };
    let mut jalv = jack.jalv_as(&mut command());
    assert_eq!((jalv.wait_until("license", &[20]), jalv.shows("activation")), (20, 0));
    jalv.host.say("activate = 1.0");
    assert_eq!(jalv.wait_until("activation", &[2, 3]), 2);
    assert_eq!(jalv.wait_until("license", &[1]), 1);
    jalv.host.end();
    assert!(machine.is_licensed(tilt::PRODUCT));
    // Switched on without a file to read: it fails and says so.
    std::fs::remove_file(&text).unwrap();
    let mut jalv = jack.jalv_as(&mut command());
    assert_eq!(jalv.wait_until("license", &[1]), 1);
    jalv.host.say("activate = 1.0");
    assert_eq!(jalv.wait_until("activation", &[2, 3]), 3);
    jalv.host.end();
    jack.end();
}

/// What LV2's own tools say: the description is valid, and the plug-in runs in a benchmark.
#[test]
fn lv2_tools_accept_it() {
    let bundle = tilt::lv2().join("tilt.lv2");
    let done = claviger_tests::process::run(
        Command::new("lv2_validate").arg(bundle.join("manifest.ttl")).arg(bundle.join("tilt.ttl")),
        "",
    );
    assert!(done.text().contains("Found 0 errors"), "{done}");
    let home = Home::licensed();
    let mut bench = Command::new("lv2bench");
    bench.args(["-n", "480000", tilt::URI]).env("LV2_PATH", lv2_path()).env("CLAVIGER_HOME", home.path());
    let done = claviger_tests::process::run(&mut bench, "").ok();
    assert!(done.stdout.contains(tilt::URI), "{done}");
}

/// Counts in run(), over the minute in which an unlicensed copy fades: memory, locks and waits by a preloaded guard, system calls
/// by strace.
#[test]
fn the_audio_thread_allocates_locks_and_calls_nothing() {
    let cycle = tilt::native("lv2_cycle", &["-ldl"]);
    let plugin = tilt::lv2().join("tilt.lv2/tilt.so");
    for home in [Home::licensed(), Home::new()] {
        let command = |wrapper: &[&str]| {
            let cycle = cycle.to_str().unwrap();
            let words = [wrapper, &[cycle, plugin.to_str().unwrap(), "1", "5800"]].concat();
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).env("CLAVIGER_HOME", home.path());
            command
        };
        let done = claviger_tests::process::run(command(&[]).env("LD_PRELOAD", tilt::guard()), "").ok();
        assert_eq!(done.json()["guarded"], 0, "allocations and locks in run()");
        let mut guilty = command(&[]);
        guilty.env("LD_PRELOAD", tilt::guard()).env("CT_ALLOCATES", "1");
        let done = claviger_tests::process::run(&mut guilty, "").ok();
        assert_eq!(done.json()["guarded"], 2 * 5800, "the guard sees what it is there for");
        let log = home.path().join("trace");
        let mut traced = command(&["strace", "-f", "-qq", "-o", log.to_str().unwrap()]);
        let _done = claviger_tests::process::run(&mut traced, "").ok();
        let (marks, calls) = tilt::calls_between_marks(&std::fs::read_to_string(log).unwrap());
        assert!(calls.is_empty(), "system calls in run(): {calls:?}");
        assert_eq!(marks, 2 * 5800);
    }
}
