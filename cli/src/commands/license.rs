//! `claviger license`: what is licensed on this computer, as the daemon knows it.

use clap::Subcommand;
use claviger_protocol::clock::{Clock, SystemClock};
use claviger_protocol::ipc::License;
use claviger_protocol::naming::{self, Match};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::progress::Progress;
use crate::text::{self, clean, quoted};
use crate::{connect, describe};

/// `claviger license …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the licenses of this computer, those that lately ended included
    List {
        /// Only of this vendor: its id, name or serial prefix
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<String>,
    },
    /// Show everything about one license
    Show {
        /// Its product's name, id, the ending of its id, or the serial number
        #[arg(value_name = "PRODUCT|SERIAL")]
        target: String,
        /// Ask the vendor's server who holds the seats, and what became of seats before
        #[arg(long)]
        seats: bool,
    },
    /// Ask the vendors' servers what became of the licenses: renewals, changes, ends
    ///
    /// Perpetual licenses never need it. It fetches the renewal of a subscription at once.
    Refresh {
        /// Only of this vendor: its id, name or serial prefix
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<String>,
    },
}

/// Carries `claviger license …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::List { vendor } => {
            let mut daemon = connect::daemon(out)?;
            let vendor = super::vendor::id_of(&mut daemon, vendor.as_deref())?;
            let reply = daemon.licenses_and_warnings(vendor)?;
            for warning in &reply.warnings {
                out.remark(clean(warning));
            }
            list(reply.licenses, out);
            Ok(Exit::Done)
        }
        Command::Refresh { vendor } => {
            let mut daemon = connect::daemon(out)?;
            let vendor = super::vendor::id_of(&mut daemon, vendor.as_deref())?;
            let progress = Progress::start("Asking the vendors' servers", out.is_json());
            let licenses = daemon.refresh(vendor);
            drop(progress);
            list(licenses?, out);
            Ok(Exit::Done)
        }
        Command::Show { target, seats } => show(&target, seats, out),
    }
}

fn list(mut licenses: Vec<License>, out: &mut Output) {
    licenses.sort_by(|a, b| {
        let key = |l: &'_ License| (l.vendor.clone(), !l.status.is_licensed(), l.product.clone());
        key(a).cmp(&key(b)).then_with(|| a.serial.cmp(&b.serial)).then_with(|| newest_first(a, b))
    });
    for license in &mut licenses {
        // `show` has it; a list of certificates is of no use to anyone.
        license.certificate = None;
    }
    out.json(&json!({ "licenses": licenses }));
    if licenses.is_empty() {
        out.line("Nothing is activated on this computer yet. Activate a license with");
        out.line("    claviger activate SERIAL");
        return;
    }
    let now = SystemClock.now();
    let rows: Vec<Vec<String>> = licenses
        .iter()
        .map(|license| {
            vec![
                clean(&license.product_name),
                describe::status(license),
                describe::term_in_list(license, now),
                license.serial.to_string(),
                clean(&license.vendor_name),
            ]
        })
        .collect();
    out.table(&["PRODUCT", "STATUS", "VALID", "SERIAL NUMBER", "VENDOR"], &rows);
}

fn show(target: &str, with_seats: bool, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let license = find(daemon.licenses(None)?, target)?;
    let seats = if with_seats {
        let progress = Progress::start("Asking the vendor's server", out.is_json());
        let told = daemon.seats(Some(license.activation.to_string()), None);
        drop(progress);
        told?.seats.into_iter().next()
    } else {
        None
    };
    if with_seats {
        out.json(&json!({ "license": license, "seats": seats }));
    } else {
        out.json(&json!({ "license": license }));
    }
    let name = out.look(Look::Strong, &describe::product(&license));
    out.line(&name);
    let licensed = license.status.is_licensed();
    let sentence = out.look(if licensed { Look::Good } else { Look::Warning }, license.status.sentence());
    out.line(format!("  {sentence}"));
    let mut fields = describe::fields(&license, SystemClock.now());
    let since = text::date_and_time(license.since);
    fields.push((if license.certificate.is_some() { "Certificate of" } else { "Ended" }, since));
    fields.push(("Activation", format!("{} (revision {})", license.activation, license.revision)));
    out.fields(&fields);
    if let Some(seats) = &seats {
        out.line("");
        super::seats::say(seats, out);
    }
    Ok(Exit::Done)
}

/// The latest first; of those of one second always the same.
fn newest_first(a: &License, b: &License) -> std::cmp::Ordering {
    (b.since, b.revision, b.activation).cmp(&(a.since, a.revision, a.activation))
}

/// The license that `target` names; one that is in force before those that ended.
fn find(licenses: Vec<License>, target: &str) -> Result<License, Failure> {
    let by_name = |license: &License| {
        let named = license.activation.to_string() == target.trim()
            || naming::same_serial(target, license.serial.as_str());
        if named { Match::Exact } else { naming::matches(target, &license.product, &license.product_name) }
    };
    let by_content = |license: &License| {
        let opened = license.opens.iter().map(|id| naming::matches(target, id, "")).max();
        opened.unwrap_or(Match::None)
    };
    // What is called so comes before a bundle that contains it.
    let mut found = naming::best(licenses.clone(), by_name);
    if found.is_empty() {
        found = naming::best(licenses, by_content);
    }
    if found.len() > 1 && found.iter().any(|l| l.status.is_licensed()) {
        found.retain(|l| l.status.is_licensed());
    }
    if found.len() > 1 && found.iter().all(|l| l.serial == found[0].serial) {
        found.sort_by(newest_first);
        found.truncate(1);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::new(
            Exit::NotFound,
            "not_found",
            format!("no license of this computer is called {}", quoted(target)),
        )
        .advice("See what there is with\n    claviger license list")),
        _ => {
            let choices: Vec<String> = found.iter().map(|l| l.serial.to_string()).collect();
            let named: Vec<String> =
                found.iter().map(|l| format!("{} ({})", clean(&l.product_name), l.serial)).collect();
            let mut failure = Failure::new(
                Exit::Ambiguous,
                "ambiguous",
                format!("{} could be {}", quoted(target), text::either(&named)),
            )
            .advice("Give the serial number.");
            failure.more.insert("choices".into(), json!(choices));
            Err(failure)
        }
    }
}
