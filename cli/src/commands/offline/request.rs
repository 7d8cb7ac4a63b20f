//! `claviger offline request`: a signed request, as a file or as a QR code that opens the vendor's page.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use claviger_protocol::ipc::OfflineRequestReply;
use claviger_protocol::offline::armour::write_file;
use claviger_protocol::offline::{FileKind, Portal, RequestFrom};
use serde_json::{Value, json};

use super::{files, qr};
use crate::commands::activate;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{self, clean, quoted, shell};

const EXAMPLES: &str = "\
Examples:
  claviger offline request SOL-4XQ7K-2M9TB-0RHWE
      asks for the unlock code and writes a .clvreq file into this folder
  claviger offline request SOL-4XQ7K-2M9TB-0RHWE --show -o /media/usb/studio.clvreq
      shows everything that is in it first
  claviger offline request SOL-4XQ7K-2M9TB-0RHWE --qr
      for a telephone: scanning it opens the vendor's page with the request
  pass show synth | claviger offline request SOL-4XQ7K-2M9TB-0RHWE --unlock-code-stdin -o lab07.clvreq
      for scripts

The unlock code is not in the request: only a proof that you know it. The vendor answers within 30 days.";

/// `claviger offline request`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[group(skip)]
pub(crate) struct Arguments {
    #[command(flatten)]
    license: activate::Arguments,
    /// Show every value that the request holds, before it is written
    #[arg(long)]
    show: bool,
    /// Write the request to this file; “-” is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// Print it as a QR code that opens the vendor's page
    #[arg(long)]
    qr: bool,
    /// Write the QR code as a PNG picture
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Write the QR code as an SVG picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Carries `claviger offline request` out.
pub(crate) fn run(arguments: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    for path in [&arguments.output, &arguments.png, &arguments.svg].into_iter().flatten() {
        files::may_write(path, arguments.force)?;
    }
    let to_stdout = arguments.output.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if to_stdout && (out.is_json() || arguments.qr || arguments.show) {
        return Err(Failure::new(
            Exit::Usage,
            "usage",
            "-o - fills standard output: it does not go with --json, --qr or --show",
        ));
    }
    let (mut daemon, call, serial) = activate::call(&arguments.license, out)?;
    let reply = daemon.make_offline_request(call);
    let reply = reply.map_err(|e| activate::explain(e.into(), &arguments.license, serial.as_ref()))?;
    let made = Made::of(reply)?;
    if arguments.show {
        show(&made, out);
        if !out.is_json() && !agreed()? {
            return Err(Failure::new(Exit::Cancelled, "cancelled", "cancelled; nothing was written"));
        }
    }
    let pictures = arguments.qr || arguments.png.is_some() || arguments.svg.is_some();
    let file = (arguments.output.is_some() || !pictures).then(|| {
        let name = made.from.device_name.as_ref().map_or("computer", |n| n.as_str());
        files::place(arguments.output.as_deref(), FileKind::Request, &[name, &made.serial()])
    });
    if let Some(file) = &file {
        files::may_write(file, arguments.force)?;
        files::write(file, made.file().as_bytes(), out)?;
    }
    draw(arguments, &made, out)?;
    if to_stdout {
        return Ok(Exit::Done);
    }
    report(arguments, &made, file.as_deref(), out);
    Ok(Exit::Done)
}

/// A request that was made.
struct Made {
    reply: OfflineRequestReply,
    from: RequestFrom,
    portal: Portal,
    url: Option<String>,
}

impl Made {
    fn of(reply: OfflineRequestReply) -> Result<Self, Failure> {
        let from = RequestFrom::read(&reply.request).map_err(|e| {
            Failure::new(Exit::Daemon, "daemon_unreadable", "the daemon made a request that is not one")
                .because(&e)
        })?;
        let portal = Portal::of(&reply.vendor.server);
        let url = portal.with_request(&reply.request).ok();
        Ok(Self { reply, from, portal, url })
    }

    fn serial(&self) -> String {
        self.from.serial.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The file, with sentences for whoever opens it.
    fn file(&self) -> String {
        let vendor = format!("{} ({})", self.reply.vendor.name, self.reply.vendor.id);
        let name = self.from.device_name.as_ref().map(ToString::to_string).unwrap_or_default();
        let sentence = format!(
            "Take this file to {}, or mail it to the vendor. Import the answer on that computer.",
            self.portal.address()
        );
        let (serial, until) = (self.serial(), self.reply.expires.date().to_string());
        let lines = [
            ("For", vendor.as_str()),
            ("License", &serial),
            ("Computer", &name),
            ("Answer before", &until),
            ("", &sentence),
        ];
        write_file(FileKind::Request, &lines, &self.reply.request)
    }
}

/// Every value in the request, by the name that it has there.
fn flat(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flat(&name, value, into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flat(&format!("{prefix}[{index}]"), item, into);
            }
        }
        Value::String(text) => into.push((prefix.to_owned(), clean(text))),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

fn show(made: &Made, out: &mut Output) {
    let mut all = Vec::new();
    flat("", &json!(made.from.request), &mut all);
    let title = out.look(Look::Strong, "The request holds this and nothing else:");
    out.line(title);
    let fields: Vec<(&str, String)> =
        all.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    out.fields(&fields);
    out.line(format!("  signed by this computer's key {}", made.from.device));
}

/// Asks whoever sits at a terminal; without one nobody is asked.
fn agreed() -> Result<bool, Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(true);
    }
    let _ = write!(io::stderr(), "Write this request? [Y/n] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|e| Failure::new(Exit::Cancelled, "cancelled", "nobody answered").because(&e))?;
    Ok(!answer.is_empty() && !answer.trim().to_lowercase().starts_with('n'))
}

fn draw(arguments: &Arguments, made: &Made, out: &mut Output) -> Result<(), Failure> {
    if !(arguments.qr || arguments.png.is_some() || arguments.svg.is_some()) {
        return Ok(());
    }
    let code = qr::code(made.url.as_deref().unwrap_or_default())?;
    if let Some(file) = &arguments.png {
        files::write(file, &qr::png(&code), out)?;
    }
    if let Some(file) = &arguments.svg {
        files::write(file, qr::svg(&code).as_bytes(), out)?;
    }
    if arguments.qr && !out.is_json() {
        let needed = qr::columns(&code);
        if out.columns().is_some_and(|has| has < needed) {
            return Err(Failure::new(
                Exit::Usage,
                "terminal_too_narrow",
                format!("the QR code needs {needed} columns; this terminal has fewer"),
            )
            .advice("Make the window wider or its letters smaller, or write a picture with --png FILE."));
        }
        out.raw(qr::terminal(&code, out.is_coloured()).as_bytes());
    }
    Ok(())
}

fn report(arguments: &Arguments, made: &Made, file: Option<&Path>, out: &mut Output) {
    let shown = |path: &Path| path.display().to_string();
    out.json(&json!({
        "vendor": made.reply.vendor.id,
        "serial": made.from.serial,
        "machine_id": made.from.machine_id,
        "expires": made.reply.expires,
        "portal": made.portal.address(),
        "url": made.url,
        "file": file.map(shown),
        "png": arguments.png.as_deref().map(shown),
        "svg": arguments.svg.as_deref().map(shown),
        "request": made.from.request,
        "document": made.reply.request,
    }));
    let vendor = quoted(&made.reply.vendor.name);
    let until = text::date(made.reply.expires);
    let mut wrote: Vec<String> = Vec::new();
    for path in [file, arguments.png.as_deref(), arguments.svg.as_deref()].into_iter().flatten() {
        wrote.push(shell(&clean(&shown(path))));
    }
    if !wrote.is_empty() {
        out.line(format!("Wrote {}.", text::list(&wrote)));
    }
    if arguments.qr || file.is_none() {
        out.sentence(format!(
            "Scan the code with a telephone: it opens {vendor}'s page, {}. The page shows a code to type here:",
            made.portal.address()
        ));
        out.line("    claviger offline import --code");
    }
    if file.is_some() {
        out.sentence(format!(
            "Take the file to {}, or mail it to {vendor}. Then install the answer here:",
            made.portal.address()
        ));
        out.line("    claviger offline import FILE.clvres");
    }
    out.line(format!("The vendor can answer it until {until}."));
}
