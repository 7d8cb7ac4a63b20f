//! The settings: the window's own, vendors, start at login.

use claviger_client::manager::profiles;
use claviger_protocol::ids::VendorId;
use claviger_protocol::ipc::{Setting, SettingSource, Vendor};

use super::{Controller, Pending, Undo, problem};
use crate::catalog::Face;
use crate::desk::Trouble;
use crate::files;
use crate::prefs::{Language, Look};
use crate::tasks::{News, Task};
use crate::view::{Act, Change, Form, NetworkView, SettingsView};
use crate::{text, ui};

/// The screen “Settings”.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) busy: bool,
    problem: ui::Problem,
    login: Option<bool>,
    clear_file: bool,
    network: Option<NetworkView>,
}

impl Controller {
    pub(super) fn act_on_settings(&mut self, act: Act) {
        match act {
            Act::Theme(look) => {
                self.prefs.theme = look;
                self.kept.theme = look;
                self.keep_prefs();
                self.show_look();
            }
            Act::Language(language) => {
                self.prefs.language = language;
                self.kept.language = language;
                self.keep_prefs();
                self.show_look();
                // Dates speak the language too.
                self.show_products();
                self.show_detail();
                self.show_privacy();
                self.show_offline();
                self.show_settings();
            }
            Act::Still(still) => {
                self.prefs.still = still;
                self.kept.still = still;
                self.keep_prefs();
                self.show_look();
                self.show_settings();
            }
            Act::Tray(on) => {
                self.prefs.tray = on;
                self.kept.tray = on;
                self.keep_prefs();
                self.show_settings();
            }
            Act::AddVendor(typed) => self.hands.begin(Task::Open(files::typed(&typed))),
            Act::RemoveVendor(id) => {
                // Where its profile is at hand, removing can be undone: then nobody needs to be asked.
                if profile_of(&id).is_some() {
                    self.remove_vendor(id);
                } else {
                    let name = self.face(&id, "").name.to_string();
                    self.ask(Pending::RemoveVendor(id), "remove-vendor", &name);
                }
            }
            Act::Proxy(address) => {
                let value = (!address.trim().is_empty()).then(|| address.trim().to_owned());
                self.hands.begin(Task::Set { name: "proxy", value });
            }
            Act::Network(on) => {
                let value = (!on).then(|| "off".to_owned());
                self.hands.begin(Task::Set { name: "network", value });
            }
            Act::Login(on) => self.hands.begin(Task::SetAtLogin(on)),
            _ => {}
        }
    }

    pub(super) fn remove_vendor(&mut self, id: VendorId) {
        self.undo = profile_of(&id).map(Undo::Vendor);
        self.settings.busy = true;
        self.show_settings();
        self.hands.begin(Task::RemoveVendor(id));
    }

    pub(super) fn settings_problem(&mut self, trouble: &Trouble) {
        self.settings.busy = false;
        self.settings.problem = problem(trouble);
        self.show_settings();
    }

    pub(super) fn hear_of_settings(&mut self, news: News) {
        match news {
            News::VendorAdded(Ok((vendor, added))) => {
                self.settings =
                    Settings { login: self.settings.login, clear_file: true, ..Settings::default() };
                let name = text::name(&vendor.name, vendor.id.as_str());
                self.say(if added { "vendor-added" } else { "vendor-known" }, &name);
                self.show_settings();
                self.settings.clear_file = false;
                self.hands.begin(Task::Load);
            }
            News::VendorRemoved(id, Ok(())) => {
                self.settings.busy = false;
                self.settings.problem = ui::Problem::default();
                let name = self.face(&id, "").name.to_string();
                self.view.show(Change::Said { word: "vendor-removed", name, undo: self.undo.is_some() });
                self.vendors.retain(|vendor| vendor.id != id);
                self.show_settings();
                self.hands.begin(Task::Load);
            }
            News::VendorAdded(Err(trouble)) => {
                self.settings.busy = false;
                if self.page == ui::Page::Settings {
                    self.settings_problem(&trouble);
                } else {
                    self.show_settings();
                    self.refuse_file(&trouble);
                }
            }
            News::VendorRemoved(_, Err(trouble)) => {
                self.undo = None;
                self.settings_problem(&trouble);
            }
            News::Settings(Ok(settings)) => {
                self.settings.network = Some(network(&settings));
                self.show_settings();
            }
            // A daemon of an earlier version has none.
            News::Settings(Err(_)) => self.settings.network = None,
            News::Set(Ok(settings)) => {
                self.settings.network = Some(network(&settings));
                self.settings.problem = ui::Problem::default();
                self.show_settings();
                self.hands.begin(Task::Load);
            }
            News::Set(Err(trouble)) => self.settings_problem(&trouble),
            News::AtLogin(login) => {
                self.settings.login = login;
                self.show_settings();
            }
            News::SetAtLogin(on, Ok(())) => {
                self.settings.login = Some(on);
                self.settings.problem = ui::Problem::default();
                self.say(if on { "login-on" } else { "login-off" }, "");
                self.show_settings();
            }
            News::SetAtLogin(_, Err(trouble)) => self.settings_problem(&trouble),
            _ => {}
        }
    }

    /// Saves what the person likes; a disk that is full does not keep anyone from working.
    pub(super) fn keep_prefs(&mut self) {
        let Some(file) = &self.prefs_file else { return };
        if let Err(error) = self.kept.write(file) {
            let trouble = files::not_written(&error);
            self.settings_problem(&trouble);
        }
    }

    pub(super) fn show_look(&mut self) {
        self.view.show(Change::Look { theme: self.prefs.theme, still: self.prefs.still });
        self.view.show(Change::Language(Some(self.language())));
        self.show_form(Form::Adding);
        self.show_form(Form::Offline);
    }

    pub(super) fn show_settings(&self) {
        let row = |vendor: &Vendor| {
            let face = self.catalog.face(&vendor.id).cloned().unwrap_or_else(|| Face::of(vendor));
            ui::Vendor {
                id: vendor.id.as_str().into(),
                name: face.name,
                prefix: vendor.prefix.as_str().into(),
                server: text::line(&vendor.server, 200).into(),
                letters: face.letters,
                tone: face.tone,
                picture: face.picture,
                support: text::line(vendor.support.as_deref().unwrap_or_default(), 200).into(),
                policy: text::line(vendor.policy.as_deref().unwrap_or_default(), 200).into(),
                removable: true,
            }
        };
        self.view.show(Change::Settings(SettingsView {
            theme: match self.prefs.theme {
                Look::Dark => 0,
                Look::Light => 1,
                Look::System => 2,
            },
            language: match self.prefs.language {
                None => 0,
                Some(Language::English) => 1,
                Some(Language::French) => 2,
                Some(Language::German) => 3,
            },
            still: self.prefs.still,
            tray: self.prefs.tray,
            vendors: self.vendors.iter().take(500).map(row).collect(),
            problem: self.settings.problem.clone(),
            busy: self.settings.busy,
            login: self.settings.login,
            network: self.settings.network.clone(),
            clear_file: self.settings.clear_file,
        }));
    }
}

/// What the daemon says about the network.
fn network(settings: &[Setting]) -> NetworkView {
    let find = |name: &str| settings.iter().find(|setting| setting.name == name);
    let by_policy = |setting: &Setting| setting.source == SettingSource::Policy;
    let (proxy, network) = (find("proxy"), find("network"));
    NetworkView {
        proxy: proxy.and_then(|p| p.value.as_deref()).map(|value| text::line(value, 300)).unwrap_or_default(),
        proxy_locked: proxy.is_none_or(|p| p.locked),
        proxy_by_policy: proxy.is_some_and(by_policy),
        on: network.is_none_or(|n| n.value.as_deref() != Some("off")),
        locked: network.is_none_or(|n| n.locked),
        by_policy: network.is_some_and(by_policy),
    }
}

/// The profile of a vendor, as it lies on this computer.
fn profile_of(id: &VendorId) -> Option<String> {
    profiles::known().into_iter().find(|known| known.profile.iss == *id).map(|known| known.text)
}
