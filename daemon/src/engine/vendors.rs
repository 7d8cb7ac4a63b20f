//! Vendors: whose profiles are known, which root keys are believed, which keyset is in force, and whose serial number
//! that is.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use claviger_protocol::clock::DAY;
use claviger_protocol::documents::{ActivationCertificate, DocumentError, Keyset, VendorProfile};
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{AddVendorReply, CallError};
use claviger_protocol::serial::{Serial, TypedCodeError};
use claviger_protocol::unlock::UnlockCode;
use tokio::sync::OwnedMutexGuard;

use super::held::Found;
use super::{Engine, Keys, Vendor, view};
use crate::platform::{self, FileError};
use crate::policy;
use crate::state::PendingKeyset;

/// Vendors that a machine may know: under a system daemon anyone on it may add some, and each takes room on its disk.
const MOST_VENDORS: usize = 256;
/// A compromised key stops being good this long after the keyset says so, reissued certificates or not.
const PENDING_FOR: i64 = 30 * DAY;

impl Engine {
    /// The known vendors that policy allows, by id.
    pub(super) fn known_vendors(&self) -> Vec<Rc<Vendor>> {
        self.vendors.borrow().values().cloned().collect()
    }

    /// One vendor, or all.
    pub(super) fn select(&self, vendor: Option<&VendorId>) -> Result<Vec<Rc<Vendor>>, CallError> {
        match vendor {
            None => Ok(self.known_vendors()),
            Some(id) => Ok(vec![self.vendor(id)?]),
        }
    }

    pub(super) fn vendor(&self, id: &VendorId) -> Result<Rc<Vendor>, CallError> {
        if !self.policy.allows(id) {
            return Err(not_allowed(id));
        }
        self.vendors.borrow().get(id).cloned().ok_or_else(|| CallError::NotFound {
            message: format!("The vendor {id} is not known here."),
            advice: Some(
                "Add it with `claviger vendor add FILE`, with the profile that it ships.".to_owned(),
            ),
            choices: Vec::new(),
        })
    }

    /// Waits for the turn with a vendor, and gives the vendor as it is known by then: a newer profile may have come.
    pub(super) async fn turn(
        &self,
        vendor: &Rc<Vendor>,
    ) -> Result<(Rc<Vendor>, OwnedMutexGuard<()>), CallError> {
        let mut vendor = vendor.clone();
        loop {
            let turn = vendor.lock.clone().lock_owned().await;
            let known = self.vendor(vendor.id())?;
            if Arc::ptr_eq(&known.lock, &vendor.lock) {
                return Ok((known, turn));
            }
            // Removed and added again meanwhile: its turn is another one.
            vendor = known;
        }
    }

    /// Learns the vendors from state, store and what installers put down.
    pub(super) fn load_vendors(&self) {
        let mut ids = self.state.vendors().unwrap_or_default();
        ids.extend(self.store.vendors().unwrap_or_default());
        ids.sort();
        ids.dedup();
        for id in ids {
            if let Some(vendor) = self.load_vendor(&id) {
                self.vendors.borrow_mut().insert(id, Rc::new(vendor));
            }
        }
        let shipped = &self.paths.shipped_profiles;
        for name in platform::list(shipped).unwrap_or_default() {
            if !name.ends_with(".clvprofile") {
                continue;
            }
            let path = shipped.join(&name);
            let Ok(Some(bytes)) = platform::read_bounded(&path, 256 * 1024) else { continue };
            if let Err(e) = self.add_vendor(&String::from_utf8_lossy(&bytes)) {
                tracing::warn!(file = %path.display(), error = %e, "a shipped vendor profile was not taken");
            }
        }
    }

    /// One vendor as state and store know it. The copy in the private state decides whose root keys are believed; a
    /// profile in the readable store that says otherwise is replaced by it.
    fn load_vendor(&self, id: &VendorId) -> Option<Vendor> {
        let read = |text: Option<String>| -> Option<(String, Result<VendorProfile, DocumentError>)> {
            let text = text?;
            let profile = VendorProfile::verify(&text).map(|(profile, _)| profile).and_then(|profile| {
                if profile.iss == *id {
                    Ok(profile)
                } else {
                    Err(DocumentError::Claim("it is another vendor's"))
                }
            });
            Some((text, profile))
        };
        let pinned = match read(self.state.profile(id).ok().flatten()) {
            Some((text, Ok(profile))) => Some((text, profile)),
            Some((_, Err(e))) => {
                self.state.set_profile_aside(id, &e.to_string());
                None
            }
            None => None,
        };
        let stored = match read(self.store.profile(id).ok().flatten()) {
            Some((text, Ok(profile))) => Some((text, profile)),
            Some((_, Err(e))) => {
                tracing::error!(vendor = %id, error = %e, "the vendor profile in the store is not good");
                None
            }
            None => None,
        };
        let (text, profile) = match (pinned, stored) {
            (Some(pinned), stored) => {
                let same = stored.is_some_and(|(text, _)| text == pinned.0);
                if !same {
                    tracing::warn!(vendor = %id, "the vendor profile in the store was replaced by the known one");
                    if let Err(e) = self.store.write_profile(id, &pinned.0) {
                        tracing::error!(error = %e, cause = %e.source, "it could not be written");
                    }
                }
                pinned
            }
            (None, Some(stored)) => {
                if let Err(e) = self.state.write_profile(id, &stored.0) {
                    tracing::error!(error = %e, cause = %e.source, "the vendor profile could not be kept");
                }
                stored
            }
            (None, None) => return None,
        };
        if !self.policy.allows(id) {
            tracing::warn!(vendor = %id, "policy does not allow this vendor");
            return None;
        }
        self.assemble(&text, profile)
    }

    fn assemble(&self, text: &str, profile: VendorProfile) -> Option<Vendor> {
        let id = profile.iss.clone();
        let (_, first) = VendorProfile::verify(text).ok()?;
        let anchor = profile.anchor(first.number);
        let mut in_force = first;
        if let Some(text) = self.store.keyset(&id).ok().flatten() {
            match Keyset::verify(&text, &anchor) {
                Ok(keyset) if keyset.may_follow(&in_force).is_ok() => in_force = keyset,
                Ok(_) => {}
                Err(e) => {
                    tracing::error!(vendor = %id, error = %e, "the stored keyset is not good: it was moved aside");
                    let _ = platform::move_aside(&self.store.keyset_path(&id), "damaged");
                }
            }
        }
        let mut record = self.state.record(&id).unwrap_or_default();
        let pending = record.pending.as_ref().and_then(|p| Keyset::verify(&p.keyset, &anchor).ok());
        let pending = pending.filter(|p| p.number > in_force.number);
        if pending.is_none() {
            // In force already (a crash came before this was noted), or not good: nothing waits, and the next keyset
            // that does has its own thirty days.
            record.pending = None;
        }
        Some(Vendor {
            profile,
            anchor,
            keys: Rc::new(RefCell::new(Keys { in_force, pending })),
            record: Rc::new(RefCell::new(record)),
            survey: Rc::default(),
            lock: Arc::default(),
        })
    }

    /// Learns a vendor from its profile, or a newer profile of a known one.
    ///
    /// # Errors
    /// [`CallError`]; another profile never replaces known root keys.
    pub fn add_vendor(&self, text: &str) -> Result<AddVendorReply, CallError> {
        let text = text.trim();
        let bad = |code: &str, message: String, advice: &str| CallError::InvalidInput {
            code: code.to_owned(),
            message,
            advice: Some(advice.to_owned()),
        };
        let (profile, keyset) = VendorProfile::verify(text).map_err(|e| {
            bad(
                "bad_profile",
                format!("This is not a good vendor profile: {e}."),
                "Get the file from the vendor again.",
            )
        })?;
        let id = profile.iss.clone();
        if !self.policy.allows(&id) {
            return Err(not_allowed(&id));
        }
        crate::egress::check_server(&profile.server).map_err(|e| {
            bad("insecure_server", format!("{e}."), "Get a current vendor profile from the vendor.")
        })?;
        let known = self.vendors.borrow().get(&id).cloned();
        if let Some(known) = &known {
            if known.profile.roots != profile.roots {
                return Err(bad(
                    "roots_differ",
                    format!(
                        "This profile names other root keys for {id} than the known ones. It was not taken."
                    ),
                    "If the vendor really changed its root keys, remove it first with `claviger vendor remove`; \
                     otherwise do not trust where this file came from.",
                ));
            }
            if profile.iat <= known.profile.iat {
                let profile_keyset = profile.keyset.clone();
                self.offer_keyset(known, &profile_keyset).ok();
                return Ok(AddVendorReply { vendor: view(known), added: false });
            }
        }
        if known.is_none() && self.vendors.borrow().len() >= MOST_VENDORS {
            return Err(bad(
                "too_many_vendors",
                format!("This computer knows {MOST_VENDORS} vendors already."),
                "Forget one that is not needed with `claviger vendor remove ID`, then try again.",
            ));
        }
        let before = self.state.profile(&id)?;
        let written = self.state.write_profile(&id, text).and_then(|()| self.store.write_profile(&id, text));
        if let Err(e) = written {
            // Known in neither place or in both: half an addition would come to life at the next start.
            if let Err(e) = self.state.restore_profile(&id, before.as_deref()) {
                tracing::error!(error = %e, cause = %e.source, "a profile that was not taken could not be removed");
            }
            return Err(e.into());
        }
        let added = known.is_none();
        let vendor = match known {
            None => self.assemble(text, profile).map(Rc::new),
            Some(old) => {
                // The same keys under a new address: whatever runs on the old entry shares lock,
                // keyset and record with the new one.
                let anchor = old.anchor.clone();
                Some(Rc::new(Vendor {
                    profile,
                    anchor,
                    keys: old.keys.clone(),
                    record: old.record.clone(),
                    survey: old.survey.clone(),
                    lock: old.lock.clone(),
                }))
            }
        };
        let vendor = vendor.ok_or_else(|| CallError::Internal {
            message: "A verified profile could not be used.".to_owned(),
            advice: None,
        })?;
        let first = vendor.profile.keyset.clone();
        self.vendors.borrow_mut().insert(id.clone(), vendor.clone());
        if keyset.number > vendor.keys.borrow().newest().number {
            self.offer_keyset(&vendor, &first).ok();
        }
        tracing::info!(vendor = %id, added, "vendor profile taken");
        self.announce();
        Ok(AddVendorReply { vendor: view(&vendor), added })
    }

    /// Forgets a vendor without activations.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn remove_vendor(&self, id: &VendorId) -> Result<(), CallError> {
        let vendor = self.vendor(id)?;
        let Ok(_turn) = vendor.lock.try_lock() else {
            return Err(CallError::InvalidInput {
                code: "vendor_busy".to_owned(),
                message: format!("An exchange with {} is under way.", vendor.profile.name),
                advice: Some("Try again when it has ended.".to_owned()),
            });
        };
        let in_use = self.count_held(&vendor)? > 0;
        if in_use || self.state.has_intents(id) || self.state.has_outbox(id) {
            return Err(CallError::InvalidInput {
                code: "vendor_in_use".to_owned(),
                message: format!(
                    "{} still has activations on this computer, or receipts that wait for its server.",
                    vendor.profile.name
                ),
                advice: Some(
                    "Deactivate its licenses first (`claviger license list`), then try again with the network on."
                        .to_owned(),
                ),
            });
        }
        self.desk.remove_vendor(id, self.moment())?;
        self.state.remove_vendor(id)?;
        self.store.remove_vendor(id)?;
        self.vendors.borrow_mut().remove(id);
        tracing::info!(vendor = %id, "vendor removed");
        self.announce();
        Ok(())
    }

    /// Looks at a keyset that came along. A newer one waits until the certificates that it makes worthless were issued
    /// anew, at most 30 days.
    pub(super) fn offer_keyset(&self, vendor: &Rc<Vendor>, text: &str) -> Result<(), DocumentError> {
        let mut anchor = vendor.anchor.clone();
        let newest = vendor.keys.borrow().newest().clone();
        anchor.least_keyset = newest.number;
        let keyset = Keyset::verify(text, &anchor)?;
        keyset.may_follow(&newest)?;
        if keyset.number == newest.number {
            return Ok(());
        }
        tracing::info!(vendor = %vendor.id(), number = keyset.number, "newer keyset");
        {
            let mut record = vendor.record.borrow_mut();
            // The clock of an earlier keyset that waits goes on: a vendor that signs often must not put it off.
            let since = record.pending.as_ref().map_or_else(|| self.now(), |p| p.since);
            record.pending = Some(PendingKeyset { keyset: text.to_owned(), since });
        }
        vendor.keys.borrow_mut().pending = Some(keyset);
        self.store_record(vendor);
        self.apply_pending(vendor);
        Ok(())
    }

    /// Puts a waiting keyset into force when no certificate held here loses by it, or when its time has come.
    pub(super) fn apply_pending(&self, vendor: &Rc<Vendor>) {
        let Some(pending) = vendor.record.borrow().pending.clone() else { return };
        let due = pending.since.plus(PENDING_FOR) <= self.now();
        if !due && self.loses_by_pending(vendor) {
            return;
        }
        let Some(keyset) = vendor.keys.borrow().pending.clone() else { return };
        if let Err(e) = self.store.write_keyset(vendor.id(), &pending.keyset) {
            tracing::error!(error = %e, cause = %e.source, "the new keyset could not be stored; it will be tried again");
            return;
        }
        tracing::info!(vendor = %vendor.id(), number = keyset.number, "keyset in force");
        *vendor.keys.borrow_mut() = Keys { in_force: keyset, pending: None };
        vendor.record.borrow_mut().pending = None;
        self.store_record(vendor);
        self.announce();
    }

    fn loses_by_pending(&self, vendor: &Rc<Vendor>) -> bool {
        let keys = vendor.keys.borrow();
        let Some(pending) = &keys.pending else { return false };
        if keys.in_force.keys.iter().all(|key| pending.find(&key.x.id()) == Some(key)) {
            // Nothing but new keys.
            return false;
        }
        let loses = |text: &str| {
            ActivationCertificate::verify(text, pending).is_err()
                && ActivationCertificate::verify(text, &keys.in_force).is_ok()
        };
        self.any_held(vendor, loses).unwrap_or(true)
    }

    /// Whether any certificate that is held here is one of these.
    fn any_held(&self, vendor: &Vendor, wanted: impl Fn(&str) -> bool) -> Result<bool, FileError> {
        for (id, files) in self.store.activations(vendor.id())? {
            if self.is_held(vendor, id, &files)? {
                let mut found = Found::default();
                self.look_at(vendor, id, files.certificates, &mut found)?;
                if found.held.iter().any(|held| wanted(&held.text)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Since when a keyset waits, and until when it may.
    pub(super) fn pending_until(vendor: &Vendor) -> Option<claviger_protocol::clock::Timestamp> {
        vendor.record.borrow().pending.as_ref().map(|p| p.since.plus(PENDING_FOR))
    }

    /// Stores what is remembered; what cannot be stored is still known until the daemon ends.
    pub(super) fn store_record(&self, vendor: &Vendor) {
        if let Err(e) = self.state.write_record(vendor.id(), &vendor.record.borrow()) {
            tracing::error!(error = %e, cause = %e.source, "what is known about a vendor could not be stored");
        }
    }

    /// Whose serial number that is, and its one spelling. Nothing is ever sent to find out.
    pub(super) fn route(
        &self,
        typed: &str,
        named: Option<&VendorId>,
    ) -> Result<(Rc<Vendor>, Serial), CallError> {
        if let Some(id) = named {
            let vendor = self.vendor(id)?;
            if !Serial::looks_native(typed, &vendor.profile.prefix)
                && let Some(owner) =
                    self.known_vendors().into_iter().find(|v| Serial::parse(typed, &v.profile.prefix).is_ok())
            {
                return Err(CallError::InvalidInput {
                    code: "other_vendor".to_owned(),
                    message: format!(
                        "This serial number belongs to {}, not to {}.",
                        owner.profile.name, vendor.profile.name
                    ),
                    advice: Some("Leave the vendor out: the serial number tells it.".to_owned()),
                });
            }
            let serial = Serial::parse_any(typed, &vendor.profile.prefix)
                .map_err(|e| mistyped("mistyped_serial", &e))?;
            return Ok((vendor, serial));
        }
        let vendors = self.known_vendors();
        let mut fitting: Vec<_> =
            vendors.iter().filter(|v| Serial::looks_native(typed, &v.profile.prefix)).cloned().collect();
        if fitting.len() > 1 {
            // Vendors may share a prefix, or one may begin with another: the check symbols may still tell.
            let exact: Vec<_> =
                fitting.iter().filter(|v| Serial::parse(typed, &v.profile.prefix).is_ok()).cloned().collect();
            if !exact.is_empty() {
                fitting = exact;
            }
        }
        match fitting.as_slice() {
            [vendor] => {
                let serial = Serial::parse(typed, &vendor.profile.prefix)
                    .map_err(|e| mistyped("mistyped_serial", &e))?;
                Ok((vendor.clone(), serial))
            }
            [] => {
                // What no vendor could have issued, or a known one almost did, is said at once.
                if let Some(e) = vendors.iter().find_map(|v| Serial::near_miss(typed, &v.profile.prefix)) {
                    return Err(mistyped("mistyped_serial", &e));
                }
                Serial::foreign(typed).map_err(|e| mistyped("mistyped_serial", &e))?;
                if UnlockCode::looks_native(typed) {
                    return Err(mistyped("mistyped_serial", &TypedCodeError::UnlockCode));
                }
                if let (true, Some(allowed)) = (vendors.is_empty(), &self.policy.vendors) {
                    let names: Vec<&str> = allowed.iter().map(VendorId::as_str).collect();
                    return Err(CallError::NotPermitted {
                        message: format!(
                            "The administrator's policy allows these vendors alone, and none of them is known here: {}.",
                            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                        ),
                        advice: Some(policy::advice()),
                    });
                }
                if let Some(prefix) = Serial::native_prefix(typed) {
                    // Its vendor is none of those known here: none of them is offered it.
                    return Err(vendor_needed(
                        &format!("No vendor known here has serial numbers that begin with {prefix}."),
                        "Add its vendor first with `claviger vendor add FILE`, with the profile that it ships.",
                        &[],
                    ));
                }
                let (message, advice) = if vendors.is_empty() {
                    (
                        "No vendor is known on this computer yet.",
                        "Add the vendor first with `claviger vendor add FILE`, with the profile that it ships.",
                    )
                } else {
                    (
                        "This serial number does not say which vendor it belongs to.",
                        "Name the vendor with `--vendor ID`. It is sent to that vendor only.",
                    )
                };
                Err(vendor_needed(message, advice, &vendors))
            }
            _ => Err(vendor_needed(
                "Several vendors have serial numbers that begin like this one.",
                "Name the vendor with `--vendor ID`. It is sent to that vendor only.",
                &fitting,
            )),
        }
    }
}

fn not_allowed(id: &VendorId) -> CallError {
    CallError::NotPermitted {
        message: format!("The administrator's policy does not allow the vendor {id} on this computer."),
        advice: Some(policy::advice()),
    }
}

fn vendor_needed(message: &str, advice: &str, choices: &[Rc<Vendor>]) -> CallError {
    CallError::VendorNeeded {
        message: message.to_owned(),
        advice: Some(advice.to_owned()),
        choices: choices.iter().map(|v| v.id().to_string()).collect(),
    }
}

/// A typed code that cannot be right; found before any network use.
pub(super) fn mistyped(code: &str, error: &TypedCodeError) -> CallError {
    let sentence = error.to_string();
    let mut letters = sentence.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    CallError::InvalidInput {
        code: code.to_owned(),
        message: format!("{first}{}.", letters.as_str()),
        advice: Some(
            "Nothing was sent. Type it again as it stands in your purchase confirmation.".to_owned(),
        ),
    }
}
