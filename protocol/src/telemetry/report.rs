//! The usage report: one title, one week, one request. A closed list that cannot express free text, and always the same
//! number of bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Plan, Token, Week};
use crate::daw::Daw;
use crate::ids::ProductId;
use crate::json::{JsonError, from_slice_strict};

/// The version of the list of fields.
pub const REPORT_SCHEMA: u8 = 1;
/// Bytes of every report's body: the JSON object, and spaces behind it.
pub const REPORT_LEN: usize = 512;
/// Stands for every version or DAW that is not eligible.
pub const OTHER: &str = "other";

/// What a report says. Closed list (PRIVACY.md, "Usage report"); unknown fields are refused.
///
/// No time of day, no machine, account, session or operating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageReport {
    /// [`REPORT_SCHEMA`].
    pub schema: u8,
    /// The week that was counted.
    pub week: Week,
    /// The title, one of the plan's.
    pub product_id: ProductId,
    /// The version used most in that week, one of the plan's, or [`OTHER`].
    pub product_version: ProductVersion,
    /// The DAW used most in that week, one of the plan's, or [`OTHER`].
    pub daw: Daw,
    /// How often the title was used in that week, as a bucket.
    pub uses: Uses,
    /// Proves an opted-in installation without saying which.
    pub token: Token,
}

/// Why bytes are not a report. [`ReportError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Not [`REPORT_LEN`] bytes.
    #[error("a report has exactly {REPORT_LEN} bytes, this has {0}")]
    Length(usize),
    /// Not the closed list.
    #[error("the report is not readable: {0}")]
    Json(#[source] JsonError),
    /// Padded with something else than spaces.
    #[error("the report is not in its one spelling: compact JSON, then spaces")]
    Padding,
    /// Another [`REPORT_SCHEMA`].
    #[error("the report has a schema that this version does not know")]
    Schema,
}

impl ReportError {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Length(_) => "wrong_length",
            Self::Json(JsonError::Duplicate(_)) => "duplicate_name",
            Self::Json(_) => "bad_json",
            Self::Padding => "wrong_padding",
            Self::Schema => "wrong_schema",
        }
    }
}

impl UsageReport {
    /// The bytes that travel: always [`REPORT_LEN`], always the same for the same report.
    ///
    /// # Panics
    /// Never: the longest report is shorter than [`REPORT_LEN`], and plain structs always serialize.
    #[must_use]
    pub fn to_body(&self) -> String {
        #[expect(
            clippy::expect_used,
            reason = "no map with non-text keys, no failing Serialize among our types"
        )]
        let mut text = serde_json::to_string(self).expect("a report serializes");
        assert!(text.len() <= REPORT_LEN, "the parts of a report are bounded");
        text.extend(std::iter::repeat_n(' ', REPORT_LEN - text.len()));
        text
    }

    /// Reads a body. Only the one spelling that [`UsageReport::to_body`] writes is taken, so that nothing can be told
    /// between the lines.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn from_body(body: &[u8]) -> Result<Self, ReportError> {
        if body.len() != REPORT_LEN {
            return Err(ReportError::Length(body.len()));
        }
        let report: Self = from_slice_strict(body).map_err(ReportError::Json)?;
        if report.schema != REPORT_SCHEMA {
            return Err(ReportError::Schema);
        }
        if report.to_body().as_bytes() == body { Ok(report) } else { Err(ReportError::Padding) }
    }

    /// Whether every value is one that `plan` lists for the report's week.
    #[must_use]
    pub fn is_eligible(&self, plan: &Plan) -> bool {
        plan.key(self.week).is_some()
            && plan.title(&self.product_id).is_some()
            && plan.version(&self.product_id, &self.product_version) == self.product_version
            && plan.daw(self.daw) == self.daw
    }
}

/// How often, as the buckets of PRIVACY.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Uses {
    #[serde(rename = "1")]
    Once,
    #[serde(rename = "2-4")]
    From2To4,
    #[serde(rename = "5-9")]
    From5To9,
    #[serde(rename = "10-19")]
    From10To19,
    #[serde(rename = "20-49")]
    From20To49,
    #[serde(rename = "50+")]
    From50,
}

impl Uses {
    /// All buckets, rising.
    pub const ALL: [Self; 6] =
        [Self::Once, Self::From2To4, Self::From5To9, Self::From10To19, Self::From20To49, Self::From50];

    /// The bucket of a count; none for no use.
    #[must_use]
    pub const fn of(count: u64) -> Option<Self> {
        Some(match count {
            0 => return None,
            1 => Self::Once,
            2..=4 => Self::From2To4,
            5..=9 => Self::From5To9,
            10..=19 => Self::From10To19,
            20..=49 => Self::From20To49,
            _ => Self::From50,
        })
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "1",
            Self::From2To4 => "2-4",
            Self::From5To9 => "5-9",
            Self::From10To19 => "10-19",
            Self::From20To49 => "20-49",
            Self::From50 => "50+",
        }
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A released version of a product: 1 to 32 of `0-9 A-Z a-z . + -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProductVersion(String);

/// The text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version has 1 to 32 letters, digits, dots, hyphens and pluses, and begins with a letter or digit")]
pub struct InvalidVersion;

impl ProductVersion {
    /// [`OTHER`].
    #[must_use]
    pub fn other() -> Self {
        Self(OTHER.to_owned())
    }

    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProductVersion {
    type Error = InvalidVersion;
    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        let bytes = text.as_bytes();
        let fits = (1..=32).contains(&bytes.len())
            && bytes[0].is_ascii_alphanumeric()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(b));
        if fits { Ok(Self(text)) } else { Err(InvalidVersion) }
    }
}

impl FromStr for ProductVersion {
    type Err = InvalidVersion;
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::try_from(text.to_owned())
    }
}

impl From<ProductVersion> for String {
    fn from(version: ProductVersion) -> Self {
        version.0
    }
}

impl fmt::Display for ProductVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
