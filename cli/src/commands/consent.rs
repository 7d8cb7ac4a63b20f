//! `claviger consent`: what a person allows a vendor to learn about the use of its titles. Saying no is as easy as
//! saying yes, and nothing is counted before.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use claviger_client::manager::Manager;
use claviger_client::manager::export::document;
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{Consent, ConsentState, NoticeShown};
use serde_json::json;

use crate::connect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Look, Output};
use crate::text::{self, clean};

/// `claviger consent …`
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what you have decided, and the record of it
    ///
    /// Asks nobody outside this computer. With --json, the record (its form is
    /// docs/consent-record.schema.json) and the signed receipt are part of the document.
    Show {
        /// Only about this vendor: its id, name or serial prefix
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<String>,
    },
    /// Read a vendor's notice and agree to usage statistics
    ///
    /// Shows who wants to know what, for what, and for how long, then asks. It needs a terminal: nobody
    /// agrees for you, no script and no administrator. `claviger consent withdraw` takes it back.
    Grant(Whose),
    /// Refuse usage statistics: nothing is counted, nothing is sent
    Refuse(Whose),
    /// Take an agreement back: what was counted and not sent yet is wiped at once
    Withdraw(Whose),
}

/// About whom.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The vendor: its id, name or serial prefix; not needed where only one is known
    #[arg(long, value_name = "VENDOR")]
    vendor: Option<String>,
}

/// Carries `claviger consent …` out.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Show { vendor } => show(vendor.as_deref(), out),
        Command::Grant(whose) => grant(whose.vendor.as_deref(), out),
        Command::Refuse(whose) => refuse(whose.vendor.as_deref(), out),
        Command::Withdraw(whose) => withdraw(whose.vendor.as_deref(), out),
    }
}

/// The vendor that is meant; the only one, where none is named.
fn whose(daemon: &mut Manager, typed: Option<&str>) -> Result<VendorId, Failure> {
    if let Some(vendor) = super::vendor::id_of(daemon, typed)? {
        return Ok(vendor);
    }
    let mut vendors = daemon.vendors()?;
    if vendors.len() > 1 {
        let names: Vec<String> = vendors.iter().map(|v| v.id.to_string()).collect();
        let mut failure = Failure::new(Exit::Ambiguous, "vendor_needed", "Several vendors are known here.")
            .advice(format!("Say which one is meant with --vendor: {}.", text::either(&names)));
        failure.more.insert("choices".into(), json!(names));
        return Err(failure);
    }
    vendors.pop().map(|vendor| vendor.id).ok_or_else(|| {
        Failure::new(Exit::NotFound, "not_found", "No vendor is known here, so there is nothing to decide.")
            .advice("Make one known with `claviger vendor add FILE.clvprofile`.")
    })
}

fn show(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = super::vendor::id_of(&mut daemon, vendor)?;
    let consents = daemon.consents(vendor)?;
    let documents: Vec<_> = consents.iter().map(document).collect();
    out.json(&json!({ "consents": documents }));
    if consents.is_empty() {
        out.line("No vendor is known here, so nobody can count anything.");
        return Ok(Exit::Done);
    }
    for consent in &consents {
        say(consent, out);
    }
    out.line("");
    out.line("  claviger consent grant      reads the vendor's notice, then asks");
    out.line("  claviger consent refuse     says no");
    out.line("  claviger consent withdraw   takes a yes back, at any time");
    out.line("  claviger privacy preview    shows what will be sent, `privacy log` what was");
    Ok(Exit::Done)
}

fn say(consent: &Consent, out: &mut Output) {
    let name = out.look(Look::Strong, &format!("{} ({})", clean(&consent.vendor_name), consent.vendor));
    out.line(name);
    let since = consent.since.map(text::date).unwrap_or_default();
    let sentence = match consent.state {
        ConsentState::None => "You were not asked for usage statistics. Nothing is counted.".to_owned(),
        ConsentState::Requested => "You were asked and have not answered. Nothing is counted.".to_owned(),
        ConsentState::Given if consent.counting => format!("You agreed to usage statistics on {since}."),
        ConsentState::Given => {
            format!("You agreed to usage statistics on {since}, but they are off. Nothing is counted.")
        }
        ConsentState::Refused => format!("You refused usage statistics on {since}. Nothing is counted."),
        ConsentState::Withdrawn => format!("You took your agreement back on {since}. Nothing is counted."),
        ConsentState::Expired => {
            format!("Your decision ended on {since}, 13 months later. Nothing is counted.")
        }
        ConsentState::Superseded => {
            format!("The vendor's terms changed on {since}, which ended your decision. Nothing is counted.")
        }
    };
    out.sentence(format!("  {sentence}"));
    let mut fields = Vec::new();
    if let Some(expires) = consent.expires {
        fields.push(("Until", text::date(expires)));
    }
    if let Some(veto) = &consent.veto {
        let why = match veto.as_str() {
            "policy" => "switched off by the administrator's policy".to_owned(),
            "do_not_track" => "switched off by DO_NOT_TRACK".to_owned(),
            other => clean(other),
        };
        fields.push(("Veto", why));
    }
    if let Some(version) = consent.notice_version {
        fields.push(("Notice", format!("version {version}")));
    }
    out.fields(&fields);
}

fn grant(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let no_terminal = || {
        Failure::new(Exit::NotPermitted, "no_terminal", "Nobody can agree without reading and answering.")
            .advice("Run `claviger consent grant` on a terminal, without --json. Refusing and withdrawing need none.")
    };
    if out.is_json() || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(no_terminal());
    }
    if do_not_track() {
        return Err(Failure::new(
            Exit::NotPermitted,
            "do_not_track",
            "DO_NOT_TRACK is set here: you have said no already.",
        )
        .advice("To agree all the same, unset DO_NOT_TRACK and run the command again."));
    }
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|_| no_terminal())?;
    let mut daemon = connect::daemon(out)?;
    let vendor = whose(&mut daemon, vendor)?;
    let asked = daemon.show_notice(vendor.clone(), language())?;
    notice(&asked.notice, out);
    out.finish()?;
    let mut answers =
        BufReader::new(terminal.try_clone().map_err(|e| Failure::storage("The terminal failed.", &e))?);
    let failed = |e: std::io::Error| Failure::storage("The terminal failed.", &e);
    // No answer is the default, and both take one word.
    let yes = loop {
        terminal.write_all(b"Do you agree? Type yes or no: ").map_err(failed)?;
        let mut answer = String::new();
        if answers.read_line(&mut answer).map_err(failed)? == 0 {
            return Err(Failure::new(Exit::Cancelled, "cancelled", "Not answered; nothing is counted."));
        }
        match answer.trim().to_lowercase().as_str() {
            "yes" | "y" => break true,
            "no" | "n" => break false,
            _ => {}
        }
    };
    let consent = if yes {
        daemon.grant(vendor, asked.challenge)?
    } else {
        daemon.refuse(vendor, Some(asked.challenge))?
    };
    say(&consent, out);
    if yes {
        out.sentence(
            "The first report leaves in a week at the earliest; until then nothing does. `claviger privacy preview` \
             shows every byte beforehand, `claviger consent withdraw` ends it at once.",
        );
    }
    Ok(Exit::Done)
}

/// All of what a person must know, before the question.
fn notice(notice: &NoticeShown, out: &mut Output) {
    let title = out.look(Look::Strong, &format!("{}: {}", clean(&notice.vendor_name), clean(&notice.title)));
    out.line(title);
    out.line("");
    for paragraph in notice.text.split('\n') {
        out.sentence(text::one_line(paragraph, 4_000));
    }
    out.line("");
    let days = text::count(usize::try_from(notice.retention_days).unwrap_or(0), "day", "days");
    let recipients: Vec<String> = notice.recipients.iter().map(|r| clean(r)).collect();
    let mut fields = vec![
        ("What is sent", notice.fields.iter().map(|f| clean(f)).collect::<Vec<_>>().join(", ")),
        ("Responsible", format!("{}, {}", clean(&notice.controller), text::one_line(&notice.address, 512))),
        ("Contact", clean(&notice.contact)),
        (
            "Received by",
            if recipients.is_empty() { "nobody else".to_owned() } else { text::list(&recipients) },
        ),
        ("Kept for", days),
        ("Law", clean(&notice.jurisdiction)),
        ("Complaints", format!("{}, {}", clean(&notice.authority), clean(&notice.authority_url))),
        ("Policy", format!("{} (version {})", clean(&notice.policy_url), clean(&notice.policy_version))),
    ];
    if let Some(officer) = &notice.protection_officer {
        fields.insert(3, ("Data protection", clean(officer)));
    }
    out.fields(&fields);
    out.line("");
}

fn refuse(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = whose(&mut daemon, vendor)?;
    let consent = daemon.refuse(vendor, None)?;
    out.json(&json!({ "consent": document(&consent) }));
    say(&consent, out);
    Ok(Exit::Done)
}

fn withdraw(vendor: Option<&str>, out: &mut Output) -> Result<Exit, Failure> {
    let mut daemon = connect::daemon(out)?;
    let vendor = whose(&mut daemon, vendor)?;
    let consent = daemon.withdraw(vendor)?;
    out.json(&json!({ "consent": document(&consent) }));
    if consent.state == ConsentState::Withdrawn {
        out.sentence("What was counted and not sent yet is gone, and so are the tokens for sending it.");
    }
    say(&consent, out);
    Ok(Exit::Done)
}

/// <https://consoledonottrack.com>
fn do_not_track() -> bool {
    std::env::var_os("DO_NOT_TRACK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The person's language, as a tag; English where none is set.
fn language() -> Option<String> {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))?;
    let tag = set.split(['.', '@']).next().unwrap_or_default().replace('_', "-");
    let fits = tag.len() <= 35 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (fits && !tag.is_empty()).then_some(tag)
}
