//! `claviger privacy`: every byte that will be sent, every byte that was, and all of it as one file.

use std::path::PathBuf;

use clap::Subcommand;
use claviger_client::manager::export;
use claviger_protocol::clock::SystemClock;
use claviger_protocol::ipc::{PreviewReply, SentEntry};
use serde_json::json;

use crate::connect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{self, clean};

/// `claviger privacy …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what usage statistics will send, byte for byte, and when
    ///
    /// What an activation sends is shown by `claviger machine show`.
    Preview {
        /// Only to this vendor: its id, name or serial prefix
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<String>,
    },
    /// Show everything that was sent from here: activations and statistics, byte for byte
    ///
    /// It is kept for a year, on this computer alone.
    Log {
        /// Remove the entries instead of showing them
        #[arg(long)]
        clear: bool,
    },
    /// Write all that is known here about you into one JSON file
    ///
    /// Decisions with their records and receipts, what is counted, what will be sent, what was sent, and what
    /// vendors learn about this computer.
    Export {
        /// The file; standard output when there is none
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Carries `claviger privacy …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Preview { vendor } => preview(vendor.as_deref(), out),
        Command::Log { clear: false } => log(out),
        Command::Log { clear: true } => clear(out),
        Command::Export { file } => write(file.as_deref(), out),
    }
}

fn preview(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = super::vendor::id_of(&mut daemon, vendor)?;
    let PreviewReply { planned, counted } = daemon.preview(vendor)?;
    out.json(&json!({ "planned": planned, "counted": counted }));
    if planned.is_empty() && counted.is_empty() {
        out.line("Nothing is counted and nothing will be sent.");
        return Ok(Exit::Done);
    }
    if !counted.is_empty() {
        let title = out.look(Look::Strong, "Counted and not sent yet:");
        out.line(title);
        let rows: Vec<Vec<String>> = counted
            .iter()
            .map(|c| {
                let uses = c.uses.to_string();
                vec![c.week.clone(), c.product.to_string(), clean(&c.version), clean(&c.daw), uses]
            })
            .collect();
        out.table(&["WEEK", "TITLE", "VERSION", "DAW", "USES"], &rows);
    }
    let title = out.look(Look::Strong, "To be sent:");
    out.line(title);
    for plan in &planned {
        let due = text::date_and_time(plan.due);
        out.line(format!("{due}  {} {}  ({})", plan.method, clean(&plan.url), plan.purpose));
        if let Some(body) = &plan.body {
            bytes(body, out);
        } else if plan.method == "POST" {
            out.line("    its bytes are made when the week is over and its tokens have come");
        }
    }
    Ok(Exit::Done)
}

/// A body as it is, except that nobody wants to see a hundred spaces.
fn bytes(body: &str, out: &mut Output) {
    let kept = body.trim_end_matches(' ');
    out.line(format!("    {kept}"));
    let spaces = body.len() - kept.len();
    if spaces > 0 {
        out.line(format!("    and {spaces} spaces: {} bytes, as every report", body.len()));
    }
}

fn log(out: &mut Output) -> Result<Exit, Failure> {
    let sent = connect::daemon(out)?.sent()?;
    out.json(&json!({ "sent": sent }));
    if sent.is_empty() {
        out.line("Nothing was sent in the last year, or the log was cleared.");
    }
    for entry in &sent {
        let SentEntry { at, purpose, basis, method, url, body, outcome, .. } = entry;
        let time = out.look(Look::Strong, &text::date_and_time(*at));
        out.line(format!(
            "{time}  {method} {}  ({}, on the ground of: {})",
            clean(url),
            clean(purpose),
            clean(basis)
        ));
        if let Some(body) = body {
            bytes(&text::one_line(body, usize::MAX), out);
        }
        out.line(format!("    -> {}", clean(outcome.as_deref().unwrap_or("no answer known"))));
    }
    Ok(Exit::Done)
}

fn clear(out: &mut Output) -> Result<Exit, Failure> {
    let removed = connect::daemon(out)?.clear_sent()?;
    out.json(&json!({ "removed": removed }));
    let count = text::count(usize::try_from(removed).unwrap_or(usize::MAX), "entry", "entries");
    out.sentence(format!("Removed {count}. Licenses and decisions are untouched."));
    Ok(Exit::Done)
}

fn write(file: Option<&std::path::Path>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let everything = export::everything(&mut daemon, &SystemClock)?;
    let Some(file) = file else {
        if out.is_json() {
            out.json(&everything);
        } else {
            out.raw(&export::bytes(&everything));
        }
        return Ok(Exit::Done);
    };
    let text = export::bytes(&everything);
    export::write_private(file, &text)
        .map_err(|e| Failure::storage(format!("The file {} could not be written.", file.display()), &e))?;
    out.json(&json!({ "file": file, "bytes": text.len() }));
    out.sentence(format!("Written to {}. It is readable by you alone.", clean(&file.display().to_string())));
    Ok(Exit::Done)
}
