//! A vendor as compiled into a plug-in, and the opening of its products.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::{DocumentError, TrustAnchor};
use claviger_protocol::ids::{InvalidId, MachineId, ProductId, VendorId};
use claviger_protocol::layout;
use claviger_protocol::status::Status;

use crate::library::{Lease, Library, LibraryShared};
use crate::license::{License, ProductState};
use crate::platform::{self, Locality, ReadError, StorePlace};
use crate::store;
use crate::trust::TrustKeeper;
use crate::verdict::{self, Question, Verdict};
use crate::worker::{Kind, PATIENCE};

/// A vendor. Cheap to clone; all handles of one profile in a process share what was learnt.
#[derive(Clone, Debug)]
pub struct Vendor(pub(crate) Arc<VendorShared>, Arc<Lease>);

/// The text compiled in is not a vendor profile.
#[derive(Debug, thiserror::Error)]
#[error(
    "the text compiled into this program is not a vendor profile; take the .clvprofile that `claviger-server vendor-profile` writes"
)]
pub struct ProfileError(#[source] DocumentError);

/// How a product is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    released: Option<Date>,
}

impl OpenOptions {
    /// Without a release date: `updates_until` is not looked at.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The date on which this build of the product was released; a license with `updates_until` must cover it.
    #[must_use]
    pub fn released(mut self, date: Date) -> Self {
        self.released = Some(date);
        self
    }
}

type ProductKey = (ProductId, Option<Date>);

/// What a process knows of a vendor.
#[derive(Debug)]
pub(crate) struct VendorShared {
    pub(crate) library: Arc<LibraryShared>,
    pub(crate) profile_text: String,
    pub(crate) id: VendorId,
    name: String,
    trust: TrustKeeper,
    machine: OnceLock<MachineId>,
    localities: Mutex<Option<Arc<Vec<Locality>>>>,
    products: Mutex<BTreeMap<ProductKey, Arc<ProductState>>>,
    /// Whether the user has agreed that uses are counted, as last seen.
    pub(crate) counting: AtomicBool,
}

impl Vendor {
    pub(crate) fn of(shared: Arc<VendorShared>) -> Self {
        let lease = shared.library.lease();
        Self(shared, lease)
    }

    /// The vendor whose profile (the text of its `.clvprofile`) is compiled into this program. Its signatures are not
    /// checked here: whoever could change the text could change the check.
    ///
    /// # Errors
    /// [`ProfileError`] when the text is not a profile.
    pub fn compiled_in(profile: &str) -> Result<Self, ProfileError> {
        Library::of_process().vendor(profile)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &VendorId {
        &self.0.id
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Opens a product: reads and verifies the files on this computer, on the spot, and answers with a handle whatever
    /// they say. A product that is already licensed in this process is not read again ([`License::refresh`] does).
    ///
    /// # Errors
    /// [`InvalidId`] when `product` is not a product id.
    pub fn open(&self, product: &str, options: OpenOptions) -> Result<License, InvalidId> {
        let product: ProductId = product.parse()?;
        let key = (product.clone(), options.released);
        let state = self
            .0
            .lock()
            .entry(key)
            .or_insert_with(|| Arc::new(ProductState::new(product, options.released)))
            .clone();
        if !state.is_settled() {
            self.0.look(&state, false);
        }
        Ok(License { state, vendor: self.0.clone(), lease: Some(self.1.clone()) })
    }
}

impl VendorShared {
    pub(crate) fn new(library: Arc<LibraryShared>, profile: &str) -> Result<Self, ProfileError> {
        let (anchor, parsed, keyset) = TrustAnchor::compiled_in(profile).map_err(ProfileError)?;
        Ok(Self {
            library,
            profile_text: profile.to_owned(),
            id: anchor.vendor.clone(),
            name: parsed.name,
            trust: TrustKeeper::new(anchor, keyset, parsed.keyset),
            machine: OnceLock::new(),
            localities: Mutex::new(None),
            products: Mutex::new(BTreeMap::new()),
            counting: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ProductKey, Arc<ProductState>>> {
        self.products.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This computer as the vendor knows it.
    pub(crate) fn machine(&self) -> Option<MachineId> {
        if let Some(known) = self.machine.get() {
            return Some(*known);
        }
        let derived = MachineId::derive(&self.id, &self.library.os_machine_id()?);
        Some(*self.machine.get_or_init(|| derived))
    }

    /// Whether each store's disk may hang; asked once, and `again` on request.
    fn localities(&self, again: bool) -> Arc<Vec<Locality>> {
        let lock = || self.localities.lock().unwrap_or_else(PoisonError::into_inner);
        if !again && let Some(known) = lock().clone() {
            return known;
        }
        let places = self.library.places.stores.iter();
        let found: Vec<_> =
            places.map(|place| platform::locality(&layout::products(&place.path, &self.id))).collect();
        let found = Arc::new(found);
        *lock() = Some(found.clone());
        found
    }

    /// Finds out about a product and publishes it. Stores on disks that may hang are read by a helper, which is waited
    /// for briefly; until it has answered, the product is pending.
    pub(crate) fn look(self: &Arc<Self>, state: &Arc<ProductState>, again: bool) {
        let localities = self.localities(again);
        let places = self.library.places.stores.iter().enumerate();
        let near: Vec<_> =
            places.filter(|(index, _)| localities.get(*index) == Some(&Locality::Local)).collect();
        let all_near = near.len() == self.library.places.stores.len();
        let verdict = self.judge(&near, state, again);
        if all_near || verdict.status.is_licensed() {
            state.publish(verdict);
            return;
        }
        let Some(looking) = state.begin_look() else { return };
        let done = Arc::new((Mutex::new(false), Condvar::new()));
        let (vendor, product, finished) = (self.clone(), state.clone(), done.clone());
        let stuck = self.library.workers.is_stuck(Kind::Disk);
        let submitted = self.library.workers.submit(
            Kind::Disk,
            Box::new(move || {
                let _looking = looking;
                let places: Vec<_> = vendor.library.places.stores.iter().enumerate().collect();
                product.publish(vendor.judge(&places, &product, again));
                *finished.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                finished.1.notify_all();
            }),
        );
        if submitted.is_err() {
            state.publish(Verdict::plain(Status::StateUnreachable));
            return;
        }
        if !stuck {
            let waiting = done.0.lock().unwrap_or_else(PoisonError::into_inner);
            drop(done.1.wait_timeout_while(waiting, PATIENCE, |finished| !*finished));
        }
        state.wait_for_disk();
    }

    /// Whether uses are counted, after another look at the user's word. May wait for a slow disk.
    pub(crate) fn look_at_counting(&self) -> bool {
        let words = self.library.places.stores.iter().filter_map(|place| store::counting(place, &self.id));
        self.take_counting(words.max())
    }

    fn take_counting(&self, until: Option<Timestamp>) -> bool {
        let agreed = until.is_some_and(|until| self.library.clock.now() < until);
        let counting = agreed && !crate::platform::do_not_track();
        self.counting.store(counting, Ordering::Relaxed);
        counting
    }

    /// Reads what `places` have about a product and weighs it.
    fn judge(&self, places: &[(usize, &StorePlace)], state: &ProductState, again: bool) -> Verdict {
        let mut trust = self.trust.look(places, again);
        self.take_counting(trust.counting);
        let mut found = Vec::new();
        let mut given_up = BTreeMap::new();
        let mut verdict = Verdict::plain(Status::NotActivated);
        let mut missing = 0;
        // A certificate that was typed lies under the product's short name.
        let alias = state.product.alias();
        for (_, place) in places {
            let mut nothing = 0;
            for name in [&state.product, &alias] {
                match store::find(place, &self.id, name) {
                    Ok(here) => {
                        given_up.extend(here.given_up.iter().map(|(id, at)| (*id, *at)));
                        found.push((*place, here));
                    }
                    Err(ReadError::Missing) => nothing += 1,
                    Err(_) => verdict = verdict.better(Verdict::plain(Status::StateUnreachable)),
                }
            }
            missing += usize::from(nothing == 2);
        }
        if missing == places.len() && places.iter().all(|(_, place)| store::hidden(place)) {
            verdict = verdict.better(Verdict::plain(Status::StateUnreachable));
        }
        if !given_up.is_empty() {
            verdict = verdict.better(Verdict::plain(Status::GivenUp));
        }
        for (place, here) in &found {
            // An end that came before this machine gave the product up explains nothing any more.
            let latest = here.ended.iter().max_by_key(|note| note.at);
            if let Some(latest) = latest.filter(|note| given_up.values().all(|at| *at < note.at)) {
                verdict = verdict.better(verdict::of_ended(latest));
            }
            for candidate in &here.certificates {
                let judge = |keyset: &claviger_protocol::documents::Keyset| {
                    let question = Question {
                        product: &state.product,
                        released: state.released,
                        machine: self.machine(),
                        keyset,
                        given_up: &given_up,
                    };
                    verdict::of_certificate(&question, candidate, place.scope, || {
                        (self.library.clock.now(), store::clock_note(place))
                    })
                };
                let mut one = judge(&trust.keyset);
                // A key that is not known yet: the daemon may have put a newer keyset beside this certificate.
                if one.code == "unknown_kid" && !again {
                    trust = self.trust.look(places, true);
                    one = judge(&trust.keyset);
                }
                verdict = verdict.better(one);
            }
        }
        if trust.freed.contains(&state.product) {
            verdict = verdict.better(Verdict::plain(Status::Sunset));
        }
        verdict
    }
}
