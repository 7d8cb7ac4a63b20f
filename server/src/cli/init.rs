//! `claviger-server init`: makes a vendor's server, and says what to do with its root keys.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::documents::{Accent, Contact, Logo, LookError};
use claviger_protocol::ids::VendorId;
use claviger_protocol::serial::Prefix;
use data_encoding::BASE64URL_NOPAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::common::{DataArg, block_on};
use super::passphrase::PassphraseSource;
use super::{Failure, FailureKind, Output};
use crate::config::DataDir;
use crate::keys::envelope::Passphrase;
use crate::keys::install::{self, Wish};
use crate::keys::{KeysError, durable};

/// Make a new server: root keys, an issuing key, the vendor profile and the database.
///
/// The root keys are written outside the data folder, sealed with a passphrase. An interrupted init goes on when the
/// same command is given again; nothing that exists is ever overwritten.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArg,
    /// The vendor's id in reverse-DNS form, such as com.example.
    #[arg(long, value_name = "ID")]
    vendor: VendorId,
    /// The vendor's name for people.
    #[arg(long)]
    name: String,
    /// What serial numbers begin with: 2 to 4 letters.
    #[arg(long)]
    prefix: Prefix,
    /// Where customers' machines will reach the server: https://…, or http:// on this machine alone.
    #[arg(long, value_name = "URL")]
    server_url: String,
    /// Where the root keys go [default: a folder named DATA-root-keys beside the data folder].
    #[arg(long, value_name = "DIR")]
    root_key_dir: Option<PathBuf>,
    /// Where the privacy policy can be read.
    #[arg(long, value_name = "URL")]
    policy_url: Option<String>,
    /// Mail address of customer support.
    #[arg(long, value_name = "ADDRESS")]
    contact_email: Option<String>,
    /// Page of customer support.
    #[arg(long, value_name = "URL")]
    contact_url: Option<String>,
    /// Colour of the vendor's section in the manager window.
    #[arg(long, value_name = "#RRGGBB")]
    accent: Option<String>,
    /// Picture of the vendor's section in the manager window: a PNG file of at most 16 KiB, 512 pixels a side.
    #[arg(long, value_name = "FILE")]
    logo: Option<PathBuf>,
    /// For trying things out: cheap root keys that may lie inside the data folder; without a passphrase file, a
    /// random passphrase is made and written beside them.
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// What to do when the data folder cannot be there.
const PLACE: &str =
    "name a folder with --data that can be made there: no file in the way, and writable for this account";

/// Runs the command.
///
/// # Errors
/// [`Failure`] with its kind.
pub(super) fn run(args: Args, output: Output) -> Result<(), Failure> {
    let wish = Wish {
        vendor: args.vendor,
        name: args.name.trim().to_owned(),
        prefix: args.prefix,
        server: server_url(&args.server_url)?,
        policy: args.policy_url.map(|url| page("--policy-url", &url)).transpose()?,
        contact: Contact {
            email: args.contact_email.map(|text| mail(&text)).transpose()?,
            url: args.contact_url.map(|url| page("--contact-url", &url)).transpose()?,
        },
        accent: args.accent.as_deref().map(accent).transpose()?,
        logo: args.logo.as_deref().map(logo).transpose()?,
        demo: args.demo,
    };
    if wish.name.is_empty() || wish.name.chars().count() > 128 {
        return Err(Failure::new(FailureKind::Usage, "the vendor's name must have 1 to 128 characters"));
    }
    let folder =
        std::path::absolute(args.data.dir()?.path()).map_err(|e| Failure::new(FailureKind::Usage, e))?;
    let data = DataDir::new(&folder);
    let unfinished = install::is_unfinished(&data);
    refuse_if_something_is_there(&data, unfinished)?;
    let roots = root_key_dir(args.root_key_dir.as_deref(), &folder, args.demo)?;

    let folder_error = |e| {
        let failure =
            Failure::new(FailureKind::Environment, format!("could not create {}: {e}", folder.display()));
        failure.hint(PLACE)
    };
    let made = !folder.exists();
    durable::private_dir(&folder).map_err(folder_error)?;
    let demo_passphrase = roots.join("passphrase.txt");
    let made_up = args.demo && args.passphrase.passphrase_file.is_none();
    let passphrase = if made_up {
        demo_secret(&roots, &demo_passphrase)
    } else if unfinished {
        args.passphrase.get("the root keys of the interrupted init")
    } else {
        args.passphrase.choose("the root keys", output)
    };
    let passphrase = passphrase.inspect_err(|_| {
        if made {
            // Only while nothing is in it.
            let _ = std::fs::remove_dir(&folder);
        }
    })?;
    if unfinished {
        output.say("Going on with an init that was interrupted.");
    } else {
        output.say("Sealing the root keys with the passphrase; that takes a moment on purpose.");
    }
    let public = install::create(&data, &roots, &wish, &passphrase, SystemClock.now(), &SystemRandom::new())
        .map_err(|e| failure(&e))?;
    create_database(&data, &public.profile.iss)?;
    install::finish(&data).map_err(|e| failure(&e))?;

    let active = roots.join("root-active.clvroot");
    let spare = roots.join("root-spare.clvroot");
    report(&data, &public.profile, (&active, &spare), args.demo, output);
    output.result(&serde_json::json!({
        "data": folder,
        "vendor": public.profile.iss,
        "vendor_profile": data.profile(),
        "root_key_active": active,
        "root_key_spare": spare,
        "demo_passphrase_file": made_up.then_some(demo_passphrase),
        "keyset": public.keyset.number,
        "issuing_key": public.keyset.keys.first().map(|key| key.x.id()),
    }));
    Ok(())
}

/// Makes the database, unless an interrupted init has made it already.
fn create_database(data: &DataDir, vendor: &VendorId) -> Result<(), Failure> {
    block_on(async {
        match crate::storage::create(data, vendor).await {
            // Made by the init that was interrupted.
            Ok(()) | Err(crate::storage::StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(Failure::from(error)),
        }
    })?;
    // It names people's machines. SQLite gives the files that it makes beside it the same permissions.
    crate::platform::protect(&data.database(), durable::PRIVATE).map_err(|e| {
        Failure::new(
            FailureKind::Environment,
            format!("could not protect {}: {e}", data.database().display()),
        )
    })?;
    Ok(())
}

fn report(
    data: &DataDir,
    profile: &claviger_protocol::documents::VendorProfile,
    (active, spare): (&Path, &Path),
    demo: bool,
    output: Output,
) {
    let folder = data.path().display();
    output.say(format_args!("The server of {} ({}) is ready in {folder}.\n", profile.name, profile.iss));
    output.say("Vendor profile (public: ship it with your installers, compile it into your plug-ins):");
    output.say(format_args!("  {}\n", data.profile().display()));
    if demo {
        output.say("Root keys of this demonstration (never ship anything signed with them):");
    } else {
        output.say("Root keys (secret: who has one and the passphrase can license everything):");
    }
    output.say(format_args!("  active: {}\n  spare:  {}", active.display(), spare.display()));
    if !demo {
        output.say(
            "Move them off this machine now: the active one to a machine without a network or a medium in a safe, the \
             spare to another building. Nobody can replace them, and nobody can recover the passphrase.",
        );
    }
    output.say("\nNext:");
    output.say(format_args!(
        "  claviger-server product add --data {folder} {}.synth --name \"My Synth\"",
        profile.iss
    ));
    output.say(format_args!(
        "  claviger-server license issue --data {folder} --product {}.synth --seats 3",
        profile.iss
    ));
    let listen = listen(&profile.server).map(|address| format!(" --listen {address}")).unwrap_or_default();
    output.say(format_args!("  claviger-server serve --data {folder}{listen}"));
}

/// Where `serve` has to listen to be found at a server's address on this machine, unless it does so anyway. Behind an
/// `https` address stands whatever the vendor puts there.
fn listen(server: &str) -> Option<String> {
    let uri: axum::http::Uri =
        server.parse().ok().filter(|u: &axum::http::Uri| u.scheme_str() == Some("http"))?;
    let host = match uri.host()? {
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
    (address != "127.0.0.1:8717").then_some(address)
}

fn refuse_if_something_is_there(data: &DataDir, unfinished: bool) -> Result<(), Failure> {
    let folder = data.path().display();
    if unfinished {
        return Ok(());
    }
    if data.profile().exists() {
        let whose = crate::keys::PublicFiles::load(data)
            .map(|p| format!("the server of {} ({})", p.profile.name, p.profile.iss))
            .unwrap_or_else(|_| "a server".to_owned());
        return Err(Failure::new(FailureKind::Conflict, format!("{folder} holds {whose} already")).hint(
            "nothing was changed; give another folder with --data, or start it with `claviger-server serve`",
        ));
    }
    let mut entries = match std::fs::read_dir(data.path()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => {
            return Err(Failure::new(FailureKind::Environment, format!("could not look into {folder}: {e}"))
                .hint(PLACE));
        }
    };
    // A mount point has its lost+found.
    let foreign = entries.find_map(|entry| {
        let name = entry.ok()?.file_name();
        (name != "lost+found").then(|| name.to_string_lossy().into_owned())
    });
    match foreign {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            FailureKind::Conflict,
            format!("{folder} is not empty: “{name}” is in it, and no server that init could go on with"),
        )
        .hint("nothing was changed; give an empty or new folder with --data")),
    }
}

fn root_key_dir(given: Option<&Path>, data: &Path, demo: bool) -> Result<PathBuf, Failure> {
    let dir = match given {
        Some(dir) => std::path::absolute(dir).map_err(|e| Failure::new(FailureKind::Usage, e))?,
        None if demo => data.join("demo-root-keys"),
        None => {
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push("-root-keys");
            data.with_file_name(name)
        }
    };
    let inside = resolved(&dir).starts_with(resolved(data));
    if inside && !demo {
        return Err(Failure::new(FailureKind::Usage, "the root keys must lie outside the data folder")
            .hint("whoever breaks into the server must not find them: give another --root-key-dir"));
    }
    Ok(dir)
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path.to_owned()
}

/// The passphrase of a demonstration: random, and written beside the keys that it protects from nobody.
fn demo_secret(dir: &Path, path: &Path) -> Result<Passphrase, Failure> {
    let environment =
        |e| Failure::new(FailureKind::Environment, format!("could not write {}: {e}", path.display()));
    if !path.exists() {
        let mut bytes = [0u8; 12];
        SystemRandom::new().fill(&mut bytes).map_err(|_| {
            Failure::new(FailureKind::Environment, "the system's random number generator failed")
        })?;
        durable::private_dir(dir).map_err(environment)?;
        let text = format!("{}\n", BASE64URL_NOPAD.encode(&bytes));
        durable::write(path, text.as_bytes(), durable::PRIVATE).map_err(environment)?;
    }
    let text = std::fs::read_to_string(path).map_err(environment)?;
    Passphrase::new(Zeroizing::new(text.trim().to_owned()))
        .map_err(|e| Failure::from_error(FailureKind::BadInput, &e))
}

/// Checks where customers' machines will send their requests: `https`, or `http` to this machine alone.
pub(super) fn server_url(text: &str) -> Result<String, Failure> {
    let usage = |why: &str| Failure::new(FailureKind::Usage, format!("--server-url {text}: {why}"));
    let text = text.trim_end_matches('/');
    let uri: axum::http::Uri = text.parse().map_err(|_| usage("it is not an address"))?;
    let authority = uri.authority().ok_or_else(|| usage("it must read like https://licenses.example.com"))?;
    if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
        return Err(usage("it must not have a user name, a query or a fragment"));
    }
    let host = authority.host();
    match uri.scheme_str() {
        Some("https") => Ok(text.to_owned()),
        Some("http") if is_loopback(host) => Ok(text.to_owned()),
        Some("http") => {
            Err(usage("http:// is only for this machine itself (127.0.0.1, ::1, localhost); use https://"))
        }
        _ => Err(usage("it must begin with https://")),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Checks the address of a page that customers will open.
pub(super) fn page(option: &str, text: &str) -> Result<String, Failure> {
    let good = text.parse::<axum::http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http"))
            && uri.authority().is_some_and(|a| !a.host().is_empty())
    });
    if good && text.len() <= 512 {
        return Ok(text.to_owned());
    }
    Err(Failure::new(FailureKind::Usage, format!("{option} {text}: it must be a page's address, https://…")))
}

/// Checks a colour, and gives its one spelling.
pub(super) fn accent(text: &str) -> Result<String, Failure> {
    let colour: Accent =
        text.parse().map_err(|e| Failure::new(FailureKind::Usage, format!("--accent {text}: {e}")))?;
    Ok(colour.to_string())
}

/// Reads a picture, and gives the text for the profile.
pub(super) fn logo(file: &Path) -> Result<String, Failure> {
    let shown = file.display();
    let kind = |e: &std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => FailureKind::NotFound,
        _ => FailureKind::Environment,
    };
    // A little more than is taken is read, so that a large file is told from a whole one.
    let most = u64::try_from(Logo::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let found = std::fs::metadata(file).and_then(|found| match found.is_file() {
        true => std::fs::File::open(file)?.take(most).read_to_end(&mut bytes).map(|_| found.len()),
        false => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file")),
    });
    let length = found.map_err(|e| Failure::new(kind(&e), format!("--logo {shown} cannot be read: {e}")))?;
    let logo = Logo::from_png(bytes).map_err(|error| {
        let error = match error {
            LookError::TooLarge(read) => {
                LookError::TooLarge(usize::try_from(length).unwrap_or(usize::MAX).max(read))
            }
            other => other,
        };
        Failure::new(FailureKind::BadInput, format!("--logo {shown}: {error}")).hint(
            "save it as a PNG of 64 to 256 pixels a side with a transparent background; 16 KiB hold that easily",
        )
    })?;
    Ok(logo.to_text())
}

/// Checks a mail address as far as that is possible: something, an @, something.
pub(super) fn mail(text: &str) -> Result<String, Failure> {
    let parts = text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
    if parts && text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Ok(text.to_owned());
    }
    Err(Failure::new(FailureKind::Usage, format!("--contact-email {text}: it must be a mail address")))
}

/// Sorts what went wrong with keys into the kinds that scripts tell apart.
pub(super) fn failure(error: &KeysError) -> Failure {
    let kind = match error {
        KeysError::Io { .. } | KeysError::Random => FailureKind::Environment,
        KeysError::WrongPassphrase { .. } | KeysError::RootKeyInside { .. } => FailureKind::Denied,
        KeysError::NotInitialised { .. } | KeysError::NoActiveKey { .. } => FailureKind::NotFound,
        KeysError::Refused(_) => FailureKind::Conflict,
        _ => FailureKind::BadInput,
    };
    let failure = Failure::from_error(kind, error);
    match error {
        KeysError::Document { .. } => failure.hint(
            "take another copy of that file; a server's own ones are in its backups: claviger-server restore FILE --data \
             NEW-FOLDER",
        ),
        KeysError::Io { source, .. } => failure.hint(match source.kind() {
            std::io::ErrorKind::NotFound => "look for a slip in the path",
            std::io::ErrorKind::StorageFull => "make room on that disk and give the command again",
            std::io::ErrorKind::PermissionDenied => "run the command as the account that the file belongs to",
            _ => "look at the path, its permissions and the disk, then give the command again",
        }),
        KeysError::NotInitialised { path } => {
            failure.hint(format!("make a server there with `claviger-server init --data {}`", path.display()))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback_addresses_are_taken() {
        for good in [
            "https://a.example",
            "https://a.example:8443/base",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "http://localhost:9/",
        ] {
            assert_eq!(server_url(good).unwrap(), good.trim_end_matches('/'), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "http://a.example",
            "http://localhost.evil.example",
            "ftp://a",
            "https://u@a.example",
            "https://a.example?x",
            "https://",
        ] {
            assert!(server_url(bad).is_err(), "{bad}");
        }
        assert!(
            mail("help@example.com").is_ok() && mail("help").is_err() && mail("a b@example.com").is_err()
        );
        assert_eq!(accent("#0a0B0c").unwrap(), "#0A0B0C");
        assert!(accent("0a0b0c").is_err());
        assert!(page("--policy-url", "https://example.com/privacy").is_ok());
        assert!(page("--policy-url", "javascript:alert(1)").is_err());
    }

    #[test]
    fn the_next_step_listens_where_the_profile_says() {
        assert_eq!(listen("http://127.0.0.1:18801").as_deref(), Some("127.0.0.1:18801"));
        assert_eq!(listen("http://localhost:9").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(listen("http://[::1]:9").as_deref(), Some("[::1]:9"));
        assert_eq!(listen("http://127.0.0.1:8717"), None);
        assert_eq!(listen("https://licenses.example.com"), None);
    }

    #[test]
    fn a_picture_that_cannot_be_shown_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let said = |name: &str, bytes: Option<&[u8]>| {
            let file = dir.path().join(name);
            if let Some(bytes) = bytes {
                std::fs::write(&file, bytes).unwrap();
            }
            logo(&file).unwrap_err().to_string()
        };
        assert!(said("none.png", None).contains("cannot be read"));
        assert!(said("picture.jpg", Some(b"\xff\xd8\xff\xe0")).contains("not a whole PNG"));
        assert!(said("huge.png", Some(&[0; 40_000])).contains("has 40000 bytes; at most 16384"));
        assert!(logo(dir.path()).unwrap_err().to_string().contains("not a file"));
    }

    #[cfg(unix)]
    #[test]
    fn the_root_keys_folder_is_outside_even_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("srv");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, dir.path().join("link")).unwrap();
        assert_eq!(root_key_dir(None, &data, false).unwrap(), dir.path().join("srv-root-keys"));
        assert!(root_key_dir(Some(&dir.path().join("link/deep/keys")), &data, false).is_err());
        assert!(root_key_dir(Some(&data.join("keys")), &data, true).is_ok());
    }
}
