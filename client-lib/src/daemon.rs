//! What a plug-in asks of the daemon, on a thread of the library: activate, give up, tell of changes. Nothing about
//! being licensed depends on it.

use std::net::Shutdown;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use claviger_protocol::ipc::ActivateCall;
use claviger_protocol::status::Status;
use zeroize::Zeroizing;

use crate::library::LibraryShared;
use crate::license::{License, ProductState};
use crate::manager::{Endpoint, Manager, ManagerError};
use crate::platform::Stream;
use crate::usage::{UsageSink, Use};
use crate::vendor::VendorShared;
use crate::worker::Kind;

/// News of an activation or of giving one up; sent on a thread of the library.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// What is being done, for people.
    Progress(String),
    /// It is done; the status is that of the product now.
    Done(Status),
    /// It failed: what to say, what to do next, and a stable word for programs.
    Failed {
        /// A stable word: `daemon_not_running`, `no_seat_left` …
        code: String,
        /// A sentence for people.
        message: String,
        /// What to do next.
        advice: Option<String>,
    },
}

fn failed(error: &ManagerError) -> Event {
    Event::Failed {
        code: error.code().to_owned(),
        message: error.to_string(),
        advice: error.advice().map(str::to_owned),
    }
}

/// Tells the daemon of uses; which of them count is decided there.
pub(crate) struct ToDaemon(pub(crate) Vec<PathBuf>);

impl UsageSink for ToDaemon {
    fn take(&self, finished: Use) {
        // Without a daemon nobody counts.
        let _told = connect(&self.0)
            .and_then(|mut daemon| daemon.report_use(finished.product, finished.version, finished.host.daw));
    }
}

/// The first daemon that answers.
fn connect(sockets: &[PathBuf]) -> Result<Manager, ManagerError> {
    let mut last = ManagerError::NoPlace;
    for socket in sockets {
        match Manager::connect(&Endpoint::at(socket.clone())) {
            Ok(manager) => return Ok(manager),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl License {
    /// Asks the daemon to activate this product's license, and returns at once. `tell` hears of progress and, as the
    /// last thing, of the end, on a thread of the library. The daemon gets to know the vendor by the profile compiled
    /// into this program, if it does not know it yet.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn activate(
        &self,
        serial: &str,
        unlock_code: Option<&str>,
        mut tell: impl FnMut(Event) + Send + 'static,
    ) -> std::io::Result<()> {
        // Either may be all that it takes to activate; wiped also where no daemon answers.
        let serial = Zeroizing::new(serial.to_owned());
        let unlock_code = unlock_code.map(|code| Zeroizing::new(code.to_owned()));
        self.ask(move |license| {
            let vendor = &license.vendor;
            let done = connect(&vendor.library.places.sockets).and_then(|mut daemon| {
                // Refused to users who may not change anything; then it knows the vendor, or says so below.
                let _ = daemon.add_vendor(vendor.profile_text.clone());
                let call = ActivateCall {
                    serial: serial.to_string(),
                    unlock_code: unlock_code.as_ref().map(|code| code.to_string()),
                    vendor: Some(vendor.id.clone()),
                    replace_machine: None,
                };
                daemon.activate(call, &mut |text| tell(Event::Progress(text.to_owned())))
            });
            tell(match done {
                Ok(_) => Event::Done(license.refresh()),
                Err(error) => failed(&error),
            });
        })
    }

    /// Asks the daemon to give this product's activation up, and returns at once. This process stays licensed until it
    /// ends; the next one is not.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn deactivate(&self, mut tell: impl FnMut(Event) + Send + 'static) -> std::io::Result<()> {
        self.ask(move |license| {
            let target = license
                .certificate()
                .map_or_else(|| license.product().to_string(), |certificate| certificate.jti.to_string());
            let done = connect(&license.vendor.library.places.sockets)
                .and_then(|mut daemon| daemon.deactivate(target));
            tell(match done {
                Ok(_) => Event::Done(license.refresh()),
                Err(error) => failed(&error),
            });
        })
    }

    fn ask(&self, work: impl FnOnce(&Self) + Send + 'static) -> std::io::Result<()> {
        // Without the lease: work in flight must not keep the library open when its last user closes it.
        let license = self.unleased();
        self.vendor.library.workers.submit(Kind::Daemon, Box::new(move || work(&license)))
    }

    /// Calls `changed` with the status whenever something about this product changes, on a thread of the library, until
    /// the returned guard is dropped. Dropping it does not wait for a call in progress. The daemon tells of changes;
    /// where there is none, the files are looked at once a minute.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch(&self, changed: impl Fn(Status) + Send + Sync + 'static) -> std::io::Result<Watch> {
        let ear = Arc::new(Ear {
            license: (self.state.clone(), self.vendor.clone()),
            heard: Mutex::new(self.changes()),
            changed: Box::new(changed),
        });
        let news = &self.vendor.library.news;
        let start = {
            let mut state = news.lock();
            state.ears.retain(|ear| ear.strong_count() > 0);
            state.ears.push(Arc::downgrade(&ear));
            state.closing = false;
            !std::mem::replace(&mut state.listening, true)
        };
        if start {
            let library = self.vendor.library.clone();
            let submitted =
                self.vendor.library.workers.submit(Kind::Watch, Box::new(move || listen(&library)));
            if submitted.is_err() {
                news.lock().listening = false;
            }
            submitted?;
        }
        Ok(Watch { _ear: ear, _license: self.clone() })
    }
}

/// Keeps a notification alive.
#[must_use = "dropping it ends the notification"]
pub struct Watch {
    _ear: Arc<Ear>,
    _license: License,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

struct Ear {
    license: (Arc<ProductState>, Arc<VendorShared>),
    heard: Mutex<u64>,
    changed: Box<dyn Fn(Status) + Send + Sync>,
}

/// The listening thread's state.
#[derive(Default)]
pub(crate) struct News {
    state: Mutex<NewsState>,
    woken: Condvar,
}

#[derive(Default)]
struct NewsState {
    listening: bool,
    closing: bool,
    ears: Vec<Weak<Ear>>,
    socket: Option<Stream>,
}

impl News {
    fn lock(&self) -> std::sync::MutexGuard<'_, NewsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the listening thread end soon.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = state.listening;
        if let Some(socket) = state.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.woken.notify_all();
    }

    /// Keeps what [`News::close`] shuts, unless it came first: then nothing would end the wait any more.
    fn stop_by(&self, socket: Stream) -> bool {
        let mut state = self.lock();
        if !state.closing {
            state.socket = Some(socket);
        }
        !state.closing
    }

    /// Reads the files behind every ear again; says whether anyone still listens.
    fn tell(&self) -> bool {
        let ears: Vec<Arc<Ear>> = {
            let mut state = self.lock();
            state.ears.retain(|ear| ear.strong_count() > 0);
            if state.closing {
                return false;
            }
            state.ears.iter().filter_map(Weak::upgrade).collect()
        };
        for ear in &ears {
            let (product, vendor) = &ear.license;
            vendor.look(product, true);
            let mut heard = ear.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let changes = product.changes();
            if std::mem::replace(&mut *heard, changes) != changes {
                drop(heard);
                (ear.changed)(product.status());
            }
        }
        !ears.is_empty()
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

fn listen(library: &LibraryShared) {
    let news = &library.news;
    let mut pause = Duration::from_secs(1);
    loop {
        if let Ok(daemon) = connect(&library.places.sockets) {
            // Without a way to wake it, the thread must not wait for the daemon without bound.
            if let Ok(stopper) = daemon.stopper()
                && news.stop_by(stopper)
            {
                let heard = daemon.monitor(|_| {
                    pause = Duration::from_secs(1);
                    if news.tell() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                news.lock().socket = None;
                drop(heard);
            }
        }
        let anyone = news.tell();
        let mut state = news.lock();
        if !anyone && (state.closing || state.ears.iter().all(|ear| ear.strong_count() == 0)) {
            state.listening = false;
            state.closing = false;
            return;
        }
        if !state.closing {
            state = news.woken.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_comes_after_closing_is_not_waited_on() {
        let news = News::default();
        news.lock().listening = true;
        let (ours, theirs) = Stream::pair().unwrap();
        assert!(news.stop_by(ours.try_clone().unwrap()));
        news.close();
        assert_eq!(std::io::Read::read(&mut &theirs, &mut [0]).unwrap(), 0, "the wait is over");
        assert!(!news.stop_by(ours));
        assert!(news.lock().socket.is_none());
    }
}
