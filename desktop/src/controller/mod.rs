//! What the window knows and decides, without a window: acts of a person come in, news of the daemon come in, changes go to a view
//! and tasks to hands. Everything here runs on one thread and waits for nothing.

mod computers;
mod forms;
mod offline;
mod privacy;
mod product;
mod settings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::ipc::{DaemonStatus, FreeCall, LicensesReply, Machine, Mode, Vendor};

use crate::catalog::{Catalog, Face, Filter, Listing, Look};
use crate::desk::Trouble;
use crate::files::{self, Dropped};
use crate::link::Link;
use crate::prefs::{Language, Prefs};
use crate::tasks::{News, Task};
use crate::view::{Act, Change, Form, View};
use crate::worker::Hands;
use crate::{dates, text, ui};

/// Longest text that is taken from a clipboard, a field or a message, in bytes.
const MAX_TEXT: usize = 4 * 1024 * 1024;

/// A question that was asked, and what a yes does.
#[derive(Debug)]
enum Pending {
    Deactivate(String),
    Replace(String),
    GiveUp(String),
    RemoveVendor(claviger_protocol::ids::VendorId),
    Withdraw(claviger_protocol::ids::VendorId),
    ClearLog,
    Free(FreeCall),
    Link(String),
}

/// What an undo does.
#[derive(Debug)]
enum Undo {
    /// Make a vendor known again by this profile.
    Vendor(String),
    /// Give this computer its former name.
    Name(String),
}

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
            ui::Page::Computers => self.show_computers(),
            ui::Page::About if self.findings.is_empty() && !self.looking => self.act(Act::LookAround),
            // Days pass while a window is open.
            ui::Page::Products => self.show_products(),
            _ => {}
        }
    }

    fn start_daemon(&mut self) {
        if !self.starting {
            self.starting = true;
            self.show_connection(ui::Problem { code: "daemon_not_running".into(), ..ui::Problem::default() });
            self.hands.begin(Task::Start);
        }
    }

    fn started(&mut self, answer: Result<(), Trouble>) {
        self.starting = false;
        match answer {
            Ok(()) => self.act(Act::Retry),
            Err(trouble) => self.lost(&trouble),
        }
    }

    fn lost(&mut self, trouble: &Trouble) {
        // A daemon that ended for a restart is back in a moment: the list stays until it is known to be gone.
        if self.starting && trouble.code == "daemon_not_running" {
            return;
        }
        // The window starts the daemon once by itself; a daemon that ends later was ended by somebody.
        let first = trouble.code == "daemon_not_running" && !std::mem::replace(&mut self.met, true);
        self.connection = match trouble.code.as_str() {
            "daemon_not_running" | "daemon_not_installed" | "system_down" => ui::Connection::Missing,
            "daemon_denied" | "daemon_not_trusted" => ui::Connection::Refused,
            "daemon_gone" if self.connection == ui::Connection::Up => ui::Connection::Connecting,
            _ => ui::Connection::Broken,
        };
        if self.connection == ui::Connection::Connecting {
            self.hands.listen_again();
        }
        self.show_connection(problem(trouble));
        if first {
            self.start_daemon();
        }
    }

    fn licenses_changed(&mut self, reply: LicensesReply) {
        // The first list comes while everything is being loaded; after a restart the vendors may be others.
        if self.connection != ui::Connection::Up {
            self.hands.begin(Task::Load);
            return;
        }
        self.take(reply);
        self.show_connection(ui::Problem::default());
    }

    fn take(&mut self, reply: LicensesReply) {
        self.warnings = reply.warnings.iter().take(5).map(|warning| text::sentence(warning)).collect();
        self.catalog = Rc::new(Catalog::new(reply.licenses, &self.vendors, self.now()));
        self.loaded = true;
        self.show_products();
        self.show_computers();
        self.show_offline();
        self.show_detail();
    }

    fn refresh(&mut self) {
        if !self.refreshing {
            self.refreshing = true;
            self.view.show(Change::Refreshing(true));
            self.hands.begin(Task::Refresh);
        }
    }

    fn show_products(&mut self) {
        let sellers = self.catalog.sellers();
        if self.filter.vendor > sellers.len() {
            self.filter.vendor = 0;
        }
        let look = Look { now: self.now(), language: self.language(), busy: &self.busy };
        let listing = Listing::new(self.catalog.clone(), &self.filter, &look);
        self.view.show(Change::Products {
            listing,
            owned: self.catalog.entries.len(),
            counts: self.catalog.counts(),
            vendors: sellers.iter().map(|at| self.catalog.faces[*at].name.to_string()).collect(),
            warnings: self.warnings.clone(),
            cut: self.catalog.cut,
            loaded: self.loaded,
        });
    }

    fn show_connection(&self, trouble: ui::Problem) {
        self.view.show(Change::Connection { state: self.connection, trouble, starting: self.starting });
        let status = self.status.as_ref();
        self.view.show(Change::Facts {
            may_change: status.is_none_or(|status| status.may_change),
            system: self.system,
            network: status.is_none_or(|status| status.network),
            daemon: status
                .filter(|_| self.connection == ui::Connection::Up)
                .map(|status| text::line(&status.version, 40))
                .unwrap_or_default(),
        });
    }

    fn machine_rows(&self) -> Vec<ui::Machine> {
        let vendor = |machine: &Machine| {
            self.vendors
                .iter()
                .find(|v| v.id == machine.vendor)
                .map_or_else(|| machine.vendor.to_string(), |v| text::name(&v.name, v.id.as_str()))
        };
        self.machines
            .iter()
            .take(200)
            .map(|machine| ui::Machine {
                vendor: vendor(machine).into(),
                name: text::name(machine.device_name.as_str(), "").into(),
                os: text::line(
                    &format!("{} {}, {}", family(&machine.os_family), machine.os_version, machine.os_arch),
                    160,
                )
                .into(),
                cpu: text::line(&format!("{} ({}×)", machine.cpu_model, machine.cpu_logical_cores), 160)
                    .into(),
                cores: i32::try_from(machine.cpu_logical_cores).unwrap_or(i32::MAX),
                ram: i32::try_from(machine.ram_gib).unwrap_or(i32::MAX),
                id: machine.machine_id.to_string().into(),
            })
            .collect()
    }

    fn show_sends(&self) {
        let facts = self.machine_rows().into_iter().next().map(|machine| {
            vec![
                ui::Fact { label: "device".into(), value: machine.name },
                ui::Fact { label: "os".into(), value: machine.os },
                ui::Fact { label: "cpu".into(), value: machine.cpu },
                ui::Fact { label: "ram".into(), value: format!("{} GiB", machine.ram).into() },
                ui::Fact { label: "machine".into(), value: machine.id },
            ]
        });
        self.view.show(Change::Sends(facts.unwrap_or_default()));
    }

    fn found(&mut self, findings: Vec<claviger_protocol::ipc::Finding>) {
        use claviger_protocol::ipc::Level;
        self.looking = false;
        let row = |finding: claviger_protocol::ipc::Finding| ui::Finding {
            name: text::line(&finding.name.replace('_', " "), 40).into(),
            level: match finding.level {
                Level::Ok => ui::Level::Good,
                Level::Warning => ui::Level::Warn,
                Level::Error => ui::Level::Bad,
            },
            message: text::sentence(&finding.message).into(),
            advice: text::breakable(&text::line(finding.advice.as_deref().unwrap_or_default(), 600)).into(),
        };
        self.findings = findings.into_iter().take(200).map(row).collect();
        let mut lines = vec![format!("Claviger {}", env!("CARGO_PKG_VERSION"))];
        for finding in &self.findings {
            let word = match finding.level {
                ui::Level::Good => "ok",
                ui::Level::Warn => "warning",
                _ => "problem",
            };
            lines.push(
                format!("{word}: {}: {} {}", finding.name, finding.message, finding.advice)
                    .trim_end()
                    .to_owned(),
            );
        }
        self.findings_text = lines.join("\n");
        self.show_findings();
    }

    fn show_findings(&self) {
        self.view.show(Change::Findings {
            findings: self.findings.clone(),
            healthy: self.findings.iter().all(|finding| finding.level == ui::Level::Good),
            asked: !self.findings.is_empty(),
            busy: self.looking,
        });
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

    fn copy(&mut self, text: &str) {
        // What lets a long word be broken is for the eye alone.
        let text = text.replace('\u{200b}', "");
        if text.len() <= MAX_TEXT {
            self.view.show(Change::Clipboard(text));
            self.say("copied", "");
        }
    }

    fn say(&mut self, word: &'static str, name: &str) {
        self.undo = None;
        self.view.show(Change::Said { word, name: name.to_owned(), undo: false });
    }

    fn ask(&mut self, pending: Pending, kind: &str, name: &str) {
        self.pending = Some(pending);
        self.view.show(Change::Ask(Some(ui::Question {
            kind: kind.into(),
            name: name.into(),
            ..ui::Question::default()
        })));
    }

    fn answered(&mut self, yes: bool) {
        self.view.show(Change::Ask(None));
        let Some(pending) = self.pending.take().filter(|_| yes) else { return };
        match pending {
            Pending::Deactivate(key) => self.deactivate(key),
            Pending::Replace(id) => self.activate(Some(id)),
            Pending::GiveUp(key) => self.give_up(&key),
            Pending::RemoveVendor(id) => self.remove_vendor(id),
            Pending::Withdraw(id) => self.withdraw(id),
            Pending::Free(call) => self.free(call),
            Pending::ClearLog => self.hands.begin(Task::ClearLog),
            Pending::Link(serial) => {
                self.go(ui::Page::Add);
                self.add_again();
                self.fill_in(Form::Adding, &serial);
            }
        }
    }

    fn undo(&mut self) {
        match self.undo.take() {
            Some(Undo::Vendor(profile)) => self.hands.begin(Task::AddVendor(profile)),
            Some(Undo::Name(name)) => self.rename(&name),
            None => {}
        }
    }

    /// Another start of the window left a line: it wants to be seen, and may bring a link.
    fn knocked(&mut self, line: &str) {
        self.view.show(Change::Raise);
        let link = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|value| Some(value.get("link")?.as_str()?.to_owned()));
        if let Some(link) = link {
            self.link(&link);
        }
    }

    /// A link asks before it does anything, and then only fills in a field.
    fn link(&mut self, link: &str) {
        match Link::read(link) {
            Link::Activate(serial) => {
                // A serial number stays on one line.
                let shown = text::line(&serial, 100).replace('-', "\u{2011}");
                self.ask(Pending::Link(serial), "link", &shown);
            }
            Link::CarriesCode => {
                self.go(ui::Page::Add);
                self.adding_problem(&Trouble::new(
                    "link_with_code",
                    "the link carried an unlock code and was not followed",
                ));
            }
            Link::Unknown => {
                self.go(ui::Page::Add);
                self.adding_problem(&Trouble::new("link_unknown", "the link is not one of Claviger's"));
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

/// An operating system's family as people write it.
fn family(word: &str) -> &str {
    match word {
        "linux" => "Linux",
        "macos" => "macOS",
        "windows" => "Windows",
        other => other,
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
