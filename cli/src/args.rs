//! The command line. Each subcommand describes itself in its own file.

use clap::{Args, Parser};

use crate::commands::Command;
use crate::exit;

const ABOUT: &str = "Activates audio software on this computer and shows what is licensed here";

const LONG_ABOUT: &str = "\
Activates audio software on this computer and shows what is licensed here.

A serial number and its unlock code, which you got when you bought a product, become an
activation of this computer. From then on the product runs without asking anyone, online or
not, until you give the activation up to use it elsewhere.";

const EXAMPLES: &str = "\
First steps:
  claviger vendor add com.example.clvprofile     make a vendor known (installers do this)
  claviger machine show                          see what an activation tells a vendor
  claviger activate SOL-4XQ7K-2M9TB-0RHJ5        activate; asks for the unlock code
  claviger license list                          see what is licensed here
  claviger check Solstice                        is it licensed? works without the daemon
  claviger deactivate Solstice                   give it up, to use it on another computer
  claviger offline request SOL-4XQ7K-2M9TB-0RHWE no network here? files and a telephone do
  claviger doctor                                find out what is wrong

With --json, every command prints one JSON document to standard output and nothing else; one that
fails prints {\"error\":{\"code\",\"message\",\"advice\"}} there and ends with a code from this table.

";

const ENVIRONMENT: &str = "

Environment:
  CLAVIGER_HOME=DIR  keep all state and the socket under DIR (tests, portable installs)
  NO_COLOR=1         no colours";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "claviger",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = "Run `claviger --help` for examples and exit codes, `claviger COMMAND --help` for one command.",
    after_long_help = format!("{EXAMPLES}{}{ENVIRONMENT}", exit::TABLE),
    arg_required_else_help = true,
    subcommand_required = true,
    infer_long_args = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// For all commands.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document for programs instead of sentences for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
}
