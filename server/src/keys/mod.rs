//! Root key files, issuing keys on disk, keysets, vendor profile.
//!
//! [`Issuer`] is what the running server sees: an immutable snapshot of the public files and the issuing keys. Each
//! change ends by replacing `keyset.jws` or `sunset.jws` by rename (even with the same bytes), so a server that looks
//! at their modification times notices every one of them.
//!
//! | file | what lives there |
//! |---|---|
//! | [`root`] | root keys: sealed files, made by `init`, used offline |
//! | [`issuing`] | issuing keys: `DATA/keys/<kid>.key` |
//! | [`request`] | a change to the keyset that the server asks for, and its signing offline |
//! | [`install`] | taking a signed keyset or sunset into use |
//! | [`envelope`], [`durable`] | sealing with a passphrase; files that are never torn |

pub mod durable;
pub mod envelope;
pub mod install;
pub mod issuing;
pub mod request;
pub mod root;

use std::io;
use std::path::{Path, PathBuf};

use claviger_protocol::documents::{DocumentError, KeyStatus, Keyset, TrustAnchor, VendorProfile};
use claviger_protocol::ids::VendorId;
use claviger_protocol::keys::{KeyId, SigningKey};

use crate::config::DataDir;

/// Why something about keys fails. Each message says what to do, or the command adds it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum KeysError {
    #[error("could not {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is too large to be a file of keys", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} does not hold a server: there is no vendor profile in it", path.display())]
    NotInitialised { path: PathBuf },
    #[error("{} is not acceptable", path.display())]
    Document { path: PathBuf, source: DocumentError },
    #[error("{} is not a root key file: {why}", path.display())]
    NotARootKey { path: PathBuf, why: String },
    #[error("{} is damaged: its checksum does not match. Use another copy of it, or the spare root key", path.display())]
    RootKeyDamaged { path: PathBuf },
    #[error("the passphrase is not the one of {}", path.display())]
    WrongPassphrase { path: PathBuf },
    #[error("{} is not an issuing key: {why}", path.display())]
    NotAnIssuingKey { path: PathBuf, why: String },
    #[error("no active issuing key of keyset {number} is on this server: look for its file in {}", folder.display())]
    NoActiveKey { number: u32, folder: PathBuf },
    #[error("{} is not a signing request: {why}", path.display())]
    NotARequest { path: PathBuf, why: String },
    #[error("{0}")]
    Refused(String),
    #[error(
        "the root key {} lies inside the data folder, where whoever breaks into the server finds it. Move it to a \
         machine without a network, or to a medium in a safe, and start again", path.display()
    )]
    RootKeyInside { path: PathBuf },
    #[error("the system's random number generator failed")]
    Random,
    #[error(transparent)]
    Envelope(#[from] envelope::EnvelopeError),
}

impl KeysError {
    /// Makes an I/O error tell what was done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    fn document(path: &Path) -> impl FnOnce(DocumentError) -> Self {
        move |source| Self::Document { path: path.to_owned(), source }
    }
}

/// Everything that speaks for the vendor on this server, as one immutable snapshot. Share it in an `Arc`.
#[derive(Debug)]
pub struct Issuer {
    profile: VendorProfile,
    profile_text: String,
    keyset: Keyset,
    keyset_text: String,
    sunset_text: Option<String>,
    /// Every issuing key on this server that the keyset lists.
    keys: Vec<SigningKey>,
    /// Index of the one that signs.
    signing: usize,
}

impl Issuer {
    /// Reads profile, keyset, sunset and issuing keys, and verifies that they belong together.
    ///
    /// # Errors
    /// [`KeysError`]; [`KeysError::NotInitialised`] when there is no server in that folder.
    pub fn load(data: &DataDir) -> Result<Self, KeysError> {
        let public = PublicFiles::load(data)?;
        let resting = request::resting(data, &public)?;
        let mut keys = Vec::new();
        for held in issuing::load_all(&data.keys())? {
            // A key that no keyset lists yet waits for its signature.
            if public.keyset.find(held.id()).is_some() {
                keys.push(held);
            }
        }
        let signing = choose_signing(&public.keyset, &keys, &resting)
            .ok_or_else(|| KeysError::NoActiveKey { number: public.keyset.number, folder: data.keys() })?;
        let PublicFiles { profile, profile_text, keyset, keyset_text, sunset_text } = public;
        Ok(Self { profile, profile_text, keyset, keyset_text, sunset_text, keys, signing })
    }

    /// The vendor's profile: id, name, prefix, server, root keys.
    #[must_use]
    pub fn profile(&self) -> &VendorProfile {
        &self.profile
    }

    /// The profile in compact form, as vendors ship it.
    #[must_use]
    pub fn profile_text(&self) -> &str {
        &self.profile_text
    }

    /// The vendor.
    #[must_use]
    pub fn vendor(&self) -> &VendorId {
        &self.profile.iss
    }

    /// The issuing key that signs: the newest active one that is not about to be retired.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.keys[self.signing]
    }

    /// Any issuing key on this server that the keyset lists, whatever its status: a retired one signs a repeated
    /// request's answer again, with the same bytes as before.
    #[must_use]
    pub fn find(&self, kid: &KeyId) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id() == kid)
    }

    /// The status of an issuing key; `None` for one that the keyset does not list.
    #[must_use]
    pub fn status(&self, kid: &KeyId) -> Option<KeyStatus> {
        self.keyset.find(kid).map(|key| key.status)
    }

    /// The keyset in force.
    #[must_use]
    pub fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// The keyset in compact form.
    #[must_use]
    pub fn keyset_text(&self) -> &str {
        &self.keyset_text
    }

    /// The sunset in compact form, once the vendor has published one.
    #[must_use]
    pub fn sunset_text(&self) -> Option<&str> {
        self.sunset_text.as_deref()
    }

    /// What this vendor's documents are checked against.
    #[must_use]
    pub fn anchor(&self) -> TrustAnchor {
        self.profile.anchor(self.keyset.number)
    }
}

/// The newest active key that does not rest; a resting one if there is no other.
fn choose_signing(keyset: &Keyset, held: &[SigningKey], resting: &[KeyId]) -> Option<usize> {
    let rank = |key: &SigningKey| {
        let listed = keyset.keys.iter().position(|k| k.x == key.public())?;
        let entry = &keyset.keys[listed];
        (entry.status == KeyStatus::Active).then(|| (!resting.contains(key.id()), entry.since, listed))
    };
    let ranked = held.iter().enumerate().filter_map(|(at, key)| Some((rank(key)?, at)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, at)| at)
}

/// The files of the data folder that anyone may see, verified.
#[derive(Debug)]
pub struct PublicFiles {
    /// The vendor profile.
    pub profile: VendorProfile,
    /// Its compact form.
    pub profile_text: String,
    /// The keyset in force.
    pub keyset: Keyset,
    /// Its compact form.
    pub keyset_text: String,
    /// The sunset's compact form.
    pub sunset_text: Option<String>,
}

impl PublicFiles {
    /// Reads and verifies them.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(data: &DataDir) -> Result<Self, KeysError> {
        let profile_path = data.profile();
        let Some(profile_text) = read_text(&profile_path)? else {
            return Err(KeysError::NotInitialised { path: data.path().to_owned() });
        };
        let (profile, first) =
            VendorProfile::verify(&profile_text).map_err(KeysError::document(&profile_path))?;
        let anchor = profile.anchor(first.number);
        let keyset_path = data.keyset();
        // The profile brings a keyset along; the file holds the newest.
        let keyset_text = read_text(&keyset_path)?.unwrap_or_else(|| profile.keyset.clone());
        let keyset = Keyset::verify(&keyset_text, &anchor).map_err(KeysError::document(&keyset_path))?;
        let sunset_path = data.sunset();
        let sunset_text = read_text(&sunset_path)?;
        if let Some(text) = &sunset_text {
            claviger_protocol::documents::Sunset::verify(text, &anchor)
                .map_err(KeysError::document(&sunset_path))?;
        }
        Ok(Self { profile, profile_text, keyset, keyset_text, sunset_text })
    }
}

/// Refuses to go on while a root key lies inside the data folder, under any name. Root keys of a demonstration
/// (`init --demo`) may lie there; then this gives `true`, and the server should say so.
///
/// # Errors
/// [`KeysError::RootKeyInside`], or when the folder cannot be searched.
pub fn refuse_root_key_inside(data: &DataDir) -> Result<bool, KeysError> {
    if !data.path().exists() {
        return Err(KeysError::NotInitialised { path: data.path().to_owned() });
    }
    let found = root::find_below(data.path())?;
    for path in &found {
        match root::RootKeyFile::read(path) {
            Ok(file) if file.demo() => {}
            // Another file that mentions the format, such as a damaged root key: better to ask.
            _ => return Err(KeysError::RootKeyInside { path: path.clone() }),
        }
    }
    Ok(!found.is_empty())
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, KeysError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(KeysError::io("open", path))?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(KeysError::io("read", path))?;
    if bytes.len() as u64 > max {
        return Err(KeysError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Reads a document's compact form; `None` when there is no such file.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, KeysError> {
    match read_bounded(path, 2 * 1024 * 1024) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(_) => Err(KeysError::Document { path: path.to_owned(), source: DocumentError::NotCompact }),
        },
        Err(KeysError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

/// Keeps other commands from changing the key files at the same time. The running server does not take it: it only
/// reads, and each file is replaced whole.
#[derive(Debug)]
pub struct KeysLock {
    _file: std::fs::File,
}

impl KeysLock {
    /// Takes the lock, at once or not at all.
    ///
    /// # Errors
    /// [`KeysError::Refused`] when another command holds it.
    pub fn take(data: &DataDir) -> Result<Self, KeysError> {
        let folder = data.keys();
        durable::private_dir(&folder).map_err(KeysError::io("create", &folder))?;
        let path = folder.join(".lock");
        let mut options = std::fs::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(&path).map_err(KeysError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(KeysError::Refused(
                "another claviger-server command is changing the keys right now; wait for it to end"
                    .to_owned(),
            )),
            Err(std::fs::TryLockError::Error(e)) => Err(KeysError::io("lock", &path)(e)),
        }
    }
}

#[cfg(test)]
pub(crate) mod test_support {
    //! What this module's tests share.

    use super::*;
    use claviger_protocol::clock::Timestamp;
    use zeroize::Zeroizing;

    pub(crate) fn words(text: &str) -> envelope::Passphrase {
        envelope::Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    /// A server's files without a database, and its root key's path.
    pub(crate) struct Place {
        _dir: tempfile::TempDir,
        pub(crate) data: DataDir,
        pub(crate) root: PathBuf,
    }

    pub(crate) fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path().join("data"));
        let roots = dir.path().join("roots");
        let rng = ring::rand::SystemRandom::new();
        let wish = install::Wish {
            vendor: "com.example".parse().unwrap(),
            name: "Example Audio".to_owned(),
            prefix: "EXA".parse().unwrap(),
            server: "https://licenses.example.com".to_owned(),
            policy: None,
            contact: claviger_protocol::documents::Contact::default(),
            accent: None,
            logo: None,
            demo: true,
        };
        std::fs::create_dir(data.path()).unwrap();
        install::create(&data, &roots, &wish, &words("pass"), Timestamp(1000), &rng).unwrap();
        Place { root: roots.join("root-active.clvroot"), data, _dir: dir }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_protocol::clock::Timestamp;
    use claviger_protocol::documents::KeysetKey;

    #[test]
    fn a_fresh_server_loads_and_signs_with_its_one_key() {
        let place = test_support::place();
        let issuer = Issuer::load(&place.data).unwrap();
        assert_eq!(issuer.keyset().number, 1);
        assert_eq!(issuer.vendor().as_str(), "com.example");
        assert_eq!(issuer.status(issuer.signing_key().id()), Some(KeyStatus::Active));
        assert!(issuer.find(&SigningKey::from_seed(&[9; 32]).public().id()).is_none());
        assert!(issuer.sunset_text().is_none());
    }

    #[test]
    fn the_newest_active_key_that_does_not_rest_signs() {
        let keys: Vec<SigningKey> = (0..4).map(|n| SigningKey::from_seed(&[n; 32])).collect();
        let listed =
            |n: usize, status, since| KeysetKey { x: keys[n].public(), status, since: Timestamp(since) };
        let keyset = Keyset {
            iss: "com.example".parse().unwrap(),
            number: 3,
            iat: Timestamp(9),
            keys: vec![
                listed(0, KeyStatus::Active, 1),
                listed(1, KeyStatus::Active, 5),
                listed(2, KeyStatus::Retired, 8),
                listed(3, KeyStatus::Compromised, 9),
            ],
        };
        assert_eq!(choose_signing(&keyset, &keys, &[]), Some(1));
        assert_eq!(choose_signing(&keyset, &keys, &[keys[1].id().clone()]), Some(0));
        assert_eq!(choose_signing(&keyset, &keys[1..2], &[keys[1].id().clone()]), Some(0));
        assert_eq!(choose_signing(&keyset, &keys[2..], &[]), None);
    }

    #[test]
    fn a_root_key_inside_the_data_folder_is_refused_unless_it_is_a_demonstration() {
        let place = test_support::place();
        assert!(!refuse_root_key_inside(&place.data).unwrap());
        let inside = place.data.path().join("keys/notes.txt");
        std::fs::copy(&place.root, &inside).unwrap();
        assert!(refuse_root_key_inside(&place.data).unwrap(), "the test's keys are those of a demonstration");
        let mut text = std::fs::read_to_string(&inside).unwrap();
        text = text.replace("\"demo\": true", "\"demo\": false");
        std::fs::write(&inside, text).unwrap();
        assert!(matches!(refuse_root_key_inside(&place.data), Err(KeysError::RootKeyInside { .. })));
    }

    #[test]
    fn forged_and_missing_files_are_named() {
        let place = test_support::place();
        let other = test_support::place();
        std::fs::copy(other.data.keyset(), place.data.keyset()).unwrap();
        assert!(matches!(Issuer::load(&place.data), Err(KeysError::Document { .. })));
        std::fs::remove_file(place.data.keyset()).unwrap();
        assert!(Issuer::load(&place.data).is_ok(), "the profile brings the first keyset along");
        std::fs::remove_file(place.data.profile()).unwrap();
        assert!(matches!(Issuer::load(&place.data), Err(KeysError::NotInitialised { .. })));
    }
}
