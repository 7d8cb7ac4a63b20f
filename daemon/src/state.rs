//! The daemon's private state: plain files, replaced as a whole, keyed by vendor.
//!
//! ```text
//! state/machine.json                       whose state this is
//! state/settings.json                      the name that the person chose for this computer
//! state/sent/                              what was sent, byte for byte (see `egress`)
//! state/vendors/VENDOR/vendor.clvprofile   the profile whose root keys are believed
//! state/vendors/VENDOR/vendor.json         epoch, a keyset that waits, when to try again
//! state/vendors/VENDOR/device.key          sealed to this machine
//! state/vendors/VENDOR/intents/*.json      activations begun: the exact bytes of their requests
//! state/vendors/VENDOR/outbox/*.receipt    receipts that the server has not acknowledged
//! state/vendors/VENDOR/receipts/*.receipt  acknowledged ones, kept for a server that forgets
//! state/vendors/VENDOR/ended/*.json        activations that ended lately
//! ```
//! A file that cannot be read is moved aside under a name that says so, and the daemon goes on without it.

mod offline;

use std::path::{Path, PathBuf};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, EndReason, Receipt, Request};
use claviger_protocol::ids::{ActivationId, DeviceName, Nonce, VendorId};
use claviger_protocol::ipc::License;
use claviger_protocol::keys::SigningKey;
use claviger_protocol::layout::PROFILE;
use ring::rand::SecureRandom;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::egress::Choices;
use crate::machine::Machine;
use crate::platform::{self, FileError, Visibility};

pub use offline::Waiting;

/// Most bytes of a private file that is read; a license with its certificate and a request both fit.
const MAX_FILE: usize = 2 * 1024 * 1024;

/// The private state of one daemon.
#[derive(Clone, Debug)]
pub struct State {
    root: PathBuf,
}

/// What the daemon remembers about a vendor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorRecord {
    /// The server's epoch, once it answered.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// The epoch changed: certificates and kept receipts are to be presented again.
    #[serde(default)]
    pub present: bool,
    /// A newer keyset that would make held certificates worthless, until they were issued anew.
    #[serde(default)]
    pub pending: Option<PendingKeyset>,
    /// When the server last answered.
    #[serde(default)]
    pub last_contact: Option<Timestamp>,
    /// Activations whose certificates came back, out of a backup, after the server had their receipts: it is told at the
    /// next contact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored: Vec<ActivationId>,
    /// Receipts left in a file: they are no reason to go online without being asked.
    #[serde(default)]
    pub quiet: bool,
    /// Attempts in the background that failed since.
    #[serde(default)]
    pub failures: u32,
    /// Not before this moment in the background.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
}

/// A keyset that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingKeyset {
    /// Its compact form.
    pub keyset: String,
    /// Since when.
    pub since: Timestamp,
}

/// An activation begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// When.
    pub at: Timestamp,
    /// The exact request, in compact form.
    pub request: String,
}

/// An activation that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What it was.
    pub license: License,
    /// Why it ended.
    pub reason: EndReason,
    /// The revision that ended it.
    pub revision: u32,
    /// When this machine learned it.
    pub learned: Timestamp,
    /// The certificate of a suspended one, which may come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct MachineFile {
    machine: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Settings {
    #[serde(default)]
    device_name: Option<DeviceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<bool>,
}

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No machine id to seal it with.
    #[error(transparent)]
    Machine(#[from] crate::machine::NoMachineId),
    /// It could not be stored.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system's generator fails.
    #[error("the system's random generator failed")]
    Random,
}

/// What a vendor's device key is sealed for.
fn key_purpose(vendor: &VendorId) -> String {
    format!("claviger device key v1 {vendor}")
}

/// Whether a text can be what [`Machine::tag`] gives; anything else is damage.
fn is_tag(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl State {
    /// Opens the state in this folder. State that was copied from another machine is moved aside first.
    ///
    /// # Errors
    /// [`FileError`] when the folder can neither be read nor made.
    pub fn open(root: PathBuf, machine: &Machine) -> Result<(Self, Option<PathBuf>), FileError> {
        let state = Self { root };
        let Ok(tag) = machine.tag() else {
            platform::make_dir(&state.root, Visibility::Private)?;
            return Ok((state, None));
        };
        let path = state.root.join("machine.json");
        let stored: Option<MachineFile> = state.read_json(&path)?;
        if stored.as_ref().is_some_and(|file| file.machine == tag) {
            return Ok((state, None));
        }
        let aside = match stored {
            Some(file) if !is_tag(&file.machine) || state.opens_on(machine) => {
                state.set_aside(&path, "it names no machine, or another than its own keys");
                None
            }
            Some(_) => Some(platform::move_aside(&state.root, "from-another-machine")?),
            None => None,
        };
        platform::make_dir(&state.root, Visibility::Private)?;
        state.write_json(&path, &MachineFile { machine: tag })?;
        Ok((state, aside))
    }

    /// Whether a device key in here was sealed on this machine: then the state is this machine's, whatever it is marked.
    fn opens_on(&self, machine: &Machine) -> bool {
        self.vendors().unwrap_or_default().iter().any(|vendor| {
            let sealed = platform::read_bounded(&self.vendor(vendor).join("device.key"), 4096).ok().flatten();
            sealed.is_some_and(|sealed| {
                machine.open(&key_purpose(vendor), &sealed).is_ok_and(|key| key.is_some())
            })
        })
    }

    /// The state in a folder that cannot be marked as this machine's: what is in it can still be read.
    #[must_use]
    pub fn unmarked(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn vendor(&self, vendor: &VendorId) -> PathBuf {
        self.root.join("vendors").join(vendor.as_str())
    }

    fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, FileError> {
        let bytes = match platform::read_bounded(path, MAX_FILE) {
            Err(e) if e.code() == "damaged" => Some(Vec::new()),
            other => other?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(e) => {
                self.set_aside(path, &e.to_string());
                Ok(None)
            }
        }
    }

    /// Reads a file; one that is too large, or no file at all, is set aside and counts as missing.
    fn read_or_set_aside(&self, path: &Path, max: usize) -> Result<Option<Vec<u8>>, FileError> {
        match platform::read_bounded(path, max) {
            Err(e) if e.code() == "damaged" => {
                self.set_aside(path, &e.source.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), FileError> {
        let text = serde_json::to_vec_pretty(value).unwrap_or_default();
        platform::write_file(path, &text, Visibility::Private)
    }

    fn set_aside(&self, path: &Path, why: &str) {
        match platform::move_aside(path, "damaged") {
            Ok(place) => tracing::error!(
                file = %path.display(), kept_as = %place.display(), why, "a damaged file was set aside"
            ),
            Err(e) => tracing::error!(error = %e, cause = %e.source, why, "a damaged file is in the way"),
        }
    }

    /// The vendors that have a folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn vendors(&self) -> Result<Vec<VendorId>, FileError> {
        let names = platform::list(&self.root.join("vendors"))?;
        Ok(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The name that the person chose for this computer.
    #[must_use]
    pub fn device_name(&self) -> Option<DeviceName> {
        self.settings().device_name
    }

    fn settings(&self) -> Settings {
        self.read_json(&self.root.join("settings.json")).ok().flatten().unwrap_or_default()
    }

    /// What the person has chosen about the network.
    #[must_use]
    pub fn choices(&self) -> Choices {
        let Settings { proxy, network, .. } = self.settings();
        Choices { proxy, network }
    }

    /// Stores that.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_choices(&self, choices: &Choices) -> Result<(), FileError> {
        let Choices { proxy, network } = choices.clone();
        self.write_json(&self.root.join("settings.json"), &Settings { proxy, network, ..self.settings() })
    }

    /// Stores that name.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_device_name(&self, name: &DeviceName) -> Result<(), FileError> {
        let settings = Settings { device_name: Some(name.clone()), ..self.settings() };
        self.write_json(&self.root.join("settings.json"), &settings)
    }

    /// The profile whose root keys are believed.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn profile(&self, vendor: &VendorId) -> Result<Option<String>, FileError> {
        let bytes = self.read_or_set_aside(&self.vendor(vendor).join(PROFILE), MAX_FILE)?;
        Ok(bytes.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }

    /// Stores that profile.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_profile(&self, vendor: &VendorId, text: &str) -> Result<(), FileError> {
        let path = self.vendor(vendor).join(PROFILE);
        platform::write_file(&path, text.as_bytes(), Visibility::Private)
    }

    /// Puts back what stood where [`State::write_profile`] wrote: an earlier profile, or nothing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn restore_profile(&self, vendor: &VendorId, before: Option<&str>) -> Result<(), FileError> {
        if let Some(text) = before {
            return self.write_profile(vendor, text);
        }
        let folder = self.vendor(vendor);
        platform::remove_file(&folder.join(PROFILE))?;
        // It stays when it holds anything else, such as the device key of an earlier time.
        let _ = std::fs::remove_dir(&folder);
        Ok(())
    }

    /// A profile that does not verify any more.
    pub fn set_profile_aside(&self, vendor: &VendorId, why: &str) {
        self.set_aside(&self.vendor(vendor).join(PROFILE), why);
    }

    /// Forgets a vendor, its device key apart: whoever adds it again is the same machine to its server.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove_vendor(&self, vendor: &VendorId) -> Result<(), FileError> {
        let folder = self.vendor(vendor);
        for name in [PROFILE, "vendor.json"] {
            platform::remove_file(&folder.join(name))?;
        }
        if folder.is_dir() { platform::sync_dir(&folder) } else { Ok(()) }
    }

    /// What is remembered about a vendor.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn record(&self, vendor: &VendorId) -> Result<VendorRecord, FileError> {
        Ok(self.read_json(&self.vendor(vendor).join("vendor.json"))?.unwrap_or_default())
    }

    /// Stores it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_record(&self, vendor: &VendorId, record: &VendorRecord) -> Result<(), FileError> {
        self.write_json(&self.vendor(vendor).join("vendor.json"), record)
    }

    /// The device key for a vendor, made on first use. One that cannot be opened here is moved aside and replaced:
    /// losing it costs nothing but a new one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn device_key(
        &self,
        vendor: &VendorId,
        machine: &Machine,
        rng: &dyn SecureRandom,
    ) -> Result<SigningKey, KeyError> {
        let path = self.vendor(vendor).join("device.key");
        let purpose = key_purpose(vendor);
        if let Some(sealed) = self.read_or_set_aside(&path, 4096)? {
            let seed = machine.open(&purpose, &sealed)?;
            if let Some(seed) = seed.and_then(|s| <[u8; 32]>::try_from(s.as_slice()).ok()) {
                return Ok(SigningKey::from_seed(&zeroize::Zeroizing::new(seed)));
            }
            self.set_aside(&path, "it was sealed on another machine, or changed");
        }
        let key = SigningKey::generate(rng).map_err(|_| KeyError::Random)?;
        let mut nonce = [0u8; 12];
        rng.fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let sealed = machine.seal(&purpose, key.seed(), nonce)?;
        platform::write_file(&path, &sealed, Visibility::Private)?;
        Ok(key)
    }

    fn intent_path(&self, vendor: &VendorId, nonce: Nonce) -> PathBuf {
        self.vendor(vendor).join("intents").join(format!("{nonce}.json"))
    }

    /// Stores an intent, before anything is sent.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_intent(&self, vendor: &VendorId, nonce: Nonce, intent: &Intent) -> Result<(), FileError> {
        self.write_json(&self.intent_path(vendor, nonce), intent)
    }

    /// The intents that wait, oldest first; each with its request as read.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn intents(&self, vendor: &VendorId) -> Result<Vec<(Intent, Request)>, FileError> {
        let folder = self.vendor(vendor).join("intents");
        let mut found = Vec::new();
        for name in platform::list(&folder)?.into_iter().filter(|n| n.ends_with(".json")) {
            let path = folder.join(&name);
            let Some(intent) = self.read_json::<Intent>(&path)? else { continue };
            match Request::verify(&intent.request, vendor) {
                Ok((request, _, _)) => found.push((intent, request)),
                Err(e) => self.set_aside(&path, &e.to_string()),
            }
        }
        found.sort_by_key(|(intent, _)| intent.at);
        Ok(found)
    }

    /// Whether any intent waits.
    #[must_use]
    pub fn has_intents(&self, vendor: &VendorId) -> bool {
        self.count(vendor, "intents", ".json") > 0
    }

    /// Clears an intent that was settled.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn clear_intent(&self, vendor: &VendorId, nonce: Nonce) -> Result<(), FileError> {
        let path = self.intent_path(vendor, nonce);
        platform::remove_file(&path)?;
        platform::sync_dir(path.parent().unwrap_or(&self.root))
    }

    /// How many files of a kind a vendor's folder holds.
    #[must_use]
    pub fn count(&self, vendor: &VendorId, folder: &str, ending: &str) -> usize {
        let names = platform::list(&self.vendor(vendor).join(folder)).unwrap_or_default();
        names.iter().filter(|n| n.ends_with(ending)).count()
    }

    fn receipt_path(&self, vendor: &VendorId, folder: &str, id: ActivationId) -> PathBuf {
        self.vendor(vendor).join(folder).join(format!("{id}.receipt"))
    }

    /// A folder of receipts; a file in its place is set aside.
    fn folder_of_receipts(&self, vendor: &VendorId, folder: &str) -> PathBuf {
        let path = self.vendor(vendor).join(folder);
        if path.is_file() {
            self.set_aside(&path, "a folder is needed here");
        }
        path
    }

    /// Stores a receipt for delivery.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_outbox(&self, vendor: &VendorId, id: ActivationId, text: &str) -> Result<(), FileError> {
        let path = self.folder_of_receipts(vendor, "outbox").join(format!("{id}.receipt"));
        platform::write_file(&path, text.as_bytes(), Visibility::Private)
    }

    /// Takes a receipt back that was never sent.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn take_back(&self, vendor: &VendorId, id: ActivationId) -> Result<(), FileError> {
        let path = self.receipt_path(vendor, "outbox", id);
        platform::remove_file(&path)?;
        platform::sync_dir(path.parent().unwrap_or(&self.root))
    }

    fn receipts_in(&self, vendor: &VendorId, folder: &str) -> Result<Vec<(Receipt, String)>, FileError> {
        let path = self.folder_of_receipts(vendor, folder);
        let mut found = Vec::new();
        for name in platform::list(&path)?.into_iter().filter(|n| n.ends_with(".receipt")) {
            let Some(bytes) = self.read_or_set_aside(&path.join(&name), MAX_FILE)? else { continue };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match Receipt::verify(&text, vendor) {
                Ok((receipt, _)) => found.push((receipt, text)),
                Err(e) => self.set_aside(&path.join(&name), &e.to_string()),
            }
        }
        Ok(found)
    }

    /// The receipts that wait for delivery.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn outbox(&self, vendor: &VendorId) -> Result<Vec<(Receipt, String)>, FileError> {
        self.receipts_in(vendor, "outbox")
    }

    /// Whether any receipt waits.
    #[must_use]
    pub fn has_outbox(&self, vendor: &VendorId) -> bool {
        self.count(vendor, "outbox", ".receipt") > 0
    }

    /// Whether any receipt that the server has is kept.
    #[must_use]
    pub fn has_kept(&self, vendor: &VendorId) -> bool {
        self.count(vendor, "receipts", ".receipt") > 0
    }

    /// The server has this receipt: it is kept, but not sent again.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn acknowledge(&self, vendor: &VendorId, id: ActivationId, text: &str) -> Result<(), FileError> {
        let kept = self.folder_of_receipts(vendor, "receipts").join(format!("{id}.receipt"));
        platform::write_file(&kept, text.as_bytes(), Visibility::Private)?;
        let waiting = self.receipt_path(vendor, "outbox", id);
        platform::remove_file(&waiting)?;
        platform::sync_dir(waiting.parent().unwrap_or(&self.root))
    }

    /// A restored server may have forgotten the kept receipts: they go to the outbox again.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn resend_kept(&self, vendor: &VendorId) -> Result<(), FileError> {
        for (receipt, text) in self.receipts_in(vendor, "receipts")? {
            self.write_outbox(vendor, receipt.activation, &text)?;
        }
        Ok(())
    }

    /// Drops kept receipts and memories of ended activations that are older than `before`.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn prune(&self, vendor: &VendorId, before: Timestamp) -> Result<(), FileError> {
        for (receipt, _) in self.receipts_in(vendor, "receipts")? {
            if receipt.iat < before {
                platform::remove_file(&self.receipt_path(vendor, "receipts", receipt.activation))?;
            }
        }
        for ended in self.ended(vendor)? {
            if ended.learned < before && ended.certificate.is_none() {
                self.forget_ended(vendor, ended.license.activation)?;
            }
        }
        Ok(())
    }

    fn ended_path(&self, vendor: &VendorId, id: ActivationId) -> PathBuf {
        self.vendor(vendor).join("ended").join(format!("{id}.json"))
    }

    /// Remembers that an activation ended.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write_ended(&self, vendor: &VendorId, ended: &Ended) -> Result<(), FileError> {
        self.write_json(&self.ended_path(vendor, ended.license.activation), ended)
    }

    /// The activations that ended lately.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn ended(&self, vendor: &VendorId) -> Result<Vec<Ended>, FileError> {
        let folder = self.vendor(vendor).join("ended");
        let mut found = Vec::new();
        for name in platform::list(&folder)?.into_iter().filter(|n| n.ends_with(".json")) {
            found.extend(self.read_json::<Ended>(&folder.join(name))?);
        }
        Ok(found)
    }

    /// Forgets that an activation ended: it came back, or its time has passed.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn forget_ended(&self, vendor: &VendorId, id: ActivationId) -> Result<(), FileError> {
        platform::remove_file(&self.ended_path(vendor, id))
    }

    /// Everything of ours that is no file where one should be, or no folder, and what stands there.
    #[must_use]
    pub fn misplaced(&self) -> Vec<(PathBuf, &'static str)> {
        let mut found = Vec::new();
        let mut look = |path: PathBuf, folder: bool| {
            if let Some(stands) = platform::misplaced(&path, folder) {
                found.push((path, stands));
            }
        };
        look(self.root.join("machine.json"), false);
        look(self.root.join("settings.json"), false);
        look(self.root.join("sent"), true);
        look(self.root.join("vendors"), true);
        for name in platform::list(&self.root.join("sent")).unwrap_or_default() {
            look(self.root.join("sent").join(name), false);
        }
        for vendor in self.vendors().unwrap_or_default() {
            let folder = self.vendor(&vendor);
            look(folder.clone(), true);
            for name in [PROFILE, "vendor.json", "device.key"] {
                look(folder.join(name), false);
            }
            for name in ["intents", "outbox", "receipts", "ended"] {
                let inner = folder.join(name);
                look(inner.clone(), true);
                let files = platform::list(&inner).unwrap_or_default().into_iter();
                // What was set aside may be anything.
                for file in files.filter(|n| n.ends_with(".json") || n.ends_with(".receipt")) {
                    look(inner.join(file), false);
                }
            }
        }
        found
    }

    /// Removes temporaries of a crash.
    pub fn clear_temporaries(&self) {
        platform::clear_temporaries(&self.root);
        for vendor in self.vendors().unwrap_or_default() {
            let folder = self.vendor(&vendor);
            platform::clear_temporaries(&folder);
            for name in ["intents", "outbox", "receipts", "ended"] {
                platform::clear_temporaries(&folder.join(name));
            }
        }
    }

    /// Whether `certificate` gives back the suspended activation that `ended` remembers.
    #[must_use]
    pub fn resumes(ended: &Ended, certificate: &ActivationCertificate) -> bool {
        certificate.rev > ended.revision
    }
}
