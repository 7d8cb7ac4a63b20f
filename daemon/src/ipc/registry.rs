//! Who is connected, and who has to go when there are too many: of the user who has most of them, a connection that never
//! called anything, otherwise the one that has been silent longest. An owner who calls is therefore served, however many
//! idle connections come, and however many come between two calls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::{Rc, Weak};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// In all.
    pub total: usize,
    /// Of one user.
    pub per_user: usize,
    /// That are sending a frame of more than [`Caps::small_frame`] bytes.
    pub large: usize,
    /// What every connection may buffer.
    pub small_frame: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { total: 512, per_user: 256, large: 8, small_frame: 8 * 1024 }
    }
}

/// What a connection is doing; the first to go comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// Waiting for the client: to say something, or to take what it asked for.
    Waiting,
    /// Telling the client about changes.
    Watching,
    /// Working for the client.
    Working,
}

struct Entry {
    user: String,
    doing: Doing,
    since: u64,
    /// Whether it ever called something.
    called: bool,
    large: bool,
    task: Option<AbortHandle>,
}

pub(super) struct Registry {
    caps: Caps,
    entries: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
    freed: Notify,
}

/// A connection's place among the others; given up when dropped.
pub(super) struct Seat {
    registry: Weak<Registry>,
    id: u64,
}

impl Registry {
    pub(super) fn new(caps: Caps) -> Self {
        Self { caps, entries: RefCell::default(), next: Cell::new(0), freed: Notify::new() }
    }

    fn tick(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// Makes room and serves a new connection in a task of its own.
    pub(super) fn admit<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        user: String,
        serve: impl FnOnce(Seat) -> F,
    ) {
        let (of_user, total) = {
            let entries = self.entries.borrow();
            (entries.values().filter(|e| e.user == user).count(), entries.len())
        };
        if of_user >= self.caps.per_user {
            self.evict(|e| e.user == user);
        } else if total >= self.caps.total {
            let busiest = self.busiest();
            self.evict(|e| Some(&e.user) == busiest.as_ref());
        }
        let id = self.tick();
        let entry = Entry { user, doing: Doing::Waiting, since: id, called: false, large: false, task: None };
        self.entries.borrow_mut().insert(id, entry);
        let seat = Seat { registry: Rc::downgrade(self), id };
        let task = tokio::task::spawn_local(serve(seat)).abort_handle();
        if let Some(entry) = self.entries.borrow_mut().get_mut(&id) {
            entry.task = Some(task);
        }
    }

    fn busiest(&self) -> Option<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.entries.borrow().values() {
            *counts.entry(entry.user.clone()).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(user, _)| user)
    }

    /// Ends the connection that can best be spared; false when none fits.
    fn evict(&self, fits: impl Fn(&Entry) -> bool) -> bool {
        let found = {
            let entries = self.entries.borrow();
            let spare =
                entries.iter().filter(|(_, e)| fits(e)).min_by_key(|(_, e)| (e.doing, e.called, e.since));
            spare.map(|(id, _)| *id)
        };
        let Some(id) = found else { return false };
        // Out of the list at once: the task itself ends when it is next looked at.
        let entry = self.entries.borrow_mut().remove(&id);
        if let Some(task) = entry.and_then(|e| e.task) {
            task.abort();
        }
        true
    }

    /// Ends up to `count` connections that do nothing at the moment, and says how many.
    pub(super) fn evict_some(&self, count: usize) -> usize {
        (0..count).take_while(|_| self.evict(|e| e.doing != Doing::Working)).count()
    }

    /// Waits until a connection has ended.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Seat {
    fn with(&self, change: impl FnOnce(&Registry, &mut Entry)) {
        if let Some(registry) = self.registry.upgrade()
            && let Some(entry) = registry.entries.borrow_mut().get_mut(&self.id)
        {
            change(&registry, entry);
        }
    }

    /// Says what the connection does from now on.
    pub(super) fn doing(&self, doing: Doing) {
        self.with(|registry, entry| {
            entry.doing = doing;
            entry.called |= doing != Doing::Waiting;
            entry.since = registry.tick();
        });
    }

    /// What a frame may have before it counts as large.
    pub(super) fn small_frame(&self) -> usize {
        self.registry.upgrade().map_or(0, |r| r.caps.small_frame)
    }

    /// The frame being read is a large one, or no more. Too many of them at once: the oldest goes.
    pub(super) fn large(&self, large: bool) {
        self.with(|_, entry| entry.large = large);
        if !large {
            return;
        }
        if let Some(registry) = self.registry.upgrade() {
            let count = registry.entries.borrow().values().filter(|e| e.large).count();
            if count > registry.caps.large {
                registry.evict(|e| e.large && e.doing == Doing::Waiting);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.entries.borrow_mut().remove(&self.id);
            registry.freed.notify_one();
        }
    }
}
