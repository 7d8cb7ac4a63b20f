//! `claviger-server activation`: who uses which license, and freeing a seat.

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::ids::{ActivationId, MachineId};

use super::common::{DataArg, Shop, block_on};
use super::{Failure, FailureKind, Output};
use crate::storage::admin::ActivationFilter;
use crate::views::ActivationView;

/// List activations and release seats.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List activations.
    List {
        /// Of this license.
        serial: Option<String>,
        /// On this machine.
        #[arg(long, value_name = "ID")]
        machine: Option<MachineId>,
        /// Ended ones too.
        #[arg(long)]
        all: bool,
        /// At most this many.
        #[arg(long, default_value_t = 10_000)]
        limit: u32,
    },
    /// Release a seat: the machine learns it at its next contact.
    Release {
        /// The activation's id, or a license's serial number.
        target: String,
        /// With a serial number: the name or id of the machine; without it, all machines.
        #[arg(long, value_name = "NAME|ID")]
        machine: Option<String>,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    block_on(async {
        let shop = Shop::open(&args.data).await?;
        match args.command {
            Command::List { serial, machine, all, limit } => {
                let serial = serial.as_deref().map(|s| shop.serial(s)).transpose()?;
                let filter = ActivationFilter { serial, machine, ended_too: all, limit };
                for listed in shop.store.activations(filter).await? {
                    tell(&listed.into(), output);
                }
                Ok(())
            }
            Command::Release { target, machine } => release(&shop, &target, machine.as_deref(), output).await,
        }
    })
}

async fn release(shop: &Shop, target: &str, machine: Option<&str>, output: Output) -> Result<(), Failure> {
    let ids: Vec<ActivationId> = if let (Ok(id), None) = (target.parse(), machine) {
        vec![id]
    } else {
        let serial = shop.serial(target)?;
        let filter = ActivationFilter { serial: Some(serial), limit: 100_000, ..ActivationFilter::default() };
        let all = shop.store.activations(filter).await?.into_iter().map(|l| l.activation);
        let named = |name: &str, a: &crate::engine::model::Activation| {
            a.machine_id().to_string() == name.to_lowercase()
                || a.machine.device_name.as_str().to_lowercase() == name.to_lowercase()
        };
        all.filter(|a| machine.is_none_or(|name| named(name, a))).map(|a| a.id).collect()
    };
    let released = shop.store.release(ids, SystemClock.now()).await?;
    if released == 0 {
        return Err(Failure::new(FailureKind::NotFound, format!("nothing of {target} holds a seat"))
            .hint("`claviger-server activation list` shows who does"));
    }
    output.say(format!("Released {released} seats; their machines learn it at their next contact."));
    output.result(&serde_json::json!({ "released": released }));
    Ok(())
}

fn tell(view: &ActivationView, output: Output) {
    let ended = view.ended.map_or(String::new(), |at| {
        let reason = view.end_reason.map_or("", crate::engine::model::end_word);
        format!("  {reason} {}", at.date())
    });
    output.say(format!(
        "{}  {}  {}  “{}”  {}  since {}{ended}",
        view.id,
        view.serial,
        view.product,
        view.device_name,
        view.machine_id,
        view.since.date()
    ));
    output.result(view);
}
