//! Which versions of its titles the vendor has released: `DATA/telemetry/releases.json`. Reports name these and no others.

use std::collections::BTreeMap;
use std::path::Path;

use claviger_protocol::ids::ProductId;
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::telemetry::ProductVersion;

use super::TelemetryError;
use crate::keys::durable;

/// Versions by title, oldest first.
pub type Releases = BTreeMap<ProductId, Vec<ProductVersion>>;

/// Most versions of one title.
const MOST: usize = 10_000;

/// Reads the list; no file means that nothing was released.
///
/// # Errors
/// [`TelemetryError`].
pub fn load(path: &Path) -> Result<Releases, TelemetryError> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Releases::new()),
        Err(source) => Err(TelemetryError::Io { action: "read", path: path.to_owned(), source }),
        Ok(bytes) => from_slice_strict(&bytes).map_err(|_| TelemetryError::Damaged(path.to_owned())),
    }
}

/// Adds versions behind the ones that are there. Gives how many were new.
///
/// # Errors
/// [`TelemetryError`].
pub fn add(path: &Path, product: &ProductId, versions: &[ProductVersion]) -> Result<usize, TelemetryError> {
    change(path, |releases| {
        let known = releases.entry(product.clone()).or_default();
        let before = known.len();
        for version in versions {
            if *version == ProductVersion::other() {
                return Err(TelemetryError::Refused(
                    "“other” stands for every version that is not listed: a release needs another name"
                        .to_owned(),
                ));
            }
            if !known.contains(version) {
                known.push(version.clone());
            }
        }
        if known.len() > MOST {
            return Err(TelemetryError::Refused(format!("a title has at most {MOST} versions")));
        }
        Ok(known.len() - before)
    })
}

/// Removes a version: later plans do not name it.
///
/// # Errors
/// [`TelemetryError::NotFound`], or another one.
pub fn remove(path: &Path, product: &ProductId, version: &ProductVersion) -> Result<(), TelemetryError> {
    change(path, |releases| {
        let known = releases.entry(product.clone()).or_default();
        let before = known.len();
        known.retain(|v| v != version);
        if known.len() == before {
            return Err(TelemetryError::NotFound(format!(
                "{product} {version} is not on the list of releases"
            )));
        }
        Ok(())
    })
}

fn change<T>(
    path: &Path,
    work: impl FnOnce(&mut Releases) -> Result<T, TelemetryError>,
) -> Result<T, TelemetryError> {
    let folder = durable::parent(path);
    durable::private_dir(folder).map_err(TelemetryError::io("create", folder))?;
    let lock = folder.join(".releases.lock");
    let held = std::fs::File::create(&lock).map_err(TelemetryError::io("lock", &lock))?;
    held.lock().map_err(TelemetryError::io("lock", &lock))?;
    let mut releases = load(path)?;
    let done = work(&mut releases)?;
    let bytes = serde_json::to_vec_pretty(&releases).map_err(|_| TelemetryError::Damaged(path.to_owned()))?;
    durable::write(path, &bytes, durable::PRIVATE).map_err(TelemetryError::io("write", path))?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_added_in_order_once_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("telemetry/releases.json");
        let synth: ProductId = "com.example.synth".parse().unwrap();
        let version = |text: &str| text.parse::<ProductVersion>().unwrap();
        assert!(load(&path).unwrap().is_empty());
        assert_eq!(add(&path, &synth, &[version("1.0"), version("1.1")]).unwrap(), 2);
        assert_eq!(add(&path, &synth, &[version("1.1"), version("0.9")]).unwrap(), 1);
        assert_eq!(load(&path).unwrap()[&synth], [version("1.0"), version("1.1"), version("0.9")]);
        assert!(matches!(add(&path, &synth, &[version("other")]), Err(TelemetryError::Refused(_))));
        remove(&path, &synth, &version("1.1")).unwrap();
        assert!(matches!(remove(&path, &synth, &version("1.1")), Err(TelemetryError::NotFound(_))));
        assert_eq!(load(&path).unwrap()[&synth].len(), 2);
    }
}
