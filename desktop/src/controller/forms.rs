//! Activating: the form with a serial number and an unlock code, and lists of them.

use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{ActivateCall, License, Vendor};
use zeroize::Zeroizing;

use super::{Controller, Pending, problem};
use crate::catalog::Look;
use crate::desk::Trouble;
use crate::tasks::{News, Task};
use crate::typing::{self, Listed, TypedSerial};
use crate::view::{Act, AddingView, Change, Form, FormView};
use crate::{text, ui};

/// What was typed into a form, and what is thought of it.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) serial: String,
    pub(super) code: Zeroizing<String>,
    pub(super) chosen: Option<VendorId>,
    found: TypedSerial,
    ready: bool,
}

/// The screen “Add a license”.
#[derive(Default)]
pub(super) struct Adding {
    pub(super) form: Typed,
    busy: bool,
    progress: String,
    problem: ui::Problem,
    holders: Vec<ui::Seat>,
    seats: u32,
    result: Option<ui::Product>,
    several: Zeroizing<String>,
    listed: Vec<Listed>,
    /// What became of each line, once they are under way.
    done: Vec<ui::Line>,
    /// Which line of `done` each call is.
    calls: Vec<usize>,
    several_busy: bool,
}

impl Adding {
    /// Whether it shows a result, which a later visit does not want to see.
    pub(super) fn is_done(&self) -> bool {
        self.result.is_some()
    }
}

impl Controller {
    fn typed(&mut self, form: Form) -> &mut Typed {
        match form {
            Form::Adding => &mut self.adding.form,
            Form::Offline => &mut self.offline.form,
        }
    }

    pub(super) fn act_on_form(&mut self, act: Act) {
        match act {
            Act::Serial(form, typed) => self.serial_typed(form, &typed),
            Act::Code(form, typed) => self.code_typed(form, &typed),
            Act::Choose(form, index) => {
                let chosen = self.vendors.get(index).map(|vendor| vendor.id.clone());
                self.typed(form).chosen = chosen;
                self.check_form(form);
            }
            Act::Activate => self.activate(None),
            Act::Replace { id, name } => self.ask(Pending::Replace(id), "replace", &text::name(&name, "")),
            Act::AddOffline => {
                let (serial, code) = (self.adding.form.serial.clone(), self.adding.form.code.clone());
                self.go(ui::Page::Offline);
                self.offline_again(0);
                self.offline.form.serial = serial.clone();
                self.offline.form.code = code.clone();
                self.offline.form.chosen = self.adding.form.chosen.clone();
                self.view.show(Change::FormText(Form::Offline, Some(serial), Some(code.to_string())));
                self.check_form(Form::Offline);
            }
            Act::AddAgain => self.add_again(),
            Act::Several(text) => {
                self.adding.several = Zeroizing::new(text);
                self.adding.done.clear();
                self.adding.listed = typing::several(&self.adding.several, &self.vendors);
                self.show_several();
            }
            Act::ActivateAll => self.activate_all(),
            _ => {}
        }
    }

    fn serial_typed(&mut self, form: Form, typed: &str) {
        let typed: String = typed.chars().take(200).collect();
        let before = self.typed(form).serial.clone();
        let grouped = typing::grouped_serial(&before, &typed, &self.vendors);
        if let Some(grouped) = &grouped {
            self.view.show(Change::FormText(form, Some(grouped.clone()), None));
        }
        self.typed(form).serial = grouped.unwrap_or(typed);
        self.check_form(form);
    }

    fn code_typed(&mut self, form: Form, typed: &str) {
        let typed: Zeroizing<String> = Zeroizing::new(typed.chars().take(200).collect());
        let before = self.typed(form).code.clone();
        let native = self.typed(form).found.serial.as_ref().is_none_or(|serial| !typing::lacks_code(serial));
        let grouped = if native { typing::grouped_code(&before, &typed) } else { None };
        if let Some(grouped) = &grouped {
            self.view.show(Change::FormText(form, None, Some(grouped.clone())));
        }
        self.typed(form).code = grouped.map_or(typed, Zeroizing::new);
        self.check_form(form);
    }

    /// Puts a serial number into a form, as if it had been typed.
    pub(super) fn fill_in(&mut self, form: Form, serial: &str) {
        self.typed(form).serial.clear();
        self.view.show(Change::FormText(form, Some(serial.to_owned()), None));
        self.serial_typed(form, serial);
    }

    /// Looks at what stands in a form.
    pub(super) fn check_form(&mut self, form: Form) {
        let vendors = std::mem::take(&mut self.vendors);
        let typed = self.typed(form);
        let chosen: Option<&Vendor> = vendors.iter().find(|vendor| Some(&vendor.id) == typed.chosen.as_ref());
        typed.found = typing::serial(&typed.serial, &vendors, chosen);
        let code = typing::code(&typed.code, typed.found.serial.as_ref());
        let optional = typed.found.serial.as_ref().is_some_and(typing::lacks_code);
        let coded = code.mark == 1 || (optional && typed.code.trim().is_empty());
        typed.ready = typed.found.serial.is_some() && typed.found.vendor.is_some() && coded;
        self.vendors = vendors;
        self.show_form(form);
    }

    pub(super) fn show_form(&mut self, form: Form) {
        let typed = match form {
            Form::Adding => &self.adding.form,
            Form::Offline => &self.offline.form,
        };
        let choice = self.vendors.iter().position(|vendor| Some(&vendor.id) == typed.chosen.as_ref());
        let view = FormView {
            serial: typed.found.verdict.clone(),
            code: typing::code(&typed.code, typed.found.serial.as_ref()),
            needs_choice: typed.found.untold && !self.vendors.is_empty(),
            choices: self.vendors.iter().map(|vendor| text::name(&vendor.name, vendor.id.as_str())).collect(),
            choice: choice.and_then(|at| i32::try_from(at).ok()).unwrap_or(-1),
            may_lack_code: typed.found.serial.as_ref().is_some_and(typing::lacks_code),
            ready: typed.ready,
        };
        self.view.show(Change::Form(form, view));
    }

    /// The call that a form makes, where it is complete.
    pub(super) fn call_of(&mut self, form: Form, replace_machine: Option<String>) -> Option<ActivateCall> {
        let typed = self.typed(form);
        if !typed.ready {
            return None;
        }
        let code = typed.code.trim();
        Some(ActivateCall {
            serial: typed.found.serial.as_ref()?.to_string(),
            unlock_code: (!code.is_empty()).then(|| code.to_owned()),
            vendor: typed.found.vendor.clone(),
            replace_machine,
        })
    }

    pub(super) fn activate(&mut self, replace_machine: Option<String>) {
        if self.adding.busy {
            return;
        }
        let Some(call) = self.call_of(Form::Adding, replace_machine) else { return };
        self.adding.busy = true;
        self.adding.problem = ui::Problem::default();
        self.adding.progress.clear();
        self.show_adding(None);
        self.hands.begin(Task::Activate(call));
    }

    /// An empty form; what was typed is wiped.
    pub(super) fn add_again(&mut self) {
        let busy = self.adding.several_busy;
        if self.adding.busy || busy {
            return;
        }
        self.adding = Adding::default();
        self.view.show(Change::FormText(Form::Adding, Some(String::new()), Some(String::new())));
        self.show_form(Form::Adding);
        self.show_adding(None);
        self.view.show(Change::Several { lines: Vec::new(), ready: 0, busy: false, clear: true });
    }

    pub(super) fn adding_problem(&mut self, trouble: &Trouble) {
        self.adding.problem = problem(trouble);
        self.show_adding(Some(0));
    }

    pub(super) fn show_adding(&self, mode: Option<i32>) {
        self.view.show(Change::Adding(AddingView {
            mode,
            busy: self.adding.busy,
            progress: self.adding.progress.clone(),
            problem: self.adding.problem.clone(),
            holders: self.adding.holders.clone(),
            seats: self.adding.seats,
            result: self.adding.result.clone(),
        }));
    }

    pub(super) fn hear_of_form(&mut self, news: News) {
        match news {
            News::Progress(now) => {
                self.adding.progress = text::line(&now, 160);
                self.show_adding(None);
            }
            News::Activated(answer) => self.activated(answer),
            News::LineBegun(index) => self.line(index, "working", "", ui::Level::Info),
            News::LineDone(index, Ok(license)) => {
                let name = text::name(&license.product_name, license.product.as_str());
                self.line(index, "activated", &name, ui::Level::Good);
            }
            News::LineDone(index, Err(trouble)) => {
                let code = trouble.code.clone();
                self.line(index, &code, &trouble.message, ui::Level::Bad);
            }
            News::AllDone => {
                self.adding.several_busy = false;
                self.adding.several = Zeroizing::default();
                self.adding.listed.clear();
                self.show_several();
            }
            _ => {}
        }
    }

    fn activated(&mut self, answer: Result<Box<License>, Trouble>) {
        self.adding.busy = false;
        match answer {
            Ok(license) => {
                let catalog = crate::catalog::Catalog::new(vec![*license], &self.vendors, self.now());
                let look = Look { now: self.now(), language: self.language(), busy: &[] };
                self.adding = Adding::default();
                self.adding.result = catalog.entries.first().map(|entry| catalog.row(entry, &look));
                self.view.show(Change::FormText(Form::Adding, Some(String::new()), Some(String::new())));
                self.show_form(Form::Adding);
            }
            Err(trouble) => {
                self.adding.holders.clear();
                if let Some(seats) = &trouble.seats {
                    self.adding.seats = seats.total;
                    let row = |holder: &claviger_protocol::http::SeatHolder| ui::Seat {
                        id: holder.machine_id.to_string().into(),
                        name: text::name(holder.device_name.as_str(), "").into(),
                        since: self.day(holder.since).into(),
                        seen: self.day(holder.last_seen).into(),
                        here: false,
                        busy: false,
                    };
                    self.adding.holders = seats.holders.iter().take(50).map(row).collect();
                }
                self.adding.problem = problem(&trouble);
            }
        }
        self.show_adding(None);
    }

    fn activate_all(&mut self) {
        if self.adding.several_busy {
            return;
        }
        let (mut calls, mut places, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for (at, listed) in self.adding.listed.iter().enumerate() {
            lines.push(line_of(listed));
            if let Listed::Ready { serial, vendor, code, .. } = listed {
                places.push(at);
                calls.push(ActivateCall {
                    serial: serial.to_string(),
                    unlock_code: code.clone(),
                    vendor: Some(vendor.clone()),
                    replace_machine: None,
                });
                if let Some(line) = lines.last_mut() {
                    line.code = "waiting".into();
                }
            }
        }
        if calls.is_empty() {
            return;
        }
        self.adding.done = lines;
        self.adding.calls = places;
        self.adding.several_busy = true;
        self.show_several();
        self.hands.begin(Task::ActivateAll(calls));
    }

    fn line(&mut self, call: usize, word: &str, note: &str, level: ui::Level) {
        let at = self.adding.calls.get(call).copied();
        if let Some(line) = at.and_then(|at| self.adding.done.get_mut(at)) {
            line.code = word.into();
            line.note = note.into();
            line.level = level;
            line.busy = word == "working";
        }
        self.show_several();
    }

    pub(super) fn show_several(&self) {
        let adding = &self.adding;
        let lines = if adding.done.is_empty() {
            adding.listed.iter().map(line_of).collect()
        } else {
            adding.done.clone()
        };
        let ready = adding.listed.iter().filter(|line| matches!(line, Listed::Ready { .. })).count();
        let finished = !adding.several_busy && !adding.done.is_empty();
        self.view.show(Change::Several {
            lines,
            ready: if adding.done.is_empty() { ready } else { 0 },
            busy: adding.several_busy,
            clear: finished,
        });
    }
}

fn line_of(listed: &Listed) -> ui::Line {
    match listed {
        Listed::Ready { serial, by, .. } => ui::Line {
            code: "ready".into(),
            text: serial.as_str().into(),
            note: by.as_str().into(),
            level: ui::Level::Quiet,
            busy: false,
        },
        Listed::Wrong { shown, word, detail } => ui::Line {
            code: (*word).into(),
            text: shown.as_str().into(),
            note: detail.as_str().into(),
            // Somebody who is still typing has done nothing wrong.
            level: if matches!(*word, "more" | "no_code") { ui::Level::Warn } else { ui::Level::Bad },
            busy: false,
        },
    }
}
