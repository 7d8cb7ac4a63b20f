//! Silence: whoever refused, or was never asked, is left alone. Thirty days with real processes in a network namespace where
//! every packet is seen: none leaves, nothing of the uses is on the disk, and activation is the same.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::collections::BTreeSet;

use claviger_protocol::clock::{Clock as _, DAY, SystemClock};
use claviger_tests::capture::{Request, Stream};
use claviger_tests::device::payload;
use claviger_tests::machine::files_below;
use claviger_tests::netwatch::NetWatch;
use claviger_tests::person::{Daw, agree, go_to};
use claviger_tests::world::{PRODUCT, PRODUCT_NAME, Setting};
use claviger_tests::{Machine, World};
use serde_json::{Value, json};

fn watched() -> (tempfile::TempDir, NetWatch, World) {
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let watch = NetWatch::start(folder.path().join("packets"));
    watch.enter();
    let mut world = World::begin(&Setting { begin: Some(SystemClock.now().plus(DAY)), ..Setting::default() });
    world.ask_for_statistics();
    world.start_server();
    (folder, watch, world)
}

/// What a person does with a title on one day: two DAWs, and a plug-in of an old make that always tells.
fn a_day_of_music(machine: &Machine, world: &World, daw: &Daw) {
    let mut running = daw.start(machine, world, "2.4.1");
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());
    let used = json!({ "product": PRODUCT, "version": "2.4.1", "daw": "reaper" });
    let reply = machine.connect().call("ReportUse", &used).unwrap();
    assert!(reply.get("error").is_none(), "{reply}");
}

#[test]
fn thirty_days_after_a_refusal_no_packet_has_left_and_no_use_is_on_the_disk() {
    let (_folder, watch, world) = watched();
    let daw = Daw::reaper(env!("CARGO_BIN_EXE_daw"), &world.path("studio"), "song", "REAPER");
    let refused = world.this_machine();
    let never_asked = world.this_machine();
    for machine in [&refused, &never_asked] {
        let _said = machine.activate(&world.issue(1)).ok();
    }
    let said_no = refused.json(&["consent", "refuse"]);
    assert_eq!(said_no["consent"]["state"], "refused");
    let files = |machine: &Machine| -> BTreeSet<_> { files_below(&machine.home).into_iter().collect() };
    let before = [&refused, &never_asked].map(files);
    let silent_from = watch.others_seen();
    assert!(silent_from > 40, "the watch saw the activations: {silent_from} packets");

    let begun = world.clock().now();
    for day in 1..=30 {
        for machine in [&refused, &never_asked] {
            a_day_of_music(machine, &world, &daw);
            go_to(machine, world.clock(), begun.plus(day * DAY));
        }
    }
    assert_eq!(watch.others_seen(), silent_from, "no packet in thirty days");
    for (machine, before) in [&refused, &never_asked].into_iter().zip(before) {
        assert_eq!(files(machine), before, "files that came and went");
        assert_eq!(machine.json(&["privacy", "preview"]), json!({ "planned": [], "counted": [] }));
        for file in files_below(&machine.home) {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            for word in ["gathered", "cells", "queue", "reaper", "2.4.1"] {
                assert!(!text.contains(word), "{word} stands in {}", file.display());
            }
        }
        assert!(machine.is_licensed(PRODUCT));
    }

    // The same days of somebody who agreed are not silent: a watch that sees no statistics at all proves nothing.
    let agreed = world.this_machine();
    let _said = agreed.activate(&world.issue(1)).ok();
    agree(&agreed);
    let loud_from = watch.others_seen();
    let mut course = claviger_tests::statistics::Course::of(&agreed, world.clock());
    course.go_to(world.clock().now().plus(10 * DAY));
    assert!(watch.others_seen() > loud_from + 20, "the plan is fetched");
    assert!(
        files_below(&agreed.home)
            .iter()
            .any(|file| { String::from_utf8_lossy(&std::fs::read(file).unwrap()).contains("gathered") })
    );
}

#[test]
fn activation_is_the_same_bytes_but_for_the_chance_in_them() {
    let (_folder, watch, world) = watched();
    let mut seen = Vec::new();
    for decision in ["none", "refused", "given", "withdrawn"] {
        let machine = world.this_machine();
        match decision {
            "refused" => drop(machine.json(&["consent", "refuse"])),
            "given" => agree(&machine),
            "withdrawn" => {
                agree(&machine);
                drop(machine.json(&["consent", "withdraw"]));
            }
            _ => {}
        }
        let license = world.issue(1);
        let before = watch.capture().sent_to(world.proxy.address).count();
        let _said = machine.activate(&license).ok();
        let _said = machine.claviger(&["license", "refresh"]).ok();
        let _said = machine.claviger(&["deactivate", PRODUCT_NAME]).ok();
        let capture = watch.capture();
        let requests: Vec<Request> =
            capture.sent_to(world.proxy.address).skip(before).map(Stream::request).collect();
        seen.push((decision, requests.iter().map(shape).collect::<Vec<_>>()));
    }
    let (_, first) = &seen[0];
    let paths: Vec<&str> = first.iter().map(|(head, _)| head.split(' ').nth(1).unwrap()).collect();
    for path in ["/v1/activate", "/v1/refresh", "/v1/deactivate"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    for (decision, requests) in &seen {
        assert_eq!(requests, first, "{decision}");
    }
}

/// A request without what chance, time and the serial number make of it: everything else is equal for everyone.
fn shape(request: &Request) -> (String, Value) {
    let head = request.head.clone();
    if request.body.is_empty() {
        return (head, Value::Null);
    }
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let mut content = payload(body["request"].as_str().unwrap());
    blank(&mut content);
    (head, content)
}

fn blank(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                let varies = ["nonce", "iat", "serial", "proof", "id", "rev", "certificate", "receipts"];
                if varies.contains(&name.as_str()) {
                    *value = Value::from("varies");
                } else {
                    blank(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(blank),
        _ => {}
    }
}
