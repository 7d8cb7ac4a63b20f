//! The commands, one file each, and what they share: arguments, plain sentences or JSON, exit codes.
//!
//! A command's file has `Args` (clap), and `run(args, &Output) -> Result<(), Failure>`. It is added to `Command` when
//! it works, not before.

mod activation;
mod admin_key;
mod backup;
mod common;
mod completions;
mod init;
mod keys;
mod license;
mod man;
mod notice;
mod offline;
mod output;
mod passphrase;
mod product;
mod restore;
mod retention;
mod serve;
mod telemetry;
mod vendor_profile;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use output::counted;
pub use output::{Failure, FailureKind, Output};

/// The Claviger activation server.
#[derive(Debug, Parser)]
#[command(name = "claviger-server", version, about, max_term_width = 100)]
pub struct Cli {
    /// Print one JSON object (or one a line) instead of sentences.
    #[arg(long, global = true)]
    json: bool,
    // Clap hands it on to the command, which has the same argument.
    #[command(flatten)]
    data: common::DataArg,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(Box<init::Args>),
    Serve(serve::Args),
    Keys(keys::Args),
    AdminKey(admin_key::Args),
    VendorProfile(vendor_profile::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Retention(retention::Args),
    Product(product::Args),
    License(license::Args),
    Activation(activation::Args),
    Completions(completions::Args),
    Man(man::Args),
    Offline(offline::Args),
    Notice(notice::Args),
    Telemetry(telemetry::Args),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(feature = "fault-points")]
    if std::env::args().nth(1).as_deref() == Some("--list-fault-points") {
        crate::fault::POINTS.iter().for_each(|point| Output::new(false).say(point));
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let output = Output::new(cli.json);
    start_log();
    // One that serves has told its address long ago when it ends.
    let tells = !matches!(cli.command, Command::Serve(_));
    let done: Result<(), Failure> = match cli.command {
        Command::Init(args) => init::run(*args, output),
        Command::Serve(args) => serve::run(&args, output),
        Command::Keys(args) => keys::run(args, output),
        Command::AdminKey(args) => admin_key::run(&args, output),
        Command::VendorProfile(args) => vendor_profile::run(args, output),
        Command::Backup(args) => backup::run(&args, output),
        Command::Restore(args) => restore::run(&args, output),
        Command::Retention(args) => retention::run(&args, output),
        Command::Product(args) => product::run(args, output),
        Command::License(args) => license::run(args, output),
        Command::Activation(args) => activation::run(args, output),
        Command::Completions(args) => {
            completions::run(&args, output);
            Ok(())
        }
        Command::Man(args) => man::run(args, output),
        Command::Offline(args) => offline::run(&args, output),
        Command::Notice(args) => notice::run(&args, output),
        Command::Telemetry(args) => telemetry::run(args, output),
    };
    match done.and_then(|()| if tells { output.finish() } else { Ok(()) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}

/// A command line that is not understood, or that asked for help.
fn refuse(error: &clap::Error) -> ExitCode {
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = std::env::args().skip(1).take_while(|a| a != "--").any(|a| a == "--json");
    if json && !help {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let failure = Failure::new(FailureKind::Usage, message);
        return Output::new(true).failure(&failure.hint("add --help to see how the command is used"));
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { FailureKind::Usage.exit_code() } else { 0 })
}

/// Logs go to standard error; `CLAVIGER_LOG` says how much: `warn`, or `info,sqlx=debug`.
fn start_log() {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let wanted = std::env::var("CLAVIGER_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| {
        Targets::new().with_default(LevelFilter::INFO).with_target("sqlx", LevelFilter::WARN)
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // Somebody may have set a subscriber already (tests do); theirs stays.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}
