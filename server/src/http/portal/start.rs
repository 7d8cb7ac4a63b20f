//! The first page: what this is, and the form.

use claviger_protocol::documents::VendorProfile;
use maud::{Markup, html};

use super::page::{Page, sentence};

/// What was wrong with a form that comes back.
#[derive(Clone, Copy)]
pub(super) struct Mistake<'a> {
    /// What happened, in a heading.
    pub(super) title: &'a str,
    /// The same in one sentence.
    pub(super) what: &'a str,
    /// What to do about it.
    pub(super) next: &'a [String],
    /// The field that it is about.
    pub(super) field: FieldName,
    /// The text as it was sent, to be corrected.
    pub(super) text: &'a str,
}

/// A field of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldName {
    /// The files.
    File,
    /// The text.
    Text,
}

impl FieldName {
    const fn id(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Text => "text",
        }
    }
}

const TITLE: &str = "Offline activation";

/// The page with an empty form, or with one that comes back.
pub(super) fn page(profile: &VendorProfile, mistake: Option<&Mistake<'_>>) -> Page {
    let body = html! {
        @if let Some(mistake) = mistake { (summary(mistake)) }
        h1 { "Activate a computer that has no network" }
        p {
            "Hand in what the computer wrote, and get the answer that it is waiting for. The same page takes whole labs, "
            "and receipts of computers that gave a license up."
        }
        div #taken .card.note role="status" hidden {
            h2 { "From your phone" }
            p #taken-words {}
        }
        noscript {
            p .hint {
                "Did a QR code bring you here? Then this page needs JavaScript to take the request from the address. "
                "Without it, bring the request as a file or as text."
            }
        }
        (form(mistake))
        (explanation(profile))
    };
    let title = if mistake.is_some() { format!("Error: {TITLE}") } else { TITLE.to_owned() };
    Page { title, body }
}

fn summary(mistake: &Mistake<'_>) -> Markup {
    html! {
        div #mistake .card.bad role="alert" tabindex="-1" autofocus aria-labelledby="mistake-title" {
            h2 #mistake-title { (mistake.title) }
            p { a href=(format!("#{}", mistake.field.id())) { (mistake.what) } }
            @if !mistake.next.is_empty() {
                ul { @for next in mistake.next { li { (sentence(next)) } } }
            }
        }
    }
}

fn form(mistake: Option<&Mistake<'_>>) -> Markup {
    let wrong = |field: FieldName| mistake.filter(|m| m.field == field);
    let described = |field: FieldName| match wrong(field) {
        Some(_) => format!("{0}-hint {0}-wrong", field.id()),
        None => format!("{}-hint", field.id()),
    };
    let (file, text) = (FieldName::File, FieldName::Text);
    html! {
        form #form .card method="post" action="offline" enctype="multipart/form-data" {
            label for="file" { "File from the computer" }
            p #file-hint .hint {
                "A request (" code { ".clvreq" } "), a batch of many (" code { ".clvbatch" } ") or a receipt ("
                code { ".clvreceipt" } "). Choose it, or drop it on the field. Several at once are fine."
            }
            @if let Some(mistake) = wrong(file) { p #file-wrong .wrong { (mistake.what) } }
            input #file type="file" name="file" multiple aria-describedby=(described(file))
                aria-invalid=[wrong(file).map(|_| "true")];
            details #by-hand open[wrong(text).is_some()] {
                summary { "Or paste its text" }
                label for="text" { "Text of the request" }
                p #text-hint .hint {
                    "All of it, as it stands in the file. Line breaks and signs that a mail program added do no harm."
                }
                @if let Some(mistake) = wrong(text) { p #text-wrong .wrong { (mistake.what) } }
                textarea #text name="text" rows="6" autocomplete="off" autocapitalize="off" spellcheck="false"
                    aria-describedby=(described(text)) aria-invalid=[wrong(text).map(|_| "true")] {
                    (mistake.map_or("", |m| m.text))
                }
            }
            div .actions { button #send .button type="submit" { "Get the answer" } }
        }
    }
}

fn explanation(profile: &VendorProfile) -> Markup {
    html! {
        h2 { "How it works" }
        ol {
            li { "On the computer without a network: " code { "claviger offline request SERIAL" } " asks for the unlock code and writes a request." }
            li { "Here: hand the request in. It goes to " bdi { (profile.name) } ", and to nobody else." }
            li { "Back on the computer: " code { "claviger offline import FILE" } ", or type the code that this page shows." }
        }
        h2 { "What a request says" }
        p {
            "The serial number, the computer’s name, operating system, processor, memory and an id that only "
            bdi { (profile.name) } " can use, and proof of the unlock code, but never the code itself. "
            code { "claviger offline request --show" } " prints all of it first."
        }
    }
}
