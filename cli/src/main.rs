//! Assembles the command: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    claviger_cli::run(std::env::args_os())
}
