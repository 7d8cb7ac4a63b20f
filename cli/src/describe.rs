//! A license in words.

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::LicenseKind;
use claviger_protocol::ipc::License;
use claviger_protocol::status::Status;

use crate::text::{calendar, clean, date, days_left, quoted};

/// How long it lasts, in a few words.
#[must_use]
pub(crate) fn term(license: &License, now: Timestamp) -> String {
    let until = |end: Option<Timestamp>| match end {
        Some(end) if end < now => format!("ended {}", date(end)),
        Some(end) => format!("until {} ({})", date(end), days_left(now, end)),
        None => String::new(),
    };
    if matches!(
        license.status,
        Status::GivenUp
            | Status::Replaced
            | Status::Released
            | Status::Transferred
            | Status::Suspended
            | Status::Revoked
    ) {
        return format!("ended {}", date(license.since));
    }
    match license.kind {
        LicenseKind::Perpetual => match license.updates_until {
            Some(last) => format!("for ever, updates until {}", calendar(last)),
            None => "for ever".to_owned(),
        },
        LicenseKind::Trial => format!("trial, {}", until(license.expires)),
        LicenseKind::Subscription => format!("subscription, {}", until(license.expires)),
        // A kind of a later version: its end is all that can be said.
        LicenseKind::Other => until(license.expires),
    }
}

/// The same in a list, where nothing else says who took the seat.
#[must_use]
pub(crate) fn term_in_list(license: &License, now: Timestamp) -> String {
    match &license.ended_by {
        Some(name) => format!("{}, taken over by {}", term(license, now), quoted(name.as_str())),
        None => term(license, now),
    }
}

/// Product and id, as `Solstice (com.example.synth)`.
#[must_use]
pub(crate) fn product(license: &License) -> String {
    named(&license.product_name, license.product.as_str())
}

/// A name and its id.
#[must_use]
pub(crate) fn named(name: &str, id: &str) -> String {
    if name.is_empty() || name == id { id.to_owned() } else { format!("{} ({id})", clean(name)) }
}

/// The status as words, as `not activated`.
#[must_use]
pub(crate) fn status(license: &License) -> String {
    license.status.code().replace('_', " ")
}

/// Everything about a license that a person may want to know.
#[must_use]
pub(crate) fn fields(license: &License, now: Timestamp) -> Vec<(&'static str, String)> {
    let others: Vec<&str> =
        license.opens.iter().filter(|id| **id != license.product).map(|id| id.as_str()).collect();
    let features: Vec<String> = license.entitlements.iter().map(|name| clean(name)).collect();
    vec![
        ("Vendor", named(&license.vendor_name, license.vendor.as_str())),
        ("Serial number", license.serial.to_string()),
        ("Valid", term(license, now)),
        ("Paid through", license.paid_through.map(date).unwrap_or_default()),
        ("Opens", others.join(", ")),
        ("Features", features.join(", ")),
        ("Taken over by", license.ended_by.as_ref().map(|name| clean(name.as_str())).unwrap_or_default()),
    ]
}
