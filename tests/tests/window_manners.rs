//! What people do with the manager window beside the straight way: a helper that is killed while they look, computers that they
//! no longer have, files that they drop, an administrator who has decided for them. A real window, daemon and server.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};

use claviger_tests::screen::keyboard::Key;
use claviger_tests::screen::{Node, Screen, Setting, State, Tree, Window};
use claviger_tests::world::{PRODUCT, PRODUCT_NAME};
use claviger_tests::{License, Machine, World};
use serde_json::Value;

fn shoot(window: &mut Window<'_>, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screens");
    window.picture().save(&folder.join("manners").join(format!("{name}.png")));
}

fn on(page: &str) -> Setting {
    Setting::default().with(&["--page", page])
}

/// Licenses stay where they are, the window says what is wrong, and all is well again as soon as there is a helper.
#[test]
fn a_helper_that_is_killed_is_missed_and_found_again() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &machine, &Setting::default());
    let row = format!("{PRODUCT_NAME}, Active, {}", license.serial);
    window.says(&row);

    machine.kill_daemon();
    window.says("Claviger’s helper is not running.");
    assert!(machine.is_licensed(PRODUCT));
    shoot(&mut window, "killed");
    // Somebody else starts one: nobody has to tell the window.
    machine.start_daemon();
    window.says(&row);
    window.no_longer_says("Claviger’s helper is not running.");

    machine.stop_daemon();
    window.says("Claviger’s helper is not running.");
    let _ended = Stray(&machine);
    window.activate("Start Claviger’s helper");
    window.says(&row);
    window.says("Ready");
    assert!(window.close().success());
}

/// Ends the daemon that the window has started, whatever becomes of the test.
struct Stray<'a>(&'a Machine);

impl Drop for Stray<'_> {
    fn drop(&mut self) {
        self.0.end_stray_daemon();
    }
}

/// Types the unlock code and frees a seat, from the screen that offers it.
fn free(window: &mut Window<'_>, computer: &str, code: &str) {
    window.activate(&format!("Free the seat of {PRODUCT_NAME} on {computer}"));
    window.wait("the code's field", |tree| {
        tree.focused().filter(|node| node.name == format!("Unlock code to free {computer}")).map(drop)
    });
    window.write(code);
    window.activate(&format!("Free the seat of {computer}"));
    window.says(&format!("Free the seat of {computer}?"));
    assert_eq!(window.wait("a focus", |tree| tree.focused().cloned()).name, "Leave it");
    window.activate("Free the seat");
}

#[test]
fn the_seat_of_a_lost_computer_is_freed_by_whoever_has_the_code() {
    let world = World::new();
    let license = world.issue(3);
    let (studio, laptop, tower) =
        (world.machine("Studio"), world.machine("Old laptop"), world.machine("Tower"));
    for machine in [&studio, &laptop, &tower] {
        let _said = machine.activate(&license).ok();
    }
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &studio, &on("computers"));
    window.activate("Ask the vendors who holds the seats");
    window.says("Old laptop");
    window.says("Tower");
    free(&mut window, "Old laptop", &world.issue(1).unlock_code);
    window.wait("a refusal", |tree| {
        tree.nodes.iter().find(|node| node.role == "landmark" && node.name.contains("unlock code")).map(drop)
    });
    shoot(&mut window, "wrong-code");
    assert_eq!(world.seats_taken(&license), 3);
    free(&mut window, "Old laptop", &license.unlock_code);
    window.says("The seat of Old laptop is free.");
    assert_eq!(world.seats_taken(&license), 2);
    shoot(&mut window, "freed");

    // The same from the product's page.
    window.go("Products");
    window.focus_row(&format!("{PRODUCT_NAME}, Active, {}", license.serial));
    window.press(Key::Return);
    window.says("2 of 3 in use");
    free(&mut window, "Tower", &license.unlock_code);
    window.says("The seat of Tower is free.");
    window.says("1 of 3 in use");
    assert_eq!(world.seats_taken(&license), 1);
    assert!(laptop.is_licensed(PRODUCT), "it learns it when it next asks");
    assert!(window.close().success());
}

/// What every seat is taken from is answered by who holds them, and one of them can be taken over.
#[test]
fn a_seat_is_taken_over_where_none_is_free() {
    let world = World::new();
    let license = world.issue(1);
    let (old, new) = (world.machine("Old laptop"), world.machine("New tower"));
    let _said = old.activate(&license).ok();
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &new, &on("add"));
    type_in(&mut window, &license);
    window.says("1 seat, in use on");
    shoot(&mut window, "taken");
    assert!(!new.is_licensed(PRODUCT));
    let button = window.wait("the button", |tree| {
        tree.nodes.iter().find(|node| node.name.starts_with("Take over the seat of Old laptop")).cloned()
    });
    window.activate(&button.name);
    window.says("Take over the seat of Old laptop?");
    window.activate("Take over");
    window.says("Solstice is active on this computer.");
    assert!(new.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    assert!(window.close().success());
}

fn type_in(window: &mut Window<'_>, license: &License) {
    window.fill("Serial number", &license.serial);
    window.fill("Unlock code", &license.unlock_code);
    window.activate("Activate on this computer");
}

/// Names of the choice that is made in each group.
fn chosen(tree: &Tree, group: &str) -> Option<String> {
    let at = tree.nodes.iter().position(|node| node.name == group && node.role != "label")?;
    let made = |node: &&Node| node.parent == Some(at) && node.is(State::Checked);
    tree.nodes.iter().find(made).map(|node| node.name.clone())
}

#[test]
fn what_somebody_likes_holds_at_once_and_the_next_time() {
    let world = World::new();
    let machine = world.this_machine();
    let mut screen = Screen::start();
    let plain = Setting { theme: "", language: "", ..Setting::default() };
    let mut window = Window::open(&mut screen, &machine, &plain.with(&["--page", "settings"]));
    window.says("Example Audio");
    let dark = window.picture().at(300, 5);
    let _there = window.focus("Theme");
    window.press(Key::Right);
    window.wait("Light", |tree| chosen(tree, "Theme").filter(|now| now == "Light"));
    let light = window.picture().at(300, 5);
    assert!(dark[0] < 60 && light[0] > 200, "{dark:?} {light:?}");
    // Nobody has a tray here, and nothing comes of wanting one.
    window.activate("Icon in the system tray");
    window.wait("the switch", |tree| {
        tree.named("Icon in the system tray")
            .find(|node| node.is(State::Checked) || node.is(State::Pressed))
            .map(drop)
    });
    let _there = window.focus("Language");
    for (step, title) in [("English", "Settings"), ("Français", "Réglages")] {
        window.press(Key::Right);
        window.wait(step, |tree| tree.named(step).find(|node| node.is(State::Checked)).map(drop));
        window.says(title);
    }
    shoot(&mut window, "french");
    assert!(window.close().success());
    let kept: Value =
        serde_json::from_slice(&std::fs::read(machine.home.join("window.json")).unwrap()).unwrap();
    assert_eq!(
        (&kept["theme"], &kept["language"], &kept["tray"]),
        (&"light".into(), &"fr".into(), &true.into())
    );

    let mut window = Window::open(&mut screen, &machine, &plain);
    window.says("Rien n’est encore actif ici");
    let again = window.picture().at(300, 5);
    assert_eq!(again, light);
    // A damaged file is as good as none.
    assert!(window.close().success());
    std::fs::write(machine.home.join("window.json"), "{\"theme\":").unwrap();
    let mut window = Window::open(&mut screen, &machine, &plain);
    window.says("Nothing is active here yet");
    assert!(window.close().success());
}

/// A vendor is forgotten and known again by one key.
#[test]
fn forgetting_a_vendor_is_undone() {
    let world = World::new();
    let machine = world.this_machine();
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &machine, &on("settings"));
    window.activate("Remove Example Audio");
    window.says("Example Audio is no longer known here.");
    window.says("None yet. Add one by its profile.");
    shoot(&mut window, "forgotten");
    window.activate("Undo");
    window.says("Example Audio is known here now.");
    let _again = window.one("button", "Remove Example Audio");
    assert!(window.close().success());
}

fn reaches(window: &mut Window<'_>, name: &str) -> bool {
    let mut stops: Vec<String> = Vec::new();
    loop {
        let stop = window.step(Key::Tab).name;
        if stop == name {
            return true;
        }
        if stops.contains(&stop) {
            return false;
        }
        stops.push(stop);
    }
}

/// What the administrator has fixed says so, and cannot be changed.
#[test]
fn what_the_administrator_has_fixed_is_shown_as_such() {
    let world = World::new();
    let machine = Machine::second(&world.folder()).with_policy("network = false\n");
    let machine = world.ready(machine);
    let mut screen = Screen::start();
    // Tall enough for all of it.
    let setting = Setting { size: (1120, 1400), ..on("settings") };
    let mut window = Window::open(&mut screen, &machine, &setting);
    window.says("Off: licenses are activated offline here.");
    window.says("Fixed by this computer’s administrator");
    window.says("Network is off");
    assert!(!reaches(&mut window, "Use the network"), "it cannot be turned");
    shoot(&mut window, "fixed");
    assert!(window.close().success());
}

/// Files come by name, by a file manager's start and by being dropped; what is none of ours is told, and nothing is changed.
#[test]
fn files_are_opened_however_they_come() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let answer = answered(&world, &machine, &license);
    let other = world.path("a letter.txt");
    std::fs::write(&other, "Dear customer,\n").unwrap();
    let mut screen = Screen::start();
    let mut window = Window::open(&mut screen, &machine, &on("add"));
    window.fill("File to open", other.to_str().unwrap());
    window.activate("Open the file");
    window.says("Offline");
    shoot(&mut window, "not-ours");
    assert!(!machine.is_licensed(PRODUCT));
    window.drop_file(&answer, |window| {
        window.says("Drop a vendor profile or an offline answer");
        shoot(window, "dragging");
    });
    window.no_longer_says("Drop a vendor profile or an offline answer");
    window.says("Solstice is active on this computer.");
    shoot(&mut window, "dropped");
    assert!(machine.is_licensed(PRODUCT));
    assert!(window.close().success());
}

/// The vendor's answer to an offline request of this computer, in a file.
fn answered(world: &World, machine: &Machine, license: &License) -> PathBuf {
    let (request, answer) = (world.path("studio.clvreq"), world.path("the answer.clvres"));
    let words =
        ["offline", "request", &license.serial, "--unlock-code-stdin", "-o", request.to_str().unwrap()];
    let _said = machine.claviger_with(&words, &license.unlock_code).ok();
    let words = ["offline", "answer", request.to_str().unwrap(), "-o", answer.to_str().unwrap()];
    let _said = world.server(&words).ok();
    answer
}
