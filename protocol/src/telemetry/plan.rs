//! The plan of a quarter: the weekly token keys, and what reports may name. Signed before its first week begins, and
//! the same bytes for everyone: a key or a list made for one person would show.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use super::{ProductVersion, TokenKey, Week};
use crate::clock::Timestamp;
use crate::daw::Daw;
use crate::documents::{Document, DocumentError, Keyset};
use crate::ids::{ProductId, VendorId};

/// A quarter of usage statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The vendor.
    pub iss: VendorId,
    /// When it was signed: before its first week.
    pub iat: Timestamp,
    /// The weeks and their token keys: 1 to 14, each the one after the other.
    pub weeks: Vec<PlanWeek>,
    /// The titles that enough installations have active (PRIVACY.md: 50), with the versions that enough use (20).
    pub titles: Vec<PlanTitle>,
    /// The DAWs that enough installations use (20). One that a later version knows is passed over.
    #[serde(deserialize_with = "known")]
    pub daws: Vec<Daw>,
}

/// One week of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanWeek {
    /// The week that is counted.
    pub week: Week,
    /// What tokens for reports about it are made with.
    pub key: TokenKey,
}

/// A title that may be reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTitle {
    /// The title.
    pub product: ProductId,
    /// Its versions that may be named.
    #[serde(default)]
    pub versions: Vec<ProductVersion>,
}

/// Answer to `GET /v1/telemetry/plan`: the plans of weeks that are open or to come, at most two quarters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBody {
    /// Each a `claviger-plan+jws` in compact form, by their weeks.
    pub plans: Vec<String>,
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Daw>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    Ok(words.iter().filter_map(|word| word.parse().ok()).collect())
}

impl Document for Plan {
    const TYP: &'static str = "claviger-plan+jws";
    const MAX_LEN: usize = 1024 * 1024;
}

impl Plan {
    /// Most weeks of a plan.
    pub const MAX_WEEKS: usize = 14;

    /// Verifies a plan against the vendor's keyset, and that it was signed before its weeks began.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn verify(text: &str, keyset: &Keyset) -> Result<Self, DocumentError> {
        let plan: Self = keyset.verify_document(text.trim(), false, |p: &Self| (&p.iss, p.iat))?;
        let claim = |why| Err(DocumentError::Claim(why));
        if plan.weeks.is_empty() || plan.weeks.len() > Self::MAX_WEEKS {
            return claim("a plan has 1 to 14 weeks");
        }
        if plan.weeks.windows(2).any(|pair| pair[0].week.plus(1) != pair[1].week) {
            return claim("the weeks of a plan follow each other");
        }
        if plan.iat > plan.weeks[0].week.start() {
            return claim("a plan is signed before its first week");
        }
        let titles: BTreeSet<&ProductId> = plan.titles.iter().map(|t| &t.product).collect();
        if plan.titles.len() > 4096 || titles.len() != plan.titles.len() {
            return claim("a plan lists at most 4,096 titles, each once");
        }
        if plan.titles.iter().any(|t| t.versions.len() > 256) {
            return claim("a plan lists at most 256 versions of a title");
        }
        Ok(plan)
    }

    /// The token key of a week; none when the week is not this plan's.
    #[must_use]
    pub fn key(&self, week: Week) -> Option<&TokenKey> {
        self.weeks.iter().find(|w| w.week == week).map(|w| &w.key)
    }

    /// The title, if it may be reported.
    #[must_use]
    pub fn title(&self, product: &ProductId) -> Option<&PlanTitle> {
        self.titles.iter().find(|t| t.product == *product)
    }

    /// The version as a report may name it: itself or [`super::OTHER`].
    #[must_use]
    pub fn version(&self, product: &ProductId, version: &ProductVersion) -> ProductVersion {
        match self.title(product) {
            Some(title) if title.versions.contains(version) => version.clone(),
            _ => ProductVersion::other(),
        }
    }

    /// The DAW as a report may name it: itself or [`Daw::Other`].
    #[must_use]
    pub fn daw(&self, daw: Daw) -> Daw {
        if self.daws.contains(&daw) { daw } else { Daw::Other }
    }

    /// Whether this plan gives a week another key than `known` does: a reader refuses it then.
    #[must_use]
    pub fn contradicts(&self, known: &Self) -> bool {
        self.weeks.iter().any(|w| known.key(w.week).is_some_and(|key| *key != w.key))
    }
}
