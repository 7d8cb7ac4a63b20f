//! The manager window: what a musician opens. It shows what the daemon says and hands over what a person decides; it holds no
//! license, sends nothing, and everything that is licensed goes on working without it.
//!
//! Started for tests and benchmarks as `CLAVIGER_HOME=DIR claviger-desktop --page privacy --theme light --language fr --still`:
//! flags hold for one run and are not saved. The scale is the desktop's, or `SLINT_SCALE_FACTOR=2`. `--measure` prints JSON on
//! standard error, an object a line: `{"event":"first_frame","ms":…}` counted from the start of `main`, then
//! `{"event":"frame","ms":…}` for how long each further frame took to draw. `--another` opens a second window. Every control
//! has a role and a name of its own on its screen (`accessible-label` in `ui/`), which is how tests find it.

mod args;
mod carry;
mod catalog;
mod controller;
mod dates;
mod desk;
mod files;
mod link;
mod measure;
mod picture;
mod platform;
mod prefs;
mod tasks;
mod text;
mod typing;
mod ui;
mod view;
mod window;
#[cfg(test)]
mod words;
mod worker;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser as _;
use claviger_protocol::clock::SystemClock;
use slint::ComponentHandle as _;
use slint::winit_030::{EventResult, WinitWindowAccessor as _, winit};

use args::{Arguments, PageName};
use controller::Controller;
use desk::Daemon;
use prefs::{Language, Prefs};
use tasks::News;
use view::{Act, Change, View as _};
use window::{Dispatch, Queue, Window};

thread_local! {
    /// The controller of the window's own thread, for news from others.
    static MIND: RefCell<Option<Rc<Mind>>> = const { RefCell::new(None) };
}

struct Mind {
    controller: RefCell<Controller>,
    queue: Queue,
}

impl Mind {
    fn act(&self, act: Act) {
        self.queue.push(act, |act| self.controller.borrow_mut().act(act));
    }
}

/// Does something with the controller, from whatever thread.
fn in_window(work: impl FnOnce(&Mind) + Send + 'static) {
    let _ended = slint::invoke_from_event_loop(move || {
        let mind = MIND.with(|mind| mind.borrow().clone());
        if let Some(mind) = mind {
            work(&mind);
        }
    });
}

fn main() -> ExitCode {
    let begun = Instant::now();
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let line = serde_json::json!({ "link": arguments.link }).to_string();
    if !arguments.another && platform::knock(&line) {
        return ExitCode::SUCCESS;
    }
    match run(&arguments, begun) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                "no window could be opened: {error}. On a computer without a screen, use `claviger` in a terminal."
            );
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, begun: Instant) -> Result<(), slint::PlatformError> {
    let file = prefs::place();
    let prefs = file.as_deref().map(Prefs::read).unwrap_or_default();
    let system_language = language_of_desktop().unwrap_or_default();
    slint::BackendSelector::new().backend_name("winit".into()).select()?;
    let window = Rc::new(Window::new()?);
    let main = window.main();
    let (width, height) = arguments.size.unwrap_or((prefs.width, prefs.height));
    main.window().set_size(slint::LogicalSize::new(width, height));

    let tell: worker::Tell =
        Arc::new(|news: News| in_window(move |mind| mind.controller.borrow_mut().hear(news)));
    let hands = worker::Threads::start(Arc::new(Daemon), tell);
    let mut of_run = prefs.clone();
    of_run.language = arguments.language.or(of_run.language);
    of_run.theme = arguments.theme.map_or(of_run.theme, prefs::Look::from);
    of_run.still |= arguments.still;
    let controller = Controller::new(
        window.clone(),
        Box::new(hands),
        Arc::new(SystemClock),
        (of_run, prefs, file),
        system_language,
    );
    let mind = Rc::new(Mind { controller: RefCell::new(controller), queue: Queue::new() });
    MIND.with(|slot| *slot.borrow_mut() = Some(mind.clone()));
    let act: Dispatch = {
        let mind = mind.clone();
        Rc::new(move |act| mind.act(act))
    };
    window::wire(main, &act);
    mind.controller.borrow_mut().begin();
    if let Some(page) = arguments.page {
        act(Act::Go(page.page()));
        if matches!(page, PageName::Several) {
            main.global::<ui::Adding>().set_mode(1);
        }
    }
    if let Some(link) = &arguments.link {
        act(Act::Link(link.clone()));
    }
    answer_door(arguments);
    watch_window(&window, &act, arguments.measure.then_some(begun));
    // An icon in the tray would keep the program alive: closing the window ends it all the same.
    main.window().on_close_requested(|| {
        let _ended = slint::quit_event_loop();
        slint::CloseRequestResponse::HideWindow
    });
    main.run()?;
    let size = main.window().size().to_logical(main.window().scale_factor());
    if arguments.size.is_none() {
        mind.act(Act::Resized(size.width, size.height));
        mind.controller.borrow_mut().keep();
    }
    MIND.with(|slot| slot.borrow_mut().take());
    Ok(())
}

/// Lets later starts hand over to this one.
fn answer_door(arguments: &Arguments) {
    if arguments.another {
        return;
    }
    match platform::Door::open() {
        Ok(door) => {
            let answering = move || door.answer(|line| in_window(move |mind| mind.act(Act::Knocked(line))));
            let _none = std::thread::Builder::new().name("door".into()).spawn(answering);
        }
        Err(error) => tracing::info!("a second start will open a second window: {error}"),
    }
}

/// What the toolkit does not tell: files that are dragged in, the desktop's theme, and frames.
fn watch_window(window: &Rc<Window>, act: &Dispatch, measured: Option<Instant>) {
    let (view, act) = (window.clone(), act.clone());
    let meter = measured.map(measure::Meter::new);
    window.main().window().on_winit_window_event(move |handle, event| {
        use winit::event::WindowEvent;
        match event {
            WindowEvent::HoveredFile(_) => view.show(Change::Dragging(true)),
            WindowEvent::HoveredFileCancelled => view.show(Change::Dragging(false)),
            WindowEvent::DroppedFile(path) => {
                view.show(Change::Dragging(false));
                act(Act::Dropped(path.clone()));
            }
            WindowEvent::ThemeChanged(theme) => view.system_theme(*theme == winit::window::Theme::Dark),
            WindowEvent::RedrawRequested => {
                if let Some(meter) = &meter {
                    meter.frame();
                }
            }
            WindowEvent::Focused(true) => {
                let theme = handle.with_winit_window(|window| window.theme()).flatten();
                if let Some(theme) = theme {
                    view.system_theme(theme == winit::window::Theme::Dark);
                }
            }
            _ => {}
        }
        EventResult::Propagate
    });
}

/// The desktop's language, where the window speaks it.
fn language_of_desktop() -> Option<Language> {
    sys_locale::get_locales().find_map(|tag| Language::of(&tag))
}
