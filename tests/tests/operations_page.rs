//! docs/operations.md, "Without a network": every block is used as it stands there. Those for a shell are run in their order, by a
//! person who copies and pastes (`ssh` goes to the computer at hand); the policy is a computer's; the playbook is Ansible's.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use claviger_tests::world::{PRODUCT, read};
use claviger_tests::{Machine, World, process, programs};

/// The blocks of the section for a shell, the vendor's too, under the words that say whose they are.
fn blocks() -> Vec<(String, String)> {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md"));
    let section = page.split("\n## ").find(|part| part.starts_with("Without a network")).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in section.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text)), None) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_walk_through_works_as_it_is_printed() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.machine("Studio");
    let folder = world.path("desk");
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["claviger", "claviger-server"] {
        std::os::unix::fs::symlink(programs::path(name), bin.join(name)).unwrap();
    }
    // `ssh HOST COMMAND…`: the host is the computer at hand.
    std::fs::write(bin.join("ssh"), "#!/bin/sh\nshift\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.join("code.txt"), format!("{}\n", license.unlock_code)).unwrap();
    std::fs::write(folder.join("hosts.txt"), "lab01\nlab02\n").unwrap();

    let all = blocks();
    let mut ran = 0;
    for (kind, block) in &all {
        if !matches!(kind.as_str(), "sh" | "sh vendor") {
            continue;
        }
        // The shell of the computer, in whose mount namespace its machine id is another one.
        let mut command = machine.command("claviger");
        let words: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let program = command.get_program().to_owned();
        let mut shell = std::process::Command::new(&program);
        // Everything in front of the program's own path stays: the namespace.
        shell.args(&words[..words.len() - 1]).args(["sh", "-eu", "-c", block]);
        shell.env_clear();
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap());
        }
        shell.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        shell.env("SERIAL", &license.serial).env("PRODUCT", PRODUCT).env("DATA", world.data());
        let done = process::run(shell.current_dir(&folder), "");
        assert_eq!(done.code, Some(0), "{block}\n{done}");
        ran += 1;
        command.env_clear();
    }
    assert!(ran >= 12, "only {ran} blocks were run");
    assert!(machine.is_licensed(PRODUCT), "the last block of the page licenses it");
    let others: Vec<&str> =
        all.iter().map(|(kind, _)| kind.as_str()).filter(|k| !k.starts_with("sh")).collect();
    assert_eq!(others, ["toml", "yaml"], "a new kind of block wants a test of its own");
    let shells = ["sh", "sh vendor", "sh ansible"];
    assert!(all.iter().all(|(k, _)| shells.contains(&k.as_str()) || others.contains(&k.as_str())), "{all:?}");
}

/// A block of the page's section, by its kind.
fn block(kind: &str) -> String {
    let mut found: Vec<String> =
        blocks().into_iter().filter(|(k, _)| k == kind).map(|(_, block)| block).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

/// A computer that is reset every night, with the policy as the page prints it: licensed by the bundle each morning, and
/// nothing goes out.
#[test]
fn the_policy_for_computers_that_are_reset_works_as_it_is_printed() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.machine("Reset");
    let folder = machine.home.parent().unwrap().to_owned();
    let at = |name: &str| world.path(name).display().to_string();
    let request = ["offline", "request", &license.serial, "--unlock-code-stdin", "-o", &at("reset.clvreq")];
    let _said = machine.claviger_with(&request, &format!("{}\n", license.unlock_code)).ok();
    std::fs::create_dir_all(folder.join("srv/claviger")).unwrap();
    let bundle = folder.join("srv/claviger/lab.clvbundle").display().to_string();
    let _said = world.server(&["offline", "answer", &at("reset.clvreq"), "-o", &bundle]).ok();
    machine.stop_daemon();

    let mut machine = machine.with_policy(&block("toml"));
    for _night in 0..2 {
        std::fs::remove_dir_all(&machine.home).unwrap();
        // What the image has: the vendor is known.
        let shipped = machine.home.join("state/vendors/com.example/vendor.clvprofile");
        std::fs::create_dir_all(shipped.parent().unwrap()).unwrap();
        let _bytes = std::fs::copy(world.profile(), &shipped).unwrap();
        machine.start_daemon();
        assert!(machine.is_licensed(PRODUCT), "licensed as soon as the daemon is ready");
        let refused = machine.activate(&license).refused();
        assert_eq!(refused.code, Some(9), "{refused}");
        machine.stop_daemon();
    }
    // A bundle that is not there is named, though the daemon starts.
    std::fs::remove_file(folder.join("srv/claviger/lab.clvbundle")).unwrap();
    machine.start_daemon();
    let doctor = machine.claviger(&["doctor"]).refused();
    let _said = doctor.says(&["/srv/claviger/lab.clvbundle is missing"]);
    machine.stop_daemon();
}

/// The page names every setting that the daemon knows, and no other.
#[test]
fn every_setting_of_the_policy_is_documented() {
    let world = World::without_server();
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md"));
    let printed = page.split("### Policy").nth(1).unwrap().split("```").nth(1).unwrap();
    let printed = printed.strip_prefix("toml\n").unwrap();
    let says = |policy: &str| {
        let folder = world.path(&format!("m{}", policy.len()));
        let mut machine = Machine::second(&folder).with_policy(policy);
        machine.start_daemon();
        let report = machine.claviger(&["--json", "doctor"]).json();
        machine.stop_daemon();
        report.to_string()
    };
    let taken = says(printed);
    assert!(taken.contains("/etc/claviger/ca.pem") && !taken.contains("cannot be used"), "{taken}");
    let refused = says("everything = true");
    let (_, known) = refused.split_once("expected one of ").unwrap_or_else(|| panic!("{refused}"));
    let (known, _) = known.split_once(". ").unwrap();
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let names: Vec<&str> = printed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, known, "the settings in their order");
}

/// The curl line for scripts, at this server's address.
#[test]
fn a_script_asks_the_portal_as_it_is_printed() {
    let world = World::new();
    let license = world.issue(1);
    let machine = world.machine("Script");
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md"));
    let line = page.lines().find(|line| line.starts_with("curl ")).unwrap();
    let line = line.replace("https://licenses.example.com", &format!("http://{}", world.server_address()));
    let request = ["offline", "request", &license.serial, "--unlock-code-stdin", "-o"];
    let file = world.path("studio.clvreq").display().to_string();
    let arguments = [&request[..], &[file.as_str()]].concat();
    let _said = machine.claviger_with(&arguments, &format!("{}\n", license.unlock_code)).ok();
    let curl = || {
        let mut shell = std::process::Command::new("sh");
        process::run(shell.args(["-eu", "-c", &line]).env("no_proxy", "*").current_dir(world.path("")), "")
    };
    let _said = curl().ok();
    let answer = world.path("studio.clvres").display().to_string();
    let _said = machine.claviger(&["offline", "import", &answer]).ok();
    assert!(machine.is_licensed(PRODUCT));
    std::fs::write(world.path("studio.clvreq"), "Dear Ada, it is attached.").unwrap();
    let _refused = curl().refused();
}

/// The role, run by Ansible on three computers with the playbook and the commands as the page prints them: requests
/// first, then the bundle, then nothing more to do.
#[test]
fn the_ansible_role_licenses_a_lab() {
    let world = World::new();
    let license = world.issue(3);
    let folder = world.path("controller");
    std::fs::create_dir(&folder).unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::os::unix::fs::symlink(repository.join("packaging/ansible/roles"), folder.join("roles")).unwrap();
    std::fs::write(folder.join("lab.yml"), block("yaml")).unwrap();
    let machines: Vec<Machine> = (1..=3).map(|n| world.machine(&format!("lab{n:02}"))).collect();
    let mut hosts = "[lab]\n".to_owned();
    for (n, machine) in machines.iter().enumerate() {
        // What `ssh` would do: the command runs on that computer.
        let script = folder.join(format!("on-lab{n}"));
        let command = machine.command("claviger");
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"));
        let env = command.get_envs().map(|(k, v)| format!("{}={}", k.to_str().unwrap(), quoted(v.unwrap())));
        let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
        let words: Vec<String> = env.chain(words).collect();
        std::fs::write(&script, format!("#!/bin/sh\nexec env -i {} \"$@\"\n", words.join(" "))).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        hosts += &format!(
            "lab{n:02} ansible_connection=local ansible_python_interpreter=/usr/bin/python3 claviger_command={}\n",
            script.display()
        );
    }
    std::fs::write(folder.join("hosts.ini"), hosts).unwrap();
    // The vault and the shop of this test.
    let values = serde_json::json!({
        "claviger_serial": license.serial, "vault_unlock_code": license.unlock_code,
    });
    std::fs::write(folder.join("values.json"), values.to_string()).unwrap();
    std::fs::create_dir(folder.join("bin")).unwrap();
    std::os::unix::fs::symlink(programs::path("claviger"), folder.join("bin/claviger")).unwrap();
    let run = |block: &str| {
        let block = block.replace("lab.yml", "lab.yml -e @values.json");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-eu", "-c", &block]).current_dir(&folder).env_clear();
        shell.env("PATH", format!("{}:/usr/bin:/bin", folder.join("bin").display())).env("HOME", &folder);
        shell.env("LANG", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_LOCALHOST_WARNING", "False");
        process::run_within(&mut shell, "", std::time::Duration::from_secs(300)).ok().stdout
    };
    let printed: Vec<String> =
        blocks().into_iter().filter(|(kind, _)| kind == "sh ansible").map(|(_, block)| block).collect();
    let [first, second] = printed.as_slice() else { panic!("{printed:?}") };
    let said = run(first);
    assert!(!said.contains(&license.unlock_code), "the code is in the log: {said}");
    assert!(machines.iter().all(|m| !m.is_licensed(PRODUCT)));
    let (batch, bundle) = (folder.join("lab.clvbatch"), folder.join("lab.clvbundle"));
    let files = [batch.display().to_string(), bundle.display().to_string()];
    let _said = world.server(&["offline", "answer", &files[0], "-o", &files[1]]).ok();
    assert_eq!(world.seats_taken(&license), 3);
    let changed = |said: &str| said.matches("changed=1").count();
    let said = run(second);
    assert_eq!(changed(&said), 3, "{said}");
    assert!(machines.iter().all(|m| m.is_licensed(PRODUCT)));
    let again = run(second);
    assert_eq!(again.matches("changed=0").count(), 3, "a third run changes nothing: {again}");
}
