//! `claviger vendor`: the vendors whose products can be activated here.

use std::io::Read;
use std::path::PathBuf;

use clap::Subcommand;
use claviger_protocol::documents::{Document, VendorProfile};
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::Vendor;
use claviger_protocol::naming::{self, Match};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{clean, quoted};
use crate::{connect, vendors};

/// `claviger vendor …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a vendor known by its profile
    ///
    /// A vendor profile (a file ending in .clvprofile) says where the vendor's server is and which keys
    /// speak for it. Installers bring it along; a vendor's support page offers it too. Adding one again
    /// changes nothing, and never replaces the keys that are known already.
    Add {
        /// The profile's file, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List the known vendors
    List,
    /// Forget a vendor
    ///
    /// Give its activations up first (claviger deactivate): a vendor with activations here is kept.
    Remove {
        /// The vendor's id, name or serial prefix
        vendor: String,
    },
}

/// Carries `claviger vendor …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Add { file } => add(&file, out),
        Command::List => list(out),
        Command::Remove { vendor } => remove(&vendor, out),
    }
}

fn add(file: &std::path::Path, out: &mut Output) -> Result<Exit, Failure> {
    let text = read(file)?;
    let text = text.trim();
    let name = clean(&file.display().to_string());
    VendorProfile::verify(text).map_err(|error| {
        let mut failure =
            Failure::new(Exit::Input, "bad_profile", format!("{name} is not a good vendor profile"))
                .because(&error)
                .advice("Get the file again from the vendor's installer or support page.");
        failure.more.insert("document".into(), json!(error.code()));
        failure
    })?;
    let (vendor, added) = connect::daemon(out)?.add_vendor(text.to_owned())?;
    out.json(&json!({ "vendor": vendor, "added": added }));
    let title = out.look(Look::Strong, &clean(&vendor.name));
    if added {
        out.line(format!("{title} is known now: its products can be activated on this computer."));
    } else {
        out.line(format!("{title} was known already; nothing was changed."));
    }
    describe(&vendor, out);
    Ok(Exit::Done)
}

fn read(file: &std::path::Path) -> Result<String, Failure> {
    let most = VendorProfile::MAX_LEN;
    if file.as_os_str() == "-" {
        let mut text = String::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX);
        std::io::stdin().take(limit + 1).read_to_string(&mut text).map_err(|error| {
            Failure::new(Exit::Input, "unreadable", "standard input cannot be read").because(&error)
        })?;
        return Ok(text);
    }
    vendors::read_text(file, most).map_err(|error| {
        let name = clean(&file.display().to_string());
        let failure =
            Failure::new(Exit::Storage, "unreadable", format!("{name} cannot be read")).because(&error);
        if error.kind() == std::io::ErrorKind::NotFound {
            failure.advice(
                "Give the path of a file that ends in .clvprofile; it comes with the vendor's installer.",
            )
        } else {
            failure
        }
    })
}

fn describe(vendor: &Vendor, out: &mut Output) {
    out.fields(&[
        ("Vendor", vendor.id.to_string()),
        ("Serial numbers", format!("begin with {}", vendor.prefix)),
        ("Server", clean(&vendor.server)),
        ("Privacy policy", vendor.policy.as_deref().map(clean).unwrap_or_default()),
        ("Support", vendor.support.as_deref().map(clean).unwrap_or_default()),
    ]);
}

fn list(out: &mut Output) -> Result<Exit, Failure> {
    let vendors = connect::daemon(out)?.vendors()?;
    out.json(&json!({ "vendors": vendors }));
    if vendors.is_empty() {
        out.line("No vendor is known yet. Make one known by the profile that came with its installer:");
        out.line("    claviger vendor add FILE.clvprofile");
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = vendors
        .iter()
        .map(|v| vec![clean(&v.name), v.id.to_string(), v.prefix.to_string(), clean(&v.server)])
        .collect();
    out.table(&["NAME", "ID", "PREFIX", "SERVER"], &rows);
    Ok(Exit::Done)
}

fn remove(typed: &str, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = find(&daemon.vendors()?, typed)?;
    daemon.remove_vendor(vendor.id.clone())?;
    out.json(&json!({ "removed": vendor.id }));
    out.line(format!("{} is forgotten.", quoted(&vendor.name)));
    Ok(Exit::Done)
}

/// The vendor that `typed` names: by id, name, prefix or unique ending.
pub(crate) fn find(vendors: &[Vendor], typed: &str) -> Result<Vendor, Failure> {
    let rate = |v: &&Vendor| {
        if v.prefix.as_str().eq_ignore_ascii_case(typed.trim()) {
            return Match::Name;
        }
        match v.id.as_str().parse() {
            Ok(id) => naming::matches(typed, &id, &v.name),
            Err(_) => Match::None,
        }
    };
    let found = naming::best(vendors.iter().collect(), rate);
    let names = |list: &[&Vendor]| list.iter().map(|v| v.id.to_string()).collect::<Vec<_>>();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let mut failure = Failure::new(
                Exit::NotFound,
                "not_found",
                format!("no vendor {} is known here", quoted(typed)),
            )
            .advice("See the known vendors with\n    claviger vendor list");
            failure.more.insert("choices".into(), json!(names(&vendors.iter().collect::<Vec<_>>())));
            Err(failure)
        }
        several => {
            let names = names(several);
            let mut failure = Failure::new(
                Exit::Ambiguous,
                "ambiguous",
                format!("{} could be {}", quoted(typed), crate::text::either(&names)),
            )
            .advice("Give the vendor's whole id.");
            failure.more.insert("choices".into(), json!(names));
            Err(failure)
        }
    }
}

/// The id of the vendor that `typed` names.
pub(crate) fn id_of(
    daemon: &mut claviger_client::manager::Manager,
    typed: Option<&str>,
) -> Result<Option<VendorId>, Failure> {
    match typed {
        None => Ok(None),
        Some(typed) => Ok(Some(find(&daemon.vendors()?, typed)?.id)),
    }
}
