//! The fixed places of a Mac.

/// The machine's certificates: sandboxed Audio Unit hosts may read below `/Library/Audio`.
pub const MACHINE_STORE: &str = "/Library/Audio/Claviger";
/// The system daemon's private folder; `state` and `policy.toml` are in it.
pub const MACHINE: &str = "/Library/Application Support/Claviger";
/// The folder of the system daemon's socket.
pub const RUN: &str = "/var/run/claviger";
/// A user's folder, below the home that the user database names; `certs` is in it.
pub const USER: &str = "Library/Application Support/Claviger";
/// The administrator's policy.
pub const POLICY: &str = "/Library/Application Support/Claviger/policy.toml";
/// Settings that a configuration profile manages, as macOS writes them down.
pub const MANAGED: &str = "/Library/Managed Preferences/io.claviger.clavigerd.plist";
/// Vendor profiles that installers put down.
pub const SHIPPED: &str = "/Library/Application Support/Claviger/vendors";
/// The name of the launchd agent, of the launchd daemon and of the Keychain's item.
pub const LABEL: &str = "io.claviger.clavigerd";
