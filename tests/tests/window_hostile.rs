//! A daemon, or a server behind it, that means ill: names of ten kilobytes, marks that turn the direction of writing, markup,
//! broken characters, lists without end. The window stays up, keeps its shape, runs nothing and says who is who.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use claviger_tests::machine::Machine;
use claviger_tests::screen::keyboard::Key;
use claviger_tests::screen::{Picture, Rect, Screen, Setting, State, Tree, Window};
use claviger_tests::stage::{Stage, license, vendor};
use serde_json::{Value, json};

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screens")
}

fn machine() -> (tempfile::TempDir, Machine) {
    let folder = tempfile::Builder::new().prefix("cx").tempdir().unwrap();
    let machine = Machine::this(&folder.path().join("m"));
    (folder, machine)
}

/// Names that nobody should have.
fn names() -> Vec<String> {
    let zalgo: String = std::iter::once('Z').chain(std::iter::repeat_n('\u{0351}', 400)).collect();
    vec![
        "A".repeat(10_240),
        "Wörter ohne Ende ".repeat(700),
        "\u{202e}ecivreS tsurT\u{202c} Synth".to_owned(),
        "مُؤلِّف الأصوات الكهربائية".to_owned(),
        "\u{2066}\u{2067}\u{200f}isolated".to_owned(),
        "<b>bold</b><script>alert(1)</script><img src=x onerror=alert(1)>".to_owned(),
        "&lt;Solstice&gt; @image-url(\"/etc/passwd\") {evil}".to_owned(),
        "[click](https://evil.example) **strong**".to_owned(),
        "🎹🎛️👩‍👩‍👧‍👦🏳️‍🌈 \u{1f469}\u{200d}\u{1f4bb}".to_owned(),
        "line one\nline two\r\n\tthree\u{2028}four\u{2029}five".to_owned(),
        "nul\u{0}bell\u{7}escape\u{1b}[31mred".to_owned(),
        zalgo,
        String::new(),
        "   \u{3000}\u{200b}\u{feff} ".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "%s%n%x{}{0}{n}".to_owned(),
        "=cmd|' /C calc'!A0".to_owned(),
        "\u{fdfd}\u{12219}\u{a9c5}".repeat(40),
        "\u{e000}\u{10ffff}\u{fffe}\u{fffd}".to_owned(),
    ]
}

/// Colours that are none, or that nothing could be read on.
const ACCENTS: &[&str] = &["#15171c", "#ffffff", "red", "#12", "#zzzzzz", "url(evil)", "#12345678"];

/// Pictures that are none, that lie about their size, or that end too early.
fn logos() -> Vec<String> {
    let chunk = |kind: &[u8], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        // The sum behind it is wrong, too.
        [&length[..], kind, data, &[0; 4]].concat()
    };
    let header = |width: u32, height: u32| {
        chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat())
    };
    let png = |parts: &[Vec<u8>]| [&b"\x89PNG\r\n\x1a\n"[..], &parts.concat()].concat();
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.png");
    claviger_tests::screen::Picture::new(64, vec![[200, 30, 90]; 64 * 64]).save(&whole);
    let whole = std::fs::read(whole).unwrap();
    let pictures = [
        whole[..whole.len() / 2].to_vec(),
        png(&[header(u32::MAX, u32::MAX)]),
        png(&[header(256, 256), chunk(b"IDAT", &[0x78, 0x9c, 1, 2, 3])]),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec(),
        b"GIF89a".to_vec(),
        vec![0; 300_000],
        whole,
    ];
    let mut texts: Vec<String> =
        pictures.iter().map(|bytes| data_encoding::BASE64URL_NOPAD.encode(bytes)).collect();
    texts.extend(["not base64!".to_owned(), "../../etc/passwd".to_owned(), String::new()]);
    texts
}

fn hostile() -> (Vec<Value>, Vec<Value>) {
    let logos = logos();
    let mut vendors = Vec::new();
    let mut licenses = Vec::new();
    for (at, name) in names().into_iter().enumerate() {
        let prefix: String = [b'H', b'A' + u8::try_from(at).unwrap()].map(char::from).iter().collect();
        let seller = claviger_tests::stage::but(
            vendor(&format!("evil.v{at}"), &name, &prefix),
            &json!({
                "server": format!("https://{}", "x".repeat(9_000)), "support": name, "policy": "javascript:alert(1)",
                "accent": ACCENTS[at % ACCENTS.len()], "logo": logos[at % logos.len()],
            }),
        );
        for (number, state) in ["licensed", "suspended"].into_iter().enumerate() {
            let other = json!({
                "status": state, "entitlements": vec![name.clone(); 20], "since": i64::MAX / 4, "expires": i64::MIN / 4,
                "paid_through": 0, "certificate": "A".repeat(60_000),
            });
            licenses.push(license(&seller, &format!("evil.v{at}.p{number}"), &name, 2 * at + number, &other));
        }
        vendors.push(seller);
    }
    (vendors, licenses)
}

/// Who holds the seats, as a server says that lies.
fn seats(licenses: &[Value]) -> Value {
    let told = licenses.iter().zip(names()).map(|(license, name)| {
        // A computer's name is no longer than this and hides nothing, or the reply is none.
        let name: String = name.chars().filter(|c| c.is_alphanumeric()).take(64).collect();
        let name = if name.is_empty() { "W".repeat(64) } else { name };
        let holder = |id: &str| {
            json!({ "machine_id": id.repeat(32), "device_name": name, "since": 0, "last_seen": i64::MAX / 4 })
        };
        let event = json!({ "at": 0, "what": "replaced", "machine_id": "c".repeat(32), "device_name": name, "by": name });
        json!({
            "vendor": license["vendor"], "vendor_name": license["vendor_name"], "serial": license["serial"], "activation": license["activation"],
            "product": license["product"], "product_name": license["product_name"], "machine_id": "b".repeat(32),
            "total": u32::MAX, "taken": 2, "holders": [holder("a"), holder("b")], "history": vec![event; 60],
        })
    });
    json!({ "seats": told.collect::<Vec<_>>(), "warnings": vec![names().remove(0); 20] })
}

/// Everything stands within the window, and nothing on top of another control.
fn keeps_its_shape(what: &str, tree: &Tree, width: i32) {
    let controls: Vec<_> = tree
        .nodes
        .iter()
        .filter(|n| {
            matches!(n.role, "button" | "entry" | "radio button" | "combo box") && n.is(State::Showing)
        })
        .collect();
    for node in &controls {
        let Rect { x, width: wide, .. } = node.place;
        assert!(x >= 0 && x + wide <= width, "{what}: {} sticks out: {:?}", node.title(), node.place);
    }
    for (at, node) in controls.iter().enumerate() {
        let over = controls[at + 1..].iter().find(|other| other.place.meets(node.place));
        assert!(over.is_none(), "{what}: {} lies on {}", node.title(), over.unwrap().title());
    }
}

/// Nothing is drawn between the cards and the edge of the window.
fn stays_in_its_cards(what: &str, picture: &Picture) {
    let at = picture.width - 31;
    let ground = picture.at(at, 2);
    let outside = (0..picture.height).find(|y| picture.at(at, *y) != ground);
    assert_eq!(
        outside, None,
        "{what}: something runs out of its card at this height, of {} wide",
        picture.width
    );
}

/// What a screen reader is told, too, is bounded and in one line.
fn speaks_plainly(what: &str, tree: &Tree) {
    for node in &tree.nodes {
        assert!(
            node.name.chars().count() < 2_000,
            "{what}: a name of {} characters",
            node.name.chars().count()
        );
        let turned = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{0}' | '\u{1b}' | '\u{7}');
        assert!(!node.name.contains(turned), "{what}: {:?}", node.name);
    }
}

fn children_of(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap()
}

#[test]
fn names_of_ten_kilobytes_and_all_that_writing_allows() {
    let (_folder, machine) = machine();
    let (vendors, licenses) = hostile();
    let stage = Stage::open(&machine, &vendors, &licenses);
    let consents: Vec<Value> = vendors
        .iter()
        .map(|vendor| {
            json!({
                "vendor": vendor["id"], "vendor_name": vendor["name"], "state": "given", "since": 1_760_000_000,
                "expires": 1_794_000_000, "counting": true, "veto": vendor["name"], "notice_version": 1, "record": null,
                "receipt": null,
            })
        })
        .collect();
    stage.says("ListConsents", json!({ "consents": consents }));
    stage.says("ShowSeats", seats(&licenses));
    let name = names().remove(0);
    let finding = json!({ "name": name, "level": "error", "message": name, "advice": name });
    stage.says("Doctor", json!({ "findings": vec![finding; 50] }));
    let mut screen = Screen::start();
    for (width, height) in [(1120, 760), (720, 480)] {
        let setting = Setting { size: (width, height), ..Setting::default() };
        let mut window = Window::open(&mut screen, &machine, &setting);
        window
            .wait("the list", |tree| tree.nodes.iter().any(|n| n.name.contains(", Active, ")).then_some(()));
        let look = |window: &mut Window<'_>, what: &str| {
            let picture = window.picture();
            picture.save(&pictures().join(format!("hostile-{what}-{width}.png")));
            stays_in_its_cards(what, &picture);
            let tree = window.located();
            keeps_its_shape(what, &tree, i32::try_from(width).unwrap());
            speaks_plainly(what, &tree);
        };
        look(&mut window, "products");
        for section in ["Add a license", "Computers", "Offline", "Privacy", "Settings", "About & diagnostics"]
        {
            window.go(section);
            look(&mut window, section);
            if section == "Computers" {
                window.activate("Ask the vendors who holds the seats");
                let _seat = window.reach("a seat to free", |node| node.name.starts_with("Free the seat of "));
                look(&mut window, "Others");
            }
        }
        window.go("Products");
        let first =
            window.wait("a row", |tree| tree.nodes.iter().find(|n| n.name.contains(", Active, ")).cloned());
        window.focus_row(&first.name);
        window.press(Key::Return);
        window.says("Particulars for support");
        look(&mut window, "product");
        assert_eq!(children_of(window.process.pid()), "", "nothing was run");
        assert!(window.close().success());
    }
    let asked: Vec<String> = stage.called().into_iter().map(|(method, _)| method).collect();
    assert!(
        asked.iter().all(|m| matches!(
            m.as_str(),
            "PreviewTelemetry" | "Doctor" | "ShowSeats" | "ShowSettings" | "GetSettings"
        )),
        "{asked:?}"
    );
}

#[test]
fn fifty_thousand_products_are_listed_and_searched() {
    let (_folder, machine) = machine();
    let seller = vendor("com.many", "Many Things", "MNY");
    let licenses: Vec<Value> = (0..50_000)
        .map(|n| {
            license(&seller, &format!("com.many.p{n}"), &format!("Product {n:05}"), 1_000 + n, &json!({}))
        })
        .collect();
    let stage = Stage::open(&machine, std::slice::from_ref(&seller), &licenses);
    let mut screen = Screen::start();
    let begun = Instant::now();
    let mut window = Window::open(&mut screen, &machine, &Setting::default());
    window.says("50000 licenses on this computer");
    let listed = begun.elapsed();
    window.one("list item", "Product 00000, Active, MNY0000001000");
    window.press(Key::Tab);
    window.focus_row("Product 00000, Active, MNY0000001000");
    window.press(Key::End);
    window.says("Product 49999, Active, MNY0000050999");
    let _drawn = window.picture();
    let last = window.located().named("Product 49999, Active, MNY0000050999").next().unwrap().place;
    assert!(last.y > 0 && last.y + last.height <= 760, "the last row is in sight: {last:?}");
    window.picture().save(&pictures().join("hostile-fifty-thousand.png"));
    let begun = Instant::now();
    window.fill("Search products", "product 31415");
    window.no_longer_says("Product 49999");
    window.says("Product 31415, Active");
    let searched = begun.elapsed();
    // More than it shows: it says so and stays itself.
    let more: Vec<Value> = (0..50_001)
        .map(|n| license(&seller, &format!("com.many.p{n}"), "Again", 1_000 + n, &json!({})))
        .collect();
    stage.lists(&more, &[]);
    window.says("Nothing fits");
    println!("listed after {listed:?}, searched in {searched:?}");
    assert!(window.close().success());
}

/// Replies that are none: the window says that something is wrong, and what was licensed is not its business.
#[test]
fn a_daemon_that_talks_nonsense() {
    let mut screen = Screen::start();
    let nonsense = [
        json!({}),
        json!({ "licenses": "none" }),
        json!({ "licenses": [{}] }),
        json!({ "licenses": null, "warnings": vec!["x".repeat(10_000); 1_000] }),
        json!({ "error": "io.claviger.Daemon.Internal", "parameters": { "message": "<b>".repeat(5_000), "advice": null } }),
        json!({ "error": "x".repeat(100_000), "parameters": [] }),
    ];
    let (_folder, machine) = machine();
    let stage = Stage::open(&machine, &[], &[]);
    let mut window = Window::open(&mut screen, &machine, &Setting::default());
    window.says("Nothing is active here yet");
    drop(window);
    for (at, reply) in nonsense.into_iter().enumerate() {
        for method in ["ListLicenses", "GetStatus", "ListVendors"] {
            stage.says(method, reply.clone());
        }
        let mut window = Window::open(&mut screen, &machine, &Setting::default());
        window.says("Try again");
        let tree = window.located();
        keeps_its_shape("nonsense", &tree, 1120);
        speaks_plainly("nonsense", &tree);
        window.picture().save(&pictures().join(format!("hostile-nonsense-{at}.png")));
        assert!(window.close().success());
    }
}
