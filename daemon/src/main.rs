//! `clavigerd`: arguments, then [`claviger_daemon::service::run`].

use std::process::ExitCode;

use clap::Parser;
use claviger_daemon::logging::Format;
use claviger_daemon::service::{Options, run};
use claviger_protocol::ipc::Mode;

/// The Claviger daemon: activates licenses for every vendor on this machine.
///
/// Without --system it serves the user who runs it. `claviger daemon run` starts it; packages start it with systemd.
#[derive(Parser)]
#[command(name = "clavigerd", version, after_help = AFTER)]
struct Arguments {
    /// Serve all users of this machine, from its fixed places
    #[arg(long)]
    system: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Print the names that `CLAVIGER_FAULT` takes, and end
    #[cfg(feature = "fault-points")]
    #[arg(long, hide = true)]
    list_fault_points: bool,
}

const AFTER: &str = "\
Environment:
  CLAVIGER_HOME  keep everything below this folder (tests, portable installs; not with --system)
  CLAVIGER_LOG   what to log, such as `debug` or `claviger_daemon::egress=trace` (default: info)

Exit codes: 0 ended in an orderly way, 1 failed, 2 wrong arguments, 3 another daemon already runs,
4 its folders cannot be used, 5 its socket cannot be made.";

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "fault-points")]
    if arguments.list_fault_points {
        #[expect(clippy::print_stdout, reason = "this is what was asked for")]
        for point in claviger_daemon::fault::POINTS {
            println!("{point}");
        }
        return ExitCode::SUCCESS;
    }
    run(Options {
        mode: if arguments.system { Mode::System } else { Mode::User },
        format: match arguments.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
    })
}
