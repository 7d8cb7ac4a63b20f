//! What the daemon does, whoever asks: everything is keyed by vendor, and one exchange a vendor runs at a time.
//!
//! The daemon has one thread. Files are read and written on it, many of them with pauses for whoever else asks for
//! something; only exchanges with servers are waited for.

mod activate;
mod background;
mod consent;
mod deactivate;
mod doctor;
mod exchange;
mod held;
mod image;
mod offline;
mod policy_bundle;
mod refresh;
mod refusal;
mod seats;
mod settings;
mod survey;
mod telemetry;
mod vendors;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

pub use activate::Progress;
use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::documents::{EndReason, Keyset, TrustAnchor, VendorProfile};
use claviger_protocol::ids::{DeviceName, VendorId};
use claviger_protocol::ipc::{
    CallError, DaemonStatus, LicensesReply, Machine as MachineView, Mode, Vendor as VendorView,
};
use claviger_protocol::status::Status;
use ring::rand::SecureRandom;
use tokio::sync::{Mutex, Notify, watch};

use crate::consent::{Desk, Veto};
use crate::egress::{Egress, Limits};
use crate::highwater;
use crate::machine::{Machine, NoMachineId};
use crate::platform::{self, FileError, Paths};
use crate::policy::Policy;
use crate::state::{KeyError, State, VendorRecord};
use crate::store::Store;

/// How a daemon is put together. Tests hold the clock, the generator and the limits.
pub struct Setup {
    /// Its folders.
    pub paths: Paths,
    /// The computer.
    pub machine: Machine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn SecureRandom>,
    /// How long exchanges may take.
    pub limits: Limits,
    /// Whether `DO_NOT_TRACK` is set for the daemon.
    pub do_not_track: bool,
}

/// A daemon without its socket.
pub struct Engine {
    mode: Mode,
    paths: Paths,
    machine: Machine,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn SecureRandom>,
    policy: Policy,
    store: Store,
    state: State,
    egress: Egress,
    desk: Desk,
    vendors: RefCell<BTreeMap<VendorId, Rc<Vendor>>>,
    /// Where state of another machine was moved to at start.
    foreign_state: Option<PathBuf>,
    /// What is wrong with the policy's bundle, as the rest of a sentence.
    bundle_trouble: RefCell<Option<String>>,
    changed: watch::Sender<u64>,
    poke: Notify,
    busy: Cell<usize>,
    idle: Notify,
    next_contact: Cell<Option<Timestamp>>,
    closing: Cell<bool>,
}

/// A vendor that the daemon knows.
pub struct Vendor {
    profile: VendorProfile,
    anchor: TrustAnchor,
    /// Shared with the entry that an exchange under way was begun on, when a newer profile came meanwhile.
    keys: Rc<RefCell<Keys>>,
    record: Rc<RefCell<VendorRecord>>,
    survey: Rc<RefCell<survey::Survey>>,
    /// Held during an exchange.
    lock: Arc<Mutex<()>>,
}

struct Keys {
    in_force: Keyset,
    pending: Option<Keyset>,
}

impl Keys {
    /// The newest keyset known: answers and new certificates are verified by it.
    fn newest(&self) -> &Keyset {
        self.pending.as_ref().unwrap_or(&self.in_force)
    }
}

impl Vendor {
    fn id(&self) -> &VendorId {
        &self.profile.iss
    }
}

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folders cannot be used at all.
    #[error("the daemon's folders cannot be used")]
    File(#[from] FileError),
    /// Another daemon runs.
    #[error(transparent)]
    Lock(#[from] platform::LockError),
}

/// Counts an exchange that must not be cut off by an orderly end.
struct Busy<'a>(&'a Engine);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        if self.0.busy.get() == 0 {
            self.0.idle.notify_waiters();
            platform::trim_memory();
        }
    }
}

impl Engine {
    /// Opens state and store, finishes what a crash left half done on this machine, and learns the vendors. Nothing is
    /// sent. The lock keeps other daemons away while the value lives.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(setup: Setup) -> Result<(Rc<Self>, platform::Lock), StartError> {
        let Setup { paths, machine, clock, rng, limits, do_not_track } = setup;
        platform::make_dir(&paths.state, platform::Visibility::Private)?;
        let lock = platform::Lock::take(&paths.state)?;
        let (state, foreign_state) = match State::open(paths.state.clone(), &machine) {
            Err(e) if matches!(e.code(), "disk_full" | "read_only") => {
                tracing::error!(error = %e, cause = %e.source, "the state folder cannot be written");
                (State::unmarked(paths.state.clone()), None)
            }
            other => other?,
        };
        let lock = match &foreign_state {
            None => lock,
            Some(place) => {
                tracing::warn!(
                    kept_as = %place.display(),
                    "the state folder came from another machine: it was moved aside, and this machine starts its own"
                );
                lock.renew(&paths.state)?
            }
        };
        let policy = Policy::load(&paths.policy);
        let egress = Egress::new(&policy, paths.state.join("sent"), limits);
        egress.choose(state.choices());
        let veto = match (policy.telemetry, do_not_track) {
            (false, _) => Some(Veto::Policy),
            (true, true) => Some(Veto::DoNotTrack),
            (true, false) => None,
        };
        let desk = Desk::open(paths.state.join("consent"), veto);
        let engine = Self {
            mode: paths.mode,
            store: Store::new(paths.certs.clone()),
            paths,
            machine,
            clock,
            rng,
            policy,
            state,
            egress,
            desk,
            vendors: RefCell::default(),
            foreign_state,
            bundle_trouble: RefCell::default(),
            changed: watch::Sender::new(0),
            poke: Notify::new(),
            busy: Cell::new(0),
            idle: Notify::new(),
            next_contact: Cell::new(None),
            closing: Cell::new(false),
        };
        engine.state.clear_temporaries();
        engine.store.clear_temporaries();
        engine.observe_clock();
        engine.load_vendors();
        for vendor in engine.known_vendors() {
            engine.finish_locally(&vendor);
            engine.desk.load_notices(vendor.id(), vendor.keys.borrow().newest());
        }
        engine.desk.settle_all(engine.moment());
        engine.prune_logs();
        Ok((Rc::new(engine), lock))
    }

    /// What was sent more than a year ago is told no longer.
    fn prune_logs(&self) {
        let people = self.desk.people();
        let logs = people.iter().map(|who| self.desk.log(who)).chain([self.egress.log().clone()]);
        for log in logs {
            if let Err(e) = log.prune(self.now()) {
                tracing::warn!(error = %e, cause = %e.source, "the sent log could not be shortened");
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes the time; a disk that does not take it is no reason to fail.
    fn observe_clock(&self) {
        if let Err(e) = highwater::observe(&self.store, self.now()) {
            tracing::warn!(error = %e, cause = %e.source, "the clock's high-water mark could not be stored");
        }
    }

    fn busy(&self) -> Busy<'_> {
        self.busy.set(self.busy.get() + 1);
        Busy(self)
    }

    /// Tells monitors and the scheduler that something changed.
    fn announce(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
        self.poke.notify_one();
    }

    /// Wakes whoever watches the list of licenses.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes no new exchange, and waits for the ones under way.
    pub async fn drain(&self) {
        self.closing.set(true);
        while self.busy.get() > 0 {
            self.idle.notified().await;
        }
    }

    /// The last word before the process ends.
    pub fn finish(&self) {
        self.observe_clock();
    }

    fn refuse_when_closing(&self) -> Result<(), CallError> {
        if self.closing.get() {
            return Err(CallError::Unreachable {
                code: "shutting_down".to_owned(),
                message: "The daemon is shutting down.".to_owned(),
                advice: Some("Try again in a moment.".to_owned()),
            });
        }
        Ok(())
    }

    /// The group that policy restricts changes to.
    #[must_use]
    pub fn change_group(&self) -> Option<&str> {
        self.policy.change_group.as_deref()
    }

    /// Whom this daemon serves.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The certificate store's folder.
    #[must_use]
    pub fn certs(&self) -> &std::path::Path {
        self.store.root()
    }

    /// The daemon itself, as this caller sees it.
    #[must_use]
    pub fn status(&self, may_change: bool) -> DaemonStatus {
        let vendors = self.known_vendors();
        let count = |f: &dyn Fn(&Vendor) -> usize| vendors.iter().map(|v| f(v)).sum();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.mode,
            pid: platform::process_id(),
            vendors: vendors.len(),
            activations: count(&|v| self.count_held(v).unwrap_or(0)),
            receipts_waiting: count(&|v| self.state.count(v.id(), "outbox", ".receipt")),
            intents_waiting: count(&|v| self.state.count(v.id(), "intents", ".json")),
            network: self.egress.is_open(),
            may_change,
            next_contact: self.next_contact.get(),
        }
    }

    /// The known vendors.
    #[must_use]
    pub fn list_vendors(&self) -> Vec<VendorView> {
        self.known_vendors().iter().map(|v| view(v)).collect()
    }

    /// Activations here, held and lately ended. When all vendors are asked for, one whose files cannot be read is left
    /// out, and a warning says so.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_licenses(&self, vendor: Option<&VendorId>) -> Result<LicensesReply, CallError> {
        let mut all = LicensesReply::default();
        for known in self.select(vendor)? {
            match self.licenses_of(&known).await {
                Ok(licenses) => all.licenses.extend(licenses),
                Err(e) if vendor.is_none() => {
                    tracing::error!(vendor = %known.id(), error = %e, cause = %e.source, "a vendor is left out");
                    all.warnings.push(format!(
                        "The licenses of {} cannot be read: the daemon {e}: {}. `claviger doctor` says how to mend it.",
                        known.profile.name, e.source
                    ));
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(all)
    }

    /// Exactly what activation would send.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn show_machine(&self, vendor: Option<&VendorId>) -> Result<Vec<MachineView>, CallError> {
        let name = self.state.device_name();
        let vendors = self.select(vendor)?;
        let facts = vendors.iter().map(|v| {
            let facts = self.machine.facts(v.id(), name.as_ref()).map_err(no_machine_id)?;
            Ok(MachineView::of(v.id().clone(), facts))
        });
        facts.collect()
    }

    /// The name that vendors are told.
    fn device_name(&self, vendor: &VendorId) -> Result<DeviceName, CallError> {
        let facts = self.machine.facts(vendor, self.state.device_name().as_ref()).map_err(no_machine_id)?;
        Ok(facts.device_name)
    }

    /// Gives this computer a name of the person's choice.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn rename_machine(&self, name: &DeviceName) -> Result<(), CallError> {
        self.state.write_device_name(name)?;
        Ok(())
    }
}

/// What others see of a vendor.
fn view(vendor: &Vendor) -> VendorView {
    let profile = &vendor.profile;
    VendorView {
        id: profile.iss.clone(),
        name: profile.name.clone(),
        prefix: profile.prefix.clone(),
        server: profile.server.clone(),
        keyset: vendor.keys.borrow().newest().number,
        policy: profile.policy.clone(),
        support: profile.contact.url.clone().or_else(|| profile.contact.email.clone()),
        accent: profile.shown_accent().map(|accent| accent.to_string()),
        logo: profile.shown_logo().map(|logo| logo.to_text()),
    }
}

fn status_of_end(reason: EndReason) -> Status {
    match reason {
        EndReason::GivenUp => Status::GivenUp,
        EndReason::Replaced => Status::Replaced,
        EndReason::Released => Status::Released,
        EndReason::Transferred => Status::Transferred,
        EndReason::Suspended => Status::Suspended,
        EndReason::Revoked => Status::Revoked,
        EndReason::Unknown | EndReason::Other => Status::NotActivated,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of the error")]
fn no_machine_id(error: NoMachineId) -> CallError {
    CallError::Storage {
        code: "no_machine_id".to_owned(),
        message: format!("Cannot do that: {error}."),
        advice: Some(
            "Run `claviger doctor`; on Linux, /etc/machine-id must be there and readable.".to_owned(),
        ),
    }
}

fn no_key(error: KeyError) -> CallError {
    match error {
        KeyError::Machine(e) => no_machine_id(e),
        KeyError::File(e) => e.into(),
        KeyError::Random => no_random(),
    }
}

fn no_random() -> CallError {
    CallError::Internal { message: "The system's random generator failed.".to_owned(), advice: None }
}
