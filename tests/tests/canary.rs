//! The unlock code is a secret: typed once, it is found in no file, no log, no byte on the wire, in no spelling. And
//! what is sent is the closed list, nothing of the person or the computer beside it.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use claviger_tests::device::payload;
use claviger_tests::machine::files_below;
use claviger_tests::{Machine, World};
use data_encoding::{BASE32, BASE64, BASE64URL, HEXLOWER, HEXUPPER};

/// The spellings in which a text could hide.
fn spellings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut all = vec![
        ("as it is", bytes.to_vec()),
        ("in small letters", text.to_lowercase().into_bytes()),
        ("in hexadecimal", HEXLOWER.encode(bytes).into_bytes()),
        ("in capitals of hexadecimal", HEXUPPER.encode(bytes).into_bytes()),
        ("in base32", BASE32.encode(bytes).trim_end_matches('=').as_bytes().to_vec()),
        ("in UTF-16", utf16),
        ("backwards", bytes.iter().rev().copied().collect()),
        ("as SHA-256", claviger_protocol::keys::Sha256::of(bytes).0.to_vec()),
        (
            "as SHA-256 in hexadecimal",
            HEXLOWER.encode(&claviger_protocol::keys::Sha256::of(bytes).0).into_bytes(),
        ),
        ("as SHA-256 in base64url", claviger_protocol::keys::Sha256::of(bytes).to_string().into_bytes()),
    ];
    // In base64 a text looks different at each of three offsets; the middle does not depend on its neighbours.
    for offset in 0..3 {
        let padded = [&b"\0\0\0"[..offset], bytes].concat();
        for encoded in [BASE64.encode(&padded), BASE64URL.encode(&padded)] {
            let middle = &encoded[4..encoded.len() - 4];
            all.push(("in base64", middle.as_bytes().to_vec()));
        }
    }
    // What is left of a short text is too little to look for.
    all.retain(|(_, needle)| needle.len() >= 6);
    all
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    // Looking for the first byte first makes the search of megabytes bearable in a debug build.
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|b| *b == needle[0]) {
        if hay[from + at..].starts_with(needle) {
            return true;
        }
        from += at + 1;
    }
    false
}

/// Everything that a run left behind: files of machine and server, and every byte that passed between them.
fn left_behind(world: &World, machines: &[&Machine]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("the network".to_owned(), world.proxy.seen())];
    for folder in machines.iter().map(|m| m.home.clone()).chain([world.data()]) {
        for file in files_below(&folder) {
            all.push((file.display().to_string(), std::fs::read(&file).unwrap()));
        }
    }
    all
}

#[test]
fn the_unlock_code_is_found_nowhere() {
    let mut world = World::new();
    let license = world.issue(2);
    let mut machine = world.this_machine();
    machine.stop_daemon();
    machine.env.push(("CLAVIGER_LOG".to_owned(), "trace".to_owned()));
    machine.start_daemon();
    // Tried and failed, then done, then done again: every path that a code takes.
    world.stop_server();
    let failed = machine.activate(&license).refused();
    world.start_server();
    let done = machine.activate(&license).ok();
    let again = machine.activate(&license).ok();
    let _said = machine.claviger(&["doctor"]);
    machine.stop_daemon();
    world.stop_server();

    let bare = license.unlock_code.replace('-', "");
    let said = [failed.text(), done.text(), again.text()].concat();
    let mut places = left_behind(&world, &[&machine]);
    places.push(("what was printed".to_owned(), said.into_bytes()));
    assert!(world.proxy.seen().len() > 1_000, "the network was watched");
    for (place, bytes) in &places {
        for (how, needle) in spellings(&license.unlock_code).into_iter().chain(spellings(&bare)) {
            assert!(!contains(bytes, &needle), "the unlock code stands {how} in {place}");
        }
    }
    // The search finds what is there: the serial number, in the request's base64url and in the server's database.
    let serial = spellings(&license.serial);
    let found =
        places.iter().filter(|(_, bytes)| serial.iter().any(|(_, needle)| contains(bytes, needle))).count();
    assert!(found >= 2, "a search that finds nothing proves nothing");
}

#[test]
fn only_the_closed_list_is_sent_and_it_is_what_was_shown() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let shown = machine.json(&["machine", "show"])["machines"][0].clone();
    let _said = machine.activate(&license).ok();
    let seen = String::from_utf8_lossy(&world.proxy.seen()).into_owned();
    let start = seen.find("{\"request\":\"").expect("a request was seen") + "{\"request\":\"".len();
    let request = payload(seen[start..].split('"').next().unwrap());
    let names = |value: &serde_json::Value| {
        let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(&request), ["aud", "iat", "keyset", "nonce", "order", "v"]);
    assert_eq!(names(&request["order"]), ["machine", "op", "proof", "serial"]);
    let sent = &request["order"]["machine"];
    assert_eq!(names(sent), ["cpu", "device_name", "machine_id", "os", "ram_gib"]);
    assert_eq!(names(&sent["os"]), ["arch", "family", "version"]);
    assert_eq!(names(&sent["cpu"]), ["logical_cores", "model"]);
    for (shown, sent) in [
        (&shown["device_name"], &sent["device_name"]),
        (&shown["machine_id"], &sent["machine_id"]),
        (&shown["os_family"], &sent["os"]["family"]),
        (&shown["os_version"], &sent["os"]["version"]),
        (&shown["os_arch"], &sent["os"]["arch"]),
        (&shown["cpu_model"], &sent["cpu"]["model"]),
        (&shown["cpu_logical_cores"], &sent["cpu"]["logical_cores"]),
        (&shown["ram_gib"], &sent["ram_gib"]),
    ] {
        assert_eq!(shown, sent);
    }
}

#[test]
fn the_machine_s_own_id_and_the_person_s_names_stay_here() {
    let world = World::new();
    let license = world.issue(1);
    let id = claviger_tests::random_hex(16);
    let mut machine = Machine::with_id(&world.folder(), &id);
    machine.env.push(("USER".to_owned(), "canary-person-7f3a".to_owned()));
    machine.env.push(("TZ".to_owned(), "Antarctica/Troll".to_owned()));
    machine.env.push(("LANG".to_owned(), "qaa_QX.UTF-8".to_owned()));
    let machine = world.ready(machine);
    let _said = machine.activate(&license).ok();
    let home = machine.home.display().to_string();
    for canary in [id.as_str(), "canary-person-7f3a", "Antarctica/Troll", "qaa_QX", home.as_str()] {
        for (how, needle) in spellings(canary) {
            assert!(!contains(&world.proxy.seen(), &needle), "{canary} went out {how}");
        }
    }
}
