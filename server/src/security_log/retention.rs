//! How long the security log keeps what: full addresses for 7 days, then without their last 8 bits (IPv6: /48), and
//! everything for a year. A file is rewritten beside itself and swapped; the old one is overwritten before it goes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use claviger_protocol::clock::{DAY, Date, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Line, SecurityLogError};
use crate::config::DataDir;
use crate::keys::durable;

/// The rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days for which an address stays whole: 1 to 7.
    pub full_days: u32,
    /// Days for which an entry stays at all, 1 to 3650.
    pub keep_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { full_days: 7, keep_days: 365 }
    }
}

fn path_of_rules(data: &DataDir) -> PathBuf {
    data.path().join("retention.json")
}

impl Retention {
    /// The rules of this server; those of the default when none were set.
    ///
    /// # Errors
    /// When the file cannot be read or says something impossible: better to say so than to keep things too long.
    pub fn load(data: &DataDir) -> Result<Self, SecurityLogError> {
        let path = path_of_rules(data);
        let wrong = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(SecurityLogError::io("read", &path))?,
        };
        let rules: Self = serde_json::from_slice(&bytes)
            .map_err(|e| SecurityLogError::io("understand", &path)(wrong(e.to_string())))?;
        if rules.possible() {
            Ok(rules)
        } else {
            let why = "full_days must be 1 to 7, keep_days 1 to 3650".to_owned();
            Err(SecurityLogError::io("understand", &path)(wrong(why)))
        }
    }

    /// Whether the rules are within their bounds.
    #[must_use]
    pub fn possible(&self) -> bool {
        (1..=7).contains(&self.full_days) && (1..=3650).contains(&self.keep_days)
    }

    /// Keeps these rules; a running server reads them at its next sweep.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self, data: &DataDir) -> Result<(), SecurityLogError> {
        let path = path_of_rules(data);
        let text = serde_json::to_vec(self)
            .map_err(|e| SecurityLogError::io("write", &path)(std::io::Error::from(e)))?;
        durable::write(&path, &text, durable::PRIVATE).map_err(SecurityLogError::io("write", &path))
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Addresses that lost their last bits.
    pub lines_cut: u64,
    /// Lines that could not be read and were removed: they may have held an address.
    pub lines_dropped: u64,
    /// Files removed because their time was over.
    pub files_removed: u64,
    /// Another process was sweeping, so this one did nothing.
    pub busy: bool,
}

impl Swept {
    /// Whether anything was done.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.lines_cut + self.lines_dropped + self.files_removed > 0
    }
}

/// The file of a day.
#[must_use]
pub fn path_of(folder: &Path, date: Date) -> PathBuf {
    folder.join(format!("{date}.jsonl"))
}

/// An address without its last bits.
#[must_use]
pub fn cut(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Applies the rules to every file in `folder`.
///
/// # Errors
/// [`SecurityLogError`]; what was done until then stays done.
pub fn sweep(folder: &Path, now: Timestamp, rules: &Retention) -> Result<Swept, SecurityLogError> {
    let mut swept = Swept::default();
    let lock_path = folder.join(".lock");
    let lock = File::create(&lock_path).map_err(SecurityLogError::io("open", &lock_path))?;
    if lock.try_lock().is_err() {
        swept.busy = true;
        return Ok(swept);
    }
    let entries = std::fs::read_dir(folder).map_err(SecurityLogError::io("look into", folder))?;
    let mut dates = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SecurityLogError::io("look into", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(date) = name.strip_suffix(".jsonl").and_then(|d| d.parse::<Date>().ok()) {
            dates.push(date);
        } else if name.ends_with(".old") || name.ends_with(".new") {
            let path = entry.path();
            remove_leftover(&path).map_err(SecurityLogError::io("remove", &path))?;
        }
    }
    dates.sort();
    for date in dates {
        let path = path_of(folder, date);
        let age_of_youngest = now.0.saturating_sub(date.start().0.saturating_add(DAY));
        if age_of_youngest >= i64::from(rules.keep_days) * DAY {
            durable::shred(&path).map_err(SecurityLogError::io("remove", &path))?;
            swept.files_removed += 1;
        } else if is_due(date.start(), now, rules) || is_due(date.start().plus(DAY - 1), now, rules) {
            rewrite(&path, now, rules, &mut swept)?;
        }
    }
    Ok(swept)
}

/// Removes what an interrupted sweep left: an unfinished new file, or the old one under its second name. Before the swap
/// that second name still means the log itself, which must not be overwritten.
fn remove_leftover(path: &Path) -> std::io::Result<()> {
    let log = path.with_extension("jsonl");
    if path.extension().is_some_and(|e| e == "old")
        && log.exists()
        && *read_whole(path)? == *read_whole(&log)?
    {
        return std::fs::remove_file(path);
    }
    durable::shred(path)
}

/// Whether an address noted at this moment has to lose its last bits. An entry from the future comes from a clock that
/// was wrong: its age is not known, so it counts as old.
fn is_due(at: Timestamp, now: Timestamp, rules: &Retention) -> bool {
    at.plus(i64::from(rules.full_days) * DAY) <= now || at > now.plus(2 * DAY)
}

/// The first line of a file whose addresses have all been cut, so that it is not read again every hour. The length
/// tells whether something was added since.
#[derive(Serialize, Deserialize)]
struct AllCut {
    all_addresses_cut: bool,
    bytes: u64,
}

fn rewrite(
    path: &Path,
    now: Timestamp,
    rules: &Retention,
    swept: &mut Swept,
) -> Result<(), SecurityLogError> {
    let all = read_whole(path).map_err(SecurityLogError::io("read", path))?;
    // What is added to each line is less than the half of it.
    let mut kept = Zeroizing::new(Vec::with_capacity(all.len() + all.len() / 2 + 64));
    let (mut first, mut changed, mut all_cut) = (true, false, true);
    for text in all.split_inclusive(|b| *b == b'\n') {
        if std::mem::take(&mut first)
            && let Ok(head) = serde_json::from_slice::<AllCut>(text)
        {
            if head.bytes == (all.len() - text.len()) as u64 {
                return Ok(());
            }
            changed = true;
            continue;
        }
        let Ok(mut line) = serde_json::from_slice::<Line>(text) else {
            swept.lines_dropped += 1;
            changed = true;
            continue;
        };
        if !line.cut && is_due(line.at, now, rules) {
            line.ip = cut(line.ip);
            line.cut = true;
            swept.lines_cut += 1;
            changed = true;
        }
        all_cut &= line.cut;
        serde_json::to_writer(&mut *kept, &line)
            .map_err(|e| SecurityLogError::io("rewrite", path)(std::io::Error::from(e)))?;
        kept.push(b'\n');
    }
    if !changed && !all_cut {
        return Ok(());
    }
    swap(path, &kept, all_cut).map_err(SecurityLogError::io("rewrite", path))
}

/// A file of the log, in memory that is wiped.
fn read_whole(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut all = Zeroizing::new(Vec::with_capacity(length));
    file.read_to_end(&mut all)?;
    Ok(all)
}

/// Puts the new content in the old one's place, then overwrites the old one. Whatever an interruption leaves, the next
/// sweep finishes: the log is complete at every moment, and the old copy keeps a name until it is overwritten.
fn swap(path: &Path, kept: &[u8], all_cut: bool) -> std::io::Result<()> {
    let beside = durable::temporary(path)?;
    let old = path.with_extension("old");
    let mut out = durable::open_new(&beside, durable::PRIVATE)?;
    if all_cut {
        let head = serde_json::to_string(&AllCut { all_addresses_cut: true, bytes: kept.len() as u64 })?;
        out.write_all(format!("{head}\n").as_bytes())?;
    }
    out.write_all(kept)?;
    crate::platform::sync_file(&out)?;
    crate::fault::point("security-log-before-swap");
    std::fs::hard_link(path, &old)?;
    std::fs::rename(&beside, path)?;
    durable::sync_parent(path)?;
    crate::fault::point("security-log-after-swap");
    durable::shred(&old)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_305_600;

    fn line(at: i64, ip: &str) -> String {
        format!("{{\"at\":{at},\"what\":\"activate\",\"ip\":\"{ip}\"}}\n")
    }

    #[test]
    fn the_old_bytes_are_overwritten_not_only_unlinked() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), Timestamp(START).date());
        std::fs::write(&path, line(START, "203.0.113.77")).unwrap();
        let witness = dir.path().join("witness");
        std::fs::hard_link(&path, &witness).unwrap();
        let swept = sweep(dir.path(), Timestamp(START + 9 * DAY), &Retention::default()).unwrap();
        assert_eq!((swept.lines_cut, swept.lines_dropped), (1, 0));
        assert!(std::fs::read(&witness).unwrap().iter().all(|b| *b == 0));
        assert!(std::fs::read_to_string(&path).unwrap().contains("203.0.113.0"));
        let again = sweep(dir.path(), Timestamp(START + 9 * DAY), &Retention::default()).unwrap();
        assert!(!again.changed(), "a file that is done is left alone");
    }

    #[test]
    fn half_a_line_and_lines_added_later_keep_no_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), Timestamp(START).date());
        std::fs::write(&path, format!("{}{{\"at\":5,\"ip\":\"203.0.113.9", line(START, "203.0.113.77")))
            .unwrap();
        let rules = Retention::default();
        let swept = sweep(dir.path(), Timestamp(START + 9 * DAY), &rules).unwrap();
        assert_eq!((swept.lines_cut, swept.lines_dropped), (1, 1));
        let mut text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("203.0.113.9"));
        text.push_str(&line(START + 5, "203.0.113.88"));
        std::fs::write(&path, text).unwrap();
        assert_eq!(sweep(dir.path(), Timestamp(START + 9 * DAY), &rules).unwrap().lines_cut, 1);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("203.0.113.88"));
    }

    #[test]
    fn leftovers_of_an_interrupted_sweep_are_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), Timestamp(START).date());
        std::fs::write(&path, line(START, "203.0.113.77")).unwrap();
        std::fs::write(dir.path().join(".2026-11-22.jsonl.1.new"), line(START, "203.0.113.77")).unwrap();
        // Stopped before the swap: the second name means the log itself, which must not be overwritten.
        std::fs::hard_link(&path, path.with_extension("old")).unwrap();
        sweep(dir.path(), Timestamp(START + DAY), &Retention::default()).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("203.0.113.77"));
        // Stopped after the swap: the old file waits under its second name.
        std::fs::write(path.with_extension("old"), line(START, "203.0.113.99")).unwrap();
        sweep(dir.path(), Timestamp(START + 9 * DAY), &Retention::default()).unwrap();
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(std::fs::read_to_string(&path).unwrap().contains("203.0.113.0"));
    }

    #[test]
    fn entries_from_a_wrong_clocks_future_do_not_keep_their_address() {
        let dir = tempfile::tempdir().unwrap();
        let future = START + 40_000 * DAY;
        let path = path_of(dir.path(), Timestamp(future).date());
        std::fs::write(&path, line(future, "203.0.113.77")).unwrap();
        sweep(dir.path(), Timestamp(START), &Retention::default()).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("203.0.113.0"));
    }

    #[test]
    fn rules_have_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        assert_eq!(Retention::load(&data).unwrap(), Retention::default());
        let rules = Retention { full_days: 3, keep_days: 90 };
        rules.save(&data).unwrap();
        assert_eq!(Retention::load(&data).unwrap(), rules);
        for bad in [r#"{"full_days":8,"keep_days":365}"#, r#"{"full_days":7,"keep_days":0}"#, "{}", "x"] {
            std::fs::write(dir.path().join("retention.json"), bad).unwrap();
            assert!(Retention::load(&data).is_err(), "{bad}");
        }
    }
}
