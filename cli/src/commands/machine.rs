//! `claviger machine`: what vendors learn about this computer, shown before it is sent, and which others there are.

use clap::Subcommand;
use claviger_protocol::ids::DeviceName;
use claviger_protocol::ipc::Machine;
use serde_json::json;

use super::seats;
use crate::connect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::question;
use crate::text::{self, clean, quoted};

/// `claviger machine …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show exactly what an activation would send
    ///
    /// The machine id differs from vendor to vendor, so that they cannot compare notes, and no hardware
    /// serial number can be read from it.
    Show {
        /// Only to this vendor: its id, name or serial prefix
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<String>,
    },
    /// Change the name by which vendors and your other computers know this one
    Rename {
        /// The new name, at most 64 characters
        name: String,
    },
    /// List this computer and the others that share its licenses
    ///
    /// The vendors' servers are asked who holds the seats of what is active here; this computer's activation is
    /// the proof. Computers that share no license with this one are not listed.
    List {
        /// Only of this vendor: its id, name or serial prefix
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<String>,
    },
    /// Free the seat of another computer that is lost or out of reach
    ///
    /// It needs the license's unlock code, and counts against the replacements that the license allows a year,
    /// as activate --replace-machine does.
    Free(seats::Free),
    /// Ready this computer's disk to be copied to others
    ///
    /// Removes the keys, certificates, waiting requests and receipts, the computer's name and the log of
    /// what was sent, so that each copy becomes a computer of its own. Vendors stay known. Run it last, then
    /// shut down and copy the disk. Copies are told apart by the operating system's machine id: empty
    /// /etc/machine-id as well, so that each copy makes its own at its first start.
    PrepareImage {
        /// Do not ask, even where licenses are in use here; without a terminal they are kept unless this is given
        #[arg(long)]
        yes: bool,
    },
}

/// Carries `claviger machine …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Show { vendor } => show(vendor.as_deref(), out),
        Command::Rename { name } => rename(&name, out),
        Command::List { vendor } => seats::list(vendor.as_deref(), out),
        Command::Free(arguments) => seats::free(arguments, out),
        Command::PrepareImage { yes } => prepare_image(yes, out),
    }
}

fn show(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = super::vendor::id_of(&mut daemon, vendor)?;
    let machines = daemon.machines(vendor)?;
    out.json(&json!({ "machines": machines }));
    let Some(first) = machines.first() else {
        out.line("No vendor is known yet, so nothing would be sent to anyone. Make one known with");
        out.line("    claviger vendor add FILE.clvprofile");
        return Ok(Exit::Done);
    };
    let title = out.look(Look::Strong, "An activation tells the vendor this about the computer:");
    out.line(title);
    let mut fields = facts(first);
    if let [only] = machines.as_slice() {
        fields.push(("machine_id", only.machine_id.to_string()));
        out.fields(&fields);
    } else {
        out.fields(&fields);
        out.line("and the machine id, another one for each vendor:");
        let ids: Vec<(&str, String)> =
            machines.iter().map(|m| (m.vendor.as_str(), m.machine_id.to_string())).collect();
        out.fields(&ids);
    }
    out.line("");
    out.line(
        "Beside it: the serial number, a proof that you know the unlock code (never the code), a public key",
    );
    out.line(
        "made for this vendor on this computer, a random number, the time, the number of the newest keyset",
    );
    out.line("known, and receipts of activations given up. Nothing else. Change the name with");
    out.line("    claviger machine rename NAME");
    Ok(Exit::Done)
}

fn facts(machine: &Machine) -> Vec<(&'static str, String)> {
    vec![
        ("device_name", clean(machine.device_name.as_str())),
        ("os.family", clean(&machine.os_family)),
        ("os.version", clean(&machine.os_version)),
        ("os.arch", clean(&machine.os_arch)),
        ("cpu.model", clean(&machine.cpu_model)),
        ("cpu.logical_cores", machine.cpu_logical_cores.to_string()),
        ("ram_gib", machine.ram_gib.to_string()),
    ]
}

fn rename(name: &str, out: &mut Output) -> Result<Exit, Failure> {
    let name =
        DeviceName::try_from(name.trim().to_owned()).map_err(|error| Failure::input("bad_name", &error))?;
    let name = connect::daemon(out)?.rename_machine(name)?;
    out.json(&json!({ "device_name": name }));
    out.sentence(format!(
        "Vendors will know this computer as {} from its next activation on. To tell a vendor now, activate again: that \
         takes no second seat.",
        quoted(name.as_str())
    ));
    Ok(Exit::Done)
}

fn prepare_image(yes: bool, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let status = daemon.status()?;
    if !yes && (status.activations > 0 || status.receipts_waiting > 0) {
        let what = format!(
            "Here are still {} in use, and {} that no server has acknowledged. Their seats stay taken when they are \
             removed; give licenses up first with `claviger deactivate`.",
            text::count(status.activations, "activation", "activations"),
            text::count(status.receipts_waiting, "receipt", "receipts"),
        );
        match question::go_on(&what, out) {
            Some(true) => {}
            Some(false) => {
                return Err(Failure::new(Exit::Cancelled, "cancelled", "cancelled; nothing was removed"));
            }
            None => {
                return Err(Failure::new(Exit::Usage, "needs_yes", what)
                    .advice("To remove them all the same:\n    claviger machine prepare-image --yes"));
            }
        }
    }
    let done = daemon.prepare_image()?;
    out.json(&json!({
        "vendors": done.vendors,
        "seats_still_taken": done.seats,
        "receipts": done.receipts,
        "requests": done.requests,
    }));
    out.line("This computer's disk is ready to be copied. Nothing on it is licensed any more.");
    if !done.seats.is_empty() {
        out.sentence(format!(
            "Seats of {} stay taken by this computer: the vendor's support can free them.",
            text::list(&done.seats)
        ));
    }
    if done.receipts > 0 {
        out.line(format!(
            "{} never reached the vendor: ask its support to free the seats.",
            text::count(done.receipts, "receipt", "receipts")
        ));
    }
    out.line("Give every copy a machine id of its own: as the last step, run");
    out.line("    truncate -s 0 /etc/machine-id");
    out.line("and shut down. Copies that share one are refused from the ninth on (machine_id_shared).");
    Ok(Exit::Done)
}
