//! A blocking Varlink client of the daemon, for the command line and the window. A plug-in does not need it: it reads
//! files. No path of a file travels over the socket, and nothing that the peer says is believed beyond its bounds.
//!
#![cfg_attr(feature = "manager", doc = "```no_run")]
#![cfg_attr(not(feature = "manager"), doc = "```ignore")]
//! use claviger_client::manager::{Endpoint, Manager};
//! let mut daemon = Manager::connect(&Endpoint::find()?)?;
//! println!("clavigerd {} is running", daemon.status()?.version);
//! # Ok::<(), claviger_client::manager::ManagerError>(())
//! ```

mod counting;
#[cfg(feature = "manager")]
pub mod doctor;
mod endpoint;
mod error;
#[cfg(feature = "manager")]
pub mod export;
mod frame;
#[cfg(feature = "manager")]
pub mod launch;
#[cfg(feature = "manager")]
pub mod login;
#[cfg(feature = "manager")]
pub mod logs;
#[cfg(feature = "manager")]
mod machines;
mod offline;
mod privacy;
#[cfg(feature = "manager")]
pub mod profiles;
#[cfg(feature = "manager")]
pub mod words;

use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use claviger_protocol::daw::Daw;
use claviger_protocol::ids::{DeviceName, ProductId, VendorId};
use claviger_protocol::ipc::{
    ActivateCall, ActivateReply, AddVendorReply, DaemonStatus, DeactivateReply, DoctorReply, Empty, Finding,
    GetStatusReply, License, LicensesReply, ListVendorsReply, Machine, Method, RenameMachineReply,
    ShowMachineReply, Vendor,
};
use serde::de::DeserializeOwned;

use frame::Wants;

pub use endpoint::{Endpoint, Scope};
pub use error::ManagerError;
#[cfg(feature = "manager")]
pub use machines::{Computer, computers};

use crate::platform::{self, Peer, Stream};

/// How long the daemon may take for what it knows by itself.
const LOCAL: Duration = Duration::from_secs(20);
/// How long a daemon may let a caller wait at the door.
const DOOR: Duration = Duration::from_secs(5);
/// How long the daemon may be silent while it talks to a vendor's server. It has shorter bounds of its own; this one
/// is for a daemon that hangs.
const REMOTE: Duration = Duration::from_secs(180);

/// Why nobody opened.
fn refused(path: &Path, source: io::Error) -> ManagerError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            ManagerError::NotRunning { path, source }
        }
        ErrorKind::PermissionDenied => ManagerError::Denied { path, source },
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ManagerError::Timeout(DOOR.as_secs()),
        _ => ManagerError::Io(source),
    }
}

/// A connection to the daemon. Calls are answered one after the other.
#[derive(Debug)]
pub struct Manager {
    stream: Stream,
    reader: frame::Reader,
    peer: Peer,
    endpoint: Endpoint,
}

impl Manager {
    /// Connects, and makes sure that the peer is this user, root or the system daemon's own user.
    ///
    /// # Errors
    /// [`ManagerError::NotRunning`] when nobody listens, [`ManagerError::Stranger`] when it is someone else.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ManagerError> {
        let path = endpoint.path();
        let (stream, peer) = platform::connect(path, DOOR, endpoint.scope() == Scope::System)
            .map_err(|source| refused(path, source))?;
        if !peer.trusted {
            return Err(ManagerError::Stranger { path: path.to_owned(), user: peer.user });
        }
        Ok(Self { stream, reader: frame::Reader::default(), peer, endpoint: endpoint.clone() })
    }

    /// A second handle of the socket: shutting it down ends a call that waits.
    pub(crate) fn stopper(&self) -> std::io::Result<Stream> {
        self.stream.try_clone()
    }

    /// The daemon's process, as the kernel knows it. `None` where the kernel does not tell.
    #[must_use]
    pub fn peer_pid(&self) -> Option<u32> {
        self.peer.pid
    }

    /// Whether the daemon runs as the user of this program.
    #[must_use]
    pub fn peer_is_us(&self) -> bool {
        self.peer.ours
    }

    /// What the daemon says about itself.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn status(&mut self) -> Result<DaemonStatus, ManagerError> {
        Ok(self.call::<GetStatusReply>(&Method::GetStatus {}, LOCAL)?.status)
    }

    /// The vendors that the daemon knows.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn vendors(&mut self) -> Result<Vec<Vendor>, ManagerError> {
        Ok(self.call::<ListVendorsReply>(&Method::ListVendors {}, LOCAL)?.vendors)
    }

    /// Makes a vendor known by the text of its profile. The flag is false when it was known already.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn add_vendor(&mut self, profile: String) -> Result<(Vendor, bool), ManagerError> {
        let reply: AddVendorReply = self.call(&Method::AddVendor { profile }, LOCAL)?;
        Ok((reply.vendor, reply.added))
    }

    /// Forgets a vendor.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn remove_vendor(&mut self, vendor: VendorId) -> Result<(), ManagerError> {
        self.call::<Empty>(&Method::RemoveVendor { vendor }, LOCAL).map(drop)
    }

    /// The activations on this machine, held and lately ended.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn licenses(&mut self, vendor: Option<VendorId>) -> Result<Vec<License>, ManagerError> {
        Ok(self.call::<LicensesReply>(&Method::ListLicenses { vendor }, LOCAL)?.licenses)
    }

    /// The same, with what could not be read in sentences.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn licenses_and_warnings(&mut self, vendor: Option<VendorId>) -> Result<LicensesReply, ManagerError> {
        self.call(&Method::ListLicenses { vendor }, LOCAL)
    }

    /// Says that a product was used once, and waits for no answer. The daemon counts it only under a valid consent.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn report_use(&mut self, product: ProductId, version: String, daw: Daw) -> Result<(), ManagerError> {
        let method = Method::ReportUse { product, version, daw: daw.id().to_owned() };
        frame::send(&self.stream, &method, Wants::Nothing, LOCAL)
    }

    /// Activates a license; `progress` hears what is being done. The serial number and the unlock code are wiped
    /// here when they were sent.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn activate(
        &mut self,
        call: ActivateCall,
        progress: &mut dyn FnMut(&str),
    ) -> Result<License, ManagerError> {
        let mut license = None;
        let method = frame::Secret(Method::Activate(call));
        frame::send(&self.stream, &method.0, Wants::Replies, LOCAL)?;
        drop(method);
        self.stream_replies(REMOTE, |reply: ActivateReply| {
            if let Some(text) = &reply.progress {
                progress(text);
            }
            license = reply.license.or(license.take());
            ControlFlow::Continue(())
        })?;
        license.ok_or(ManagerError::Incomplete)
    }

    /// Gives up an activation. `target`: serial number, activation, product id, its unique ending or its name.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn deactivate(&mut self, target: String) -> Result<DeactivateReply, ManagerError> {
        self.call(&Method::Deactivate { target }, REMOTE)
    }

    /// Asks the vendors' servers what became of the activations held here.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn refresh(&mut self, vendor: Option<VendorId>) -> Result<Vec<License>, ManagerError> {
        Ok(self.call::<LicensesReply>(&Method::Refresh { vendor }, REMOTE)?.licenses)
    }

    /// Exactly what activation would send, one entry a vendor.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn machines(&mut self, vendor: Option<VendorId>) -> Result<Vec<Machine>, ManagerError> {
        Ok(self.call::<ShowMachineReply>(&Method::ShowMachine { vendor }, LOCAL)?.machines)
    }

    /// Changes the name that vendors see for this machine; gives the name in force.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn rename_machine(&mut self, device_name: DeviceName) -> Result<DeviceName, ManagerError> {
        Ok(self.call::<RenameMachineReply>(&Method::RenameMachine { device_name }, LOCAL)?.device_name)
    }

    /// What the daemon found out about itself.
    ///
    /// # Errors
    /// [`ManagerError`].
    pub fn doctor(&mut self) -> Result<Vec<Finding>, ManagerError> {
        Ok(self.call::<DoctorReply>(&Method::Doctor {}, REMOTE)?.findings)
    }

    /// Tells `changed` the current list at once, and again whenever it changes, until it breaks or the daemon ends.
    /// Waits without bound between two changes.
    ///
    /// # Errors
    /// [`ManagerError`]; [`ManagerError::Closed`] when the daemon ends.
    pub fn monitor(
        self,
        mut changed: impl FnMut(Vec<License>) -> ControlFlow<()>,
    ) -> Result<(), ManagerError> {
        self.monitor_with_warnings(|reply| changed(reply.licenses))
    }

    /// The same, with what could not be read in sentences.
    ///
    /// # Errors
    /// [`ManagerError`]; [`ManagerError::Closed`] when the daemon ends.
    pub fn monitor_with_warnings(
        mut self,
        changed: impl FnMut(LicensesReply) -> ControlFlow<()>,
    ) -> Result<(), ManagerError> {
        frame::send(&self.stream, &Method::Monitor {}, Wants::Replies, LOCAL)?;
        self.stream_replies(Duration::MAX, changed)
    }

    fn call<R: DeserializeOwned>(&mut self, method: &Method, patience: Duration) -> Result<R, ManagerError> {
        frame::send(&self.stream, method, Wants::Reply, LOCAL)?;
        let reply = self.reader.reply(&self.stream, patience)?;
        Ok(reply.parameters)
    }

    /// Reads replies until the last one, or until `each` breaks.
    fn stream_replies<R: DeserializeOwned>(
        &mut self,
        patience: Duration,
        mut each: impl FnMut(R) -> ControlFlow<()>,
    ) -> Result<(), ManagerError> {
        loop {
            let reply = self.reader.reply(&self.stream, patience)?;
            if each(reply.parameters).is_break() || !reply.continues {
                return Ok(());
            }
        }
    }
}
