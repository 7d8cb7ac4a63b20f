//! The manager window on its screen: started for a machine of a customer, driven by keys alone, known by its elements' names.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use x11rb::connection::Connection as _;
use x11rb::protocol::damage::{ConnectionExt as _, ReportLevel};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _,
    CreateWindowAux, EventMask, ImageFormat, InputFocus, MapState, WindowClass,
};

use x11rb::protocol::Event;

use super::Screen;
use super::keyboard::Key;
use super::picture::{Picture, Rect};
use super::tree::{Node, State, Tree};
use crate::Machine;
use crate::process::{PATIENCE, Running};
use crate::programs;

/// How long nothing may be drawn until a picture is taken.
pub(super) const STILL: Duration = Duration::from_millis(200);
/// How long nothing may be told of elements once all keys are taken in, until what has the keyboard is believed.
const TOLD: Duration = Duration::from_millis(50);
/// More rows than any list has that is walked through here.
const ROWS: usize = 120;

/// How a window is started.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `dark` or `light`; nothing for what the person likes.
    pub theme: &'static str,
    /// `en`, `fr` or `de`; nothing for what the person or the desktop likes.
    pub language: &'static str,
    /// Pixels of the screen for each of its own, along a side.
    pub scale: u32,
    /// Its size, in its own pixels.
    pub size: (u32, u32),
    /// More flags, and a link.
    pub more: Vec<String>,
}

impl Default for Setting {
    fn default() -> Self {
        Self { theme: "dark", language: "en", scale: 1, size: (1120, 760), more: Vec::new() }
    }
}

impl Setting {
    /// The same with more flags.
    #[must_use]
    pub fn with(&self, more: &[&str]) -> Self {
        let more = self.more.iter().cloned().chain(more.iter().map(|flag| (*flag).to_owned())).collect();
        Self { more, ..self.clone() }
    }
}

/// The command that starts the window of a machine.
#[must_use]
pub fn command(screen: &Screen, machine: &Machine, setting: &Setting) -> std::process::Command {
    let mut command = machine.start(&programs::path("claviger-desktop"));
    command
        .env("DISPLAY", &screen.display)
        .env("DBUS_SESSION_BUS_ADDRESS", &screen.session)
        .env("SLINT_SCALE_FACTOR", setting.scale.to_string())
        .arg("--still")
        .args(
            [["--theme", setting.theme], ["--language", setting.language]]
                .iter()
                .filter(|f| !f[1].is_empty())
                .flatten(),
        )
        .args(["--size", &format!("{}x{}", setting.size.0, setting.size.1)])
        .args(&setting.more);
    command
}

/// A window.
#[derive(Debug)]
pub struct Window<'s> {
    /// The screen that it is on.
    pub screen: &'s mut Screen,
    /// Its process.
    pub process: Running,
    id: u32,
    program: String,
    damage: u32,
    pings: u32,
}

impl<'s> Window<'s> {
    /// Starts it, waits until it stands and gives it the keyboard.
    #[must_use]
    pub fn open(screen: &'s mut Screen, machine: &Machine, setting: &Setting) -> Self {
        let process = Running::start(&mut command(screen, machine, setting));
        Self::find(screen, process)
    }

    /// The window of a process that has been started on this screen.
    #[must_use]
    pub fn find(screen: &'s mut Screen, mut process: Running) -> Self {
        let watch = ChangeWindowAttributesAux::new().event_mask(EventMask::SUBSTRUCTURE_NOTIFY);
        screen.x.change_window_attributes(screen.root, &watch).unwrap().check().unwrap();
        let begun = Instant::now();
        let mut waiting = |screen: &mut Screen, what: &str| {
            assert!(process.is_running(), "the window ended: {}", process.output());
            assert!(begun.elapsed() < PATIENCE, "{what}: {}", process.output());
            screen.wait_drawn(STILL);
            process.pid()
        };
        let id = loop {
            let pid = waiting(screen, "no window came");
            if let Some(id) = screen.window_of(pid) {
                break id;
            }
        };
        screen.x.set_input_focus(InputFocus::PARENT, id, x11rb::CURRENT_TIME).unwrap().check().unwrap();
        let damage = screen.x.generate_id().unwrap();
        screen.x.damage_query_version(1, 1).unwrap().reply().unwrap();
        screen.x.damage_create(damage, id, ReportLevel::NON_EMPTY).unwrap().check().unwrap();
        let program = loop {
            if !screen.reader {
                break String::new();
            }
            let pid = waiting(screen, "the window has no elements");
            if let Some((name, _)) = screen.programs().into_iter().find(|(_, process)| *process == pid) {
                break name;
            }
        };
        let mut window = Self { screen, process, id, program, damage, pings: 0 };
        if !window.screen.reader {
            return window;
        }
        window.wait("the first elements", |tree| (tree.nodes.len() > 3).then_some(()));
        window.settle();
        window
    }

    /// Waits until it has the keyboard and has said what in it has: until then, what a key led to cannot be told from what had
    /// the keyboard when it came. The window is told first, what is in it a moment later, where something is.
    fn settle(&mut self) {
        let inside = |tree: &Tree| tree.focused().map(|node| node.role != "frame");
        while !self.wait("the keyboard", inside) && !self.is_quiet(STILL) {}
    }

    /// Waits until something is told of elements, at most `limit`; whether nothing was.
    fn is_quiet(&mut self, limit: Duration) -> bool {
        let seen = self.screen.bus.signals();
        self.screen.bus.wait_signal(seen, limit);
        self.screen.bus.signals() == seen
    }

    fn atom(&self, name: &str) -> u32 {
        self.screen.x.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// Says something to it as its window manager does; what exactly.
    fn manage(&self, protocol: &str, rest: [u32; 4]) -> [u32; 5] {
        let [a, b, c, d] = rest;
        let data = [self.atom(protocol), a, b, c, d];
        let message = ClientMessageEvent::new(32, self.id, self.atom("WM_PROTOCOLS"), data);
        self.screen.x.send_event(false, self.id, EventMask::NO_EVENT, message).unwrap().check().unwrap();
        data
    }

    /// Waits until it has taken in every key so far, and what came of them has been told: a program answers its window manager's
    /// ping in turn with its keys (Extended Window Manager Hints, `_NET_WM_PING`).
    fn catch_up(&mut self) {
        self.pings += 1;
        let data = self.manage("_NET_WM_PING", [self.pings, self.id, 0, 0]);
        let begun = Instant::now();
        loop {
            assert!(self.process.is_running(), "the window ended\n{}", self.process.output());
            assert!(begun.elapsed() < PATIENCE, "the window answers no ping\n{}", self.process.output());
            match self.screen.x.poll_for_event().unwrap() {
                Some(Event::ClientMessage(answer)) if answer.data.as_data32() == data => break,
                Some(_) => {}
                None => drop(self.screen.wait_readable(STILL)),
            }
        }
        while !self.is_quiet(TOLD) && begun.elapsed() < PATIENCE {}
    }

    /// Its number on the X server.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// All its elements, without their places.
    pub fn tree(&mut self) -> Tree {
        Tree::read(&mut self.screen.bus, &self.program)
    }

    /// All its elements and where they are.
    pub fn located(&mut self) -> Tree {
        let mut tree = self.tree();
        tree.locate(&mut self.screen.bus, &self.program);
        tree
    }

    /// Waits until `look` finds something in the elements, each time that they change.
    pub fn wait<T>(&mut self, what: &str, mut look: impl FnMut(&Tree) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let seen = self.screen.bus.signals();
            let tree = self.tree();
            if let Some(found) = look(&tree) {
                return found;
            }
            assert!(self.process.is_running(), "{what}: the window ended\n{}", self.process.output());
            if begun.elapsed() > PATIENCE / 2 {
                let name = format!("window-failed-{}.png", self.process.pid());
                let path = crate::programs::path("claviger-desktop").with_file_name(name);
                self.look().save(&path);
                panic!("{what} did not happen; picture in {}\n{}", path.display(), tree.outline());
            }
            self.screen.bus.wait_signal(seen, STILL);
        }
    }

    /// Waits until an element says this.
    pub fn says(&mut self, words: &str) {
        self.wait(&format!("“{words}”"), |tree| tree.says(words).then_some(()));
    }

    /// Waits until no element says this.
    pub fn no_longer_says(&mut self, words: &str) {
        self.wait(&format!("the end of “{words}”"), |tree| (!tree.says(words)).then_some(()));
    }

    /// Waits for the one element of a role and a name.
    pub fn one(&mut self, role: &str, name: &str) -> Node {
        self.wait(&format!("one {role} “{name}”"), |tree| {
            let mut found = tree.named(name).filter(|node| node.role == role);
            let first = found.next().cloned();
            first.filter(|_| found.next().is_none())
        })
    }

    /// Waits until a button of this name can be pressed.
    pub fn enabled(&mut self, name: &str) {
        self.wait(&format!("an enabled “{name}”"), |tree| {
            tree.named(name).find(|n| n.actionable).map(drop)
        });
    }

    /// What stands in a text field.
    pub fn text_of(&mut self, name: &str) -> String {
        let node = self.one("entry", name);
        Tree::text(&mut self.screen.bus, &self.program, &node)
    }

    /// Waits until this stands in a text field.
    pub fn holds(&mut self, name: &str, text: &str) {
        let begun = Instant::now();
        loop {
            let seen = self.screen.bus.signals();
            let now = self.text_of(name);
            if now == text {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "“{name}” holds “{now}”, not “{text}”");
            self.screen.bus.wait_signal(seen, STILL);
        }
    }

    /// Presses a key.
    pub fn press(&mut self, key: Key) {
        self.screen.keys.press(&self.screen.x, key as u32, false);
    }

    /// Presses a key with Control held.
    pub fn control(&mut self, key: char) {
        self.screen.keys.press(&self.screen.x, u32::from(key), true);
    }

    /// Types plain characters.
    pub fn write(&mut self, text: &str) {
        self.screen.keys.text(&self.screen.x, text);
    }

    /// The element that has the keyboard.
    pub fn focused(&mut self) -> Option<Node> {
        self.tree().focused().cloned()
    }

    /// Presses a key that leads on, waits until the keyboard is elsewhere, and says where.
    pub fn step(&mut self, key: Key) -> Node {
        self.catch_up();
        self.try_step(key).unwrap_or_else(|| panic!("{key:?} leads nowhere\n{}", self.tree().outline()))
    }

    /// The same; nothing where the key leads nowhere.
    fn try_step(&mut self, key: Key) -> Option<Node> {
        let before = self.focused().map(|node| node.path);
        self.press(key);
        let begun = Instant::now();
        loop {
            let seen = self.screen.bus.signals();
            let now = self.focused().filter(|node| Some(&node.path) != before.as_ref());
            if now.is_some() || begun.elapsed() > PATIENCE / 30 {
                return now;
            }
            self.screen.bus.wait_signal(seen, STILL);
        }
    }

    /// Presses the Tab key until the keyboard is at the element of this name. What is disabled has no stop, and what is out of
    /// sight is in no tree until the keyboard brings it there.
    pub fn focus(&mut self, name: &str) -> Node {
        self.reach(name, |node| node.name == name)
    }

    /// Presses the Tab key until the keyboard is at an element that is `wanted`.
    pub fn reach(&mut self, what: &str, wanted: impl Fn(&Node) -> bool) -> Node {
        let begun = Instant::now();
        let mut stops: Vec<String> = Vec::new();
        while begun.elapsed() < PATIENCE / 2 {
            // What a key before led to has come now: else it would be taken for what the next one leads to.
            self.catch_up();
            let mut there = self.focused();
            if let Some(node) = there.take_if(|node| wanted(node)) {
                return node;
            }
            while !there.as_ref().is_some_and(&wanted) && begun.elapsed() < PATIENCE / 2 {
                there = self.try_step(Key::Tab);
                let stop = there.as_ref().map(Node::title).filter(|title| !stops.contains(title));
                stops.extend(stop);
            }
        }
        let tree = self.tree().outline();
        panic!("the Tab key never comes to “{what}”, only to {stops:#?}\n{tree}\n{}", self.process.output());
    }

    /// Goes to an element and presses Return there.
    pub fn activate(&mut self, name: &str) {
        let _there = self.focus(name);
        self.press(Key::Return);
    }

    /// Goes to a text field and types, in place of what stands there.
    pub fn fill(&mut self, name: &str, text: &str) {
        let _there = self.focus(name);
        self.control('a');
        self.press(Key::Backspace);
        self.write(text);
    }

    /// Goes to the list and, by the arrow keys, to the row of this name.
    pub fn focus_row(&mut self, name: &str) {
        let _there = self.wait(&format!("a row “{name}”"), |tree| tree.named(name).next().cloned());
        let at = |tree: &Tree| {
            let row = tree.nodes.iter().find(|n| n.role == "list item" && n.is(State::Selected));
            row.map(|row| row.name.clone())
        };
        for _ in 0..ROWS {
            match at(&self.tree()) {
                Some(row) if row == name => return,
                Some(row) => {
                    self.press(Key::Down);
                    self.wait("the next row", |tree| (at(tree).as_ref() != Some(&row)).then_some(()));
                }
                None => {
                    let there = self.step(Key::Tab);
                    if matches!(there.role, "list item" | "landmark") && there.name != "Sections" {
                        self.wait("a row", |tree| at(tree));
                        self.press(Key::Home);
                        self.wait("the first row", |tree| {
                            let first =
                                tree.nodes.iter().find(|n| n.role == "list item" && n.is(State::Selectable));
                            first.filter(|row| row.is(State::Selected)).map(drop)
                        });
                    }
                }
            }
        }
        panic!("no key leads to “{name}”\n{}", self.tree().outline());
    }

    /// The text in the clipboard.
    pub fn clipboard(&mut self) -> String {
        let x = &self.screen.x;
        let (clipboard, text, here) =
            (self.atom("CLIPBOARD"), self.atom("UTF8_STRING"), self.atom("CLAVIGER_TEST"));
        let id = x.generate_id().unwrap();
        let class = WindowClass::INPUT_ONLY;
        let plain = CreateWindowAux::new();
        x.create_window(0, id, self.screen.root, 0, 0, 1, 1, 0, class, 0, &plain).unwrap().check().unwrap();
        x.convert_selection(id, clipboard, text, here, x11rb::CURRENT_TIME).unwrap().check().unwrap();
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nobody hands the clipboard over");
            match x.poll_for_event().unwrap() {
                Some(Event::SelectionNotify(event)) => {
                    assert_ne!(event.property, x11rb::NONE, "the clipboard holds no text");
                    break;
                }
                Some(_) => {}
                None => drop(self.screen.wait_readable(STILL)),
            }
        }
        let property = x.get_property(true, id, here, text, 0, u32::MAX / 4).unwrap().reply().unwrap();
        String::from_utf8(property.value).unwrap()
    }

    /// Goes to a screen by the list of sections: the arrow keys walk through it.
    pub fn go(&mut self, section: &str) {
        let chosen = |tree: &Tree| {
            let tab = tree.nodes.iter().find(|n| n.role == "page tab" && n.is(State::Selected));
            tab.map(|tab| tab.name.clone())
        };
        let sections = |node: &Node| node.name == "Sections" || node.role == "page tab";
        let _there = self.reach("Sections", sections);
        let (end, on) = if section == "Products" { (Key::Home, Key::Down) } else { (Key::End, Key::Up) };
        self.press(end);
        self.wait("the end of the sections", |tree| {
            let last = if end == Key::Home { "Products" } else { "About & diagnostics" };
            chosen(tree).filter(|now| now == last)
        });
        for _ in 0..10 {
            let before = self.wait("a section", chosen);
            if before == section {
                return;
            }
            let _there = self.reach("Sections", sections);
            self.press(on);
            self.wait("the next section", |tree| chosen(tree).filter(|now| *now != before));
        }
        panic!("there is no section “{section}”");
    }

    /// Makes it another size, in the screen's pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = ConfigureWindowAux::new().width(width).height(height);
        self.screen.x.configure_window(self.id, &size).unwrap().check().unwrap();
    }

    /// What it shows once nothing is drawn any more.
    pub fn picture(&mut self) -> Picture {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE / 6 {
            self.screen.x.damage_subtract(self.damage, x11rb::NONE, x11rb::NONE).unwrap().check().unwrap();
            if !self.screen.wait_drawn(STILL) {
                break;
            }
        }
        self.look()
    }

    /// What it shows.
    pub fn look(&mut self) -> Picture {
        let size = self.screen.x.get_geometry(self.id).unwrap().reply().unwrap();
        let whole =
            self.screen.x.get_image(ImageFormat::Z_PIXMAP, self.id, 0, 0, size.width, size.height, u32::MAX);
        let data = whole.unwrap().reply().unwrap().data;
        let (pixels, rest) = data.as_chunks::<4>();
        assert!(rest.is_empty(), "the screen has 32 bits a pixel");
        Picture::new(usize::from(size.width), pixels.iter().map(|[b, g, r, _]| [*r, *g, *b]).collect())
    }

    /// Compares what it shows with the reference of this name; elements that `changing` names are left out. With
    /// `CLAVIGER_SCREENS=write` what it shows becomes the reference.
    pub fn check(&mut self, name: &str, pictures: &Path, changing: impl Fn(&Node) -> bool) {
        let reference =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/screens")).join(format!("{name}.png"));
        let begun = Instant::now();
        loop {
            let mut picture = self.picture();
            picture.save(&pictures.join(format!("{name}.png")));
            for node in self.located().nodes.iter().filter(|node| changing(node)) {
                let Rect { x, y, width, height } = node.place;
                // Words of another length do not shift what is left out.
                picture.mask(Rect { x: x - 2, y: y - 2, width: width + 4, height: height + 4 });
            }
            if std::env::var_os("CLAVIGER_SCREENS").is_some_and(|value| value == "write") {
                picture.save_small(&reference);
                return;
            }
            let expected = Picture::load(&reference);
            let found = picture.differs(&expected);
            if found.as_ref().is_ok_and(Vec::is_empty) {
                return;
            }
            if begun.elapsed() > PATIENCE / 6 {
                let differs = pictures.join(format!("{name}-differs.png"));
                picture.beside(&expected, &found.clone().unwrap_or_default()).save(&differs);
                panic!("{name} looks different: {found:?}\nlook at {}", differs.display());
            }
        }
    }

    /// Closes it as a window manager does, and waits for its end.
    pub fn close(mut self) -> ExitStatus {
        self.manage("WM_DELETE_WINDOW", [x11rb::CURRENT_TIME, 0, 0, 0]);
        self.process.wait_end(PATIENCE)
    }
}

impl Screen {
    /// Waits until the X server reports something, at most `limit`; whether it did.
    fn wait_drawn(&self, limit: Duration) -> bool {
        let mut any = false;
        while self.x.poll_for_event().unwrap().is_some() {
            any = true;
        }
        if any {
            return true;
        }
        self.wait_readable(limit)
    }

    pub(super) fn wait_readable(&self, limit: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        poll(&mut [PollFd::new(self.x.stream(), PollFlags::IN)], Some(&timeout)).unwrap() > 0
    }

    /// The window that a process has mapped.
    fn window_of(&self, pid: u32) -> Option<u32> {
        let pid_of = self.x.intern_atom(false, b"_NET_WM_PID").unwrap().reply().unwrap().atom;
        let all = self.x.query_tree(self.root).unwrap().reply().unwrap().children;
        all.into_iter().find(|id| {
            let owner = self.x.get_property(false, *id, pid_of, AtomEnum::CARDINAL, 0, 1).unwrap().reply();
            let owner = owner.ok().and_then(|owner| owner.value32()?.next());
            let state = self.x.get_window_attributes(*id).unwrap().reply();
            owner == Some(pid) && state.is_ok_and(|state| state.map_state == MapState::VIEWABLE)
        })
    }
}
