//! `claviger completions`: a script that completes commands and options in a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  claviger completions bash > ~/.local/share/bash-completion/completions/claviger
  claviger completions zsh > ~/.zfunc/_claviger
  claviger completions fish > ~/.config/fish/completions/claviger.fish";

/// `claviger completions`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Carries `claviger completions` out.
pub(crate) fn run(arguments: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "claviger", &mut script);
    out.raw(&script);
    Ok(Exit::Done)
}
