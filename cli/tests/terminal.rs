//! On a real terminal: the unlock code is asked for and never shown, and the terminal is left as it was.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;
use support::{Home, Ran, code, good, license, serial};

/// A command whose terminal the test holds.
struct Session {
    keyboard: File,
    terminal: File,
    child: Child,
}

impl Session {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let claviger = home.command(arguments);
        // util-linux makes the terminal the command's own.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(claviger.get_program())
            .args(arguments)
            .env_clear()
            .envs(claviger.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(terminal.try_clone().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { keyboard: File::from(master), terminal, child }
    }

    /// Reads the screen up to `what`.
    fn expect(&mut self, what: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(what) {
            let mut byte = [0];
            assert_eq!(self.keyboard.read(&mut byte).unwrap(), 1);
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }

    fn end(self) -> Ran {
        let ran = Ran::of(self.child.wait_with_output().unwrap());
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG), "{modes:?}");
        ran
    }
}

#[test]
fn the_code_is_asked_for_and_not_shown() {
    let home = Home::new();
    home.with_vendor();
    let peer = home.peer(|_, _| good(json!({ "license": license("Solstice") })));
    let (serial, code) = (serial(), code());
    let mut session = Session::start(&home, &["activate", &serial]);
    assert_eq!(session.expect(": "), "Unlock code: ");
    assert!(!tcgetattr(&session.terminal).unwrap().local_modes.contains(LocalModes::ECHO));
    session.keyboard.write_all(format!("{code}\r").as_bytes()).unwrap();
    assert_eq!(session.expect("\n"), "\r\n", "nothing but the end of the line");
    let ran = session.end();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(peer.calls()[0]["parameters"]["unlock_code"], code);
}

#[test]
fn whoever_breaks_off_gets_the_terminal_back() {
    let home = Home::new();
    home.with_vendor();
    let mut session = Session::start(&home, &["activate", &serial()]);
    session.expect("Unlock code: ");
    session.keyboard.write_all(b"7KQ\x03").unwrap();
    let ran = session.end();
    assert_eq!(ran.code, 15);
    assert_eq!(ran.err, "Error: Cancelled; nothing was sent.\n");
}
