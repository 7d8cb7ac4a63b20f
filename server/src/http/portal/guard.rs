//! What every page carries in its head, and whose forms are taken.
//!
//! The portal knows no session: no cookie, no password, no address that may do more than another. A request proves
//! itself by its own signatures, so a page of somebody else's that sends a form here gains nothing that its author could
//! not do without the visitor. Forms of other sites are refused all the same: nobody's address shall stand in the log
//! for what another site did.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // Also keeps browsers from telling this page's address in `Origin`.
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=(), browsing-topics=()",
    ),
    ("x-robots-tag", "noindex"),
];

/// Puts the security headers on an answer.
pub(super) fn protect(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a form comes from a page of this server, or from no page at all (a script's `curl`). `server` is the
/// address in the vendor's profile.
///
/// Browsers say `Sec-Fetch-Site` since 2023. Older ones say `Origin`, which a proxy in front may make look different
/// from `Host`: then the profile's address decides. `Origin: null` says nothing, because our own pages send it (they
/// ask for no referrer).
pub(super) fn is_ours(headers: &HeaderMap, server: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin").filter(|origin| *origin != "null") else { return true };
    let authority = |address: &str| {
        let (_, rest) = address.split_once("://")?;
        Some(rest.split('/').next().unwrap_or_default().to_ascii_lowercase())
    };
    let Some(from) = authority(origin) else { return false };
    text("host").is_some_and(|host| host.eq_ignore_ascii_case(&from)) || authority(server) == Some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_other_sites_are_refused() {
        let server = "https://licenses.example.com/";
        let check = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            is_ours(&headers, server)
        };
        assert!(check(&[]));
        assert!(check(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(check(&[("sec-fetch-site", "none")]));
        assert!(!check(&[("sec-fetch-site", "cross-site"), ("origin", "null")]));
        assert!(!check(&[("sec-fetch-site", "same-site")]));
        assert!(check(&[("origin", "null")]));
        assert!(check(&[("origin", "https://licenses.example.com"), ("host", "10.0.0.1:8717")]));
        assert!(check(&[("origin", "http://localhost:8717"), ("host", "LocalHost:8717")]));
        assert!(!check(&[("origin", "https://evil.example"), ("host", "licenses.example.com")]));
        assert!(!check(&[("origin", "evil"), ("host", "evil")]));
    }
}
