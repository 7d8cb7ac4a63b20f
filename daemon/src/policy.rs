//! The administrator's policy: may take things away, never adds any. A policy that cannot be read takes the network
//! and telemetry away; what is activated stays activated.
//!
//! It stands in a file. Where a system has a place of its own for settings that are managed from afar (Windows' registry, macOS'
//! managed preferences), the same names may stand there, and what stands there holds.

use std::fmt;
use std::path::{Path, PathBuf};

use claviger_protocol::ids::VendorId;
use serde::Deserialize;
use toml::Table;

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
        let managed = platform::managed_policy().map_err(|e| format!("{}: {e}", platform::MANAGED));
        match managed.and_then(|managed| Self::merged(managed, platform::MANAGED, path)) {
            Ok(policy) => policy,
            Err(problem) => Self::unreadable(problem),
        }
    }

    /// The file's settings, and in their place the managed ones of the same names; an error is what is wrong, in words.
    fn merged(managed: Table, place: &str, path: &Path) -> Result<Self, String> {
        // Each by itself first: a mistake is named where it stands.
        let _each: Self = managed.clone().try_into().map_err(|e| wrong(&place, &e))?;
        let Some(mut settings) = Self::file(path)? else {
            return managed.try_into().map_err(|e| wrong(&place, &e));
        };
        let _each: Self = settings.clone().try_into().map_err(|e| wrong(&path.display(), &e))?;
        settings.extend(managed);
        settings.try_into().map_err(|e| wrong(&path.display(), &e))
    }

    fn file(path: &Path) -> Result<Option<Table>, String> {
        let text = match platform::read_bounded(path, 256 * 1024) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => bytes,
            Err(e) => return Err(format!("{e}: {}", e.source)),
        };
        match platform::changed_by_others(path) {
            Ok(None) => {}
            Ok(Some(why)) => return Err(why),
            Err(e) => return Err(format!("{} cannot be looked at: {e}", path.display())),
        }
        let text = String::from_utf8(text).map_err(|_| format!("{} is not UTF-8", path.display()))?;
        text.parse().map(Some).map_err(|e| wrong(&path.display(), &e))
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

/// Whom to ask about what the policy forbids.
pub(crate) fn advice() -> String {
    format!("Ask your administrator; {} decides.", platform::policy_place())
}

fn wrong(place: &dyn fmt::Display, error: &toml::de::Error) -> String {
    format!("{place}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_settings_hold_name_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let with = |managed: &str| Policy::merged(managed.parse().unwrap(), "the registry", &path);
        let policy = with("network = false").unwrap();
        assert!(!policy.network && policy.telemetry, "without a file");
        std::fs::write(&path, "network = true\ntelemetry = false\nproxy = \"http://a:1\"").unwrap();
        let policy = with("network = false\nvendors = [\"com.example\"]").unwrap();
        assert!(!policy.network && !policy.telemetry && policy.vendors.is_some());
        assert_eq!(policy.proxy.as_deref(), Some("http://a:1"));
        for bad in ["netwrok = false", "network = \"no\"", "vendors = \"com.example\""] {
            assert!(with(bad).unwrap_err().starts_with("the registry: "), "{bad}");
        }
        std::fs::write(&path, "nonsense = 1").unwrap();
        let problem = with("network = true").unwrap_err();
        assert!(problem.contains("policy.toml: ") && problem.contains("nonsense"), "{problem}");
    }

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
