//! `claviger deactivate`: gives an activation up, so that its seat is free for another computer.

use clap::Args;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::progress::Progress;
use crate::{connect, describe};

const EXAMPLES: &str = "\
Examples:
  claviger deactivate Solstice
  claviger deactivate com.example.synth
  claviger deactivate SOL-4XQ7K-2M9TB-0RHJ5

It works without a network too: this computer stops using the license at once, and the daemon tells the
vendor's server when the network is back. Only then is the seat free for others.";

/// `claviger deactivate`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Its name, id, the ending of its id, or the serial number
    #[arg(value_name = "PRODUCT|SERIAL")]
    target: String,
}

/// Carries `claviger deactivate` out.
pub(crate) fn run(arguments: Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let progress = Progress::start("Giving the activation up", out.is_json());
    let reply = daemon.deactivate(arguments.target);
    drop(progress);
    let reply = reply.map_err(|error| {
        let mut failure = Failure::from(error);
        if failure.exit == Exit::NotFound {
            failure.advice = Some("See what is activated here with\n    claviger license list".to_owned());
        }
        failure
    })?;
    out.json(&json!({ "license": reply.license, "delivered": reply.delivered }));
    let name = out.look(Look::Strong, &describe::product(&reply.license));
    out.line(format!("{name} is given up on this computer."));
    if reply.delivered {
        out.line("The vendor's server knows: the seat is free for another computer.");
    } else {
        out.sentence(
            "The vendor's server has not heard of it yet. The daemon tells it as soon as it can be reached; \
             the seat is free then.",
        );
    }
    Ok(Exit::Done)
}
