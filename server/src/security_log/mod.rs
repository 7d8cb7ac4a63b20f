//! The security log: the only place that keeps IP addresses, and not for long (PRIVACY duties 10 and 11).
//!
//! One file a day, `DATA/security-log/2026-11-22.jsonl`, one JSON object a line. A thread of its own writes; a request
//! only puts an entry into a bounded queue and never waits: when the disk cannot follow, entries are dropped and
//! counted. The same thread sweeps at start and every hour ([`retention`]). Backups leave the folder out.

pub mod retention;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use claviger_protocol::clock::{Clock, Date, Timestamp};
use claviger_protocol::ids::ActivationId;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::config::DataDir;
use crate::keys::durable;
use retention::Retention;

/// Entries that may wait for the disk; about one second of the fastest server.
const QUEUE: usize = 8_192;
/// How long the first of several entries waits for the others, so that noting one need not wake the writer each time.
const TOGETHER: Duration = Duration::from_millis(5);
/// How often addresses that have grown old are looked for.
const SWEEP_EVERY: i64 = 3_600;
/// Lines that are written at once, and more than any line has, in bytes.
const BUFFER: usize = 16 * 1024;
const LONGEST: usize = 1024;

/// Why the security log does not work.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}", path.display())]
pub struct SecurityLogError {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl SecurityLogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// Something that came from an address.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub address: IpAddr,
    /// What: a word such as `activate` or `proof_refused`.
    pub what: &'static str,
    /// The serial number it was about.
    pub serial: Option<String>,
    /// The activation it was about.
    pub activation: Option<ActivationId>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
    /// From where; after [`Retention::full_days`] without its last bits.
    pub ip: IpAddr,
    /// Present once the address has lost its last bits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The serial number it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The activation it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationId>,
}

/// The way in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SecurityLog {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum Message {
    // In a box, which is wiped and freed: the queue's own places are not.
    Entry(Box<Entry>),
    Flush(SyncSender<()>),
    Close,
}

impl SecurityLog {
    /// Opens the log of a data folder and starts its writer, which sweeps first.
    ///
    /// # Errors
    /// When the folder cannot be made or the thread cannot be started.
    pub fn open(data: &DataDir, clock: Arc<dyn Clock>) -> Result<Self, SecurityLogError> {
        Self::open_with(data, clock, QUEUE)
    }

    /// A log of nothing, for the vendor's own commands: nothing comes from an address there.
    #[must_use]
    pub fn none() -> Self {
        let (queue, _) = sync_channel(0);
        Self { queue, dropped: Arc::default(), writer: Arc::default() }
    }

    fn open_with(data: &DataDir, clock: Arc<dyn Clock>, queue: usize) -> Result<Self, SecurityLogError> {
        let folder = data.security_log();
        durable::private_dir(&folder).map_err(SecurityLogError::io("create", &folder))?;
        let (sender, receiver) = sync_channel(queue);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            data: data.clone(),
            clock,
            dropped: Arc::clone(&dropped),
            file: None,
            lines: Zeroizing::new(Vec::with_capacity(BUFFER)),
            failing: false,
            swept: None,
        };
        let thread = std::thread::Builder::new()
            .name("security-log".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(SecurityLogError::io("start the writer of", &folder))?;
        Ok(Self { queue: sender, dropped, writer: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Notes an entry. Never waits and never fails: a full queue drops it and counts.
    pub fn record(&self, entry: Entry) {
        if self.queue.try_send(Message::Entry(Box::new(entry))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many entries were lost since the start, for the metrics.
    #[must_use]
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Waits until everything noted so far has reached the file, and old addresses have been looked for.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            self.hurry();
            let _ = wait.recv();
        }
    }

    /// The writer waits for no further entries.
    fn hurry(&self) {
        if let Some(thread) = &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.thread().unpark();
        }
    }

    /// Writes what is queued and ends the writer. What other clones note after that is dropped and counted.
    pub fn close(self) {
        let _ = self.queue.send(Message::Close);
        self.hurry();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Writer {
    data: DataDir,
    clock: Arc<dyn Clock>,
    dropped: Arc<AtomicU64>,
    file: Option<(Date, File)>,
    /// Lines on their way into the file. Wiped when they are there: memory, and what a crash would leave of it, holds no
    /// address for longer than the file does.
    lines: Zeroizing<Vec<u8>>,
    /// Whether the last write failed: said once, not a thousand times.
    failing: bool,
    swept: Option<Timestamp>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        self.sweep_if_due();
        loop {
            let wait = crate::fault::at_most(Duration::from_secs(SWEEP_EVERY.unsigned_abs()));
            let first = match queue.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Message::Close),
            };
            if matches!(first, Some(Message::Entry(_))) {
                std::thread::park_timeout(TOGETHER);
            }
            let mut waiting = Vec::new();
            let mut closing = false;
            let mut next = first;
            while let Some(message) = next {
                match message {
                    Message::Entry(mut entry) => self.write(&mut entry),
                    Message::Flush(done) => waiting.push(done),
                    Message::Close => closing = true,
                }
                next = if closing { None } else { queue.try_recv().ok() };
            }
            self.flush();
            if closing {
                return;
            }
            self.sweep_if_due();
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, entry: &mut Entry) {
        let line = Line {
            at: entry.at,
            what: entry.what.to_owned(),
            // An IPv4 address that came in over an IPv6 socket is one all the same.
            ip: entry.address.to_canonical(),
            cut: false,
            serial: entry.serial.take(),
            activation: entry.activation.take(),
        };
        entry.address = Ipv6Addr::UNSPECIFIED.into();
        std::hint::black_box(&entry.address);
        let written = self.turn_to(line.at.date()).and_then(|()| self.add(&line));
        self.note(written);
    }

    /// Opens the file of a day, if it is not the open one.
    fn turn_to(&mut self, date: Date) -> std::io::Result<()> {
        if self.file.as_ref().is_some_and(|(open, _)| *open == date) {
            return Ok(());
        }
        self.put()?;
        self.file = Some((date, open_append(&retention::path_of(&self.data.security_log(), date))?));
        Ok(())
    }

    fn add(&mut self, line: &Line) -> std::io::Result<()> {
        if self.lines.len() + LONGEST > BUFFER {
            self.put()?;
        }
        serde_json::to_writer(&mut *self.lines, line)?;
        self.lines.push(b'\n');
        Ok(())
    }

    fn put(&mut self) -> std::io::Result<()> {
        let written = match &mut self.file {
            Some((_, file)) => file.write_all(&self.lines),
            None => Ok(()),
        };
        self.lines.zeroize();
        written
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            let written = self.put();
            self.note(written);
        }
    }

    fn note(&mut self, done: std::io::Result<()>) {
        match done {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                // What was not written is lost; a later entry opens the file anew.
                self.lines.zeroize();
                self.file = None;
                if !self.failing {
                    tracing::error!(%error, "the security log cannot be written; entries are dropped and counted");
                }
                self.failing = true;
            }
        }
    }

    fn sweep_if_due(&mut self) {
        let now = self.clock.now();
        let due = self.swept.is_none_or(|last| now >= last.plus(SWEEP_EVERY) || now < last);
        if !due {
            return;
        }
        self.swept = Some(now);
        if self.file.as_ref().is_some_and(|(date, _)| *date != now.date()) {
            self.file = None;
        }
        let rules = Retention::load(&self.data);
        match rules.and_then(|rules| retention::sweep(&self.data.security_log(), now, &rules)) {
            Ok(swept) if swept.changed() => {
                tracing::info!(
                    addresses_cut = swept.lines_cut,
                    files_removed = swept.files_removed,
                    "swept the security log"
                );
            }
            Ok(_) => {}
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the security log could not be swept: old addresses may still be in it");
            }
        }
    }
}

fn open_append(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    crate::platform::with_mode(&mut options, durable::PRIVATE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_protocol::clock::DAY;
    use std::sync::atomic::AtomicI64;

    #[derive(Debug)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
    }

    const START: i64 = 1_795_305_600;

    fn entry(at: i64, ip: &str) -> Entry {
        let serial = Some("EXA-1".to_owned());
        Entry { at: Timestamp(at), address: ip.parse().unwrap(), what: "activate", serial, activation: None }
    }

    fn whole_log(data: &DataDir) -> String {
        let mut paths: Vec<_> =
            std::fs::read_dir(data.security_log()).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths.iter().filter_map(|p| std::fs::read_to_string(p).ok()).collect()
    }

    #[test]
    fn addresses_are_full_for_seven_days_then_cut_and_gone_after_a_year() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let clock = Arc::new(Hand(AtomicI64::new(START)));
        let log = SecurityLog::open(&data, clock.clone()).unwrap();
        log.record(entry(START + 10, "203.0.113.77"));
        log.record(entry(START + 20, "::ffff:198.51.100.99"));
        log.record(entry(START + DAY - 1, "2001:db8:aa:bb:cc::dd"));
        log.flush();
        for full in ["203.0.113.77", "198.51.100.99", "2001:db8:aa:bb:cc::dd"] {
            assert!(whole_log(&data).contains(full), "{full}");
        }
        // Just before the seven days are over, and just after: the younger entry of that day keeps its address.
        clock.0.store(START + 10 + 7 * DAY - 1, Ordering::SeqCst);
        log.flush();
        assert!(whole_log(&data).contains("203.0.113.77"));
        clock.0.store(START + 2 * 3_600 + 7 * DAY, Ordering::SeqCst);
        log.flush();
        let text = whole_log(&data);
        assert!(!text.contains("203.0.113.77") && text.contains("\"203.0.113.0\",\"cut\":true"), "{text}");
        assert!(!text.contains("198.51.100.99") && text.contains("198.51.100.0"), "{text}");
        assert!(text.contains("2001:db8:aa:bb:cc::dd"));
        clock.0.store(START + 8 * DAY + 1, Ordering::SeqCst);
        log.flush();
        let text = whole_log(&data);
        assert!(
            !text.contains("2001:db8:aa:bb") && text.contains("\"2001:db8:aa::\",\"cut\":true"),
            "{text}"
        );
        assert!(text.contains("EXA-1"));
        clock.0.store(START + 367 * DAY, Ordering::SeqCst);
        log.flush();
        assert!(!whole_log(&data).contains("EXA-1"));
        log.close();
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_nothing_waits() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let log = SecurityLog::open_with(&data, Arc::new(Hand(AtomicI64::new(START))), 1).unwrap();
        let other = log.clone();
        log.close();
        other.record(entry(START, "203.0.113.1"));
        assert_eq!(other.dropped().load(Ordering::Relaxed), 1);
        other.flush();
    }

    #[test]
    fn what_was_noted_before_closing_is_written_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let log = SecurityLog::open(&data, Arc::new(Hand(AtomicI64::new(START)))).unwrap();
        for second in 0..500 {
            log.record(entry(START + second, "203.0.113.1"));
        }
        log.close();
        let text = whole_log(&data);
        assert_eq!(text.lines().count(), 500);
        assert!(text.lines().all(|line| serde_json::from_str::<Line>(line).is_ok()));
        let path = retention::path_of(&data.security_log(), Timestamp(START).date());
        assert!(crate::platform::has_mode(&path, 0o600));
    }
}
