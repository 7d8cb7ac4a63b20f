//! Threads, only where something asks for one: a slow disk, an activation, notifications. Each kind of work has one
//! lane with at most one thread, so that a disk that hangs stops no activation; the first two end when their queue is
//! empty, the third when the last handle is closed.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::platform::Thread;

/// How long whoever opens a product waits for a slow disk. Nothing may hold a host's main thread for more than 5 ms in all.
pub(crate) const PATIENCE: Duration = Duration::from_millis(4);
/// How long closing waits for threads; before it the C interface may have waited for a callback.
pub(crate) const CLOSING: Duration = Duration::from_millis(3);

/// Kinds of work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Reading a store that may hang.
    Disk,
    /// A call of the daemon.
    Daemon,
    /// Waiting for the daemon's news.
    Watch,
}

type Job = Box<dyn FnOnce() + Send>;

/// Work that waits for its turn.
struct Queued {
    job: Job,
    /// Whether it is done even where the library is closed meanwhile.
    kept: bool,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Queued>,
    running: bool,
    /// When the job that runs now was begun.
    begun: Option<Instant>,
    thread: Option<Thread>,
    /// The process that started the thread: a forked child does not have it.
    process: u32,
}

/// The lanes of a library copy.
#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<[Mutex<Lane>; 3]>);

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    /// Whether a job of this kind has been running for longer than anyone should wait.
    pub(crate) fn is_stuck(&self, kind: Kind) -> bool {
        lock(&self.0[kind as usize]).begun.is_some_and(|begun| begun.elapsed() > PATIENCE)
    }

    /// Runs `job` on the thread of its kind, after those that came before.
    pub(crate) fn submit(&self, kind: Kind, job: Job) -> io::Result<()> {
        self.queue(kind, Queued { job, kept: false })
    }

    /// The same for work that takes a moment and is the last thing that a plug-in does: closing does not drop it.
    pub(crate) fn submit_kept(&self, kind: Kind, job: Job) -> io::Result<()> {
        self.queue(kind, Queued { job, kept: true })
    }

    fn queue(&self, kind: Kind, work: Queued) -> io::Result<()> {
        let mut lane = lock(&self.0[kind as usize]);
        if lane.running && lane.process != std::process::id() {
            // Forked: the thread stayed in the parent, and what it was doing is not ours.
            *lane = Lane::default();
        }
        lane.queue.push_back(work);
        if lane.running {
            return Ok(());
        }
        if let Some(ended) = lane.thread.take() {
            ended.end(CLOSING);
        }
        let lanes = self.clone();
        match Thread::start(Box::new(move || lanes.run(kind))) {
            Ok(thread) => {
                lane.running = true;
                lane.thread = Some(thread);
                lane.process = std::process::id();
                Ok(())
            }
            Err(error) => {
                lane.queue.pop_back();
                Err(error)
            }
        }
    }

    fn run(&self, kind: Kind) {
        loop {
            let mut lane = lock(&self.0[kind as usize]);
            let Some(Queued { job, .. }) = lane.queue.pop_front() else {
                lane.running = false;
                lane.begun = None;
                return;
            };
            lane.begun = Some(Instant::now());
            drop(lane);
            // A host's callback may panic; the work behind it in the queue goes on.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// Drops what has not begun, but for what is kept, and waits for the rest, at most for so long in all.
    pub(crate) fn close(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for lane in self.0.iter() {
            let (queue, thread) = {
                let mut lane = lock(lane);
                if lane.process != std::process::id() {
                    *lane = Lane::default();
                }
                let (kept, dropped): (VecDeque<_>, VecDeque<_>) =
                    std::mem::take(&mut lane.queue).into_iter().partition(|work| work.kept);
                lane.queue = kept;
                (dropped, lane.thread.take())
            };
            drop(queue);
            if let Some(thread) = thread {
                thread.end(deadline.saturating_duration_since(Instant::now()));
            }
        }
    }
}
