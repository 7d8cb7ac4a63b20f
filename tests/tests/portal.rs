//! The portal as people use it: a real browser on the real server, with and without JavaScript, with a mouse, a keyboard
//! and a screen reader's view of the page, on a desk and on a phone. Pictures of every state go to
//! `target/tmp/portal/`, to be looked at.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, Answer, Keyset, Outcome};
use claviger_protocol::keys::Sha256;
use claviger_protocol::offline::armour::{write_collection, write_file};
use claviger_protocol::offline::packed::request_fragment;
use claviger_protocol::offline::{self, BlockKind, FileKind, TypedCode};
use claviger_tests::browser::{Browser, View};
use claviger_tests::device::Device;
use claviger_tests::world::PRODUCT;
use claviger_tests::{License, World, process};

const ENTER: char = '\u{e007}';
const TAB: char = '\u{e004}';
const SPACE: char = ' ';

fn portal(world: &World) -> String {
    format!("http://{}/offline", world.server_address())
}

fn request_file(request: &str) -> String {
    write_file(FileKind::Request, &[("", "for a test")], request)
}

fn write(world: &World, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = world.path(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn keyset(world: &World) -> Keyset {
    let (anchor, text) = world.anchor();
    Keyset::verify(&text, &anchor).unwrap()
}

/// The certificate in a response's file.
fn certificate_in(world: &World, file: &[u8], request: &str) -> ActivationCertificate {
    let contents = offline::read(file).unwrap();
    assert_eq!(contents.blocks.len(), 1, "{contents:?}");
    let keyset = keyset(world);
    let answer = Answer::verify_from_file(&contents.blocks[0].text, &keyset).unwrap();
    assert_eq!(answer.req, Sha256::of(request.as_bytes()));
    let Outcome::Activated { certificate } = answer.outcome else { panic!("{answer:?}") };
    ActivationCertificate::verify(&certificate, &keyset).unwrap()
}

/// The typed code on the page.
fn typed(browser: &mut Browser) -> String {
    browser.text(".typed").split_whitespace().filter(|word| word.len() == 5).collect::<Vec<_>>().join(" ")
}

fn wrong_code(world: &World, license: &License) -> License {
    License { unlock_code: world.issue(1).unlock_code, ..license.clone() }
}

#[test]
fn a_file_is_answered_and_saved_without_javascript() {
    let world = World::new();
    let license = world.issue(1);
    let device = Device::new(&world.vendor, "Studio – left");
    let request = device.activate(&license);
    let file = write(&world, "studio.clvreq", request_file(&request));
    let downloads = world.path("downloads");
    std::fs::create_dir(&downloads).unwrap();

    let mut browser = Browser::start(false);
    browser.download_into(&downloads);
    browser.open(&portal(&world));
    assert!(
        browser.text("main").contains("Did a QR code bring you here?"),
        "the page says what needs JavaScript"
    );
    browser.choose("#file", &file);
    browser.follow("#send");
    assert_eq!(browser.text("h1"), "The answer is ready");
    assert!(browser.text(".good").contains("Solstice may be used on “Studio – left”"));
    assert_eq!(world.seats_taken(&license), 1);
    browser.click("#download");
    let saved = downloads.join("studio-left.clvres");
    browser.wait_for("the download", |browser| {
        let _round_trip = browser.title();
        saved.is_file()
    });
    let certificate = certificate_in(&world, &std::fs::read(&saved).unwrap(), &request);
    let rebuilt = TypedCode::parse(&typed(&mut browser)).unwrap();
    let rebuilt = rebuilt.certificate(&request, &[], &keyset(&world)).unwrap();
    assert_eq!(ActivationCertificate::verify(&rebuilt, &keyset(&world)).unwrap().jti, certificate.jti);
    assert_eq!(world.seats_taken(&license), 1);

    // The receipt goes the same way.
    let receipt = device.deactivate(vec![device.receipt(&certificate)]);
    let receipt = write(&world, "studio.clvreceipt", write_file(FileKind::Receipt, &[], &receipt));
    for _ in 0..2 {
        browser.open(&portal(&world));
        browser.choose("#file", &receipt);
        browser.follow("#send");
        assert_eq!(browser.text("h1"), "The seat is free");
        assert_eq!(world.seats_taken(&license), 0);
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_phone_brings_a_request_behind_the_address_which_is_cleared_at_once() {
    let world = World::new();
    let license = world.issue(2);
    let device = Device::new(&world.vendor, "Air-gapped");
    let request = device.activate(&license);
    let fragment = request_fragment(&request).unwrap();
    let mut browser = Browser::start(true);
    browser.look(View::ALL[2]);
    browser.open(&format!("{}#{fragment}", portal(&world)));
    assert_eq!(browser.address(), portal(&world), "nothing of the request stays in the address");
    assert_eq!(browser.property("#text", "value"), fragment.as_str());
    assert!(browser.text("#taken").contains("The request from the QR code is in the form"));
    assert_eq!(browser.focus(), ("button".to_owned(), "Get the answer".to_owned()));
    assert_eq!(world.seats_taken(&license), 0, "a person sends it, not the page");
    browser.leave(|browser| browser.press(&[ENTER]));
    assert_eq!(browser.title(), "The answer is ready – Example Audio");
    let code = TypedCode::parse(&typed(&mut browser)).unwrap();
    let certificate = code.certificate(&request, &[], &keyset(&world)).unwrap();
    assert!(ActivationCertificate::verify(&certificate, &keyset(&world)).is_ok());
    assert_eq!(world.seats_taken(&license), 1);

    // Another code, scanned while the page is open.
    let other = request_fragment(&Device::new(&world.vendor, "Second").activate(&license)).unwrap();
    browser.open(&portal(&world));
    browser.open(&format!("{}#{other}", portal(&world)));
    browser.wait_for("the request", |browser| browser.property("#text", "value") == other.as_str());
    assert_eq!(browser.address(), portal(&world));
    // And one that is scanned on the page about an answer.
    browser.follow("#send");
    let third = request_fragment(&Device::new(&world.vendor, "Third").activate(&license)).unwrap();
    browser.leave(|browser| browser.open(&format!("{}#{third}", portal(&world))));
    browser.wait_for("the request", |browser| {
        browser.all("#text").len() == 1 && browser.property("#text", "value") == third.as_str()
    });
    assert_eq!(browser.address(), portal(&world));
    // A place on the page is no request.
    browser.open(&format!("{}#main", portal(&world)));
    assert_eq!(browser.address(), format!("{}#main", portal(&world)));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn text_is_pasted_and_sent_with_the_keyboard_alone() {
    let world = World::new();
    let license = world.issue(1);
    let request = Device::new(&world.vendor, "Keys").activate(&license);
    let mut browser = Browser::start(true);
    browser.open(&portal(&world));
    let mut stops = Vec::new();
    for _ in 0..5 {
        browser.press(&[TAB]);
        stops.push(browser.focus());
        if browser.focus().1.contains("Or paste its text") {
            break;
        }
    }
    let names: Vec<&str> = stops.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"Skip to the content"), "{stops:?}");
    assert!(names.iter().any(|name| name.contains("File from the computer")), "{stops:?}");
    assert!(names.last().unwrap().contains("Or paste its text"), "{stops:?}");
    browser.press(&[SPACE, TAB]);
    assert_eq!(browser.focus(), ("textbox".to_owned(), "Text of the request".to_owned()));
    // Pasting: keys for every letter would only take time.
    browser.type_into("#text", &request_file(&request));
    browser.press(&[TAB]);
    assert_eq!(browser.focus(), ("button".to_owned(), "Get the answer".to_owned()));
    browser.leave(|browser| browser.press(&[ENTER]));
    assert_eq!(browser.title(), "The answer is ready – Example Audio");
    assert_eq!(world.seats_taken(&license), 1);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn mistakes_are_said_where_they_are_and_to_screen_readers() {
    let world = World::new();
    let license = world.issue(1);
    let mut browser = Browser::start(true);
    browser.open(&portal(&world));
    let tree = browser.accessibility_tree();
    let has = |tree: &[(String, String)], role: &str, name: &str| {
        tree.iter().any(|(r, n)| r == role && n.contains(name))
    };
    for (role, name) in [
        ("RootWebArea", "Offline activation – Example Audio"),
        ("main", ""),
        ("banner", ""),
        ("contentinfo", ""),
        ("heading", "Activate a computer that has no network"),
        ("heading", "How it works"),
        ("button", "Get the answer"),
        ("link", "Skip to the content"),
    ] {
        assert!(has(&tree, role, name), "no {role} “{name}” in {tree:?}");
    }
    let nameless = ["button", "link", "textbox", "img"];
    let unnamed: Vec<_> =
        tree.iter().filter(|(r, n)| nameless.contains(&r.as_str()) && n.is_empty()).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");

    let file = request_file(&Device::new(&world.vendor, "x").activate(&license));
    browser.click("#by-hand summary");
    browser.type_into("#text", &file[..file.len() - 150]);
    browser.follow("#send");
    assert!(browser.title().starts_with("Error: "));
    assert_eq!(browser.focus(), ("alert".to_owned(), "This could not be read".to_owned()));
    assert_eq!(browser.property("#text", "ariaInvalid"), "true");
    assert!(browser.text("#mistake").contains("It ends in the middle"));
    assert!(
        browser.property("#text", "value").as_str().unwrap().contains("BEGIN CLAVIGER"),
        "it can be corrected"
    );
    browser.click("#mistake a");
    assert_eq!(browser.focus().0, "textbox");

    browser.open(&portal(&world));
    browser.choose(
        "#file",
        &write(
            &world,
            "wrong.clvreq",
            request_file(&Device::new(&world.vendor, "x").activate(&wrong_code(&world, &license))),
        ),
    );
    browser.follow("#send");
    let tree = browser.accessibility_tree();
    assert!(has(&tree, "alert", "") && has(&tree, "heading", "unlock code is not right"), "{tree:?}");
    assert_eq!(world.seats_taken(&license), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// The command line's QR code on a phone, the page's code typed, its QR codes scanned from the screen.
#[test]
fn a_phone_carries_a_request_there_and_a_code_back() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let (png, svg) = (world.path("code.png"), world.path("code.svg"));
    let pictures = ["--png", png.to_str().unwrap(), "--svg", svg.to_str().unwrap()];
    let arguments = [&["offline", "request", &license.serial, "--unlock-code-stdin"], &pictures[..]].concat();
    let _said = machine.claviger_with(&arguments, &format!("{}\n", license.unlock_code)).ok();
    let scan = |picture: &Path| {
        let mut zbar = std::process::Command::new("zbarimg");
        process::run(zbar.args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"]).arg(picture), "")
            .ok()
            .stdout
    };
    let address = scan(&png);
    let (page, fragment) = address.trim().split_once('#').unwrap();
    assert_eq!(
        page,
        format!("http://{}/offline", world.proxy.address),
        "the address of the vendor's profile"
    );

    let mut browser = Browser::start(true);
    // The drawing is the same code, as a browser paints it.
    let painted = world.path("painted.png");
    browser.open(&format!("file://{}", svg.display()));
    browser.picture(&painted, View::ALL[0]);
    assert_eq!(scan(&painted), address);

    let phone = View::ALL[2];
    browser.look(phone);
    browser.open(&format!("{}#{fragment}", portal(&world)));
    browser.leave(|browser| browser.press(&[ENTER]));
    let code = typed(&mut browser);
    let _said = machine.claviger(&["offline", "import", "--code", &code]).ok();
    assert!(machine.is_licensed(PRODUCT), "32 groups are enough");

    browser.click("details.card > summary");
    let picture = world.path("screen.png");
    browser.picture(&picture, phone);
    let parts = scan(&picture);
    assert_eq!(parts.lines().count(), browser.all(".qr").len(), "{parts}");
    let _said = machine.claviger_with(&["offline", "import", "-"], &parts).ok();
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}

/// One state of the portal and how to come there.
struct State<'a> {
    name: &'a str,
    heading: &'a str,
    file: PathBuf,
}

#[test]
fn every_state_fits_a_phone_and_a_desk_in_light_and_dark() {
    let world = World::new();
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portal");
    let states = states(&world);
    let mut browser = Browser::start(true);
    for view in View::ALL {
        browser.look(view);
        browser.open(&portal(&world));
        browser.picture(&pictures.join(format!("start-{}.png", view.name)), view);
        browser.follow("#send");
        assert!(browser.text("#mistake").contains("neither a file nor a text"));
        browser.picture(&pictures.join(format!("empty-{}.png", view.name)), view);
        for state in &states {
            browser.open(&portal(&world));
            browser.choose("#file", &state.file);
            browser.follow("#send");
            let text = browser.text("main");
            assert!(text.contains(state.heading), "{}: {text}", state.name);
            for details in browser.all("details.card > summary, section details > summary") {
                browser.click_on(&details);
            }
            browser.picture(&pictures.join(format!("{}-{}.png", state.name, view.name)), view);
        }
        let request = Device::new(&world.vendor, "phone").activate(&world.issue(1));
        browser.open(&format!("{}#{}", portal(&world), request_fragment(&request).unwrap()));
        browser.picture(&pictures.join(format!("fragment-{}.png", view.name)), view);
        browser.open(&format!("{}/bundle/none", portal(&world)));
        browser.picture(&pictures.join(format!("gone-{}.png", view.name)), view);
    }
    assert_eq!(browser.complaints(), [""; 0], "no script failed and the policy kept nothing from happening");
}

/// A license to a bundle of two products.
fn bundle(world: &World) -> License {
    world.add_product("com.example.reverb", "Cavern – a reverb with a rather long name");
    let contains = ["--contains", PRODUCT, "--contains", "com.example.reverb"];
    let _said = world
        .server(&[&["product", "add", "com.example.all", "--name", "Everything"], &contains[..]].concat())
        .ok();
    let issued = world.server_json(&["license", "issue", "--product", "com.example.all", "--seats", "9"]);
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    License { serial: text("serial"), unlock_code: text("unlock_code") }
}

fn states(world: &World) -> Vec<State<'static>> {
    let full = world.issue(2);
    for name in ["Studio – left <b>", "المحطة الثانية في الاستوديو", &"W".repeat(64)]
    {
        let device = Device::new(&world.vendor, name);
        let mut http = world.http();
        let _third = http.send("activate", &device.activate(&full));
    }
    let on = |name: &str| Device::new(&world.vendor, name);
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;";
    assert_eq!(hostile.len(), 61);
    let mut expired = on("Old");
    expired.good_until = Some(Timestamp(1_700_000_000));
    let license = world.issue(20);
    let image = on("image");
    let shared = world.issue(1);
    for _ in 0..8 {
        let _answer = world.http().send("activate", &image.with_new_key().activate(&shared));
    }
    let given_up = on("Given up");
    let used = given_up.activate(&license);
    let (anchor, keyset) = world.anchor();
    let reply = world.http().send("activate", &used).json();
    let certificate = claviger_tests::device::certificate_in(&reply, &anchor, &keyset);
    let receipt = |device: &Device| {
        let text = device.deactivate(vec![device.receipt(&certificate)]);
        write_file(FileKind::Receipt, &[], &text)
    };
    let cut = request_file(&on("cut").activate(&license));
    let lab: Vec<String> = (1..=6).map(|n| on(&format!("lab-{n:02}")).activate(&license)).collect();
    let wrong = on("typo").activate(&wrong_code(world, &license));
    let no_seat = on("late").activate(&full);
    let blocks = lab.iter().chain([&wrong, &no_seat]).map(|r| (BlockKind::Request, r.as_str()));
    let mut batch = write_collection(FileKind::Batch, &[], blocks);
    let at = batch.find(&lab[2][512..570]).unwrap();
    batch.replace_range(at..=at, if &batch[at..=at] == "A" { "B" } else { "A" });
    let suspended = world.issue(1);
    let _said = world.server(&["license", "suspend", &suspended.serial]).ok();
    let revoked = world.issue(1);
    let _said = world.server(&["license", "revoke", &revoked.serial, "--yes"]).ok();
    let lapsed =
        world.issue_with(&["--kind", "subscription", "--paid-through", "2020-01-31", "--grace-days", "0"]);
    let trial = world.issue_with(&["--kind", "trial", "--trial-days", "10"]);
    let everything = bundle(world);
    let replace =
        |what: &str| on("new").activate_with(&full, claviger_protocol::ids::Nonce([7; 16]), Some(what));
    let elsewhere = Device::new(&"com.other".parse().unwrap(), "elsewhere").activate(&license);
    let response = reply["answer"].as_str().unwrap();
    let whole: Vec<String> = (1..=3).map(|n| on(&format!("room-{n}")).activate(&license)).collect();
    let whole =
        write_collection(FileKind::Batch, &[], whole.iter().map(|r| (BlockKind::Request, r.as_str())));
    let none = [&wrong, &no_seat].map(|r| (BlockKind::Request, r.as_str()));
    let files: Vec<(&str, &str, String)> = vec![
        ("answer-trial", "until 2", request_file(&on("Trial").activate(&trial))),
        ("answer-bundle", "A code opens one product", request_file(&on("Bundle").activate(&everything))),
        ("suspended", "suspended", request_file(&on("s").activate(&suspended))),
        ("revoked", "revoked", request_file(&on("r").activate(&revoked))),
        ("lapsed", "It ended on", request_file(&on("l").activate(&lapsed))),
        ("replace-unknown", "asks for the seat of", request_file(&replace("Nobody’s"))),
        ("elsewhere", "another vendor", request_file(&elsewhere)),
        ("an-answer", "This is an answer", write_file(FileKind::Response, &[], response)),
        ("a-letter", "no line begins with", "Dear Ada, it is attached.".to_owned()),
        ("no-text", "It is not a text", "\0\u{1}\0".to_owned()),
        ("later-version", "later version", request_file(&used).replace("REQUEST V1", "REQUEST V2")),
        ("too-large", "This is too large", " ".repeat(33 * 1024 * 1024)),
        ("batch-whole", "3 of 3 answered", whole.clone()),
        ("batch-cut", "cut off on the way", whole[..whole.len() - 600].to_owned()),
        (
            "batch-none",
            "What is wrong with each is listed below",
            write_collection(FileKind::Batch, &[], none),
        ),
        ("answer", "The answer is ready", request_file(&on("Studio – left").activate(&license))),
        ("answer-hostile", "The answer is ready", request_file(&on(hostile).activate(&license))),
        ("answer-rtl", "The answer is ready", request_file(&on("المحطة الأولى (2)").activate(&license))),
        ("seats-taken", "All seats of this license are in use", request_file(&no_seat)),
        ("wrong-code", "the unlock code is not right", request_file(&wrong)),
        ("expired", "The request is too old", request_file(&expired.activate(&license))),
        ("shared", "share this machine id", request_file(&image.with_new_key().activate(&shared))),
        ("damaged", "It ends in the middle", cut[..cut.len() - 150].to_owned()),
        ("batch", "5 of 8 answered", batch),
        ("forged-receipt", "not from the computer that holds the seat", receipt(&given_up.with_new_key())),
        ("receipt", "The seat is free", receipt(&given_up)),
        ("receipt-again", "The seat was free already", receipt(&given_up)),
        ("given-up", "its activation has ended since", request_file(&used)),
    ];
    files
        .into_iter()
        .map(|(name, heading, text)| State {
            name,
            heading,
            file: write(world, &format!("{name}.clvreq"), text),
        })
        .collect()
}
