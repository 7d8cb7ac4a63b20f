//! `claviger-server`: arguments, logging, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    claviger_server::cli::main()
}
