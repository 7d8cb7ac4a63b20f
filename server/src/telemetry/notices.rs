//! Notices on disk: `DATA/notices/notice-VERSION.jws`, signed once, kept for ever, so that what a person agreed to can be
//! shown years later.
//!
//! A change of what is agreed to (purpose, fields, controller, recipients, retention, jurisdiction, policy) takes effect
//! thirty days after it was announced at the earliest; a corrected word or a translation may follow at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use claviger_protocol::clock::{DAY, Date, Timestamp};
use claviger_protocol::documents::{DocumentError, KeyInHeader, sign};
use claviger_protocol::json::{JsonError, from_slice_strict};
use claviger_protocol::jws::Unverified;
use claviger_protocol::telemetry::{
    Authority, Controller, Notice, NoticeBody, NoticeText, PURPOSE, PolicyReference, REPORT_FIELDS,
};
use serde::{Deserialize, Serialize};

use super::TelemetryError;
use crate::keys::{Issuer, durable, read_text};

/// How many days before it takes effect a material change is announced (PRIVACY duty 21).
pub const ANNOUNCED_DAYS: i64 = 30;

/// What the vendor writes: the notice without what the server adds. Closed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The notice's name; it stays when its version rises.
    pub id: String,
    /// Who decides and answers for it.
    pub controller: Controller,
    /// Who receives the data besides the controller.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// For how many days aggregated counts are kept.
    pub retention_days: u32,
    /// Whose law holds.
    pub jurisdiction: String,
    /// Where to complain.
    pub authority: Authority,
    /// The privacy policy that the notice is part of.
    pub policy: PolicyReference,
    /// The texts by language tag.
    pub texts: BTreeMap<String, NoticeText>,
}

impl Draft {
    /// Reads a draft.
    ///
    /// # Errors
    /// [`JsonError`] for anything but the closed list.
    pub fn read(bytes: &[u8]) -> Result<Self, JsonError> {
        from_slice_strict(bytes)
    }

    fn notice(self, issuer: &Issuer, version: u32, iat: Timestamp, effective: Date) -> Notice {
        Notice {
            iss: issuer.vendor().clone(),
            id: self.id,
            version,
            iat,
            effective,
            purpose: PURPOSE.to_owned(),
            fields: REPORT_FIELDS.map(str::to_owned).to_vec(),
            controller: self.controller,
            recipients: self.recipients,
            retention_days: self.retention_days,
            jurisdiction: self.jurisdiction,
            authority: self.authority,
            policy: self.policy,
            texts: self.texts,
        }
    }
}

/// A notice and its compact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNotice {
    /// What it says.
    pub notice: Notice,
    /// The bytes that everyone gets.
    pub text: String,
}

/// Every notice in `folder`, by version. One whose signing key was compromised since is signed anew, with the same
/// content.
///
/// # Errors
/// [`TelemetryError`].
pub fn load(folder: &Path, issuer: &Issuer) -> Result<Vec<StoredNotice>, TelemetryError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(TelemetryError::io("look into", folder))?,
    };
    let mut notices = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let named = |name: &str| name.strip_prefix("notice-")?.strip_suffix(".jws")?.parse::<u32>().ok();
        let Some(version) = entry.file_name().to_str().and_then(named) else { continue };
        let Some(text) = read_text(&path)? else { continue };
        let stored = verify(&path, text, issuer)?;
        if stored.notice.version != version {
            return Err(TelemetryError::Damaged(path));
        }
        notices.push(stored);
    }
    notices.sort_by_key(|stored| stored.notice.version);
    Ok(notices)
}

fn verify(path: &Path, text: String, issuer: &Issuer) -> Result<StoredNotice, TelemetryError> {
    let unacceptable = |source| TelemetryError::Document { path: path.to_owned(), source };
    match Notice::verify(&text, issuer.keyset()) {
        Ok(notice) => Ok(StoredNotice { notice, text }),
        Err(DocumentError::CompromisedKey) => {
            let notice: Notice =
                Unverified::parse::<Notice>(&text).and_then(|u| u.peek()).map_err(unacceptable)?;
            let text = sign(&notice, issuer.signing_key(), KeyInHeader::Named);
            let notice = Notice::verify(&text, issuer.keyset()).map_err(unacceptable)?;
            durable::write(path, text.as_bytes(), durable::PUBLIC)
                .map_err(TelemetryError::io("write", path))?;
            Ok(StoredNotice { notice, text })
        }
        Err(source) => Err(unacceptable(source)),
    }
}

/// The notice in force on the day of `now`, and the announced one after it.
#[must_use]
pub fn in_force(notices: &[StoredNotice], now: Timestamp) -> (Option<&StoredNotice>, Option<&StoredNotice>) {
    let today = now.date();
    let current = notices.iter().rev().find(|stored| stored.notice.effective <= today);
    let next = notices.iter().find(|stored| {
        stored.notice.effective > today && current.is_none_or(|c| stored.notice.version > c.notice.version)
    });
    (current, next)
}

/// Signs `draft` as the next notice and stores it.
///
/// # Errors
/// [`TelemetryError::Refused`] for a date that comes too early, while another notice is announced, or for a draft that
/// nobody can be asked with.
pub fn add(
    folder: &Path,
    issuer: &Issuer,
    draft: Draft,
    effective: Option<Date>,
    now: Timestamp,
) -> Result<StoredNotice, TelemetryError> {
    let notices = load(folder, issuer)?;
    let (current, next) = in_force(&notices, now);
    if let Some(next) = next {
        return Err(TelemetryError::Refused(format!(
            "version {} is announced for {} already; withdraw it first with: claviger-server notice withdraw {}",
            next.notice.version, next.notice.effective, next.notice.version
        )));
    }
    let version = next_version(folder)?;
    let today = now.date();
    let mut notice = draft.notice(issuer, version, now, effective.unwrap_or(today));
    notice.check().map_err(|e| TelemetryError::Refused(e.to_string()))?;
    if let Some(current) = current {
        let material = notice.terms() != current.notice.terms();
        // Announced today, it takes effect on the thirtieth day after.
        let earliest = if material { now.plus(ANNOUNCED_DAYS * DAY).date() } else { today };
        notice.effective = effective.unwrap_or(earliest);
        if notice.effective < earliest {
            return Err(TelemetryError::Refused(format!(
                "what people agree to would change: such a change is announced {ANNOUNCED_DAYS} days before, so it \
                 can take effect on {earliest} at the earliest"
            )));
        }
    } else if notice.effective < today {
        return Err(TelemetryError::Refused("a notice takes effect today or later".to_owned()));
    }
    let text = sign(&notice, issuer.signing_key(), KeyInHeader::Named);
    let path = path_of(folder, version);
    let notice = Notice::verify(&text, issuer.keyset())
        .map_err(|source| TelemetryError::Document { path: path.clone(), source })?;
    durable::private_dir(folder).map_err(TelemetryError::io("create", folder))?;
    durable::create(&path, text.as_bytes(), durable::PUBLIC).map_err(TelemetryError::io("write", &path))?;
    Ok(StoredNotice { notice, text })
}

/// Takes back a notice that is announced and not yet in force. Its number is not used again.
///
/// # Errors
/// [`TelemetryError::NotFound`], [`TelemetryError::Refused`] for one that is or was in force.
pub fn withdraw(folder: &Path, issuer: &Issuer, version: u32, now: Timestamp) -> Result<(), TelemetryError> {
    let notices = load(folder, issuer)?;
    let found = notices.iter().find(|stored| stored.notice.version == version);
    let stored = found.ok_or_else(|| TelemetryError::NotFound(format!("there is no notice {version}")))?;
    if stored.notice.effective <= now.date() {
        return Err(TelemetryError::Refused(format!(
            "notice {version} is in force since {}; announce another one instead",
            stored.notice.effective
        )));
    }
    let path = path_of(folder, version);
    std::fs::rename(&path, path.with_extension("withdrawn"))
        .and_then(|()| durable::sync_dir(folder))
        .map_err(TelemetryError::io("rename", &path))
}

fn path_of(folder: &Path, version: u32) -> PathBuf {
    folder.join(format!("notice-{version}.jws"))
}

/// One more than any number that was used, withdrawn ones included.
fn next_version(folder: &Path) -> Result<u32, TelemetryError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(1),
        other => other.map_err(TelemetryError::io("look into", folder))?,
    };
    let number = |name: std::ffi::OsString| {
        let name = name.into_string().ok()?;
        name.strip_prefix("notice-")?.split_once('.')?.0.parse::<u32>().ok()
    };
    let last = entries.flatten().filter_map(|entry| number(entry.file_name())).max();
    Ok(last.map_or(1, |last| last.saturating_add(1)))
}

/// The notices of a running server: read anew when the folder changes.
#[derive(Debug)]
pub struct NoticeCell {
    folder: PathBuf,
    known: RwLock<(Stamp, Arc<Vec<StoredNotice>>)>,
}

type Stamp = Option<(std::time::SystemTime, u64)>;

impl NoticeCell {
    /// The notices in `folder`, which may not exist yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: RwLock::default() }
    }

    /// The body of `GET /v1/telemetry/notice`, or `None` while no notice is in force. Files that cannot be used leave the
    /// former ones in force; the log says so.
    #[must_use]
    pub fn body(&self, issuer: &Issuer, now: Timestamp) -> Option<NoticeBody> {
        let stamp: Stamp = std::fs::metadata(&self.folder).and_then(|m| Ok((m.modified()?, m.len()))).ok();
        let known = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            (known.0 == stamp).then(|| Arc::clone(&known.1))
        };
        let notices = known.unwrap_or_else(|| {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            match load(&self.folder, issuer) {
                Ok(notices) => known.1 = Arc::new(notices),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the notices cannot be used; the former ones stay in force"
                ),
            }
            known.0 = stamp;
            Arc::clone(&known.1)
        });
        let (current, next) = in_force(&notices, now);
        let notice = current?.text.clone();
        Some(NoticeBody { notice, next: next.map(|stored| stored.text.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::test_support;

    const NOW: Timestamp = Timestamp(1_795_435_200);

    fn draft() -> Draft {
        let text = NoticeText { title: "Usage statistics".into(), text: "May we count?".into() };
        Draft {
            id: "usage-statistics".into(),
            controller: Controller {
                name: "Example Audio".into(),
                address: "1 Example Street\n10000 Example".into(),
                contact: "privacy@example.com".into(),
                protection_officer: None,
            },
            recipients: vec![],
            retention_days: 730,
            jurisdiction: "DE".into(),
            authority: Authority { name: "The authority".into(), url: "https://authority.example".into() },
            policy: PolicyReference {
                url: "https://example.com/privacy".into(),
                version: "2026-11-01".into(),
            },
            texts: BTreeMap::from([("en".into(), text)]),
        }
    }

    #[test]
    fn a_material_change_is_announced_thirty_days_before_and_a_corrected_word_is_not() {
        let place = test_support::place();
        let issuer = Issuer::load(&place.data).unwrap();
        let folder = place.data.notices();
        let first = add(&folder, &issuer, draft(), None, NOW).unwrap();
        assert_eq!((first.notice.version, first.notice.effective), (1, NOW.date()));

        let mut word = draft();
        word.texts.get_mut("en").unwrap().text.push_str(" Thank you.");
        let second = add(&folder, &issuer, word.clone(), None, NOW).unwrap();
        assert_eq!((second.notice.version, second.notice.effective), (2, NOW.date()));
        assert_eq!(in_force(&load(&folder, &issuer).unwrap(), NOW).0, Some(&second));

        let material = Draft { recipients: vec!["Somebody else".into()], ..word };
        for days in [0, 1, 29] {
            let early = Some(NOW.plus(days * DAY).date());
            let refused = add(&folder, &issuer, material.clone(), early, NOW).unwrap_err();
            assert!(refused.to_string().contains("30 days"), "{refused}");
        }
        let third = add(&folder, &issuer, material.clone(), None, NOW).unwrap();
        assert_eq!(third.notice.effective, NOW.plus(30 * DAY).date());
        let all = load(&folder, &issuer).unwrap();
        assert_eq!(in_force(&all, NOW), (Some(&second), Some(&third)));
        assert_eq!(in_force(&all, NOW.plus(29 * DAY)), (Some(&second), Some(&third)));
        assert_eq!(in_force(&all, NOW.plus(30 * DAY)), (Some(&third), None));

        assert!(add(&folder, &issuer, draft(), None, NOW).is_err(), "one announcement at a time");
        assert!(matches!(withdraw(&folder, &issuer, 2, NOW), Err(TelemetryError::Refused(_))));
        withdraw(&folder, &issuer, 3, NOW).unwrap();
        assert!(matches!(withdraw(&folder, &issuer, 3, NOW), Err(TelemetryError::NotFound(_))));
        let fourth = add(&folder, &issuer, material, None, NOW.plus(DAY)).unwrap();
        assert_eq!(fourth.notice.version, 4, "numbers are not used again");
        assert_eq!(fourth.notice.effective, NOW.plus(31 * DAY).date());
    }

    #[test]
    fn what_nobody_can_be_asked_with_is_not_signed() {
        let place = test_support::place();
        let issuer = Issuer::load(&place.data).unwrap();
        let folder = place.data.notices();
        let mut bad = draft();
        bad.texts.clear();
        assert!(matches!(add(&folder, &issuer, bad, None, NOW), Err(TelemetryError::Refused(_))));
        let yesterday = Some(NOW.plus(-DAY).date());
        assert!(matches!(add(&folder, &issuer, draft(), yesterday, NOW), Err(TelemetryError::Refused(_))));
        assert!(load(&folder, &issuer).unwrap().is_empty());
        assert!(Draft::read(br#"{"id":"x","purpose":"adverts"}"#).is_err());
    }

    #[test]
    fn the_running_server_sees_a_new_notice_and_waits_for_its_day() {
        let place = test_support::place();
        let issuer = Issuer::load(&place.data).unwrap();
        let cell = NoticeCell::new(place.data.notices());
        assert_eq!(cell.body(&issuer, NOW), None);
        let tomorrow = Some(NOW.plus(DAY).date());
        let first = add(&place.data.notices(), &issuer, draft(), tomorrow, NOW).unwrap();
        assert_eq!(cell.body(&issuer, NOW), None);
        let body = cell.body(&issuer, NOW.plus(DAY)).unwrap();
        assert_eq!((body.notice, body.next), (first.text, None));
    }
}
