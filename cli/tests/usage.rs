//! The command line itself: help, wrong usage, hostile arguments, closed and full outputs.

mod support;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use support::{Home, Ran, good};

const COMMANDS: [&[&str]; 30] = [
    &["vendor"],
    &["vendor", "add"],
    &["vendor", "list"],
    &["vendor", "remove"],
    &["activate"],
    &["deactivate"],
    &["license"],
    &["license", "list"],
    &["license", "show"],
    &["license", "refresh"],
    &["consent"],
    &["consent", "show"],
    &["consent", "grant"],
    &["consent", "refuse"],
    &["consent", "withdraw"],
    &["privacy"],
    &["privacy", "preview"],
    &["privacy", "log"],
    &["privacy", "export"],
    &["check"],
    &["machine"],
    &["machine", "show"],
    &["machine", "rename"],
    &["daemon"],
    &["daemon", "run"],
    &["daemon", "install"],
    &["daemon", "status"],
    &["daemon", "logs"],
    &["doctor"],
    &["completions"],
];

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    let overview = home.run(&["--help"]);
    assert_eq!((overview.code, overview.err.as_str()), (0, ""));
    for words in ["First steps:", "Exit codes:", "CLAVIGER_HOME", "--json"] {
        assert!(overview.out.contains(words), "{words}");
    }
    for command in COMMANDS {
        let ran = home.run(&[command, &["--help"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command:?}");
        assert!(ran.out.contains("Usage: claviger"), "{command:?}");
        assert!(!ran.out.contains("\u{1b}"), "no colours without a terminal");
        assert!(ran.out.lines().all(|line| line.chars().count() <= 110), "{command:?} is too wide");
    }
    assert!(home.run(&["check", "--help"]).out.contains("  21  expired\n"));
    assert_eq!(home.run(&["--version"]).out, format!("claviger {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_has_one_code_and_one_shape() {
    let home = Home::new();
    for wrong in [
        &["sing"][..],
        &["activate"],
        &["activate", "X", "--loud"],
        &["check", "a", "--release-date", "soon"],
        &[],
    ] {
        let ran = home.run(wrong);
        assert_eq!(ran.code, 2, "{wrong:?}");
        assert_eq!(ran.out, "", "{wrong:?}");
        assert!(!ran.err.is_empty());
    }
    let ran = home.run(&["activate", "X", "--loud", "--json"]);
    let error = &ran.json()["error"];
    assert_eq!(ran.code, 2);
    assert_eq!(error["code"], "usage");
    assert_eq!(error["message"], "Unexpected argument '--loud' found.");
    assert!(error["advice"].as_str().unwrap().contains("--help"));
}

#[test]
fn arguments_that_are_no_text_or_far_too_long() {
    let home = Home::new();
    let mut command = home.command(&["check"]);
    command.arg(OsString::from_vec(b"\xff\xfe".to_vec()));
    assert_eq!(Ran::of(command.output().unwrap()).code, 2);
    let long = "x".repeat(100_000);
    for command in
        [&["check"][..], &["deactivate"], &["license", "show"], &["machine", "rename"], &["vendor", "add"]]
    {
        let ran = home.run(&[command, &[&long]].concat());
        assert!((2..=43).contains(&ran.code), "{command:?}: {}", ran.code);
        assert!(ran.out.len() + ran.err.len() < 3_000, "{command:?} repeats what was typed");
    }
    assert_eq!(home.run(&["activate", &long]).code, 3);
}

#[test]
fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
    let home = Home::new();
    let _peer = home.peer(|_, _| good(serde_json::json!({ "vendors": [] })));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = home.command(&["vendor", "list"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(String::from_utf8(ran.stderr).unwrap(), "");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran = home.command(&["vendor", "list"]).stdout(full).output().unwrap();
    assert_eq!(ran.status.code(), Some(11));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("its result could not be written"));
}

#[test]
fn completions_and_manual() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).out.contains("deactivate"), "{shell}");
    }
    let pages = home.path().join("man");
    let ran = home.run(&["man", pages.to_str().unwrap(), "--json"]);
    assert_eq!(ran.code, 0);
    for page in ["claviger.1", "claviger-activate.1", "claviger-vendor-add.1"] {
        assert!(ran.json()["pages"].as_array().unwrap().iter().any(|p| p == page), "{page}: {}", ran.out);
        assert!(std::fs::read_to_string(pages.join(page)).unwrap().contains(".SH"));
    }
    assert!(home.run(&["man"]).out.contains(".TH claviger"));
}
