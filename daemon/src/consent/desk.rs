//! All consents of one daemon: their files, the notices they are about, and the challenges that a grant must echo.
//!
//! ```text
//! state/consent/PERSON/VENDOR.json           a ledger: decisions and, under a consent, what was gathered
//! state/consent/PERSON/sent/                 what that person agreed to send, byte for byte
//! state/consent/notices/VENDOR.json          the vendor's signed notices, the one in force and the next
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::Keyset;
use claviger_protocol::ids::{Nonce, VendorId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::{MAX_SLOT, Notice, NoticeBody};
use tokio::sync::watch;

use super::{Consented, InForce, Ledger, Seen, Veto};
use crate::egress::SentLog;
use crate::platform::{self, FileError, Visibility};

/// A person of this computer: the operating system's own word for the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

impl Subject {
    /// The account that the system calls this: a user id, a SID.
    #[must_use]
    pub fn new(account: &str) -> Option<Self> {
        let fits = (1..=128).contains(&account.len())
            && account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && account != NOTICES;
        fits.then(|| Self(account.to_owned()))
    }
}

/// The folder of notices; no account is called so.
const NOTICES: &str = "notices";
/// Most bytes of a ledger.
const MAX_LEDGER: usize = 16 * 1024 * 1024;
/// How long a question may be thought about.
const CHALLENGE: i64 = 3_600;
/// Most questions of one person that are open at once.
const MAX_OPEN: usize = 8;

/// A vendor's signed notice that was verified.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it says.
    pub notice: Notice,
    /// Hash of its signed text.
    pub sha256: Sha256,
}

impl Known {
    fn read(text: &str, keyset: &Keyset) -> Option<Self> {
        let notice = Notice::verify(text, keyset).ok()?;
        Some(Self { notice, sha256: Sha256::of(text.trim().as_bytes()) })
    }

    fn in_force(&self) -> InForce<'_> {
        InForce { notice: &self.notice, sha256: self.sha256 }
    }
}

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub struct Question {
    who: Subject,
    vendor: VendorId,
    at: Timestamp,
    /// What was shown.
    pub seen: Seen,
}

type Key = (Subject, VendorId);

/// All consents of one daemon.
pub struct Desk {
    root: PathBuf,
    veto: Option<Veto>,
    ledgers: RefCell<BTreeMap<Key, Ledger>>,
    notices: RefCell<BTreeMap<VendorId, Vec<Known>>>,
    questions: RefCell<BTreeMap<String, Question>>,
    changed: watch::Sender<u64>,
}

impl Desk {
    /// Opens the ledgers in this folder. One whose events do not follow each other was not written here: it is moved
    /// aside, and nobody has agreed.
    #[must_use]
    pub fn open(root: PathBuf, veto: Option<Veto>) -> Self {
        let desk = Self {
            root,
            veto,
            ledgers: RefCell::default(),
            notices: RefCell::default(),
            questions: RefCell::default(),
            changed: watch::Sender::new(0),
        };
        for person in platform::list(&desk.root).unwrap_or_default() {
            let Some(who) = Subject::new(&person) else { continue };
            let folder = desk.root.join(&person);
            platform::clear_temporaries(&folder);
            for name in platform::list(&folder).unwrap_or_default() {
                let Some(vendor) = name.strip_suffix(".json").and_then(|n| n.parse::<VendorId>().ok()) else {
                    continue;
                };
                let key = (who.clone(), vendor);
                if let Some(ledger) = desk.load(&key) {
                    desk.ledgers.borrow_mut().insert(key, ledger);
                }
            }
        }
        platform::clear_temporaries(&desk.root.join(NOTICES));
        desk
    }

    fn load(&self, key: &Key) -> Option<Ledger> {
        let path = self.path(key);
        let why = match platform::read_bounded(&path, MAX_LEDGER) {
            Ok(None) => return None,
            Ok(Some(bytes)) => match serde_json::from_slice::<Ledger>(&bytes) {
                Ok(ledger) if ledger.is_whole() && ledger.record().vendor == key.1 => return Some(ledger),
                Ok(_) => "its events do not follow each other".to_owned(),
                // The reader's sentence may quote what stands in the file.
                Err(e) => format!("not readable at line {}, column {}", e.line(), e.column()),
            },
            Err(e) => e.source.to_string(),
        };
        match platform::move_aside(&path, "damaged") {
            Ok(place) => tracing::error!(
                file = %path.display(), kept_as = %place.display(), why,
                "a consent that cannot be believed was set aside: nobody has agreed"
            ),
            Err(e) => tracing::error!(error = %e, cause = %e.source, why, "a damaged consent is in the way"),
        }
        None
    }

    /// Forgets everyone's decisions, what was gathered under them and every open question. The files are the caller's to
    /// remove: this computer becomes an image that others are copied from.
    pub fn forget_all(&self) {
        self.ledgers.borrow_mut().clear();
        self.notices.borrow_mut().clear();
        self.questions.borrow_mut().clear();
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// What forbids telemetry here.
    #[must_use]
    pub fn veto(&self) -> Option<Veto> {
        self.veto
    }

    /// Wakes whenever a decision or a notice changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn path(&self, (who, vendor): &Key) -> PathBuf {
        self.root.join(&who.0).join(format!("{vendor}.json"))
    }

    /// A person's own log of what was sent.
    #[must_use]
    pub fn log(&self, who: &Subject) -> SentLog {
        SentLog::new(self.root.join(&who.0).join("sent"))
    }

    /// Everyone who has a log or a ledger here.
    #[must_use]
    pub fn people(&self) -> Vec<Subject> {
        platform::list(&self.root).unwrap_or_default().iter().filter_map(|name| Subject::new(name)).collect()
    }

    /// Stores a ledger. Where nothing may be left of what was gathered, the old file's bytes are overwritten as well: a
    /// name that is gone is not yet content that is gone.
    fn store(&self, key: &Key, ledger: &Ledger) -> Result<(), FileError> {
        let path = self.path(key);
        let old = if ledger.has_gathered() || !path.is_file() {
            None
        } else {
            OpenOptions::new().write(true).open(&path).ok()
        };
        let text = serde_json::to_vec(ledger).unwrap_or_default();
        let write = || platform::write_file(&path, &text, Visibility::Private);
        let Some(mut old) = old else { return write() };
        let wiped = if write().is_ok() {
            let length = old.metadata().map_or(0, |m| m.len()).min(MAX_LEDGER as u64);
            let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
            old.write_all(&zeros).and_then(|()| platform::sync_file(&old))
        } else {
            // Some file systems replace no file that is open. What was decided counts more than the old bytes.
            drop(old);
            write()?;
            Err(ErrorKind::Unsupported.into())
        };
        if let Err(e) = wiped {
            tracing::warn!(error = %e, "the bytes of an old file could not be overwritten; it is unlinked");
        }
        Ok(())
    }

    /// A copy of a person's ledger about a vendor.
    #[must_use]
    pub fn ledger(&self, who: &Subject, vendor: &VendorId) -> Option<Ledger> {
        self.ledgers.borrow().get(&(who.clone(), vendor.clone())).cloned()
    }

    /// Changes a ledger, made by `new` where there is none, and stores it: the change holds when it is on disk.
    ///
    /// # Errors
    /// What `change` says, or [`FileError`]; nothing changes then.
    pub fn change<T, E: From<FileError>>(
        &self,
        who: &Subject,
        vendor: &VendorId,
        new: impl FnOnce() -> Result<Ledger, E>,
        change: impl FnOnce(&mut Ledger) -> Result<T, E>,
    ) -> Result<T, E> {
        let key = (who.clone(), vendor.clone());
        let known = self.ledgers.borrow().get(&key).cloned();
        let mut ledger = match known {
            Some(ledger) => ledger,
            None => new()?,
        };
        let result = change(&mut ledger)?;
        self.store(&key, &ledger)?;
        self.ledgers.borrow_mut().insert(key, ledger);
        self.announce();
        Ok(result)
    }

    /// Takes a consent back, at once and whatever the disk says: a file that cannot be written is removed instead.
    ///
    /// # Errors
    /// [`FileError`] when neither could be done. Nothing is counted or sent any more all the same.
    pub fn withdraw(&self, who: &Subject, vendor: &VendorId, now: Timestamp) -> Result<(), FileError> {
        let key = (who.clone(), vendor.clone());
        let Some(mut ledger) = self.ledgers.borrow().get(&key).cloned() else { return Ok(()) };
        ledger.withdraw(now);
        let stored = self.store(&key, &ledger);
        self.ledgers.borrow_mut().insert(key.clone(), ledger);
        self.announce();
        crate::fault::point("consent-withdrawn");
        stored.or_else(|e| {
            tracing::error!(error = %e, cause = %e.source, "a withdrawal could not be written; its file is removed");
            let path = self.path(&key);
            platform::remove_file(&path)?;
            path.parent().map_or(Ok(()), platform::sync_dir)
        })
    }

    /// The lowest slot that no other person who agreed with this vendor has; none when all are taken.
    #[must_use]
    pub fn free_slot(&self, who: &Subject, vendor: &VendorId) -> Option<u8> {
        let ledgers = self.ledgers.borrow();
        let others = ledgers.iter().filter(|((w, v), l)| v == vendor && w != who && l.has_gathered());
        let taken: Vec<u8> = others.map(|(_, l)| l.slot()).collect();
        (0..=MAX_SLOT).find(|slot| !taken.contains(slot))
    }

    fn announce(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Does something with the proof of a person's consent, if there is one, and stores what it changed.
    ///
    /// # Errors
    /// [`FileError`]; nothing changes then.
    pub fn with_consent<T>(
        &self,
        who: &Subject,
        vendor: &VendorId,
        now: Timestamp,
        act: impl FnOnce(&mut Consented<'_>) -> (T, Store),
    ) -> Result<Option<T>, FileError> {
        let key = (who.clone(), vendor.clone());
        let Some(mut ledger) = self.ledgers.borrow().get(&key).cloned() else { return Ok(None) };
        let before = (ledger.record().events.len(), ledger.has_gathered());
        let notices = self.notices(vendor);
        let in_force = in_force(&notices, now);
        let acted = ledger.consented(now, in_force, self.veto).map(|mut proof| act(&mut proof));
        let (result, store) = acted.map_or((None, Store::No), |(result, store)| (Some(result), store));
        drop(notices);
        let settled = (ledger.record().events.len(), ledger.has_gathered()) != before;
        if settled || store == Store::Yes {
            self.store(&key, &ledger)?;
            self.ledgers.borrow_mut().insert(key, ledger);
        }
        if settled {
            self.announce();
        }
        Ok(result)
    }

    /// Records what time has done to all consents.
    pub fn settle_all(&self, now: Timestamp) {
        let keys: Vec<Key> = self.ledgers.borrow().keys().cloned().collect();
        for key in keys {
            let Some(mut ledger) = self.ledgers.borrow().get(&key).cloned() else { continue };
            let changed = ledger.settle(now, in_force(&self.notices(&key.1), now), self.veto);
            if !changed {
                continue;
            }
            // Less is kept in any case; the disk follows when it can.
            if let Err(e) = self.store(&key, &ledger) {
                tracing::error!(error = %e, cause = %e.source, "what became of a consent could not be stored");
            }
            self.ledgers.borrow_mut().insert(key, ledger);
            self.announce();
        }
    }

    /// Whether uses of this vendor's titles are counted for this person.
    #[must_use]
    pub fn is_counting(&self, who: &Subject, vendor: &VendorId, now: Timestamp) -> bool {
        let notices = self.notices(vendor);
        let ledgers = self.ledgers.borrow();
        let ledger = ledgers.get(&(who.clone(), vendor.clone()));
        ledger.is_some_and(|l| l.has_gathered() && l.is_counting(now, in_force(&notices, now), self.veto))
    }

    /// Everyone who has agreed to something.
    #[must_use]
    pub fn consenting(&self) -> Vec<(Subject, VendorId)> {
        self.ledgers.borrow().iter().filter(|(_, l)| l.has_gathered()).map(|(key, _)| key.clone()).collect()
    }

    /// When the next request of anyone's statistics is planned.
    #[must_use]
    pub fn next_send(&self) -> Option<Timestamp> {
        let ledgers = self.ledgers.borrow();
        let planned = ledgers.values().filter_map(Ledger::peek).flat_map(|gathered| gathered.planned());
        planned.map(|planned| planned.due).min()
    }

    /// The vendors that this person has agreed with.
    #[must_use]
    pub fn agreed(&self, who: &Subject) -> Vec<VendorId> {
        let ledgers = self.ledgers.borrow();
        ledgers
            .iter()
            .filter(|((w, _), l)| w == who && l.has_gathered())
            .map(|((_, v), _)| v.clone())
            .collect()
    }

    fn notices(&self, vendor: &VendorId) -> Vec<Known> {
        self.notices.borrow().get(vendor).cloned().unwrap_or_default()
    }

    fn notices_path(&self, vendor: &VendorId) -> PathBuf {
        self.root.join(NOTICES).join(format!("{vendor}.json"))
    }

    /// Reads the notices of a vendor that were stored; those that do not verify any more count as unknown.
    pub fn load_notices(&self, vendor: &VendorId, keyset: &Keyset) {
        let bytes = platform::read_bounded(&self.notices_path(vendor), 1024 * 1024).ok().flatten();
        let body = bytes.and_then(|b| serde_json::from_slice::<NoticeBody>(&b).ok());
        if let Some(body) = body {
            let known = [Some(body.notice), body.next].into_iter().flatten();
            let known = known.filter_map(|text| Known::read(&text, keyset)).collect();
            self.notices.borrow_mut().insert(vendor.clone(), known);
        }
    }

    /// Takes notices that came from the vendor's server. None is taken back for an older one.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take_notices(
        &self,
        vendor: &VendorId,
        keyset: &Keyset,
        body: &NoticeBody,
    ) -> Result<(), NotTaken> {
        let read = |text: &String| Known::read(text, keyset).ok_or(NotTaken::Untrusted);
        let mut fresh = vec![read(&body.notice)?];
        fresh.extend(body.next.as_ref().map(read).transpose()?);
        let known = self.notices(vendor);
        let newest = known.iter().max_by_key(|k| k.notice.version);
        if let Some(newest) = newest {
            let back = fresh.iter().all(|f| f.notice.version < newest.notice.version);
            let other = fresh.iter().any(|f| {
                let same = known.iter().find(|k| k.notice.version == f.notice.version);
                same.is_some_and(|k| k.sha256 != f.sha256)
            });
            if back || other {
                return Err(NotTaken::Older);
            }
        }
        let text = serde_json::to_vec(body).unwrap_or_default();
        platform::write_file(&self.notices_path(vendor), &text, Visibility::Private)?;
        self.notices.borrow_mut().insert(vendor.clone(), fresh);
        self.announce();
        Ok(())
    }

    /// The notice in force.
    #[must_use]
    pub fn notice(&self, vendor: &VendorId, now: Timestamp) -> Option<Known> {
        let notices = self.notices(vendor);
        let found = in_force(&notices, now)?.sha256;
        notices.into_iter().find(|k| k.sha256 == found)
    }

    /// Whether any notice of this vendor is known, in force or not.
    #[must_use]
    pub fn knows_notice(&self, vendor: &VendorId) -> bool {
        !self.notices(vendor).is_empty()
    }

    /// Forgets what belongs to a vendor that was removed here; decisions stay on record.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove_vendor(&self, vendor: &VendorId, now: Timestamp) -> Result<(), FileError> {
        let people: Vec<Subject> =
            self.ledgers.borrow().keys().filter(|(_, v)| v == vendor).map(|(w, _)| w.clone()).collect();
        for who in people {
            self.withdraw(&who, vendor, now)?;
        }
        self.notices.borrow_mut().remove(vendor);
        platform::remove_file(&self.notices_path(vendor))
    }

    /// Opens a question; its name is good for one answer.
    pub fn ask(&self, who: &Subject, vendor: &VendorId, now: Timestamp, seen: Seen, name: Nonce) -> String {
        let mut questions = self.questions.borrow_mut();
        questions.retain(|_, q| now < q.at.plus(CHALLENGE) && q.at.plus(-CHALLENGE) < now);
        while questions.values().filter(|q| q.who == *who).count() >= MAX_OPEN {
            let oldest = questions.iter().filter(|(_, q)| q.who == *who).min_by_key(|(_, q)| q.at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
            questions.remove(&name);
        }
        let name = name.to_string();
        let question = Question { who: who.clone(), vendor: vendor.clone(), at: now, seen };
        questions.insert(name.clone(), question);
        name
    }

    /// Takes a question that this person was asked about this vendor within the last hour. It is gone afterwards,
    /// whatever becomes of the answer.
    pub fn answer(&self, who: &Subject, vendor: &VendorId, now: Timestamp, name: &str) -> Option<Question> {
        let found = self.questions.borrow_mut().remove(name)?;
        let fresh = now < found.at.plus(CHALLENGE) && found.at.plus(-CHALLENGE) < now;
        (found.who == *who && found.vendor == *vendor && fresh).then_some(found)
    }
}

/// Whether what was done with a proof is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// It changed something.
    Yes,
    /// It only looked.
    No,
}

impl From<bool> for Store {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

/// Why notices were not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Not the vendor's, or not one that a person can be asked with.
    #[error("the vendor's notice cannot be believed")]
    Untrusted,
    /// Older than the known one, or another one with its number.
    #[error("the vendor's server shows an older notice, or two with one number")]
    Older,
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

fn in_force(notices: &[Known], now: Timestamp) -> Option<InForce<'_>> {
    let effective = notices.iter().filter(|k| k.notice.effective.start() <= now);
    effective.max_by_key(|k| k.notice.version).map(Known::in_force)
}
