//! The part of the database that one batch of requests touches, in memory. Storage loads it, [`super::decide()`]
//! changes it, storage writes back what is marked as changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::ids::{ActivationId, MachineId, Nonce};
use claviger_protocol::keys::{KeyId, Sha256};
use claviger_protocol::serial::Serial;

use super::command::{AnswerClaims, Command, GivenReceipt, Order};
use super::decide::YEAR;
use super::model::{Activation, Device, Event, License, LicenseId, Replacement};

/// What a batch of requests needs to know.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Licenses by serial number.
    pub serials: BTreeSet<Serial>,
    /// Activations, with their licenses.
    pub activations: BTreeSet<ActivationId>,
    /// Machines, for their device keys.
    pub machines: BTreeSet<MachineId>,
    /// Requests that may have been answered before.
    pub requests: BTreeSet<(KeyId, Nonce)>,
    /// Whether replacements are needed, and since when they count.
    pub replacements_since: Option<Timestamp>,
    /// Activations of whose licenses the past is told.
    pub histories: BTreeSet<ActivationId>,
}

impl Touched {
    /// Adds what `command`, decided at `now`, needs.
    pub fn add(&mut self, command: &Command, now: Timestamp) {
        self.machines.insert(command.machine_id);
        self.requests.insert((command.device.clone(), command.nonce));
        self.activations.extend(&command.reissue);
        for given in &command.receipts {
            if let GivenReceipt::Signed { receipt, .. } = given {
                self.activations.insert(receipt.activation);
                self.machines.insert(receipt.machine_id);
            }
        }
        if !command.receipts.is_empty() {
            self.replacements_since = Some(now.plus(-YEAR));
        }
        match &command.order {
            Order::Activate(order) => {
                if order.replace.is_some() {
                    self.replacements_since = Some(now.plus(-YEAR));
                }
                self.serials.insert(order.serial.clone());
                // It may have been, and ended: before a restore, when its answer is forgotten.
                self.activations.insert(order.fresh_id);
            }
            Order::Free(order) => {
                self.replacements_since = Some(now.plus(-YEAR));
                self.serials.insert(order.serial.clone());
            }
            Order::Seats(held) => {
                self.activations.extend(held.iter().map(|one| one.id));
                self.histories.extend(held.iter().map(|one| one.id));
                self.serials.extend(held.iter().filter_map(|one| match &one.shown {
                    super::command::Shown::Genuine(certificate) => Some(certificate.serial.clone()),
                    _ => None,
                }));
            }
            Order::Refresh(held) => {
                for one in held {
                    self.activations.insert(one.id);
                    if let super::command::Shown::Genuine(certificate) = &one.shown {
                        self.serials.insert(certificate.serial.clone());
                    }
                }
            }
            Order::Deactivate => {}
        }
    }
}

/// A request that was answered before.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The hash of its bytes.
    pub hash: Sha256,
    /// What was answered.
    pub claims: AnswerClaims,
    /// The activation that it made or confirmed.
    pub activation: Option<ActivationId>,
    /// Whether that activation is over.
    pub ended: bool,
    /// Whether it is to be written.
    pub new: bool,
}

/// A license with its activations.
#[derive(Clone, Debug)]
pub struct LicenseEntry {
    /// The license.
    pub license: License,
    /// All live activations, and ended ones that the batch names.
    pub activations: BTreeMap<ActivationId, Activation>,
    /// Replacements of the past year.
    pub replacements: Vec<Replacement>,
    /// Activations of its present owner that ended, the latest of them, where the batch tells the past.
    pub past: Vec<Activation>,
}

impl LicenseEntry {
    /// Live activations, oldest first.
    pub fn live(&self) -> impl Iterator<Item = &Activation> {
        self.activations.values().filter(|a| a.ended.is_none())
    }

    /// Machines that hold a seat. After a restore one machine may have two activations; it takes one seat.
    #[must_use]
    pub fn machines(&self) -> HashSet<MachineId> {
        self.live().map(Activation::machine_id).collect()
    }
}

/// What a batch works on.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The server's epoch.
    pub epoch: u64,
    licenses: HashMap<LicenseId, LicenseEntry>,
    by_serial: HashMap<Serial, LicenseId>,
    by_activation: HashMap<ActivationId, LicenseId>,
    devices: HashMap<MachineId, Vec<Device>>,
    answered: HashMap<(KeyId, Nonce), Answered>,
    changes: Changes,
}

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Licenses whose trial end was fixed.
    pub licenses: BTreeSet<LicenseId>,
    /// Activations, new ones and changed ones.
    pub activations: BTreeSet<(LicenseId, ActivationId)>,
    /// Device keys.
    pub devices: BTreeSet<(MachineId, KeyId)>,
    /// Answers.
    pub answers: Vec<(KeyId, Nonce)>,
    /// Replacements.
    pub replacements: BTreeSet<(LicenseId, ActivationId)>,
    /// History.
    pub events: Vec<Event>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.licenses.is_empty()
            && self.activations.is_empty()
            && self.devices.is_empty()
            && self.answers.is_empty()
            && self.replacements.is_empty()
            && self.events.is_empty()
    }
}

/// A copy of some licenses, to go back to when an order is refused after its receipts were applied.
pub struct Snapshot {
    licenses: Vec<(LicenseId, LicenseEntry)>,
    changes: Changes,
}

impl World {
    // ---- filling, by storage ----

    /// Puts a license in.
    pub fn put_license(&mut self, license: License) {
        self.by_serial.insert(license.serial.clone(), license.id);
        self.licenses.insert(
            license.id,
            LicenseEntry {
                license,
                activations: BTreeMap::new(),
                replacements: Vec::new(),
                past: Vec::new(),
            },
        );
    }

    /// Puts an activation in; its license must be in already.
    pub fn put_activation(&mut self, activation: Activation) {
        if let Some(entry) = self.licenses.get_mut(&activation.license) {
            self.by_activation.insert(activation.id, activation.license);
            entry.activations.insert(activation.id, activation);
        }
    }

    /// Puts a replacement in; its license must be in already.
    pub fn put_replacement(&mut self, replacement: Replacement) {
        if let Some(entry) = self.licenses.get_mut(&replacement.license) {
            entry.replacements.push(replacement);
        }
    }

    /// Puts an activation that ended in, for the past alone; its license must be in already.
    pub fn put_past(&mut self, activation: Activation) {
        if let Some(entry) = self.licenses.get_mut(&activation.license) {
            entry.past.push(activation);
        }
    }

    /// Puts a device key in.
    pub fn put_device(&mut self, device: Device) {
        self.devices.entry(device.machine).or_default().push(device);
    }

    /// Puts an answered request in.
    pub fn put_answered(&mut self, device: KeyId, nonce: Nonce, answered: Answered) {
        self.answered.insert((device, nonce), answered);
    }

    // ---- asking ----

    /// The license of a serial number.
    #[must_use]
    pub fn license_of(&self, serial: &Serial) -> Option<LicenseId> {
        self.by_serial.get(serial).copied()
    }

    /// The license of an activation.
    #[must_use]
    pub fn license_of_activation(&self, id: ActivationId) -> Option<LicenseId> {
        self.by_activation.get(&id).copied()
    }

    /// A license with its activations.
    #[must_use]
    pub fn entry(&self, id: LicenseId) -> Option<&LicenseEntry> {
        self.licenses.get(&id)
    }

    /// An activation.
    #[must_use]
    pub fn activation(&self, id: ActivationId) -> Option<&Activation> {
        self.entry(self.license_of_activation(id)?)?.activations.get(&id)
    }

    /// A request that was answered before.
    #[must_use]
    pub fn answered(&self, device: &KeyId, nonce: Nonce) -> Option<&Answered> {
        self.answered.get(&(device.clone(), nonce))
    }

    /// Whether a device key has spoken for a machine.
    #[must_use]
    pub fn knows_device(&self, machine: MachineId, jkt: &KeyId) -> bool {
        self.device(machine, jkt).is_some()
    }

    /// A device key of a machine.
    #[must_use]
    pub fn device(&self, machine: MachineId, jkt: &KeyId) -> Option<&Device> {
        self.devices.get(&machine)?.iter().find(|d| d.jkt == *jkt)
    }

    /// How many device keys have spoken for a machine since `since`.
    #[must_use]
    pub fn live_devices(&self, machine: MachineId, since: Timestamp) -> usize {
        self.devices.get(&machine).map_or(0, |all| all.iter().filter(|d| d.last_seen >= since).count())
    }

    /// What is to be written.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    // ---- changing ----

    /// An activation, to be changed and written.
    pub fn change_activation(&mut self, id: ActivationId) -> Option<&mut Activation> {
        let license = self.license_of_activation(id)?;
        let activation = self.licenses.get_mut(&license)?.activations.get_mut(&id)?;
        self.changes.activations.insert((license, id));
        Some(activation)
    }

    /// Adds a new activation.
    pub fn add_activation(&mut self, activation: Activation) {
        self.changes.activations.insert((activation.license, activation.id));
        self.put_activation(activation);
    }

    /// Fixes a trial's end.
    pub fn fix_trial_end(&mut self, license: LicenseId, end: Timestamp) {
        if let Some(entry) = self.licenses.get_mut(&license) {
            entry.license.trial_end = Some(end);
            self.changes.licenses.insert(license);
        }
    }

    /// Notes that a device key spoke for a machine. Written once a day, not with each request.
    pub fn see_device(&mut self, machine: MachineId, jkt: &KeyId, now: Timestamp) {
        let all = self.devices.entry(machine).or_default();
        match all.iter_mut().find(|d| d.jkt == *jkt) {
            Some(device) if now.0 - device.last_seen.0 < DAY => return,
            Some(device) => device.last_seen = now,
            None => all.push(Device { machine, jkt: jkt.clone(), first_seen: now, last_seen: now }),
        }
        self.changes.devices.insert((machine, jkt.clone()));
    }

    /// Notes a replacement, or that its receipt came.
    pub fn set_replacement(&mut self, replacement: Replacement) {
        let key = (replacement.license, replacement.activation);
        if let Some(entry) = self.licenses.get_mut(&replacement.license) {
            entry.replacements.retain(|r| r.activation != replacement.activation);
            entry.replacements.push(replacement);
            self.changes.replacements.insert(key);
        }
    }

    /// Keeps an answer for repeated requests.
    pub fn keep_answer(&mut self, device: KeyId, nonce: Nonce, answered: Answered) {
        self.changes.answers.push((device.clone(), nonce));
        self.answered.insert((device, nonce), answered);
    }

    /// Adds to a license's history.
    pub fn note(&mut self, event: Event) {
        self.changes.events.push(event);
    }

    /// Copies the licenses of these activations, before receipts are applied to them.
    #[must_use]
    pub fn snapshot(&self, activations: impl Iterator<Item = ActivationId>) -> Snapshot {
        let ids: BTreeSet<LicenseId> = activations.filter_map(|a| self.license_of_activation(a)).collect();
        let licenses = ids.into_iter().filter_map(|id| Some((id, self.licenses.get(&id)?.clone()))).collect();
        Snapshot { licenses, changes: self.changes.clone() }
    }

    /// Goes back to a copy.
    pub fn restore(&mut self, snapshot: Snapshot) {
        self.licenses.extend(snapshot.licenses);
        self.changes = snapshot.changes;
    }
}
