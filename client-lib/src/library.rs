//! One copy of the library in a process: where it looks, what it has opened, the clock it asks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use claviger_protocol::clock::{Clock, SystemClock};

use crate::daemon::{News, ToDaemon};
use crate::platform::{self, Places};
use crate::usage::UsageSink;
use crate::vendor::{ProfileError, Vendor, VendorShared};
use crate::worker::{CLOSING, Workers};

/// A copy of the library. Plug-ins use the process's own through [`Vendor::compiled_in`]; tests and tools that look at
/// several places make their own with [`Library::builder`].
#[derive(Clone, Debug)]
pub struct Library(pub(crate) Arc<LibraryShared>);

static PROCESS: Mutex<Option<Library>> = Mutex::new(None);

/// How long threads that nobody closed are waited for when their code is unloaded.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct LibraryShared {
    pub(crate) places: Places,
    pub(crate) clock: Arc<dyn Clock>,
    machine: MachineIdSource,
    os_machine_id: OnceLock<String>,
    vendors: Mutex<Vec<Arc<VendorShared>>>,
    lease: Mutex<Weak<Lease>>,
    pub(crate) workers: Workers,
    pub(crate) news: News,
    usage: Option<Arc<dyn UsageSink>>,
}

/// Held by every handle that a program has. When the last one is dropped, threads end.
pub(crate) struct Lease(Weak<LibraryShared>);

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(library) = self.0.upgrade() {
            library.news.close();
            library.workers.close(CLOSING);
        }
    }
}

enum MachineIdSource {
    System,
    Given(Option<String>),
}

impl std::fmt::Debug for LibraryShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("places", &self.places).finish_non_exhaustive()
    }
}

/// Makes a [`Library`] that looks elsewhere than the process's own.
pub struct LibraryBuilder {
    places: Places,
    clock: Arc<dyn Clock>,
    machine: MachineIdSource,
    usage: Option<Arc<dyn UsageSink>>,
}

impl Library {
    /// The process's own copy: fixed places, or those below `CLAVIGER_HOME`.
    #[must_use]
    pub fn of_process() -> Self {
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let places = Places::of_process();
            let sink = Arc::new(ToDaemon(places.sockets.clone()));
            Self::builder(places).usage(sink).build()
        };
        process.get_or_insert_with(made).clone()
    }

    /// Frees what the process's own copy knows; for the moment at which its code is unloaded. Handles should be closed by
    /// then: threads that those left open keep are waited for, for half a second, because their code is about to go.
    pub fn forget_process() {
        let process = PROCESS.try_lock().ok().and_then(|mut process| process.take());
        if let Some(library) = process {
            library.0.news.close();
            library.0.workers.close(LAST_PATIENCE);
            // Vendors and the library hold each other.
            drop(std::mem::take(&mut *library.lock()));
        }
    }

    /// A copy that looks at `places`.
    #[must_use]
    pub fn builder(places: Places) -> LibraryBuilder {
        LibraryBuilder { places, clock: Arc::new(SystemClock), machine: MachineIdSource::System, usage: None }
    }

    /// The vendor whose profile (the text of its `.clvprofile`) is compiled into the program.
    ///
    /// # Errors
    /// [`ProfileError`] when the text is not a profile.
    pub fn vendor(&self, profile: &str) -> Result<Vendor, ProfileError> {
        let profile = profile.trim();
        let known = self.lock().iter().find(|vendor| vendor.profile_text == profile).cloned();
        if let Some(shared) = known {
            return Ok(Vendor::of(shared));
        }
        let made = Arc::new(VendorShared::new(self.0.clone(), profile)?);
        let mut vendors = self.lock();
        // Another thread may have been faster: there must be one state a product.
        if let Some(shared) = vendors.iter().find(|vendor| vendor.profile_text == profile) {
            return Ok(Vendor::of(shared.clone()));
        }
        vendors.push(made.clone());
        Ok(Vendor::of(made))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<VendorShared>>> {
        self.0.vendors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LibraryBuilder {
    /// The clock that subscriptions and trials are measured with.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the operating system is taken to say when it is asked for its machine id.
    #[must_use]
    pub fn os_machine_id(mut self, id: Option<String>) -> Self {
        self.machine = MachineIdSource::Given(id);
        self
    }

    /// Where uses go that a person has agreed to. Without one they go nowhere.
    #[must_use]
    pub fn usage(mut self, sink: Arc<dyn UsageSink>) -> Self {
        self.usage = Some(sink);
        self
    }

    /// The copy.
    #[must_use]
    pub fn build(self) -> Library {
        Library(Arc::new(LibraryShared {
            places: self.places,
            clock: self.clock,
            machine: self.machine,
            os_machine_id: OnceLock::new(),
            vendors: Mutex::new(Vec::new()),
            lease: Mutex::new(Weak::new()),
            workers: Workers::default(),
            news: News::default(),
            usage: self.usage,
        }))
    }
}

impl LibraryShared {
    /// What a handle holds to keep threads alive.
    pub(crate) fn lease(self: &Arc<Self>) -> Arc<Lease> {
        let mut known = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let lease = Arc::new(Lease(Arc::downgrade(self)));
            *known = Arc::downgrade(&lease);
            lease
        })
    }

    /// Where uses go.
    pub(crate) fn usage(&self) -> Option<Arc<dyn UsageSink>> {
        self.usage.clone()
    }

    /// The operating system's machine id. Only success is remembered.
    pub(crate) fn os_machine_id(&self) -> Option<String> {
        match &self.machine {
            MachineIdSource::Given(id) => id.clone(),
            MachineIdSource::System => match self.os_machine_id.get() {
                Some(id) => Some(id.clone()),
                None => platform::os_machine_id().map(|id| self.os_machine_id.get_or_init(|| id).clone()),
            },
        }
    }
}
