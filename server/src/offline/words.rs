//! Every refusal in words: what happened, and what to do about it on a computer without a network. `Commands` stand
//! between backticks.

use claviger_protocol::documents::{DocumentError, ReceiptOutcome};
use claviger_protocol::http::{ProblemCode, SeatHolder};
use claviger_protocol::offline::{Damage, OfflineError};
use claviger_protocol::serial::Serial;

use super::rows::Trouble;
use crate::engine::{Refusal, WriterError};
use crate::http::desk::Declined;

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The stable reason, where there is one.
    pub(crate) problem: Option<ProblemCode>,
    /// What happened, in a line.
    pub(crate) title: String,
    /// What happened here in particular; may be empty.
    pub(crate) what: String,
    /// What to do, one step each.
    pub(crate) next: Vec<String>,
    /// Who holds the seats.
    pub(crate) holders: Vec<SeatHolder>,
    /// Seconds until it is worth another try.
    pub(crate) wait: Option<u32>,
}

impl Words {
    fn new(problem: Option<ProblemCode>, title: &str, what: impl Into<String>, next: &[&str]) -> Self {
        Self {
            problem,
            title: title.to_owned(),
            what: what.into(),
            next: next.iter().map(|&step| step.to_owned()).collect(),
            holders: Vec::new(),
            wait: None,
        }
    }

    fn of(code: ProblemCode, title: &str, what: impl Into<String>, next: &[&str]) -> Self {
        Self::new(Some(code), title, what, next)
    }

    /// All of it in one paragraph, without backticks.
    pub(crate) fn in_one(&self) -> String {
        let sentences =
            [self.title.as_str(), self.what.as_str()].into_iter().chain(self.next.iter().map(String::as_str));
        sentences.filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" ").replace('`', "")
    }

    /// The HTTP status that goes with it.
    pub(crate) fn status(&self) -> u16 {
        self.problem.map_or(422, ProblemCode::http_status)
    }
}

const NEW_REQUEST: &str = "On the computer, make a new request: `claviger offline request SERIAL`.";
const AS_ATTACHMENT: &str =
    "Send the file again as an attachment, or copy it on a USB stick, and hand it in unchanged.";
const SUPPORT: &str = "Ask the vendor’s support.";

/// For a file or a text in which nothing was found.
fn of_unreadable(error: &OfflineError) -> Words {
    let title = "Nothing of Claviger is in it.";
    let (what, next): (&str, &[&str]) = match error {
        OfflineError::TooLarge => {
            ("It is larger than such a file can be.", &["Check that it is the file that the computer wrote."])
        }
        OfflineError::TooMany => {
            ("It has too many parts.", &["Divide the batch, and hand its parts in one after the other."])
        }
        OfflineError::NotText => (
            "It is not a text.",
            &["Choose the file that `claviger offline request` wrote; its name usually ends in .clvreq."],
        ),
        OfflineError::Nothing => (
            "There is no request in it: no line begins with -----BEGIN CLAVIGER.",
            &[
                "Choose the file that `claviger offline request` wrote; its name usually ends in .clvreq.",
                "If a mail program changed it, send it again as an attachment.",
            ],
        ),
        OfflineError::ZipEncrypted => {
            ("It is a zip archive with a password.", &["Unpack it first, and hand in what was in it."])
        }
        OfflineError::ZipDamaged(_) => ("It is a zip archive that did not arrive whole.", &[AS_ATTACHMENT]),
        OfflineError::ZipMethod => (
            "It is a zip archive that is packed in a way this server does not know.",
            &["Unpack it first, and hand in what was in it."],
        ),
        OfflineError::ZipNested => {
            ("It is a zip archive inside too many others.", &["Unpack it first, and hand in what was in it."])
        }
        _ => ("It cannot be read.", &[AS_ATTACHMENT]),
    };
    let code = if matches!(error, OfflineError::TooLarge) {
        ProblemCode::TooLarge
    } else {
        ProblemCode::BadDocument
    };
    Words::of(code, title, what, next)
}

/// For a block that got no answer. `reveal`: whether the reader may learn who holds seats.
pub(crate) fn of_trouble(trouble: &Trouble, reveal: bool) -> Words {
    match trouble {
        Trouble::Unreadable(error) => of_unreadable(error),
        Trouble::Damaged(damage) => of_damage(damage),
        Trouble::AnAnswer => Words::new(
            None,
            "This is an answer, not a request.",
            "It is already what the computer waits for.",
            &["Take it to the computer and run `claviger offline import FILE`."],
        ),
        Trouble::Declined(declined) => of_declined(declined, reveal),
    }
}

fn of_damage(damage: &Damage) -> Words {
    let code = ProblemCode::BadDocument;
    let title = "The request did not arrive whole.";
    match damage {
        Damage::CutOff => Words::of(code, title, "It ends in the middle.", &[AS_ATTACHMENT]),
        Damage::Checksum => Words::of(
            code,
            title,
            "Something in it was changed on the way: its checksum does not match.",
            &[AS_ATTACHMENT],
        ),
        Damage::NoChecksum => Words::of(code, title, "Lines of it are missing.", &[AS_ATTACHMENT]),
        Damage::Character(letter) => Words::of(
            code,
            title,
            format!("It contains “{letter}”, which does not belong there."),
            &[AS_ATTACHMENT],
        ),
        Damage::Version(_) | Damage::Kind(_) => Words::of(
            code,
            "The request was made by a later version of Claviger.",
            "This server does not know its form yet.",
            &["Tell the vendor that its server needs an update; the request stays good meanwhile."],
        ),
        Damage::Archive(error) => of_unreadable(error),
        Damage::PartMissing { part, parts } => Words::of(
            code,
            title,
            format!("Part {part} of {parts} is missing."),
            &["Scan all codes, and hand them in together."],
        ),
        _ => Words::of(code, title, format!("What is wrong: {damage}."), &[AS_ATTACHMENT]),
    }
}

/// For a request that was not settled. `reveal`: whether the reader may learn who holds seats.
pub(crate) fn of_declined(declined: &Declined, reveal: bool) -> Words {
    match declined {
        Declined::Document(error) => of_document(error),
        Declined::Expired(at) => Words::of(
            ProblemCode::RequestExpired,
            "The request is too old.",
            format!("It was good for 30 days, until {} by its computer’s clock.", at.date()),
            &[NEW_REQUEST, "If it is new all the same, that computer’s clock is wrong: set it first."],
        ),
        Declined::Proof => Words::of(
            ProblemCode::ProofRefused,
            "The serial number or the unlock code is not right.",
            "Nothing was changed.",
            &[
                "Compare both with the purchase confirmation.",
                "Then make a new request on the computer: `claviger offline request SERIAL`.",
            ],
        ),
        Declined::Limited(seconds) => Words {
            wait: Some(*seconds),
            ..Words::of(
                ProblemCode::RateLimited,
                "Too many wrong codes: wait before trying again.",
                format!("The unlock code is not right either. Another try is possible in {seconds} seconds."),
                &["Compare serial number and unlock code with the purchase confirmation."],
            )
        },
        Declined::Refused(refusal, serial) => of_refusal(refusal, serial.as_ref(), reveal),
        Declined::Writer(error) => {
            let what = match error {
                WriterError::Store(_) => "The server’s database did not answer. Nothing was changed.",
                WriterError::Busy | WriterError::Stopping => "It is busy or restarting. Nothing was changed.",
            };
            Words {
                wait: Some(10),
                ..Words::of(
                    ProblemCode::Unavailable,
                    "The server cannot answer at the moment.",
                    what,
                    &["Hand the same file in again in a minute: it is not used up."],
                )
            }
        }
        Declined::Internal => Words::of(
            ProblemCode::Internal,
            "Something went wrong on the server.",
            "Nothing was changed; its log says why.",
            &["Hand the same file in again later, or ask the vendor’s support."],
        ),
    }
}

fn of_document(error: &DocumentError) -> Words {
    match error {
        DocumentError::Vendor { found, .. } => Words::of(
            ProblemCode::WrongVendor,
            "The request is meant for another vendor.",
            format!("It is for {found}."),
            &["Hand it in on that vendor’s site."],
        ),
        DocumentError::Signature => Words::of(
            ProblemCode::BadDocument,
            "The request is not genuine.",
            "Its signature does not match: it was changed after the computer signed it.",
            &[NEW_REQUEST],
        ),
        other => Words::of(
            ProblemCode::BadDocument,
            "The request is not acceptable.",
            format!("What is wrong: {other}."),
            &[NEW_REQUEST],
        ),
    }
}

fn of_refusal(refusal: &Refusal, serial: Option<&Serial>, reveal: bool) -> Words {
    let serial = serial.map_or("SERIAL", Serial::as_str);
    let replace = format!(
        "Or take a seat over from a lost computer: `claviger offline request {serial} --replace-machine NAME`."
    );
    let deactivate = "On one of the computers that use it: `claviger deactivate PRODUCT`, or without a network `claviger offline deactivate PRODUCT` and its receipt handed in here.";
    match refusal {
        Refusal::ProofRefused => of_declined(&Declined::Proof, reveal),
        Refusal::NonceReused => Words::of(
            ProblemCode::NonceReused,
            "Another request with this number was answered before.",
            "Nothing was changed.",
            &[NEW_REQUEST],
        ),
        Refusal::ActivationGivenUp => Words::of(
            ProblemCode::ActivationGivenUp,
            "This request was used before, and its activation has ended since.",
            "The same request cannot bring it back.",
            &[&format!(
                "To use the license there again, make a new request: `claviger offline request {serial}`."
            )],
        ),
        Refusal::Suspended => Words::of(
            ProblemCode::LicenseSuspended,
            ProblemCode::LicenseSuspended.title(),
            "Its seats are kept.",
            &[SUPPORT],
        ),
        Refusal::Revoked => {
            Words::of(ProblemCode::LicenseRevoked, ProblemCode::LicenseRevoked.title(), "", &[SUPPORT])
        }
        Refusal::Expired(at) => Words::of(
            ProblemCode::LicenseExpired,
            ProblemCode::LicenseExpired.title(),
            format!("It ended on {}.", at.date()),
            &["Renew it, then hand the same request in again."],
        ),
        Refusal::SeatsTaken { total, holders } => {
            let what = match total {
                0 => "This license has no seats.".to_owned(),
                1 => "It has one seat.".to_owned(),
                total => format!("It has {total} seats."),
            };
            let next: &[&str] = if *total == 0 { &[SUPPORT] } else { &[deactivate, &replace] };
            with(
                holders,
                reveal,
                Words::of(ProblemCode::SeatsTaken, ProblemCode::SeatsTaken.title(), what, next),
            )
        }
        Refusal::ReplaceUnknown { name, holders, .. } | Refusal::FreeUnknown { name, holders, .. } => {
            let what = if holders.is_empty() {
                "All its seats are free.".to_owned()
            } else {
                format!("The request asks for the seat of “{}”.", shown(name))
            };
            let next: &[&str] = if holders.is_empty() {
                &[&format!("Make a request that replaces nothing: `claviger offline request {serial}`.")]
            } else {
                &[&format!("Name one that does: `claviger offline request {serial} --replace-machine NAME`.")]
            };
            with(
                holders,
                reveal,
                Words::of(ProblemCode::ReplaceUnknown, ProblemCode::ReplaceUnknown.title(), what, next),
            )
        }
        Refusal::ReplaceAmbiguous { name, holders, .. } | Refusal::FreeAmbiguous { name, holders, .. } => {
            with(
                holders,
                reveal,
                Words::of(
                    ProblemCode::ReplaceAmbiguous,
                    ProblemCode::ReplaceAmbiguous.title(),
                    format!("{} computers are called “{}”.", holders.len(), shown(name)),
                    &[&format!(
                        "Name one by its id: `claviger offline request {serial} --replace-machine ID`."
                    )],
                ),
            )
        }
        Refusal::ReplaceBudgetSpent { budget, next } => Words::of(
            ProblemCode::ReplaceBudgetSpent,
            ProblemCode::ReplaceBudgetSpent.title(),
            format!(
                "It may replace {budget} lost computers a year; the next one is free on {}.",
                next.date()
            ),
            &[deactivate, "Or ask the vendor’s support to release a seat."],
        ),
        Refusal::MachineIdShared => Words::of(
            ProblemCode::MachineIdShared,
            ProblemCode::MachineIdShared.title(),
            "Computers made from one disk image have the same machine id, and count as one computer.",
            &[
                "Give each its own id: run `claviger machine prepare-image` before the image is copied, or let the operating system make a new machine id on each copy.",
                "Then make new requests on them.",
            ],
        ),
    }
}

/// What became of a receipt that was not taken.
pub(crate) fn of_receipt(outcome: ReceiptOutcome) -> Words {
    match outcome {
        ReceiptOutcome::Refused => Words::of(
            ProblemCode::BadDocument,
            "The receipt is not from the computer that holds the seat.",
            "It is signed by a key that may not speak for that computer. Nothing was changed.",
            &[
                "Make the receipt on the computer itself: `claviger offline deactivate PRODUCT`.",
                "If that computer is lost, take its seat over: `claviger offline request SERIAL --replace-machine NAME`.",
            ],
        ),
        ReceiptOutcome::Unknown => Words::of(
            ProblemCode::NotFound,
            "This server does not know the activation that the receipt gives up.",
            "There is no seat to free. Nothing was changed.",
            &[SUPPORT],
        ),
        ReceiptOutcome::Accepted | ReceiptOutcome::AlreadyEnded | ReceiptOutcome::Other => {
            Words::new(None, "The seat is free.", "", &[])
        }
    }
}

fn with(holders: &[SeatHolder], reveal: bool, words: Words) -> Words {
    if reveal { Words { holders: holders.to_vec(), ..words } } else { words }
}

/// A name that somebody typed into a request, without what nobody sees.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !claviger_protocol::ids::is_unprintable(*c)).collect()
}
