//! The admin interface under `/v1/admin`: does what the commands do, behind bearer keys with scopes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::{Request, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use claviger_protocol::clock::Timestamp;
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::ids::{ActivationId, MachineId, ProductId};
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockCode;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::exchange::{Peer, is_object, read_body};
use super::problem::ApiProblem;
use crate::admin_keys::Scope;
use crate::engine::model::LicenseState;
use crate::licensing::{
    self, Batch, Import, ImportRow, IssueOrder, IssueOutcome, LicensingError, Renewal, RowError, find_product,
};
use crate::storage::admin::{ActivationFilter, LicenseChange, LicenseFilter, Product};
use crate::views::{ActivationView, LicenseDetails, LicenseView};

/// Most bytes of an administrator's request.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Most licenses issued over HTTP at once; the command line does more.
const MAX_COUNT: u32 = 10_000;
/// Most rows of a page.
const MAX_PAGE: u32 = 1_000;

/// The routes, without their common prefix.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/products", get(list_products).post(add_product))
        .route("/licenses", get(list_licenses).post(issue_licenses))
        .route("/licenses/import", post(import_licenses))
        .route("/licenses/{serial}", get(show_license))
        .route("/licenses/{serial}/suspend", post(suspend_license))
        .route("/licenses/{serial}/resume", post(resume_license))
        .route("/licenses/{serial}/revoke", post(revoke_license))
        .route("/licenses/{serial}/transfer", post(transfer_license))
        .route("/licenses/{serial}/renew", post(renew_license))
        .route("/activations", get(list_activations))
        .route("/activations/{id}/release", post(release_activation))
}

/// The scope that an operation needs, for its description; [`Admin::may`] is what asks for it.
pub(super) fn scope(method: &str, path: &str) -> Option<Scope> {
    let rest = path.strip_prefix("/v1/admin/")?;
    let reads = method == "get";
    Some(match rest.split('/').next() {
        Some("products") if reads => Scope::ProductsRead,
        Some("products") => Scope::ProductsWrite,
        Some("telemetry" | "telemetry.json" | "telemetry.csv") => Scope::UsageRead,
        Some("activations") if reads => Scope::ActivationsRead,
        Some("activations") => Scope::ActivationsWrite,
        _ if reads => Scope::LicensesRead,
        _ => Scope::LicensesWrite,
    })
}

/// An administrator whose key was found good.
pub(super) struct Admin(crate::admin_keys::AdminKey);

impl Admin {
    fn may(&self, scope: Scope) -> Result<(), ApiProblem> {
        if self.0.may(scope) {
            return Ok(());
        }
        let scopes = scope.granted_by().join("”, “");
        Err(Problem::new(ProblemCode::Forbidden)
            .detail(format!("This needs a key with one of the scopes “{scopes}”; this key has none of them."))
            .into())
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut request::Parts, app: &Arc<App>) -> Result<Self, ApiProblem> {
        let bearer = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer ")));
        match bearer.and_then(|bearer| app.parts.admin_keys.check(bearer.trim(), app.parts.clock.now())) {
            Some(key) => Ok(Self(key)),
            None => {
                let peer = parts.extensions.get::<Peer>().copied();
                app.log(peer, "admin_refused", None, None);
                Err(Problem::new(ProblemCode::Unauthorized)
                    .detail("Send the header “Authorization: Bearer KEY”; `claviger-server admin-key` makes keys.")
                    .into())
            }
        }
    }
}

/// What a path names: a serial number or an id.
pub(super) struct Named(String);

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut request::Parts, app: &Arc<App>) -> Result<Self, ApiProblem> {
        let name = Path::<String>::from_request_parts(parts, app).await;
        name.map(|Path(name)| Self(name)).map_err(|_| bad("the path's percent signs do not spell UTF-8 text"))
    }
}

impl From<LicensingError> for ApiProblem {
    fn from(error: LicensingError) -> Self {
        match error {
            LicensingError::Store(error) => error.into(),
            LicensingError::Typed(_) | LicensingError::Invalid(_) => bad(error),
            LicensingError::Random => ProblemCode::Internal.into(),
        }
    }
}

fn bad(detail: impl std::fmt::Display) -> ApiProblem {
    Problem::new(ProblemCode::BadRequest).detail(format!("{detail}.")).into()
}

fn not_found(serial: &Serial) -> ApiProblem {
    Problem::new(ProblemCode::NotFound).detail(format!("There is no license {serial}.")).into()
}

/// Reads a body as closed JSON: an unknown or repeated field is refused.
async fn read<T: DeserializeOwned>(request: Request<Body>) -> Result<T, ApiProblem> {
    let bytes = read_body(request, MAX_BODY).await?;
    if !is_object(&bytes) {
        return Err(bad("the body must be a JSON object; /v1/openapi.json names its fields"));
    }
    from_slice_strict(&bytes).map_err(bad)
}

/// Reads an object and nothing else: serde would take a list of the fields' values as well.
fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(reader: D) -> Result<T, D::Error> {
    let object = serde_json::Map::deserialize(reader)?;
    T::deserialize(serde_json::Value::Object(object)).map_err(D::Error::custom)
}

/// Reads a list of objects; see [`object`].
fn objects<'de, T: DeserializeOwned, D: Deserializer<'de>>(reader: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<serde_json::Map<String, serde_json::Value>>::deserialize(reader)?;
    let one = |object| T::deserialize(serde_json::Value::Object(object)).map_err(D::Error::custom);
    objects.into_iter().map(one).collect()
}

/// How many rows a page has.
fn page(limit: Option<u32>) -> Result<u32, ApiProblem> {
    match limit.unwrap_or(100) {
        limit if (1..=MAX_PAGE).contains(&limit) => Ok(limit),
        _ => Err(bad(format!("the limit is 1 to {MAX_PAGE}"))),
    }
}

fn query<T>(query: Result<Query<T>, axum::extract::rejection::QueryRejection>) -> Result<T, ApiProblem> {
    query.map(|Query(value)| value).map_err(|e| bad(e.body_text()))
}

impl App {
    fn serial(&self, text: &str) -> Result<Serial, ApiProblem> {
        Serial::parse_any(text, &self.parts.issuer.get().profile().prefix).map_err(bad)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

// ---- products ----

/// A product or bundle.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductBody {
    /// Its id in reverse-DNS form: the vendor's id, a dot and a name.
    id: String,
    /// Its name for people.
    name: String,
    /// What the bundle contains: ids, or unique endings of them.
    #[serde(default)]
    contains: Vec<String>,
}

impl From<Product> for ProductBody {
    fn from(product: Product) -> Self {
        let contains = product.contains.into_iter().map(String::from).collect();
        Self { id: product.id.into(), name: product.name, contains }
    }
}

/// Lists all products.
#[utoipa::path(get, path = "/v1/admin/products", tag = "admin", security(("admin_key" = [])),
    responses((status = 200, body = Vec<ProductBody>)))]
pub(super) async fn list_products(
    State(app): State<Arc<App>>,
    admin: Admin,
) -> Result<Json<Vec<ProductBody>>, ApiProblem> {
    admin.may(Scope::ProductsRead)?;
    Ok(Json(app.parts.store.products().await?.into_iter().map(Into::into).collect()))
}

/// Adds a product or bundle.
#[utoipa::path(post, path = "/v1/admin/products", tag = "admin", security(("admin_key" = [])),
    request_body = ProductBody, responses((status = 201, body = ProductBody),
    (status = 404, description = "A product that it contains does not exist."), (status = 409, description = "It exists.")))]
pub(super) async fn add_product(
    State(app): State<Arc<App>>,
    admin: Admin,
    request: Request<Body>,
) -> Result<Response, ApiProblem> {
    admin.may(Scope::ProductsWrite)?;
    let body: ProductBody = read(request).await?;
    let id: ProductId = body.id.parse().map_err(bad)?;
    let issuer = app.parts.issuer.get();
    let store = app.parts.store.as_ref();
    let product = licensing::new_product(store, issuer.vendor(), id, &body.name, &body.contains).await?;
    app.parts.store.add_product(product.clone(), app.now()).await?;
    Ok((StatusCode::CREATED, Json(ProductBody::from(product))).into_response())
}

// ---- licenses ----

/// What was issued.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IssuedBody {
    /// Whether the order had been issued before; its unlock codes were told then, and only then.
    issued_before: bool,
    /// The licenses.
    licenses: Vec<IssuedLicense>,
}

/// A license that was issued.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IssuedLicense {
    /// Its serial number.
    serial: String,
    /// Its unlock code: told once.
    unlock_code: Option<String>,
}

/// Issues licenses; with an order id, giving the same order again issues nothing again.
#[utoipa::path(post, path = "/v1/admin/licenses", tag = "admin", security(("admin_key" = [])),
    request_body = IssueOrder, responses((status = 201, body = IssuedBody), (status = 200, body = IssuedBody),
    (status = 404, description = "There is no such product."), (status = 409, description = "The order id exists with other content.")))]
pub(super) async fn issue_licenses(
    State(app): State<Arc<App>>,
    admin: Admin,
    request: Request<Body>,
) -> Result<Response, ApiProblem> {
    admin.may(Scope::LicensesWrite)?;
    let order: IssueOrder = read(request).await?;
    if order.count > MAX_COUNT {
        return Err(bad(format!(
            "at most {MAX_COUNT} licenses are issued at once here; the command line does more"
        )));
    }
    let product = find_product(app.parts.store.as_ref(), &order.product).await?;
    let issuer = app.parts.issuer.get();
    let rng = Arc::clone(&app.parts.rng);
    let batch = tokio::task::spawn_blocking(move || {
        Batch::draw(issuer.profile(), &order, product, rng.as_ref(), || {})
    })
    .await
    .map_err(|_| ApiProblem::from(ProblemCode::Internal))??;
    let (status, body) = match batch.store(app.parts.store.as_ref(), app.now()).await? {
        IssueOutcome::Fresh(fresh) => {
            let licenses = fresh
                .into_iter()
                .map(|f| IssuedLicense {
                    serial: f.serial.into(),
                    unlock_code: Some(f.code.reveal().to_owned()),
                })
                .collect();
            (StatusCode::CREATED, IssuedBody { issued_before: false, licenses })
        }
        IssueOutcome::Before(serials) => {
            let licenses = serials.into_iter().map(|s| IssuedLicense { serial: s.into(), unlock_code: None });
            (StatusCode::OK, IssuedBody { issued_before: true, licenses: licenses.collect() })
        }
    };
    Ok((status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Which licenses to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LicenseQuery {
    /// Of this product.
    product: Option<String>,
    /// `active`, `suspended` or `revoked`.
    state: Option<LicenseState>,
    /// Of this order.
    order_id: Option<String>,
    /// `next` of the page before.
    after: Option<i64>,
    /// At most this many; 100 unless it is given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
}

/// A page of licenses.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LicensePage {
    /// The licenses.
    licenses: Vec<LicenseView>,
    /// Give this as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// Lists licenses, page by page.
#[utoipa::path(get, path = "/v1/admin/licenses", tag = "admin", security(("admin_key" = [])), params(LicenseQuery),
    responses((status = 200, body = LicensePage), (status = 404, description = "There is no such product.")))]
pub(super) async fn list_licenses(
    State(app): State<Arc<App>>,
    admin: Admin,
    wanted: Result<Query<LicenseQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<LicensePage>, ApiProblem> {
    admin.may(Scope::LicensesRead)?;
    let wanted = query(wanted)?;
    let product = match &wanted.product {
        Some(text) => Some(find_product(app.parts.store.as_ref(), text).await?),
        None => None,
    };
    let limit = page(wanted.limit)?;
    let filter = LicenseFilter {
        product,
        state: wanted.state,
        order_id: wanted.order_id,
        after: wanted.after.unwrap_or(0),
        limit,
    };
    let page = app.parts.store.licenses(filter).await?;
    let full = page.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = page.last().filter(|_| full).map(|l| l.license.id.0);
    Ok(Json(LicensePage { licenses: page.into_iter().map(Into::into).collect(), next }))
}

/// Shows a license, its machines and its history.
#[utoipa::path(get, path = "/v1/admin/licenses/{serial}", tag = "admin", security(("admin_key" = [])),
    params(("serial" = String, Path)), responses((status = 200, body = LicenseDetails), (status = 404)))]
pub(super) async fn show_license(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(serial): Named,
) -> Result<Json<LicenseDetails>, ApiProblem> {
    admin.may(Scope::LicensesRead)?;
    let serial = app.serial(&serial)?;
    let license = app.parts.store.license(serial.clone()).await?.ok_or_else(|| not_found(&serial))?.into();
    let activations = if admin.may(Scope::ActivationsRead).is_ok() {
        let filter =
            ActivationFilter { serial: Some(serial.clone()), limit: 10_000, ..ActivationFilter::default() };
        app.parts.store.activations(filter).await?.into_iter().map(Into::into).collect()
    } else {
        Vec::new()
    };
    let history = app.parts.store.history(serial).await?;
    Ok(Json(LicenseDetails { license, activations, history }))
}

async fn change(
    app: &App,
    admin: &Admin,
    serial: &str,
    change: LicenseChange,
) -> Result<Json<LicenseView>, ApiProblem> {
    admin.may(Scope::LicensesWrite)?;
    let serial = app.serial(serial)?;
    app.parts.store.change_license(serial.clone(), change, app.now()).await?;
    let changed = app.parts.store.license(serial.clone()).await?.ok_or_else(|| not_found(&serial))?;
    Ok(Json(changed.into()))
}

/// Suspends a license; its seats stay taken.
#[utoipa::path(post, path = "/v1/admin/licenses/{serial}/suspend", tag = "admin", security(("admin_key" = [])),
    params(("serial" = String, Path)), responses((status = 200, body = LicenseView), (status = 404)))]
pub(super) async fn suspend_license(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(serial): Named,
) -> Result<Json<LicenseView>, ApiProblem> {
    change(&app, &admin, &serial, LicenseChange::State(LicenseState::Suspended)).await
}

/// Resumes a suspended license.
#[utoipa::path(post, path = "/v1/admin/licenses/{serial}/resume", tag = "admin", security(("admin_key" = [])),
    params(("serial" = String, Path)), responses((status = 200, body = LicenseView), (status = 404), (status = 409)))]
pub(super) async fn resume_license(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(serial): Named,
) -> Result<Json<LicenseView>, ApiProblem> {
    change(&app, &admin, &serial, LicenseChange::State(LicenseState::Active)).await
}

/// Revokes a license for ever.
#[utoipa::path(post, path = "/v1/admin/licenses/{serial}/revoke", tag = "admin", security(("admin_key" = [])),
    params(("serial" = String, Path)), responses((status = 200, body = LicenseView), (status = 404)))]
pub(super) async fn revoke_license(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(serial): Named,
) -> Result<Json<LicenseView>, ApiProblem> {
    change(&app, &admin, &serial, LicenseChange::State(LicenseState::Revoked)).await
}

/// What a transfer made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transferred {
    /// The license.
    serial: String,
    /// Its new unlock code: told once.
    unlock_code: String,
    /// Activations that ended.
    ended: u64,
}

/// Gives a license to a new owner: a new unlock code, all activations ended.
#[utoipa::path(post, path = "/v1/admin/licenses/{serial}/transfer", tag = "admin", security(("admin_key" = [])),
    params(("serial" = String, Path)), responses((status = 200, body = Transferred), (status = 404), (status = 409)))]
pub(super) async fn transfer_license(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(serial): Named,
) -> Result<Response, ApiProblem> {
    admin.may(Scope::LicensesWrite)?;
    let serial = app.serial(&serial)?;
    let issuer = app.parts.issuer.get();
    let code = UnlockCode::random(app.parts.rng.as_ref()).map_err(LicensingError::from)?;
    let store = app.parts.store.as_ref();
    let ended = licensing::transfer(store, issuer.profile(), &serial, &code, app.now()).await?;
    let body = Transferred { serial: serial.into(), unlock_code: code.reveal().to_owned(), ended };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Changes what was paid for.
#[utoipa::path(post, path = "/v1/admin/licenses/{serial}/renew", tag = "admin", security(("admin_key" = [])),
    params(("serial" = String, Path)), request_body = Renewal,
    responses((status = 200, body = LicenseView), (status = 404)))]
pub(super) async fn renew_license(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(serial): Named,
    request: Request<Body>,
) -> Result<Json<LicenseView>, ApiProblem> {
    admin.may(Scope::LicensesWrite)?;
    let wanted: Renewal = read(request).await?;
    let parsed = app.serial(&serial)?;
    let renewal = licensing::renewal(app.parts.store.as_ref(), &parsed, &wanted).await?;
    change(&app, &admin, &serial, renewal).await
}

/// A shop's existing serial numbers, with the terms of all of them. Closed list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportOrder {
    /// The terms; `count` and `order_id` are not used.
    #[serde(deserialize_with = "object")]
    terms: IssueOrder,
    /// The serial numbers.
    #[serde(deserialize_with = "objects")]
    rows: Vec<ImportRow>,
    /// Check everything and import nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What became of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Imported {
    /// How many were imported, or could be.
    imported: usize,
    /// Wrong rows, counted from 1; then nothing was imported.
    #[schema(value_type = Vec<Object>)]
    errors: Vec<RowError>,
}

/// Imports a shop's existing serial numbers, all or none.
#[utoipa::path(post, path = "/v1/admin/licenses/import", tag = "admin", security(("admin_key" = [])),
    request_body = ImportOrder, responses((status = 200, body = Imported), (status = 404, description = "There is no such product."),
    (status = 409, description = "A serial number was taken in the meantime."),
    (status = 422, body = Imported, description = "Rows are wrong; nothing was imported.")))]
pub(super) async fn import_licenses(
    State(app): State<Arc<App>>,
    admin: Admin,
    request: Request<Body>,
) -> Result<Response, ApiProblem> {
    admin.may(Scope::LicensesWrite)?;
    let order: ImportOrder = read(request).await?;
    let store = app.parts.store.as_ref();
    let product = find_product(store, &order.terms.product).await?;
    let terms = order.terms.terms(product)?;
    let rows: Vec<(u64, ImportRow)> = (1..).zip(order.rows).collect();
    let issuer = app.parts.issuer.get();
    let body = match Import::check(store, issuer.profile(), &terms, &rows).await? {
        Err(errors) => {
            let body = Json(Imported { imported: 0, errors });
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, body).into_response());
        }
        Ok(import) if order.dry_run => Imported { imported: import.len(), errors: Vec::new() },
        Ok(import) => Imported { imported: import.store(store, app.now()).await?, errors: Vec::new() },
    };
    Ok(Json(body).into_response())
}

// ---- activations ----

/// Which activations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivationQuery {
    /// Of this license.
    serial: Option<String>,
    /// On this machine.
    machine_id: Option<String>,
    /// Ended ones too.
    #[serde(default)]
    all: bool,
    /// At most this many; 100 unless it is given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
}

/// Lists activations.
#[utoipa::path(get, path = "/v1/admin/activations", tag = "admin", security(("admin_key" = [])), params(ActivationQuery),
    responses((status = 200, body = Vec<ActivationView>)))]
pub(super) async fn list_activations(
    State(app): State<Arc<App>>,
    admin: Admin,
    wanted: Result<Query<ActivationQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<ActivationView>>, ApiProblem> {
    admin.may(Scope::ActivationsRead)?;
    let wanted = query(wanted)?;
    let filter = ActivationFilter {
        serial: wanted.serial.map(|s| app.serial(&s)).transpose()?,
        machine: wanted.machine_id.map(|id| id.parse::<MachineId>().map_err(bad)).transpose()?,
        ended_too: wanted.all,
        limit: page(wanted.limit)?,
    };
    Ok(Json(app.parts.store.activations(filter).await?.into_iter().map(Into::into).collect()))
}

/// How many seats were freed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Released {
    /// How many.
    released: u64,
}

/// Releases a seat: its machine learns it at its next contact.
#[utoipa::path(post, path = "/v1/admin/activations/{id}/release", tag = "admin", security(("admin_key" = [])),
    params(("id" = String, Path)), responses((status = 200, body = Released), (status = 404)))]
pub(super) async fn release_activation(
    State(app): State<Arc<App>>,
    admin: Admin,
    Named(id): Named,
) -> Result<Json<Released>, ApiProblem> {
    admin.may(Scope::ActivationsWrite)?;
    let id: ActivationId = id.parse().map_err(bad)?;
    match app.parts.store.release(vec![id], app.now()).await? {
        0 => Err(Problem::new(ProblemCode::NotFound)
            .detail(format!("No activation {id} holds a seat."))
            .into()),
        released => Ok(Json(Released { released })),
    }
}
