//! `claviger-server notice`: what people are asked with before usage statistics, signed and announced.

use std::path::PathBuf;

use claviger_protocol::clock::{Clock as _, Date, SystemClock};

use super::common::DataArg;
use super::{Failure, FailureKind, Output};
use crate::keys::{Issuer, KeysLock, durable, read_bounded};
use crate::telemetry::notices::{self, Draft, StoredNotice};

/// Sign, announce and show the notices that people are asked with before usage statistics.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sign a notice and announce it. Without one, nobody is asked and nothing is counted.
    ///
    /// The first one holds at once. A change of what people agree to (controller, recipients, retention, jurisdiction,
    /// policy) takes effect after 30 days at the earliest, and everybody is asked again; a corrected word or a
    /// translation takes effect at once and asks nobody.
    Add {
        /// The notice as JSON; `claviger-server notice template` writes one to begin with.
        file: PathBuf,
        /// The day from which on it holds; otherwise the earliest that is possible.
        #[arg(long, value_name = "DATE")]
        effective: Option<Date>,
    },
    /// List all notices.
    List,
    /// Show a notice as people see it; without a number, the one in force.
    Show {
        /// Its version.
        version: Option<u32>,
        /// The language, such as en or de.
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// Take back a notice that is announced and not yet in force.
    Withdraw {
        /// Its version.
        version: u32,
    },
    /// Write a notice to begin with, for you to complete (`-`: standard output).
    Template {
        /// The file to write.
        file: PathBuf,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    let issuer = Issuer::load(&data)?;
    let folder = data.notices();
    let now = SystemClock.now();
    match &args.command {
        Command::Add { file, effective } => {
            let bytes = read_bounded(file, 256 * 1024)?;
            let draft = Draft::read(&bytes).map_err(|e| {
                Failure::new(FailureKind::BadInput, format!("{} is not a notice: {e}", file.display()))
                    .hint("claviger-server notice template FILE writes one to begin with")
            })?;
            let unfinished = draft.texts.values().any(|text| text.text.contains("[…]"));
            if unfinished || draft.controller.address.contains("[…]") {
                return Err(Failure::new(
                    FailureKind::BadInput,
                    "the notice still has places marked […]: complete them first",
                ));
            }
            let _lock = KeysLock::take(&data)?;
            let stored = notices::add(&folder, &issuer, draft, *effective, now)?;
            let when = if stored.notice.effective <= now.date() {
                "is in force from today on"
            } else {
                "is announced"
            };
            output.say(format!(
                "Notice {} {when}; it takes effect on {}.",
                stored.notice.version, stored.notice.effective
            ));
            output.result(&stored.notice);
        }
        Command::List => {
            let all = notices::load(&folder, &issuer)?;
            let (current, next) = notices::in_force(&all, now);
            for stored in &all {
                let state = if current == Some(stored) {
                    "in force"
                } else if next == Some(stored) {
                    "announced"
                } else {
                    "former"
                };
                let languages: Vec<&str> = stored.notice.texts.keys().map(String::as_str).collect();
                output.say(format!(
                    "{:>3}  {state:9}  from {}  {}",
                    stored.notice.version,
                    stored.notice.effective,
                    languages.join(", ")
                ));
            }
            if all.is_empty() {
                output.say("There is no notice, so nobody is asked: claviger-server notice add FILE");
            }
            output.result(&all.iter().map(|stored| &stored.notice).collect::<Vec<_>>());
        }
        Command::Show { version, language } => {
            let all = notices::load(&folder, &issuer)?;
            let found = match version {
                Some(version) => all.iter().find(|stored| stored.notice.version == *version),
                None => notices::in_force(&all, now).0,
            };
            let stored = found.ok_or_else(|| {
                Failure::new(FailureKind::NotFound, "there is no such notice")
                    .hint("claviger-server notice list shows them")
            })?;
            show(stored, language, output);
        }
        Command::Withdraw { version } => {
            let _lock = KeysLock::take(&data)?;
            notices::withdraw(&folder, &issuer, *version, now)?;
            output.say(format!("Notice {version} is withdrawn; what was in force stays in force."));
            output.result(&serde_json::json!({ "withdrawn": version }));
        }
        Command::Template { file } => {
            let text = template(&issuer)?;
            if file.as_os_str() == "-" {
                output.say(text.trim_end());
            } else {
                durable::create(file, text.as_bytes(), durable::PUBLIC).map_err(|e| {
                    Failure::new(FailureKind::Environment, format!("could not write {}: {e}", file.display()))
                })?;
                output.say(format!(
                    "Wrote {}. Complete every […], then run: claviger-server notice add {}",
                    file.display(),
                    file.display()
                ));
            }
            output.result(&serde_json::json!({ "file": file }));
        }
    }
    Ok(())
}

fn show(stored: &StoredNotice, language: &str, output: Output) {
    let notice = &stored.notice;
    let (tag, text) = notice.text(language);
    output
        .say(format!("Notice {} of {}, from {} on ({tag})\n", notice.version, notice.iss, notice.effective));
    output.say(format!("{}\n\n{}\n", text.title, text.text));
    output.say(format!("Fields: {}", notice.fields.join(", ")));
    let controller = &notice.controller;
    output.say(format!(
        "Controller: {}, {}, {}",
        controller.name,
        controller.address.replace('\n', ", "),
        controller.contact
    ));
    let recipients =
        if notice.recipients.is_empty() { "nobody else".to_owned() } else { notice.recipients.join(", ") };
    output.say(format!("Recipients: {recipients}. Counts are kept for {} days.", notice.retention_days));
    output.say(format!("Policy: {} ({})", notice.policy.url, notice.policy.version));
    output.say(format!("Complaints: {}, {}", notice.authority.name, notice.authority.url));
    output.result(notice);
}

/// A notice with the vendor's own values and every field that the law wants, to be completed.
fn template(issuer: &Issuer) -> Result<String, Failure> {
    let profile = issuer.profile();
    let draft = serde_json::json!({
        "id": "usage-statistics",
        "controller": {
            "name": profile.name,
            "address": "[…]",
            "contact": profile.contact.email.clone().unwrap_or_else(|| "privacy@example.com".to_owned()),
        },
        "recipients": [],
        "retention_days": 1095,
        "jurisdiction": "DE",
        "authority": { "name": "[…]", "url": "https://edpb.europa.eu/about-edpb/about-edpb/members_en" },
        "policy": {
            "url": profile.policy.clone().unwrap_or_else(|| "https://example.com/privacy".to_owned()),
            "version": SystemClock.now().date(),
        },
        "texts": { "en": {
            "title": "May we count how our plug-ins are used?",
            "text": format!(
                "{} would like to know how often its titles are used, in which version and in which DAW. If you agree, \
                 this computer sends one short report a week and title: the week, the title, its version, the DAW, and \
                 how often it was used, as a range. Nothing else.\n\nA report does not say who you are or which computer \
                 it comes from, and cannot be joined with your account. We do learn that this installation takes part, \
                 because it collects anonymous tokens for its reports. That a report cannot be traced assumes that we do \
                 not record the addresses it comes from, and we do not.\n\nYour plug-ins work the same whether you agree \
                 or not. You can change your mind at any time with: claviger consent withdraw\n\n[…]",
                profile.name
            ),
        } },
    });
    serde_json::to_string_pretty(&draft)
        .map(|text| text + "\n")
        .map_err(|e| Failure::new(FailureKind::Internal, e))
}
