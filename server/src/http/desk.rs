//! Where requests are settled, whichever way they came: over `/v1`, through the portal, or in a file on the command
//! line. Signatures are verified before the writer sees a request, and made after it has committed.

use std::sync::Arc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    ActivationCertificate, ActivationState, Answer, Confirmation, DocumentError, HeldActivation, KeyInHeader,
    KeyStatus, Order as Wanted, Outcome, Receipt, Request, sign,
};
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::ids::{ActivationId, MachineId, Nonce};
use claviger_protocol::keys::{KeyId, PublicKey, Sha256, SigningKey};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockProof;

use super::app::App;
use super::exchange::Peer;
use super::problem::ApiProblem;
use super::refusal;
use crate::engine::{
    Activate, AnswerClaims, Claimed, Command, Decided, Decision, Free, GivenReceipt, Held, Order, Refusal,
    Shown, WriterError,
};
use crate::keys::Issuer;

/// Documents inside one request that are verified on the spot; more go to a thread of their own.
const FEW: usize = 8;
/// Certificates that one answer brings anew: more would not fit a call to the daemon.
const MOST_REISSUED: u32 = 64;

/// A request whose own signature holds.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// What it says.
    pub(crate) request: Request,
    /// The device key that signed it.
    pub(crate) device: KeyId,
    /// The hash of its bytes.
    pub(crate) hash: Sha256,
}

/// A request that was settled.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The signed answer.
    pub(crate) answer: String,
    /// What it says.
    pub(crate) claims: AnswerClaims,
    /// The issuing key that signed it.
    pub(crate) issuer: Arc<Issuer>,
}

/// Why a request was not settled. Nothing changed.
#[derive(Debug)]
pub(crate) enum Declined {
    /// It is not a request that may be believed.
    Document(DocumentError),
    /// Its end of validity has passed.
    Expired(Timestamp),
    /// Unknown serial number or wrong unlock code.
    Proof,
    /// Too many of those: how many seconds to wait.
    Limited(u32),
    /// The license says no.
    Refused(Box<Refusal>, Option<Serial>),
    /// The server cannot decide at the moment.
    Writer(WriterError),
    /// The system's random number generator or a thread failed.
    Internal,
}

impl From<WriterError> for Declined {
    fn from(error: WriterError) -> Self {
        Self::Writer(error)
    }
}

impl From<Declined> for ApiProblem {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::Document(error) => bad_document(&error),
            Declined::Expired(_) => ProblemCode::RequestExpired.into(),
            Declined::Proof => Problem::new(ProblemCode::ProofRefused)
                .detail("Check the serial number and the unlock code against the purchase confirmation.")
                .into(),
            Declined::Limited(seconds) => Self::from(
                Problem::new(ProblemCode::RateLimited)
                    .detail(format!("Check the unlock code, and try again in {seconds} seconds.")),
            )
            .retry_after(seconds),
            Declined::Refused(refused, serial) => refusal::problem(*refused, serial.as_ref()),
            Declined::Writer(error) => error.into(),
            Declined::Internal => ProblemCode::Internal.into(),
        }
    }
}

pub(super) fn bad_document(error: &DocumentError) -> ApiProblem {
    let code = match error {
        DocumentError::Vendor { .. } => ProblemCode::WrongVendor,
        DocumentError::TooLarge { .. } => ProblemCode::TooLarge,
        _ => ProblemCode::BadDocument,
    };
    let mut problem = Problem::new(code).detail(format!("{error}."));
    problem.document = Some(error.code().to_owned());
    problem.into()
}

/// The word for what is asked, as it stands in the path and in the security log.
pub(crate) const fn word(order: &Wanted) -> &'static str {
    match order {
        Wanted::Activate { .. } => "activate",
        Wanted::Refresh { .. } => "refresh",
        Wanted::Deactivate { .. } => "deactivate",
        Wanted::Seats { .. } => "seats",
        Wanted::Free { .. } => "free",
    }
}

/// Reads a request and verifies that its maker signed it for this vendor.
///
/// # Errors
/// [`Declined::Document`].
pub(crate) fn read(issuer: &Issuer, text: &str) -> Result<Incoming, Declined> {
    let (request, key, hash) = Request::verify(text, issuer.vendor()).map_err(Declined::Document)?;
    Ok(Incoming { request, device: key.id(), hash })
}

/// Has a request decided, and signs the answer. The same bytes get the same answer, however often and whichever way
/// they come. Without a `peer` it comes from the vendor's own command line: nothing is limited, no address is noted.
///
/// # Errors
/// [`Declined`]; then nothing changed.
pub(crate) async fn settle(
    app: &App,
    issuer: Arc<Issuer>,
    incoming: Incoming,
    peer: Option<Peer>,
) -> Result<Settled, Declined> {
    let ready = prepare(app, &issuer, incoming, Way::Online, peer).await?;
    ready.queue(app)?.settled(app, issuer, peer).await
}

/// Which way a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its machine has a network, and asks for whatever it needs.
    Online,
    /// Its machine has none: the answer brings along what it would ask for.
    Offline,
}

/// A request whose signatures and proof all hold.
#[derive(Debug)]
pub(crate) struct Ready {
    command: Command,
    about: About,
}

/// A request that waits for the writer's decision.
#[derive(Debug)]
pub(crate) struct Queued {
    decided: Decided,
    about: About,
}

/// What is needed once it is decided.
#[derive(Debug)]
struct About {
    word: &'static str,
    serial: Option<Serial>,
    hash: Sha256,
    device: KeyId,
}

impl Ready {
    /// Puts it into the writer's queue, behind everything that was put there before.
    ///
    /// # Errors
    /// [`Declined::Writer`] when the queue is full.
    pub(crate) fn queue(self, app: &App) -> Result<Queued, Declined> {
        Ok(Queued { decided: app.writer.queue(self.command)?, about: self.about })
    }
}

impl Queued {
    /// Waits for the decision, and signs the answer.
    ///
    /// # Errors
    /// [`Declined`]; then nothing changed.
    pub(crate) async fn settled(
        self,
        app: &App,
        issuer: Arc<Issuer>,
        peer: Option<Peer>,
    ) -> Result<Settled, Declined> {
        let About { word, serial, hash, device } = self.about;
        match self.decided.wait().await? {
            Decision::Answer(claims) => {
                let activation = match &claims.outcome {
                    Claimed::Activated(certificate) => Some(certificate.jti),
                    Claimed::Refreshed(_)
                    | Claimed::Deactivated
                    | Claimed::Seats(_)
                    | Claimed::Freed { .. } => None,
                };
                app.log(peer, word, serial.as_ref(), activation);
                let answer = signed(&issuer, &claims, hash, device);
                Ok(Settled { answer, claims: *claims, issuer })
            }
            Decision::Refused(refused) => {
                let declined = Declined::Refused(Box::new(refused.clone()), serial.clone());
                app.log(
                    peer,
                    refusal::problem(refused, serial.as_ref()).code().code(),
                    serial.as_ref(),
                    None,
                );
                Err(declined)
            }
        }
    }
}

/// Verifies what a request carries, and makes it a command for the writer.
///
/// # Errors
/// [`Declined`].
pub(crate) async fn prepare(
    app: &App,
    issuer: &Arc<Issuer>,
    incoming: Incoming,
    way: Way,
    peer: Option<Peer>,
) -> Result<Ready, Declined> {
    let Incoming { request, device, hash } = incoming;
    let now = app.parts.clock.now();
    if let Some(exp) = request.exp.filter(|exp| *exp < now) {
        return Err(Declined::Expired(exp));
    }
    let serial = match &request.order {
        Wanted::Activate { serial, .. } | Wanted::Free { serial, .. } => Some(serial.clone()),
        Wanted::Refresh { .. } | Wanted::Deactivate { .. } | Wanted::Seats { .. } => None,
    };
    let about = About { word: word(&request.order), serial, hash, device: device.clone() };
    let wants_keyset = request.keyset < issuer.keyset().number;
    let machine_id = request.order.machine_id();
    let nonce = request.nonce;
    let receipts = verify_receipts(issuer, request.receipts).await?;
    let order = match request.order {
        Wanted::Activate { serial, proof, machine, replace } => {
            let asked = Asked { serial: &serial, machine_id, device: &device, nonce };
            let key = proved(app, issuer, &proof, asked, peer).await?;
            // Whoever kept the request can name the activation: a typed code has no room for it.
            let fresh_id = ActivationId::of_request(&hash);
            Order::Activate(Box::new(Activate { serial, proved_by: key, machine, replace, fresh_id }))
        }
        Wanted::Refresh { activations, .. } => Order::Refresh(verify_held(issuer, activations).await?),
        Wanted::Deactivate { .. } => Order::Deactivate,
        Wanted::Seats { activations, .. } => {
            let mut held = verify_held(issuer, activations).await?;
            // The certificate that was made for this very key, and no other, is the proof.
            held.retain(|one| match &one.shown {
                Shown::Genuine(shown) => shown.cnf.jkt == device && shown.machine == machine_id,
                Shown::Nothing | Shown::Outdated => false,
            });
            Order::Seats(held)
        }
        Wanted::Free { serial, proof, other, .. } => {
            let asked = Asked { serial: &serial, machine_id, device: &device, nonce };
            let key = proved(app, issuer, &proof, asked, peer).await?;
            Order::Free(Box::new(Free { serial, proved_by: key, other }))
        }
    };
    // The keyset that tells of a compromised key never comes without new certificates.
    let compromised = || issuer.keyset().keys.iter().any(|key| key.status == KeyStatus::Compromised);
    let reissue = if way == Way::Offline && wants_keyset && compromised() {
        app.parts
            .store
            .made_by(device.clone(), MOST_REISSUED)
            .await
            .map_err(|e| WriterError::Store(Arc::new(e)))?
    } else {
        Vec::new()
    };
    let kid = issuer.signing_key().id().clone();
    let command = Command { device, nonce, hash, machine_id, wants_keyset, kid, receipts, reissue, order };
    Ok(Ready { command, about })
}

/// What an unlock code's proof speaks for.
struct Asked<'a> {
    serial: &'a Serial,
    machine_id: MachineId,
    device: &'a KeyId,
    nonce: Nonce,
}

/// The key under which a proof holds. An unknown serial number takes as long as a wrong code.
async fn proved(
    app: &App,
    issuer: &Issuer,
    proof: &UnlockProof,
    asked: Asked<'_>,
    peer: Option<Peer>,
) -> Result<PublicKey, Declined> {
    let Asked { serial, machine_id, device, nonce } = asked;
    let known = app.lookup.unlock_key(serial.clone()).await?;
    let key = known.unwrap_or(app.nobody);
    let holds = proof.verify(&key, issuer.vendor(), serial, machine_id, device, nonce).is_ok();
    if holds && known.is_some() { Ok(key) } else { Err(failed_proof(app, serial, peer)) }
}

fn failed_proof(app: &App, serial: &Serial, peer: Option<Peer>) -> Declined {
    let Some(Peer { address, .. }) = peer else { return Declined::Proof };
    // The serial number as it was sent: whoever guesses is seen guessing.
    app.log(peer, ProblemCode::ProofRefused.code(), Some(serial), None);
    match app.failed_proofs.failed(serial.as_str(), address.ip(), app.parts.clock.now()) {
        None => Declined::Proof,
        Some(seconds) => {
            app.parts.metrics.rate_limited();
            Declined::Limited(seconds)
        }
    }
}

async fn verify_receipts(issuer: &Arc<Issuer>, texts: Vec<String>) -> Result<Vec<GivenReceipt>, Declined> {
    off_thread(texts.len(), issuer, move |issuer| {
        texts.iter().filter_map(|text| verify_receipt(issuer, text)).collect()
    })
    .await
}

/// A receipt that does not even say which one it is cannot be answered, and is passed over.
fn verify_receipt(issuer: &Issuer, text: &str) -> Option<GivenReceipt> {
    match Receipt::verify(text, issuer.vendor()) {
        Ok((receipt, key)) => Some(GivenReceipt::Signed { receipt, by: key.id() }),
        Err(_) => Receipt::peek(text).ok().map(|receipt| GivenReceipt::Forged(receipt.jti)),
    }
}

async fn verify_held(issuer: &Arc<Issuer>, held: Vec<HeldActivation>) -> Result<Vec<Held>, Declined> {
    let shown = held.iter().filter(|h| h.certificate.is_some()).count();
    off_thread(shown, issuer, move |issuer| {
        held.into_iter()
            .map(|one| Held {
                id: one.id,
                rev: one.rev,
                shown: match one.certificate {
                    None => Shown::Nothing,
                    Some(text) => match ActivationCertificate::verify(&text, issuer.keyset()) {
                        Ok(certificate) if certificate.jti == one.id => Shown::Genuine(Box::new(certificate)),
                        Ok(_) | Err(_) => Shown::Outdated,
                    },
                },
            })
            .collect()
    })
    .await
}

/// Runs `work` here when there is little of it, otherwise where it keeps nobody waiting.
async fn off_thread<T: Send + 'static>(
    pieces: usize,
    issuer: &Arc<Issuer>,
    work: impl FnOnce(&Issuer) -> T + Send + 'static,
) -> Result<T, Declined> {
    if pieces <= FEW {
        return Ok(work(issuer));
    }
    let issuer = Arc::clone(issuer);
    tokio::task::spawn_blocking(move || work(&issuer)).await.map_err(|_| Declined::Internal)
}

/// The key that signs an answer: a repeated request is signed by the key of its first answer, while that key may still
/// sign.
pub(crate) fn signer<'a>(issuer: &'a Issuer, claims: &AnswerClaims) -> &'a SigningKey {
    issuer
        .find(&claims.kid)
        .filter(|_| issuer.status(&claims.kid) == Some(KeyStatus::Active))
        .unwrap_or_else(|| issuer.signing_key())
}

/// Signs an answer. Ed25519 is deterministic: the same claims and key give the same bytes.
fn signed(issuer: &Issuer, claims: &AnswerClaims, req: Sha256, device: KeyId) -> String {
    let key = signer(issuer, claims);
    let outcome = match &claims.outcome {
        Claimed::Activated(certificate) => Outcome::Activated { certificate: certify(certificate, key) },
        Claimed::Refreshed(states) => Outcome::Refreshed {
            activations: states
                .iter()
                .map(|state| ActivationState {
                    id: state.id,
                    rev: state.rev,
                    certificate: state.certificate.as_ref().map(|c| certify(c, key)),
                    ended: state.ended,
                    at: state.at,
                    by: state.by.clone(),
                })
                .collect(),
        },
        Claimed::Deactivated => Outcome::Deactivated,
        Claimed::Seats(licenses) => Outcome::Seats { licenses: licenses.clone() },
        Claimed::Freed { machine_id, device_name } => {
            Outcome::Freed { machine_id: *machine_id, device_name: device_name.clone() }
        }
    };
    let answer = Answer {
        iss: issuer.vendor().clone(),
        iat: claims.iat,
        req,
        cnf: Confirmation { jkt: device },
        epoch: claims.epoch,
        // Who asked before the key changed may not know the one that signs now.
        keyset: (claims.keyset || *key.id() != claims.kid).then(|| issuer.keyset_text().to_owned()),
        outcome,
        receipts: claims.receipts.clone(),
        reissued: claims.reissued.iter().map(|c| certify(c, key)).collect(),
    };
    sign(&answer, key, KeyInHeader::Named)
}

fn certify(certificate: &ActivationCertificate, key: &SigningKey) -> String {
    sign(certificate, key, KeyInHeader::Named)
}
