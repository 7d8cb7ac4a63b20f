//! Withdrawal under fire: the real daemon is killed with SIGKILL at each step of an upload. At most the request in flight
//! completes; a withdrawal after it is the end of it; without one, the vendor counts once, however often it was killed.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::PathBuf;

use claviger_protocol::clock::{Clock as _, DAY, Timestamp};
use claviger_protocol::telemetry::closes;
use claviger_tests::machine::copy_folder;
use claviger_tests::person::{agree, go_to};
use claviger_tests::platform::killed_itself;
use claviger_tests::process::PATIENCE;
use claviger_tests::proxy::Mode;
use claviger_tests::statistics::{Course, Statistics, VERSION, wait_for};
use claviger_tests::world::{PRODUCT, Setting};
use claviger_tests::{Machine, slow};
use serde_json::{Value, json};

/// How a daemon is killed in the middle of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kill {
    /// At this point of the program.
    At(&'static str),
    /// From outside, once the request has arrived and nobody has answered it.
    Unanswered,
    /// From outside, once the vendor has done what was asked, and its answer was lost.
    AnswerLost,
}

const KILLS: [Kill; 5] = [
    Kill::At("telemetry-logged"),
    Kill::Unanswered,
    Kill::AnswerLost,
    Kill::At("telemetry-sent"),
    Kill::At("telemetry-stored"),
];

/// A daemon that is about to send something.
struct Scene {
    statistics: Statistics,
    machine: Machine,
    kept: PathBuf,
    /// When it will.
    due: Timestamp,
}

impl Scene {
    /// One minute before the first request of this purpose in the title's first week, or about it.
    fn before(purpose: &str) -> Self {
        let statistics = Statistics::begin(Setting::default());
        let world = &statistics.world;
        let mut machine = world.this_machine();
        let _said = machine.activate(&world.issue(1)).ok();
        agree(&machine);
        let mut course = Course::of(&machine, world.clock());
        course.go_to(statistics.first.start().plus(60));
        for _ in 0..3 {
            let used = json!({ "product": PRODUCT, "version": VERSION, "daw": "reaper" });
            let reply = machine.connect().call("ReportUse", &used).unwrap();
            assert!(reply.get("error").is_none(), "{reply}");
        }
        let due = course.go_before(purpose);
        machine.stop_daemon();
        let kept = world.path("kept");
        copy_folder(&machine.home, &kept);
        Self { statistics, machine, kept, due }
    }

    /// The daemon as it was before it sent anything, killed while it does.
    fn kill(&mut self, how: &Kill) {
        let clock = self.statistics.clock().clone();
        std::fs::remove_dir_all(&self.machine.home).unwrap();
        copy_folder(&self.kept, &self.machine.home);
        let proxy = self.statistics.world.proxy.clone();
        proxy.set_mode(match how {
            Kill::At(_) => Mode::Forward,
            Kill::Unanswered => Mode::BlackHole,
            Kill::AnswerLost => Mode::LoseAnswer,
        });
        let before = proxy.requests();
        clock.go_to(self.due.plus(-60));
        let point = match how {
            Kill::At(point) => *point,
            _ => "never",
        };
        self.machine.daemon = Some(self.machine.try_start_daemon(&[("CLAVIGER_FAULT", point)]).unwrap());
        clock.go_to(self.due);
        let mut daemon = self.machine.daemon.take().unwrap();
        if let Kill::At(_) = how {
            let ended = daemon.wait_end(PATIENCE);
            assert!(killed_itself(ended), "{how:?}: {ended}\n{}", daemon.output());
        } else {
            wait_for("the request to arrive", || (proxy.requests() > before).then_some(()));
            daemon.kill();
        }
        proxy.set_mode(Mode::Forward);
        let sent = proxy.requests() - before;
        assert!(sent <= 1, "{how:?}: {sent} requests");
        assert_eq!(sent == 0, *how == Kill::At("telemetry-logged"), "{how:?}: {sent} requests");
    }

    fn consents(&self) -> Value {
        self.machine.json(&["consent", "show"])["consents"][0].clone()
    }
}

/// Killed, started again and withdrawn: forty days of silence.
fn withdrawn_is_the_end(scene: &mut Scene) {
    let clock = scene.statistics.clock().clone();
    let proxy = scene.statistics.world.proxy.clone();
    for how in &KILLS {
        scene.kill(how);
        // Switched on again after a while: what was missed gets a moment of its own, later than the person's no.
        let before = proxy.paths().len();
        clock.go_to(scene.due.plus(15 * 60));
        scene.machine.start_daemon();
        let withdrawn = scene.machine.json(&["consent", "withdraw"]);
        assert_eq!(withdrawn["consent"]["state"], "withdrawn", "{how:?}");
        assert_eq!(scene.machine.json(&["privacy", "preview"]), json!({ "planned": [], "counted": [] }));
        let begun = clock.now();
        for day in 1..=40 {
            go_to(&scene.machine, &clock, begun.plus(day * DAY));
        }
        // It looked at the clock forty times and would have sent by now: this request comes after all of them.
        let _said = scene.machine.claviger(&["license", "refresh"]).ok();
        let since = &proxy.paths()[before..];
        assert!(since.iter().any(|path| path == "/v1/refresh"), "{how:?}: {since:?}");
        assert!(!since.iter().any(|path| path.starts_with("/v1/telemetry")), "{how:?}: {since:?}");
        assert_eq!(scene.consents()["state"], "withdrawn");
        scene.machine.stop_daemon();
    }
}

#[test]
fn killed_while_a_report_leaves_a_withdrawal_is_the_end_of_it() {
    withdrawn_is_the_end(&mut Scene::before("telemetry_report"));
}

#[test]
fn killed_while_plan_or_tokens_are_asked_for_too() {
    if !slow() {
        return;
    }
    for purpose in ["telemetry_plan", "telemetry_tokens"] {
        withdrawn_is_the_end(&mut Scene::before(purpose));
    }
}

#[test]
fn killed_and_not_withdrawn_the_report_is_repeated_as_it_was_and_counted_once() {
    let mut scene = Scene::before("telemetry_report");
    let mut bodies = std::collections::BTreeSet::new();
    for how in &KILLS {
        scene.kill(how);
        scene.machine.start_daemon();
        let mut course = Course::of(&scene.machine, scene.statistics.clock());
        course.go_to(scene.due.plus(2 * DAY));
        let planned = course.planned();
        assert!(planned.iter().all(|plan| plan["purpose"] != "telemetry_report"), "{how:?}: {planned:?}");
        let log = scene.machine.json(&["privacy", "log"]);
        let reports = log["sent"].as_array().unwrap().iter().filter(|e| e["purpose"] == "telemetry_report");
        bodies.extend(reports.map(|entry| entry["body"].as_str().unwrap().to_owned()));
        scene.machine.stop_daemon();
    }
    assert_eq!(bodies.len(), 1, "other bytes: {bodies:?}");
    let statistics = &scene.statistics;
    let others = statistics.others_fetch_tokens(statistics.first, 24);
    statistics.others_report(&others);
    statistics.clock().go_to(closes(statistics.first).plus(2 * 3_600));
    let cells = wait_for("the week to close", || {
        let cells = statistics.report()["cells"].clone();
        (cells != json!([])).then_some(cells)
    });
    assert_eq!(cells[0]["reports"], 25, "24 others and this one, once: {cells}");
}

#[test]
fn a_withdrawal_cuts_the_request_in_flight_off() {
    let mut scene = Scene::before("telemetry_report");
    let (clock, proxy) = (scene.statistics.clock().clone(), scene.statistics.world.proxy.clone());
    proxy.set_mode(Mode::BlackHole);
    let before = proxy.paths().len();
    scene.machine.start_daemon();
    clock.go_to(scene.due);
    wait_for("the request to arrive", || (proxy.paths().len() > before).then_some(()));
    let withdrawn = scene.machine.json(&["consent", "withdraw"]);
    assert_eq!(withdrawn["consent"]["state"], "withdrawn");
    let outcome = wait_for("the request to be cut off", || {
        let log = scene.machine.json(&["privacy", "log"]);
        let last = log["sent"].as_array().unwrap().last().unwrap().clone();
        last["outcome"].as_str().map(str::to_owned)
    });
    assert!(outcome.starts_with("cut off"), "{outcome}");
    proxy.set_mode(Mode::Forward);
    for day in 1..=30 {
        go_to(&scene.machine, &clock, scene.due.plus(day * DAY));
    }
    let _said = scene.machine.claviger(&["license", "refresh"]).ok();
    let since = &proxy.paths()[before..];
    let about_statistics = since.iter().filter(|path| path.starts_with("/v1/telemetry")).count();
    assert_eq!(about_statistics, 1, "the one that was cut off: {since:?}");
    assert!(since.iter().any(|path| path == "/v1/refresh"), "{since:?}");
}
