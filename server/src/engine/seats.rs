//! Who holds the seats of a license and what became of them before, told to a machine that holds one itself. Only what the
//! refusal of an activation tells as well, and only of the license's present owner.

use claviger_protocol::documents::{EndReason, LicenseSeats, SeatChange, SeatEvent};
use claviger_protocol::ids::MachineId;

use super::command::Held;
use super::decide::holders;
use super::model::Activation;
use super::world::{LicenseEntry, World};

/// Events of one license that are told.
pub const MOST_EVENTS: usize = 50;
/// Holders that one answer tells, of all its licenses together; of each at least [`FEWEST_HOLDERS`].
const MOST_HOLDERS: usize = 2_000;
const FEWEST_HOLDERS: usize = 10;

/// The seats of every license of which `machine` holds one of the activations `held`; their proofs were looked at before.
#[must_use]
pub(super) fn tell(world: &World, held: &[Held], machine: MachineId) -> Vec<LicenseSeats> {
    let most = (MOST_HOLDERS / held.len().max(1)).max(FEWEST_HOLDERS);
    held.iter()
        .filter_map(|one| {
            let known = world.activation(one.id)?;
            if known.ended.is_some() || known.machine_id() != machine {
                return None;
            }
            let entry = world.entry(known.license)?;
            let mut holders = holders(entry.live());
            let taken = u32::try_from(holders.len()).unwrap_or(u32::MAX);
            holders.drain(..holders.len().saturating_sub(most));
            Some(LicenseSeats {
                id: one.id,
                total: entry.license.seats,
                taken,
                holders,
                history: history(entry),
            })
        })
        .collect()
}

/// Beginnings and ends of activations, newest first.
fn history(entry: &LicenseEntry) -> Vec<SeatEvent> {
    let event = |a: &Activation, at, what, by| SeatEvent {
        at,
        what,
        machine_id: a.machine_id(),
        device_name: a.machine.device_name.clone(),
        by,
    };
    let ends = entry.past.iter().filter_map(|a| {
        let ended = a.ended.as_ref()?;
        Some(event(a, ended.at, change(ended.reason), ended.by.clone()))
    });
    let begun = entry.live().chain(&entry.past);
    let mut all: Vec<SeatEvent> =
        begun.map(|a| event(a, a.created, SeatChange::Activated, None)).chain(ends).collect();
    // Of one second: a machine gives up what it has activated, and is replaced before another one activates.
    let later = |what| match what {
        SeatChange::Replaced => 0,
        SeatChange::Activated => 1,
        _ => 2,
    };
    all.sort_by_key(|e| (std::cmp::Reverse((e.at, later(e.what))), e.machine_id));
    all.truncate(MOST_EVENTS);
    all
}

fn change(reason: EndReason) -> SeatChange {
    match reason {
        EndReason::GivenUp => SeatChange::GivenUp,
        EndReason::Replaced => SeatChange::Replaced,
        EndReason::Released => SeatChange::Released,
        EndReason::Transferred => SeatChange::Transferred,
        EndReason::Suspended | EndReason::Revoked | EndReason::Unknown | EndReason::Other => {
            SeatChange::Other
        }
    }
}
