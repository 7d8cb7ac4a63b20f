//! The static archive in C++ programs, all of it built with a sanitizer: `cargo xtask test --slow` builds the archive and says
//! where it is. A finding ends the program with an exit code of its own.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use claviger_tests::process;
use claviger_tests::tilt::{self, Home};

/// The compiler whose runtime the archive goes with (xtask/src/sanitize.rs).
const COMPILER: &str = "clang++-22";
/// Everything takes ten times as long.
const PATIENCE: Duration = Duration::from_secs(500);

fn told(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run cargo xtask test --slow sanitizers"))
}

/// Builds `tests/native/NAME.cpp` on the archive.
fn built(name: &str, home: &Home) -> PathBuf {
    let (source, into) = (tilt::source(), home.path().join(name));
    let mut compiler = Command::new(COMPILER);
    compiler
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-pthread", "-DCLV_STATIC"])
        .arg(format!("-fsanitize={}", told("CLAVIGER_TEST_SANITIZER")))
        .arg(format!("-I{}", source.join("client-lib/capi/include").display()))
        .arg("-o")
        .arg(&into)
        .arg(source.join("tests/native").join(format!("{name}.cpp")))
        .arg(Path::new(&told("CLAVIGER_TEST_ARCHIVE")).join("libclaviger.a"))
        .args(["-ldl", "-lm"]);
    tilt::build(&mut compiler);
    into
}

fn profile(home: &Home) -> PathBuf {
    let file = home.path().join("profile");
    std::fs::write(&file, tilt::profile()).unwrap();
    file
}

#[test]
fn finds_nothing_in_the_cpp_wrapper() {
    let home = Home::licensed();
    let mut program = Command::new(built("wrapper", &home));
    program.arg(profile(&home)).args([tilt::PRODUCT, "com.example.other"]).env("CLAVIGER_HOME", home.path());
    let _said = process::run_within(&mut program, "", PATIENCE).ok();
}

#[test]
fn finds_nothing_in_a_crowd_of_threads() {
    let home = Home::licensed();
    let mut program = Command::new(built("crowd", &home));
    program.arg(profile(&home)).args([tilt::PRODUCT, "com.example.other"]).arg(home.certificate()).arg("200");
    let _said = process::run_within(program.env("CLAVIGER_HOME", home.path()), "", PATIENCE).ok();
}

/// A sanitizer that sees nothing is seen: this program does what it must not.
#[test]
fn finds_what_is_there() {
    let home = Home::new();
    let program = built("guilty", &home);
    let done = process::run_within(&mut Command::new(program), "", PATIENCE);
    assert_eq!(done.code, Some(66), "{done}");
    assert!(done.stderr.contains("Sanitizer: "), "{done}");
}
