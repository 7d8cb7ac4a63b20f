//! The real view: what the controller says becomes properties of `ui/api.slint`, what a person does becomes acts.

mod wire;

use std::cell::{Cell, RefCell};

use slint::{ComponentHandle as _, Model, ModelNotify, ModelRc, ModelTracker, SharedString, VecModel};

use crate::catalog::Listing;
use crate::prefs::Look;
use crate::typing::Verdict;
use crate::ui;
use crate::view::{Change, Form, FormView, OfflineView, Picker, PrivacyView, SettingsView, View};

pub(crate) use wire::{Dispatch, Queue, wire};

/// Rows that are made when the list asks for them.
struct Rows {
    listing: Listing,
    notify: ModelNotify,
}

impl Model for Rows {
    type Data = ui::Product;
    fn row_count(&self) -> usize {
        self.listing.len()
    }
    fn row_data(&self, row: usize) -> Option<ui::Product> {
        self.listing.row(row)
    }
    fn model_tracker(&self) -> &dyn ModelTracker {
        &self.notify
    }
}

/// The window.
pub(crate) struct Window {
    main: ui::Main,
    look: Cell<Look>,
    tray: RefCell<Option<ui::Tray>>,
}

fn model<T: Clone + 'static>(items: Vec<T>) -> ModelRc<T> {
    ModelRc::new(VecModel::from(items))
}

/// The list that is shown already, where it says the same: a new one is made of new elements, and the keyboard, or a press that
/// is under way, would lose its place with every word from the daemon.
fn kept<T: Clone + PartialEq + 'static>(shown: ModelRc<T>, items: Vec<T>) -> ModelRc<T> {
    kept_where(shown, items, T::eq)
}

/// The same, for what has lists of its own, which are equal to themselves only.
fn kept_where<T: Clone + 'static>(
    shown: ModelRc<T>,
    items: Vec<T>,
    same: impl Fn(&T, &T) -> bool,
) -> ModelRc<T> {
    let all = shown.row_count() == items.len() && shown.iter().zip(&items).all(|(a, b)| same(&a, b));
    if all { shown } else { model(items) }
}

fn same_other(a: &ui::Other, b: &ui::Other) -> bool {
    let plain = |other: &ui::Other| ui::Other { licenses: ModelRc::default(), ..other.clone() };
    plain(a) == plain(b) && a.licenses.iter().eq(b.licenses.iter())
}

fn strings(items: Vec<String>) -> ModelRc<SharedString> {
    model(items.into_iter().map(SharedString::from).collect())
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl Window {
    /// A window that shows nothing yet.
    ///
    /// # Errors
    /// When the desktop gives none.
    pub(crate) fn new() -> Result<Self, slint::PlatformError> {
        let main = ui::Main::new()?;
        Ok(Self { main, look: Cell::new(Look::Dark), tray: RefCell::new(None) })
    }

    /// The component.
    pub(crate) fn main(&self) -> &ui::Main {
        &self.main
    }

    /// The desktop's theme changed, or became known.
    pub(crate) fn system_theme(&self, dark: bool) {
        self.main.set_system_dark(dark);
        self.dress(self.look.get());
    }

    fn dress(&self, look: Look) {
        self.look.set(look);
        let dark = match look {
            Look::Dark => true,
            Look::Light => false,
            Look::System => self.main.get_system_dark(),
        };
        self.main.global::<ui::Theme>().set_dark(dark);
    }

    fn say(&self, verdict: &Verdict) -> SharedString {
        self.main.global::<ui::Say>().invoke_typed(verdict.word.into(), verdict.detail.as_str().into())
    }

    fn show_form(&self, form: Form, view: FormView) {
        let (serial, code) = (self.say(&view.serial), self.say(&view.code));
        match form {
            Form::Adding => {
                let adding = self.main.global::<ui::Adding>();
                adding.set_serial_note(serial);
                adding.set_serial_verdict(view.serial.mark);
                adding.set_code_note(code);
                adding.set_code_verdict(view.code.mark);
                adding.set_choices(strings(view.choices));
                adding.set_choice(view.choice);
                adding.set_needs_choice(view.needs_choice);
                adding.set_may_lack_code(view.may_lack_code);
                adding.set_ready(view.ready);
            }
            Form::Offline => {
                let offline = self.main.global::<ui::Offline>();
                offline.set_serial_note(serial);
                offline.set_serial_verdict(view.serial.mark);
                offline.set_code_note(code);
                offline.set_code_verdict(view.code.mark);
                offline.set_choices(strings(view.choices));
                offline.set_choice(view.choice);
                offline.set_needs_choice(view.needs_choice);
                offline.set_may_lack_code(view.may_lack_code);
                offline.set_ready(view.ready);
            }
        }
    }

    fn show_offline(&self, view: OfflineView) {
        let offline = self.main.global::<ui::Offline>();
        offline.set_mode(view.mode);
        offline.set_step(view.step);
        offline.set_busy(view.busy);
        offline.set_problem(view.problem);
        offline.set_portal(view.portal.into());
        offline.set_request(view.request.into());
        offline.set_receipt(view.receipt.into());
        offline.set_same_key(view.same_key);
        offline.set_has_qr(view.qr.is_some());
        offline.set_qr(view.qr.unwrap_or_default());
        offline.set_until(view.until.into());
        if let Some(path) = view.save_as {
            offline.set_save_as(path.into());
        }
        offline.set_saved(view.saved.into());
        offline.set_results(kept(offline.get_results(), view.results));
        offline.set_owned(strings(view.owned));
        if view.clear {
            offline.set_answer_file(SharedString::default());
            offline.set_answer_text(SharedString::default());
            offline.set_typed(SharedString::default());
            offline.set_owned_choice(-1);
        }
    }

    fn show_privacy(&self, view: PrivacyView) {
        let privacy = self.main.global::<ui::Privacy>();
        privacy.set_consents(kept(privacy.get_consents(), view.consents));
        privacy.set_machines(kept(privacy.get_machines(), view.machines));
        privacy.set_planned(kept(privacy.get_planned(), view.planned));
        privacy.set_counted(kept(privacy.get_counted(), view.counted));
        privacy.set_sent(kept(privacy.get_sent(), view.sent));
        privacy.set_busy(view.busy);
        privacy.set_reading(view.reading);
        privacy.set_notice_busy(view.notice_busy);
        privacy.set_problem(view.problem);
        privacy.set_exported(view.exported.into());
        if let Some(path) = view.export_to {
            privacy.set_export_to(path.into());
        }
    }

    /// Puts an icon into the system tray, or takes it away. A desktop without a tray shows none, and that is all.
    fn show_tray(&self, wanted: bool) {
        if wanted == self.tray.borrow().is_some() {
            return;
        }
        let tray = wanted.then(ui::Tray::new).and_then(Result::ok);
        if let Some(tray) = &tray {
            let weak = self.main.as_weak();
            tray.on_open(move || weak.upgrade().iter().for_each(raise));
            tray.on_quit(|| {
                let _ended = slint::quit_event_loop();
            });
            let _shown = tray.show();
        }
        *self.tray.borrow_mut() = tray;
    }

    fn show_settings(&self, view: SettingsView) {
        let settings = self.main.global::<ui::Settings>();
        settings.set_theme(view.theme);
        settings.set_language(view.language);
        settings.set_still(view.still);
        settings.set_tray(view.tray);
        settings.set_tray_known(true);
        self.show_tray(view.tray);
        settings.set_vendors(kept(settings.get_vendors(), view.vendors));
        settings.set_problem(view.problem);
        settings.set_busy(view.busy);
        settings.set_proxy_known(view.network.is_some());
        if let Some(network) = view.network {
            settings.set_proxy(i32::from(!network.proxy.is_empty()));
            settings.set_proxy_address(network.proxy.into());
            settings.set_proxy_locked(network.proxy_locked);
            settings.set_proxy_by_policy(network.proxy_by_policy);
            settings.set_network(network.on);
            settings.set_network_locked(network.locked);
            settings.set_network_by_policy(network.by_policy);
        }
        settings.set_login_known(view.login.is_some());
        settings.set_login(view.login.unwrap_or(false));
        if view.clear_file {
            settings.set_profile_file(SharedString::default());
        }
    }
}

impl View for Window {
    fn show(&self, change: Change) {
        let main = &self.main;
        let shell = main.global::<ui::Shell>();
        match change {
            Change::Page(page) => shell.set_page(page),
            Change::Connection { state, trouble, starting } => {
                shell.set_connection(state);
                shell.set_trouble(trouble);
                shell.set_starting(starting);
            }
            Change::Facts { may_change, system, network, daemon } => {
                shell.set_may_change(may_change);
                shell.set_system_daemon(system);
                shell.set_network(network);
                main.global::<ui::About>().set_daemon(daemon.into());
            }
            Change::Ask(question) => {
                shell.set_asking(question.is_some());
                if let Some(question) = question {
                    shell.set_question(question);
                }
            }
            Change::Said { word, name, undo } => {
                shell.set_said_name(name.into());
                shell.set_can_undo(undo);
                shell.set_said(word.into());
            }
            Change::Clipboard(text) => main.invoke_to_clipboard(text.into()),
            Change::Products { listing, owned, counts, vendors, warnings, cut, loaded } => {
                let products = main.global::<ui::Products>();
                products.set_owned(int(owned));
                products.set_shown(int(listing.shown));
                products.set_counts(model(counts.map(int).to_vec()));
                let all = main.global::<ui::Say>().invoke_all_vendors();
                let names = std::iter::once(all).chain(vendors.into_iter().map(SharedString::from)).collect();
                products.set_vendors(model(names));
                products.set_warnings(strings(warnings));
                products.set_cut(cut);
                products.set_loaded(loaded);
                products.set_rows(ModelRc::new(Rows { listing, notify: ModelNotify::default() }));
            }
            Change::Refreshing(on) => main.global::<ui::Products>().set_refreshing(on),
            Change::Form(form, view) => self.show_form(form, view),
            Change::FormText(form, serial, code) => match form {
                Form::Adding => {
                    let adding = main.global::<ui::Adding>();
                    serial.into_iter().for_each(|text| adding.set_serial(text.into()));
                    code.into_iter().for_each(|text| adding.set_code(text.into()));
                }
                Form::Offline => {
                    let offline = main.global::<ui::Offline>();
                    serial.into_iter().for_each(|text| offline.set_serial(text.into()));
                    code.into_iter().for_each(|text| offline.set_code(text.into()));
                }
            },
            Change::Adding(view) => {
                let adding = main.global::<ui::Adding>();
                if let Some(mode) = view.mode {
                    adding.set_mode(mode);
                }
                adding.set_busy(view.busy);
                adding.set_progress(view.progress.into());
                adding.set_problem(view.problem);
                adding.set_holders(kept(adding.get_holders(), view.holders));
                adding.set_seats(i32::try_from(view.seats).unwrap_or(i32::MAX));
                adding.set_done(view.result.is_some());
                adding.set_result(view.result.unwrap_or_default());
            }
            Change::Several { lines, ready, busy, clear } => {
                let adding = main.global::<ui::Adding>();
                adding.set_lines(kept(adding.get_lines(), lines));
                adding.set_several_ready(int(ready));
                adding.set_several_busy(busy);
                if clear {
                    adding.set_several(SharedString::default());
                }
            }
            Change::Sends(facts) => main.global::<ui::Adding>().set_sends(model(facts)),
            Change::Detail(view) => {
                let detail = main.global::<ui::Detail>();
                detail.set_product(view.product);
                detail.set_facts(model(view.facts));
                detail.set_certificate(view.certificate.into());
                detail.set_seats(kept(detail.get_seats(), view.seats));
                detail.set_total(i32::try_from(view.total).unwrap_or(i32::MAX));
                detail.set_taken(i32::try_from(view.taken).unwrap_or(i32::MAX));
                detail.set_support(view.support.into());
                detail.set_seats_known(view.seats_known);
                detail.set_seats_busy(view.seats_busy);
                detail.set_seats_problem(view.seats_problem);
                detail.set_history(model(view.history));
                detail.set_problem(view.problem);
                detail.set_busy(view.busy);
            }
            Change::Computers {
                name,
                machines,
                others,
                warnings,
                licenses,
                known,
                asking,
                busy,
                problem,
            } => {
                let computers = main.global::<ui::Computers>();
                if computers.get_name() != name {
                    computers.set_new_name(name.as_str().into());
                }
                computers.set_name(name.into());
                computers.set_machines(kept(computers.get_machines(), machines));
                computers.set_others(kept_where(computers.get_others(), others, same_other));
                computers.set_warnings(strings(warnings));
                computers.set_licenses(int(licenses));
                computers.set_known(known);
                computers.set_asking(asking);
                computers.set_busy(busy);
                computers.set_problem(problem);
            }
            Change::Offline(view) => self.show_offline(view),
            Change::Groups { groups, good, ready } => {
                let offline = main.global::<ui::Offline>();
                offline.set_groups(model(groups));
                offline.set_groups_good(int(good));
                offline.set_typed_ready(ready);
            }
            Change::Privacy(view) => self.show_privacy(view),
            Change::Notice(notice) => {
                let privacy = main.global::<ui::Privacy>();
                privacy.set_asked(notice.is_some());
                if let Some(notice) = notice {
                    privacy.set_notice(notice);
                }
            }
            Change::Settings(view) => self.show_settings(view),
            Change::Findings { findings, healthy, asked, busy } => {
                let about = main.global::<ui::About>();
                about.set_version(env!("CARGO_PKG_VERSION").into());
                about.set_findings(kept(about.get_findings(), findings));
                about.set_healthy(healthy);
                about.set_asked(asked);
                about.set_busy(busy);
            }
            Change::Look { theme, still } => {
                self.dress(theme);
                main.global::<ui::Theme>().set_still(still);
            }
            Change::Language(language) => {
                let language = language.unwrap_or_default();
                if let Err(error) = slint::select_bundled_translation(language.tag()) {
                    tracing::warn!("the window does not speak {}: {error}", language.tag());
                }
            }
            Change::Picked(picker, path) => match picker {
                Picker::Adding => main.global::<ui::Adding>().set_file(path.into()),
                Picker::Answer => main.global::<ui::Offline>().set_answer_file(path.into()),
                Picker::SaveRequest => main.global::<ui::Offline>().set_save_as(path.into()),
                Picker::Profile => main.global::<ui::Settings>().set_profile_file(path.into()),
                Picker::Export => main.global::<ui::Privacy>().set_export_to(path.into()),
            },
            Change::Dragging(on) => shell.set_dragging(on),
            Change::Raise => raise(main),
        }
    }
}

/// Brings the window before the others.
fn raise(main: &ui::Main) {
    use slint::winit_030::WinitWindowAccessor as _;
    let _shown = main.show();
    main.window().with_winit_window(|window| {
        window.set_minimized(false);
        window.focus_window();
    });
}
