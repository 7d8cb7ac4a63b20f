//! Calls for machines without a network. The daemon sees no file: who calls reads and writes them.

use claviger_protocol::ipc::{
    ActivateCall, ImportOfflineReply, License, Method, OfflineCodeReply, OfflineItem, OfflineReceiptReply,
    OfflineRequestReply, PrepareImageReply,
};

use super::{LOCAL, Manager, ManagerError, frame};

impl Manager {
    /// A signed request for a file or a QR code. The serial number and the unlock code are wiped here when they were
    /// sent.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn make_offline_request(&mut self, call: ActivateCall) -> Result<OfflineRequestReply, ManagerError> {
        let method = frame::Secret(Method::MakeOfflineRequest(call));
        self.call(&method.0, LOCAL)
    }

    /// Hands signed answers over (compact form, together at most about 250,000 bytes); says what became of each.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn import_offline_answers(&mut self, answers: Vec<String>) -> Result<Vec<OfflineItem>, ManagerError> {
        Ok(self.call::<ImportOfflineReply>(&Method::ImportOfflineAnswers { answers }, LOCAL)?.items)
    }

    /// Hands a typed code over.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn import_offline_code(&mut self, code: String) -> Result<License, ManagerError> {
        Ok(self.call::<OfflineCodeReply>(&Method::ImportOfflineCode { code }, LOCAL)?.license)
    }

    /// Gives up an activation; gives the request that carries its receipt.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn deactivate_offline(&mut self, target: String) -> Result<OfflineReceiptReply, ManagerError> {
        self.call(&Method::DeactivateOffline { target }, LOCAL)
    }

    /// Removes what would make copies of this disk look like one computer.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn prepare_image(&mut self) -> Result<PrepareImageReply, ManagerError> {
        self.call(&Method::PrepareImage {}, LOCAL)
    }
}
