//! Giving up: the signed receipt is stored first, then it stands beside every copy of the certificate, then the
//! copies go, then the server gets it. No crash in between loses the seat or leaves a new process licensed.

use std::collections::BTreeSet;
use std::rc::Rc;

use claviger_protocol::documents::{ActivationCertificate, EndReason, Order, Receipt};
use claviger_protocol::http::ProblemCode;
use claviger_protocol::ids::{ActivationId, ProductId, ReceiptId};
use claviger_protocol::ipc::{CallError, DeactivateReply, License};
use claviger_protocol::jws::{self, KeyInHeader};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::layout::EndedNote;
use claviger_protocol::naming::{self, Match};
use claviger_protocol::serial::Serial;

use super::exchange::Exchanged;
use super::held::{Held, ended_license};
use super::refusal::refused;
use super::{Engine, Vendor, no_key, no_machine_id, no_random};
use crate::egress::Envelope;
use crate::fault;
use crate::platform::FileError;
use crate::state::Ended;
use crate::store::products_of;

/// What a target turned out to be.
pub(super) struct Target {
    pub(super) vendor: Rc<Vendor>,
    pub(super) certificate: ActivationCertificate,
    pub(super) folders: BTreeSet<ProductId>,
}

impl Engine {
    /// Gives an activation up, with or without a network.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn deactivate(self: &Rc<Self>, target: &str) -> Result<DeactivateReply, CallError> {
        self.refuse_when_closing()?;
        let vendor = self.find(target).await?.vendor;
        let (vendor, turn) = self.turn(&vendor).await?;
        self.refuse_when_closing()?;
        // While this waited for its turn, the activation may have gone.
        let target = self.find(target).await?;
        if *target.vendor.id() != *vendor.id() {
            return Err(CallError::NotFound {
                message: "What was to be given up has gone meanwhile.".to_owned(),
                advice: Some("`claviger license list` shows what is there.".to_owned()),
                choices: Vec::new(),
            });
        }
        let engine = self.clone();
        let work = tokio::task::spawn_local(async move {
            let _busy = engine.busy();
            let result = engine.deactivate_in_turn(target).await;
            drop(turn);
            engine.announce();
            result
        });
        work.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a deactivation ended unexpectedly");
            Err(CallError::Internal {
                message: "The deactivation ended unexpectedly.".to_owned(),
                advice: None,
            })
        })
    }

    async fn deactivate_in_turn(self: &Rc<Self>, target: Target) -> Result<DeactivateReply, CallError> {
        self.observe_clock();
        let Target { vendor, certificate, folders } = target;
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        if certificate.cnf.jkt != *key.id() && vendor.record.borrow().last_contact.is_none() {
            // A new device key that the server has never seen could not speak for this activation: introduce it.
            if let Err(e) = self.refresh_in_turn(&vendor, true).await {
                tracing::warn!(code = e.code(), "the new device key could not be introduced");
            }
        }
        let license = self.give_up_signed(&vendor, &key, &certificate, &folders)?;
        let delivered = match self.deliver(&vendor).await {
            Ok(()) => !self.is_waiting(&vendor, certificate.jti),
            Err(e) => {
                tracing::info!(code = e.code(), "the receipt is delivered later");
                self.note_failure(&vendor, None);
                false
            }
        };
        Ok(DeactivateReply { license, delivered })
    }

    /// Signs a receipt and lets it take effect here; nothing is sent.
    pub(super) fn give_up_signed(
        &self,
        vendor: &Vendor,
        key: &SigningKey,
        certificate: &ActivationCertificate,
        folders: &BTreeSet<ProductId>,
    ) -> Result<License, CallError> {
        let receipt = Receipt {
            aud: vendor.id().clone(),
            jti: ReceiptId::random(&*self.rng).map_err(|_| no_random())?,
            iat: self.now(),
            activation: certificate.jti,
            rev: certificate.rev,
            serial: certificate.serial.clone(),
            machine_id: certificate.machine,
        };
        let text = jws::sign(&receipt, key, KeyInHeader::Carried);
        self.give_up(vendor, certificate, folders, &text)?;
        tracing::info!(vendor = %vendor.id(), activation = %certificate.jti, "given up");
        let license = ended_license(vendor, certificate, EndReason::GivenUp, receipt.iat, None);
        let memory = Ended {
            license: license.clone(),
            reason: EndReason::GivenUp,
            revision: u32::MAX,
            learned: receipt.iat,
            certificate: None,
        };
        if let Err(e) = self.state.write_ended(vendor.id(), &memory) {
            tracing::warn!(error = %e, cause = %e.source, "the end of an activation could not be remembered");
        }
        Ok(license)
    }

    fn give_up(
        &self,
        vendor: &Vendor,
        certificate: &ActivationCertificate,
        folders: &BTreeSet<ProductId>,
        text: &str,
    ) -> Result<(), CallError> {
        let id = certificate.jti;
        self.state.write_outbox(vendor.id(), id, text)?;
        fault::point("after-outbox");
        if let Err(e) = self.store.write_receipts(vendor.id(), id, folders, text) {
            // Some copy still licenses: nothing of this is said to the server, and the person can try again.
            let undone = folders
                .iter()
                .try_for_each(|product| self.store.remove_receipt(vendor.id(), product, id))
                .and_then(|()| self.state.take_back(vendor.id(), id));
            if let Err(e) = undone {
                tracing::error!(error = %e, cause = %e.source, "a receipt that had no effect yet stays, unsent");
            }
            return Err(e.into());
        }
        fault::point("after-receipt");
        // For people who ask later by the product's name; the receipt alone says what holds.
        let note = EndedNote {
            reason: EndReason::GivenUp,
            at: self.now(),
            by: None,
            name: certificate.name.clone(),
        };
        if let Err(e) = self.store.write_notes(vendor.id(), id, folders, &note) {
            tracing::warn!(error = %e, cause = %e.source, "a note about an activation that ended is missing");
        }
        // With a receipt beside it no copy licenses any more: one that cannot be removed now goes later.
        if let Err(e) = self.store.remove_certificates(vendor.id(), id, folders) {
            tracing::error!(error = %e, cause = %e.source, "a given-up certificate could not be removed yet");
        }
        fault::point("after-unlinks");
        Ok(())
    }

    /// The receipts that wait and may go: not while a copy without a receipt beside it still licenses.
    pub(super) fn to_deliver(&self, vendor: &Vendor) -> Result<Vec<String>, FileError> {
        let waiting = self.state.outbox(vendor.id())?;
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let files = self.store.activations(vendor.id())?;
        let may_go = |id: &ActivationId| files.get(id).is_none_or(|f| f.certificates.is_subset(&f.receipts));
        Ok(waiting.into_iter().filter(|(r, _)| may_go(&r.activation)).map(|(_, text)| text).collect())
    }

    fn is_waiting(&self, vendor: &Vendor, id: ActivationId) -> bool {
        self.state.outbox(vendor.id()).is_ok_and(|waiting| waiting.iter().any(|(r, _)| r.activation == id))
    }

    /// Delivers receipts until none waits. The caller holds the vendor's lock.
    pub(super) async fn deliver(self: &Rc<Self>, vendor: &Rc<Vendor>) -> Result<(), CallError> {
        let mut waiting = self.to_deliver(vendor)?.len();
        while waiting > 0 {
            let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
            let machine_id = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
            let request = self.request(vendor, &key, self.nonce()?, Order::Deactivate { machine_id })?;
            let envelope = Envelope::Deactivate(request.clone());
            match self.exchange(vendor, key.id(), envelope, &request).await? {
                Exchanged::Answer(_) => {}
                Exchanged::Refused(problem) => return Err(refused(*problem)),
            }
            let left = self.to_deliver(vendor)?.len();
            if left >= waiting {
                return Err(CallError::Refused {
                    code: ProblemCode::Other.code().to_owned(),
                    message: "The server did not acknowledge the receipts.".to_owned(),
                    advice: None,
                    seats: None,
                });
            }
            waiting = left;
        }
        Ok(())
    }

    /// What a person may mean of one vendor: what is held for this computer, and what is suspended.
    async fn targets_of(&self, vendor: &Rc<Vendor>) -> Result<Vec<Target>, FileError> {
        let mut all = Vec::new();
        for held in self.held(vendor).await?.held {
            if self.is_ours(&held.certificate) {
                let Held { certificate, folders, .. } = held;
                all.push(Target { vendor: vendor.clone(), certificate, folders });
            }
        }
        for ended in self.state.ended(vendor.id())? {
            let kept = ended
                .certificate
                .as_deref()
                .map(|text| ActivationCertificate::verify(text, vendor.keys.borrow().newest()));
            if let Some(Ok(certificate)) = kept
                && self.is_ours(&certificate)
            {
                let folders = products_of(&certificate).into_iter().cloned().collect();
                all.push(Target { vendor: vendor.clone(), certificate, folders });
            }
        }
        Ok(all)
    }

    /// The one activation that a person means: by serial number, activation, product, its unique ending or its name.
    pub(super) async fn find(&self, target: &str) -> Result<Target, CallError> {
        let target = target.trim();
        let mut all = Vec::new();
        let mut unreadable = None;
        for vendor in self.known_vendors() {
            match self.targets_of(&vendor).await {
                Ok(targets) => all.extend(targets),
                // What is meant may be another vendor's.
                Err(e) => unreadable = Some(e),
            }
        }
        let by_name = |i: &usize| {
            let Target { vendor, certificate, .. } = &all[*i];
            let exact = certificate.jti.to_string() == target
                || Serial::parse_any(target, &vendor.profile.prefix).is_ok_and(|s| s == certificate.serial)
                // A typed code knows its product by its short name alone.
                || target.parse::<ProductId>().is_ok_and(|p| certificate.product.is_alias_of(&p));
            if exact {
                Match::Exact
            } else {
                naming::matches(target, &certificate.product, &certificate.name)
            }
        };
        let by_content = |i: &usize| {
            let opened = all[*i].certificate.opens.iter().map(|id| naming::matches(target, id, "")).max();
            opened.unwrap_or(Match::None)
        };
        // What is called so comes before a bundle that contains it.
        let mut fitting = naming::best((0..all.len()).collect(), by_name);
        if fitting.is_empty() {
            fitting = naming::best((0..all.len()).collect(), by_content);
        }
        match fitting.as_slice() {
            [] => {}
            [one] => return Ok(all.swap_remove(*one)),
            several => {
                return Err(CallError::NotFound {
                    message: format!("“{}” names several activations on this computer.", shown(target)),
                    advice: Some("Name one by its serial number.".to_owned()),
                    choices: several.iter().map(|i| all[*i].certificate.serial.to_string()).collect(),
                });
            }
        }
        if let Some(e) = unreadable {
            return Err(e.into());
        }
        Err(CallError::NotFound {
            message: format!("Nothing called “{}” is activated on this computer.", shown(target)),
            advice: Some("`claviger license list` shows what is.".to_owned()),
            choices: Vec::new(),
        })
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
