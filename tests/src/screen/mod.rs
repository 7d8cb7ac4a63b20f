//! A screen of its own for the manager window: an X server without a monitor, a session bus and the desktop's accessibility bus
//! on it, so that the window is driven as a person with a keyboard and a screen reader does it, and seen as it is drawn.
//!
//! | module | what lives there |
//! |---|---|
//! | [`window`] | the window: keys into it, its elements, its end |
//! | [`tree`] | its elements as a screen reader knows them |
//! | [`keyboard`] | which keys make which characters |
//! | `drag` | a file that is dragged into it |
//! | [`picture`] | what it shows, and whether that is what it should show |

mod drag;
pub mod keyboard;
pub mod picture;
pub mod tree;
pub mod window;

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, CreateGCAux, CreateWindowAux, ImageFormat, WindowClass};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use crate::dbus::{Arg, Bus};
use crate::process::Running;

pub use picture::{Picture, Rect};
pub use tree::{Node, State, Tree};
pub use window::{Setting, Window};

/// Large enough for a window at twice its size.
const SIZE: &str = "2400x1700x24";

/// A screen, a keyboard, a session.
#[derive(Debug)]
pub struct Screen {
    /// What `DISPLAY` says.
    pub display: String,
    /// What `DBUS_SESSION_BUS_ADDRESS` says.
    pub session: String,
    x: RustConnection,
    root: u32,
    reader: bool,
    /// The accessibility bus.
    bus: Bus,
    keys: keyboard::Keyboard,
    // Ended in this order: first the bus, whose end ends what it started, then the display.
    _session: Running,
    _server: Running,
    _folder: TempDir,
}

impl Screen {
    /// A screen that nobody looks at, on which a screen reader runs.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(true)
    }

    /// The same without a screen reader, as most people have it: a window tells nobody about its elements.
    #[must_use]
    pub fn without_reader() -> Self {
        Self::start_with(false)
    }

    fn start_with(reader: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("cs").tempdir().unwrap();
        // Its other output would be taken for the number of the display.
        let script = format!("exec Xvfb -displayfd 1 -screen 0 {SIZE} -nolisten tcp -noreset 2>/dev/null");
        let (server, line) = Running::start_until(Command::new("sh").args(["-c", &script]), "")
            .unwrap_or_else(|(status, said)| panic!("Xvfb ended: {status}\n{said}"));
        let display = format!(":{}", line.trim());
        let (x, screen) = x11rb::connect(Some(&display)).unwrap();
        let root = x.setup().roots[screen].root;
        let keys = keyboard::Keyboard::read(&x);

        let (running, session) = start_session(&folder, &display);
        let mut desk = Bus::connect(&session);
        // A screen reader says that it is there.
        let set = |desk: &mut Bus, name| {
            let arguments = [Arg::Text("org.a11y.Status"), Arg::Text(name), Arg::VariantFlag(true)];
            desk.call("org.a11y.Bus", "/org/a11y/bus", "org.freedesktop.DBus.Properties.Set", &arguments)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        if reader {
            set(&mut desk, "IsEnabled");
            set(&mut desk, "ScreenReaderEnabled");
        }
        let address = desk.call("org.a11y.Bus", "/org/a11y/bus", "org.a11y.Bus.GetAddress", &[]).unwrap();
        let mut bus = Bus::connect(address[0].as_str().unwrap());
        bus.listen("type='signal',interface='org.a11y.atspi.Event.Object'");
        bus.listen("type='signal',interface='org.a11y.atspi.Event.Window'");
        bus.listen("type='signal',interface='org.a11y.atspi.Event.Focus'");
        Self {
            display,
            session,
            x,
            root,
            reader,
            bus,
            keys,
            _session: running,
            _server: server,
            _folder: folder,
        }
    }

    /// Puts the pointer somewhere and turns its wheel by one step towards the end.
    pub fn wheel(&self, x: i16, y: i16) {
        let (to, press, release, down) = (6, 4, 5, 5);
        let fake = |kind, detail, x, y| {
            self.x
                .xtest_fake_input(kind, detail, x11rb::CURRENT_TIME, self.root, x, y, 0)
                .unwrap()
                .check()
                .unwrap();
        };
        fake(to, 0, x, y);
        fake(press, down, 0, 0);
        fake(release, down, 0, 0);
    }

    /// How long it takes to bring a picture of this size onto the screen: the least that a frame can take.
    #[must_use]
    pub fn time_of_a_picture(&self, width: u16, height: u16) -> Duration {
        let id = self.x.generate_id().unwrap();
        let context = self.x.generate_id().unwrap();
        let (class, plain) = (WindowClass::INPUT_OUTPUT, CreateWindowAux::new());
        self.x
            .create_window(0, id, self.root, 0, 0, width, height, 0, class, 0, &plain)
            .unwrap()
            .check()
            .unwrap();
        self.x.map_window(id).unwrap().check().unwrap();
        self.x.create_gc(context, id, &CreateGCAux::new()).unwrap().check().unwrap();
        let bytes = vec![77; usize::from(width) * usize::from(height) * 4];
        let format = ImageFormat::Z_PIXMAP;
        let begun = Instant::now();
        self.x.put_image(format, id, context, width, height, 0, 0, 0, 24, &bytes).unwrap().check().unwrap();
        let took = begun.elapsed();
        self.x.destroy_window(id).unwrap().check().unwrap();
        took
    }

    /// The programs that have elements, by their names on the bus, with their process ids.
    fn programs(&mut self) -> Vec<(String, u32)> {
        let root = "/org/a11y/atspi/accessible/root";
        let method = "org.a11y.atspi.Accessible.GetChildren";
        let Ok(children) = self.bus.call("org.a11y.atspi.Registry", root, method, &[]) else {
            return Vec::new();
        };
        let names = children[0].as_array().unwrap().iter().map(|child| child[0].as_str().unwrap().to_owned());
        let mut found = Vec::new();
        for name in names.collect::<Vec<String>>() {
            let method = "org.freedesktop.DBus.GetConnectionUnixProcessID";
            let bus = "org.freedesktop.DBus";
            let pid = self.bus.call(bus, "/org/freedesktop/DBus", method, &[Arg::Text(&name)]);
            if let Some(pid) = pid.ok().and_then(|pid| pid[0].as_u64()) {
                found.push((name, u32::try_from(pid).unwrap()));
            }
        }
        found
    }
}

/// A session bus that starts nothing but the accessibility bus, when that is asked for.
fn start_session(folder: &TempDir, display: &str) -> (Running, String) {
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    let service = "[D-BUS Service]\nName=org.a11y.Bus\nExec=/usr/libexec/at-spi-bus-launcher\n";
    std::fs::write(services.join("org.a11y.Bus.service"), service).unwrap();
    let configuration = format!(
        "<busconfig><type>session</type><listen>unix:dir={}</listen><servicedir>{}</servicedir>\
         <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
         <allow own=\"*\"/></policy></busconfig>",
        folder.path().display(),
        services.display()
    );
    let file = folder.path().join("session.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new("sh");
    command
        // What it grumbles about would get between the letters of its address.
        .args(["-c", "exec dbus-daemon --nofork --print-address=1 \"$@\" 2>/dev/null", "sh"])
        .arg(format!("--config-file={}", file.display()))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .env("DISPLAY", display)
        .env("HOME", folder.path())
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("GSETTINGS_BACKEND", "memory");
    let (running, line) = Running::start_until(&mut command, "unix:")
        .unwrap_or_else(|(status, said)| panic!("dbus-daemon ended: {status}\n{said}"));
    (running, line.trim().to_owned())
}
