//! One line on standard error that says what is going on, for a person who waits longer than a moment.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::text;

/// What is done in less needs no explanation.
const PATIENCE: Duration = Duration::from_millis(200);
const BEAT: Duration = Duration::from_millis(120);
const FRAMES: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠇", "⠏", "⠋"];
const ERASE: &str = "\r\x1b[K";

/// A progress line. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress(Option<(Sender<String>, JoinHandle<()>)>);

impl Progress {
    /// Says `what` on a terminal, unless it is over within 200 ms. Nothing on anything but a terminal.
    #[must_use]
    pub(crate) fn start(what: &str, json: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if json || dumb || !io::stderr().is_terminal() {
            return Self(None);
        }
        let (sender, receiver) = mpsc::channel::<String>();
        let mut now = what.to_owned();
        let thread = std::thread::spawn(move || {
            let mut wait = PATIENCE;
            let mut beats = FRAMES.iter().cycle();
            let mut shown = false;
            loop {
                match receiver.recv_timeout(wait) {
                    Ok(next) => now = next,
                    Err(RecvTimeoutError::Timeout) => {
                        wait = BEAT;
                        shown = true;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if shown {
                    let beat = beats.next().copied().unwrap_or_default();
                    let _ = write!(io::stderr(), "{ERASE}{beat} {}", text::one_line(&now, 70));
                }
            }
            if shown {
                let _ = write!(io::stderr(), "{ERASE}");
            }
        });
        Self(Some((sender, thread)))
    }

    /// Says something else from now on.
    pub(crate) fn say(&self, what: &str) {
        if let Some((sender, _)) = &self.0 {
            let _ = sender.send(what.to_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}
