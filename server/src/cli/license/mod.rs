//! `claviger-server license`: issue licenses and change them.

mod issue;

use super::common::{DataArg, Shop, block_on};
use super::{Failure, Output};

/// Issue, list and change licenses.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Issue(Box<issue::Args>),
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    block_on(async {
        let shop = Shop::open(&args.data).await?;
        match args.command {
            Command::Issue(args) => issue::run(&shop, &args, output).await,
        }
    })
}
