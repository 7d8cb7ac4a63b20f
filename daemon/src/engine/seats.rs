//! Other computers: who holds the seats of what is active here, and freeing the seat of one that is lost. The first is a question
//! and changes nothing; the second is crash-safe by intent, as activating is.

use std::rc::Rc;

use claviger_protocol::clock::DAY;
use claviger_protocol::documents::{HeldActivation, Order, Outcome, Request};
use claviger_protocol::http::{Problem, ProblemCode};
use claviger_protocol::ids::{ActivationId, VendorId};
use claviger_protocol::ipc::{CallError, FreeCall, FreeMachineReply, LicenseSeats, ShowSeatsReply};
use claviger_protocol::keys::SigningKey;
use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::{UnlockProof, unlock_key};
use zeroize::Zeroizing;

use super::activate::{Settled, device_of, wanted_machine};
use super::exchange::Exchanged;
use super::held::Held;
use super::offline::read_code;
use super::refusal::refused;
use super::{Engine, Vendor, no_key, no_machine_id};
use crate::egress::{Envelope, Failure};
use crate::state::Intent;

/// Most bytes of certificates in one question.
const MAX_BYTES: usize = 400 * 1024;
/// How long a wish to free a seat may wait for its server: after that, nobody expects it any more.
const FREE_WITHIN: i64 = 7 * DAY;

impl Engine {
    /// Asks who holds the seats of one license that is active here, or of all.
    ///
    /// # Errors
    /// [`CallError`]. When several vendors are asked, the first one's only if none could tell anything; otherwise the
    /// reply warns of those that could not be asked.
    pub async fn show_seats(
        self: &Rc<Self>,
        target: Option<&str>,
        vendor: Option<&VendorId>,
    ) -> Result<ShowSeatsReply, CallError> {
        self.refuse_when_closing()?;
        let (vendors, only) = match target {
            None => (self.select(vendor)?, None),
            Some(target) => {
                let found = self.find(target).await?;
                if vendor.is_some_and(|named| named != found.vendor.id()) {
                    return Err(CallError::NotFound {
                        message: format!("That license is one of {}.", found.vendor.profile.name),
                        advice: Some("Leave the vendor out.".to_owned()),
                        choices: Vec::new(),
                    });
                }
                (vec![found.vendor], Some(found.certificate.jti))
            }
        };
        let several = vendors.len() > 1;
        let (mut reply, mut first) = (ShowSeatsReply::default(), None);
        for vendor in vendors {
            // One that was removed meanwhile has nothing to ask about.
            let Ok((vendor, turn)) = self.turn(&vendor).await else { continue };
            self.refuse_when_closing()?;
            let name = vendor.profile.name.clone();
            let engine = self.clone();
            let work = tokio::task::spawn_local(async move {
                let _busy = engine.busy();
                let result = engine.seats_of(&vendor, only).await;
                drop(turn);
                result
            });
            match work.await.unwrap_or_else(|e| Err(broken(&e))) {
                Ok(told) => {
                    reply.seats.extend(told.seats);
                    reply.warnings.extend(told.warnings);
                }
                Err(error) => {
                    if several {
                        reply.warnings.push(format!("{name}: {error}"));
                    }
                    first = first.or(Some(error));
                }
            }
        }
        match first {
            Some(error) if !several || reply.seats.is_empty() => Err(error),
            _ => Ok(reply),
        }
    }

    async fn seats_of(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        only: Option<ActivationId>,
    ) -> Result<ShowSeatsReply, CallError> {
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let mut held = self.held(vendor).await?.held;
        held.retain(|h| self.is_ours(&h.certificate) && only.is_none_or(|id| id == h.certificate.jti));
        // Nothing is asked about what this computer's key cannot prove.
        let (held, unproved): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|h| h.certificate.cnf.jkt == *key.id());
        let mut reply = ShowSeatsReply::default();
        let mut missing: Vec<Held> = unproved;
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(Request::MAX_SEATS).take_while(|h| {
                bytes += 96 + h.text.len();
                bytes <= MAX_BYTES
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            let told = self.ask_seats(vendor, &key, now).await?;
            reply.seats.extend(told);
        }
        missing.extend(
            held.into_iter().filter(|h| reply.seats.iter().all(|told| told.activation != h.certificate.jti)),
        );
        reply.warnings.extend(missing.iter().map(|h| unproved_sentence(h, vendor)));
        match (only, reply.seats.is_empty(), reply.warnings.first()) {
            (Some(_), true, Some(sentence)) => Err(CallError::Refused {
                code: ProblemCode::ProofRefused.code().to_owned(),
                message: sentence.clone(),
                advice: Some("`claviger license refresh` shows what became of it.".to_owned()),
                seats: None,
            }),
            _ => Ok(reply),
        }
    }

    async fn ask_seats(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        key: &SigningKey,
        held: &[Held],
    ) -> Result<Vec<LicenseSeats>, CallError> {
        let machine_id = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
        let activations = held
            .iter()
            .map(|h| HeldActivation {
                id: h.certificate.jti,
                rev: h.certificate.rev,
                certificate: Some(h.text.clone()),
            })
            .collect();
        let request = self.request(vendor, key, self.nonce()?, Order::Seats { machine_id, activations })?;
        let envelope = Envelope::Seats(request.clone());
        let answer = match self.exchange(vendor, key.id(), envelope, &request).await? {
            Exchanged::Answer(answer) => answer,
            Exchanged::Refused(problem) if is_too_old(&problem) => {
                return Err(too_old(vendor, "does not tell who holds the seats of a license"));
            }
            Exchanged::Refused(problem) => return Err(refused(*problem)),
        };
        let Outcome::Seats { licenses } = answer.outcome else { return Err(other_outcome().into()) };
        let told = licenses.into_iter().filter_map(|told| {
            // What nobody asked about is nobody's business.
            let certificate = &held.iter().find(|h| h.certificate.jti == told.id)?.certificate;
            Some(LicenseSeats {
                vendor: vendor.id().clone(),
                vendor_name: vendor.profile.name.clone(),
                serial: certificate.serial.clone(),
                activation: told.id,
                product: certificate.product.clone(),
                product_name: certificate.name.clone(),
                machine_id,
                total: told.total,
                taken: told.taken,
                holders: told.holders,
                history: told.history,
            })
        });
        Ok(told.collect())
    }

    /// Ends what another computer holds of a license. Once the exchange has begun it goes on to its end, whether or not the
    /// caller still listens.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn free_machine(self: &Rc<Self>, mut call: FreeCall) -> Result<FreeMachineReply, CallError> {
        let typed = call.unlock_code.take().map(Zeroizing::new);
        let typed_serial = Zeroizing::new(std::mem::take(&mut call.serial));
        self.refuse_when_closing()?;
        let (vendor, serial) = self.route(&typed_serial, call.vendor.as_ref())?;
        let code = read_code(typed.as_ref().map(|t| t.as_str()), &serial)?;
        let other = wanted_machine(Some(call.machine))?.unwrap_or_default();
        let here = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
        if other.eq_ignore_ascii_case(&here.to_string()) {
            return Err(this_computer());
        }
        // Only the key derived from the code is kept from here on.
        let unlock = unlock_key(vendor.id(), &serial, code.as_ref());
        drop((code, typed));
        let (vendor, turn) = self.turn(&vendor).await?;
        self.refuse_when_closing()?;
        let engine = self.clone();
        let work = tokio::task::spawn_local(async move {
            let _busy = engine.busy();
            let result = engine.free_in_turn(&vendor, &serial, &unlock, other).await;
            if matches!(result, Err(CallError::Unreachable { .. } | CallError::Storage { .. })) {
                engine.note_failure(&vendor, None);
            }
            drop(turn);
            engine.announce();
            result
        });
        work.await.unwrap_or_else(|e| Err(broken(&e)))
    }

    async fn free_in_turn(
        self: &Rc<Self>,
        vendor: &Rc<Vendor>,
        serial: &Serial,
        unlock: &SigningKey,
        other: String,
    ) -> Result<FreeMachineReply, CallError> {
        self.observe_clock();
        let key = self.state.device_key(vendor.id(), &self.machine, &*self.rng).map_err(no_key)?;
        let freed = |settled| match settled {
            Settled::Freed { machine_id, device_name } => Ok(FreeMachineReply {
                vendor: vendor.id().clone(),
                serial: serial.clone(),
                machine_id,
                device_name,
            }),
            Settled::Refused(error) => Err(error),
            Settled::Activated(..) | Settled::Stale => Err(other_outcome().into()),
        };
        // An earlier attempt whose answer was lost: asking in other bytes would find the seat free and call it a mistake.
        for (intent, request) in self.state.intents(vendor.id())? {
            if same_wish(&intent, &request, vendor, unlock, serial, &other) {
                return freed(self.settle(vendor, &intent, &request).await?);
            }
        }
        let machine_id = self.machine.id_for(vendor.id()).map_err(no_machine_id)?;
        let nonce = self.nonce()?;
        let proof = UnlockProof::sign(unlock, vendor.id(), serial, machine_id, key.id(), nonce);
        let own_name = self.device_name(vendor.id())?;
        let own = own_name.as_str().to_lowercase() == other.to_lowercase();
        let order = Order::Free { machine_id, serial: serial.clone(), proof, other };
        let until = Some(self.now().plus(FREE_WITHIN));
        let (intent, request) = self.write_intent(vendor, &key, nonce, order, until)?;
        let settled = self.settle(vendor, &intent, &request).await;
        let settled = settled.map_err(|failed| {
            const UNKNOWN: &str = " Whether the server freed the seat is not known yet: this computer keeps asking until it is.";
            self.came_to_nothing(vendor, nonce, failed, UNKNOWN)
        })?;
        match freed(settled) {
            Err(CallError::Refused { code, message, seats, .. })
                if own && code == ProblemCode::ReplaceUnknown.code() =>
            {
                let advice = Some(OWN_SEAT.to_owned());
                Err(CallError::Refused { code, message, advice, seats })
            }
            other => other,
        }
    }

    /// The server's answer to a wish to free a seat.
    pub(super) fn freed(outcome: Outcome) -> Result<Settled, Failure> {
        match outcome {
            Outcome::Freed { machine_id, device_name } => Ok(Settled::Freed { machine_id, device_name }),
            _ => Err(other_outcome()),
        }
    }
}

/// What to do with this computer's own seat.
const OWN_SEAT: &str = "This computer gives its own seat up with `claviger deactivate`.";

fn this_computer() -> CallError {
    CallError::InvalidInput {
        code: "this_computer".to_owned(),
        message: "That is this computer itself.".to_owned(),
        advice: Some(OWN_SEAT.to_owned()),
    }
}

/// A server from before this was thought of does not know the path.
pub(super) fn is_too_old(problem: &Problem) -> bool {
    matches!(problem.code, ProblemCode::NotFound | ProblemCode::MethodNotAllowed)
}

pub(super) fn too_old(vendor: &Vendor, what: &str) -> CallError {
    CallError::Refused {
        code: "server_too_old".to_owned(),
        message: format!("The server of {} is too old: it {what}.", vendor.profile.name),
        advice: Some("Ask the vendor's support, and tell it that its server needs an update.".to_owned()),
        seats: None,
    }
}

fn other_outcome() -> Failure {
    Failure::Untrusted {
        code: "other_outcome",
        message: "it answers something else than what was asked".to_owned(),
    }
}

fn unproved_sentence(held: &Held, vendor: &Vendor) -> String {
    format!(
        "{} ({}): the seats of {} are told only to the key that activated it, which is not this computer's any more, or to an \
         activation that has not ended. Activate it here again, which takes no second seat.",
        vendor.profile.name, held.certificate.serial, held.certificate.name
    )
}

fn broken(error: &tokio::task::JoinError) -> CallError {
    tracing::error!(error = %error, "an exchange about seats ended unexpectedly");
    CallError::Internal { message: "The exchange ended unexpectedly.".to_owned(), advice: None }
}

/// Whether a stored request asked for the same with the same unlock code.
fn same_wish(
    intent: &Intent,
    request: &Request,
    vendor: &Vendor,
    unlock: &SigningKey,
    serial: &Serial,
    wanted: &str,
) -> bool {
    let Order::Free { serial: begun, proof, machine_id, other } = &request.order else { return false };
    let Ok(device) = device_of(&intent.request, vendor) else { return false };
    begun == serial
        && other == wanted
        && proof.verify(&unlock.public(), vendor.id(), serial, *machine_id, &device, request.nonce).is_ok()
}
