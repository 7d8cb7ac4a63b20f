//! `claviger offline deactivate`: gives an activation up; the receipt that frees its seat leaves in a file.

use std::path::PathBuf;

use clap::Args;
use claviger_protocol::offline::armour::write_file;
use claviger_protocol::offline::{FileKind, Portal};
use serde_json::json;

use super::files;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{clean, quoted, shell};
use crate::{connect, describe};

const EXAMPLES: &str = "\
Examples:
  claviger offline deactivate Solstice
  claviger offline deactivate SOL-4XQ7K-2M9TB-0RHWE -o /media/usb/studio.clvreceipt

This computer stops using the license at once. Its seat is free when the vendor has the receipt; giving the
same receipt twice is harmless, and the command writes it again while the vendor has not acknowledged it.";

/// `claviger offline deactivate`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Its name, id, the ending of its id, or the serial number
    #[arg(value_name = "PRODUCT|SERIAL")]
    target: String,
    /// Write the receipt to this file; “-” is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Carries `claviger offline deactivate` out.
pub(crate) fn run(arguments: Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let to_stdout = arguments.output.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if to_stdout && out.is_json() {
        return Err(Failure::new(Exit::Usage, "usage", "-o - and --json both fill standard output"));
    }
    if let Some(file) = &arguments.output {
        files::may_write(file, arguments.force)?;
    }
    let mut daemon = connect::daemon(out)?;
    let reply = daemon.deactivate_offline(arguments.target).map_err(|error| {
        let mut failure = Failure::from(error);
        if failure.exit == Exit::NotFound {
            failure.advice = Some("See what is activated here with\n    claviger license list".to_owned());
        }
        failure
    })?;
    let portal = Portal::of(&reply.vendor.server);
    let serial = reply.license.serial.to_string();
    let mut file = files::place(arguments.output.as_deref(), FileKind::Receipt, &["receipt", &serial]);
    let mut number = 1;
    // It is given up by now: the receipt must not fail for a name that is taken.
    while arguments.output.is_none() && files::may_write(&file, arguments.force).is_err() {
        number += 1;
        let word = number.to_string();
        file = files::place(None, FileKind::Receipt, &["receipt", &serial, &word]);
    }
    let vendor = format!("{} ({})", reply.vendor.name, reply.vendor.id);
    let sentence =
        format!("Take this file to {}, or mail it to the vendor: it frees the seat.", portal.address());
    let lines = [
        ("For", vendor.as_str()),
        ("License", &serial),
        ("Product", &reply.license.product_name),
        ("", &sentence),
    ];
    let text = write_file(FileKind::Receipt, &lines, &reply.request);
    files::write(&file, text.as_bytes(), out).map_err(|failure| {
        failure.advice("The license is given up here. Run the same command again to write its receipt.")
    })?;
    if to_stdout {
        return Ok(Exit::Done);
    }
    let shown = file.display().to_string();
    out.json(&json!({
        "license": reply.license,
        "file": shown,
        "portal": portal.address(),
        "document": reply.request,
        "same_key": reply.same_key,
    }));
    let name = out.look(Look::Strong, &describe::product(&reply.license));
    out.line(format!("{name} is given up on this computer. Wrote {}.", shell(&clean(&shown))));
    out.sentence(format!(
        "Take the file to {}, or mail it to {}: the seat is free when the vendor has it.",
        portal.address(),
        quoted(&reply.vendor.name)
    ));
    if !reply.same_key {
        out.sentence(
            "This computer's key is not the one that it was activated with (it was reset since), so the vendor cannot \
             tell that the receipt comes from it: ask the vendor's support to free the seat if the page refuses it.",
        );
    }
    Ok(Exit::Done)
}
