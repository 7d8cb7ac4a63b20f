//! Offline activation over real processes: a computer in a network namespace without a network, QR codes read by
//! decoders that nobody here wrote, a lab of clones, and everything that goes wrong with files.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::documents::{ActivationCertificate, Keyset, Request};
use claviger_protocol::offline::armour::write_file;
use claviger_protocol::offline::{BlockKind, FileKind, Refusal, code, packed, read};
use claviger_tests::device::Device;
use claviger_tests::machine::{copy_folder, files_below};
use claviger_tests::netwatch::NetWatch;
use claviger_tests::world::{PRODUCT, PRODUCT_NAME};
use claviger_tests::{License, Machine, World, process};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// `claviger offline request … -o FILE`
fn request(machine: &Machine, license: &License, file: &Path) -> serde_json::Value {
    let arguments = [
        "--json",
        "offline",
        "request",
        &license.serial,
        "--unlock-code-stdin",
        "-o",
        &text(file),
        "--force",
    ];
    machine.claviger_with(&arguments, &format!("{}\n", license.unlock_code)).ok().json()
}

/// `claviger-server offline answer FILES -o OUT`
fn answer(world: &World, files: &[&Path], out: &Path) -> process::Done {
    let files: Vec<String> = files.iter().map(|f| text(f)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    world.server(&[&["--json", "offline", "answer"], &files[..], &["--force", "-o", &text(out)]].concat())
}

fn import(machine: &Machine, file: &Path) -> process::Done {
    machine.claviger(&["--json", "offline", "import", &text(file)])
}

fn members(value: &serde_json::Value) -> Vec<String> {
    let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

/// The whole path of a computer that sees no network, and not one packet in its namespace.
#[test]
fn a_computer_without_a_network_is_activated_and_gives_its_seat_back() {
    let world = World::new();
    let license = world.issue(1);
    let watch = NetWatch::start(world.path("packets"));
    let mut machine = Machine::this(&world.folder());
    machine.network_of = Some(watch.pid());
    let mut machine = world.ready(machine);
    let (out, back) = (world.path("studio.clvreq"), world.path("studio.clvres"));

    let made = request(&machine, &license, &out);
    assert_eq!(members(&made["request"]), ["aud", "exp", "iat", "keyset", "nonce", "order", "v"]);
    assert_eq!(members(&made["request"]["order"]), ["machine", "op", "proof", "serial"]);
    let lifetime = made["request"]["exp"].as_i64().unwrap() - made["request"]["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 30 * 86_400);
    let file = std::fs::read_to_string(&out).unwrap();
    assert!(!file.contains(&license.unlock_code) && file.contains("Example Audio"), "{file}");
    assert!(!machine.is_licensed(PRODUCT));

    let _said = answer(&world, &[&out], &back).ok();
    let imported = import(&machine, &back).ok().json();
    assert_eq!((&imported["changed"], &imported["imported"][0]["status"]), (&1.into(), &"licensed".into()));
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    assert_eq!(import(&machine, &back).ok().json()["changed"], 0, "twice is harmless");
    let backup = world.path("backup");
    copy_folder(&machine.certificates(), &backup);

    let receipt = world.path("studio.clvreceipt");
    let given_up = machine.json(&["offline", "deactivate", PRODUCT_NAME, "-o", &text(&receipt)]);
    assert_eq!(given_up["license"]["status"], "given_up");
    assert!(!machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1, "nobody has told the vendor yet");
    let acknowledged = world.path("receipt.clvres");
    for _ in 0..2 {
        let _said = answer(&world, &[&receipt], &acknowledged).ok();
        assert_eq!(world.seats_taken(&license), 0, "the same receipt twice is harmless");
    }
    assert_eq!(import(&machine, &acknowledged).ok().json()["receipts"], 1);

    // The old certificate out of a backup, and the old answer: both stay refused.
    machine.stop_daemon();
    std::fs::remove_dir_all(machine.certificates()).unwrap();
    copy_folder(&backup, &machine.certificates());
    machine.start_daemon();
    assert_eq!(machine.status_of(PRODUCT), "given_up");
    assert_eq!(import(&machine, &back).refused().error_code(), "already_given_up");
    machine.stop_daemon();
    assert_eq!(watch.others_seen(), 0, "a packet was sent");
}

/// The old certificate out of a backup, under the eyes of a running daemon and with the daemon's memory gone: refused while it is
/// remembered, and seen by the vendor at the next contact, once.
#[test]
fn a_certificate_that_comes_back_after_its_receipt_is_seen_by_the_vendor() {
    let world = World::new();
    let license = world.issue(2);
    let flags = || {
        let shown = world.server_json(&["license", "show", &license.serial]).to_string();
        shown.matches("held_after_giving_up").count()
    };
    let mut machine = world.machine("Studio");
    let (out, back) = (world.path("s.clvreq"), world.path("s.clvres"));
    for forgets in [false, true] {
        let _made = request(&machine, &license, &out);
        let _said = answer(&world, &[&out], &back).ok();
        let _said = import(&machine, &back).ok();
        let backup = world.path(&format!("backup-{forgets}"));
        copy_folder(&machine.certificates(), &backup);
        let receipt = world.path("s.clvreceipt");
        let _said = machine.json(&["offline", "deactivate", PRODUCT, "-o", &text(&receipt), "--force"]);
        let _said = answer(&world, &[&receipt], &back).ok();
        let _said = import(&machine, &back).ok();
        assert_eq!((world.seats_taken(&license), flags()), (0, usize::from(forgets)));

        if forgets {
            machine.stop_daemon();
            std::fs::remove_dir_all(&machine.home).unwrap();
            std::fs::create_dir(&machine.home).unwrap();
            copy_folder(&backup, &machine.certificates());
            machine.start_daemon();
            machine.add_vendor(&world.profile());
            assert!(machine.is_licensed(PRODUCT), "nothing here remembers");
        } else {
            std::fs::remove_dir_all(machine.certificates()).unwrap();
            copy_folder(&backup, &machine.certificates());
            let listed = machine.json(&["license", "list"]);
            assert_eq!(listed["licenses"][0]["status"], "given_up", "{listed}");
            assert_eq!(machine.status_of(PRODUCT), "given_up");
        }
        for _ in 0..2 {
            let _said = machine.claviger(&["license", "refresh"]).ok();
            assert_eq!(flags(), 1 + usize::from(forgets), "told once");
        }
        assert_eq!(machine.status_of(PRODUCT), "given_up");
        assert_eq!(world.seats_taken(&license), 0);
    }
}

/// The light and dark modules that the command line draws, two rows a line, light ones drawn.
fn drawn(lines: &str) -> Vec<Vec<bool>> {
    let mut rows = Vec::new();
    let of_code = |line: &&str| line.chars().count() > 40 && line.chars().all(|c| " █▀▄".contains(c));
    for line in lines.lines().filter(of_code) {
        rows.push(line.chars().map(|c| !matches!(c, '█' | '▀')).collect());
        rows.push(line.chars().map(|c| !matches!(c, '█' | '▄')).collect());
    }
    rows
}

/// A QR code from the terminal and from the picture, read by two decoders; what they read activates.
#[test]
fn a_qr_code_is_read_back_by_independent_decoders_and_activates() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.machine("Studio – left");
    let (png, svg) = (world.path("code.png"), world.path("code.svg"));
    let arguments = [
        "offline",
        "request",
        &license.serial,
        "--unlock-code-stdin",
        "--qr",
        "--png",
        &text(&png),
        "--svg",
        &text(&svg),
    ];
    let done = machine.claviger_with(&arguments, &format!("{}\n", license.unlock_code)).ok();
    let rows = drawn(&done.text());
    let (wide, high) = (rows[0].len(), rows.len());
    assert!(wide <= 80, "{wide} columns: it fits any terminal, and a telephone reads it");
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(wide * 4, high * 4, |x, y| {
        if rows[y / 4][x / 4] { 0 } else { 255 }
    });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "{}", done.text());
    let (_, address) = grids[0].decode().unwrap();
    assert!(address.starts_with(&format!("http://{}/offline#", world.proxy.address)), "{address}");
    let said = process::run(Command::new("zbarimg").args(["--quiet", "--raw"]).arg(&png), "").ok();
    assert_eq!(said.stdout.trim(), address, "zbar and rqrr read the same");
    assert!(std::fs::read_to_string(&svg).unwrap().starts_with("<svg"));

    // A person pastes what the telephone read, and types with a scanner what the page shows.
    let (scanned, back) = (world.path("scanned.txt"), world.path("back.clvres"));
    std::fs::write(&scanned, &address).unwrap();
    let _said = answer(&world, &[&scanned], &back).ok();
    let response = read(&std::fs::read(&back).unwrap()).unwrap().blocks.remove(0).text;
    let parts = packed::answer_parts(&response).unwrap();
    let first =
        machine.claviger_with(&["--json", "offline", "import", "-"], &parts[1..].join("\n")).refused();
    assert_eq!(first.error_code(), "part_missing");
    let _said = machine.claviger_with(&["--json", "offline", "import", "-"], &parts.join("\r\n")).ok();
    assert!(machine.is_licensed(PRODUCT));
}

#[test]
fn a_mistyped_code_names_its_group() {
    let world = World::without_server();
    let machine = world.this_machine();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/golden/codes/typed.txt");
    let golden = std::fs::read_to_string(golden).unwrap();
    let mut groups: Vec<String> = golden.split_whitespace().take(32).map(str::to_owned).collect();
    let right = groups.join(" ");
    // It belongs to a request of another computer, and that is said; a wrong character is said first.
    let done = machine.claviger(&["--json", "offline", "import", "--code", &right]).refused();
    assert_eq!((done.error_code().as_str(), done.code), ("code_without_request", Some(3)));
    let wrong = if groups[11].ends_with('7') { "8" } else { "7" };
    groups[11].replace_range(4.., wrong);
    let done = machine.claviger(&["offline", "import", "--code", &groups.join("-").to_lowercase()]).refused();
    assert_eq!(done.code, Some(3));
    let _said = done.says(&["Group 12 is mistyped"]);
    let piped =
        machine.claviger_with(&["--json", "offline", "import", "--code"], &groups.join("\n")).refused();
    assert_eq!(piped.error_code(), "code_mistyped");
}

/// What the vendor's page shows for a request, as a browser without JavaScript gets it.
fn page_for(world: &World, request: &str) -> String {
    use std::io::{Read as _, Write as _};
    let body = format!("--b\r\ncontent-disposition: form-data; name=\"text\"\r\n\r\n{request}\r\n--b--\r\n");
    let mut stream = std::net::TcpStream::connect(world.server_address()).unwrap();
    let head = format!(
        "POST /offline HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=b\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        world.server_address(),
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut page = String::new();
    let _length = stream.read_to_string(&mut page).unwrap();
    page
}

/// The 32 groups that a page shows: what passes for the next group, in its order, tags apart.
fn groups_on(page: &str) -> Vec<String> {
    let mut groups = Vec::new();
    for word in page.split(['<', '>']).skip(2).step_by(2).flat_map(str::split_whitespace) {
        if groups.len() < code::GROUPS && code::check_group(groups.len() + 1, word).is_ok() {
            groups.push(word.to_owned());
        }
    }
    groups
}

/// The whole way of the telephone: request out, 32 groups read from the vendor's page, typed, licensed; the receipt of
/// what was typed frees the seat.
#[test]
fn the_code_on_the_vendor_s_page_activates() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.machine("Studio");
    let out = world.path("typed.clvreq");
    let _made = request(&machine, &license, &out);
    let page = page_for(&world, &std::fs::read_to_string(&out).unwrap());
    let groups = groups_on(&page);
    assert_eq!(groups.len(), 32, "{page}");
    let mut wrong = groups.clone();
    let other = if wrong[30].starts_with('X') { "Y" } else { "X" };
    wrong[30].replace_range(..1, other);
    let done = machine.claviger(&["offline", "import", "--code", &wrong.join(" ")]).refused();
    let _said = done.says(&["Group 31 is mistyped"]);
    assert!(!machine.is_licensed(PRODUCT));
    let _said = machine.claviger_with(&["offline", "import", "--code"], &groups.join("\n")).ok();
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
    let (receipt, back) = (world.path("typed.clvreceipt"), world.path("typed.clvres"));
    let _said = machine.json(&["offline", "deactivate", &license.serial, "-o", &text(&receipt)]);
    let _said = answer(&world, &[&receipt], &back).ok();
    assert_eq!(world.seats_taken(&license), 0);
    assert!(!machine.is_licensed(PRODUCT));
}

/// Six computers, a hundred and ninety-four more that only sign: one batch, one bundle, each takes its own.
#[test]
fn a_lab_is_licensed_by_one_batch_and_one_bundle() {
    let world = World::new();
    let license = world.issue(200);
    let folder = world.path("requests");
    std::fs::create_dir(&folder).unwrap();
    let machines: Vec<Machine> = (0..6).map(|n| world.machine(&format!("Lab {n}"))).collect();
    for (n, machine) in machines.iter().enumerate() {
        let _made = request(machine, &license, &folder.join(format!("real{n}.clvreq")));
    }
    for n in 0..194 {
        let device = Device::new(&world.vendor, &format!("Seat {n}"));
        let file = write_file(FileKind::Request, &[], &device.activate(&license));
        std::fs::write(folder.join(format!("seat{n}.clvreq")), file).unwrap();
    }
    // One twice, one damaged, one that is something else.
    std::fs::copy(folder.join("seat5.clvreq"), folder.join("seat5 (copy).clvreq")).unwrap();
    let damaged = std::fs::read_to_string(folder.join("seat6.clvreq")).unwrap().replace("eyJ", "eyK");
    std::fs::write(folder.join("seat6-damaged.clvreq"), damaged).unwrap();
    std::fs::write(folder.join("holiday.clvreq"), "Greetings from the sea").unwrap();
    // Renamed by a mail program, zipped by another one; and a file that is nobody's business.
    std::fs::rename(folder.join("seat7.clvreq"), folder.join("seat7.clvreq.txt")).unwrap();
    let mut zip = Command::new("python3");
    zip.args(["-m", "zipfile", "-c", "two.zip", "seat8.clvreq", "seat9.clvreq"]).current_dir(&folder);
    let _said = process::run(&mut zip, "").ok();
    for name in ["seat8.clvreq", "seat9.clvreq"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("seats.csv"), "seat,person\n7,Ada\n").unwrap();
    let (batch, bundle) = (world.path("lab.clvbatch"), world.path("lab.clvbundle"));
    let said = machines[0].json(&["offline", "collect", &text(&folder), "-o", &text(&batch)]);
    assert_eq!((&said["requests"], &said["computers"]), (&200.into(), &200.into()));
    let named = |list: &str| said[list].to_string();
    assert!(named("duplicates").contains("seat5"), "{said}");
    assert!(
        named("damaged").contains("seat6-damaged.clvreq") && named("damaged").contains("holiday"),
        "{said}"
    );
    assert_eq!(said["damaged"].as_array().unwrap().len(), 2);
    assert_eq!(said["passed_over"].as_array().unwrap().len(), 1, "{said}");

    let _said = answer(&world, &[&batch], &bundle).ok();
    assert_eq!(world.seats_taken(&license), 200);
    for machine in &machines {
        let imported = import(machine, &bundle).ok().json();
        assert_eq!((&imported["changed"], &imported["for_other_computers"]), (&1.into(), &199.into()));
        assert!(machine.is_licensed(PRODUCT));
    }
    // A computer that was not in the batch takes nothing.
    let stranger = world.machine("Reception");
    let done = import(&stranger, &bundle).refused();
    assert_eq!((done.error_code().as_str(), done.code), ("not_for_this_machine", Some(4)));
    assert!(!stranger.is_licensed(PRODUCT));
}

/// A copy of `image` with this machine id.
fn clone_of(world: &World, image: &Path, id: &str) -> Machine {
    let machine = Machine::with_id(&world.folder(), id);
    copy_folder(image, &machine.home);
    // A socket is no part of a disk's copy.
    let _gone = std::fs::remove_dir_all(machine.home.join("run"));
    machine
}

fn try_offline(world: &World, machine: &Machine, license: &License) -> process::Done {
    let (out, back) = (world.path("clone.clvreq"), world.path("clone.clvres"));
    let _made = request(machine, license, &out);
    let _gone = std::fs::remove_file(&back);
    let done = answer(world, &[&out], &back);
    if back.exists() {
        let _said = import(machine, &back).ok();
    }
    done
}

#[test]
fn clones_of_a_prepared_image_are_told_apart_by_their_machine_ids() {
    let world = World::new();
    let license = world.issue(3);
    let mut golden = world.machine("Golden");
    let _said = golden.activate(&license).ok();
    let _said = golden.json(&["offline", "deactivate", PRODUCT, "-o", &text(&world.path("g.clvreceipt"))]);
    let _said = answer(&world, &[&world.path("g.clvreceipt")], &world.path("g.clvres")).ok();
    // Its receipt was answered, but the answer did not come back: that is said before anything goes.
    let refused = golden.claviger(&["--json", "machine", "prepare-image"]).refused();
    assert_eq!(refused.error_code(), "needs_yes", "{refused}");
    let said = golden.json(&["machine", "prepare-image", "--yes"]);
    assert_eq!(said["seats_still_taken"], serde_json::json!([]));
    golden.stop_daemon();
    for file in files_below(&golden.home) {
        let name = text(&file);
        // The last is Windows' lock, which holds no bytes.
        let kept =
            ["vendor.clvprofile", "keyset.jws", "daemon.log", "machine.json", "clock.json", "state.lock"];
        assert!(kept.iter().any(|k| name.ends_with(k)), "{name} is left in the image");
    }
    // Machine ids of their own: three computers, three seats.
    for n in 0..3 {
        let mut clone = clone_of(&world, &golden.home, &claviger_tests::random_hex(16));
        clone.start_daemon();
        let _said = try_offline(&world, &clone, &license).ok();
        assert!(clone.is_licensed(PRODUCT), "clone {n}");
        assert_eq!(world.seats_taken(&license), n + 1);
    }
}

#[test]
fn clones_that_share_a_machine_id_are_refused_with_the_cure() {
    let world = World::new();
    let license = world.issue(20);
    let id = claviger_tests::random_hex(16);
    let mut golden = world.ready(Machine::with_id(&world.folder(), &id));
    let _said = golden.json(&["machine", "prepare-image"]);
    golden.stop_daemon();
    let image = golden.home.clone();
    // Each makes a device key of its own; one computer has at most eight in a year.
    for n in 0..8 {
        let mut clone = clone_of(&world, &image, &id);
        clone.start_daemon();
        let _said = try_offline(&world, &clone, &license).ok();
        assert!(clone.is_licensed(PRODUCT), "clone {n}");
    }
    assert_eq!(world.seats_taken(&license), 1, "to the vendor they are one computer");
    let mut ninth = clone_of(&world, &image, &id);
    ninth.start_daemon();
    let done = try_offline(&world, &ninth, &license).refused();
    let _said = done.says(&["machine_id_shared", "machine id"]);
    assert!(!ninth.is_licensed(PRODUCT));
    // The cure: a machine id of its own.
    let mut cured = clone_of(&world, &image, &claviger_tests::random_hex(16));
    cured.start_daemon();
    let _said = try_offline(&world, &cured, &license).ok();
    assert!(cured.is_licensed(PRODUCT));
}

/// Without `prepare-image` clones carry one device key: the same computer to the vendor as long as they share its
/// machine id, and computers of their own that trust nothing of the image as soon as they do not.
#[test]
fn clones_of_an_image_that_was_not_prepared() {
    let world = World::new();
    let license = world.issue(2);
    let id = claviger_tests::random_hex(16);
    let mut golden = world.ready(Machine::with_id(&world.folder(), &id));
    let _said = golden.activate(&license).ok();
    golden.stop_daemon();
    let twin = clone_of(&world, &golden.home, &id);
    assert!(twin.is_licensed(PRODUCT), "a full clone is the same machine: docs/security.md says so");
    let mut other = clone_of(&world, &golden.home, &claviger_tests::random_hex(16));
    assert_eq!(other.status_of(PRODUCT), "other_machine");
    other.start_daemon();
    let add = other.claviger(&["vendor", "add", &text(&world.profile())]).ok();
    drop(add);
    let _said = try_offline(&world, &other, &license).ok();
    assert!(other.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 2);
}

/// A computer that is reset to its image every night: online it is refused from the ninth new key on; with the bundle
/// it is licensed every morning, and nothing is asked of the vendor.
#[test]
fn a_machine_that_is_reset_every_night_imports_the_bundle_every_morning() {
    let mut world = World::new();
    let license = world.issue(1);
    let id = claviger_tests::random_hex(16);
    let mut golden = world.ready(Machine::with_id(&world.folder(), &id));
    let _said = golden.json(&["machine", "prepare-image"]);
    golden.stop_daemon();
    let image = golden.home.clone();
    let (out, bundle) = (world.path("r.clvreq"), world.path("r.clvbundle"));
    let mut refused = 0;
    for day in 0..9 {
        let mut today = clone_of(&world, &image, &id);
        today.start_daemon();
        if day == 0 {
            let _made = request(&today, &license, &out);
            let _said = answer(&world, &[&out], &bundle).ok();
        }
        let done = today.activate(&license);
        if done.code != Some(0) {
            refused += 1;
            let _said = done.says(&["machine id"]);
        }
    }
    assert_eq!(refused, 1, "the ninth new key of a year");
    world.stop_server();
    for _ in 0..2 {
        let mut today = clone_of(&world, &image, &id);
        today.start_daemon();
        assert!(!today.is_licensed(PRODUCT));
        let _said = import(&today, &bundle).ok();
        assert!(today.is_licensed(PRODUCT));
    }
}

/// Everything else that a file can be: refused by words of their own, with an exit code, and nothing changed.
#[test]
fn what_is_wrong_with_a_file_is_said() {
    let world = World::new();
    let license = world.issue(3);
    let (machine, other) = (world.machine("Left"), world.machine("Right"));
    let (out, back) = (world.path("left.clvreq"), world.path("left.clvres"));
    let _made = request(&machine, &license, &out);
    let _said = answer(&world, &[&out], &back).ok();
    let good = std::fs::read_to_string(&back).unwrap();
    let file = |name: &str, content: &str| -> PathBuf {
        let path = world.path(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let cases = [
        ("other_machine", 3, &other, back.clone()),
        ("other_machine", 3, &other, file("renamed.txt", &format!("> {}", good.replace('\n', "\r\n> ")))),
        ("not_an_answer", 3, &machine, out.clone()),
        ("file_without_content", 3, &machine, file("letter.txt", "Dear Ada, it is attached.")),
        ("block_damaged", 3, &machine, file("damaged", &good.replace("eyJ", "eyK"))),
        ("block_cut_off", 3, &machine, file("cut", &good[..good.len() - 80])),
        ("block_version", 3, &machine, file("later", &good.replace("RESPONSE V1", "RESPONSE V2"))),
        ("storage", 11, &machine, world.path("nowhere.clvres")),
    ];
    for (code, exit, machine, path) in cases {
        let done = import(machine, &path).refused();
        assert_eq!((done.error_code().as_str(), done.code), (code, Some(exit)), "{done}");
        assert!(!machine.is_licensed(PRODUCT), "{code}");
    }
    let _said = import(&other, &back).refused().says(&["made for “Left”", "its machine id is"]);
    // Changed and its checksum made right again: the signature tells.
    let block = read(good.as_bytes()).unwrap().blocks.remove(0).text;
    let half = block.len() / 2;
    let changed = if &block[half..=half] == "A" { "B" } else { "A" };
    let edited = format!("{}{changed}{}", &block[..half], &block[half + 1..]);
    let done = import(&machine, &file("edited", &write_file(FileKind::Response, &[], &edited))).refused();
    assert!(done.text().contains("changed or forged") || done.text().contains("not readable"), "{done}");
    // At the vendor's: a request that waited too long, one that was edited, and a receipt by somebody else's key.
    let mut device = Device::new(&world.vendor, "Stale");
    device.good_until = Some(SystemClock.now().plus(-60));
    let vendor_says = |name: &str, kind: FileKind, document: &str, words: &[&str]| {
        let path = file(name, &write_file(kind, &[], document));
        let _said = answer(&world, &[&path], &world.path("x.clvres")).refused().says(words);
    };
    let stale = device.activate(&license);
    vendor_says("stale.clvreq", FileKind::Request, &stale, &["request_expired"]);
    vendor_says(
        "edited.clvreq",
        FileKind::Request,
        &prolonged(&world, &stale),
        &["bad_document", "was changed"],
    );
    let held =
        files_below(&machine.certificates()).into_iter().find(|f| f.extension() == Some("cert".as_ref()));
    assert!(held.is_none(), "not activated yet");
    // Mailed, quoted, wrapped and renamed, the good one is good.
    let mailed: String = good.lines().map(|l| format!("> {l}\r\n")).collect();
    let _said =
        import(&machine, &file("Re_ your request.eml", &format!("On Monday Ada wrote:\n{mailed}"))).ok();
    assert!(machine.is_licensed(PRODUCT));
    let held =
        files_below(&machine.certificates()).into_iter().find(|f| f.extension() == Some("cert".as_ref()));
    let (anchor, keyset) = world.anchor();
    let keyset = Keyset::verify(&keyset, &anchor).unwrap();
    let certificate = std::fs::read_to_string(held.unwrap()).unwrap();
    let certificate = ActivationCertificate::verify(&certificate, &keyset).unwrap();
    let forger = Device::on(&world.vendor, "Forger", certificate.machine);
    let forged = forger.deactivate(vec![forger.receipt(&certificate)]);
    vendor_says("forged.clvreceipt", FileKind::Receipt, &forged, &["receipt_refused"]);
    assert_eq!(world.seats_taken(&license), 1, "a forged receipt frees no seat");
    // A refusal in a bundle reaches the computer that it is about.
    let requests = [world.path("l2.clvreq"), world.path("r2.clvreq")];
    let taken = world.issue(1);
    for (machine, path) in [&machine, &other].into_iter().zip(&requests) {
        let _made = request(machine, &taken, path);
    }
    let bundle = world.path("two.clvbundle");
    let done = answer(&world, &[&requests[0], &requests[1]], &bundle).refused();
    let _said = done.says(&["seats_taken"]);
    let contents = read(&std::fs::read(&bundle).unwrap()).unwrap();
    let refusal = Refusal::from_text(&contents.of(BlockKind::Refusal).next().unwrap().text).unwrap();
    assert_eq!(refusal.code.code(), "seats_taken");
    let refused = import(&other, &bundle).refused();
    assert_eq!((refused.error_code().as_str(), refused.code), ("seats_taken", Some(7)), "{refused}");
}

/// The same request with a later end: its signature does not know of it.
fn prolonged(world: &World, text: &str) -> String {
    use data_encoding::BASE64URL_NOPAD;
    let (mut request, _, _) = Request::verify(text, &world.vendor).unwrap();
    request.exp = request.exp.map(|exp| exp.plus(86_400));
    let parts: Vec<&str> = text.split('.').collect();
    let payload = BASE64URL_NOPAD.encode(&serde_json::to_vec(&request).unwrap());
    format!("{}.{payload}.{}", parts[0], parts[2])
}
