//! What the controller can say to a view. One method, so that a test's view is a list of what was said; the real one is
//! `window.rs`.

use claviger_protocol::ids::VendorId;

use crate::catalog::Listing;
use crate::prefs::{Language, Look};
use crate::typing::Verdict;
use crate::ui;

/// Something that shows.
pub(crate) trait View {
    /// Shows a change.
    fn show(&self, change: Change);
}

/// Which of the two forms with a serial number and an unlock code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// On the screen “Add a license”.
    Adding,
    /// On the screen “Offline”.
    Offline,
}

/// For which field a file is picked by the desktop's own dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picker {
    /// Something to add: a profile, an answer.
    Adding,
    /// The vendor's answer.
    Answer,
    /// Where the request or receipt goes.
    SaveRequest,
    /// A vendor's profile.
    Profile,
    /// Where the export goes.
    Export,
}

/// A change of what is shown. Each holds the whole of its part.
pub(crate) enum Change {
    Page(ui::Page),
    Connection {
        state: ui::Connection,
        trouble: ui::Problem,
        starting: bool,
    },
    Facts {
        may_change: bool,
        system: bool,
        network: bool,
        daemon: String,
    },
    Ask(Option<ui::Question>),
    Said {
        word: &'static str,
        name: String,
        undo: bool,
    },
    Clipboard(String),
    Products {
        listing: Listing,
        owned: usize,
        counts: [usize; 4],
        vendors: Vec<String>,
        warnings: Vec<String>,
        cut: bool,
        loaded: bool,
    },
    Refreshing(bool),
    Form(Form, FormView),
    /// The text of a form's fields, where the controller changes it.
    FormText(Form, Option<String>, Option<String>),
    Adding(AddingView),
    Several {
        lines: Vec<ui::Line>,
        ready: usize,
        busy: bool,
        clear: bool,
    },
    Sends(Vec<ui::Fact>),
    Detail(DetailView),
    Computers {
        name: String,
        machines: Vec<ui::Machine>,
        others: Vec<ui::Other>,
        warnings: Vec<String>,
        licenses: usize,
        known: bool,
        asking: bool,
        busy: bool,
        problem: ui::Problem,
    },
    Offline(OfflineView),
    Groups {
        groups: Vec<ui::Line>,
        good: usize,
        ready: bool,
    },
    Privacy(PrivacyView),
    Notice(Option<ui::Notice>),
    Settings(SettingsView),
    Findings {
        findings: Vec<ui::Finding>,
        healthy: bool,
        asked: bool,
        busy: bool,
    },
    Picked(Picker, String),
    Look {
        theme: Look,
        still: bool,
    },
    Language(Option<Language>),
    Dragging(bool),
    Raise,
}

/// The state of a form with a serial number and an unlock code.
#[derive(Clone, Default)]
pub(crate) struct FormView {
    pub(crate) serial: Verdict,
    pub(crate) code: Verdict,
    pub(crate) needs_choice: bool,
    pub(crate) choices: Vec<String>,
    pub(crate) choice: i32,
    pub(crate) may_lack_code: bool,
    pub(crate) ready: bool,
}

/// The screen “Add a license”, beside its form.
#[derive(Default)]
pub(crate) struct AddingView {
    pub(crate) mode: Option<i32>,
    pub(crate) busy: bool,
    pub(crate) progress: String,
    pub(crate) problem: ui::Problem,
    pub(crate) holders: Vec<ui::Seat>,
    pub(crate) seats: u32,
    pub(crate) result: Option<ui::Product>,
}

/// A product's page.
#[derive(Default)]
pub(crate) struct DetailView {
    pub(crate) product: ui::Product,
    pub(crate) facts: Vec<ui::Fact>,
    pub(crate) certificate: String,
    pub(crate) seats: Vec<ui::Seat>,
    pub(crate) total: u32,
    pub(crate) taken: u32,
    pub(crate) support: String,
    pub(crate) seats_known: bool,
    pub(crate) seats_busy: bool,
    pub(crate) seats_problem: ui::Problem,
    pub(crate) history: Vec<ui::Event>,
    pub(crate) problem: ui::Problem,
    pub(crate) busy: bool,
}

/// The screen “Offline”, beside its form.
#[derive(Default)]
pub(crate) struct OfflineView {
    pub(crate) mode: i32,
    pub(crate) step: i32,
    pub(crate) busy: bool,
    pub(crate) problem: ui::Problem,
    pub(crate) portal: String,
    pub(crate) request: String,
    pub(crate) receipt: String,
    pub(crate) same_key: bool,
    pub(crate) qr: Option<slint::Image>,
    pub(crate) until: String,
    /// Where to save, when a new document is shown.
    pub(crate) save_as: Option<String>,
    pub(crate) saved: String,
    pub(crate) results: Vec<ui::Line>,
    pub(crate) owned: Vec<String>,
    /// Empty the fields of the answer.
    pub(crate) clear: bool,
}

/// The screen “Privacy”.
#[derive(Default)]
pub(crate) struct PrivacyView {
    pub(crate) consents: Vec<ui::Consent>,
    pub(crate) machines: Vec<ui::Machine>,
    pub(crate) planned: Vec<ui::Sent>,
    pub(crate) counted: Vec<ui::Counted>,
    pub(crate) sent: Vec<ui::Sent>,
    pub(crate) busy: bool,
    pub(crate) reading: bool,
    pub(crate) notice_busy: bool,
    pub(crate) problem: ui::Problem,
    pub(crate) exported: String,
    pub(crate) export_to: Option<String>,
}

/// The screen “Settings”.
#[derive(Default)]
pub(crate) struct SettingsView {
    pub(crate) theme: i32,
    pub(crate) language: i32,
    pub(crate) still: bool,
    pub(crate) tray: bool,
    pub(crate) vendors: Vec<ui::Vendor>,
    pub(crate) problem: ui::Problem,
    pub(crate) busy: bool,
    pub(crate) login: Option<bool>,
    /// The proxy and the network, where the daemon tells.
    pub(crate) network: Option<NetworkView>,
    pub(crate) clear_file: bool,
}

/// How the daemon reaches the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkView {
    pub(crate) proxy: String,
    pub(crate) proxy_locked: bool,
    pub(crate) proxy_by_policy: bool,
    pub(crate) on: bool,
    pub(crate) locked: bool,
    pub(crate) by_policy: bool,
}

/// What a person does.
pub(crate) enum Act {
    Go(ui::Page),
    Retry,
    StartDaemon,
    Answer(bool),
    Undo,
    Copy(String),
    Dropped(std::path::PathBuf),
    Knocked(String),
    Link(String),
    Filter { search: String, vendor: usize, state: usize },
    Show(String),
    Deactivate(String),
    ActivateAgain(String),
    Refresh,
    Serial(Form, String),
    Code(Form, String),
    Choose(Form, usize),
    Activate,
    Replace { id: String, name: String },
    AddOffline,
    AddAgain,
    Several(String),
    ActivateAll,
    OpenFile(String),
    CopyDetail,
    Rename(String),
    AskSeats,
    AskSeatsOf,
    Free { serial: String, machine: String, name: String, code: String },
    OfflineMake,
    OfflineSave(String),
    OfflineText(String),
    OfflineTyped(String),
    OfflineCode,
    OfflineGiveUp(usize),
    OfflineDetail,
    OfflineStep(i32),
    OfflineAgain(i32),
    Read(VendorId),
    CloseNotice,
    Agree,
    Refuse,
    Withdraw(VendorId),
    ClearLog,
    Export(String),
    Theme(Look),
    Language(Option<Language>),
    Still(bool),
    Tray(bool),
    AddVendor(String),
    RemoveVendor(VendorId),
    Login(bool),
    Proxy(String),
    Network(bool),
    LookAround,
    CopyFindings,
    Resized(f32, f32),
    Pick(Picker, String),
}
