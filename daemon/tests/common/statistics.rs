//! Chance that repeats, a notice, and tokens without mathematics: what games and models of usage statistics share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "this is test code; clippy knows tests by their attribute alone")]

use std::collections::BTreeMap;

use claviger_daemon::telemetry::Dice;
use claviger_protocol::clock::{Date, Timestamp};
use claviger_protocol::telemetry::voprf::{Pending, TokenClient, TokenError};
use claviger_protocol::telemetry::{
    Authority, BATCH, Controller, Element, Notice, NoticeText, PURPOSE, PolicyReference, Proof,
    REPORT_FIELDS, Token, TokenKey, TokensBody,
};
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SecureRandom;

/// SplitMix64: the same seed, the same life.
pub struct Chance(pub u64);

impl Dice for Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

/// Tokens without mathematics, which has tests of its own: the library would take most of the time.
pub struct Numbered;

impl TokenClient for Numbered {
    fn blind(&self, _: usize, _: &dyn SecureRandom) -> Result<Vec<Pending>, TokenError> {
        Err(TokenError::Random)
    }

    fn finish(
        &self,
        pending: &[Pending],
        evaluated: &[Element],
        _: &Proof,
        _: &TokenKey,
    ) -> Result<Vec<Token>, TokenError> {
        if pending.len() != evaluated.len() {
            return Err(TokenError::Count);
        }
        Ok(pending.iter().map(|p| Token::new(&p.blinded().0, &[1; 64])).collect())
    }
}

pub fn numbered(number: u64) -> Pending {
    let mut bytes = [0u8; 96];
    bytes[64..72].copy_from_slice(&number.to_le_bytes());
    Pending::try_from(BASE64URL_NOPAD.encode(&bytes)).unwrap()
}

pub fn notice(version: u32, policy: u32) -> Notice {
    let text = NoticeText { title: "Statistics".to_owned(), text: format!("Text {version}.") };
    Notice {
        iss: "com.example".parse().unwrap(),
        id: "usage-statistics".to_owned(),
        version,
        iat: Timestamp(0),
        effective: Date::new(2020, 1, 1).unwrap(),
        purpose: PURPOSE.to_owned(),
        fields: REPORT_FIELDS.map(str::to_owned).to_vec(),
        controller: Controller {
            name: "Example".to_owned(),
            address: "Here".to_owned(),
            contact: "x@example.com".to_owned(),
            protection_officer: None,
        },
        recipients: vec![],
        retention_days: 365,
        jurisdiction: "DE".to_owned(),
        authority: Authority { name: "A".to_owned(), url: "https://a.example".to_owned() },
        policy: PolicyReference { url: "https://example.com".to_owned(), version: policy.to_string() },
        texts: BTreeMap::from([("en".to_owned(), text)]),
    }
}

/// The answer to a numbered batch.
pub fn numbered_body() -> TokensBody {
    TokensBody { elements: vec![Element([0; 32]); BATCH], proof: Proof([0; 64]) }
}
