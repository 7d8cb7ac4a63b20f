//! docs/operations.md, "Without a network": every block for a shell is run as it stands there, in its order, by a person who
//! copies and pastes. `ssh` goes to the computer at hand.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use claviger_tests::world::{PRODUCT, read};
use claviger_tests::{World, process, programs};

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
        if !kind.starts_with("sh") {
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
}

/// The policy in the page is one that the daemon takes, and the role has what the playbook names.
#[test]
fn the_settings_in_the_page_are_real() {
    let policy = blocks().into_iter().find(|(kind, _)| kind == "toml").unwrap().1;
    assert!(policy.contains("network = false") && policy.contains("bundle = "), "{policy}");
    let role = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ansible/roles/claviger_offline");
    let defaults = read(&role.join("defaults/main.yml"));
    let playbook = blocks().into_iter().find(|(kind, _)| kind == "yaml").unwrap().1;
    for name in
        playbook.split_whitespace().filter_map(|w| w.strip_suffix(':')).filter(|w| w.starts_with("claviger_"))
    {
        assert!(defaults.contains(&format!("\n{name}:")), "{name}");
    }
    let tasks = read(&role.join("tasks/main.yml"));
    for option in ["offline", "--unlock-code-stdin", "import", "check"] {
        assert!(tasks.contains(option), "{option}");
    }
}
