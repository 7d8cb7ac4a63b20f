//! One file a subcommand: what it takes, what it does, what it says.

mod activate;
mod check;
mod completions;
mod consent;
mod daemon;
mod deactivate;
mod doctor;
mod license;
mod machine;
mod man;
mod offline;
mod privacy;
mod seats;
mod vendor;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make vendors known to this computer, or forget them
    #[command(subcommand)]
    Vendor(vendor::Command),
    /// Use a license on this computer
    Activate(activate::Arguments),
    /// Give a license up, to use it on another computer
    Deactivate(deactivate::Arguments),
    /// See the licenses of this computer, or ask the vendors what became of them
    #[command(subcommand)]
    License(license::Command),
    /// Say whether a product is licensed here, from the files alone
    ///
    /// Reads and verifies the files of this computer as a plug-in does, and asks nobody: it works with the
    /// daemon stopped or uninstalled. The vendor's keys are taken from the profile on this computer; give
    /// --profile to trust another copy of it, as a plug-in trusts the one that is built into it.
    Check(check::Arguments),
    /// See and change what vendors learn about this computer
    #[command(subcommand)]
    Machine(machine::Command),
    /// Decide whether a vendor may count how its titles are used: nothing is, unless you agree
    #[command(subcommand)]
    Consent(consent::Command),
    /// See every byte that was sent from here and that will be
    #[command(subcommand)]
    Privacy(privacy::Command),
    /// Activate computers without a network: files, QR codes, typed codes, labs
    #[command(subcommand)]
    Offline(offline::Command),
    /// Run, install and watch the daemon, which does the activating
    #[command(subcommand)]
    Daemon(daemon::Command),
    /// Find out what is wrong, and how to mend it
    Doctor(doctor::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print the manual, or write its pages into a folder
    Man(man::Arguments),
}

/// Carries a command out.
///
/// # Errors
/// [`Failure`] says what kept it.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Vendor(command) => vendor::run(command, out),
        Command::Activate(arguments) => activate::run(&arguments, out),
        Command::Deactivate(arguments) => deactivate::run(arguments, out),
        Command::License(command) => license::run(command, out),
        Command::Check(arguments) => check::run(&arguments, out),
        Command::Machine(command) => machine::run(command, out),
        Command::Consent(command) => consent::run(command, out),
        Command::Privacy(command) => privacy::run(command, out),
        Command::Offline(command) => offline::run(command, out),
        Command::Daemon(command) => daemon::run(command, out),
        Command::Doctor(arguments) => doctor::run(arguments, out),
        Command::Completions(arguments) => completions::run(&arguments, out),
        Command::Man(arguments) => man::run(arguments, out),
    }
}
