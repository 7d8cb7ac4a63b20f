//! The client library under ThreadSanitizer and AddressSanitizer: its own tests, and C++ programs on its static archive.
//!
//! A sanitizer must see every access, those of the standard library too, so that is built anew as for other systems (cross.rs).
//! Debian's Rust comes without the sanitizers' runtimes; Clang's of the same LLVM are linked.

use std::path::PathBuf;
use std::process::Command;

use crate::cross::{self, Wanted};
use crate::outcome::{self, Outcome};
use crate::shell::{self, Result};

const LINUX: &str = "x86_64-unknown-linux-gnu";
/// Clang of the LLVM that Debian's Rust is built on.
const CLANG: &str = "/usr/bin/clang-22";
/// What turns addresses in its reports into lines.
const SYMBOLIZER: &str = "/usr/lib/llvm-22/bin/llvm-symbolizer";
/// Files that have to be there, and the Debian packages that have them.
const WANTED: &[Wanted] = &[
    (CLANG, "clang-22"),
    ("/usr/bin/clang++-22", "clang-22"),
    ("/usr/lib/llvm-22/lib/clang/22/lib/linux/libclang_rt.tsan-x86_64.a", "libclang-rt-22-dev"),
    (SYMBOLIZER, "llvm-22"),
];

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sanitizer {
    /// Data races.
    Thread,
    /// Memory that is not ours, or no longer.
    Address,
}

pub(crate) const ALL: [Sanitizer; 2] = [Sanitizer::Thread, Sanitizer::Address];

impl Sanitizer {
    /// Its name for the compilers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Address => "address",
        }
    }

    /// Sets what a program built with it goes by. The first finding ends it.
    pub(crate) fn environment(self, command: &mut Command) {
        let (name, more) = match self {
            Self::Thread => ("TSAN_OPTIONS", "second_deadlock_stack=1"),
            Self::Address => ("ASAN_OPTIONS", "detect_stack_use_after_return=1"),
        };
        command
            .env(name, format!("halt_on_error=1:exitcode=66:external_symbolizer_path={SYMBOLIZER}:{more}"));
    }
}

/// Makes sure that the tools are there. What is missing is installed when `install` says so, otherwise named.
pub(crate) fn ensure(install: bool) -> Result<()> {
    cross::ensure_beside_rust(WANTED, install)
}

/// Cargo with a sanitizer, up to the subcommand.
fn cargo(sanitizer: Sanitizer, subcommand: &str) -> Result<Command> {
    let mut command = cross::cargo(LINUX, subcommand)?;
    let name = sanitizer.name();
    command.env("CARGO_TARGET_DIR", folder(sanitizer)?);
    // Only the target's code is instrumented: build scripts and macros run in an ordinary compiler.
    command.env(
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        format!(
            "-Zsanitizer={name} -Cunsafe-allow-abi-mismatch=sanitizer -Zexternal-clangrt -Clinker={CLANG} \
             -Clink-arg=-fsanitize={name} -Cforce-frame-pointers=yes"
        ),
    );
    sanitizer.environment(&mut command);
    // What a process knows of its vendors lives as long as it, on purpose. The C++ programs look for leaks.
    command.env("LSAN_OPTIONS", "detect_leaks=0");
    Ok(command)
}

fn folder(sanitizer: Sanitizer) -> Result<PathBuf> {
    Ok(cross::target_dir()?.join(format!("sanitize-{}", sanitizer.name())))
}

/// The client library's own tests.
pub(crate) fn unit_tests(sanitizer: Sanitizer) -> Result<Outcome> {
    let mut tests = cargo(sanitizer, "test")?;
    tests.args(["-p", "claviger-client", "-p", "claviger-capi", "--lib"]);
    for file in ["daemon", "hosts", "hostile", "slow_disk", "statuses"] {
        tests.args(["--test", file]);
    }
    tests.arg("--no-fail-fast");
    outcome::cargo_test(&mut tests)
}

/// The folder with the static archive, instrumented.
pub(crate) fn archive(sanitizer: Sanitizer) -> Result<PathBuf> {
    let mut build = cargo(sanitizer, "rustc")?;
    build.args(["-p", "claviger-capi", "--lib", "--crate-type", "staticlib"]);
    shell::run(&mut build)?;
    Ok(folder(sanitizer)?.join(LINUX).join("debug"))
}
