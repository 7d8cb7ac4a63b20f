//! What is known of a vendor's certificates from the last time that they were verified: files that have not been changed
//! since need not be verified again. And the pace at which many files are looked at, so that nobody waits for all.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, LicenseKind};
use claviger_protocol::ids::ActivationId;
use claviger_protocol::jws::Unverified;

use super::held::Found;
use super::{Engine, Keys, Vendor};
use crate::platform::FileError;
use crate::store::Files;

/// Activations that are looked at in one go: about three milliseconds, where each is verified.
const IN_ONE_GO: usize = 48;

/// Lets others have their turn now and then.
#[derive(Default)]
pub(super) struct Pace(usize);

impl Pace {
    pub(super) async fn step(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(IN_ONE_GO) {
            tokio::task::yield_now().await;
        }
    }
}

/// What the daemon need not find out again about the activations of a vendor.
#[derive(Default)]
pub(super) struct Survey {
    /// The keysets that it was found out with.
    keys: (u32, Option<u32>),
    seen: HashMap<ActivationId, Seen>,
}

/// An activation with the same good certificate wherever there has to be one.
#[derive(Clone, Copy)]
struct Seen {
    stamp: u64,
    deadline: Option<Deadline>,
}

/// When the vendor's server has to be asked about a subscription.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    pub(super) activation: ActivationId,
    pub(super) paid_through: Option<Timestamp>,
    pub(super) exp: Timestamp,
}

impl Survey {
    fn find(&self, keys: &Keys, id: ActivationId, stamp: Option<u64>) -> Option<Seen> {
        let seen = self.seen.get(&id).filter(|_| self.keys == numbers(keys))?;
        (Some(seen.stamp) == stamp).then_some(*seen)
    }
}

fn numbers(keys: &Keys) -> (u32, Option<u32>) {
    (keys.in_force.number, keys.pending.as_ref().map(|p| p.number))
}

impl Engine {
    /// Whether an activation's files are as they were when its certificate was found to be good in every copy.
    pub(super) fn is_seen(&self, vendor: &Vendor, id: ActivationId, stamp: Option<u64>) -> bool {
        vendor.survey.borrow().find(&vendor.keys.borrow(), id, stamp).is_some()
    }

    /// Remembers that a certificate is good in every copy.
    pub(super) fn remember(&self, vendor: &Vendor, stamp: u64, certificate: &ActivationCertificate) {
        let mut survey = vendor.survey.borrow_mut();
        let keys = numbers(&vendor.keys.borrow());
        if survey.keys != keys {
            *survey = Survey { keys, seen: HashMap::new() };
        }
        let deadline = self.deadline_of(certificate);
        survey.seen.insert(certificate.jti, Seen { stamp, deadline });
    }

    /// Trials end when they end, and perpetual licenses do not: neither has a deadline.
    fn deadline_of(&self, certificate: &ActivationCertificate) -> Option<Deadline> {
        let exp = certificate.exp.filter(|_| certificate.kind == LicenseKind::Subscription)?;
        let activation = certificate.jti;
        let paid_through = certificate.paid_through;
        self.is_ours(certificate).then_some(Deadline { activation, paid_through, exp })
    }

    /// When to ask about the subscriptions held here. Where nothing was changed, this reads no file.
    pub(super) async fn deadlines(&self, vendor: &Rc<Vendor>) -> Result<Vec<Deadline>, FileError> {
        let all = self.store.activations(vendor.id())?;
        let mut pace = Pace::default();
        let mut deadlines = Vec::new();
        for (id, files) in &all {
            pace.step().await;
            if !self.is_held(vendor, *id, files)? {
                continue;
            }
            let stamp = self.store.stamp(vendor.id(), *id, &files.certificates);
            let seen = vendor.survey.borrow().find(&vendor.keys.borrow(), *id, stamp);
            if let Some(seen) = seen {
                deadlines.extend(seen.deadline);
                continue;
            }
            let mut found = Found::default();
            self.look_at(vendor, *id, files.certificates.clone(), &mut found)?;
            deadlines.extend(found.held.iter().filter_map(|held| self.deadline_of(&held.certificate)));
        }
        let mut survey = vendor.survey.borrow_mut();
        if survey.seen.len() > all.len() {
            survey.seen.retain(|id, _| all.contains_key(id));
        }
        Ok(deadlines)
    }

    /// Whether the activation of these files is held here: it has a certificate, and no receipt beside it.
    pub(super) fn is_held(
        &self,
        vendor: &Vendor,
        id: ActivationId,
        files: &Files,
    ) -> Result<bool, FileError> {
        Ok(!files.certificates.is_empty() && self.store.given_up(vendor.id(), id, files)?.is_none())
    }

    /// How many activations are held here, good ones and damaged ones.
    pub(super) fn count_held(&self, vendor: &Vendor) -> Result<usize, FileError> {
        let all: BTreeMap<ActivationId, Files> = self.store.activations(vendor.id())?;
        let mut count = 0;
        for (id, files) in &all {
            count += usize::from(self.is_held(vendor, *id, files)?);
        }
        Ok(count)
    }
}

/// Reads a certificate that was verified before and has not been changed since.
pub(super) fn read_again(text: &str, id: ActivationId) -> Option<ActivationCertificate> {
    let read = Unverified::parse::<ActivationCertificate>(text.trim()).and_then(|u| u.peek());
    read.ok().filter(|certificate: &ActivationCertificate| certificate.jti == id)
}
