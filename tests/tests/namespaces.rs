//! A peer in another PID namespace (a container, Flatpak) has no process id here: the kernel says 0. Neither side may
//! fall over that, and both know all the same who the other is.

use std::process::Command;

use claviger_tests::process::{Running, run};
use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};

/// The same command in a PID namespace of its own.
fn elsewhere(command: &Command) -> Command {
    let mut inside = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        inside.arg("--map-root-user");
    }
    inside.args(["--pid", "--fork", "--kill-child"]);
    inside.arg(command.get_program()).args(command.get_args()).env_clear().current_dir("/");
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside
}

fn status_of(command: &mut Command) -> serde_json::Value {
    run(command.args(["--json", "daemon", "status"]), "").ok().json()
}

#[test]
fn a_command_line_in_a_container_talks_to_the_daemon_outside() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let inside = elsewhere(&machine.command("claviger"));
    let mut asked = elsewhere(&machine.command("claviger"));
    let _running = status_of(&mut asked);
    let mut activate = inside;
    activate.args(["activate", &license.serial, "--unlock-code-stdin"]);
    let _said = run(&mut activate, &format!("{}\n", license.unlock_code)).ok();
    assert!(machine.is_licensed(PRODUCT));
    assert_eq!(world.seats_taken(&license), 1);
}

#[test]
fn a_daemon_in_a_container_serves_its_owner_outside_and_in_another_one() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = Machine::this(&world.folder());
    let mut daemon = elsewhere(&machine.command("clavigerd"));
    let started = Running::start_service(&mut daemon, machine.home.parent().unwrap());
    machine.daemon = Some(started.unwrap_or_else(|(status, said)| panic!("{status}\n{said}")));
    machine.add_vendor(&world.profile());
    let _said = machine.activate(&license).ok();
    // Neither of these two sees the other's process.
    let _running = status_of(&mut elsewhere(&machine.command("claviger")));
    assert!(machine.is_licensed(PRODUCT));
    machine.kill_daemon();
}
