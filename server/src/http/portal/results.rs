//! The pages about what became of a request, a receipt or a batch.

use claviger_protocol::documents::{LicenseKind, ReceiptOutcome};
use claviger_protocol::offline::FileKind;
use claviger_protocol::offline::armour::write_file;
use maud::{Markup, html};

use super::page::{Page, name, sentence};
use crate::engine::Claimed;
use crate::offline::{Answered, Asked, Row, Words, of_receipt, of_trouble};

/// Rows of a batch that are shown; the bundle has them all.
const SHOWN: usize = 500;

/// One request that was answered.
pub(super) fn answered(row: &Row, answered: &Answered, code: &Markup) -> Page {
    let asked = row.asked.as_ref();
    let (title, heading, what) = match &answered.settled.claims.outcome {
        Claimed::Activated(certificate) => (
            "The answer is ready",
            "The answer is ready",
            html! {
                bdi { (certificate.name) } " may be used on "
                @if let Some(device) = asked.and_then(|a| a.device_name.as_ref()) { (name(device.as_str())) }
                @else { "that computer" }
                ", once the answer is there."
            },
        ),
        Claimed::Refreshed(_) => (
            "The answer is ready",
            "The answer is ready",
            html! { "It says what became of the licenses on that computer." },
        ),
        Claimed::Seats(_) => (
            "The answer is ready",
            "The answer is ready",
            html! { "It says who holds the seats of the licenses on that computer." },
        ),
        Claimed::Freed { device_name, .. } => (
            "The seat is free",
            "The seat is free",
            html! { (name(device_name.as_str())) " holds it no longer, and learns so when it is online next." },
        ),
        Claimed::Deactivated => {
            let freed =
                answered.settled.claims.receipts.iter().any(|a| a.outcome == ReceiptOutcome::Accepted);
            let heading = if freed { "The seat is free" } else { "The seat was free already" };
            let what = if freed {
                html! { "The license can be used on another computer now." }
            } else {
                html! { "This receipt was handed in before, or the seat was freed another way. Nothing was changed." }
            };
            (heading, heading, what)
        }
    };
    let activated = answered.certificate().is_some();
    let body = html! {
        div .card.good role="status" { h1 { (heading) } p { (what) } (facts(asked, answered)) }
        @if let Some(outcome) = answered.refused_receipt().filter(|_| activated) {
            (told(&of_receipt(outcome), &html! { h2 { "A receipt that came along was not taken" } }))
        }
        @if activated {
            h2 { "Take it to the computer" }
            p { "One of these ways is enough." }
        } @else {
            h2 { "For the computer" }
            p .hint {
                "It may have the answer, too; then it need not ask again. Nothing depends on it."
            }
        }
        div .card {
            h3 { "As a file" }
            p { "Save it, carry it over, and run there:" }
            code .block { "claviger offline import " (file_name(asked)) }
            (again(answered))
        }
        (code)
        p { a href="offline" { "Hand in another request" } }
    };
    Page { title: title.to_owned(), body }
}

/// Asks for the same answer as a file: the same request gets the same bytes, so nothing need be kept for it.
fn again(answered: &Answered) -> Markup {
    let kind = match answered.settled.claims.outcome {
        Claimed::Deactivated => FileKind::Receipt,
        Claimed::Activated(_) | Claimed::Refreshed(_) | Claimed::Seats(_) | Claimed::Freed { .. } => {
            FileKind::Request
        }
    };
    html! {
        div .actions {
            form method="post" action="offline" enctype="multipart/form-data" {
                input type="hidden" name="want" value="file";
                input type="hidden" name="text" value=(write_file(kind, &[], &answered.request));
                button #download .button type="submit" { "Download the answer" }
            }
        }
    }
}

fn facts(asked: Option<&Asked>, answered: &Answered) -> Markup {
    let certificate = answered.certificate();
    html! {
        dl {
            @if let Some(device) = asked.and_then(|a| a.device_name.as_ref()) { dt { "Computer" } dd { (name(device.as_str())) } }
            @if let Some(certificate) = certificate {
                dt { "Product" } dd { bdi { (certificate.name) } }
            }
            @if let Some(serial) = asked.and_then(|a| a.serial.as_ref()) { dt { "License" } dd { code { (serial) } } }
            @if let Some(certificate) = certificate {
                dt { "Valid" }
                dd {
                    @match (certificate.kind, certificate.exp) {
                        (LicenseKind::Perpetual, _) | (_, None) => "for ever",
                        (_, Some(exp)) => { "until " (exp.date()) }
                    }
                }
            }
        }
    }
}

/// The name that the answer's file gets: letters and digits of the computer's name, so that it is the same everywhere.
pub(super) fn file_name(asked: Option<&Asked>) -> String {
    let name = asked.and_then(|a| a.device_name.as_ref()).map_or("", |name| name.as_str());
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let plain = plain.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let plain = plain.get(..40).unwrap_or(&plain).trim_end_matches('-');
    let plain = if plain.is_empty() { "answer" } else { plain };
    format!("{plain}.{}", FileKind::Response.extension())
}

/// One request that got no answer.
pub(super) fn refused(asked: Option<&Asked>, words: &Words) -> Page {
    let body = html! {
        (told(words, &html! { h1 { (words.title) } }))
        @if let Some(asked) = asked {
            @if asked.device_name.is_some() || asked.serial.is_some() {
                h2 { "The request" }
                dl {
                    @if let Some(device) = &asked.device_name { dt { "Computer" } dd { (name(device.as_str())) } }
                    @if let Some(serial) = &asked.serial { dt { "License" } dd { code { (serial) } } }
                }
            }
        }
        p { a .button.second href="offline" { "Back to the form" } }
    };
    Page { title: format!("Refused: {}", words.title), body }
}

fn told(words: &Words, heading: &Markup) -> Markup {
    html! {
        div .card.bad role="alert" {
            (heading)
            @if !words.what.is_empty() { p { (words.what) } }
            @if !words.holders.is_empty() {
                div .scroll {
                    table {
                        caption { "Computers that hold its seats" }
                        thead { tr { th scope="col" { "Computer" } th scope="col" { "Since" } th scope="col" { "Id" } } }
                        tbody {
                            @for holder in words.holders.iter().take(SHOWN) {
                                tr {
                                    td { (name(holder.device_name.as_str())) }
                                    td { (holder.since.date()) }
                                    td { code .small { (holder.machine_id) } }
                                }
                            }
                        }
                    }
                }
            }
            @if !words.next.is_empty() {
                h3 { "What to do" }
                ul { @for step in &words.next { li { (sentence(step)) } } }
            }
        }
    }
}

/// A batch. `ticket` fetches the bundle.
pub(super) fn batch(rows: &[Row], cut_off: bool, ticket: Option<&str>) -> Page {
    let answered = rows.iter().filter(|row| succeeded(row)).count();
    let all = rows.len();
    let title = format!("{answered} of {all} answered");
    let tone = if answered == all {
        "card good"
    } else if answered == 0 {
        "card bad"
    } else {
        "card note"
    };
    let troubles = rows.iter().filter(|row| !succeeded(row));
    let shown: Vec<&Row> =
        troubles.take(SHOWN).chain(rows.iter().filter(|row| succeeded(row)).take(SHOWN)).collect();
    let body = html! {
        div class=(tone) role="status" {
            h1 { (title) }
            @if answered == 0 { p { "What is wrong with each is listed below." } }
            @else if answered < all { p { "What is wrong with the others is listed below; it did not stop these." } }
            @if cut_off { p .wrong { "The end of the batch is missing: it was cut off on the way. What had arrived was answered." } }
            @if let Some(ticket) = ticket {
                p { "One bundle takes all answers back. Copy it to every computer; each takes its own part." }
                div .actions {
                    a #download .button href=(format!("offline/bundle/{ticket}")) download="lab.clvbundle" { "Download the bundle" }
                }
            }
        }
        @if ticket.is_some() {
            p { "On each computer:" }
            code .block { "claviger offline import lab.clvbundle" }
            p .hint { "The bundle waits here for an hour. The same batch gets the same answers at any time." }
        }
        h2 { "One by one" }
        div .scroll {
            // Roles are said again: on a phone the style stacks the cells, and browsers forget what they were.
            table .rows role="table" {
                caption { "What became of each request" @if shown.len() < all { ", the first " (shown.len()) " of " (all) } }
                thead role="rowgroup" {
                    tr role="row" {
                        @for name in ["Computer", "License", "Result"] { th scope="col" role="columnheader" { (name) } }
                    }
                }
                tbody role="rowgroup" { @for row in &shown { (line(row)) } }
            }
        }
        p { a href="offline" { "Hand in another file" } }
    };
    Page { title, body }
}

/// Whether a row needs no care.
pub(super) fn succeeded(row: &Row) -> bool {
    match &row.result {
        Ok(answered) => answered.certificate().is_some() || answered.refused_receipt().is_none(),
        Err(_) => false,
    }
}

fn line(row: &Row) -> Markup {
    let asked = row.asked.as_ref();
    let place = row.place();
    html! {
        tr role="row" {
            td role="cell" {
                @match asked.and_then(|a| a.device_name.as_ref()) {
                    Some(device) => (name(device.as_str())),
                    None => { bdi .quiet { (place) } }
                }
            }
            td role="cell" { @if let Some(serial) = asked.and_then(|a| a.serial.as_ref()) { code { (serial) } } }
            td role="cell" {
                @match &row.result {
                    Ok(answered) => (good(answered)),
                    Err(trouble) => {
                        (bad(&of_trouble(trouble, true)))
                    }
                }
            }
        }
    }
}

fn good(answered: &Answered) -> Markup {
    if let Some(certificate) = answered.certificate() {
        return html! { span .state.yes { "Answered" } " " bdi .quiet { (certificate.name) } };
    }
    match answered.refused_receipt() {
        Some(outcome) => bad(&of_receipt(outcome)),
        None => html! { span .state.yes { "Seat free" } },
    }
}

fn bad(words: &Words) -> Markup {
    html! {
        span .state.no { (words.title) }
        @if !words.what.is_empty() { " " (words.what) }
        @if !words.holders.is_empty() {
            " Held by "
            @for (at, holder) in words.holders.iter().take(5).enumerate() {
                @if at > 0 { ", " }
                (name(holder.device_name.as_str()))
            }
            @if words.holders.len() > 5 { " and " (words.holders.len() - 5) " more" }
            "."
        }
        @if let Some(step) = words.next.first() { " " (sentence(step)) }
    }
}

/// A form that came from another site, a bundle that is gone: a sentence and the way back.
pub(super) fn plain(title: &str, what: &str, back: &str) -> Page {
    let body = html! {
        div .card.bad role="alert" { h1 { (title) } p { (what) } }
        p { a .button.second href=(back) { "Back to the form" } }
    };
    Page { title: title.to_owned(), body }
}
