//! `claviger-server license`: issue licenses and change them.

mod change;
mod import;
mod issue;
mod list;
mod terms;

use super::common::{DataArg, Shop, block_on};
use super::{Failure, Output};

/// Issue, import, list and change licenses.
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
    Import(Box<import::Args>),
    List(list::Args),
    /// Show a license, its machines and its history.
    Show {
        /// The serial number.
        serial: String,
    },
    /// Suspend a license: its machines learn it at their next contact; seats stay taken.
    Suspend {
        /// The serial number.
        serial: String,
    },
    /// Resume a suspended license.
    Resume {
        /// The serial number.
        serial: String,
    },
    /// Revoke a license for ever. On a terminal it asks first.
    Revoke {
        /// The serial number.
        serial: String,
        /// Revoke without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Give a license to a new owner: makes a new unlock code and ends all activations. On a terminal it asks first.
    Transfer {
        /// The serial number.
        serial: String,
        /// Transfer without asking.
        #[arg(long)]
        yes: bool,
    },
    Renew(change::RenewArgs),
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    use crate::engine::model::LicenseState::{Active, Suspended};
    block_on(async {
        let shop = Shop::open(&args.data).await?;
        match args.command {
            Command::Issue(args) => issue::run(&shop, &args, output).await,
            Command::Import(args) => import::run(&shop, &args, output).await,
            Command::List(args) => list::run(&shop, args, output).await,
            Command::Show { serial } => list::show(&shop, &serial, output).await,
            Command::Suspend { serial } => change::state(&shop, &serial, Suspended, output).await,
            Command::Resume { serial } => change::state(&shop, &serial, Active, output).await,
            Command::Revoke { serial, yes } => change::revoke(&shop, &serial, yes, output).await,
            Command::Transfer { serial, yes } => change::transfer(&shop, &serial, yes, output).await,
            Command::Renew(args) => change::renew(&shop, &args, output).await,
        }
    })
}
