//! `claviger-server completions`: a script that completes commands and options in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Output};

const EXAMPLES: &str = "\
Examples:
  claviger-server completions bash > /etc/bash_completion.d/claviger-server
  claviger-server completions zsh > ~/.zfunc/_claviger-server
  claviger-server completions fish > ~/.config/fish/completions/claviger-server.fish";

/// Print a script that completes commands and options in a shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "claviger-server", &mut script);
    output.raw(&script);
}
