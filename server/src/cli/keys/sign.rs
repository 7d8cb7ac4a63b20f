//! `keys sign` and `keys sunset`: what happens where the root key is. No data folder is needed there.

use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock as _, SystemClock};
use claviger_protocol::ids::ProductId;

use super::{RootKey, open_root};
use crate::cli::common::confirm;
use crate::cli::{Failure, FailureKind, Output};
use crate::keys::request::{self, SigningRequest, sign_keyset, sign_sunset};
use crate::keys::root::RootKeyFile;
use crate::keys::{KeysError, durable};

/// Signs a keyset.
pub(super) fn keyset(
    path: &Path,
    root: &RootKey,
    out: Option<PathBuf>,
    yes: bool,
    output: Output,
) -> Result<(), Failure> {
    let file = RootKeyFile::read(&root.root_key)?;
    let wish = SigningRequest::read(path)?;
    let (current, changes) = wish.check(&request::anchor_of(&file))?;
    let number = current.number.saturating_add(1);
    let out = out.unwrap_or_else(|| path.with_file_name(format!("{}-keyset-{number}.jws", wish.vendor)));
    if out.exists() {
        return Err(Failure::new(FailureKind::Conflict, format!("{} exists already", out.display())).hint(
            "two different keysets with one number would contradict each other: install that one, or move it away if it \
             was never installed",
        ));
    }
    output.say(format_args!(
        "Request of {} ({}), made {}: keyset {number} would follow keyset {} and",
        file.vendor_name(),
        wish.vendor,
        wish.made,
        current.number
    ));
    for change in &changes {
        output.say(format_args!("  - {change}"));
    }
    output.say("The complete list of keys would be:");
    for key in &wish.keys {
        output.say(format_args!(
            "  {}  {} since {}",
            key.x.id(),
            request::word(key.status),
            key.since.date()
        ));
    }
    confirm(yes, "Sign this?", "nothing was signed")?;
    let (file, key) = open_root(&root.root_key, &root.passphrase)?;
    let (keyset, text) = sign_keyset(&wish, &file, &key, SystemClock.now())?;
    write(&out, &text)?;
    output.say(format_args!("\nSigned: {}\n\nNext, on the server:", out.display()));
    output.say(format_args!("  claviger-server keys install {} --data DIR", out.display()));
    output.result(&serde_json::json!({ "file": out, "keyset": keyset.number, "changes": changes }));
    Ok(())
}

/// Signs a sunset.
pub(super) fn sunset(
    products: Vec<ProductId>,
    root: &RootKey,
    out: Option<PathBuf>,
    yes: bool,
    output: Output,
) -> Result<(), Failure> {
    let file = RootKeyFile::read(&root.root_key)?;
    let out = out.unwrap_or_else(|| PathBuf::from(format!("{}-sunset.jws", file.vendor())));
    if out.exists() {
        return Err(Failure::new(FailureKind::Conflict, format!("{} exists already", out.display()))
            .hint("name another file with --out"));
    }
    output.say(format_args!(
        "A sunset of {} ({}) would license on every machine:",
        file.vendor_name(),
        file.vendor()
    ));
    for product in &products {
        output.say(format_args!("  {product}"));
    }
    output.say("Once it is out, nobody can take it back.");
    confirm(yes, "Sign this?", "nothing was signed")?;
    let (file, key) = open_root(&root.root_key, &root.passphrase)?;
    let count = products.len();
    write(&out, &sign_sunset(&file, &key, products, SystemClock.now()))?;
    output.say(format_args!("\nSigned: {}\n\nTo publish it, on the server:", out.display()));
    output.say(format_args!("  claviger-server keys install {} --data DIR", out.display()));
    output.result(&serde_json::json!({ "file": out, "products": count }));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    durable::create(path, format!("{text}\n").as_bytes(), durable::PUBLIC)
        .map_err(|e| KeysError::io("write", path)(e).into())
}
