//! `POST /v1/activate`, `/v1/refresh`, `/v1/deactivate`: a signed request in, a signed answer out.
//!
//! Signatures are verified before the writer sees the request, and made after it has committed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request as HttpRequest, header};
use axum::response::{IntoResponse, Response};
use claviger_protocol::documents::{
    ActivationCertificate, ActivationState, Answer, Confirmation, DocumentError, KeyInHeader, KeyStatus,
    Order as Wanted, Outcome, Receipt, Request, sign,
};
use claviger_protocol::http::{AnswerBody, MAX_REQUEST_BODY, Problem, ProblemCode, RequestBody};
use claviger_protocol::ids::ActivationId;
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::keys::{KeyId, Sha256, SigningKey};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockProof;

use super::app::App;
use super::listener::Limits;
use super::problem::ApiProblem;
use super::{openapi, refusal};
use crate::engine::{Activate, AnswerClaims, Claimed, Command, Decision, GivenReceipt, Held, Order, Shown};
use crate::fault;
use crate::keys::Issuer;

/// Documents inside one request that are verified on the spot; more go to a thread of their own.
const FEW: usize = 8;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    /// How long a body may take to arrive.
    pub(super) body_time: Duration,
}

/// Uses a license on a machine; a repeated request gets the same answer.
#[utoipa::path(post, path = "/v1/activate", tag = "machines", request_body = openapi::RequestBody,
    responses((status = 200, body = openapi::AnswerBody), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn activate(State(app): State<Arc<App>>, request: HttpRequest<Body>) -> Response {
    exchange(app, Route::Activate, request).await
}

/// Tells what became of activations, with new certificates where they are due.
#[utoipa::path(post, path = "/v1/refresh", tag = "machines", request_body = openapi::RequestBody,
    responses((status = 200, body = openapi::AnswerBody), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn refresh(State(app): State<Arc<App>>, request: HttpRequest<Body>) -> Response {
    exchange(app, Route::Refresh, request).await
}

/// Takes receipts: frees the seats of activations that were given up.
#[utoipa::path(post, path = "/v1/deactivate", tag = "machines", request_body = openapi::RequestBody,
    responses((status = 200, body = openapi::AnswerBody), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn deactivate(State(app): State<Arc<App>>, request: HttpRequest<Body>) -> Response {
    exchange(app, Route::Deactivate, request).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Activate,
    Refresh,
    Deactivate,
}

impl Route {
    const fn name(self) -> &'static str {
        match self {
            Self::Activate => "/v1/activate",
            Self::Refresh => "/v1/refresh",
            Self::Deactivate => "/v1/deactivate",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Refresh => "refresh",
            Self::Deactivate => "deactivate",
        }
    }

    const fn of(order: &Wanted) -> Self {
        match order {
            Wanted::Activate { .. } => Self::Activate,
            Wanted::Refresh { .. } => Self::Refresh,
            Wanted::Deactivate { .. } => Self::Deactivate,
        }
    }
}

async fn exchange(app: Arc<App>, route: Route, request: HttpRequest<Body>) -> Response {
    let started = Instant::now();
    let peer = request.extensions().get::<Peer>().copied();
    let outcome = answer(&app, route, peer, request).await;
    let response = match outcome {
        Ok(body) => {
            fault::point("before-answer");
            let mut response = body.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => problem.into_response(),
    };
    app.parts.metrics.request(route.name(), response.status().as_u16(), started.elapsed());
    response
}

async fn answer(
    app: &App,
    route: Route,
    peer: Option<Peer>,
    request: HttpRequest<Body>,
) -> Result<Vec<u8>, ApiProblem> {
    let bytes = read_body(request, MAX_REQUEST_BODY).await?;
    let body: RequestBody = from_slice_strict(&bytes).map_err(|error| {
        Problem::new(ProblemCode::BadRequest)
            .detail(format!("The body must be {{\"request\": \"…\"}}: {error}."))
    })?;
    drop(bytes);
    let issuer = app.parts.issuer.get();
    let (request, key, hash) =
        Request::verify(&body.request, issuer.vendor()).map_err(|e| bad_document(&e))?;
    drop(body);
    if Route::of(&request.order) != route {
        return Err(Problem::new(ProblemCode::BadRequest)
            .detail(format!(
                "This path answers “{}” requests; the signed request asks for something else.",
                route.word()
            ))
            .into());
    }
    let now = app.parts.clock.now();
    if request.exp.is_some_and(|exp| exp < now) {
        return Err(ProblemCode::RequestExpired.into());
    }
    let device = key.id();
    let serial = match &request.order {
        Wanted::Activate { serial, .. } => Some(serial.clone()),
        Wanted::Refresh { .. } | Wanted::Deactivate { .. } => None,
    };
    let command = prepare(app, &issuer, request, device.clone(), hash, peer).await?;
    let decision = app.writer.decide(command).await?;
    match decision {
        Decision::Answer(claims) => {
            let activation = match &claims.outcome {
                Claimed::Activated(certificate) => Some(certificate.jti),
                Claimed::Refreshed(_) | Claimed::Deactivated => None,
            };
            app.log(peer, route.word(), serial.as_ref(), activation);
            Ok(signed(&issuer, *claims, hash, device))
        }
        Decision::Refused(refused) => {
            let problem = refusal::problem(refused, serial.as_ref());
            app.log(peer, problem.code().code(), serial.as_ref(), None);
            Err(problem)
        }
    }
}

/// Reads a body up to a limit, and not for ever.
pub(super) async fn read_body(
    request: HttpRequest<Body>,
    limit: usize,
) -> Result<axum::body::Bytes, ApiProblem> {
    let time = request.extensions().get::<Peer>().map_or(Limits::default().body, |peer| peer.body_time);
    match tokio::time::timeout(time, axum::body::to_bytes(request.into_body(), limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_large = std::error::Error::source(&error)
                .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            Err(if too_large {
                Problem::new(ProblemCode::TooLarge).detail(format!("At most {limit} bytes are read.")).into()
            } else {
                Problem::new(ProblemCode::BadRequest).detail("The body did not arrive whole.").into()
            })
        }
        Err(_) => {
            Err(Problem::new(ProblemCode::BadRequest).detail("The body did not arrive in time.").into())
        }
    }
}

fn bad_document(error: &DocumentError) -> ApiProblem {
    let code = match error {
        DocumentError::Vendor { .. } => ProblemCode::WrongVendor,
        DocumentError::TooLarge { .. } => ProblemCode::TooLarge,
        _ => ProblemCode::BadDocument,
    };
    let mut problem = Problem::new(code).detail(format!("{error}."));
    problem.document = Some(error.code().to_owned());
    problem.into()
}

/// Verifies what a request carries, and makes it a command for the writer.
async fn prepare(
    app: &App,
    issuer: &Arc<Issuer>,
    request: Request,
    device: KeyId,
    hash: Sha256,
    peer: Option<Peer>,
) -> Result<Command, ApiProblem> {
    let wants_keyset = request.keyset < issuer.keyset().number;
    let machine_id = request.order.machine_id();
    let nonce = request.nonce;
    let receipts = verify_receipts(issuer, request.receipts).await?;
    let order = match request.order {
        Wanted::Activate { serial, proof, machine, replace } => {
            let known = app.lookup.unlock_key(serial.clone()).await?;
            let key = known.unwrap_or(app.nobody);
            let proved = prove(&proof, &key, issuer, &serial, machine_id, &device, nonce);
            if !proved || known.is_none() {
                return Err(failed_proof(app, &serial, peer));
            }
            let fresh_id = ActivationId::of_request(&hash);
            Order::Activate(Box::new(Activate { serial, proved_by: key, machine, replace, fresh_id }))
        }
        Wanted::Refresh { activations, .. } => Order::Refresh(verify_held(issuer, activations).await?),
        Wanted::Deactivate { .. } => Order::Deactivate,
    };
    let kid = issuer.signing_key().id().clone();
    Ok(Command { device, nonce, hash, machine_id, wants_keyset, kid, receipts, order })
}

fn prove(
    proof: &UnlockProof,
    key: &claviger_protocol::keys::PublicKey,
    issuer: &Issuer,
    serial: &Serial,
    machine: claviger_protocol::ids::MachineId,
    device: &KeyId,
    nonce: claviger_protocol::ids::Nonce,
) -> bool {
    proof.verify(key, issuer.vendor(), serial, machine, device, nonce).is_ok()
}

fn failed_proof(app: &App, serial: &Serial, peer: Option<Peer>) -> ApiProblem {
    let now = app.parts.clock.now();
    let address = peer.map_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |p| p.address.ip());
    // The serial number as it was sent: whoever guesses is seen guessing.
    app.log(peer, ProblemCode::ProofRefused.code(), Some(serial), None);
    match app.failed_proofs.failed(serial.as_str(), address, now) {
        None => Problem::new(ProblemCode::ProofRefused)
            .detail("Check the serial number and the unlock code against the purchase confirmation.")
            .into(),
        Some(seconds) => {
            app.parts.metrics.rate_limited();
            ApiProblem::from(
                Problem::new(ProblemCode::RateLimited)
                    .detail(format!("Check the unlock code, and try again in {seconds} seconds.")),
            )
            .retry_after(seconds)
        }
    }
}

async fn verify_receipts(issuer: &Arc<Issuer>, texts: Vec<String>) -> Result<Vec<GivenReceipt>, ApiProblem> {
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

async fn verify_held(
    issuer: &Arc<Issuer>,
    held: Vec<claviger_protocol::documents::HeldActivation>,
) -> Result<Vec<Held>, ApiProblem> {
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
) -> Result<T, ApiProblem> {
    if pieces <= FEW {
        return Ok(work(issuer));
    }
    let issuer = Arc::clone(issuer);
    tokio::task::spawn_blocking(move || work(&issuer)).await.map_err(|_| ProblemCode::Internal.into())
}

/// Signs an answer. Ed25519 is deterministic: the same claims and key give the same bytes.
fn signed(issuer: &Issuer, claims: AnswerClaims, req: Sha256, device: KeyId) -> Vec<u8> {
    // A repeated request is signed by the key of its first answer, while that key may still sign.
    let key = issuer
        .find(&claims.kid)
        .filter(|_| issuer.status(&claims.kid) == Some(KeyStatus::Active))
        .unwrap_or_else(|| issuer.signing_key());
    let outcome = match claims.outcome {
        Claimed::Activated(certificate) => Outcome::Activated { certificate: certify(&certificate, key) },
        Claimed::Refreshed(states) => Outcome::Refreshed {
            activations: states
                .into_iter()
                .map(|state| ActivationState {
                    id: state.id,
                    rev: state.rev,
                    certificate: state.certificate.map(|c| certify(&c, key)),
                    ended: state.ended,
                    at: state.at,
                    by: state.by,
                })
                .collect(),
        },
        Claimed::Deactivated => Outcome::Deactivated,
    };
    let answer = Answer {
        iss: issuer.vendor().clone(),
        iat: claims.iat,
        req,
        cnf: Confirmation { jkt: device },
        epoch: claims.epoch,
        keyset: claims.keyset.then(|| issuer.keyset_text().to_owned()),
        outcome,
        receipts: claims.receipts,
        reissued: Vec::new(),
    };
    let answer = sign(&answer, key, KeyInHeader::Named);
    serde_json::to_vec(&AnswerBody { answer }).unwrap_or_default()
}

fn certify(certificate: &ActivationCertificate, key: &SigningKey) -> String {
    sign(certificate, key, KeyInHeader::Named)
}
