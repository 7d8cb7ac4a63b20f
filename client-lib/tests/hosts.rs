//! DAW recognition against recorded process facts, and uses: coalesced, described, and without consent nothing at all.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use claviger_client::host::{Catalogue, HostWord, ProcessFact, recognise};
use claviger_client::protocol::daw::Daw;
use claviger_client::usage::{UsageSink, Use};
use claviger_client::{OpenOptions, Vendor};
use common::{DAY, NOW, SYNTH, World};

fn fact(text: &str) -> ProcessFact {
    let (program, label) = text.split_once('|').unwrap_or((text, ""));
    ProcessFact { program: program.to_owned(), label: (!label.is_empty()).then(|| label.to_owned()) }
}

/// Processes (the plug-in's own first, `|` before a label), the host's word, and what must be said.
const RECORDED: &[(&[&str], &str, &str, Option<&str>)] = &[
    // Each DAW by its processes.
    (&["Live/Ableton Live 12 Suite.exe"], "", "ableton-live", Some("12")),
    (&["MacOS/Live|com.ableton.live"], "", "ableton-live", None),
    (&["ardour7/ardour-7.3.0~ds0"], "", "ardour", Some("7.3.0~ds0")),
    (&["ardour7/luasession", "bin/xvfb-run"], "", "ardour", Some("7")),
    (&["MacOS/Ardour8|org.ardour.Ardour8"], "", "ardour", Some("8")),
    (&["bin/audacity"], "", "audacity", None),
    (&["bin/bitwig-studio"], "", "bitwig-studio", None),
    (&["Cakewalk Core/Cakewalk.exe"], "", "cakewalk", None),
    (&["carla/carla"], "", "carla", None),
    (&["Cubase 13/Cubase13.exe"], "", "cubase", Some("13")),
    (&["MacOS/Cubase 12|com.steinberg.cubase12"], "", "cubase", Some("12")),
    (&["bin/resolve"], "", "davinci-resolve", None),
    (&["MacOS/Digital Performer|com.motu.DigitalPerformer"], "", "digital-performer", None),
    (&["FL Studio 21/FL64.exe"], "", "fl-studio", None),
    (&["MacOS/OsxFL|com.image-line.flstudio"], "", "fl-studio", None),
    (&["MacOS/GarageBand|com.apple.garageband10"], "", "garageband", None),
    (&["MacOS/Logic Pro|com.apple.logic10"], "", "logic-pro", None),
    (&["MacOS/LUNA|com.uaudio.luna"], "", "luna", None),
    (&["MacOS/MainStage|com.apple.mainstage3"], "", "mainstage", None),
    (&["bin/mixbus-9.2.172"], "", "mixbus", Some("9.2.172")),
    (&["MPC/MPC.exe"], "", "mpc", None),
    (&["Nuendo 13/Nuendo13.exe"], "", "nuendo", Some("13")),
    (&["Pro Tools/ProTools.exe"], "", "pro-tools", None),
    (&["MacOS/Pro Tools|com.avid.ProTools"], "", "pro-tools", None),
    (&["bin/qtractor"], "", "qtractor", None),
    (&["qtractor/qtractor_plugin_scan", "bin/qtractor"], "", "qtractor", None),
    (&["REAPER/reaper"], "", "reaper", None),
    (&["REAPER (x64)/reaper.exe"], "", "reaper", None),
    (&["Reason 12/Reason.exe"], "", "reason", None),
    (&["renoise-3.4.3/renoise"], "", "renoise", None),
    (&["Samplitude Pro X8/Sam.exe"], "", "samplitude", None),
    (&["Studio One 6/Studio One.exe"], "", "studio-one", None),
    (&["bin/Waveform12"], "", "tracktion", Some("12")),
    (&["Waveform 13/Waveform 13 (64-bit).exe"], "", "tracktion", Some("13")),
    (&["bin/zrythm"], "", "zrythm", None),
    // Bridges and sandboxed hosts: the DAW behind them.
    (&["bin/BitwigPluginHost-X64-SSE41", "bin/BitwigAudioEngine-X64-AVX2"], "", "bitwig-studio", None),
    (&["Plugins/reaper_host_x86_64", "REAPER/reaper"], "", "reaper", None),
    (&["carla/carla-bridge-native", "bin/zrythm"], "", "zrythm", None),
    (&["carla/carla-bridge-native", "carla/carla"], "", "carla", None),
    (&["bin/yabridge-host.exe", "bin/bitwig-studio"], "", "bitwig-studio", None),
    (&["wine/wine64-preloader", "bin/sh", "REAPER/reaper"], "", "reaper", None),
    (&["MacOS/AUHostingServiceXPC|AUHostingService (Logic\u{a0}Pro)"], "", "logic-pro", None),
    (&["MacOS/AUHostingServiceXPC|AUHostingService (com.apple.garageband10)"], "", "garageband", None),
    (&["MacOS/AUHostingServiceXPC|AUHostingService (My own host)"], "", "other", None),
    (&["bin/yabridge-host.exe", "systemd/systemd"], "", "other", None),
    (&["bin/yabridge-host.exe"], "", "other", None),
    // The host's own word, and its version, beat the name of the process.
    (&["bin/my-launcher"], "Bitwig Studio/5.1.7", "bitwig-studio", Some("5.1.7")),
    (&["REAPER/reaper"], "Bitwig Studio/5.1.7", "bitwig-studio", Some("5.1.7")),
    (&["bin/anything"], "Cubase 13/", "cubase", None),
    (&["bin/anything"], "https://ardour.org/7.3", "ardour", Some("7.3")),
    (&["bin/anything"], "REAPER/7.08/linux64", "reaper", None),
    // A host nobody knows, inside a DAW: the DAW.
    (&["REAPER/reaper"], "A Rack Of Mine/1.0", "reaper", None),
    // Everything else is another program, whatever it is called.
    (&["bin/jalv"], "", "other", None),
    (&["bin/lv2bench"], "", "other", None),
    (&["home/reaper of souls"], "", "other", None),
    (&["jane-doe/secret-daw"], "Jane's Secret DAW/1.0", "other", None),
    (&["bin/ardourish"], "", "other", None),
    (&[], "", "other", None),
];

#[test]
fn recorded_facts_are_recognised() {
    let catalogue = Catalogue::own();
    let mut seen = std::collections::BTreeSet::new();
    for (chain, word, daw, version) in RECORDED {
        let chain: Vec<_> = chain.iter().map(|text| fact(text)).collect();
        // The last "/" but in an address parts name and version.
        let word = (!word.is_empty()).then(|| match word.strip_prefix("https://") {
            Some(rest) => {
                let (name, version) = rest.split_once('/').unwrap();
                HostWord::new(&format!("https://{name}"), version)
            }
            None => {
                let (name, version) = word.split_once('/').unwrap();
                HostWord::new(name, version)
            }
        });
        let found = recognise(&catalogue, &chain, word.as_ref());
        assert_eq!((found.daw.id(), found.version.as_deref()), (*daw, *version), "{chain:?} {word:?}");
        seen.insert(found.daw);
    }
    assert_eq!(seen.len(), Daw::ALL.len(), "each DAW of the catalogue, and other");
}

#[test]
fn the_catalogue_is_complete() {
    let catalogue = Catalogue::own();
    let listed: Vec<Daw> = catalogue.hosts().iter().map(|host| host.id).collect();
    let wanted: Vec<Daw> = Daw::ALL.iter().copied().filter(|daw| *daw != Daw::Other).collect();
    assert_eq!(listed, wanted, "one entry a DAW, in the order of the protocol");
    assert!(listed.len() >= 25);
    for host in catalogue.hosts() {
        assert_eq!(host.name, host.id.title());
        assert!(host.sources.len() > 3, "{} has no source", host.name);
        assert!(!host.linux.is_empty() || !host.windows.is_empty() || !host.macos.is_empty());
    }
}

/// What was told.
#[derive(Default)]
struct Told(Mutex<Vec<Use>>);

impl UsageSink for Told {
    fn take(&self, finished: Use) {
        self.0.lock().unwrap().push(finished);
    }
}

impl Told {
    fn wait_for(&self, count: usize) -> Vec<Use> {
        let begun = Instant::now();
        loop {
            let told = self.0.lock().unwrap().clone();
            if told.len() >= count {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{told:?}");
            std::thread::yield_now();
        }
    }
}

fn vendor(world: &World, told: &Arc<Told>) -> Vendor {
    world.builder().usage(told.clone()).build().vendor(&world.profile).unwrap()
}

fn agree(world: &World, until: i64) {
    world.vendor_file("counting.json", format!("{{\"until\":{until}}}"));
}

#[test]
fn fifty_instances_are_one_use() {
    let world = World::new();
    world.install(&world.certificate());
    agree(&world, NOW + DAY);
    let told = Arc::new(Told::default());
    let vendor = vendor(&world, &told);
    let license = vendor.open(SYNTH, OpenOptions::new()).unwrap();
    let sessions: Vec<_> = (0..50).map(|_| license.use_session()).collect();
    for session in &sessions {
        session.describe("2.4.1", "Bitwig Studio", "5.1.7");
        session.begin();
        session.begin();
    }
    // An instance that processed nothing is no use.
    drop(license.use_session());
    for session in &sessions[1..] {
        session.end();
        session.end();
    }
    assert!(told.0.lock().unwrap().is_empty(), "one still runs");
    drop(sessions);
    let uses = told.wait_for(1);
    assert_eq!(uses.len(), 1);
    assert_eq!((uses[0].product.as_str(), uses[0].version.as_str()), (SYNTH, "2.4.1"));
    assert_eq!((uses[0].host.daw, uses[0].host.version.as_deref()), (Daw::BitwigStudio, Some("5.1.7")));
    // Stopped and begun again, as for a bounce: the same use. Another product is another.
    let again = license.use_session();
    again.begin();
    again.end();
    let other = vendor.open("com.example.delay", OpenOptions::new()).unwrap().use_session();
    other.begin();
    other.end();
    let uses = told.wait_for(2);
    assert_eq!(uses.len(), 2);
    // A host that says nothing, in a process that nobody knows.
    assert_eq!((uses[1].product.as_str(), uses[1].host.daw), ("com.example.delay", Daw::Other));
}

/// Runs one test of this file in a process of its own, where no other test starts threads and the environment is read anew.
/// True in that process.
fn alone(name: &str, env: (&str, &str)) -> bool {
    if std::env::var_os("CLAVIGER_TEST_ALONE").is_some() {
        return true;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let ran =
        child.args([name, "--exact"]).env("CLAVIGER_TEST_ALONE", "1").env(env.0, env.1).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    false
}

#[test]
fn without_consent_nothing_is_told() {
    if !alone("without_consent_nothing_is_told", ("DO_NOT_TRACK", "")) {
        return;
    }
    for until in [None, Some(NOW - 1)] {
        let world = World::new();
        world.install(&world.certificate());
        if let Some(until) = until {
            agree(&world, until);
        }
        let told = Arc::new(Told::default());
        let session = vendor(&world, &told).open(SYNTH, OpenOptions::new()).unwrap().use_session();
        session.describe("1.0", "REAPER", "7");
        session.begin();
        let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
        session.end();
        drop(session);
        assert!(std::fs::read_dir("/proc/self/task").unwrap().count() <= threads);
        assert!(told.0.lock().unwrap().is_empty());
    }
}

#[test]
fn a_use_during_which_consent_was_withdrawn_is_not_told() {
    let world = World::new();
    agree(&world, NOW + DAY);
    let told = Arc::new(Told::default());
    let vendor = vendor(&world, &told);
    let session = vendor.open(SYNTH, OpenOptions::new()).unwrap().use_session();
    session.begin();
    std::fs::remove_file(world.certs().join("com.example/counting.json")).unwrap();
    session.end();
    // The work holds the sink until it is done.
    let begun = Instant::now();
    while Arc::strong_count(&told) > 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the work has no end");
        std::thread::yield_now();
    }
    assert!(told.0.lock().unwrap().is_empty());
}

#[test]
fn do_not_track_of_the_host_counts_nothing() {
    if !alone("do_not_track_of_the_host_counts_nothing", ("DO_NOT_TRACK", "1")) {
        return;
    }
    let world = World::new();
    world.install(&world.certificate());
    agree(&world, NOW + DAY);
    let told = Arc::new(Told::default());
    let session = vendor(&world, &told).open(SYNTH, OpenOptions::new()).unwrap().use_session();
    session.begin();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    session.end();
    drop(session);
    assert!(std::fs::read_dir("/proc/self/task").unwrap().count() <= threads);
    assert!(told.0.lock().unwrap().is_empty());
}
