//! Other computers and settings on the command line, against a scripted daemon.

mod support;

use serde_json::{Value, json};
use support::{Home, code, good, refused, serial};

fn holder(id: &str, name: &str) -> Value {
    json!({ "machine_id": id.repeat(16), "device_name": name, "since": 1_795_305_600, "last_seen": 1_795_392_000 })
}

fn seats() -> Value {
    json!({
        "vendor": "com.example", "vendor_name": "Example Audio", "serial": "SOL-00000-00000-00000",
        "activation": "07070707070707070707070707070707", "product": "com.example.synth", "product_name": "Solstice",
        "machine_id": "01".repeat(16), "total": 3, "taken": 2, "holders": [holder("01", "Studio"), holder("02", "Laptop")],
        "history": [
            { "at": 1_795_392_000, "what": "replaced", "machine_id": "03".repeat(16), "device_name": "Attic", "by": "Studio" },
            { "at": 1_795_305_600, "what": "melted", "machine_id": "01".repeat(16), "device_name": "Studio" },
        ],
    })
}

fn machine() -> Value {
    json!({
        "vendor": "com.example", "device_name": "Studio", "os_family": "linux", "os_version": "x", "os_arch": "x",
        "cpu_model": "x", "cpu_logical_cores": 1, "ram_gib": 1, "machine_id": "01".repeat(16),
    })
}

#[test]
fn seats_and_their_past_are_shown_when_asked_for() {
    let home = Home::new();
    let peer = home.peer(move |method, _| match method {
        "ListLicenses" => good(json!({ "licenses": [support::license("Solstice")] })),
        "ShowSeats" => good(json!({ "seats": [seats()] })),
        _ => refused("Internal", json!({ "message": "?" })),
    });
    let ran = home.run(&["license", "show", "solstice"]);
    assert!(!ran.out.contains("Seats"), "{}", ran.out);
    let ran = home.run(&["license", "show", "solstice", "--seats"]);
    for words in [
        "Seats: 2 of 3 in use\n",
        "\nLaptop  ",
        "“Attic” lost its seat to “Studio”",
        "“Studio” holds it no longer",
    ] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    assert_eq!(home.run(&["license", "show", "solstice", "--seats", "--json"]).json()["seats"]["taken"], 2);
    let asked: Vec<Value> =
        peer.calls().into_iter().filter(|c| c["method"].as_str().unwrap().ends_with("ShowSeats")).collect();
    assert_eq!(asked[0]["parameters"], json!({ "target": "07070707070707070707070707070707" }));
}

#[test]
fn computers_are_listed_and_what_is_missing_is_said() {
    let home = Home::new();
    home.peer(move |method, _| match method {
        "ShowMachine" => good(json!({ "machines": [machine()] })),
        "ShowSeats" => {
            good(json!({ "seats": [seats()], "warnings": ["Other Audio: its server could not be reached."] }))
        }
        _ => refused("Internal", json!({ "message": "?" })),
    });
    let listed = home.run(&["machine", "list", "--json"]).json();
    assert_eq!((&listed["complete"], listed["computers"].as_array().unwrap().len()), (&json!(false), 2));
    assert_eq!(listed["computers"][1]["licenses"][0]["product_name"], "Solstice");
    let ran = home.run(&["machine", "list"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("Other Audio") && ran.err.contains("may be missing"), "{}", ran.err);

    let home = Home::new();
    home.peer(move |method, _| match method {
        "ShowMachine" => good(json!({ "machines": [machine()] })),
        _ => refused("Unreachable", json!({ "code": "dns", "message": "The name could not be found." })),
    });
    let listed = home.run(&["machine", "list", "--json"]).json();
    assert_eq!((&listed["complete"], &listed["computers"][0]["here"]), (&json!(false), &json!(true)));

    let home = Home::new();
    home.peer(move |method, _| match method {
        "ShowMachine" => good(json!({ "machines": [machine()] })),
        _ => refused("NotPermitted", json!({ "message": "Not you." })),
    });
    assert_eq!(home.run(&["machine", "list"]).code, 10, "whoever may not ask is told so");
}

#[test]
fn freeing_sends_the_code_to_the_daemon_alone_and_tells_refusals_apart() {
    let home = Home::new();
    home.with_vendor();
    let peer = home.peer(|method, parameters| match (method, parameters["machine"].as_str()) {
        ("FreeMachine", Some("Laptop")) => good(json!({
            "vendor": "com.example", "serial": parameters["serial"], "machine_id": "02".repeat(16), "device_name": "Laptop",
        })),
        _ => refused("Refused", json!({ "code": "replace_budget_spent", "message": "Enough for this year." })),
    });
    let (serial, code) = (serial(), code());
    let free = |name: &str, code: &str| {
        home.run_with_input(
            &["machine", "free", name, &serial, "--unlock-code-stdin", "--json"],
            code.as_bytes(),
        )
    };
    let ran = free("Laptop", &code);
    assert_eq!(ran.json()["freed"]["device_name"], "Laptop");
    assert_eq!(peer.calls()[0]["parameters"]["unlock_code"], json!(code));
    let ran = free("Attic", &code);
    assert_eq!((ran.code, &ran.json()["error"]["code"]), (6, &json!("replace_budget_spent")));
    // A mistyped code and a name of nothing but spaces reach nobody.
    let before = peer.calls().len();
    assert_eq!(free("Laptop", "7KQ2M").code, 3);
    assert_eq!(free("  ", &code).code, 3);
    assert_eq!(peer.calls().len(), before);
}

#[test]
fn settings_are_shown_with_who_set_them() {
    let home = Home::new();
    let peer = home.peer(|_, parameters| {
        good(json!({ "settings": [
            { "name": "proxy", "value": parameters["value"], "source": "yours", "locked": false },
            { "name": "network", "value": "off", "source": "policy", "locked": true },
        ] }))
    });
    let ran = home.run(&["daemon", "settings"]);
    assert_eq!(
        ran.out,
        "SETTING  VALUE  SET BY\n\
         proxy    none   yours\n\
         network  off    the administrator's policy  locked\n"
            .replace("SET BY\n", "SET BY                      \n")
            .replace("yours\n", "yours                       \n")
    );
    home.run(&["daemon", "settings", "--proxy", "http://p:1", "--network", "on"]);
    home.run(&["daemon", "settings", "--proxy", "none"]);
    let asked: Vec<Value> = peer.calls().into_iter().map(|call| call["parameters"].clone()).collect();
    assert_eq!(
        asked,
        [
            json!({}),
            json!({ "name": "proxy", "value": "http://p:1" }),
            json!({ "name": "network", "value": "on" }),
            json!({ "name": "proxy" }),
        ]
    );
}
