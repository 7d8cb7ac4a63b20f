//! `/v1/telemetry/…`: notice and plan for everyone, tokens for installations, reports from nobody in particular.
//!
//! No handler in this file looks at where a request comes from, and none writes to the security log or to any other log
//! what was sent.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use claviger_protocol::http::{Problem, ProblemCode, RequestBody};
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::telemetry::REPORT_LEN;

use super::exchange::read_body;
use super::openapi;
use super::problem::ApiProblem;
use super::usage_page;
use crate::telemetry::collector::ReportRefusal;
use crate::telemetry::{Telemetry, TokenRefusal};

/// Most bytes of a token request: the signed request and the object around it.
const MAX_TOKEN_REQUEST: usize = 8 * 1024 + 64;
/// Notice and plan change a few times a year; an hour's age does no harm.
const CACHEABLE: &str = "public, max-age=3600";

/// The routes of usage statistics; [`super::router`]'s stand beside them.
pub fn telemetry_routes(telemetry: Arc<Telemetry>) -> Router {
    let counted =
        axum::middleware::from_fn_with_state(Arc::clone(&telemetry.parts.metrics), crate::metrics::count);
    Router::new()
        .route("/v1/telemetry/notice", get(notice))
        .route("/v1/telemetry/plan", get(plan))
        .route("/v1/telemetry/tokens", post(tokens))
        .route("/v1/telemetry/report", post(report))
        .route("/v1/admin/telemetry", get(usage_page::page))
        .route("/v1/admin/telemetry.json", get(usage_page::json))
        .route("/v1/admin/telemetry.csv", get(usage_page::csv))
        .layer(counted)
        .method_not_allowed_fallback(async || ApiProblem::from(Problem::new(ProblemCode::MethodNotAllowed)))
        .with_state(telemetry)
}

/// What a person is asked with, and the announced change of it; the same bytes for everyone.
#[utoipa::path(get, path = "/v1/telemetry/notice", tag = "usage statistics", responses((status = 200, body = openapi::NoticeBody),
    (status = 404, body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn notice(State(telemetry): State<Arc<Telemetry>>) -> Result<Response, ApiProblem> {
    let issuer = telemetry.parts.issuer.get();
    let body = telemetry.notices().body(&issuer, telemetry.parts.clock.now()).ok_or_else(|| {
        Problem::new(ProblemCode::NotFound).detail("This vendor asks for no usage statistics.")
    })?;
    Ok(cacheable(serde_json::to_vec(&body).unwrap_or_default()))
}

/// The signed plans: weekly token keys and what reports may name; the same bytes for everyone.
#[utoipa::path(get, path = "/v1/telemetry/plan", tag = "usage statistics", responses((status = 200, body = openapi::PlanBody)))]
pub(super) async fn plan(State(telemetry): State<Arc<Telemetry>>) -> Response {
    cacheable(telemetry.current().body().to_vec())
}

fn cacheable(body: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHEABLE)),
    ];
    (headers, body).into_response()
}

/// Gives an installation its blind tokens of a week; the same request again gets the same tokens.
#[utoipa::path(post, path = "/v1/telemetry/tokens", tag = "usage statistics", request_body = openapi::RequestBody,
    responses((status = 200, body = openapi::TokensBody), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn tokens(
    State(telemetry): State<Arc<Telemetry>>,
    request: HttpRequest<Body>,
) -> Result<Response, ApiProblem> {
    let bytes = read_body(request, MAX_TOKEN_REQUEST).await?;
    let body: RequestBody = from_slice_strict(&bytes).map_err(|_| {
        Problem::new(ProblemCode::BadRequest)
            .detail("The body must be {\"request\": \"…\"} and nothing else.")
    })?;
    let tokens = telemetry.tokens(&body.request).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, serde_json::to_vec(&tokens).unwrap_or_default()).into_response())
}

/// Counts a usage report: 512 bytes of compact JSON, padded with spaces. The same report again changes nothing.
#[utoipa::path(post, path = "/v1/telemetry/report", tag = "usage statistics", request_body = openapi::UsageReport,
    responses((status = 204), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json"),
    (status = "5XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn report(
    State(telemetry): State<Arc<Telemetry>>,
    request: HttpRequest<Body>,
) -> Result<StatusCode, ApiProblem> {
    let body = match read_body(request, REPORT_LEN).await {
        Ok(body) => body,
        Err(problem) => {
            telemetry.parts.metrics.telemetry("report", "wrong_length");
            return Err(problem);
        }
    };
    telemetry.report(&body).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ReportRefusal> for ApiProblem {
    fn from(refusal: ReportRefusal) -> Self {
        let problem = |code, detail: &str| ApiProblem::from(Problem::new(code).detail(detail));
        match refusal {
            // The stable code, and not the cause: it could repeat what was sent.
            ReportRefusal::Unreadable(error) => {
                let mut problem = Problem::new(ProblemCode::BadRequest).detail(
                    "A report is the compact JSON object of docs/privacy.md, padded with spaces to 512 bytes.",
                );
                problem.document = Some(error.code().to_owned());
                problem.into()
            }
            ReportRefusal::WrongWeek => problem(
                ProblemCode::WrongWeek,
                "Reports about a week are taken from its end on, for 21 days, when it has a plan.",
            ),
            ReportRefusal::NotEligible => problem(
                ProblemCode::NotEligible,
                "Name titles, versions and DAWs of /v1/telemetry/plan; every other version or DAW is “other”.",
            ),
            ReportRefusal::TokenRefused => problem(
                ProblemCode::TokenRefused,
                "A token is good for the one week whose key it was made with.",
            ),
            ReportRefusal::TokenSpent => {
                problem(ProblemCode::TokenSpent, "Each report needs a token of its own.")
            }
            ReportRefusal::Busy => {
                problem(ProblemCode::Unavailable, "Too many reports wait; nothing was counted.")
                    .retry_after(60)
            }
            ReportRefusal::Store => {
                problem(ProblemCode::Unavailable, "The counters cannot be written; nothing was counted.")
                    .retry_after(600)
            }
        }
    }
}

impl From<TokenRefusal> for ApiProblem {
    fn from(refusal: TokenRefusal) -> Self {
        let problem = |code, detail: &str| ApiProblem::from(Problem::new(code).detail(detail));
        match refusal {
            TokenRefusal::Document(error) => super::desk::bad_document(&error),
            TokenRefusal::WrongWeek => problem(
                ProblemCode::WrongWeek,
                "Tokens of a week are given from its beginning until it closes, when it has a plan.",
            ),
            TokenRefusal::NoActivation => {
                problem(ProblemCode::NoActivation, "Activate a license of this vendor on this machine first.")
            }
            TokenRefusal::BatchTaken => problem(
                ProblemCode::BatchTaken,
                "One batch a week: repeat the same request to get the same tokens again.",
            ),
            TokenRefusal::Batch(error) => ApiProblem::from(
                Problem::new(ProblemCode::BadRequest)
                    .detail(format!("The batch cannot be evaluated: {error}.")),
            ),
            TokenRefusal::Store(error) => error.into(),
            TokenRefusal::Usage(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "tokens were not given");
                problem(ProblemCode::Unavailable, "The store cannot be written; no tokens were given.")
                    .retry_after(600)
            }
            TokenRefusal::Stopping => {
                problem(ProblemCode::Unavailable, "The server is stopping; try again.").retry_after(30)
            }
        }
    }
}
