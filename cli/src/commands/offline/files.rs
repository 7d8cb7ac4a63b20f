//! Reading and writing the files of offline activation. The daemon sees none of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use claviger_protocol::offline::{self, Contents, FileKind, MAX_FILE_LEN, OfflineError};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::text::{clean, shell};

/// The bytes of a file, or of standard input for `-`.
///
/// # Errors
/// When it cannot be read or is longer than any Claviger file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let name = clean(&path.display().to_string());
    let too_large = || Failure::input(OfflineError::TooLarge.code(), &OfflineError::TooLarge);
    let unreadable = |e: io::Error| Failure::storage(format!("{name} cannot be read"), &e);
    let mut found = Vec::new();
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    if path.as_os_str() == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut found).map_err(unreadable)?;
    } else {
        // Asked before it is opened: opening a pipe waits for whoever writes into it.
        let kind = fs::metadata(path).map_err(unreadable)?;
        if !kind.is_file() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        let file = File::open(path).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut found).map_err(unreadable)?;
    }
    if found.len() > MAX_FILE_LEN { Err(too_large()) } else { Ok(found) }
}

/// What is in a file.
///
/// # Errors
/// When it cannot be read, or nothing of Claviger is in it.
pub(super) fn read(path: &Path) -> Result<Contents, Failure> {
    let name = clean(&path.display().to_string());
    offline::read(&bytes(path)?).map_err(|error| {
        let message = format!("{name} cannot be used: {error}");
        Failure::new(Exit::Input, error.code(), message)
    })
}

/// Where a file goes: where it was asked for, or into the current folder under a name that says what it is.
pub(super) fn place(asked: Option<&Path>, kind: FileKind, words: &[&str]) -> PathBuf {
    asked.map_or_else(
        || {
            let plain = |word: &&str| -> String {
                let kept = word.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '-' });
                kept.take(40).collect::<String>().trim_matches('-').to_owned()
            };
            let stem: Vec<String> = words.iter().map(plain).filter(|w| !w.is_empty()).collect();
            PathBuf::from(format!("{}.{}", stem.join("-"), kind.extension()))
        },
        Path::to_owned,
    )
}

/// Whether a file may be written there; asked before anything is done.
///
/// # Errors
/// When it exists already and `force` is not given.
pub(super) fn may_write(path: &Path, force: bool) -> Result<(), Failure> {
    if force || path.as_os_str() == "-" || fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let name = path.display().to_string();
    Err(Failure::new(Exit::Input, "file_exists", format!("{} exists already", clean(&name))).advice(format!(
        "Name another file with -o, or replace it:\n    --force -o {}",
        shell(&clean(&name))
    )))
}

/// Writes a file whole or not at all, or standard output for `-`.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(path: &Path, content: &[u8], out: &mut Output) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        out.raw(content);
        return out.finish();
    }
    let name = clean(&path.display().to_string());
    let failed = |e: io::Error| Failure::storage(format!("{name} cannot be written"), &e);
    if fs::symlink_metadata(path).is_ok_and(|kind| !kind.is_file() && !kind.is_symlink()) {
        // A device such as /dev/stdout: nothing to replace.
        return OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut f| f.write_all(content))
            .map_err(failed);
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let done = File::create(&part)
        .and_then(|mut file| {
            file.write_all(content).and_then(|()| claviger_client::platform::sync_file(&file))
        })
        .and_then(|()| fs::rename(&part, path));
    done.map_err(|e| {
        // What is left of it says nothing.
        let _ = fs::remove_file(&part);
        failed(e)
    })
}
