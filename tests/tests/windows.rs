//! What only Windows programs have, run under Wine by `cargo xtask test`: `claviger.dll` and the static archive from C,
//! the bridge from a Linux DAW into a Windows plug-in, pipes that are already taken, long and foreign names, the service.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use claviger_tests::process::{Done, PATIENCE, run};
use claviger_tests::programs;
use claviger_tests::world::PRODUCT;
use claviger_tests::{Machine, World};

/// Exit codes of the daemon: another one runs, and no pipe.
const ALREADY_RUNNING: i32 = 3;
const NO_PIPE: i32 = 5;

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
        compile.arg("-DCLV_STATIC").arg(libraries.join("libclaviger.a"));
        compile.args(["-lws2_32", "-luserenv", "-lntdll", "-lbcrypt", "-lole32", "-lshell32", "-ladvapi32"]);
        // What Rust's standard library wants and Wine 8 lacks.
        compile.arg(libraries.join("bcryptprimitives.dll"));
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
    let world = World::new();
    let license = world.issue(1);
    let machine = world.this_machine();
    let both = [c_example(&world.path("dll"), false), c_example(&world.path("archive"), true)];
    for program in &both {
        assert_eq!(asked(&machine, program, &world).code, Some(1), "{}", asked(&machine, program, &world));
    }
    let _said = machine.activate(&license).ok();
    for program in &both {
        let _said = asked(&machine, program, &world).ok().says(&["Licensed on"]);
    }
}

#[test]
fn the_dll_exports_nothing_but_clv() {
    let dll = programs::path("claviger").with_file_name("claviger.dll");
    let out = Command::new("x86_64-w64-mingw32-objdump").arg("-p").arg(dll).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let table = text.split("[Ordinal/Name Pointer] Table").nth(1).unwrap();
    let names: Vec<&str> = table
        .lines()
        .skip(1)
        .take_while(|line| line.contains('['))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert!(names.contains(&"clv_license_status"), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("clv_")), "{names:?}");
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
fn the_service_serves_everyone() {
    let world = World::new();
    let license = world.issue(1);
    let machine = Machine::this(&world.folder()).with_own_prefix();
    let sc = |arguments: &[&str]| run(machine.start(Path::new("sc")).args(arguments), "").ok();
    let program = programs::path("clavigerd").display().to_string().replace('/', "\\");
    let _said =
        sc(&["create", "clavigerd", "binPath=", &format!("Z:{program} --system"), "start=", "demand"]);
    let _said = sc(&["start", "clavigerd"]);
    // Asked to start, it is on its way.
    let begun = Instant::now();
    let status = loop {
        let done = machine.claviger(&["--json", "daemon", "status"]);
        if done.code == Some(0) {
            break done.json();
        }
        assert!(begun.elapsed() < PATIENCE, "{done}");
    };
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
}
