//! What the window knows and decides, without a window: acts of a person come in, news of the daemon come in, changes go to a view
//! and tasks to hands. Everything here runs on one thread and waits for nothing.

mod about;
mod computers;
mod connection;
mod forms;
mod offline;
mod privacy;
mod product;
mod questions;
mod settings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::ipc::{DaemonStatus, Machine, Mode, Vendor};

use crate::catalog::{Catalog, Face, Filter};
use crate::desk::Trouble;
use crate::files::{self, Dropped};
use crate::prefs::{Language, Prefs};
use crate::tasks::{News, Task};
use crate::view::{Act, Change, Form, View};
use crate::worker::Hands;
use crate::{dates, text, ui};
use questions::{Pending, Undo};

/// Longest text that is taken from a clipboard, a field or a message, in bytes.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// The window's mind.
pub(crate) struct Controller {
    view: Rc<dyn View>,
    hands: Box<dyn Hands>,
    clock: Arc<dyn Clock>,
    prefs: Prefs,
    /// What is kept for the next time: without what flags have set for this run.
    kept: Prefs,
    prefs_file: Option<PathBuf>,
    system_language: Language,
    page: ui::Page,
    connection: ui::Connection,
    starting: bool,
    /// A daemon was reached, or one was started.
    met: bool,
    status: Option<DaemonStatus>,
    system: bool,
    vendors: Vec<Vendor>,
    machines: Vec<Machine>,
    catalog: Rc<Catalog>,
    warnings: Vec<String>,
    loaded: bool,
    filter: Filter,
    busy: Vec<String>,
    refreshing: bool,
    pending: Option<Pending>,
    undo: Option<Undo>,
    computers: computers::Computers,
    findings: Vec<ui::Finding>,
    findings_text: String,
    looking: bool,
    adding: forms::Adding,
    offline: offline::Offline,
    privacy: privacy::Privacy,
    product: product::Open,
    settings: settings::Settings,
}

impl Controller {
    /// A mind that has heard of nothing yet.
    pub(crate) fn new(
        view: Rc<dyn View>,
        hands: Box<dyn Hands>,
        clock: Arc<dyn Clock>,
        (prefs, kept, prefs_file): (Prefs, Prefs, Option<PathBuf>),
        system_language: Language,
    ) -> Self {
        Self {
            view,
            hands,
            clock,
            prefs,
            kept,
            prefs_file,
            system_language,
            page: ui::Page::Products,
            connection: ui::Connection::Connecting,
            starting: false,
            met: false,
            status: None,
            system: false,
            vendors: Vec::new(),
            machines: Vec::new(),
            catalog: Rc::default(),
            warnings: Vec::new(),
            loaded: false,
            filter: Filter::default(),
            busy: Vec::new(),
            refreshing: false,
            pending: None,
            undo: None,
            computers: computers::Computers::default(),
            findings: Vec::new(),
            findings_text: String::new(),
            looking: false,
            adding: forms::Adding::default(),
            offline: offline::Offline::default(),
            privacy: privacy::Privacy::default(),
            product: product::Open::default(),
            settings: settings::Settings::default(),
        }
    }

    /// Shows everything as it stands, and begins.
    pub(crate) fn begin(&mut self) {
        self.show_look();
        self.show_connection(ui::Problem::default());
        self.show_products();
        self.show_form(Form::Adding);
        self.show_form(Form::Offline);
        self.show_adding(None);
        self.show_offline();
        self.show_privacy();
        self.show_settings();
        self.show_findings();
        self.hands.begin(Task::Load);
    }

    /// Keeps the settings for the next time.
    pub(crate) fn keep(&mut self) {
        self.keep_prefs();
    }

    fn language(&self) -> Language {
        self.prefs.language.unwrap_or(self.system_language)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn day(&self, moment: Timestamp) -> String {
        dates::day(moment, self.language())
    }

    /// A person did something.
    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Go(page) => self.go(page),
            Act::Retry => {
                self.connection = ui::Connection::Connecting;
                self.show_connection(ui::Problem::default());
                self.hands.listen_again();
                self.hands.begin(Task::Load);
            }
            Act::StartDaemon => self.start_daemon(),
            Act::Answer(yes) => self.answered(yes),
            Act::Undo => self.undo(),
            Act::Copy(text) => self.copy(&text),
            Act::Dropped(path) => self.hands.begin(Task::Open(path)),
            Act::OpenFile(typed) => self.hands.begin(Task::Open(files::typed(&typed))),
            Act::Knocked(line) => self.knocked(&line),
            Act::Link(link) => self.link(&link),
            Act::Filter { search, vendor, state } => {
                self.filter = Filter { search: text::line(&search, 200), vendor, state };
                self.show_products();
            }
            Act::Show(key) => self.open_product(key),
            Act::Deactivate(key) => self.ask_deactivate(&key),
            Act::ActivateAgain(key) => self.activate_again(&key),
            Act::Refresh => self.refresh(),
            Act::Rename(_) | Act::AskSeats | Act::AskSeatsOf | Act::Free { .. } => self.act_on_computers(act),
            Act::LookAround => {
                self.looking = true;
                self.show_findings();
                self.hands.begin(Task::LookAround);
            }
            Act::CopyFindings => self.copy(&self.findings_text.clone()),
            Act::Resized(width, height) => {
                (self.kept.width, self.kept.height) = (width, height);
            }
            Act::Pick(picker, typed) => self.hands.begin(Task::Pick(picker, typed)),
            Act::Serial(..)
            | Act::Code(..)
            | Act::Choose(..)
            | Act::Activate
            | Act::Replace { .. }
            | Act::AddOffline
            | Act::AddAgain
            | Act::Several(_)
            | Act::ActivateAll => self.act_on_form(act),
            Act::OfflineMake
            | Act::OfflineSave(_)
            | Act::OfflineText(_)
            | Act::OfflineTyped(_)
            | Act::OfflineCode
            | Act::OfflineGiveUp(_)
            | Act::OfflineDetail
            | Act::OfflineStep(_)
            | Act::OfflineAgain(_) => self.act_offline(act),
            Act::Read(_)
            | Act::CloseNotice
            | Act::Agree
            | Act::Refuse
            | Act::Withdraw(_)
            | Act::ClearLog
            | Act::Export(_) => self.act_on_privacy(act),
            Act::CopyDetail => self.copy_detail(),
            Act::Theme(_)
            | Act::Language(_)
            | Act::Still(_)
            | Act::Tray(_)
            | Act::AddVendor(_)
            | Act::RemoveVendor(_)
            | Act::Login(_)
            | Act::Proxy(_)
            | Act::Network(_) => self.act_on_settings(act),
        }
    }

    /// The daemon, a file or a task had something to say.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Licenses(licenses) => self.licenses_changed(licenses),
            News::Lost(trouble) => self.lost(&trouble),
            News::Started(answer) => self.started(answer),
            News::Loaded(Ok(loaded)) => {
                self.connection = ui::Connection::Up;
                self.met = true;
                self.starting = false;
                self.system = loaded.system || loaded.status.mode == Mode::System;
                self.status = Some(loaded.status);
                self.vendors = loaded.vendors;
                self.machines = loaded.machines;
                self.take(loaded.licenses);
                self.show_connection(ui::Problem::default());
                self.show_sends();
                self.check_form(Form::Adding);
                self.check_form(Form::Offline);
                self.show_several();
                self.show_settings();
                self.hands.begin(Task::AtLogin);
                self.hands.begin(Task::LoadSettings);
                if self.page == ui::Page::Privacy {
                    self.hands.begin(Task::LoadPrivacy);
                }
            }
            News::Loaded(Err(trouble)) => self.lost(&trouble),
            News::Refreshed(answer) => {
                self.refreshing = false;
                self.view.show(Change::Refreshing(false));
                match answer {
                    Ok(()) => {
                        self.say("refreshed", "");
                        self.product.problem = ui::Problem::default();
                    }
                    Err(trouble) => self.product.problem = problem(&trouble),
                }
                if self.product.problem.code.is_empty() || self.page == ui::Page::Product {
                    self.show_detail();
                } else {
                    // The list has no place for a problem but its warnings.
                    self.warnings = vec![text::sentence(&self.product.problem.message)];
                    self.show_products();
                }
            }
            News::Renamed(_) | News::Seats(..) | News::Freed(_) => self.hear_of_computers(news),
            News::Findings(findings) => self.found(findings),
            News::Opened(answer) => self.opened(answer),
            News::Picked(picker, Some(path)) => {
                self.view.show(Change::Picked(picker, path.display().to_string()));
            }
            News::Picked(_, None) => {}
            News::Progress(_)
            | News::Activated(_)
            | News::LineBegun(_)
            | News::LineDone(..)
            | News::AllDone => self.hear_of_form(news),
            News::Deactivated { key, answer } => self.deactivated(&key, answer),
            News::RequestMade(_) | News::Imported(_) | News::GivenUp(_) | News::Saved(..) => {
                self.hear_offline(news);
            }
            News::Privacy(_)
            | News::Notice(..)
            | News::Decided { .. }
            | News::Withdrawn(_)
            | News::Cleared(_)
            | News::Exported(..) => self.hear_of_privacy(news),
            News::Settings(_)
            | News::Set(_)
            | News::VendorAdded(_)
            | News::VendorRemoved(..)
            | News::AtLogin(_)
            | News::SetAtLogin(..) => {
                self.hear_of_settings(news);
            }
        }
    }

    fn go(&mut self, page: ui::Page) {
        let same = self.page == page;
        self.page = page;
        self.view.show(Change::Page(page));
        if same {
            return;
        }
        // What was said belongs to the screen that it was said on.
        self.undo = None;
        self.view.show(Change::Said { word: "", name: String::new(), undo: false });
        match page {
            ui::Page::Privacy => {
                self.show_privacy();
                self.hands.begin(Task::LoadPrivacy);
            }
            ui::Page::Add if self.adding.is_done() => self.add_again(),
            ui::Page::Offline if self.offline.is_done() => self.offline_again(0),
            ui::Page::Offline => self.show_offline(),
            ui::Page::Computers => self.show_computers(),
            ui::Page::About if self.findings.is_empty() && !self.looking => self.act(Act::LookAround),
            // Days pass while a window is open.
            ui::Page::Products => self.show_products(),
            _ => {}
        }
    }

    fn opened(&mut self, answer: Result<Dropped, Trouble>) {
        match answer {
            Ok(Dropped::Profile(text)) => {
                self.settings.busy = true;
                self.show_settings();
                self.hands.begin(Task::AddVendor(text));
            }
            Ok(Dropped::Other(bytes)) => {
                self.go(ui::Page::Offline);
                self.offline_import(bytes);
            }
            Err(trouble) => self.refuse_file(&trouble),
        }
    }

    /// Tells on the screen that the person is at why a file was not taken.
    fn refuse_file(&mut self, trouble: &Trouble) {
        match self.page {
            ui::Page::Settings => self.settings_problem(trouble),
            ui::Page::Offline => self.offline_problem(trouble),
            _ => {
                self.go(ui::Page::Add);
                self.adding_problem(trouble);
            }
        }
    }

    fn face(&self, id: &claviger_protocol::ids::VendorId, name: &str) -> Face {
        self.catalog
            .face(id)
            .cloned()
            .or_else(|| self.vendors.iter().find(|vendor| vendor.id == *id).map(Face::of))
            .unwrap_or_else(|| Face::named(id, name))
    }
}

/// A trouble as the view has it.
fn problem(trouble: &Trouble) -> ui::Problem {
    ui::Problem {
        code: if trouble.code.is_empty() { "internal".into() } else { trouble.code.as_str().into() },
        message: trouble.message.as_str().into(),
        advice: trouble.advice.as_str().into(),
    }
}
