//! The writer's refusals in sentences that say what to do next.

use claviger_protocol::http::{Problem, ProblemCode, SeatHolder, Seats};
use claviger_protocol::serial::Serial;

use super::problem::ApiProblem;
use crate::engine::Refusal;

/// The problem body of a refusal.
pub(super) fn problem(refusal: Refusal, serial: Option<&Serial>) -> ApiProblem {
    let serial = serial.map_or("SERIAL", Serial::as_str);
    let problem = match refusal {
        Refusal::ProofRefused => Problem::new(ProblemCode::ProofRefused)
            .detail("Check the serial number and the unlock code against the purchase confirmation."),
        Refusal::NonceReused => Problem::new(ProblemCode::NonceReused)
            .detail("A new request needs a new nonce; a repeated one must be the same bytes."),
        Refusal::ActivationGivenUp => Problem::new(ProblemCode::ActivationGivenUp)
            .detail("Activate again with a new request to use the license here."),
        Refusal::Suspended => {
            Problem::new(ProblemCode::LicenseSuspended).detail("Ask the vendor's support; the seat is kept.")
        }
        Refusal::Revoked => Problem::new(ProblemCode::LicenseRevoked).detail("Ask the vendor's support."),
        Refusal::Expired(at) => Problem::new(ProblemCode::LicenseExpired)
            .detail(format!("It ended on {}. Renew it, then activate again.", at.date())),
        Refusal::SeatsTaken { total, holders } => {
            let detail = seats_taken(serial, total, &holders);
            with_seats(Problem::new(ProblemCode::SeatsTaken).detail(detail), total, holders)
        }
        Refusal::ReplaceUnknown { name, total, holders } => {
            let detail = if holders.is_empty() {
                format!("No computer called “{name}” holds a seat; all seats are free: activate without replacing.")
            } else {
                format!("No computer called “{name}” holds a seat. Those that do: {}.", names(&holders))
            };
            with_seats(Problem::new(ProblemCode::ReplaceUnknown).detail(detail), total, holders)
        }
        Refusal::ReplaceAmbiguous { name, total, holders } => {
            let ids: Vec<String> = holders.iter().map(|h| h.machine_id.to_string()).collect();
            let detail = format!(
                "{} computers are called “{name}”. Name one by its machine id: claviger activate {serial} \
                 --replace-machine {} (or {}).",
                holders.len(),
                ids.first().map_or("ID", String::as_str),
                ids.get(1..).unwrap_or_default().join(", ")
            );
            with_seats(Problem::new(ProblemCode::ReplaceAmbiguous).detail(detail), total, holders)
        }
        Refusal::FreeUnknown { name, total, holders } => {
            let detail = if holders.is_empty() {
                "No other computer holds a seat of this license.".to_owned()
            } else {
                format!("No other computer called “{name}” holds a seat. Those that do: {}.", names(&holders))
            };
            with_seats(Problem::new(ProblemCode::ReplaceUnknown).detail(detail), total, holders)
        }
        Refusal::FreeAmbiguous { name, total, holders } => {
            let ids: Vec<String> = holders.iter().map(|h| h.machine_id.to_string()).collect();
            let detail = format!(
                "{} computers are called “{name}”. Name one by its machine id: {}.",
                holders.len(),
                ids.join(" or ")
            );
            with_seats(Problem::new(ProblemCode::ReplaceAmbiguous).detail(detail), total, holders)
        }
        Refusal::ReplaceBudgetSpent { budget, next } => {
            Problem::new(ProblemCode::ReplaceBudgetSpent).detail(format!(
                "A license may replace {budget} lost computers a year; the next one is free on {}. Deactivate on the \
                 old computer itself, or ask the vendor's support to release its seat.",
                next.date()
            ))
        }
        Refusal::MachineIdShared => Problem::new(ProblemCode::MachineIdShared).detail(
            "Computers made from one disk image share their machine id. Give each its own: run `claviger machine \
             prepare-image` before the image is copied, or let the operating system make a new machine id.",
        ),
    };
    problem.into()
}

fn with_seats(mut problem: Problem, total: u32, holders: Vec<SeatHolder>) -> Problem {
    problem.seats = Some(Seats { total, holders });
    problem
}

fn seats_taken(serial: &str, total: u32, holders: &[SeatHolder]) -> String {
    let Some(first) = holders.first() else {
        return "This license has no seats: ask the vendor's support.".to_owned();
    };
    let seats = if total == 1 { "The only seat is".to_owned() } else { format!("All {total} seats are") };
    // A name that several machines share would be ambiguous: then the id.
    let unique = holders.iter().filter(|h| h.device_name == first.device_name).count() == 1;
    let target = if unique { quoted(first.device_name.as_str()) } else { first.machine_id.to_string() };
    format!(
        "{seats} in use by {}. Run `claviger deactivate` on one of them, or take a seat over with: claviger activate \
         {serial} --replace-machine {target}",
        names(holders)
    )
}

fn names(holders: &[SeatHolder]) -> String {
    const SHOWN: usize = 10;
    let mut text = holders
        .iter()
        .take(SHOWN)
        .map(|h| format!("“{}” (since {})", h.device_name, h.since.date()))
        .collect::<Vec<_>>()
        .join(", ");
    if holders.len() > SHOWN {
        text.push_str(&format!(" and {} more", holders.len() - SHOWN));
    }
    text
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_the_shell() {
        assert_eq!(quoted("studio-2"), "studio-2");
        assert_eq!(quoted("Bob's Mac"), r"'Bob'\''s Mac'");
    }
}
