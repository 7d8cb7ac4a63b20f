//! Which keys make which characters, on the keyboard that the X server pretends to have.

use std::collections::HashMap;

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::ConnectionExt as _;
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// Keys that make no character, by their keysyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "what stands on the keys")]
pub enum Key {
    BackTab = 0xfe20,
    Backspace = 0xff08,
    Tab = 0xff09,
    Return = 0xff0d,
    Escape = 0xff1b,
    Home = 0xff50,
    Left = 0xff51,
    Up = 0xff52,
    Right = 0xff53,
    Down = 0xff54,
    PageUp = 0xff55,
    PageDown = 0xff56,
    End = 0xff57,
    Space = 0x20,
}

const SHIFT: u32 = 0xffe1;
const CONTROL: u32 = 0xffe3;
const PRESS: u8 = 2;
const RELEASE: u8 = 3;

/// The keyboard.
#[derive(Debug)]
pub struct Keyboard {
    /// Keysym to key, and whether Shift is held with it.
    keys: HashMap<u32, (u8, bool)>,
}

impl Keyboard {
    /// Asks the X server.
    #[must_use]
    pub fn read(x: &RustConnection) -> Self {
        let (first, last) = (x.setup().min_keycode, x.setup().max_keycode);
        let map = x.get_keyboard_mapping(first, last - first + 1).unwrap().reply().unwrap();
        let mut keys = HashMap::new();
        for (at, symbols) in map.keysyms.chunks(usize::from(map.keysyms_per_keycode)).enumerate() {
            let code = first + u8::try_from(at).unwrap();
            for (symbol, shift) in symbols.iter().take(2).zip([false, true]) {
                keys.entry(*symbol).or_insert((code, shift));
            }
        }
        Self { keys }
    }

    /// Presses and releases a key, with Control or Shift held where wanted.
    pub fn press(&self, x: &RustConnection, symbol: u32, control: bool) {
        let (code, shift) = *self.keys.get(&symbol).unwrap_or_else(|| panic!("no key makes {symbol:#x}"));
        let mut held = Vec::new();
        if shift {
            held.push(self.keys[&SHIFT].0);
        }
        if control {
            held.push(self.keys[&CONTROL].0);
        }
        let fake = |kind, code| {
            x.xtest_fake_input(kind, code, x11rb::CURRENT_TIME, x11rb::NONE, 0, 0, 0)
                .unwrap()
                .check()
                .unwrap();
        };
        held.iter().for_each(|code| fake(PRESS, *code));
        fake(PRESS, code);
        fake(RELEASE, code);
        held.iter().for_each(|code| fake(RELEASE, *code));
    }

    /// Types a text of plain characters.
    pub fn text(&self, x: &RustConnection, text: &str) {
        for character in text.chars() {
            self.press(x, u32::from(character), false);
        }
    }
}
