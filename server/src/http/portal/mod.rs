//! The portal at `/offline`: a person brings what a computer without a network wrote, and takes the answer back.
//!
//! Pages are made here, work without JavaScript and load nothing from elsewhere; `guard` says why no form token is
//! needed. A single answer is fetched as a file by handing the same request in again, a bundle from the shelf (`shelf.rs`).

mod assets;
mod codes;
mod guard;
mod multipart;
mod page;
mod qr;
mod results;
mod shelf;
mod start;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use claviger_protocol::offline::FileKind;

use super::app::App;
use super::exchange::Peer;
use crate::offline::{self, Row, Trouble};
use page::Page;
use start::{FieldName, Mistake};
use upload::{Form, UploadError};

/// The heading over what is wrong with a file or a text.
const UNREADABLE: &str = "This could not be read";
/// Bytes of a text that comes back with its form.
const TEXT_AGAIN: usize = 64 * 1024;

/// What the portal keeps between requests.
#[derive(Debug, Default)]
pub(super) struct Counter {
    gate: upload::Gate,
    shelf: shelf::Shelf,
}

/// The routes.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/offline", get(start_page).post(give_in))
        .route("/offline/", get(async || to_folder()))
        .route("/offline/portal.css", get(assets::style))
        .route("/offline/portal.js", get(assets::script))
        .route("/offline/icon.svg", get(assets::icon))
        .route("/offline/bundle/{ticket}", get(bundle))
}

/// Links on the page are relative to `/offline`.
fn to_folder() -> Response {
    let mut response = (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "../offline")]).into_response();
    guard::protect(response.headers_mut());
    response
}

/// The page with the form.
#[utoipa::path(get, path = "/offline", tag = "portal", responses((status = 200, body = String, content_type = "text/html")))]
pub(super) async fn start_page(State(app): State<Arc<App>>) -> Response {
    show(&app, StatusCode::OK, &start::page(app.issuer().profile(), None))
}

/// Takes requests, batches and receipts in a form: fields `file` (any number) and `text`; with `want=file` the answer
/// itself comes back as an attachment, otherwise a page about it.
#[utoipa::path(post, path = "/offline", tag = "portal",
    request_body(content = String, content_type = "multipart/form-data"),
    responses((status = 200, body = String, content_type = "text/html"), (status = "4XX", body = String, content_type = "text/html"),
    (status = "5XX", body = String, content_type = "text/html")))]
pub(super) async fn give_in(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let issuer = app.issuer();
    let profile = issuer.profile();
    if !guard::is_ours(&parts.headers, &profile.server) {
        let page = results::plain(
            "This form came from another site",
            "Nothing was done. If you were sent here to hand in a request, open the form on this site and hand it in there.",
            "offline",
        );
        return show(&app, StatusCode::FORBIDDEN, &page);
    }
    let peer = parts.extensions.get::<Peer>().copied();
    match upload::read(&app.counter.gate, &parts.headers, body).await {
        Ok(form) => settle(&app, form, peer).await,
        Err(error) => {
            let (status, title, next) = match &error {
                UploadError::TooLarge => (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "This is too large",
                    "Divide the batch. A vendor answers larger ones with `claviger-server offline answer`.",
                ),
                UploadError::Busy => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Please wait a moment",
                    "Hand the same file in again in a minute.",
                ),
                UploadError::Cut | UploadError::Form(_) => {
                    (StatusCode::BAD_REQUEST, UNREADABLE, "Hand it in again.")
                }
            };
            let (what, next) = (error.to_string(), [next.to_owned()]);
            let mistake = Mistake { title, what: &what, next: &next, field: FieldName::File, text: "" };
            mistaken(&app, status, &mistake)
        }
    }
}

async fn settle(app: &Arc<App>, form: Form, peer: Option<Peer>) -> Response {
    let Form { given, text, wants_file, .. } = form;
    let field = if text.is_empty() { FieldName::File } else { FieldName::Text };
    if given.is_empty() {
        let mistake = Mistake {
            title: "Nothing was handed in",
            what: "There is neither a file nor a text in the form.",
            next: &["Choose the file that the computer wrote, or paste its text.".to_owned()],
            field: FieldName::File,
            text: "",
        };
        return mistaken(app, StatusCode::UNPROCESSABLE_ENTITY, &mistake);
    }
    let settlement = offline::settle_all(app, given, peer, || {}).await;
    match settlement.rows.as_slice() {
        [] => {
            let mistake = Mistake {
                title: UNREADABLE,
                what: "The batch is empty: it was cut off on the way.",
                next: &["Send the file again as an attachment, and hand it in unchanged.".to_owned()],
                field,
                text: &text,
            };
            mistaken(app, StatusCode::UNPROCESSABLE_ENTITY, &mistake)
        }
        [row] if !settlement.cut_off => single(app, row, wants_file, field, &text).await,
        rows => several(app, rows, settlement.cut_off, wants_file),
    }
}

async fn single(app: &App, row: &Row, wants_file: bool, field: FieldName, text: &str) -> Response {
    let issuer = app.issuer();
    match &row.result {
        Ok(answered) => {
            let refused = answered.refused_receipt().filter(|_| answered.certificate().is_none());
            if let Some(outcome) = refused {
                let words = offline::of_receipt(outcome);
                return show(app, status(words.status()), &results::refused(row.asked.as_ref(), &words));
            }
            if wants_file {
                let text = answered.to_file(row.asked.as_ref(), &issuer.profile().name);
                return attachment(text, &results::file_name(row.asked.as_ref()), FileKind::Response);
            }
            let code = codes::markup(&codes::typed(app, answered).await, answered);
            show(app, StatusCode::OK, &results::answered(row, answered, &code))
        }
        // What can be mended in the form goes back to the form.
        Err(trouble @ (Trouble::Damaged(_) | Trouble::Unreadable(_))) => {
            let words = offline::of_trouble(trouble, true);
            let what = format!("{} {}", words.title, words.what);
            let mistake =
                Mistake { title: UNREADABLE, what: what.trim_end(), next: &words.next, field, text };
            mistaken(app, status(words.status()), &mistake)
        }
        Err(trouble) => {
            let words = offline::of_trouble(trouble, true);
            let mut response =
                show(app, status(words.status()), &results::refused(row.asked.as_ref(), &words));
            if let Some(seconds) = words.wait {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
    }
}

fn several(app: &App, rows: &[Row], cut_off: bool, wants_file: bool) -> Response {
    let issuer = app.issuer();
    let answered = rows.iter().any(|row| row.result.is_ok());
    let status = if answered { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    if !answered {
        return show(app, status, &results::batch(rows, cut_off, None));
    }
    let bundle = offline::bundle(rows, &issuer.profile().name);
    if wants_file {
        return attachment(bundle, "lab.clvbundle", FileKind::Bundle);
    }
    let ticket = app.counter.shelf.put(bundle, app.parts.clock.now(), app.parts.rng.as_ref());
    show(app, status, &results::batch(rows, cut_off, ticket.as_deref()))
}

/// A bundle that waits for its download.
#[utoipa::path(get, path = "/offline/bundle/{ticket}", tag = "portal", params(("ticket" = String, Path, description = "as the page about the batch names it")),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = String, content_type = "text/html")))]
pub(super) async fn bundle(State(app): State<Arc<App>>, Path(ticket): Path<String>) -> Response {
    match app.counter.shelf.get(&ticket, app.parts.clock.now()) {
        Some(text) => attachment(text.to_string(), "lab.clvbundle", FileKind::Bundle),
        None => {
            let issuer = app.issuer();
            let page = results::plain(
                "This bundle is no longer here",
                "It waits for an hour. Hand the same batch in again: it gets the same answers.",
                "../../offline",
            );
            let html = page.render(issuer.profile(), "../../");
            respond(StatusCode::NOT_FOUND, html)
        }
    }
}

/// The form again, with what is wrong about it.
fn mistaken(app: &App, status: StatusCode, mistake: &Mistake<'_>) -> Response {
    // What is longer than a request with everything in it was a batch: it is not sent back to be corrected.
    let text = if mistake.text.len() <= TEXT_AGAIN { mistake.text } else { "" };
    show(app, status, &start::page(app.issuer().profile(), Some(&Mistake { text, ..*mistake })))
}

fn show(app: &App, status: StatusCode, page: &Page) -> Response {
    respond(status, page.render(app.issuer().profile(), ""))
}

fn respond(status: StatusCode, html: String) -> Response {
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    guard::protect(headers);
    response
}

fn attachment(text: String, name: &str, kind: FileKind) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    guard::protect(headers);
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)
}
