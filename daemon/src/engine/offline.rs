//! Activating without a network: requests that leave in a file or a QR code, and the answers that come back.
//!
//! An answer needs no request of this machine to be taken: a lab computer that is reset to its image every night has
//! forgotten it. Its signature, its vendor and the machine in its certificate must be right; what this machine remembers
//! to have given up stays given up. Only the answer to a request that still waits here tells the time, because an old
//! answer could be shown again to turn the clock back.

use std::rc::Rc;

use claviger_protocol::documents::{
    ActivationCertificate, Answer, DocumentError, EndReason, KeyInHeader, Order, Outcome, REQUEST_VERSION,
    Receipt, Request,
};
use claviger_protocol::ids::ActivationId;
use claviger_protocol::ipc::{
    ActivateCall, CallError, License, OfflineItem, OfflineReceiptReply, OfflineRequestReply,
};
use claviger_protocol::jws;
use claviger_protocol::offline::{AnswerFor, CodeError, MAX_ANSWER_LEN, REQUEST_LIFETIME, TypedCode};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockCode, UnlockProof, unlock_key};
use zeroize::Zeroizing;

use super::deactivate::Target;
use super::exchange::MAX_RECEIPTS;
use super::vendors::mistyped;
use super::{Engine, Vendor, no_key, no_machine_id, view};
use crate::fault;
use crate::highwater;
use crate::state::{Intent, State};

/// Most answers of one call.
const MOST_ANSWERS: usize = 256;

/// What an answer changed here.
struct Taken {
    license: Option<License>,
    changed: bool,
    receipts: usize,
}

impl Engine {
    /// Makes a signed request for a file or a QR code, and keeps it. Nothing is sent.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn make_offline_request(
        &self,
        mut call: ActivateCall,
    ) -> Result<OfflineRequestReply, CallError> {
        let typed = call.unlock_code.take().map(Zeroizing::new);
        let (vendor, serial) = self.route(&call.serial, call.vendor.as_ref())?;
        let code = read_code(typed.as_ref().map(|t| t.as_str()), &serial)?;
        let replace = super::activate::wanted_machine(call.replace_machine)?;
        let unlock = unlock_key(vendor.id(), &serial, code.as_ref());
        drop((code, typed));
        let (vendor, _turn) = self.turn(&vendor).await?;
        self.observe_clock();
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let name = self.state.device_name();
        let machine = self.machine.facts(vendor.id(), name.as_ref()).map_err(no_machine_id)?;
        let nonce = self.nonce()?;
        let proof = UnlockProof::sign(&unlock, vendor.id(), &serial, machine.machine_id, key.id(), nonce);
        let order = Order::Activate { serial, proof, machine, replace };
        let expires = self.now().plus(REQUEST_LIFETIME);
        let request = self.request_until(&vendor, &key, nonce, order, Some(expires))?;
        let kept = Intent { at: self.now(), request: request.clone() };
        self.state.write_offline(vendor.id(), nonce, &kept)?;
        tracing::info!(vendor = %vendor.id(), "offline request made");
        Ok(OfflineRequestReply { vendor: view(&vendor), request, expires })
    }

    /// Takes signed answers, each by itself.
    pub async fn import_offline_answers(self: &Rc<Self>, answers: &[String]) -> Vec<OfflineItem> {
        let mut items = Vec::new();
        for (index, text) in answers.iter().enumerate() {
            let taken = if index < MOST_ANSWERS {
                self.import_answer(text).await
            } else {
                Err(bad("too_many_answers", format!("One call takes at most {MOST_ANSWERS} answers."), None))
            };
            items.push(match taken {
                Ok(Taken { license, changed, receipts }) => {
                    OfflineItem { license, changed, receipts, ..OfflineItem::default() }
                }
                Err(error) => OfflineItem {
                    code: Some(error.code().to_owned()),
                    message: Some(error.to_string()),
                    advice: error.advice().map(str::to_owned),
                    ..OfflineItem::default()
                },
            });
        }
        self.announce();
        items
    }

    async fn import_answer(self: &Rc<Self>, text: &str) -> Result<Taken, CallError> {
        if text.len() > MAX_ANSWER_LEN {
            return Err(bad("too_large", "The answer is longer than one can be.".to_owned(), None));
        }
        let whose = AnswerFor::read(text).map_err(|e| untrusted(&e))?;
        let vendor = self.vendor(&whose.vendor)?;
        let (vendor, _turn) = self.turn(&vendor).await?;
        self.observe_clock();
        // A keyset is signed by the root: it is good whatever the rest turns out to be. An older one comes with every
        // older answer.
        if let Some(keyset) = Answer::peek_keyset(text).map_err(|e| untrusted(&e))? {
            match self.offer_keyset(&vendor, &keyset) {
                Ok(()) | Err(DocumentError::KeysetTooOld { .. }) => {}
                Err(e) => return Err(untrusted(&e)),
            }
        }
        let newest = vendor.keys.borrow().newest().clone();
        let answer = Answer::verify_from_file(text, &newest).map_err(|e| untrusted(&e))?;
        let waiting = self.state.offline(vendor.id())?.into_iter().find(|w| w.hash() == answer.req);
        let taken = match &answer.outcome {
            Outcome::Activated { certificate } => {
                let (license, changed) = self.install(&vendor, certificate)?;
                self.take_reissued(&vendor, &answer)?;
                Taken { license: Some(license), changed, receipts: self.take_acks(&vendor, &answer) }
            }
            Outcome::Deactivated => {
                let receipts = self.take_acks(&vendor, &answer);
                Taken { license: None, changed: receipts > 0, receipts }
            }
            Outcome::Refreshed { .. } | Outcome::Seats { .. } | Outcome::Freed { .. } | Outcome::Unknown => {
                return Err(bad(
                    "other_outcome",
                    "This answer is of a kind that cannot be imported.".to_owned(),
                    Some("Update Claviger on this computer, or ask the vendor for a response file."),
                ));
            }
        };
        if let Some(waiting) = waiting {
            self.believe_time(&vendor, &answer);
            self.state.clear_offline(vendor.id(), waiting.request.nonce)?;
        }
        self.apply_pending(&vendor);
        Ok(taken)
    }

    /// The answer to a request that waited here is new: its time and its epoch count.
    fn believe_time(&self, vendor: &Rc<Vendor>, answer: &Answer) {
        if let Err(e) = highwater::reset(&self.store, answer.iat) {
            tracing::error!(error = %e, cause = %e.source, "the server's time could not be stored");
        }
        {
            let mut record = vendor.record.borrow_mut();
            let known = record.epoch.unwrap_or(answer.epoch);
            // A machine that has never been online is not sent there to present anything.
            record.present |= answer.epoch > known && record.last_contact.is_some();
            record.epoch = Some(answer.epoch.max(known));
        }
        self.store_record(vendor);
    }

    /// Stores a certificate that came in a file or was typed; says what it activates, and whether that is new.
    fn install(&self, vendor: &Rc<Vendor>, text: &str) -> Result<(License, bool), CallError> {
        let certificate =
            ActivationCertificate::verify(text, vendor.keys.borrow().newest()).map_err(|e| untrusted(&e))?;
        let here = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
        if certificate.machine != here {
            return Err(bad(
                "other_machine",
                format!(
                    "This answer is for another computer: its machine id is {}, this one's is {here}.",
                    certificate.machine
                ),
                Some("Import it on that computer; `claviger machine show` tells each computer's machine id."),
            ));
        }
        let id = certificate.jti;
        self.refuse_what_ended(vendor, &certificate)?;
        let held = self.held_one(vendor, id)?.held.pop();
        if let Some(held) = held.filter(|h| h.text == text || h.certificate.rev > certificate.rev) {
            return Ok((self.license(vendor, &held), false));
        }
        // A full certificate takes the place of the short ones that typed codes made, which lie in folders of their own;
        // of a bundle there may be one for each product.
        let stays = crate::store::products_of(&certificate);
        let files = self.store.files_of(vendor.id(), id)?;
        let is_short = certificate.product.is_alias();
        let goes = files
            .certificates
            .into_iter()
            .filter(|p| p.is_alias() && !is_short && !stays.contains(p))
            .collect();
        fault::point("before-commit");
        self.store.write_certificate(&certificate, text)?;
        self.store.remove_certificates(vendor.id(), id, &goes)?;
        fault::point("after-commit");
        self.state.forget_ended(vendor.id(), id)?;
        tracing::info!(vendor = %vendor.id(), activation = %id, "activated offline");
        let status = self.status_of(&certificate);
        Ok((License::of(&certificate, Some(text.to_owned()), vendor.profile.name.clone(), status), true))
    }

    /// What this machine remembers to have ended does not come back from a file.
    fn refuse_what_ended(
        &self,
        vendor: &Rc<Vendor>,
        certificate: &ActivationCertificate,
    ) -> Result<(), CallError> {
        let id = certificate.jti;
        let files = self.store.files_of(vendor.id(), id)?;
        let ended = self.state.ended(vendor.id())?.into_iter().find(|e| e.license.activation == id);
        let receipts = self.state.outbox(vendor.id())?.iter().any(|(r, _)| r.activation == id)
            || self.state.has_kept_receipt(vendor.id(), id);
        let given_up = receipts
            || self.store.given_up(vendor.id(), id, &files)?.is_some()
            || ended.as_ref().is_some_and(|e| e.reason == EndReason::GivenUp);
        if given_up {
            return Err(bad(
                "already_given_up",
                "This computer has given up the activation in this answer; it does not come back.".to_owned(),
                Some("Make a new request with `claviger offline request`."),
            ));
        }
        if let Some(ended) = ended.filter(|e| !State::resumes(e, certificate)) {
            return Err(bad(
                "already_ended",
                format!(
                    "The activation in this answer has ended since: {}",
                    super::status_of_end(ended.reason).sentence()
                ),
                None,
            ));
        }
        Ok(())
    }

    /// Certificates of other activations here, issued anew because a key was compromised.
    fn take_reissued(&self, vendor: &Rc<Vendor>, answer: &Answer) -> Result<(), CallError> {
        if answer.reissued.is_empty() {
            return Ok(());
        }
        for text in &answer.reissued {
            let newest = vendor.keys.borrow().newest().clone();
            let certificate = ActivationCertificate::verify(text, &newest).map_err(|e| untrusted(&e))?;
            let found = self.held_one(vendor, certificate.jti)?;
            let known =
                found.held.iter().any(|h| h.certificate.rev <= certificate.rev) || !found.broken.is_empty();
            if known && self.is_ours(&certificate) {
                self.store.write_certificate(&certificate, text)?;
            }
        }
        Ok(())
    }

    /// Takes a code that was read out over the telephone: with a request that waits here it makes a certificate.
    ///
    /// # Errors
    /// [`CallError`]; a mistyped group is named.
    pub async fn import_offline_code(self: &Rc<Self>, typed: &str) -> Result<License, CallError> {
        let code = TypedCode::parse(typed).map_err(|e| code_error(&e))?;
        let mut waited = false;
        for vendor in self.known_vendors() {
            let (vendor, _turn) = self.turn(&vendor).await?;
            let newest = vendor.keys.borrow().newest().clone();
            // Of a vendor whose files cannot be read nothing waits; `claviger doctor` names it.
            let requests = self.state.offline(vendor.id()).unwrap_or_default();
            for waiting in requests.into_iter().rev() {
                waited = true;
                let ids = self.known_ids(&vendor)?;
                match code.certificate(&waiting.text, &ids, &newest) {
                    Ok(text) => {
                        let (license, _) = self.install(&vendor, &text)?;
                        self.apply_pending(&vendor);
                        self.announce();
                        return Ok(license);
                    }
                    Err(CodeError::OtherRequest) => {}
                    Err(e) => return Err(code_error(&e)),
                }
            }
        }
        Err(if waited {
            code_error(&CodeError::OtherRequest)
        } else {
            bad(
                "code_without_request",
                "No offline request of this computer waits for an answer.".to_owned(),
                Some(
                    "A typed code belongs to one request: make it with `claviger offline request`, or use a response \
                     file, which needs none.",
                ),
            )
        })
    }

    /// Every activation that the server may have meant: those made by requests kept here, held ones, ended ones.
    fn known_ids(&self, vendor: &Vendor) -> Result<Vec<ActivationId>, CallError> {
        let mut ids: Vec<ActivationId> =
            self.state.offline(vendor.id())?.iter().map(|w| ActivationId::of_request(&w.hash())).collect();
        ids.extend(self.store.activations(vendor.id())?.into_keys());
        ids.extend(self.state.ended(vendor.id())?.iter().map(|e| e.license.activation));
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Gives an activation up; the receipt leaves in a file. Nothing is sent, now or later in the background; the next
    /// exchange that someone asks for carries it along.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn deactivate_offline(self: &Rc<Self>, target: &str) -> Result<OfflineReceiptReply, CallError> {
        self.refuse_when_closing()?;
        if let Some((vendor, license)) = self.given_up_and_waiting(target).await? {
            // The file was lost: the receipt is still here.
            return self.receipt_file(&vendor, license, None).await;
        }
        let vendor = self.find(target).await?.vendor;
        let (vendor, turn) = self.turn(&vendor).await?;
        let Target { certificate, folders, .. } = self.find(target).await?;
        self.observe_clock();
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let license = self.give_up_signed(&vendor, &key, &certificate, &folders)?;
        drop(turn);
        let same_key = certificate.cnf.jkt == *key.id();
        self.receipt_file(&vendor, license, Some(same_key)).await
    }

    /// An activation that was given up here, and whose receipt no server has acknowledged yet.
    async fn given_up_and_waiting(&self, target: &str) -> Result<Option<(Rc<Vendor>, License)>, CallError> {
        if self.find(target).await.is_ok() {
            return Ok(None);
        }
        for vendor in self.known_vendors() {
            let memories = self
                .state
                .outbox(vendor.id())
                .and_then(|waiting| Ok((waiting, self.state.ended(vendor.id())?)));
            // What is meant may be another vendor's.
            let Ok((waiting, memories)) = memories else { continue };
            for ended in memories {
                let license = ended.license;
                let named = license.activation.to_string() == target.trim()
                    || claviger_protocol::naming::same_serial(target, license.serial.as_str())
                    || license.product.as_str() == target.trim()
                    || license.product_name.to_lowercase() == target.trim().to_lowercase();
                if named && waiting.iter().any(|(r, _)| r.activation == license.activation) {
                    return Ok(Some((vendor, license)));
                }
            }
        }
        Ok(None)
    }

    async fn receipt_file(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        license: License,
        same_key: Option<bool>,
    ) -> Result<OfflineReceiptReply, CallError> {
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let machine_id = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
        let order = Order::Deactivate { machine_id };
        let mut receipts = self.to_deliver(vendor)?;
        // This one first, in case more wait than fit.
        receipts.sort_by_key(|text| Receipt::peek(text).map_or(true, |r| r.activation != license.activation));
        receipts.truncate(MAX_RECEIPTS);
        let request = Request {
            v: REQUEST_VERSION,
            aud: vendor.id().clone(),
            nonce: self.nonce()?,
            iat: self.now(),
            exp: None,
            keyset: vendor.keys.borrow().newest().number,
            receipts,
            order,
        };
        let request = jws::sign(&request, &key, KeyInHeader::Carried);
        vendor.record.borrow_mut().quiet = true;
        self.store_record(vendor);
        self.announce();
        Ok(OfflineReceiptReply { vendor: view(vendor), license, request, same_key: same_key.unwrap_or(true) })
    }
}

/// The unlock code as it was typed; serial numbers of Claviger's own form need one.
pub(super) fn read_code(typed: Option<&str>, serial: &Serial) -> Result<Option<UnlockCode>, CallError> {
    match typed {
        Some(typed) => {
            UnlockCode::parse(typed, serial).map(Some).map_err(|e| mistyped("mistyped_unlock_code", &e))
        }
        None if serial.as_str().contains('-') => Err(bad(
            "unlock_code_needed",
            "This serial number needs its unlock code.".to_owned(),
            Some("You find it beside the serial number in your purchase confirmation."),
        )),
        None => Ok(None),
    }
}

fn bad(code: &str, message: String, advice: Option<&str>) -> CallError {
    CallError::InvalidInput { code: code.to_owned(), message, advice: advice.map(str::to_owned) }
}

fn untrusted(error: &DocumentError) -> CallError {
    let advice = match error {
        DocumentError::UnknownKey => {
            "The vendor may have changed its keys: import a response file, which brings the new ones, or a current \
             vendor profile with `claviger vendor add`."
        }
        DocumentError::Type { .. } => "Import the file that the vendor sent back, not the request.",
        _ => "Get the file from the vendor again.",
    };
    bad(error.code(), format!("The answer is not acceptable: {error}."), Some(advice))
}

fn code_error(error: &CodeError) -> CallError {
    let sentence = error.to_string();
    let mut letters = sentence.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let advice = match error {
        CodeError::OtherRequest => {
            "Ask the vendor for a code for the latest request of this computer, or for a response file."
        }
        CodeError::Check { .. }
        | CodeError::Exchanged { .. }
        | CodeError::Symbol { .. }
        | CodeError::GroupLength { .. } => "Have that group read out again; nothing was changed.",
        _ => "A code has 32 groups of five characters; nothing was changed.",
    };
    bad(error.code(), format!("{first}{}.", letters.as_str()), Some(advice))
}
