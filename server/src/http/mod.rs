//! The HTTP interface: routes under `/v1`, what limits them, and the listener.

mod admin;
mod app;
pub(crate) mod desk;
mod door;
mod exchange;
mod issuer;
mod limit;
mod listener;
mod openapi;
mod portal;
mod problem;
mod public;
mod refusal;
mod telemetry;
mod usage_page;

pub use app::{App, AppParts};
pub(crate) use exchange::Peer;
pub use issuer::IssuerCell;
pub use limit::FailedProofs;
pub use listener::{Limits, Listener};
pub use problem::ApiProblem;
pub use telemetry::telemetry_routes;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use claviger_protocol::http::{Problem, ProblemCode};

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let counted = from_fn_with_state(Arc::clone(&app.parts.metrics), crate::metrics::count);
    let v1 = Router::new()
        .route("/keyset", get(public::keyset))
        .route("/manifest", get(public::manifest))
        .route("/health", get(public::health))
        .route("/openapi.json", get(openapi::openapi))
        .nest("/admin", admin::routes())
        .layer(counted.clone())
        // Below the layer: these count themselves.
        .route("/activate", post(exchange::activate))
        .route("/refresh", post(exchange::refresh))
        .route("/deactivate", post(exchange::deactivate))
        .route("/seats", post(exchange::seats))
        .route("/free", post(exchange::free));
    Router::new()
        .nest("/v1", v1)
        .merge(portal::routes().layer(counted))
        .fallback(async || {
            ApiProblem::from(
                Problem::new(ProblemCode::NotFound)
                    .detail("This server has no such page: its interface is described at /v1/openapi.json."),
            )
        })
        .method_not_allowed_fallback(async || {
            ApiProblem::from(
                Problem::new(ProblemCode::MethodNotAllowed)
                    .detail("This path takes another method: /v1/openapi.json says which."),
            )
        })
        .with_state(app)
}
