//! Decisions by themselves: a world in memory, and rules that hold whatever machines do in whatever order.

use std::collections::HashMap;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::documents::{
    ActivationCertificate, Cpu, EndReason, LicenseKind, MachineFacts, OsInfo, Receipt, ReceiptOutcome,
};
use claviger_protocol::ids::{ActivationId, DeviceName, MachineId, Nonce, ReceiptId, VendorId};
use claviger_protocol::keys::{KeyId, PublicKey, Sha256, SigningKey};
use claviger_protocol::serial::Serial;
use proptest::prelude::*;

use super::model::{License, LicenseId, LicenseState};
use super::*;

const NOW: Timestamp = Timestamp(1_795_435_200);
const LICENSE: LicenseId = LicenseId(1);

fn vendor() -> VendorId {
    "com.example".parse().unwrap()
}

fn serial() -> Serial {
    Serial::foreign("SERIAL01").unwrap()
}

fn device(machine: u8, user: u8) -> KeyId {
    PublicKey([machine, user].repeat(16).try_into().unwrap()).id()
}

fn unlock() -> PublicKey {
    SigningKey::from_seed(&[1; 32]).public()
}

fn facts(machine: u8) -> MachineFacts {
    MachineFacts {
        device_name: DeviceName::lossy(&format!("m{machine}")),
        os: OsInfo { family: "linux".into(), version: "12".into(), arch: "x86_64".into() },
        cpu: Cpu { model: "x".into(), logical_cores: 1 },
        ram_gib: 1,
        machine_id: MachineId([machine; 16]),
    }
}

fn world(seats: u32, budget: u32) -> World {
    let mut world = World::default();
    world.epoch = 1;
    world.put_license(License {
        id: LICENSE,
        serial: serial(),
        product: "com.example.synth".parse().unwrap(),
        product_name: "Synth".into(),
        contains: vec![],
        kind: LicenseKind::Perpetual,
        seats,
        unlock_key: unlock(),
        updates_until: None,
        paid_through: None,
        grace_days: 14,
        trial_days: None,
        trial_end: None,
        entitlements: vec![],
        state: LicenseState::Active,
        replacement_budget: budget,
        generation: 0,
        order_id: None,
        created: NOW,
    });
    world
}

/// Draws numbers that were never used before.
#[derive(Default)]
struct Fresh(u128);

impl Fresh {
    fn bytes(&mut self) -> [u8; 16] {
        self.0 += 1;
        self.0.to_be_bytes()
    }

    fn command(&mut self, machine: u8, user: u8, order: Order) -> Command {
        let nonce = Nonce(self.bytes());
        Command {
            device: device(machine, user),
            nonce,
            hash: Sha256::of(&nonce.0),
            machine_id: MachineId([machine; 16]),
            wants_keyset: false,
            kid: device(0, 0),
            receipts: vec![],
            reissue: vec![],
            order,
        }
    }

    fn activate(&mut self, machine: u8, user: u8, replace: Option<u8>) -> Command {
        let fresh_id = ActivationId(self.bytes());
        let order = Activate {
            serial: serial(),
            proved_by: unlock(),
            machine: facts(machine),
            replace: replace.map(|r| format!("m{r}")),
            fresh_id,
        };
        self.command(machine, user, Order::Activate(Box::new(order)))
    }

    fn receipt(&mut self, machine: u8, user: u8, activation: ActivationId) -> GivenReceipt {
        let receipt = Receipt {
            aud: vendor(),
            jti: ReceiptId(self.bytes()),
            iat: NOW,
            activation,
            rev: 1,
            serial: serial(),
            machine_id: MachineId([machine; 16]),
        };
        GivenReceipt::Signed { receipt, by: device(machine, user) }
    }
}

fn run(world: &mut World, command: &Command, now: Timestamp) -> Decision {
    decide(world, command, &Context { vendor: &vendor(), now })
}

fn certificate(decision: Decision) -> Result<ActivationCertificate, Refusal> {
    match decision {
        Decision::Answer(claims) => match claims.outcome {
            Claimed::Activated(certificate) => Ok(*certificate),
            other => panic!("{other:?}"),
        },
        Decision::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn a_key_that_changed_on_the_way_proves_nothing_any_more() {
    let (mut world, mut fresh) = (world(1, 6), Fresh::default());
    let mut command = fresh.activate(1, 1, None);
    let Order::Activate(order) = &mut command.order else { unreachable!() };
    order.proved_by = SigningKey::from_seed(&[2; 32]).public();
    assert_eq!(certificate(run(&mut world, &command, NOW)), Err(Refusal::ProofRefused));
    assert!(world.changes().is_empty());
}

#[test]
fn a_refusal_leaves_nothing_to_write_even_with_receipts() {
    let (mut world, mut fresh) = (world(1, 0), Fresh::default());
    certificate(run(&mut world, &fresh.activate(1, 1, None), NOW)).unwrap();
    let before = format!("{:?}", world.changes());
    let id = world.entry(LICENSE).unwrap().live().next().unwrap().id;
    // The receipt would free the seat, but the replacement that comes with it is refused.
    let mut command = fresh.activate(2, 1, Some(9));
    command.receipts.push(fresh.receipt(1, 1, id));
    assert!(matches!(certificate(run(&mut world, &command, NOW)), Err(Refusal::ReplaceUnknown { .. })));
    assert_eq!(format!("{:?}", world.changes()), before);
    assert_eq!(world.entry(LICENSE).unwrap().live().count(), 1);
}

#[test]
fn a_smaller_seat_count_is_not_widened_by_replacing() {
    let (mut first, mut fresh) = (world(2, 6), Fresh::default());
    for machine in 1..=2 {
        certificate(run(&mut first, &fresh.activate(machine, 1, None), NOW)).unwrap();
    }
    let mut license = first.entry(LICENSE).unwrap().license.clone();
    let all: Vec<_> = first.entry(LICENSE).unwrap().live().cloned().collect();
    license.seats = 1;
    first.put_license(license);
    all.into_iter().for_each(|a| first.put_activation(a));
    let refused = certificate(run(&mut first, &fresh.activate(3, 1, Some(1)), NOW));
    assert!(matches!(refused, Err(Refusal::SeatsTaken { total: 1, .. })));
    // Whoever is there stays.
    certificate(run(&mut first, &fresh.activate(2, 1, None), NOW)).unwrap();
}

#[test]
fn an_offline_answer_brings_new_certificates_for_what_the_same_key_made() {
    let (mut world, mut fresh) = (world(3, 6), Fresh::default());
    let mut other = world.entry(LICENSE).unwrap().license.clone();
    (other.id, other.serial) = (LicenseId(2), Serial::foreign("SERIAL02").unwrap());
    world.put_license(other);
    let mine = certificate(run(&mut world, &fresh.activate(1, 1, None), NOW)).unwrap();
    let theirs = certificate(run(&mut world, &fresh.activate(2, 1, None), NOW)).unwrap();
    let mut command = fresh.activate(1, 1, None);
    if let Order::Activate(order) = &mut command.order {
        order.serial = Serial::foreign("SERIAL02").unwrap();
    }
    // Another machine's, and one that nobody knows, are named too.
    command.reissue = vec![mine.jti, theirs.jti, ActivationId([77; 16])];
    let Decision::Answer(claims) = run(&mut world, &command, NOW) else { panic!() };
    assert_eq!(claims.reissued.len(), 1);
    assert_eq!((claims.reissued[0].jti, claims.reissued[0].rev), (mine.jti, mine.rev + 1));
    let Decision::Answer(again) = run(&mut world, &command, NOW) else { panic!() };
    assert_eq!(again, claims, "the same request, the same answer");
}

#[test]
fn a_certificate_that_was_given_up_is_flagged_once_when_it_comes_back() {
    let (mut world, mut fresh) = (world(1, 6), Fresh::default());
    let held = certificate(run(&mut world, &fresh.activate(1, 1, None), NOW)).unwrap();
    let mut give_up = fresh.command(1, 1, Order::Deactivate);
    give_up.receipts.push(fresh.receipt(1, 1, held.jti));
    run(&mut world, &give_up, NOW.plus(5));
    assert!(world.changes().events.is_empty());
    for day in 1..4 {
        let ask = Order::Refresh(vec![Held { id: held.jti, rev: 1, shown: Shown::Nothing }]);
        let Decision::Answer(claims) = run(&mut world, &fresh.command(1, 1, ask), NOW.plus(day * DAY)) else {
            panic!()
        };
        let Claimed::Refreshed(states) = claims.outcome else { panic!() };
        assert_eq!(states[0].ended, Some(EndReason::GivenUp));
        let flags: Vec<_> = world.changes().events.iter().map(|e| (e.what, e.activation)).collect();
        assert_eq!(flags, [("held_after_giving_up", Some(held.jti))]);
    }
}

#[test]
fn strangers_who_are_told_nothing_leave_nothing_behind() {
    let (mut world, mut fresh) = (world(1, 6), Fresh::default());
    let held = certificate(run(&mut world, &fresh.activate(1, 1, None), NOW)).unwrap();
    let kept = world.changes().answers.len();
    let ask = |ids: &[ActivationId]| {
        Order::Refresh(ids.iter().map(|id| Held { id: *id, rev: 0, shown: Shown::Nothing }).collect())
    };
    let mut forged = fresh.command(9, 1, Order::Deactivate);
    forged.receipts = vec![fresh.receipt(1, 9, held.jti), GivenReceipt::Forged(ReceiptId([5; 16]))];
    let strangers = [
        fresh.command(9, 1, ask(&[])),
        fresh.command(9, 1, ask(&[ActivationId([7; 16]), held.jti])),
        fresh.command(9, 1, Order::Deactivate),
        forged,
    ];
    for command in strangers {
        assert!(matches!(run(&mut world, &command, NOW), Decision::Answer(_)));
        assert_eq!(world.changes().answers.len(), kept);
    }
    // The machine itself, and another user of it, are given the same answer again.
    for user in 1..3 {
        assert!(matches!(
            run(&mut world, &fresh.command(1, user, ask(&[held.jti])), NOW),
            Decision::Answer(_)
        ));
    }
    assert_eq!(world.changes().answers.len(), kept + 2);
}

#[test]
fn an_activation_that_ended_before_a_restore_is_not_brought_back_by_its_request() {
    let (mut world, mut fresh) = (world(1, 6), Fresh::default());
    let command = fresh.activate(1, 1, None);
    certificate(run(&mut world, &command, NOW)).unwrap();
    let id = world.entry(LICENSE).unwrap().live().next().unwrap().id;
    if let Some(activation) = world.change_activation(id) {
        activation.end(NOW, EndReason::GivenUp, None);
    }
    // The answer was forgotten with the backup: the request comes as if for the first time.
    let mut restored = World::default();
    restored.epoch = 2;
    let entry = world.entry(LICENSE).unwrap().clone();
    restored.put_license(entry.license.clone());
    entry.activations.into_values().for_each(|a| restored.put_activation(a));
    assert_eq!(certificate(run(&mut restored, &command, NOW)), Err(Refusal::ActivationGivenUp));
}

#[test]
fn a_compromised_certificate_is_issued_anew_once() {
    let (mut world, mut fresh) = (world(1, 6), Fresh::default());
    let held = certificate(run(&mut world, &fresh.activate(1, 1, None), NOW)).unwrap();
    let ask = |rev, shown| Order::Refresh(vec![Held { id: held.jti, rev, shown }]);
    let state = |decision| match decision {
        Decision::Answer(claims) => match claims.outcome {
            Claimed::Refreshed(mut states) => states.remove(0),
            other => panic!("{other:?}"),
        },
        Decision::Refused(refusal) => panic!("{refusal:?}"),
    };
    let order = ask(1, Shown::Outdated);
    let first = state(run(&mut world, &fresh.command(1, 1, order.clone()), NOW));
    assert_eq!((first.rev, first.certificate.is_some()), (2, true));
    // Another user of the machine still holds the old one.
    let second = state(run(&mut world, &fresh.command(1, 2, order), NOW));
    assert_eq!((second.rev, second.certificate.is_some()), (2, true));
    let third = state(run(&mut world, &fresh.command(1, 1, ask(2, Shown::Nothing)), NOW));
    assert_eq!((third.rev, third.certificate), (2, None));
}

/// What a machine may do.
#[derive(Clone, Debug)]
enum Act {
    Activate { machine: u8, user: u8, replace: Option<u8> },
    GiveUp { machine: u8, by: u8 },
    Free { machine: u8, other: u8 },
    Repeat,
    Wait(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1u8..6, 1u8..3, proptest::option::weighted(0.4, 1u8..6))
            .prop_map(|(machine, user, replace)| Act::Activate { machine, user, replace }),
        2 => (1u8..6, 1u8..6).prop_map(|(machine, by)| Act::GiveUp { machine, by }),
        2 => (1u8..6, 1u8..6).prop_map(|(machine, other)| Act::Free { machine, other }),
        1 => Just(Act::Repeat),
        1 => (0i64..200 * DAY).prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 1..60)
}

proptest! {
    #[test]
    fn seats_budget_and_revisions_hold(seats in 1u32..4, budget in 0u32..3, acts in acts()) {
        let (mut world, mut fresh, mut now) = (world(seats, budget), Fresh::default(), NOW);
        let mut revs: HashMap<ActivationId, u32> = HashMap::new();
        let mut last: Option<(Command, Decision)> = None;
        let mut replaced: Vec<Timestamp> = Vec::new();
        for act in acts {
            match act {
                Act::Wait(seconds) => now = now.plus(seconds),
                Act::Activate { machine, user, replace } => {
                    let had = world.entry(LICENSE).unwrap().machines();
                    let command = fresh.activate(machine, user, replace);
                    let decision = run(&mut world, &command, now);
                    let has = world.entry(LICENSE).unwrap().machines();
                    match certificate(decision.clone()) {
                        Ok(certificate) => {
                            prop_assert!(has.contains(&MachineId([machine; 16])));
                            prop_assert_eq!(certificate.machine, MachineId([machine; 16]));
                            if had.contains(&certificate.machine) {
                                prop_assert_eq!(&had, &has, "the same machine moves nobody");
                            }
                        }
                        Err(_) => prop_assert_eq!(&had, &has, "a refusal changes nothing"),
                    }
                    if had.difference(&has).next().is_some() {
                        replaced.push(now);
                    }
                    last = Some((command, decision));
                }
                Act::GiveUp { machine, by } => {
                    let held = world.entry(LICENSE).unwrap().live()
                        .find(|a| a.machine_id() == MachineId([machine; 16])).map(|a| a.id);
                    let Some(id) = held else { continue };
                    let mut command = fresh.command(by, 1, Order::Deactivate);
                    let GivenReceipt::Signed { mut receipt, .. } = fresh.receipt(machine, 1, id) else {
                        unreachable!()
                    };
                    receipt.machine_id = MachineId([machine; 16]);
                    let knows = world.knows_device(receipt.machine_id, &device(by, 1));
                    command.receipts.push(GivenReceipt::Signed { receipt, by: device(by, 1) });
                    let Decision::Answer(claims) = run(&mut world, &command, now) else { panic!() };
                    let expected =
                        if knows { ReceiptOutcome::Accepted } else { ReceiptOutcome::Refused };
                    prop_assert_eq!(claims.receipts[0].outcome, expected);
                }
                Act::Free { machine, other } => {
                    let had = world.entry(LICENSE).unwrap().machines();
                    let free = Free { serial: serial(), proved_by: unlock(), other: format!("m{other}") };
                    let command = fresh.command(machine, 1, Order::Free(Box::new(free)));
                    let decision = run(&mut world, &command, now);
                    let has = world.entry(LICENSE).unwrap().machines();
                    let gone: Vec<MachineId> = had.difference(&has).copied().collect();
                    match &decision {
                        Decision::Answer(_) => {
                            prop_assert!(machine != other, "nobody frees the own seat");
                            prop_assert_eq!(gone, vec![MachineId([other; 16])]);
                            replaced.push(now);
                        }
                        Decision::Refused(_) => prop_assert_eq!(gone, vec![], "a refusal changes nothing"),
                    }
                    last = Some((command, decision));
                }
                Act::Repeat => {
                    let Some((command, Decision::Answer(before))) = &last else { continue };
                    match run(&mut world, command, now) {
                        Decision::Answer(again) => prop_assert_eq!(before, &again),
                        Decision::Refused(refusal) => prop_assert_eq!(refusal, Refusal::ActivationGivenUp),
                    }
                }
            }
            let entry = world.entry(LICENSE).unwrap();
            prop_assert!(entry.machines().len() <= seats as usize);
            prop_assert_eq!(entry.machines().len(), entry.live().count(), "one activation a machine");
            let in_a_year = replaced.iter().filter(|at| **at > now.plus(-YEAR)).count();
            prop_assert!(in_a_year <= budget as usize);
            for activation in entry.activations.values() {
                let before = revs.insert(activation.id, activation.rev).unwrap_or(0);
                prop_assert!(activation.rev >= before);
                let given_up = activation.ended.as_ref().map(|e| e.reason);
                prop_assert!(matches!(given_up, None | Some(EndReason::GivenUp | EndReason::Replaced)));
            }
        }
    }
}
