//! The Varlink client from PyPI, which nobody here wrote, introspects the daemon and activates a license.

use std::process::Command;

use claviger_tests::world::PRODUCT;
use claviger_tests::{World, process};

const SCRIPT: &str = r#"
import json, sys, varlink
address, serial, code = sys.argv[1], sys.argv[2], sys.argv[3]
with varlink.Client.new_with_address(address) as client:
    names = sorted(client.get_interfaces())
    daemon = client.open("io.claviger.Daemon")
    methods = sorted(name for name in dir(daemon) if name[:1].isupper())
    status = daemon.GetStatus()
    machines = daemon.ShowMachine()
    activated = daemon.Activate(serial, code, None, None)
    listed = daemon.ListLicenses(None)
    try:
        daemon.Deactivate("nothing of that name")
        error = None
    except varlink.VarlinkError as problem:
        error = problem.error()
    progress = []
with varlink.Client.new_with_address(address) as client:
    with client.open("io.claviger.Daemon") as daemon:
        for reply in daemon.Activate(serial, code, None, None, _more=True):
            progress.append(reply)
print(json.dumps({
    "names": names, "methods": methods, "status": status, "machines": machines, "activated": activated, "listed": listed,
    "error": error, "progress": progress,
}, default=lambda o: o.__dict__))
"#;

#[test]
fn introspects_and_activates() {
    let python = std::env::var_os("CLAVIGER_TEST_PYTHON")
        .expect("CLAVIGER_TEST_PYTHON names a Python with the `varlink` package: run `cargo xtask test`");
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, &format!("unix:{}", machine.socket().display())]);
    command.args([&license.serial, &license.unlock_code]);
    let seen = process::run(&mut command, "").ok().json();
    let names = seen["names"].as_array().unwrap();
    assert!(names.iter().any(|name| name == "io.claviger.Daemon"), "{names:?}");
    let methods: Vec<&str> = seen["methods"].as_array().unwrap().iter().filter_map(|m| m.as_str()).collect();
    for method in ["Activate", "Deactivate", "Doctor", "GetStatus", "ListLicenses", "Monitor"] {
        assert!(methods.contains(&method), "{methods:?}");
    }
    assert_eq!(seen["activated"]["license"]["serial"], license.serial.as_str(), "{seen}");
    assert_eq!(seen["listed"]["licenses"][0]["status"], "licensed", "{seen}");
    assert_eq!(seen["error"], "io.claviger.Daemon.NotFound", "{seen}");
    let progress = seen["progress"].as_array().unwrap();
    assert!(progress.last().unwrap()["license"].is_object(), "{seen}");
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}
