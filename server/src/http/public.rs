//! What anyone may read: keyset, manifest, health.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use claviger_protocol::documents::{KeyInHeader, Manifest, ManifestProduct, sign};
use claviger_protocol::http::{HealthBody, KeysetBody, ManifestBody};

use super::app::App;
use super::openapi;
use super::problem::ApiProblem;

/// The keyset in force, and the sunset once there is one.
#[utoipa::path(get, path = "/v1/keyset", tag = "machines", responses((status = 200, body = openapi::KeysetBody)))]
pub(super) async fn keyset(State(app): State<Arc<App>>) -> impl IntoResponse {
    let issuer = app.parts.issuer.get();
    let body = KeysetBody {
        keyset: issuer.keyset_text().to_owned(),
        sunset: issuer.sunset_text().map(str::to_owned),
    };
    ([(header::CACHE_CONTROL, "no-cache")], Json(body))
}

/// The catalogue, signed.
#[utoipa::path(get, path = "/v1/manifest", tag = "machines", responses((status = 200, body = openapi::ManifestBody)))]
pub(super) async fn manifest(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiProblem> {
    let meta = app.parts.store.meta().await?;
    let products = app.parts.store.products().await?;
    let issuer = app.parts.issuer.get();
    let manifest = Manifest {
        iss: issuer.vendor().clone(),
        number: meta.catalogue,
        iat: app.parts.clock.now(),
        products: products
            .into_iter()
            .map(|p| ManifestProduct { id: p.id, name: p.name, contains: p.contains })
            .collect(),
    };
    let manifest = sign(&manifest, issuer.signing_key(), KeyInHeader::Named);
    Ok(([(header::CACHE_CONTROL, "no-cache")], Json(ManifestBody { manifest })))
}

/// Whether the server works: looks into its database.
#[utoipa::path(get, path = "/v1/health", tag = "machines", responses((status = 200, body = openapi::HealthBody)))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiProblem> {
    let meta = app.parts.store.meta().await?;
    let body = HealthBody {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: meta.epoch,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}
