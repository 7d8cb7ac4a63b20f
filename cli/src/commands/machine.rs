//! `claviger machine`: what vendors learn about this computer, shown before it is sent.

use clap::Subcommand;
use claviger_protocol::ids::DeviceName;
use claviger_protocol::ipc::Machine;
use serde_json::json;

use crate::connect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{clean, quoted};

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
}

/// Carries `claviger machine …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Show { vendor } => show(vendor.as_deref(), out),
        Command::Rename { name } => rename(&name, out),
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
