//! The controller without a window and without a daemon: what a person does, what comes back, what is shown and what is begun.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::http::{SeatHolder, Seats};
use claviger_protocol::ids::{DeviceName, MachineId};
use claviger_protocol::ipc::{DeactivateReply, License, LicensesReply, Vendor};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockCode;
use ring::rand::SystemRandom;

use super::*;
use crate::tasks::{Loaded, News, Task};
use crate::view::{Act, Change, Form, View};

/// A view that remembers.
#[derive(Default)]
struct Seen(RefCell<Vec<Change>>);

impl View for Seen {
    fn show(&self, change: Change) {
        self.0.borrow_mut().push(change);
    }
}

impl Seen {
    fn last<T>(&self, pick: impl Fn(&Change) -> Option<T>) -> T {
        self.0.borrow().iter().rev().find_map(pick).expect("nothing of the kind was shown")
    }
    fn never(&self, pick: impl Fn(&Change) -> bool) -> bool {
        !self.0.borrow().iter().any(pick)
    }
    fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

#[derive(Clone, Default)]
struct Begun(Rc<RefCell<Vec<Task>>>);

impl Hands for Begun {
    fn begin(&self, task: Task) {
        self.0.borrow_mut().push(task);
    }
    fn listen_again(&self) {}
}

struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_305_600)
    }
}

struct Stage {
    controller: Controller,
    seen: Rc<Seen>,
    begun: Begun,
    home: tempfile::TempDir,
}

fn stage() -> Stage {
    let (seen, begun, home) = (Rc::new(Seen::default()), Begun::default(), tempfile::tempdir().unwrap());
    let file = Some(home.path().join("window.json"));
    let controller = Controller::new(
        seen.clone(),
        Box::new(begun.clone()),
        Arc::new(Fixed),
        (Prefs::default(), Prefs::default(), file),
        Language::English,
    );
    Stage { controller, seen, begun, home }
}

impl Stage {
    fn loaded(licenses: Vec<License>, vendors: Vec<Vendor>) -> Self {
        let mut stage = stage();
        stage.controller.begin();
        stage.load(licenses, vendors);
        stage.begun.0.borrow_mut().clear();
        stage
    }

    fn load(&mut self, licenses: Vec<License>, vendors: Vec<Vendor>) {
        let status = serde_json::json!({
            "version": "1", "mode": "user", "pid": 1, "vendors": 1, "activations": 1, "receipts_waiting": 0,
            "intents_waiting": 0, "network": true, "may_change": true,
        });
        self.controller.hear(News::Loaded(Ok(Box::new(Loaded {
            status: serde_json::from_value(status).unwrap(),
            vendors,
            licenses: LicensesReply { licenses, warnings: Vec::new() },
            machines: Vec::new(),
            system: false,
        }))));
    }

    fn task(&self) -> Task {
        self.begun.0.borrow_mut().pop().expect("nothing was begun")
    }
    fn idle(&self) -> bool {
        self.begun.0.borrow().is_empty()
    }
}

fn vendor() -> Vendor {
    vendor_of("com.example", "SOL")
}

fn vendor_of(id: &str, prefix: &str) -> Vendor {
    let json = serde_json::json!({
        "id": id, "name": format!("Vendor {prefix}"), "prefix": prefix, "server": "https://example.com", "keyset": 1,
    });
    serde_json::from_value(json).unwrap()
}

fn license(number: u32, name: &str, status: &str) -> License {
    let json = serde_json::json!({
        "vendor": "com.example", "vendor_name": "Vendor SOL", "serial": format!("SHOP{number:06}"),
        "activation": format!("{number:032x}"), "revision": 1, "product": "com.example.synth", "product_name": name,
        "opens": ["com.example.synth"], "kind": "perpetual", "status": status, "since": 1_790_000_000,
        "entitlements": [], "certificate": if status == "licensed" { Some("a.b.c") } else { None },
    });
    serde_json::from_value(json).unwrap()
}

fn typed() -> (String, String) {
    let rng = SystemRandom::new();
    let serial = Serial::random(&"SOL".parse().unwrap(), &rng).unwrap();
    (serial.to_string(), UnlockCode::random(&rng).unwrap().reveal().to_owned())
}

fn problem_of(seen: &Seen) -> String {
    seen.last(|change| match change {
        Change::Adding(view) => Some(view.problem.code.to_string()),
        _ => None,
    })
}

#[test]
fn a_license_is_activated_by_typing_and_one_click() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    let (serial, code) = typed();
    stage.controller.act(Act::Activate);
    assert!(stage.idle(), "an empty form activates nothing");
    stage.controller.act(Act::Serial(Form::Adding, serial.clone()));
    stage.controller.act(Act::Code(Form::Adding, code.clone()));
    let ready = stage.seen.last(|change| match change {
        Change::Form(Form::Adding, view) => Some(view.ready),
        _ => None,
    });
    assert!(ready);
    stage.controller.act(Act::Activate);
    let Task::Activate(call) = stage.task() else { panic!("not an activation") };
    assert_eq!((call.serial.as_str(), call.unlock_code.as_deref()), (serial.as_str(), Some(code.as_str())));
    assert_eq!(call.vendor.unwrap().as_str(), "com.example");
    stage.controller.act(Act::Activate);
    assert!(stage.idle(), "a second click while it is under way begins nothing");
    stage.controller.hear(News::Activated(Ok(Box::new(license(1, "Solstice", "licensed")))));
    let (name, wiped) = (
        stage.seen.last(|change| match change {
            Change::Adding(view) => view.result.as_ref().map(|product| product.name.to_string()),
            _ => None,
        }),
        stage.seen.last(|change| match change {
            Change::FormText(Form::Adding, Some(serial), Some(code)) => {
                Some(serial.is_empty() && code.is_empty())
            }
            _ => None,
        }),
    );
    assert_eq!(name, "Solstice");
    assert!(wiped, "serial number and code do not stay in the fields");
}

#[test]
fn a_full_license_names_its_computers_and_asks_before_it_takes_one_over() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    let (serial, code) = typed();
    stage.controller.act(Act::Serial(Form::Adding, serial));
    stage.controller.act(Act::Code(Form::Adding, code));
    stage.controller.act(Act::Activate);
    stage.task();
    let holder = SeatHolder {
        machine_id: MachineId([1; 16]),
        device_name: DeviceName::lossy("Studio"),
        since: Timestamp(1_790_000_000),
        last_seen: Timestamp(1_790_000_000),
    };
    let mut trouble = Trouble::new("seats_taken", "all seats are taken");
    trouble.seats = Some(Box::new(Seats { total: 1, holders: vec![holder] }));
    stage.controller.hear(News::Activated(Err(trouble)));
    assert_eq!(problem_of(&stage.seen), "seats_taken");
    let id = MachineId([1; 16]).to_string();
    stage.controller.act(Act::Replace { id: id.clone(), name: "Studio".into() });
    assert!(stage.idle(), "a question comes first");
    stage.controller.act(Act::Answer(false));
    assert!(stage.idle(), "no means no");
    stage.controller.act(Act::Replace { id: id.clone(), name: "Studio".into() });
    stage.controller.act(Act::Answer(true));
    let Task::Activate(call) = stage.task() else { panic!("not an activation") };
    assert_eq!(call.replace_machine, Some(id));
}

#[test]
fn deactivating_asks_names_the_activation_and_says_what_came_of_it() {
    let held = license(7, "Solstice", "licensed");
    let mut stage = Stage::loaded(vec![held.clone()], vec![vendor()]);
    let key = held.activation.to_string();
    stage.controller.act(Act::Deactivate(key.clone()));
    assert!(stage.idle());
    stage.controller.act(Act::Answer(true));
    let Task::Deactivate { key: of, target } = stage.task() else { panic!("not a deactivation") };
    assert_eq!((of.as_str(), target.as_str()), (key.as_str(), key.as_str()));
    for (delivered, word) in [(true, "deactivated"), (false, "deactivated-later")] {
        let reply = DeactivateReply { license: held.clone(), delivered };
        stage.controller.hear(News::Deactivated { key: key.clone(), answer: Ok(Box::new(reply)) });
        let said = stage.seen.last(|change| match change {
            Change::Said { word, .. } => Some(*word),
            _ => None,
        });
        assert_eq!(said, word);
    }
}

#[test]
fn the_list_is_grouped_searched_and_filtered() {
    let licenses = vec![
        license(1, "Solstice", "licensed"),
        license(2, "Meridian", "expired"),
        license(3, "Aurora", "given_up"),
        License {
            vendor: "org.other".parse().unwrap(),
            vendor_name: "Other".into(),
            ..license(4, "Zeta", "licensed")
        },
    ];
    let mut stage = Stage::loaded(licenses, vec![vendor()]);
    let listing = |stage: &Stage| {
        stage.seen.last(|change| match change {
            Change::Products { listing, .. } => Some(
                (0..listing.len())
                    .filter_map(|at| listing.row(at))
                    .map(|row| {
                        if row.header {
                            format!("# {} {}", row.vendor, row.count)
                        } else {
                            row.name.to_string()
                        }
                    })
                    .collect::<Vec<_>>(),
            ),
            _ => None,
        })
    };
    assert_eq!(listing(&stage), ["# Other 1", "Zeta", "# Vendor SOL 3", "Aurora", "Meridian", "Solstice"]);
    let mut filter = |search: &str, vendor, state| {
        stage.controller.act(Act::Filter { search: search.into(), vendor, state });
        listing(&stage)
    };
    assert_eq!(filter("sol meri", 0, 0), ["# Vendor SOL 1", "Meridian"]);
    assert_eq!(filter("shop-000001", 0, 0), ["# Vendor SOL 1", "Solstice"]);
    assert_eq!(filter("", 1, 0), ["# Other 1", "Zeta"]);
    assert_eq!(filter("", 0, 1), ["# Other 1", "Zeta", "# Vendor SOL 1", "Solstice"]);
    assert_eq!(filter("", 0, 2), ["# Vendor SOL 1", "Meridian"]);
    assert_eq!(filter("", 0, 3), ["# Vendor SOL 1", "Aurora"]);
    assert_eq!(filter("nothing like it", 0, 0), Vec::<String>::new());
}

#[test]
fn fifty_thousand_hostile_licenses_are_bounded_and_quick() {
    let nasty = format!("\u{202e}<b>{}\n\u{1b}[2J", "🎹A\u{301}".repeat(2_000));
    let licenses: Vec<License> = (0..60_000).map(|n| license(n + 1, &nasty, "licensed")).collect();
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    let begun = std::time::Instant::now();
    stage.load(licenses, vec![vendor()]);
    let took = begun.elapsed();
    let (rows, row) = stage.seen.last(|change| match change {
        Change::Products { listing, cut: true, .. } => Some((listing.len(), listing.row(1)?)),
        _ => None,
    });
    assert_eq!(rows, crate::catalog::MOST + 1);
    assert!(row.name.chars().count() <= 121 && !row.name.contains(['\u{202e}', '\u{1b}', '\n']));
    assert!(took.as_secs() < 20, "{took:?} (debug build)");
}

#[test]
fn a_daemon_that_is_missing_is_started_once_and_then_told() {
    let mut stage = stage();
    stage.controller.begin();
    stage.begun.0.borrow_mut().clear();
    let missing = || News::Lost(Trouble::new("daemon_not_running", "nobody listens"));
    let state = |stage: &Stage| {
        stage.seen.last(|change| match change {
            Change::Connection { state, starting, .. } => Some((*state, *starting)),
            _ => None,
        })
    };
    stage.controller.hear(missing());
    assert!(matches!(stage.task(), Task::Start), "the window starts it by itself");
    assert_eq!(state(&stage), (ui::Connection::Missing, true));
    stage.controller.hear(missing());
    assert!(stage.idle(), "once");
    stage.controller.hear(News::Started(Err(Trouble::new("daemon_not_started", "it ended at once"))));
    assert_eq!(state(&stage), (ui::Connection::Broken, false));
    stage.controller.hear(missing());
    assert_eq!(state(&stage), (ui::Connection::Missing, false));
    assert!(stage.idle(), "the second time a person does");
    stage.controller.act(Act::StartDaemon);
    assert!(matches!(stage.task(), Task::Start));
    stage.controller.hear(News::Started(Ok(())));
    assert!(matches!(stage.task(), Task::Load));
    stage.load(Vec::new(), vec![vendor()]);
    assert_eq!(state(&stage), (ui::Connection::Up, false));
    stage.begun.0.borrow_mut().clear();
    stage.controller.hear(missing());
    assert!(stage.idle(), "a daemon that was ended stays so until a person starts it");
    stage.controller.hear(News::Lost(Trouble::new("daemon_denied", "no")));
    assert_eq!(state(&stage).0, ui::Connection::Refused);
}

#[test]
fn nobody_starts_a_daemon_beside_the_computers_own() {
    let mut stage = stage();
    stage.controller.begin();
    stage.begun.0.borrow_mut().clear();
    stage.controller.hear(News::Lost(Trouble::new("system_down", "nobody listens")));
    assert!(stage.idle());
}

#[test]
fn a_daemon_that_restarts_is_asked_for_everything_again() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    stage.controller.hear(News::Lost(Trouble::new("daemon_gone", "it ended")));
    stage.controller.hear(News::Licenses(LicensesReply::default()));
    assert!(matches!(stage.task(), Task::Load));
}

#[test]
fn consent_is_asked_with_its_notice_and_either_answer_echoes_the_challenge() {
    let notice = serde_json::json!({
        "notice": {
            "vendor": "com.example", "vendor_name": "Example", "id": "n", "version": 2, "sha256": "x", "language": "en",
            "title": "T", "text": "a\nb\u{202e}", "purpose": "p", "fields": ["week", "uses"], "controller": "c",
            "address": "a", "contact": "m", "authority": "au", "authority_url": "u", "policy_url": "pu",
            "policy_version": "1", "effective": "2026-11-01", "recipients": [], "retention_days": 365, "jurisdiction": "DE",
        },
        "challenge": "echo",
    });
    let consent = |state: &str| -> claviger_protocol::ipc::Consent {
        let json = serde_json::json!({
            "vendor": "com.example", "vendor_name": "Example", "state": state, "counting": state == "given",
        });
        serde_json::from_value(json).unwrap()
    };
    for agree in [false, true] {
        let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
        stage.controller.act(if agree { Act::Agree } else { Act::Refuse });
        assert!(stage.idle(), "nobody decides about a notice that was not shown");
        let id: claviger_protocol::ids::VendorId = "com.example".parse().unwrap();
        stage.controller.act(Act::Read(id.clone()));
        assert!(matches!(stage.task(), Task::ShowNotice { language: "en", .. }));
        let reply = serde_json::from_value(notice.clone()).unwrap();
        stage.controller.hear(News::Notice(id.clone(), Ok(Box::new(reply))));
        let text = stage.seen.last(|change| match change {
            Change::Notice(Some(notice)) => Some(notice.text.to_string()),
            _ => None,
        });
        assert_eq!(text, "a\nb");
        stage.controller.act(if agree { Act::Agree } else { Act::Refuse });
        let Task::Decide { challenge, agree: said, .. } = stage.task() else { panic!("not a decision") };
        assert_eq!((challenge.as_str(), said), ("echo", agree));
        let answer = Ok(Box::new(consent(if agree { "given" } else { "refused" })));
        stage.controller.hear(News::Decided { agree, answer });
        let said = stage.seen.last(|change| match change {
            Change::Said { word, .. } => Some(*word),
            _ => None,
        });
        assert_eq!(said, if agree { "agreed" } else { "refused" });
    }
}

#[test]
fn a_link_asks_first_and_fills_in_a_serial_number_only() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    let (serial, code) = typed();
    let fills = |change: &Change| matches!(change, Change::FormText(_, Some(text), _) if !text.is_empty());
    stage.controller.act(Act::Link(format!("claviger:activate?serial={serial}")));
    assert!(stage.seen.never(fills), "nothing is filled in before the answer");
    stage.controller.act(Act::Answer(false));
    assert!(stage.seen.never(fills) && stage.idle());
    stage.controller.act(Act::Knocked(
        serde_json::json!({ "link": format!("claviger:activate?serial={serial}") }).to_string(),
    ));
    stage.controller.act(Act::Answer(true));
    assert!(
        !stage.seen.never(
            |change| matches!(change, Change::FormText(Form::Adding, Some(text), _) if *text == serial)
        )
    );
    assert!(stage.idle(), "a link sends nothing");
    stage.seen.forget();
    stage.controller.act(Act::Link(format!("claviger:activate?serial={serial}&code={code}")));
    assert_eq!(problem_of(&stage.seen), "link_with_code");
    assert!(stage.seen.never(fills));
    stage.controller.act(Act::Knocked("not json".into()));
    assert!(stage.idle());
}

#[test]
fn warnings_come_with_every_change() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    let told = |stage: &Stage| {
        stage.seen.last(|change| match change {
            Change::Products { warnings, .. } => Some(warnings.clone()),
            _ => None,
        })
    };
    let warnings = vec!["the folder cannot be read".to_owned()];
    stage.controller.hear(News::Licenses(LicensesReply { licenses: Vec::new(), warnings }));
    assert_eq!(told(&stage), ["The folder cannot be read."]);
    stage.controller.hear(News::Licenses(LicensesReply::default()));
    assert!(told(&stage).is_empty());
}

#[test]
fn another_computers_seat_is_freed_by_the_unlock_code_after_a_question() {
    let mut stage = Stage::loaded(vec![license(7, "Solstice", "licensed")], vec![vendor()]);
    stage.controller.act(Act::Show(license(7, "", "licensed").activation.to_string()));
    stage.controller.act(Act::AskSeatsOf);
    let Task::Seats(Some(target)) = stage.task() else { panic!("not a question for seats") };
    let holder = |id: u8, name: &str| serde_json::json!({ "machine_id": MachineId([id; 16]), "device_name": name, "since": 100, "last_seen": 200 });
    let told = serde_json::json!({ "seats": [{
        "vendor": "com.example", "vendor_name": "V", "serial": "SHOP000007", "activation": format!("{:032x}", 7),
        "product": "com.example.synth", "product_name": "Solstice", "machine_id": MachineId([1; 16]), "total": 3,
        "taken": 2, "holders": [holder(1, "Here"), holder(2, "Attic")], "history": [],
    }]});
    stage.controller.hear(News::Seats(Some(target), Ok(serde_json::from_value(told).unwrap())));
    let seats = |stage: &Stage| {
        stage.seen.last(|change| match change {
            Change::Detail(view) => {
                Some(view.seats.iter().map(|s| (s.name.to_string(), s.here)).collect::<Vec<_>>())
            }
            _ => None,
        })
    };
    assert_eq!(seats(&stage), [("Here".to_owned(), true), ("Attic".to_owned(), false)]);
    let attic = MachineId([2; 16]).to_string();
    let free = Act::Free {
        serial: String::new(),
        machine: attic.clone(),
        name: "Attic".into(),
        code: "c0de".into(),
    };
    stage.controller.act(free);
    assert!(stage.idle(), "a question comes first");
    stage.controller.act(Act::Answer(true));
    let Task::Free(call) = stage.task() else { panic!("not freeing") };
    assert_eq!(
        (call.machine.as_str(), call.serial.as_str(), call.unlock_code.as_deref()),
        (attic.as_str(), "SHOP000007", Some("c0de"))
    );
    let done = serde_json::json!({
        "vendor": "com.example", "serial": "SHOP000007", "machine_id": MachineId([2; 16]), "device_name": "Attic",
    });
    stage.controller.hear(News::Freed(Ok(serde_json::from_value(done).unwrap())));
    assert_eq!(seats(&stage), [("Here".to_owned(), true)]);
}

#[test]
fn what_a_flag_sets_is_not_kept() {
    let mut stage = stage();
    stage.controller.prefs.theme = crate::prefs::Look::Light;
    stage.controller.act(Act::Still(true));
    let kept = Prefs::read(&stage.home.path().join("window.json"));
    assert_eq!((kept.theme, kept.still), (crate::prefs::Look::Dark, true));
}

#[test]
fn what_is_liked_is_kept() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    stage.controller.act(Act::Theme(crate::prefs::Look::Light));
    stage.controller.act(Act::Language(Some(Language::French)));
    let kept = Prefs::read(&stage.home.path().join("window.json"));
    assert_eq!((kept.theme, kept.language), (crate::prefs::Look::Light, Some(Language::French)));
}

#[test]
fn a_list_of_licenses_is_activated_line_by_line() {
    let mut stage = Stage::loaded(Vec::new(), vec![vendor()]);
    let ((one, code_one), (two, code_two)) = (typed(), typed());
    stage.controller.act(Act::Several(format!("{one} {code_one}\nnonsense here\n{two} {code_two}\n")));
    stage.controller.act(Act::ActivateAll);
    let Task::ActivateAll(calls) = stage.task() else { panic!("not a list") };
    assert_eq!(
        calls.iter().map(|call| call.serial.as_str()).collect::<Vec<_>>(),
        [one.as_str(), two.as_str()]
    );
    stage.controller.hear(News::LineBegun(0));
    stage.controller.hear(News::LineDone(0, Ok(Box::new(license(1, "Solstice", "licensed")))));
    stage.controller.hear(News::LineBegun(1));
    stage.controller.hear(News::LineDone(1, Err(Trouble::new("proof_refused", "no"))));
    stage.controller.hear(News::AllDone);
    let words = stage.seen.last(|change| match change {
        Change::Several { lines, busy: false, clear: true, .. } => {
            Some(lines.iter().map(|line| line.code.to_string()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(words, ["activated", "no_serial", "proof_refused"]);
}
