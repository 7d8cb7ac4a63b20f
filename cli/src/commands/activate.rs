//! `claviger activate`: a serial number and its unlock code become an activation of this computer.

use std::io::{IsTerminal, Write};

use clap::Args;
use claviger_client::manager::Manager;
use claviger_protocol::clock::{Clock, SystemClock};
use claviger_protocol::http::Seats;
use claviger_protocol::ipc::{ActivateCall, Vendor};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockCode;
use serde_json::json;
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::progress::Progress;
use crate::secret::{self, SecretError};
use crate::text::{self, clean, quoted, shell};
use crate::vendors::{self, Typed};
use crate::{connect, describe};

const EXAMPLES: &str = "\
Examples:
  claviger activate SOL-4XQ7K-2M9TB-0RHJ5
      asks for the unlock code without showing it
  pass show synth | claviger activate SOL-4XQ7K-2M9TB-0RHJ5 --unlock-code-stdin
      for scripts: the code comes from standard input, never from an argument
  claviger activate SOL-4XQ7K-2M9TB-0RHJ5 --replace-machine \"Old laptop\"
      takes the seat of a lost or dead computer; licenses allow a few of these a year

`claviger machine show` shows beforehand, exactly, what the vendor will learn about this computer.";

/// `claviger activate`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    license: License,
    /// Take over the seat of this computer, by its name or machine id
    #[arg(long, value_name = "NAME|ID")]
    replace_machine: Option<String>,
}

/// A license, and how its unlock code is proved.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct License {
    /// The serial number from your purchase; case, hyphens and spaces do not matter
    serial: String,
    /// The vendor, where the serial number's prefix does not tell: its id, name or prefix
    #[arg(long, value_name = "VENDOR")]
    vendor: Option<String>,
    /// Read the unlock code from the first line of standard input
    #[arg(long, conflicts_with = "no_unlock_code")]
    unlock_code_stdin: bool,
    /// For serial numbers of other shops that came without an unlock code
    #[arg(long)]
    no_unlock_code: bool,
}

impl Arguments {
    /// A license that is not activated here, but proved.
    pub(super) fn of(license: License) -> Self {
        Self { license, replace_machine: None }
    }
}

/// The daemon, and what it is asked with the unlock code; and the serial number where it is understood.
///
/// # Errors
/// What is mistyped or missing.
pub(super) fn call(
    arguments: &Arguments,
    out: &mut Output,
) -> Result<(Manager, ActivateCall, Option<Serial>), Failure> {
    if arguments.license.serial.len() > 1024 {
        return Err(Failure::new(Exit::Input, "bad_serial", "that is far too long for a serial number"));
    }
    if arguments.replace_machine.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return Err(Failure::new(Exit::Input, "bad_name", "--replace-machine needs the name or id of a computer")
            .advice("Nothing was sent. Without --replace-machine, the answer names the computers that hold the seats."));
    }
    let known = vendors::known();
    let vendor =
        arguments.license.vendor.as_deref().map(|typed| vendors::named(typed, &known)).transpose()?;
    let typed = vendors::read_serial(&arguments.license.serial, vendor.as_ref(), &known)
        .map_err(|error| Failure::input("bad_serial", &error).advice("Nothing was sent."))?;
    let serial = match typed {
        Typed::Good(serial) => Some(serial),
        Typed::Untold => None,
    };
    let mut asked = None;
    if serial.is_none() && vendor.is_none() {
        // Before anyone types a code: whose serial number is it?
        let daemon = asked.insert(connect::daemon(out)?);
        nobodys(&arguments.license.serial, &daemon.vendors()?)
            .map_err(|failure| explain(failure, arguments, None))?;
    }
    let code = unlock_code(arguments, serial.as_ref())?;
    let daemon = match asked {
        Some(daemon) => daemon,
        None => connect::daemon(out)?,
    };
    let call = ActivateCall {
        serial: arguments.license.serial.clone(),
        unlock_code: code.as_ref().map(|code| code.as_str().to_owned()),
        vendor,
        replace_machine: arguments.replace_machine.clone(),
    };
    Ok((daemon, call, serial))
}

/// Carries `claviger activate` out.
pub(crate) fn run(arguments: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let (mut daemon, call, serial) = call(arguments, out)?;
    let progress = Progress::start("Activating", out.is_json());
    let _without = ctrlc::set_handler(broken_off);
    let answer = daemon.activate(call, &mut |now| progress.say(now));
    drop(progress);
    let license = answer.map_err(|error| explain(error.into(), arguments, serial.as_ref()))?;
    out.json(&json!({ "license": license }));
    let name = out.look(Look::Good, &describe::product(&license));
    out.line(format!("{name} is activated on this computer."));
    out.fields(&describe::fields(&license, SystemClock.now()));
    Ok(Exit::Done)
}

/// Why nobody known here is asked about a serial number, unless one of `vendors` has its prefix after all.
fn nobodys(serial: &str, vendors: &[Vendor]) -> Result<(), Failure> {
    if vendors.iter().any(|vendor| Serial::looks_native(serial, &vendor.prefix)) {
        return Ok(());
    }
    let (message, choices) = match Serial::native_prefix(serial) {
        Some(prefix) => {
            (format!("no vendor known here has serial numbers that begin with {prefix}"), Vec::new())
        }
        None if vendors.is_empty() => ("no vendor is known on this computer yet".to_owned(), Vec::new()),
        None => (
            "this serial number does not say which vendor it belongs to".to_owned(),
            vendors.iter().map(|vendor| vendor.id.to_string()).collect(),
        ),
    };
    let mut failure = Failure::new(Exit::Ambiguous, "vendor_needed", message);
    failure.more.insert("choices".into(), json!(choices));
    Err(failure)
}

/// Ctrl-C while the daemon talks to the vendor: what was sent cannot be called back, so say what becomes of it.
fn broken_off() {
    let _ = writeln!(
        std::io::stderr(),
        "\nThe request may have been sent, and the daemon goes on with it: see what became of it with\n    \
         claviger license list"
    );
    std::process::exit(i32::from(Exit::Cancelled.number()));
}

/// The code as it was typed, after a look for mistakes where the serial number is understood.
fn unlock_code(arguments: &Arguments, serial: Option<&Serial>) -> Result<Option<Zeroizing<String>>, Failure> {
    if arguments.license.no_unlock_code {
        return Ok(None);
    }
    // Serial numbers of Claviger's own form always have a code; a shop's may lack one.
    let may_lack = serial.is_some_and(|s| !s.as_str().contains('-'));
    let code = if arguments.license.unlock_code_stdin {
        secret::from_stdin()
    } else if std::io::stdin().is_terminal() {
        secret::ask(if may_lack { "Unlock code (Enter if there is none): " } else { "Unlock code: " })
    } else {
        Err(SecretError::NoTerminal)
    };
    let code = code.map_err(|error| no_code(&error))?;
    if code.is_empty() && may_lack && !arguments.license.unlock_code_stdin {
        return Ok(None);
    }
    if code.is_empty() {
        return Err(Failure::new(Exit::Input, "bad_unlock_code", "the unlock code is empty").advice(
            "It came with the serial number. A serial number without one is activated with --no-unlock-code.",
        ));
    }
    if let Some(serial) = serial {
        UnlockCode::parse(&code, serial)
            .map_err(|error| Failure::input("bad_unlock_code", &error).advice("Nothing was sent."))?;
    }
    Ok(Some(code))
}

fn no_code(error: &SecretError) -> Failure {
    match error {
        SecretError::NoTerminal => Failure::new(
            Exit::Usage,
            "no_unlock_code",
            "the unlock code cannot be asked for: standard input is not a terminal",
        )
        .advice(
            "Give the code on standard input with --unlock-code-stdin, or say --no-unlock-code when the serial \
             number came without one.",
        ),
        SecretError::Cancelled => {
            Failure::new(Exit::Cancelled, "cancelled", "cancelled; nothing was sent")
        }
        SecretError::TooLong => {
            Failure::new(Exit::Input, "bad_unlock_code", "that is far too long for an unlock code")
        }
        SecretError::NotText => Failure::new(Exit::Input, "bad_unlock_code", "the unlock code is not text"),
        SecretError::Io(error) => {
            Failure::new(Exit::Input, "bad_unlock_code", "the unlock code cannot be read").because(error)
        }
    }
}

/// Adds to a refusal what only this side knows: the commands that lead on.
pub(super) fn explain(mut failure: Failure, arguments: &Arguments, serial: Option<&Serial>) -> Failure {
    let serial = serial.map_or_else(|| clean(arguments.license.serial.trim()), ToString::to_string);
    let again = format!("claviger activate {}", shell(&serial));
    let vendor = arguments
        .license
        .vendor
        .as_ref()
        .map(|v| format!(" --vendor {}", shell(&clean(v))))
        .unwrap_or_default();
    match failure.code.as_str() {
        "vendor_needed" => {
            let choices: Vec<String> = failure
                .more
                .get("choices")
                .and_then(|c| serde_json::from_value(c.clone()).ok())
                .unwrap_or_default();
            let lines: Vec<String> =
                choices.iter().map(|id| format!("    {again} --vendor {}", shell(&clean(id)))).collect();
            failure.advice = Some(if lines.is_empty() {
                "Make its vendor known by the profile that came with the installer, then try again:\n    \
                 claviger vendor add FILE.clvprofile"
                    .to_owned()
            } else {
                format!("Say which vendor sold it:\n{}", lines.join("\n"))
            });
        }
        "seats_taken" | "replace_unknown" | "replace_ambiguous" => {
            if let Some(seats) = failure.seats() {
                if failure.code == "seats_taken" {
                    failure.message = taken(&seats);
                }
                failure.advice = Some(freeing(&seats, &serial, &format!("{again}{vendor}")));
            }
        }
        _ => {}
    }
    failure
}

fn taken(seats: &Seats) -> String {
    let holders: Vec<String> = seats
        .holders
        .iter()
        .map(|h| {
            let twins = seats.holders.iter().filter(|other| other.device_name == h.device_name).count() > 1;
            let id = if twins { format!("id {}, ", h.machine_id) } else { String::new() };
            format!(
                "{} ({id}since {}, last seen {})",
                quoted(h.device_name.as_str()),
                text::date(h.since),
                text::date(h.last_seen)
            )
        })
        .collect();
    let by = text::list(&holders);
    match seats.total {
        1 => format!("the only seat of this license is in use on {by}"),
        n => format!("all {n} seats of this license are in use: on {by}"),
    }
}

/// The commands that free a seat: given up over there, or taken over from here.
fn freeing(seats: &Seats, serial: &str, again: &str) -> String {
    let Some(oldest) = seats.holders.iter().min_by_key(|h| h.last_seen) else {
        // Nobody holds one: there is nothing to free and nothing to replace.
        return format!("Activate without replacing a computer:\n    {again}");
    };
    let name = oldest.device_name.as_str();
    let unique = seats.holders.iter().filter(|h| h.device_name == oldest.device_name).count() == 1;
    let who = if unique { clean(name) } else { oldest.machine_id.to_string() };
    let mut advice = format!(
        "To free a seat, run this on the computer that no longer needs it:\n    claviger deactivate {}\n\
         If that computer is lost or dead, take its seat over from here:\n    {again} --replace-machine {}",
        shell(serial),
        shell(&who)
    );
    if seats.holders.len() > 1 {
        advice.push_str("\nThe name can be that of any computer listed above.");
    }
    advice
}
