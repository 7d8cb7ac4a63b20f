//! What left this machine, byte for byte, for the person to read: JSON lines in a private folder, a year and 16 MiB
//! of them at most.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::SentEntry;
use serde::{Deserialize, Serialize};

use crate::platform::{self, FileError, Visibility};

/// The file that is written to.
const CURRENT: &str = "sent.jsonl";
/// A file is closed at this size.
const MAX_FILE: u64 = 2 * 1024 * 1024;
/// Closed files are kept while all together have at most this size.
const MAX_TOTAL: u64 = 16 * 1024 * 1024;
/// No line is longer: a request has at most 1 MiB.
const MAX_LINE: u64 = 4 * 1024 * 1024;
/// And at most this long.
const MAX_AGE: i64 = 365 * DAY;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Record {
    /// Written before anything leaves.
    Sent {
        /// When.
        at: Timestamp,
        /// To whom.
        vendor: VendorId,
        /// Why.
        purpose: String,
        /// On what ground; empty in lines of versions that knew only contracts.
        #[serde(default)]
        basis: String,
        /// The HTTP method.
        method: String,
        /// Where to.
        url: String,
        /// The exact body.
        body: Option<String>,
    },
    /// Written when it is over.
    Answered {
        /// When.
        at: Timestamp,
        /// By whom.
        vendor: VendorId,
        /// Where it had gone to.
        url: String,
        /// What came of it.
        outcome: String,
    },
}

impl Record {
    fn at(&self) -> Timestamp {
        match self {
            Self::Sent { at, .. } | Self::Answered { at, .. } => *at,
        }
    }
}

/// The log of one daemon, or of one person.
#[derive(Clone, Debug)]
pub struct SentLog {
    folder: PathBuf,
}

impl SentLog {
    /// The log in this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Appends a line and makes it durable.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn append(&self, now: Timestamp, record: &Record) -> Result<(), FileError> {
        platform::make_dir(&self.folder, Visibility::Private)?;
        let path = self.folder.join(CURRENT);
        let mut line = serde_json::to_vec(record).unwrap_or_default();
        line.push(b'\n');
        if fs::metadata(&path).is_ok_and(|m| m.len() + line.len() as u64 > MAX_FILE) {
            self.rotate(now)?;
        }
        let new = !path.exists();
        let mut file = match platform::append_to(&path) {
            Err(e) if e.code() == "damaged" => {
                let place = platform::move_aside(&path, "damaged")?;
                tracing::error!(kept_as = %place.display(), "what stood in the place of the sent log was set aside");
                platform::append_to(&path)?
            }
            other => other?,
        };
        if !ends_a_line(&path).map_err(|e| FileError::new("read", &path, e))? {
            // A crash or a full disk cut the last line off: it must not spoil this one.
            line.insert(0, b'\n');
        }
        file.write_all(&line)
            .and_then(|()| platform::sync_file(&file))
            .map_err(|e| FileError::new("write to", &path, e))?;
        if new { platform::sync_dir(&self.folder) } else { Ok(()) }
    }

    /// Everything in it that can be read, oldest first: a request together with what came of it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn entries(&self) -> Result<Vec<SentEntry>, FileError> {
        let mut all: Vec<SentEntry> = Vec::new();
        let limit = usize::try_from(MAX_FILE + MAX_LINE).unwrap_or(usize::MAX);
        for name in self.files()? {
            let Some(bytes) = platform::read_bounded(&self.folder.join(&name), limit)? else { continue };
            // A line that a crash cut off is passed over.
            let lines = bytes.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok());
            for record in lines {
                match record {
                    Record::Sent { at, vendor, purpose, basis, method, url, body } => {
                        let basis = if basis.is_empty() { "contract".to_owned() } else { basis };
                        all.push(SentEntry { at, vendor, purpose, basis, method, url, body, outcome: None });
                    }
                    Record::Answered { vendor, url, outcome, .. } => {
                        let asked =
                            |e: &&mut SentEntry| e.vendor == vendor && e.url == url && e.outcome.is_none();
                        if let Some(entry) = all.iter_mut().rev().find(asked) {
                            entry.outcome = Some(outcome);
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    /// Its files, oldest first.
    fn files(&self) -> Result<Vec<String>, FileError> {
        let mut names = platform::list(&self.folder)?;
        names.retain(|n| closed_at(n).is_some() || n == CURRENT);
        // `sent-…` sorts before `sent.jsonl`.
        names.sort_unstable();
        Ok(names)
    }

    /// Removes everything, and says how many requests were in it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn clear(&self) -> Result<u64, FileError> {
        let count = self.entries()?.len();
        for name in self.files()? {
            platform::remove_file(&self.folder.join(name))?;
        }
        if self.folder.is_dir() {
            platform::sync_dir(&self.folder)?;
        }
        Ok(count as u64)
    }

    /// Drops what is older than a year.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn prune(&self, now: Timestamp) -> Result<(), FileError> {
        let limit = usize::try_from(MAX_FILE + MAX_LINE).unwrap_or(usize::MAX);
        for name in self.files()? {
            let path = self.folder.join(&name);
            let Some(bytes) = platform::read_bounded(&path, limit)? else { continue };
            let young = |line: &&[u8]| {
                let read = serde_json::from_slice::<Record>(line).ok();
                read.is_some_and(|record| record.at() >= now.plus(-MAX_AGE))
            };
            let lines = || bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            if lines().all(|line| young(&line)) {
                continue;
            }
            let mut kept = lines().filter(young).collect::<Vec<_>>().join(&b'\n');
            if kept.is_empty() {
                platform::remove_file(&path)?;
                platform::sync_dir(&self.folder)?;
            } else {
                kept.push(b'\n');
                platform::write_file(&path, &kept, Visibility::Private)?;
            }
        }
        Ok(())
    }

    /// Closes the current file, and drops what is too old or too much.
    fn rotate(&self, now: Timestamp) -> Result<(), FileError> {
        let names = platform::list(&self.folder)?;
        let last = names.iter().filter_map(|n| closed_at(n)).max().unwrap_or(i64::MIN);
        // Names rise even when the clock does not.
        let name = now.0.max(last.saturating_add(1)).max(0);
        let closed = self.folder.join(format!("sent-{name:012}.jsonl"));
        fs::rename(self.folder.join(CURRENT), &closed).map_err(|e| FileError::new("close", &closed, e))?;
        platform::sync_dir(&self.folder)?;
        let mut closed: Vec<String> = platform::list(&self.folder)?;
        closed.retain(|n| closed_at(n).is_some());
        let mut total = MAX_FILE;
        for name in closed.iter().rev() {
            let path = self.folder.join(name);
            total += fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
            if total > MAX_TOTAL || closed_at(name).is_some_and(|at| at < now.0 - MAX_AGE) {
                platform::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether a file is empty or ends with a whole line.
fn ends_a_line(path: &Path) -> io::Result<bool> {
    let mut file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0u8];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn closed_at(name: &str) -> Option<i64> {
    name.strip_prefix("sent-")?.strip_suffix(".jsonl")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let log = SentLog::new(folder.path().to_owned());
        let record = Record::Answered {
            at: Timestamp(5),
            vendor: "com.example".parse().unwrap(),
            url: "https://example.com/v1/activate".into(),
            outcome: "200".into(),
        };
        log.append(Timestamp(1), &record).unwrap();
        let path = folder.path().join(CURRENT);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        log.append(Timestamp(2), &record).unwrap();
        log.append(Timestamp(3), &record).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read = |line: &str| serde_json::from_str::<Record>(line).ok();
        let lines: Vec<_> = text.lines().map(read).collect();
        assert_eq!(lines, [None, Some(record.clone()), Some(record)]);
    }

    #[test]
    fn requests_are_told_with_what_came_of_them_and_for_a_year() {
        let folder = tempfile::tempdir().unwrap();
        let log = SentLog::new(folder.path().join("sent"));
        assert!(log.entries().unwrap().is_empty() && log.clear().unwrap() == 0);
        let sent = |at: i64, url: &str| Record::Sent {
            at: Timestamp(at),
            vendor: "com.example".parse().unwrap(),
            purpose: "keyset".into(),
            basis: String::new(),
            method: "GET".into(),
            url: url.into(),
            body: None,
        };
        let answered = |at: i64, url: &str, outcome: &str| Record::Answered {
            at: Timestamp(at),
            vendor: "com.example".parse().unwrap(),
            url: url.into(),
            outcome: outcome.into(),
        };
        let records =
            [sent(1, "a"), sent(2, "b"), answered(3, "b", "B"), answered(4, "a", "A"), sent(5, "a")];
        for record in &records {
            log.append(Timestamp(5), record).unwrap();
        }
        let told = || -> Vec<(String, Option<String>)> {
            log.entries().unwrap().into_iter().map(|e| (e.url, e.outcome)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(), [("a".into(), some("A")), ("b".into(), some("B")), ("a".into(), None)]);
        assert!(log.entries().unwrap().iter().all(|e| e.basis == "contract"));
        log.prune(Timestamp(1 + MAX_AGE)).unwrap();
        assert_eq!(told().len(), 3, "a year is not over");
        log.prune(Timestamp(3 + MAX_AGE)).unwrap();
        assert_eq!(told(), [("a".into(), None)]);
        assert_eq!(log.clear().unwrap(), 1);
        log.append(Timestamp(6), &sent(6, "c")).unwrap();
        log.prune(Timestamp(9 + MAX_AGE)).unwrap();
        assert!(platform::list(&folder.path().join("sent")).unwrap().is_empty());
    }

    #[test]
    fn the_log_is_exact_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let log = SentLog::new(folder.path().join("sent"));
        let record = |n: usize| Record::Sent {
            at: Timestamp(5),
            vendor: "com.example".parse().unwrap(),
            purpose: "activate".into(),
            basis: "contract".into(),
            method: "POST".into(),
            url: "https://example.com/v1/activate".into(),
            body: Some(format!("{n}-{}", "x".repeat(1_000_000))),
        };
        for n in 0..30 {
            log.append(Timestamp(1000), &record(n)).unwrap();
        }
        let names = platform::list(&folder.path().join("sent")).unwrap();
        let size: u64 =
            names.iter().map(|n| fs::metadata(folder.path().join("sent").join(n)).unwrap().len()).sum();
        assert!(size <= MAX_TOTAL, "{size}");
        let last = fs::read_to_string(folder.path().join("sent").join(CURRENT)).unwrap();
        let read: Record = serde_json::from_str(last.lines().last().unwrap()).unwrap();
        assert_eq!(read, record(29));
    }
}
