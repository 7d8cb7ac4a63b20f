//! Readying a golden image: what would make its copies look like one computer goes.

use claviger_protocol::ipc::{CallError, PrepareImageReply};

use super::Engine;
use crate::state::VendorRecord;

impl Engine {
    /// Removes device keys, certificates, requests, receipts, names, consents with what was counted under them, and logs of
    /// what was sent. Vendors stay known.
    ///
    /// # Errors
    /// [`CallError`]; doing it again completes it.
    pub async fn prepare_image(&self) -> Result<PrepareImageReply, CallError> {
        let vendors = self.known_vendors();
        let mut turns = Vec::new();
        for vendor in &vendors {
            let Ok(turn) = vendor.lock.clone().try_lock_owned() else {
                return Err(CallError::InvalidInput {
                    code: "vendor_busy".to_owned(),
                    message: format!("An exchange with {} is under way.", vendor.profile.name),
                    advice: Some("Try again when it has ended.".to_owned()),
                });
            };
            turns.push(turn);
        }
        let mut reply = PrepareImageReply { vendors: vendors.len(), ..PrepareImageReply::default() };
        for vendor in &vendors {
            let held = self.held(vendor).await?.held;
            let ours = held.iter().filter(|h| self.is_ours(&h.certificate));
            reply.seats.extend(ours.map(|h| h.certificate.serial.to_string()));
            reply.receipts += self.state.outbox(vendor.id())?.len();
            reply.requests += self.state.offline(vendor.id())?.len() + self.state.intents(vendor.id())?.len();
        }
        self.desk.forget_all();
        self.store.prepare_image()?;
        self.state.prepare_image()?;
        for vendor in &vendors {
            *vendor.record.borrow_mut() = VendorRecord::default();
        }
        tracing::info!(activations = reply.seats.len(), "this computer was readied as an image");
        drop(turns);
        self.announce();
        Ok(reply)
    }
}
