//! What only Windows programs have, run under Wine by `cargo xtask test`: `claviger.dll` and the static archive from C,
//! the bridge from a Linux DAW into a Windows plug-in, pipes that are already taken, long and foreign names, the service.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use claviger_tests::process::{Done, PATIENCE, Running, run};
use claviger_tests::programs;
use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};
use serde_json::Value;

/// Exit codes of the daemon: another one runs, and no pipe.
const ALREADY_RUNNING: i32 = 3;
const NO_PIPE: i32 = 5;

/// What the linker needs with the archive in a program or plug-in.
fn archive() -> Vec<PathBuf> {
    let libraries = programs::path("claviger").parent().unwrap().to_owned();
    let system = ["-lws2_32", "-luserenv", "-lntdll", "-lbcrypt", "-lole32", "-lshell32", "-ladvapi32"];
    let mut words = vec![libraries.join("libclaviger.a")];
    words.extend(system.map(PathBuf::from));
    // What Rust's standard library wants and Wine 8 lacks.
    words.push(libraries.join("bcryptprimitives.dll"));
    words
}

/// Compiles the C example for Windows: against the DLL, or with the archive in it.
fn c_example(folder: &Path, with_archive: bool) -> PathBuf {
    let capi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client-lib/capi");
    let libraries = programs::path("claviger").parent().unwrap().to_owned();
    std::fs::create_dir_all(folder).unwrap();
    let program = folder.join("check.exe");
    let mut compile = Command::new("x86_64-w64-mingw32-gcc");
    compile.args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-o"]).arg(&program);
    compile.arg(capi.join("examples/check.c")).arg(format!("-I{}", capi.join("include").display()));
    if with_archive {
        compile.arg("-DCLV_STATIC").args(archive());
    } else {
        compile.arg(format!("-L{}", libraries.display())).arg("-l:libclaviger.dll.a");
        let _copied = std::fs::copy(libraries.join("claviger.dll"), folder.join("claviger.dll")).unwrap();
    }
    assert!(compile.status().unwrap().success());
    let random = "bcryptprimitives.dll";
    let _copied = std::fs::copy(libraries.join(random), folder.join(random)).unwrap();
    program
}

fn asked(machine: &Machine, program: &Path, world: &World) -> Done {
    run(machine.start(program).arg(world.profile()).arg(PRODUCT), "")
}

#[test]
fn a_c_program_asks_the_dll_and_the_archive() {
    let mut world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let both = [c_example(&world.path("dll"), false), c_example(&world.path("archive"), true)];
    for program in &both {
        assert_eq!(asked(&machine, program, &world).code, Some(1), "{}", asked(&machine, program, &world));
    }
    let _said = machine.activate(&license).ok();
    machine.stop_daemon();
    world.stop_server();
    for program in &both {
        let _said = asked(&machine, program, &world).ok().says(&["Licensed on"]);
    }
    world.start_server();
    machine.start_daemon();
    let _said = machine.claviger(&["deactivate", PRODUCT]).ok();
    for program in &both {
        assert_eq!(asked(&machine, program, &world).code, Some(1), "given up");
    }
    assert_eq!(world.seats_taken(&license), 0);
}

/// What a DLL exports.
fn exports(dll: &Path) -> Vec<String> {
    let out = Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(dll).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let table = text.split("[Ordinal/Name Pointer] Table").nth(1).unwrap();
    let lines = table.lines().skip(1).take_while(|line| line.contains('['));
    lines.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

#[test]
fn the_dll_exports_nothing_but_clv() {
    let names = exports(&programs::path("claviger").with_file_name("claviger.dll"));
    assert!(names.iter().any(|name| name == "clv_license_status"), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("clv_")), "{names:?}");
}

#[test]
fn a_plug_in_with_the_archive_exports_its_entry_alone() {
    let world = World::new();
    let capi = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client-lib/capi");
    let (source, plug_in) = (world.path("plug-in.c"), world.path("plug-in.dll"));
    let text =
        "#include <claviger.h>\n__declspec(dllexport) unsigned entry(void) { return clv_abi_version(); }\n";
    std::fs::write(&source, text).unwrap();
    let mut compile = Command::new("x86_64-w64-mingw32-gcc");
    compile.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-DCLV_STATIC", "-shared", "-o"]);
    compile.arg(&plug_in).arg(&source).arg(format!("-I{}", capi.join("include").display()));
    compile.args(archive());
    assert!(compile.status().unwrap().success());
    assert_eq!(exports(&plug_in), ["entry"]);
}

#[test]
fn a_bridged_plug_in_is_the_same_machine() {
    let world = World::new();
    let license = world.issue(2);
    let mut native = Machine::at_home(&world.folder()).native();
    let (one, other) = (native.bridged(), native.bridged());
    let plug_in = c_example(&world.path("dll"), false);
    for prefix in [&one, &other] {
        assert_eq!(asked(prefix, &plug_in, &world).code, Some(1));
    }
    native.start_daemon();
    native.add_vendor(&world.profile());
    let _said = native.activate(&license).ok();
    assert!(native.is_licensed(PRODUCT));
    for prefix in [&one, &other] {
        let _said = asked(prefix, &plug_in, &world).ok();
        assert!(prefix.is_licensed(PRODUCT), "the command line for Windows agrees");
    }
    assert_eq!(world.seats_taken(&license), 1);

    // A whole Claviger for Windows in one of the prefixes is this machine as well: no second seat.
    let mut windows = native.bridged();
    windows.start_daemon();
    windows.add_vendor(&world.profile());
    let _said = windows.activate(&license).ok();
    assert_eq!(world.seats_taken(&license), 1);
    windows.stop_daemon();

    let _said = native.claviger(&["deactivate", PRODUCT]).ok();
    assert!(!native.is_licensed(PRODUCT));
    for prefix in [&one, &other] {
        assert_eq!(asked(prefix, &plug_in, &world).code, Some(1), "given up for all");
    }
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn homes_may_be_long_and_foreign() {
    let world = World::new();
    let license = world.issue(1);
    let folder =
        ["Ärger mit Umlauten", "音楽制作のためのとても長い名前のフォルダ", "con", &"lang".repeat(60)];
    let folder = folder.iter().fold(world.folder(), |path, name| path.join(name));
    assert!(folder.to_string_lossy().chars().count() > 260);
    let machine = world.ready(Machine::this(&folder));
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT));
    let _said = machine.claviger(&["deactivate", PRODUCT]).ok();
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn a_second_daemon_makes_way_and_a_taken_pipe_is_named() {
    let world = World::new();
    let machine = world.this_machine();
    let (status, said) = machine.try_start_daemon(&[]).unwrap_err();
    assert_eq!(status.code(), Some(ALREADY_RUNNING), "{said}");
    // The lock gone from under it, the name of the pipe still is taken.
    std::fs::remove_file(machine.home.join("state.lock")).unwrap();
    let (status, said) = machine.try_start_daemon(&[]).unwrap_err();
    assert_eq!(status.code(), Some(NO_PIPE), "{said}");
    assert!(said.contains("another program has taken its name"), "{said}");
}

#[test]
fn a_pipe_that_another_user_has_made_is_neither_believed_nor_served() {
    /// A user whom this computer does not know, who lets everyone in.
    const FOREIGN: &str = "O:S-1-5-21-1-2-3-1001G:S-1-5-21-1-2-3-513D:(A;;GA;;;WD)";
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let _said = machine.activate(&license).ok();
    let pipe = machine.json(&["daemon", "status"])["socket"].as_str().unwrap().to_owned();
    machine.stop_daemon();
    let squat = programs::path("squat");
    for held in ["open", "held"] {
        let mut command = machine.start(&squat);
        command.args([&pipe, FOREIGN, held]);
        let (mut squatter, _line) = Running::start_until(&mut command, "taken").unwrap();
        let (status, said) = machine.try_start_daemon(&[]).unwrap_err();
        assert_eq!(status.code(), Some(NO_PIPE), "{said}");
        assert!(said.contains("another program has taken its name"), "{said}");
        assert!(machine.is_licensed(PRODUCT), "no pipe is needed for that");
        if held == "open" {
            let done = machine.claviger(&["--json", "license", "list"]).refused();
            assert_eq!((done.code, done.error_code().as_str()), (Some(13), "daemon_not_trusted"), "{done}");
            let _ended = squatter.wait_end(PATIENCE);
            assert!(squatter.output().contains("heard nothing"), "not a byte: {}", squatter.output());
        }
    }
    machine.start_daemon();
    let _said = machine.claviger(&["deactivate", PRODUCT]).ok();
    assert_eq!(world.seats_taken(&license), 0);
}

#[test]
fn managed_settings_come_from_the_registry() {
    let world = World::new();
    let license = world.issue(1);
    // A computer of its own has a registry of its own.
    let mut machine = Machine::second(&world.folder());
    let key = r"HKLM\SOFTWARE\Policies\Claviger";
    let reg = |machine: &Machine, arguments: &[&str]| {
        let _said = run(machine.start(Path::new("reg")).args(arguments), "").ok();
    };
    let set = |machine: &Machine, name: &str, kind: &str, value: &str| {
        reg(machine, &["add", key, "/v", name, "/t", kind, "/d", value, "/f"]);
    };
    set(&machine, "network", "REG_DWORD", "0");
    machine.start_daemon();
    machine.add_vendor(&world.profile());
    let done = machine.claviger_with(
        &["--json", "activate", &license.serial, "--unlock-code-stdin"],
        &format!("{}\n", license.unlock_code),
    );
    assert_eq!(done.error_code(), "network_off", "{done}");
    machine.stop_daemon();

    // A setting of the wrong kind takes the network away as well, and is named.
    set(&machine, "network", "REG_SZ", "yes");
    machine.start_daemon();
    let done = machine.activate(&license).refused();
    assert!(done.text().contains("Policies"), "{done}");
    machine.stop_daemon();

    set(&machine, "network", "REG_DWORD", "1");
    set(&machine, "vendors", "REG_MULTI_SZ", r"com.example\0org.example.other");
    machine.start_daemon();
    let _said = machine.activate(&license).ok();
    machine.stop_daemon();
    reg(&machine, &["delete", key, "/f"]);
}

#[test]
fn the_service_refuses_a_folder_that_somebody_planted() {
    const NOBODY: u32 = 65_534;
    let world = World::new();
    let machine = Machine::this(&world.folder()).with_own_prefix();
    let system = || {
        let mut command = machine.command("clavigerd");
        Running::start_service(command.arg("--system"), &world.folder())
    };
    drop(system().unwrap());
    let folder = machine.drive().join("ProgramData/Claviger");
    for planted in [folder.join("state"), folder.join("vendors"), folder.clone()] {
        std::fs::create_dir_all(&planted).unwrap();
        std::os::unix::fs::chown(&planted, Some(NOBODY), None).unwrap();
        let (status, said) = system().unwrap_err();
        assert!(
            !status.success() && said.contains("belongs to neither"),
            "{}: {status} {said}",
            planted.display()
        );
        std::os::unix::fs::chown(&planted, Some(0), None).unwrap();
    }
    drop(system().unwrap());
}

#[test]
fn a_client_that_hangs_does_not_keep_a_killed_daemon_from_coming_back() {
    let world = World::new();
    let license = world.issue(1);
    let mut machine = world.this_machine();
    let pipe = machine.json(&["daemon", "status"])["socket"].as_str().unwrap().to_owned();
    let program = programs::path("hold");
    let (mut client, _line) = Running::start_until(machine.start(&program).arg(&pipe), "held").unwrap();
    machine.kill_daemon();
    machine.start_daemon();
    assert!(client.is_running());
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(PRODUCT));
    // The pipe of the new daemon is as exclusive as the old one's was.
    std::fs::remove_file(machine.home.join("state.lock")).unwrap();
    let (status, said) = machine.try_start_daemon(&[]).unwrap_err();
    assert_eq!(status.code(), Some(NO_PIPE), "{said}");
}

#[test]
fn a_user_s_daemon_starts_at_login() {
    let world = World::new();
    let machine = Machine::at_home(&world.folder()).bridged();
    assert_eq!(machine.json(&["daemon", "install"])["installed"], true);
    machine.restart();
    let pid = wait_for_daemon(&machine)["status"]["pid"].clone();
    assert!(pid.is_number(), "{pid}");
    assert_eq!(machine.json(&["daemon", "uninstall"])["uninstalled"], true);
    machine.restart();
    let done = machine.claviger(&["--json", "daemon", "status"]).refused();
    assert_eq!(done.error_code(), "daemon_not_running", "{done}");
}

/// What the daemon says once it answers: whoever has started it did not wait for that.
fn wait_for_daemon(machine: &Machine) -> Value {
    let begun = Instant::now();
    loop {
        let done = machine.claviger(&["--json", "daemon", "status"]);
        if done.code == Some(0) {
            return done.json();
        }
        assert!(begun.elapsed() < PATIENCE, "{done}");
    }
}

#[test]
fn the_service_serves_everyone() {
    let world = World::new();
    let license = world.issue(1);
    let machine = Machine::this(&world.folder()).with_own_prefix();
    let sc = |arguments: &[&str]| run(machine.start(Path::new("sc")).args(arguments), "").ok();
    let program = programs::path("clavigerd").display().to_string().replace('/', "\\");
    let _said = sc(&["create", "clavigerd", "binPath=", &format!("Z:{program} --system"), "start=", "auto"]);
    let _said = sc(&["start", "clavigerd"]);
    let status = wait_for_daemon(&machine);
    assert_eq!(status["status"]["mode"], "system", "{status}");
    machine.add_vendor(&world.profile());
    let _said = machine.activate(&license).ok();
    let _said = sc(&["stop", "clavigerd"]);
    assert_eq!(world.seats_taken(&license), 1);
    let done = machine.claviger(&["--json", "license", "list"]).refused();
    assert_eq!(
        done.error_code(),
        "daemon_not_running",
        "nobody starts a user's daemon beside the system's: {done}"
    );
    machine.restart();
    assert_eq!(wait_for_daemon(&machine)["status"]["mode"], "system", "started with the computer");
}
