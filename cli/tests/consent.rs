//! What a person sees before deciding, and that nobody decides for them: on a real terminal, against a scripted daemon.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use support::{Home, Peer, good};

const CHALLENGE: &str = "5f1d7a84e77d5956c894cf935a9b70aa";

fn notice() -> Value {
    json!({
        "vendor": "com.example", "vendor_name": "Example Audio", "id": "usage-statistics", "version": 3,
        "sha256": "x", "language": "en", "title": "Usage statistics",
        "text": "We count how often our titles are used.\n\nWe learn that this computer takes part.\u{1b}[2J",
        "purpose": "usage_statistics", "fields": ["week", "product_id", "uses"], "controller": "Example Audio GmbH",
        "address": "Street 1\nTown", "contact": "privacy@example.com", "protection_officer": "dpo@example.com",
        "authority": "The authority", "authority_url": "https://authority.example",
        "policy_url": "https://example.com/privacy", "policy_version": "2026-11-22", "effective": "2026-11-22",
        "recipients": ["Hosting AG"], "retention_days": 730, "jurisdiction": "DE",
    })
}

fn consent(state: &str, counting: bool) -> Value {
    json!({
        "vendor": "com.example", "vendor_name": "Example Audio", "state": state, "since": 1_795_335_300,
        "counting": counting, "notice_version": 3, "record": "{\"events\":[]}", "receipt": "a.b.c",
    })
}

fn daemon(home: &Home) -> Peer {
    home.peer(|method, _| match method {
        "ListVendors" => good(json!({ "vendors": [{
            "id": "com.example", "name": "Example Audio", "prefix": "SOL", "server": "https://example.com", "keyset": 1,
        }] })),
        "ShowNotice" => good(json!({ "notice": notice(), "challenge": CHALLENGE })),
        "Grant" => good(json!({ "consent": consent("given", true) })),
        "Refuse" => good(json!({ "consent": consent("refused", false) })),
        "Withdraw" => good(json!({ "consent": consent("withdrawn", false) })),
        "ListConsents" => good(json!({ "consents": [consent("given", true)] })),
        other => panic!("{other} is not asked for"),
    })
}

fn methods(peer: &Peer) -> Vec<String> {
    let name = |call: &Value| call["method"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    peer.calls().iter().map(name).filter(|name| name != "ListVendors").collect()
}

/// A command on a terminal of its own, which the test reads and types on.
fn on_a_terminal(home: &Home, arguments: &[&str], more: &[(&str, &str)]) -> (File, File, Child) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    let claviger = home.command(arguments);
    let child = Command::new("setsid")
        .args(["--ctty", "--wait"])
        .arg(claviger.get_program())
        .args(arguments)
        .env_clear()
        .envs(claviger.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .envs(more.iter().copied())
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap())
        .spawn()
        .unwrap();
    (File::from(master), terminal, child)
}

/// Reads the screen until `what` is on it.
fn until(screen: &mut File, seen: &mut String, what: &str) {
    while !seen.contains(what) {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{seen}");
        seen.push(char::from(byte[0]));
    }
}

fn answered(answers: &[&str]) -> (Vec<String>, String, i32, Vec<Value>) {
    let home = Home::new();
    let peer = daemon(&home);
    let (mut screen, terminal, mut child) =
        on_a_terminal(&home, &["consent", "grant"], &[("LANG", "de_CH.UTF-8")]);
    let mut seen = String::new();
    for answer in answers {
        until(&mut screen, &mut seen, "yes or no: ");
        screen.write_all(answer.as_bytes()).unwrap();
        seen = seen.replacen("yes or no: ", "yes or no. ", 1);
    }
    let code = child.wait().unwrap().code().unwrap();
    drop(terminal);
    let mut rest = Vec::new();
    // The last byte of a terminal that nobody holds is an error.
    let _ = screen.read_to_end(&mut rest);
    seen.push_str(&String::from_utf8_lossy(&rest));
    (methods(&peer), seen, code, peer.calls())
}

#[test]
fn the_notice_is_read_before_the_question_and_yes_echoes_its_challenge() {
    let (methods, seen, code, calls) = answered(&["yes\r"]);
    assert_eq!((methods, code), (vec!["ShowNotice".to_owned(), "Grant".to_owned()], 0));
    let question = seen.find("Do you agree?").unwrap();
    for fact in [
        "We count how often our titles are used.",
        "this computer takes part",
        "week, product_id, uses",
        "Example Audio GmbH",
        "privacy@example.com",
        "dpo@example.com",
        "Hosting AG",
        "730 days",
        "https://authority.example",
        "https://example.com/privacy",
    ] {
        assert!(
            seen.find(fact).is_some_and(|at| at < question),
            "{fact} is not shown before the question: {seen}"
        );
    }
    assert!(!seen.contains("\u{1b}[2J"), "a notice does not clear the screen");
    let call =
        |name: &str| calls.iter().find(|c| c["method"].as_str().unwrap().ends_with(name)).unwrap().clone();
    assert_eq!(call("Grant")["parameters"], json!({"vendor": "com.example", "challenge": CHALLENGE}));
    assert_eq!(call("ShowNotice")["parameters"]["language"], "de-CH");
}

#[test]
fn no_is_as_easy_as_yes_and_neither_is_preselected() {
    let (methods, _, code, _) = answered(&["no\r"]);
    assert_eq!((methods, code), (vec!["ShowNotice".to_owned(), "Refuse".to_owned()], 0));
    // Neither an empty line nor anything else is an answer.
    let (methods, seen, code, _) = answered(&["\r", "maybe\r", "yes please\r", "n\r"]);
    assert_eq!((methods, code), (vec!["ShowNotice".to_owned(), "Refuse".to_owned()], 0));
    assert_eq!(seen.matches("Do you agree?").count(), 4);
    // The end of the input is none either.
    let (methods, _, code, _) = answered(&["\u{4}"]);
    assert_eq!((methods, code), (vec!["ShowNotice".to_owned()], 15));
}

#[test]
fn without_a_terminal_nobody_agrees() {
    let home = Home::new();
    let peer = daemon(&home);
    for (arguments, input) in
        [(&["consent", "grant"][..], "yes\n"), (&["consent", "grant", "--json"], "yes\n")]
    {
        let ran = home.run_with_input(arguments, input.as_bytes());
        assert_eq!(ran.code, 10, "{ran:?}");
        assert!(ran.out.contains("no_terminal") || ran.err.contains("on a terminal"), "{ran:?}");
    }
    assert!(methods(&peer).is_empty(), "not even asked: {:?}", methods(&peer));
    // Saying no, and taking a yes back, need none.
    for (command, state) in [("refuse", "refused"), ("withdraw", "withdrawn")] {
        let ran = home.run(&["consent", command, "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json()["consent"]["state"], state);
    }
}

#[test]
fn do_not_track_of_the_caller_only_says_no() {
    let home = Home::new();
    let peer = daemon(&home);
    let (_screen, _terminal, mut child) =
        on_a_terminal(&home, &["consent", "grant"], &[("DO_NOT_TRACK", "1")]);
    assert_eq!(child.wait().unwrap().code(), Some(10));
    assert!(methods(&peer).is_empty());
}

#[test]
fn programs_get_the_record_as_an_object() {
    let home = Home::new();
    let _peer = daemon(&home);
    let consents = home.run(&["consent", "show", "--json"]).json();
    assert_eq!(consents["consents"][0]["record"], json!({"events": []}));
    assert_eq!(consents["consents"][0]["receipt"], "a.b.c");
    let people = home.run(&["consent", "show"]);
    assert!(people.out.contains("You agreed to usage statistics on 22 November 2026."), "{}", people.out);
}
