//! One exchange with a vendor's server: what goes along, and what every answer says beside its outcome.

use std::rc::Rc;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::documents::{Answer, Order, REQUEST_VERSION, ReceiptOutcome, Request};
use claviger_protocol::http::Problem;
use claviger_protocol::ids::Nonce;
use claviger_protocol::ipc::CallError;
use claviger_protocol::jws::{self, KeyInHeader};
use claviger_protocol::keys::{KeyId, Sha256, SigningKey};

use super::{Engine, Vendor, no_random};
use crate::egress::{Envelope, Failure, Reply};
use crate::fault;
use crate::highwater;

/// Most receipts of one request.
pub(super) const MAX_RECEIPTS: usize = 128;

/// What came of an exchange that reached the server.
pub(super) enum Exchanged {
    Answer(Box<Answer>),
    Refused(Box<Problem>),
}

impl Engine {
    pub(super) fn nonce(&self) -> Result<Nonce, CallError> {
        Nonce::random(&*self.rng).map_err(|_| no_random())
    }

    /// A signed request, with the receipts that the server does not have yet.
    pub(super) fn request(
        &self,
        vendor: &Vendor,
        key: &SigningKey,
        nonce: Nonce,
        order: Order,
    ) -> Result<String, CallError> {
        self.request_until(vendor, key, nonce, order, None)
    }

    /// The same with an end of validity; an offline request has one.
    pub(super) fn request_until(
        &self,
        vendor: &Vendor,
        key: &SigningKey,
        nonce: Nonce,
        order: Order,
        exp: Option<Timestamp>,
    ) -> Result<String, CallError> {
        let mut receipts = self.to_deliver(vendor)?;
        receipts.truncate(MAX_RECEIPTS);
        let request = Request {
            v: REQUEST_VERSION,
            aud: vendor.id().clone(),
            nonce,
            iat: self.now(),
            exp,
            keyset: vendor.keys.borrow().newest().number,
            receipts,
            order,
        };
        Ok(jws::sign(&request, key, KeyInHeader::Carried))
    }

    /// Sends a signed request and takes in all that an answer says beside its outcome: keyset, time, epoch, receipts.
    /// The caller holds the vendor's lock.
    pub(super) async fn exchange(
        &self,
        vendor: &Rc<Vendor>,
        device: &KeyId,
        envelope: Envelope,
        request: &str,
    ) -> Result<Exchanged, Failure> {
        let server = vendor.profile.server.clone();
        let reply = self.egress.send(&*self.clock, vendor.id(), &server, envelope).await;
        fault::point("after-send");
        if let Err(failure) = &reply
            && let Some(seconds) = failure.retry_after()
        {
            let pause = i64::try_from(seconds).unwrap_or(DAY).min(DAY);
            vendor.record.borrow_mut().retry_at = Some(self.now().plus(pause));
        }
        let text = match reply? {
            Reply::Answer(text) => text,
            Reply::Refused(problem) => {
                self.note_contact(vendor);
                return Ok(Exchanged::Refused(problem));
            }
            Reply::Keyset(_) | Reply::Plain(_) => return Err(Failure::NotAnAnswer),
        };
        let untrusted = |e: claviger_protocol::jws::DocumentError| Failure::Untrusted {
            code: e.code(),
            message: e.to_string(),
        };
        // A keyset is signed by the root: it is good whatever the rest of the answer turns out to be.
        if let Some(keyset) = Answer::peek_keyset(&text).map_err(untrusted)? {
            self.offer_keyset(vendor, &keyset).map_err(untrusted)?;
        }
        let newest = vendor.keys.borrow().newest().clone();
        let answer =
            Answer::verify(&text, &newest, &Sha256::of(request.as_bytes()), device).map_err(untrusted)?;
        self.take_in(vendor, &answer);
        Ok(Exchanged::Answer(Box::new(answer)))
    }

    fn take_in(&self, vendor: &Rc<Vendor>, answer: &Answer) {
        let warn = |what: &str, e: &crate::platform::FileError| {
            tracing::error!(error = %e, cause = %e.source, "{what} could not be stored; it will be tried again");
        };
        if let Err(e) = highwater::reset(&self.store, answer.iat) {
            warn("the server's time", &e);
        }
        {
            let mut record = vendor.record.borrow_mut();
            if record.epoch.is_some_and(|known| known != answer.epoch) {
                tracing::warn!(
                    vendor = %vendor.id(),
                    "the server was restored from a backup: certificates and receipts are presented again"
                );
                record.present = true;
            }
            record.epoch = Some(answer.epoch);
        }
        self.note_contact(vendor);
        self.take_acks(vendor, answer);
    }

    /// Receipts that a signed answer acknowledges need not be sent again. Gives how many there were.
    pub(super) fn take_acks(&self, vendor: &Rc<Vendor>, answer: &Answer) -> usize {
        let mut taken = 0;
        for ack in &answer.receipts {
            let waiting = self.state.outbox(vendor.id()).unwrap_or_default();
            let Some((receipt, text)) = waiting.iter().find(|(r, _)| r.jti == ack.id) else { continue };
            if !matches!(ack.outcome, ReceiptOutcome::Accepted | ReceiptOutcome::AlreadyEnded) {
                tracing::warn!(activation = %receipt.activation, outcome = ?ack.outcome, "a receipt had no effect");
            }
            fault::point("after-delivery");
            match self.state.acknowledge(vendor.id(), receipt.activation, text) {
                Ok(()) => taken += 1,
                Err(e) => tracing::error!(
                    error = %e, cause = %e.source, "a receipt's delivery could not be stored; it will be tried again"
                ),
            }
        }
        taken
    }

    /// The server was reached: what failed before is forgotten.
    fn note_contact(&self, vendor: &Vendor) {
        {
            let mut record = vendor.record.borrow_mut();
            record.last_contact = Some(self.now());
            record.quiet = false;
            record.failures = 0;
            record.retry_at = None;
        }
        self.store_record(vendor);
    }
}
