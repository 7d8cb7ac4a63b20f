//! Other computers: who holds the seats of a license (`license show --seats`), which computers there are (`machine list`), and
//! freeing the seat of one that is lost (`machine free`).

use clap::Args;
use claviger_client::manager::{Computer, computers};
use claviger_protocol::documents::{SeatChange, SeatEvent};
use claviger_protocol::ipc::{FreeCall, LicenseSeats};
use serde_json::{Value, json};

use super::activate;
use crate::connect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::progress::Progress;
use crate::question;
use crate::text::{self, clean, quoted};

/// Events of a license that are shown; `--json` has all that the server told.
const SHOWN_EVENTS: usize = 10;

const EXAMPLES: &str = "\
Examples:
  claviger machine free \"Old laptop\" SOL-4XQ7K-2M9TB-0RHJ5
      asks for the unlock code: whoever frees another computer's seat proves that the license is theirs
  claviger machine free 6fdee964edfef37cd4bf707e0a60b1e5 SOL-4XQ7K-2M9TB-0RHJ5 --unlock-code-stdin --yes
      for scripts

A computer that is at hand gives its seat up itself with `claviger deactivate`, which costs nothing.";

/// `claviger machine free`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Free {
    /// The computer's name or machine id, as `claviger machine list` shows it
    #[arg(value_name = "NAME|ID")]
    machine: String,
    #[command(flatten)]
    license: activate::License,
    /// Do not ask whether to go on
    #[arg(long)]
    yes: bool,
}

/// Carries `claviger machine free` out.
pub(super) fn free(arguments: Free, out: &mut Output) -> Result<Exit, Failure> {
    let Free { machine, license, yes } = arguments;
    if machine.trim().is_empty() {
        return Err(Failure::new(Exit::Input, "bad_name", "a computer is named by its name or machine id")
            .advice("See those that there are with\n    claviger machine list"));
    }
    let license = activate::Arguments::of(license);
    let what = format!(
        "The computer {} will lose its seat of this license, which counts against the license's replacements of this year.",
        quoted(&machine)
    );
    if !yes && question::go_on(&what, out) == Some(false) {
        return Err(Failure::new(Exit::Cancelled, "cancelled", "cancelled; nothing was sent"));
    }
    let (mut daemon, call, serial) = activate::call(&license, out)?;
    let call = FreeCall { machine, serial: call.serial, unlock_code: call.unlock_code, vendor: call.vendor };
    let progress = Progress::start("Asking the vendor's server", out.is_json());
    let freed = daemon.free_machine(call);
    drop(progress);
    let freed = freed.map_err(|error| {
        let failure = Failure::from(error);
        // Its other advice is about activating.
        if failure.code == "vendor_needed" {
            activate::explain(failure, &license, serial.as_ref())
        } else {
            failure
        }
    })?;
    out.json(&json!({ "freed": freed }));
    out.sentence(format!(
        "{} holds no seat of {} any more. It learns so when it is online next; what runs there until then keeps \
         running.",
        quoted(freed.device_name.as_str()),
        freed.serial
    ));
    Ok(Exit::Done)
}

/// Carries `claviger machine list` out: what the servers tell, and this computer in any case.
pub(super) fn list(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = super::vendor::id_of(&mut daemon, vendor)?;
    let machines = daemon.machines(vendor.clone())?;
    let progress = Progress::start("Asking the vendors' servers", out.is_json());
    let told = daemon.seats(None, vendor);
    drop(progress);
    let (seats, warnings, complete) = match told {
        Ok(told) => {
            let complete = told.warnings.is_empty();
            (told.seats, told.warnings, complete)
        }
        Err(error) => {
            let failure = Failure::from(error);
            // Whoever may not ask is told so; whoever is offline sees this computer.
            if !matches!(failure.exit, Exit::Unreachable | Exit::Refused | Exit::Proof) {
                return Err(failure);
            }
            (Vec::new(), vec![failure.message], false)
        }
    };
    let all = computers(&machines, &seats);
    let documents: Vec<Value> = all.iter().map(document).collect();
    out.json(&json!({ "computers": documents, "complete": complete, "warnings": warnings }));
    for warning in &warnings {
        out.remark(text::sentence(warning));
    }
    if !complete {
        out.remark("So other computers may be missing from this list.");
    }
    if all.is_empty() {
        out.line("No vendor is known yet, so no computer is. Make one known with");
        out.line("    claviger vendor add FILE.clvprofile");
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|c| {
            let mut names: Vec<String> = c.licenses.iter().map(|(_, name)| clean(name)).collect();
            names.sort();
            names.dedup();
            vec![
                clean(c.device_name.as_str()),
                if c.here { "this one".to_owned() } else { String::new() },
                c.last_seen.map(text::date).unwrap_or_default(),
                text::one_line(&names.join(", "), 60),
                c.machine_id.to_string(),
                c.vendor.to_string(),
            ]
        })
        .collect();
    out.table(&["COMPUTER", "", "LAST SEEN", "LICENSES SHARED WITH THIS ONE", "MACHINE ID", "VENDOR"], &rows);
    Ok(Exit::Done)
}

fn document(computer: &Computer) -> Value {
    let licenses: Vec<Value> = computer
        .licenses
        .iter()
        .map(|(serial, product)| json!({ "serial": serial, "product_name": product }))
        .collect();
    json!({
        "vendor": computer.vendor,
        "machine_id": computer.machine_id,
        "device_name": computer.device_name,
        "here": computer.here,
        "since": computer.since,
        "last_seen": computer.last_seen,
        "licenses": licenses,
    })
}

/// Says who holds the seats of a license, and what became of seats before.
pub(super) fn say(seats: &LicenseSeats, out: &mut Output) {
    let title = out.look(Look::Strong, &format!("Seats: {} of {} in use", seats.taken, seats.total));
    out.line(title);
    let rows: Vec<Vec<String>> = seats
        .holders
        .iter()
        .map(|h| {
            let here = h.machine_id == seats.machine_id;
            vec![
                clean(h.device_name.as_str()),
                if here { "this one".to_owned() } else { String::new() },
                text::date(h.since),
                text::date(h.last_seen),
                h.machine_id.to_string(),
            ]
        })
        .collect();
    out.table(&["COMPUTER", "", "SINCE", "LAST SEEN", "MACHINE ID"], &rows);
    let told = u32::try_from(seats.holders.len()).unwrap_or(u32::MAX);
    if told < seats.taken {
        out.line(format!("and {} more", seats.taken - told));
    }
    if seats.history.is_empty() {
        return;
    }
    let title = out.look(Look::Strong, "History");
    out.line(title);
    for event in seats.history.iter().take(SHOWN_EVENTS) {
        out.line(format!("  {}  {}", text::date_and_time(event.at), happened(event)));
    }
}

fn happened(event: &SeatEvent) -> String {
    let name = quoted(event.device_name.as_str());
    match (event.what, &event.by) {
        (SeatChange::Activated, _) => format!("{name} activated it"),
        (SeatChange::GivenUp, _) => format!("{name} gave it up"),
        (SeatChange::Replaced, Some(by)) => format!("{name} lost its seat to {}", quoted(by.as_str())),
        (SeatChange::Replaced, None) => format!("the seat of {name} was freed from another computer"),
        (SeatChange::Released, _) => format!("the vendor freed the seat of {name}"),
        (SeatChange::Transferred, _) => format!("{name} lost it: the license went to another owner"),
        (SeatChange::Other, _) => format!("{name} holds it no longer"),
    }
}
