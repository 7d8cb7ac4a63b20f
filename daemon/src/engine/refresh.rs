//! Asking what became of activations: on request, before a subscription ends, when a server was restored, when a key
//! was compromised. Never without a reason.

use std::rc::Rc;

use claviger_protocol::documents::{
    ActivationCertificate, ActivationState, EndReason, HeldActivation, Order, Outcome, Sunset,
};
use claviger_protocol::ids::{ActivationId, VendorId};
use claviger_protocol::ipc::{CallError, LicensesReply};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::layout::EndedNote;

use super::exchange::Exchanged;
use super::held::ended_license;
use super::refusal::refused;
use super::{Engine, Vendor, no_key, no_machine_id};
use crate::egress::{Envelope, Failure, Reply};
use crate::fault;
use crate::platform::FileError;
use crate::state::Ended;
use crate::store::products_of;
use claviger_protocol::ids::ProductId;
use std::collections::BTreeSet;

/// Most activations of one request, and most bytes of certificates in it.
const MAX_ENTRIES: usize = 2048;
const MAX_BYTES: usize = 400 * 1024;

/// An activation to ask about.
struct Asked {
    id: ActivationId,
    rev: u32,
    certificate: Option<ActivationCertificate>,
    text: Option<String>,
    folders: BTreeSet<ProductId>,
    show: bool,
}

impl Engine {
    /// Asks one vendor's server, or all, what became of the activations here.
    ///
    /// # Errors
    /// The first [`CallError`]; the other vendors were asked all the same. A vendor whose files cannot be read does not
    /// count while another one is asked: the list warns of it.
    pub async fn refresh(self: &Rc<Self>, vendor: Option<&VendorId>) -> Result<LicensesReply, CallError> {
        self.refuse_when_closing()?;
        let mut first = None;
        let all = self.select(vendor)?;
        let several = all.len() > 1;
        for vendor in all {
            // One that was removed meanwhile has nothing to ask about.
            let Ok((vendor, turn)) = self.turn(&vendor).await else { continue };
            self.refuse_when_closing()?;
            let engine = self.clone();
            let known = vendor.clone();
            let work = tokio::task::spawn_local(async move {
                let _busy = engine.busy();
                let result = engine.refresh_on_request(&vendor).await;
                if result.is_err() {
                    engine.note_failure(&vendor, None);
                }
                drop(turn);
                engine.announce();
                result
            });
            match work.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if several && self.licenses_of(&known).await.is_err() => {}
                Ok(Err(e)) => first = first.or(Some(e)),
                Err(e) => {
                    tracing::error!(error = %e, "a refresh ended unexpectedly");
                    first = first.or_else(|| {
                        Some(CallError::Internal {
                            message: "The refresh ended unexpectedly.".to_owned(),
                            advice: None,
                        })
                    });
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => self.list_licenses(vendor).await,
        }
    }

    async fn refresh_on_request(self: &Rc<Self>, vendor: &Rc<Vendor>) -> Result<(), CallError> {
        self.observe_clock();
        self.mend_locally(vendor).await;
        self.fetch_keyset(vendor).await?;
        for (intent, request) in self.state.intents(vendor.id())? {
            self.settle(vendor, &intent, &request).await?;
        }
        self.refresh_in_turn(vendor, false).await
    }

    /// The keyset and the sunset are published: asking for them says nothing about this machine.
    async fn fetch_keyset(&self, vendor: &Rc<Vendor>) -> Result<(), CallError> {
        let server = vendor.profile.server.clone();
        let body = match self.egress.send(&*self.clock, vendor.id(), &server, Envelope::Keyset).await? {
            Reply::Keyset(body) => body,
            Reply::Refused(problem) => {
                tracing::info!(code = problem.code.code(), "the server publishes no keyset");
                return Ok(());
            }
            Reply::Answer(_) | Reply::Plain(_) => return Err(Failure::NotAnAnswer.into()),
        };
        let untrusted = |e: claviger_protocol::jws::DocumentError| {
            CallError::from(Failure::Untrusted { code: e.code(), message: e.to_string() })
        };
        self.offer_keyset(vendor, &body.keyset).map_err(untrusted)?;
        if let Some(text) = body.sunset {
            Sunset::verify(&text, &vendor.anchor).map_err(untrusted)?;
            self.store.write_sunset(vendor.id(), &text)?;
        }
        Ok(())
    }

    /// After a newer keyset arrived: has certificates of compromised keys issued anew at once.
    pub(super) async fn reissue_if_waiting(self: &Rc<Self>, vendor: &Rc<Vendor>) {
        let waits = vendor.record.borrow().pending.is_some();
        let present = vendor.record.borrow().present;
        if (waits || present)
            && let Err(e) = self.refresh_in_turn(vendor, false).await
        {
            tracing::warn!(code = e.code(), "certificates could not be presented yet");
            self.note_failure(vendor, None);
        }
    }

    /// One refresh of a vendor; `show` presents every certificate. The caller holds the vendor's lock.
    pub(super) async fn refresh_in_turn(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        show: bool,
    ) -> Result<(), CallError> {
        // A server that turns out to be a restored one is asked once more, with everything shown.
        for _ in 0..3 {
            let present = vendor.record.borrow().present;
            if present {
                self.state.resend_kept(vendor.id())?;
            }
            let asked = self.to_ask(vendor, show || present).await?;
            if !asked.is_empty() {
                self.ask(vendor, asked).await?;
                let told = std::mem::take(&mut vendor.record.borrow_mut().restored);
                if !told.is_empty() {
                    self.store_record(vendor);
                }
            } else if !present && self.state.has_kept(vendor.id()) {
                // Nothing is held, but seats were given up: a server that was restored from an older backup has
                // forgotten it, and only a signed answer tells its epoch.
                let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
                self.ask_some(vendor, &key, &[]).await?;
            }
            self.deliver(vendor).await?;
            if present {
                vendor.record.borrow_mut().present = false;
                self.store_record(vendor);
            }
            self.apply_pending(vendor);
            if !vendor.record.borrow().present {
                break;
            }
        }
        Ok(())
    }

    /// Everything held here, what is suspended, and what is damaged.
    async fn to_ask(&self, vendor: &Vendor, show: bool) -> Result<Vec<Asked>, FileError> {
        let found = self.held(vendor).await?;
        let mut asked = Vec::new();
        for held in found.held {
            if !self.is_ours(&held.certificate) {
                continue;
            }
            let outdated = vendor
                .keys
                .borrow()
                .pending
                .as_ref()
                .is_some_and(|pending| ActivationCertificate::verify(&held.text, pending).is_err());
            asked.push(Asked {
                id: held.certificate.jti,
                rev: held.certificate.rev,
                show: show || outdated,
                certificate: Some(held.certificate),
                text: Some(held.text),
                folders: held.folders,
            });
        }
        for broken in found.broken {
            // Revision 0 is older than any: the server sends the certificate again.
            asked.push(Asked {
                id: broken.id,
                rev: 0,
                certificate: broken.claims,
                text: None,
                folders: broken.folders,
                show: false,
            });
        }
        for ended in self.state.ended(vendor.id())? {
            let Some(text) = ended.certificate else { continue };
            let certificate = ActivationCertificate::verify(&text, vendor.keys.borrow().newest()).ok();
            let Some(certificate) = certificate.filter(|c| self.is_ours(c)) else { continue };
            asked.push(Asked {
                id: certificate.jti,
                rev: certificate.rev,
                folders: products_of(&certificate).into_iter().cloned().collect(),
                certificate: Some(certificate),
                text: Some(text),
                show,
            });
        }
        // The server knows their end. That they were held again is news to it, and is all that this says.
        for id in &vendor.record.borrow().restored {
            let (rev, folders) = (0, BTreeSet::new());
            asked.push(Asked { id: *id, rev, certificate: None, text: None, folders, show: false });
        }
        Ok(asked)
    }

    async fn ask(self: &Rc<Self>, vendor: &Rc<Vendor>, mut asked: Vec<Asked>) -> Result<(), CallError> {
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        while !asked.is_empty() {
            let mut bytes = 0;
            let mut count = 0;
            for entry in &asked {
                bytes += 96 + entry.text.as_ref().filter(|_| entry.show).map_or(0, String::len);
                if count > 0 && (count >= MAX_ENTRIES || bytes > MAX_BYTES) {
                    break;
                }
                count += 1;
            }
            let rest = asked.split_off(count);
            let forgotten = self.ask_some(vendor, &key, &asked).await?;
            asked = rest;
            asked.extend(forgotten);
        }
        Ok(())
    }

    /// Asks about some activations, and gives back those that the server wants to be shown.
    async fn ask_some(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        key: &SigningKey,
        asked: &[Asked],
    ) -> Result<Vec<Asked>, CallError> {
        let machine_id = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
        let activations = asked
            .iter()
            .map(|a| HeldActivation { id: a.id, rev: a.rev, certificate: a.text.clone().filter(|_| a.show) })
            .collect();
        let request = self.request(vendor, key, self.nonce()?, Order::Refresh { machine_id, activations })?;
        let answer =
            match self.exchange(vendor, key.id(), Envelope::Refresh(request.clone()), &request).await? {
                Exchanged::Answer(answer) => answer,
                Exchanged::Refused(problem) => return Err(refused(*problem)),
            };
        let Outcome::Refreshed { activations } = answer.outcome else {
            return Err(Failure::Untrusted {
                code: "other_outcome",
                message: "it answers something else than what was asked".to_owned(),
            }
            .into());
        };
        let mut forgotten = Vec::new();
        for state in activations {
            let Some(entry) = asked.iter().find(|a| a.id == state.id) else { continue };
            if state.ended == Some(EndReason::Unknown) {
                if !entry.show && entry.text.is_some() {
                    forgotten.push(Asked {
                        id: entry.id,
                        rev: entry.rev,
                        certificate: entry.certificate.clone(),
                        text: entry.text.clone(),
                        folders: entry.folders.clone(),
                        show: true,
                    });
                } else {
                    // A genuine certificate outlives a server's memory.
                    tracing::warn!(activation = %entry.id, "the server does not know this activation; it is kept");
                }
                continue;
            }
            self.apply_state(vendor, entry, state)?;
        }
        Ok(forgotten)
    }

    fn apply_state(
        &self,
        vendor: &Rc<Vendor>,
        entry: &Asked,
        state: ActivationState,
    ) -> Result<(), CallError> {
        if state.rev < entry.rev {
            tracing::warn!(activation = %entry.id, "an older state was ignored");
            return Ok(());
        }
        if let Some(reason) = state.ended {
            let Some(certificate) = &entry.certificate else { return Ok(()) };
            let at = state.at.unwrap_or_else(|| self.now());
            let kept = entry.text.clone().filter(|_| reason == EndReason::Suspended);
            let ended = Ended {
                license: ended_license(vendor, certificate, reason, at, state.by),
                reason,
                revision: state.rev,
                learned: self.now(),
                certificate: kept,
            };
            tracing::info!(activation = %entry.id, ?reason, "an activation ended");
            self.state.write_ended(vendor.id(), &ended)?;
            fault::point("after-ended-record");
            self.end_files(vendor, &ended, &entry.folders)?;
            return Ok(());
        }
        let Some(text) = state.certificate else { return Ok(()) };
        let untrusted = |code, message: String| CallError::from(Failure::Untrusted { code, message });
        let certificate = ActivationCertificate::verify(&text, vendor.keys.borrow().newest())
            .map_err(|e| untrusted(e.code(), e.to_string()))?;
        if certificate.jti != entry.id || !self.is_ours(&certificate) || certificate.rev < entry.rev {
            return Err(untrusted(
                "other_activation",
                "it holds a certificate for something else".to_owned(),
            ));
        }
        let files = self.store.files_of(vendor.id(), entry.id)?;
        if self.store.given_up(vendor.id(), entry.id, &files)?.is_some() {
            return Ok(());
        }
        fault::point("before-commit");
        self.store.write_certificate(&certificate, &text)?;
        fault::point("after-commit");
        self.state.forget_ended(vendor.id(), entry.id)?;
        Ok(())
    }

    /// Takes an ended activation's certificates away, with a note that says why.
    pub(super) fn end_files(
        &self,
        vendor: &Vendor,
        ended: &Ended,
        folders: &BTreeSet<ProductId>,
    ) -> Result<(), FileError> {
        let id = ended.license.activation;
        let note = EndedNote {
            reason: ended.reason,
            at: ended.license.since,
            by: ended.license.ended_by.clone(),
            name: ended.license.product_name.clone(),
        };
        self.store.write_notes(vendor.id(), id, folders, &note)?;
        fault::point("after-ended-notes");
        self.store.remove_certificates(vendor.id(), id, folders)
    }
}
