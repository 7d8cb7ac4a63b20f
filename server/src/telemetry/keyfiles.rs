//! The secret halves of weekly token keys: `DATA/telemetry/keys/WEEK.key`, one random seed a week, readable by the
//! server's user only. A week's file is overwritten and removed when the week closes: from then on nobody, the vendor
//! included, can make or check a token of that week.

use std::path::{Path, PathBuf};

use claviger_protocol::ids::VendorId;
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::telemetry::Week;
use claviger_protocol::telemetry::voprf::Issuer;
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::TelemetryError;
use crate::keys::{durable, read_bounded};

const FORMAT: &str = "claviger-token-key";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenKeyFile {
    format: String,
    version: u32,
    vendor: VendorId,
    week: Week,
    seed: String,
}

impl Drop for TokenKeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

fn path_of(folder: &Path, week: Week) -> PathBuf {
    folder.join(format!("{week}.key"))
}

/// The key of `week`; made now, durably, if there is none.
///
/// # Errors
/// [`TelemetryError`].
pub fn make(
    folder: &Path,
    vendor: &VendorId,
    week: Week,
    rng: &dyn SecureRandom,
) -> Result<Issuer, TelemetryError> {
    if let Some(known) = load(folder, vendor, week)? {
        return Ok(known);
    }
    durable::private_dir(folder).map_err(TelemetryError::io("create", folder))?;
    let mut seed = Zeroizing::new([0u8; 32]);
    rng.fill(&mut *seed).map_err(|_| TelemetryError::Random)?;
    let file = TokenKeyFile {
        format: FORMAT.to_owned(),
        version: 1,
        vendor: vendor.clone(),
        week,
        seed: BASE64URL_NOPAD.encode(&*seed),
    };
    let path = path_of(folder, week);
    #[expect(clippy::expect_used, reason = "a plain struct always serializes")]
    let text = Zeroizing::new(serde_json::to_vec(&file).expect("a plain struct serializes"));
    durable::create(&path, &text, durable::PRIVATE).map_err(TelemetryError::io("write", &path))?;
    issuer(&seed, vendor, week).ok_or(TelemetryError::Damaged(path))
}

/// The key of `week`, if this server has it.
///
/// # Errors
/// [`TelemetryError`] for a file that is not the key its name promises.
pub fn load(folder: &Path, vendor: &VendorId, week: Week) -> Result<Option<Issuer>, TelemetryError> {
    let path = path_of(folder, week);
    let bytes = match read_bounded(&path, 4096) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(crate::keys::KeysError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    // The cause is left out: it could quote the key.
    let damaged = || TelemetryError::Damaged(path.clone());
    let file: TokenKeyFile = from_slice_strict(&bytes).map_err(|_| damaged())?;
    if file.format != FORMAT || file.version != 1 || file.vendor != *vendor || file.week != week {
        return Err(damaged());
    }
    let seed = Zeroizing::new(BASE64URL_NOPAD.decode(file.seed.as_bytes()).map_err(|_| damaged())?);
    let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| damaged())?;
    issuer(seed, vendor, week).map(Some).ok_or_else(damaged)
}

/// The weeks whose keys lie in `folder`.
///
/// # Errors
/// [`TelemetryError`].
pub fn weeks(folder: &Path) -> Result<Vec<Week>, TelemetryError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(TelemetryError::io("look into", folder))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(".key")?.parse().ok()).collect())
}

/// Overwrites and removes the key of `week`.
///
/// # Errors
/// [`TelemetryError`].
pub fn drop_key(folder: &Path, week: Week) -> Result<(), TelemetryError> {
    let path = path_of(folder, week);
    durable::shred(&path).map_err(TelemetryError::io("remove", &path))
}

fn issuer(seed: &[u8; 32], vendor: &VendorId, week: Week) -> Option<Issuer> {
    Issuer::from_seed(seed, format!("claviger telemetry {vendor} {week}").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use claviger_protocol::telemetry::voprf::TokenIssuer as _;

    use super::*;

    #[test]
    fn keys_are_made_once_differ_by_week_and_go_when_they_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let vendor: VendorId = "com.example".parse().unwrap();
        let week: Week = "2026-W49".parse().unwrap();
        let rng = ring::rand::SystemRandom::new();
        assert!(weeks(&folder).unwrap().is_empty());
        let first = make(&folder, &vendor, week, &rng).unwrap().public();
        assert_eq!(make(&folder, &vendor, week, &rng).unwrap().public(), first);
        assert_eq!(load(&folder, &vendor, week).unwrap().unwrap().public(), first);
        assert_ne!(make(&folder, &vendor, week.plus(1), &rng).unwrap().public(), first);
        assert!(load(&folder, &"com.other".parse().unwrap(), week).is_err(), "another vendor's");
        assert_eq!(weeks(&folder).unwrap().len(), 2);
        drop_key(&folder, week).unwrap();
        drop_key(&folder, week).unwrap();
        assert!(load(&folder, &vendor, week).unwrap().is_none());
        assert_eq!(weeks(&folder).unwrap(), [week.plus(1)]);
    }

    #[test]
    fn damage_is_noticed_without_quoting_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let vendor: VendorId = "com.example".parse().unwrap();
        let week: Week = "2026-W49".parse().unwrap();
        make(dir.path(), &vendor, week, &ring::rand::SystemRandom::new()).unwrap();
        let path = path_of(dir.path(), week);
        let good = std::fs::read_to_string(&path).unwrap();
        let seed = good.split("\"seed\":\"").nth(1).unwrap()[..43].to_owned();
        std::fs::rename(&path, path_of(dir.path(), week.plus(1))).unwrap();
        assert!(load(dir.path(), &vendor, week.plus(1)).is_err(), "another week's");
        for bad in [&good[..good.len() - 2], &good.replace(&seed, "AAAA"), "", "{}"] {
            std::fs::write(&path, bad).unwrap();
            let error = load(dir.path(), &vendor, week).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&seed));
        }
    }
}
