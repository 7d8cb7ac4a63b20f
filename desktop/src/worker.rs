//! Hands for the controller: a thread a task, a thread that listens to the daemon for as long as the window is open. Between two
//! events all of them wait, without a clock.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::desk::{Desks, Trouble};
use crate::tasks::{News, Task, perform};

/// Who does tasks.
pub(crate) trait Hands {
    /// Begins a task; its news comes later.
    fn begin(&self, task: Task);
    /// Listens to the daemon again at once, if it was lost.
    fn listen_again(&self);
}

/// Where news goes: to the controller, on the window's own thread.
pub(crate) type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// The shortest and the longest pause before a lost daemon is looked for again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Real hands.
pub(crate) struct Threads {
    desks: Arc<dyn Desks>,
    tell: Tell,
    kick: Sender<()>,
}

impl Threads {
    /// Starts to listen.
    pub(crate) fn start(desks: Arc<dyn Desks>, tell: Tell) -> Self {
        let (kick, kicked) = channel();
        let (listener, teller) = (desks.clone(), tell.clone());
        spawn("listener", move || listen(&listener, &teller, &kicked));
        Self { desks, tell, kick }
    }
}

impl Hands for Threads {
    fn begin(&self, task: Task) {
        let (desks, tell) = (self.desks.clone(), self.tell.clone());
        spawn("task", move || perform(&desks, task, &|news| tell(news)));
    }

    fn listen_again(&self) {
        let _ended = self.kick.send(());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    if std::thread::Builder::new().name(name.to_owned()).spawn(work).is_err() {
        tracing::error!("no thread could be started for a {name}");
    }
}

/// Tells every change of the list. While there is no daemon it looks again after a while, ever less often.
fn listen(desks: &Arc<dyn Desks>, tell: &Tell, kicked: &Receiver<()>) {
    let mut pause = PAUSES.0;
    let mut told: Option<Trouble> = None;
    loop {
        let mut heard = false;
        let ended = desks.listen(&mut |licenses| {
            heard = true;
            tell(News::Licenses(licenses));
            ControlFlow::Continue(())
        });
        let trouble = ended.err().unwrap_or_else(|| Trouble::new("daemon_gone", "the daemon ended"));
        if heard {
            (pause, told) = (PAUSES.0, None);
        }
        // Said once, not every five seconds.
        if told.as_ref() != Some(&trouble) {
            tell(News::Lost(trouble.clone()));
            told = Some(trouble);
        }
        match kicked.recv_timeout(pause) {
            Ok(()) => (pause, told) = (PAUSES.0, None),
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(PAUSES.1),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
