//! Making a server's key files, and taking signed keysets and sunsets into use.

use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    Contact, DocumentError, KeyInHeader, KeyStatus, Keyset, KeysetKey, RootKeys, Sunset, VendorProfile, sign,
};
use claviger_protocol::ids::VendorId;
use claviger_protocol::keys::{KeyId, SigningKey};
use claviger_protocol::serial::Prefix;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use super::envelope::Passphrase;
use super::root::{Role, RootKeyFile, RootOwner};
use super::{KeysError, KeysLock, PublicFiles, durable, issuing, request, root};
use crate::config::DataDir;

/// What a new server should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The vendor.
    pub vendor: VendorId,
    /// Its name for people.
    pub name: String,
    /// What its serial numbers begin with.
    pub prefix: Prefix,
    /// Base address of the server.
    pub server: String,
    /// Where the privacy policy is.
    pub policy: Option<String>,
    /// Whom to ask.
    pub contact: Contact,
    /// Its colour, as it stands in the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// Its picture, as it stands in the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
    /// For a demonstration.
    pub demo: bool,
}

/// What `init` writes first and removes last: while it exists, `init` is not done and may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Started {
    wish: Wish,
    root_key_dir: PathBuf,
}

fn started_path(data: &DataDir) -> PathBuf {
    data.path().join("init-unfinished.json")
}

/// Whether an `init` was interrupted in this folder.
#[must_use]
pub fn is_unfinished(data: &DataDir) -> bool {
    started_path(data).exists()
}

/// Makes root keys, a first issuing key, keyset number 1 and the vendor profile. An interrupted call goes on where it
/// stopped when it is repeated with the same wish. [`finish`] ends it, once the database is there as well.
///
/// # Errors
/// [`KeysError`]; nothing that exists is overwritten.
pub fn create(
    data: &DataDir,
    root_key_dir: &Path,
    wish: &Wish,
    passphrase: &Passphrase,
    now: Timestamp,
    rng: &dyn SecureRandom,
) -> Result<PublicFiles, KeysError> {
    let _lock = KeysLock::take(data)?;
    begin(data, root_key_dir, wish)?;
    if data.profile().exists() {
        return PublicFiles::load(data);
    }
    let (roots, active) = root_pair(root_key_dir, wish, passphrase, now, rng)?;
    let issuing = match issuing::load_all(&data.keys())?.pop() {
        Some(left) => left,
        None => issuing::generate(&data.keys(), now, rng)?,
    };
    crate::fault::point("init-issuing-key-written");
    let keyset = Keyset {
        iss: wish.vendor.clone(),
        number: 1,
        iat: now,
        keys: vec![KeysetKey { x: issuing.public(), status: KeyStatus::Active, since: now }],
    };
    let keyset_text = sign(&keyset, &active, KeyInHeader::Named);
    let profile = VendorProfile {
        iss: wish.vendor.clone(),
        iat: now,
        name: wish.name.clone(),
        prefix: wish.prefix.clone(),
        server: wish.server.clone(),
        roots,
        keyset: keyset_text.clone(),
        policy: wish.policy.clone(),
        contact: wish.contact.clone(),
        accent: wish.accent.clone(),
        logo: wish.logo.clone(),
    };
    let profile_text = sign(&profile, &active, KeyInHeader::Named);
    VendorProfile::verify(&profile_text).map_err(KeysError::document(&data.profile()))?;
    write_public(&data.keyset(), &keyset_text)?;
    crate::fault::point("init-keyset-written");
    write_public(&data.profile(), &profile_text)?;
    crate::fault::point("init-profile-written");
    PublicFiles::load(data)
}

/// Marks `init` as done.
///
/// # Errors
/// [`KeysError`].
pub fn finish(data: &DataDir) -> Result<(), KeysError> {
    let path = started_path(data);
    std::fs::remove_file(&path)
        .and_then(|()| durable::sync_parent(&path))
        .map_err(KeysError::io("remove", &path))
}

fn begin(data: &DataDir, root_key_dir: &Path, wish: &Wish) -> Result<(), KeysError> {
    let path = started_path(data);
    let mine = Started { wish: wish.clone(), root_key_dir: root_key_dir.to_owned() };
    if path.exists() {
        let bytes = super::read_bounded(&path, 64 * 1024)?;
        let before: Started = serde_json::from_slice(&bytes).map_err(|e| {
            KeysError::Refused(format!(
                "{} is damaged ({e}); remove the folder and start again",
                path.display()
            ))
        })?;
        if before == mine {
            return Ok(());
        }
        return Err(KeysError::Refused(format!(
            "an interrupted init for {} with other settings lies in {}: repeat it as it was (its settings are in {}), \
             or remove the folder",
            before.wish.vendor,
            data.path().display(),
            path.display()
        )));
    }
    if data.profile().exists() {
        return Err(KeysError::Refused(format!("{} holds a server already", data.path().display())));
    }
    #[expect(clippy::expect_used, reason = "a plain struct always serializes")]
    let bytes = serde_json::to_vec_pretty(&mine).expect("a plain struct serializes");
    durable::create(&path, &bytes, durable::PRIVATE).map_err(KeysError::io("write", &path))?;
    crate::fault::point("init-begun");
    Ok(())
}

/// The root keys: those of an interrupted `init`, or new ones.
fn root_pair(
    dir: &Path,
    wish: &Wish,
    passphrase: &Passphrase,
    now: Timestamp,
    rng: &dyn SecureRandom,
) -> Result<(RootKeys, SigningKey), KeysError> {
    let paths = [Role::Spare, Role::Active].map(|role| dir.join(role.file_name()));
    let [spare_path, active_path] = &paths;
    for path in &paths {
        if path.exists() && RootKeyFile::read(path)?.vendor() != &wish.vendor {
            return Err(KeysError::Refused(format!(
                "{} is the root key of another vendor: give an empty folder with --root-key-dir",
                path.display()
            )));
        }
    }
    if active_path.exists() {
        let active = RootKeyFile::read(active_path)?;
        let spare = RootKeyFile::read(spare_path)?;
        if active.roots() != spare.roots() {
            return Err(KeysError::Refused(format!(
                "the root keys in {} do not belong together; give an empty folder with --root-key-dir",
                dir.display()
            )));
        }
        let key = active.open(active_path, passphrase)?;
        return Ok((active.roots().clone(), key));
    }
    if spare_path.exists() {
        // Written just before the active one, in a run that ended between the two: nothing was ever signed with it.
        durable::shred(spare_path).map_err(KeysError::io("remove", spare_path))?;
    }
    let fresh = || SigningKey::generate(rng).map_err(|_| KeysError::Random);
    let (active, spare) = (fresh()?, fresh()?);
    let owner = RootOwner { vendor: &wish.vendor, name: &wish.name, made: now, demo: wish.demo };
    let roots = root::write_pair(dir, owner, (&active, &spare), passphrase, rng)?;
    Ok((roots, active))
}

/// What came of installing a keyset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "installed", rename_all = "snake_case")]
pub enum Installed {
    /// It is in force now.
    Keyset {
        /// Its number.
        number: u32,
        /// The key that signs from now on.
        signing: KeyId,
    },
    /// It was in force before: nothing changed.
    Already {
        /// Its number.
        number: u32,
    },
    /// The sunset is published now.
    Sunset {
        /// How many products it frees.
        products: usize,
    },
}

/// Takes a signed keyset or sunset into use, whichever `text` is.
///
/// # Errors
/// [`KeysError`], which says why it is not acceptable here.
pub fn install(data: &DataDir, source: &Path, text: &str) -> Result<Installed, KeysError> {
    let _lock = KeysLock::take(data)?;
    let public = PublicFiles::load(data)?;
    let anchor = public.profile.anchor(0);
    match Keyset::verify(text, &anchor) {
        Ok(keyset) => install_keyset(data, &public, &keyset, text.trim()),
        Err(DocumentError::Type { .. }) => {
            let sunset = Sunset::verify(text, &anchor).map_err(KeysError::document(source))?;
            write_public(&data.sunset(), text.trim())?;
            Ok(Installed::Sunset { products: sunset.products.len() })
        }
        Err(other) => Err(KeysError::document(source)(other)),
    }
}

fn install_keyset(
    data: &DataDir,
    public: &PublicFiles,
    keyset: &Keyset,
    text: &str,
) -> Result<Installed, KeysError> {
    let known = &public.keyset;
    if keyset == known {
        return Ok(Installed::Already { number: known.number });
    }
    if keyset.number <= known.number {
        return Err(KeysError::Refused(format!(
            "this keyset has number {}, and number {} is in force: daemons never go back. Make a new request with \
             `claviger-server keys request` and sign that",
            keyset.number, known.number
        )));
    }
    if let Some(lost) = known.keys.iter().find(|old| keyset.find(&old.x.id()).is_none()) {
        return Err(KeysError::Refused(format!(
            "this keyset drops the key {}: certificates signed by it would stop being good. It was not made from this \
             server's request; make a new one with `claviger-server keys request`",
            lost.x.id()
        )));
    }
    let held = issuing::load_all(&data.keys())?;
    let Some(signing) = super::choose_signing(keyset, &held, &[]) else {
        return Err(KeysError::Refused(
            "this keyset has no active key that lies on this server: it could not sign any more. Make a new request \
             with `claviger-server keys request`"
                .to_owned(),
        ));
    };
    write_public(&data.keyset(), text)?;
    crate::fault::point("keyset-installed");
    // The pending request started from the old keyset and is void by that; this only tidies up.
    request::drop_pending(data, &PublicFiles::load(data)?)?;
    Ok(Installed::Keyset { number: keyset.number, signing: held[signing].id().clone() })
}

/// Signs the vendor profile anew: with the keyset in force, and other particulars where given. Installers that ship it
/// and plug-ins that compile it in then never accept an older keyset.
///
/// # Errors
/// [`KeysError`].
pub fn renew_profile(
    data: &DataDir,
    file: &RootKeyFile,
    key: &SigningKey,
    now: Timestamp,
    change: impl FnOnce(&mut VendorProfile),
) -> Result<PublicFiles, KeysError> {
    let _lock = KeysLock::take(data)?;
    let public = PublicFiles::load(data)?;
    if public.profile.roots != *file.roots() || public.profile.iss != *file.vendor() {
        return Err(KeysError::Refused(format!(
            "the root key is not one of {}'s: this server's profile names others",
            public.profile.iss
        )));
    }
    let mut profile = VendorProfile { iat: now, keyset: public.keyset_text, ..public.profile };
    change(&mut profile);
    let text = sign(&profile, key, KeyInHeader::Named);
    VendorProfile::verify(&text).map_err(KeysError::document(&data.profile()))?;
    write_public(&data.profile(), &text)?;
    // The running server looks at the keyset's file.
    write_public(&data.keyset(), &profile.keyset)?;
    PublicFiles::load(data)
}

/// Writes a public document with a line end, for people who look at it.
pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), KeysError> {
    durable::write(path, format!("{text}\n").as_bytes(), durable::PUBLIC)
        .map_err(KeysError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Issuer;
    use crate::keys::request::{SigningRequest, sign_keyset, sign_sunset};
    use crate::keys::test_support::{Place, place, words};

    fn root(place: &Place) -> (RootKeyFile, SigningKey) {
        let file = RootKeyFile::read(&place.root).unwrap();
        let key = file.open(&place.root, &words("pass")).unwrap();
        (file, key)
    }

    fn rotated(place: &Place) -> (SigningKey, String) {
        let public = PublicFiles::load(&place.data).unwrap();
        let rng = ring::rand::SystemRandom::new();
        let fresh = issuing::generate(&place.data.keys(), Timestamp(2000), &rng).unwrap();
        let mut request = SigningRequest::new(&public, Timestamp(2000));
        request.add(&fresh);
        request::set_pending(&place.data, &public, &request).unwrap();
        let (file, key) = root(place);
        let (_, text) = sign_keyset(&request, &file, &key, Timestamp(2100)).unwrap();
        (fresh, text)
    }

    #[test]
    fn rotation_ends_with_the_new_key_signing_and_the_old_one_still_known() {
        let place = place();
        let old = Issuer::load(&place.data).unwrap().signing_key().id().clone();
        let (fresh, text) = rotated(&place);
        assert_eq!(Issuer::load(&place.data).unwrap().signing_key().id(), &old, "not yet");
        let source = Path::new("keyset.jws");
        let expected = Installed::Keyset { number: 2, signing: fresh.id().clone() };
        assert_eq!(install(&place.data, source, &text).unwrap(), expected);
        assert_eq!(install(&place.data, source, &text).unwrap(), Installed::Already { number: 2 });
        let issuer = Issuer::load(&place.data).unwrap();
        assert_eq!(issuer.signing_key().id(), fresh.id());
        assert!(issuer.find(&old).is_some() && issuer.status(&old) == Some(KeyStatus::Active));
    }

    #[test]
    fn lower_foreign_and_incomplete_keysets_are_refused() {
        let place = place();
        let first = PublicFiles::load(&place.data).unwrap();
        let (_, text) = rotated(&place);
        let source = Path::new("keyset.jws");
        install(&place.data, source, &text).unwrap();
        let back = install(&place.data, source, &first.keyset_text).unwrap_err().to_string();
        assert!(back.contains("never go back"), "{back}");
        let (_, key) = root(&place);
        let dropped = Keyset { number: 3, iat: Timestamp(9), ..first.keyset.clone() };
        let refused = install(&place.data, source, &sign(&dropped, &key, KeyInHeader::Named)).unwrap_err();
        assert!(refused.to_string().contains("drops"), "{refused}");
        let mut elsewhere = PublicFiles::load(&place.data).unwrap().keyset;
        elsewhere.number = 3;
        elsewhere.keys.iter_mut().for_each(|k| k.status = KeyStatus::Retired);
        elsewhere.keys.push(KeysetKey {
            x: SigningKey::from_seed(&[3; 32]).public(),
            status: KeyStatus::Active,
            since: Timestamp(1),
        });
        let refused = install(&place.data, source, &sign(&elsewhere, &key, KeyInHeader::Named)).unwrap_err();
        assert!(refused.to_string().contains("lies on this server"), "{refused}");
        let forged = sign(&dropped, &SigningKey::from_seed(&[4; 32]), KeyInHeader::Named);
        assert!(matches!(install(&place.data, source, &forged), Err(KeysError::Document { .. })));
        assert!(install(&place.data, source, "garbage").is_err());
        assert_eq!(
            PublicFiles::load(&place.data).unwrap().keyset.number,
            2,
            "nothing of that changed anything"
        );
    }

    #[test]
    fn a_sunset_is_published() {
        let place = place();
        let (file, key) = root(&place);
        let text = sign_sunset(&file, &key, vec!["com.example.synth".parse().unwrap()], Timestamp(5));
        assert_eq!(install(&place.data, Path::new("s"), &text).unwrap(), Installed::Sunset { products: 1 });
        assert_eq!(Issuer::load(&place.data).unwrap().sunset_text(), Some(text.as_str()));
        let forged = sign_sunset(&file, &SigningKey::from_seed(&[4; 32]), Vec::new(), Timestamp(5));
        assert!(install(&place.data, Path::new("s"), &forged).is_err());
    }

    #[test]
    fn a_renewed_profile_carries_the_newest_keyset() {
        let place = place();
        let (_, text) = rotated(&place);
        install(&place.data, Path::new("k"), &text).unwrap();
        let (file, key) = root(&place);
        let public = renew_profile(&place.data, &file, &key, Timestamp(9), |p| {
            p.server = "https://new.example.com".to_owned();
        })
        .unwrap();
        assert_eq!(public.profile.server, "https://new.example.com");
        assert_eq!(VendorProfile::verify(&public.profile_text).unwrap().1.number, 2);
        let other = super::super::test_support::place();
        let (file, key) = root(&other);
        assert!(renew_profile(&place.data, &file, &key, Timestamp(9), |_| ()).is_err());
    }

    #[test]
    fn an_interrupted_init_goes_on_with_the_same_keys_and_refuses_other_settings() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::new(dir.path().join("data"));
        let roots = dir.path().join("roots");
        let rng = ring::rand::SystemRandom::new();
        let wish = Wish {
            vendor: "com.example".parse().unwrap(),
            name: "Example".to_owned(),
            prefix: "EXA".parse().unwrap(),
            server: "https://a.example".to_owned(),
            policy: None,
            contact: Contact::default(),
            accent: None,
            logo: None,
            demo: true,
        };
        let run = |wish: &Wish, pass: &str| create(&data, &roots, wish, &words(pass), Timestamp(5), &rng);
        let first = run(&wish, "pass").unwrap();
        // As if it had been stopped after the root keys, and after the profile.
        std::fs::remove_file(data.profile()).unwrap();
        std::fs::remove_file(data.keyset()).unwrap();
        assert!(matches!(run(&wish, "other"), Err(KeysError::WrongPassphrase { .. })));
        let again = run(&wish, "pass").unwrap();
        assert_eq!(again.profile.roots, first.profile.roots);
        assert_eq!(again.keyset.keys[0].x, first.keyset.keys[0].x);
        assert!(run(&Wish { name: "Other".to_owned(), ..wish.clone() }, "pass").is_err());
        // Stopped between the two root keys: the spare alone is worth nothing.
        std::fs::remove_file(data.profile()).unwrap();
        std::fs::remove_file(roots.join("root-active.clvroot")).unwrap();
        assert_ne!(run(&wish, "pass").unwrap().profile.roots, first.profile.roots);
        assert!(is_unfinished(&data));
        finish(&data).unwrap();
        assert!(run(&wish, "pass").unwrap_err().to_string().contains("already"));
    }
}
