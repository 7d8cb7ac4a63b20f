//! Consent, and what is counted and sent under it: for programs in which a person decides. A plug-in has none of this.

use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{
    ClearSentReply, Consent, ConsentReply, ListConsentsReply, ListSentReply, Method, PreviewReply, SentEntry,
    ShowNoticeReply,
};

use super::{LOCAL, Manager, ManagerError, REMOTE, counting};

impl Manager {
    /// What this user has decided about the vendors known here.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn consents(&mut self, vendor: Option<VendorId>) -> Result<Vec<Consent>, ManagerError> {
        Ok(self.call::<ListConsentsReply>(&Method::ListConsents { vendor }, LOCAL)?.consents)
    }

    /// The vendor's notice, in the language wanted (BCP 47) or English, and the challenge that a grant must echo. Show
    /// it, all of it, before asking.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn show_notice(
        &mut self,
        vendor: VendorId,
        language: Option<String>,
    ) -> Result<ShowNoticeReply, ManagerError> {
        self.call(&Method::ShowNotice { vendor, language }, REMOTE)
    }

    /// The person says yes to the notice that was shown with this challenge.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn grant(&mut self, vendor: VendorId, challenge: String) -> Result<Consent, ManagerError> {
        let consent = self.call::<ConsentReply>(&Method::Grant { vendor, challenge }, LOCAL)?.consent;
        Ok(self.noted(consent))
    }

    /// The person says no, having seen the notice of this challenge or none.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn refuse(&mut self, vendor: VendorId, challenge: Option<String>) -> Result<Consent, ManagerError> {
        let consent = self.call::<ConsentReply>(&Method::Refuse { vendor, challenge }, LOCAL)?.consent;
        Ok(self.noted(consent))
    }

    /// The person takes a consent back: counters, reports that wait and unspent tokens are gone.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn withdraw(&mut self, vendor: VendorId) -> Result<Consent, ManagerError> {
        let consent = self.call::<ConsentReply>(&Method::Withdraw { vendor }, LOCAL)?.consent;
        Ok(self.noted(consent))
    }

    /// What will be sent, byte for byte, and what is counted.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn preview(&mut self, vendor: Option<VendorId>) -> Result<PreviewReply, ManagerError> {
        self.call(&Method::PreviewTelemetry { vendor }, LOCAL)
    }

    /// Everything that was sent, oldest first.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn sent(&mut self) -> Result<Vec<SentEntry>, ManagerError> {
        Ok(self.call::<ListSentReply>(&Method::ListSent {}, LOCAL)?.sent)
    }

    /// Clears that log; gives the number of entries removed.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn clear_sent(&mut self) -> Result<u64, ManagerError> {
        Ok(self.call::<ClearSentReply>(&Method::ClearSent {}, LOCAL)?.removed)
    }

    /// Lets plug-ins know.
    fn noted(&self, consent: Consent) -> Consent {
        if let Some(store) = counting::store(&self.endpoint) {
            counting::note(&store, &consent);
        }
        consent
    }
}
