//! Files that a person names, drops or saves. The daemon sees none of them: it gets their content.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use claviger_protocol::documents::{Document as _, VendorProfile};
use claviger_protocol::offline::MAX_FILE_LEN;

use crate::desk::{Answer, Trouble};
use crate::platform;
use crate::view::Picker;

/// What a dropped file is.
#[derive(Debug)]
pub(crate) enum Dropped {
    /// A vendor's profile.
    Profile(String),
    /// Anything else: an answer, a bundle, a mail; its bytes.
    Other(Vec<u8>),
}

/// Reads a file that a person named.
pub(crate) fn open(path: &Path) -> Answer<Dropped> {
    let bytes = bytes(path)?;
    if bytes.len() <= VendorProfile::MAX_LEN
        && let Ok(text) = std::str::from_utf8(&bytes)
        && VendorProfile::verify(text).is_ok()
    {
        return Ok(Dropped::Profile(text.to_owned()));
    }
    Ok(Dropped::Other(bytes))
}

fn bytes(path: &Path) -> Answer<Vec<u8>> {
    let unreadable =
        |error: io::Error| Trouble::new("file_unreadable", format!("{}: {error}", path.display()));
    // Asked before it is opened: opening a pipe waits for whoever writes into it.
    let kind = fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    let mut found = Vec::new();
    File::open(path).map_err(unreadable)?.take(limit).read_to_end(&mut found).map_err(unreadable)?;
    if found.len() > MAX_FILE_LEN {
        return Err(Trouble::new("not_ours", "the file is longer than any of Claviger's"));
    }
    Ok(found)
}

/// Asks by the desktop's own dialog; none when the person changes their mind, or the desktop has no dialog.
pub(crate) fn pick(picker: Picker, typed: &str) -> Option<PathBuf> {
    let at = self::typed(typed);
    let mut dialog = rfd::FileDialog::new();
    if let Some(folder) = at.parent().filter(|folder| folder.is_dir()) {
        dialog = dialog.set_directory(folder);
    }
    let name = at.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match picker {
        Picker::SaveRequest | Picker::Export => dialog.set_file_name(name).save_file(),
        Picker::Profile => dialog.add_filter("Claviger", &["clvprofile"]).pick_file(),
        Picker::Answer => {
            dialog.add_filter("Claviger", &["clvres", "clvbundle", "zip", "eml", "txt"]).pick_file()
        }
        Picker::Adding => dialog.pick_file(),
    }
}

/// Writes a new file for its owner alone; one that exists is not overwritten.
pub(crate) fn write_new(path: &Path, text: &str) -> Answer<()> {
    let write = || -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true);
        let mut file = platform::private(&mut options).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| not_written(&error))
}

/// Why a file was not written.
pub(crate) fn not_written(error: &io::Error) -> Trouble {
    let code = match error.kind() {
        io::ErrorKind::AlreadyExists => "file_exists",
        io::ErrorKind::StorageFull => "disk_full",
        _ => "file_not_written",
    };
    Trouble::new(code, error.to_string())
}

/// A path as it was typed: `~` is the home, `file:` addresses are paths, quotation marks of a file manager are dropped.
#[must_use]
pub(crate) fn typed(text: &str) -> PathBuf {
    let text = text.trim().trim_matches(['"', '\'']);
    let text = text.strip_prefix("file://").unwrap_or(text);
    match text.strip_prefix("~/").and_then(|rest| Some((rest, directories::BaseDirs::new()?))) {
        Some((rest, base)) => base.home_dir().join(rest),
        None => PathBuf::from(text),
    }
}

/// Where a file goes unless the person says otherwise: into their documents, under a name that is not taken.
#[must_use]
pub(crate) fn suggested(words: &[&str], ending: &str) -> PathBuf {
    let plain = |word: &&str| -> String {
        let kept = word.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '-' });
        kept.take(40).collect::<String>().trim_matches('-').to_owned()
    };
    let stem = words.iter().map(plain).filter(|w| !w.is_empty()).collect::<Vec<_>>().join("-");
    let folder = directories::UserDirs::new().map(|user| {
        user.document_dir().filter(|folder| folder.is_dir()).unwrap_or(user.home_dir()).to_owned()
    });
    let folder = folder.unwrap_or_default();
    let name = |number: usize| match number {
        1 => folder.join(format!("{stem}.{ending}")),
        more => folder.join(format!("{stem}-{more}.{ending}")),
    };
    (1..1_000).map(name).find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_else(|| name(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_a_pipe_and_a_missing_file_are_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            assert_eq!(open(&path).unwrap_err().code, "file_unreadable", "{}", path.display());
        }
        let file = folder.path().join("mail.txt");
        std::fs::write(&file, "hello").unwrap();
        assert!(matches!(open(&file).unwrap(), Dropped::Other(bytes) if bytes == b"hello"));
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.clvreq");
        write_new(&file, "one").unwrap();
        assert_eq!(write_new(&file, "two").unwrap_err().code, "file_exists");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
        assert_eq!(write_new(&folder.path().join("no/such"), "x").unwrap_err().code, "file_not_written");
    }

    #[test]
    fn typed_paths_are_forgiving() {
        assert_eq!(typed(" \"/tmp/a b.clvres\" "), PathBuf::from("/tmp/a b.clvres"));
        assert_eq!(typed("file:///tmp/a.clvres"), PathBuf::from("/tmp/a.clvres"));
    }
}
