//! The administrator's policy: may take things away, never adds any. A policy that cannot be read takes the network
//! and telemetry away; what is activated stays activated.

use std::path::{Path, PathBuf};

use claviger_protocol::ids::VendorId;
use serde::Deserialize;

use crate::platform;

/// `policy.toml`. Closed list: a misspelt ban must not go unnoticed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Whether the daemon may use the network.
    pub network: bool,
    /// Whether a person may agree to usage reports.
    pub telemetry: bool,
    /// The vendors that may be used here; everyone when absent.
    pub vendors: Option<Vec<VendorId>>,
    /// The proxy for all requests, `http://host:port`; otherwise the environment decides.
    pub proxy: Option<String>,
    /// A PEM file with certificate authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Under a system daemon: the group whose members may change activations; everyone when absent.
    pub change_group: Option<String>,
    /// A file with offline answers that is imported at every start: a bundle for machines that are reset to their image.
    pub bundle: Option<PathBuf>,
    /// What was wrong with the file.
    #[serde(skip)]
    pub problem: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            network: true,
            telemetry: true,
            vendors: None,
            proxy: None,
            ca_file: None,
            change_group: None,
            bundle: None,
            problem: None,
        }
    }
}

impl Policy {
    /// Reads the policy; none is the default.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let text = match platform::read_bounded(path, 256 * 1024) {
            Ok(None) => return Self::default(),
            Ok(Some(bytes)) => bytes,
            Err(e) => return Self::unreadable(format!("{e}: {}", e.source)),
        };
        match String::from_utf8(text) {
            Err(_) => Self::unreadable(format!("{} is not UTF-8", path.display())),
            Ok(text) => match Self::parse(&text) {
                Ok(policy) => policy,
                Err(e) => Self::unreadable(format!("{}: {}", path.display(), e.message())),
            },
        }
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// What holds when nobody knows what the administrator wanted.
    fn unreadable(problem: String) -> Self {
        tracing::error!(
            problem,
            "the policy cannot be used: network and telemetry are off until it is mended"
        );
        Self { network: false, telemetry: false, problem: Some(problem), ..Self::default() }
    }

    /// Whether this vendor may be used here.
    #[must_use]
    pub fn allows(&self, vendor: &VendorId) -> bool {
        self.vendors.as_ref().is_none_or(|list| list.contains(vendor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_takes_the_network_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert_eq!(Policy::load(&path), Policy::default());
        std::fs::write(&path, "network = false\nvendors = [\"com.example\"]").unwrap();
        let policy = Policy::load(&path);
        assert!(!policy.network && policy.telemetry && policy.problem.is_none());
        assert!(policy.allows(&"com.example".parse().unwrap()));
        assert!(!policy.allows(&"com.other".parse().unwrap()));
        for bad in ["netwrok = false", "network = 1", "[[[", "\u{0}"] {
            std::fs::write(&path, bad).unwrap();
            let policy = Policy::load(&path);
            assert!(!policy.network && !policy.telemetry && policy.problem.is_some(), "{bad}");
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(!Policy::load(&path).network);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(!Policy::load(&path).network);
    }
}
