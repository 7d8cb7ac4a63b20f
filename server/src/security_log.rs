//! The security log: the only place that keeps IP addresses, and not for long (PRIVACY duty 10).
//!
//! What http/ uses of it (server-core relies on these names):
//! ```ignore
//! #[derive(Clone)] pub struct SecurityLog;
//! impl SecurityLog {
//!     pub fn open(data: &DataDir, clock: Arc<dyn Clock>) -> Result<Self, SecurityLogError>; // starts its writer thread
//!     pub fn record(&self, entry: Entry);   // never blocks, never fails; drops and counts when its bounded queue is full
//!     pub fn close(self);                   // flushes
//! }
//! pub struct Entry { pub at: Timestamp, pub address: IpAddr, pub what: &'static str /* "activate", "proof_refused", … */,
//!                    pub serial: Option<String>, pub activation: Option<ActivationId> }
//! ```
