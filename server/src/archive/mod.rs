//! Backup and restore: one file with the database, the issuing keys, keyset, profile and admin keys; never the root
//! keys, and never the security log (PRIVACY duty 10).
//!
//! A backup is made of a running server, written beside its place, read back, and only then given its name. A restore
//! believes nothing before the whole file was checked, and raises the epoch: machines that were activated after the
//! backup show their certificates again, so that no seat is lost and none is doubled.

mod container;
mod database;

use std::fs::File;
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::ids::VendorId;
use claviger_protocol::keys::KeyId;
use claviger_protocol::telemetry::Week;
use ring::rand::SecureRandom;
use serde::Serialize;

pub use container::Header;

use crate::config::DataDir;
use crate::keys::envelope::{Cost, EnvelopeError, Passphrase};
use crate::keys::{Issuer, KeysError, KeysLock, PublicFiles, durable};

/// Why a backup cannot be made or restored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ArchiveError {
    #[error("it is not a backup of claviger-server")]
    NotABackup,
    #[error("the backup is damaged ({0}): nothing of it was used. Try an older one")]
    Damaged(&'static str),
    #[error("the backup has format {0}, which this version does not know: update claviger-server")]
    TooNew(u32),
    #[error("the backup is sealed with a passphrase")]
    PassphraseNeeded,
    #[error("the passphrase is not the one of this backup")]
    WrongPassphrase,
    #[error("the backup holds a file that has no place in a server: “{0}”")]
    Stranger(String),
    #[error("{} is not empty: a backup is restored into an empty or new folder only", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} exists already; a backup never overwrites", .0.display())]
    Exists(PathBuf),
    #[error("there is no folder {}", .0.display())]
    NoFolder(PathBuf),
    #[error("could not open {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("the database could not be read or written")]
    Database(#[source] sqlx::Error),
    #[error("a file could not be read or written")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Whose server.
    pub vendor: VendorId,
    /// When it was made.
    pub made: Timestamp,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Its files and their sizes.
    pub files: Vec<(String, u64)>,
}

/// Makes a backup of the server in `data`, which may be running, and reads it back before it gets its name.
///
/// # Errors
/// [`ArchiveError`]; then there is no file at `path`.
pub async fn backup(
    data: &DataDir,
    path: &Path,
    passphrase: Option<&Passphrase>,
    clock: &dyn Clock,
    rng: &dyn SecureRandom,
) -> Result<Summary, ArchiveError> {
    if path.exists() {
        return Err(ArchiveError::Exists(path.to_owned()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(ArchiveError::NoFolder(folder.to_owned()));
    }
    // Keys and keyset as they are at one moment.
    let _lock = KeysLock::take(data)?;
    let public = PublicFiles::load(data)?;
    let scratch = data.path().join(".backup");
    clear(&scratch)?;
    durable::private_dir(&scratch)?;
    let beside = durable::temporary(path)?;
    // Left by an earlier process with this very id.
    let _ = std::fs::remove_file(&beside);
    let done = write(data, &public, &scratch, &beside, (passphrase, clock.now(), rng)).await;
    let cleared = clear(&scratch);
    let summary = done.and_then(|()| Ok(cleared?)).and_then(|()| inspect(&beside, passphrase));
    match summary {
        Ok(summary) => {
            crate::fault::point("backup-before-publish");
            durable::publish_new(&beside, path)?;
            Ok(summary)
        }
        Err(error) => {
            let _ = std::fs::remove_file(&beside);
            Err(error)
        }
    }
}

async fn write(
    data: &DataDir,
    public: &PublicFiles,
    scratch: &Path,
    to: &Path,
    (passphrase, now, rng): (Option<&Passphrase>, Timestamp, &dyn SecureRandom),
) -> Result<(), ArchiveError> {
    let copied = scratch.join("claviger.db");
    database::copy(&data.database(), &copied).await?;
    let counters = data.path().join(COUNTERS);
    let counted = scratch.join("counters.db");
    if counters.exists() {
        database::copy(&counters, &counted).await?;
    }
    let out = BufWriter::new(durable::open_new(to, durable::PRIVATE)?);
    let sealing = passphrase.map(|passphrase| (passphrase, Cost::FULL));
    let mut writer = container::Writer::new(out, &public.profile.iss, now, sealing, rng)?;
    for (name, path) in contents(data)? {
        let path = match name.as_str() {
            DATABASE => copied.clone(),
            COUNTERS => counted.clone(),
            _ => path,
        };
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        writer.add(&name, file.metadata()?.len(), file)?;
    }
    let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    crate::platform::sync_file(&file)?;
    Ok(())
}

/// Every file that a backup may hold: its name inside, and its place. A closed list, so that neither the security log
/// nor a root key can slip in. Of usage statistics it holds what a restored server must not make anew (plans and their
/// keys, notices) and the counters; who got tokens and which were spent stays out.
fn contents(data: &DataDir) -> Result<Vec<(String, PathBuf)>, ArchiveError> {
    let mut list: Vec<(String, PathBuf)> =
        FIXED.iter().map(|name| ((*name).to_owned(), data.path().join(name))).collect();
    for folder in FOLDERS {
        let entries = match std::fs::read_dir(data.path().join(folder)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && *folder != "keys" => continue,
            other => other?,
        };
        for entry in entries {
            let name = format!("{folder}/{}", entry?.file_name().to_string_lossy());
            if is_in_a_folder(&name) {
                list.push((name.clone(), data.path().join(name)));
            }
        }
    }
    list.sort();
    Ok(list)
}

const DATABASE: &str = "claviger.db";
const COUNTERS: &str = "telemetry/counters.db";
const PROFILE: &str = "vendor.clvprofile";
const FIXED: &[&str] = &[
    DATABASE,
    PROFILE,
    "keyset.jws",
    "sunset.jws",
    "admin-keys.json",
    "retention.json",
    "keys/pending.clvrequest",
    COUNTERS,
    "telemetry/releases.json",
];

/// Folders with files whose names are not known beforehand, but have a form.
const FOLDERS: &[&str] = &["keys", "telemetry/keys", "telemetry/plans", "notices"];

fn is_in_a_folder(name: &str) -> bool {
    let Some((folder, (stem, kind))) =
        name.rsplit_once('/').and_then(|(folder, file)| Some((folder, file.rsplit_once('.')?)))
    else {
        return false;
    };
    let quarter = |text: &str| {
        let (year, number) = text.split_once("-Q")?;
        (year.len() == 4
            && year.bytes().all(|b| b.is_ascii_digit())
            && matches!(number, "1" | "2" | "3" | "4"))
        .then_some(())
    };
    match (folder, kind) {
        ("keys", "key") => stem.parse::<KeyId>().is_ok(),
        ("telemetry/keys", "key") => stem.parse::<Week>().is_ok(),
        ("telemetry/plans", "jws") => quarter(stem).is_some(),
        ("notices", "jws" | "withdrawn") => {
            stem.strip_prefix("notice-").is_some_and(|number| number.parse::<u32>().is_ok())
        }
        _ => false,
    }
}

/// Checks a whole backup and says what is in it.
///
/// # Errors
/// [`ArchiveError`].
pub fn inspect(path: &Path, passphrase: Option<&Passphrase>) -> Result<Summary, ArchiveError> {
    let header = header(path)?;
    let mut files = Vec::new();
    read(path, passphrase, |name, length, content| {
        let copied = io::copy(content, &mut io::sink()).map_err(container::inside)?;
        files.push((name.to_owned(), length));
        if copied == length { Ok(()) } else { Err(ArchiveError::Damaged("a file in it")) }
    })?;
    Ok(Summary { vendor: header.vendor, made: header.made, sealed: header.sealed.is_some(), files })
}

/// Checks the hash over a whole backup and gives its header: whether it needs a passphrase.
///
/// # Errors
/// [`ArchiveError`].
pub fn header(path: &Path) -> Result<Header, ArchiveError> {
    container::check(&mut File::open(path).map_err(|e| ArchiveError::Open(path.to_owned(), e))?)
}

fn read(
    path: &Path,
    passphrase: Option<&Passphrase>,
    mut each: impl FnMut(&str, u64, &mut dyn io::Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut reader = container::Reader::new(File::open(path)?, passphrase)?;
    let mut seen = Vec::new();
    while let Some((name, length)) = reader.next()? {
        if !(FIXED.contains(&name.as_str()) || is_in_a_folder(&name)) || seen.contains(&name) {
            return Err(ArchiveError::Stranger(name.chars().filter(|c| !c.is_control()).take(64).collect()));
        }
        each(&name, length, &mut (&mut reader).take(length))?;
        seen.push(name);
    }
    if [DATABASE, PROFILE].iter().all(|needed| seen.iter().any(|name| name == needed)) {
        Ok(())
    } else {
        Err(ArchiveError::Damaged("the database or the vendor profile is missing"))
    }
}

/// What a restore gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// What was in the backup.
    pub backup: Summary,
    /// The server's new epoch, higher than any before.
    pub epoch: u64,
    /// The keyset in force.
    pub keyset: u32,
}

/// Restores a backup into an empty or new folder. The profile is put there last: until then the folder holds no
/// server, and an interrupted restore can be repeated.
///
/// # Errors
/// [`ArchiveError`]; a damaged backup changes nothing.
pub async fn restore(
    path: &Path,
    data: &DataDir,
    passphrase: Option<&Passphrase>,
    clock: &dyn Clock,
) -> Result<Restored, ArchiveError> {
    let backup = inspect(path, passphrase)?;
    let staging = data.path().join(".restoring");
    let interrupted = staging.is_dir() && !data.profile().exists();
    if !interrupted && !is_empty(data.path())? {
        return Err(ArchiveError::NotEmpty(data.path().to_owned()));
    }
    durable::private_dir(data.path())?;
    let names = backup.files.iter().map(|(name, _)| name.as_str());
    if interrupted {
        for name in names.clone() {
            durable::shred(&data.path().join(name))?;
        }
    }
    clear(&staging)?;
    durable::private_dir(&staging)?;
    let staged = DataDir::new(&staging);
    let done = stage(path, passphrase, &staged, &backup, clock).await;
    let (epoch, keyset) = match done {
        Ok(done) => done,
        Err(error) => {
            let _ = clear(&staging);
            return Err(error);
        }
    };
    crate::fault::point("before-restore-swap");
    durable::private_dir(&data.keys())?;
    for name in names.filter(|name| *name != PROFILE).chain([PROFILE]) {
        let target = data.path().join(name);
        durable::private_dir(durable::parent(&target))?;
        std::fs::rename(staging.join(name), &target)?;
        durable::sync_parent(&target)?;
    }
    crate::fault::point("after-restore-swap");
    clear(&staging)?;
    Ok(Restored { backup, epoch, keyset })
}

async fn stage(
    path: &Path,
    passphrase: Option<&Passphrase>,
    staged: &DataDir,
    backup: &Summary,
    clock: &dyn Clock,
) -> Result<(u64, u32), ArchiveError> {
    durable::private_dir(&staged.keys())?;
    read(path, passphrase, |name, length, content| {
        let public = name == PROFILE || name.ends_with(".jws");
        let mode = if public { durable::PUBLIC } else { durable::PRIVATE };
        let path = staged.path().join(name);
        durable::private_dir(durable::parent(&path))?;
        let mut file = durable::open_new(&path, mode)?;
        let copied = io::copy(content, &mut file).map_err(container::inside)?;
        crate::platform::sync_file(&file)?;
        if copied == length { Ok(()) } else { Err(ArchiveError::Damaged("a file in it")) }
    })?;
    // The time makes two restores of one backup differ, and a later one higher; a wrong clock still raises it by one.
    let (vendor, epoch) = database::raise_epoch(&staged.database(), clock.now_micros()).await?;
    let issuer = Issuer::load(staged)?;
    if vendor != backup.vendor.as_str() || *issuer.vendor() != backup.vendor {
        return Err(ArchiveError::Damaged("its parts belong to different vendors"));
    }
    crate::platform::sync_file(&File::options().write(true).open(staged.database())?)?;
    Ok((epoch, issuer.keyset().number))
}

fn is_empty(folder: &Path) -> Result<bool, ArchiveError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => {
            Ok(!entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Removes a scratch folder with all that is in it, overwriting it first: it held keys and licenses.
fn clear(folder: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
        } else {
            durable::shred(&entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

#[cfg(test)]
mod tests;
