//! Root keys: the two keys that speak for a vendor. They live offline, each in a file sealed with a passphrase.

use std::fmt;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::RootKeys;
use claviger_protocol::ids::VendorId;
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::keys::{KeyId, Sha256, SigningKey};
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::envelope::{Cost, EnvelopeError, Kdf, Passphrase};
use super::{KeysError, durable};

/// The `format` of a root key's file.
pub const FORMAT: &str = "claviger-root-key";

/// Which of the two root keys it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Signs keysets, profiles and sunsets.
    Active,
    /// Does so once the active one is lost.
    Spare,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Spare => "spare",
        })
    }
}

impl Role {
    /// The file's name in the folder of root keys.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("root-{self}.clvroot")
    }

    fn note(self, demo: bool) -> &'static str {
        match (self, demo) {
            (_, true) => {
                "A root key of a demonstration. It protects nothing: never ship anything signed with it."
            }
            (Self::Active, _) => {
                "The active root key of this vendor, sealed with its passphrase. Keep it on a machine without a \
                 network, or on a medium in a safe; the server never needs it. Who has this file and the passphrase \
                 can license everything."
            }
            (Self::Spare, _) => {
                "The SPARE root key of this vendor, sealed with its passphrase. Keep it ELSEWHERE: in another \
                 building than the active one, in a safe or a bank box, and not on this machine. It is needed on the \
                 day the active one is lost or stolen, and it must not burn in the same fire."
            }
        }
    }
}

/// A root key's file: whose it is, in the clear, and the sealed key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKeyFile {
    head: Head,
    sealed: Sealed,
    /// SHA-256 over head and sealed: tells a damaged file from a wrong passphrase.
    check: Sha256,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    version: u32,
    note: String,
    vendor: VendorId,
    name: String,
    role: Role,
    kid: KeyId,
    roots: RootKeys,
    made: Timestamp,
    demo: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    kdf: Kdf,
    cipher: Aes256Gcm,
    nonce: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Aes256Gcm {
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

/// Whose root keys are made.
#[derive(Clone, Copy, Debug)]
pub struct RootOwner<'a> {
    /// The vendor.
    pub vendor: &'a VendorId,
    /// Its name for people.
    pub name: &'a str,
    /// When.
    pub made: Timestamp,
    /// For a demonstration: cheap to open, and allowed inside the data folder.
    pub demo: bool,
}

impl RootKeyFile {
    /// Seals `key`, which is the `role` of `roots`.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn seal(
        owner: RootOwner<'_>,
        role: Role,
        roots: &RootKeys,
        key: &SigningKey,
        passphrase: &Passphrase,
        rng: &dyn SecureRandom,
    ) -> Result<Self, KeysError> {
        let head = Head {
            format: FORMAT.to_owned(),
            version: 1,
            note: role.note(owner.demo).to_owned(),
            vendor: owner.vendor.clone(),
            name: owner.name.to_owned(),
            role,
            kid: key.id().clone(),
            roots: roots.clone(),
            made: owner.made,
            demo: owner.demo,
        };
        let kdf = Kdf::fresh(if owner.demo { Cost::DEMO } else { Cost::FULL }, rng)?;
        let mut nonce = [0u8; 12];
        rng.fill(&mut nonce).map_err(|_| KeysError::Random)?;
        let mut text = key.seed().to_vec();
        kdf.key(passphrase)?.seal(nonce, &json(&head), &mut text)?;
        let sealed = Sealed {
            kdf,
            cipher: Aes256Gcm::Aes256Gcm,
            nonce: BASE64URL_NOPAD.encode(&nonce),
            text: BASE64URL_NOPAD.encode(&text),
        };
        let check = Sha256::of(&json(&(&head, &sealed)));
        Ok(Self { head, sealed, check })
    }

    /// The file's bytes: JSON for people to look at.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "plain structs always serialize")]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a plain struct serializes");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a root key's file, without opening the key.
    ///
    /// # Errors
    /// [`KeysError`], which tells a damaged file from one that is something else.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let bytes = super::read_bounded(path, 64 * 1024)?;
        let not_one = |why: String| KeysError::NotARootKey { path: path.to_owned(), why };
        let file: Self = from_slice_strict(&bytes).map_err(|e| not_one(e.to_string()))?;
        if file.head.format != FORMAT {
            return Err(not_one(format!("its format is “{}”", file.head.format)));
        }
        if file.head.version != 1 {
            return Err(not_one(format!("its version is {}; update claviger-server", file.head.version)));
        }
        if Sha256::of(&json(&(&file.head, &file.sealed))) != file.check {
            return Err(KeysError::RootKeyDamaged { path: path.to_owned() });
        }
        Ok(file)
    }

    /// Opens the key.
    ///
    /// # Errors
    /// [`KeysError::WrongPassphrase`]; damage was told apart when the file was read.
    pub fn open(&self, path: &Path, passphrase: &Passphrase) -> Result<SigningKey, KeysError> {
        let damaged = || KeysError::RootKeyDamaged { path: path.to_owned() };
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| damaged());
        let nonce = decode(&self.sealed.nonce)?.try_into().map_err(|_| damaged())?;
        let mut text = Zeroizing::new(decode(&self.sealed.text)?);
        let key = self.sealed.kdf.key(passphrase)?;
        let seed = key.open(nonce, &json(&self.head), &mut text).map_err(|e| match e {
            EnvelopeError::WrongPassphrase => KeysError::WrongPassphrase { path: path.to_owned() },
            other => other.into(),
        })?;
        let seed: &[u8; 32] = (&*seed).try_into().map_err(|_| damaged())?;
        let key = SigningKey::from_seed(seed);
        let listed = match self.head.role {
            Role::Active => self.head.roots.active,
            Role::Spare => self.head.roots.spare,
        };
        if *key.id() != self.head.kid || key.public() != listed {
            return Err(damaged());
        }
        Ok(key)
    }

    /// The vendor it speaks for.
    #[must_use]
    pub fn vendor(&self) -> &VendorId {
        &self.head.vendor
    }

    /// The vendor's name when the key was made.
    #[must_use]
    pub fn vendor_name(&self) -> &str {
        &self.head.name
    }

    /// Active or spare.
    #[must_use]
    pub fn role(&self) -> Role {
        self.head.role
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.head.kid
    }

    /// Both root keys' public halves.
    #[must_use]
    pub fn roots(&self) -> &RootKeys {
        &self.head.roots
    }

    /// Whether it was made by `init --demo`.
    #[must_use]
    pub fn demo(&self) -> bool {
        self.head.demo
    }
}

/// Writes both root keys' files into `dir`, which becomes private; never over existing ones.
///
/// # Errors
/// [`KeysError`].
pub fn write_pair(
    dir: &Path,
    owner: RootOwner<'_>,
    (active, spare): (&SigningKey, &SigningKey),
    passphrase: &Passphrase,
    rng: &dyn SecureRandom,
) -> Result<RootKeys, KeysError> {
    durable::private_dir(dir).map_err(KeysError::io("create", dir))?;
    let roots = RootKeys { active: active.public(), spare: spare.public() };
    // The spare first: its presence without the active one is how an interrupted `init` looks.
    for (role, key) in [(Role::Spare, spare), (Role::Active, active)] {
        let path = dir.join(role.file_name());
        let file = RootKeyFile::seal(owner, role, &roots, key, passphrase, rng)?;
        durable::create(&path, &file.to_bytes(), durable::PRIVATE).map_err(KeysError::io("write", &path))?;
        crate::fault::point("init-root-key-written");
    }
    Ok(roots)
}

/// Every root key file under `folder`, by content, whatever its name.
///
/// # Errors
/// When a folder or file cannot be looked at: then nothing is known, and that is not the same as none.
pub fn find_below(folder: &Path) -> Result<Vec<PathBuf>, KeysError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(KeysError::io("look into", &folder))?;
        for entry in entries {
            let entry = entry.map_err(KeysError::io("look into", &folder))?;
            let path = entry.path();
            // A link to a key counts as the key: what opens through this folder is inside it.
            let Ok(about) = std::fs::metadata(&path) else { continue };
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if about.is_dir() && !is_link {
                folders.push(path);
            } else if about.is_file() && (64..64 * 1024).contains(&about.len()) && is_root_key(&path)? {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn is_root_key(path: &Path) -> Result<bool, KeysError> {
    use std::io::Read;
    let mut start = Vec::with_capacity(512);
    match std::fs::File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)) {
        // Files of the running server come and go.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(KeysError::io("read", path))?,
    };
    Ok(start.windows(FORMAT.len()).any(|part| part == FORMAT.as_bytes()))
}

#[expect(clippy::expect_used, reason = "plain structs always serialize")]
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a plain struct serializes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::test_support::words;

    fn pair(dir: &Path) -> RootKeys {
        let vendor = "com.example".parse().unwrap();
        let owner = RootOwner { vendor: &vendor, name: "Example", made: Timestamp(1), demo: true };
        let (active, spare) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        write_pair(dir, owner, (&active, &spare), &words("pass"), &ring::rand::SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_wrong_passphrase_and_a_damaged_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let roots = pair(dir.path());
        let path = dir.path().join(Role::Active.file_name());
        let file = RootKeyFile::read(&path).unwrap();
        assert_eq!(file.roots(), &roots);
        assert_eq!(file.open(&path, &words("pass")).unwrap().public(), roots.active);
        assert!(matches!(file.open(&path, &words("Pass")), Err(KeysError::WrongPassphrase { .. })));

        let good = std::fs::read(&path).unwrap();
        let mut damaged = 0;
        for at in (0..good.len()).step_by(7) {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            match RootKeyFile::read(&path) {
                // A changed blank between tokens changes nothing that counts.
                Ok(file) => assert_eq!(file.to_bytes(), good),
                Err(KeysError::RootKeyDamaged { .. }) => damaged += 1,
                Err(KeysError::NotARootKey { .. }) => {}
                Err(other) => panic!("byte {at}: {other:?}"),
            }
        }
        assert!(damaged > 20, "{damaged}");
        for cut in [0, 1, good.len() / 2, good.len() - 3] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(RootKeyFile::read(&path).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn files_are_private_never_overwritten_and_the_spare_says_where_it_belongs() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        pair(&folder);
        assert!(crate::platform::has_mode(&folder, 0o700));
        assert!(crate::platform::has_mode(&folder.join("root-spare.clvroot"), 0o600));
        let vendor = "com.example".parse().unwrap();
        let owner = RootOwner { vendor: &vendor, name: "Example", made: Timestamp(1), demo: false };
        let key = SigningKey::from_seed(&[1; 32]);
        let rng = ring::rand::SystemRandom::new();
        assert!(matches!(
            write_pair(&folder, owner, (&key, &key), &words("p"), &rng),
            Err(KeysError::Io { .. })
        ));
        let roots = RootKeys { active: key.public(), spare: key.public() };
        let spare = RootKeyFile::seal(owner, Role::Spare, &roots, &key, &words("p"), &rng).unwrap();
        assert!(String::from_utf8(spare.to_bytes()).unwrap().contains("ELSEWHERE"));
    }

    #[test]
    fn root_keys_are_found_under_any_name_and_depth() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("a/b")).unwrap();
        assert!(find_below(&data).unwrap().is_empty());
        pair(&dir.path().join("keys"));
        assert!(find_below(&data).unwrap().is_empty());
        let key = dir.path().join("keys/root-active.clvroot");
        std::fs::copy(&key, data.join("a/b/holiday.jpg")).unwrap();
        assert_eq!(find_below(&data).unwrap().len(), 1);
        assert!(find_below(&dir.path().join("missing")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn root_keys_are_found_behind_links() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        pair(&dir.path().join("keys"));
        std::os::unix::fs::symlink(dir.path().join("keys/root-active.clvroot"), data.join("link")).unwrap();
        assert_eq!(find_below(&data).unwrap().len(), 1);
    }
}
