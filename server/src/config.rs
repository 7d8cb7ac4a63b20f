//! The data folder: each file is named here, once.
//!
//! ```text
//! DATA/claviger.db           licenses, activations, their history (and -wal, -shm beside it)
//! DATA/vendor.clvprofile     the vendor profile; who this server is
//! DATA/keyset.jws            the keyset in force
//! DATA/sunset.jws            optional: the root-signed sunset
//! DATA/keys/<kid>.key        issuing keys, readable by the server's user only
//! DATA/admin-keys.json       hashes and scopes of the admin interface's keys
//! DATA/security-log/         the security log, one file a day: backups leave it out
//! DATA/serve.lock            held by the process that serves the folder
//! DATA/telemetry/             usage statistics: counters, spent tokens, token keys, plans, releases
//! DATA/notices/               the signed notices that people are asked with
//! DATA/retention.json        how long the security log keeps what, when it is not the default
//! ```

use std::path::{Path, PathBuf};

/// The server's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The data folder at `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Held by the process that serves the folder.
    #[must_use]
    pub fn serve_lock(&self) -> PathBuf {
        self.0.join("serve.lock")
    }

    /// The database of licenses and activations.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("claviger.db")
    }

    /// The vendor profile in compact form.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.0.join("vendor.clvprofile")
    }

    /// The keyset in force, in compact form.
    #[must_use]
    pub fn keyset(&self) -> PathBuf {
        self.0.join("keyset.jws")
    }

    /// The sunset, once there is one.
    #[must_use]
    pub fn sunset(&self) -> PathBuf {
        self.0.join("sunset.jws")
    }

    /// The folder of issuing keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Hashes and scopes of admin keys.
    #[must_use]
    pub fn admin_keys(&self) -> PathBuf {
        self.0.join("admin-keys.json")
    }

    /// The folder of usage statistics.
    #[must_use]
    pub fn telemetry(&self) -> PathBuf {
        self.0.join("telemetry")
    }

    /// The folder of notices.
    #[must_use]
    pub fn notices(&self) -> PathBuf {
        self.0.join("notices")
    }

    /// The folder of the security log.
    #[must_use]
    pub fn security_log(&self) -> PathBuf {
        self.0.join("security-log")
    }
}
