//! The daemon of a whole machine, as packages install it: real users, the administrator's policy, a socket that systemd
//! made. `/etc`, `/run` and `/var/lib` of each process are folders of the test's own, bound in a mount namespace.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::process::{Done, Running, run};
use claviger_tests::world::{License, PRODUCT};
use claviger_tests::{World, machine::copy_folder, programs};

const ANNA: u32 = 61_234;
const BEN: u32 = 61_235;
const GROUP: u32 = 61_300;

/// A computer on which packages have installed Claviger.
struct Computer {
    folder: PathBuf,
}

impl Computer {
    fn new(world: &World, policy: &str) -> Self {
        let folder = world.folder();
        std::fs::create_dir_all(&folder).unwrap();
        let computer = Self { folder };
        let at = |name: &str| computer.folder.join(name);
        for name in ["run/claviger", "var/claviger", "bin", "home"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        copy_folder(Path::new("/etc"), &at("etc"));
        let add = |name: &str, line: &str| {
            let old = std::fs::read_to_string(at(name)).unwrap_or_default();
            std::fs::write(at(name), format!("{old}{line}")).unwrap();
        };
        add(
            "etc/passwd",
            &format!("anna:x:{ANNA}:{ANNA}::/nonexistent:/bin/sh\nben:x:{BEN}:{BEN}::/nonexistent:/bin/sh\n"),
        );
        add("etc/group", &format!("studio-admins:x:{GROUP}:anna\n"));
        std::fs::create_dir_all(at("etc/claviger")).unwrap();
        std::fs::write(at("etc/claviger/policy.toml"), policy).unwrap();
        for name in ["etc/claviger/policy.toml", "etc/claviger", "run", "run/claviger", "var", "bin", ""] {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["claviger", "clavigerd"] {
            let _copied = programs::copy_for_everyone(name, &at("bin"));
        }
        computer
    }

    /// A command with this computer's folders in place, as a user; root without one.
    fn command(&self, program: &str, user: Option<(u32, &str)>) -> Command {
        let bind = "mount --bind \"$0/etc\" /etc && mount --bind \"$0/var\" /var/lib && mount --bind \"$0/run\" /run \
                    && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", bind]).arg(&self.folder);
        if let Some((uid, groups)) = user {
            command.args(["setpriv", &format!("--reuid={uid}"), &format!("--regid={uid}"), groups]);
        }
        command.arg(self.folder.join("bin").join(program));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.env("HOME", "/nonexistent").current_dir("/");
        command
    }

    fn daemon(&self) -> Running {
        let mut command = self.command("clavigerd", None);
        let started = Running::start_service(command.arg("--system"), &self.folder);
        started.unwrap_or_else(|(status, said)| panic!("the daemon ended: {status}\n{said}"))
    }

    fn claviger(&self, user: Option<(u32, &str)>, arguments: &[&str]) -> Done {
        run(self.command("claviger", user).args(arguments), "")
    }

    fn activate(&self, user: Option<(u32, &str)>, license: &License) -> Done {
        let mut command = self.command("claviger", user);
        command.args(["activate", &license.serial, "--unlock-code-stdin"]);
        run(&mut command, &format!("{}\n", license.unlock_code))
    }
}

fn anna() -> Option<(u32, &'static str)> {
    Some((ANNA, "--groups=61300"))
}

fn ben() -> Option<(u32, &'static str)> {
    Some((BEN, "--clear-groups"))
}

#[test]
fn changes_are_kept_to_the_group_that_policy_names_and_everyone_is_licensed() {
    let world = World::new();
    let license = world.issue(1);
    let computer = Computer::new(&world, "change_group = \"studio-admins\"\n");
    let mut daemon = computer.daemon();
    let _said = computer.claviger(None, &["vendor", "add", world.profile().to_str().unwrap()]).ok();

    let refused = computer.activate(ben(), &license).refused();
    assert_eq!(refused.code, Some(10), "{refused}");
    let _said = refused.says(&["studio-admins"]);
    assert_eq!(world.seats_taken(&license), 0);
    // Looking is for everyone.
    let _said = computer.claviger(ben(), &["license", "list"]).ok();
    let _said = computer.activate(anna(), &license).ok();
    assert_eq!(world.seats_taken(&license), 1);
    for user in [ben(), anna(), None] {
        let _said = computer.claviger(user, &["check", PRODUCT]).ok();
    }
    let refused = computer.claviger(ben(), &["deactivate", PRODUCT]).refused();
    assert_eq!(refused.code, Some(10), "{refused}");
    assert!(daemon.terminate().success());
    // With the daemon gone everyone is licensed still, and nobody starts a daemon of their own.
    let _said = computer.claviger(ben(), &["check", PRODUCT]).ok();
    let _said = computer.claviger(ben(), &["license", "list"]).refused();
    let _daemon = computer.daemon();
    let _said = computer.claviger(anna(), &["deactivate", PRODUCT]).ok();
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn a_socket_that_systemd_made_is_served() {
    let world = World::new();
    let license = world.issue(1);
    let computer = Computer::new(&world, "");
    let socket = computer.folder.join("run/claviger/daemon.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let before = std::fs::symlink_metadata(&socket).unwrap();
    // As systemd hands it over: descriptor 3, and the process id of whoever it is for.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let own = computer.command("clavigerd", None);
    let (program, kept) =
        own.get_args().collect::<Vec<_>>().split_last().map(|(p, k)| (*p, k.to_vec())).unwrap();
    let hand_over = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --system 3<&{}", listener.as_raw_fd());
    let mut command = Command::new(own.get_program());
    // Not `sh`: dash knows no descriptor above 9, and this one may be.
    command.args(kept).args(["bash", "-c", &hand_over]).arg(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    let started = Running::start_service(&mut command, &computer.folder);
    let mut daemon = started.unwrap_or_else(|(status, said)| panic!("the daemon ended: {status}\n{said}"));
    let _said = computer.claviger(None, &["vendor", "add", world.profile().to_str().unwrap()]).ok();
    // Without a policy about it, every user of the computer may activate.
    let _said = computer.activate(ben(), &license).ok();
    assert_eq!(world.seats_taken(&license), 1);
    assert!(daemon.terminate().success());
    // The socket is systemd's: it stays, the same one.
    let after = std::fs::symlink_metadata(&socket).unwrap();
    assert_eq!((before.dev(), before.ino()), (after.dev(), after.ino()));
}

#[test]
fn policy_turns_the_network_off() {
    let world = World::new();
    let license = world.issue(1);
    let computer = Computer::new(&world, "network = false\n");
    let _daemon = computer.daemon();
    let _said = computer.claviger(None, &["vendor", "add", world.profile().to_str().unwrap()]).ok();
    let refused = computer.activate(anna(), &license).refused();
    assert_eq!(refused.code, Some(9), "{refused}");
    let _said = refused.says(&["administrator"]);
    assert_eq!(world.proxy.requests(), 0);
}

/// A computer that is reset to its image every night: the daemon takes its part of the policy's bundle at each start, for
/// every user, without a network.
#[test]
fn policy_imports_a_bundle_at_every_start() {
    let world = World::new();
    let license = world.issue(1);
    let computer = Computer::new(&world, "network = false\n");
    let mut daemon = computer.daemon();
    let _said = computer.claviger(None, &["vendor", "add", world.profile().to_str().unwrap()]).ok();
    let mut command = computer.command("claviger", None);
    command.args(["offline", "request", &license.serial, "--unlock-code-stdin", "-o", "-"]);
    let request = run(&mut command, &format!("{}\n", license.unlock_code)).ok();
    let refused = computer.claviger(ben(), &["machine", "prepare-image"]).refused();
    assert_eq!(refused.code, Some(10), "{refused}");
    let _said = computer.claviger(None, &["machine", "prepare-image", "--yes"]).ok();
    assert!(daemon.terminate().success());
    let image = world.path("image");
    copy_folder(&computer.folder.join("var"), &image);

    let (asked, bundle) = (world.path("lab.clvreq"), computer.folder.join("etc/claviger/lab.clvbundle"));
    std::fs::write(&asked, &request.stdout).unwrap();
    let words = ["offline", "answer", asked.to_str().unwrap(), "-o", bundle.to_str().unwrap()];
    let _said = world.server(&words).ok();
    let policy = "network = false\nbundle = \"/etc/claviger/lab.clvbundle\"\n";
    std::fs::write(computer.folder.join("etc/claviger/policy.toml"), policy).unwrap();
    for night in 0..2 {
        std::fs::remove_dir_all(computer.folder.join("var")).unwrap();
        copy_folder(&image, &computer.folder.join("var"));
        let mut daemon = computer.daemon();
        let done = computer.claviger(ben(), &["check", PRODUCT]);
        assert_eq!(done.code, Some(0), "night {night}: {done}\n{}", daemon.output());
        assert!(daemon.terminate().success());
    }
    assert_eq!(world.proxy.requests(), 0);
    assert_eq!(world.seats_taken(&license), 1);
}
