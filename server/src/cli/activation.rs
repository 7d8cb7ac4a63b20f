//! `claviger-server activation`: who uses which license, and freeing a seat.

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::ids::{ActivationId, MachineId};

use super::common::{DataArg, Shop, block_on};
use super::{Failure, FailureKind, Output, counted};
use crate::engine::model::Activation;
use crate::storage::admin::ActivationFilter;
use crate::views::ActivationView;

/// Machines that an answer names at most.
const TOLD: usize = 10;

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
        holders(shop, target, machine).await?
    };
    let released = shop.store.release(ids, SystemClock.now()).await?;
    if released == 0 {
        let message = format!("the activation {target} holds no seat: it has ended, or there never was one");
        return Err(Failure::new(FailureKind::NotFound, message)
            .hint("`claviger-server activation list` shows who holds seats, with --all also who held them"));
    }
    output.say(format!(
        "Released {}; {} at the next contact.",
        counted(released, "seat"),
        if released == 1 { "its machine learns it" } else { "their machines learn it" }
    ));
    output.result(&serde_json::json!({ "released": released }));
    Ok(())
}

/// The activations of a license that hold a seat, or those of one machine.
async fn holders(shop: &Shop, target: &str, machine: Option<&str>) -> Result<Vec<ActivationId>, Failure> {
    let not_found = |text: String| Failure::new(FailureKind::NotFound, text);
    let serial = shop.serial(target)?;
    if shop.store.license(serial.clone()).await?.is_none() {
        return Err(not_found(format!("there is no license {serial}")));
    }
    let filter =
        ActivationFilter { serial: Some(serial.clone()), limit: 100_000, ..ActivationFilter::default() };
    let all: Vec<Activation> =
        shop.store.activations(filter).await?.into_iter().map(|l| l.activation).collect();
    if all.is_empty() {
        return Err(not_found(format!("no machine holds a seat of {serial}")));
    }
    let Some(name) = machine else { return Ok(all.iter().map(|a| a.id).collect()) };
    let wanted = name.to_lowercase();
    let named: Vec<&Activation> = all
        .iter()
        .filter(|a| {
            a.machine_id().to_string() == wanted || a.machine.device_name.as_str().to_lowercase() == wanted
        })
        .collect();
    let list = |some: &[&Activation]| {
        let one = |a: &&Activation| format!("“{}” ({})", a.machine.device_name.as_str(), a.machine_id());
        let mut text: Vec<String> = some.iter().take(TOLD).map(one).collect();
        if some.len() > TOLD {
            text.push(format!("{} more", some.len() - TOLD));
        }
        text.join(", ")
    };
    if named.is_empty() {
        let some: Vec<&Activation> = all.iter().collect();
        return Err(not_found(format!("no machine named “{name}” holds a seat of {serial}"))
            .hint(format!("these do: {}", list(&some))));
    }
    if named.iter().any(|a| a.machine_id() != named[0].machine_id()) {
        let message = format!("several machines named “{name}” hold a seat of {serial}");
        return Err(Failure::new(FailureKind::Conflict, message)
            .hint(format!("give the id of the one that you mean: {}", list(&named))));
    }
    Ok(named.iter().map(|a| a.id).collect())
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
