//! `claviger check`: is a product licensed here? Reads and verifies files as a plug-in does, and asks nobody: it works
//! with the daemon stopped, hung or uninstalled.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use claviger_client::platform::Places;
use claviger_client::{License, OpenOptions, Status, Vendor};
use claviger_protocol::clock::Date;
use claviger_protocol::documents::{ActivationCertificate, Document, LicenseKind, Sunset, VendorProfile};
use claviger_protocol::ids::{ProductId, VendorId};
use claviger_protocol::jws::Unverified;
use claviger_protocol::layout::{self, EndedNote, FileKind};
use claviger_protocol::naming;
use serde_json::json;

use crate::describe::named;
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{self, clean, quoted};
use crate::vendors::{self, Known, entries};

/// `claviger check`
#[derive(Debug, Args)]
#[command(after_long_help = exit::check_table())]
pub(crate) struct Arguments {
    /// Its name, its id, the ending of its id, or the serial number of its license
    product: String,
    /// Only of this vendor: its id, name or serial prefix
    #[arg(long, value_name = "VENDOR")]
    vendor: Option<String>,
    /// The release to be run, as 2026-11-22: is it still covered by the update plan?
    #[arg(long, value_name = "DATE")]
    release_date: Option<Date>,
    /// Trust this vendor profile instead of the one on this computer
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// A product that there are files about.
#[derive(Debug)]
struct Candidate {
    vendor: VendorId,
    product: ProductId,
    name: String,
    /// The serial number of its certificate.
    serial: Option<String>,
}

/// Carries `claviger check` out.
pub(crate) fn run(arguments: &Arguments, out: &mut Output) -> Result<Exit, Failure> {
    let known = match &arguments.profile {
        Some(file) => vec![given(file)?],
        None => vendors::known(),
    };
    let vendor = arguments.vendor.as_deref().map(|typed| vendors::named(typed, &known)).transpose()?;
    let Some(candidate) = choose(&arguments.product, vendor.as_ref(), &known)? else {
        return Ok(nothing(&arguments.product, out));
    };
    let profile = known.iter().find(|k| k.profile.iss == candidate.vendor).ok_or_else(|| {
        Failure::new(
            Exit::Status(Status::Untrusted),
            "no_profile",
            format!("there is no good profile of the vendor {}, so its keys are not known", candidate.vendor),
        )
        .advice("Add it with\n    claviger vendor add FILE.clvprofile")
    })?;
    let vendor = Vendor::compiled_in(&profile.text).map_err(|e| Failure::input("bad_profile", &e))?;
    let options =
        arguments.release_date.map_or_else(OpenOptions::new, |date| OpenOptions::new().released(date));
    let license =
        vendor.open(candidate.product.as_str(), options).map_err(|e| Failure::input("bad_product", &e))?;
    let status = settled(&license);
    report(&license, status, &candidate, &profile.profile, out);
    Ok(Exit::Status(status))
}

fn given(file: &Path) -> Result<Known, Failure> {
    let name = clean(&file.display().to_string());
    let text = vendors::read_text(file, VendorProfile::MAX_LEN)
        .map_err(|error| Failure::storage(format!("{name} cannot be read"), &error))?;
    let (profile, _) = VendorProfile::verify(&text).map_err(|error| {
        Failure::new(Exit::Input, "bad_profile", format!("{name} is not a good vendor profile"))
            .because(&error)
    })?;
    Ok(Known { profile, text })
}

/// The status, once a slow disk has answered; a plug-in would not wait.
fn settled(license: &License) -> Status {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = license.status();
        if !matches!(status, Status::Pending | Status::Unknown) || Instant::now() >= deadline {
            return status;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The one product that `typed` means; none when there are no files about any.
fn choose(typed: &str, vendor: Option<&VendorId>, known: &[Known]) -> Result<Option<Candidate>, Failure> {
    let mut all = candidates(known);
    all.retain(|c| vendor.is_none_or(|id| *id == c.vendor));
    let by_serial =
        |c: &Candidate| c.serial.as_ref().is_some_and(|serial| naming::same_serial(typed, serial));
    let mut found = match all.iter().position(by_serial) {
        Some(at) => vec![all.swap_remove(at)],
        None => naming::best(all, |c| naming::matches(typed, &c.product, &c.name)),
    };
    match found.len() {
        // What is called so may be the one whose certificate does not tell its name any more.
        0 => Ok(by_id(typed, vendor, known).or_else(|| unreadable(vendor))),
        1 => Ok(found.pop()),
        _ => {
            let choices: Vec<String> = found.iter().map(|c| c.product.to_string()).collect();
            let several = found.iter().any(|c| c.vendor != found[0].vendor);
            let shown: Vec<String> = found
                .iter()
                .map(|c| match several {
                    true => format!("{} of {}", c.product, c.vendor),
                    false => c.product.to_string(),
                })
                .collect();
            let commands: Vec<String> = found
                .iter()
                .map(|c| match several {
                    true => format!("\n    claviger check {} --vendor {}", c.product, c.vendor),
                    false => format!("\n    claviger check {}", c.product),
                })
                .collect();
            let mut failure = Failure::new(
                Exit::Ambiguous,
                "ambiguous",
                format!("{} could be {}", quoted(typed), text::either(&shown)),
            )
            .advice(format!("Say which one:{}", commands.concat()));
            failure.more.insert("choices".into(), json!(choices));
            let vendors: Vec<String> = found.iter().map(|c| c.vendor.to_string()).collect();
            failure.more.insert("vendors".into(), json!(vendors));
            Err(failure)
        }
    }
}

/// A product with a certificate, but none that tells its name: what was typed may be its name.
fn unreadable(named: Option<&VendorId>) -> Option<Candidate> {
    for store in Places::of_process().stores {
        for folder in entries(&store.path) {
            let Some(vendor) = file_name(&folder).and_then(|name| name.parse::<VendorId>().ok()) else {
                continue;
            };
            if named.is_some_and(|id| *id != vendor) {
                continue;
            }
            for place in entries(&folder.join(layout::PRODUCTS)) {
                let Some(product) = file_name(&place).and_then(|name| name.parse::<ProductId>().ok()) else {
                    continue;
                };
                if holds_unreadable(&place) {
                    return Some(Candidate { vendor, product, name: String::new(), serial: None });
                }
            }
        }
    }
    None
}

/// Whether a certificate in this folder cannot be read as one.
fn holds_unreadable(folder: &Path) -> bool {
    entries(folder).into_iter().any(|file| {
        let kind = file_name(&file).and_then(FileKind::read).map(|(kind, _)| kind);
        kind == Some(FileKind::Certificate)
            && vendors::read_text(&file, ActivationCertificate::MAX_LEN).map_or(true, |text| {
                let read = Unverified::parse::<ActivationCertificate>(text.trim());
                read.and_then(|unverified| unverified.peek::<ActivationCertificate>()).is_err()
            })
    })
}

/// A whole id of which there are no files: the vendor is the one whose id it continues.
fn by_id(typed: &str, named: Option<&VendorId>, known: &[Known]) -> Option<Candidate> {
    let product: ProductId = typed.trim().parse().ok()?;
    if let Some(vendor) = named {
        return Some(Candidate { vendor: vendor.clone(), product, name: String::new(), serial: None });
    }
    let vendor = known
        .iter()
        .map(|k| &k.profile.iss)
        .filter(|id| product.as_str().starts_with(&format!("{id}.")))
        .max_by_key(|id| id.as_str().len())
        .or(if let [only] = known { Some(&only.profile.iss) } else { None })?;
    Some(Candidate { vendor: vendor.clone(), product, name: String::new(), serial: None })
}

/// Every product that a store has a folder of, and those that a sunset names.
fn candidates(known: &[Known]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |vendor: &VendorId, product: ProductId, name: String, serial: Option<String>| match found
        .iter_mut()
        .find(|c| c.vendor == *vendor && c.product == product)
    {
        Some(old) => {
            if old.name.is_empty() {
                old.name = name;
            }
            old.serial = old.serial.take().or(serial);
        }
        None => found.push(Candidate { vendor: vendor.clone(), product, name, serial }),
    };
    for store in Places::of_process().stores {
        for folder in entries(&store.path) {
            let Some(vendor) = file_name(&folder).and_then(|name| name.parse::<VendorId>().ok()) else {
                continue;
            };
            for product in entries(&folder.join(layout::PRODUCTS)) {
                if let Some(id) = file_name(&product).and_then(|name| name.parse::<ProductId>().ok()) {
                    let (name, serial) = name_of(&product, &id);
                    add(&vendor, id, name, serial);
                }
            }
            let sunset =
                vendors::read_text(&folder.join(layout::SUNSET), Sunset::MAX_LEN).ok().and_then(|text| {
                    let known = known.iter().find(|k| k.profile.iss == vendor)?;
                    Sunset::verify(&text, &known.profile.anchor(0)).ok()
                });
            for id in sunset.into_iter().flat_map(|s| s.products) {
                add(&vendor, id, String::new(), None);
            }
        }
    }
    found
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// The name and the serial number in a certificate of this very product, or else the name in a note about one that
/// ended. Not believed, only matched with what was typed.
fn name_of(folder: &Path, product: &ProductId) -> (String, Option<String>) {
    let certificates = entries(folder).into_iter().filter(|f| {
        file_name(f).and_then(FileKind::read).is_some_and(|(kind, _)| kind == FileKind::Certificate)
    });
    certificates
        .filter_map(|file| vendors::read_text(&file, ActivationCertificate::MAX_LEN).ok())
        .filter_map(|text| {
            let unverified = Unverified::parse::<ActivationCertificate>(text.trim()).ok()?;
            unverified.peek::<ActivationCertificate>().ok()
        })
        .find(|certificate| certificate.product == *product)
        .map(|certificate| (certificate.name, Some(certificate.serial.to_string())))
        .or_else(|| Some((name_of_ended(folder)?, None)))
        .unwrap_or_default()
}

/// The name in the latest note about an activation that ended.
fn name_of_ended(folder: &Path) -> Option<String> {
    entries(folder)
        .into_iter()
        .filter(|f| file_name(f).and_then(FileKind::read).is_some_and(|(kind, _)| kind == FileKind::Ended))
        .filter_map(|file| vendors::read_text(&file, layout::MAX_NOTE).ok())
        .filter_map(|text| serde_json::from_str::<EndedNote>(&text).ok())
        .filter(|note| !note.name.is_empty())
        .max_by_key(|note| note.at)
        .map(|note| note.name)
}

fn report(
    license: &License,
    status: Status,
    candidate: &Candidate,
    profile: &VendorProfile,
    out: &mut Output,
) {
    let reason = license.reason();
    let sentence = if reason.status == status { reason.sentence } else { status.sentence().to_owned() };
    let certificate = license.certificate();
    let kind = certificate.as_ref().map(|c| c.kind);
    let (expires, updates) = (license.expires(), license.updates_until());
    out.json(&json!({
        "product": candidate.product,
        "name": candidate.name,
        "vendor": candidate.vendor,
        "licensed": status.is_licensed(),
        "status": status.code(),
        "reason": reason.code,
        "message": sentence,
        "serial": certificate.as_ref().map(|c| &c.serial),
        "kind": kind,
        "updates_until": updates,
        "expires": expires,
        "days_left": license.days_left(),
        "entitlements": *license.entitlements(),
        "scope": license.scope().map(|scope| format!("{scope:?}").to_lowercase()),
    }));
    let title = named(&candidate.name, candidate.product.as_str());
    let look = if status.is_licensed() { Look::Good } else { Look::Bad };
    let title = out.look(look, &title);
    out.sentence(format!("{title}: {}", text::sentence(&sentence)));
    let term = match (kind, expires, updates) {
        (Some(LicenseKind::Perpetual), _, Some(last)) => {
            format!("for ever, updates until {}", text::calendar(last))
        }
        (Some(LicenseKind::Perpetual), ..) => "for ever".to_owned(),
        (Some(_), Some(end), _) if status.is_licensed() => {
            let days = usize::try_from(license.days_left().unwrap_or(0)).unwrap_or(0);
            format!("until {} ({} left)", text::date(end), text::count(days, "day", "days"))
        }
        (Some(_), Some(end), _) => format!("until {}", text::date(end)),
        _ => String::new(),
    };
    out.fields(&[
        ("Vendor", named(&profile.name, profile.iss.as_str())),
        ("Serial number", certificate.as_ref().map(|c| c.serial.to_string()).unwrap_or_default()),
        ("Valid", term),
        ("Features", license.entitlements().iter().map(|e| clean(e)).collect::<Vec<_>>().join(", ")),
    ]);
}

/// There are no files about such a product.
fn nothing(typed: &str, out: &mut Output) -> Exit {
    let hidden = Places::of_process().stores.into_iter().find(|store| {
        std::fs::read_dir(&store.path).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound)
    });
    let status = if hidden.is_some() { Status::StateUnreachable } else { Status::NotActivated };
    out.json(&json!({
        "product": typed, "name": null, "vendor": null, "licensed": false,
        "status": status.code(), "reason": status.code(), "message": status.sentence(),
        "serial": null, "kind": null, "updates_until": null, "expires": null, "days_left": null,
        "entitlements": [], "scope": null,
    }));
    let title = out.look(Look::Bad, &clean(typed));
    out.sentence(format!("{title}: {}", status.sentence()));
    Exit::Status(status)
}
