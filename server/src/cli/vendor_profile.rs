//! `claviger-server vendor-profile`: the public file that installers ship and plug-ins compile in.

use std::path::PathBuf;

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::documents::VendorProfile;

use super::common::DataArg;
use super::init::{accent, logo, mail, page, server_url};
use super::keys::open_root;
use super::passphrase::PassphraseSource;
use super::{Failure, FailureKind, Output};
use crate::keys::{KeysError, PublicFiles, durable, install};

/// Show the vendor profile, write it out, or sign it anew.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what the profile says.
    Show,
    /// Write the profile to a file (`-`: standard output), for installers and plug-ins.
    Export {
        /// The file to write.
        file: PathBuf,
    },
    /// Sign the profile anew with a root key, with the keyset in force and what else is given here.
    Renew(Box<Renew>),
}

#[derive(Debug, clap::Args)]
struct Renew {
    /// The root key's file.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// A new name for people.
    #[arg(long)]
    name: Option<String>,
    /// A new address of the server.
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
    /// A new address of the privacy policy.
    #[arg(long, value_name = "URL")]
    policy_url: Option<String>,
    /// A new mail address of customer support.
    #[arg(long, value_name = "ADDRESS")]
    contact_email: Option<String>,
    /// A new page of customer support.
    #[arg(long, value_name = "URL")]
    contact_url: Option<String>,
    /// A new colour of the vendor's section in the manager window; `none` takes it out.
    #[arg(long, value_name = "#RRGGBB")]
    accent: Option<String>,
    /// A new picture of the vendor's section in the manager window, a PNG file of at most 16 KiB and 512 pixels a side;
    /// `none` takes it out.
    #[arg(long, value_name = "FILE")]
    logo: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    let data = args.data.dir()?;
    match args.command {
        Command::Show => {
            show(&PublicFiles::load(&data)?, output);
        }
        Command::Export { file } => {
            let public = PublicFiles::load(&data)?;
            let text = format!("{}\n", public.profile_text);
            if file.as_os_str() == "-" {
                use std::io::Write as _;
                std::io::stdout()
                    .write_all(text.as_bytes())
                    .map_err(|e| Failure::new(FailureKind::Environment, format!("could not write: {e}")))?;
                return Ok(());
            }
            durable::write(&file, text.as_bytes(), durable::PUBLIC).map_err(KeysError::io("write", &file))?;
            output.say(format_args!("Wrote the profile of {} to {}.", public.profile.iss, file.display()));
            output.result(&serde_json::json!({ "file": file, "vendor": public.profile.iss }));
        }
        Command::Renew(renew) => {
            let change = changes(&renew)?;
            let (file, key) = open_root(&renew.root_key, &renew.passphrase)?;
            let public = install::renew_profile(&data, &file, &key, SystemClock.now(), change)?;
            output.say("The profile was signed anew. Ship it with the next installers:");
            output.say(format_args!("  {}\n", data.profile().display()));
            show(&public, output);
        }
    }
    Ok(())
}

/// Takes a colour or a picture out of the profile.
const NONE: &str = "none";

fn changes(renew: &Renew) -> Result<impl FnOnce(&mut VendorProfile) + use<>, Failure> {
    let name = renew.name.as_ref().map(|name| name.trim().to_owned());
    if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 128) {
        return Err(Failure::new(FailureKind::Usage, "the vendor's name must have 1 to 128 characters"));
    }
    let server = renew.server_url.as_deref().map(server_url).transpose()?;
    let policy = renew.policy_url.as_deref().map(|url| page("--policy-url", url)).transpose()?;
    let email = renew.contact_email.as_deref().map(mail).transpose()?;
    let url = renew.contact_url.as_deref().map(|url| page("--contact-url", url)).transpose()?;
    let accent = match renew.accent.as_deref() {
        None => None,
        Some(NONE) => Some(None),
        Some(text) => Some(Some(accent(text)?)),
    };
    let logo = match renew.logo.as_deref() {
        None => None,
        Some(file) if file.as_os_str() == NONE => Some(None),
        Some(file) => Some(Some(logo(file)?)),
    };
    Ok(move |profile: &mut VendorProfile| {
        if let Some(accent) = accent {
            profile.accent = accent;
        }
        if let Some(logo) = logo {
            profile.logo = logo;
        }
        if let Some(name) = name {
            profile.name = name;
        }
        if let Some(server) = server {
            profile.server = server;
        }
        profile.policy = policy.or(profile.policy.take());
        profile.contact.email = email.or(profile.contact.email.take());
        profile.contact.url = url.or(profile.contact.url.take());
    })
}

fn show(public: &PublicFiles, output: Output) {
    let profile = &public.profile;
    let first =
        VendorProfile::verify(&public.profile_text).map(|(_, keyset)| keyset.number).unwrap_or_default();
    output.say(format_args!(
        "Vendor:   {} ({}), serial numbers {}-…",
        profile.name, profile.iss, profile.prefix
    ));
    output.say(format_args!("Server:   {}", profile.server));
    if let Some(policy) = &profile.policy {
        output.say(format_args!("Policy:   {policy}"));
    }
    for contact in [&profile.contact.email, &profile.contact.url].into_iter().flatten() {
        output.say(format_args!("Contact:  {contact}"));
    }
    if let Some(accent) = profile.shown_accent() {
        output.say(format_args!("Accent:   {accent}"));
    }
    if let Some(logo) = profile.shown_logo() {
        let (width, height) = logo.size();
        output.say(format_args!("Logo:     PNG, {width} × {height} pixels, {} bytes", logo.png().len()));
    }
    output.say(format_args!("Root key: {} (active)", profile.roots.active.id()));
    output.say(format_args!("          {} (spare)", profile.roots.spare.id()));
    output.say(format_args!("Keyset:   {first} (in force: {})", public.keyset.number));
    if first < public.keyset.number {
        output
            .say("The profile brings an older keyset along; `vendor-profile renew` puts the newest into it.");
    }
    output.result(
        &serde_json::json!({ "profile": profile, "profile_keyset": first, "keyset": public.keyset.number }),
    );
}
