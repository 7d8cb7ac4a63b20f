//! The notice: what a person reads before saying yes or no, signed by the vendor, with who is responsible and whom to ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Date, Timestamp};
use crate::documents::{Document, DocumentError, Keyset};
use crate::ids::VendorId;
use crate::keys::Sha256;

/// The one purpose that this version knows.
pub const PURPOSE: &str = "usage_statistics";
/// The fields of a report, as a notice must name them. A test compares them with the type.
pub const REPORT_FIELDS: [&str; 7] =
    ["schema", "week", "product_id", "product_version", "daw", "uses", "token"];

/// Asks for one purpose. Signed by an issuing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The vendor.
    pub iss: VendorId,
    /// The notice's name, as `usage-statistics`; stays when its version rises.
    pub id: String,
    /// Rises with every change.
    pub version: u32,
    /// When it was signed.
    pub iat: Timestamp,
    /// From which day on it holds.
    pub effective: Date,
    /// [`PURPOSE`]; a reader asks for no other.
    pub purpose: String,
    /// The fields that are sent: all of [`REPORT_FIELDS`], no others.
    pub fields: Vec<String>,
    /// Who decides and answers for it.
    pub controller: Controller,
    /// Who receives the data besides the controller; empty for nobody.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// For how many days aggregated counts are kept.
    pub retention_days: u32,
    /// Whose law holds, as `DE`.
    pub jurisdiction: String,
    /// Where to complain.
    pub authority: Authority,
    /// The privacy policy that this notice is part of.
    pub policy: PolicyReference,
    /// The texts by language tag (BCP 47), `en` at least.
    pub texts: BTreeMap<String, NoticeText>,
}

/// Who is responsible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Name of the company or person.
    pub name: String,
    /// Postal address.
    pub address: String,
    /// Mail address for everything about data.
    pub contact: String,
    /// The data-protection officer, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection_officer: Option<String>,
}

/// A supervisory authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its name.
    pub name: String,
    /// Its page.
    pub url: String,
}

/// A privacy policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReference {
    /// Where it can be read.
    pub url: String,
    /// Its version, as its revision date.
    pub version: String,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeText {
    /// One line.
    pub title: String,
    /// The notice itself: plain text, paragraphs split by empty lines. It says that the vendor learns which
    /// installations take part.
    pub text: String,
}

/// Answer to `GET /v1/telemetry/notice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeBody {
    /// The notice in force, a `claviger-notice+jws` in compact form.
    pub notice: String,
    /// The next one, once it is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Document for Notice {
    const TYP: &'static str = "claviger-notice+jws";
    const MAX_LEN: usize = 256 * 1024;
}

impl Notice {
    /// Verifies a notice against the vendor's keyset, and that it is one that a person can be asked with.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, keyset: &Keyset) -> Result<Self, DocumentError> {
        let notice: Self = keyset.verify_document(text.trim(), false, |n: &Self| (&n.iss, n.iat))?;
        notice.check()?;
        Ok(notice)
    }

    /// Whether a person can be asked with this: everything named, nothing hidden, nothing that a terminal would obey.
    ///
    /// # Errors
    /// [`DocumentError::Claim`] says what is wrong.
    pub fn check(&self) -> Result<(), DocumentError> {
        let claim = |why| Err(DocumentError::Claim(why));
        if self.purpose != PURPOSE {
            return claim("the notice asks for a purpose that this version does not know");
        }
        let mut fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        fields.sort_unstable();
        let mut known = REPORT_FIELDS;
        known.sort_unstable();
        if fields != known {
            return claim("the notice does not name the very fields that are sent");
        }
        if !self.texts.contains_key("en") || self.texts.len() > 64 {
            return claim("a notice has a text in English, and at most 64 texts");
        }
        let c = &self.controller;
        let short = [
            &self.id,
            &c.name,
            &c.contact,
            &self.jurisdiction,
            &self.authority.name,
            &self.authority.url,
            &self.policy.url,
            &self.policy.version,
        ];
        let titles = self.texts.values().map(|t| &t.title);
        let tags = self.texts.keys();
        let optional = c.protection_officer.iter().chain(&self.recipients);
        if short.into_iter().chain(titles).chain(tags).chain(optional).any(|t| !printable(t, 256, false)) {
            return claim("a name of the notice is empty, too long or has invisible characters");
        }
        if !printable(&c.address, 512, true) || self.texts.values().any(|t| !printable(&t.text, 16_384, true))
        {
            return claim("a text of the notice is empty, too long or has invisible characters");
        }
        if self.recipients.len() > 32 || self.retention_days == 0 || self.retention_days > 3_660 {
            return claim("a notice names at most 32 recipients, and 1 to 3,660 days");
        }
        Ok(())
    }

    /// The text in the language that fits `wanted` (BCP 47) best, with its tag; English when none does.
    #[must_use]
    pub fn text(&self, wanted: &str) -> (&str, &NoticeText) {
        let exact = self.texts.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted));
        let primary = wanted.split(['-', '_']).next().unwrap_or_default();
        let near = || self.texts.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(primary));
        let english = || self.texts.get_key_value("en");
        // A notice without English is not one that was checked; any text of it is better than none.
        let found = exact.or_else(near).or_else(english).or_else(|| self.texts.iter().next());
        found.map_or(
            ("en", const { &NoticeText { title: String::new(), text: String::new() } }),
            |(tag, t)| (tag.as_str(), t),
        )
    }

    /// What consent is about: purpose, fields, controller, recipients, retention, jurisdiction and policy. While it is
    /// the same, a corrected word or a new translation does not ask again; when it changes, everyone is asked again.
    #[must_use]
    pub fn terms(&self) -> Sha256 {
        let terms = serde_json::json!([
            self.iss,
            self.id,
            self.purpose,
            self.fields,
            self.controller.name,
            self.recipients,
            self.retention_days,
            self.jurisdiction,
            self.policy.version,
        ]);
        Sha256::of(terms.to_string().as_bytes())
    }
}

fn printable(text: &str, max: usize, lines: bool) -> bool {
    !text.trim().is_empty()
        && text.chars().count() <= max
        && !text.chars().any(|c| crate::ids::is_unprintable(c) && !(lines && c == '\n'))
}
