//! `claviger offline`: activating computers without a network, one or two hundred, by files, QR codes and codes that are
//! read over the telephone.

mod collect;
mod deactivate;
mod files;
mod import;
mod qr;
mod request;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
One computer:
  claviger offline request SOL-4XQ7K-2M9TB-0RHWE     write a request; take it to the vendor's page
  claviger offline import studio.clvres              install what comes back
  claviger offline deactivate Solstice               give it up; the receipt frees the seat

With a telephone:
  claviger offline request SOL-4XQ7K-2M9TB-0RHWE --qr    scan it; the vendor's page opens
  claviger offline import --code                         type the 32 groups that it shows

A room of computers:
  claviger offline collect *.clvreq -o lab.clvbatch  one file for all of them
  claviger offline import lab.clvbundle              on each computer: it takes its own part";

/// `claviger offline …`
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Write a request for the vendor; nothing is sent
    Request(request::Arguments),
    /// Install what the vendor answered: a file, scanned QR codes, or a typed code
    Import(import::Arguments),
    /// Give a license up, and write the receipt that frees its seat
    Deactivate(deactivate::Arguments),
    /// Put many computers' requests into one file
    Collect(collect::Arguments),
}

/// Carries `claviger offline …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Request(arguments) => request::run(&arguments, out),
        Command::Import(arguments) => import::run(&arguments, out),
        Command::Deactivate(arguments) => deactivate::run(arguments, out),
        Command::Collect(arguments) => collect::run(&arguments, out),
    }
}
