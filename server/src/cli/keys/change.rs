//! `keys request`, `keys retire`, `keys compromise`: what the server asks for.

use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::documents::KeyStatus;
use claviger_protocol::keys::KeyId;
use ring::rand::SystemRandom;

use super::{Change, open_root, say_installed};
use crate::cli::{Failure, FailureKind, Output};
use crate::config::DataDir;
use crate::keys::install;
use crate::keys::request::{self, SigningRequest, sign_keyset};
use crate::keys::{KeysError, KeysLock, PublicFiles, durable, issuing};

/// A new issuing key.
pub(super) fn request(data: &DataDir, out: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let lock = KeysLock::take(data)?;
    let (public, mut wish) = wish(data)?;
    let key = issuing::generate(&data.keys(), wish.made, &SystemRandom::new())?;
    wish.add(&key);
    request::set_pending(data, &public, &wish)?;
    drop(lock);
    output.say(format_args!("Made the issuing key {}.", key.id()));
    hand_out(data, &public, &wish, out, output)
}

/// Another status of a key.
pub(super) fn status(
    data: &DataDir,
    what: &Change,
    status: KeyStatus,
    output: Output,
) -> Result<(), Failure> {
    // The passphrase first: a wrong one leaves no half-done request behind.
    let root = what.root_key.as_ref().map(|path| open_root(path, &what.passphrase)).transpose()?;
    let lock = KeysLock::take(data)?;
    let (public, mut wish) = wish(data)?;
    let kid = find(&wish, &what.kid)?;
    wish.set_status(&kid, status, SystemClock.now())?;
    let others_sign = public
        .keyset
        .keys
        .iter()
        .any(|key| key.status == KeyStatus::Active && wish.active().any(|wanted| wanted.x == key.x));
    if !others_sign && status == KeyStatus::Retired && root.is_none() {
        return Err(Failure::new(
            FailureKind::Conflict,
            format!("{kid} is the only key that signs: until a new one is in force it cannot be retired"),
        )
        .hint("first `keys request`, `keys sign` and `keys install`, then retire it; or do it in one step with --root-key"));
    }
    if wish.active().next().is_none() {
        let key = issuing::generate(&data.keys(), wish.made, &SystemRandom::new())?;
        wish.add(&key);
        output.say(format_args!("Made the issuing key {} to take over.", key.id()));
    }
    let Some((file, root)) = root else {
        request::set_pending(data, &public, &wish)?;
        drop(lock);
        return hand_out(data, &public, &wish, what.out.clone(), output);
    };
    let (_, changes) = wish.check(&request::anchor_of(&file))?;
    let (keyset, text) = sign_keyset(&wish, &file, &root, SystemClock.now())?;
    drop(lock);
    for change in &changes {
        output.say(format_args!("Keyset {}: {change}.", keyset.number));
    }
    let installed = install::install(data, Path::new("the new keyset"), &text)?;
    say_installed(&installed, output);
    output.result(&serde_json::json!({ "changes": changes, "keyset": keyset.number }));
    Ok(())
}

/// Forgets the pending request.
pub(super) fn cancel(data: &DataDir, output: Output) -> Result<(), Failure> {
    let _lock = KeysLock::take(data)?;
    let public = PublicFiles::load(data)?;
    let there = request::drop_pending(data, &public)?;
    output.say(if there {
        "The pending request is forgotten. Should it be signed all the same, do not install that keyset."
    } else {
        "No request was pending."
    });
    output.result(&serde_json::json!({ "cancelled": there }));
    Ok(())
}

fn wish(data: &DataDir) -> Result<(PublicFiles, SigningRequest), KeysError> {
    let public = PublicFiles::load(data)?;
    let now = SystemClock.now();
    let wish = request::pending(data, &public)?.unwrap_or_else(|| SigningRequest::new(&public, now));
    Ok((public, wish))
}

fn find(wish: &SigningRequest, text: &str) -> Result<KeyId, Failure> {
    let mut ids = wish.keys.iter().map(|key| key.x.id()).filter(|id| id.as_str().starts_with(text));
    match (ids.next(), ids.next()) {
        (Some(one), None) if text.len() >= 4 => Ok(one),
        (None, _) => Err(Failure::new(FailureKind::NotFound, format!("there is no issuing key {text}"))
            .hint("`claviger-server keys list` shows them")),
        _ => Err(Failure::new(
            FailureKind::Usage,
            format!("“{text}” is too short to name one key: give more of its id"),
        )),
    }
}

fn hand_out(
    data: &DataDir,
    public: &PublicFiles,
    wish: &SigningRequest,
    out: Option<PathBuf>,
    output: Output,
) -> Result<(), Failure> {
    let (_, changes) = wish.check(&public.profile.anchor(0))?;
    let number = public.keyset.number.saturating_add(1);
    let path = out.unwrap_or_else(|| PathBuf::from(format!("{}-keyset-{number}.clvrequest", wish.vendor)));
    if path.exists() && SigningRequest::read(&path).is_err() {
        return Err(Failure::new(
            FailureKind::Conflict,
            format!("{} exists and is no signing request; it was not touched", path.display()),
        )
        .hint("the request is pending; write it elsewhere by repeating the command with --out FILE"));
    }
    durable::write(&path, &wish.to_bytes(), durable::PUBLIC).map_err(KeysError::io("write", &path))?;
    output.say(format_args!("The request for keyset {number} of {} would:", wish.vendor));
    for change in &changes {
        output.say(format_args!("  - {change}"));
    }
    output.say(format_args!("\nIt is in {}; nothing in it is secret.\n\nNext:", path.display()));
    output.say(format_args!(
        "  claviger-server keys sign {} --root-key root-active.clvroot     (on the machine with the root key)",
        path.display()
    ));
    output.say(format_args!(
        "  claviger-server keys install {}-keyset-{number}.jws --data {}     (here)",
        wish.vendor,
        data.path().display()
    ));
    output.result(&serde_json::json!({ "request": path, "keyset": number, "changes": changes }));
    Ok(())
}
