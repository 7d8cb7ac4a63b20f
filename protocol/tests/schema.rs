//! The schema lock: what activation sends is a closed list (PRIVACY duty 1), generated here from the types and compared
//! with a list that people have read. A new member cannot slip in: it changes a file whose name says what it is.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use claviger_protocol::http::ProblemCode;
use claviger_protocol::ids::DeviceName;
use claviger_protocol::ipc;
use common::documents::*;
use common::messages;
use serde_json::Value;

#[test]
fn activation_sends_the_closed_list_and_nothing_else() {
    let mut request = activate_request();
    compare("activation.txt", &members(&serde_json::to_value(&request).unwrap()));
    request.order = refresh_request().order;
    compare("refresh.txt", &members(&serde_json::to_value(&request).unwrap()));
    request.order = deactivate_request().order;
    compare("deactivation.txt", &members(&serde_json::to_value(&request).unwrap()));
    request.order = seats_request().order;
    compare("seats.txt", &members(&serde_json::to_value(&request).unwrap()));
    request.order = free_request().order;
    compare("free.txt", &members(&serde_json::to_value(&request).unwrap()));
    compare("receipt.txt", &members(&serde_json::to_value(receipt()).unwrap()));
}

/// The five facts about a machine, as PRIVACY.md lists them.
#[test]
fn a_machine_is_described_by_five_facts() {
    let facts = members(&serde_json::to_value(machine_facts()).unwrap());
    let names: Vec<&str> = facts.iter().filter_map(|line| line.split(' ').next()).collect();
    let expected = [
        "cpu",
        "cpu.logical_cores",
        "cpu.model",
        "device_name",
        "machine_id",
        "os",
        "os.arch",
        "os.family",
        "os.version",
        "ram_gib",
    ];
    assert_eq!(names, expected);
    assert!("x".repeat(64).parse::<DeviceName>().is_ok());
    assert!("x".repeat(65).parse::<DeviceName>().is_err());
    // What the person is shown before activating is the same list, flat.
    let shown = serde_json::to_value(ipc::Machine::of(common::vendor(), machine_facts())).unwrap();
    let shown: BTreeSet<String> = shown.as_object().unwrap().keys().cloned().collect();
    let flat = expected.iter().filter(|n| !["cpu", "os"].contains(n)).map(|n| n.replace('.', "_"));
    assert_eq!(shown, flat.chain(["vendor".to_owned()]).collect());
}

#[test]
fn every_member_that_is_sent_is_explained_to_people() {
    let text = read("../docs/privacy.md");
    let lists = [
        "activation.txt",
        "refresh.txt",
        "deactivation.txt",
        "seats.txt",
        "free.txt",
        "receipt.txt",
        "usage_report.txt",
    ];
    for list in lists {
        for line in read(&format!("tests/schema/{list}")).lines() {
            let member = line.split([' ', '[']).next().unwrap().rsplit('.').next().unwrap();
            assert!(
                text.contains(&format!("`{member}`")),
                "docs/privacy.md does not explain `{member}` ({list})"
            );
        }
    }
}

/// Whoever doubts a promise finds the test that proves it.
#[test]
fn every_test_that_the_documents_name_exists() {
    let mut named = 0;
    for page in ["privacy", "security", "protocol"] {
        let text = read(&format!("../docs/{page}.md"));
        for (file, test) in text.split('`').filter_map(|word| word.split_once(".rs::")) {
            let source = read(&format!("../{file}.rs"));
            assert!(source.contains(&format!("fn {test}(")), "docs/{page}.md names {file}.rs::{test}");
            named += 1;
        }
    }
    assert!(named > 10, "only {named} tests are named");
}

/// A code that a stranger may meet is explained to strangers.
#[test]
fn every_problem_code_is_documented() {
    let text = read("../docs/protocol.md");
    for code in ProblemCode::ALL {
        let row = format!("| `{}` | {} |", code.code(), code.http_status());
        assert!(text.contains(&row), "docs/protocol.md has no row for {}", code.code());
    }
}

/// The interface description and the Rust types say the same thing: every call, reply and error has exactly the members
/// that the description gives it (members that may be null may also be absent).
#[test]
fn the_varlink_description_matches_the_types() {
    let interface = Interface::parse(ipc::DESCRIPTION);
    let mut seen = BTreeSet::new();
    for (name, call) in messages::calls() {
        let value = serde_json::to_value(&call).unwrap();
        let method = value["method"].as_str().unwrap().strip_prefix(ipc::INTERFACE).unwrap();
        let (input, _) = &interface.methods[&method[1..]];
        interface.check(name, input, &value["parameters"]);
        seen.insert(method[1..].to_owned());
    }
    assert_eq!(seen, interface.methods.keys().cloned().collect(), "an example of every method");
    let mut seen = BTreeSet::new();
    for (name, error) in messages::errors() {
        let value = serde_json::to_value(&error).unwrap();
        let word = &value["error"].as_str().unwrap().strip_prefix(ipc::INTERFACE).unwrap()[1..];
        interface.check(name, &interface.errors[word], &value["parameters"]);
        seen.insert(word.to_owned());
    }
    assert_eq!(seen, interface.errors.keys().cloned().collect(), "an example of every error");
    let replies: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("GetStatus", &["get_status"][..]),
        ("ListVendors", &["list_vendors", "list_vendors_with_look"]),
        ("AddVendor", &["add_vendor"]),
        ("RemoveVendor", &["empty"]),
        ("ListLicenses", &["list_licenses"]),
        ("Activate", &["activate_progress", "activate"]),
        ("Deactivate", &["deactivate"]),
        ("MakeOfflineRequest", &["make_offline_request"]),
        ("ImportOfflineAnswers", &["import_offline_answers"]),
        ("ImportOfflineCode", &["import_offline_code"]),
        ("DeactivateOffline", &["deactivate_offline"]),
        ("PrepareImage", &["prepare_image"]),
        ("Refresh", &["list_licenses"]),
        ("ShowMachine", &["show_machine"]),
        ("RenameMachine", &["rename_machine"]),
        ("ShowSeats", &["show_seats"]),
        ("FreeMachine", &["free_machine"]),
        ("GetSettings", &["settings"]),
        ("SetSetting", &["settings"]),
        ("Monitor", &["list_licenses"]),
        ("Doctor", &["doctor"]),
        ("ListConsents", &["list_consents"]),
        ("ShowNotice", &["show_notice"]),
        ("Grant", &["consent"]),
        ("Refuse", &["consent"]),
        ("Withdraw", &["consent"]),
        ("ReportUse", &["empty"]),
        ("PreviewTelemetry", &["preview_telemetry"]),
        ("ListSent", &["list_sent"]),
        ("ClearSent", &["clear_sent"]),
    ]);
    let examples: BTreeMap<&str, String> = messages::replies().into_iter().collect();
    for (method, (_, output)) in &interface.methods {
        for name in replies[method.as_str()] {
            interface.check(name, output, &serde_json::from_str(&examples[name]).unwrap());
        }
    }
}

/// All members of a value as `path type`, elements of arrays as `[]`.
fn members(value: &Value) -> BTreeSet<String> {
    fn walk(path: &str, value: &Value, all: &mut BTreeSet<String>) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "fraction",
            Value::Number(_) => "integer",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        if !path.is_empty() {
            all.insert(format!("{path} {kind}"));
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(&format!("{path}[]"), item, all)),
            Value::Object(object) => {
                for (name, value) in object {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(&format!("{path}{dot}{name}"), value, all);
                }
            }
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    walk("", value, &mut all);
    all
}

fn compare(name: &str, members: &BTreeSet<String>) {
    let found: Vec<&str> = members.iter().map(String::as_str).collect();
    let listed = read(&format!("tests/schema/{name}"));
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(
        found, listed,
        "tests/schema/{name} is what people were told; a change needs a new version of the request and new texts"
    );
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// As much of Varlink's interface definition language as our description uses.
struct Interface {
    types: BTreeMap<String, Fields>,
    methods: BTreeMap<String, (Fields, Fields)>,
    errors: BTreeMap<String, Fields>,
}

type Fields = Vec<(String, String)>;

impl Interface {
    fn parse(text: &str) -> Self {
        let text: String =
            text.lines().filter(|l| !l.trim_start().starts_with('#')).collect::<Vec<_>>().join(" ");
        let (mut types, mut methods, mut errors) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut rest = text.split_once(ipc::INTERFACE).unwrap().1.trim();
        while !rest.is_empty() {
            let (word, more) = rest.split_once(' ').unwrap();
            let (name, more) = more.split_once('(').unwrap();
            let (fields, more) = Self::fields(more);
            rest = more.trim_start();
            let name = name.trim().to_owned();
            match word {
                "type" => {
                    types.insert(name, fields);
                }
                "error" => {
                    errors.insert(name, fields);
                }
                "method" => {
                    let (output, more) = Self::fields(rest.strip_prefix("-> (").unwrap());
                    rest = more.trim_start();
                    methods.insert(name, (fields, output));
                }
                other => panic!("the description has a “{other}”"),
            }
        }
        Self { types, methods, errors }
    }

    fn fields(text: &str) -> (Fields, &str) {
        let (inside, rest) = text.split_once(')').unwrap();
        let fields = inside.split(',').filter(|f| !f.trim().is_empty()).map(|field| {
            let (name, kind) = field.split_once(':').unwrap();
            (name.trim().to_owned(), kind.trim().to_owned())
        });
        (fields.collect(), rest)
    }

    fn check(&self, place: &str, fields: &Fields, value: &Value) {
        let object = value.as_object().unwrap_or_else(|| panic!("{place} is not an object: {value}"));
        for name in object.keys() {
            assert!(fields.iter().any(|(n, _)| n == name), "{place}: the description lacks {name}");
        }
        for (name, kind) in fields {
            self.check_kind(&format!("{place}.{name}"), kind, object.get(name).unwrap_or(&Value::Null));
        }
    }

    fn check_kind(&self, place: &str, kind: &str, value: &Value) {
        if let Some(kind) = kind.strip_prefix('?') {
            if !value.is_null() {
                self.check_kind(place, kind, value);
            }
            return;
        }
        if let Some(kind) = kind.strip_prefix("[]") {
            let items = value.as_array().unwrap_or_else(|| panic!("{place} is not a list: {value}"));
            items.iter().for_each(|item| self.check_kind(place, kind, item));
            return;
        }
        match kind {
            "string" => assert!(value.is_string(), "{place}: {value}"),
            "int" => assert!(value.is_i64() || value.is_u64(), "{place}: {value}"),
            "bool" => assert!(value.is_boolean(), "{place}: {value}"),
            name => self.check(place, &self.types[name], value),
        }
    }
}
