//! The certificate store: what plug-ins read. One folder a vendor, one folder a product in it; the daemon alone
//! writes here.

mod image;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, Document, Receipt};
use claviger_protocol::ids::{ActivationId, ProductId, VendorId};
use claviger_protocol::layout::{self, ClockFile, EndedNote, FileKind, KEYSET, PROFILE, SUNSET};

use crate::fault;
use crate::platform::{self, FileError, Visibility};

/// The store of one daemon.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// The files of one activation.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Folders that hold a certificate.
    pub certificates: BTreeSet<ProductId>,
    /// Folders that hold a receipt.
    pub receipts: BTreeSet<ProductId>,
    /// Folders that hold a note.
    pub notes: BTreeSet<ProductId>,
}

impl Store {
    /// The store below this folder.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn vendor(&self, vendor: &VendorId) -> PathBuf {
        layout::vendor(&self.root, vendor)
    }

    fn products(&self, vendor: &VendorId) -> PathBuf {
        layout::products(&self.root, vendor)
    }

    fn product(&self, vendor: &VendorId, product: &ProductId) -> PathBuf {
        layout::product(&self.root, vendor, product)
    }

    fn file(&self, vendor: &VendorId, product: &ProductId, id: ActivationId, kind: FileKind) -> PathBuf {
        self.product(vendor, product).join(kind.name(id))
    }

    /// The vendors that have a folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn vendors(&self) -> Result<Vec<VendorId>, FileError> {
        Ok(platform::list(&self.root)?.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Reads a document of a vendor's folder as text.
    fn text(&self, path: &Path, max: usize) -> Result<Option<String>, FileError> {
        Ok(platform::read_bounded(path, max + 2)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The vendor's profile.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn profile(&self, vendor: &VendorId) -> Result<Option<String>, FileError> {
        self.text(&self.vendor(vendor).join(PROFILE), claviger_protocol::documents::VendorProfile::MAX_LEN)
    }

    /// Stores the vendor's profile.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_profile(&self, vendor: &VendorId, text: &str) -> Result<(), FileError> {
        self.write(&self.vendor(vendor).join(PROFILE), text.as_bytes())
    }

    /// The keyset in force, when it is newer than the profile's.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn keyset(&self, vendor: &VendorId) -> Result<Option<String>, FileError> {
        self.text(&self.vendor(vendor).join(KEYSET), claviger_protocol::documents::Keyset::MAX_LEN)
    }

    /// Puts a keyset into force.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_keyset(&self, vendor: &VendorId, text: &str) -> Result<(), FileError> {
        self.write(&self.vendor(vendor).join(KEYSET), text.as_bytes())
    }

    /// Where the keyset stands.
    #[must_use]
    pub fn keyset_path(&self, vendor: &VendorId) -> PathBuf {
        self.vendor(vendor).join(KEYSET)
    }

    /// Stores the vendor's sunset; the same bytes again cost nothing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_sunset(&self, vendor: &VendorId, text: &str) -> Result<(), FileError> {
        let path = self.vendor(vendor).join(SUNSET);
        if self.text(&path, claviger_protocol::documents::Sunset::MAX_LEN).ok().flatten().as_deref()
            == Some(text)
        {
            return Ok(());
        }
        self.write(&path, text.as_bytes())
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        platform::write_file(path, content, Visibility::Public)
    }

    /// Forgets a vendor's profile and keyset; activations stay.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove_vendor(&self, vendor: &VendorId) -> Result<(), FileError> {
        let folder = self.vendor(vendor);
        for name in [PROFILE, KEYSET, SUNSET] {
            platform::remove_file(&folder.join(name))?;
        }
        if folder.is_dir() { platform::sync_dir(&folder) } else { Ok(()) }
    }

    /// Every activation that has any file here.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn activations(&self, vendor: &VendorId) -> Result<BTreeMap<ActivationId, Files>, FileError> {
        let mut all: BTreeMap<ActivationId, Files> = BTreeMap::new();
        let products = self.products(vendor);
        for folder in platform::list(&products)? {
            let Ok(product) = folder.parse::<ProductId>() else { continue };
            for name in platform::list(&products.join(&folder))? {
                let Some((kind, id)) = FileKind::read(&name) else { continue };
                let files = all.entry(id).or_default();
                match kind {
                    FileKind::Certificate => files.certificates.insert(product.clone()),
                    FileKind::Receipt => files.receipts.insert(product.clone()),
                    FileKind::Ended => files.notes.insert(product.clone()),
                };
            }
        }
        Ok(all)
    }

    /// The files of one activation.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn files_of(&self, vendor: &VendorId, id: ActivationId) -> Result<Files, FileError> {
        let mut files = Files::default();
        for folder in platform::list(&self.products(vendor))? {
            let Ok(product) = folder.parse::<ProductId>() else { continue };
            let there = |kind| self.file(vendor, &product, id, kind).symlink_metadata().is_ok();
            let found = [FileKind::Certificate, FileKind::Receipt, FileKind::Ended].map(there);
            let into = [&mut files.certificates, &mut files.receipts, &mut files.notes];
            for (into, _) in into.into_iter().zip(found).filter(|(_, there)| *there) {
                into.insert(product.clone());
            }
        }
        Ok(files)
    }

    /// The activations that have a certificate in one product's folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn opening(&self, vendor: &VendorId, product: &ProductId) -> Result<Vec<ActivationId>, FileError> {
        let names = platform::list(&self.product(vendor, product))?;
        let certificates = names.iter().filter_map(|name| FileKind::read(name));
        Ok(certificates.filter(|(kind, _)| *kind == FileKind::Certificate).map(|(_, id)| id).collect())
    }

    /// Tells one state of an activation's certificates from the next; none while they may still be changing.
    #[must_use]
    pub fn stamp(&self, vendor: &VendorId, id: ActivationId, folders: &BTreeSet<ProductId>) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        for product in folders {
            product.as_str().hash(&mut hasher);
            platform::settled_stamp(&self.file(vendor, product, id, FileKind::Certificate))?
                .hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    /// The text of a certificate in one product's folder; `None` when it is missing or not text of a possible size.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn certificate(
        &self,
        vendor: &VendorId,
        product: &ProductId,
        id: ActivationId,
    ) -> Result<Option<String>, FileError> {
        let path = self.file(vendor, product, id, FileKind::Certificate);
        match self.text(&path, ActivationCertificate::MAX_LEN) {
            Err(e) if e.code() == "damaged" => Ok(Some(String::new())),
            other => other,
        }
    }

    /// Puts a certificate into the folder of every product that it opens, and removes what said that it had ended.
    ///
    /// # Errors
    /// [`FileError`]; what was written so far stays, and writing again completes it.
    pub fn write_certificate(
        &self,
        certificate: &ActivationCertificate,
        text: &str,
    ) -> Result<(), FileError> {
        let vendor = &certificate.iss;
        for product in products_of(certificate) {
            let path = self.file(vendor, product, certificate.jti, FileKind::Certificate);
            let same = platform::read_bounded(&path, ActivationCertificate::MAX_LEN + 2)
                .ok()
                .flatten()
                .is_some_and(|old| old == text.as_bytes());
            if !same {
                self.write(&path, text.as_bytes())?;
            }
            fault::point("between-product-copies");
        }
        for product in products_of(certificate) {
            platform::remove_file(&self.file(vendor, product, certificate.jti, FileKind::Ended))?;
        }
        Ok(())
    }

    /// Puts a receipt beside every copy of a certificate; from then on no new process is licensed by it.
    ///
    /// # Errors
    /// [`FileError`]; doing it again completes it.
    pub fn write_receipts(
        &self,
        vendor: &VendorId,
        id: ActivationId,
        folders: &BTreeSet<ProductId>,
        text: &str,
    ) -> Result<(), FileError> {
        for product in folders {
            let path = self.file(vendor, product, id, FileKind::Receipt);
            if !path.is_file() {
                self.write(&path, text.as_bytes())?;
            }
            fault::point("between-receipts");
        }
        Ok(())
    }

    /// A receipt beside a certificate.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn receipt(
        &self,
        vendor: &VendorId,
        product: &ProductId,
        id: ActivationId,
    ) -> Result<Option<String>, FileError> {
        self.text(&self.file(vendor, product, id, FileKind::Receipt), Receipt::MAX_LEN)
    }

    /// The receipt by which an activation was given up here. One that does not read as this activation's takes no
    /// license away: it is moved aside.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn given_up(
        &self,
        vendor: &VendorId,
        id: ActivationId,
        files: &Files,
    ) -> Result<Option<String>, FileError> {
        for product in &files.receipts {
            let text = match self.receipt(vendor, product, id) {
                Err(e) if e.code() == "damaged" => String::new(),
                other => match other? {
                    Some(text) => text,
                    None => continue,
                },
            };
            if Receipt::peek(&text).is_ok_and(|r| r.activation == id && r.aud == *vendor) {
                return Ok(Some(text));
            }
            let path = self.file(vendor, product, id, FileKind::Receipt);
            match platform::move_aside(&path, "damaged") {
                Ok(place) => tracing::error!(
                    file = %path.display(), kept_as = %place.display(), "a damaged receipt was set aside"
                ),
                Err(e) => tracing::error!(error = %e, cause = %e.source, "a damaged receipt is in the way"),
            }
        }
        Ok(None)
    }

    /// Removes a receipt whose time has come.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove_receipt(
        &self,
        vendor: &VendorId,
        product: &ProductId,
        id: ActivationId,
    ) -> Result<(), FileError> {
        platform::remove_file(&self.file(vendor, product, id, FileKind::Receipt))
    }

    /// Removes receipts and notes that explain nothing any more: those older than `before` whose certificate is gone and
    /// whose receipt no longer waits for its server (`waiting`). The daemon's own memory goes on refusing a certificate
    /// that comes back.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn prune(
        &self,
        vendor: &VendorId,
        waiting: &BTreeSet<ActivationId>,
        before: Timestamp,
    ) -> Result<(), FileError> {
        for (id, files) in self.activations(vendor)? {
            if !files.certificates.is_empty() || waiting.contains(&id) {
                continue;
            }
            for product in &files.receipts {
                let text = self.receipt(vendor, product, id).ok().flatten();
                let receipt = text.and_then(|text| Receipt::peek(&text).ok());
                if receipt.is_some_and(|r| r.iat < before) {
                    self.remove_receipt(vendor, product, id)?;
                }
            }
            for product in &files.notes {
                let path = self.file(vendor, product, id, FileKind::Ended);
                let bytes = platform::read_bounded(&path, layout::MAX_NOTE).ok().flatten();
                let note = bytes.and_then(|bytes| serde_json::from_slice::<EndedNote>(&bytes).ok());
                if note.is_some_and(|note| note.at < before) {
                    platform::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Notes why an activation ended in every folder that had its certificate.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_notes(
        &self,
        vendor: &VendorId,
        id: ActivationId,
        folders: &BTreeSet<ProductId>,
        note: &EndedNote,
    ) -> Result<(), FileError> {
        let text = serde_json::to_vec(note).unwrap_or_default();
        folders
            .iter()
            .try_for_each(|product| self.write(&self.file(vendor, product, id, FileKind::Ended), &text))
    }

    /// Removes every copy of a certificate.
    ///
    /// # Errors
    /// [`FileError`]; doing it again completes it.
    pub fn remove_certificates(
        &self,
        vendor: &VendorId,
        id: ActivationId,
        folders: &BTreeSet<ProductId>,
    ) -> Result<(), FileError> {
        for product in folders {
            platform::remove_file(&self.file(vendor, product, id, FileKind::Certificate))?;
            platform::sync_dir(&self.product(vendor, product))?;
            fault::point("between-unlinks");
        }
        Ok(())
    }

    /// Everything of ours that is no file where one should be, or no folder, and what stands there.
    #[must_use]
    pub fn misplaced(&self) -> Vec<(PathBuf, &'static str)> {
        let mut found = Vec::new();
        let mut look = |path: PathBuf, folder: bool| {
            if let Some(stands) = platform::misplaced(&path, folder) {
                found.push((path, stands));
            }
        };
        look(self.clock_path(), false);
        for vendor in self.vendors().unwrap_or_default() {
            let folder = self.vendor(&vendor);
            look(folder.clone(), true);
            for name in [PROFILE, KEYSET, SUNSET] {
                look(folder.join(name), false);
            }
            let products = self.products(&vendor);
            look(products.clone(), true);
            for product in platform::list(&products).unwrap_or_default() {
                let inner = products.join(product);
                look(inner.clone(), true);
                for file in platform::list(&inner).unwrap_or_default() {
                    if FileKind::read(&file).is_some() {
                        look(inner.join(file), false);
                    }
                }
            }
        }
        found
    }

    /// Removes temporaries of a crash.
    pub fn clear_temporaries(&self) {
        platform::clear_temporaries(&self.root);
        for vendor in self.vendors().unwrap_or_default() {
            platform::clear_temporaries(&self.vendor(&vendor));
            let products = self.products(&vendor);
            for folder in platform::list(&products).unwrap_or_default() {
                platform::clear_temporaries(&products.join(folder));
            }
        }
    }

    fn clock_path(&self) -> PathBuf {
        self.root.join(layout::CLOCK)
    }

    /// What is known about the clock; nothing, when the file is missing or damaged.
    #[must_use]
    pub fn clock(&self) -> Option<ClockFile> {
        let bytes = platform::read_bounded(&self.clock_path(), layout::MAX_NOTE).ok().flatten()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Stores what is known about the clock.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_clock(&self, clock: ClockFile) -> Result<(), FileError> {
        self.write(&self.clock_path(), &serde_json::to_vec(&clock).unwrap_or_default())
    }
}

/// The products in whose folders a certificate lies: the licensed one and all that it opens.
pub fn products_of(certificate: &ActivationCertificate) -> BTreeSet<&ProductId> {
    certificate.opens.iter().chain([&certificate.product]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_protocol::documents::{EndReason, KeyInHeader, sign};
    use claviger_protocol::ids::{MachineId, ReceiptId};
    use claviger_protocol::keys::SigningKey;

    #[test]
    fn only_old_receipts_that_were_delivered_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let vendor: VendorId = "com.example".parse().unwrap();
        let product: ProductId = "com.example.synth".parse().unwrap();
        let folders = BTreeSet::from([product.clone()]);
        let (old, young, waits, held) =
            (ActivationId([1; 16]), ActivationId([2; 16]), ActivationId([3; 16]), ActivationId([4; 16]));
        for (id, at) in [(old, 100), (young, 300), (waits, 100), (held, 100)] {
            let receipt = Receipt {
                aud: vendor.clone(),
                jti: ReceiptId([1; 16]),
                iat: Timestamp(at),
                activation: id,
                rev: 1,
                serial: "ABC12345".to_owned().try_into().unwrap(),
                machine_id: MachineId([1; 16]),
            };
            let text = sign(&receipt, &SigningKey::from_seed(&[9; 32]), KeyInHeader::Carried);
            store.write_receipts(&vendor, id, &folders, &text).unwrap();
            let note =
                EndedNote { reason: EndReason::GivenUp, at: Timestamp(at), by: None, name: String::new() };
            store.write_notes(&vendor, id, &folders, &note).unwrap();
        }
        // A restored certificate: its receipt goes on refusing it.
        store.write(&store.file(&vendor, &product, held, FileKind::Certificate), b"x").unwrap();
        store.prune(&vendor, &BTreeSet::from([waits]), Timestamp(200)).unwrap();
        let left = store.activations(&vendor).unwrap();
        assert_eq!(left.keys().copied().collect::<Vec<_>>(), [young, waits, held]);
        assert!(left.values().all(|files| !files.receipts.is_empty() && !files.notes.is_empty()));
    }
}
