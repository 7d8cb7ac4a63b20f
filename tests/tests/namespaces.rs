//! A peer in another PID namespace (a container, Flatpak) has no process id here: the kernel says 0. Neither side may
//! fall over that, and both know all the same who the other is. And a network in which names are looked up for ever.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use claviger_tests::process::{Running, run};
use claviger_tests::vendor::Vendor;
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

/// Becomes the command behind it, in a network whose only name server takes questions and never answers.
const NAMELESS: &str = "
import fcntl, os, socket, struct, subprocess, sys
lo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(lo, 0x8914, struct.pack('16sH22x', b'lo', 0x49))
deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
deaf.bind(('127.0.0.1', 53))
deaf.set_inheritable(True)
for file, place in ((sys.argv[1], '/etc/resolv.conf'), (sys.argv[2], '/etc/nsswitch.conf')):
    subprocess.run(['mount', '--bind', file, os.path.realpath(place)], check=True)
os.execv(sys.argv[3], sys.argv[3:])
";

fn without_names(command: &Command, folder: &Path) -> Command {
    let files =
        [("resolv", "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n"), ("nss", "hosts: files dns\n")];
    let mut inside = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        inside.arg("--map-root-user");
    }
    inside.args(["--net", "--mount", "python3", "-c", NAMELESS]);
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
        inside.arg(folder.join(name));
    }
    inside.arg(command.get_program()).args(command.get_args()).env_clear();
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside
}

#[test]
fn a_name_server_that_never_answers_keeps_nobody() {
    let vendor = Vendor::new("com.nameless", "NAM");
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let profile = folder.path().join("p.clvprofile");
    std::fs::write(&profile, vendor.profile("https://licenses.nameless.example")).unwrap();
    let mut machine = Machine::this(&folder.path().join("m"));
    let mut daemon = without_names(&machine.command("clavigerd"), folder.path());
    let started = Running::start_service(&mut daemon, folder.path());
    machine.daemon = Some(started.unwrap_or_else(|(status, said)| panic!("{status}\n{said}")));
    machine.add_vendor(&profile);
    let done = machine.activate(&vendor.license()).refused();
    assert_eq!(done.code, Some(9), "{done}");
    assert!(done.took < Duration::from_secs(60), "{done}");
    // The question to the name server still waits: neither the others nor the end of the daemon wait with it.
    let _running = machine.json(&["daemon", "status"]);
    assert!(machine.daemon().terminate().success(), "it ends in an orderly way, and soon");
    machine.daemon = None;
}
