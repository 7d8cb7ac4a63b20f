//! A server's refusal, told so that a person knows what to do.

use claviger_protocol::http::{Problem, ProblemCode, Seats};
use claviger_protocol::ipc::CallError;

/// A refusal as the caller gets it.
pub(super) fn refused(problem: Problem) -> CallError {
    let printable = |text: &str| text.chars().filter(|c| !c.is_control()).take(2000).collect::<String>();
    let title = if problem.title.is_empty() { problem.code.title() } else { &problem.title };
    let detail = problem.detail.as_deref().map(str::trim).filter(|d| !d.is_empty()).map(printable);
    // Where the detail only says what to do, what happened is said first.
    let (mut message, advised) = match detail {
        Some(detail) if says_what_to_do(problem.code) => (printable(title), Some(detail)),
        Some(detail) => (detail, None),
        None => (printable(title), None),
    };
    if let Some(seats) = &problem.seats
        && let Some(missing) = unnamed(seats, &message)
    {
        message = format!("{message} In use on: {missing}.");
    }
    CallError::Refused {
        code: problem.code.code().to_owned(),
        message,
        advice: advised.or_else(|| advice(problem.code).map(ToOwned::to_owned)),
        seats: problem.seats,
    }
}

/// Refusals whose particulars are advice; those of the others tell the whole case.
fn says_what_to_do(code: ProblemCode) -> bool {
    matches!(
        code,
        ProblemCode::ProofRefused
            | ProblemCode::LicenseSuspended
            | ProblemCode::LicenseRevoked
            | ProblemCode::LicenseExpired
            | ProblemCode::RateLimited
    )
}

/// The machines that hold the seats, unless the sentence names them all.
fn unnamed(seats: &Seats, message: &str) -> Option<String> {
    // Of computers of one name each has to be named by its id.
    let named = |h: &claviger_protocol::http::SeatHolder| {
        let twins = seats.holders.iter().filter(|other| other.device_name == h.device_name).count() > 1;
        message.contains(h.device_name.as_str()) && (!twins || message.contains(&h.machine_id.to_string()))
    };
    if seats.holders.is_empty() || seats.holders.iter().all(named) {
        return None;
    }
    let names: Vec<String> = seats
        .holders
        .iter()
        .take(50)
        .map(|h| {
            let twins = seats.holders.iter().filter(|other| other.device_name == h.device_name).count() > 1;
            let id = if twins { format!("id {}, ", h.machine_id) } else { String::new() };
            format!("{} ({id}since {})", h.device_name, h.since.date())
        })
        .collect();
    Some(names.join(", "))
}

fn advice(code: ProblemCode) -> Option<&'static str> {
    Some(match code {
        ProblemCode::ProofRefused => "Compare both with your purchase confirmation, then try again.",
        ProblemCode::SeatsTaken => {
            "Run `claviger deactivate SERIAL` on one of those computers. If it is lost or broken, take its seat with \
             `claviger activate SERIAL --replace-machine NAME`."
        }
        ProblemCode::LicenseSuspended | ProblemCode::LicenseRevoked => "Ask the vendor's support.",
        ProblemCode::LicenseExpired => "Renew it with the vendor, then activate again.",
        ProblemCode::ReplaceUnknown | ProblemCode::ReplaceAmbiguous => {
            "Try without `--replace-machine`: the answer names the computers and their ids."
        }
        ProblemCode::ReplaceBudgetSpent => {
            "Deactivate on the other computer instead, or ask the vendor's support to free a seat."
        }
        ProblemCode::MachineIdShared => {
            "This computer was probably cloned from an image: give each clone a machine id of its own \
             (`claviger machine prepare-image`), or ask the vendor's support."
        }
        ProblemCode::RateLimited => "Wait a few minutes, then try again with the right code.",
        ProblemCode::RequestExpired => "Set this computer's clock right, then try again.",
        ProblemCode::WrongVendor => "Ask the vendor for a current vendor profile.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_protocol::clock::Timestamp;
    use claviger_protocol::http::SeatHolder;
    use claviger_protocol::ids::{DeviceName, MachineId};

    #[test]
    fn a_full_license_names_its_machines_and_the_command() {
        let mut problem = Problem::new(ProblemCode::SeatsTaken);
        let holder = |name: &str| SeatHolder {
            machine_id: MachineId([1; 16]),
            device_name: DeviceName::lossy(name),
            since: Timestamp(1_795_305_600),
            last_seen: Timestamp(1_795_305_600),
        };
        problem.seats = Some(Seats { total: 2, holders: vec![holder("Studio"), holder("Laptop")] });
        let error = refused(problem);
        assert_eq!(error.code(), "seats_taken");
        for part in ["Studio (since 2026-11-22)", "Laptop"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(error.advice().unwrap().contains("--replace-machine"));
    }
}
