//! All that this plug-in does about its license, in one place to copy from.
//!
//! | when | what |
//! |---|---|
//! | the host makes an instance (main thread) | [`Licensing::open`]: reads files, a few hundred microseconds |
//! | audio runs | [`Licensing::licensed`]: one atomic load |
//! | a fade of the demo begins | the host is asked for a moment on its main thread, where the files are looked at again |
//! | “Activate” is switched on | the same, and the daemon is asked to activate, on a thread of the library |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use claviger_client::{Event, License, OpenOptions, Status, UseSession, Vendor};

/// Who sells this plug-in, as text; see build.rs.
const PROFILE: &str = include_str!(concat!(env!("OUT_DIR"), "/vendor.clvprofile"));
/// The product's id.
const PRODUCT: &str = "com.example.tilt";
/// When this version was released: licenses with an update plan must cover it.
const RELEASED: &str = "2026-11-22";

/// How an activation stands, as the plug-in's parameter shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nobody asked.
    Idle = 0,
    /// Under way.
    Asked = 1,
    /// The product was activated.
    Done = 2,
    /// It was not; the command `claviger doctor` says more.
    Failed = 3,
}

/// The license of one instance. Shared by its threads.
pub(crate) struct Licensing {
    license: Option<License>,
    session: Option<UseSession>,
    activation: Arc<AtomicU32>,
    /// What the main thread is to do when the host gives it a moment.
    look: AtomicBool,
    activate: AtomicBool,
}

impl Licensing {
    /// Opens the product, in a host that calls itself so. A profile or id that is none is a mistake in this plug-in; it then
    /// runs as a demo.
    pub(crate) fn open(host: &str, host_version: &str) -> Self {
        let license = Vendor::compiled_in(PROFILE).ok().and_then(|vendor| {
            let options = OpenOptions::new().released(RELEASED.parse().ok()?);
            vendor.open(PRODUCT, options).ok()
        });
        // Uses are counted only where the person has agreed; otherwise all about them is an atomic load.
        let session = license.as_ref().map(License::use_session);
        if let Some(session) = &session {
            session.describe(env!("CARGO_PKG_VERSION"), host, host_version);
        }
        Self {
            license,
            session,
            activation: Arc::new(AtomicU32::new(Activation::Idle as u32)),
            look: AtomicBool::new(false),
            activate: AtomicBool::new(false),
        }
    }

    /// Any thread: one atomic load.
    #[inline]
    pub(crate) fn status(&self) -> Status {
        self.license.as_ref().map_or(Status::Internal, License::status)
    }

    /// Any thread: whether to run fully. A slow disk counts as licensed for its first 30 seconds.
    #[inline]
    pub(crate) fn licensed(&self) -> bool {
        self.status().is_licensed()
    }

    /// Audio thread: audio is processed.
    #[inline]
    pub(crate) fn begin_use(&self) {
        if let Some(session) = &self.session {
            session.begin();
        }
    }

    /// Main thread: audio has stopped.
    pub(crate) fn end_use(&self) {
        if let Some(session) = &self.session {
            session.end();
        }
    }

    /// Why the status is what it is, for people. Main thread.
    pub(crate) fn reason(&self) -> String {
        self.license.as_ref().map_or_else(String::new, |license| license.reason().sentence)
    }

    /// How the last activation stands. Any thread.
    pub(crate) fn activation(&self) -> u32 {
        self.activation.load(Ordering::Acquire)
    }

    /// Any thread: have the files looked at again in [`Licensing::on_main_thread`]. True if the host is to be asked for it.
    pub(crate) fn want_look(&self) -> bool {
        !self.look.swap(true, Ordering::AcqRel)
    }

    /// Any thread: have an activation asked for in [`Licensing::on_main_thread`]. True if the host is to be asked for it.
    pub(crate) fn want_activation(&self) -> bool {
        !self.activate.swap(true, Ordering::AcqRel)
    }

    /// Main thread: does what was wanted. Nothing here waits for the daemon.
    pub(crate) fn on_main_thread(&self) {
        let Some(license) = &self.license else { return };
        if self.look.swap(false, Ordering::AcqRel) && !license.status().is_licensed() {
            license.refresh();
        }
        if self.activate.swap(false, Ordering::AcqRel) && !self.ask(license) {
            self.activation.store(Activation::Failed as u32, Ordering::Release);
        }
    }

    /// Asks the daemon. The serial number and unlock code come from a text file of two lines, because this plug-in has no
    /// window to type them into; one with a window hands over what was typed, and shows the events' sentences.
    fn ask(&self, license: &License) -> bool {
        if self.activation.swap(Activation::Asked as u32, Ordering::AcqRel) == Activation::Asked as u32 {
            return true;
        }
        let Some((serial, code)) = license_file() else { return false };
        let activation = self.activation.clone();
        let heard = move |event: Event| {
            let now = match event {
                Event::Done(_) => Activation::Done,
                Event::Failed { .. } => Activation::Failed,
                _ => return,
            };
            activation.store(now as u32, Ordering::Release);
        };
        license.activate(&serial, code.as_deref(), heard).is_ok()
    }
}

/// `~/Tilt license.txt`, or the file that `TILT_LICENSE_FILE` names: the serial number, and below it the unlock code.
fn license_file() -> Option<(String, Option<String>)> {
    let file = match std::env::var_os("TILT_LICENSE_FILE") {
        Some(file) => file.into(),
        None => std::path::PathBuf::from(std::env::var_os("HOME")?).join("Tilt license.txt"),
    };
    let text = std::fs::read_to_string(file).ok()?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Some((lines.next()?.to_owned(), lines.next().map(str::to_owned)))
}
