//! Offline requests that wait for their answers, and what an image must not carry to other computers.
//!
//! ```text
//! state/vendors/VENDOR/offline/NONCE.json   the exact bytes of a request; its typed code is rebuilt from them
//! ```

use std::path::PathBuf;

use claviger_protocol::clock::{DAY, Timestamp};
use claviger_protocol::documents::Request;
use claviger_protocol::ids::{ActivationId, Nonce, VendorId};
use claviger_protocol::keys::Sha256;

use super::{Intent, State};
use crate::platform::{self, FileError};

/// Most requests of a vendor that are kept; the oldest go first.
const MOST: usize = 64;
/// A typed code may be read out well after its request expired.
const KEPT: i64 = 90 * DAY;

/// An offline request that was made here.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// When it was made.
    pub at: Timestamp,
    /// Its compact form.
    pub text: String,
    /// Its content.
    pub request: Request,
}

impl Waiting {
    /// What answers call it by.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.text.as_bytes())
    }
}

impl State {
    fn offline_folder(&self, vendor: &VendorId) -> PathBuf {
        self.vendor(vendor).join("offline")
    }

    /// Keeps an offline request until its answer comes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_offline(&self, vendor: &VendorId, nonce: Nonce, kept: &Intent) -> Result<(), FileError> {
        self.write_json(&self.offline_folder(vendor).join(format!("{nonce}.json")), kept)?;
        let waiting = self.offline(vendor)?;
        let too_old = kept.at.plus(-KEPT);
        let surplus = waiting.len().saturating_sub(MOST);
        for (index, old) in waiting.iter().enumerate() {
            if index < surplus || old.at < too_old {
                self.clear_offline(vendor, old.request.nonce)?;
            }
        }
        Ok(())
    }

    /// The offline requests that were made here, oldest first.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn offline(&self, vendor: &VendorId) -> Result<Vec<Waiting>, FileError> {
        let folder = self.offline_folder(vendor);
        let mut found = Vec::new();
        for name in platform::list(&folder)?.into_iter().filter(|n| n.ends_with(".json")) {
            let path = folder.join(&name);
            let Some(Intent { at, request: text }) = self.read_json::<Intent>(&path)? else { continue };
            match Request::verify(&text, vendor) {
                Ok((request, _, _)) => found.push(Waiting { at, text, request }),
                Err(e) => self.set_aside(&path, &e.to_string()),
            }
        }
        found.sort_by_key(|waiting| waiting.at);
        Ok(found)
    }

    /// Forgets an offline request.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn clear_offline(&self, vendor: &VendorId, nonce: Nonce) -> Result<(), FileError> {
        platform::remove_file(&self.offline_folder(vendor).join(format!("{nonce}.json")))
    }

    /// Whether the server has a receipt for this activation.
    #[must_use]
    pub fn has_kept_receipt(&self, vendor: &VendorId, id: ActivationId) -> bool {
        self.receipt_path(vendor, "receipts", id).is_file()
    }

    /// Removes everything that ties this state to one computer or person; vendors' profiles stay.
    ///
    /// # Errors
    /// [`FileError`]; doing it again completes it.
    pub fn prepare_image(&self) -> Result<(), FileError> {
        for name in platform::list(&self.root)? {
            if name != "vendors" {
                platform::remove_all(&self.root.join(name))?;
            }
        }
        for vendor in self.vendors()? {
            let folder = self.vendor(&vendor);
            for name in platform::list(&folder)? {
                if name != claviger_protocol::layout::PROFILE {
                    platform::remove_all(&folder.join(name))?;
                }
            }
            platform::sync_dir(&folder)?;
        }
        platform::sync_dir(&self.root)
    }
}
