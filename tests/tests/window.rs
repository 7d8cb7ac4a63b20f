//! The manager window as people use it: a real window on a screen of its own, driven by the keyboard and known by what a screen
//! reader is told, before a real daemon and a real server. Pictures of the way go to `target/screens/`, to be looked at.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::screen::keyboard::Key;
use claviger_tests::screen::{Node, Screen, Setting, State, Tree, Window, window};
use claviger_tests::world::{PRODUCT, PRODUCT_NAME};
use claviger_tests::{License, Machine, World, process};
use serde_json::{Value, json};

const VENDOR_NAME: &str = "Example Audio";

/// Where pictures go.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screens")
}

fn shoot(window: &mut Window<'_>, name: &str) {
    window.picture().save(&pictures().join("journey").join(format!("{name}.png")));
}

/// A vendor that asks for consent.
fn world() -> World {
    let world = World::new();
    let text = |title: &str, text: &str| json!({ "title": title, "text": text });
    let mut draft = claviger_tests::statistics::notice();
    draft["texts"] = json!({
        "en": text("May we count?", "How often titles are used.\n\nWe learn that you take part."),
        "de": text("Dürfen wir zählen?", "Wie oft Titel benutzt werden.\n\nWir erfahren, dass du teilnimmst."),
    });
    let path = world.path("notice.json");
    std::fs::write(&path, draft.to_string()).unwrap();
    let _said = world.server(&["notice", "add", path.to_str().unwrap()]).ok();
    world
}

/// The same serial number with a slip in its last symbol.
fn mistyped(serial: &str) -> String {
    let (rest, last) = serial.split_at(serial.len() - 1);
    format!("{rest}{}", if last == "2" { '3' } else { '2' })
}

/// As people type it: no capitals, no hyphens.
fn sloppy(text: &str) -> String {
    text.to_lowercase().replace('-', "")
}

fn consent(machine: &Machine) -> Value {
    machine.json(&["consent", "show", "--vendor", "com.example"])["consents"][0]["state"].clone()
}

/// Ends the daemon that the window has started, whatever becomes of the test.
struct Started<'a>(&'a Machine);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.end_stray_daemon();
    }
}

#[test]
fn everything_is_done_by_the_keyboard() {
    let world = world();
    let (license, later, offline) = (world.issue(2), world.issue(1), world.issue(1));
    let machine = Machine::this(&world.folder());
    let _daemon = Started(&machine);
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &machine, &Setting::default());

    starts_the_daemon(&mut window);
    adds_a_vendor(&mut window, &world);
    activates(&mut window, &world, &machine, &license);
    shows_what_it_owns(&mut window, &license);
    let _said = machine.activate(&later).ok();
    window.says(&later.serial);
    names_the_computer(&mut window, &machine);
    decides(&mut window, &world, &machine);
    goes_offline(&mut window, &world, &machine, &offline);
    deactivates(&mut window, &world, &machine, &license);
    looks_around(&mut window);
    assert!(window.close().success());
}

/// No daemon runs: the window starts it by itself.
fn starts_the_daemon(window: &mut Window<'_>) {
    window.says("Nothing is active here yet");
    shoot(window, "02-empty");
}

fn adds_a_vendor(window: &mut Window<'_>, world: &World) {
    window.go("Settings");
    window.fill("Vendor profile", world.profile().to_str().unwrap());
    window.activate("Add the vendor");
    window.says("Example Audio is known here now.");
    shoot(window, "03-vendor");
}

fn activates(window: &mut Window<'_>, world: &World, machine: &Machine, license: &License) {
    let before = world.proxy.requests();
    window.go("Add a license");
    let _field = window.focus("Serial number");
    window.write(&sloppy(&mistyped(&license.serial)));
    window.holds("Serial number", &mistyped(&license.serial));
    window.says("There is a slip in it");
    shoot(window, "04-slip");
    window.press(Key::Backspace);
    window.no_longer_says("There is a slip in it");
    window.write(&license.serial[license.serial.len() - 1..].to_lowercase());
    window.holds("Serial number", &license.serial);
    window.says("From Example Audio");
    window.press(Key::Return);
    window
        .wait("the unlock code's field", |tree| tree.focused().filter(|n| n.name == "Unlock code").map(drop));
    window.write(&sloppy(&mistyped(&license.unlock_code)));
    window.says("There is a slip in it");
    window.press(Key::Backspace);
    window.write(&license.unlock_code[license.unlock_code.len() - 1..]);
    window.holds("Unlock code", &license.unlock_code);
    window.enabled("Activate on this computer");
    shoot(window, "05-typed");
    assert_eq!(world.proxy.requests(), before, "nothing is sent while somebody types");
    window.press(Key::Return);
    window.says("Solstice is active on this computer.");
    shoot(window, "06-activated");
    assert_eq!(world.seats_taken(license), 1);
    assert!(machine.is_licensed(PRODUCT));
}

fn shows_what_it_owns(window: &mut Window<'_>, license: &License) {
    window.activate("Show my products");
    let row = format!("{PRODUCT_NAME}, Active, {}", license.serial);
    let _row = window.one("list item", &row);
    shoot(window, "07-products");
    // The list is one stop of the Tab key, and says which row the keyboard is at.
    window.focus_row(&row);
    assert_eq!(window.wait("a focus", |tree| tree.focused().cloned()).name, row);
    window.press(Key::Return);
    window.says("Particulars for support");
    window.says(&license.serial);
    shoot(window, "08-product");
    window.activate("Copy the particulars");
    window.says("Copied.");
    let copied = window.clipboard();
    assert!(copied.contains(&license.serial) && !copied.contains(&license.unlock_code), "{copied}");
    window.activate("Show who holds the seats");
    window.says("1 of 2 in use");
    window.says("(this computer)");
    shoot(window, "09-seats");
    window.activate("Back to the products");
}

fn names_the_computer(window: &mut Window<'_>, machine: &Machine) {
    window.go("Computers");
    window.fill("New name of this computer", "Left desk");
    window.activate("Rename this computer");
    window.says("Vendors will see this computer as “Left desk”.");
    assert_eq!(machine.json(&["machine", "show"])["machines"][0]["device_name"], "Left desk");
    shoot(window, "10-computers");
    window.activate("Undo");
    window.no_longer_says("Left desk");
    assert_ne!(machine.json(&["machine", "show"])["machines"][0]["device_name"], "Left desk");
}

/// Refuses, then agrees; what is asked is asked in the same way.
fn decides(window: &mut Window<'_>, world: &World, machine: &Machine) {
    let read = "Read the notice of Example Audio and decide";
    window.go("Privacy");
    assert_eq!(consent(machine), "none");
    window.activate(read);
    window.says("May we count?");
    shoot(window, "11-notice");
    let before = world.proxy.requests();
    window.activate("Refuse usage statistics");
    window.says("Refused. Nothing is counted, nothing is sent.");
    assert_eq!(consent(machine), "refused");
    assert_eq!(world.proxy.requests(), before, "refusing is silent");
    shoot(window, "12-refused");
    window.activate(read);
    window.says("May we count?");
    // Leaving without an answer changes nothing.
    window.press(Key::Escape);
    window.no_longer_says("May we count?");
    assert_eq!(consent(machine), "refused");
    window.activate(read);
    window.activate("Agree to usage statistics");
    window.says("You agreed on");
    assert_eq!(consent(machine), "given");
    shoot(window, "13-agreed");
    window.activate(&format!("Take the agreement with {VENDOR_NAME} back"));
    window.says("Take your agreement with Example Audio back?");
    window.activate("Take it back");
    window.says("You took your agreement back");
    assert_eq!(consent(machine), "withdrawn");
}

fn goes_offline(window: &mut Window<'_>, world: &World, machine: &Machine, license: &License) {
    let before = world.proxy.requests();
    window.go("Offline");
    window.fill("Serial number", &sloppy(&license.serial));
    window.fill("Unlock code", &sloppy(&license.unlock_code));
    window.activate("Make the request");
    window.says("QR code of the request");
    shoot(window, "14-request");
    let seen = read_codes(window);
    assert!(seen.contains("/offline#"), "the code on the screen leads to the vendor's page: {seen}");
    let (request, answer) = (world.path("studio.clvreq"), world.path("studio.clvres"));
    window.fill("File to save it as", request.to_str().unwrap());
    window.activate("Save the file");
    window.says("Saved as");
    assert_eq!(world.proxy.requests(), before, "an offline request sends nothing");
    let text = std::fs::read_to_string(&request).unwrap();
    assert!(!text.contains(&license.unlock_code), "{text}");
    let files = ["offline", "answer", request.to_str().unwrap(), "--force", "-o", answer.to_str().unwrap()];
    let _said = world.server(&files).ok();
    window.activate("I have the answer");
    window.fill("Answer file", answer.to_str().unwrap());
    window.activate("Import the answer file");
    window.says("Solstice is active on this computer.");
    shoot(window, "15-imported");
    assert_eq!(world.seats_taken(license), 1);
    let listed = machine.json(&["license", "list"]);
    assert_eq!(listed["licenses"].as_array().unwrap().len(), 3, "{listed}");

    // And back the same way: a receipt, which the vendor gets from a file.
    window.activate("Show my products");
    let row = format!("{PRODUCT_NAME}, Active, {}", license.serial);
    window.focus_row(&row);
    window.press(Key::Return);
    window.says("Particulars for support");
    window.activate("Give up offline");
    window.says("offline?");
    window.activate("Give up");
    window.says("The license is given up here.");
    shoot(window, "16-receipt");
    let receipt = world.path("studio.clvreceipt");
    window.fill("File to save it as", receipt.to_str().unwrap());
    window.activate("Save the file");
    window.says("Saved as");
    assert_eq!(world.seats_taken(license), 1, "nobody has told the vendor yet");
    let files = ["offline", "answer", receipt.to_str().unwrap(), "--force", "-o", answer.to_str().unwrap()];
    let _said = world.server(&files).ok();
    assert_eq!(world.seats_taken(license), 0);
}

fn deactivates(window: &mut Window<'_>, world: &World, machine: &Machine, license: &License) {
    let title = format!("Deactivate {PRODUCT_NAME} here?");
    window.go("Products");
    window.focus_row(&format!("{PRODUCT_NAME}, Active, {}", license.serial));
    window.press(Key::Return);
    window.activate("Deactivate on this computer");
    window.says(&title);
    shoot(window, "17-question");
    // The harmless answer has the keyboard, and Escape is one too.
    assert_eq!(window.wait("a focus", |tree| tree.focused().cloned()).name, "Leave it");
    window.press(Key::Escape);
    window.no_longer_says(&title);
    assert_eq!(world.seats_taken(license), 1);
    window.activate("Deactivate on this computer");
    window.says(&title);
    window.activate("Deactivate");
    window.says("Solstice is deactivated here, and its seat is free.");
    assert_eq!(world.seats_taken(license), 0);
    let listed = machine.json(&["license", "list"]);
    let entry =
        listed["licenses"].as_array().unwrap().iter().find(|l| l["serial"] == license.serial.as_str());
    assert_eq!(entry.unwrap()["status"], "given_up");
}

fn looks_around(window: &mut Window<'_>) {
    window.go("About & diagnostics");
    window.says("daemon");
    shoot(window, "18-about");
    window.activate("Copy the diagnostics");
    window.says("Copied.");
    let copied = window.clipboard();
    assert!(copied.starts_with("Claviger ") && copied.contains("daemon"), "{copied}");
}

/// The QR codes in the window, read by a decoder that nobody here wrote.
fn read_codes(window: &mut Window<'_>) -> String {
    let file = pictures().join("journey/qr.png");
    window.picture().save(&file);
    process::run(Command::new("zbarimg").args(["--raw", "-q"]).arg(&file), "").ok().stdout
}

#[test]
fn a_second_start_hands_over_and_a_link_asks_before_anything_happens() {
    let world = world();
    let license = world.issue(1);
    let machine = world.this_machine();
    let mut screen = Screen::start();
    let link = format!("claviger:activate?serial={}", license.serial);
    let start = |screen: &Screen, more: &[&str]| {
        let setting = Setting::default().with(more);
        process::run(&mut window::command(screen, &machine, &setting), "").ok()
    };
    let mut window = Window::open(&mut screen, &machine, &Setting::default());
    window.says("Nothing is active here yet");
    let _done = start(window.screen, &[]);
    assert!(!window.tree().says("Activate a license from a link?"));

    let before = world.proxy.requests();
    let _done = start(window.screen, &[&link]);
    window.says("Activate a license from a link?");
    // Written so that it is not broken at a hyphen.
    window.says(&license.serial.replace('-', "\u{2011}"));
    shoot(&mut window, "20-link");
    assert_eq!(window.wait("a focus", |tree| tree.focused().cloned()).name, "Ignore it");
    window.press(Key::Return);
    window.no_longer_says("Activate a license from a link?");
    assert!(!window.tree().says("What the vendor learns"), "without a yes nothing happens");

    let _done = start(window.screen, &[&link]);
    window.says("Activate a license from a link?");
    window.activate("Fill it in");
    window.holds("Serial number", &license.serial);
    assert_eq!(window.text_of("Unlock code"), "");
    assert_eq!(world.proxy.requests(), before, "a link sends nothing");
    let _done = start(window.screen, &[&format!("{link}&code={}", license.unlock_code)]);
    window.says("A link tried to bring an unlock code along.");
    assert!(!window.tree().says(&license.unlock_code));
    for bad in [
        "claviger:deactivate?serial=A",
        "https://evil.example/",
        "claviger:activate?serial=%3Cb%3E",
        "claviger:",
    ] {
        let _done = start(window.screen, &[bad]);
        window.says("This link is not one that Claviger follows.");
    }
    assert_eq!(world.seats_taken(&license), 0);
    assert!(window.close().success());

    // The first start takes a link along, too, and asks the same.
    let mut window = Window::open(&mut screen, &machine, &Setting::default().with(&[&link]));
    window.says("Activate a license from a link?");
    assert!(window.close().success());
}

/// Same size, same level, same number of keys, neither chosen beforehand.
#[test]
fn refusing_is_as_easy_as_agreeing() {
    let world = world();
    let license = world.issue(1);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let mut screen = Screen::start();
    for (language, names) in [
        ("en", ["Refuse usage statistics", "Agree to usage statistics"]),
        ("de", ["Nutzungsstatistik ablehnen", "Nutzungsstatistik zustimmen"]),
    ] {
        let setting = Setting { language, ..Setting::default() }.with(&["--page", "privacy"]);
        let mut window = Window::open(&mut screen, &machine, &setting);
        let question = if language == "de" { "Dürfen wir zählen?" } else { "May we count?" };
        let reading = window.wait("the notice's button", |tree| {
            tree.nodes
                .iter()
                .find(|n| n.role == "button" && n.name.contains(VENDOR_NAME))
                .map(|n| n.name.clone())
        });
        window.activate(&reading);
        window.says(question);
        let at = window.wait("a focus", |tree| tree.focused().map(|node| node.name.clone()));
        assert!(!names.contains(&at.as_str()), "“{at}” is preselected");
        // From where the question leaves the keyboard, both are reached with the Tab key alone, one after the other, and each is
        // given by one more key.
        let mut stops: Vec<String> = Vec::new();
        while stops.last().is_none_or(|stop| stop != names[1]) {
            stops.push(window.step(Key::Tab).name);
            assert!(stops.len() < 40, "{stops:?}");
        }
        let place = |name: &str| stops.iter().position(|stop| stop == name).unwrap_or(usize::MAX - 1);
        assert_eq!(place(names[0]) + 1, place(names[1]), "refusing is never the longer way: {stops:?}");
        let _drawn = window.picture();
        let tree = window.located();
        let [refuse, agree] = names.map(|name| {
            let node = tree.named(name).next();
            node.cloned().unwrap_or_else(|| panic!("no “{name}”\n{}", tree.outline()))
        });
        assert_eq!((refuse.role, agree.role), ("button", "button"));
        assert_eq!(
            (refuse.place.width, refuse.place.height, refuse.place.y),
            (agree.place.width, agree.place.height, agree.place.y),
            "one size, one line"
        );
        assert_eq!((refuse.parent, refuse.depth), (agree.parent, agree.depth), "one level");
        for node in [&refuse, &agree] {
            let chosen = [State::Selected, State::Checked, State::Pressed];
            assert!(chosen.iter().all(|state| !node.is(*state)), "{} is preselected", node.title());
            assert!(node.actionable);
        }
        assert_eq!(consent(&machine), "requested", "looking decides nothing");
        window.picture().save(&pictures().join(format!("consent-{language}.png")));
        assert!(window.close().success());
    }
}

/// Roles of which each has to say what it is.
const SPOKEN: &[&str] = &[
    "button",
    "toggle button",
    "radio button",
    "check box",
    "combo box",
    "entry",
    "password text",
    "page tab",
    "link",
    "slider",
    "list item",
    "list",
    "list box",
    "image",
    "dialog",
    "landmark",
    "progress bar",
    "label",
    "frame",
    "heading",
];

fn nameless(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for node in &tree.nodes {
        let control = node.actionable || node.is(State::Focusable) || SPOKEN.contains(&node.role);
        let unknown = matches!(node.role, "unknown" | "invalid" | "unheard of");
        // Ornaments are no elements.
        if unknown || (control && node.name.trim().is_empty()) {
            let above = node.parent.map(|parent| tree.nodes[parent].title()).unwrap_or_default();
            found.push(format!("{} below {above}", node.title()));
        }
    }
    found
}

/// Names that two controls of one screen share. Those of a group are called by its name, too.
fn doubles(tree: &Tree) -> Vec<String> {
    let grouped = |node: &Node| {
        node.role == "radio button" && node.parent.is_some_and(|parent| !tree.nodes[parent].name.is_empty())
    };
    let controls = || {
        let all = tree.nodes.iter().filter(|node| node.actionable || node.is(State::Focusable));
        all.filter(|node| !grouped(node))
    };
    let mut found: Vec<String> = controls()
        .filter(|node| {
            controls().filter(|other| (other.role, &other.name) == (node.role, &node.name)).count() > 1
        })
        .map(Node::title)
        .collect();
    found.dedup();
    found
}

#[test]
fn every_control_says_what_it_is() {
    let world = world();
    world.add_product("com.example.tape", "Tape Echo");
    let machine = world.this_machine();
    for license in world.issue_batch(2, 2) {
        let _said = machine.activate(&license).ok();
    }
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &machine, &Setting::default());
    let mut wrong = Vec::new();
    let mut look = |window: &mut Window<'_>, what: &str| {
        let _drawn = window.picture();
        let tree = window.tree();
        wrong.extend(nameless(&tree).into_iter().map(|found| format!("{what}: no name or role: {found}")));
        wrong.extend(doubles(&tree).into_iter().map(|found| format!("{what}: twice: {found}")));
        std::fs::create_dir_all(pictures()).unwrap();
        std::fs::write(pictures().join(format!("{what}.txt")), tree.outline()).unwrap();
    };
    window.says(PRODUCT_NAME);
    for section in
        ["Products", "Add a license", "Computers", "Offline", "Privacy", "Settings", "About & diagnostics"]
    {
        window.go(section);
        look(&mut window, section);
    }
    window.go("Privacy");
    window.activate("Read the notice of Example Audio and decide");
    window.says("May we count?");
    look(&mut window, "Notice");
    window.press(Key::Escape);
    window.go("Products");
    let row = window.wait("a row", |tree| tree.nodes.iter().find(|n| n.name.contains(", Active, ")).cloned());
    window.focus_row(&row.name);
    window.press(Key::Return);
    window.says("Particulars for support");
    look(&mut window, "Product");
    window.activate("Deactivate on this computer");
    window.says("Deactivate Solstice here?");
    look(&mut window, "Question");
    let dialog = window.tree();
    let outside: Vec<String> = tab_round(&mut window);
    assert_eq!(
        outside.len(),
        2,
        "a question is left by its answers alone: {outside:?}\n{}",
        dialog.outline()
    );
    assert_eq!(wrong, [""; 0]);
}

/// The names that the Tab key comes to until it is where it began.
fn tab_round(window: &mut Window<'_>) -> Vec<String> {
    let mut stops: Vec<String> = Vec::new();
    loop {
        let name = window.step(Key::Tab).name;
        if stops.contains(&name) {
            return stops;
        }
        stops.push(name);
    }
}
