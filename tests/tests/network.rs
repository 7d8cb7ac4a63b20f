//! Everything that a network does to people: each time an end in bounded time, a sentence that says what to do, and the
//! licenses that are there untouched.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::time::Duration;

use claviger_tests::proxy::{FullQueue, Mode, Proxy};
use claviger_tests::vendor::Vendor;
use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};

/// A person waits this long at most.
const LIMIT: Duration = Duration::from_secs(60);
/// The exit code of “cannot be reached”.
const UNREACHABLE: i32 = 9;

/// Has one license already, tries to activate another through a broken network, and may do so once it is mended.
fn through(mode: &Mode) {
    let world = World::new();
    let (held, wanted) = (world.issue(1), world.issue(1));
    let mut machine = world.this_machine();
    let _said = machine.activate(&held).ok();

    world.proxy.set_mode(mode.clone());
    let done = machine.activate(&wanted).refused();
    assert_eq!(done.code, Some(UNREACHABLE), "{mode:?}: {done}");
    assert!(done.took < LIMIT, "{mode:?}: {done}");
    let words = done.stderr.split_whitespace().count();
    assert!(words > 8, "{mode:?}: a sentence that says what to do: {done}");
    assert!(!done.text().contains("panicked"), "{done}");
    assert!(machine.is_licensed(PRODUCT), "{mode:?}: the license that was there");
    let _bounded = machine.claviger(&["license", "refresh"]);
    assert!(machine.is_licensed(PRODUCT), "{mode:?}: a refresh that fails takes nothing");
    let pid = machine.daemon().pid();
    let peak = peak_kib(pid);
    assert!(peak < 64 * 1024, "{mode:?}: the daemon grew to {peak} KiB");

    world.proxy.set_mode(Mode::Forward);
    let _said = machine.activate(&wanted).ok();
    assert_eq!((world.seats_taken(&held), world.seats_taken(&wanted)), (1, 1), "{mode:?}");
}

/// The most memory that a process has had.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn connection_refused() {
    through(&Mode::Refuse);
}

#[test]
fn taken_and_never_answered() {
    through(&Mode::BlackHole);
}

#[test]
fn an_answer_that_drips() {
    through(&Mode::Drip);
}

#[test]
fn an_answer_cut_in_its_middle() {
    through(&Mode::CutBody);
}

#[test]
fn an_answer_that_is_lost() {
    through(&Mode::LoseAnswer);
}

#[test]
fn an_error_of_some_machine_in_between() {
    for status in [500, 502, 503] {
        through(&Mode::Status(status));
    }
}

#[test]
fn a_page_where_an_answer_should_be() {
    through(&Mode::Html);
}

#[test]
fn an_answer_without_end() {
    through(&Mode::Endless);
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = Proxy::start(None);
    through(&Mode::Redirect(format!("http://{}", elsewhere.address)));
    assert_eq!(elsewhere.requests(), 0, "nothing was sent elsewhere");
}

#[test]
fn packets_that_vanish() {
    let queue = FullQueue::new();
    let vendor = Vendor::new("com.vanish", "VAN");
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let profile = folder.path().join("p.clvprofile");
    std::fs::write(&profile, vendor.profile(&format!("http://{}", queue.address))).unwrap();
    let mut machine = Machine::this(&folder.path().join("m"));
    machine.start_daemon();
    machine.add_vendor(&profile);
    let done = machine.activate(&vendor.license()).refused();
    assert_eq!(done.code, Some(UNREACHABLE), "{done}");
    assert!(done.took < LIMIT, "{done}");
}

#[test]
fn a_name_that_nobody_knows() {
    let vendor = Vendor::new("com.nobody", "NOB");
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let profile = folder.path().join("p.clvprofile");
    std::fs::write(&profile, vendor.profile("https://licenses.nobody.invalid")).unwrap();
    let mut machine = Machine::this(&folder.path().join("m"));
    machine.start_daemon();
    machine.add_vendor(&profile);
    let done = machine.activate(&vendor.license()).refused();
    assert_eq!(done.code, Some(UNREACHABLE), "{done}");
    assert!(done.took < LIMIT, "{done}");
    let _said = done.says(&["name", "could not be found"]);
}
