//! The CLAP build of the demonstration plug-in in our CLAP host: what comes out, sample by sample, and what its audio thread
//! does not do.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::clap::{ACTIVATION, ClapHost, LICENSE};
use claviger_tests::tilt::{self, Home};
use claviger_tests::world::license_of;
use claviger_tests::{Machine, World};

const HOST: &str = env!("CARGO_BIN_EXE_clap_host");
const RATE: u64 = 48_000;

/// What comes out of a fresh host.
fn heard(home: &Home, seconds: &str) -> Vec<[f32; 2]> {
    let mut host = ClapHost::start(HOST, home.path());
    let _opened = host.open(&tilt::clap(), 1);
    let file = home.path().join("heard");
    let _done = host.ask(&["process", seconds, file.to_str().unwrap()]);
    host.end();
    tilt::samples(&file)
}

#[test]
fn sounds_the_same_with_and_without_a_license_but_for_a_fade_a_minute() {
    let licensed = heard(&Home::licensed(), "65");
    let unlicensed = heard(&Home::new(), "65");
    assert_eq!(licensed.len() as u64, 65 * RATE);
    // At rest the effect is flat: what goes in comes out, but for rounding.
    for (at, frame) in licensed.iter().enumerate().skip(1) {
        for (channel, value) in (0u32..).zip(frame) {
            assert!((value - tilt::input(at as u64, channel)).abs() < 1e-5);
        }
    }
    tilt::assert_demo_of(&unlicensed, &licensed, 0, RATE);
    assert!(unlicensed != licensed);
}

#[test]
fn a_license_lost_while_it_runs_changes_nothing() {
    let steady = heard(&Home::licensed(), "66");
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let _opened = host.open(&tilt::clap(), 1);
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    let _done = host.ask(&["process", "30", one.to_str().unwrap()]);
    std::fs::remove_dir_all(home.path().join("certs")).unwrap();
    let _done = host.ask(&["process", "36", two.to_str().unwrap()]);
    assert_eq!(host.get(LICENSE), 1);
    let lost = [tilt::samples(&one), tilt::samples(&two)].concat();
    tilt::assert_same(&lost, &steady);
    // Another instance in the same process is licensed too; another process is not.
    let _more = host.ask(&["open", "1"]);
    assert_eq!(host.ask(&["get", LICENSE])["values"], serde_json::json!([1.0, 1.0]));
    host.end();
    let mut host = ClapHost::start(HOST, home.path());
    let _opened = host.open(&tilt::clap(), 1);
    assert_eq!(host.get(LICENSE), 20);
    host.end();
}

#[test]
fn a_license_that_comes_while_it_runs_ends_the_fades() {
    let steady = heard(&Home::licensed(), "125");
    let home = Home::new();
    let mut host = ClapHost::start(HOST, home.path());
    let _opened = host.open(&tilt::clap(), 1);
    let file = |name: &str| home.path().join(name);
    let _done = host.ask(&["process", "30", file("one").to_str().unwrap()]);
    home.license();
    // The fade at the end of the first minute is heard; as it begins, the plug-in asks for a moment to look.
    let _done = host.ask(&["process", "35", file("two").to_str().unwrap()]);
    assert_eq!(host.ask(&["idle"])["called"], 1);
    assert_eq!(host.get(LICENSE), 1);
    let _done = host.ask(&["process", "60", file("three").to_str().unwrap()]);
    host.end();
    let all = ["one", "two", "three"].map(|name| tilt::samples(&file(name))).concat();
    let minute = usize::try_from(60 * RATE).unwrap();
    tilt::assert_demo_of(&all[..minute], &steady[..minute], 0, RATE);
    tilt::assert_same(&all[minute..], &steady[minute..]);
}

#[test]
fn knobs_turn_smoothly_and_alike() {
    let turned = |home: Home| {
        let mut host = ClapHost::start(HOST, home.path());
        let _opened = host.open(&tilt::clap(), 1);
        let file = home.path().join("heard");
        let _set = host.ask(&["set", "0", "4.5"]);
        let _set = host.ask(&["set", "1", "-6"]);
        let _done = host.ask(&["process", "3", file.to_str().unwrap()]);
        assert_eq!((host.get("0"), host.get("1")), (4, 0));
        host.end();
        tilt::samples(&file)
    };
    let (licensed, unlicensed) = (turned(Home::licensed()), turned(Home::new()));
    tilt::assert_same(&licensed, &unlicensed);
    let flat = heard(&Home::licensed(), "3");
    let differ = licensed.iter().zip(&flat).filter(|(a, b)| a != b).count();
    assert!(differ > flat.len() / 2);
}

/// A vendor with a server; the plug-in is built for it, and activates itself.
#[test]
fn asks_for_an_activation_by_itself() {
    let world = World::new();
    world.add_product(tilt::PRODUCT, "Tilt");
    let license = license_of(&world.server_json(&["license", "issue", "--product", tilt::PRODUCT]));
    let plugin = tilt::clap_with(Some(&world.profile()), &world.path("Tilt.clap"));
    let mut machine = Machine::this(&world.folder());
    machine.start_daemon();
    let text = world.path("license.txt");
    std::fs::write(&text, format!("{}\n{}\n", license.serial, license.unlock_code)).unwrap();
    let mut host = ClapHost::start_command(
        Command::new(HOST).env("CLAVIGER_HOME", &machine.home).env("TILT_LICENSE_FILE", &text),
    );
    let _opened = host.open(&plugin, 2);
    assert_eq!((host.get(LICENSE), host.get(ACTIVATION)), (20, 0));
    let _set = host.ask(&["set", "2", "1"]);
    let _done = host.ask(&["process", "0.1"]);
    let asked = host.ask(&["idle"]);
    assert_eq!(asked["called"], 2);
    let begun = std::time::Instant::now();
    while host.get(ACTIVATION) == 1 {
        assert!(begun.elapsed() < claviger_tests::process::PATIENCE, "the activation has no end");
        std::thread::yield_now();
    }
    assert_eq!((host.get(LICENSE), host.get(ACTIVATION)), (1, 2));
    host.end();
    assert!(machine.is_licensed(tilt::PRODUCT));
    // What is built for this vendor does not take the certificate of another one.
    let other = Home::licensed();
    let mut host = ClapHost::start(HOST, other.path());
    let _opened = host.open(&plugin, 1);
    assert_ne!(host.get(LICENSE), 1);
    host.end();
}

/// Counts in process(): memory, locks and waits by a preloaded guard, system calls by strace.
#[test]
fn the_audio_thread_allocates_locks_and_calls_nothing() {
    for home in [Home::licensed(), Home::new()] {
        let mut host = ClapHost::start_command(
            Command::new(HOST).env("CLAVIGER_HOME", home.path()).env("LD_PRELOAD", tilt::guard()),
        );
        let _opened = host.open(&tilt::clap(), 4);
        let _set = host.ask(&["set", "0", "3"]);
        let done = host.ask(&["process", "61"]);
        assert_eq!(done["guarded"], 0, "allocations and locks in process()");
        host.end();
        let log = home.path().join("trace");
        let calls = system_calls(&home, &log);
        assert!(calls.is_empty(), "system calls in process(): {calls:?}");
    }
}

/// System calls of the audio thread between the marks that the host sets around process().
fn system_calls(home: &Home, log: &Path) -> Vec<String> {
    let mut host = ClapHost::start_command(
        Command::new("strace").args(["-f", "-qq", "-o"]).arg(log).arg(HOST).env("CLAVIGER_HOME", home.path()),
    );
    let _opened = host.open(&tilt::clap(), 2);
    // The second in which an unlicensed copy begins to fade.
    let _done = host.ask(&["process", "58"]);
    let _done = host.ask(&["mark", "1"]);
    host.end();
    let (marks, calls) = tilt::calls_between_marks(&std::fs::read_to_string(log).unwrap());
    assert_eq!(marks, 2 * 2 * 100, "a pair of marks a block and instance");
    calls
}

/// What a developer gets with no settings is what these tests are about.
#[test]
fn the_demonstration_profile_is_the_one_that_is_checked_in() {
    let file: PathBuf = tilt::source().join("client-lib/examples/demo.clvprofile");
    if std::env::var_os("CLAVIGER_WRITE_PROFILE").is_some() {
        std::fs::write(&file, tilt::profile() + "\n").unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap().trim(), tilt::profile());
}

/// Qtractor's own scanner, which its main program runs for each plug-in file.
#[test]
fn qtractor_finds_it() {
    let scanner = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]
        .map(|folder| Path::new(folder).join("qtractor/qtractor_plugin_scan"))
        .into_iter()
        .find(|file| file.exists())
        .expect("Qtractor is installed");
    for home in [Home::licensed(), Home::new()] {
        let mut command = Command::new(&scanner);
        command.env("CLAVIGER_HOME", home.path()).env("QT_QPA_PLATFORM", "offscreen");
        let done =
            claviger_tests::process::run(&mut command, &format!("CLAP:{}\n", tilt::clap().display())).ok();
        assert!(done.stdout.starts_with("CLAP|Tilt|2:2|"), "{done}");
    }
}

/// A daemon that writes down what it is told, and says yes.
struct Listener(std::sync::mpsc::Receiver<String>);

impl Listener {
    fn start(home: &Home) -> Self {
        use std::io::{BufRead as _, Write as _};
        std::fs::create_dir_all(home.path().join("run")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(home.path().join("run/daemon.sock")).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let mut reader = std::io::BufReader::new(stream);
                let mut call = Vec::new();
                let length = reader.read_until(0, &mut call).unwrap_or(0);
                let call = String::from_utf8_lossy(&call[..length.saturating_sub(1)]).into_owned();
                if tell.send(call).is_err() {
                    return;
                }
                let _gone = reader.get_mut().write_all(b"{\"parameters\":{}}\0");
            }
        });
        Self(told)
    }
}

/// Fifty instances under consent are one call of the daemon; without consent there is none.
#[test]
fn uses_are_told_once_and_under_consent_alone() {
    let run = |home: &Home| {
        let mut host = ClapHost::start(HOST, home.path());
        let _opened = host.open(&tilt::clap(), 50);
        let _played = host.ask(&["process", "0.2"]);
        let _closed = host.ask(&["close"]);
        // Opened again, as for a bounce.
        let _opened = host.ask(&["open", "1"]);
        let _played = host.ask(&["process", "0.2"]);
        let _closed = host.ask(&["close"]);
        host
    };
    let home = Home::licensed();
    let listener = Listener::start(&home);
    run(&home).end();
    assert!(listener.0.try_recv().is_err(), "the daemon was called without consent");

    let note = home.path().join("certs/com.example/counting.json");
    std::fs::write(&note, "{\"until\":32503680000}").unwrap();
    let host = run(&home);
    let call = listener.0.recv_timeout(claviger_tests::process::PATIENCE).unwrap();
    let call: serde_json::Value = serde_json::from_str(&call).unwrap();
    assert_eq!(call["method"], "io.claviger.Daemon.ReportUse");
    // Our host is no DAW of the catalogue.
    let version = env!("CARGO_PKG_VERSION");
    let wanted = serde_json::json!({ "product": tilt::PRODUCT, "version": version, "daw": "other" });
    assert_eq!(call["parameters"], wanted);
    host.end();
    assert!(listener.0.try_recv().is_err(), "one use was told twice");

    std::fs::write(&note, "{\"until\":1}").unwrap();
    run(&home).end();
    assert!(listener.0.try_recv().is_err(), "a consent that is over");
}
