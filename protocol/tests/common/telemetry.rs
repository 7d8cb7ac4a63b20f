//! One example of everything that usage statistics send and sign.

use std::collections::BTreeMap;

use claviger_protocol::clock::Date;
use claviger_protocol::daw::Daw;
use claviger_protocol::documents::{KeyInHeader, sign};
use claviger_protocol::telemetry::voprf::{Issuer, TokenIssuer as _};
use claviger_protocol::telemetry::{
    Authority, BATCH, Controller, Element, Notice, NoticeText, PURPOSE, Plan, PlanTitle, PlanWeek,
    PolicyReference, Proof, REPORT_FIELDS, REPORT_SCHEMA, TOKEN_REQUEST_VERSION, Token, TokenRequest,
    TokensBody, UsageReport, Uses, Week,
};

use super::{NOW, device, product, vendor};

/// The week that the example report is about: the one before [`NOW`]'s.
pub fn week() -> Week {
    Week::of(NOW).plus(-1)
}

pub fn issuer(week: Week) -> Issuer {
    Issuer::from_seed(&[8; 32], week.to_string().as_bytes()).expect("a key")
}

pub fn notice() -> Notice {
    let text = |title: &str, text: &str| NoticeText { title: title.to_owned(), text: text.to_owned() };
    Notice {
        iss: vendor(),
        id: "usage-statistics".to_owned(),
        version: 2,
        iat: NOW,
        effective: Date::new(2026, 12, 24).expect("a date"),
        purpose: PURPOSE.to_owned(),
        fields: REPORT_FIELDS.map(str::to_owned).to_vec(),
        controller: Controller {
            name: "Soluna Instruments GmbH".to_owned(),
            address: "Limmatquai 1\n8001 Zürich".to_owned(),
            contact: "privacy@soluna.example".to_owned(),
            protection_officer: Some("dpo@soluna.example".to_owned()),
        },
        recipients: vec!["Hosting AG, Bern".to_owned()],
        retention_days: 730,
        jurisdiction: "CH".to_owned(),
        authority: Authority { name: "EDÖB".to_owned(), url: "https://authority.example".to_owned() },
        policy: PolicyReference {
            url: "https://soluna.example/privacy".to_owned(),
            version: "2026-11-22".to_owned(),
        },
        texts: BTreeMap::from([
            (
                "en".to_owned(),
                text(
                    "Usage statistics",
                    "We count how often our titles are used.\n\nWe learn that this computer takes part.",
                ),
            ),
            ("de".to_owned(), text("Nutzungsstatistik", "Wir zählen, wie oft unsere Titel benutzt werden.")),
        ]),
    }
}

pub fn plan() -> Plan {
    let first = week();
    let title = |name: &str, versions: &[&str]| PlanTitle {
        product: product(name),
        versions: versions.iter().map(|v| v.parse().expect("a version")).collect(),
    };
    Plan {
        iss: vendor(),
        iat: first.start().plus(-86_400),
        weeks: (0..13)
            .map(|n| first.plus(n))
            .map(|week| PlanWeek { week, key: issuer(week).public() })
            .collect(),
        titles: vec![title("synth", &["2.4.1", "2.4.0"]), title("reverb", &[])],
        daws: vec![Daw::AbletonLive, Daw::Reaper],
    }
}

pub fn usage_report() -> UsageReport {
    UsageReport {
        schema: REPORT_SCHEMA,
        week: week(),
        product_id: product("synth"),
        product_version: "2.4.1".parse().expect("a version"),
        daw: Daw::Reaper,
        uses: Uses::From10To19,
        token: Token::new(&[0x11; 32], &[0x22; 64]),
    }
}

pub fn token_request() -> TokenRequest {
    TokenRequest {
        v: TOKEN_REQUEST_VERSION,
        aud: vendor(),
        iat: NOW,
        week: week(),
        slot: 0,
        elements: (0..BATCH).map(|n| Element([u8::try_from(n).expect("small"); 32])).collect(),
    }
}

pub fn signed_token_request(request: &TokenRequest) -> String {
    sign(request, &device(), KeyInHeader::Carried)
}

pub fn tokens() -> TokensBody {
    TokensBody {
        elements: (0..BATCH).map(|n| Element([0x80 | u8::try_from(n).expect("small"); 32])).collect(),
        proof: Proof([0x33; 64]),
    }
}
