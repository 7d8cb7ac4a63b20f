//! `POST /v1/activate`, `/v1/refresh`, `/v1/deactivate`, `/v1/seats`, `/v1/free`: a signed request in, a signed answer out.
//!
//! How a request is settled stands in `desk`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::State;
use axum::http::{HeaderValue, Request as HttpRequest, header};
use axum::response::{IntoResponse, Response};
use claviger_protocol::http::{AnswerBody, MAX_REQUEST_BODY, Problem, ProblemCode, RequestBody};
use claviger_protocol::json::from_slice_strict;

use super::app::App;
use super::listener::Limits;
use super::problem::ApiProblem;
use super::{desk, openapi};
use crate::fault;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
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

/// Tells who holds the seats of licenses, to a machine that holds one itself.
#[utoipa::path(post, path = "/v1/seats", tag = "machines", request_body = openapi::RequestBody,
    responses((status = 200, body = openapi::AnswerBody), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn seats(State(app): State<Arc<App>>, request: HttpRequest<Body>) -> Response {
    exchange(app, Route::Seats, request).await
}

/// Ends what another machine holds of a license; a repeated request gets the same answer.
#[utoipa::path(post, path = "/v1/free", tag = "machines", request_body = openapi::RequestBody,
    responses((status = 200, body = openapi::AnswerBody), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn free(State(app): State<Arc<App>>, request: HttpRequest<Body>) -> Response {
    exchange(app, Route::Free, request).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Activate,
    Refresh,
    Deactivate,
    Seats,
    Free,
}

impl Route {
    const fn name(self) -> &'static str {
        match self {
            Self::Activate => "/v1/activate",
            Self::Refresh => "/v1/refresh",
            Self::Deactivate => "/v1/deactivate",
            Self::Seats => "/v1/seats",
            Self::Free => "/v1/free",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Refresh => "refresh",
            Self::Deactivate => "deactivate",
            Self::Seats => "seats",
            Self::Free => "free",
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
    let refused = |why: String| {
        Problem::new(ProblemCode::BadRequest)
            .detail(format!("The body must be {{\"request\": \"…\"}}: {why}."))
    };
    if !is_object(&bytes) {
        return Err(refused("it is no JSON object".to_owned()).into());
    }
    let body: RequestBody = from_slice_strict(&bytes).map_err(|error| refused(error.to_string()))?;
    drop(bytes);
    let issuer = app.parts.issuer.get();
    let incoming = desk::read(&issuer, &body.request)?;
    drop(body);
    if desk::word(&incoming.request.order) != route.word() {
        return Err(Problem::new(ProblemCode::BadRequest)
            .detail(format!(
                "This path answers “{}” requests; the signed request asks for something else.",
                route.word()
            ))
            .into());
    }
    let settled = desk::settle(app, issuer, incoming, peer).await?;
    Ok(serde_json::to_vec(&AnswerBody { answer: settled.answer }).unwrap_or_default())
}

/// Whether a text that may be JSON begins an object. serde would read a list of a structure's values as well, and its
/// errors would tell how the structure is called here.
pub(super) fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

/// Reads a body up to a limit, and not for ever.
pub(super) async fn read_body(
    request: HttpRequest<Body>,
    limit: usize,
) -> Result<axum::body::Bytes, ApiProblem> {
    let time = request.extensions().get::<Peer>().map_or(Limits::default().body, |peer| peer.body_time);
    read_body_within(request.into_body(), limit, time).await.map_err(|error| match error {
        BodyError::TooLarge => {
            Problem::new(ProblemCode::TooLarge).detail(format!("At most {limit} bytes are read.")).into()
        }
        BodyError::Broken => {
            Problem::new(ProblemCode::BadRequest).detail("The body did not arrive whole.").into()
        }
        BodyError::Slow => {
            Problem::new(ProblemCode::BadRequest).detail("The body did not arrive in time.").into()
        }
    })
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is longer than the limit.
    TooLarge,
    /// It ended in the middle.
    Broken,
    /// It took too long.
    Slow,
}

/// Reads a body of at most `limit` bytes that arrives within `time`.
pub(super) async fn read_body_within(
    body: Body,
    limit: usize,
    time: Duration,
) -> Result<axum::body::Bytes, BodyError> {
    // One that says so itself need not be waited for.
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > limit) {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(time, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_large = std::error::Error::source(&error)
                .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            Err(if too_large { BodyError::TooLarge } else { BodyError::Broken })
        }
        Err(_) => Err(BodyError::Slow),
    }
}
