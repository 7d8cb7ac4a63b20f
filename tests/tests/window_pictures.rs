//! The manager window in every state that it knows, dark and light, at its size and at twice that, and in three languages:
//! pictures go to `target/screens/`, to be looked at, and some are compared with the references in `tests/screens/` (its README
//! says how they are made). Most of these states take years to come about, so a daemon's socket says them; what the window does
//! is tried on the real daemon, in `window.rs`.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_tests::machine::Machine;
use claviger_tests::screen::keyboard::Key;
use claviger_tests::screen::{Node, Picture, Screen, Setting, Window};
use claviger_tests::stage::{Stage, but, license, status, vendor};
use serde_json::{Value, json};

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screens")
}

/// A machine that has nothing but a name.
fn machine() -> (tempfile::TempDir, Machine) {
    let folder = tempfile::Builder::new().prefix("cp").tempdir().unwrap();
    let machine = Machine::this(&folder.path().join("m"));
    (folder, machine)
}

/// A vendor's picture: a ring.
fn logo() -> String {
    let pixel = |at: usize| {
        let off = |n: usize| (f64::from(u32::try_from(n).unwrap()) - 63.5) / 64.0;
        let distance = off(at % 128).hypot(off(at / 128));
        if (0.5..0.9).contains(&distance) { [240, 170, 50] } else { [40, 32, 24] }
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logo.png");
    Picture::new(128, (0..128 * 128).map(pixel).collect()).save(&file);
    data_encoding::BASE64URL_NOPAD.encode(&std::fs::read(file).unwrap())
}

fn vendors() -> [Value; 3] {
    [
        but(vendor("com.aurelia", "Aurelia Audio", "AUR"), &json!({ "accent": "#E0A030", "logo": logo() })),
        vendor("org.tapeworks", "Tapeworks", "TWX"),
        vendor("io.nordlyd", "Nordlyd Instrumenter", "NLI"),
    ]
}

/// A license in each state that there is.
fn shelf(vendors: &[Value; 3]) -> Vec<Value> {
    const DAY: i64 = 86_400;
    let now = SystemClock.now().0;
    let [aurelia, tape, nordlyd] = vendors;
    let ended = |state: &str| json!({ "status": state, "certificate": null });
    vec![
        license(
            aurelia,
            "com.aurelia.solstice",
            "Solstice",
            1,
            &json!({ "entitlements": ["expansion pack"] }),
        ),
        license(aurelia, "com.aurelia.drift", "Drift Delay", 2, &json!({ "updates_until": "2031-12-31" })),
        license(
            aurelia,
            "com.aurelia.halo",
            "Halo Reverb",
            3,
            &json!({ "kind": "subscription", "paid_through": now + 400 * DAY, "expires": now + 414 * DAY + 60 }),
        ),
        license(
            aurelia,
            "com.aurelia.ember",
            "Ember Saturator",
            4,
            &json!({ "kind": "trial", "expires": now + 5 * DAY + 60 }),
        ),
        license(aurelia, "com.aurelia.old", "Old Friend", 5, &ended("given_up")),
        license(
            tape,
            "org.tapeworks.echo",
            "Tape Echo",
            6,
            &json!({ "status": "expired", "kind": "subscription", "expires": 1_750_000_000 }),
        ),
        license(tape, "org.tapeworks.hiss", "Hiss", 7, &ended("suspended")),
        license(tape, "org.tapeworks.reel", "Reel", 8, &ended("damaged")),
        license(
            tape,
            "org.tapeworks.splice",
            "Splice",
            9,
            &json!({ "status": "replaced", "ended_by": "Living room" }),
        ),
        license(tape, "org.tapeworks.loop", "Loop", 10, &ended("revoked")),
        license(nordlyd, "io.nordlyd.fjord", "Fjord", 11, &ended("key_compromised")),
        license(nordlyd, "io.nordlyd.frost", "Frost", 12, &ended("clock_set_back")),
        license(nordlyd, "io.nordlyd.skog", "Skog", 13, &json!({ "status": "sunset" })),
    ]
}

fn consents(vendors: &[Value; 3]) -> Value {
    let consent = |vendor: &Value, state: &str, other: &Value| {
        but(
            json!({
                "vendor": vendor["id"], "vendor_name": vendor["name"], "state": state, "since": 1_760_000_000,
                "expires": 1_794_000_000, "counting": state == "given", "veto": null, "notice_version": 1, "record": null,
                "receipt": null,
            }),
            other,
        )
    };
    json!([
        consent(&vendors[0], "given", &json!({})),
        consent(&vendors[1], "refused", &json!({})),
        consent(&vendors[2], "none", &json!({ "since": null, "expires": null, "veto": "policy" })),
    ])
}

fn notice(vendor: &Value) -> Value {
    json!({
        "notice": {
            "vendor": vendor["id"], "vendor_name": vendor["name"], "id": "usage-statistics", "version": 3,
            "sha256": "00".repeat(32), "language": "en", "title": "May we count how often you use our titles?",
            "text": "We would like to know which of our titles are used, in which version and in which DAW, so that we mend \
                what is used.\n\nWe learn that you take part, but not which of the reports is yours.",
            "purpose": "usage_statistics",
            "fields": ["schema", "week", "product_id", "product_version", "daw", "uses", "token"],
            "controller": "Aurelia GmbH", "address": "Street 1, Town", "contact": "privacy@aurelia.example",
            "protection_officer": "officer@aurelia.example", "authority": "BfDI",
            "authority_url": "https://authority.example", "policy_url": "https://aurelia.example/privacy",
            "policy_version": "2026-01-01", "effective": "2026-01-01", "recipients": [], "retention_days": 730,
            "jurisdiction": "DE",
        },
        "challenge": "00".repeat(16),
    })
}

/// A daemon that owns a bit of everything.
fn full(machine: &Machine) -> Stage {
    let vendors = vendors();
    let stage = Stage::open(machine, &vendors, &shelf(&vendors));
    stage.says("ListConsents", json!({ "consents": consents(&vendors) }));
    stage.says("ShowNotice", notice(&vendors[0]));
    let sent = |purpose: &str, outcome: &str| {
        json!({
            "at": 1_790_000_000, "vendor": "com.aurelia", "purpose": purpose, "basis": "contract", "method": "POST",
            "url": "https://licenses.aur.example/v1/activate", "body": "{\"request\":\"eyJhbGciOiJFZERTQSJ9…\"}",
            "outcome": outcome,
        })
    };
    stage.says("ListSent", json!({ "sent": [sent("activate", "200 OK"), sent("refresh", "200 OK")] }));
    let counted = json!({
        "vendor": "com.aurelia", "week": "2026-W40", "product": "com.aurelia.solstice", "version": "1.2.0", "daw": "reaper",
        "uses": 7,
    });
    stage.says("PreviewTelemetry", json!({ "planned": [], "counted": [counted] }));
    stage
}

/// What a picture cannot hold still: times, days left, places in the file system, facts about this computer.
fn changing(node: &Node) -> bool {
    let name = &node.name;
    let year = name.split(|c: char| !c.is_ascii_digit()).any(|n| n.len() == 4 && n.starts_with("20"));
    year || name.contains("day left")
        || name.contains("days left")
        || name.contains('/')
        || name.starts_with("Machine id")
}

/// One look: what it is called, what is done to get there.
struct Look {
    name: &'static str,
    page: &'static str,
    /// An element or words that show that it is there.
    until: &'static str,
    more: fn(&mut Window<'_>),
}

fn nothing(_: &mut Window<'_>) {}

/// The screens of a window that owns a bit of everything.
const LOOKS: &[Look] = &[
    Look { name: "products", page: "products", until: "Solstice, Active", more: nothing },
    Look {
        name: "product-subscription",
        page: "products",
        until: "Halo Reverb",
        more: |window| {
            let row = row(window, "Halo Reverb");
            window.focus_row(&row);
            window.press(Key::Return);
            window.says("Particulars for support");
        },
    },
    Look {
        name: "product-suspended",
        page: "products",
        until: "Aurelia Audio",
        more: |window| {
            window.fill("Search products", "hiss");
            window.no_longer_says("Solstice, Active");
            let row = row(window, "Hiss");
            window.focus_row(&row);
            window.press(Key::Return);
            window.says("The vendor has suspended this license.");
        },
    },
    Look {
        name: "nothing-fits",
        page: "products",
        until: "Solstice, Active",
        more: |window| {
            window.fill("Search products", "zither");
            window.says("Nothing fits");
        },
    },
    Look { name: "add", page: "add", until: "What the vendor learns", more: nothing },
    Look {
        name: "several",
        page: "several",
        until: "Serial numbers and unlock codes",
        more: |window| {
            let _there = window.focus("Serial numbers and unlock codes");
            window.write(&format!("{} 12345", claviger_tests::stage::serial("AUR", 1)));
            window.says("15 more characters");
        },
    },
    Look { name: "computers", page: "computers", until: "This computer, under the name", more: nothing },
    Look { name: "offline", page: "offline", until: "Make the request", more: nothing },
    Look {
        name: "offline-answer",
        page: "offline",
        until: "Make the request",
        more: |window| {
            window.activate("I have an answer already");
            window.says("With the answer as a file");
        },
    },
    Look { name: "privacy", page: "privacy", until: "You agreed on", more: nothing },
    Look {
        name: "notice",
        page: "privacy",
        until: "You agreed on",
        more: |window| {
            window.activate("Read the notice of Tapeworks and decide");
            window.says("May we count how often");
        },
    },
    Look { name: "settings", page: "settings", until: "Tapeworks", more: nothing },
    Look { name: "about", page: "about", until: "Made with Slint", more: nothing },
    Look {
        name: "question",
        page: "settings",
        until: "Tapeworks",
        more: |window| {
            window.activate("Remove Tapeworks");
            window.says("Remove Tapeworks?");
        },
    },
];

fn row(window: &mut Window<'_>, product: &str) -> String {
    let begins = format!("{product}, ");
    window
        .wait(product, |tree| tree.nodes.iter().find(|n| n.name.starts_with(&begins)).map(|n| n.name.clone()))
}

/// The looks that are compared with references, as their file's name says.
const COMPARED: &[&str] = &[
    "products-dark-1",
    "products-light-1",
    "add-dark-1",
    "privacy-dark-1",
    "notice-light-1",
    "question-dark-1",
    "offline-light-1",
];

fn shoot(window: &mut Window<'_>, name: &str) {
    if COMPARED.contains(&name) {
        window.check(name, &pictures(), changing);
    } else {
        window.picture().save(&pictures().join(format!("{name}.png")));
    }
}

fn all_looks(theme: &'static str, scale: u32) {
    let (_folder, machine) = machine();
    let _stage = full(&machine);
    let mut screen = Screen::start();
    // At twice the size little can differ but sizes: a third of them shows that, unless there is time for all.
    let all = scale == 1 || claviger_tests::slow();
    for look in LOOKS.iter().step_by(if all { 1 } else { 3 }) {
        let setting = Setting { theme, scale, ..Setting::default() }.with(&["--page", look.page]);
        let mut window = Window::open(&mut screen, &machine, &setting);
        window.says(look.until);
        (look.more)(&mut window);
        shoot(&mut window, &format!("{}-{theme}-{scale}", look.name));
        assert!(window.close().success());
    }
}

#[test]
fn every_screen_in_the_dark() {
    all_looks("dark", 1);
}

#[test]
fn every_screen_in_the_light() {
    all_looks("light", 1);
}

#[test]
fn every_screen_in_the_dark_at_twice_the_size() {
    all_looks("dark", 2);
}

#[test]
fn every_screen_in_the_light_at_twice_the_size() {
    all_looks("light", 2);
}

/// States of the whole window.
#[test]
fn a_window_without_a_daemon_without_a_network_and_without_rights_says_so() {
    let mut screen = Screen::start();
    for (theme, scale) in [("dark", 1), ("light", 1), ("dark", 2)] {
        let (_folder, machine) = machine();
        let setting = Setting { theme, scale, ..Setting::default() };
        let stage = Stage::open(&machine, &[], &[]);
        let name = |what: &str| format!("{what}-{theme}-{scale}");
        let mut window = Window::open(&mut screen, &machine, &setting);
        window.says("Nothing is active here yet");
        shoot(&mut window, &name("empty"));

        let vendors = vendors();
        stage.says("ListVendors", json!({ "vendors": vendors }));
        stage.says(
            "GetStatus",
            json!({ "status": status(&json!({ "network": false, "may_change": false })) }),
        );
        assert!(window.close().success());
        stage.lists(&shelf(&vendors), &["the folder of certificates of org.tapeworks cannot be read"]);
        let mut window = Window::open(&mut screen, &machine, &setting);
        window.says("Solstice, Active");
        window.says("cannot be read");
        window.says("Network is off");
        shoot(&mut window, &name("locked"));
        window.go("Settings");
        shoot(&mut window, &name("locked-settings"));
        window.go("Products");

        drop(stage);
        window.says("Claviger’s helper is not running.");
        shoot(&mut window, &name("no-daemon"));
        assert!(window.close().success());
    }
}

/// Words are longer elsewhere: nothing may be cut off or overlap.
#[test]
fn french_and_german_fit() {
    let (_folder, machine) = machine();
    let _stage = full(&machine);
    let mut screen = Screen::start();
    for language in ["fr", "de"] {
        for page in ["products", "add", "computers", "offline", "privacy", "settings", "about"] {
            let setting = Setting { language, ..Setting::default() }.with(&["--page", page]);
            let mut window = Window::open(&mut screen, &machine, &setting);
            // Every language names the vendors, or the program, alike.
            window.wait("the screen", |tree| (tree.nodes.len() > 20).then_some(()));
            shoot(&mut window, &format!("{page}-{language}"));
            let sections = window.tree();
            assert!(!sections.says("Add a license"), "{language} is not spoken:\n{}", sections.outline());
            assert!(window.close().success());
        }
        let setting = Setting { language, size: (720, 480), ..Setting::default() };
        let mut window = Window::open(&mut screen, &machine, &setting);
        window.wait("the list", |tree| tree.says("Drift Delay").then_some(()));
        shoot(&mut window, &format!("smallest-{language}"));
        assert!(window.close().success());
    }
}
