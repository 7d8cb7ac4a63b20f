//! What a plug-in developer gets: headers for C and C++, the archive for plug-ins, the shared library for tools, CMake and
//! pkg-config. Built with, run, and looked into.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::process::{self, Done};
use claviger_tests::tilt::{self, Home};

/// The words that pkg-config has for a package of the SDK.
fn pkg_config(package: &str) -> Vec<String> {
    let out = Command::new("pkg-config")
        .args(["--cflags", "--libs", package])
        .env("PKG_CONFIG_PATH", tilt::sdk().join("lib/pkgconfig"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

fn compile(compiler: &str, options: &[&str], source: &Path, package: &str, into: &Path) {
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"]).args(options).arg("-o").arg(into);
    tilt::build(command.arg(source).args(pkg_config(package)));
}

fn profile(home: &Home) -> PathBuf {
    let file = home.path().join("profile");
    std::fs::write(&file, tilt::profile()).unwrap();
    file
}

fn run(command: &mut Command, home: &Home) -> Done {
    command.env("CLAVIGER_HOME", home.path()).env("LD_LIBRARY_PATH", tilt::sdk().join("lib"));
    process::run(command, "")
}

fn wrapper() -> PathBuf {
    tilt::source().join("tests/native/wrapper.cpp")
}

#[test]
fn cpp_wrapper_works_with_archive_and_shared_library() {
    let home = Home::licensed();
    let profile = profile(&home);
    for package in ["claviger-static", "claviger"] {
        let program = home.path().join(package);
        compile("c++", &["-std=c++17", "-pthread"], &wrapper(), package, &program);
        let _said =
            run(Command::new(&program).arg(&profile).args([tilt::PRODUCT, "com.example.other"]), &home).ok();
    }
    // Without exceptions and as later C++ it compiles too.
    for options in [&["-std=c++17", "-fno-exceptions", "-fsyntax-only"][..], &["-std=c++20", "-fsyntax-only"]]
    {
        let mut compiler = Command::new("c++");
        compiler.args(options).args(["-Werror", "-Wall", "-Wextra", "-Wpedantic"]);
        compiler.arg("-include").arg(tilt::sdk().join("include/claviger.hpp"));
        tilt::build(compiler.args(["-x", "c++", "/dev/null"]));
    }
}

/// Valgrind's memcheck, which ends a program that it finds something in with an exit code of its own.
fn valgrind() -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--quiet",
        "--error-exitcode=97",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite",
    ]);
    valgrind
}

#[test]
fn no_byte_is_misused_under_valgrind() {
    let home = Home::licensed();
    let profile = profile(&home);
    let program = home.path().join("wrapper");
    compile("c++", &["-std=c++17", "-pthread"], &wrapper(), "claviger-static", &program);
    let done =
        run(valgrind().arg(&program).arg(&profile).args([tilt::PRODUCT, "com.example.other"]), &home).ok();
    assert!(!done.text().contains("ERROR SUMMARY"), "{done}");
}

/// Threads that open, ask, activate, watch and close the same products at once, while the certificate changes under them.
#[test]
fn a_crowd_of_threads_agrees() {
    let home = Home::licensed();
    let profile = profile(&home);
    let program = home.path().join("crowd");
    let source = tilt::source().join("tests/native/crowd.cpp");
    compile("c++", &["-std=c++17", "-pthread"], &source, "claviger-static", &program);
    let crowd = |mut command: Command, rounds: &str| {
        command.arg(&profile).args([tilt::PRODUCT, "com.example.other"]).arg(home.certificate()).arg(rounds);
        run(&mut command, &home).ok()
    };
    let _said = crowd(Command::new(&program), "300");
    let mut checked = valgrind();
    checked.arg("--fair-sched=yes").arg(&program);
    let _said = crowd(checked, "16");
    // What the audio thread may call takes no lock, not even for a moment: all locks are wanted by the others all the time.
    let mut guarded = Command::new(&program);
    guarded.env("LD_PRELOAD", tilt::guard());
    let done = crowd(guarded, "300");
    assert!(done.stdout.contains(" 0 guarded"), "{done}");
    let mut guilty = Command::new(&program);
    guilty.env("LD_PRELOAD", tilt::guard()).env("CT_LOCKS", "1");
    let done = crowd(guilty, "50");
    assert!(!done.stdout.contains(" 0 guarded") && !done.stdout.contains("-1 guarded"), "{done}");
}

/// Rust ends a process that has no memory left; the library has a reserve to answer from.
#[test]
fn a_host_without_memory_is_not_ended() {
    let home = Home::licensed();
    let profile = profile(&home);
    let program = home.path().join("short");
    let source = tilt::source().join("tests/native/short.c");
    compile("cc", &["-std=gnu11", "-fno-builtin"], &source, "claviger-static", &program);
    let done = run(Command::new(&program).arg(&profile).arg(tilt::PRODUCT), &home).ok();
    assert_eq!(done.json(), serde_json::json!({ "well": 400, "licensed": 400, "ended": 0 }));
}

#[test]
fn examples_compile_and_answer() {
    let home = Home::licensed();
    let profile = profile(&home);
    let examples = tilt::source().join("client-lib/capi/examples");
    for (compiler, standard, source) in [("cc", "-std=c99", "check.c"), ("c++", "-std=c++17", "check.cpp")] {
        for package in ["claviger", "claviger-static"] {
            let program = home.path().join(format!("{source}-{package}"));
            compile(compiler, &[standard], &examples.join(source), package, &program);
            let done = run(Command::new(&program).arg(&profile).arg(tilt::PRODUCT), &home).ok();
            assert!(done.stdout.contains("serial EX-4XQ7K-2M9TB-0RHWE"), "{done}");
            let done = run(Command::new(&program).arg(&profile).arg("com.example.other"), &home);
            assert_eq!(done.code, Some(1), "{done}");
        }
    }
}

/// The whole folder is moved first: nothing in it names its place.
#[test]
fn cmake_finds_it_wherever_it_is() {
    let home = Home::licensed();
    let profile = profile(&home);
    let moved = home.path().join("elsewhere/sdk");
    std::fs::create_dir_all(moved.parent().unwrap()).unwrap();
    tilt::build(Command::new("cp").arg("-a").arg(tilt::sdk()).arg(&moved));
    let project = home.path().join("project");
    std::fs::create_dir_all(&project).unwrap();
    let check = tilt::source().join("client-lib/capi/examples/check.cpp");
    let lists = format!(
        "cmake_minimum_required(VERSION 3.16)\nproject(user LANGUAGES CXX)\nset(CMAKE_CXX_STANDARD 17)\n\
         find_package(claviger 0.1 REQUIRED)\n\
         add_executable(plugin {0})\ntarget_link_libraries(plugin claviger::claviger-static)\n\
         add_executable(tool {0})\ntarget_link_libraries(tool claviger::claviger)\n",
        check.display()
    );
    std::fs::write(project.join("CMakeLists.txt"), lists).unwrap();
    let build = home.path().join("build");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", moved.display());
    tilt::build(Command::new("cmake").arg("-S").arg(&project).arg("-B").arg(&build).arg(prefix));
    tilt::build(Command::new("cmake").arg("--build").arg(&build));
    for program in ["plugin", "tool"] {
        let mut command = Command::new(build.join(program));
        command.arg(&profile).arg(tilt::PRODUCT).env("CLAVIGER_HOME", home.path());
        let done = process::run(&mut command, "").ok();
        assert!(done.stdout.contains("serial EX-"), "{done}");
    }
    let linked = Command::new("ldd").arg(build.join("tool")).output().unwrap();
    assert!(String::from_utf8_lossy(&linked.stdout).contains("libclaviger.so.0"));
    // A newer one than there is is not found.
    std::fs::write(
        project.join("CMakeLists.txt"),
        "cmake_minimum_required(VERSION 3.16)\nproject(user LANGUAGES CXX)\nfind_package(claviger 99 REQUIRED)\n",
    )
    .unwrap();
    let mut again = Command::new("cmake");
    again.arg("-S").arg(&project).arg("-B").arg(home.path().join("b2"));
    again.arg(format!("-DCMAKE_PREFIX_PATH={}", moved.display()));
    assert_ne!(process::run(&mut again, "").code, Some(0));
}

/// A plug-in with the archive in it exports its entry point alone, and needs nothing but the C and C++ libraries.
#[test]
fn plugins_export_nothing_of_ours() {
    let exported = |file: &Path| -> Vec<String> {
        let out = Command::new("nm").args(["-D", "--defined-only"]).arg(file).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines().filter_map(|line| Some(line.split_whitespace().last()?.to_owned())).collect()
    };
    assert_eq!(exported(&tilt::lv2().join("tilt.lv2/tilt.so")), ["lv2_descriptor"]);
    assert_eq!(exported(&tilt::clap()), ["clap_entry"]);
    let linked = Command::new("ldd").arg(tilt::lv2().join("tilt.lv2/tilt.so")).output().unwrap();
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    assert!(!linked.contains("claviger"), "{linked}");
}

/// JUCE itself is in no package here: the module is compiled against the few declarations that it uses, and run.
#[test]
fn the_juce_module_is_cpp_and_answers() {
    let (home, program) = (Home::licensed(), tilt::source());
    let profile = profile(&home);
    let (native, built) = (program.join("tests/native"), home.path().join("juce_user"));
    let include = format!("-I{}", native.join("juce").display());
    let mut compiler = Command::new("c++");
    compiler.args([
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-fvisibility=hidden",
        "-pthread",
    ]);
    compiler.arg(include).arg("-o").arg(&built).arg(native.join("juce_user.cpp"));
    compiler.arg(program.join("client-lib/juce/claviger_unlocking/claviger_unlocking.cpp"));
    tilt::build(compiler.args(pkg_config("claviger-static")));
    let done = run(Command::new(&built).arg(&profile).arg(tilt::PRODUCT), &home).ok();
    assert_eq!(done.stdout.trim(), "1 -1 EX-4XQ7K-2M9TB-0RHWE daemon_not_running");
    let done = run(Command::new(&built).arg(&profile).arg("com.example.other"), &home).ok();
    assert_eq!(done.stdout.trim(), "0 -1  daemon_not_running");
}
