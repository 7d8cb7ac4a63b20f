//! Takes reports. Whoever sends one stays unknown: nothing here sees an address, a machine or a moment finer than a week,
//! and no report is stored, only one more in a counter.
//!
//! What queued while the last commit was syncing is committed together.

use std::sync::Arc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::keys::Sha256;
use claviger_protocol::telemetry::voprf::TokenIssuer as _;
use claviger_protocol::telemetry::{REPORT_LEN, ReportError, UsageReport, Week, closes};
use tokio::sync::{mpsc, oneshot};

use super::fold::Cell;
use super::state::Current;
use super::store::{CounterStore, Spending, Taken, UsageStoreError};

/// Reports that wait for a commit; more are sent away.
const QUEUE: usize = 8192;
/// Reports of one commit.
const BATCH: usize = 2048;

/// Why a report is not counted. None of these repeats anything of the report.
#[derive(Debug, thiserror::Error)]
pub enum ReportRefusal {
    /// Not a report, or not in its one spelling.
    #[error("the report is not readable")]
    Unreadable(#[from] ReportError),
    /// The week has not ended, is closed, or has no plan.
    #[error("nothing is taken about this week")]
    WrongWeek,
    /// A title, version or DAW that the plan of the week does not list.
    #[error("the report names something that the plan does not list")]
    NotEligible,
    /// The token was not made with the key of this week.
    #[error("the token is not one of this week")]
    TokenRefused,
    /// The token was spent on another report.
    #[error("the token was spent before")]
    TokenSpent,
    /// Too many reports wait.
    #[error("too many reports wait")]
    Busy,
    /// The store failed; the writer has logged why.
    #[error("the counters could not be written")]
    Store,
}

impl ReportRefusal {
    /// A word for the metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(error) => error.code(),
            Self::WrongWeek => "wrong_week",
            Self::NotEligible => "not_eligible",
            Self::TokenRefused => "token_refused",
            Self::TokenSpent => "token_spent",
            Self::Busy => "busy",
            Self::Store => "store_failed",
        }
    }
}

/// Reads a report and checks everything about it that needs no store: its one spelling, its week, the plan, the token.
///
/// # Errors
/// [`ReportRefusal`].
pub fn check(body: &[u8], current: &Current, now: Timestamp) -> Result<Spending, ReportRefusal> {
    let report = UsageReport::from_body(body)?;
    if !is_open(report.week, now) {
        return Err(ReportRefusal::WrongWeek);
    }
    let (plan, issuer) = current.week(report.week).ok_or(ReportRefusal::WrongWeek)?;
    if !report.is_eligible(plan) {
        return Err(ReportRefusal::NotEligible);
    }
    // Last, because it is the dearest.
    if !issuer.verify(&report.token) {
        return Err(ReportRefusal::TokenRefused);
    }
    Ok(spending(&report, body))
}

/// Whether reports about `week` are taken now: from its end on, until it closes.
#[must_use]
pub fn is_open(week: Week, now: Timestamp) -> bool {
    week.end() <= now && now < closes(week)
}

/// What is kept of a report: which token, and where it counts. Both hashes take in the token's 256 random bits.
fn spending(report: &UsageReport, body: &[u8]) -> Spending {
    let cut = |label: &[u8], bytes: &[u8]| Sha256::of(&[label, bytes].concat()).0;
    let (mut token, mut whole) = ([0; 16], [0; 8]);
    token.copy_from_slice(&cut(b"claviger spent token\0", &report.token.0)[..16]);
    whole.copy_from_slice(&cut(b"claviger spent report\0", &body[..REPORT_LEN.min(body.len())])[..8]);
    Spending {
        week: report.week,
        token,
        report: whole,
        cell: Cell {
            title: report.product_id.to_string(),
            version: report.product_version.to_string(),
            daw: report.daw.id().to_owned(),
            bucket: report.uses.as_str().to_owned(),
        },
    }
}

type Reply = oneshot::Sender<Result<Taken, ReportRefusal>>;

/// The handle to the task that counts; cheap to clone.
#[derive(Clone, Debug)]
pub struct Counting {
    queue: mpsc::Sender<(Spending, Reply)>,
}

impl Counting {
    /// Starts it on the current runtime. The second value ends when every handle is gone and all is written.
    #[must_use]
    pub fn start(store: Arc<CounterStore>) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, mut waiting) = mpsc::channel::<(Spending, Reply)>(QUEUE);
        let done = tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while waiting.recv_many(&mut batch, BATCH).await > 0 {
                let (spendings, replies): (Vec<Spending>, Vec<Reply>) = batch.drain(..).unzip();
                match store.take(spendings).await {
                    Ok(taken) => {
                        for (reply, taken) in replies.into_iter().zip(taken) {
                            let _ = reply.send(Ok(taken));
                        }
                    }
                    Err(error) => {
                        log(&error, replies.len());
                        for reply in replies {
                            let _ = reply.send(Err(ReportRefusal::Store));
                        }
                    }
                }
            }
            if let Err(error) = store.close().await {
                log(&error, 0);
            }
        });
        (Self { queue }, done)
    }

    /// Counts a report that [`check`] let through; what it gives is durable.
    ///
    /// # Errors
    /// [`ReportRefusal::TokenSpent`], [`ReportRefusal::WrongWeek`] when the week has just been closed,
    /// [`ReportRefusal::Busy`], [`ReportRefusal::Store`].
    pub async fn count(&self, spending: Spending) -> Result<Taken, ReportRefusal> {
        let (reply, counted) = oneshot::channel();
        self.queue.try_send((spending, reply)).map_err(|_| ReportRefusal::Busy)?;
        match counted.await.map_err(|_| ReportRefusal::Busy)?? {
            Taken::Reused => Err(ReportRefusal::TokenSpent),
            Taken::Closed => Err(ReportRefusal::WrongWeek),
            taken @ (Taken::Counted | Taken::Before) => Ok(taken),
        }
    }
}

fn log(error: &UsageStoreError, reports: usize) {
    tracing::error!(error = error as &dyn std::error::Error, reports, "reports were not counted");
}
