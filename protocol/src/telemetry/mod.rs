//! Usage statistics: what travels, what is signed, and nothing that a plug-in links (feature `telemetry`).
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/telemetry/notice` | | [`NoticeBody`] |
//! | `GET /v1/telemetry/plan` | | [`PlanBody`] |
//! | `POST /v1/telemetry/tokens` | [`crate::http::RequestBody`] with a [`TokenRequest`] | [`TokensBody`] |
//! | `POST /v1/telemetry/report` | a padded [`UsageReport`], [`REPORT_LEN`] bytes | 204, empty |
//!
//! Notice and plan are the same bytes for everyone and fetched without authentication. A token request says which
//! installation asks; a report does not, and nothing ties the two together: tokens are blinded ([`voprf`]).
//!
//! The course of a week W: counted in W; a batch of tokens fetched at a random time; one report a title, each at its
//! own random time in W+1; nothing about W is taken any more [`OPEN_DAYS`] days after W has ended.

mod notice;
mod plan;
mod record;
mod report;
mod token;
#[cfg(feature = "voprf")]
pub mod voprf;
mod week;

pub use notice::{
    Authority, Controller, Notice, NoticeBody, NoticeText, PURPOSE, PolicyReference, REPORT_FIELDS,
};
pub use plan::{Plan, PlanBody, PlanTitle, PlanWeek};
pub use record::{ConsentEvent, ConsentReceipt, ConsentRecord, EventKind, NoticeReference, RECORD_SCHEMA};
pub use report::{OTHER, ProductVersion, REPORT_LEN, REPORT_SCHEMA, ReportError, UsageReport, Uses};
pub use token::{
    BATCH, Element, MAX_SLOT, Proof, TOKEN_REQUEST_VERSION, Token, TokenKey, TokenRequest, TokensBody,
};
pub use week::{NotAWeek, Week};

use crate::clock::{DAY, Timestamp};

/// For how many days after its end reports about a week are taken.
pub const OPEN_DAYS: i64 = 21;
/// For how many days after a grant nothing is sent.
pub const QUIET_DAYS: i64 = 7;

/// When `week` closes: the first second at which nothing about it is sent or taken any more.
#[must_use]
pub fn closes(week: Week) -> Timestamp {
    week.end().plus(OPEN_DAYS * DAY)
}

/// Path of the notice, below the server's address.
pub const NOTICE_PATH: &str = "/v1/telemetry/notice";
/// Path of the plan.
pub const PLAN_PATH: &str = "/v1/telemetry/plan";
/// Path of token requests.
pub const TOKENS_PATH: &str = "/v1/telemetry/tokens";
/// Path of reports.
pub const REPORT_PATH: &str = "/v1/telemetry/report";
