//! `GET /v1/admin/telemetry`: usage statistics as a page, JSON or CSV, behind an admin key. A browser asks for the key as
//! a password (any name goes with it), programs send it as a bearer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::telemetry::Week;
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi;
use super::problem::ApiProblem;
use crate::admin_keys::Scope;
use crate::telemetry::report::{Filter, Report};
use crate::telemetry::store::UsageStoreError;
use crate::telemetry::{Telemetry, page};

/// Which weeks and titles.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// From this week on, as 2026-W48; empty: from the first.
    from: String,
    /// Up to this week; empty: to the last.
    to: String,
    /// This title's id only; empty: all.
    title: String,
}

type WantedQuery = Result<Query<Wanted>, axum::extract::rejection::QueryRejection>;

/// The statistics as a page with charts; no script.
#[utoipa::path(get, path = "/v1/admin/telemetry", tag = "administrators", params(Wanted), security(("admin_key" = [])),
    responses((status = 200, content_type = "text/html"), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn page(
    State(telemetry): State<Arc<Telemetry>>,
    headers: HeaderMap,
    wanted: WantedQuery,
) -> Response {
    let shown = async {
        allow(&telemetry, &headers)?;
        let filter = filter(wanted)?;
        let report = report(&telemetry, &filter).await?;
        let products = telemetry.parts.store.products().await?;
        let names: BTreeMap<String, String> = products
            .into_iter()
            .filter(|product| product.contains.is_empty())
            .map(|product| (product.id.to_string(), product.name))
            .collect();
        let vendor = telemetry.parts.issuer.get().profile().name.clone();
        Ok(page::html(&vendor, &report, &filter, &names))
    };
    let html: Result<String, ApiProblem> = shown.await;
    match html {
        Ok(html) => {
            let mut response = html.into_response();
            private(response.headers_mut(), "text/html; charset=utf-8");
            response
        }
        Err(problem) => {
            let refused = problem.code() == ProblemCode::Unauthorized;
            let mut response = problem.into_response();
            if refused {
                // So that a browser asks for the key.
                let ask =
                    HeaderValue::from_static("Basic realm=\"claviger usage statistics\", charset=\"UTF-8\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
            }
            response
        }
    }
}

/// The statistics as JSON.
#[utoipa::path(get, path = "/v1/admin/telemetry.json", tag = "administrators", params(Wanted), security(("admin_key" = [])),
    responses((status = 200, body = openapi::UsageStatistics), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn json(
    State(telemetry): State<Arc<Telemetry>>,
    headers: HeaderMap,
    wanted: WantedQuery,
) -> Result<Response, ApiProblem> {
    allow(&telemetry, &headers)?;
    let report = report(&telemetry, &filter(wanted)?).await?;
    let mut response = serde_json::to_vec(&report).unwrap_or_default().into_response();
    private(response.headers_mut(), "application/json");
    Ok(response)
}

/// The published cells as CSV.
#[utoipa::path(get, path = "/v1/admin/telemetry.csv", tag = "administrators", params(Wanted), security(("admin_key" = [])),
    responses((status = 200, content_type = "text/csv"), (status = "4XX", body = openapi::Problem, content_type = "application/problem+json")))]
pub(super) async fn csv(
    State(telemetry): State<Arc<Telemetry>>,
    headers: HeaderMap,
    wanted: WantedQuery,
) -> Result<Response, ApiProblem> {
    allow(&telemetry, &headers)?;
    let report = report(&telemetry, &filter(wanted)?).await?;
    let mut response = report.csv().into_response();
    private(response.headers_mut(), "text/csv; charset=utf-8");
    Ok(response)
}

fn private(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&page::POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Whether the request carries an admin key that may see usage statistics.
fn allow(telemetry: &Telemetry, headers: &HeaderMap) -> Result<(), ApiProblem> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, value) = sent.split_once(' ').unwrap_or_default();
    let key = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(value.trim().to_owned()),
        "basic" => {
            let decoded = data_encoding::BASE64.decode(value.trim().as_bytes()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            text.and_then(|text| text.split_once(':').map(|(_, password)| password.to_owned()))
        }
        _ => None,
    };
    let known = key.and_then(|key| telemetry.parts.admin_keys.check(&key, telemetry.parts.clock.now()));
    match known {
        Some(key) if key.may(Scope::UsageRead) => Ok(()),
        Some(_) => Err(ProblemCode::Forbidden.into()),
        None => Err(Problem::new(ProblemCode::Unauthorized)
            .detail("Give an admin key as the password, or as “Authorization: Bearer KEY”.")
            .into()),
    }
}

fn filter(wanted: WantedQuery) -> Result<Filter, ApiProblem> {
    let bad = |detail: String| ApiProblem::from(Problem::new(ProblemCode::BadRequest).detail(detail));
    let Query(wanted) = wanted.map_err(|e| bad(format!("{}.", e.body_text())))?;
    let week = |text: &str| -> Result<Option<Week>, ApiProblem> {
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|e| bad(format!("{e}."))) }
    };
    Ok(Filter {
        from: week(&wanted.from)?,
        to: week(&wanted.to)?,
        title: Some(wanted.title).filter(|title| !title.is_empty()),
    })
}

async fn report(telemetry: &Telemetry, filter: &Filter) -> Result<Report, ApiProblem> {
    let failed = |error: UsageStoreError| {
        tracing::error!(error = &error as &dyn std::error::Error, "the statistics could not be read");
        ApiProblem::from(
            Problem::new(ProblemCode::Unavailable)
                .detail("The counters cannot be read; the server's log says why."),
        )
        .retry_after(60)
    };
    let counters = telemetry.counters();
    let cells = counters.published(filter.from, filter.to, filter.title.as_deref()).await.map_err(failed)?;
    let closed = counters.closed_weeks().await.map_err(failed)?;
    Ok(Report::of(cells, &closed, filter))
}
