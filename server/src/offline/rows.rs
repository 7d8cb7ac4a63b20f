//! One row for each block of what was handed in: who asks, and what became of it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use claviger_protocol::documents::{ActivationCertificate, Order, Receipt, ReceiptOutcome};
use claviger_protocol::http::ProblemCode;
use claviger_protocol::ids::{DeviceName, MachineId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::offline::armour::{self, Refusal};
use claviger_protocol::offline::{Block, BlockKind, Contents, Damage, DamagedBlock, FileKind, OfflineError};
use claviger_protocol::serial::Serial;
use tokio::task::{JoinHandle, JoinSet};

use super::words;
use crate::engine::Claimed;
use crate::http::desk::{self, Declined, Incoming, Ready, Settled, Way};
use crate::http::{App, Peer};
use crate::keys::Issuer;

/// Requests of one batch that are under way together: enough for full commits of the writer, few enough to leave its queue
/// to others.
const TOGETHER: usize = 512;

/// What somebody handed in: a file or a text, and what was found in it.
#[derive(Debug)]
pub(crate) struct Given {
    /// The file's name, as its sender calls it.
    pub(crate) name: Option<String>,
    /// What is in it, if anything is.
    pub(crate) contents: Result<Contents, OfflineError>,
}

/// What became of all that was handed in.
#[derive(Debug)]
pub(crate) struct Settlement {
    /// One for each block, in their order.
    pub(crate) rows: Vec<Row>,
    /// A batch lacks its end.
    pub(crate) cut_off: bool,
}

/// One block of what was handed in.
#[derive(Debug)]
pub(crate) struct Row {
    /// Where it stood: the file's name, the name within an archive.
    pub(crate) from: Option<String>,
    /// Its place in that file, counted from 1.
    pub(crate) number: usize,
    /// Who asks, as far as it could be read.
    pub(crate) asked: Option<Asked>,
    /// What became of it.
    pub(crate) result: Result<Answered, Trouble>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The machine.
    pub(crate) machine_id: MachineId,
    /// Its name, when it wants to activate.
    pub(crate) device_name: Option<DeviceName>,
    /// The license: what is to be activated, or what was given up.
    pub(crate) serial: Option<Serial>,
    /// SHA-256 of the request.
    pub(crate) hash: Sha256,
}

/// A request that got its answer.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The request's own text, for asking again.
    pub(crate) request: String,
    /// The answer.
    pub(crate) settled: Settled,
}

/// Why a block got no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nothing was found in the file.
    Unreadable(OfflineError),
    /// It did not arrive whole.
    Damaged(Damage),
    /// It is an answer: it belongs to the computer that asked.
    AnAnswer,
    /// It was not settled; the license's serial number is in the row.
    Declined(Declined),
}

impl Row {
    /// Where it stood, for messages.
    pub(crate) fn place(&self) -> String {
        match &self.from {
            Some(from) if self.number > 1 => format!("{from}, request {}", self.number),
            Some(from) => from.clone(),
            None => format!("Request {}", self.number),
        }
    }
}

impl Answered {
    /// The certificate, when something was activated.
    pub(crate) fn certificate(&self) -> Option<&ActivationCertificate> {
        match &self.settled.claims.outcome {
            Claimed::Activated(certificate) => Some(certificate),
            Claimed::Refreshed(_) | Claimed::Deactivated | Claimed::Seats(_) | Claimed::Freed { .. } => None,
        }
    }

    /// Whether a receipt that came along was not believed, or was for something that nobody knows.
    pub(crate) fn refused_receipt(&self) -> Option<ReceiptOutcome> {
        let mut outcomes = self.settled.claims.receipts.iter().map(|ack| ack.outcome);
        outcomes.find(|o| !matches!(o, ReceiptOutcome::Accepted | ReceiptOutcome::AlreadyEnded))
    }

    /// The file that takes this answer back.
    pub(crate) fn to_file(&self, asked: Option<&Asked>, vendor: &str) -> String {
        let machine = asked.and_then(|a| a.device_name.as_ref()).map(ToString::to_string);
        let serial = asked.and_then(|a| a.serial.as_ref()).map(ToString::to_string);
        let mut lines = vec![("Vendor", vendor)];
        lines.extend(machine.as_deref().map(|name| ("Computer", name)));
        lines.extend(self.certificate().map(|c| ("Product", c.name.as_str())));
        lines.extend(serial.as_deref().map(|serial| ("License", serial)));
        lines.push(("", "Take this file to that computer and run: claviger offline import FILE"));
        armour::write_file(FileKind::Response, &lines, &self.settled.answer)
    }
}

/// The bundle that takes all answers back, and says of the other requests why they got none.
pub(crate) fn bundle(rows: &[Row], vendor: &str) -> String {
    let refusals: Vec<Option<String>> = rows.iter().map(|row| refusal(row).map(|r| r.to_text())).collect();
    let answered = rows.iter().filter(|row| row.result.is_ok()).count();
    let count = format!("{answered} of {}", rows.len());
    let lines = [
        ("Vendor", vendor),
        ("Answered", count.as_str()),
        ("", "Take this file to each of the computers and run: claviger offline import FILE"),
    ];
    let blocks = rows.iter().zip(&refusals).filter_map(|(row, refusal)| match (&row.result, refusal) {
        (Ok(answered), _) => Some((BlockKind::Response, answered.settled.answer.as_str())),
        (Err(_), Some(refusal)) => Some((BlockKind::Refusal, refusal.as_str())),
        (Err(_), None) => None,
    });
    armour::write_collection(FileKind::Bundle, &lines, blocks)
}

/// A refusal for the bundle. Everybody in the lab may read it, so it names no other machine.
fn refusal(row: &Row) -> Option<Refusal> {
    let (Err(Trouble::Declined(declined)), Some(asked)) = (&row.result, &row.asked) else { return None };
    let words = words::of_declined(declined, false);
    let code = words.problem?;
    let detail = words.in_one();
    Some(Refusal { req: asked.hash, machine_id: asked.machine_id, code, detail: Some(detail) })
}

/// Settles all that was handed in, and tells after each. Requests are decided in the order in which they stand, so that the
/// first ones get the seats; signatures are checked and made on all processors. A request that was handed in twice is
/// answered once.
pub(crate) async fn settle_all(
    app: &Arc<App>,
    given: Vec<Given>,
    peer: Option<Peer>,
    mut told: impl FnMut(),
) -> Settlement {
    let issuer = app.issuer();
    let mut rows: Vec<Option<Row>> = Vec::new();
    let mut seen = HashSet::new();
    let mut cut_off = false;
    let mut verified: VecDeque<JoinHandle<Verified>> = VecDeque::new();
    let mut under_way: JoinSet<(usize, Row)> = JoinSet::new();
    for Given { name, contents } in given {
        let from = |inner: Option<String>| match (&name, inner) {
            (Some(outer), Some(inner)) => Some(format!("{outer}: {inner}")),
            (Some(outer), None) => Some(outer.clone()),
            (None, inner) => inner,
        };
        let contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                told();
                rows.push(Some(Row {
                    from: name,
                    number: 1,
                    asked: None,
                    result: Err(Trouble::Unreadable(error)),
                }));
                continue;
            }
        };
        cut_off |= contents.cut_off;
        for damaged in contents.damaged {
            told();
            let DamagedBlock { number, from: inner, damage } = damaged;
            rows.push(Some(Row {
                from: from(inner),
                number,
                asked: None,
                result: Err(Trouble::Damaged(damage)),
            }));
        }
        for mut block in contents.blocks {
            if !seen.insert(Sha256::of(block.text.as_bytes())) {
                told();
                continue;
            }
            if verified.len() + under_way.len() >= TOGETHER {
                decide_next(app, &issuer, &mut verified, &mut under_way, peer).await;
                if under_way.len() >= TOGETHER / 2 {
                    finish_one(&mut under_way, &mut rows, &mut told).await;
                }
            }
            block.from = from(block.from);
            verified.push_back(tokio::spawn(verify(
                Arc::clone(app),
                Arc::clone(&issuer),
                block,
                rows.len(),
                peer,
            )));
            rows.push(None);
        }
    }
    while !verified.is_empty() {
        decide_next(app, &issuer, &mut verified, &mut under_way, peer).await;
    }
    while !under_way.is_empty() {
        finish_one(&mut under_way, &mut rows, &mut told).await;
    }
    Settlement { rows: rows.into_iter().flatten().collect(), cut_off }
}

/// A block whose signatures were checked: a row to be, and what to decide if anything is.
struct Verified {
    at: usize,
    from: Option<String>,
    number: usize,
    text: String,
    asked: Option<Asked>,
    ready: Result<Ready, Trouble>,
}

async fn verify(app: Arc<App>, issuer: Arc<Issuer>, block: Block, at: usize, peer: Option<Peer>) -> Verified {
    let Block { kind, number, text, from, computer: _ } = block;
    let mut asked = None;
    let ready = match kind {
        BlockKind::Response | BlockKind::Refusal => Err(Trouble::AnAnswer),
        BlockKind::Request | BlockKind::Receipt => match desk::read(&issuer, &text) {
            Err(declined) => Err(Trouble::Declined(declined)),
            Ok(incoming) => {
                asked = Some(who_asks(&incoming));
                desk::prepare(&app, &issuer, incoming, Way::Offline, peer).await.map_err(Trouble::Declined)
            }
        },
    };
    Verified { at, from, number, text, asked, ready }
}

/// Puts the next block in line before the writer.
async fn decide_next(
    app: &Arc<App>,
    issuer: &Arc<Issuer>,
    verified: &mut VecDeque<JoinHandle<Verified>>,
    under_way: &mut JoinSet<(usize, Row)>,
    peer: Option<Peer>,
) {
    let Some(next) = verified.pop_front() else { return };
    let Verified { at, from, number, text, asked, ready } = match next.await {
        Ok(verified) => verified,
        Err(error) => return tracing::error!(%error, "a request was not looked at"),
    };
    let queued = ready.and_then(|ready| ready.queue(app).map_err(Trouble::Declined));
    let (app, issuer) = (Arc::clone(app), Arc::clone(issuer));
    under_way.spawn(async move {
        let result = match queued {
            Ok(queued) => queued.settled(&app, issuer, peer).await.map_err(Trouble::Declined),
            Err(trouble) => Err(trouble),
        };
        let result = result.map(|settled| Answered { request: text, settled });
        (at, Row { from, number, asked, result })
    });
}

async fn finish_one(
    under_way: &mut JoinSet<(usize, Row)>,
    rows: &mut [Option<Row>],
    told: &mut impl FnMut(),
) {
    match under_way.join_next().await {
        Some(Ok((at, row))) => {
            rows[at] = Some(row);
            told();
        }
        Some(Err(error)) => tracing::error!(%error, "a request was not settled"),
        None => {}
    }
}

fn who_asks(incoming: &Incoming) -> Asked {
    let request = &incoming.request;
    let (device_name, serial) = match &request.order {
        Order::Activate { machine, serial, .. } => (Some(machine.device_name.clone()), Some(serial.clone())),
        Order::Free { serial, .. } => (None, Some(serial.clone())),
        Order::Refresh { .. } | Order::Seats { .. } => (None, None),
        // Only for people: whether the receipt is to be believed is decided elsewhere.
        Order::Deactivate { .. } => {
            let first = request.receipts.first().and_then(|text| Receipt::peek(text).ok());
            (None, first.map(|receipt| receipt.serial))
        }
    };
    Asked { machine_id: request.order.machine_id(), device_name, serial, hash: incoming.hash }
}

impl Trouble {
    /// The stable word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(error) => error.code(),
            Self::Damaged(damage) => damage.code(),
            Self::AnAnswer => "not_a_request",
            Self::Declined(declined) => {
                words::of_declined(declined, false).problem.unwrap_or(ProblemCode::Internal).code()
            }
        }
    }
}
