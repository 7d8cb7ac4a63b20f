//! `claviger-server retention`: how long the security log keeps addresses and entries.

use claviger_protocol::clock::{Clock as _, SystemClock};

use super::common::DataArg;
use super::{Failure, FailureKind, Output};
use crate::keys::PublicFiles;
use crate::security_log::SecurityLogError;
use crate::security_log::retention::{Retention, sweep};

/// Show, change and apply how long IP addresses stay in the security log.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the rules in force.
    Show,
    /// Change the rules; a running server follows within the hour.
    Set {
        /// Days for which addresses stay whole, 1 to 7.
        #[arg(long, value_name = "DAYS")]
        full_days: Option<u32>,
        /// Days for which entries stay at all, 1 to 3650.
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u32>,
    },
    /// Apply the rules now. A running server does so by itself at its start and every hour.
    Run,
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    PublicFiles::load(&data)?;
    let rules = Retention::load(&data)?;
    match args.command {
        Command::Show => show(&rules, output),
        Command::Set { full_days, keep_days } => {
            let rules = Retention {
                full_days: full_days.unwrap_or(rules.full_days),
                keep_days: keep_days.unwrap_or(rules.keep_days),
            };
            if !rules.possible() {
                return Err(Failure::new(
                    FailureKind::Usage,
                    "--full-days must be 1 to 7 (customers were promised no more), --keep-days 1 to 3650",
                ));
            }
            rules.save(&data)?;
            show(&rules, output);
        }
        Command::Run => {
            let folder = data.security_log();
            crate::keys::durable::private_dir(&folder)
                .map_err(|e| Failure::new(FailureKind::Environment, format!("{}: {e}", folder.display())))?;
            let swept = sweep(&folder, SystemClock.now(), &rules)?;
            if swept.busy {
                output.say("Another process is at it already; nothing was done.");
            } else {
                output.say(format_args!(
                    "{} addresses lost their last bits, {} unreadable lines and {} files were removed.",
                    swept.lines_cut, swept.lines_dropped, swept.files_removed
                ));
            }
            output.result(&swept);
        }
    }
    Ok(())
}

fn show(rules: &Retention, output: Output) {
    output.say(format_args!(
        "Addresses stay whole for {} days, then lose their last 8 bits (IPv6: all but 48).",
        rules.full_days
    ));
    output.say(format_args!("Entries are removed after {} days.", rules.keep_days));
    output.result(rules);
}

impl From<SecurityLogError> for Failure {
    fn from(error: SecurityLogError) -> Self {
        Self::from_error(FailureKind::Environment, &error)
    }
}
