//! One example of every message of the daemon's Varlink interface: calls, replies and errors, by the name of their
//! golden file.

use claviger_protocol::clock::{DAY, Date};
use claviger_protocol::http::{SeatHolder, Seats};
use claviger_protocol::ipc::{
    ActivateCall, ActivateReply, AddVendorReply, CallError, DaemonStatus, DeactivateReply, DoctorReply,
    Empty, Finding, GetStatusReply, Level, License, LicensesReply, ListVendorsReply, Machine, Method, Mode,
    RenameMachineReply, ShowMachineReply, Vendor,
};
use claviger_protocol::status::Status;

use super::documents::{machine_facts, perpetual, profile, subscription};
use super::{NOW, SERIAL, UNLOCK_CODE, issuing, machine, prefix, root, signed, vendor};

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
        ("refresh", Method::Refresh { vendor: None }),
        ("show_machine", Method::ShowMachine { vendor: Some(vendor()) }),
        ("rename_machine", Method::RenameMachine { device_name: machine_facts().device_name }),
        ("monitor", Method::Monitor {}),
        ("doctor", Method::Doctor {}),
    ]
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
    }
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
        reply("add_vendor", &AddVendorReply { vendor: example_vendor(), added: true }),
        reply("list_licenses", &LicensesReply { licenses: vec![held(), ended()] }),
        reply(
            "activate_progress",
            &ActivateReply { progress: Some("Asking Soluna Instruments …".to_owned()), license: None },
        ),
        reply("activate", &ActivateReply { progress: None, license: Some(held()) }),
        reply("deactivate", &DeactivateReply { license: ended(), delivered: false }),
        reply("show_machine", &ShowMachineReply { machines: vec![Machine::of(vendor(), machine_facts())] }),
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
