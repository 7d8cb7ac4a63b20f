//! A file manager out of which a file is dragged: XDND, as far as one source with one file needs it.

use std::path::Path;
use std::time::Instant;

use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, SELECTION_NOTIFY_EVENT,
    SelectionNotifyEvent, SelectionRequestEvent, WindowClass,
};
use x11rb::wrapper::ConnectionExt as _;

use super::Screen;
use super::window::{STILL, Window};
use crate::process::PATIENCE;

/// The version of XDND that is spoken.
const VERSION: u32 = 5;

/// A drag that is under way.
struct Drag {
    source: u32,
    target: u32,
    address: String,
}

impl Window<'_> {
    /// Drags a file over the window, calls `over` while it hovers there, and lets it go.
    pub fn drop_file(&mut self, path: &Path, over: impl FnOnce(&mut Self)) {
        let address = format!("file://{}\r\n", path.display()).replace(' ', "%20");
        let drag = Drag { source: self.screen.dragging_from(), target: self.id(), address };
        drag.enter(self.screen);
        over(self);
        drag.drop(self.screen);
    }
}

impl Screen {
    fn atom(&self, name: &str) -> u32 {
        self.x.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// A window to drag from, which owns what is dragged.
    fn dragging_from(&self) -> u32 {
        let id = self.x.generate_id().unwrap();
        let (class, plain) = (WindowClass::INPUT_ONLY, CreateWindowAux::new());
        self.x.create_window(0, id, self.root, 0, 0, 1, 1, 0, class, 0, &plain).unwrap().check().unwrap();
        let selection = self.atom("XdndSelection");
        self.x.set_selection_owner(id, selection, x11rb::CURRENT_TIME).unwrap().check().unwrap();
        id
    }
}

impl Drag {
    fn say(&self, screen: &Screen, kind: &str, rest: [u32; 4]) {
        let data = [self.source, rest[0], rest[1], rest[2], rest[3]];
        let message = ClientMessageEvent::new(32, self.target, screen.atom(kind), data);
        screen.x.send_event(false, self.target, EventMask::NO_EVENT, message).unwrap().check().unwrap();
    }

    /// Comes over the window, and waits until that has asked what it is and has accepted it.
    fn enter(&self, screen: &Screen) {
        let list = screen.atom("text/uri-list");
        self.say(screen, "XdndEnter", [VERSION << 24, list, 0, 0]);
        let (x, y) = (200, 200);
        self.say(
            screen,
            "XdndPosition",
            [0, x << 16 | y, x11rb::CURRENT_TIME, screen.atom("XdndActionCopy")],
        );
        let (mut accepted, mut asked) = (false, false);
        let status = screen.atom("XdndStatus");
        Self::until(screen, "the window takes no files", |event| {
            match event {
                Event::ClientMessage(message) if message.type_ == status => {
                    assert_eq!(message.data.as_data32()[1] & 1, 1, "the window refuses the file");
                    accepted = true;
                }
                Event::SelectionRequest(request) => {
                    self.hand_over(screen, &request);
                    asked = true;
                }
                _ => {}
            }
            accepted && asked
        });
    }

    fn hand_over(&self, screen: &Screen, request: &SelectionRequestEvent) {
        let x = &screen.x;
        let SelectionRequestEvent { requestor, property, target, selection, time, .. } = *request;
        x.change_property8(PropMode::REPLACE, requestor, property, target, self.address.as_bytes())
            .unwrap()
            .check()
            .unwrap();
        let told = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time,
            requestor,
            selection,
            target,
            property,
        };
        x.send_event(false, requestor, EventMask::NO_EVENT, told).unwrap().check().unwrap();
    }

    /// Lets it go, and waits until the window has it.
    fn drop(&self, screen: &Screen) {
        self.say(screen, "XdndDrop", [0, x11rb::CURRENT_TIME, 0, 0]);
        let finished = screen.atom("XdndFinished");
        Self::until(
            screen,
            "the window did not take the file",
            |event| matches!(event, Event::ClientMessage(message) if message.type_ == finished),
        );
        screen.x.destroy_window(self.source).unwrap().check().unwrap();
    }

    fn until(screen: &Screen, what: &str, mut done: impl FnMut(Event) -> bool) {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "{what}");
            match screen.x.poll_for_event().unwrap() {
                Some(event) => {
                    if done(event) {
                        return;
                    }
                }
                None => drop(screen.wait_readable(STILL)),
            }
        }
    }
}
