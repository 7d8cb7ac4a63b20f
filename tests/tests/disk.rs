//! Disks that are full, read-only or damaged: a clear error, and what was good before stays good.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::device::Device;
use claviger_tests::machine::{copy_folder, files_below};
use claviger_tests::platform::wine;
use claviger_tests::world::{License, PRODUCT, PRODUCT_NAME};
use claviger_tests::{Machine, World, slow};

/// A small disk of its own; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        assert!(mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(at).status().unwrap().success());
        Self(at.to_owned())
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write_all(&vec![0u8; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_under_the_daemon_loses_nothing() {
    let world = World::new();
    let (held, wanted) = (world.issue(1), world.issue(1));
    let folder = world.folder();
    let disk = Disk::mount(&folder, "4m");
    let mut machine = world.ready(Machine::this(&folder));
    let _said = machine.activate(&held).ok();

    disk.fill();
    let done = machine.activate(&wanted).refused();
    assert_eq!(done.code, Some(11), "{done}");
    let _said = done.says(&["space"]);
    assert!(machine.is_licensed(PRODUCT));
    // Giving up cannot be promised when the promise cannot be written down.
    let done = machine.claviger(&["deactivate", &held.serial]).refused();
    assert_eq!(done.code, Some(11), "{done}");
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&held), 1);
    assert!(machine.daemon().is_running());

    disk.empty();
    let _said = machine.activate(&wanted).ok();
    assert_eq!((world.seats_taken(&held), world.seats_taken(&wanted)), (1, 1));
    let _said = machine.claviger(&["deactivate", &held.serial]).ok();
    assert_eq!(world.seats_taken(&held), 0);
}

#[test]
fn a_read_only_disk_under_the_daemon_is_named() {
    let world = World::new();
    let (held, wanted) = (world.issue(1), world.issue(1));
    let folder = world.folder();
    let disk = Disk::mount(&folder, "4m");
    let mut machine = world.ready(Machine::this(&folder));
    let _said = machine.activate(&held).ok();
    machine.stop_daemon();
    disk.remount("ro");
    // The daemon may refuse to start, or start and refuse to change anything: the plug-in does not care.
    assert!(machine.is_licensed(PRODUCT));
    let done = machine.activate(&wanted).refused();
    assert!(matches!(done.code, Some(11 | 12)), "{done}");
    // Wine says of a read-only disk what it says of a folder that one may not write.
    let words = if wine() { "access denied" } else { "read-only" };
    assert!(done.text().to_lowercase().contains(words), "{done}");
    assert!(machine.is_licensed(PRODUCT));
    disk.remount("rw");
    machine.end_stray_daemon();
    machine.start_daemon();
    let _said = machine.activate(&wanted).ok();
    assert_eq!((world.seats_taken(&held), world.seats_taken(&wanted)), (1, 1));
}

#[test]
fn a_full_disk_under_the_server_takes_no_seat_and_heals() {
    let mut world = World::without_server();
    let disk = Disk::mount(&world.path("server-disk"), "24m");
    world.move_data(&world.path("server-disk/data"));
    world.start_server();
    let license = world.issue(2);
    let device = Device::new(&world.vendor, "First");
    let mut http = world.http();
    assert_eq!(http.send("activate", &device.activate(&license)).status, 200);
    disk.fill();
    // The log may have room for a little more; it must not have room for ever.
    let mut refused = None;
    let mut taken = 1;
    for number in 0..20_000 {
        let device = Device::new(&world.vendor, &format!("More {number}"));
        let license = license.clone();
        let reply = http.send("activate", &device.activate(&license));
        match reply.status {
            200 => taken += 1,
            409 => assert_eq!(reply.code(), "seats_taken"),
            500..=599 => {
                refused = Some(reply);
                break;
            }
            other => panic!("{other}: {}", reply.json()),
        }
        if taken == 2 && number > 50 {
            break;
        }
    }
    if let Some(reply) = &refused {
        assert!(["internal", "unavailable"].contains(&reply.code().as_str()), "{}", reply.json());
    }
    assert!(world.running_server().is_running());
    assert!(matches!(world.http().get("/v1/health").status, 200 | 503), "it answers still");
    disk.empty();
    let before = world.seats_taken(&license);
    assert!(before <= 2);
    let last = Device::new(&world.vendor, "After");
    let reply = world.http().send("activate", &last.activate(&license));
    assert!(matches!(reply.status, 200 | 409), "{}", reply.json());
    assert_eq!(world.seats_taken(&license), 2);
    world.stop_server();
    world.start_server();
    assert_eq!(world.seats_taken(&license), 2);
}

/// Every file of a home, damaged one at a time in three ways: nothing crashes, nothing lies, what was not damaged stays
/// good, and one more activation mends everything without a second seat.
#[test]
fn damaged_files_are_noticed_one_by_one() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    machine.stop_daemon();
    let pristine = world.path("pristine");
    copy_folder(&machine.home, &pristine);
    let files: Vec<PathBuf> = files_below(&machine.home)
        .into_iter()
        .filter(|f| !f.to_string_lossy().contains("/log/") && f.extension().is_none_or(|e| e != "lock"))
        .filter(|f| std::fs::metadata(f).unwrap().len() > 0)
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        let good = std::fs::read(pristine.join(file.strip_prefix(&machine.home).unwrap())).unwrap();
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        let ways =
            [("bit-flipped", &flipped[..]), ("truncated", &good[..good.len() / 2]), ("empty", &[][..])];
        // Every process takes Wine some ten times as long.
        let most = if wine() && !slow() { 1 } else { ways.len() };
        for (how, bad) in &ways[..most] {
            std::fs::remove_dir_all(&machine.home).unwrap();
            copy_folder(&pristine, &machine.home);
            std::fs::write(file, bad).unwrap();
            damaged(&world, &mut machine, &license, file, &format!("{} {how}", file.display()));
        }
    }
}

fn damaged(world: &World, machine: &mut Machine, license: &License, file: &Path, what: &str) {
    let status = machine.status_of(PRODUCT);
    if file.extension().is_some_and(|e| e == "cert") {
        assert!(["damaged", "untrusted"].contains(&status.as_str()), "{what}: {status}");
    }
    let of_a_plug_in = file.starts_with(machine.certificates());
    assert!(of_a_plug_in || status == "licensed", "{what}: {status}");
    // The daemon starts and answers, or ends with a sentence.
    match machine.try_start_daemon(&[]) {
        Ok(daemon) => machine.daemon = Some(daemon),
        Err((status, said)) => {
            assert!(status.code().is_some_and(|c| c != 101), "{what}: {status}\n{said}");
            assert!(said.split_whitespace().count() > 5, "{what}: {said}");
            return;
        }
    }
    for command in [&["license", "list"][..], &["doctor"], &["license", "refresh"]] {
        let done = machine.claviger(command);
        assert!(done.code.is_some_and(|c| c != 101 && c != 1), "{what}: {done}");
    }
    assert!(of_a_plug_in || machine.is_licensed(PRODUCT), "{what}: the daemon lost the license");
    machine.add_vendor(&world.profile());
    let done = machine.activate(license);
    assert_eq!(done.code, Some(0), "{what}: {done}");
    assert!(machine.is_licensed(PRODUCT), "{what}");
    assert_eq!(world.seats_taken(license), 1, "{what}");
    machine.stop_daemon();
}

/// A certificate that nothing can be read of is damaged by its product's name too, and a vendor whose folder is no
/// folder is left out of the list with a sentence.
#[test]
fn damage_is_called_damage_by_name_and_in_the_list() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let certificates: Vec<PathBuf> = files_below(&machine.certificates())
        .into_iter()
        .filter(|f| f.extension().is_some_and(|e| e == "cert"))
        .collect();
    for bad in ["", "rubbish"] {
        for file in &certificates {
            std::fs::write(file, bad).unwrap();
        }
        let checked = machine.claviger(&["check", PRODUCT_NAME]);
        assert_eq!(checked.code, Some(40), "{checked}");
        let listed = machine.json(&["license", "list"]);
        assert_eq!(listed["licenses"][0]["status"], "damaged", "{listed}");
    }
    let products = certificates[0].ancestors().nth(2).unwrap();
    std::fs::remove_dir_all(products).unwrap();
    std::fs::write(products, "no folder").unwrap();
    let listed = machine.claviger(&["license", "list"]);
    assert_eq!(listed.code, Some(0), "{listed}");
    assert!(listed.to_string().contains("cannot be read"), "{listed}");
    machine.stop_daemon();
}
