//! The Claviger activation server: one vendor's licenses, seats and signed answers.
//!
//! | module | what lives there |
//! |---|---|
//! | [`config`] | the data folder: which file is where |
//! | [`storage`] | the seam to the database, and SQLite behind it |
//! | [`engine`] | what a request does to a license: pure decisions, and the one writer that commits them |
//! | [`http`] | the routes under `/v1`, limits, and the listener |
//! | `offline` | the same requests in files and pasted text, for the portal and the command line |
//! | [`licensing`] | what the commands and the admin interface do to licenses |
//! | [`keys`] | root key file, issuing keys, keysets, vendor profile |
//! | [`admin_keys`] | who may use the admin interface |
//! | [`archive`] | backup and restore |
//! | [`lock`] | one `serve` for a data folder |
//! | [`security_log`] | the only place that keeps IP addresses, and not for long |
//! | [`telemetry`] | usage statistics: plans, tokens, counters, notices; apart from accounts |
//! | [`metrics`], [`tls`] | Prometheus text; certificates for HTTPS |
//! | [`cli`] | one file a command |

pub mod admin_keys;
pub mod archive;
pub mod cli;
pub mod config;
pub mod engine;
pub mod fault;
pub mod http;
pub mod keys;
pub mod licensing;
pub mod lock;
pub mod metrics;
mod offline;
mod platform;
pub mod security_log;
pub mod storage;
pub mod telemetry;
pub mod tls;
pub mod views;
