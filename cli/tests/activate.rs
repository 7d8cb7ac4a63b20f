//! Activating against a scripted daemon: what is caught before anything is sent, and what people read afterwards.

mod support;

use claviger_protocol::serial::Serial;
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use support::{Home, code, good, license, refused, serial};

fn answers(name: &'static str) -> impl Fn(&str, &Value) -> Vec<Value> {
    move |method, _| match method {
        "Activate" => vec![
            json!({ "parameters": { "progress": "Asking the server" }, "continues": true }),
            json!({ "parameters": { "license": license(name) } }),
        ],
        other => panic!("{other} was not expected"),
    }
}

#[test]
fn a_license_is_activated_and_described() {
    let home = Home::new();
    home.with_vendor();
    let peer = home.peer(answers("Solstice"));
    let (serial, code) = (serial(), code());
    let typed = serial.to_lowercase().replace('-', " ");
    let ran =
        home.run_with_input(&["activate", &typed, "--unlock-code-stdin"], format!("{code}\n").as_bytes());
    assert_eq!(ran.err, "");
    assert_eq!(
        ran.out,
        "Solstice (com.example.synth) is activated on this computer.\n  \
         Vendor         Example Audio (com.example)\n  \
         Serial number  SOL-00000-00000-00000\n  \
         Valid          for ever\n"
    );
    assert_eq!(ran.code, 0);
    let call = &peer.calls()[0];
    assert_eq!(call["more"], true);
    assert_eq!(call["parameters"], json!({ "serial": typed, "unlock_code": code }));
    assert!(!ran.out.contains(&code), "the code is never printed");
    let ran = home.run_with_input(&["activate", &serial, "--unlock-code-stdin", "--json"], code.as_bytes());
    assert_eq!(ran.json()["license"]["product_name"], "Solstice");
}

#[test]
fn mistyped_serials_and_codes_are_caught_before_anything_else() {
    let home = Home::new();
    home.with_vendor();
    // No daemon listens: an attempt to reach one would end with another code.
    let mut wrong = serial();
    let last = if wrong.ends_with('0') { "1" } else { "0" };
    wrong.replace_range(wrong.len() - 1.., last);
    let ran = home.run(&["activate", &wrong, "--unlock-code-stdin"]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.err,
        "Error: The serial number was mistyped: its check characters do not match; compare it with your \
         purchase confirmation.\nNothing was sent.\n"
    );
    let ran =
        home.run_with_input(&["activate", &serial(), "--unlock-code-stdin", "--json"], b"7KQ2M-9TB0R\n");
    assert_eq!(ran.code, 3);
    assert_eq!(ran.json()["error"]["code"], "bad_unlock_code");
    let ran = home.run_with_input(&["activate", &serial(), "--unlock-code-stdin"], &[b'7'; 4096]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("far too long"));
}

#[test]
fn without_a_terminal_the_code_must_be_offered() {
    let home = Home::new();
    home.with_vendor();
    let ran = home.run(&["activate", &serial()]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("standard input is not a terminal"), "{}", ran.err);
    assert!(ran.err.contains("--unlock-code-stdin"), "{}", ran.err);
}

#[test]
fn imported_serials_may_lack_a_code() {
    let home = Home::new();
    home.with_vendor();
    let peer = home.peer(answers("Solstice"));
    let ran = home.run(&["activate", "ab12-cd34", "--no-unlock-code", "--vendor", "com.example"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(peer.calls()[0]["parameters"], json!({ "serial": "ab12-cd34", "vendor": "com.example" }));
}

#[test]
fn taken_seats_name_their_holders_and_the_command_that_frees_one() {
    let home = Home::new();
    home.with_vendor();
    let holder = |id: &str, name: &str, seen: i64| json!({ "machine_id": id.repeat(32), "device_name": name, "since": 1_795_305_600, "last_seen": seen });
    let seats = json!({ "total": 2, "holders": [
        holder("a", "Studio", 1_795_392_000),
        holder("b", "it's $HOME", 1_795_305_600),
    ] });
    let parameters = json!({ "code": "seats_taken", "message": "all taken", "advice": null, "seats": seats });
    home.peer(move |_, _| refused("Refused", parameters.clone()));
    let (serial, code) = (serial(), code());
    let ran = home.run_with_input(&["activate", &serial, "--unlock-code-stdin"], code.as_bytes());
    assert_eq!(ran.code, 7);
    assert_eq!(
        ran.err,
        format!(
            "Error: All 2 seats of this license are in use: on “Studio” (since 22 November 2026, last seen \
         23 November 2026) and “it's $HOME” (since 22 November 2026, last seen 22 November 2026).\n\
         To free a seat, run this on the computer that no longer needs it:\n    \
         claviger deactivate {serial}\n\
         If that computer is lost or dead, take its seat over from here:\n    \
         claviger activate {serial} --replace-machine 'it'\\''s $HOME'\n\
         The name can be that of any computer listed above.\n"
        )
    );
    let ran = home.run_with_input(&["activate", &serial, "--unlock-code-stdin", "--json"], code.as_bytes());
    assert_eq!(ran.json()["error"]["seats"]["total"], 2);
    assert_eq!(ran.json()["error"]["code"], "seats_taken");
}

#[test]
fn two_computers_of_one_name_are_told_apart_by_id() {
    let home = Home::new();
    home.with_vendor();
    let holder =
        |id: &str| json!({ "machine_id": id.repeat(32), "device_name": "Lab", "since": 1, "last_seen": 1 });
    let parameters = json!({ "code": "seats_taken", "message": "m", "seats": { "total": 2, "holders": [holder("a"), holder("b")] } });
    home.peer(move |_, _| refused("Refused", parameters.clone()));
    let ran = home.run_with_input(&["activate", &serial(), "--unlock-code-stdin"], code().as_bytes());
    assert!(ran.err.contains(&format!("--replace-machine {}", "a".repeat(32))), "{}", ran.err);
}

#[test]
fn an_unknown_prefix_asks_for_the_vendor() {
    let home = Home::new();
    let vendor = |id: &str, prefix: &str| json!({ "id": id, "name": id, "prefix": prefix, "server": "https://example.com", "keyset": 1 });
    let vendors = json!({ "vendors": [vendor("com.a", "AAA"), vendor("com.b", "BBB")] });
    home.peer(move |method, _| match method {
        "ListVendors" => good(vendors.clone()),
        other => panic!("{other}: nobody is to be offered the serial number"),
    });
    let ran = home.run_with_input(&["activate", "XYZ-12345", "--unlock-code-stdin"], b"abcd");
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains("\n    claviger activate XYZ-12345 --vendor com.b\n"), "{}", ran.err);
    let ran = home.run_with_input(&["activate", "XYZ-12345", "--unlock-code-stdin", "--json"], b"abcd");
    assert_eq!(ran.json()["error"]["choices"], json!(["com.a", "com.b"]));
    // Its check symbols tell that it is a serial number of a vendor who is not known here: no other is suggested.
    let stranger = Serial::random(&"EVL".parse().unwrap(), &SystemRandom::new()).unwrap();
    let ran = home.run_with_input(&["activate", stranger.as_str(), "--unlock-code-stdin"], b"abcd");
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains("begin with EVL") && ran.err.contains("claviger vendor add"), "{}", ran.err);
    assert!(!ran.err.contains("--vendor com."), "{}", ran.err);
    // A code in the serial number's place is not sent to anyone.
    let ran = home.run(&["activate", &code(), "--no-unlock-code"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("this is an unlock code") || ran.err.contains("This is an unlock code"),
        "{}",
        ran.err
    );
}

#[test]
fn strangers_names_cannot_move_the_cursor() {
    const NAME: &str = "Sol\u{1b}[2J\u{1b}]0;owned\u{7}\nError: fake\u{202e}\u{9b}31m";
    let home = Home::new();
    home.with_vendor();
    home.peer(|method, _| match method {
        "Activate" => good(json!({ "license": license(NAME) })),
        "ListLicenses" => good(json!({ "licenses": [license(NAME)] })),
        _ => refused("Internal", json!({ "message": NAME, "advice": NAME })),
    });
    let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    let ran = home.run_with_input(&["activate", &serial(), "--unlock-code-stdin"], code().as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    for ran in [
        ran,
        home.run(&["license", "list"]),
        home.run(&["license", "list", "--json"]),
        home.run(&["deactivate", "x"]),
    ] {
        assert!(!ran.out.contains(hostile) && !ran.err.contains(hostile), "{ran:?}");
        assert!(!ran.out.contains("\nError") && !ran.err.contains("\nError"), "{ran:?}");
    }
    let listed = home.run(&["license", "list", "--json"]).json();
    assert_eq!(listed["licenses"][0]["product_name"], NAME, "programs get the name as it is");
}

#[test]
fn almost_right_serials_and_an_empty_name_are_noticed_before_anyone_is_asked() {
    let home = Home::new();
    home.with_vendor();
    let good = serial();
    let prefix = good.split('-').next().unwrap().to_owned();
    for typed in [good.replacen(&prefix, "QQQ", 1), format!("{}7", good.replace('-', ""))] {
        let ran = home.run_with_input(&["activate", &typed, "--unlock-code-stdin"], code().as_bytes());
        assert_eq!(ran.code, 3, "{typed}: {}", ran.err);
        assert!(ran.err.contains("Nothing was sent"), "{}", ran.err);
    }
    let ran = home.run(&["activate", &good, "--no-unlock-code", "--replace-machine", " "]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(!home.path().join("log").exists(), "no daemon was started");
}
