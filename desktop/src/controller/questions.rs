//! Questions before what cannot be taken back, undo for what can, and what comes from other starts of the window: links, which
//! are asked about too.

use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::FreeCall;

use super::{Controller, MAX_TEXT};
use crate::desk::Trouble;
use crate::link::Link;
use crate::tasks::Task;
use crate::view::{Change, Form};
use crate::{text, ui};

/// A question that was asked, and what a yes does.
#[derive(Debug)]
pub(super) enum Pending {
    Deactivate(String),
    Replace(String),
    GiveUp(String),
    RemoveVendor(VendorId),
    Withdraw(VendorId),
    ClearLog,
    Free(FreeCall),
    Link(String),
}

/// What an undo does.
#[derive(Debug)]
pub(super) enum Undo {
    /// Make a vendor known again by this profile.
    Vendor(String),
    /// Give this computer its former name.
    Name(String),
}

impl Controller {
    pub(super) fn copy(&mut self, text: &str) {
        // What lets a long word be broken is for the eye alone.
        let text = text.replace('\u{200b}', "");
        if text.len() <= MAX_TEXT {
            self.view.show(Change::Clipboard(text));
            self.say("copied", "");
        }
    }

    pub(super) fn say(&mut self, word: &'static str, name: &str) {
        self.undo = None;
        self.view.show(Change::Said { word, name: name.to_owned(), undo: false });
    }

    pub(super) fn ask(&mut self, pending: Pending, kind: &str, name: &str) {
        self.pending = Some(pending);
        self.view.show(Change::Ask(Some(ui::Question {
            kind: kind.into(),
            name: name.into(),
            ..ui::Question::default()
        })));
    }

    pub(super) fn answered(&mut self, yes: bool) {
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

    pub(super) fn undo(&mut self) {
        match self.undo.take() {
            Some(Undo::Vendor(profile)) => self.hands.begin(Task::AddVendor(profile)),
            Some(Undo::Name(name)) => self.rename(&name),
            None => {}
        }
    }

    /// Another start of the window left a line: it wants to be seen, and may bring a link.
    pub(super) fn knocked(&mut self, line: &str) {
        self.view.show(Change::Raise);
        let link = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|value| Some(value.get("link")?.as_str()?.to_owned()));
        if let Some(link) = link {
            self.link(&link);
        }
    }

    /// A link asks before it does anything, and then only fills in a field.
    pub(super) fn link(&mut self, link: &str) {
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
}
