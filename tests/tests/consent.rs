//! Consent over real processes: a vendor's signed notice, a person's decisions through the daemon's socket and the
//! command line, kill -9 in the middle of a withdrawal, and what activation looks like to the vendor all the while.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use claviger_tests::platform::killed_itself;
use claviger_tests::process::Running;
use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};
use serde_json::{Value, json};

const VENDOR: &str = "com.example";

/// A vendor with a notice, and a machine with one of its products.
fn asked() -> (World, Machine) {
    let world = World::new();
    let draft = claviger_tests::statistics::notice();
    let path = world.path("notice.json");
    std::fs::write(&path, draft.to_string()).unwrap();
    let _said = world.server(&["notice", "add", path.to_str().unwrap()]).ok();
    let license = world.issue(1);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    (world, machine)
}

fn call(machine: &Machine, method: &str, parameters: &Value) -> Value {
    let reply = machine.connect().call(method, parameters).unwrap();
    assert!(reply.get("error").is_none(), "{method}: {reply}");
    reply["parameters"].clone()
}

/// Reads the notice and says yes, as the window does.
fn agree(machine: &Machine) {
    let shown = call(machine, "ShowNotice", &json!({ "vendor": VENDOR, "language": "en" }));
    assert_eq!(shown["notice"]["title"], "May we count?");
    let given = call(machine, "Grant", &json!({ "vendor": VENDOR, "challenge": shown["challenge"] }));
    assert_eq!((&given["consent"]["state"], &given["consent"]["counting"]), (&json!("given"), &json!(true)));
}

fn use_product(machine: &Machine) {
    call(machine, "ReportUse", &json!({ "product": PRODUCT, "version": "1.0.0", "daw": "reaper" }));
}

fn state(machine: &Machine) -> String {
    let consents = machine.json(&["consent", "show", "--vendor", VENDOR]);
    consents["consents"][0]["state"].as_str().unwrap().to_owned()
}

/// The one file that there is about this person and this vendor.
fn ledger(machine: &Machine) -> Option<Value> {
    let files = claviger_tests::machine::files_below(&machine.home);
    let name = format!("{VENDOR}.json");
    let mut found = files.into_iter().filter(|f| {
        f.file_name().is_some_and(|n| n == name.as_str())
            && f.components().any(|part| part.as_os_str() == "consent")
            && !f.components().any(|part| part.as_os_str() == "notices")
    });
    let file = found.next()?;
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

#[test]
fn a_person_decides_sees_and_takes_back() {
    let (world, machine) = asked();
    assert_eq!(state(&machine), "none");
    use_product(&machine);
    assert_eq!(machine.json(&["privacy", "preview"]), json!({ "planned": [], "counted": [] }));
    let before = world.proxy.seen().len();
    let refused = machine.json(&["consent", "refuse"]);
    assert_eq!(refused["consent"]["state"], "refused");
    use_product(&machine);
    assert_eq!(world.proxy.seen().len(), before, "refusing is silent");
    assert!(ledger(&machine).unwrap().get("gathered").is_none());

    agree(&machine);
    for _ in 0..3 {
        use_product(&machine);
    }
    let preview = machine.json(&["privacy", "preview"]);
    assert_eq!(preview["counted"][0]["uses"], 3, "nothing from before the grant: {preview}");
    assert!(
        preview["planned"].as_array().unwrap().iter().all(|p| p["purpose"] != "telemetry_report"),
        "{preview}"
    );
    let exported = machine.json(&["privacy", "export"]);
    let record = &exported["consents"][0]["record"];
    let events: Vec<&str> =
        record["events"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["refused", "given"]);
    assert_eq!(record["controller"]["name"], "Soluna GmbH");
    let receipt = exported["consents"][0]["receipt"].as_str().unwrap();
    let (receipt, _) = claviger_protocol::telemetry::ConsentReceipt::verify(receipt).unwrap();
    assert_eq!(serde_json::to_value(&receipt.record).unwrap(), *record);
    let purposes: Vec<&str> =
        exported["sent"].as_array().unwrap().iter().map(|s| s["purpose"].as_str().unwrap()).collect();
    assert_eq!(purposes, ["activate", "telemetry_notice"]);

    let withdrawn = machine.json(&["consent", "withdraw"]);
    assert_eq!(withdrawn["consent"]["state"], "withdrawn");
    assert!(ledger(&machine).unwrap().get("gathered").is_none());
    assert_eq!(machine.json(&["privacy", "preview"]), json!({ "planned": [], "counted": [] }));
    assert_eq!(machine.json(&["privacy", "log", "--clear"])["removed"], 2);
    assert_eq!(machine.json(&["privacy", "log"])["sent"], json!([]));
    assert!(machine.is_licensed(PRODUCT), "whatever was decided");
}

#[test]
fn a_script_cannot_agree() {
    let (_world, machine) = asked();
    let failed = machine.claviger_with(&["consent", "grant"], "yes\nyes\n").refused();
    assert_eq!(failed.code, Some(10), "{failed}");
    assert_eq!(state(&machine), "none");
    // Nor can a challenge be made up, or used twice.
    let refused = |challenge: &Value| {
        let parameters = json!({ "vendor": VENDOR, "challenge": challenge });
        machine.connect().call("Grant", &parameters).unwrap()["error"].clone()
    };
    assert_eq!(refused(&json!("0".repeat(32))), "io.claviger.Daemon.InvalidInput");
    let shown = call(&machine, "ShowNotice", &json!({ "vendor": VENDOR }));
    call(&machine, "Grant", &json!({ "vendor": VENDOR, "challenge": shown["challenge"] }));
    assert_eq!(refused(&shown["challenge"]), "io.claviger.Daemon.InvalidInput");
}

#[test]
fn do_not_track_of_the_daemon_counts_nothing() {
    let (world, mut machine) = asked();
    agree(&machine);
    use_product(&machine);
    machine.stop_daemon();
    machine.env.push(("DO_NOT_TRACK".to_owned(), "1".to_owned()));
    machine.start_daemon();
    let before = world.proxy.seen().len();
    use_product(&machine);
    let consent = machine.json(&["consent", "show"])["consents"][0].clone();
    assert_eq!((&consent["counting"], &consent["veto"]), (&json!(false), &json!("do_not_track")));
    assert!(ledger(&machine).unwrap().get("gathered").is_none());
    let reply = machine.connect().call("ShowNotice", &json!({ "vendor": VENDOR })).unwrap();
    assert_eq!(reply["error"], "io.claviger.Daemon.NotPermitted");
    assert_eq!(world.proxy.seen().len(), before, "not even the notice is fetched");
}

#[test]
fn a_withdrawal_is_whole_whenever_it_is_killed() {
    let (_world, mut machine) = asked();
    let (mut killed, mut kept, mut gone) = (0, 0, 0);
    let points = ["consent-withdrawn:1"].into_iter().map(str::to_owned);
    for point in points.chain((1..=8).map(|n| format!("before-rename:{n}"))) {
        if state(&machine) != "given" {
            agree(&machine);
        }
        use_product(&machine);
        machine.stop_daemon();
        machine.daemon = machine.try_start_daemon(&[("CLAVIGER_FAULT", &point)]).ok();
        let answered = match machine.daemon {
            // Killed while it started.
            None => false,
            Some(_) => machine.connect().call("Withdraw", &json!({ "vendor": VENDOR })).is_ok(),
        };
        killed += u32::from(machine.daemon.take().is_none_or(|mut daemon| was_killed(&mut daemon)));
        machine.start_daemon();
        let ledger = ledger(&machine).unwrap();
        match state(&machine).as_str() {
            // Never half: all that was counted, or nothing.
            "given" => {
                assert!(!answered, "{point}: what was answered holds");
                assert!(
                    ledger["gathered"]["weeks"].as_object().is_some_and(|weeks| !weeks.is_empty()),
                    "{point}"
                );
                kept += 1;
            }
            "withdrawn" => {
                assert!(ledger.get("gathered").is_none(), "{point}: {ledger}");
                gone += 1;
            }
            other => panic!("{point}: {other}"),
        }
    }
    assert!(killed >= 2 && kept >= 1 && gone >= 2, "{killed} kills, {kept} kept, {gone} gone");
}

fn was_killed(process: &mut Running) -> bool {
    killed_itself(process.terminate())
}
