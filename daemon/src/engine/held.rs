//! The activations in the store, as the daemon sees them: held, not to be believed, or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, DocumentError, LicenseKind};
use claviger_protocol::ids::{ActivationId, ProductId};
use claviger_protocol::ipc::License;
use claviger_protocol::jws::Unverified;
use claviger_protocol::serial::Serial;
use claviger_protocol::status::Status;

use super::survey::{Pace, read_again};
use super::{Engine, Vendor, status_of_end};
use crate::highwater;
use crate::platform::FileError;
use crate::state::{Ended, State};
use crate::store::{Files, products_of};

/// Activations that a start looks through before anyone is served: about ten milliseconds.
const MENDED_AT_START: usize = 256;

/// Stands for the serial number of a certificate that nothing can be read of.
const UNREADABLE: &str = "UNREADABLE";

/// An activation whose certificate is good.
pub(super) struct Held {
    pub(super) certificate: ActivationCertificate,
    pub(super) text: String,
    /// Folders that have a copy, good or not.
    pub(super) folders: BTreeSet<ProductId>,
    /// A copy is missing or differs.
    pub(super) incomplete: bool,
}

/// An activation without a good certificate.
pub(super) struct Broken {
    pub(super) id: ActivationId,
    pub(super) folders: BTreeSet<ProductId>,
    pub(super) status: Status,
    /// What it claims to be, if it is readable.
    pub(super) claims: Option<ActivationCertificate>,
}

/// All that a vendor's folders hold.
#[derive(Default)]
pub(super) struct Found {
    pub(super) held: Vec<Held>,
    pub(super) broken: Vec<Broken>,
}

impl Engine {
    /// Reads a vendor's activations, with pauses for others where there are many. One with a receipt beside it is given up
    /// and not among them.
    pub(super) async fn held(&self, vendor: &Vendor) -> Result<Found, FileError> {
        let mut found = Found::default();
        let mut pace = Pace::default();
        for (id, files) in self.store.activations(vendor.id())? {
            pace.step().await;
            if self.is_held(vendor, id, &files)? {
                self.look_at(vendor, id, files.certificates, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Reads one activation of a vendor.
    pub(super) fn held_one(&self, vendor: &Vendor, id: ActivationId) -> Result<Found, FileError> {
        let mut found = Found::default();
        let files = self.store.files_of(vendor.id(), id)?;
        if self.is_held(vendor, id, &files)? {
            self.look_at(vendor, id, files.certificates, &mut found)?;
        }
        Ok(found)
    }

    /// Reads and verifies the copies of one certificate.
    pub(super) fn look_at(
        &self,
        vendor: &Vendor,
        id: ActivationId,
        folders: BTreeSet<ProductId>,
        found: &mut Found,
    ) -> Result<(), FileError> {
        let stamp = self.store.stamp(vendor.id(), id, &folders);
        if self.is_seen(vendor, id, stamp)
            && let Some(product) = folders.first()
            && let Some(text) = self.store.certificate(vendor.id(), product, id)?
            && let Some(certificate) = read_again(&text, id)
            && self.store.stamp(vendor.id(), id, &folders) == stamp
        {
            found.held.push(Held { certificate, text, folders, incomplete: false });
            return Ok(());
        }
        let mut best: Option<(ActivationCertificate, String)> = None;
        let mut differing = false;
        let mut there = false;
        let mut why = Status::Damaged;
        let mut claims = None;
        for product in &folders {
            let Some(text) = self.store.certificate(vendor.id(), product, id)? else { continue };
            there = true;
            if best.as_ref().is_some_and(|(_, known)| *known == text) {
                continue;
            }
            differing |= best.is_some();
            match self.verify_held(vendor, &text) {
                Ok(certificate) if certificate.jti == id => {
                    if best.as_ref().is_none_or(|(known, _)| known.rev < certificate.rev) {
                        best = Some((certificate, text));
                    }
                }
                Ok(_) => differing = true,
                Err(e) => {
                    differing = true;
                    let peeked: Option<ActivationCertificate> =
                        Unverified::parse::<ActivationCertificate>(text.trim())
                            .and_then(|u| u.peek())
                            .ok()
                            .filter(|c: &ActivationCertificate| c.jti == id && c.iss == *vendor.id());
                    if peeked.is_some() {
                        why = broken_status(&e);
                        claims = peeked;
                    }
                }
            }
        }
        match best {
            Some((certificate, text)) => {
                let incomplete = differing || products_of(&certificate).iter().any(|p| !folders.contains(*p));
                if let Some(stamp) = stamp.filter(|_| !incomplete) {
                    self.remember(vendor, stamp, &certificate);
                }
                found.held.push(Held { certificate, text, folders, incomplete });
            }
            // Gone since it was listed.
            None if !there => {}
            None => found.broken.push(Broken { id, folders, status: why, claims }),
        }
        Ok(())
    }

    /// Good under the keyset in force, or under the one that waits.
    fn verify_held(&self, vendor: &Vendor, text: &str) -> Result<ActivationCertificate, DocumentError> {
        let keys = vendor.keys.borrow();
        ActivationCertificate::verify(text, &keys.in_force)
            .or_else(|e| keys.pending.as_ref().map_or(Err(e), |p| ActivationCertificate::verify(text, p)))
    }

    /// Whether a certificate is for this computer.
    pub(super) fn is_ours(&self, certificate: &ActivationCertificate) -> bool {
        self.machine.id_for(&certificate.iss).is_ok_and(|id| id == certificate.machine)
    }

    pub(super) fn status_of(&self, certificate: &ActivationCertificate) -> Status {
        match self.machine.id_for(&certificate.iss) {
            Err(_) => return Status::NoMachineId,
            Ok(id) if id != certificate.machine => return Status::OtherMachine,
            Ok(_) => {}
        }
        let Some(exp) = certificate.exp else { return Status::Licensed };
        let judged = highwater::judge(self.store.clock(), self.now());
        match (judged.moment <= exp, judged.set_back, judged.in_grace) {
            (true, true, true) => Status::LicensedClockSetBack,
            (true, ..) => Status::Licensed,
            (false, true, false) if self.now() <= exp => Status::ClockSetBack,
            (false, ..) => Status::Expired,
        }
    }

    /// A held activation as others see it.
    pub(super) fn license(&self, vendor: &Vendor, held: &Held) -> License {
        let status = self.status_of(&held.certificate);
        License::of(&held.certificate, Some(held.text.clone()), vendor.profile.name.clone(), status)
    }

    pub(super) async fn licenses_of(&self, vendor: &Rc<Vendor>) -> Result<Vec<License>, FileError> {
        let mut found = self.held(vendor).await?;
        let ended = self.state.ended(vendor.id())?;
        // Files that came back while this daemon runs: nobody is told that they are good.
        let back = |held: &Held| {
            let mut same = ended.iter().filter(|e| e.license.activation == held.certificate.jti);
            same.any(|e| !State::resumes(e, &held.certificate))
        };
        if !ended.is_empty()
            && found.held.iter().any(back)
            && let Ok(_turn) = vendor.lock.clone().try_lock_owned()
        {
            self.finish_locally(vendor);
            found = self.held(vendor).await?;
        }
        let mut licenses: Vec<License> = found.held.iter().map(|held| self.license(vendor, held)).collect();
        for broken in &found.broken {
            licenses.extend(match &broken.claims {
                Some(claims) => Some(License::of(claims, None, vendor.profile.name.clone(), broken.status)),
                None => unreadable(vendor, broken),
            });
        }
        let present: BTreeSet<ActivationId> = licenses.iter().map(|l| l.activation).collect();
        let again: BTreeSet<Serial> = found.held.iter().map(|h| h.certificate.serial.clone()).collect();
        // What matters now: how the last activation of a serial number ended, and only while it is not held again.
        let mut last: BTreeMap<Serial, Ended> = BTreeMap::new();
        for ended in ended {
            let License { activation, serial, .. } = &ended.license;
            if present.contains(activation) || again.contains(serial) {
                continue;
            }
            let moment = |e: &Ended| (e.license.since, e.learned, e.revision);
            if last.get(serial).is_none_or(|known| moment(known) < moment(&ended)) {
                last.insert(serial.clone(), ended);
            }
        }
        licenses.extend(last.into_values().map(|ended| ended.license));
        Ok(licenses)
    }

    /// Finishes at the start what a crash left half done: receipts that were signed take effect, activations that ended go,
    /// copies of certificates that are missing or damaged come back. Where there are very many, the copies come back
    /// later, so that nobody waits for the daemon. Nothing is sent.
    pub(super) fn finish_locally(&self, vendor: &Rc<Vendor>) {
        report(self.try_finish_locally(vendor).and_then(|()| {
            let all = self.store.activations(vendor.id())?;
            let few = all.len() <= MENDED_AT_START;
            all.iter().filter(|_| few).try_for_each(|(id, files)| self.mend_copies_of(vendor, *id, files))
        }));
        self.apply_pending(vendor);
    }

    /// The same at any time, with pauses for others.
    pub(super) async fn mend_locally(&self, vendor: &Rc<Vendor>) {
        report(self.try_finish_locally(vendor));
        report(self.mend_copies(vendor).await);
        self.apply_pending(vendor);
    }

    fn try_finish_locally(&self, vendor: &Rc<Vendor>) -> Result<(), FileError> {
        let id = vendor.id();
        let files = self.store.activations(id)?;
        for (receipt, text) in self.state.outbox(id)? {
            if let Some(files) = files.get(&receipt.activation) {
                self.store.write_receipts(id, receipt.activation, &files.certificates, &text)?;
                self.store.remove_certificates(id, receipt.activation, &files.certificates)?;
            }
        }
        // A restored copy of a certificate that was given up: its receipt stands beside it.
        for (activation, files) in &files {
            if !files.certificates.is_empty()
                && let Some(text) = self.store.given_up(id, *activation, files)?
            {
                self.note_restored(vendor, *activation);
                self.store.write_receipts(id, *activation, &files.certificates, &text)?;
                self.store.remove_certificates(id, *activation, &files.certificates)?;
            }
        }
        for ended in self.state.ended(id)? {
            let activation = ended.license.activation;
            let Some(files) = files.get(&activation).filter(|f| !f.certificates.is_empty()) else { continue };
            let mut found = Found::default();
            self.look_at(vendor, activation, files.certificates.clone(), &mut found)?;
            if found.held.iter().any(|held| State::resumes(&ended, &held.certificate)) {
                self.state.forget_ended(id, activation)?;
            } else {
                self.note_restored(vendor, activation);
                self.end_files(vendor, &ended, &files.certificates)?;
            }
        }
        Ok(())
    }

    /// Certificates are there again of an activation whose receipt the server has acknowledged, long after they went: they
    /// were restored.
    fn note_restored(&self, vendor: &Rc<Vendor>, activation: ActivationId) {
        if !self.state.has_kept_receipt(vendor.id(), activation) {
            return;
        }
        tracing::warn!(%activation, "a certificate that was given up came back; it was removed again");
        let mut record = vendor.record.borrow_mut();
        if !record.restored.contains(&activation) {
            record.restored.push(activation);
            drop(record);
            self.store_record(vendor);
        }
    }

    /// The caller holds the vendor's turn.
    async fn mend_copies(&self, vendor: &Rc<Vendor>) -> Result<(), FileError> {
        let mut pace = Pace::default();
        for (id, files) in self.store.activations(vendor.id())? {
            pace.step().await;
            self.mend_copies_of(vendor, id, &files)?;
        }
        Ok(())
    }

    fn mend_copies_of(&self, vendor: &Rc<Vendor>, id: ActivationId, files: &Files) -> Result<(), FileError> {
        let stamp = self.store.stamp(vendor.id(), id, &files.certificates);
        if self.is_seen(vendor, id, stamp) || !self.is_held(vendor, id, files)? {
            return Ok(());
        }
        let mut found = Found::default();
        self.look_at(vendor, id, files.certificates.clone(), &mut found)?;
        for held in found.held.iter().filter(|held| held.incomplete) {
            tracing::warn!(activation = %id, "a copy of a certificate was mended");
            self.store.write_certificate(&held.certificate, &held.text)?;
        }
        Ok(())
    }
}

fn report(finished: Result<(), FileError>) {
    if let Err(e) = finished {
        tracing::error!(error = %e, cause = %e.source, "what was left half done could not be finished yet");
    }
}

/// What a certificate is called that nothing can be read of: its folders alone tell the products.
fn unreadable(vendor: &Vendor, broken: &Broken) -> Option<License> {
    let product = broken.folders.first()?.clone();
    Some(License {
        vendor: vendor.id().clone(),
        vendor_name: vendor.profile.name.clone(),
        serial: Serial::try_from(UNREADABLE.to_owned()).ok()?,
        activation: broken.id,
        revision: 0,
        product_name: product.to_string(),
        product,
        opens: broken.folders.iter().cloned().collect(),
        kind: LicenseKind::Other,
        status: broken.status,
        since: Timestamp(0),
        updates_until: None,
        paid_through: None,
        expires: None,
        entitlements: Vec::new(),
        ended_by: None,
        certificate: None,
    })
}

/// What an ended activation is called.
pub(super) fn ended_license(
    vendor: &Vendor,
    certificate: &ActivationCertificate,
    reason: claviger_protocol::documents::EndReason,
    at: Timestamp,
    by: Option<claviger_protocol::ids::DeviceName>,
) -> License {
    let mut license = License::of(certificate, None, vendor.profile.name.clone(), status_of_end(reason));
    license.since = at;
    license.ended_by = by;
    license
}

fn broken_status(error: &DocumentError) -> Status {
    match error {
        DocumentError::CompromisedKey => Status::KeyCompromised,
        DocumentError::Signature | DocumentError::NotCompact | DocumentError::Json { .. } => Status::Damaged,
        _ => Status::Untrusted,
    }
}
