//! What takes time: calls to the daemon, and files. Each task runs on a thread of its own, so that a vendor's slow server keeps
//! nobody from clicking; what comes of it is news for the controller.

use std::path::PathBuf;
use std::sync::Arc;

use claviger_protocol::ids::{DeviceName, VendorId};
use claviger_protocol::ipc::{
    ActivateCall, Consent, DaemonStatus, DeactivateReply, Finding, FreeCall, FreeMachineReply, License,
    LicensesReply, Machine, OfflineReceiptReply, OfflineRequestReply, PreviewReply, SentEntry, Setting,
    ShowNoticeReply, ShowSeatsReply, Vendor,
};

use crate::carry::{self, Taken};
use crate::desk::{Answer, Desks};
use crate::files::{self, Dropped};
use crate::view::Picker;

/// Something to be done.
pub(crate) enum Task {
    Start,
    /// Everything that the window begins with, and again when something changed that the list does not tell.
    Load,
    Activate(ActivateCall),
    ActivateAll(Vec<ActivateCall>),
    Deactivate {
        key: String,
        target: String,
    },
    Refresh,
    Rename(DeviceName),
    /// Who holds the seats of this license, or of all.
    Seats(Option<String>),
    Free(FreeCall),
    MakeRequest(ActivateCall),
    Open(PathBuf),
    Import(Vec<u8>),
    ImportCode(String),
    GiveUp(String),
    Save {
        path: PathBuf,
        text: String,
    },
    LoadPrivacy,
    ShowNotice {
        vendor: VendorId,
        language: &'static str,
    },
    Decide {
        vendor: VendorId,
        challenge: String,
        agree: bool,
    },
    Withdraw(VendorId),
    ClearLog,
    Export(PathBuf),
    AddVendor(String),
    RemoveVendor(VendorId),
    LookAround,
    AtLogin,
    SetAtLogin(bool),
    Pick(Picker, String),
    LoadSettings,
    Set {
        name: &'static str,
        value: Option<String>,
    },
}

/// All that the privacy screen shows.
#[derive(Debug)]
pub(crate) struct Privacy {
    pub(crate) consents: Vec<Consent>,
    pub(crate) preview: PreviewReply,
    pub(crate) sent: Vec<SentEntry>,
}

/// All that the window begins with.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) status: DaemonStatus,
    pub(crate) vendors: Vec<Vendor>,
    pub(crate) licenses: LicensesReply,
    pub(crate) machines: Vec<Machine>,
    pub(crate) system: bool,
}

/// What came of it.
pub(crate) enum News {
    /// The daemon's list changed.
    Licenses(LicensesReply),
    /// The stream of changes broke off.
    Lost(crate::desk::Trouble),
    Started(Answer<()>),
    Loaded(Answer<Box<Loaded>>),
    Progress(String),
    Activated(Answer<Box<License>>),
    LineBegun(usize),
    LineDone(usize, Answer<Box<License>>),
    AllDone,
    Deactivated {
        key: String,
        answer: Answer<Box<DeactivateReply>>,
    },
    Refreshed(Answer<()>),
    Renamed(Answer<DeviceName>),
    Seats(Option<String>, Answer<ShowSeatsReply>),
    Freed(Answer<FreeMachineReply>),
    RequestMade(Answer<Box<OfflineRequestReply>>),
    Opened(Answer<Dropped>),
    Imported(Answer<Vec<Taken>>),
    GivenUp(Answer<Box<OfflineReceiptReply>>),
    Saved(PathBuf, Answer<()>),
    Privacy(Answer<Box<Privacy>>),
    Notice(VendorId, Answer<Box<ShowNoticeReply>>),
    Decided {
        agree: bool,
        answer: Answer<Box<Consent>>,
    },
    Withdrawn(Answer<Box<Consent>>),
    Cleared(Answer<u64>),
    Exported(PathBuf, Answer<()>),
    VendorAdded(Answer<(Box<Vendor>, bool)>),
    VendorRemoved(VendorId, Answer<()>),
    Findings(Vec<Finding>),
    AtLogin(Option<bool>),
    SetAtLogin(bool, Answer<()>),
    Picked(Picker, Option<PathBuf>),
    Settings(Answer<Vec<Setting>>),
    Set(Answer<Vec<Setting>>),
}

/// Does a task and tells what comes of it.
pub(crate) fn perform(desks: &Arc<dyn Desks>, task: Task, tell: &dyn Fn(News)) {
    let desk = || desks.open();
    match task {
        Task::Start => tell(News::Started(desks.start())),
        Task::Load => tell(News::Loaded(load(desks))),
        Task::Activate(call) => {
            let mut say = |now: &str| tell(News::Progress(now.to_owned()));
            tell(News::Activated(desk().and_then(|mut desk| desk.activate(call, &mut say)).map(Box::new)));
        }
        Task::ActivateAll(calls) => {
            for (index, call) in calls.into_iter().enumerate() {
                tell(News::LineBegun(index));
                let answer = desk().and_then(|mut desk| desk.activate(call, &mut |_| {}));
                tell(News::LineDone(index, answer.map(Box::new)));
            }
            tell(News::AllDone);
        }
        Task::Deactivate { key, target } => {
            let answer = desk().and_then(|mut desk| desk.deactivate(target)).map(Box::new);
            tell(News::Deactivated { key, answer });
        }
        Task::Refresh => tell(News::Refreshed(desk().and_then(|mut desk| desk.refresh()).map(drop))),
        Task::Rename(name) => tell(News::Renamed(desk().and_then(|mut desk| desk.rename(name)))),
        Task::Seats(target) => {
            let answer = desk().and_then(|mut desk| desk.seats(target.clone()));
            tell(News::Seats(target, answer));
        }
        Task::Free(call) => tell(News::Freed(desk().and_then(|mut desk| desk.free(call)))),
        Task::MakeRequest(call) => {
            tell(News::RequestMade(desk().and_then(|mut desk| desk.offline_request(call)).map(Box::new)));
        }
        Task::Open(path) => tell(News::Opened(files::open(&path))),
        Task::Import(bytes) => {
            tell(News::Imported(desk().and_then(|mut desk| carry::import(desk.as_mut(), &bytes))));
        }
        Task::ImportCode(code) => {
            let answer = desk().and_then(|mut desk| desk.offline_code(code));
            tell(News::Imported(answer.map(|license| vec![Taken::license(&license, true)])));
        }
        Task::GiveUp(target) => {
            tell(News::GivenUp(desk().and_then(|mut desk| desk.offline_give_up(target)).map(Box::new)));
        }
        Task::Save { path, text } => {
            let answer = files::write_new(&path, &text);
            tell(News::Saved(path, answer));
        }
        Task::LoadPrivacy => tell(News::Privacy(privacy(desks))),
        Task::ShowNotice { vendor, language } => {
            let answer = desk().and_then(|mut desk| desk.notice(vendor.clone(), language));
            tell(News::Notice(vendor, answer.map(Box::new)));
        }
        Task::Decide { vendor, challenge, agree } => {
            let decided = desk().and_then(|mut desk| {
                if agree { desk.grant(vendor, challenge) } else { desk.refuse(vendor, challenge) }
            });
            tell(News::Decided { agree, answer: decided.map(Box::new) });
        }
        Task::Withdraw(vendor) => {
            tell(News::Withdrawn(desk().and_then(|mut desk| desk.withdraw(vendor)).map(Box::new)));
        }
        Task::ClearLog => tell(News::Cleared(desk().and_then(|mut desk| desk.clear_sent()))),
        Task::Export(path) => {
            let answer = desk().and_then(|mut desk| desk.export(&path));
            tell(News::Exported(path, answer));
        }
        Task::AddVendor(profile) => {
            let answer = desk().and_then(|mut desk| desk.add_vendor(profile));
            tell(News::VendorAdded(answer.map(|(vendor, added)| (Box::new(vendor), added))));
        }
        Task::RemoveVendor(vendor) => {
            let answer = desk().and_then(|mut desk| desk.remove_vendor(vendor.clone()));
            tell(News::VendorRemoved(vendor, answer));
        }
        Task::LookAround => tell(News::Findings(desks.look_around())),
        Task::AtLogin => tell(News::AtLogin(desks.at_login())),
        Task::LoadSettings => tell(News::Settings(desk().and_then(|mut desk| desk.settings()))),
        Task::Set { name, value } => tell(News::Set(desk().and_then(|mut desk| desk.set(name, value)))),
        Task::Pick(picker, typed) => tell(News::Picked(picker, files::pick(picker, &typed))),
        Task::SetAtLogin(on) => tell(News::SetAtLogin(on, desks.set_at_login(on))),
    }
}

fn load(desks: &Arc<dyn Desks>) -> Answer<Box<Loaded>> {
    let mut desk = desks.open()?;
    Ok(Box::new(Loaded {
        status: desk.status()?,
        vendors: desk.vendors()?,
        licenses: desk.licenses()?,
        // Without a machine id there is nothing to show, and everything else to see.
        machines: desk.machines().unwrap_or_default(),
        system: desks.is_system(),
    }))
}

fn privacy(desks: &Arc<dyn Desks>) -> Answer<Box<Privacy>> {
    let mut desk = desks.open()?;
    Ok(Box::new(Privacy { consents: desk.consents()?, preview: desk.preview()?, sent: desk.sent()? }))
}
