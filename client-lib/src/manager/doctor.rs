//! Finds out what is wrong, and says how to mend it: for `claviger doctor` and the window. Works without a daemon, and
//! starts none.

use std::path::Path;

use claviger_protocol::clock::{Clock as _, DAY, SystemClock, Timestamp};
use claviger_protocol::documents::{ActivationCertificate, Document, Keyset, VendorProfile};
use claviger_protocol::ipc::{Finding, Level};
use claviger_protocol::layout::{self, ClockFile, FileKind};

use super::profiles::{self, entries};
use super::words::{self, clean};
use super::{Endpoint, Manager, ManagerError, Scope, launch};
use crate::platform::{self, Places, manage};

/// No computer that runs this program has an earlier clock that is right: 2026-01-01.
const EARLIEST: i64 = 1_767_225_600;

/// How moments are said: by the local calendar of whoever reads it.
pub struct Calendar {
    /// `22 November 2026`
    pub date: fn(Timestamp) -> String,
    /// `22 November 2026, 08:15`
    pub moment: fn(Timestamp) -> String,
}

/// Looks at everything and gives what there is to say, the daemon first. Asks the daemon if it runs, which asks the vendors'
/// servers; starts none.
#[must_use]
pub fn look_around(calendar: &Calendar) -> Vec<Finding> {
    let mut findings = Vec::new();
    let theirs = daemon(&mut findings);
    stores(&mut findings);
    machine_id(&mut findings);
    clock(&mut findings, calendar);
    policy(&mut findings);
    // The daemon's word about the same thing is the better one: it sees its private files too.
    for finding in theirs {
        findings.retain(|ours: &Finding| ours.name != finding.name || ours.level > finding.level);
        if !findings.iter().any(|ours| ours.name == finding.name && ours.message == finding.message) {
            findings.push(finding);
        }
    }
    findings
}

fn found(name: &str, level: Level, message: String, advice: Option<&str>) -> Finding {
    Finding { name: name.to_owned(), level, message, advice: advice.map(str::to_owned) }
}

fn ok(name: &str, message: impl Into<String>) -> Finding {
    found(name, Level::Ok, message.into(), None)
}

/// Whether the daemon answers; gives what it found itself.
fn daemon(findings: &mut Vec<Finding>) -> Vec<Finding> {
    let endpoint = match Endpoint::find() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            findings.push(found("daemon", Level::Error, error.to_string(), error.advice()));
            return Vec::new();
        }
    };
    let asked =
        Manager::connect(&endpoint).and_then(|mut manager| Ok((manager.status()?, manager.doctor()?)));
    match asked {
        Ok((status, theirs)) => {
            let version = clean(&status.version);
            findings.push(ok("daemon", format!("it runs: clavigerd {version}, process {}", status.pid)));
            if version != env!("CARGO_PKG_VERSION") {
                findings.push(found(
                    "version",
                    Level::Warning,
                    format!("the daemon has version {version}, this program {}", env!("CARGO_PKG_VERSION")),
                    Some("Restart the daemon after an update."),
                ));
            }
            theirs
        }
        Err(ManagerError::NotRunning { .. }) if endpoint.scope() == Scope::System => {
            findings.push(found(
                "daemon",
                Level::Error,
                "this computer's daemon is not running".to_owned(),
                Some(&format!("An administrator starts it with: {}", manage::START_SYSTEM_DAEMON)),
            ));
            Vec::new()
        }
        Err(ManagerError::NotRunning { .. }) => {
            findings.push(match launch::program() {
                Ok(program) => ok(
                    "daemon",
                    format!(
                        "not running; claviger starts {} when it needs it. Vendors' servers were not asked",
                        program.display()
                    ),
                ),
                Err(error) => found("daemon", Level::Error, error.to_string(), error.advice().as_deref()),
            });
            Vec::new()
        }
        Err(error) => {
            let mut message = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                message = format!("{message} ({source})");
            }
            findings.push(found("daemon", Level::Error, message, error.advice()));
            Vec::new()
        }
    }
}

fn stores(findings: &mut Vec<Finding>) {
    for store in Places::of_process().stores {
        let shown = store.path.display();
        let metadata = match std::fs::metadata(&store.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                findings.push(unreadable(&store.path, &error));
                continue;
            }
        };
        if let Err(error) = std::fs::read_dir(&store.path) {
            findings.push(unreadable(&store.path, &error));
            continue;
        }
        let rights = manage::store_rights(&store.path, &metadata);
        if rights.locked_out {
            findings.push(found(
                "store",
                Level::Error,
                format!("the folder of activations {shown} cannot be written"),
                Some("What is licensed stays so, but nothing can be activated or given up: make the folder writable."),
            ));
        }
        if rights.open_to_others {
            findings.push(found(
                "store",
                Level::Warning,
                format!("the folder of activations {shown} can be written by others"),
                Some(manage::PRIVATE_ADVICE),
            ));
        }
        certificates(&store.path, findings);
    }
    if !findings.iter().any(|f| f.name == "store") {
        findings.push(ok("store", "the folders of activations can be read"));
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    found(
        "store",
        Level::Error,
        format!("the folder of activations {} cannot be read ({error})", path.display()),
        Some("Make it readable for everyone (chmod a+rX), and allow sandboxed hosts to see it."),
    )
}

/// Verifies every certificate of a store as a plug-in would.
fn certificates(store: &Path, findings: &mut Vec<Finding>) {
    let (mut good, mut bad) = (0, Vec::new());
    for vendor in entries(store).into_iter().filter(|path| path.is_dir()) {
        let file = vendor.join(layout::PROFILE);
        let verified = profiles::read_text(&file, VendorProfile::MAX_LEN)
            .map_err(|e| e.to_string())
            .and_then(|text| VendorProfile::verify(&text).map_err(|e| e.to_string()));
        let (profile, first) = match verified {
            Ok(verified) => verified,
            Err(error) => {
                findings.push(found(
                    "profile",
                    Level::Error,
                    format!("the vendor profile {} is not good ({error})", file.display()),
                    Some("Add it again from the vendor's installer: claviger vendor add FILE.clvprofile"),
                ));
                continue;
            }
        };
        let keyset = profiles::read_text(&vendor.join(layout::KEYSET), Keyset::MAX_LEN)
            .ok()
            .and_then(|text| Keyset::verify(&text, &profile.anchor(first.number)).ok())
            .unwrap_or(first);
        for file in entries(&vendor.join(layout::PRODUCTS)).iter().flat_map(|product| entries(product)) {
            let name = file.file_name().and_then(|name| name.to_str()).and_then(FileKind::read);
            let Some((FileKind::Certificate, activation)) = name else { continue };
            if file.with_file_name(FileKind::Receipt.name(activation)).exists() {
                continue;
            }
            let verified = profiles::read_text(&file, ActivationCertificate::MAX_LEN)
                .map_err(|e| e.to_string())
                .and_then(|text| ActivationCertificate::verify(&text, &keyset).map_err(|e| e.to_string()));
            match verified {
                Ok(_) => good += 1,
                Err(error) => bad.push((file, error)),
            }
        }
    }
    for (file, error) in &bad {
        findings.push(found(
            "certificate",
            Level::Error,
            format!("the certificate {} does not verify: {error}", file.display()),
            Some("Fetch it anew with: claviger license refresh. If that does not help, activate again."),
        ));
    }
    if bad.is_empty() && good > 0 {
        let what = words::count(good, "certificate verifies", "certificates verify");
        findings.push(ok("certificates", format!("{what} in {}", store.display())));
    }
}

fn machine_id(findings: &mut Vec<Finding>) {
    let found_one = platform::has_machine_id();
    findings.push(if found_one {
        ok("machine_id", "the operating system's machine id can be read")
    } else {
        found(
            "machine_id",
            Level::Error,
            "the operating system has no machine id, without which nothing can be activated".to_owned(),
            Some(manage::MACHINE_ID_ADVICE),
        )
    });
}

fn clock(findings: &mut Vec<Finding>, say: &Calendar) {
    let now = SystemClock.now();
    let seen = Places::of_process()
        .stores
        .iter()
        .filter_map(|store| profiles::read_text(&store.path.join(layout::CLOCK), layout::MAX_NOTE).ok())
        .filter_map(|text| serde_json::from_str::<ClockFile>(&text).ok())
        .map(|file| file.high_water)
        .max();
    let set_right = Some("Set this computer's clock right, then go online once: claviger license refresh");
    findings.push(match seen {
        _ if now.0 < EARLIEST => {
            found("clock", Level::Error, format!("the clock says {}", (say.date)(now)), set_right)
        }
        Some(seen) if now.plus(DAY) < seen => found(
            "clock",
            Level::Warning,
            format!("the clock says {}, but has already been at {}", (say.moment)(now), (say.date)(seen)),
            set_right,
        ),
        _ => ok("clock", format!("it is {}", (say.moment)(now))),
    });
}

fn policy(findings: &mut Vec<Finding>) {
    let file = manage::policy_file();
    let shown = file.display();
    let off = "network and telemetry stay off, checking licenses goes on";
    let finding = match std::fs::symlink_metadata(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ok("policy", "the administrator has set none")
        }
        Err(error) => found(
            "policy",
            Level::Error,
            format!("the administrator's policy {shown} cannot be read ({error}): {off}"),
            Some(manage::POLICY_ADVICE),
        ),
        Ok(found_file) if !manage::policy_is_safe(&found_file) => found(
            "policy",
            Level::Error,
            format!("the administrator's policy {shown} is not a file that only root can write: {off}"),
            Some(manage::POLICY_ADVICE),
        ),
        Ok(_) => match std::fs::File::open(&file) {
            Ok(_) => ok("policy", format!("the administrator's policy {shown} is in force")),
            Err(error) => found(
                "policy",
                Level::Error,
                format!("the administrator's policy {shown} cannot be read ({error}): {off}"),
                Some(manage::POLICY_ADVICE),
            ),
        },
    };
    findings.push(finding);
}
