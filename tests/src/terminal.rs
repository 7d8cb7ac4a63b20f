//! A command on a terminal of its own, whose keyboard and screen the test holds.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::PATIENCE;

/// The terminal, and the command on it.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    // Open as long as this value, so that the screen can be read after the command has ended.
    _terminal: File,
    child: Child,
    /// What stood on the screen so far.
    pub seen: String,
}

impl Terminal {
    /// Starts a command.
    #[must_use]
    pub fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let copy = || Stdio::from(terminal.try_clone().unwrap());
        // util-linux makes the terminal the command's own.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir("/")
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .unwrap();
        Self { master: File::from(master), _terminal: terminal, child, seen: String::new() }
    }

    /// Reads the screen until `what` is on it.
    pub fn expect(&mut self, what: &str) {
        let mut bytes = std::mem::take(&mut self.seen).into_bytes();
        while !String::from_utf8_lossy(&bytes).contains(what) {
            let mut byte = [0];
            let read = if self.has_more() { self.master.read(&mut byte).unwrap_or(0) } else { 0 };
            assert_eq!(read, 1, "no “{what}” in: {}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        self.seen = String::from_utf8_lossy(&bytes).into_owned();
    }

    /// Whether something comes: not when the command has ended without another word.
    fn has_more(&mut self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let begun = Instant::now();
        let step = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            if poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&step)).unwrap() > 0 {
                return true;
            }
            if ended || begun.elapsed() > PATIENCE {
                return false;
            }
        }
    }

    /// Types.
    pub fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the command's end and gives its exit code.
    pub fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}
