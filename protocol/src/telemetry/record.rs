//! The consent record: what one person decided about one vendor's purpose, with every event since. Its terms are those
//! of ISO/IEC TS 27560; docs/consent-record.schema.json describes it. It stays on the computer; a signed copy, the
//! receipt, is the person's to keep.

use serde::{Deserialize, Serialize};

use super::notice::{Authority, Controller, Notice, NoticeText, PURPOSE, PolicyReference, REPORT_FIELDS};
use crate::clock::Timestamp;
use crate::documents::{Document, DocumentError};
use crate::ids::{Nonce, VendorId};
use crate::jws::Unverified;
use crate::keys::{PublicKey, Sha256};

/// The version of the record's form.
pub const RECORD_SCHEMA: &str = "claviger-consent-record/1";

/// A consent record. One purpose, one vendor, one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentRecord {
    /// [`RECORD_SCHEMA`].
    pub schema: String,
    /// The record.
    pub record_id: Nonce,
    /// The receipt that belongs to it.
    pub receipt_id: Nonce,
    /// The person: a random number that stands for nobody anywhere else.
    pub subject: Nonce,
    /// The vendor.
    pub vendor: VendorId,
    /// What it is for: [`PURPOSE`].
    pub purpose: String,
    /// `consent` (GDPR, article 6(1)(a)).
    pub lawful_basis: String,
    /// The fields that are sent.
    pub data_categories: Vec<String>,
    /// The notice last decided about; none when the person refused without asking to see one.
    pub notice: Option<NoticeReference>,
    /// Who is responsible, after that notice.
    pub controller: Option<Controller>,
    /// For how many days counts are kept.
    pub retention_days: Option<u32>,
    /// Who else receives the data.
    pub recipients: Vec<String>,
    /// Whose law holds.
    pub jurisdiction: Option<String>,
    /// Where to complain.
    pub authority: Option<Authority>,
    /// The privacy policy.
    pub policy: Option<PolicyReference>,
    /// How to withdraw.
    pub withdrawal: String,
    /// Hash of what was agreed to ([`Notice::terms`]).
    pub terms: Option<Sha256>,
    /// All that happened, oldest first, each bound to the one before.
    pub events: Vec<ConsentEvent>,
}

/// Names a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeReference {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of the signed document.
    pub sha256: Sha256,
    /// The language in which it was shown.
    pub language: String,
}

/// Something that happened to a consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentEvent {
    /// What.
    pub event: EventKind,
    /// When, in seconds: the later of the clock and the latest moment seen.
    pub time: Timestamp,
    /// SHA-256 of title and text as the person saw them; none where nothing was shown.
    pub shown: Option<Sha256>,
    /// The notice that it was about.
    pub notice: Option<NoticeReference>,
    /// Hash of the event before; of the record's ids for the first one.
    pub previous: Sha256,
}

/// What can happen to a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The notice was shown and the question asked.
    Requested,
    /// Yes.
    Given,
    /// No.
    Refused,
    /// Yes no longer.
    Withdrawn,
    /// 13 months have passed.
    Expired,
    /// Purpose, fields or policy have changed.
    Superseded,
}

/// A consent record signed by the computer that keeps it, for the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentReceipt {
    /// The receipt.
    pub jti: Nonce,
    /// When it was signed.
    pub iat: Timestamp,
    /// The record as it was then.
    pub record: ConsentRecord,
}

impl Document for ConsentReceipt {
    const TYP: &'static str = "claviger-consent-receipt+jws";
    const MAX_LEN: usize = 8 * 1024 * 1024;
}

impl ConsentReceipt {
    /// Verifies a receipt with the key that it carries: that it is whole, and that its events follow each other.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str) -> Result<(Self, PublicKey), DocumentError> {
        let unverified = Unverified::parse::<Self>(text.trim())?;
        let key = unverified.carried_key().ok_or(DocumentError::NoKey)?;
        let receipt: Self = unverified.verify(&key)?;
        if !receipt.record.is_whole() {
            return Err(DocumentError::Claim("the events of the record do not follow each other"));
        }
        Ok((receipt, key))
    }
}

impl NoticeReference {
    /// Names `notice`, whose signed text has this hash.
    #[must_use]
    pub fn new(notice: &Notice, sha256: Sha256, language: &str) -> Self {
        Self { id: notice.id.clone(), version: notice.version, sha256, language: language.to_owned() }
    }
}

impl NoticeText {
    /// Hash of what a person sees.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(format!("{}\n\n{}", self.title, self.text).as_bytes())
    }
}

impl ConsentRecord {
    /// A record without events.
    #[must_use]
    pub fn new(vendor: VendorId, record_id: Nonce, receipt_id: Nonce, subject: Nonce) -> Self {
        Self {
            schema: RECORD_SCHEMA.to_owned(),
            record_id,
            receipt_id,
            subject,
            withdrawal: format!(
                "`claviger consent withdraw --vendor {vendor}` on this computer, at any time, at once"
            ),
            vendor,
            purpose: PURPOSE.to_owned(),
            lawful_basis: "consent".to_owned(),
            data_categories: REPORT_FIELDS.map(str::to_owned).to_vec(),
            notice: None,
            controller: None,
            retention_days: None,
            recipients: Vec::new(),
            jurisdiction: None,
            authority: None,
            policy: None,
            terms: None,
            events: Vec::new(),
        }
    }

    /// Takes over what `notice` says, because it was shown or decided about.
    pub fn describe(&mut self, notice: &Notice, reference: &NoticeReference) {
        self.notice = Some(reference.clone());
        self.data_categories.clone_from(&notice.fields);
        self.controller = Some(notice.controller.clone());
        self.retention_days = Some(notice.retention_days);
        self.recipients.clone_from(&notice.recipients);
        self.jurisdiction = Some(notice.jurisdiction.clone());
        self.authority = Some(notice.authority.clone());
        self.policy = Some(notice.policy.clone());
        self.terms = Some(notice.terms());
    }

    /// Adds an event, bound to the one before.
    pub fn push(
        &mut self,
        event: EventKind,
        time: Timestamp,
        shown: Option<Sha256>,
        notice: Option<NoticeReference>,
    ) {
        let previous = self.last_hash();
        self.events.push(ConsentEvent { event, time, shown, notice, previous });
    }

    fn first_hash(&self) -> Sha256 {
        let ids = serde_json::json!([self.schema, self.record_id, self.subject, self.vendor, self.purpose]);
        Sha256::of(ids.to_string().as_bytes())
    }

    fn last_hash(&self) -> Sha256 {
        self.events.last().map_or_else(|| self.first_hash(), ConsentEvent::hash)
    }

    /// Whether its events follow each other: none was changed, removed from the middle or slipped in.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut expected = self.first_hash();
        for event in &self.events {
            if event.previous != expected {
                return false;
            }
            expected = event.hash();
        }
        self.schema == RECORD_SCHEMA && self.purpose == PURPOSE
    }
}

impl ConsentEvent {
    /// Its hash: SHA-256 of its compact JSON.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        // Plain structs always serialize.
        Sha256::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}
