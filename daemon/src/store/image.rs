//! What an image must not carry to other computers: certificates, receipts, notes, and the clock of this one.

use claviger_protocol::layout;

use super::Store;
use crate::platform::{self, FileError};

impl Store {
    /// Removes every activation and what is known about the clock; profiles, keysets and sunsets stay.
    ///
    /// # Errors
    /// [`FileError`]; doing it again completes it.
    pub fn prepare_image(&self) -> Result<(), FileError> {
        for vendor in self.vendors()? {
            // A file whose name reads like a vendor's id is none.
            if self.vendor(&vendor).is_dir() {
                platform::remove_all(&self.products(&vendor))?;
                platform::sync_dir(&self.vendor(&vendor))?;
            }
        }
        platform::remove_file(&self.root.join(layout::CLOCK))
    }
}
