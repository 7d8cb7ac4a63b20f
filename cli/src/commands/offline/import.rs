//! `claviger offline import`: installs what the vendor answered. Of a bundle this computer takes its own part.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use claviger_protocol::clock::{Clock, SystemClock};
use claviger_protocol::http::ProblemCode;
use claviger_protocol::ipc::{License, OfflineItem};
use claviger_protocol::offline::{Contents, Sorted, code};
use serde_json::{Value, json};

use super::files;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{self, clean, quoted, sentence};
use crate::{connect, describe};

const EXAMPLES: &str = "\
Examples:
  claviger offline import studio.clvres
  claviger offline import lab.clvbundle          this computer takes its own part
  xclip -o | claviger offline import -           a pasted mail, or what a QR scanner typed
  claviger offline import --code                 asks for the 32 groups that the vendor's page shows
  claviger offline import --code \"4XQ7K 2M9TB …\"  the same for scripts

Mail programs may wrap, quote, rename and zip the file. Importing it twice changes nothing.";

/// `claviger offline import`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Responses, bundles, or zip archives of them; “-” is standard input
    #[arg(value_name = "FILE", required_unless_present = "code")]
    files: Vec<PathBuf>,
    /// Take a typed code instead; without a value it is asked for, or read from standard input
    #[arg(long, value_name = "CODE", num_args = 0..=1, default_missing_value = "", conflicts_with = "files")]
    code: Option<String>,
}

/// Carries `claviger offline import` out.
pub(crate) fn run(arguments: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    if let Some(given) = &arguments.code {
        let code = if given.trim().is_empty() { typed()? } else { given.clone() };
        code::TypedCode::parse(&code).map_err(|error| {
            Failure::input(error.code(), &error).advice("Nothing was changed. Have that part read out again.")
        })?;
        let license = connect::daemon(out)?.import_offline_code(code)?;
        out.json(&json!({ "imported": [license] }));
        activated(&license, true, out);
        return Ok(Exit::Done);
    }
    let mut read: Vec<Contents> = Vec::new();
    for file in &arguments.files {
        read.push(files::read(file)?);
    }
    let mut daemon = connect::daemon(out)?;
    let machines = daemon.machines(None)?;
    let sorted = Sorted::of(&read, |id| machines.iter().any(|machine| machine.machine_id == id));
    let mut items = Vec::new();
    for answers in sorted.calls() {
        items.extend(daemon.import_offline_answers(answers)?);
    }
    finish(&sorted, &damaged(&read), &items, out)
}

/// What did not arrive whole.
fn damaged(read: &[Contents]) -> Vec<Value> {
    let mut damaged = Vec::new();
    for contents in read {
        for bad in &contents.damaged {
            damaged.push(json!({
                "number": bad.number,
                "file": bad.from,
                "code": bad.damage.code(),
                "message": bad.damage.to_string(),
            }));
        }
        if contents.cut_off {
            let message = "the end of the bundle is missing: it was cut off";
            damaged.push(json!({ "code": "file_cut_off", "message": message }));
        }
    }
    damaged
}

fn finish(
    sorted: &Sorted,
    damaged: &[Value],
    items: &[OfflineItem],
    out: &mut Output,
) -> Result<Exit, Failure> {
    let taken: Vec<(&License, bool)> =
        items.iter().filter_map(|i| Some((i.license.as_ref()?, i.changed))).collect();
    let receipts: usize = items.iter().map(|i| i.receipts).sum();
    let failed: Vec<&OfflineItem> = items.iter().filter(|i| i.code.is_some()).collect();
    let refused: Vec<Value> = failed
        .iter()
        .map(|i| json!({ "code": i.code, "message": i.message, "advice": i.advice }))
        .chain(
            sorted
                .refusals
                .iter()
                .map(|r| json!({ "code": r.code.code(), "message": r.code.title(), "advice": r.detail })),
        )
        .collect();
    let document = json!({
        "imported": taken.iter().map(|(license, _)| license).collect::<Vec<_>>(),
        "changed": taken.iter().filter(|(_, changed)| *changed).count(),
        "receipts": receipts,
        "refused": refused,
        "damaged": damaged,
        "for_other_computers": sorted.others,
    });
    if taken.is_empty() && receipts == 0 {
        let mut failure = nothing(sorted, damaged, &failed);
        failure.more.extend(document.as_object().cloned().unwrap_or_default());
        return Err(failure);
    }
    out.json(&document);
    for (license, changed) in taken {
        activated(license, changed, out);
    }
    if receipts > 0 {
        out.line(format!(
            "The vendor acknowledges {}.",
            text::count(receipts, "receipt of this computer", "receipts of this computer")
        ));
    }
    for item in failed {
        out.remark(sentence(&clean(item.message.as_deref().unwrap_or_default())));
    }
    for refusal in &sorted.refusals {
        out.remark(format!("The vendor refused another request: {}", refusal.code.title()));
    }
    for damaged in damaged {
        out.remark(format!(
            "A part of the file is damaged: {}.",
            damaged["message"].as_str().unwrap_or_default()
        ));
    }
    if sorted.others > 0 {
        let others = text::count(sorted.others, "answer", "answers");
        out.line(format!("{others} for other computers left alone."));
    }
    Ok(Exit::Done)
}

/// Nothing was imported: the nearest reason.
fn nothing(sorted: &Sorted, damaged: &[Value], failed: &[&OfflineItem]) -> Failure {
    if let Some(item) = failed.first() {
        let mut message = clean(item.message.as_deref().unwrap_or_default());
        if let Some(name) = &sorted.meant_for {
            message = format!("{message} The file says that it was made for {}.", quoted(name));
        }
        let exit = match item.code.as_deref() {
            Some("not_found") => Exit::NotFound,
            Some("disk_full" | "read_only" | "storage") => Exit::Storage,
            _ => Exit::Input,
        };
        let mut failure = Failure::new(exit, item.code.clone().unwrap_or_default(), message);
        failure.advice = item.advice.as_deref().map(clean);
        return failure;
    }
    if let Some(refusal) = sorted.refusals.first() {
        let exit = match refusal.code {
            ProblemCode::SeatsTaken => Exit::SeatsTaken,
            ProblemCode::ProofRefused => Exit::Proof,
            _ => Exit::Refused,
        };
        let message = format!("the vendor refused this computer's request: {}", refusal.code.title());
        let mut failure = Failure::new(exit, refusal.code.code(), message);
        failure.advice = refusal.detail.as_deref().map(clean);
        return failure;
    }
    if let Some(damaged) = damaged.first() {
        let text = |name: &str| damaged[name].as_str().unwrap_or_default().to_owned();
        return Failure::new(Exit::Input, text("code"), format!("the file is damaged: {}", text("message")));
    }
    if sorted.others > 0 {
        let count = text::count(sorted.others, "answer", "answers");
        let message = format!("none of the {count} in this bundle is for this computer");
        return Failure::new(Exit::NotFound, "not_for_this_machine", message).advice(
            "Was this computer's request in the batch? `claviger machine show` tells its machine id; a request that \
             was made before the computer was cloned or reinstalled names another one.",
        );
    }
    if sorted.requests > 0 {
        return Failure::new(Exit::Input, "not_an_answer", "this is a request, not the vendor's answer")
            .advice("Take it to the vendor's page, and import what comes back.");
    }
    Failure::new(Exit::Input, "nothing_new", "nothing in this file concerns this computer")
}

fn activated(license: &License, changed: bool, out: &mut Output) {
    let id = describe::product(license);
    let shown = out.look(Look::Good, &id);
    // A code has no room for names.
    let name = if license.product.is_alias() { format!("What the code is for ({shown})") } else { shown };
    if changed {
        out.line(format!("{name} is activated on this computer."));
    } else {
        out.line(format!("{name} was activated on this computer already; nothing changed."));
    }
    out.fields(&describe::fields(license, SystemClock.now()));
}

/// The code as a person types it, group by group, or as it stands on standard input.
fn typed() -> Result<String, Failure> {
    let cancelled = || Failure::new(Exit::Cancelled, "cancelled", "cancelled; nothing was changed");
    let mut input = io::stdin().lock();
    if !io::stdin().is_terminal() {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(input, 8192), &mut text)
            .map_err(|e| cancelled().because(&e))?;
        return Ok(text);
    }
    let say = |text: &str| {
        // A terminal that cannot be written is noticed when it is read.
        let _ = write!(io::stderr(), "{text}");
        let _ = io::stderr().flush();
    };
    say("Type the code: 32 groups of five characters, as many in a line as you like.\n");
    let mut groups: Vec<String> = Vec::new();
    while groups.len() < code::GROUPS {
        say(&format!("From group {}: ", groups.len() + 1));
        let mut line = String::new();
        if input.read_line(&mut line).map_err(|e| cancelled().because(&e))? == 0 {
            return Err(cancelled());
        }
        for group in code::split_groups(&line) {
            if groups.len() == code::GROUPS {
                break;
            }
            if let Err(error) = code::check_group(groups.len() + 1, &group) {
                say(&format!("{}\n", sentence(&error.to_string())));
                break;
            }
            groups.push(group);
        }
    }
    Ok(groups.join(" "))
}
