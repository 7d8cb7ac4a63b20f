//! The daemon's Varlink interface: its description, its messages as types, and the bounds of a frame.
//!
//! A frame is one JSON object ended by a NUL byte (<https://varlink.org/Wire-Protocol>). These types are the content;
//! who carries them (an async server, a blocking client) is not decided here.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Date, Timestamp};
use crate::documents::{ActivationCertificate, LicenseKind, MachineFacts, SeatEvent, SeatHolder};
use crate::http::Seats;
use crate::ids::{ActivationId, DeviceName, MachineId, ProductId, VendorId};
use crate::serial::{Prefix, Serial};
use crate::status::Status;

/// The interface's name.
pub const INTERFACE: &str = "io.claviger.Daemon";
/// The interface description that introspection serves.
pub const DESCRIPTION: &str = include_str!("io.claviger.Daemon.varlink");
/// Most bytes of a frame that a daemon reads, NUL included: a profile is the largest thing anyone sends.
pub const MAX_CALL_FRAME: usize = 256 * 1024;
/// Most bytes of a frame that a client reads, NUL included: a list of 50,000 licenses fits.
pub const MAX_REPLY_FRAME: usize = 128 * 1024 * 1024;

/// A call, as it stands in `method` and `parameters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters", remote = "Self")]
#[expect(missing_docs, reason = "the interface description documents methods and fields")]
pub enum Method {
    #[serde(rename = "io.claviger.Daemon.GetStatus")]
    GetStatus {},
    #[serde(rename = "io.claviger.Daemon.ListVendors")]
    ListVendors {},
    #[serde(rename = "io.claviger.Daemon.AddVendor")]
    AddVendor { profile: String },
    #[serde(rename = "io.claviger.Daemon.RemoveVendor")]
    RemoveVendor { vendor: VendorId },
    #[serde(rename = "io.claviger.Daemon.ListLicenses")]
    ListLicenses {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<VendorId>,
    },
    #[serde(rename = "io.claviger.Daemon.Activate")]
    Activate(ActivateCall),
    #[serde(rename = "io.claviger.Daemon.Deactivate")]
    Deactivate { target: String },
    #[serde(rename = "io.claviger.Daemon.MakeOfflineRequest")]
    MakeOfflineRequest(ActivateCall),
    #[serde(rename = "io.claviger.Daemon.ImportOfflineAnswers")]
    ImportOfflineAnswers { answers: Vec<String> },
    #[serde(rename = "io.claviger.Daemon.ImportOfflineCode")]
    ImportOfflineCode { code: String },
    #[serde(rename = "io.claviger.Daemon.DeactivateOffline")]
    DeactivateOffline { target: String },
    #[serde(rename = "io.claviger.Daemon.PrepareImage")]
    PrepareImage {},
    #[serde(rename = "io.claviger.Daemon.Refresh")]
    Refresh {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<VendorId>,
    },
    #[serde(rename = "io.claviger.Daemon.ShowMachine")]
    ShowMachine {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<VendorId>,
    },
    #[serde(rename = "io.claviger.Daemon.RenameMachine")]
    RenameMachine { device_name: DeviceName },
    #[serde(rename = "io.claviger.Daemon.ShowSeats")]
    ShowSeats {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<VendorId>,
    },
    #[serde(rename = "io.claviger.Daemon.FreeMachine")]
    FreeMachine(FreeCall),
    #[serde(rename = "io.claviger.Daemon.GetSettings")]
    GetSettings {},
    #[serde(rename = "io.claviger.Daemon.SetSetting")]
    SetSetting {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    #[serde(rename = "io.claviger.Daemon.Monitor")]
    Monitor {},
    #[serde(rename = "io.claviger.Daemon.Doctor")]
    Doctor {},
    #[serde(rename = "io.claviger.Daemon.ListConsents")]
    ListConsents {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<VendorId>,
    },
    #[serde(rename = "io.claviger.Daemon.ShowNotice")]
    ShowNotice {
        vendor: VendorId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
    },
    #[serde(rename = "io.claviger.Daemon.Grant")]
    Grant { vendor: VendorId, challenge: String },
    #[serde(rename = "io.claviger.Daemon.Refuse")]
    Refuse {
        vendor: VendorId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        challenge: Option<String>,
    },
    #[serde(rename = "io.claviger.Daemon.Withdraw")]
    Withdraw { vendor: VendorId },
    #[serde(rename = "io.claviger.Daemon.ReportUse")]
    ReportUse { product: ProductId, version: String, daw: String },
    #[serde(rename = "io.claviger.Daemon.PreviewTelemetry")]
    PreviewTelemetry {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vendor: Option<VendorId>,
    },
    #[serde(rename = "io.claviger.Daemon.ListSent")]
    ListSent {},
    #[serde(rename = "io.claviger.Daemon.ClearSent")]
    ClearSent {},
}

/// Varlink lets a caller leave `parameters` out, and unknown ones are ignored: a newer CLI may say more.
impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Call {
            method: serde_json::Value,
            #[serde(default)]
            parameters: Option<serde_json::Map<String, serde_json::Value>>,
        }
        let Call { method, parameters } = Call::deserialize(deserializer)?;
        let whole = serde_json::json!({"method": method, "parameters": parameters.unwrap_or_default()});
        Self::deserialize(whole).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// What `Activate` takes. Its `Debug` shows neither the unlock code nor the serial number, which opens
/// a license alone where an imported one has no code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivateCall {
    /// The serial number as the person typed it.
    pub serial: String,
    /// The unlock code as the person typed it; none for an imported serial number that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock_code: Option<String>,
    /// The vendor, where the serial's prefix does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<VendorId>,
    /// A machine whose seat this one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_machine: Option<String>,
}

impl std::fmt::Debug for ActivateCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.unlock_code.as_ref().map(|_| "…");
        f.debug_struct("ActivateCall")
            .field("serial", &if self.serial.is_empty() { "" } else { "…" })
            .field("unlock_code", &code)
            .field("vendor", &self.vendor)
            .field("replace_machine", &self.replace_machine)
            .finish()
    }
}

/// What `FreeMachine` takes. Its `Debug` shows neither the unlock code nor the serial number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeCall {
    /// The machine id or name of the computer whose seat becomes free.
    pub machine: String,
    /// The serial number as the person typed it.
    pub serial: String,
    /// The unlock code as the person typed it; none for an imported serial number that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock_code: Option<String>,
    /// The vendor, where the serial's prefix does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<VendorId>,
}

impl std::fmt::Debug for FreeCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.unlock_code.as_ref().map(|_| "…");
        f.debug_struct("FreeCall")
            .field("machine", &self.machine)
            .field("serial", &if self.serial.is_empty() { "" } else { "…" })
            .field("unlock_code", &code)
            .field("vendor", &self.vendor)
            .finish()
    }
}

/// Reply to `GetStatus`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStatusReply {
    /// The daemon.
    pub status: DaemonStatus,
}

/// The daemon itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// For one user or for the whole machine.
    pub mode: Mode,
    /// Its process id.
    pub pid: u32,
    /// Known vendors.
    pub vendors: usize,
    /// Activations held.
    pub activations: usize,
    /// Receipts that a server has not acknowledged yet.
    pub receipts_waiting: usize,
    /// Activations begun whose end is not known yet.
    pub intents_waiting: usize,
    /// Whether policy lets it use the network.
    pub network: bool,
    /// Whether the caller may change activations.
    pub may_change: bool,
    /// When it will next contact a server by itself, if it plans to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_contact: Option<Timestamp>,
}

/// Whom a daemon serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The user who runs it.
    User,
    /// Everyone on the machine.
    System,
}

/// Reply to `ListVendors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVendorsReply {
    /// The known vendors, by id.
    pub vendors: Vec<Vendor>,
}

/// Reply to `AddVendor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddVendorReply {
    /// The vendor.
    pub vendor: Vendor,
    /// False when it was known already.
    pub added: bool,
}

/// A vendor whose profile the daemon knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vendor {
    /// Its id.
    pub id: VendorId,
    /// Its name.
    pub name: String,
    /// What its serial numbers begin with.
    pub prefix: Prefix,
    /// Its server.
    pub server: String,
    /// The highest keyset number known.
    pub keyset: u32,
    /// Its privacy policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Where to ask for help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<String>,
    /// Its colour, `#RRGGBB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent: Option<String>,
    /// Its picture, a PNG in base64url: read it with [`crate::documents::Logo::from_text`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
}

/// Reply to `ListLicenses`, `Refresh` and `Monitor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicensesReply {
    /// Activations on this machine, held and lately ended.
    pub licenses: Vec<License>,
    /// Sentences for people: whose licenses could not be read, and why. The others' stand in the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// An activation on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// The vendor.
    pub vendor: VendorId,
    /// Its name.
    pub vendor_name: String,
    /// The license.
    pub serial: Serial,
    /// The activation.
    pub activation: ActivationId,
    /// Its revision.
    pub revision: u32,
    /// The licensed product or bundle.
    pub product: ProductId,
    /// Its name.
    pub product_name: String,
    /// All that it opens.
    pub opens: Vec<ProductId>,
    /// Perpetual, subscription or trial.
    pub kind: LicenseKind,
    /// Licensed, or why not.
    pub status: Status,
    /// Date of the certificate, or the moment it ended.
    pub since: Timestamp,
    /// Last release date covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_until: Option<Date>,
    /// Until when a subscription is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_through: Option<Timestamp>,
    /// End of a subscription's grace or of a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Features it opens.
    #[serde(default)]
    pub entitlements: Vec<String>,
    /// The machine that took the seat, when another did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<DeviceName>,
    /// The signed document, while it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl License {
    /// What a certificate says, with a status found elsewhere.
    #[must_use]
    pub fn of(
        certificate: &ActivationCertificate,
        text: Option<String>,
        vendor_name: String,
        status: Status,
    ) -> Self {
        Self {
            vendor: certificate.iss.clone(),
            vendor_name,
            serial: certificate.serial.clone(),
            activation: certificate.jti,
            revision: certificate.rev,
            product: certificate.product.clone(),
            product_name: certificate.name.clone(),
            opens: certificate.opens.clone(),
            kind: certificate.kind,
            status,
            since: certificate.iat,
            updates_until: certificate.updates_until,
            paid_through: certificate.paid_through,
            expires: certificate.exp,
            entitlements: certificate.entitlements.clone(),
            ended_by: None,
            certificate: text,
        }
    }
}

/// Reply to `Activate`: progress, then the license.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivateReply {
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The result, in the last reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<License>,
}

/// Reply to `Deactivate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeactivateReply {
    /// What was given up.
    pub license: License,
    /// Whether the server has the receipt.
    pub delivered: bool,
}

/// Reply to `MakeOfflineRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineRequestReply {
    /// Whom it is for.
    pub vendor: Vendor,
    /// The signed request in compact form.
    pub request: String,
    /// Until when it may be answered.
    pub expires: Timestamp,
}

/// Reply to `ImportOfflineAnswers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOfflineReply {
    /// What became of each answer, in their order.
    pub items: Vec<OfflineItem>,
}

/// What became of one offline answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineItem {
    /// What it activates here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<License>,
    /// Whether anything is different now: false for an answer that was imported before.
    pub changed: bool,
    /// Receipts of this machine that it acknowledges.
    pub receipts: usize,
    /// Why it was not taken: a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was not taken: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Reply to `ImportOfflineCode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineCodeReply {
    /// What is activated.
    pub license: License,
}

/// Reply to `DeactivateOffline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineReceiptReply {
    /// Whom the receipt is for.
    pub vendor: Vendor,
    /// What was given up.
    pub license: License,
    /// The signed request that carries the receipt, in compact form.
    pub request: String,
    /// Whether the device key is the one that the activation was made with. Where it is another (the machine was
    /// reset meanwhile), the vendor may have to free the seat by hand.
    pub same_key: bool,
}

/// Reply to `PrepareImage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareImageReply {
    /// Vendors that stay known, without keys.
    pub vendors: usize,
    /// Serial numbers whose activations were removed here; their seats stay taken until the vendor frees them.
    pub seats: Vec<String>,
    /// Receipts that no server has acknowledged.
    pub receipts: usize,
    /// Requests that waited for an answer.
    pub requests: usize,
}

/// Reply to `ShowMachine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowMachineReply {
    /// One entry a vendor, because the machine id differs.
    pub machines: Vec<Machine>,
}

/// Exactly what activation would send to one vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of MachineFacts")]
pub struct Machine {
    pub vendor: VendorId,
    pub device_name: DeviceName,
    pub os_family: String,
    pub os_version: String,
    pub os_arch: String,
    pub cpu_model: String,
    pub cpu_logical_cores: u32,
    pub ram_gib: u32,
    pub machine_id: MachineId,
}

impl Machine {
    /// What `facts` tell `vendor`.
    #[must_use]
    pub fn of(vendor: VendorId, facts: MachineFacts) -> Self {
        Self {
            vendor,
            device_name: facts.device_name,
            os_family: facts.os.family,
            os_version: facts.os.version,
            os_arch: facts.os.arch,
            cpu_model: facts.cpu.model,
            cpu_logical_cores: facts.cpu.logical_cores,
            ram_gib: facts.ram_gib,
            machine_id: facts.machine_id,
        }
    }
}

/// Reply to `RenameMachine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameMachineReply {
    /// The name in force.
    pub device_name: DeviceName,
}

/// Reply to `ShowSeats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowSeatsReply {
    /// One entry a license.
    pub seats: Vec<LicenseSeats>,
    /// Sentences for people: which vendors could not be asked, which licenses could not be proved, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The seats of a license that is active here, as its vendor's server told them just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseSeats {
    /// The vendor.
    pub vendor: VendorId,
    /// Its name.
    pub vendor_name: String,
    /// The license.
    pub serial: Serial,
    /// The activation here.
    pub activation: ActivationId,
    /// The licensed product or bundle.
    pub product: ProductId,
    /// Its name.
    pub product_name: String,
    /// This computer, as the vendor knows it.
    pub machine_id: MachineId,
    /// How many seats there are.
    pub total: u32,
    /// How many computers hold one.
    pub taken: u32,
    /// Who they are, oldest first; where there are very many, the latest of them.
    pub holders: Vec<SeatHolder>,
    /// What became of seats, newest first, bounded.
    #[serde(default)]
    pub history: Vec<SeatEvent>,
}

/// Reply to `FreeMachine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeMachineReply {
    /// The vendor.
    pub vendor: VendorId,
    /// The license.
    pub serial: Serial,
    /// The computer that holds no seat of it any more.
    pub machine_id: MachineId,
    /// Its name.
    pub device_name: DeviceName,
}

/// Reply to `GetSettings` and `SetSetting`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsReply {
    /// Everything that may be set.
    pub settings: Vec<Setting>,
}

/// One thing that may be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Which: `proxy` (an address) or `network` (`on`, `off`).
    pub name: String,
    /// What holds; absent where nothing is set. A proxy's password is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Who says so.
    pub source: SettingSource,
    /// Whether the caller may not change it.
    pub locked: bool,
}

/// Who decided about a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// The person.
    Yours,
    /// The administrator.
    Policy,
    /// Nobody. Also read from any source of a later version.
    #[serde(other)]
    Default,
}

/// Reply to `Doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReply {
    /// What was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What: a stable word.
    pub name: String,
    /// How bad.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but should be looked at. Also read from any level of a later version.
    Warning,
    /// Does not work.
    Error,
}

impl From<String> for Level {
    fn from(word: String) -> Self {
        match word.as_str() {
            "ok" => Self::Ok,
            "error" => Self::Error,
            _ => Self::Warning,
        }
    }
}

/// Reply to `ListConsents`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListConsentsReply {
    /// One a known vendor.
    pub consents: Vec<Consent>,
}

/// Reply to `Grant`, `Refuse` and `Withdraw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentReply {
    /// What holds now.
    pub consent: Consent,
}

/// What the caller has decided about one vendor's usage statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The vendor.
    pub vendor: VendorId,
    /// Its name.
    pub vendor_name: String,
    /// Where it stands.
    pub state: ConsentState,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When a consent or refusal ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Whether uses are counted at this moment: given, current, and nothing vetoes.
    pub counting: bool,
    /// What keeps telemetry off whatever the person decided: `policy`, `do_not_track`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<String>,
    /// The version of the notice that was decided about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_version: Option<u32>,
    /// The consent record, JSON after docs/consent-record.schema.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The record signed by this computer, for the person to keep: a `claviger-consent-receipt+jws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// Where a consent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// The notice was shown; no answer yet.
    Requested,
    /// Given.
    Given,
    /// Refused.
    Refused,
    /// Withdrawn.
    Withdrawn,
    /// Given or refused more than 13 months ago.
    Expired,
    /// Purpose, fields or policy have changed since.
    Superseded,
    /// Never asked. Also read from any state of a later version: nothing may be counted then.
    #[serde(other)]
    None,
}

/// Reply to `ShowNotice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowNoticeReply {
    /// What the person is to read.
    pub notice: NoticeShown,
    /// Good for one `Grant` or `Refuse` by the same user, for an hour.
    pub challenge: String,
}

/// A vendor's signed notice in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeShown {
    /// The vendor.
    pub vendor: VendorId,
    /// Its name.
    pub vendor_name: String,
    /// The notice's id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of the signed notice, base64url.
    pub sha256: String,
    /// The language of title and text.
    pub language: String,
    /// One line.
    pub title: String,
    /// The notice itself, plain text.
    pub text: String,
    /// What the data is for.
    pub purpose: String,
    /// The fields that are sent.
    pub fields: Vec<String>,
    /// Who is responsible: name.
    pub controller: String,
    /// Postal address.
    pub address: String,
    /// Mail address.
    pub contact: String,
    /// The data-protection officer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection_officer: Option<String>,
    /// The supervisory authority: name.
    pub authority: String,
    /// Its page.
    pub authority_url: String,
    /// The privacy policy: address.
    pub policy_url: String,
    /// Its version.
    pub policy_version: String,
    /// From when on the notice holds.
    pub effective: Date,
    /// Who else receives the data.
    pub recipients: Vec<String>,
    /// For how many days counts are kept.
    pub retention_days: u32,
    /// Whose law holds.
    pub jurisdiction: String,
}

/// Reply to `PreviewTelemetry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewReply {
    /// What will be sent, by time; empty without consent.
    pub planned: Vec<PlannedSend>,
    /// What is counted at the moment.
    pub counted: Vec<Counted>,
}

/// A request that the daemon will make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSend {
    /// To whom.
    pub vendor: VendorId,
    /// Why: a purpose of the sent log.
    pub purpose: String,
    /// When it will be sent, if the computer is on and online; otherwise at the next occasion, `until` at the latest.
    pub due: Timestamp,
    /// After that it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The week that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// The exact body; absent for a request without one, and while a week is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// How often a title was used in a week that is not over or not sent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the interface description documents the fields")]
pub struct Counted {
    pub vendor: VendorId,
    pub week: String,
    pub product: ProductId,
    pub version: String,
    pub daw: String,
    pub uses: u64,
}

/// Reply to `ListSent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSentReply {
    /// What was sent, oldest first.
    pub sent: Vec<SentEntry>,
}

/// One request that left this computer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentEntry {
    /// When.
    pub at: Timestamp,
    /// To whom.
    pub vendor: VendorId,
    /// Why: `activate`, `refresh`, `deactivate`, `seats`, `free`, `keyset`, `telemetry_notice`, `telemetry_plan`, `telemetry_tokens`,
    /// `telemetry_report`.
    pub purpose: String,
    /// On what ground: `contract`, `consent`, or `request` of the person.
    pub basis: String,
    /// The HTTP method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// The exact body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What came of it; absent while it is under way or when the daemon was stopped meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// Reply to `ClearSent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearSentReply {
    /// How many entries were removed.
    pub removed: u64,
}

/// Reply without content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// An error reply, as it stands in `error` and `parameters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
#[expect(missing_docs, reason = "the interface description documents errors and fields")]
pub enum CallError {
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.InvalidInput")]
    InvalidInput { code: String, message: String, advice: Option<String> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.VendorNeeded")]
    VendorNeeded { message: String, advice: Option<String>, choices: Vec<String> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.NotFound")]
    NotFound { message: String, advice: Option<String>, choices: Vec<String> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.Refused")]
    Refused { code: String, message: String, advice: Option<String>, seats: Option<Seats> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.Unreachable")]
    Unreachable { code: String, message: String, advice: Option<String> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.NotPermitted")]
    NotPermitted { message: String, advice: Option<String> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.Storage")]
    Storage { code: String, message: String, advice: Option<String> },
    #[error("{message}")]
    #[serde(rename = "io.claviger.Daemon.Internal")]
    Internal { message: String, advice: Option<String> },
}

impl CallError {
    /// What to do next, if there is something.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::InvalidInput { advice, .. }
            | Self::VendorNeeded { advice, .. }
            | Self::NotFound { advice, .. }
            | Self::Refused { advice, .. }
            | Self::Unreachable { advice, .. }
            | Self::NotPermitted { advice, .. }
            | Self::Storage { advice, .. }
            | Self::Internal { advice, .. } => advice.as_deref(),
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidInput { code, .. }
            | Self::Refused { code, .. }
            | Self::Unreachable { code, .. }
            | Self::Storage { code, .. } => code,
            Self::VendorNeeded { .. } => "vendor_needed",
            Self::NotFound { .. } => "not_found",
            Self::NotPermitted { .. } => "not_permitted",
            Self::Internal { .. } => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_be_absent_and_unknown_ones_are_ignored() {
        let read = |text: &str| serde_json::from_str::<Method>(text);
        for parameters in ["", r#","parameters":null"#, r#","parameters":{}"#, r#","parameters":{"moon":1}"#]
        {
            let status = format!(r#"{{"method":"io.claviger.Daemon.GetStatus"{parameters},"more":true}}"#);
            assert_eq!(read(&status).unwrap(), Method::GetStatus {}, "{status}");
            let list = format!(r#"{{"method":"io.claviger.Daemon.ListLicenses"{parameters}}}"#);
            assert_eq!(read(&list).unwrap(), Method::ListLicenses { vendor: None }, "{list}");
        }
        for wrong in [
            r#"{"method":"io.claviger.Daemon.Deactivate"}"#,
            r#"{"method":"io.claviger.Daemon.Nothing","parameters":{}}"#,
            r#"{"method":"io.claviger.Daemon.GetStatus","parameters":[]}"#,
            r#"{"method":7}"#,
            r#"{"parameters":{}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
