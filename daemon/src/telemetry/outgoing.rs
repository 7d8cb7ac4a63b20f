//! The envelopes in which statistics leave. Only a proof of consent makes one.

use claviger_protocol::ids::ProductId;
use claviger_protocol::telemetry::{NOTICE_PATH, PLAN_PATH, REPORT_PATH, TOKENS_PATH, UsageReport, Week};

use crate::consent::Consented;

/// Something that leaves because a person agreed to it.
///
/// It cannot be made without a proof:
/// ```compile_fail
/// use claviger_daemon::telemetry::{Kind, Outgoing};
/// let forged = Outgoing { kind: Kind::Plan, body: None };
/// ```
/// ```compile_fail
/// # use claviger_daemon::telemetry::Outgoing;
/// # use claviger_protocol::telemetry::UsageReport;
/// fn forged(report: &UsageReport) -> Outgoing {
///     Outgoing::report(report)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    kind: Kind,
    body: Option<String>,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks whether the notice has changed.
    Notice,
    /// Asks for the plan.
    Plan,
    /// Asks for a week's tokens.
    Tokens(Week),
    /// A report.
    Report(Week, ProductId),
}

impl Outgoing {
    pub(super) fn notice(_: &Consented<'_>) -> Self {
        Self { kind: Kind::Notice, body: None }
    }

    pub(super) fn plan(_: &Consented<'_>) -> Self {
        Self { kind: Kind::Plan, body: None }
    }

    pub(super) fn tokens(_: &Consented<'_>, week: Week, body: String) -> Self {
        Self { kind: Kind::Tokens(week), body: Some(body) }
    }

    /// A report; the body is [`UsageReport::to_body`]'s.
    pub(super) fn report(_: &Consented<'_>, report: &UsageReport) -> Self {
        let kind = Kind::Report(report.week, report.product_id.clone());
        Self { kind, body: Some(report.to_body()) }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The exact body.
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Why: a stable word of the sent log.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        self.kind.purpose()
    }

    /// Where to, below the server's address.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.kind.path()
    }
}

impl Kind {
    /// Why: a stable word of the sent log.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        match self {
            Self::Notice => "telemetry_notice",
            Self::Plan => "telemetry_plan",
            Self::Tokens(_) => "telemetry_tokens",
            Self::Report(..) => "telemetry_report",
        }
    }

    /// Where to, below the server's address.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self {
            Self::Notice => NOTICE_PATH,
            Self::Plan => PLAN_PATH,
            Self::Tokens(_) => TOKENS_PATH,
            Self::Report(..) => REPORT_PATH,
        }
    }
}
