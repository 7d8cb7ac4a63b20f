//! What a request does to licenses and seats. No I/O, no clock, no randomness: the same world and the same command give
//! the same decision, on SQLite and on whatever comes later.

use std::collections::HashSet;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, Cpu, EndReason, LicenseKind, MachineFacts, OsInfo, Receipt, ReceiptAck,
    ReceiptOutcome,
};
use claviger_protocol::http::SeatHolder;
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, VendorId};
use claviger_protocol::keys::KeyId;
use claviger_protocol::keys::PublicKey;
use claviger_protocol::serial::Serial;

use super::command::{
    Activate, AnswerClaims, Claimed, ClaimedState, Command, Decision, Free, GivenReceipt, Held, Order,
    Refusal, Shown,
};
use super::model::{Activation, Ended, Event, LicenseId, LicenseState, Replacement};
use super::seats;
use super::world::{Answered, LicenseEntry, World};

/// Device keys that may speak for one machine within a year.
pub const MAX_DEVICE_KEYS: usize = 8;
/// A rolling year.
pub const YEAR: i64 = 365 * DAY;

/// What stays the same for a whole batch.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The vendor.
    pub vendor: &'a VendorId,
    /// The present moment.
    pub now: Timestamp,
}

/// Decides about one request, and changes the world accordingly.
pub fn decide(world: &mut World, command: &Command, context: &Context<'_>) -> Decision {
    if let Some(before) = world.answered(&command.device, command.nonce) {
        return repeat(world, before, command);
    }
    match apply(world, command, context) {
        Ok((outcome, receipts)) => {
            let activation = match &outcome {
                Claimed::Activated(certificate) => Some(certificate.jti),
                Claimed::Refreshed(_) | Claimed::Deactivated | Claimed::Seats(_) | Claimed::Freed { .. } => {
                    None
                }
            };
            // Names of computers are told and not kept: asking again gives what is true then.
            let told = matches!(outcome, Claimed::Seats(_));
            let claims = AnswerClaims {
                kid: command.kid.clone(),
                iat: context.now,
                epoch: world.epoch,
                keyset: command.wants_keyset,
                reissued: reissue(world, command, activation, context),
                outcome,
                receipts,
            };
            if !told && !is_strangers(world, command, &claims) {
                let answered = Answered {
                    hash: command.hash,
                    claims: claims.clone(),
                    activation,
                    ended: false,
                    new: true,
                };
                world.keep_answer(command.device.clone(), command.nonce, answered);
            }
            Decision::Answer(Box::new(claims))
        }
        Err(refusal) => Decision::Refused(refusal),
    }
}

/// Whether an answer tells and changes nothing, for a device key that nobody knows: anyone can ask for as many of these as
/// they like, and the database must not grow by them. Asked again, it is answered again.
fn is_strangers(world: &World, command: &Command, claims: &AnswerClaims) -> bool {
    let nothing = match &claims.outcome {
        Claimed::Activated(_) | Claimed::Seats(_) | Claimed::Freed { .. } => false,
        Claimed::Refreshed(states) => states.iter().all(|s| s.ended == Some(EndReason::Unknown)),
        Claimed::Deactivated => true,
    };
    let no_effect = |r: &ReceiptAck| matches!(r.outcome, ReceiptOutcome::Unknown | ReceiptOutcome::Refused);
    nothing
        && claims.receipts.iter().all(no_effect)
        && claims.reissued.is_empty()
        && !world.knows_device(command.machine_id, &command.device)
}

/// A request that was answered before: the same answer, unless the activation it made is over.
fn repeat(world: &World, before: &Answered, command: &Command) -> Decision {
    if before.hash != command.hash {
        return Decision::Refused(Refusal::NonceReused);
    }
    let ended = before.activation.is_some_and(|id| match world.activation(id) {
        Some(activation) => activation.ended.is_some(),
        None => before.ended,
    });
    if ended {
        return Decision::Refused(Refusal::ActivationGivenUp);
    }
    Decision::Answer(Box::new(before.claims.clone()))
}

fn apply(
    world: &mut World,
    command: &Command,
    context: &Context<'_>,
) -> Result<(Claimed, Vec<ReceiptAck>), Refusal> {
    match &command.order {
        Order::Activate(order) => {
            // The proof comes first: whoever cannot prove the license changes nothing, not even by a receipt.
            let license = proved_license(world, &order.serial, &order.proved_by)?;
            after_receipts(world, command, context, |world| {
                let certificate = activate(world, license, order, command, context)?;
                Ok(Claimed::Activated(Box::new(certificate)))
            })
        }
        Order::Free(order) => {
            let license = proved_license(world, &order.serial, &order.proved_by)?;
            after_receipts(world, command, context, |world| free(world, license, order, command, context))
        }
        Order::Seats(held) => {
            let receipts = take_receipts(world, command, held, context);
            for one in held {
                adopt_if_forgotten(world, one, command, context);
            }
            Ok((Claimed::Seats(seats::tell(world, held, command.machine_id)), receipts))
        }
        Order::Refresh(held) => {
            let receipts = take_receipts(world, command, held, context);
            let states = held.iter().map(|one| refresh(world, one, command, context)).collect();
            if world.knows_device(command.machine_id, &command.device) {
                world.see_device(command.machine_id, &command.device, context.now);
            }
            Ok((Claimed::Refreshed(states), receipts))
        }
        Order::Deactivate => Ok((Claimed::Deactivated, take_receipts(world, command, &[], context))),
    }
}

fn proved_license(world: &World, serial: &Serial, proved_by: &PublicKey) -> Result<LicenseId, Refusal> {
    let id = world.license_of(serial).ok_or(Refusal::ProofRefused)?;
    match world.entry(id) {
        Some(entry) if entry.license.unlock_key == *proved_by => Ok(id),
        _ => Err(Refusal::ProofRefused),
    }
}

/// Takes the receipts that came along, then does what is asked; when that is refused, the receipts did nothing either.
fn after_receipts(
    world: &mut World,
    command: &Command,
    context: &Context<'_>,
    order: impl FnOnce(&mut World) -> Result<Claimed, Refusal>,
) -> Result<(Claimed, Vec<ReceiptAck>), Refusal> {
    let receipted = command.receipts.iter().filter_map(|g| match g {
        GivenReceipt::Signed { receipt, .. } => Some(receipt.activation),
        GivenReceipt::Forged(_) => None,
    });
    let before = (!command.receipts.is_empty()).then(|| world.snapshot(receipted));
    let receipts = take_receipts(world, command, &[], context);
    let done = order(world);
    if let (Err(_), Some(before)) = (&done, before) {
        world.restore(before);
    }
    Ok((done?, receipts))
}

// ---- activating ----

fn activate(
    world: &mut World,
    id: LicenseId,
    order: &Activate,
    command: &Command,
    context: &Context<'_>,
) -> Result<ActivationCertificate, Refusal> {
    let now = context.now;
    let entry = world.entry(id).ok_or(Refusal::ProofRefused)?;
    not_withdrawn(entry)?;
    let trial_begins = entry.license.kind == LicenseKind::Trial && entry.license.trial_end.is_none();
    if let Some(exp) = entry.license.exp()
        && !trial_begins
        && exp <= now
    {
        return Err(Refusal::Expired(exp));
    }
    let machine = order.machine.machine_id;
    if world.device(machine, &command.device).is_none_or(|d| d.last_seen < now.plus(-YEAR))
        && world.live_devices(machine, now.plus(-YEAR)) >= MAX_DEVICE_KEYS
    {
        return Err(Refusal::MachineIdShared);
    }
    let here = entry.live().filter(|a| a.machine_id() == machine).max_by_key(|a| (a.created, a.id));
    let activation = match here.map(|a| a.id) {
        Some(here) => here,
        None if entry.activations.contains_key(&order.fresh_id) => return Err(Refusal::ActivationGivenUp),
        None => {
            let replaced = make_room(entry, order, now)?;
            for old in replaced {
                replace(world, id, old, Some(&order.machine.device_name), now);
            }
            order.fresh_id
        }
    };
    // From here on nothing refuses.
    if trial_begins {
        let days = world.entry(id).and_then(|e| e.license.trial_days).unwrap_or(0);
        world.fix_trial_end(id, now.plus(i64::from(days) * DAY));
    }
    world.see_device(machine, &command.device, now);
    let terms = world.entry(id).map_or(0, |e| e.license.terms());
    if world.activation(activation).is_none() {
        world.add_activation(Activation {
            id: activation,
            license: id,
            machine: order.machine.clone(),
            rev: 1,
            terms,
            created: now,
            last_seen: now,
            adopted: false,
            ended: None,
        });
    } else if let Some(known) = world.change_activation(activation) {
        known.machine = order.machine.clone();
        known.last_seen = now;
        if known.terms != terms {
            known.terms = terms;
            known.rev = known.rev.saturating_add(1);
        }
    }
    certificate_of(world, activation, &command.device, context).ok_or(Refusal::ProofRefused)
}

/// Whether the vendor lets the license be used.
fn not_withdrawn(entry: &LicenseEntry) -> Result<(), Refusal> {
    match entry.license.state {
        LicenseState::Active => Ok(()),
        LicenseState::Suspended => Err(Refusal::Suspended),
        LicenseState::Revoked => Err(Refusal::Revoked),
    }
}

/// Finds the activations that must end so that the machine gets a seat; none when one is free.
fn make_room(entry: &LicenseEntry, order: &Activate, now: Timestamp) -> Result<Vec<ActivationId>, Refusal> {
    let total = entry.license.seats;
    let Some(name) = &order.replace else {
        let seats = usize::try_from(total).unwrap_or(usize::MAX);
        // Machines are no more than activations: a school's ten thousand need not be sorted each time.
        if entry.activations.len() < seats || entry.machines().len() < seats {
            return Ok(Vec::new());
        }
        return Err(Refusal::SeatsTaken { total, holders: holders(entry.live()) });
    };
    let named: Vec<&Activation> = named_machines(|| entry.live(), name);
    let machines: HashSet<MachineId> = named.iter().map(|a| a.machine_id()).collect();
    match machines.len() {
        0 => {
            return Err(Refusal::ReplaceUnknown {
                name: name.clone(),
                total,
                holders: holders(entry.live()),
            });
        }
        1 => {}
        _ => {
            let holders = holders(named.into_iter());
            return Err(Refusal::ReplaceAmbiguous { name: name.clone(), total, holders });
        }
    }
    within_budget(entry, now)?;
    // After a restore or a smaller seat count more machines may hold seats than there are: one replacement must not
    // become one more.
    let after = entry.machines().len() - 1;
    if after >= usize::try_from(total).unwrap_or(usize::MAX) {
        return Err(Refusal::SeatsTaken { total, holders: holders(entry.live()) });
    }
    Ok(named.into_iter().map(|a| a.id).collect())
}

/// Whether the license may lose one more machine that does not give its seat up itself.
fn within_budget(entry: &LicenseEntry, now: Timestamp) -> Result<(), Refusal> {
    let budget = entry.license.replacement_budget;
    let mut used: Vec<Timestamp> =
        entry.replacements.iter().filter(|r| !r.receipted && r.at > now.plus(-YEAR)).map(|r| r.at).collect();
    used.sort_unstable();
    if used.len() >= usize::try_from(budget).unwrap_or(usize::MAX) {
        let next = used.get(used.len() - budget as usize).map_or(now, |at| at.plus(YEAR));
        return Err(Refusal::ReplaceBudgetSpent { budget, next });
    }
    Ok(())
}

/// Those of the live activations that belong to the machine with this id or name: exact spelling first, then without
/// regard to case.
fn named_machines<'a, I: Iterator<Item = &'a Activation>>(
    live: impl Fn() -> I,
    name: &str,
) -> Vec<&'a Activation> {
    let name = name.trim();
    if let Ok(id) = name.to_ascii_lowercase().parse::<MachineId>() {
        let found: Vec<_> = live().filter(|a| a.machine_id() == id).collect();
        if !found.is_empty() {
            return found;
        }
    }
    let exact: Vec<_> = live().filter(|a| a.machine.device_name.as_str() == name).collect();
    if !exact.is_empty() {
        return exact;
    }
    let folded = name.to_lowercase();
    live().filter(|a| a.machine.device_name.as_str().to_lowercase() == folded).collect()
}

// ---- freeing another machine's seat ----

/// Ends what another machine holds, as replacing it would: it counts against the same budget, the machine learns of it at its
/// next contact, and its receipt, should one come after all, takes it off the budget again.
fn free(
    world: &mut World,
    id: LicenseId,
    order: &Free,
    command: &Command,
    context: &Context<'_>,
) -> Result<Claimed, Refusal> {
    let entry = world.entry(id).ok_or(Refusal::ProofRefused)?;
    not_withdrawn(entry)?;
    let others = || entry.live().filter(|a| a.machine_id() != command.machine_id);
    let named = named_machines(others, &order.other);
    let (total, name) = (entry.license.seats, || order.other.clone());
    let mut found = holders(named.iter().copied());
    let freed = match found.len() {
        0 => return Err(Refusal::FreeUnknown { name: name(), total, holders: holders(others()) }),
        1 => found.remove(0),
        _ => return Err(Refusal::FreeAmbiguous { name: name(), total, holders: found }),
    };
    within_budget(entry, context.now)?;
    let old: Vec<ActivationId> = named.iter().map(|a| a.id).collect();
    let by = entry.live().find(|a| a.machine_id() == command.machine_id);
    let by = by.map(|a| a.machine.device_name.clone());
    for old in old {
        replace(world, id, old, by.as_ref(), context.now);
    }
    Ok(Claimed::Freed { machine_id: freed.machine_id, device_name: freed.device_name })
}

fn replace(
    world: &mut World,
    license: LicenseId,
    old: ActivationId,
    by: Option<&DeviceName>,
    now: Timestamp,
) {
    if let Some(activation) = world.change_activation(old) {
        activation.end(now, EndReason::Replaced, by.cloned());
        world.set_replacement(Replacement { license, activation: old, at: now, receipted: false });
    }
}

/// The machines that hold seats, oldest first; a machine with two activations is named once.
#[must_use]
pub fn holders<'a>(activations: impl Iterator<Item = &'a Activation>) -> Vec<SeatHolder> {
    let mut all: Vec<&Activation> = activations.collect();
    all.sort_by_key(|a| (a.created, a.id));
    let mut seen = HashSet::new();
    all.retain(|a| seen.insert(a.machine_id()));
    all.into_iter()
        .map(|a| SeatHolder {
            machine_id: a.machine_id(),
            device_name: a.machine.device_name.clone(),
            since: a.created,
            last_seen: a.last_seen,
        })
        .collect()
}

fn certificate_of(
    world: &World,
    activation: ActivationId,
    device: &KeyId,
    context: &Context<'_>,
) -> Option<ActivationCertificate> {
    let entry = world.entry(world.license_of_activation(activation)?)?;
    let known = entry.activations.get(&activation)?;
    Some(entry.license.certificate(context.vendor, known, device, context.now))
}

// ---- issuing anew ----

/// New certificates for what this device key has activated on this machine, but for `done`, which has one already.
fn reissue(
    world: &mut World,
    command: &Command,
    done: Option<ActivationId>,
    context: &Context<'_>,
) -> Vec<ActivationCertificate> {
    let mut certificates = Vec::new();
    for id in command.reissue.iter().filter(|id| Some(**id) != done) {
        let active = world
            .license_of_activation(*id)
            .and_then(|license| world.entry(license))
            .is_some_and(|entry| entry.license.state == LicenseState::Active);
        let here = |known: &Activation| known.ended.is_none() && known.machine_id() == command.machine_id;
        if !active || !world.activation(*id).is_some_and(here) {
            continue;
        }
        if let Some(known) = world.change_activation(*id) {
            known.rev = known.rev.saturating_add(1);
            known.last_seen = context.now;
        }
        certificates.extend(certificate_of(world, *id, &command.device, context));
    }
    certificates
}

// ---- refreshing ----

/// Takes over a live activation that a restored backup has forgotten, from its genuine certificate; false when the backup
/// lacks the license itself.
fn adopt_if_forgotten(world: &mut World, held: &Held, command: &Command, context: &Context<'_>) -> bool {
    if world.activation(held.id).is_none()
        && let Shown::Genuine(certificate) = &held.shown
        && certificate.machine == command.machine_id
    {
        if world.license_of(&certificate.serial).is_none() {
            tracing::warn!(serial = %certificate.serial, "a genuine certificate of a license that the backup lacks");
            return false;
        }
        adopt(world, certificate, None, context.now);
    }
    true
}

fn refresh(world: &mut World, held: &Held, command: &Command, context: &Context<'_>) -> ClaimedState {
    if !adopt_if_forgotten(world, held, command, context) {
        // The certificate is genuine: it stays good, and the vendor issues the license anew.
        return state(held.id, held.rev);
    }
    let unknown = ClaimedState { ended: Some(EndReason::Unknown), ..state(held.id, held.rev) };
    let Some(license) = world.license_of_activation(held.id) else { return unknown };
    let Some(entry) = world.entry(license) else { return unknown };
    let Some(known) = entry.activations.get(&held.id) else { return unknown };
    if known.machine_id() != command.machine_id {
        return unknown;
    }
    if let Some(Ended { at, reason, by }) = &known.ended {
        let ended =
            ClaimedState { ended: Some(*reason), at: Some(*at), by: by.clone(), ..state(held.id, known.rev) };
        if *reason == EndReason::GivenUp && known.last_seen <= *at {
            flag_given_up(world, license, held.id, context.now);
        }
        return ended;
    }
    let terms = entry.license.terms();
    let (state_of_license, shown_bad) = (entry.license.state, matches!(held.shown, Shown::Outdated));
    // A genuine certificate with a higher revision than ours comes from the time after a backup was made.
    let shown_rev = match &held.shown {
        Shown::Genuine(certificate) if certificate.jti == held.id => certificate.rev,
        Shown::Nothing | Shown::Genuine(_) | Shown::Outdated => 0,
    };
    let outdated = known.terms != terms || shown_rev > known.rev || (shown_bad && held.rev >= known.rev);
    let quiet = context.now.0 - known.last_seen.0 < DAY;
    if (outdated || !quiet)
        && let Some(known) = world.change_activation(held.id)
    {
        known.last_seen = context.now;
        if outdated {
            known.rev = known.rev.max(shown_rev).saturating_add(1);
            known.terms = terms;
        }
    }
    let rev = world.activation(held.id).map_or(held.rev, |a| a.rev);
    let ended = match state_of_license {
        LicenseState::Active => None,
        LicenseState::Suspended => Some(EndReason::Suspended),
        LicenseState::Revoked => Some(EndReason::Revoked),
    };
    if ended.is_some() {
        return ClaimedState { ended, ..state(held.id, rev) };
    }
    let certificate = if held.rev < rev || shown_bad {
        certificate_of(world, held.id, &command.device, context).map(Box::new)
    } else {
        None
    };
    ClaimedState { certificate, ..state(held.id, rev) }
}

/// A machine holds a certificate that it had given up: restored from a backup of its files, or another user's of the same
/// machine. The vendor sees it in the license's history; once, because the activation counts as seen from then on.
fn flag_given_up(world: &mut World, license: LicenseId, activation: ActivationId, now: Timestamp) {
    let Some(known) = world.change_activation(activation) else { return };
    // Later than its end, so that the next contact is not noted again.
    known.last_seen = known.ended.as_ref().map_or(now, |ended| now.max(ended.at.plus(1)));
    let detail = Some(known.machine.device_name.to_string());
    world.note(Event {
        license,
        activation: Some(activation),
        at: now,
        what: "held_after_giving_up",
        detail,
    });
}

fn state(id: ActivationId, rev: u32) -> ClaimedState {
    ClaimedState { id, rev, certificate: None, ended: None, at: None, by: None }
}

/// Takes over an activation that a restored backup has forgotten, from its genuine certificate; even over the seat
/// count, because its seat was taken rightly. What the machine is called is learned when it activates next.
fn adopt(world: &mut World, certificate: &ActivationCertificate, ended: Option<Ended>, now: Timestamp) {
    let Some(license) = world.license_of(&certificate.serial) else { return };
    let Some(entry) = world.entry(license) else { return };
    if entry.license.product != certificate.product {
        return;
    }
    // Names known from another activation on the same machine are better than none.
    let same_machine = entry.activations.values().find(|a| a.machine_id() == certificate.machine);
    let machine = same_machine.map_or_else(|| unnamed(certificate.machine), |a| a.machine.clone());
    if entry.license.kind == LicenseKind::Trial
        && entry.license.trial_end.is_none()
        && let Some(end) = certificate.exp
    {
        world.fix_trial_end(license, end);
    }
    // Terms zero: the next comparison finds it outdated and gives it a certificate by today's terms.
    let over = ended.is_some();
    world.add_activation(Activation {
        id: certificate.jti,
        license,
        machine,
        rev: certificate.rev,
        terms: 0,
        created: certificate.iat,
        last_seen: now,
        adopted: true,
        ended,
    });
    world.see_device(certificate.machine, &certificate.cnf.jkt, now);
    world.note(Event {
        license,
        activation: Some(certificate.jti),
        at: now,
        what: "adopted",
        detail: over.then(|| "already given up".to_owned()),
    });
}

fn unnamed(machine_id: MachineId) -> MachineFacts {
    let hex = machine_id.to_string();
    MachineFacts {
        device_name: DeviceName::lossy(&format!("computer {}", &hex[..8])),
        os: OsInfo { family: "unknown".into(), version: "unknown".into(), arch: "unknown".into() },
        cpu: Cpu { model: "unknown".into(), logical_cores: 0 },
        ram_gib: 0,
        machine_id,
    }
}

// ---- receipts ----

fn take_receipts(
    world: &mut World,
    command: &Command,
    held: &[Held],
    context: &Context<'_>,
) -> Vec<ReceiptAck> {
    command
        .receipts
        .iter()
        .map(|given| match given {
            GivenReceipt::Forged(id) => ReceiptAck { id: *id, outcome: ReceiptOutcome::Refused },
            GivenReceipt::Signed { receipt, by } => {
                ReceiptAck { id: receipt.jti, outcome: take_receipt(world, receipt, by, held, context) }
            }
        })
        .collect()
}

fn take_receipt(
    world: &mut World,
    receipt: &Receipt,
    by: &KeyId,
    held: &[Held],
    context: &Context<'_>,
) -> ReceiptOutcome {
    let Some(known) = world.activation(receipt.activation) else {
        return take_forgotten_receipt(world, receipt, by, held, context);
    };
    let license = known.license;
    let same_serial = world.entry(license).is_some_and(|e| e.license.serial == receipt.serial);
    let shown = shown_certificate(held, receipt.activation).is_some_and(|c| c.cnf.jkt == *by);
    if known.machine_id() != receipt.machine_id
        || !same_serial
        || !(world.knows_device(receipt.machine_id, by) || shown)
    {
        return ReceiptOutcome::Refused;
    }
    if let Some(ended) = &known.ended {
        // A machine that was replaced and gave up after all does not count against the budget.
        if ended.reason == EndReason::Replaced {
            let at = ended.at;
            world.set_replacement(Replacement {
                license,
                activation: receipt.activation,
                at,
                receipted: true,
            });
        }
        return ReceiptOutcome::AlreadyEnded;
    }
    // The machine gives its seat up: all that it holds of this license ends, also what a restore doubled.
    let here: Vec<ActivationId> = world.entry(license).map_or_else(Vec::new, |e| {
        e.live().filter(|a| a.machine_id() == receipt.machine_id).map(|a| a.id).collect()
    });
    for id in here {
        if let Some(activation) = world.change_activation(id) {
            activation.end(context.now, EndReason::GivenUp, None);
        }
    }
    ReceiptOutcome::Accepted
}

/// A receipt for an activation that a restored backup has forgotten: believed with its genuine certificate.
fn take_forgotten_receipt(
    world: &mut World,
    receipt: &Receipt,
    by: &KeyId,
    held: &[Held],
    context: &Context<'_>,
) -> ReceiptOutcome {
    match shown_certificate(held, receipt.activation) {
        Some(certificate)
            if certificate.cnf.jkt == *by
                && certificate.machine == receipt.machine_id
                && certificate.serial == receipt.serial
                && world.license_of(&certificate.serial).is_some() =>
        {
            let ended = Ended { at: context.now, reason: EndReason::GivenUp, by: None };
            adopt(world, certificate, Some(ended), context.now);
            ReceiptOutcome::Accepted
        }
        _ => ReceiptOutcome::Unknown,
    }
}

fn shown_certificate(held: &[Held], id: ActivationId) -> Option<&ActivationCertificate> {
    held.iter().find(|h| h.id == id).and_then(|h| match &h.shown {
        Shown::Genuine(certificate) if certificate.jti == id => Some(certificate.as_ref()),
        Shown::Nothing | Shown::Genuine(_) | Shown::Outdated => None,
    })
}
