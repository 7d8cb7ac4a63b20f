//! Reads the folder of activations. Everything is bounded; nothing found here is believed yet. What is where stands in [`claviger_protocol::layout`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, Document as _, Receipt};
use claviger_protocol::ids::{ActivationId, ProductId, VendorId};
use claviger_protocol::layout::{self, ClockFile, EndedNote, FileKind};

use crate::platform::{self, EntryKind, Folder, ReadError, StorePlace};

/// Whose folder of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everyone's on this computer.
    Machine,
    /// The user's.
    User,
}

/// Most certificates of one product that are verified: 64 take about three milliseconds.
const MAX_CERTIFICATES: usize = 64;
/// Most notes and receipts of one product that are kept in mind.
const MAX_NOTES: usize = 1024;
/// Most notes and receipts of one product that are opened.
const MAX_NOTES_READ: usize = 32;

/// What one store says about one product.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Certificates that have no receipt beside them.
    pub(crate) certificates: Vec<Candidate>,
    /// Activations given up here, and when.
    pub(crate) given_up: BTreeMap<ActivationId, Timestamp>,
    /// Activations that ended, and why.
    pub(crate) ended: Vec<EndedNote>,
}

/// A file that may be a certificate.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The activation that its name claims.
    pub(crate) name: ActivationId,
    /// Its text, or why there is none.
    pub(crate) text: Result<String, ReadError>,
}

/// The newest keyset that the daemon has put into force.
pub(crate) fn keyset_path(place: &StorePlace, vendor: &VendorId) -> PathBuf {
    layout::vendor(&place.path, vendor).join(layout::KEYSET)
}

/// The vendor's farewell, if there is one.
pub(crate) fn sunset_path(place: &StorePlace, vendor: &VendorId) -> PathBuf {
    layout::vendor(&place.path, vendor).join(layout::SUNSET)
}

/// The daemon's note about the clock; nothing where it is missing or damaged.
pub(crate) fn clock_note(place: &StorePlace) -> ClockFile {
    platform::read(&place.path.join(layout::CLOCK), EntryKind::Untold, layout::MAX_NOTE)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Until when the user of this store has agreed that uses of the vendor's products are counted; `None` without consent.
pub(crate) fn counting(place: &StorePlace, vendor: &VendorId) -> Option<Timestamp> {
    if place.scope != Scope::User {
        return None;
    }
    let file = place.path.join(vendor.as_str()).join(layout::COUNTING);
    let text = platform::read(&file, EntryKind::Untold, layout::MAX_NOTE).ok()?;
    serde_json::from_slice::<layout::CountingNote>(&text).ok().map(|note| note.until)
}

/// What `place` says about `product`.
///
/// A receipt counts when it reads as one for the activation that its name says; a torn one takes no license away.
/// Receipts are written atomically, so a durable one always reads.
pub(crate) fn find(place: &StorePlace, vendor: &VendorId, product: &ProductId) -> Result<Found, ReadError> {
    let folder = Folder::open(&layout::product(&place.path, vendor, product))?;
    let mut certificates: BTreeMap<ActivationId, EntryKind> = BTreeMap::new();
    let mut receipts = BTreeMap::new();
    let mut notes = BTreeMap::new();
    folder.list(|name, kind| {
        let Some((file, stem)) = FileKind::split(name) else { return };
        let (into, most) = match file {
            FileKind::Certificate => (&mut certificates, MAX_CERTIFICATES),
            FileKind::Receipt => (&mut receipts, MAX_NOTES),
            FileKind::Ended => (&mut notes, MAX_NOTES),
        };
        if into.len() < most
            && let Ok(id) = stem.parse()
        {
            into.insert(id, kind);
        }
    })?;

    let read = |id: ActivationId, file: FileKind, kind, max| folder.read(&file.name(id), kind, max);
    // Receipts beside a certificate are read first; others only explain.
    let (beside, alone): (Vec<_>, Vec<_>) =
        receipts.into_iter().partition(|(id, _)| certificates.contains_key(id));
    let given_up = beside
        .into_iter()
        .chain(alone.into_iter().take(MAX_NOTES_READ))
        .filter_map(|(id, kind)| {
            let bytes = read(id, FileKind::Receipt, kind, Receipt::MAX_LEN).ok()?;
            let receipt = Receipt::peek(&String::from_utf8(bytes).ok()?).ok()?;
            (receipt.activation == id && receipt.aud == *vendor).then_some((id, receipt.iat))
        })
        .collect::<BTreeMap<_, _>>();
    let certificates = certificates
        .into_iter()
        .filter(|(id, _)| !given_up.contains_key(id))
        .map(|(name, kind)| Candidate {
            name,
            text: as_text(read(name, FileKind::Certificate, kind, ActivationCertificate::MAX_LEN)),
        })
        .collect();
    let ended = notes
        .into_iter()
        .take(MAX_NOTES_READ)
        .filter_map(|(id, kind)| {
            let bytes = read(id, FileKind::Ended, kind, layout::MAX_NOTE).ok()?;
            serde_json::from_slice(&bytes).ok()
        })
        .collect();
    Ok(Found { certificates, given_up, ended })
}

fn as_text(bytes: Result<Vec<u8>, ReadError>) -> Result<String, ReadError> {
    String::from_utf8(bytes?).map_err(|_| ReadError::NotAFile)
}

/// Whether `place` is missing because a sandbox hides it, and not because nothing was ever activated.
pub(crate) fn hidden(place: &StorePlace) -> bool {
    place.landmark.as_ref().is_some_and(|landmark| !landmark.exists()) || platform::sandboxed()
}
