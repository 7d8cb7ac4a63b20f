//! The daemon as the window needs it: blocking calls behind a trait, so that the controller is tested without one. `daemon.rs` is
//! the real one; nothing of the window talks to anything else.

mod daemon;

use std::ops::ControlFlow;
use std::path::Path;

use claviger_protocol::http::Seats;
use claviger_protocol::ids::{DeviceName, VendorId};
use claviger_protocol::ipc::{
    ActivateCall, Consent, DaemonStatus, DeactivateReply, Finding, FreeCall, FreeMachineReply, License,
    LicensesReply, Machine, OfflineItem, OfflineReceiptReply, OfflineRequestReply, PreviewReply, SentEntry,
    Setting, ShowNoticeReply, ShowSeatsReply, Vendor,
};

pub(crate) use daemon::Daemon;

use crate::text;

/// Why something was not done: a stable word, which the window has sentences for, and the daemon's own sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The stable word.
    pub(crate) code: String,
    /// What happened.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) advice: String,
    /// Who holds the seats, where the vendor told.
    pub(crate) seats: Option<Box<Seats>>,
    /// Vendors that may be meant.
    pub(crate) choices: Vec<String>,
}

impl Trouble {
    /// One of the window's own.
    #[must_use]
    pub(crate) fn new(code: &str, message: impl AsRef<str>) -> Self {
        Self { code: code.to_owned(), message: text::sentence(message.as_ref()), ..Self::default() }
    }
}

/// A result of the daemon.
pub(crate) type Answer<T> = Result<T, Trouble>;

/// A daemon that answers, for a few calls.
pub(crate) trait Desk {
    fn status(&mut self) -> Answer<DaemonStatus>;
    fn vendors(&mut self) -> Answer<Vec<Vendor>>;
    fn add_vendor(&mut self, profile: String) -> Answer<(Vendor, bool)>;
    fn remove_vendor(&mut self, vendor: VendorId) -> Answer<()>;
    fn licenses(&mut self) -> Answer<LicensesReply>;
    fn activate(&mut self, call: ActivateCall, progress: &mut dyn FnMut(&str)) -> Answer<License>;
    fn deactivate(&mut self, target: String) -> Answer<DeactivateReply>;
    fn refresh(&mut self) -> Answer<Vec<License>>;
    fn machines(&mut self) -> Answer<Vec<Machine>>;
    fn rename(&mut self, name: DeviceName) -> Answer<DeviceName>;
    fn seats(&mut self, target: Option<String>) -> Answer<ShowSeatsReply>;
    fn free(&mut self, call: FreeCall) -> Answer<FreeMachineReply>;
    fn settings(&mut self) -> Answer<Vec<Setting>>;
    fn set(&mut self, name: &str, value: Option<String>) -> Answer<Vec<Setting>>;
    fn offline_request(&mut self, call: ActivateCall) -> Answer<OfflineRequestReply>;
    fn offline_import(&mut self, answers: Vec<String>) -> Answer<Vec<OfflineItem>>;
    fn offline_code(&mut self, code: String) -> Answer<License>;
    fn offline_give_up(&mut self, target: String) -> Answer<OfflineReceiptReply>;
    fn consents(&mut self) -> Answer<Vec<Consent>>;
    fn notice(&mut self, vendor: VendorId, language: &str) -> Answer<ShowNoticeReply>;
    fn grant(&mut self, vendor: VendorId, challenge: String) -> Answer<Consent>;
    fn refuse(&mut self, vendor: VendorId, challenge: String) -> Answer<Consent>;
    fn withdraw(&mut self, vendor: VendorId) -> Answer<Consent>;
    fn preview(&mut self) -> Answer<PreviewReply>;
    fn sent(&mut self) -> Answer<Vec<SentEntry>>;
    fn clear_sent(&mut self) -> Answer<u64>;
    fn export(&mut self, file: &Path) -> Answer<()>;
}

/// What a change of the daemon's list brings.
pub(crate) type Listener<'a> = &'a mut dyn FnMut(LicensesReply) -> ControlFlow<()>;

/// Where a daemon is found, started and listened to.
pub(crate) trait Desks: Send + Sync {
    /// A connection to the daemon that runs.
    fn open(&self) -> Answer<Box<dyn Desk>>;
    /// Starts this user's daemon and waits until it answers.
    fn start(&self) -> Answer<()>;
    /// Tells the list at once and whenever it changes, until it breaks or the daemon ends.
    fn listen(&self, each: Listener<'_>) -> Answer<()>;
    /// Whether the daemon is the whole computer's.
    fn is_system(&self) -> bool;
    /// What is found when looking around.
    fn look_around(&self) -> Vec<Finding>;
    /// Whether the daemon starts at login; none where that cannot be changed here.
    fn at_login(&self) -> Option<bool>;
    /// Has it start at login, or no longer.
    fn set_at_login(&self, on: bool) -> Answer<()>;
}
