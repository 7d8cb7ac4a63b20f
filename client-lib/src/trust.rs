//! Which issuing keys are believed: those of the keyset compiled into the plug-in, or of a newer one that the daemon
//! has put on disk. A keyset is verified once, and looked at again when its file has changed.

use std::sync::{Arc, Mutex, PoisonError};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{Document as _, Keyset, Sunset, TrustAnchor};
use claviger_protocol::ids::ProductId;

use crate::platform::{self, FileIdentity, StorePlace};
use crate::store;

/// A vendor's keys as known in this process. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// The keyset in force: the compiled-in one or a newer one, never an older one than before.
    pub(crate) keyset: Arc<Keyset>,
    /// Products that the vendor has freed for everyone.
    pub(crate) freed: Arc<Vec<ProductId>>,
    /// Until when the user has agreed that uses are counted.
    pub(crate) counting: Option<Timestamp>,
}

/// Keeps a vendor's [`Trust`] for the life of the process.
#[derive(Debug)]
pub(crate) struct TrustKeeper {
    anchor: TrustAnchor,
    /// Text of the compiled-in keyset: the same bytes on disk need no verification.
    compiled: String,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    trust: Trust,
    /// One entry a store: what was last read there. `None` before the first look.
    seen: Vec<Option<Seen>>,
}

/// State of the files of one store when they were last read; `None` inside for a file that was not there.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    keyset: Option<FileIdentity>,
    sunset: Option<FileIdentity>,
}

impl TrustKeeper {
    pub(crate) fn new(anchor: TrustAnchor, keyset: Keyset, compiled: String) -> Self {
        let trust = Trust { keyset: Arc::new(keyset), freed: Arc::default(), counting: None };
        Self { anchor, compiled, known: Mutex::new(Known { trust, seen: Vec::new() }) }
    }

    /// What is believed, after a look at each of `places` that was not looked at before; with `again`, at all of them.
    pub(crate) fn look(&self, places: &[(usize, &StorePlace)], again: bool) -> Trust {
        for (index, place) in places {
            let seen = self.lock().seen.get(*index).copied().flatten();
            if seen.is_none() || again {
                self.read(*index, place, seen.unwrap_or_default());
            }
        }
        self.lock().trust.clone()
    }

    /// Reads the files without holding the lock: a slow disk must not stop another thread.
    fn read(&self, index: usize, place: &StorePlace, seen: Seen) {
        let vendor = &self.anchor.vendor;
        let mut now = Seen::default();
        let mut keyset = None;
        let mut freed = None;
        if let Ok((bytes, identity)) =
            platform::read_with_identity(&store::keyset_path(place, vendor), Keyset::MAX_LEN, seen.keyset)
        {
            now.keyset = Some(identity);
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            keyset = text
                .filter(|t| t.trim() != self.compiled)
                .and_then(|t| Keyset::verify(&t, &self.anchor).ok());
        }
        if let Ok((bytes, identity)) =
            platform::read_with_identity(&store::sunset_path(place, vendor), Sunset::MAX_LEN, seen.sunset)
        {
            now.sunset = Some(identity);
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            freed = text.and_then(|t| Sunset::verify(&t, &self.anchor).ok()).map(|sunset| sunset.products);
        }

        let counting = store::counting(place, vendor);
        let mut known = self.lock();
        if place.scope == store::Scope::User {
            known.trust.counting = counting;
        }
        if known.seen.len() <= index {
            known.seen.resize(index + 1, None);
        }
        known.seen[index] = Some(now);
        if let Some(keyset) = keyset.filter(|keyset| keyset.number > known.trust.keyset.number) {
            known.trust.keyset = Arc::new(keyset);
        }
        if let Some(products) = freed {
            let all: std::collections::BTreeSet<ProductId> =
                known.trust.freed.iter().cloned().chain(products).collect();
            known.trust.freed = Arc::new(all.into_iter().collect());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
