//! The handle of an opened product, and the state behind it that all its handles share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::documents::ActivationCertificate;
use claviger_protocol::ids::{MachineId, ProductId};
use claviger_protocol::status::Status;

use crate::library::Lease;
use crate::store::Scope;
use crate::usage::Uses;
use crate::vendor::VendorShared;
use crate::verdict::Verdict;

/// How long a plug-in may run on a disk that does not answer.
pub(crate) const PENDING_FOR: Duration = Duration::from_secs(30);

/// What is known about one product and release in this process; one for all handles.
#[derive(Debug)]
pub(crate) struct ProductState {
    pub(crate) product: ProductId,
    pub(crate) released: Option<Date>,
    status: AtomicU32,
    changes: AtomicU64,
    looking: AtomicBool,
    pub(crate) uses: Uses,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    verdict: Arc<Verdict>,
    entitlements: Arc<Vec<String>>,
    pending_since: Option<Instant>,
}

/// Ends a look at a slow disk, however it ends.
pub(crate) struct Looking(Arc<ProductState>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

impl ProductState {
    pub(crate) fn new(product: ProductId, released: Option<Date>) -> Self {
        let inner = Inner {
            verdict: Arc::new(Verdict::plain(Status::Unknown)),
            entitlements: Arc::default(),
            pending_since: None,
        };
        Self {
            product,
            released,
            status: AtomicU32::new(Status::Unknown.number()),
            changes: AtomicU64::new(0),
            looking: AtomicBool::new(false),
            uses: Uses::default(),
            inner: Mutex::new(inner),
        }
    }

    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn status(&self) -> Status {
        let number = self.number();
        if number == Status::Licensed.number() {
            return Status::Licensed;
        }
        if number == Status::Pending.number() {
            return self.pending();
        }
        Status::from_number(number).unwrap_or(Status::Internal)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Begins a look at a slow disk, unless one is under way.
    pub(crate) fn begin_look(self: &Arc<Self>) -> Option<Looking> {
        (!self.looking.swap(true, Ordering::AcqRel)).then(|| Looking(self.clone()))
    }

    /// Marks a disk as being waited for, if nothing was known before.
    pub(crate) fn wait_for_disk(&self) {
        let mut inner = self.lock();
        if self.number() == Status::Unknown.number() {
            inner.verdict = Arc::new(Verdict::plain(Status::Pending));
            inner.pending_since = Some(Instant::now());
            self.status.store(Status::Pending.number(), Ordering::Release);
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether a license was found here: nothing takes it away before the process ends.
    pub(crate) fn is_settled(&self) -> bool {
        let number = self.number();
        number != Status::Pending.number() && (1..=19).contains(&number)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new verdict in, if it is no step down: a product that was licensed in this process stays so, with all
    /// that it opened. Says whether anything changed.
    pub(crate) fn publish(&self, verdict: Verdict) -> bool {
        let mut inner = self.lock();
        let settled = self.is_settled();
        if settled && !verdict.status.is_licensed() {
            return false;
        }
        let mut entitlements: Vec<String> = if settled { inner.entitlements.to_vec() } else { Vec::new() };
        if let Some(certificate) = verdict.certificate.as_ref().filter(|_| verdict.status.is_licensed()) {
            for entitlement in &certificate.entitlements {
                if !entitlements.contains(entitlement) {
                    entitlements.push(entitlement.clone());
                }
            }
        }
        let changed = inner.verdict.status != verdict.status
            || inner.verdict.certificate != verdict.certificate
            || *inner.entitlements != entitlements;
        inner.pending_since = None;
        self.status.store(verdict.status.number(), Ordering::Release);
        inner.verdict = Arc::new(verdict);
        inner.entitlements = Arc::new(entitlements);
        if changed {
            self.changes.fetch_add(1, Ordering::Release);
        }
        changed
    }

    /// The status while a disk is being waited for: a license, until 30 seconds have passed.
    #[cold]
    fn pending(&self) -> Status {
        let late = self.lock().pending_since.is_some_and(|since| since.elapsed() >= PENDING_FOR);
        if late {
            let gone = Status::StateUnreachable.number();
            let pending = Status::Pending.number();
            if self.status.compare_exchange(pending, gone, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                self.changes.fetch_add(1, Ordering::Release);
            }
        }
        Status::from_number(self.number()).unwrap_or(Status::Internal)
    }
}

/// An opened product. Cheap to clone; all handles of a product in a process agree.
#[derive(Clone, Debug)]
pub struct License {
    pub(crate) state: Arc<ProductState>,
    pub(crate) vendor: Arc<VendorShared>,
    /// Threads end when the last handle lets go of it.
    #[expect(dead_code, reason = "held, never read")]
    pub(crate) lease: Option<Arc<Lease>>,
}

/// Why a product has the status it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The status that this explains.
    pub status: Status,
    /// A stable word for programs, finer than the status: `bad_signature`, `wrong_alg`, `wrong_product` …
    pub code: &'static str,
    /// A sentence for people, in English, with what to do next.
    pub sentence: String,
}

impl License {
    /// The status: one atomic load. No lock, no allocation, no system call: ask from an audio thread as often as you
    /// like. (Only while the status is [`Status::Pending`] it also looks at the clock, under a short lock.)
    #[must_use]
    #[inline]
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// The product.
    #[must_use]
    pub fn product(&self) -> &ProductId {
        &self.state.product
    }

    /// Why the status is what it is. Not for an audio thread: it allocates.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let status = self.status();
        let verdict = self.state.lock().verdict.clone();
        if verdict.status == status {
            Reason { status, code: verdict.code, sentence: verdict.explanation.clone() }
        } else {
            Reason { status, code: status.code(), sentence: status.sentence().to_owned() }
        }
    }

    /// Features that the license opens, in the vendor's words; empty when not licensed.
    #[must_use]
    pub fn entitlements(&self) -> Arc<Vec<String>> {
        self.state.lock().entitlements.clone()
    }

    /// Whether the license opens the feature `name`.
    #[must_use]
    pub fn has_entitlement(&self, name: &str) -> bool {
        self.entitlements().iter().any(|entitlement| entitlement == name)
    }

    /// The certificate behind the status, where one could be believed; also of a license that has expired.
    #[must_use]
    pub fn certificate(&self) -> Option<ActivationCertificate> {
        self.state.lock().verdict.certificate.as_deref().cloned()
    }

    /// Whether the license was found in the machine's folder or the user's.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        self.state.lock().verdict.scope
    }

    /// This computer as the vendor knows it, licensed or not; `None` where the operating system has no id of its own.
    #[must_use]
    pub fn machine(&self) -> Option<MachineId> {
        self.vendor.machine()
    }

    /// When a subscription (with its grace period) or trial ends; `None` for a license without an end.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.state.lock().verdict.certificate.as_ref()?.exp
    }

    /// Days until a subscription or trial ends, begun ones included; 0 when it is over, `None` where there is no end.
    #[must_use]
    pub fn days_left(&self) -> Option<u32> {
        let verdict = self.state.lock().verdict.clone();
        let exp = verdict.certificate.as_ref()?.exp?;
        let now = self.vendor.library.clock.now();
        let now = verdict.measured_at.map_or(now, |at| at.max(now));
        Some(u32::try_from(now.days_until(exp)).unwrap_or(u32::MAX))
    }

    /// The last release date that the license covers; `None` where every release is.
    #[must_use]
    pub fn updates_until(&self) -> Option<Date> {
        self.state.lock().verdict.certificate.as_ref()?.updates_until
    }

    /// A counter that rises with every change of status, certificate or entitlements: one atomic load.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state.changes()
    }

    /// A handle that does not keep threads alive, for work on those threads.
    #[must_use]
    pub fn unleased(&self) -> Self {
        Self { state: self.state.clone(), vendor: self.vendor.clone(), lease: None }
    }

    /// Reads the files again. A license is never taken away by it in a running process; one that has come is noticed.
    pub fn refresh(&self) -> Status {
        self.vendor.look(&self.state, true);
        self.status()
    }
}
