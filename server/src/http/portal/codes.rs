//! The answer without a file: as a code that is typed or read over the telephone, and as QR codes for a camera.

use claviger_protocol::ids::ProductId;
use claviger_protocol::offline::TypedCode;
use claviger_protocol::offline::packed::answer_parts;
use maud::{Markup, html};

use super::qr;
use crate::http::app::App;
use crate::http::desk;
use crate::offline::Answered;

/// Products of a bundle that get a typed code each.
const MOST_CODES: usize = 24;
/// QR codes that a person may be asked to scan.
const MOST_PARTS: usize = 12;

/// A typed code and what it opens.
pub(super) struct Typed {
    /// The product's name.
    product: String,
    /// Its groups, in their order.
    groups: Vec<String>,
}

/// The typed codes of an answer: one, or for a bundle one a product. None where its terms do not fit.
pub(super) async fn typed(app: &App, answered: &Answered) -> Vec<Typed> {
    let Some(certificate) = answered.certificate() else { return Vec::new() };
    let key = desk::signer(&answered.settled.issuer, &answered.settled.claims);
    let contained: Vec<&ProductId> =
        certificate.opens.iter().filter(|product| **product != certificate.product).collect();
    let products = if contained.is_empty() { vec![&certificate.product] } else { contained };
    // Names are a courtesy: without them the id stands there.
    let names =
        if products.len() > 1 { app.parts.store.products().await.unwrap_or_default() } else { Vec::new() };
    let name_of = |id: &ProductId| {
        if *id == certificate.product {
            return certificate.name.clone();
        }
        names.iter().find(|p| p.id == *id).map_or_else(|| id.to_string(), |p| p.name.clone())
    };
    products
        .into_iter()
        .take(MOST_CODES)
        .filter_map(|product| {
            let code = TypedCode::issue(certificate, product, &answered.request, key).ok()?;
            Some(Typed { product: name_of(product), groups: code.groups() })
        })
        .collect()
}

/// The part of the page with the codes.
pub(super) fn markup(typed: &[Typed], answered: &Answered) -> Markup {
    html! {
        @match typed {
            [] => {}
            [one] => {
                section .card aria-labelledby="typed-title" {
                    h3 #typed-title { "As a code to type or to read out" }
                    (how_to_type())
                    (groups(one))
                }
            }
            many => {
                section .card aria-labelledby="typed-title" {
                    h3 #typed-title { "As codes to type or to read out" }
                    p { "A code opens one product of the bundle; the file opens all of them." }
                    (how_to_type())
                    @for one in many {
                        details { summary { bdi { (one.product) } } (groups(one)) }
                    }
                }
            }
        }
        @if let Some(parts) = parts(answered) { (parts) }
    }
}

fn how_to_type() -> Markup {
    html! {
        p { "On the computer, run this and type the groups in their order. Each is checked by itself; capitals and spaces do not matter." }
        code .block { "claviger offline import --code" }
    }
}

fn groups(typed: &Typed) -> Markup {
    html! {
        ol .typed aria-label=(format!("Code for {}", typed.product)) {
            @for (at, group) in typed.groups.iter().enumerate() {
                li { span .place { (at + 1) } " " code { (group) } }
            }
        }
    }
}

fn parts(answered: &Answered) -> Option<Markup> {
    answered.certificate()?;
    let parts = answer_parts(&answered.settled.answer).ok().filter(|parts| parts.len() <= MOST_PARTS)?;
    let count = parts.len();
    let label = |at: usize| {
        if count == 1 { "QR code of the answer".to_owned() } else { format!("QR code {} of {count}", at + 1) }
    };
    let drawn: Option<Vec<(usize, Markup)>> =
        parts.iter().enumerate().map(|(at, part)| Some((at, qr::svg(part, &label(at))?))).collect();
    let drawn = drawn?;
    Some(html! {
        details .card {
            summary { @if count == 1 { "As a QR code for a scanner" } @else { "As " (count) " QR codes for a scanner" } }
            p { "Scan " @if count == 1 { "it" } @else { "all of them, in any order," } " into a text file on the computer, then: " code { "claviger offline import FILE" } }
            ul .codes {
                @for (at, code) in &drawn {
                    li { figure { (code) figcaption { (label(*at)) } } }
                }
            }
        }
    })
}
