//! What a person does in the window becomes acts, one after the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use slint::ComponentHandle as _;

use crate::prefs::{Language, Look};
use crate::ui;
use crate::view::{Act, Form, Picker};

/// Where acts go. They queue: an act that comes while another one is at work is done after it.
pub(crate) type Dispatch = Rc<dyn Fn(Act)>;

/// Hands over acts one after the other.
pub(crate) struct Queue {
    waiting: RefCell<std::collections::VecDeque<Act>>,
    working: Cell<bool>,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { waiting: RefCell::default(), working: Cell::new(false) }
    }

    /// Does `act`, and what comes meanwhile, by `work`.
    pub(crate) fn push(&self, act: Act, work: impl Fn(Act)) {
        self.waiting.borrow_mut().push_back(act);
        if self.working.replace(true) {
            return;
        }
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(next) = next else { break };
            work(next);
        }
        self.working.set(false);
    }
}

/// Makes acts of everything that a person can do in `main`.
pub(crate) fn wire(main: &ui::Main, act: &Dispatch) {
    wire_shell(main, act);
    wire_products(main, act);
    wire_adding(main, act);
    wire_offline(main, act);
    wire_privacy(main, act);
    wire_settings(main, act);
}

/// A field that is corrected while it is typed: its callback answers whether it now holds something else.
macro_rules! corrected {
    ($main:ident, $global:ident, $kind:ty, $act:ident: $on:ident, $get:ident => $make:path, $form:expr) => {
        let (act, weak) = ($act.clone(), $main.as_weak());
        $global.$on(move |typed| {
            act($make($form, typed.as_str().into()));
            weak.upgrade().is_some_and(|main| main.global::<$kind>().$get() != typed)
        });
    };
}

/// A callback of a global that becomes an act.
macro_rules! acts {
    ($global:ident, $act:ident: $($on:ident($($arg:ident),*) => $make:expr;)*) => {
        $({
            let act = $act.clone();
            $global.$on(move |$($arg),*| act($make));
        })*
    };
}

fn wire_shell(main: &ui::Main, act: &Dispatch) {
    let shell = main.global::<ui::Shell>();
    acts!(shell, act:
        on_go(page) => Act::Go(page);
        on_retry() => Act::Retry;
        on_start_daemon() => Act::StartDaemon;
        on_answer(yes) => Act::Answer(yes);
        on_undo() => Act::Undo;
        on_copy(text) => Act::Copy(text.into());
    );
    let about = main.global::<ui::About>();
    acts!(about, act:
        on_look() => Act::LookAround;
        on_copy() => Act::CopyFindings;
    );
    let computers = main.global::<ui::Computers>();
    acts!(computers, act:
        on_rename(name) => Act::Rename(name.into());
        on_ask_seats() => Act::AskSeats;
        on_free(serial, machine, name, code) => Act::Free {
            serial: serial.into(), machine: machine.into(), name: name.into(), code: code.into(),
        };
    );
}

fn wire_products(main: &ui::Main, act: &Dispatch) {
    let products = main.global::<ui::Products>();
    acts!(products, act:
        on_show(key) => Act::Show(key.into());
        on_deactivate(key) => Act::Deactivate(key.into());
        on_activate(key) => Act::ActivateAgain(key.into());
        on_refresh() => Act::Refresh;
    );
    let (act_on, weak) = (act.clone(), main.as_weak());
    products.on_filter(move || {
        let Some(main) = weak.upgrade() else { return };
        let products = main.global::<ui::Products>();
        act_on(Act::Filter {
            search: products.get_search().into(),
            vendor: usize::try_from(products.get_vendor()).unwrap_or(0),
            state: usize::try_from(products.get_state()).unwrap_or(0),
        });
    });
    let detail = main.global::<ui::Detail>();
    acts!(detail, act:
        on_copy() => Act::CopyDetail;
        on_deactivate() => Act::Deactivate(String::new());
        on_activate() => Act::ActivateAgain(String::new());
        on_ask_seats() => Act::AskSeatsOf;
        on_free(machine, name, code) => Act::Free {
            serial: String::new(), machine: machine.into(), name: name.into(), code: code.into(),
        };
        on_give_up_offline() => Act::OfflineDetail;
        on_refresh() => Act::Refresh;
    );
}

fn wire_adding(main: &ui::Main, act: &Dispatch) {
    let adding = main.global::<ui::Adding>();
    let index = |index: i32| usize::try_from(index).unwrap_or(usize::MAX);
    acts!(adding, act:
        on_choose(at) => Act::Choose(Form::Adding, index(at));
        on_activate() => Act::Activate;
        on_replace(id, name) => Act::Replace { id: id.into(), name: name.into() };
        on_offline() => Act::AddOffline;
        on_again() => Act::AddAgain;
        on_several_edited(text) => Act::Several(text.into());
        on_activate_all() => Act::ActivateAll;
        on_open_file(path) => Act::OpenFile(path.into());
        on_browse() => Act::Pick(Picker::Adding, String::new());
    );
    corrected!(main, adding, ui::Adding, act: on_serial_edited, get_serial => Act::Serial, Form::Adding);
    corrected!(main, adding, ui::Adding, act: on_code_edited, get_code => Act::Code, Form::Adding);
}

fn wire_offline(main: &ui::Main, act: &Dispatch) {
    let offline = main.global::<ui::Offline>();
    let index = |index: i32| usize::try_from(index).unwrap_or(usize::MAX);
    acts!(offline, act:
        on_choose(at) => Act::Choose(Form::Offline, index(at));
        on_make() => Act::OfflineMake;
        on_open_file(path) => Act::OpenFile(path.into());
        on_browse_open() => Act::Pick(Picker::Answer, String::new());
        on_import_text(text) => Act::OfflineText(text.into());
        on_typed_edited(text) => Act::OfflineTyped(text.into());
        on_import_code() => Act::OfflineCode;
        on_give_up(at) => Act::OfflineGiveUp(index(at));
        on_to_step(step) => Act::OfflineStep(step);
        on_again(mode) => Act::OfflineAgain(mode);
    );
    let (act_on, weak) = (act.clone(), main.as_weak());
    offline.on_save(move || {
        let path = weak.upgrade().map(|main| main.global::<ui::Offline>().get_save_as());
        act_on(Act::OfflineSave(path.unwrap_or_default().into()));
    });
    let (act_on, weak) = (act.clone(), main.as_weak());
    offline.on_browse_save(move || {
        let typed = weak.upgrade().map(|main| main.global::<ui::Offline>().get_save_as());
        act_on(Act::Pick(Picker::SaveRequest, typed.unwrap_or_default().into()));
    });
    corrected!(main, offline, ui::Offline, act: on_serial_edited, get_serial => Act::Serial, Form::Offline);
    corrected!(main, offline, ui::Offline, act: on_code_edited, get_code => Act::Code, Form::Offline);
}

fn wire_privacy(main: &ui::Main, act: &Dispatch) {
    let privacy = main.global::<ui::Privacy>();
    acts!(privacy, act:
        on_close() => Act::CloseNotice;
        on_accept() => Act::Agree;
        on_refuse() => Act::Refuse;
        on_clear_log() => Act::ClearLog;
    );
    let act_on = act.clone();
    privacy.on_read(move |id| id.parse().into_iter().for_each(|id| act_on(Act::Read(id))));
    let act_on = act.clone();
    privacy.on_withdraw(move |id| id.parse().into_iter().for_each(|id| act_on(Act::Withdraw(id))));
    let (act_on, weak) = (act.clone(), main.as_weak());
    privacy.on_browse(move || {
        let typed = weak.upgrade().map(|main| main.global::<ui::Privacy>().get_export_to());
        act_on(Act::Pick(Picker::Export, typed.unwrap_or_default().into()));
    });
    let (act_on, weak) = (act.clone(), main.as_weak());
    privacy.on_export(move || {
        let path = weak.upgrade().map(|main| main.global::<ui::Privacy>().get_export_to());
        act_on(Act::Export(path.unwrap_or_default().into()));
    });
}

fn wire_settings(main: &ui::Main, act: &Dispatch) {
    let settings = main.global::<ui::Settings>();
    let language = |index: i32| match index {
        1 => Some(Language::English),
        2 => Some(Language::French),
        3 => Some(Language::German),
        _ => None,
    };
    let look = |index: i32| match index {
        1 => Look::Light,
        2 => Look::System,
        _ => Look::Dark,
    };
    acts!(settings, act:
        on_set_theme(at) => Act::Theme(look(at));
        on_set_language(at) => Act::Language(language(at));
        on_set_still(on) => Act::Still(on);
        on_set_tray(on) => Act::Tray(on);
        on_browse() => Act::Pick(Picker::Profile, String::new());
        on_add_vendor(path) => Act::AddVendor(path.into());
        on_set_proxy(address) => Act::Proxy(address.into());
        on_set_network(on) => Act::Network(on);
        on_set_login(on) => Act::Login(on);
    );
    let act_on = act.clone();
    settings.on_remove_vendor(move |id| id.parse().into_iter().for_each(|id| act_on(Act::RemoveVendor(id))));
}
