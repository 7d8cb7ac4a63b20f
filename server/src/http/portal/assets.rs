//! The portal's own style and script, compiled in. Nothing is loaded from elsewhere.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::guard;

struct Asset {
    kind: &'static str,
    text: &'static str,
}

const STYLE: Asset = Asset { kind: "text/css; charset=utf-8", text: include_str!("assets/portal.css") };
const SCRIPT: Asset =
    Asset { kind: "text/javascript; charset=utf-8", text: include_str!("assets/portal.js") };
const ICON: Asset = Asset { kind: "image/svg+xml", text: include_str!("assets/icon.svg") };

/// The style sheet.
pub(super) async fn style(headers: HeaderMap) -> Response {
    give(&STYLE, &headers)
}

/// The script that takes a request out of the address.
pub(super) async fn script(headers: HeaderMap) -> Response {
    give(&SCRIPT, &headers)
}

/// The icon.
pub(super) async fn icon(headers: HeaderMap) -> Response {
    give(&ICON, &headers)
}

/// Browsers ask again each time and are told that nothing changed: a new version of the server shows its own style.
fn give(asset: &Asset, asked: &HeaderMap) -> Response {
    let hash = claviger_protocol::keys::Sha256::of(asset.text.as_bytes());
    let tag = format!("\"{hash}\"");
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { asset.text.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    guard::protect(headers);
    response
}
