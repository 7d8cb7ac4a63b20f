//! The `claviger` command: what people and scripts type. It knows no vendor's server and no private file: it asks the
//! daemon over its socket, and the certificates on disk where an answer must not depend on the daemon.
//!
//! | module | what it does |
//! |---|---|
//! | `args` | the command line; one file a subcommand under `commands` |
//! | `exit`, `failure` | exit codes, and errors with what to do next |
//! | `output`, `text`, `progress`, `question`, `secret` | the terminal: words, colours, waiting, questions, secrets |
//! | `connect` | finding the daemon; how it is started is the client library's matter (`manager::launch`) |
//! | `platform` | everything about a terminal that differs between operating systems |
//! | `vendors` | what a person means by a vendor |

mod args;
mod commands;
mod connect;
mod describe;
mod exit;
mod failure;
mod output;
mod platform;
mod progress;
mod question;
mod secret;
mod text;
mod vendors;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Runs one command and gives the exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    platform::prepare_console();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let json = arguments.iter().skip(1).take_while(|a| *a != "--").any(|a| a == "--json");
    let exit = match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            let mut out = Output::new(cli.global.json);
            let done = commands::run(cli.command, &mut out).and_then(|exit| out.finish().map(|()| exit));
            done.unwrap_or_else(|failure| out.failure(&failure))
        }
        Err(error) => refuse(&error, json),
    };
    ExitCode::from(exit.number())
}

/// A command line that is not understood, or that asked for help.
fn refuse(error: &clap::Error, json: bool) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader who closed the pipe has seen enough.
            let _ = error.print();
            Exit::Done
        }
        _ if json => Output::new(true).failure(&usage(error)),
        _ => {
            let _ = error.print();
            Exit::Usage
        }
    }
}

fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let message = text::one_line(first.trim_start_matches("error: "), 400);
    Failure::new(Exit::Usage, "usage", message).advice("Add --help to see how the command is used.")
}
