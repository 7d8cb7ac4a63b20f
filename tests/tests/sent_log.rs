//! What was sent can be read afterwards, byte for byte: the log holds every body that was on the wire, and nothing
//! that was not (PRIVACY duty 27).

use claviger_tests::World;
use claviger_tests::world::PRODUCT_NAME;
use serde_json::Value;

#[test]
fn the_log_holds_the_very_bytes_of_the_wire() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let _said = machine.claviger(&["license", "refresh"]).ok();
    assert_eq!(machine.json(&["deactivate", PRODUCT_NAME])["delivered"], true);

    let log = std::fs::read_to_string(machine.home.join("state/sent/sent.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bodies: Vec<&str> = lines.iter().filter_map(|line| line["body"].as_str()).collect();
    let seen = String::from_utf8_lossy(&world.proxy.seen()).into_owned();
    let on_the_wire = seen.matches("{\"request\":\"").count();
    assert!(on_the_wire >= 3, "activation, refresh and deactivation were sent");
    assert_eq!(bodies.len(), on_the_wire);
    for body in bodies {
        assert!(seen.contains(body), "the log says that this was sent: {body}");
    }
    let purposes: Vec<&str> = lines
        .iter()
        .filter(|line| line["what"] == "sent")
        .filter_map(|line| line["purpose"].as_str())
        .collect();
    for purpose in ["activate", "refresh", "deactivate"] {
        assert!(purposes.contains(&purpose), "{purposes:?}");
    }
    // Written before it left: the line about what came of it stands behind the line about what was sent.
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line["what"] == "answered") {
        assert!(lines[..index].iter().any(|sent| sent["what"] == "sent" && sent["url"] == line["url"]));
    }
}
