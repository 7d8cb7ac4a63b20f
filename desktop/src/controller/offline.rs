//! Activating and giving up without a network, step by step.

use claviger_protocol::ipc::{OfflineReceiptReply, OfflineRequestReply};
use claviger_protocol::offline::{FileKind, Portal};

use super::forms::Typed;
use super::product::target;
use super::{Controller, MAX_TEXT, Pending, problem};
use crate::carry::{self, Taken};
use crate::desk::Trouble;
use crate::files;
use crate::tasks::{News, Task};
use crate::view::{Act, Change, Form, OfflineView};
use crate::{picture, text, ui};

/// The screen “Offline”.
#[derive(Default)]
pub(super) struct Offline {
    pub(super) form: Typed,
    mode: i32,
    step: i32,
    busy: bool,
    problem: ui::Problem,
    /// The document to carry, as the file that it becomes.
    file: String,
    portal: String,
    qr: Option<slint::Image>,
    until: String,
    save_as: Option<String>,
    saved: String,
    results: Vec<Taken>,
    same_key: bool,
    typed: String,
    clear: bool,
}

impl Offline {
    /// Whether it shows a result, which a later visit does not want to see.
    pub(super) fn is_done(&self) -> bool {
        self.step == 3
    }
}

impl Controller {
    pub(super) fn act_offline(&mut self, act: Act) {
        match act {
            Act::OfflineMake if !self.offline.busy => {
                let Some(call) = self.call_of(Form::Offline, None) else { return };
                self.offline_busy();
                self.hands.begin(Task::MakeRequest(call));
            }
            Act::OfflineSave(typed) => {
                let (path, text) = (files::typed(&typed), self.offline.file.clone());
                self.hands.begin(Task::Save { path, text });
            }
            Act::OfflineText(text) => self.offline_import(text.into_bytes()),
            Act::OfflineTyped(typed) => {
                self.offline.typed = typed.chars().take(2_000).collect();
                let (groups, whole) = carry::typed(&self.offline.typed);
                let level = |mark| match mark {
                    1 => ui::Level::Good,
                    2 => ui::Level::Bad,
                    _ => ui::Level::Quiet,
                };
                let row = |group: &carry::Group| ui::Line {
                    code: ["part", "good", "bad"][usize::try_from(group.mark).unwrap_or(0).min(2)].into(),
                    text: group.text.as_str().into(),
                    level: level(group.mark),
                    ..ui::Line::default()
                };
                self.view.show(Change::Groups {
                    good: groups.iter().filter(|group| group.mark == 1).count(),
                    groups: groups.iter().take(32).map(row).collect(),
                    ready: whole,
                });
            }
            Act::OfflineCode if !self.offline.busy => {
                let code = self.offline.typed.clone();
                self.offline_busy();
                self.hands.begin(Task::ImportCode(code));
            }
            Act::OfflineGiveUp(index) => {
                let key = self.held().nth(index).map(|entry| (entry.key.clone(), entry.name.to_string()));
                if let Some((key, name)) = key {
                    self.ask(Pending::GiveUp(key), "give-up", &name);
                }
            }
            Act::OfflineDetail => {
                let key = self.product.key.clone();
                if let Some(name) = self.catalog.find(&key).map(|entry| entry.name.to_string()) {
                    self.ask(Pending::GiveUp(key), "give-up", &name);
                }
            }
            Act::OfflineStep(step) => {
                self.offline.step = step.clamp(0, 3);
                self.offline.problem = ui::Problem::default();
                self.show_offline();
            }
            Act::OfflineAgain(mode) => self.offline_again(mode),
            _ => {}
        }
    }

    fn offline_busy(&mut self) {
        self.offline.busy = true;
        self.offline.problem = ui::Problem::default();
        self.show_offline();
    }

    pub(super) fn offline_again(&mut self, mode: i32) {
        self.offline = Offline { mode, clear: true, same_key: true, ..Offline::default() };
        self.view.show(Change::FormText(Form::Offline, Some(String::new()), Some(String::new())));
        self.show_form(Form::Offline);
        self.show_offline();
        self.view.show(Change::Groups { groups: Vec::new(), good: 0, ready: false });
        self.offline.clear = false;
    }

    /// Imports bytes of a file or a paste.
    pub(super) fn offline_import(&mut self, bytes: Vec<u8>) {
        if self.offline.busy {
            return;
        }
        if bytes.len() > MAX_TEXT * 16 {
            self.offline_problem(&Trouble::new("not_ours", "this is longer than any file of Claviger's"));
            return;
        }
        self.offline.mode = 0;
        self.offline.step = 2;
        self.offline_busy();
        self.hands.begin(Task::Import(bytes));
    }

    pub(super) fn give_up(&mut self, key: &str) {
        let Some(target) = self.catalog.find(key).map(target) else { return };
        self.go(ui::Page::Offline);
        self.offline_again(1);
        self.offline_busy();
        self.hands.begin(Task::GiveUp(target));
    }

    pub(super) fn offline_problem(&mut self, trouble: &Trouble) {
        self.offline.busy = false;
        self.offline.problem = problem(trouble);
        self.show_offline();
    }

    pub(super) fn hear_offline(&mut self, news: News) {
        match news {
            News::RequestMade(Ok(reply)) => self.request_made(&reply),
            News::GivenUp(Ok(reply)) => self.given_up(&reply),
            News::Imported(Ok(taken)) => {
                self.offline =
                    Offline { step: 3, results: taken, clear: true, same_key: true, ..Offline::default() };
                self.view.show(Change::FormText(Form::Offline, Some(String::new()), Some(String::new())));
                self.show_form(Form::Offline);
                self.show_offline();
                self.view.show(Change::Groups { groups: Vec::new(), good: 0, ready: false });
                self.offline.clear = false;
            }
            News::Saved(path, Ok(())) => {
                self.offline.saved = path.display().to_string();
                self.offline.problem = ui::Problem::default();
                self.show_offline();
            }
            News::RequestMade(Err(trouble))
            | News::GivenUp(Err(trouble))
            | News::Imported(Err(trouble))
            | News::Saved(_, Err(trouble)) => self.offline_problem(&trouble),
            _ => {}
        }
    }

    fn request_made(&mut self, reply: &OfflineRequestReply) {
        let portal = Portal::of(&reply.vendor.server);
        let name = self.machines.first().map_or("computer", |machine| machine.device_name.as_str());
        let serial = self.offline.form.serial.clone();
        let save_as = files::suggested(&[name, &serial], FileKind::Request.extension());
        self.offline = Offline {
            step: 1,
            qr: picture::request_code(&portal, &reply.request),
            portal: portal.address().to_owned(),
            file: carry::request_file(reply),
            until: self.day(reply.expires),
            save_as: Some(save_as.display().to_string()),
            same_key: true,
            ..Offline::default()
        };
        self.view.show(Change::FormText(Form::Offline, Some(String::new()), Some(String::new())));
        self.show_form(Form::Offline);
        self.show_offline();
        self.offline.save_as = None;
    }

    fn given_up(&mut self, reply: &OfflineReceiptReply) {
        let portal = Portal::of(&reply.vendor.server);
        let save_as =
            files::suggested(&["receipt", reply.license.serial.as_str()], FileKind::Receipt.extension());
        self.offline = Offline {
            mode: 1,
            qr: picture::request_code(&portal, &reply.request),
            portal: portal.address().to_owned(),
            file: carry::receipt_file(reply),
            save_as: Some(save_as.display().to_string()),
            same_key: reply.same_key,
            ..Offline::default()
        };
        self.show_offline();
        self.offline.save_as = None;
    }

    /// Licenses that can be given up here.
    fn held(&self) -> impl Iterator<Item = &crate::catalog::Entry> {
        self.catalog.entries.iter().filter(|entry| entry.license.certificate.is_some()).take(2_000)
    }

    pub(super) fn show_offline(&self) {
        let offline = &self.offline;
        let result = |taken: &Taken| ui::Line {
            code: taken.word.into(),
            text: taken.about.as_str().into(),
            note: taken.next.as_str().into(),
            level: match taken.word {
                "activated" | "already" | "receipts" => ui::Level::Good,
                "others" => ui::Level::Info,
                _ => ui::Level::Bad,
            },
            busy: false,
        };
        let (request, receipt) = if offline.mode == 0 {
            (offline.file.clone(), String::new())
        } else {
            (String::new(), offline.file.clone())
        };
        // Tens of thousands of names are made only for who sees them.
        let owned = |entry: &crate::catalog::Entry| format!("{}  ·  {}", entry.name, entry.license.serial);
        let owned =
            if self.page == ui::Page::Offline { self.held().map(owned).collect() } else { Vec::new() };
        self.view.show(Change::Offline(OfflineView {
            mode: offline.mode,
            step: offline.step,
            busy: offline.busy,
            problem: offline.problem.clone(),
            portal: text::line(&offline.portal, 300),
            request,
            receipt,
            same_key: offline.same_key,
            qr: offline.qr.clone(),
            until: offline.until.clone(),
            save_as: offline.save_as.clone(),
            saved: text::line(&offline.saved, 400),
            results: offline.results.iter().map(result).collect(),
            owned,
            clear: offline.clear,
        }));
    }
}
