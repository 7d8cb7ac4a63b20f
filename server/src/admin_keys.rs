//! Keys of the admin interface: random, shown once, stored as hashes, with scopes.
//!
//! `DATA/admin-keys.json` is changed by commands only, `DATA/admin-keys-used.json` (the day of last use) by the running
//! server only, so that neither overwrites the other. The server notices a changed file at the next request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::keys::Sha256;
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::DataDir;
use crate::keys::durable;
use crate::platform;

/// What every key begins with, so that secret scanners find one that was published by mistake.
const PREFIX: &str = "clvadm_";

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// See the catalogue.
    ProductsRead,
    /// Change the catalogue.
    ProductsWrite,
    /// See licenses.
    LicensesRead,
    /// Issue, import, suspend, revoke and transfer licenses.
    LicensesWrite,
    /// See activations.
    ActivationsRead,
    /// Release activations.
    ActivationsWrite,
    /// See usage statistics.
    UsageRead,
}

/// What a key was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// See products, licenses, activations and usage statistics.
    Read,
    /// A shop: see products and licenses; issue, import, renew, suspend, revoke and transfer licenses.
    Issue,
    /// A support desk: see products, licenses and activations; release activations.
    Support,
    /// Everything that the admin interface offers.
    All,
}

impl Grant {
    /// Whether it covers what an operation needs.
    #[must_use]
    pub fn covers(self, scope: Scope) -> bool {
        use Scope::{
            ActivationsRead, ActivationsWrite, LicensesRead, LicensesWrite, ProductsRead, UsageRead,
        };
        match self {
            Self::All => true,
            Self::Read => matches!(scope, ProductsRead | LicensesRead | ActivationsRead | UsageRead),
            Self::Issue => matches!(scope, ProductsRead | LicensesRead | LicensesWrite),
            Self::Support => {
                matches!(scope, ProductsRead | LicensesRead | ActivationsRead | ActivationsWrite | UsageRead)
            }
        }
    }
}

impl Scope {
    /// The words to give to `admin-key add --scope` for keys that may do it.
    #[must_use]
    pub fn granted_by(self) -> Vec<String> {
        let all = [Grant::Read, Grant::Issue, Grant::Support, Grant::All];
        all.into_iter().filter(|grant| grant.covers(self)).map(|grant| grant.to_string()).collect()
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Issue => "issue",
            Self::Support => "support",
            Self::All => "all",
        })
    }
}

/// Why admin keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AdminKeysError {
    #[error("could not {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} is damaged; restore it from a backup, or remove it and make the keys anew", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("there is an admin key named “{0}” already; choose another name, or remove that one first")]
    NameTaken(String),
    #[error("a key's name must have 1 to 64 characters, none of them invisible")]
    BadName,
    #[error("there is no admin key with the name or id “{0}”; `claviger-server admin-key list` shows them")]
    Unknown(String),
    #[error("the system's random number generator failed")]
    Random,
}

/// A key that was shown and found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminKey {
    /// Names it in logs and lists; says nothing about the key.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub made: Timestamp,
    hash: Sha256,
}

impl AdminKey {
    /// Whether it may do something that needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.grants.iter().any(|grant| grant.covers(scope))
    }
}

/// The keys of a server, as its running process sees them.
#[derive(Debug)]
pub struct AdminKeys {
    path: PathBuf,
    used_path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<AdminKey>,
    used: BTreeMap<String, Date>,
    seen: Option<Stamp>,
}

type Stamp = platform::Stamp;

impl AdminKeys {
    /// Reads the keys of a data folder; no file means no keys.
    ///
    /// # Errors
    /// [`AdminKeysError`].
    pub fn load(data: &DataDir) -> Result<Self, AdminKeysError> {
        let path = data.admin_keys();
        let used_path = path.with_file_name("admin-keys-used.json");
        let state =
            State { seen: stamp(&path), keys: read(&path)?, used: read(&used_path).unwrap_or_default() };
        Ok(Self { path, used_path, state: Mutex::new(state) })
    }

    /// The key that `bearer` is, if it is one. Takes the same time for every wrong one: hashes are compared, each of
    /// them to its end.
    #[must_use]
    pub fn check(&self, bearer: &str, now: Timestamp) -> Option<AdminKey> {
        let hash = Sha256::of(bearer.as_bytes());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.reread_if_changed(&mut state);
        let mut found = None;
        for key in &state.keys {
            if same(&key.hash.0, &hash.0) {
                found = Some(key.clone());
            }
        }
        let key = found?;
        let today = now.date();
        if state.used.get(&key.id) != Some(&today) {
            state.used.insert(key.id.clone(), today);
            let known: BTreeMap<_, _> =
                state.used.iter().filter(|(id, _)| state.keys.iter().any(|k| k.id == **id)).collect();
            // Once a key and day. Losing it loses a date in a list, so a full disk refuses nobody.
            if let Err(error) = write(&self.used_path, &known) {
                tracing::warn!(%error, "the day of an admin key's last use could not be kept");
            }
        }
        Some(key)
    }

    fn reread_if_changed(&self, state: &mut State) {
        let now = stamp(&self.path);
        if now == state.seen {
            return;
        }
        match read(&self.path) {
            Ok(keys) => state.keys = keys,
            Err(error) => {
                // A removed key must not come back by damage: nobody gets in until the file is whole.
                state.keys.clear();
                tracing::error!(%error, "admin keys could not be read; the admin interface refuses everyone");
            }
        }
        state.seen = now;
    }
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y))) == 0
}

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|about| platform::stamp(&about))
}

/// Makes a key and gives its text, which is shown once and stored nowhere.
///
/// # Errors
/// [`AdminKeysError`].
pub fn add(
    data: &DataDir,
    name: &str,
    grants: &[Grant],
    now: Timestamp,
    rng: &dyn SecureRandom,
) -> Result<(AdminKey, Zeroizing<String>), AdminKeysError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(AdminKeysError::BadName);
    }
    let path = data.admin_keys();
    let _lock = lock(&path)?;
    let mut keys: Vec<AdminKey> = read(&path)?;
    if keys.iter().any(|key| key.name == name) {
        return Err(AdminKeysError::NameTaken(name.to_owned()));
    }
    let (mut secret, mut id) = (Zeroizing::new([0u8; 32]), [0u8; 6]);
    rng.fill(&mut *secret).and_then(|()| rng.fill(&mut id)).map_err(|_| AdminKeysError::Random)?;
    let text = Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&*secret)));
    let mut grants = grants.to_vec();
    grants.sort();
    grants.dedup();
    let key = AdminKey {
        id: data_encoding::HEXLOWER.encode(&id),
        name: name.to_owned(),
        grants,
        made: now,
        hash: Sha256::of(text.as_bytes()),
    };
    keys.push(key.clone());
    write(&path, &keys)?;
    Ok((key, text))
}

/// Removes a key by name or id; the running server refuses it from its next request on.
///
/// # Errors
/// [`AdminKeysError`].
pub fn remove(data: &DataDir, name_or_id: &str) -> Result<AdminKey, AdminKeysError> {
    let path = data.admin_keys();
    let _lock = lock(&path)?;
    let mut keys: Vec<AdminKey> = read(&path)?;
    let at = keys
        .iter()
        .position(|key| key.name == name_or_id || key.id == name_or_id)
        .ok_or_else(|| AdminKeysError::Unknown(name_or_id.to_owned()))?;
    let removed = keys.remove(at);
    write(&path, &keys)?;
    Ok(removed)
}

/// Every key, with the day on which it was last used.
///
/// # Errors
/// [`AdminKeysError`].
pub fn list(data: &DataDir) -> Result<Vec<(AdminKey, Option<Date>)>, AdminKeysError> {
    let keys = AdminKeys::load(data)?;
    let state = keys.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let State { keys, used, .. } = state;
    Ok(keys.into_iter().map(|key| (used.get(&key.id).copied(), key)).map(|(day, key)| (key, day)).collect())
}

fn read<T: serde::de::DeserializeOwned + Default>(path: &Path) -> Result<T, AdminKeysError> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(source) => Err(AdminKeysError::Io { action: "read", path: path.to_owned(), source }),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|source| AdminKeysError::Damaged { path: path.to_owned(), source }),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), AdminKeysError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| AdminKeysError::Damaged { path: path.to_owned(), source })?;
    durable::write(path, &bytes, durable::PRIVATE).map_err(|source| AdminKeysError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

fn lock(path: &Path) -> Result<std::fs::File, AdminKeysError> {
    let path = path.with_file_name(".admin-keys.lock");
    std::fs::File::create(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| AdminKeysError::Io { action: "lock", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_once_hashed_scoped_and_removed_while_the_server_runs() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let rng = ring::rand::SystemRandom::new();
        let now = Timestamp(1_795_305_600);
        let server = AdminKeys::load(&data).unwrap();
        assert_eq!(server.check("clvadm_x", now), None);
        let (shop, text) = add(&data, "shop", &[Grant::Issue], now, &rng).unwrap();
        assert!(text.len() >= 7 + 43 && text.starts_with("clvadm_"));
        let stored = std::fs::read_to_string(data.admin_keys()).unwrap();
        assert!(!stored.contains(&text[7..]));
        assert!(matches!(add(&data, " shop ", &[Grant::All], now, &rng), Err(AdminKeysError::NameTaken(_))));

        let key = server.check(&text, now).unwrap();
        assert_eq!(key, shop);
        assert!(key.may(Scope::LicensesWrite) && !key.may(Scope::ActivationsWrite));
        assert_eq!(server.check(&text[..text.len() - 1], now), None);
        assert_eq!(list(&data).unwrap()[0].1, Some(now.date()));

        assert_eq!(remove(&data, "shop").unwrap().id, shop.id);
        assert_eq!(server.check(&text, now), None);
        assert!(matches!(remove(&data, "shop"), Err(AdminKeysError::Unknown(_))));
    }

    #[test]
    fn a_damaged_file_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path());
        let (_, text) =
            add(&data, "a", &[Grant::All], Timestamp(1), &ring::rand::SystemRandom::new()).unwrap();
        let server = AdminKeys::load(&data).unwrap();
        assert!(server.check(&text, Timestamp(1)).is_some());
        std::fs::write(data.admin_keys(), "[{").unwrap();
        assert!(server.check(&text, Timestamp(1)).is_none());
        assert!(AdminKeys::load(&data).is_err());
    }

    #[test]
    fn grants() {
        let all = [
            Scope::ProductsRead,
            Scope::ProductsWrite,
            Scope::LicensesRead,
            Scope::LicensesWrite,
            Scope::ActivationsRead,
            Scope::ActivationsWrite,
            Scope::UsageRead,
        ];
        let covered = |grant: Grant| all.iter().filter(|scope| grant.covers(**scope)).count();
        assert_eq!([Grant::Read, Grant::Issue, Grant::Support, Grant::All].map(covered), [4, 3, 5, 7]);
    }
}
