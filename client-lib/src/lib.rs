//! What a plug-in links: is this product licensed on this machine?
//!
//! ```no_run
//! use claviger_client::{OpenOptions, Vendor};
//!
//! # const PROFILE: &str = "";
//! // const PROFILE: &str = include_str!("../com.example.clvprofile");
//! let vendor = Vendor::compiled_in(PROFILE)?;
//! let license = vendor.open("com.example.synth", OpenOptions::new().released("2026-11-22".parse()?))?;
//! if license.status().is_licensed() { /* one atomic load: ask as often as you like */ }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Opening reads and verifies files on the spot; nothing waits for the daemon, and nothing starts a thread unless
//! notifications, an activation or a slow disk ask for one. Once licensed in a process, a product stays licensed
//! there until the process ends.
//!
//! | module | what it does |
//! |---|---|
//! | `library`, `vendor`, `license` | the handles that a plug-in holds |
//! | `store` | reads the folder of activations, bounded, never blocking on what is not a file |
//! | `trust` | which issuing keys are believed: compiled in, or from a newer keyset on disk |
//! | `verdict` | files in, status out: no I/O in it |
//! | `worker`, `daemon` | the one thread, and what it says to the daemon |
//! | `usage`, `host` | how often a product really ran, and where; nothing without consent |
//! | `platform` | everything that differs between operating systems |

mod daemon;
pub mod host;
mod library;
mod license;
#[cfg(feature = "manager")]
pub mod manager;
#[cfg(not(feature = "manager"))]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a plug-in uses three calls of it, on a thread of the library"
)]
mod manager;
pub mod platform;
mod store;
mod trust;
pub mod usage;
mod vendor;
mod verdict;
mod worker;

pub use claviger_protocol as protocol;
pub use claviger_protocol::status::Status;

pub use daemon::{Event, Watch};
pub use library::{Library, LibraryBuilder};
pub use license::{License, Reason};
pub use store::Scope;
pub use usage::UseSession;
pub use vendor::{OpenOptions, ProfileError, Vendor};
