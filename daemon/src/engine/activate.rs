//! Activating, crash-safe by intent: write the intent, do the exchange, commit the certificate, clear the intent.

use std::rc::Rc;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, Order, Outcome, Request};
use claviger_protocol::http::ProblemCode;
use claviger_protocol::ids::{DeviceName, MachineId, Nonce};
use claviger_protocol::ipc::{ActivateCall, CallError, License};
use claviger_protocol::keys::{KeyId, SigningKey};
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockProof, unlock_key};
use zeroize::Zeroizing;

use super::exchange::Exchanged;
use super::offline::read_code;
use super::refusal::refused;
use super::seats::{is_too_old, too_old};
use super::{Engine, Vendor, no_key, no_machine_id};
use crate::egress::{Envelope, Failure};
use crate::fault;
use crate::state::Intent;

/// Activations of one vendor whose end may be unknown at a time.
const MOST_INTENTS: usize = 256;

/// Tells the person what is being done.
pub type Progress = Box<dyn Fn(String)>;

/// What came of sending an intent.
pub(super) enum Settled {
    /// Its certificate is stored.
    Activated(ActivationCertificate, String),
    /// The server refused, for good.
    Refused(CallError),
    /// The activation that it made has ended since.
    Stale,
    /// The seat of that computer is free.
    Freed {
        /// Its id.
        machine_id: MachineId,
        /// Its name.
        device_name: DeviceName,
    },
}

/// An intent whose end is not known.
pub(super) struct Unsettled {
    error: CallError,
    /// Not a byte of the request was sent.
    unsent: bool,
}

impl From<Failure> for Unsettled {
    fn from(failure: Failure) -> Self {
        let unsent = failure.reached_nobody();
        Self { error: failure.into(), unsent }
    }
}

impl From<CallError> for Unsettled {
    fn from(error: CallError) -> Self {
        Self { error, unsent: false }
    }
}

impl From<Unsettled> for CallError {
    fn from(unsettled: Unsettled) -> Self {
        unsettled.error
    }
}

impl Engine {
    /// Uses a license on this machine. Input is checked before anything is sent. Once the exchange has begun it goes
    /// on to its end, whether or not the caller still listens.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn activate(
        self: &Rc<Self>,
        mut call: ActivateCall,
        progress: Progress,
    ) -> Result<License, CallError> {
        let typed = call.unlock_code.take().map(Zeroizing::new);
        self.refuse_when_closing()?;
        let (vendor, serial) = self.route(&call.serial, call.vendor.as_ref())?;
        let code = read_code(typed.as_ref().map(|t| t.as_str()), &serial)?;
        let replace = wanted_machine(call.replace_machine)?;
        // Only the key derived from the code is kept from here on.
        let unlock = unlock_key(vendor.id(), &serial, code.as_ref());
        drop((code, typed));
        let (vendor, turn) = self.turn(&vendor).await?;
        self.refuse_when_closing()?;
        let engine = self.clone();
        let work = tokio::task::spawn_local(async move {
            let _busy = engine.busy();
            let result = engine.activate_in_turn(&vendor, &serial, &unlock, replace, &progress).await;
            if matches!(result, Err(CallError::Unreachable { .. } | CallError::Storage { .. })) {
                engine.note_failure(&vendor, None);
            }
            drop(turn);
            engine.announce();
            result
        });
        work.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "an activation ended unexpectedly");
            Err(CallError::Internal {
                message: "The activation ended unexpectedly.".to_owned(),
                advice: None,
            })
        })
    }

    async fn activate_in_turn(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        serial: &Serial,
        unlock: &SigningKey,
        replace: Option<String>,
        progress: &Progress,
    ) -> Result<License, CallError> {
        progress("Preparing the request.".to_owned());
        self.observe_clock();
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        // An earlier attempt whose answer was lost: the server may have given it a seat already.
        for (intent, request) in self.state.intents(vendor.id())? {
            let Order::Activate { serial: begun, .. } = &request.order else { continue };
            if begun != serial {
                continue;
            }
            progress("Finding out what became of an earlier attempt.".to_owned());
            match self.settle(vendor, &intent, &request).await? {
                Settled::Activated(certificate, text)
                    if same_wish(&intent, &request, vendor, unlock, &replace) =>
                {
                    return Ok(self.activated(vendor, &certificate, text));
                }
                Settled::Refused(error) if same_wish(&intent, &request, vendor, unlock, &replace) => {
                    return Err(error);
                }
                Settled::Activated(..) | Settled::Refused(_) | Settled::Stale | Settled::Freed { .. } => {}
            }
        }
        if self.state.count(vendor.id(), "intents", ".json") >= MOST_INTENTS {
            return Err(CallError::Unreachable {
                code: "attempts_wait".to_owned(),
                message: format!("{MOST_INTENTS} earlier activations still wait for the vendor's answer."),
                advice: Some(
                    "Run `claviger license refresh` when the vendor's server can be reached, then try again."
                        .to_owned(),
                ),
            });
        }
        let (intent, request) = self.intend(vendor, &key, serial, unlock, replace)?;
        progress(format!("Contacting {}.", vendor.profile.name));
        let settled = self.settle(vendor, &intent, &request).await;
        const UNKNOWN: &str = " Whether the server made the activation is not known yet: this computer keeps asking until it is.";
        match settled.map_err(|failed| self.came_to_nothing(vendor, request.nonce, failed, UNKNOWN))? {
            Settled::Activated(certificate, text) => {
                progress("The activation is stored.".to_owned());
                tracing::info!(vendor = %vendor.id(), activation = %certificate.jti, "activated");
                let license = self.activated(vendor, &certificate, text);
                self.reissue_if_waiting(vendor).await;
                Ok(license)
            }
            Settled::Refused(error) => Err(error),
            Settled::Freed { .. } | Settled::Stale => Err(CallError::Refused {
                code: ProblemCode::ActivationGivenUp.code().to_owned(),
                message: "The activation that this request made has ended already.".to_owned(),
                advice: Some("Run the same command again.".to_owned()),
                seats: None,
            }),
        }
    }

    /// A first attempt without an answer. When nothing was sent, nothing is left to find out: a seat taken unseen an hour
    /// later would surprise whoever has gone to another computer meanwhile. Otherwise the person is told.
    pub(super) fn came_to_nothing(
        &self,
        vendor: &Vendor,
        nonce: Nonce,
        failed: Unsettled,
        unknown: &str,
    ) -> CallError {
        let Unsettled { mut error, unsent } = failed;
        if unsent {
            self.clear(vendor, nonce);
        } else if let CallError::Unreachable { message, .. } = &mut error {
            message.push_str(unknown);
        }
        error
    }

    /// Writes down what is about to be asked, byte for byte.
    fn intend(
        &self,
        vendor: &Rc<Vendor>,
        key: &SigningKey,
        serial: &Serial,
        unlock: &SigningKey,
        replace: Option<String>,
    ) -> Result<(Intent, Request), CallError> {
        let name = self.state.device_name();
        let machine = self.machine.facts(vendor.id(), name.as_ref()).map_err(no_machine_id)?;
        let nonce = self.nonce()?;
        let proof = UnlockProof::sign(unlock, vendor.id(), serial, machine.machine_id, key.id(), nonce);
        let order = Order::Activate { serial: serial.clone(), proof, machine, replace };
        self.write_intent(vendor, key, nonce, order, None)
    }

    /// Writes an order down, byte for byte, before anything is sent.
    pub(super) fn write_intent(
        &self,
        vendor: &Vendor,
        key: &SigningKey,
        nonce: Nonce,
        order: Order,
        until: Option<Timestamp>,
    ) -> Result<(Intent, Request), CallError> {
        let text = self.request_until(vendor, key, nonce, order, until)?;
        let (request, _, _) = Request::verify(&text, vendor.id()).map_err(|e| CallError::Internal {
            message: format!("The request did not turn out right: {e}."),
            advice: None,
        })?;
        let intent = Intent { at: self.now(), request: text };
        self.state.write_intent(vendor.id(), nonce, &intent)?;
        fault::point("after-intent");
        Ok((intent, request))
    }

    /// Sends an intent and acts on what comes back. When nothing does, the intent stays.
    pub(super) async fn settle(
        &self,
        vendor: &Rc<Vendor>,
        intent: &Intent,
        request: &Request,
    ) -> Result<Settled, Unsettled> {
        let device = device_of(&intent.request, vendor)?;
        let freeing = matches!(request.order, Order::Free { .. });
        let envelope = if freeing { Envelope::Free } else { Envelope::Activate }(intent.request.clone());
        match self.exchange(vendor, &device, envelope, &intent.request).await? {
            Exchanged::Answer(answer) if freeing => {
                let freed = Self::freed(answer.outcome)?;
                self.clear(vendor, request.nonce);
                tracing::info!(vendor = %vendor.id(), "freed the seat of another computer");
                Ok(freed)
            }
            Exchanged::Answer(answer) => match answer.outcome {
                Outcome::Activated { certificate } => Ok(self.commit(vendor, request, &certificate)?),
                _ => Err(Failure::Untrusted {
                    code: "other_outcome",
                    message: "it answers something else than what was asked".to_owned(),
                }
                .into()),
            },
            Exchanged::Refused(problem) => {
                self.clear(vendor, request.nonce);
                tracing::info!(vendor = %vendor.id(), code = problem.code.code(), "the server refused");
                if freeing && is_too_old(&problem) {
                    return Ok(Settled::Refused(too_old(
                        vendor,
                        "does not free the seats of other computers",
                    )));
                }
                if problem.code == ProblemCode::ActivationGivenUp {
                    return Ok(Settled::Stale);
                }
                Ok(Settled::Refused(refused(*problem)))
            }
        }
    }

    /// Believes a certificate, stores it for every product that it opens, and clears the intent.
    fn commit(&self, vendor: &Rc<Vendor>, request: &Request, text: &str) -> Result<Settled, CallError> {
        let Order::Activate { serial, machine, .. } = &request.order else {
            return Err(CallError::Internal {
                message: "An intent of another kind.".to_owned(),
                advice: None,
            });
        };
        let untrusted = |code, message: String| CallError::from(Failure::Untrusted { code, message });
        let certificate = ActivationCertificate::verify(text, vendor.keys.borrow().newest())
            .map_err(|e| untrusted(e.code(), e.to_string()))?;
        if certificate.machine != machine.machine_id || certificate.serial != *serial {
            return Err(untrusted(
                "other_activation",
                "it holds a certificate for another computer or serial number".to_owned(),
            ));
        }
        let id = certificate.jti;
        let files = self.store.files_of(vendor.id(), id)?;
        if self.store.given_up(vendor.id(), id, &files)?.is_some() {
            // An answer from before this machine gave the activation up: it must not come back.
            self.clear(vendor, request.nonce);
            return Ok(Settled::Stale);
        }
        let held = self.held_one(vendor, id)?.held.pop();
        if let Some(held) = held.filter(|h| h.certificate.rev > certificate.rev) {
            self.clear(vendor, request.nonce);
            return Ok(Settled::Activated(held.certificate, held.text));
        }
        fault::point("before-commit");
        self.store.write_certificate(&certificate, text).map_err(|e| {
            let mut error = CallError::from(e);
            if let CallError::Storage { message, advice, .. } = &mut error {
                *message =
                    format!("The server granted the activation, but it could not be stored. {message}");
                *advice =
                    Some("Mend that, then activate again: the same seat is used, no second one.".to_owned());
            }
            error
        })?;
        fault::point("after-commit");
        if let Err(e) = self.state.forget_ended(vendor.id(), id) {
            tracing::warn!(error = %e, cause = %e.source, "an old memory could not be removed");
        }
        self.clear(vendor, request.nonce);
        fault::point("after-intent-cleared");
        self.apply_pending(vendor);
        Ok(Settled::Activated(certificate, text.to_owned()))
    }

    fn clear(&self, vendor: &Vendor, nonce: Nonce) {
        if let Err(e) = self.state.clear_intent(vendor.id(), nonce) {
            // It will be sent once more, which changes nothing.
            tracing::warn!(error = %e, cause = %e.source, "a settled intent could not be removed");
        }
    }

    fn activated(&self, vendor: &Vendor, certificate: &ActivationCertificate, text: String) -> License {
        let status = self.status_of(certificate);
        License::of(certificate, Some(text), vendor.profile.name.clone(), status)
    }
}

/// The machine whose seat is to be taken over, as it was typed.
pub(super) fn wanted_machine(typed: Option<String>) -> Result<Option<String>, CallError> {
    let replace = typed.map(|r| r.trim().to_owned());
    if replace.as_ref().is_some_and(|r| r.is_empty() || r.len() > 128 || r.chars().any(char::is_control)) {
        return Err(CallError::InvalidInput {
            code: "bad_name".to_owned(),
            message: "No computer has a name like that.".to_owned(),
            advice: Some("Give the name or the id as the list of seats shows it.".to_owned()),
        });
    }
    Ok(replace)
}

/// The device key that signed a stored request.
pub(super) fn device_of(text: &str, vendor: &Vendor) -> Result<KeyId, CallError> {
    let (_, key, _) = Request::verify(text, vendor.id()).map_err(|e| CallError::Internal {
        message: format!("A stored request is not readable: {e}."),
        advice: None,
    })?;
    Ok(key.id())
}

/// Whether a stored request asked for the same with the same unlock code.
fn same_wish(
    intent: &Intent,
    request: &Request,
    vendor: &Vendor,
    unlock: &SigningKey,
    wanted: &Option<String>,
) -> bool {
    let Order::Activate { serial, proof, machine, replace } = &request.order else { return false };
    let Ok(device) = device_of(&intent.request, vendor) else { return false };
    let public = unlock.public();
    replace == wanted
        && proof.verify(&public, vendor.id(), serial, machine.machine_id, &device, request.nonce).is_ok()
}
