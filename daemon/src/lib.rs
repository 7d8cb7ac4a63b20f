//! The Claviger daemon: activates licenses for every vendor on this machine.
//!
//! * [`service`] is the process, [`logging`] its log, [`platform`] everything that differs between operating systems.
//! * [`ipc`] is the local socket that the command line and the client library talk to.
//! * [`engine`] is what happens behind it; [`egress`] is the only way out to a server.
//! * [`consent`] is what each person decided about usage statistics, [`telemetry`] what is counted and sent under it.
//! * [`store`] is what plug-ins read, [`state`] what nobody else reads; [`highwater`] is the latest moment seen.
//! * [`machine`] is what activation tells about this computer, [`policy`] what the administrator allows.
//! * [`fault`] names the places where tests kill the process.

pub mod consent;
pub mod egress;
pub mod engine;
pub mod fault;
pub mod highwater;
pub mod ipc;
pub mod logging;
pub mod machine;
pub mod platform;
pub mod policy;
pub mod service;
pub mod state;
pub mod store;
pub mod telemetry;
