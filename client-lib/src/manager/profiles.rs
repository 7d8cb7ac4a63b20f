//! Vendors' profiles as they lie on disk: to notice a mistyped serial number before anything else is done, and to
//! check a certificate without the daemon. The command line and the window both need them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use claviger_protocol::documents::{Document, VendorProfile};
use claviger_protocol::ids::VendorId;
use claviger_protocol::layout;
use claviger_protocol::serial::{Serial, TypedCodeError};
use claviger_protocol::unlock::UnlockCode;

use crate::platform::{self, Places, manage};

/// A vendor's profile that verifies.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it says.
    pub profile: VendorProfile,
    /// The file's text.
    pub text: String,
}

/// At most `most` bytes of a file as text.
///
/// # Errors
/// When it cannot be read, is longer, or is not text.
pub fn read_text(path: &Path, most: usize) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    // Asked before it is opened: opening a pipe waits for whoever writes into it.
    let kind = std::fs::metadata(path)?;
    if kind.is_dir() {
        return Err(Error::from(ErrorKind::IsADirectory));
    }
    if !kind.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not text"))
}

/// Every profile that can be read here: the machine store's, the installers', this user's. A vendor is listed once.
#[must_use]
pub fn known() -> Vec<Known> {
    // What only the administrator can write comes first: nobody's own folder overrules it.
    let portable = platform::home_override().is_some();
    let mut files: Vec<PathBuf> = Vec::new();
    for store in Places::of_process().stores {
        if store.scope == crate::Scope::User && !portable {
            let shipped = entries(&manage::shipped_profiles()).into_iter();
            files.extend(shipped.filter(|f| f.extension().is_some_and(|e| e == layout::PROFILE_ENDING)));
        }
        files.extend(entries(&store.path).into_iter().map(|vendor| vendor.join(layout::PROFILE)));
    }
    let mut found: Vec<Known> = Vec::new();
    for file in files {
        let Ok(text) = read_text(&file, VendorProfile::MAX_LEN) else { continue };
        let Ok((profile, _)) = VendorProfile::verify(&text) else { continue };
        if found.iter().all(|k| k.profile.iss != profile.iss) {
            found.push(Known { profile, text });
        }
    }
    found
}

/// What is in a folder, sorted; nothing when it cannot be read.
#[must_use]
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .take(20_000)
        .collect();
    found.sort();
    found
}

/// A serial number as far as the profiles on disk can tell.
#[derive(Debug)]
pub enum Typed {
    /// It was typed correctly, or is a shop's own.
    Good(Serial),
    /// No known vendor has its prefix: the daemon will ask.
    Untold,
}

/// Looks for a mistake in a typed serial number.
///
/// # Errors
/// [`TypedCodeError`] when it looks like one of a known vendor and is none.
pub fn read_serial(typed: &str, vendor: Option<&VendorId>, known: &[Known]) -> Result<Typed, TypedCodeError> {
    if let Some(named) = vendor {
        let Some(vendor) = known.iter().find(|k| k.profile.iss == *named) else { return Ok(Typed::Untold) };
        return Serial::parse_any(typed, &vendor.profile.prefix).map(Typed::Good);
    }
    let mut mistake = None;
    for vendor in known.iter().filter(|k| Serial::looks_native(typed, &k.profile.prefix)) {
        match Serial::parse(typed, &vendor.profile.prefix) {
            Ok(serial) => return Ok(Typed::Good(serial)),
            Err(error) => mistake = Some(error),
        }
    }
    match mistake {
        Some(error) => Err(error),
        None => match known.iter().find_map(|k| Serial::near_miss(typed, &k.profile.prefix)) {
            Some(error) => Err(error),
            None if UnlockCode::looks_native(typed) => Err(TypedCodeError::UnlockCode),
            None => Serial::foreign(typed).map(|_| Typed::Untold),
        },
    }
}

#[cfg(test)]
mod pipe_tests {
    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(super::read_text(&pipe, 10).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}
