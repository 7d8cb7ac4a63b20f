//! The contracts between the parts of Claviger, and nothing else: no I/O, no async runtime, no threads.
//!
//! * [`documents`]: what is signed (vendor profile, keyset, activation certificate, receipt, manifest, sunset,
//!   requests and answers). One function verifies each kind.
//! * [`ids`], [`serial`], [`unlock`]: names and proofs that people and programs pass around.
//! * [`status`]: the stable codes a plug-in sees.
//! * [`http`]: bodies and problem codes of the activation server (feature `http`).
//! * [`telemetry`]: usage statistics: notice, plan, report, tokens (features `telemetry` and `voprf`); [`daw`] the hosts
//!   that they can name.
//! * [`layout`]: names of files and folders that programs share; [`naming`]: what a person means by a product.
//! * [`offline`]: files, QR codes and typed codes (feature `offline`).
//! * [`ipc`]: the daemon's Varlink interface (feature `ipc`).
//!
//! Requests are closed lists: an unknown field is refused. Answers and certificates ignore what they do not know
//! unless their `crit` header lists it, so that a plug-in ten years old reads tomorrow's certificate.

pub mod clock;
pub mod daw;
#[cfg(feature = "documents")]
pub mod documents;
#[cfg(feature = "http")]
pub mod http;
pub mod ids;
#[cfg(feature = "ipc")]
pub mod ipc;
pub mod json;
pub mod jws;
pub mod keys;
#[cfg(feature = "documents")]
pub mod layout;
pub mod naming;
#[cfg(feature = "offline")]
pub mod offline;
pub mod serial;
pub mod status;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod unlock;
