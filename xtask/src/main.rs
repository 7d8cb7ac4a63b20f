//! Developer commands, typed as `cargo xtask …`. This file reads the arguments; each command has a file of its own.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod bench;
mod check;
mod cross;
mod demo;
mod dist;
mod elsewhere;
mod outcome;
mod sanitize;
mod shell;
mod test;
mod tools;
mod universal;
mod watchdog;
mod wine;

use std::process::ExitCode;

use shell::Failure;

const USAGE: &str = "\
cargo xtask <command>

  demo [--keep]      build, then run the main job once over real processes: issue, activate, check, deactivate
                     --keep leaves server and daemon running and prints the next commands to type
  test [--core] [--slow] [--install] [FILTER]
                     run every test; the last line says how many passed and failed
                     --core      only what needs nothing but Rust and a C compiler
                     --slow      the long suites too (1,000 kill cycles, sanitizers, Windows programs and more)
                     --install   install what is missing (Debian; done without asking when run as root)
                     FILTER      only tests (or files in tests/tests) whose name contains this
                     Windows programs are built with Debian's Rust and run under Wine by the same tests
  check [--install] [--this-system] [--prove]
                     formatting, clippy, licences and bans, documentation, generated files; then the code for
                     Windows and for Macs is type-checked and linted (not with --this-system)
                     --prove     then plants a mistake in every module of Windows' and of Macs', in a copy, and fails
                                 if one is not found
  bench [--json] [FILTER]
                     build for release and print every figure beside its floor and its goal
  sdk [--dev] DIR    what a plug-in is built with: C library, C and C++ headers, CMake and pkg-config files, into DIR
                     --dev       unoptimised, for tests
  dist [--target x86_64-pc-windows-gnu] [--install]
                     release programs, C library, header, man pages and completions into dist/
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next();
    let rest: Vec<String> = args.collect();
    if rest.iter().any(|a| a == "--help" || a == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let done = match command.as_deref() {
        Some("demo") => demo::run(&rest),
        Some("test") => test::run(&rest),
        Some("check") => check::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("sdk") => dist::sdk(&rest),
        Some("dist") => dist::run(&rest),
        None | Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(Failure::new(format!("there is no command “{other}”\n\n{USAGE}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_quiet() {
                eprintln!("\nxtask: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}
