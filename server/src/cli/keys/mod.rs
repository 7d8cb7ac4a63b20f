//! `claviger-server keys`: issuing keys, and the keysets that say which of them count.

mod change;
mod sign;

use std::path::{Path, PathBuf};

use claviger_protocol::documents::KeyStatus;
use claviger_protocol::ids::ProductId;
use claviger_protocol::keys::{KeyId, SigningKey};
use serde::Serialize;

use super::common::DataArg;
use super::passphrase::PassphraseSource;
use super::{Failure, FailureKind, Output};
use crate::config::DataDir;
use crate::keys::install::{self, Installed};
use crate::keys::request::{self, word};
use crate::keys::root::RootKeyFile;
use crate::keys::{Issuer, PublicFiles, issuing};

/// List, rotate, retire and revoke the server's issuing keys.
///
/// A new keyset is made in three steps, so that the root key never touches the server: `keys request` here, `keys sign`
/// on the machine with the root key, `keys install` here.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the keyset in force and its keys.
    List,
    /// Make a new issuing key and write a request to have it signed.
    Request {
        /// Where to write the request [default: VENDOR-keyset-NUMBER.clvrequest in this folder].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Forget the pending request instead, with the keys that it would have added.
        #[arg(long, conflicts_with = "out")]
        cancel: bool,
    },
    /// Sign a request with a root key: on the machine that has it, without the data folder.
    Sign {
        /// The request.
        request: PathBuf,
        #[command(flatten)]
        root: RootKey,
        /// Where to write the keyset [default: VENDOR-keyset-NUMBER.jws beside the request].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Sign without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Take a signed keyset or sunset into use; a running server follows at once.
    Install {
        /// The signed file.
        file: PathBuf,
    },
    /// Stop signing with a key. What it signed stays good for ever.
    Retire(Change),
    /// Declare a key stolen. What it signed stops being good, and is issued anew when a machine asks.
    Compromise(Change),
    /// Sign a sunset: it licenses products on every machine, for ever. It cannot be taken back.
    Sunset {
        /// The products to set free.
        #[arg(required = true)]
        products: Vec<ProductId>,
        #[command(flatten)]
        root: RootKey,
        /// Where to write the sunset [default: VENDOR-sunset.jws in this folder].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Sign without asking.
        #[arg(long)]
        yes: bool,
    },
}

/// A change to one key.
#[derive(Debug, clap::Args)]
struct Change {
    /// The key's id, or the beginning of it; `keys list` shows them.
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    kid: String,
    /// Sign and install at once with this root key instead of writing a request.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Where to write the request [default: VENDOR-keyset-NUMBER.clvrequest in this folder].
    #[arg(long, value_name = "FILE", conflicts_with = "root_key")]
    out: Option<PathBuf>,
}

/// A root key and its passphrase.
#[derive(Debug, clap::Args)]
struct RootKey {
    /// The root key's file.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// Opens a root key, asking for its passphrase.
pub(super) fn open_root(
    path: &Path,
    passphrase: &PassphraseSource,
) -> Result<(RootKeyFile, SigningKey), Failure> {
    let file = RootKeyFile::read(path)?;
    let what = format!("the {} root key of {} ({})", file.role(), file.vendor_name(), file.vendor());
    let key = file.open(path, &passphrase.get(&what)?)?;
    Ok((file, key))
}

/// Runs the command.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    match args.command {
        Command::List => list(&args.data.dir()?, output),
        Command::Request { cancel: true, .. } => change::cancel(&args.data.dir()?, output),
        Command::Request { out, .. } => change::request(&args.data.dir()?, out, output),
        Command::Retire(what) => change::status(&args.data.dir()?, &what, KeyStatus::Retired, output),
        Command::Compromise(what) => change::status(&args.data.dir()?, &what, KeyStatus::Compromised, output),
        Command::Install { file } => install_file(&args.data.dir()?, &file, output),
        Command::Sign { request, root, out, yes } => sign::keyset(&request, &root, out, yes, output),
        Command::Sunset { products, root, out, yes } => sign::sunset(products, &root, out, yes, output),
    }
}

#[derive(Serialize)]
struct Row {
    kid: KeyId,
    status: &'static str,
    since: claviger_protocol::clock::Timestamp,
    here: bool,
    signing: bool,
    wanted: Option<&'static str>,
}

fn list(data: &DataDir, output: Output) -> Result<(), Failure> {
    let public = PublicFiles::load(data)?;
    let pending = request::pending(data, &public)?;
    let held = issuing::load_all(&data.keys())?;
    let signing = Issuer::load(data).ok().map(|issuer| issuer.signing_key().id().clone());
    let here = |kid: &KeyId| held.iter().any(|key| key.id() == kid);
    let mut rows: Vec<Row> = Vec::new();
    for key in &public.keyset.keys {
        let kid = key.x.id();
        let wish = pending.as_ref().and_then(|p| p.keys.iter().find(|k| k.x == key.x));
        rows.push(Row {
            status: word(key.status),
            since: key.since,
            here: here(&kid),
            signing: signing.as_ref() == Some(&kid),
            wanted: wish.filter(|w| w.status != key.status).map(|w| word(w.status)),
            kid,
        });
    }
    let fresh = pending.iter().flat_map(|p| &p.keys).filter(|k| public.keyset.find(&k.x.id()).is_none());
    for key in fresh {
        let kid = key.x.id();
        rows.push(Row {
            status: "unsigned",
            since: key.since,
            here: here(&kid),
            signing: false,
            wanted: Some(word(key.status)),
            kid,
        });
    }
    output.say(format_args!(
        "Keyset {} of {} ({}), signed {}.",
        public.keyset.number,
        public.profile.name,
        public.profile.iss,
        public.keyset.iat.date()
    ));
    for row in &rows {
        let mut remarks = Vec::new();
        if row.signing {
            remarks.push("signs".to_owned());
        }
        if !row.here {
            remarks.push("not on this server".to_owned());
        }
        if let Some(wanted) = row.wanted {
            remarks.push(format!("a request to make it {wanted} waits for its signature"));
        }
        output.say(format_args!(
            "  {}  {:<11} since {}  {}",
            row.kid,
            row.status,
            row.since.date(),
            remarks.join(", ")
        ));
    }
    if signing.is_none() {
        output.warn("warning: no active key of this keyset lies on this server: it cannot sign");
    }
    output.result(&serde_json::json!({
        "vendor": public.profile.iss, "keyset": public.keyset.number, "keys": rows,
        "pending_request": pending.is_some(), "sunset": public.sunset_text.is_some(),
    }));
    Ok(())
}

fn install_file(data: &DataDir, file: &Path, output: Output) -> Result<(), Failure> {
    let text = crate::keys::read_text(file)?
        .ok_or_else(|| Failure::new(FailureKind::NotFound, format!("there is no file {}", file.display())))?;
    let installed = install::install(data, file, &text)?;
    say_installed(&installed, output);
    output.result(&installed);
    Ok(())
}

fn say_installed(installed: &Installed, output: Output) {
    match installed {
        Installed::Keyset { number, signing } => {
            output.say(format_args!("Keyset {number} is in force. From now on {signing} signs."));
            output.say("A running server follows at once; machines learn it with their next answer.");
        }
        Installed::Already { number } => output.say(format_args!("Keyset {number} is in force already.")),
        Installed::Sunset { products } => {
            output.say(format_args!("The sunset of {products} product(s) is published."));
        }
    }
}
