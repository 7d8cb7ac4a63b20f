//! A change to the keyset: asked for on the server, looked at and signed where the root key is.
//!
//! The request carries the keyset in force, so that the offline machine can verify it with nothing but its own root
//! key file and show what would change. The server keeps the request as `keys/pending.clvrequest`; further changes add
//! to it until a keyset is installed. A key that is to be retired stops signing from that moment: a retirement's date
//! then lies after everything that the key signed.

use std::fmt;
use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    DocumentError, KeyInHeader, KeyStatus, Keyset, KeysetKey, Sunset, TrustAnchor, sign,
};
use claviger_protocol::ids::{ProductId, VendorId};
use claviger_protocol::json::from_slice_strict;
use claviger_protocol::keys::{KeyId, Sha256, SigningKey};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::root::RootKeyFile;
use super::{KeysError, PublicFiles, durable, issuing};
use crate::config::DataDir;

const FORMAT: &str = "claviger-signing-request";
const MAX_LEN: u64 = 256 * 1024;

/// A wish for a new keyset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningRequest {
    format: String,
    version: u32,
    /// The vendor.
    pub vendor: VendorId,
    /// When it was made, by the server's clock.
    pub made: Timestamp,
    /// The keyset in force on the server, in compact form.
    pub current: String,
    /// The keys that the new keyset should list.
    pub keys: Vec<KeysetKey>,
    /// New keys prove that whoever asks holds them.
    pub proofs: Vec<Possession>,
}

/// A new key's signature over this very wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Possession {
    /// The key.
    pub kid: KeyId,
    /// Its signature, unpadded base64url.
    pub signature: String,
}

/// One difference between the keyset in force and the wished one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A new issuing key.
    Add {
        /// The key.
        kid: KeyId,
    },
    /// A key signs nothing new from now on.
    Retire {
        /// The key.
        kid: KeyId,
    },
    /// What a key signed is good no longer.
    Compromise {
        /// The key.
        kid: KeyId,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { kid } => write!(f, "add the issuing key {kid}"),
            Self::Retire { kid } => {
                write!(f, "retire {kid}: it signs nothing new, what it signed before stays good for ever")
            }
            Self::Compromise { kid } => {
                write!(f, "declare {kid} compromised: what it signed stops being good and is issued anew")
            }
        }
    }
}

impl SigningRequest {
    /// A wish that changes nothing yet.
    #[must_use]
    pub fn new(public: &PublicFiles, made: Timestamp) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: 1,
            vendor: public.profile.iss.clone(),
            made,
            current: public.keyset_text.clone(),
            keys: public.keyset.keys.clone(),
            proofs: Vec::new(),
        }
    }

    /// Wishes for a new active key.
    pub fn add(&mut self, key: &SigningKey) {
        self.keys.push(KeysetKey { x: key.public(), status: KeyStatus::Active, since: self.made });
        let signature = key.sign(possession(&self.vendor, key.id(), &self.current).as_bytes());
        self.proofs.push(Possession { kid: key.id().clone(), signature: BASE64URL_NOPAD.encode(&signature) });
    }

    /// Wishes for another status of a key.
    ///
    /// # Errors
    /// [`KeysError::Refused`] when the key is unknown or cannot go back to that status.
    pub fn set_status(&mut self, kid: &KeyId, status: KeyStatus, now: Timestamp) -> Result<(), KeysError> {
        let Some(key) = self.keys.iter_mut().find(|key| key.x.id() == *kid) else {
            return Err(KeysError::Refused(format!(
                "there is no issuing key {kid}; `claviger-server keys list` shows them"
            )));
        };
        if key.status == status {
            return Err(KeysError::Refused(format!("the key {kid} is {} already", word(status))));
        }
        if !may_become(key.status, status) {
            return Err(KeysError::Refused(format!(
                "the key {kid} is {}; it can no longer become {}",
                word(key.status),
                word(status)
            )));
        }
        key.status = status;
        key.since = now;
        Ok(())
    }

    /// The keys that would be active.
    pub fn active(&self) -> impl Iterator<Item = &KeysetKey> {
        self.keys.iter().filter(|key| key.status == KeyStatus::Active)
    }

    /// Reads a request, without believing it.
    ///
    /// # Errors
    /// [`KeysError::NotARequest`].
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let not_one = |why: String| KeysError::NotARequest { path: path.to_owned(), why };
        let bytes = super::read_bounded(path, MAX_LEN)?;
        let request: Self = from_slice_strict(&bytes).map_err(|e| not_one(e.to_string()))?;
        if request.format != FORMAT || request.version != 1 {
            return Err(not_one("its format or version is not known".to_owned()));
        }
        Ok(request)
    }

    /// The request's bytes: JSON for people to look at.
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "plain structs always serialize")]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a plain struct serializes");
        bytes.push(b'\n');
        bytes
    }

    /// Checks the request against a vendor's root keys: that it starts from a genuine keyset, drops no key, brings none
    /// back, proves its new keys and leaves one active. Gives the keyset it starts from and what would change.
    ///
    /// # Errors
    /// [`DocumentError`] as text in [`KeysError::Refused`].
    pub fn check(&self, anchor: &TrustAnchor) -> Result<(Keyset, Vec<Change>), KeysError> {
        let refused = |why: String| KeysError::Refused(why);
        if self.vendor != anchor.vendor {
            return Err(refused(format!(
                "the request is for the vendor {}, the root key for {}",
                self.vendor, anchor.vendor
            )));
        }
        let current = Keyset::verify(&self.current, anchor).map_err(|e: DocumentError| {
            refused(format!("the request does not start from a keyset of this vendor: {e}"))
        })?;
        let mut changes = Vec::new();
        for old in &current.keys {
            let kid = old.x.id();
            let mut same = self.keys.iter().filter(|key| key.x == old.x);
            let (Some(new), None) = (same.next(), same.next()) else {
                return Err(refused(format!(
                    "the request drops the key {kid} or lists it twice; keys are retired, never dropped"
                )));
            };
            if new.status == old.status {
                if new.since != old.since {
                    return Err(refused(format!("the request changes the date of {kid} and nothing else")));
                }
                continue;
            }
            if !may_become(old.status, new.status) {
                return Err(refused(format!("the request would bring the key {kid} back")));
            }
            changes.push(match new.status {
                KeyStatus::Retired => Change::Retire { kid },
                KeyStatus::Active | KeyStatus::Compromised => Change::Compromise { kid },
            });
        }
        for new in self.keys.iter().filter(|key| current.find(&key.x.id()).is_none()) {
            let kid = new.x.id();
            let proved = self.proofs.iter().find(|p| p.kid == kid).is_some_and(|proof| {
                let message = possession(&self.vendor, &kid, &self.current);
                BASE64URL_NOPAD
                    .decode(proof.signature.as_bytes())
                    .is_ok_and(|signature| new.x.verify(message.as_bytes(), &signature).is_ok())
            });
            if !proved {
                return Err(refused(format!(
                    "the request does not prove that its maker holds the new key {kid}"
                )));
            }
            if new.status == KeyStatus::Active {
                changes.push(Change::Add { kid });
            }
        }
        if self.keys.len() > 256 {
            return Err(refused("a keyset has at most 256 keys".to_owned()));
        }
        if self.active().next().is_none() {
            return Err(refused("the request would leave no active key".to_owned()));
        }
        if changes.is_empty() {
            return Err(refused("the request changes nothing".to_owned()));
        }
        Ok((current, changes))
    }
}

fn possession(vendor: &VendorId, kid: &KeyId, current: &str) -> String {
    format!("claviger key possession v1\n{vendor}\n{kid}\n{}", Sha256::of(current.as_bytes()))
}

fn may_become(from: KeyStatus, to: KeyStatus) -> bool {
    match from {
        KeyStatus::Active => true,
        KeyStatus::Retired => to != KeyStatus::Active,
        KeyStatus::Compromised => to == KeyStatus::Compromised,
    }
}

/// A status as people read it.
#[must_use]
pub fn word(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Retired => "retired",
        KeyStatus::Compromised => "compromised",
    }
}

/// Signs what a request asks for with a root key: the keyset with the next number.
///
/// # Errors
/// As [`SigningRequest::check`].
pub fn sign_keyset(
    request: &SigningRequest,
    file: &RootKeyFile,
    key: &SigningKey,
    now: Timestamp,
) -> Result<(Keyset, String), KeysError> {
    let (current, _) = request.check(&anchor_of(file))?;
    let number = current
        .number
        .checked_add(1)
        .ok_or_else(|| KeysError::Refused("keyset numbers are used up".to_owned()))?;
    let keyset = Keyset { iss: request.vendor.clone(), number, iat: now, keys: request.keys.clone() };
    let text = sign(&keyset, key, KeyInHeader::Named);
    Ok((keyset, text))
}

/// Signs a sunset with a root key.
#[must_use]
pub fn sign_sunset(file: &RootKeyFile, key: &SigningKey, products: Vec<ProductId>, now: Timestamp) -> String {
    sign(&Sunset { iss: file.vendor().clone(), iat: now, products }, key, KeyInHeader::Named)
}

/// What a root key file vouches for on a machine that has nothing else.
#[must_use]
pub fn anchor_of(file: &RootKeyFile) -> TrustAnchor {
    TrustAnchor { vendor: file.vendor().clone(), roots: file.roots().clone(), least_keyset: 0 }
}

fn pending_path(data: &DataDir) -> PathBuf {
    data.keys().join("pending.clvrequest")
}

/// The pending request, if it still starts from the keyset in force.
///
/// # Errors
/// [`KeysError`] for a damaged one.
pub fn pending(data: &DataDir, public: &PublicFiles) -> Result<Option<SigningRequest>, KeysError> {
    match SigningRequest::read(&pending_path(data)) {
        Ok(request) => Ok((request.current == public.keyset_text).then_some(request)),
        Err(KeysError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

/// The keys that the pending request takes out of use, which therefore rest already.
///
/// # Errors
/// [`KeysError`] for a damaged request.
pub fn resting(data: &DataDir, public: &PublicFiles) -> Result<Vec<KeyId>, KeysError> {
    let Some(request) = pending(data, public)? else { return Ok(Vec::new()) };
    Ok(request.keys.iter().filter(|key| key.status != KeyStatus::Active).map(|key| key.x.id()).collect())
}

/// Keeps `request` as the pending one, and makes the running server look.
///
/// # Errors
/// [`KeysError`].
pub fn set_pending(data: &DataDir, public: &PublicFiles, request: &SigningRequest) -> Result<(), KeysError> {
    let path = pending_path(data);
    durable::write(&path, &request.to_bytes(), durable::PRIVATE).map_err(KeysError::io("write", &path))?;
    touch(data, public)
}

/// Forgets the pending request and removes the keys that no keyset lists. Gives whether there was one.
///
/// # Errors
/// [`KeysError`].
pub fn drop_pending(data: &DataDir, public: &PublicFiles) -> Result<bool, KeysError> {
    let path = pending_path(data);
    let there = path.exists();
    if there {
        std::fs::remove_file(&path)
            .and_then(|()| durable::sync_parent(&path))
            .map_err(KeysError::io("remove", &path))?;
    }
    for key in issuing::load_all(&data.keys())? {
        if public.keyset.find(key.id()).is_none() {
            let path = issuing::path_of(&data.keys(), key.id());
            durable::shred(&path).map_err(KeysError::io("remove", &path))?;
        }
    }
    touch(data, public)?;
    Ok(there)
}

/// Replaces the keyset's file with the same bytes, which is how a running server notices that something changed.
fn touch(data: &DataDir, public: &PublicFiles) -> Result<(), KeysError> {
    let path = data.keyset();
    durable::write(&path, public.keyset_text.as_bytes(), durable::PUBLIC)
        .map_err(KeysError::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::test_support::{place, words};

    fn setting() -> (crate::keys::test_support::Place, PublicFiles, RootKeyFile, SigningKey) {
        let place = place();
        let public = PublicFiles::load(&place.data).unwrap();
        let file = RootKeyFile::read(&place.root).unwrap();
        let root = file.open(&place.root, &words("pass")).unwrap();
        (place, public, file, root)
    }

    #[test]
    fn a_request_is_signed_as_the_next_keyset() {
        let (_place, public, file, root) = setting();
        let fresh = SigningKey::from_seed(&[5; 32]);
        let mut request = SigningRequest::new(&public, Timestamp(50));
        assert!(request.check(&anchor_of(&file)).is_err(), "it changes nothing");
        request.add(&fresh);
        let (_, changes) = request.check(&anchor_of(&file)).unwrap();
        assert_eq!(changes, [Change::Add { kid: fresh.id().clone() }]);
        let (keyset, text) = sign_keyset(&request, &file, &root, Timestamp(60)).unwrap();
        assert_eq!((keyset.number, keyset.keys.len()), (2, 2));
        assert_eq!(Keyset::verify(&text, &public.profile.anchor(2)).unwrap(), keyset);
    }

    #[test]
    fn hostile_requests_are_refused_where_the_root_key_is() {
        let (_place, public, file, _) = setting();
        let anchor = anchor_of(&file);
        let fresh = SigningKey::from_seed(&[5; 32]);
        let mut good = SigningRequest::new(&public, Timestamp(50));
        good.add(&fresh);
        let refused = |change: &dyn Fn(&mut SigningRequest), why: &str| {
            let mut bad = good.clone();
            change(&mut bad);
            let message = bad.check(&anchor).unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        };
        refused(&|r| r.vendor = "com.other".parse().unwrap(), "vendor");
        refused(&|r| r.keys.truncate(0), "drops");
        refused(&|r| r.keys.push(r.keys[0].clone()), "twice");
        refused(&|r| r.proofs.clear(), "prove");
        refused(&|r| r.proofs[0].signature = BASE64URL_NOPAD.encode(&[0; 64]), "prove");
        refused(&|r| r.keys[0].since = Timestamp(2), "date");
        refused(&|r| r.keys.iter_mut().for_each(|k| k.status = KeyStatus::Compromised), "no active");
        refused(&|r| r.current.push('x'), "does not start from");
        let stranger = place();
        let other = PublicFiles::load(&stranger.data).unwrap();
        refused(&|r| r.current.clone_from(&other.keyset_text), "does not start from");
    }

    #[test]
    fn statuses_only_go_one_way() {
        let (_place, public, _, _) = setting();
        let kid = public.keyset.keys[0].x.id();
        let mut request = SigningRequest::new(&public, Timestamp(50));
        assert!(request.set_status(&kid, KeyStatus::Active, Timestamp(51)).is_err());
        request.set_status(&kid, KeyStatus::Retired, Timestamp(51)).unwrap();
        assert_eq!(request.keys[0].since, Timestamp(51));
        assert!(request.set_status(&kid, KeyStatus::Active, Timestamp(52)).is_err());
        request.set_status(&kid, KeyStatus::Compromised, Timestamp(52)).unwrap();
        assert!(request.set_status(&kid, KeyStatus::Retired, Timestamp(53)).is_err());
        let unknown = SigningKey::from_seed(&[8; 32]).id().clone();
        assert!(request.set_status(&unknown, KeyStatus::Retired, Timestamp(53)).is_err());
    }

    #[test]
    fn a_pending_request_rests_its_keys_until_it_is_dropped() {
        let (place, public, _, _) = setting();
        let fresh =
            issuing::generate(&place.data.keys(), Timestamp(9), &ring::rand::SystemRandom::new()).unwrap();
        let kid = public.keyset.keys[0].x.id();
        let mut request = SigningRequest::new(&public, Timestamp(50));
        request.add(&fresh);
        request.set_status(&kid, KeyStatus::Retired, Timestamp(51)).unwrap();
        set_pending(&place.data, &public, &request).unwrap();
        assert_eq!(pending(&place.data, &public).unwrap().unwrap(), request);
        assert_eq!(resting(&place.data, &public).unwrap(), [kid]);
        assert!(drop_pending(&place.data, &public).unwrap());
        assert!(resting(&place.data, &public).unwrap().is_empty());
        assert_eq!(issuing::load_all(&place.data.keys()).unwrap().len(), 1, "the unsigned key went with it");
        assert!(!drop_pending(&place.data, &public).unwrap());
    }
}
