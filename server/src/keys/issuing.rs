//! Issuing keys: on the server, one file each, readable by the server's user only. The name of a file is its key's id.

use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::keys::{KeyId, SigningKey};
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{KeysError, durable};
use crate::platform;

const FORMAT: &str = "claviger-issuing-key";
const SUFFIX: &str = "key";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuingKeyFile {
    format: String,
    version: u32,
    kid: KeyId,
    made: Timestamp,
    seed: String,
}

impl Drop for IssuingKeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Where the key of this name lies.
#[must_use]
pub fn path_of(folder: &Path, kid: &KeyId) -> PathBuf {
    folder.join(format!("{kid}.{SUFFIX}"))
}

/// Makes a fresh issuing key and writes it into `folder`, durably.
///
/// # Errors
/// [`KeysError`].
pub fn generate(folder: &Path, made: Timestamp, rng: &dyn SecureRandom) -> Result<SigningKey, KeysError> {
    durable::private_dir(folder).map_err(KeysError::io("create", folder))?;
    let key = SigningKey::generate(rng).map_err(|_| KeysError::Random)?;
    let file = IssuingKeyFile {
        format: FORMAT.to_owned(),
        version: 1,
        kid: key.id().clone(),
        made,
        seed: BASE64URL_NOPAD.encode(key.seed()),
    };
    let path = path_of(folder, key.id());
    #[expect(clippy::expect_used, reason = "a plain struct always serializes")]
    let text = Zeroizing::new(serde_json::to_vec(&file).expect("a plain struct serializes"));
    durable::create(&path, &text, durable::PRIVATE).map_err(KeysError::io("write", &path))?;
    Ok(key)
}

/// Every issuing key in `folder`, in the order of their names.
///
/// # Errors
/// [`KeysError`] for a file that is not the key its name promises: better not to start than to miss a key.
pub fn load_all(folder: &Path) -> Result<Vec<SigningKey>, KeysError> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(KeysError::io("look into", folder))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(KeysError::io("look into", folder))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == SUFFIX) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| load(path)).collect()
}

fn load(path: &Path) -> Result<SigningKey, KeysError> {
    let not_one = |why: &str| KeysError::NotAnIssuingKey { path: path.to_owned(), why: why.to_owned() };
    refuse_if_others_can_read(path)?;
    let bytes = Zeroizing::new(super::read_bounded(path, 4096)?);
    // The cause is left out: it could quote the key.
    let file: IssuingKeyFile = from_slice_strict(&bytes).map_err(|_| not_one("it is damaged"))?;
    if file.format != FORMAT || file.version != 1 {
        return Err(not_one("its format or version is not known"));
    }
    let seed =
        Zeroizing::new(BASE64URL_NOPAD.decode(file.seed.as_bytes()).map_err(|_| not_one("it is damaged"))?);
    let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| not_one("it is damaged"))?;
    let key = SigningKey::from_seed(seed);
    if *key.id() != file.kid || path.file_stem().is_none_or(|stem| stem != key.id().as_str()) {
        return Err(not_one("it holds another key than its name says"));
    }
    Ok(key)
}

fn refuse_if_others_can_read(path: &Path) -> Result<(), KeysError> {
    let found = platform::others_may_read(path).map_err(KeysError::io("look at", path))?;
    let Some((how, cure)) = found else { return Ok(()) };
    Err(KeysError::NotAnIssuingKey {
        path: path.to_owned(),
        why: format!(
            "other users of this machine may read it ({how}). Run: {cure}; if someone may have copied it, \
             run: claviger-server keys compromise {}",
            path.file_stem().map(|s| s.to_string_lossy()).unwrap_or_default(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_damage_is_noticed_without_quoting_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        assert!(load_all(&folder).unwrap().is_empty());
        let rng = ring::rand::SystemRandom::new();
        let key = generate(&folder, Timestamp(5), &rng).unwrap();
        generate(&folder, Timestamp(6), &rng).unwrap();
        std::fs::write(folder.join(".half.key.7.new"), "x").unwrap();
        let all = load_all(&folder).unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.iter().any(|k| k.public() == key.public()));

        let path = path_of(&folder, key.id());
        let good = std::fs::read_to_string(&path).unwrap();
        let seed = BASE64URL_NOPAD.encode(key.seed());
        for bad in [&good[..good.len() - 2], &good.replace(&seed, "AAAA"), "", "{}"] {
            std::fs::write(&path, bad).unwrap();
            let error = load_all(&folder).unwrap_err();
            assert!(matches!(error, KeysError::NotAnIssuingKey { .. }));
            assert!(!format!("{error} {error:?}").contains(&seed));
        }
        std::fs::write(&path, &good).unwrap();
        std::fs::rename(&path, folder.join("other.key")).unwrap();
        assert!(load_all(&folder).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_cure() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let key = generate(dir.path(), Timestamp(5), &ring::rand::SystemRandom::new()).unwrap();
        let path = path_of(dir.path(), key.id());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_all(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    }
}
