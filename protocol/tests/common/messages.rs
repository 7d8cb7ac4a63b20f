//! One example of every message of the daemon's Varlink interface: calls, replies and errors, by the name of their
//! golden file.

use claviger_protocol::clock::{DAY, Date};
use claviger_protocol::documents::Outcome;
use claviger_protocol::http::{SeatHolder, Seats};
use claviger_protocol::ids::MachineId;
use claviger_protocol::ipc::{
    ActivateCall, ActivateReply, AddVendorReply, CallError, ClearSentReply, Consent, ConsentReply,
    ConsentState, Counted, DaemonStatus, DeactivateReply, DoctorReply, Empty, Finding, FreeCall,
    FreeMachineReply, GetStatusReply, ImportOfflineReply, Level, License, LicenseSeats, LicensesReply,
    ListConsentsReply, ListSentReply, ListVendorsReply, Machine, Method, Mode, NoticeShown, OfflineCodeReply,
    OfflineItem, OfflineReceiptReply, OfflineRequestReply, PlannedSend, PrepareImageReply, PreviewReply,
    RenameMachineReply, SentEntry, Setting, SettingSource, SettingsReply, ShowMachineReply, ShowNoticeReply,
    ShowSeatsReply, Vendor,
};
use claviger_protocol::keys::Sha256;
use claviger_protocol::status::Status;

use super::documents::{machine_facts, perpetual, profile, profile_with_look, seats_answer, subscription};
use super::telemetry::{notice, usage_report};
use super::{NOW, SERIAL, UNLOCK_CODE, issuing, machine, prefix, product, root, serial, signed, vendor};

pub fn calls() -> Vec<(&'static str, Method)> {
    vec![
        ("get_status", Method::GetStatus {}),
        ("list_vendors", Method::ListVendors {}),
        ("add_vendor", Method::AddVendor { profile: signed(&profile(), &root()) }),
        ("remove_vendor", Method::RemoveVendor { vendor: vendor() }),
        ("list_licenses", Method::ListLicenses { vendor: None }),
        ("list_licenses_of_vendor", Method::ListLicenses { vendor: Some(vendor()) }),
        (
            "activate",
            Method::Activate(ActivateCall {
                serial: SERIAL.to_owned(),
                unlock_code: Some(UNLOCK_CODE.to_owned()),
                vendor: Some(vendor()),
                replace_machine: Some("Old laptop".to_owned()),
            }),
        ),
        (
            "activate_imported",
            Method::Activate(ActivateCall {
                serial: "AB12 CD34".to_owned(),
                unlock_code: None,
                vendor: None,
                replace_machine: None,
            }),
        ),
        ("deactivate", Method::Deactivate { target: "synth".to_owned() }),
        (
            "make_offline_request",
            Method::MakeOfflineRequest(ActivateCall {
                serial: SERIAL.to_owned(),
                unlock_code: Some(UNLOCK_CODE.to_owned()),
                vendor: None,
                replace_machine: None,
            }),
        ),
        (
            "import_offline_answers",
            Method::ImportOfflineAnswers { answers: vec![super::offline::response()] },
        ),
        ("import_offline_code", Method::ImportOfflineCode { code: super::offline::code().to_string() }),
        ("deactivate_offline", Method::DeactivateOffline { target: "synth".to_owned() }),
        ("prepare_image", Method::PrepareImage {}),
        ("refresh", Method::Refresh { vendor: None }),
        ("show_machine", Method::ShowMachine { vendor: Some(vendor()) }),
        ("rename_machine", Method::RenameMachine { device_name: machine_facts().device_name }),
        ("show_seats", Method::ShowSeats { target: Some("Soluna Synth".to_owned()), vendor: None }),
        ("show_all_seats", Method::ShowSeats { target: None, vendor: Some(vendor()) }),
        (
            "free_machine",
            Method::FreeMachine(FreeCall {
                machine: "Old laptop".to_owned(),
                serial: serial().to_string(),
                unlock_code: Some(UNLOCK_CODE.to_owned()),
                vendor: Some(vendor()),
            }),
        ),
        ("get_settings", Method::GetSettings {}),
        (
            "set_setting",
            Method::SetSetting {
                name: "proxy".to_owned(),
                value: Some("http://user:secret@proxy.example.com:3128".to_owned()),
            },
        ),
        ("set_setting_back", Method::SetSetting { name: "network".to_owned(), value: None }),
        ("monitor", Method::Monitor {}),
        ("doctor", Method::Doctor {}),
        ("list_consents", Method::ListConsents { vendor: Some(vendor()) }),
        ("show_notice", Method::ShowNotice { vendor: vendor(), language: Some("de-CH".to_owned()) }),
        ("grant", Method::Grant { vendor: vendor(), challenge: CHALLENGE.to_owned() }),
        ("refuse", Method::Refuse { vendor: vendor(), challenge: Some(CHALLENGE.to_owned()) }),
        ("refuse_unseen", Method::Refuse { vendor: vendor(), challenge: None }),
        ("withdraw", Method::Withdraw { vendor: vendor() }),
        (
            "report_use",
            Method::ReportUse {
                product: product("synth"),
                version: "2.4.1".to_owned(),
                daw: "reaper".to_owned(),
            },
        ),
        ("preview_telemetry", Method::PreviewTelemetry { vendor: None }),
        ("list_sent", Method::ListSent {}),
        ("clear_sent", Method::ClearSent {}),
    ]
}

const CHALLENGE: &str = "5f1d7a84e77d5956c894cf935a9b70aa";

/// A consent with every member.
pub fn consent() -> Consent {
    Consent {
        vendor: vendor(),
        vendor_name: "Soluna Instruments".to_owned(),
        state: ConsentState::Given,
        since: Some(NOW),
        expires: Some(NOW.plus(396 * DAY)),
        counting: false,
        veto: Some("do_not_track".to_owned()),
        notice_version: Some(2),
        record: Some("{}".to_owned()),
        receipt: Some("a.b.c".to_owned()),
    }
}

pub fn notice_shown() -> NoticeShown {
    let notice = notice();
    let (language, text) = notice.text("de-CH");
    NoticeShown {
        vendor: vendor(),
        vendor_name: "Soluna Instruments".to_owned(),
        id: notice.id.clone(),
        version: notice.version,
        sha256: Sha256::of(signed(&notice, &issuing()).as_bytes()).into(),
        language: language.to_owned(),
        title: text.title.clone(),
        text: text.text.clone(),
        purpose: notice.purpose.clone(),
        fields: notice.fields.clone(),
        controller: notice.controller.name.clone(),
        address: notice.controller.address.clone(),
        contact: notice.controller.contact.clone(),
        protection_officer: notice.controller.protection_officer.clone(),
        authority: notice.authority.name.clone(),
        authority_url: notice.authority.url.clone(),
        policy_url: notice.policy.url.clone(),
        policy_version: notice.policy.version.clone(),
        effective: notice.effective,
        recipients: notice.recipients.clone(),
        retention_days: notice.retention_days,
        jurisdiction: notice.jurisdiction.clone(),
    }
}

pub fn held() -> License {
    let text = signed(&perpetual(), &issuing());
    License::of(&perpetual(), Some(text), "Soluna Instruments".to_owned(), Status::Licensed)
}

pub fn ended() -> License {
    License {
        ended_by: Some("New laptop".parse().expect("a device name")),
        updates_until: Date::new(2027, 12, 31),
        ..License::of(&subscription(), None, "Soluna Instruments".to_owned(), Status::Replaced)
    }
}

fn example_vendor() -> Vendor {
    Vendor {
        id: vendor(),
        name: "Soluna Instruments".to_owned(),
        prefix: prefix(),
        server: "https://licenses.soluna.example".to_owned(),
        keyset: 3,
        policy: Some("https://soluna.example/privacy".to_owned()),
        support: Some("help@soluna.example".to_owned()),
        accent: None,
        logo: None,
    }
}

fn vendor_with_look() -> Vendor {
    let profile = profile_with_look();
    Vendor { accent: profile.accent, logo: profile.logo, ..example_vendor() }
}

/// Replies, each read back as its own type.
pub fn replies() -> Vec<(&'static str, String)> {
    fn reply<T>(name: &'static str, reply: &T) -> (&'static str, String)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let text = serde_json::to_string(reply).expect("replies serialize");
        let back: T = serde_json::from_str(&text).expect("replies are read back");
        assert_eq!(back, *reply, "{name}");
        (name, text)
    }
    let status = DaemonStatus {
        version: "0.1.0".to_owned(),
        mode: Mode::System,
        pid: 4711,
        vendors: 1,
        activations: 2,
        receipts_waiting: 1,
        intents_waiting: 0,
        network: true,
        may_change: false,
        next_contact: Some(NOW.plus(DAY)),
    };
    vec![
        reply("get_status", &GetStatusReply { status }),
        reply("list_vendors", &ListVendorsReply { vendors: vec![example_vendor()] }),
        reply("list_vendors_with_look", &ListVendorsReply { vendors: vec![vendor_with_look()] }),
        reply("add_vendor", &AddVendorReply { vendor: example_vendor(), added: true }),
        reply("list_licenses", &LicensesReply { licenses: vec![held(), ended()], warnings: Vec::new() }),
        reply(
            "activate_progress",
            &ActivateReply { progress: Some("Asking Soluna Instruments …".to_owned()), license: None },
        ),
        reply("activate", &ActivateReply { progress: None, license: Some(held()) }),
        reply("deactivate", &DeactivateReply { license: ended(), delivered: false }),
        reply(
            "make_offline_request",
            &OfflineRequestReply {
                vendor: example_vendor(),
                request: super::offline::request(),
                expires: NOW.plus(30 * DAY),
            },
        ),
        reply(
            "import_offline_answers",
            &ImportOfflineReply {
                items: vec![
                    OfflineItem {
                        license: Some(held()),
                        changed: true,
                        receipts: 1,
                        ..OfflineItem::default()
                    },
                    OfflineItem {
                        code: Some("other_machine".to_owned()),
                        message: Some("This answer is for another computer.".to_owned()),
                        advice: Some("Import it there.".to_owned()),
                        ..OfflineItem::default()
                    },
                ],
            },
        ),
        reply("import_offline_code", &OfflineCodeReply { license: held() }),
        reply(
            "deactivate_offline",
            &OfflineReceiptReply {
                vendor: example_vendor(),
                license: ended(),
                request: super::offline::receipt_request(),
                same_key: true,
            },
        ),
        reply(
            "prepare_image",
            &PrepareImageReply { vendors: 1, seats: vec![SERIAL.to_owned()], receipts: 1, requests: 1 },
        ),
        reply("show_machine", &ShowMachineReply { machines: vec![Machine::of(vendor(), machine_facts())] }),
        reply("show_seats", &show_seats()),
        reply(
            "free_machine",
            &FreeMachineReply {
                vendor: vendor(),
                serial: serial(),
                machine_id: MachineId([0x33; 16]),
                device_name: "Old laptop".parse().expect("a device name"),
            },
        ),
        reply(
            "settings",
            &SettingsReply {
                settings: vec![
                    Setting {
                        name: "proxy".to_owned(),
                        value: Some("http://proxy.example.com:3128".to_owned()),
                        source: SettingSource::Policy,
                        locked: true,
                    },
                    Setting {
                        name: "network".to_owned(),
                        value: None,
                        source: SettingSource::Default,
                        locked: false,
                    },
                ],
            },
        ),
        reply("rename_machine", &RenameMachineReply { device_name: machine_facts().device_name }),
        reply(
            "doctor",
            &DoctorReply {
                findings: vec![
                    Finding {
                        name: "store_readable".to_owned(),
                        level: Level::Ok,
                        message: "The store is readable.".to_owned(),
                        advice: None,
                    },
                    Finding {
                        name: "clock".to_owned(),
                        level: Level::Warning,
                        message: "The clock was set back.".to_owned(),
                        advice: Some("Set it right.".to_owned()),
                    },
                    Finding {
                        name: "disk".to_owned(),
                        level: Level::Error,
                        message: "The disk is full.".to_owned(),
                        advice: Some("Free some space.".to_owned()),
                    },
                ],
            },
        ),
        reply("empty", &Empty {}),
        reply("list_consents", &ListConsentsReply { consents: vec![consent()] }),
        reply("consent", &ConsentReply { consent: consent() }),
        reply("show_notice", &ShowNoticeReply { notice: notice_shown(), challenge: CHALLENGE.to_owned() }),
        reply(
            "preview_telemetry",
            &PreviewReply {
                planned: vec![PlannedSend {
                    vendor: vendor(),
                    purpose: "telemetry_report".to_owned(),
                    due: NOW.plus(DAY),
                    until: Some(NOW.plus(21 * DAY)),
                    week: Some("2026-W46".to_owned()),
                    method: "POST".to_owned(),
                    url: "https://licenses.soluna.example/v1/telemetry/report".to_owned(),
                    body: Some(usage_report().to_body()),
                }],
                counted: vec![Counted {
                    vendor: vendor(),
                    week: "2026-W47".to_owned(),
                    product: product("synth"),
                    version: "2.4.1".to_owned(),
                    daw: "reaper".to_owned(),
                    uses: 3,
                }],
            },
        ),
        reply(
            "list_sent",
            &ListSentReply {
                sent: vec![SentEntry {
                    at: NOW,
                    vendor: vendor(),
                    purpose: "telemetry_report".to_owned(),
                    basis: "consent".to_owned(),
                    method: "POST".to_owned(),
                    url: "https://licenses.soluna.example/v1/telemetry/report".to_owned(),
                    body: Some(usage_report().to_body()),
                    outcome: Some("HTTP 204, 0 bytes".to_owned()),
                }],
            },
        ),
        reply("clear_sent", &ClearSentReply { removed: 7 }),
    ]
}

pub fn errors() -> Vec<(&'static str, CallError)> {
    let message = || "A sentence for people.".to_owned();
    let advice = || Some("What to do next.".to_owned());
    let code = |code: &str| code.to_owned();
    let choices = || vec!["com.soluna".to_owned(), "com.solaris".to_owned()];
    vec![
        (
            "invalid_input",
            CallError::InvalidInput { code: code("serial_mistyped"), message: message(), advice: advice() },
        ),
        (
            "vendor_needed",
            CallError::VendorNeeded { message: message(), advice: advice(), choices: choices() },
        ),
        ("not_found", CallError::NotFound { message: message(), advice: None, choices: vec![] }),
        (
            "refused",
            CallError::Refused {
                code: code("seats_taken"),
                message: message(),
                advice: advice(),
                seats: Some(seats()),
            },
        ),
        (
            "unreachable",
            CallError::Unreachable { code: code("no_route"), message: message(), advice: advice() },
        ),
        ("not_permitted", CallError::NotPermitted { message: message(), advice: advice() }),
        ("storage", CallError::Storage { code: code("disk_full"), message: message(), advice: advice() }),
        ("internal", CallError::Internal { message: message(), advice: None }),
    ]
}

pub fn seats() -> Seats {
    Seats {
        total: 2,
        holders: vec![SeatHolder {
            machine_id: machine(),
            device_name: "Old laptop".parse().expect("a device name"),
            since: NOW.plus(-30 * DAY),
            last_seen: NOW.plus(-DAY),
        }],
    }
}

/// One license that is told of, and one that could not be proved.
fn show_seats() -> ShowSeatsReply {
    let Outcome::Seats { mut licenses } = seats_answer().outcome else {
        unreachable!("an answer about seats")
    };
    let told = licenses.remove(0);
    let certificate = perpetual();
    ShowSeatsReply {
        seats: vec![LicenseSeats {
            vendor: vendor(),
            vendor_name: "Soluna Instruments – Zürich".to_owned(),
            serial: serial(),
            activation: told.id,
            product: certificate.product,
            product_name: certificate.name,
            machine_id: machine(),
            total: told.total,
            taken: told.taken,
            holders: told.holders,
            history: told.history,
        }],
        warnings: vec!["Other: its server could not be reached.".to_owned()],
    }
}
