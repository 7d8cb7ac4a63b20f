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
    /// Reads the policy; none is the default. One that others than an administrator can change is no policy: it cannot
    /// be used, like one that cannot be read.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let text = match platform::read_bounded(path, 256 * 1024) {
            Ok(None) => return Self::default(),
            Ok(Some(bytes)) => bytes,
            Err(e) => return Self::unreadable(format!("{e}: {}", e.source)),
        };
        match platform::changed_by_others(path) {
            Ok(None) => {}
            Ok(Some(why)) => return Self::unreadable(why),
            Err(e) => return Self::unreadable(format!("{} cannot be looked at: {e}", path.display())),
        }
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

    #[cfg(unix)]
    #[test]
    fn what_others_can_change_takes_the_network_away() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let refused = |word: &str| {
            let policy = Policy::load(&path);
            let problem = policy.problem.unwrap_or_default();
            assert!(!policy.network && !policy.telemetry && problem.contains(word), "{word}: {problem}");
        };
        std::fs::write(&path, "network = true").unwrap();
        mode(&path, 0o644);
        assert!(Policy::load(&path).network);
        mode(&path, 0o646);
        refused("can be changed by others");
        mode(&path, 0o644);
        mode(folder.path(), 0o777);
        refused("can be changed by others");
        mode(folder.path(), 0o755);
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        symlink("elsewhere", &path).unwrap();
        refused("is not a file");
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(folder.path().join("elsewhere"), &path).unwrap();
        // Only root can give a file away; tests run as root in CI.
        if chown(&path, Some(4242), None).is_ok() {
            refused("belongs to another user");
        }
    }

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
