//! Uses: how often a product really ran, for the statistics that a person may have agreed to. Without that consent every call
//! here is a load and a return: nothing is counted, looked at, kept or sent.
//!
//! A use begins with the first instance in this process that processes audio, and ends with the last: fifty instances in a
//! project are one use, and so is a product that stops and begins again within an hour. When a use ends it is told to the
//! daemon, which decides by the consent record whether it counts, and which alone ever sends anything.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger_protocol::ids::{ProductId, VendorId};

use crate::host::{self, HostWord, Recognised};
use crate::license::License;
use crate::worker::Kind;

/// Uses of a product that follow each other within this time are one.
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// A use that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Whose product.
    pub vendor: VendorId,
    /// Which.
    pub product: ProductId,
    /// The product's own version, as the plug-in says; empty where it does not.
    pub version: String,
    /// Where it ran.
    pub host: Recognised,
}

/// Where uses go.
pub trait UsageSink: Send + Sync {
    /// Takes a use, on a thread of the library. It may wait.
    fn take(&self, finished: Use);
}

/// What is known of a product's uses in this process.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// Instances that have processed audio and not stopped.
    running: AtomicU32,
    told: Mutex<Option<Instant>>,
}

/// What a use is told with; kept under consent only.
#[derive(Clone, Debug, Default)]
struct Facts {
    version: String,
    word: Option<HostWord>,
}

/// One instance of a plug-in, as far as its uses go. Dropping it ends its use.
#[derive(Debug)]
pub struct UseSession {
    license: License,
    running: AtomicBool,
    facts: Mutex<Facts>,
}

impl License {
    /// A session for one instance of the plug-in. It costs nothing and says nothing.
    #[must_use]
    pub fn use_session(&self) -> UseSession {
        UseSession { license: self.clone(), running: AtomicBool::new(false), facts: Mutex::default() }
    }
}

impl UseSession {
    /// Whether a person has agreed that uses of this vendor's products are counted: one atomic load.
    #[inline]
    fn wanted(&self) -> bool {
        self.license.vendor.counting.load(Ordering::Relaxed)
    }

    /// What to tell a use with: the version of the product, and what the host calls itself (`clap_host.name`,
    /// `IHostApplication::getName`). Forgotten at once without consent. Not for an audio thread.
    pub fn describe(&self, version: &str, host: &str, host_version: &str) {
        if !self.wanted() {
            return;
        }
        let word = (!host.trim().is_empty()).then(|| HostWord::new(host, host_version));
        let version = version.trim().chars().take(32).collect();
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Facts { version, word };
    }

    /// Audio is processed. Call it with every block: without consent an atomic load, with it two, and an addition the first
    /// time. Any thread, audio threads too.
    #[inline]
    pub fn begin(&self) {
        if self.wanted() && !self.running.load(Ordering::Relaxed) {
            self.begin_counted();
        }
    }

    #[cold]
    fn begin_counted(&self) {
        if !self.running.swap(true, Ordering::AcqRel) {
            self.license.state.uses.running.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The instance has stopped. The last one ends the use, which a thread of the library then tells. Not for an audio
    /// thread.
    pub fn end(&self) {
        if !self.running.load(Ordering::Relaxed) || !self.running.swap(false, Ordering::AcqRel) {
            return;
        }
        let state = &self.license.state;
        if state.uses.running.fetch_sub(1, Ordering::AcqRel) == 1 && state.uses.is_new() {
            self.tell();
        }
    }

    fn tell(&self) {
        let vendor = self.license.vendor.clone();
        let Some(sink) = vendor.library.usage() else { return };
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let product = self.license.state.product.clone();
        let told = vendor.clone();
        let work = move || {
            // Consent may have been withdrawn while the use went on.
            if !told.look_at_counting() {
                return;
            }
            let host = host::of_this_process(facts.word.as_ref());
            sink.take(Use { vendor: told.id.clone(), product, version: facts.version, host });
        };
        // Where no thread can be started, a use is not counted.
        let _lost = vendor.library.workers.submit_kept(Kind::Daemon, Box::new(work));
    }
}

impl Drop for UseSession {
    fn drop(&mut self) {
        self.end();
    }
}

impl Uses {
    /// Whether the last use that was told is long enough ago; if so, now is the last one.
    fn is_new(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let new = told.is_none_or(|at| at.elapsed() >= PAUSE);
        if new {
            *told = Some(Instant::now());
        }
        new
    }
}
